/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that show the most of a device: what floors are made of. */
#ifndef HUNZE_TESTS_GPU_CEILINGS_H
#define HUNZE_TESTS_GPU_CEILINGS_H

#include "gpu_rounds.h"

typedef enum gpu_ceiling {
    GPU_COPY,        /* bytes read and written by the driver's copy */
    GPU_COPY_KERNEL, /* by a kernel */
    GPU_F32,         /* operations of fma */
    GPU_F64,
    GPU_S8,    /* operations of mma.sync */
    GPU_HALF,  /* the same, of bf16 */
    GPU_WGMMA, /* of warpgroups, bf16 */
    GPU_CEILINGS
} gpu_ceiling;

/* Adds the jobs to `jobs`, in the order of the enumeration; those that this device has no kernel for have no `run`.  bytes: of a copy, a multiple of 64 KiB. */
void gpu_ceilings_make(gpu_job *jobs, const char *images, long bytes, bool small, void *stream);
/* Of the jobs that were timed: the rate of a ceiling, 0 if there is none; of GPU_HALF, what either kind of product reaches. */
double gpu_ceiling_rate(const gpu_job *jobs, gpu_ceiling ceiling);

#endif
