/* SPDX-License-Identifier: Apache-2.0 */
/* hunze_quantize and hunze_dequantize through the API, bit by bit against scalars: shapes and strides of every kind, per tensor and per
 * axis, given and dynamic parameters, on every bundle of this CPU and with several thread counts; what is refused stays untouched. */
#include "strided.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4 };
static const int32_t thread_counts[THREADS] = {1, 2, 3, 7};

static int64_t along(const array *x, int axis, int64_t index)
{
    if (axis < 0)
        return 0;
    for (int i = x->tensor.ndim - 1; i > axis; i--)
        index /= x->shape[i];
    return index % x->shape[axis];
}

static int32_t code_of(float x, float scale, int32_t zero, bool is_signed)
{
    const float q = x / scale;
    const double code = isnan(q) ? zero : rint((double)q) + zero, low = is_signed ? -128 : 0;
    return (int32_t)(code < low ? low : code > low + 255 ? low + 255 : code);
}

typedef struct problem {
    hunze_type codes;
    int ndim, axis;
    int64_t count, parameters;
    array x, code;
    float scale[600];
    int8_t zero[600];
    hunze_tensor scale_tensor, zero_tensor;
    hunze_quant quant;
    hunze_quantize_options options;
} problem;

static void make_problem(problem *p, harness_rng *rng, hunze_type codes, bool large)
{
    memset(p, 0, sizeof *p);
    p->codes = codes;
    p->ndim = large ? 2 : (int)harness_between(rng, 0, DIMS);
    int64_t shape[DIMS] = {0};
    p->count = 1;
    for (int i = 0; i < p->ndim; i++) {
        shape[i] = large                              ? (i ? 517 : 401)
                   : harness_between(rng, 0, 19) == 0 ? 0
                                                      : harness_between(rng, 1, i == p->ndim - 1 ? 70 : 5);
        p->count *= shape[i];
    }
    make(&p->x, rng, HUNZE_TYPE_F32, p->ndim, shape);
    make(&p->code, rng, codes, p->ndim, shape);
    p->axis = p->ndim ? (int)harness_between(rng, -1, p->ndim - 1) : -1;
    p->parameters = p->axis < 0 ? 1 : shape[p->axis];
    for (int64_t i = 0; i < p->parameters; i++) {
        p->scale[i] = (float)fabs(harness_uniform(rng)) / 16 + FLT_MIN;
        p->zero[i] = (int8_t)harness_u64(rng);
    }
    p->quant = (hunze_quant){.struct_size = sizeof p->quant,
                             .granularity = p->axis >= 0 ? HUNZE_PER_AXIS : HUNZE_PER_TENSOR,
                             .axis = harness_between(rng, 0, 1) ? p->axis : p->axis - p->ndim};
    p->scale_tensor =
        (hunze_tensor){p->scale, {HUNZE_DEVICE_CPU, 0}, p->axis >= 0, {HUNZE_FLOAT, 32, 1}, &p->parameters, NULL, 0};
    p->zero_tensor =
        (hunze_tensor){p->zero, {HUNZE_DEVICE_CPU, 0}, p->axis >= 0, harness_dtype(codes), &p->parameters, NULL, 0};
    p->options = (hunze_quantize_options){.struct_size = sizeof p->options, .quant = &p->quant};
    p->quant.scale = &p->scale_tensor;
    if (codes == HUNZE_TYPE_U8 || harness_between(rng, 0, 1))
        p->quant.zero_point = &p->zero_tensor;
    for (int64_t i = 0; i < p->count; i++) {
        const float x = (float)(harness_uniform(rng) * 9);
        memcpy(element(&p->x, p->x.memory, i), &x, 4);
    }
}

static void drop_problem(problem *p)
{
    drop(&p->x);
    drop(&p->code);
}

static int32_t zero_of(const problem *p, int64_t parameter)
{
    if (!p->quant.zero_point)
        return 0;
    return p->codes == HUNZE_TYPE_S8 ? p->zero[parameter] : (uint8_t)p->zero[parameter];
}

/* Codes as they should be, gaps untouched. */
static void check_codes(problem *p)
{
    for (int64_t i = 0; i < p->count; i++) {
        float x;
        memcpy(&x, element(&p->x, p->x.memory, i), 4);
        const int64_t at = along(&p->code, p->axis, i);
        *(int8_t *)element(&p->code, p->code.before, i) =
            (int8_t)code_of(x, p->scale[at], zero_of(p, at), p->codes == HUNZE_TYPE_S8);
        harness_check(*(int8_t *)element(&p->code, p->code.memory, i) ==
                          *(int8_t *)element(&p->code, p->code.before, i),
                      "code %lld of x = %.9g, scale %.9g, zero point %d is %d, not %d", (long long)i, (double)x,
                      (double)p->scale[at], zero_of(p, at), *(int8_t *)element(&p->code, p->code.memory, i),
                      *(int8_t *)element(&p->code, p->code.before, i));
    }
    harness_check(!memcmp(p->code.memory, p->code.before, p->code.bytes), "bytes between the codes changed");
}

