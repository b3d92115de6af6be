/* SPDX-License-Identifier: Apache-2.0 */
/* Launches quantize and dequantize.  Dynamic quantisation is three kernels: x's ranges, the parameters, the codes; what the last two must know
 * of the one before them stays on the device. */
#include "launchers.h"
#include "operands_runs.h"

enum { OUTPUT, INPUT, SCALE, ZERO_POINT }; /* operands of the runs */

typedef struct quantize_kernels {
    hunze_cuda_kernel codes, range, parameters;
} quantize_kernels;
#define THREADS HUNZE_CUDA_RUNS_THREADS
static const quantize_kernels quantize_u8 = {
    {"hunze_quantize_u8_cuda", &hunze_fatbin_quantize_u8_cuda, THREADS, 0},
    {"hunze_quantize_u8_cuda_range", &hunze_fatbin_quantize_u8_cuda, THREADS, 0},
    {"hunze_quantize_u8_cuda_parameters", &hunze_fatbin_quantize_u8_cuda, THREADS, 0},
};
static const quantize_kernels quantize_s8 = {
    {"hunze_quantize_s8_cuda", &hunze_fatbin_quantize_s8_cuda, THREADS, 0},
    {"hunze_quantize_s8_cuda_range", &hunze_fatbin_quantize_s8_cuda, THREADS, 0},
    {"hunze_quantize_s8_cuda_parameters", &hunze_fatbin_quantize_s8_cuda, THREADS, 0},
};
static const hunze_cuda_kernel dequantize_u8 = {"hunze_dequantize_u8_cuda", &hunze_fatbin_dequantize_u8_cuda, THREADS,
                                                0};
static const hunze_cuda_kernel dequantize_s8 = {"hunze_dequantize_s8_cuda", &hunze_fatbin_dequantize_s8_cuda, THREADS,
                                                0};
static const hunze_cuda_kernel dequantize_s32 = {"hunze_dequantize_s32_cuda", &hunze_fatbin_dequantize_s32_cuda,
                                                 THREADS, 0};

