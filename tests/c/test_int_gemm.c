/* SPDX-License-Identifier: Apache-2.0 */
/* u8s8 and s8s8 products through the API, bit by bit against scalars: shapes and strides of every kind, batches, zero points per tensor, row
 * and column, s32, f32 and requantised results, bias, residual, activation; packed or not, on every bundle, with several thread counts. */
#include "strided.h"

#include <math.h>

typedef struct parameters {
    float scale[4096];
    uint8_t zero[4096];
    int64_t count;
    hunze_tensor scale_tensor, zero_tensor;
    hunze_quant quant;
} parameters;

typedef struct problem {
    hunze_type a_type, d_type;
    int64_t m, n, k, batch[2];
    int batch_axes;
    bool transpose_a, transpose_b;
    array a, b, d, bias, residual;
    parameters a_quant, b_quant, d_quant;
    hunze_activation activation;
    hunze_gemm_options options;
} problem;

/* axis -1: one for the tensor */
static void make_parameters(parameters *p, harness_rng *rng, hunze_type type, int axis, int64_t extent, bool scales,
                            bool zeros)
{
    p->count = axis < 0 ? 1 : extent;
    for (int64_t i = 0; i < p->count; i++) {
        p->scale[i] = 0.001f + (float)fabs(harness_uniform(rng)) / 20;
        if (harness_between(rng, 0, 9) == 0)
            p->scale[i] = -p->scale[i]; /* 0 becomes -0 and stays so */
        p->zero[i] = (uint8_t)harness_u64(rng);
    }
    p->scale_tensor =
        (hunze_tensor){p->scale, {HUNZE_DEVICE_CPU, 0}, axis >= 0, {HUNZE_FLOAT, 32, 1}, &p->count, NULL, 0};
    p->zero_tensor = (hunze_tensor){p->zero, {HUNZE_DEVICE_CPU, 0}, axis >= 0, harness_dtype(type), &p->count, NULL, 0};
    p->quant = (hunze_quant){.struct_size = sizeof p->quant,
                             .granularity = axis < 0 ? HUNZE_PER_TENSOR : HUNZE_PER_AXIS,
                             .axis = axis,
                             .scale = scales ? &p->scale_tensor : NULL,
                             .zero_point = zeros ? &p->zero_tensor : NULL};
}

static int32_t zero_of(const parameters *p, int64_t i)
{
    if (!p->quant.zero_point)
        return 0;
    const uint8_t zero = p->zero[p->count == 1 ? 0 : i];
    return p->zero_tensor.dtype.code == HUNZE_INT ? (int8_t)zero : zero;
}

static float scale_of(const parameters *p, int64_t i) { return p->scale[p->count == 1 ? 0 : i]; }

/* Shape of an operand: batch axes, some of extent 1 or absent, then two more; returns ndim. */
static int batched(const problem *p, harness_rng *rng, bool output, int64_t rows, int64_t columns, int64_t shape[DIMS])
{
    const int axes = output ? p->batch_axes : (int)harness_between(rng, 0, p->batch_axes);
    for (int i = 0; i < axes; i++)
        shape[i] = output || harness_between(rng, 0, 2) ? p->batch[p->batch_axes - axes + i] : 1;
    shape[axes] = rows;
    shape[axes + 1] = columns;
    return axes + 2;
}

static void fill_bytes(array *x, harness_rng *rng, int kind, int limit)
{
    for (size_t i = 0; i < x->bytes; i++) {
        int value = kind == 1 ? -128 : kind == 2 ? 127 : (int)(int8_t)harness_u64(rng);
        if (x->tensor.dtype.code == HUNZE_UINT && kind)
            value = -1; /* 255 */
        x->memory[i] = (char)(limit ? value / 2 : value);
    }
}