static hunze_status run_quantize(problem *p, harness_rng *rng)
{
    const hunze_run run = {.struct_size = sizeof run, .threads = thread_counts[harness_between(rng, 0, THREADS - 1)]};
    return hunze_quantize(contexts[harness_between(rng, 0, context_count - 1)], &p->x.tensor, &p->code.tensor,
                          &p->options, &run);
}

static void quantize_given(void **unused)
{
    (void)unused;
    harness_rng rng = {51};
    for (int turn = 0; turn < 1200; turn++) {
        problem p;
        make_problem(&p, &rng, turn & 1 ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8, turn % 200 < 2);
        harness_case("turn %d, %d axes, axis %d", turn, p.ndim, p.axis);
        check_status(run_quantize(&p, &rng), HUNZE_OK);
        check_codes(&p);
        drop_problem(&p);
    }
}

/* ONNX DynamicQuantizeLinear for u8; amax / 127 for s8; 1 where all is zero. */
static void quantize_dynamic(void **unused)
{
    (void)unused;
    harness_rng rng = {52};
    for (int turn = 0; turn < 1200; turn++) {
        problem p;
        make_problem(&p, &rng, turn & 1 ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8, turn % 200 < 2);
        p.options.dynamic = 1;
        harness_case("turn %d, %d axes, axis %d", turn, p.ndim, p.axis);
        float low[600] = {0}, high[600] = {0};
        const int kind = turn / 2 % 6;
        const float factor = kind == 0 ? (turn & 16 ? 0x1p-148f : 0x1p-144f) : kind == 1 ? FLT_MAX / 9 : 1;
        for (int64_t i = 0; i < p.count; i++) {
            float *x = element(&p.x, p.x.memory, i);
            *x = kind == 2 ? (i & 1 ? -0.0f : 0.0f) : kind == 3 ? fabsf(*x) : *x * factor;
            const int64_t at = along(&p.x, p.axis, i);
            low[at] = fminf(low[at], *x);
            high[at] = fmaxf(high[at], *x);
        }
        check_status(run_quantize(&p, &rng), HUNZE_OK);
        for (int64_t at = 0; at < p.parameters; at++) {
            const bool is_signed = p.codes == HUNZE_TYPE_S8;
            const float amax = fmaxf(-low[at], high[at]);
            float scale = is_signed ? amax / 127 : (high[at] - low[at]) / 255;
            if (isinf(scale))
                scale = high[at] / 255 - low[at] / 255;
            if (is_signed && scale != 0 &&
                scale < FLT_MIN) { /* denormal: the smallest that keeps codes in -127 … 127 */
                while (amax / scale >= 127.5f)
                    scale = nextafterf(scale, 1);
            }
            scale = scale == 0 ? 1 : scale;
            harness_check(p.scale[at] == scale, "scale %lld of [%.9g, %.9g] is %.9g, not %.9g", (long long)at,
                          (double)low[at], (double)high[at], (double)p.scale[at], (double)scale);
            const float zero = is_signed ? 0 : fminf(rintf(0 - low[at] / scale), 255);
            if (p.quant.zero_point)
                harness_check(zero_of(&p, at) == (int32_t)zero, "zero point %lld is %d, not %g", (long long)at,
                              zero_of(&p, at), (double)zero);
        }
        check_codes(&p);
        for (int64_t i = 0; p.codes == HUNZE_TYPE_S8 && i < p.count; i++)
            harness_check(*(int8_t *)element(&p.code, p.code.memory, i) != -128, "a symmetric code is -128");
        drop_problem(&p);
    }
}

static void dynamic_refuses_what_is_not_finite(void **unused)
{
    (void)unused;
    harness_rng rng = {53};
    for (int turn = 0; turn < 400; turn++) {
        problem p;
        make_problem(&p, &rng, turn & 1 ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8, turn % 200 < 2);
        if (p.count > 0) {
            p.options.dynamic = 1;
            harness_case("turn %d, %d axes, axis %d", turn, p.ndim, p.axis);
            *(float *)element(&p.x, p.x.memory, harness_between(&rng, 0, p.count - 1)) = turn % 3 == 0   ? NAN
                                                                                         : turn % 3 == 1 ? INFINITY
                                                                                                         : -INFINITY;
            float scale[600];
            int8_t zero[600];
            memcpy(scale, p.scale, sizeof scale);
            memcpy(zero, p.zero, sizeof zero);
            check_status(run_quantize(&p, &rng), HUNZE_ERR_UNSUPPORTED);
            harness_check(strstr(hunze_last_error(), turn % 3 ? "infinity" : "NaN"), "the message is: %s",
                          hunze_last_error());
            harness_check(!memcmp(p.code.memory, p.code.before, p.code.bytes) &&
                              !memcmp(scale, p.scale, sizeof scale) && !memcmp(zero, p.zero, sizeof zero),
                          "an output was written");
        }
        drop_problem(&p);
    }
}

