/* SPDX-License-Identifier: Apache-2.0 */
/* Products, convolutions and depthwise convolutions of integers on the device against the CPU, bit by bit: shapes around the tiles, strides and
 * alignments of every kind, batches, groups, padding, zero points per tensor, row and column, all results, bias, residual, activations; and
 * what the kernels read, write and meet in shared memory. */
#include "device_row.h"
#include "on_device.h"
#include "random_shapes.h"

#include <math.h>
#include <stdio.h>

typedef struct parameters {
    float *scale;
    uint8_t *zero;
    int64_t count;
    hunze_tensor scale_tensor, zero_tensor;
    hunze_quant quant;
} parameters;

typedef struct problem {
    hunze_type a_type, d_type;
    array a, b, d, bias, residual;
    parameters a_quant, b_quant, d_quant;
    hunze_activation activation;
    int shift[2]; /* of a and b behind an aligned address */
} problem;

static bool scaled(const problem *p) { return p->d_type != HUNZE_TYPE_S32; }
static bool codes(const problem *p) { return p->d_type == HUNZE_TYPE_S8 || p->d_type == HUNZE_TYPE_U8; }

/* axis -1: one for the tensor.  A scale of 1/2 makes ties. */
static void make_parameters(parameters *p, harness_rng *rng, hunze_type type, int axis, int64_t extent, bool scales,
                            bool zeros)
{
    p->count = axis < 0 ? 1 : extent;
    p->scale = malloc((size_t)p->count * sizeof *p->scale + 1);
    p->zero = malloc((size_t)p->count + 1);
    for (int64_t i = 0; i < p->count; i++) {
        p->scale[i] = 0.001f + (float)fabs(harness_uniform(rng)) / 20;
        if (harness_between(rng, 0, 2) == 0)
            p->scale[i] = harness_between(rng, 0, 1) ? 0.5f : -p->scale[i];
        p->zero[i] = (uint8_t)harness_u64(rng);
    }
    p->scale_tensor = (hunze_tensor){p->scale, the_cpu, axis >= 0, {HUNZE_FLOAT, 32, 1}, &p->count, NULL, 0};
    p->zero_tensor = (hunze_tensor){p->zero, the_cpu, axis >= 0, harness_dtype(type), &p->count, NULL, 0};
    p->quant = (hunze_quant){.struct_size = sizeof p->quant,
                             .granularity = axis < 0 ? HUNZE_PER_TENSOR : HUNZE_PER_AXIS,
                             .axis = axis,
                             .scale = scales ? &p->scale_tensor : NULL,
                             .zero_point = zeros ? &p->zero_tensor : NULL};
}

static const hunze_quant *quant_of(const parameters *p)
{
    return p->quant.scale || p->quant.zero_point ? &p->quant : NULL;
}

static void drop_problem(problem *p)
{
    array *arrays[] = {&p->a, &p->b, &p->d, &p->bias, &p->residual};
    parameters *all[] = {&p->a_quant, &p->b_quant, &p->d_quant};
    for (int i = 0; i < 5; i++)
        drop(arrays[i]);
    for (int i = 0; i < 3; i++) {
        free(all[i]->scale);
        free(all[i]->zero);
    }
    drop_twins();
}

static void begin_problem(problem *p, harness_rng *rng)
{
    static const hunze_type results[] = {HUNZE_TYPE_S32, HUNZE_TYPE_S32, HUNZE_TYPE_F32, HUNZE_TYPE_S8, HUNZE_TYPE_U8};
    static const int shifts[] = {0, 0, 16, 4, 1};
    memset(p, 0, sizeof *p);
    p->a_type = harness_between(rng, 0, 1) ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8;
    p->d_type = results[harness_between(rng, 0, 4)];
    for (int i = 0; i < 2; i++)
        p->shift[i] = shifts[harness_between(rng, 0, 4)];
}

/* Any bytes, or the largest. */
static void fill_bytes(array *x, harness_rng *rng, int kind)
{
    for (size_t i = 0; i < x->bytes; i++) {
        int value = kind == 1 ? -128 : kind == 2 ? 127 : (int)(int8_t)harness_u64(rng);
        if (x->tensor.dtype.code == HUNZE_UINT && kind)
            value = -1; /* 255 */
        x->memory[i] = (char)value;
    }
}

