/* SPDX-License-Identifier: Apache-2.0 */
/* hunze_quantize and hunze_dequantize: runs of one parameter, or of one parameter per element, through the row's kernel. */
#include "runs.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>

enum { OUTPUT, INPUT, SCALE, ZERO_POINT }; /* operands of the runs */

typedef struct quantize_job {
    hunze_runs runs;
    const hunze_row *row;
    int64_t output_bytes, input_bytes, code_bytes; /* per element */
    char *output;
    const char *input, *scale, *zero_point;
    bool canonical_nan;
} quantize_job;

static void quantize_chunk(void *user, int64_t index)
{
    _Alignas(64) char input[HUNZE_RUNS_CHUNK * 4], output[HUNZE_RUNS_CHUNK * 4];
    _Alignas(64) char scale[HUNZE_RUNS_CHUNK * 4], zero_point[HUNZE_RUNS_CHUNK * 4];
    const quantize_job *job = user;
    const int64_t *step = job->runs.step;
    int64_t offset[HUNZE_RUNS_OPERANDS];
    hunze_quantize_run run = {.n = hunze_runs_chunk(&job->runs, index, offset), .canonical_nan = job->canonical_nan};
    char *to = job->output + offset[OUTPUT] * job->output_bytes;
    run.x = job->input + offset[INPUT] * job->input_bytes;
    run.y = step[OUTPUT] == 1 ? to : output;
    if (step[INPUT] != 1) {
        hunze_copy_strided(run.n, job->input_bytes, run.x, step[INPUT], input, 1);
        run.x = input;
    }
    run.scale = (const float *)(const void *)job->scale + offset[SCALE];
    if (job->zero_point)
        run.zero_point = job->zero_point + offset[ZERO_POINT] * job->code_bytes;
    if (step[SCALE] != 0 || (job->zero_point && step[ZERO_POINT] != 0)) {
        run.parameter_stride = 1;
        if (step[SCALE] != 1) {
            hunze_copy_strided(run.n, 4, run.scale, step[SCALE], scale, 1);
            run.scale = (const float *)(const void *)scale;
        }
        if (job->zero_point && step[ZERO_POINT] != 1) {
            hunze_copy_strided(run.n, job->code_bytes, run.zero_point, step[ZERO_POINT], zero_point, 1);
            run.zero_point = zero_point;
        }
    }
    job->row->quantize(&run);
    if (run.y != to)
        hunze_copy_strided(run.n, job->output_bytes, run.y, 1, to, step[OUTPUT]);
}

/* Strides of a parameter seen with the tensor's shape: 0 but along the axis. */
static void parameter_strides(const hunze_tensor *parameter, int32_t axis, int64_t strides[HUNZE_MAX_NDIM])
{
    for (int32_t i = 0; i < HUNZE_MAX_NDIM; i++)
        strides[i] = 0;
    if (axis >= 0 && parameter->ndim == 1)
        strides[axis] = hunze_stride(parameter, 0);
}

static hunze_status run_codes(const hunze_plan *plan, const hunze_call *call, const hunze_quant *quant,
                              hunze_exec *exec)
{
    const bool to_codes = plan->op == HUNZE_OP_QUANTIZE;
    quantize_job job = {
        .row = plan->row,
        .output_bytes = (int64_t)hunze_type_bytes(plan->row->d),
        .input_bytes = (int64_t)hunze_type_bytes(plan->row->a),
        .code_bytes = (int64_t)hunze_type_bytes(to_codes ? plan->row->d : plan->row->a),
        .output = hunze_data(call->d),
        .input = hunze_data(call->a),
        .scale = hunze_data(quant->scale),
        .zero_point = quant->zero_point ? hunze_data(quant->zero_point) : NULL,
        .canonical_nan = (exec->flags & HUNZE_REPRODUCIBLE) != 0,
    };
    int64_t strides[4][HUNZE_MAX_NDIM];
    hunze_runs_strides(call->d, strides[OUTPUT]);
    hunze_runs_strides(call->a, strides[INPUT]);
    parameter_strides(quant->scale, plan->quantize.axis, strides[SCALE]);
    if (quant->zero_point)
        parameter_strides(quant->zero_point, plan->quantize.axis, strides[ZERO_POINT]);
    hunze_runs_make(&job.runs, call->d->ndim, call->d->shape, quant->zero_point ? 4 : 3,
                    (const int64_t *const[]){strides[OUTPUT], strides[INPUT], strides[SCALE], strides[ZERO_POINT]});
    return hunze_runs_each(&job.runs, exec, quantize_chunk, &job)
               ? HUNZE_OK
               : hunze_fail(HUNZE_ERR_CANCELLED, "the caller's cancel function ended the call");
}

/* ------------------------------------------------------------------ dynamic: the range first
 * Ranges hold 0, so both ends are kept as bits of a magnitude, which order as integers do: lanes raise them in any order. */
typedef struct range_bits {
    atomic_uint below, above; /* -min and max */
} range_bits;

typedef struct range_job {
    hunze_runs runs; /* operand 0: x, 1: the parameter's index */
    const hunze_row *row;
    const float *x;
    range_bits *ranges;
    atomic_bool has_nan;
} range_job;

static void raise_to(atomic_uint *bits, float magnitude)
{
    const union {
        float value;
        uint32_t bits;
    } to = {magnitude};
    unsigned now = atomic_load_explicit(bits, memory_order_relaxed);
    while (now < to.bits &&
           !atomic_compare_exchange_weak_explicit(bits, &now, to.bits, memory_order_relaxed, memory_order_relaxed))
        ;
}

