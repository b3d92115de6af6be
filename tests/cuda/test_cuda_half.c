/* SPDX-License-Identifier: Apache-2.0 */
/* Products and convolutions of bf16 and f16 on the device: of whole numbers, whose sums are the same in any order, against the CPU bit by
 * bit, with each epilogue; of any numbers, against f64 within the bound of docs/NUMERICS.md; and what the kernels read, write and meet in
 * shared memory.  The CPU has no convolution of these types: there it is that of f32, rounded once. */
#include "device_row.h"
#include "on_device.h"
#include "random_shapes.h"

#include <math.h>
#include <stdio.h>

static const int shifts[] = {0, 0, 16, 8, 4, 2}; /* bytes behind an aligned address */

typedef struct problem {
    hunze_type type, d_type;
    array a, b, c, d, bias, residual;
    hunze_activation activation;
    double alpha, beta;
    int shift[3]; /* of a, b and d */
} problem;

/* Counters are there once the driver is open. */
static int open_driver(void **state)
{
    void *memory;
    return make_context(state) || hunze_memory_alloc(context, the_device, 1, NULL, &memory) != HUNZE_OK ||
           hunze_memory_free(context, the_device, memory, 1, NULL) != HUNZE_OK;
}

static void begin_problem(problem *p, harness_rng *rng)
{
    memset(p, 0, sizeof *p);
    p->type = harness_between(rng, 0, 1) ? HUNZE_TYPE_BF16 : HUNZE_TYPE_F16;
    p->d_type = harness_between(rng, 0, 1) ? p->type : HUNZE_TYPE_F32;
    p->alpha = 1;
    for (int i = 0; i < 3; i++)
        p->shift[i] = shifts[harness_between(rng, 0, 5)];
    if (p->d_type == HUNZE_TYPE_F32 && p->shift[2] == 2)
        p->shift[2] = 4;
}

static void drop_problem(problem *p)
{
    array *const arrays[] = {&p->a, &p->b, &p->c, &p->d, &p->bias, &p->residual};
    for (int i = 0; i < 6; i++)
        drop(arrays[i]);
    drop_twins();
}

static void fill_whole(array *x, harness_rng *rng, hunze_type type, int most)
{
    for (size_t i = 0; i < x->bytes / harness_bytes(type); i++)
        harness_set(type, x->memory, (int64_t)i, (double)harness_between(rng, -most, most));
}

static void make_whole(array *x, harness_rng *rng, hunze_type type, int ndim, const int64_t *shape)
{
    make(x, rng, type, ndim, shape);
    fill_whole(x, rng, type, 4);
}

/* Of the product's type or of f32. */
static const hunze_tensor *make_addend(array *x, harness_rng *rng, const problem *p, int ndim, const int64_t *shape)
{
    make_whole(x, rng, harness_between(rng, 0, 1) ? p->type : HUNZE_TYPE_F32, ndim, shape);
    return &x->tensor;
}

static const hunze_activation *make_activation(problem *p, harness_rng *rng)
{
    if (harness_between(rng, 0, 1))
        return NULL;
    p->activation = (hunze_activation){.struct_size = sizeof p->activation,
                                       .kind = (uint32_t)harness_between(rng, 0, HUNZE_ACT_CLIP),
                                       .alpha = -2.5f,
                                       .beta = 900.5f};
    return &p->activation;
}

/* Without gaps, row-major. */
static void make_plain(array *x, harness_rng *rng, hunze_type type, int ndim, const int64_t *shape)
{
    drop(x);
    make(x, rng, type, ndim, shape);
    int64_t span = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        x->strides[i] = span;
        span *= shape[i] > 0 ? shape[i] : 1;
    }
    x->bytes = (size_t)span * harness_bytes(type);
    x->tensor.byte_offset = 0;
}

/* ------------------------------------------------------------------ products */

static const char *gemm_row(const problem *p) { return device_row(HUNZE_OP_GEMM, p->type, HUNZE_TYPE_F32); }

static const hunze_tensor *run_on_device(problem *p, const hunze_gemm_options *options)
{
    hunze_gemm_options device = *options;
    const hunze_tensor *a = to_device(&p->a.tensor, p->shift[0]), *b = to_device(&p->b.tensor, p->shift[1]),
                       *c = p->c.memory ? to_device(&p->c.tensor, 0) : NULL, *d = to_device(&p->d.tensor, p->shift[2]);
    device.bias = to_device(options->bias, 0);
    device.residual = to_device(options->residual, 0);
    device.kernel = gemm_row(p);
    check_status(hunze_gemm(context, a, b, c, d, &device, NULL), HUNZE_OK);
    return d;
}

