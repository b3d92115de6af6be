/* SPDX-License-Identifier: Apache-2.0 */
/* Edges of the drivers that random cases seldom meet; each was found by a planted error that no other test noticed. */
#include "harness.h"
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static hunze_context *context;

static hunze_tensor tensor_of(void *data, uint8_t code, uint8_t bits, int ndim, int64_t *shape)
{
    return (hunze_tensor){data, {HUNZE_DEVICE_CPU, 0}, ndim, {code, bits, 1}, shape, NULL, 0};
}

/* One column of three weights, packed for the row, times one row of three extreme codes. */
static void check_pair(const hunze_row *row, int8_t w0, int8_t w1)
{
    const bool is_unsigned = row->a == HUNZE_TYPE_U8;
    const int magnitude = abs(w0) + abs(w1);
    int8_t w[3] = {w0, w1, 5};
    const int codes[3] = {is_unsigned ? 255 : -128, is_unsigned ? 255 : -128, 1};
    unsigned char a[3] = {(unsigned char)codes[0], (unsigned char)codes[1], 1};
    int32_t d = 0;
    int64_t w_shape[2] = {3, 1}, a_shape[2] = {1, 3}, d_shape[2] = {1, 1}, words;
    const hunze_tensor w_tensor = tensor_of(w, HUNZE_INT, 8, 2, w_shape),
                       d_tensor = tensor_of(&d, HUNZE_INT, 32, 2, d_shape),
                       a_tensor = tensor_of(a, is_unsigned ? HUNZE_UINT : HUNZE_INT, 8, 2, a_shape);
    const hunze_pack_options options = {.struct_size = sizeof options, .a_unsigned = is_unsigned, .kernel = row->name};
    harness_case("%s: weights %d and %d", row->name, w0, w1);
    size_t bytes = 0;
    harness_check(hunze_pack_size(context, &w_tensor, &options, &bytes) == HUNZE_OK, "%s", hunze_last_error());
    void *blob = aligned_alloc(64, bytes);
    words = (int64_t)bytes / 8;
    const hunze_tensor packed = tensor_of(blob, HUNZE_OPAQUE_HANDLE, 64, 1, &words);
    const hunze_status status = hunze_pack(context, &w_tensor, &packed, &options, NULL);
    harness_check(status == (magnitude <= 128 ? HUNZE_OK : HUNZE_ERR_UNSUPPORTED), "hunze_pack returns %d: %s", status,
                  hunze_last_error());
    if (status == HUNZE_OK) {
        harness_check(hunze_gemm(context, &a_tensor, &packed, NULL, &d_tensor, NULL, NULL) == HUNZE_OK, "%s",
                      hunze_last_error());
        const int32_t expected = codes[0] * w0 + codes[1] * w1 + codes[2] * 5;
        harness_check(d == expected, "the sum is %d, not %d", d, expected);
    }
    free(blob);
}

/* Pairs of weights up to 128 together are safe for vpmaddubsw, 129 are not. */
static void safe_pairs(void **unused)
{
    (void)unused;
    if (!(harness_bundles() & 1u << HUNZE_ISA_AVX2)) {
        print_message("not run here: rows for safe weights need AVX2\n");
        skip();
    }
    int rows = 0;
    harness_begin("safe pairs");
    for (const hunze_row *row = hunze_rows; row->name; row++) {
        if (!row->safe_weights)
            continue;
        rows++;
        for (int w0 = -128; w0 <= 127; w0++)
            for (int together = 127; together <= 130; together++) {
                const int w1 = together - abs(w0);
                if (w1 >= -127 && w1 <= 127) {
                    check_pair(row, (int8_t)w0, (int8_t)w1);
                    check_pair(row, (int8_t)w0, (int8_t)-w1);
                }
            }
    }
    assert_true(rows >= 2);
}