static void dequantize(void **unused)
{
    (void)unused;
    static const hunze_type types[] = {HUNZE_TYPE_U8, HUNZE_TYPE_S8, HUNZE_TYPE_S32};
    harness_rng rng = {54};
    for (int turn = 0; turn < 1200; turn++) {
        problem p;
        make_problem(&p, &rng, HUNZE_TYPE_U8, turn % 200 < 2);
        const hunze_type type = types[turn % 3];
        array codes;
        int32_t zero32[600];
        make(&codes, &rng, type, p.ndim, p.x.shape);
        for (int64_t i = 0; i < p.parameters; i++)
            zero32[i] = (int32_t)harness_u64(&rng) >> (turn % 20);
        p.zero_tensor.dtype = harness_dtype(type);
        if (type == HUNZE_TYPE_S32)
            p.zero_tensor.data = zero32;
        p.quant.zero_point = turn & 8 ? &p.zero_tensor : NULL;
        harness_case("turn %d, type %s, %d axes, axis %d", turn, hunze_type_name(type), p.ndim, p.axis);
        memcpy(p.x.before, p.x.memory, p.x.bytes);
        const hunze_run run = {.struct_size = sizeof run, .threads = thread_counts[turn % THREADS]};
        check_status(hunze_dequantize(contexts[turn % context_count], &codes.tensor, &p.x.tensor, &p.options, &run),
                     HUNZE_OK);
        for (int64_t i = 0; i < p.count; i++) {
            const int64_t at = along(&p.x, p.axis, i);
            const float zero = p.quant.zero_point ? (float)harness_get(type, p.zero_tensor.data, at) : 0;
            const float want = ((float)harness_get(type, element(&codes, codes.memory, i), 0) - zero) * p.scale[at];
            memcpy(element(&p.x, p.x.before, i), &want, 4);
        }
        harness_check(!memcmp(p.x.memory, p.x.before, p.x.bytes), "x differs");
        drop(&codes);
        drop_problem(&p);
    }
}

/* A scale of NaN, and of infinity times 0; with HUNZE_REPRODUCIBLE the bits are one NaN's. */
static void dequantize_to_nan(void **unused)
{
    (void)unused;
    enum { N = 37 };
    uint8_t codes[N];
    float x[N], scale[N];
    int64_t count = N;
    const hunze_device device = {HUNZE_DEVICE_CPU, 0};
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    for (int i = 0; i < N; i++) {
        static const uint32_t nans[] = {0x7FFFFFFF, 0xFFC00000, 0x7FC01234, 0x7F800000};
        codes[i] = (uint8_t)(i % 5);
        memcpy(&scale[i], &nans[i % 4], 4);
    }
    hunze_tensor code = {codes, device, 1, {HUNZE_UINT, 8, 1}, &count, NULL, 0};
    hunze_tensor to = {x, device, 1, f32, &count, NULL, 0}, scales = {scale, device, 1, f32, &count, NULL, 0};
    const hunze_quant quant = {.struct_size = sizeof quant, .granularity = HUNZE_PER_AXIS, .scale = &scales};
    const hunze_quantize_options options = {
        .struct_size = sizeof options, .flags = HUNZE_REPRODUCIBLE, .quant = &quant};
    for (int i = 0; i < context_count; i++) {
        harness_case("context %d", i);
        check_status(hunze_dequantize(contexts[i], &code, &to, &options, NULL), HUNZE_OK);
        for (int j = 0; j < N; j++) {
            uint32_t bits;
            memcpy(&bits, &x[j], 4);
            harness_check(bits == (j % 4 == 3 && codes[j] ? 0x7F800000u : 0x7FC00000u), "x[%d] is %08x", j, bits);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(quantize_given), cmocka_unit_test(quantize_dynamic),
                                       cmocka_unit_test(dynamic_refuses_what_is_not_finite),
                                       cmocka_unit_test(dequantize), cmocka_unit_test(dequantize_to_nan)};
    return cmocka_run_group_tests_name("quantize", tests, make_contexts, release_contexts);
}