static void run_gemm(problem *p, const hunze_gemm_options *options)
{
    const hunze_tensor *d = run_on_device(p, options);
    check_status(
        hunze_gemm(context, &p->a.tensor, &p->b.tensor, p->c.memory ? &p->c.tensor : NULL, &p->d.tensor, options, NULL),
        HUNZE_OK);
    check_same(d, &p->d.tensor, "gemm");
}

static void make_operands(problem *p, harness_rng *rng, int axes, const int64_t *batch, int64_t m, int64_t n, int64_t k,
                          bool transpose_a, bool transpose_b)
{
    int64_t shape[4];
    const int a_axes = lead(rng, axes, batch, shape);
    shape[a_axes + transpose_a] = m;
    shape[a_axes + !transpose_a] = k;
    make_whole(&p->a, rng, p->type, a_axes + 2, shape);
    const int b_axes = lead(rng, axes, batch, shape);
    shape[b_axes + transpose_b] = k;
    shape[b_axes + !transpose_b] = n;
    make_whole(&p->b, rng, p->type, b_axes + 2, shape);
    memcpy(shape, batch, 2 * sizeof *batch);
    shape[axes] = m;
    shape[axes + 1] = n;
    make(&p->d, rng, p->d_type, axes + 2, shape);
}

static void random_gemm(harness_rng *rng, int turn, int64_t m, int64_t n, int64_t k)
{
    static const double factors[] = {1, 1, 0.5, -2, 0};
    problem p;
    begin_problem(&p, rng);
    const int axes = harness_between(rng, 0, 3) ? 0 : (int)harness_between(rng, 1, 2);
    const int64_t batch[2] = {harness_between(rng, 1, 3), harness_between(rng, 1, 3)};
    hunze_gemm_options options = {.struct_size = sizeof options,
                                  .flags = harness_between(rng, 0, 1) ? HUNZE_BATCH_INVARIANT : 0,
                                  .transpose_a = (uint32_t)harness_between(rng, 0, 1),
                                  .transpose_b = (uint32_t)harness_between(rng, 0, 1)};
    harness_case("turn %d: %s to %s, %lld x %lld x %lld, %d leading axes, transposed %u %u, %d, %d, %d bytes behind",
                 turn, hunze_type_name(p.type), hunze_type_name(p.d_type), (long long)m, (long long)n, (long long)k,
                 axes, options.transpose_a, options.transpose_b, p.shift[0], p.shift[1], p.shift[2]);
    make_operands(&p, rng, axes, batch, m, n, k, options.transpose_a, options.transpose_b);
    int64_t whole[4] = {batch[0], batch[1]}, shape[4];
    whole[axes] = m;
    whole[axes + 1] = n;
    p.alpha = factors[harness_between(rng, 0, 4)];
    p.beta = factors[harness_between(rng, 0, 4)];
    options.alpha = &p.alpha;
    if (harness_between(rng, 0, 1)) {
        options.beta = &p.beta;
        make_whole(&p.c, rng, p.d_type, axes + 2, whole);
        if (p.beta == 0) /* not read */
            harness_set(p.d_type, element(&p.c, p.c.memory, 0), 0, NAN);
    }
    if (p.alpha == 0 && m * n * k > 0)
        harness_set(p.type, element(&p.a, p.a.memory, 0), 0, NAN);
    options.activation = make_activation(&p, rng);
    if (harness_between(rng, 0, 1))
        options.bias = harness_between(rng, 0, 1) ? make_addend(&p.bias, rng, &p, 2, (int64_t[]){m, 1})
                                                  : make_addend(&p.bias, rng, &p, 1, (int64_t[]){n});
    if (harness_between(rng, 0, 2) == 0) {
        const int own = (int)harness_between(rng, 0, axes + 2);
        for (int i = 0; i < own; i++)
            shape[i] = harness_between(rng, 0, 3) ? whole[axes + 2 - own + i] : 1;
        options.residual = make_addend(&p.residual, rng, &p, own, shape);
    }
    run_gemm(&p, &options);
    drop_problem(&p);
}