static void make_problem(problem *p, harness_rng *rng, int turn)
{
    static const hunze_type outputs[] = {HUNZE_TYPE_S32, HUNZE_TYPE_S32, HUNZE_TYPE_F32,
                                         HUNZE_TYPE_F32, HUNZE_TYPE_S8,  HUNZE_TYPE_U8};
    memset(p, 0, sizeof *p);
    const bool large = turn % 100 == 99, deep = turn % 50 == 48, wide = turn % 50 == 47, safe = turn % 3 == 0;
    p->a_type = harness_between(rng, 0, 1) ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8;
    p->d_type = outputs[harness_between(rng, 0, 5)];
    p->m = large ? 211 : harness_between(rng, 0, 60);
    p->n = large ? 307 : harness_between(rng, 0, 90);
    p->k = large ? 45 : deep ? 2600 : harness_between(rng, 0, 70);
    if (deep)
        p->m = 7, p->n = 40;
    if (wide) { /* B is packed piece by piece, of few rows and of more */
        p->m = turn % 100 == 47 ? harness_between(rng, 1, 8) : harness_between(rng, 9, 20);
        p->n = harness_between(rng, 520, 600);
        p->k = p->m <= 8 ? harness_between(rng, 130, 200) : harness_between(rng, 1030, 1100);
    }
    p->batch_axes = large || deep || wide ? 0 : (int)harness_between(rng, 0, 2);
    for (int i = 0; i < p->batch_axes; i++)
        p->batch[i] = harness_between(rng, 1, 3);
    p->transpose_a = harness_between(rng, 0, 1);
    p->transpose_b = harness_between(rng, 0, 1);
    const bool scaled = p->d_type != HUNZE_TYPE_S32;
    int64_t shape[DIMS];
    int ndim = batched(p, rng, false, p->transpose_a ? p->k : p->m, p->transpose_a ? p->m : p->k, shape);
    make(&p->a, rng, p->a_type, ndim, shape);
    const int a_axis = harness_between(rng, 0, 2) == 0 ? ndim - (p->transpose_a ? 1 : 2) : -1;
    make_parameters(&p->a_quant, rng, p->a_type, a_axis, p->m, scaled, harness_between(rng, 0, 1));
    ndim = batched(p, rng, false, p->transpose_b ? p->n : p->k, p->transpose_b ? p->k : p->n, shape);
    const hunze_type b_type = harness_between(rng, 0, 2) ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8;
    make(&p->b, rng, b_type, ndim, shape);
    const int b_axis = harness_between(rng, 0, 1) ? ndim - (p->transpose_b ? 2 : 1) : -1;
    make_parameters(&p->b_quant, rng, b_type, b_axis, p->n, scaled, harness_between(rng, 0, 2) == 0);
    ndim = batched(p, rng, true, p->m, p->n, shape);
    make(&p->d, rng, p->d_type, ndim, shape);
    const bool codes = p->d_type == HUNZE_TYPE_S8 || p->d_type == HUNZE_TYPE_U8;
    make_parameters(&p->d_quant, rng, p->d_type, codes && harness_between(rng, 0, 1) ? ndim - 1 : -1, p->n, codes,
                    codes && harness_between(rng, 0, 1));
    fill_bytes(&p->a, rng, turn % 7 == 5 ? 1 : turn % 7 == 6 ? 2 : 0, 0);
    fill_bytes(&p->b, rng, turn % 7 == 5 ? 1 : turn % 7 == 6 ? 2 : 0, safe);
    for (int64_t i = 0; turn % 7 == 6 && turn & 2 && i < hunze_count(&p->b.tensor);
         i++) { /* pairs along k that just saturate vpmaddubsw */
        const int64_t q = p->transpose_b ? i % (p->k ? p->k : 1) : i / (p->n ? p->n : 1) % (p->k ? p->k : 1);
        *(int8_t *)element(&p->b, p->b.memory, i) = q & 1 ? 100 : 30;
    }

    hunze_gemm_options *o = &p->options;
    *o = (hunze_gemm_options){.struct_size = sizeof *o, .transpose_a = p->transpose_a, .transpose_b = p->transpose_b};
    if (p->a_quant.quant.scale || p->a_quant.quant.zero_point)
        o->a_quant = &p->a_quant.quant;
    if (p->b_quant.quant.scale || p->b_quant.quant.zero_point)
        o->b_quant = &p->b_quant.quant;
    if (codes)
        o->d_quant = &p->d_quant.quant;
    if (harness_between(rng, 0, 1)) {
        const bool per_row = harness_between(rng, 0, 1), integer = !scaled || harness_between(rng, 0, 1);
        make(&p->bias, rng, integer ? HUNZE_TYPE_S32 : HUNZE_TYPE_F32, per_row ? 2 : 1,
             per_row ? (int64_t[]){p->m, 1} : (int64_t[]){p->n});
        if (!integer)
            for (size_t i = 0; i < p->bias.bytes / 4; i++)
                ((float *)(void *)p->bias.memory)[i] = (float)harness_uniform(rng) * 9;
        o->bias = &p->bias.tensor;
    }
    if (scaled && harness_between(rng, 0, 3) == 0) {
        make(&p->residual, rng, HUNZE_TYPE_F32, 2, (int64_t[]){p->m, p->n});
        for (size_t i = 0; i < p->residual.bytes / 4; i++)
            ((float *)(void *)p->residual.memory)[i] = (float)harness_uniform(rng) * 9;
        o->residual = &p->residual.tensor;
    }
    if (harness_between(rng, 0, 1)) {
        p->activation = (hunze_activation){.struct_size = sizeof p->activation, .kind = HUNZE_ACT_RELU};
        if (harness_between(rng, 0, 1))
            p->activation.kind = HUNZE_ACT_CLIP, p->activation.alpha = scaled ? -2.5f : -70000,
            p->activation.beta = scaled ? 30 : 90000;
        o->activation = &p->activation;
    }
}

