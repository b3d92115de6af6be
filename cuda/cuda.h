/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA backend as launchers see it: a call on its way to a stream, and what they do with it.
 *
 * A launcher is what a row of kernels.def names as `launch`: it reads a plan and its call, fills the kernel's one argument struct and starts
 * kernels.  The runtime has checked everything, made the stream's context current and found the workspace.  A launcher allocates nothing, waits
 * for nothing, keeps no state and touches operands only through kernels: their values lie on the device (alpha, beta and an
 * activation's parameters are the CPU's). */
#ifndef HUNZE_CUDA_H
#define HUNZE_CUDA_H

#include "../src/internal.h"
#include "fatbins.h"

enum { HUNZE_CUDA_ALIGNMENT = 256 }; /* of what the pool gives */

typedef struct hunze_cuda_device {
    int32_t id;              /* CUDA's ordinal */
    int32_t capability;      /* 80, 90 … */
    uint32_t bundles;        /* mask of (1u << hunze_isa) that it runs */
    int32_t multiprocessors; /* of this device or slice; of a run: that its stream may use */
    int32_t shared_bytes;    /* that a block may have: 99 KB or more */
    int32_t multiprocessor_threads;
    int32_t l2_bytes;
} hunze_cuda_device;

/* Where a plan's operands live. */
const hunze_cuda_device *hunze_cuda_device_of(const struct hunze_plan *plan);

typedef struct hunze_cuda_run {
    const struct hunze_plan *plan;
    hunze_context *context;
    const hunze_cuda_device *device;
    void *stream; /* a CUstream of the current context; NULL: its legacy default stream */
    /* Device memory, 256-byte aligned, as much as the row's `launch_workspace` said, NULL if that was 0; or, where memory for the sums of K
     * blocks cannot be had, without their plan->choice.partial_bytes, which are its end. */
    void *workspace;
    size_t workspace_bytes;
    uint32_t flags; /* of context and call together */
} hunze_cuda_run;

/* One instance for each kernel, static and const; those of a row stand in its `launch_kernels`. */
typedef struct hunze_cuda_kernel {
    const char *name; /* as KERNEL has it */
    const hunze_fatbin *fatbin;
    uint32_t threads;      /* per block */
    uint32_t shared_bytes; /* dynamic, of a block */
} hunze_cuda_kernel;

/* Starts a kernel with one argument of `bytes` bytes.  A grid without blocks starts nothing; HUNZE_ERR_UNSUPPORTED if one is larger than CUDA
 * takes (2^31 - 1 in x, 65535 in y and z).  What was loaded for a kernel is found by the address of its struct. */
hunze_status hunze_cuda_start(const hunze_cuda_run *run, const hunze_cuda_kernel *kernel, int64_t grid_x,
                              int64_t grid_y, int64_t grid_z, const void *arguments, size_t bytes);
/* Bytes of device memory, set on the stream. */
hunze_status hunze_cuda_clear(const hunze_cuda_run *run, void *pointer, uint8_t byte, size_t bytes);

#endif