/* One less and one more than tiles of D and of k, primes, nothing. */
static void gemm_around_tiles(void **unused)
{
    (void)unused;
    static const int64_t sizes[] = {0, 1, 2, 7, 31, 63, 64, 65, 97, 127, 128, 129};
    static const int64_t depths[] = {0, 1, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 95, 96, 97, 128, 161};
    harness_rng rng = {71};
    for (int turn = 0; turn < 400; turn++)
        random_gemm(&rng, turn, sizes[harness_between(&rng, 0, 11)], sizes[harness_between(&rng, 0, 11)],
                    depths[harness_between(&rng, 0, 20)]);
}

/* As many tiles as it takes for the larger ones, by HUNZE_TEST_SCALE on a device too, and several bands of tile rows. */
static void gemm_of_large_tiles(void **unused)
{
    (void)unused;
    static const int64_t sizes[][3] = {{300, 140, 77},  {257, 300, 64}, {1200, 70, 21}, {129, 513, 100},
                                       {256, 256, 130}, {500, 257, 40}, {385, 511, 33}};
    harness_rng rng = {72};
    const int64_t scale = (harness_scale() + 1) / 2;
    for (int turn = 0; turn < 42; turn++) {
        const int64_t *size = sizes[turn % 7];
        random_gemm(&rng, turn, size[0] * scale, size[1] * scale, size[2]);
    }
}

/* ------------------------------------------------------------------ any numbers */

static double value_of(const array *x, hunze_type type, int64_t row, int64_t column)
{
    return harness_get(type, element(x, x->memory, row * x->shape[1] + column), 0);
}

/* k products and sums of f32, truncated (u = 2^-23), and one rounding to D. */
static void check_bound(const problem *p, double got, double exact, double magnitude, int64_t k)
{
    const double u = p->d_type == HUNZE_TYPE_F32 ? 0x1p-24 : p->d_type == HUNZE_TYPE_BF16 ? 0x1p-8 : 0x1p-11;
    const double least = p->d_type == HUNZE_TYPE_F16 ? 0x1p-24 : 0x1p-133;
    const double n = (double)(k + 2) * 0x1p-23,
                 bound = n / (1 - n) * magnitude + u * fabs(exact) + least * (double)(k + 2);
    const double most = p->d_type == HUNZE_TYPE_F16 ? 65504 : 0x1.FEp127;
    if (isnan(exact) || isinf(exact))
        harness_check(isnan(exact) ? isnan(got) : got == exact, "%g, not %g", got, exact);
    else if (fabs(exact) + bound < most)
        harness_check(fabs(got - exact) <= bound, "%.9g, not %.9g within %.3g", got, exact, bound);
    else
        harness_check(fabs(got) >= most / 2, "%.9g, not %.9g or an infinity", got, exact);
}

static void gemm_within_bounds(void **unused)
{
    (void)unused;
    static const int64_t sizes[][3] = {{5, 9, 700}, {33, 20, 100}, {70, 66, 257}, {1, 1, 2100}, {16, 130, 31}};
    harness_rng rng = {73};
    for (int turn = 0; turn < 12 * HARNESS_VALUES; turn++) {
        const harness_values values = (harness_values)(turn % HARNESS_VALUES);
        const int64_t m = sizes[turn % 5][0], n = sizes[turn % 5][1], k = sizes[turn % 5][2];
        problem p;
        begin_problem(&p, &rng);
        harness_case("turn %d: %s to %s, %s, %lld x %lld x %lld", turn, hunze_type_name(p.type),
                     hunze_type_name(p.d_type), harness_values_name(values), (long long)m, (long long)n, (long long)k);
        make_operands(&p, &rng, 0, (int64_t[2]){0}, m, n, k, false, false);
        harness_fill(&rng, p.type, p.a.memory, (int64_t)p.a.bytes / 2, values);
        harness_fill(&rng, p.type, p.b.memory, (int64_t)p.b.bytes / 2, values);
        p.alpha = turn % 3 == 0 ? -0.75 : 1;
        const hunze_gemm_options options = {.struct_size = sizeof options, .alpha = &p.alpha};
        char *got = from_device(run_on_device(&p, &options));
        memcpy(p.d.memory, got, p.d.bytes);
        free(got);
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                double sum = 0, magnitude = 0;
                for (int64_t l = 0; l < k; l++) {
                    const double product = value_of(&p.a, p.type, i, l) * value_of(&p.b, p.type, l, j);
                    sum += product;
                    magnitude += fabs(product);
                }
                check_bound(&p, value_of(&p.d, p.d_type, i, j), p.alpha * sum, fabs(p.alpha) * magnitude, k);
            }
        drop_problem(&p);
    }
}

