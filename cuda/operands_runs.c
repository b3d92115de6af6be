/* SPDX-License-Identifier: Apache-2.0 */
#include "operands_runs.h"

_Static_assert((int)HUNZE_CUDA_RUNS_CHUNK == HUNZE_RUNS_CHUNK && (int)HUNZE_CUDA_RUNS_OPERANDS == HUNZE_RUNS_OPERANDS &&
                   (int)HUNZE_CUDA_RUNS_AXES == HUNZE_MAX_NDIM,
               "both kinds of runs are cut alike");

hunze_cuda_runs hunze_cuda_runs_of(const hunze_runs *runs, int count, const void *const first[], const int64_t bytes[])
{
    hunze_cuda_runs r = {.chunks = runs->chunks,
                         .chunks_per_run = runs->chunks_per_run,
                         .length = runs->length,
                         .axes = runs->axes,
                         .fours = runs->length >= 4};
    for (int o = 0; o < runs->operands; o++)
        r.step[o] = runs->step[o];
    for (int axis = 0; axis < runs->axes; axis++) {
        r.extent[axis] = runs->extent[axis];
        for (int o = 0; o < runs->operands; o++)
            r.stride[axis][o] = runs->stride[axis][o];
    }
    for (int o = 0; o < count; o++) {
        if (r.step[o] != 1 || (uintptr_t)first[o] % (uintptr_t)(4 * bytes[o]))
            r.fours = 0;
        for (int axis = 0; axis < r.axes; axis++)
            if (r.stride[axis][o] % 4)
                r.fours = 0;
    }
    return r;
}

int64_t hunze_cuda_runs_blocks(const hunze_cuda_runs *runs, const hunze_cuda_device *device)
{
    return hunze_least(runs->chunks,
                       (int64_t)device->multiprocessors * (device->multiprocessor_threads / HUNZE_CUDA_RUNS_THREADS));
}