static void fill_operands(problem *p, harness_rng *rng, int turn)
{
    const int kind = turn % 5 == 4 ? 1 + turn / 5 % 2 : 0;
    fill_bytes(&p->a, rng, kind);
    fill_bytes(&p->b, rng, kind);
}

static void make_floats(array *x, harness_rng *rng, int ndim, const int64_t *shape)
{
    make(x, rng, HUNZE_TYPE_F32, ndim, shape);
    for (size_t i = 0; i < x->bytes / 4; i++)
        ((float *)(void *)x->memory)[i] = (float)harness_uniform(rng) * 9;
}

static const hunze_tensor *make_bias(problem *p, harness_rng *rng, int ndim, const int64_t *shape)
{
    if (!scaled(p) || harness_between(rng, 0, 1))
        make(&p->bias, rng, HUNZE_TYPE_S32, ndim, shape);
    else
        make_floats(&p->bias, rng, ndim, shape);
    return &p->bias.tensor;
}

static const hunze_activation *make_activation(problem *p, harness_rng *rng)
{
    if (harness_between(rng, 0, 1))
        return NULL;
    p->activation = (hunze_activation){.struct_size = sizeof p->activation,
                                       .kind = harness_between(rng, 0, 1) ? HUNZE_ACT_RELU : HUNZE_ACT_CLIP,
                                       .alpha = -2.5f,
                                       .beta = 90000.5f};
    if (scaled(p))
        p->activation.kind = (uint32_t)harness_between(rng, 0, HUNZE_ACT_CLIP);
    return &p->activation;
}

/* ------------------------------------------------------------------ products */

static void run_gemm(problem *p, const hunze_gemm_options *options, const char *kernel)
{
    hunze_gemm_options device = *options;
    hunze_quant quants[3];
    const hunze_tensor *a = to_device(&p->a.tensor, p->shift[0]), *b = to_device(&p->b.tensor, p->shift[1]),
                       *d = to_device(&p->d.tensor, 0);
    device.a_quant = quant_to_device(options->a_quant, &quants[0]);
    device.b_quant = quant_to_device(options->b_quant, &quants[1]);
    device.d_quant = quant_to_device(options->d_quant, &quants[2]);
    device.bias = to_device(options->bias, 0);
    device.residual = to_device(options->residual, 0);
    device.kernel = kernel;
    check_status(hunze_gemm(context, a, b, NULL, d, &device, NULL), HUNZE_OK);
    check_status(hunze_gemm(context, &p->a.tensor, &p->b.tensor, NULL, &p->d.tensor, options, NULL), HUNZE_OK);
    check_same(d, &p->d.tensor, "gemm");
}

static const char *gemm_kernel(const problem *p) { return device_row(HUNZE_OP_GEMM, p->a_type, HUNZE_TYPE_S32); }