static void drop_problem(problem *p)
{
    array *all[] = {&p->a, &p->b, &p->d, &p->bias, &p->residual};
    for (int i = 0; i < 5; i++)
        drop(all[i]);
}

/* Row-major index into an operand that broadcasts to D, for D's batch index and its own last two indices. */
static int64_t index_of(const array *x, const problem *p, int64_t batch, int64_t row, int64_t column)
{
    const int axes = x->tensor.ndim - 2;
    int64_t at = 0, digits[2] = {0};
    for (int i = p->batch_axes - 1; i >= 0; i--) {
        digits[i] = batch % p->batch[i];
        batch /= p->batch[i];
    }
    for (int i = 0; i < axes; i++)
        at = at * x->shape[i] + (x->shape[i] == 1 ? 0 : digits[p->batch_axes - axes + i]);
    return (at * x->shape[axes] + row) * x->shape[axes + 1] + column;
}

static int32_t byte(const array *x, int64_t index)
{
    const uint8_t value = *(uint8_t *)element(x, x->memory, index);
    return x->tensor.dtype.code == HUNZE_INT ? (int8_t)value : value;
}

static float activated(const problem *p, float f)
{
    if (!p->options.activation)
        return f;
    if (p->activation.kind == HUNZE_ACT_RELU)
        return f < 0 ? 0 : f;
    f = f < p->activation.alpha ? p->activation.alpha : f;
    return f > p->activation.beta ? p->activation.beta : f;
}

/* What D should hold, into d.before. */
static void expect(problem *p)
{
    int64_t batches = 1;
    for (int i = 0; i < p->batch_axes; i++)
        batches *= p->batch[i];
    const hunze_tensor *bias = p->options.bias;
    const bool int_bias = bias && bias->dtype.code == HUNZE_INT;
    for (int64_t g = 0; g < batches; g++)
        for (int64_t i = 0; i < p->m; i++)
            for (int64_t j = 0; j < p->n; j++) {
                uint32_t sum = 0;
                for (int64_t q = 0; q < p->k; q++) {
                    const int32_t a =
                        byte(&p->a, p->transpose_a ? index_of(&p->a, p, g, q, i) : index_of(&p->a, p, g, i, q));
                    const int32_t b =
                        byte(&p->b, p->transpose_b ? index_of(&p->b, p, g, j, q) : index_of(&p->b, p, g, q, j));
                    sum += (uint32_t)((a - zero_of(&p->a_quant, i)) * (b - zero_of(&p->b_quant, j)));
                }
                const void *bias_at = bias ? element(&p->bias, p->bias.memory, bias->ndim == 2 ? i : j) : NULL;
                int32_t v;
                memcpy(&v, &sum, 4);
                if (int_bias) {
                    sum += *(const uint32_t *)bias_at;
                    memcpy(&v, &sum, 4);
                }
                void *want = element(&p->d, p->d.before, index_of(&p->d, p, g, i, j));
                if (p->d_type == HUNZE_TYPE_S32) {
                    if (p->options.activation && p->activation.kind == HUNZE_ACT_RELU)
                        v = v < 0 ? 0 : v;
                    else if (p->options.activation)
                        v = v < -70000 ? -70000 : v > 90000 ? 90000 : v;
                    memcpy(want, &v, 4);
                    continue;
                }
                const float scale = scale_of(&p->a_quant, i) * scale_of(&p->b_quant, j),
                            d_scale = scale_of(&p->d_quant, j);
                float f = (float)v * scale;
                if (bias && !int_bias)
                    f += *(const float *)bias_at;
                if (p->options.residual)
                    f += *(float *)element(&p->residual, p->residual.memory, i * p->n + j);
                f = activated(p, f);
                if (p->d_type == HUNZE_TYPE_F32) {
                    memcpy(want, &f, 4);
                    continue;
                }
                f = (bias && !int_bias) || p->options.residual || p->options.activation ? f / d_scale
                                                                                        : (float)v * (scale / d_scale);
                const int32_t zero = zero_of(&p->d_quant, j), low = p->d_type == HUNZE_TYPE_S8 ? -128 : 0;
                const double code = rint((double)f) + zero;
                *(uint8_t *)want = (uint8_t)(int)(code < low ? low : code > low + 255 ? low + 255 : code);
            }
}

