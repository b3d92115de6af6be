/* SPDX-License-Identifier: Apache-2.0 */
/* Elementwise kernels: a block takes chunks of runs, its threads the elements of a chunk. */
#ifndef HUNZE_RUNS_CUH
#define HUNZE_RUNS_CUH

#include "ptx.cuh"
#include "arguments_runs.h"

/* Four neighbours, moved by one instruction. */
template <typename T> struct alignas(4 * sizeof(T)) four_of {
    T at[4];
};

/* Elements of a chunk, and each operand's offset to the first. */
HUNZE_INLINE int runs_chunk(const hunze_cuda_runs &runs, int64_t index, int64_t (&offset)[HUNZE_CUDA_RUNS_OPERANDS])
{
    int64_t run = index / runs.chunks_per_run;
    const int64_t start = (index - run * runs.chunks_per_run) * HUNZE_CUDA_RUNS_CHUNK;
    for (int o = 0; o < HUNZE_CUDA_RUNS_OPERANDS; o++)
        offset[o] = start * runs.step[o];
    for (int axis = runs.axes - 1; axis >= 0; axis--) {
        const int64_t next = run / runs.extent[axis], at = run - next * runs.extent[axis];
        run = next;
        for (int o = 0; o < HUNZE_CUDA_RUNS_OPERANDS; o++)
            offset[o] += at * runs.stride[axis][o];
    }
    const int64_t left = runs.length - start;
    return left < HUNZE_CUDA_RUNS_CHUNK ? (int)left : HUNZE_CUDA_RUNS_CHUNK;
}

#endif