static void random_gemm(harness_rng *rng, int turn, int64_t m, int64_t n, int64_t k)
{
    problem p;
    begin_problem(&p, rng);
    const int axes = harness_between(rng, 0, 3) ? 0 : (int)harness_between(rng, 1, 2);
    const int64_t batch[2] = {harness_between(rng, 1, 3), harness_between(rng, 1, 3)};
    const bool transpose_a = harness_between(rng, 0, 1), transpose_b = harness_between(rng, 0, 1);
    harness_case("turn %d: %s to %s, %lld x %lld x %lld, %d leading axes, transposed %d %d, %d and %d bytes behind 64",
                 turn, hunze_type_name(p.a_type), hunze_type_name(p.d_type), (long long)m, (long long)n, (long long)k,
                 axes, transpose_a, transpose_b, p.shift[0], p.shift[1]);
    int64_t shape[4];
    const int a_axes = lead(rng, axes, batch, shape);
    shape[a_axes + transpose_a] = m;
    shape[a_axes + !transpose_a] = k;
    make(&p.a, rng, p.a_type, a_axes + 2, shape);
    const int b_axes = lead(rng, axes, batch, shape);
    shape[b_axes + transpose_b] = k;
    shape[b_axes + !transpose_b] = n;
    make(&p.b, rng, HUNZE_TYPE_S8, b_axes + 2, shape);
    memcpy(shape, batch, sizeof batch);
    shape[axes] = m;
    shape[axes + 1] = n;
    make(&p.d, rng, p.d_type, axes + 2, shape);
    fill_operands(&p, rng, turn);
    make_parameters(&p.a_quant, rng, p.a_type, harness_between(rng, 0, 1) ? -1 : a_axes + transpose_a, m, scaled(&p),
                    harness_between(rng, 0, 1));
    make_parameters(&p.b_quant, rng, HUNZE_TYPE_S8, harness_between(rng, 0, 1) ? -1 : b_axes + !transpose_b, n,
                    scaled(&p), harness_between(rng, 0, 1));
    make_parameters(&p.d_quant, rng, p.d_type, harness_between(rng, 0, 1) ? -1 : axes + 1, n, codes(&p),
                    codes(&p) && harness_between(rng, 0, 1));
    hunze_gemm_options options = {.struct_size = sizeof options,
                                  .flags = harness_between(rng, 0, 1) ? HUNZE_REPRODUCIBLE : 0,
                                  .transpose_a = transpose_a,
                                  .transpose_b = transpose_b,
                                  .a_quant = quant_of(&p.a_quant),
                                  .b_quant = quant_of(&p.b_quant),
                                  .d_quant = quant_of(&p.d_quant),
                                  .activation = make_activation(&p, rng)};
    if (harness_between(rng, 0, 1))
        options.bias = harness_between(rng, 0, 1) ? make_bias(&p, rng, 2, (int64_t[]){m, 1})
                                                  : make_bias(&p, rng, 1, (int64_t[]){n});
    if (scaled(&p) && harness_between(rng, 0, 2) == 0) {
        const int64_t whole[] = {batch[0], batch[1], m, n};
        const int own = (int)harness_between(rng, 0, axes + 2);
        for (int i = 0; i < own; i++)
            shape[i] = harness_between(rng, 0, 3)
                           ? (i + axes + 2 - own < axes ? batch[i + axes + 2 - own] : whole[4 - own + i])
                           : 1;
        make_floats(&p.residual, rng, own, shape);
        options.residual = &p.residual.tensor;
    }
    run_gemm(&p, &options, gemm_kernel(&p));
    drop_problem(&p);
}

/* One less and one more than tiles of D and of k, primes, nothing. */
static void gemm_around_tiles(void **unused)
{
    (void)unused;
    static const int64_t sizes[] = {0, 1, 2, 7, 31, 63, 64, 65, 97, 127, 128, 129};
    static const int64_t depths[] = {0,  1,  3,   4,   15,  16,  17,  31,  48,  63,
                                     64, 65, 100, 127, 128, 191, 192, 193, 256, 333};
    harness_rng rng = {61};
    for (int turn = 0; turn < 400; turn++)
        random_gemm(&rng, turn, sizes[harness_between(&rng, 0, 11)], sizes[harness_between(&rng, 0, 11)],
                    depths[harness_between(&rng, 0, 19)]);
}

/* As many tiles as it takes for the large ones, by HUNZE_TEST_SCALE on a device too, and several bands of tile rows. */
static void gemm_of_large_tiles(void **unused)
{
    (void)unused;
    static const int64_t sizes[][3] = {
        {300, 140, 77}, {257, 300, 64}, {1200, 70, 21}, {129, 513, 200}, {256, 256, 130}};
    harness_rng rng = {62};
    const int64_t scale = (harness_scale() + 1) / 2;
    for (int turn = 0; turn < 25; turn++) {
        const int64_t *size = sizes[turn % 5];
        random_gemm(&rng, turn, size[0] * scale, size[1] * scale, size[2] * ((scale + 3) / 4));
    }
}