/* A row of a product does not know how many others there are, nor which tile it is in. */
static void rows_do_not_depend_on_the_batch(void **unused)
{
    (void)unused;
    enum { M = 600, N = 260, K = 300 };
    static const int64_t parts[] = {1, 64, 200, M};
    for (int is_f16 = 0; is_f16 < 2; is_f16++) {
        harness_rng rng = {74};
        problem p = {.type = is_f16 ? HUNZE_TYPE_F16 : HUNZE_TYPE_BF16, .d_type = HUNZE_TYPE_F32};
        make_plain(&p.a, &rng, p.type, 2, (int64_t[]){M, K});
        make_plain(&p.b, &rng, p.type, 2, (int64_t[]){K, N});
        make_plain(&p.d, &rng, p.d_type, 2, (int64_t[]){M, N});
        harness_fill(&rng, p.type, p.a.memory, M * K, HARNESS_CANCEL);
        harness_fill(&rng, p.type, p.b.memory, K * N, HARNESS_CANCEL);
        const hunze_gemm_options options = {.struct_size = sizeof options, .flags = HUNZE_BATCH_INVARIANT};
        const hunze_tensor *d = run_on_device(&p, &options);
        char *whole = from_device(d);
        for (int i = 0; i < 4; i++) {
            p.a.shape[0] = p.d.shape[0] = parts[i];
            harness_case("%s, %lld rows", hunze_type_name(p.type), (long long)parts[i]);
            char *part = from_device(run_on_device(&p, &options));
            harness_check(memcmp(part, whole, (size_t)parts[i] * N * 4) == 0, "other bits than those of %d rows", M);
            free(part);
        }
        free(whole);
        drop_problem(&p);
    }
}

/* ------------------------------------------------------------------ convolutions */

/* The same values as f32, row-major. */
static void widen(array *wide, harness_rng *rng, const hunze_tensor *of, const char *memory)
{
    const hunze_type type = hunze_type_of(of->dtype);
    make_plain(wide, rng, HUNZE_TYPE_F32, of->ndim, of->shape);
    const int64_t count = hunze_count(of);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = 0, rest = i;
        for (int axis = of->ndim - 1; axis >= 0; axis--) {
            at += rest % of->shape[axis] * hunze_stride(of, axis);
            rest /= of->shape[axis];
        }
        harness_set(HUNZE_TYPE_F32, wide->memory, i, harness_get(type, memory + of->byte_offset, at));
    }
}

typedef hunze_status conv_fn(hunze_context *, const hunze_tensor *, const hunze_tensor *, const hunze_tensor *,
                             const hunze_conv_options *, const hunze_run *);