static float magnitude(const atomic_uint *bits)
{
    const union {
        uint32_t bits;
        float value;
    } from = {atomic_load_explicit(bits, memory_order_relaxed)};
    return from.value;
}

static void range_chunk(void *user, int64_t index)
{
    _Alignas(64) float values[HUNZE_RUNS_CHUNK];
    range_job *job = user;
    int64_t offset[HUNZE_RUNS_OPERANDS];
    const int64_t n = hunze_runs_chunk(&job->runs, index, offset);
    const int64_t x_step = job->runs.step[0], parameter_step = job->runs.step[1];
    const float *x = job->x + offset[0];
    bool has_nan = false;
    if (x_step != 1) {
        hunze_copy_strided(n, 4, x, x_step, values, 1);
        x = values;
    }
    const int64_t run = parameter_step == 0 ? n : 1; /* elements that share a parameter */
    for (int64_t i = 0; i < n; i += run) {
        range_bits *to = &job->ranges[offset[1] + i * parameter_step];
        float range[2] = {0, 0};
        job->row->minmax(run, x + i, range, &has_nan);
        raise_to(&to->below, 0.0f - range[0]);
        raise_to(&to->above, range[1]);
    }
    if (has_nan)
        atomic_store_explicit(&job->has_nan, true, memory_order_relaxed);
}

/* u8: ONNX DynamicQuantizeLinear.  s8: symmetric, codes -127 … 127.  A range that a scale cannot express gets 1. */
static float dynamic_scale(hunze_type codes, float below, float above)
{
    float scale;
    if (codes == HUNZE_TYPE_U8) {
        const float width = above + below;
        scale = width <= FLT_MAX ? width / 255.0f : above / 255.0f + below / 255.0f;
    } else {
        const float largest = above > below ? above : below;
        scale = largest / 127.0f;
        while (scale != 0 && largest / scale > 127.49f) /* a denormal scale is coarse */
            scale = nextafterf(scale, FLT_MAX);
    }
    return scale != 0 ? scale : 1.0f;
}

static void write_parameter(const hunze_quant *quant, hunze_type codes, int64_t index, float below, float above)
{
    const float scale = dynamic_scale(codes, below, above);
    const int64_t scale_at = quant->scale->ndim == 1 ? index * hunze_stride(quant->scale, 0) : 0;
    ((float *)hunze_data(quant->scale))[scale_at] = scale;
    if (!quant->zero_point)
        return;
    float zero_point = codes == HUNZE_TYPE_U8 ? rintf(below / scale) : 0.0f;
    const int64_t zero_at = quant->zero_point->ndim == 1 ? index * hunze_stride(quant->zero_point, 0) : 0;
    ((uint8_t *)hunze_data(quant->zero_point))[zero_at] = (uint8_t)(zero_point > 255.0f ? 255.0f : zero_point);
}

static hunze_status compute_parameters(const hunze_plan *plan, const hunze_call *call, const hunze_quant *quant,
                                       hunze_exec *exec)
{
    const int64_t parameters = plan->quantize.parameters;
    range_bits single, *ranges = plan->quantize.axis < 0 ? &single : exec->workspace;
    for (int64_t i = 0; i < parameters; i++) {
        atomic_init(&ranges[i].below, 0);
        atomic_init(&ranges[i].above, 0);
    }
    range_job job = {.row = plan->row, .x = hunze_data(call->a), .ranges = ranges};
    int64_t x_strides[HUNZE_MAX_NDIM], index_strides[HUNZE_MAX_NDIM] = {0};
    hunze_runs_strides(call->a, x_strides);
    if (plan->quantize.axis >= 0)
        index_strides[plan->quantize.axis] = 1;
    hunze_runs_make(&job.runs, call->a->ndim, call->a->shape, 2, (const int64_t *const[]){x_strides, index_strides});
    if (!hunze_runs_each(&job.runs, exec, range_chunk, &job))
        return hunze_fail(HUNZE_ERR_CANCELLED, "the caller's cancel function ended the call");
    if (atomic_load(&job.has_nan))
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "x holds a NaN: a dynamic scale needs finite values");
    for (int64_t i = 0; i < parameters; i++)
        if (isinf(magnitude(&ranges[i].below)) || isinf(magnitude(&ranges[i].above)))
            return hunze_fail(HUNZE_ERR_UNSUPPORTED, "x holds an infinity: a dynamic scale needs finite values");
    for (int64_t i = 0; i < parameters; i++)
        write_parameter(quant, plan->row->d, i, magnitude(&ranges[i].below), magnitude(&ranges[i].above));
    return HUNZE_OK;
}

/* ------------------------------------------------------------------ drivers */

size_t hunze_quantize_workspace(const hunze_plan *plan, int32_t threads)
{
    (void)threads;
    return plan->quantize.dynamic && plan->quantize.axis >= 0 ? (size_t)plan->quantize.parameters * sizeof(range_bits)
                                                              : 0;
}

hunze_status hunze_run_quantize(const hunze_plan *plan, const hunze_call *call, hunze_exec *exec)
{
    const hunze_quant *quant = ((const hunze_quantize_options *)call->options)->quant;
    if (plan->quantize.dynamic) {
        hunze_status status = compute_parameters(plan, call, quant, exec);
        if (status != HUNZE_OK)
            return status;
    }
    return run_codes(plan, call, quant, exec);
}

hunze_status hunze_run_dequantize(const hunze_plan *plan, const hunze_call *call, hunze_exec *exec)
{
    return run_codes(plan, call, ((const hunze_quantize_options *)call->options)->quant, exec);
}