/* Beyond the range of s32: it wraps. */
static void gemm_wraps(void **unused)
{
    (void)unused;
    for (int is_signed = 0; is_signed < 2; is_signed++) {
        harness_rng rng = {63};
        problem p;
        begin_problem(&p, &rng);
        p.a_type = is_signed ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8;
        p.d_type = HUNZE_TYPE_S32;
        const int64_t k = is_signed ? 131073 : 65794;
        harness_case("a %s, k %lld", hunze_type_name(p.a_type), (long long)k);
        make(&p.a, &rng, p.a_type, 2, (int64_t[]){2, k});
        make(&p.b, &rng, HUNZE_TYPE_S8, 2, (int64_t[]){k, 3});
        make(&p.d, &rng, p.d_type, 2, (int64_t[]){2, 3});
        fill_bytes(&p.a, &rng, 1);
        fill_bytes(&p.b, &rng, 1);
        make_parameters(&p.a_quant, &rng, p.a_type, -1, 1, false, true);
        make_parameters(&p.b_quant, &rng, HUNZE_TYPE_S8, 1, 3, false, true);
        hunze_gemm_options options = {.struct_size = sizeof options};
        run_gemm(&p, &options, gemm_kernel(&p));
        drop_twins();
        options.a_quant = &p.a_quant.quant;
        options.b_quant = &p.b_quant.quant;
        run_gemm(&p, &options, gemm_kernel(&p));
        drop_problem(&p);
    }
}

/* ------------------------------------------------------------------ convolutions */

static void run_conv(problem *p, const hunze_conv_options *options, const char *kernel)
{
    hunze_conv_options device = *options;
    hunze_quant quants[3];
    const hunze_tensor *x = to_device(&p->a.tensor, p->shift[0]), *w = to_device(&p->b.tensor, p->shift[1]),
                       *y = to_device(&p->d.tensor, 0);
    device.x_quant = quant_to_device(options->x_quant, &quants[0]);
    device.w_quant = quant_to_device(options->w_quant, &quants[1]);
    device.y_quant = quant_to_device(options->y_quant, &quants[2]);
    device.bias = to_device(options->bias, 0);
    device.residual = to_device(options->residual, 0);
    device.kernel = kernel;
    check_status(hunze_conv(context, x, w, y, &device, NULL), HUNZE_OK);
    check_status(hunze_conv(context, &p->a.tensor, &p->b.tensor, &p->d.tensor, options, NULL), HUNZE_OK);
    check_same(y, &p->d.tensor, "conv");
}

/* Row-major, with the second axis last. */
static void make_channels_last(array *x, hunze_type type, int ndim, const int64_t *shape)
{
    int64_t span = shape[1];
    x->strides[1] = 1;
    for (int axis = ndim - 1; axis >= 0; axis--) {
        x->shape[axis] = shape[axis];
        if (axis == 1)
            continue;
        x->strides[axis] = span;
        span *= shape[axis];
    }
    x->bytes = (size_t)span;
    x->memory = malloc(x->bytes + 1);
    x->before = NULL;
    x->tensor = (hunze_tensor){x->memory, the_cpu, ndim, harness_dtype(type), x->shape, x->strides, 0};
}