const hunze_cuda_kernel *const hunze_cuda_kernels_quantize_u8[] = {&quantize_u8.codes, &quantize_u8.range,
                                                                   &quantize_u8.parameters, NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_quantize_s8[] = {&quantize_s8.codes, &quantize_s8.range,
                                                                   &quantize_s8.parameters, NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_dequantize_u8[] = {&dequantize_u8, NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_dequantize_s8[] = {&dequantize_s8, NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_dequantize_s32[] = {&dequantize_s32, NULL};

static const quantize_kernels *quantize_of(const hunze_plan *plan)
{
    return plan->row->d == HUNZE_TYPE_U8 ? &quantize_u8 : &quantize_s8;
}

/* Strides of a parameter seen with the tensor's shape: 0 but along the axis. */
static void parameter_strides(const hunze_tensor *parameter, int32_t axis, int64_t strides[HUNZE_MAX_NDIM])
{
    for (int32_t i = 0; i < HUNZE_MAX_NDIM; i++)
        strides[i] = 0;
    if (axis >= 0 && parameter && parameter->ndim == 1)
        strides[axis] = hunze_stride(parameter, 0);
}

static hunze_status launch_codes(const hunze_plan *plan, const hunze_call *call, const hunze_quant *quant,
                                 const hunze_cuda_kernel *kernel, const uint32_t *has_none, const hunze_cuda_run *run)
{
    int64_t strides[4][HUNZE_MAX_NDIM];
    hunze_runs runs;
    hunze_runs_strides(call->d, strides[OUTPUT]);
    hunze_runs_strides(call->a, strides[INPUT]);
    parameter_strides(quant->scale, plan->quantize.axis, strides[SCALE]);
    parameter_strides(quant->zero_point, plan->quantize.axis, strides[ZERO_POINT]);
    hunze_runs_make(&runs, call->d->ndim, call->d->shape, 4,
                    (const int64_t *const[]){strides[OUTPUT], strides[INPUT], strides[SCALE], strides[ZERO_POINT]});
    const void *const first[] = {hunze_data(call->d), hunze_data(call->a)};
    const int64_t bytes[] = {(int64_t)hunze_type_bytes(plan->row->d), (int64_t)hunze_type_bytes(plan->row->a)};
    const hunze_cuda_codes p = {
        .runs = hunze_cuda_runs_of(&runs, 2, first, bytes),
        .output = hunze_data(call->d),
        .input = hunze_data(call->a),
        .scale = hunze_data(quant->scale),
        .zero_point = quant->zero_point ? hunze_data(quant->zero_point) : NULL,
        .has_none = has_none,
        .canonical_nan = (run->flags & HUNZE_REPRODUCIBLE) != 0,
    };
    return hunze_cuda_start(run, kernel, hunze_cuda_runs_blocks(&p.runs, run->device), 1, 1, &p, sizeof p);
}

/* ------------------------------------------------------------------ dynamic */

/* Two words per parameter behind the one that says whether x is finite. */
typedef struct dynamic_workspace {
    uint32_t has_none, reserved;
    uint32_t ranges[][2];
} dynamic_workspace;

size_t hunze_cuda_workspace_quantize(const hunze_plan *plan)
{
    return plan->quantize.dynamic ? sizeof(dynamic_workspace) + (size_t)plan->quantize.parameters * 2 * sizeof(uint32_t)
                                  : 0;
}

static hunze_status launch_parameters(const hunze_plan *plan, const hunze_call *call, const hunze_quant *quant,
                                      const hunze_cuda_run *run)
{
    dynamic_workspace *workspace = run->workspace;
    TRY(hunze_cuda_clear(run, workspace, 0, hunze_cuda_workspace_quantize(plan)));
    int64_t x_strides[HUNZE_MAX_NDIM], index_strides[HUNZE_MAX_NDIM] = {0};
    hunze_runs runs;
    hunze_runs_strides(call->a, x_strides);
    if (plan->quantize.axis >= 0)
        index_strides[plan->quantize.axis] = 1;
    hunze_runs_make(&runs, call->a->ndim, call->a->shape, 2, (const int64_t *const[]){x_strides, index_strides});
    const void *const first[] = {hunze_data(call->a)};
    const hunze_cuda_range range = {
        .runs = hunze_cuda_runs_of(&runs, 1, first, (const int64_t[]){4}),
        .x = hunze_data(call->a),
        .ranges = workspace->ranges[0],
        .has_none = &workspace->has_none,
    };
    TRY(hunze_cuda_start(run, &quantize_of(plan)->range, hunze_cuda_runs_blocks(&range.runs, run->device), 1, 1, &range,
                         sizeof range));
    const hunze_tensor *scale = quant->scale, *zero_point = quant->zero_point;
    const hunze_cuda_dynamic dynamic = {
        .ranges = workspace->ranges[0],
        .has_none = &workspace->has_none,
        .parameters = plan->quantize.parameters,
        .scale = hunze_data(scale),
        .scale_stride = scale->ndim == 1 ? hunze_stride(scale, 0) : 0,
        .zero_point = zero_point ? hunze_data(zero_point) : NULL,
        .zero_point_stride = zero_point && zero_point->ndim == 1 ? hunze_stride(zero_point, 0) : 0,
    };
    return hunze_cuda_start(run, &quantize_of(plan)->parameters, hunze_ceil_div(dynamic.parameters, THREADS), 1, 1,
                            &dynamic, sizeof dynamic);
}

/* ------------------------------------------------------------------ rows of the table */

hunze_status hunze_cuda_launch_quantize(const hunze_plan *plan, const hunze_call *call, const hunze_cuda_run *run)
{
    const hunze_quant *quant = ((const hunze_quantize_options *)call->options)->quant;
    const uint32_t *has_none = NULL;
    if (plan->quantize.dynamic) {
        TRY(launch_parameters(plan, call, quant, run));
        has_none = &((const dynamic_workspace *)run->workspace)->has_none;
    }
    return launch_codes(plan, call, quant, &quantize_of(plan)->codes, has_none, run);
}

hunze_status hunze_cuda_launch_dequantize(const hunze_plan *plan, const hunze_call *call, const hunze_cuda_run *run)
{
    const hunze_cuda_kernel *kernel = plan->row->a == HUNZE_TYPE_U8   ? &dequantize_u8
                                      : plan->row->a == HUNZE_TYPE_S8 ? &dequantize_s8
                                                                      : &dequantize_s32;
    return launch_codes(plan, call, ((const hunze_quantize_options *)call->options)->quant, kernel, NULL, run);
}