static void compare(const problem *p, const char *what)
{
    if (!memcmp(p->d.memory, p->d.before, p->d.bytes))
        return;
    for (int64_t i = 0; i < hunze_count(&p->d.tensor); i++) {
        const void *got = element(&p->d, p->d.memory, i), *want = element(&p->d, p->d.before, i);
        harness_check(!memcmp(got, want, harness_bytes(p->d_type)), "%s: element %lld is %s, not %s", what,
                      (long long)i, harness_show(p->d_type, got), harness_show(p->d_type, want));
    }
    harness_fail("%s: bytes between the elements changed", what);
}

/* The product with B packed for this context, if it is one matrix. */
static void run_packed(problem *p, hunze_context *context, const hunze_run *run)
{
    if (p->b.tensor.ndim != 2)
        return;
    const hunze_pack_options pack = {
        .struct_size = sizeof pack, .transpose_b = p->transpose_b, .a_unsigned = p->a_type == HUNZE_TYPE_U8};
    size_t bytes = 0;
    check_status(hunze_pack_size(context, &p->b.tensor, &pack, &bytes), HUNZE_OK);
    int64_t words = (int64_t)bytes / 8;
    void *blob = aligned_alloc(64, bytes);
    const hunze_tensor packed = {blob, {HUNZE_DEVICE_CPU, 0}, 1, {HUNZE_OPAQUE_HANDLE, 64, 1}, &words, NULL, 0};
    check_status(hunze_pack(context, &p->b.tensor, &packed, &pack, run), HUNZE_OK);
    hunze_gemm_options options = p->options;
    hunze_quant b_quant = p->b_quant.quant;
    options.transpose_b = 0;
    if (options.b_quant) {
        b_quant.axis = b_quant.granularity == HUNZE_PER_AXIS ? 1 : 0;
        options.b_quant = &b_quant;
    }
    check_status(hunze_gemm(context, &p->a.tensor, &packed, NULL, &p->d.tensor, &options, run), HUNZE_OK);
    compare(p, "packed");
    free(blob);
}

static void check_turns(uint64_t seed, int first, int step, int turns)
{
    harness_rng rng = {seed};
    for (int turn = first; turn < first + turns * step; turn += step) {
        problem *p = malloc(sizeof *p);
        make_problem(p, &rng, turn);
        harness_case(
            "turn %d: %s %s d %s m %lld n %lld k %lld batch axes %d%s%s a %d%d b %d%d d %d%d bias %d residual %d "
            "activation %d",
            turn, hunze_type_name(p->a_type), p->b.tensor.dtype.code == HUNZE_INT ? "s8" : "u8",
            hunze_type_name(p->d_type), (long long)p->m, (long long)p->n, (long long)p->k, p->batch_axes,
            p->transpose_a ? " aT" : "", p->transpose_b ? " bT" : "", p->a_quant.count > 1,
            p->a_quant.quant.zero_point != NULL, p->b_quant.count > 1, p->b_quant.quant.zero_point != NULL,
            p->d_quant.count > 1, p->d_quant.quant.zero_point != NULL, p->options.bias ? p->options.bias->ndim : 0,
            p->options.residual != NULL, (int)p->activation.kind);
        char *untouched = malloc(p->d.bytes);
        memcpy(untouched, p->d.memory, p->d.bytes);
        expect(p);
        for (int i = 0; i < context_count; i++) {
            static const int32_t threads[] = {1, 2, 3, 7};
            const hunze_run run = {.struct_size = sizeof run, .threads = threads[harness_between(&rng, 0, 3)]};
            memcpy(p->d.memory, untouched, p->d.bytes);
            check_status(hunze_gemm(contexts[i], &p->a.tensor, &p->b.tensor, NULL, &p->d.tensor, &p->options, &run),
                         HUNZE_OK);
            compare(p, "plain");
            memcpy(p->d.memory, untouched, p->d.bytes);
            run_packed(p, contexts[i], &run);
        }
        free(untouched);
        drop_problem(p);
        free(p);
    }
}

static void products(void **unused) { (void)unused, check_turns(61, 0, 1, 400); }
static void large_products(void **unused) { (void)unused, check_turns(62, 99, 100, 24); }

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(products), cmocka_unit_test(large_products)};
    return cmocka_run_group_tests_name("integer products", tests, make_contexts, release_contexts);
}