static void random_conv(harness_rng *rng, int turn, convolution_kind kind)
{
    problem p;
    convolution c;
    begin_problem(&p, rng);
    random_convolution(&c, rng, turn, kind);
    hunze_conv_options options = c.options;
    const int axes = c.spatial + 2;
    harness_case(
        "turn %d: %s to %s, %d spatial, channels %s, %lld groups of %lld to %lld, in %lld, kernel %lld, out %lld", turn,
        hunze_type_name(p.a_type), hunze_type_name(p.d_type), c.spatial, options.layout ? "last" : "first",
        (long long)c.groups, (long long)c.inputs, (long long)c.outputs, (long long)c.in[0], (long long)c.kernel[0],
        (long long)c.y[c.first]);
    make(&p.a, rng, p.a_type, axes, c.x);
    make(&p.d, rng, p.d_type, axes, c.y);
    if (harness_between(rng, 0, 1))
        make_channels_last(&p.b, HUNZE_TYPE_S8, axes, c.w);
    else
        make(&p.b, rng, HUNZE_TYPE_S8, axes, c.w);
    fill_operands(&p, rng, turn);
    make_parameters(&p.a_quant, rng, p.a_type, -1, 1, scaled(&p), harness_between(rng, 0, 1));
    make_parameters(&p.b_quant, rng, HUNZE_TYPE_S8, harness_between(rng, 0, 1) ? -1 : 0, c.w[0], scaled(&p),
                    harness_between(rng, 0, 1));
    make_parameters(&p.d_quant, rng, p.d_type, harness_between(rng, 0, 1) ? -1 : c.channel, c.w[0], codes(&p),
                    codes(&p) && harness_between(rng, 0, 1));
    options.x_quant = quant_of(&p.a_quant);
    options.w_quant = quant_of(&p.b_quant);
    options.y_quant = quant_of(&p.d_quant);
    options.activation = make_activation(&p, rng);
    if (harness_between(rng, 0, 1))
        options.bias = make_bias(&p, rng, 1, &c.w[0]);
    if (scaled(&p) && harness_between(rng, 0, 2) == 0) {
        make_floats(&p.residual, rng, axes, c.y);
        options.residual = &p.residual.tensor;
    }
    run_conv(&p, &options, kind == DEPTHWISE ? device_row(HUNZE_OP_CONV, p.a_type, HUNZE_TYPE_S32) : gemm_kernel(&p));
    drop_problem(&p);
}

static void conv(void **unused)
{
    (void)unused;
    harness_rng rng = {64};
    for (int turn = 0; turn < 400; turn++)
        random_conv(&rng, turn, CONV);
}

static void depthwise(void **unused)
{
    (void)unused;
    harness_rng rng = {65};
    for (int turn = 0; turn < 250; turn++)
        random_conv(&rng, turn, DEPTHWISE);
}

/* Of a position outside the image there is x's zero point for each channel, and nothing behind them: 17 channels come in copies of 16 bytes
 * where positions lie 32 bytes apart, and the weights' zero point multiplies the sum of each row. */
static void conv_of_padding_within_a_copy(void **unused)
{
    (void)unused;
    for (int turn = 0; turn < 4; turn++) {
        const int64_t channels = turn < 2 ? 17 : 5, apart = turn < 2 ? 32 : 8, in = 3, out = 5, outputs = 6;
        harness_rng rng = {68};
        problem p = {.a_type = turn % 2 ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8, .d_type = HUNZE_TYPE_S32};
        harness_case("%s, %lld channels every %lld bytes", hunze_type_name(p.a_type), (long long)channels,
                     (long long)apart);
        make_channels_last(&p.a, p.a_type, 4, (int64_t[]){1, apart, in, in});
        make_channels_last(&p.b, HUNZE_TYPE_S8, 4, (int64_t[]){outputs, channels, 1, 1});
        make(&p.d, &rng, p.d_type, 4, (int64_t[]){1, outputs, out, out});
        fill_bytes(&p.a, &rng, 0);
        fill_bytes(&p.b, &rng, 0);
        p.a.shape[1] = channels;
        make_parameters(&p.a_quant, &rng, p.a_type, -1, 1, false, true);
        make_parameters(&p.b_quant, &rng, HUNZE_TYPE_S8, 0, outputs, false, true);
        p.a_quant.zero[0] = 77;
        const hunze_conv_options options = {.struct_size = sizeof options,
                                            .pad_before = {1, 1},
                                            .pad_after = {1, 1},
                                            .x_quant = &p.a_quant.quant,
                                            .w_quant = &p.b_quant.quant};
        run_conv(&p, &options, gemm_kernel(&p));
        drop_problem(&p);
    }
}

/* ------------------------------------------------------------------ what the kernels do to memory */