static void run_conv(problem *p, harness_rng *rng, conv_fn *conv, const hunze_conv_options *options, const char *kernel)
{
    hunze_conv_options device = *options, cpu = *options;
    array x = {0}, w = {0}, y = {0}, bias = {0}, residual = {0};
    const hunze_tensor *d = to_device(&p->d.tensor, p->shift[2]);
    device.bias = to_device(options->bias, 0);
    device.residual = to_device(options->residual, 0);
    device.kernel = kernel;
    check_status(
        conv(context, to_device(&p->a.tensor, p->shift[0]), to_device(&p->b.tensor, p->shift[1]), d, &device, NULL),
        HUNZE_OK);
    widen(&x, rng, &p->a.tensor, p->a.memory);
    widen(&w, rng, &p->b.tensor, p->b.memory);
    make_plain(&y, rng, HUNZE_TYPE_F32, p->d.tensor.ndim, p->d.shape);
    if (options->bias) {
        widen(&bias, rng, options->bias, p->bias.memory);
        cpu.bias = &bias.tensor;
    }
    if (options->residual) {
        widen(&residual, rng, options->residual, p->residual.memory);
        cpu.residual = &residual.tensor;
    }
    check_status(conv(context, &x.tensor, &w.tensor, &y.tensor, &cpu, NULL), HUNZE_OK);
    const int64_t count = hunze_count(&y.tensor);
    for (int64_t i = 0; i < count; i++)
        harness_set(p->d_type, element(&p->d, p->d.memory, i), 0, harness_get(HUNZE_TYPE_F32, y.memory, i));
    check_same(d, &p->d.tensor, "conv");
    array *const arrays[] = {&x, &w, &y, &bias, &residual};
    for (int i = 0; i < 5; i++)
        drop(arrays[i]);
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
        "turn %d: %s to %s, %d spatial, channels %s, %lld groups of %lld to %lld, in %lld, kernel %lld, stride %u, "
        "out %lld",
        turn, hunze_type_name(p.type), hunze_type_name(p.d_type), c.spatial, options.layout ? "last" : "first",
        (long long)c.groups, (long long)c.inputs, (long long)c.outputs, (long long)c.in[0], (long long)c.kernel[0],
        options.stride[0], (long long)c.y[c.first]);
    make_whole(&p.a, rng, p.type, axes, c.x);
    make_whole(&p.b, rng, p.type, axes, c.w);
    make(&p.d, rng, p.d_type, axes, c.y);
    options.activation = make_activation(&p, rng);
    if (harness_between(rng, 0, 1))
        options.bias = make_addend(&p.bias, rng, &p, 1, &c.y[c.channel]);
    if (harness_between(rng, 0, 2) == 0)
        options.residual = make_addend(&p.residual, rng, &p, axes, c.y);
    run_conv(&p, rng, kind == TRANSPOSED ? hunze_conv_transpose : hunze_conv, &options,
             kind == DEPTHWISE ? device_row(HUNZE_OP_CONV, p.type, HUNZE_TYPE_F32) : gemm_row(&p));
    drop_problem(&p);
}

static void conv(void **unused)
{
    (void)unused;
    harness_rng rng = {75};
    for (int turn = 0; turn < 300; turn++)
        random_conv(&rng, turn, CONV);
}

static void depthwise(void **unused)
{
    (void)unused;
    harness_rng rng = {76};
    for (int turn = 0; turn < 150; turn++)
        random_conv(&rng, turn, DEPTHWISE);
}

static void conv_transpose(void **unused)
{
    (void)unused;
    harness_rng rng = {77};
    for (int turn = 0; turn < 150; turn++)
        random_conv(&rng, turn, TRANSPOSED);
}

/* Too large for the workspace that images are turned in at once: they come one after the other.  All columns of x are one in memory; of
 * two outputs the first meets padding. */
static void many_images_are_turned_in_parts(void **unused)
{
    (void)unused;
    enum { IMAGES = 2, CHANNELS = 2, WIDTH = (1 << 20) + 2 };
    harness_rng rng = {78};
    problem p = {.type = HUNZE_TYPE_BF16, .d_type = HUNZE_TYPE_F32};
    const hunze_conv_options options = {.struct_size = sizeof options, .stride = {WIDTH / 2}, .pad_before = {1}};
    make_plain(&p.a, &rng, p.type, 3, (int64_t[]){IMAGES, CHANNELS, 2});
    make_plain(&p.b, &rng, p.type, 3, (int64_t[]){1, CHANNELS, 2});
    make_plain(&p.d, &rng, p.d_type, 3, (int64_t[]){IMAGES, 1, 2});
    fill_whole(&p.a, &rng, p.type, 4);
    fill_whole(&p.b, &rng, p.type, 4);
    p.a.shape[2] = WIDTH;
    p.a.strides[2] = 0;
    harness_case("two images of %d columns", WIDTH);
    reset_counters();
    const hunze_tensor *y = to_device(&p.d.tensor, 0);
    check_status(hunze_conv(context, to_device(&p.a.tensor, 0), to_device(&p.b.tensor, 0), y, &options, NULL),
                 HUNZE_OK);
    for (int64_t i = 0; i < IMAGES * 2; i++) {
        double sum = 0;
        for (int64_t c = 0; c < CHANNELS; c++)
            for (int64_t tap = 1 - i % 2; tap < 2; tap++)
                sum += harness_get(p.type, p.a.memory, (i / 2 * CHANNELS + c) * 2) *
                       harness_get(p.type, p.b.memory, c * 2 + tap);
        harness_set(p.d_type, p.d.memory, i, sum);
    }
    check_same(y, &p.d.tensor, "conv");
    drop_problem(&p);
    const hunze_emulator_counters products = counters_of("hunze_conv_bf16_cuda_64");
    harness_check(products.launches == IMAGES, "%llu launches", (unsigned long long)products.launches);
}