/* D = alpha * A @ B + beta * C with NaN everywhere in A and B, of which nothing counts: alpha or k is 0. */
static void check_nothing(hunze_type type, int64_t m, int64_t n, int64_t k, double alpha, const double *beta,
                          uint32_t flags)
{
    const size_t bytes = harness_bytes(type), count = (size_t)(m * k + k * n + 2 * m * n);
    char *memory = malloc(count * bytes), *b = memory + (size_t)(m * k) * bytes, *c = b + (size_t)(k * n) * bytes,
         *d = c + (size_t)(m * n) * bytes;
    for (size_t i = 0; i < count; i++)
        harness_set(type, memory, (int64_t)i, __builtin_nan(""));
    for (int64_t i = 0; beta && i < m * n; i++)
        harness_set(type, c, i, (double)(i % 9) - 4);
    int64_t a_shape[2] = {m, k}, b_shape[2] = {k, n}, d_shape[2] = {m, n};
    const uint8_t bits = (uint8_t)(8 * bytes);
    const hunze_tensor a_tensor = tensor_of(memory, HUNZE_FLOAT, bits, 2, a_shape),
                       b_tensor = tensor_of(b, HUNZE_FLOAT, bits, 2, b_shape),
                       c_tensor = tensor_of(c, HUNZE_FLOAT, bits, 2, d_shape),
                       d_tensor = tensor_of(d, HUNZE_FLOAT, bits, 2, d_shape);
    const hunze_gemm_options options = {.struct_size = sizeof options, .flags = flags, .alpha = &alpha, .beta = beta};
    harness_case("%s m %lld n %lld k %lld alpha %g beta %g flags %u", hunze_type_name(type), (long long)m, (long long)n,
                 (long long)k, alpha, beta ? *beta : 0, flags);
    harness_check(hunze_gemm(context, &a_tensor, &b_tensor, &c_tensor, &d_tensor, &options, NULL) == HUNZE_OK, "%s",
                  hunze_last_error());
    for (int64_t i = 0; i < m * n; i++) {
        const double expected = beta ? *beta * ((double)(i % 9) - 4) : 0;
        const double got = harness_get(type, d, i);
        harness_check(got == expected && !signbit(got) == !signbit(expected), "element %lld is %g, not %g",
                      (long long)i, got, expected);
    }
    free(memory);
}

/* On every way that a product takes: one tile and few at once, small ones, blocks; beta 0 does not read C's NaN either. */
static void nothing_counts(void **unused)
{
    (void)unused;
    static const int64_t sizes[][3] = {{1, 1, 1},    {3, 5, 7},      {6, 16, 40},   {20, 40, 30},
                                       {1, 300, 70}, {150, 60, 600}, {70, 200, 257}};
    static const double two = 2, alphas[] = {0, -0.0, -1, INFINITY};
    harness_begin("alpha or k is 0");
    for (int i = 0; i < (int)(sizeof sizes / sizeof sizes[0]); i++)
        for (hunze_type type = HUNZE_TYPE_F32; type <= HUNZE_TYPE_F64; type++)
            for (int with_c = 0; with_c < 2; with_c++)
                for (int flags = 0; flags < 2; flags++)
                    for (int alpha = 0; alpha < 4; alpha++)
                        check_nothing(type, sizes[i][0], sizes[i][1], alpha < 2 ? sizes[i][2] : 0, alphas[alpha],
                                      with_c ? &two : NULL, flags ? HUNZE_REPRODUCIBLE : 0);
}