/* Operands without gaps; major: the axis along which neighbours lie, of A and of B. */
static hunze_emulator_counters count_gemm(int64_t m, int64_t n, int64_t k, bool a_by_columns, bool b_by_rows, int shift,
                                          bool zero_points, const char *kernel)
{
    harness_rng rng = {66};
    problem p = {.a_type = HUNZE_TYPE_U8, .d_type = HUNZE_TYPE_S32, .shift = {shift, shift}};
    harness_case("%lld x %lld x %lld, a by columns %d, b by rows %d, shift %d", (long long)m, (long long)n,
                 (long long)k, a_by_columns, b_by_rows, shift);
    do { /* make() leaves gaps as often as not */
        drop(&p.a);
        make(&p.a, &rng, p.a_type, 2, a_by_columns ? (int64_t[]){k, m} : (int64_t[]){m, k});
    } while ((int64_t)p.a.bytes != m * k || p.a.strides[1] != 1);
    do {
        drop(&p.b);
        make(&p.b, &rng, HUNZE_TYPE_S8, 2, b_by_rows ? (int64_t[]){k, n} : (int64_t[]){n, k});
    } while ((int64_t)p.b.bytes != n * k || p.b.strides[1] != 1);
    make(&p.d, &rng, p.d_type, 2, (int64_t[]){m, n});
    make_parameters(&p.a_quant, &rng, p.a_type, -1, 1, false, zero_points);
    make_parameters(&p.b_quant, &rng, HUNZE_TYPE_S8, -1, 1, false, zero_points);
    const hunze_gemm_options options = {.struct_size = sizeof options,
                                        .transpose_a = a_by_columns,
                                        .transpose_b = !b_by_rows,
                                        .a_quant = quant_of(&p.a_quant),
                                        .b_quant = quant_of(&p.b_quant)};
    reset_counters();
    run_gemm(&p, &options, NULL);
    drop_problem(&p);
    return counters_of(kernel);
}

/* Each byte of A is read once per tile column, each of B once per tile row, whatever way they come; D is written once.  Each 16 x 8 x 32 of the
 * tiles is one instruction. */
static void gemm_reads_as_its_tiles_say(void **unused)
{
    (void)unused;
    static const struct {
        bool a_by_columns, b_by_rows;
        int shift;
    } ways[] = {{false, false, 0}, {false, false, 4}, {false, true, 0}, {true, false, 0}, {true, true, 1}};
    const int64_t m = 200, n = 150, k = 96;
    for (int way = 0; way < 5; way++) {
        const hunze_emulator_counters large = count_gemm(m, n, k, ways[way].a_by_columns, ways[way].b_by_rows,
                                                         ways[way].shift, false, "hunze_gemm_u8s8_cuda_128");
        harness_check(large.launches == 1 && large.blocks == 4, "%llu launches of %llu blocks",
                      (unsigned long long)large.launches, (unsigned long long)large.blocks);
        harness_check(large.global_read_bytes == (uint64_t)(2 * m * k + 2 * n * k), "%llu bytes read, not %lld",
                      (unsigned long long)large.global_read_bytes, (long long)(2 * m * k + 2 * n * k));
        harness_check(large.global_write_bytes == (uint64_t)(m * n * 4), "%llu bytes written",
                      (unsigned long long)large.global_write_bytes);
        harness_check(large.mma == 4 * (128 / 16) * (128 / 8) * (2 * 64 / 32), "%llu mma",
                      (unsigned long long)large.mma);
        harness_check(large.dot4 == 0, "%llu dot4 without zero points", (unsigned long long)large.dot4);
    }
    const hunze_emulator_counters small = count_gemm(64, n, k, false, false, 0, false, "hunze_gemm_u8s8_cuda_64");
    harness_check(small.blocks == 3 && small.global_read_bytes == (uint64_t)(3 * 64 * k + n * k), "%llu bytes read",
                  (unsigned long long)small.global_read_bytes);
}

