/* SPDX-License-Identifier: Apache-2.0 */
/* The same bits, through the public API: every op gives what one thread gives with 2, 3 and 7 threads, on a serial and a reversed parallel_for,
 * with packed weights, on every row that takes the call, image by image or row by row, whatever the caller's MXCSR; and with
 * HUNZE_REPRODUCIBLE on every instruction set and every machine: hashes of these results stand in bits_hashes.h.  Operands end at guard pages.
 * --record prints new lines for that file (twice: once with HUNZE_TEST_SMALL=1). */
#include "bits_case.h"
#include "bits_hashes.h"
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const isas[] = {"portable", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"};
enum { ISAS = sizeof isas / sizeof isas[0] };
static hunze_context *native, *restricted[ISAS];

static int open_contexts(void **state)
{
    (void)state;
    const hunze_context_options all = {.struct_size = sizeof all, .flags = HUNZE_IGNORE_ENVIRONMENT};
    assert_int_equal(hunze_context_create(&all, &native), HUNZE_OK);
    for (int i = 0; i < ISAS; i++) {
        hunze_context_options one = {
            .struct_size = sizeof one, .flags = HUNZE_IGNORE_ENVIRONMENT | HUNZE_REPRODUCIBLE, .isa = isas[i]};
        if (i & 1) { /* half of them as a user would: by the environment */
            setenv("HUNZE_ISA", isas[i], 1);
            one = (hunze_context_options){.struct_size = sizeof one, .flags = HUNZE_REPRODUCIBLE};
        }
        const hunze_status status = hunze_context_create(&one, &restricted[i]);
        if (status)
            print_message("not run here: %s: %s\n", isas[i], hunze_last_error());
        unsetenv("HUNZE_ISA");
    }
    return 0;
}

static int close_contexts(void **state)
{
    (void)state;
    hunze_context_release(native);
    for (int i = 0; i < ISAS; i++)
        hunze_context_release(restricted[i]);
    return 0;
}

/* ------------------------------------------------------------------ comparison */

/* A part of a case: extent `length` from `start` on along an axis of a and of d. */
typedef struct part {
    int a_axis, d_axis;
    int64_t start, length;
} part;

static void cut(operand *o, int axis, const part *p)
{
    if (!o->tensor.data || axis < 0 || o->shape[axis] == 1)
        return;
    o->tensor.data = (char *)o->tensor.data + p->start * o->strides[axis] * (int64_t)harness_bytes(o->type);
    o->shape[axis] = p->length;
}

/* Runs the case, or a part of it, and compares d with the whole baseline. */
static void expect_same(const bits_case *c, const char *how, const char *baseline, hunze_context *context,
                        const hunze_tensor *b, uint32_t flags, const char *kernel, const hunze_run *run, const part *p)
{
    bits_case copy = *c;
    harness_place(c->d.slot, (size_t)operand_span(&c->d) * harness_bytes(c->d.type), harness_bytes(c->d.type),
                  HARNESS_AT_END);
    harness_snapshot(c->d.slot);
    if (p) {
        cut(&copy.a, p->a_axis, p);
        cut(&copy.d, p->d_axis, p);
        cut(&copy.c, p->d_axis, p);
        cut(&copy.residual, p->d_axis, p);
    }
    if (b && c->op == HUNZE_OP_GEMM) { /* packing fixed the orientation: the weights are (k, n) */
        copy.gemm.transpose_b = 0;
        copy.quants[1].axis = 1;
    }
    bind_case(&copy);
    const hunze_status status = run_case(context, &copy, b ? b : &copy.b.tensor, flags, kernel, run);
    if (kernel && status == HUNZE_ERR_UNSUPPORTED)
        return;
    harness_check(status == HUNZE_OK, "%s%s%s: %s: %s", how, kernel ? " on " : "", kernel ? kernel : "",
                  hunze_status_name(status), hunze_last_error());
    const size_t bytes = harness_bytes(c->d.type);
    const int64_t count = operand_count(&copy.d);
    for (int64_t i = 0; i < count; i++) {
        int64_t whole = i; /* the same element's index in all of d */
        if (p) {
            int64_t inner = 1;
            for (int axis = c->d.tensor.ndim - 1; axis > p->d_axis; axis--)
                inner *= c->d.shape[axis];
            whole =
                (i / inner / p->length * c->d.shape[p->d_axis] + p->start + i / inner % p->length) * inner + i % inner;
        }
        void *got = operand_at(&copy.d, i);
        const char *want = baseline + (size_t)whole * bytes;
        harness_check(harness_same(c->d.type, got, want), "%s%s%s: element %lld is %s, not %s", how,
                      kernel ? " on " : "", kernel ? kernel : "", (long long)whole, harness_show(c->d.type, got),
                      harness_show(c->d.type, want));
        memcpy(harness_remembered(c->d.slot, got), got, bytes);
    }
    harness_unchanged(c->d.slot, how);
    const operand *const inputs[] = {&c->a, &c->b, &c->c, &c->bias, &c->residual};
    for (int i = 0; i < 5; i++)
        if (inputs[i]->tensor.data)
            harness_unchanged(inputs[i]->slot, how);
}

/* The result of one thread, in logical order; freed by the caller. */
static char *run_baseline(const bits_case *c, uint32_t flags)
{
    bits_case copy = *c;
    bind_case(&copy);
    harness_place(c->d.slot, (size_t)operand_span(&c->d) * harness_bytes(c->d.type), harness_bytes(c->d.type),
                  HARNESS_AT_END);
    const hunze_run one = {.struct_size = sizeof one, .threads = 1};
    const hunze_status status = run_case(native, &copy, &copy.b.tensor, flags, NULL, &one);
    harness_check(status == HUNZE_OK, "%s: %s", hunze_status_name(status), hunze_last_error());
    const size_t bytes = harness_bytes(c->d.type);
    const int64_t count = operand_count(&c->d);
    char *result = malloc((size_t)count * bytes + 1);
    assert_non_null(result);
    for (int64_t i = 0; i < count; i++)
        memcpy(result + (size_t)i * bytes, operand_at(&copy.d, i), bytes);
    return result;
}

/* Packs the weights for the row that `context` would choose; false if the op packs none. */
static bool pack(const bits_case *c, hunze_context *context, hunze_tensor *packed, int64_t *count)
{
    if (c->op != HUNZE_OP_GEMM && c->op != HUNZE_OP_CONV && c->op != HUNZE_OP_CONV_TRANSPOSE)
        return false;
    if (c->op == HUNZE_OP_GEMM && c->b.tensor.ndim > 2)
        return false;
    bits_case copy = *c;
    bind_case(&copy);
    const hunze_pack_options options = {.struct_size = sizeof options,
                                        .op = c->op,
                                        .transpose_b = c->gemm.transpose_b,
                                        .groups = c->conv.groups,
                                        .a_unsigned = c->a.type == HUNZE_TYPE_U8};
    size_t bytes = 0;
    hunze_status status = hunze_pack_size(context, &copy.b.tensor, &options, &bytes);
    harness_check(status == HUNZE_OK && bytes % 64 == 0, "pack_size: %s: %s", hunze_status_name(status),
                  hunze_last_error());
    *count = (int64_t)bytes / 8;
    *packed = (hunze_tensor){harness_place(SLOT_PACKED, bytes, 64, HARNESS_AT_END),
                             {HUNZE_DEVICE_CPU, 0},
                             1,
                             {HUNZE_OPAQUE_HANDLE, 64, 1},
                             count,
                             NULL,
                             0};
    status = hunze_pack(context, &copy.b.tensor, packed, &options, NULL);
    harness_check(status == HUNZE_OK, "pack: %s: %s", hunze_status_name(status), hunze_last_error());
    return true;
}

/* With the caller's denormals flushed, the call gives the same bits and leaves the mode as it was. */
static void check_environment(const bits_case *c, const char *baseline, const hunze_run *run)
{
#if defined(__x86_64__)
    harness_place(c->d.slot, (size_t)operand_span(&c->d) * harness_bytes(c->d.type), harness_bytes(c->d.type),
                  HARNESS_AT_END);
    const unsigned old = __builtin_ia32_stmxcsr(), flushing = old | 0x8040 | 0x2000; /* FTZ, DAZ, round down */
    __builtin_ia32_ldmxcsr(flushing);
    bits_case copy = *c;
    bind_case(&copy);
    const hunze_status status = run_case(native, &copy, &copy.b.tensor, 0, NULL, run);
    const unsigned after = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(old);
    harness_check(status == HUNZE_OK, "with FTZ: %s", hunze_last_error());
    harness_check((after & 0xffc0) == (flushing & 0xffc0), "MXCSR was %x, is %x", flushing, after);
    const size_t bytes = harness_bytes(c->d.type);
    for (int64_t i = 0; i < operand_count(&c->d); i++)
        harness_check(harness_same(c->d.type, operand_at(&c->d, i), baseline + (size_t)i * bytes),
                      "with FTZ: element %lld is %s, not %s", (long long)i,
                      harness_show(c->d.type, operand_at(&c->d, i)),
                      harness_show(c->d.type, baseline + (size_t)i * bytes));
#else
    (void)c, (void)baseline, (void)run;
#endif
}

/* ------------------------------------------------------------------ the hashes of reproducible results */

static bool recording;
static uint64_t hash = HARNESS_HASH_START;

static void hash_results(const bits_case *c, const char *results)
{
    const hunze_type type = c->d.type;
    const size_t bytes = harness_bytes(type);
    for (int64_t i = 0; i < operand_count(&c->d); i++) {
        uint64_t element = 0;
        memcpy(&element, results + (size_t)i * bytes, bytes);
        if (harness_is_float(type) && isnan(harness_get(type, results, i)))
            element = UINT64_MAX;
        hash = harness_hash(hash, &element, sizeof element);
    }
}

/* Of all cases since the last call. */
static void check_hash(hunze_op op, hunze_type a, hunze_type b, hunze_type d)
{
    const uint64_t found = hash;
    hash = HARNESS_HASH_START;
    if (recording) {
        printf("    {%d, %d, %d, %d, %s, 0x%016llx},\n", op, a, b, d, harness_small() ? "true" : "false",
               (unsigned long long)found);
        return;
    }
    for (size_t i = 0; i < sizeof recorded_hashes / sizeof recorded_hashes[0]; i++) {
        const recorded *r = &recorded_hashes[i];
        if (r->op == op && r->a == a && r->b == b && r->d == d && r->small == harness_small()) {
            harness_check(r->hash == found, "op %d types %d %d %d: the hash is %016llx, recorded %016llx", op, a, b, d,
                          (unsigned long long)found, (unsigned long long)r->hash);
            return;
        }
    }
    harness_fail("op %d types %d %d %d: no hash is recorded", op, a, b, d);
}

/* parts: where the result may be computed piece by piece (a_axis -1: nowhere). */
static void check_case(const bits_case *c, const part *pieces)
{
    char *baseline = run_baseline(c, 0);
    hunze_run run = {.struct_size = sizeof run};
    for (int i = 0; i < 3; i++) {
        run.threads = (const int32_t[]){2, 3, 7}[i];
        expect_same(c,
                    run.threads == 2   ? "2 threads"
                    : run.threads == 3 ? "3 threads"
                                       : "7 threads",
                    baseline, native, NULL, 0, NULL, &run, NULL);
    }
    run.threads = 3;
    run.parallel_for = harness_serially;
    expect_same(c, "a serial parallel_for", baseline, native, NULL, 0, NULL, &run, NULL);
    run.parallel_for = harness_reversed;
    expect_same(c, "a reversed parallel_for", baseline, native, NULL, 0, NULL, &run, NULL);
    run.parallel_for = NULL;
    run.threads = 2;
    check_environment(c, baseline, &run);
    run.threads = 1;
    hunze_tensor packed;
    int64_t packed_count;
    if (pack(c, native, &packed, &packed_count)) {
        expect_same(c, "packed weights", baseline, native, &packed, 0, NULL, &run, NULL);
        run.threads = 3;
        expect_same(c, "packed weights, 3 threads", baseline, native, &packed, 0, NULL, &run, NULL);
    }
    char *reproducible = run_baseline(
        c, HUNZE_REPRODUCIBLE); /* a row's own order is that of the bundle which calls get where it is there */
    hash_results(c, reproducible);
    for (const hunze_row *row = hunze_rows; row->name; row++)
        expect_same(c, "forced", row->order == HUNZE_ORDER_OWN ? baseline : reproducible, native, NULL, 0, row->name,
                    &run, NULL);
    if (pieces->a_axis >= 0) {
        const int64_t extent = c->d.shape[pieces->d_axis];
        for (int64_t start = 0; start < extent; start += start % 3 + 1) {
            part p = *pieces;
            p.start = start;
            p.length = extent - start < start % 3 + 1 ? extent - start : start % 3 + 1;
            expect_same(c, "a part of the batch", baseline, native, NULL, 0, NULL, &run, &p);
        }
    }
    free(baseline);
    for (int i = 0; i < ISAS; i++)
        if (restricted[i]) {
            expect_same(c, isas[i], reproducible, restricted[i], NULL, 0, NULL, &run, NULL);
            if (pack(c, restricted[i], &packed, &packed_count))
                expect_same(c, isas[i], reproducible, restricted[i], &packed, 0, NULL, &run, NULL);
        }
    free(reproducible);
}

/* ------------------------------------------------------------------ cases */

typedef struct types {
    hunze_type a, b, d;
} types;
static const types products[] = {
    {HUNZE_TYPE_F32, HUNZE_TYPE_F32, HUNZE_TYPE_F32},    {HUNZE_TYPE_F64, HUNZE_TYPE_F64, HUNZE_TYPE_F64},
    {HUNZE_TYPE_U8, HUNZE_TYPE_S8, HUNZE_TYPE_S32},      {HUNZE_TYPE_S8, HUNZE_TYPE_S8, HUNZE_TYPE_S32},
    {HUNZE_TYPE_U8, HUNZE_TYPE_S8, HUNZE_TYPE_F32},      {HUNZE_TYPE_S8, HUNZE_TYPE_S8, HUNZE_TYPE_F32},
    {HUNZE_TYPE_U8, HUNZE_TYPE_S8, HUNZE_TYPE_U8},       {HUNZE_TYPE_S8, HUNZE_TYPE_S8, HUNZE_TYPE_S8},
    {HUNZE_TYPE_BF16, HUNZE_TYPE_BF16, HUNZE_TYPE_BF16}, {HUNZE_TYPE_F16, HUNZE_TYPE_F16, HUNZE_TYPE_F16},
    {HUNZE_TYPE_BF16, HUNZE_TYPE_BF16, HUNZE_TYPE_F32},  {HUNZE_TYPE_F16, HUNZE_TYPE_F16, HUNZE_TYPE_F32},
    {HUNZE_TYPE_S16, HUNZE_TYPE_S16, HUNZE_TYPE_S16},    {HUNZE_TYPE_S32, HUNZE_TYPE_S32, HUNZE_TYPE_S32},
    {HUNZE_TYPE_S64, HUNZE_TYPE_S64, HUNZE_TYPE_S64},    {HUNZE_TYPE_U32, HUNZE_TYPE_U32, HUNZE_TYPE_U32}};
enum { PRODUCTS = sizeof products / sizeof products[0], CONVOLUTIONS = 8 /* the first of them */ };

static bool is_integer(const types *t) { return t->b == HUNZE_TYPE_S8; }
static bool wraps(const types *t) { return hunze_type_wraps(t->b); }
static bool is_scaled(const types *t) { return is_integer(t) && t->d != HUNZE_TYPE_S32; }

/* Bias, residual and activation as the types allow. */
static void add_epilogue(bits_case *c, harness_rng *rng, const types *t, int64_t bias_count, harness_values values,
                         uint32_t choice)
{
    const hunze_type type = is_scaled(t) ? HUNZE_TYPE_F32 : t->d;
    if (choice & 1) {
        lay_out(&c->bias, SLOT_BIAS, type, 1, &bias_count, NULL, 0, HARNESS_AT_END);
        fill_operand(&c->bias, rng, values);
    }
    if (choice & 2 && (type != HUNZE_TYPE_S32 || wraps(t))) {
        lay_out(&c->residual, SLOT_RESIDUAL, type, c->d.tensor.ndim, c->d.shape, NULL, 0, HARNESS_AT_END);
        fill_operand(&c->residual, rng, values);
    }
    static const uint32_t kinds[] = {HUNZE_ACT_NONE, HUNZE_ACT_RELU, HUNZE_ACT_GELU, HUNZE_ACT_HARDSWISH,
                                     HUNZE_ACT_SILU};
    c->activation.kind = type == HUNZE_TYPE_U32   ? HUNZE_ACT_NONE
                         : hunze_type_wraps(type) ? kinds[choice >> 2 & 1]
                                                  : kinds[(choice >> 2) % 5];
}

static void gemm_case(harness_rng *rng, const types *t, int64_t batch, int64_t m, int64_t n, int64_t k,
                      harness_values values)
{
    const uint32_t choice = (uint32_t)harness_u64(rng);
    bits_case c = {.op = HUNZE_OP_GEMM,
                   .alpha = choice & 1 || is_integer(t) ? 1
                            : wraps(t)                  ? -3
                                                        : -0.75,
                   .beta = wraps(t) ? 2 : 0.5};
    c.gemm.transpose_a = choice >> 1 & 1;
    c.gemm.transpose_b = choice >> 2 & 1;
    const int64_t a_shape[] = {batch, c.gemm.transpose_a ? k : m, c.gemm.transpose_a ? m : k},
                  d_shape[] = {batch, m, n};
    const int64_t b_shape[] = {batch, c.gemm.transpose_b ? n : k, c.gemm.transpose_b ? k : n};
    const bool shared_b = choice & 8;
    lay_out(&c.a, SLOT_A, t->a, 3, a_shape, NULL, choice >> 4 & 3, HARNESS_AT_END);
    lay_out(&c.b, SLOT_B, t->b, shared_b ? 2 : 3, b_shape + (shared_b ? 1 : 0), NULL, choice >> 6 & 3, HARNESS_AT_END);
    lay_out(&c.d, SLOT_D, t->d, 3, d_shape, NULL, choice >> 8 & 3, HARNESS_AT_END);
    fill_operand(&c.a, rng, values);
    fill_operand(&c.b, rng, values);
    if (!is_integer(t) && choice >> 10 & 1) {
        lay_out(&c.c, SLOT_C, t->d, 3, d_shape, NULL, choice >> 11 & 3, HARNESS_AT_END);
        fill_operand(&c.c, rng, values);
    }
    if (is_integer(t) && (is_scaled(t) || choice >> 13 & 1)) {
        add_quant(&c, 0, t->a, -1, 1, is_scaled(t), choice >> 14 & 1);
        add_quant(&c, 1, t->b, choice >> 15 & 1 ? c.b.tensor.ndim - (c.gemm.transpose_b ? 2 : 1) : -1,
                  choice >> 15 & 1 ? n : 1, is_scaled(t), choice >> 16 & 1);
        if (t->d == HUNZE_TYPE_U8 || t->d == HUNZE_TYPE_S8)
            add_quant(&c, 2, t->d, -1, 1, true, choice >> 17 & 1);
    }
    add_epilogue(&c, rng, t, n, values, choice >> 18);
    snprintf(c.text, sizeof c.text, "gemm types %d %d %d batch %lld m %lld n %lld k %lld%s%s %s choice %x", t->a, t->b,
             t->d, (long long)batch, (long long)m, (long long)n, (long long)k, c.gemm.transpose_a ? " At" : "",
             c.gemm.transpose_b ? " Bt" : "", harness_values_name(values), choice);
    harness_case("%s", c.text);
    /* Row by row with a shared B, else product by product. */
    if (shared_b && batch == 1)
        check_case(&c, &(part){.a_axis = c.gemm.transpose_a ? 2 : 1, .d_axis = 1});
    else
        check_case(&c, &(part){.a_axis = shared_b ? 0 : -1, .d_axis = 0});
}

static void test_gemm_bits(void **state)
{
    (void)state;
    harness_begin("gemm");
    static const int64_t extents[] = {1, 2, 5, 6, 7, 8, 13, 14, 15, 16, 17, 31, 33, 47, 61, 64, 67, 97};
    /* Of each way to compute a product: few rows, one column, many small ones, several macro-tiles, several blocks of k. */
    static const int64_t ways[][4] = {{1, 3, 500, 700}, {1, 16, 150, 1030}, {1, 200, 1, 600},
                                      {60, 9, 9, 9},    {1, 230, 301, 77},  {1, 90, 70, 1300}};
    for (int t = 0; t < PRODUCTS; t++) {
        harness_rng rng = {61 + (uint64_t)t * 1000};
        for (int turn = 0; turn < harness_budget(40, 3); turn++) {
            const int64_t m = extents[harness_between(&rng, 0, 17)], n = extents[harness_between(&rng, 0, 17)];
            const int64_t k = turn % 3 == 2 ? harness_between(&rng, 500, 1300) : extents[harness_between(&rng, 0, 17)];
            gemm_case(&rng, &products[t], harness_between(&rng, 1, 3), m, n, k,
                      (harness_values)(turn % HARNESS_VALUES));
        }
        for (int way = 0; way < harness_budget(sizeof ways / sizeof ways[0], 0); way++)
            gemm_case(&rng, &products[t], ways[way][0], ways[way][1], ways[way][2], ways[way][3], HARNESS_UNIFORM);
        gemm_case(&rng, &products[t], 1, 20, 40, 77, HARNESS_UNIFORM);
        gemm_case(&rng, &products[t], 2, 3, 5, 0, HARNESS_UNIFORM);
        check_hash(HUNZE_OP_GEMM, products[t].a, products[t].b, products[t].d);
    }
}

static void conv_case(harness_rng *rng, hunze_op op, const types *t, int spatial, bool depthwise, harness_values values)
{
    const uint32_t choice = (uint32_t)harness_u64(rng);
    bits_case c = {.op = op, .alpha = 1};
    const bool transposed = op == HUNZE_OP_CONV_TRANSPOSE;
    const int64_t images = harness_between(rng, 1, 3);
    const int64_t groups = depthwise ? harness_between(rng, 2, 35) : 1 + (choice & 1);
    const int64_t channels = depthwise ? groups : groups * harness_between(rng, 1, 19),
                  outputs = depthwise ? groups : groups * harness_between(rng, 1, 23);
    int64_t in[2], out[2], kernel[2];
    c.conv.groups = (uint32_t)groups;
    for (int axis = 0; axis < spatial; axis++) {
        kernel[axis] = harness_between(rng, 1, 4);
        c.conv.stride[axis] = (uint32_t)harness_between(rng, 0, 2);
        c.conv.dilation[axis] = (uint32_t)harness_between(rng, 0, 2);
        c.conv.pad_before[axis] = (int32_t)harness_between(rng, 0, 2);
        c.conv.pad_after[axis] = (int32_t)harness_between(rng, 0, 3);
        const int64_t stride = c.conv.stride[axis] ? c.conv.stride[axis] : 1,
                      dilation = c.conv.dilation[axis] ? c.conv.dilation[axis] : 1;
        const int64_t reach = dilation * (kernel[axis] - 1) + 1, pad = c.conv.pad_before[axis] + c.conv.pad_after[axis];
        in[axis] = reach + harness_between(rng, 0, 12) + (transposed ? pad : 0);
        out[axis] = transposed ? (in[axis] - 1) * stride - pad + reach : (in[axis] + pad - reach) / stride + 1;
    }
    int64_t x_shape[DIMS] = {images, channels}, y_shape[DIMS] = {images, outputs};
    int64_t w_shape[DIMS] = {transposed ? channels : outputs, (transposed ? outputs : channels) / groups};
    for (int axis = 0; axis < spatial; axis++) {
        x_shape[2 + axis] = in[axis];
        y_shape[2 + axis] = out[axis];
        w_shape[2 + axis] = kernel[axis];
    }
    static const int first[] = {0, 1, 2, 3}, last_2[] = {0, 2, 3, 1}, last_1[] = {0, 2, 1};
    const int *const last = spatial == 2 ? last_2 : last_1;
    const int ndim = 2 + spatial;
    lay_out(&c.a, SLOT_A, t->a, ndim, x_shape, choice & 2 ? last : first, choice >> 2 & 1, HARNESS_AT_END);
    lay_out(&c.b, SLOT_B, t->b, ndim, w_shape, choice & 8 ? last : first, 0, HARNESS_AT_END);
    lay_out(&c.d, SLOT_D, t->d, ndim, y_shape, choice & 16 ? last : first, choice >> 5 & 1, HARNESS_AT_END);
    fill_operand(&c.a, rng, values);
    fill_operand(&c.b, rng, values);
    if (is_integer(t) && (is_scaled(t) || choice >> 6 & 1)) {
        add_quant(&c, 0, t->a, -1, 1, is_scaled(t), choice >> 7 & 1);
        add_quant(&c, 1, t->b, choice >> 8 & 1 ? 0 : -1, choice >> 8 & 1 ? outputs : 1, is_scaled(t), choice >> 9 & 1);
        if (t->d == HUNZE_TYPE_U8 || t->d == HUNZE_TYPE_S8)
            add_quant(&c, 2, t->d, -1, 1, true, choice >> 10 & 1);
    }
    add_epilogue(&c, rng, t, outputs, values, choice >> 11);
    snprintf(c.text, sizeof c.text,
             "op %d types %d %d %d x (%lld, %lld, %lld, %lld) w (%lld, %lld, %lld, %lld) groups %lld %s choice %x", op,
             t->a, t->b, t->d, (long long)x_shape[0], (long long)x_shape[1], (long long)x_shape[2],
             (long long)x_shape[3], (long long)w_shape[0], (long long)w_shape[1], (long long)w_shape[2],
             (long long)w_shape[3], (long long)groups, harness_values_name(values), choice);
    harness_case("%s", c.text);
    check_case(&c, &(part){.a_axis = 0, .d_axis = 0});

    /* The other name of the axes over other memory: x and y channels-last, shapes permuted; the same bits, element by element. */
    char *baseline = run_baseline(&c, 0);
    bits_case other = c;
    other.conv.layout = HUNZE_CHANNELS_LAST;
    lay_out(&other.d, SLOT_D, t->d, ndim, y_shape, last, 0, HARNESS_AT_END);
    operand *const views[] = {&other.a, &other.d, &other.residual};
    for (int i = 0; i < 3; i++)
        if (views[i]->tensor.data)
            for (int axis = 1; axis < ndim; axis++) {
                const operand *from = i == 0 ? &c.a : i == 1 ? NULL : &c.residual;
                const int64_t *shape = i == 1 ? y_shape : from->shape;
                const int64_t stride = i == 1 ? 0 : from->strides[last[axis]];
                views[i]->shape[axis] = shape[last[axis]];
                views[i]->strides[axis] = stride;
            }
    for (int axis = ndim - 1, stride = 1; axis >= 0; axis--) {
        other.d.strides[axis] = stride;
        stride *= (int)other.d.shape[axis];
    }
    bind_case(&other);
    const hunze_status status = run_case(native, &other, &other.b.tensor, 0, NULL, NULL);
    harness_check(status == HUNZE_OK, "channels last: %s", hunze_last_error());
    operand logical = other.d; /* read in channels-first order */
    for (int axis = 1; axis < ndim; axis++) {
        logical.shape[last[axis]] = other.d.shape[axis];
        logical.strides[last[axis]] = other.d.strides[axis];
    }
    for (int64_t i = 0; i < operand_count(&logical); i++) {
        const char *want = baseline + (size_t)i * harness_bytes(t->d);
        harness_check(harness_same(t->d, operand_at(&logical, i), want), "channels last: element %lld is %s, not %s",
                      (long long)i, harness_show(t->d, operand_at(&logical, i)), harness_show(t->d, want));
    }
    free(baseline);
}

static void test_conv_bits(void **state)
{
    (void)state;
    harness_begin("conv");
    for (int t = 0; t < CONVOLUTIONS; t++) {
        harness_rng rng = {62 + (uint64_t)t * 1000};
        for (int turn = 0; turn < harness_budget(24, 3); turn++)
            conv_case(&rng, HUNZE_OP_CONV, &products[t], 1 + (turn % 4 != 0), turn % 3 == 0,
                      (harness_values)(turn % HARNESS_VALUES));
        check_hash(HUNZE_OP_CONV, products[t].a, products[t].b, products[t].d);
    }
}

static void test_conv_transpose_bits(void **state)
{
    (void)state;
    harness_begin("conv_transpose");
    for (int t = 0; t < 2; t++) {
        harness_rng rng = {63 + (uint64_t)t * 1000};
        for (int turn = 0; turn < harness_budget(24, 3); turn++)
            conv_case(&rng, HUNZE_OP_CONV_TRANSPOSE, &products[t], 2, turn % 5 == 0,
                      (harness_values)(turn % HARNESS_VALUES));
        check_hash(HUNZE_OP_CONV_TRANSPOSE, products[t].a, products[t].b, products[t].d);
    }
}

static void test_elementwise_bits(void **state)
{
    (void)state;
    harness_begin("quantize, dequantize, activation");
    static const types kinds[] = {
        {HUNZE_TYPE_F32, HUNZE_TYPE_NONE, HUNZE_TYPE_U8},  {HUNZE_TYPE_F32, HUNZE_TYPE_NONE, HUNZE_TYPE_S8},
        {HUNZE_TYPE_U8, HUNZE_TYPE_NONE, HUNZE_TYPE_F32},  {HUNZE_TYPE_S8, HUNZE_TYPE_NONE, HUNZE_TYPE_F32},
        {HUNZE_TYPE_F32, HUNZE_TYPE_NONE, HUNZE_TYPE_F32}, {HUNZE_TYPE_F64, HUNZE_TYPE_NONE, HUNZE_TYPE_F64}};
    for (int kind = 0; kind < 6; kind++) {
        harness_rng rng = {64 + (uint64_t)kind * 1000};
        hunze_op op = HUNZE_OP_ACTIVATION;
        for (int turn = 0; turn < harness_budget(48, 6); turn++) {
            const types *t = &kinds[kind];
            const int64_t shape[] = {harness_between(&rng, 1, 5), harness_between(&rng, 1, 70),
                                     harness_between(&rng, 1, harness_budget(400, 40))};
            static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {2, 1, 0}};
            bits_case c = {.op = kind < 2 ? HUNZE_OP_QUANTIZE : kind < 4 ? HUNZE_OP_DEQUANTIZE : HUNZE_OP_ACTIVATION};
            lay_out(&c.a, SLOT_A, t->a, 3, shape, orders[turn % 3], turn % 2, HARNESS_AT_END);
            lay_out(&c.d, SLOT_D, t->d, 3, shape, orders[turn / 3 % 3], turn / 2 % 2, HARNESS_AT_END);
            fill_operand(&c.a, &rng, turn % 8 == 4 ? HARNESS_SPECIAL : (harness_values)(turn % HARNESS_VALUES));
            if (kind < 4)
                add_quant(&c, 0, kind < 2 ? t->d : t->a, turn & 4 ? 1 : -1, turn & 4 ? shape[1] : 1, true, turn & 8);
            else
                c.activation.kind = (uint32_t)(turn % 12);
            harness_case("op %d types %d %d shape (%lld, %lld, %lld) turn %d", c.op, t->a, t->d, (long long)shape[0],
                         (long long)shape[1], (long long)shape[2], turn);
            check_case(&c, &(part){.a_axis = 0, .d_axis = 0});
            op = c.op;
        }
        check_hash(op, kinds[kind].a, kinds[kind].b, kinds[kind].d);
    }
}