/* Two calls that differ in nothing but the axis of the scales, so that a plan of the first must not serve the second. */
static void axes_of_square_tensors(void **unused)
{
    (void)unused;
    enum { N = 5 };
    float x[N * N], scale[N];
    int8_t codes[N * N];
    int64_t shape[2] = {N, N}, count = N;
    for (int i = 0; i < N * N; i++)
        x[i] = (float)(4 * i - 40);
    for (int i = 0; i < N; i++)
        scale[i] = (float)(1 << i);
    const hunze_tensor x_tensor = tensor_of(x, HUNZE_FLOAT, 32, 2, shape),
                       d_tensor = tensor_of(codes, HUNZE_INT, 8, 2, shape),
                       scale_tensor = tensor_of(scale, HUNZE_FLOAT, 32, 1, &count);
    harness_begin("axes");
    for (int turn = 0; turn < 4; turn++) {
        const int axis = turn % 2;
        const hunze_quant quant = {
            .struct_size = sizeof quant, .granularity = HUNZE_PER_AXIS, .axis = axis, .scale = &scale_tensor};
        const hunze_quantize_options options = {.struct_size = sizeof options, .quant = &quant};
        harness_case("quantize, axis %d", axis);
        harness_check(hunze_quantize(context, &x_tensor, &d_tensor, &options, NULL) == HUNZE_OK, "%s",
                      hunze_last_error());
        for (int i = 0; i < N * N; i++) {
            const double exact = __builtin_rint((double)x[i] / scale[axis == 0 ? i / N : i % N]);
            harness_check(codes[i] == exact, "code %d is %d, not %g", i, codes[i], exact);
        }
    }
}

/* A wide image and many output channels: rows are read in place, and every panel's sums start anew for each of them. */
static void many_panels_read_in_place(void **unused)
{
    (void)unused;
    enum { H = 4, W = 31, C = 8, OUT = 150, KERNEL = 3, OUT_H = H - KERNEL + 1, OUT_W = W - KERNEL + 1 };
    static float x[H * W * C], w[OUT * KERNEL * KERNEL * C], y[OUT_H * OUT_W * OUT];
    int64_t x_shape[4] = {1, H, W, C}, y_shape[4] = {1, OUT_H, OUT_W, OUT}, w_shape[4] = {OUT, C, KERNEL, KERNEL};
    int64_t w_strides[4] = {KERNEL * KERNEL * C, 1, KERNEL * C, C}; /* w in memory as (out, r, s, c) */
    harness_rng rng = {5};
    for (int i = 0; i < H * W * C; i++)
        x[i] = (float)harness_uniform(&rng);
    for (int i = 0; i < OUT * KERNEL * KERNEL * C; i++)
        w[i] = (float)harness_uniform(&rng);
    hunze_tensor w_tensor = tensor_of(w, HUNZE_FLOAT, 32, 4, w_shape);
    w_tensor.strides = w_strides;
    const hunze_tensor x_tensor = tensor_of(x, HUNZE_FLOAT, 32, 4, x_shape),
                       y_tensor = tensor_of(y, HUNZE_FLOAT, 32, 4, y_shape);
    const hunze_conv_options options = {.struct_size = sizeof options, .layout = HUNZE_CHANNELS_LAST};
    harness_begin("many panels");
    harness_case("conv of %d x %d with %d output channels", H, W, OUT);
    harness_check(hunze_conv(context, &x_tensor, &w_tensor, &y_tensor, &options, NULL) == HUNZE_OK, "%s",
                  hunze_last_error());
    for (int i = 0; i < OUT_H * OUT_W * OUT; i++) {
        const int channel = i % OUT, column = i / OUT % OUT_W, row = i / OUT / OUT_W;
        float sum = 0;
        for (int k = 0; k < KERNEL * KERNEL * C; k++)
            sum = __builtin_fmaf(x[((row + k / C / KERNEL) * W + column) * C + k % (KERNEL * C)],
                                 w[channel * KERNEL * KERNEL * C + k], sum);
        harness_check(y[i] == sum, "row %d column %d channel %d is %.9g, not %.9g", row, column, channel, y[i], sum);
    }
}

int main(void)
{
    if (hunze_context_create(NULL, &context))
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(safe_pairs), cmocka_unit_test(nothing_counts),
                                       cmocka_unit_test(axes_of_square_tensors),
                                       cmocka_unit_test(many_panels_read_in_place)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hunze_context_release(context);
    return failed;
}
