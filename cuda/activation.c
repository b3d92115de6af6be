/* SPDX-License-Identifier: Apache-2.0 */
/* Launches activations. */
#include "launchers.h"
#include "arguments_float.h"
#include "operands_runs.h"

static const hunze_cuda_kernel f32 = {"hunze_activation_f32_cuda", &hunze_fatbin_activation_f32_cuda,
                                      HUNZE_CUDA_RUNS_THREADS, 0},
                               f64 = {"hunze_activation_f64_cuda", &hunze_fatbin_activation_f64_cuda,
                                      HUNZE_CUDA_RUNS_THREADS, 0};
const hunze_cuda_kernel *const hunze_cuda_kernels_activation_f32[] = {&f32, NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_activation_f64[] = {&f64, NULL};

hunze_status hunze_cuda_launch_activation(const hunze_plan *plan, const hunze_call *call, const hunze_cuda_run *run)
{
    const hunze_activation *activation = ((const hunze_activation_options *)call->options)->activation;
    const int64_t bytes = (int64_t)hunze_type_bytes(plan->row->d);
    hunze_runs runs;
    int64_t y_strides[HUNZE_MAX_NDIM], x_strides[HUNZE_MAX_NDIM];
    hunze_runs_strides(call->d, y_strides);
    hunze_runs_strides(call->a, x_strides);
    hunze_runs_make(&runs, call->d->ndim, call->d->shape, 2, (const int64_t *const[]){y_strides, x_strides});
    hunze_cuda_activation p = {
        .y = hunze_data(call->d),
        .x = hunze_data(call->a),
        .canonical_nan = (run->flags & HUNZE_REPRODUCIBLE) != 0,
    };
    p.runs = hunze_cuda_runs_of(&runs, 2, (const void *const[]){p.y, p.x}, (const int64_t[]){bytes, bytes});
    if (activation) {
        p.activation = activation->kind;
        p.alpha = activation->alpha;
        p.beta = activation->beta;
    }
    return hunze_cuda_start(run, plan->row->d == HUNZE_TYPE_F64 ? &f64 : &f32,
                            hunze_cuda_runs_blocks(&p.runs, run->device), 1, 1, &p, sizeof p);
}