/* ------------------------------------------------------------------ what the kernels do to memory */

/* Operands without gaps; major: the axis along which neighbours lie, of A and of B. */
static hunze_emulator_counters count_gemm(int64_t m, int64_t n, int64_t k, bool a_by_columns, bool b_by_rows, int shift,
                                          bool by_columns, const char *kernel)
{
    harness_rng rng = {79};
    problem p = {.type = HUNZE_TYPE_BF16, .d_type = HUNZE_TYPE_BF16, .shift = {shift, shift}};
    harness_case("%lld x %lld x %lld, a by columns %d, b by rows %d, d by columns %d, shift %d", (long long)m,
                 (long long)n, (long long)k, a_by_columns, b_by_rows, by_columns, shift);
    make_plain(&p.a, &rng, p.type, 2, a_by_columns ? (int64_t[]){k, m} : (int64_t[]){m, k});
    make_plain(&p.b, &rng, p.type, 2, b_by_rows ? (int64_t[]){k, n} : (int64_t[]){n, k});
    make_plain(&p.d, &rng, p.d_type, 2, (int64_t[]){m, n});
    fill_whole(&p.a, &rng, p.type, 2);
    fill_whole(&p.b, &rng, p.type, 2);
    if (by_columns) {
        p.d.strides[0] = 1;
        p.d.strides[1] = m;
    }
    const hunze_gemm_options options = {
        .struct_size = sizeof options, .transpose_a = a_by_columns, .transpose_b = !b_by_rows};
    reset_counters();
    run_gemm(&p, &options);
    drop_problem(&p);
    return counters_of(kernel);
}

static const struct {
    const char *name;
    int64_t m, n; /* of the launch's tiles, four multiprocessors; then of the product */
    int64_t of_m, of_n;
} kernels[] = {{"hunze_gemm_bf16_cuda_64", 64, 64, 64, 150},
               {"hunze_gemm_bf16_cuda_128", 128, 128, 200, 150},
               {"hunze_gemm_bf16_cuda_256", 128, 256, 512, 200}};

/* Each element of A is read once per tile column, each of B once per tile row, whatever way they come; D is written once.  Each 16 x 8 x 16 of the
 * tiles is one instruction. */
static void gemm_reads_as_its_tiles_say(void **unused)
{
    (void)unused;
    for (int kernel = 0; kernel < 3; kernel++)
        for (int way = 0; way < 16; way++) {
            const int64_t m = kernels[kernel].of_m, n = kernels[kernel].of_n, k = 77 - way % 2 * 5;
            const hunze_emulator_counters c =
                count_gemm(m, n, k, way & 1, way & 2, (int[]){0, 8, 4, 2}[way / 4], way & 4, kernels[kernel].name);
            const int64_t tiles_m = (m + kernels[kernel].m - 1) / kernels[kernel].m,
                          tiles_n = (n + kernels[kernel].n - 1) / kernels[kernel].n;
            const int64_t read = 2 * (tiles_n * m * k + tiles_m * n * k),
                          mma = tiles_m * kernels[kernel].m / 16 * tiles_n * kernels[kernel].n / 8 * (3 * 32 / 16);
            harness_check(c.launches == 1 && c.blocks == (uint64_t)(tiles_m * tiles_n), "%llu launches of %llu blocks",
                          (unsigned long long)c.launches, (unsigned long long)c.blocks);
            harness_check(c.global_read_bytes == (uint64_t)read, "%llu bytes read, not %lld",
                          (unsigned long long)c.global_read_bytes, (long long)read);
            harness_check(c.global_write_bytes == (uint64_t)(m * n * 2), "%llu bytes written",
                          (unsigned long long)c.global_write_bytes);
            harness_check(c.mma == (uint64_t)mma, "%llu mma, not %lld", (unsigned long long)c.mma, (long long)mma);
        }
}