/* More of k adds no bank conflict: the loop has none. */
static void gemm_loops_without_bank_conflicts(void **unused)
{
    (void)unused;
    static const char *const kernels[] = {"hunze_gemm_u8s8_cuda_64", "hunze_gemm_u8s8_cuda_128"};
    count_gemm(1, 1, 1, false, false, 0, false, kernels[0]); /* opens the driver */
    count_banks(true);
    for (int kernel = 0; kernel < 2; kernel++)
        for (int way = 0; way < 12; way++) {
            const int64_t m = kernel ? 256 : 128, n = kernel ? 256 : 64;
            const int shift = (int[]){0, 4, 1}[way / 4];
            hunze_emulator_counters counters[2];
            for (int i = 0; i < 2; i++)
                counters[i] = count_gemm(m, n, i ? 320 : 256, way & 1, way & 2, shift, true, kernels[kernel]);
            harness_check(counters[1].shared_requests > counters[0].shared_requests,
                          "%llu accesses to shared memory, then %llu", (unsigned long long)counters[0].shared_requests,
                          (unsigned long long)counters[1].shared_requests);
            harness_check(counters[1].bank_conflicts == counters[0].bank_conflicts, "%llu conflicts, then %llu",
                          (unsigned long long)counters[0].bank_conflicts,
                          (unsigned long long)counters[1].bank_conflicts);
        }
    count_banks(false);
}

/* Channels that are contiguous come in copies of 16 or 4 bytes; padding is not read. */
static void conv_reads_as_its_tiles_say(void **unused)
{
    (void)unused;
    for (int turn = 0; turn < 4; turn++) {
        const bool first = turn == 3;
        const int64_t channels = turn == 1 ? 20 : turn == 2 ? 7 : 32, outputs = 70, in = 9, out = 5;
        harness_case("%lld channels %s", (long long)channels, first ? "first" : "last");
        harness_rng rng = {67};
        problem p = {.a_type = HUNZE_TYPE_S8, .d_type = HUNZE_TYPE_S32};
        const int64_t x[] = {2, first ? channels : in, in, first ? in : channels};
        const int64_t y[] = {2, first ? outputs : out, out, first ? out : outputs};
        do {
            drop(&p.a);
            make(&p.a, &rng, p.a_type, 4, x);
        } while ((int64_t)p.a.bytes != 2 * in * in * channels || p.a.strides[3] != 1);
        make_channels_last(&p.b, HUNZE_TYPE_S8, 4, (int64_t[]){outputs, channels, 3, 3});
        make(&p.d, &rng, p.d_type, 4, y);
        fill_bytes(&p.a, &rng, 0);
        fill_bytes(&p.b, &rng, 0);
        make_parameters(&p.a_quant, &rng, p.a_type, -1, 1, false, true);
        const hunze_conv_options options = {.struct_size = sizeof options,
                                            .layout = first ? HUNZE_CHANNELS_FIRST : HUNZE_CHANNELS_LAST,
                                            .stride = {2, 2},
                                            .pad_before = {1, 1},
                                            .pad_after = {1, 1},
                                            .x_quant = &p.a_quant.quant};
        count_banks(false);
        reset_counters();
        run_conv(&p, &options, NULL);
        drop_problem(&p);
        /* A row of three taps loses one at either end of x: 13 of 15 over the five positions, and so do columns. */
        const int64_t taps = 2 * 13 * 13, tiles_n = 2, tiles_m = 1;
        const int64_t zeros =
            tiles_m * tiles_n + tiles_m * tiles_n * 2 * out * out; /* a block's padding, and per row */
        const hunze_emulator_counters counters = counters_of("hunze_conv_s8s8_cuda_64");
        const int64_t bytes = taps * channels * tiles_n + 9 * channels * outputs * tiles_m + zeros;
        harness_check(counters.global_read_bytes == (uint64_t)bytes, "%llu bytes read, not %lld",
                      (unsigned long long)counters.global_read_bytes, (long long)bytes);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_around_tiles),
        cmocka_unit_test(gemm_of_large_tiles),
        cmocka_unit_test(gemm_wraps),
        cmocka_unit_test(conv),
        cmocka_unit_test(depthwise),
        cmocka_unit_test(conv_of_padding_within_a_copy),
        cmocka_unit_test(gemm_reads_as_its_tiles_say),
        cmocka_unit_test(gemm_loops_without_bank_conflicts),
        cmocka_unit_test(conv_reads_as_its_tiles_say),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    harness_begin("test_cuda_integer");
    return cmocka_run_group_tests(tests, make_context, release_context);
}
