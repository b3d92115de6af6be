/* SPDX-License-Identifier: Apache-2.0 */
/* What the launchers of elementwise operations make from hunze_runs. */
#ifndef HUNZE_CUDA_OPERANDS_RUNS_H
#define HUNZE_CUDA_OPERANDS_RUNS_H

#include "cuda.h"
#include "arguments_runs.h"
#include "../src/runs.h"

/* first[i] is where the i-th of `count` operands begins, of bytes[i] per element: those that kernels move by fours. */
hunze_cuda_runs hunze_cuda_runs_of(const hunze_runs *runs, int count, const void *const first[], const int64_t bytes[]);
/* Blocks for so many chunks: as many as are at work together, each then takes several. */
int64_t hunze_cuda_runs_blocks(const hunze_cuda_runs *runs, const hunze_cuda_device *device);

#endif