/* Neither the loop nor what follows it: sums on their way to D. */
static void gemm_has_no_bank_conflicts(void **unused)
{
    (void)unused;
    count_banks(true);
    for (int kernel = 0; kernel < 3; kernel++)
        for (int way = 0; way < 16; way++) {
            const hunze_emulator_counters c =
                count_gemm(kernels[kernel].of_m, kernels[kernel].of_n, 160, way & 1, way & 2,
                           (int[]){0, 8, 4, 2}[way / 4], way & 4, kernels[kernel].name);
            harness_check(c.shared_requests > 1000 && c.bank_conflicts == 0, "%llu conflicts of %llu",
                          (unsigned long long)c.bank_conflicts, (unsigned long long)c.shared_requests);
        }
    count_banks(false);
}

/* Padding is not read, however the channels come; of channels that lie apart each is read once more, to turn them. */
static void conv_reads_as_its_tiles_say(void **unused)
{
    (void)unused;
    for (int turn = 0; turn < 5; turn++) {
        const bool first = turn == 4;
        const int64_t channels = (int64_t[]){32, 20, 6, 7, 16}[turn], outputs = 70, in = 9, out = 5;
        harness_case("%lld channels %s", (long long)channels, first ? "first" : "last");
        harness_rng rng = {80};
        problem p = {.type = HUNZE_TYPE_F16, .d_type = HUNZE_TYPE_F32};
        make_plain(&p.a, &rng, p.type, 4, first ? (int64_t[]){2, channels, in, in} : (int64_t[]){2, in, in, channels});
        make_plain(&p.b, &rng, p.type, 4, (int64_t[]){outputs, channels, 3, 3});
        make_plain(&p.d, &rng, p.d_type, 4,
                   first ? (int64_t[]){2, outputs, out, out} : (int64_t[]){2, out, out, outputs});
        fill_whole(&p.a, &rng, p.type, 4);
        fill_whole(&p.b, &rng, p.type, 4);
        const hunze_conv_options options = {.struct_size = sizeof options,
                                            .layout = first ? HUNZE_CHANNELS_FIRST : HUNZE_CHANNELS_LAST,
                                            .stride = {2, 2},
                                            .pad_before = {1, 1},
                                            .pad_after = {1, 1}};
        reset_counters();
        count_banks(true);
        run_conv(&p, &rng, hunze_conv, &options, gemm_row(&p));
        count_banks(false);
        drop_problem(&p);
        /* A row of three taps loses one at either end of x: 13 of 15 over the five positions, and so do columns. */
        const int64_t taps = 2 * 13 * 13, tiles_n = 2, tiles_m = 1, packed = 80;
        const hunze_emulator_counters product = counters_of("hunze_conv_f16_cuda_64"),
                                      pack = counters_of("hunze_pack_f16_cuda");
        const int64_t bytes = 2 * (taps * channels * tiles_n + 9 * channels * outputs * tiles_m),
                      packs = 2 * (9 * channels * outputs + (first ? 2 * in * in * channels : 0)),
                      packed_to = 2 * (9 * channels * packed + (first ? 2 * in * in * channels : 0));
        harness_check(product.global_read_bytes == (uint64_t)bytes, "%llu bytes read, not %lld",
                      (unsigned long long)product.global_read_bytes, (long long)bytes);
        harness_check(product.bank_conflicts == 0, "%llu conflicts", (unsigned long long)product.bank_conflicts);
        harness_check(pack.global_read_bytes == (uint64_t)packs && pack.global_write_bytes == (uint64_t)packed_to,
                      "%llu bytes read to pack, not %lld; %llu written, not %lld",
                      (unsigned long long)pack.global_read_bytes, (long long)packs,
                      (unsigned long long)pack.global_write_bytes, (long long)packed_to);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_around_tiles),
        cmocka_unit_test(gemm_of_large_tiles),
        cmocka_unit_test(gemm_within_bounds),
        cmocka_unit_test(rows_do_not_depend_on_the_batch),
        cmocka_unit_test(conv),
        cmocka_unit_test(depthwise),
        cmocka_unit_test(conv_transpose),
        cmocka_unit_test(many_images_are_turned_in_parts),
        cmocka_unit_test(gemm_reads_as_its_tiles_say),
        cmocka_unit_test(gemm_has_no_bank_conflicts),
        cmocka_unit_test(conv_reads_as_its_tiles_say),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    harness_begin("test_cuda_half");
    return cmocka_run_group_tests(tests, open_driver, release_context);
}
