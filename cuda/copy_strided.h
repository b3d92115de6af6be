/* SPDX-License-Identifier: Apache-2.0 */
/* Copies on one device by a kernel. */
#ifndef HUNZE_CUDA_COPY_STRIDED_H
#define HUNZE_CUDA_COPY_STRIDED_H

#include "cuda.h"
#include "../src/runs.h"

/* Elements of `bytes` each; runs with at least one element, operands 0 and 1: to and from.  Allocates nothing; of `run` it needs device and
 * stream alone. */
hunze_status hunze_copy_strided_on_device(const hunze_cuda_run *run, const hunze_runs *runs, char *to, const char *from,
                                          size_t bytes);

#endif