/* A product of two halves of k, cut at a block's border, the second with beta = 1, has the bits of one call. */
static void test_block_borders(void **state)
{
    (void)state;
    harness_begin("a product cut at the border of a block of k");
    for (int t = 0; t < PRODUCTS; t++) {
        const types *type = &products[t];
        if (is_integer(type) || harness_bytes(type->d) < 4)
            continue; /* integers of 8 bits take no C; t of a D of 16 bits is not in D */
        harness_rng rng = {65};
        const int64_t kc = type->d == HUNZE_TYPE_F64 ? HUNZE_KC_F64 : HUNZE_KC_F32, m = 5, n = 39, k = 2 * kc + 100;
        bits_case c = {.op = HUNZE_OP_GEMM, .alpha = wraps(type) ? -3 : -0.75, .beta = 1};
        lay_out(&c.a, SLOT_A, type->a, 2, (const int64_t[]){m, k}, NULL, 0, HARNESS_AT_END);
        lay_out(&c.b, SLOT_B, type->b, 2, (const int64_t[]){k, n}, NULL, 0, HARNESS_AT_END);
        lay_out(&c.d, SLOT_D, type->d, 2, (const int64_t[]){m, n}, NULL, 0, HARNESS_AT_END);
        fill_operand(&c.a, &rng, HARNESS_UNIFORM);
        fill_operand(&c.b, &rng, HARNESS_UNIFORM);
        harness_case("types %d %d %d k %lld", type->a, type->b, type->d, (long long)k);
        char *whole = run_baseline(&c, 0);
        bits_case first = c, second = c;
        first.a.shape[1] = first.b.shape[0] = kc;
        second.a.shape[1] = second.b.shape[0] = k - kc;
        second.a.tensor.data = operand_at(&c.a, kc);
        second.b.tensor.data = operand_at(&c.b, kc * n);
        second.c = c.d;
        bits_case *const halves[] = {&first, &second};
        for (int half = 0; half < 2; half++) {
            bind_case(halves[half]);
            const hunze_status status = run_case(native, halves[half], &halves[half]->b.tensor, 0, NULL, NULL);
            harness_check(status == HUNZE_OK, "%s: %s", hunze_status_name(status), hunze_last_error());
        }
        for (int64_t i = 0; i < m * n; i++)
            harness_check(
                !memcmp(operand_at(&c.d, i), whole + (size_t)i * harness_bytes(type->d), harness_bytes(type->d)),
                "element %lld is %s, not %s", (long long)i, harness_show(type->d, operand_at(&c.d, i)),
                harness_show(type->d, whole + (size_t)i * harness_bytes(type->d)));
        free(whole);
    }
}

int main(int argc, char **argv)
{
    recording = argc > 1 && !strcmp(argv[1], "--record");
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gemm_bits), cmocka_unit_test(test_block_borders),
                                       cmocka_unit_test(test_conv_bits), cmocka_unit_test(test_conv_transpose_bits),
                                       cmocka_unit_test(test_elementwise_bits)};
    return cmocka_run_group_tests_name("the same bits", tests, open_contexts, close_contexts);
}
