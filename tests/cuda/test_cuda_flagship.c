/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bf16 and f16 by warpgroups (compute capability 9.0): the CPU's bits where sums are exact, docs/NUMERICS.md's bounds elsewhere,
 * whatever the majors, tails, batch and epilogue; each tile of A and B is copied as often as the tiling says; and what is refused. */
#include "device_case.h"
#include "device_row.h"

#include <math.h>

static const hunze_type types[] = {HUNZE_TYPE_BF16, HUNZE_TYPE_F16};
enum { TILE_M = 128, TILE_N = 256, TILE_K = 64 };

static const char *row_of(hunze_type type) { return device_product(type, HUNZE_ISA_CUDA_SM90A); }

/* A context; where the device is a real one of another capability, the case ends. */
static hunze_context *start(void)
{
    hunze_context *context = new_context(NULL);
    const int64_t one[2] = {1, 1};
    const hunze_dtype bf16 = {HUNZE_BFLOAT, 16, 1};
    const hunze_gemm_options options = {.struct_size = sizeof options, .kernel = row_of(HUNZE_TYPE_BF16)};
    array x;
    const hunze_tensor *tensor = view(&x, cuda0, bf16, NULL, 2, one, NULL);
    const hunze_call call = {
        .struct_size = sizeof call, .op = HUNZE_OP_GEMM, .a = tensor, .b = tensor, .d = tensor, .options = &options};
    hunze_plan *plan = NULL;
    if (hunze_plan_create(context, &call, &plan) != HUNZE_OK && !on_standin())
        end_here(hunze_last_error());
    hunze_plan_release(plan);
    return context;
}

/* ------------------------------------------------------------------ cases */

/* What a case has beside A, B and D; and which of them are f32 rather than of A's type. */
enum { WITH_C = 1, WITH_BIAS = 2, WITH_ROW_BIAS = 4, WITH_RESIDUAL = 8, D_F32 = 16, ADDENDS_F32 = 32 };
/* Axes of extent 1 in the batch. */
enum { ONE_A = 1, ONE_B = 2 };

typedef struct product {
    hunze_type type;
    int64_t batch, m, n, k;
    bool a_turned, b_turned, d_turned; /* the last axis of memory is the other one */
    unsigned with, ones;
    int64_t gap; /* elements of D between a row's end and the next row, beyond what 16 bytes need */
    harness_values values;
    double alpha, beta;
    hunze_activation activation;
} product;

/* Rows and matrices are a multiple of 16 bytes apart; so far is an axis from its neighbours, or `gap` more. */
static void place(device_operand *o, hunze_context *context, harness_rng *rng, hunze_type type, const int64_t shape[3],
                  bool turned, int64_t gap, harness_values values)
{
    static const int plain[3] = {0, 1, 2}, other[3] = {0, 2, 1};
    const int *order = turned ? other : plain;
    int64_t wide[3] = {shape[0], shape[1], shape[2]};
    wide[order[2]] = (wide[order[2]] + 7) / 8 * 8 + gap;
    device_place(o, context, rng, type, 3, wide, order, 0, values);
    memcpy(o->shape, shape, 3 * sizeof *shape);
}

static void make(hunze_context *context, harness_rng *rng, const product *p, device_case *c)
{
    const int64_t a[3] = {p->ones & ONE_A ? 1 : p->batch, p->m, p->k},
                  b[3] = {p->ones & ONE_B ? 1 : p->batch, p->k, p->n}, d[3] = {p->batch, p->m, p->n};
    const hunze_type d_type = p->with & D_F32 ? HUNZE_TYPE_F32 : p->type,
                     addends = p->with & ADDENDS_F32 ? HUNZE_TYPE_F32 : p->type;
    *c = (device_case){.op = HUNZE_OP_GEMM,
                       .alpha = p->alpha,
                       .beta = p->beta,
                       .activation = p->activation,
                       .kernel = row_of(p->type)};
    snprintf(c->text, sizeof c->text,
             "%s batch %lld m %lld n %lld k %lld turned %d%d%d with %u ones %u gap %lld alpha %g beta %g activation %u",
             row_of(p->type), (long long)p->batch, (long long)p->m, (long long)p->n, (long long)p->k, p->a_turned,
             p->b_turned, p->d_turned, p->with, p->ones, (long long)p->gap, p->alpha, p->beta, p->activation.kind);
    place(&c->a, context, rng, p->type, a, p->a_turned, 0, p->values);
    place(&c->b, context, rng, p->type, b, p->b_turned, 0, p->values);
    place(&c->d, context, rng, d_type, d, p->d_turned, p->gap, HARNESS_SPECIAL);
    if (p->with & WITH_C)
        place(&c->c, context, rng, d_type, d, p->a_turned, p->gap, HARNESS_UNIFORM);
    if (p->with & WITH_BIAS)
        device_place(&c->bias, context, rng, addends, 1, &p->n, NULL, 0, HARNESS_UNIFORM);
    else if (p->with & WITH_ROW_BIAS)
        device_place(&c->bias, context, rng, addends, 2, (const int64_t[]){p->m, 1}, NULL, 0, HARNESS_UNIFORM);
    if (p->with & WITH_RESIDUAL)
        place(&c->residual, context, rng, addends, d, p->b_turned, p->gap, HARNESS_UNIFORM);
}

static void check_product(hunze_context *context, harness_rng *rng, const product *p)
{
    device_case c;
    make(context, rng, p, &c);
    device_check(context, &c);
}

static product plain_product(hunze_type type, int64_t m, int64_t n, int64_t k)
{
    return (product){.type = type, .batch = 1, .m = m, .n = n, .k = k, .alpha = 1, .values = HARNESS_INTEGERS};
}

static product any_product(harness_rng *rng, hunze_type type, int64_t m, int64_t n, int64_t k)
{
    product p = plain_product(type, m, n, k);
    p.a_turned = harness_one_in(rng, 2);
    p.b_turned = harness_one_in(rng, 2);
    p.d_turned = harness_one_in(rng, 3);
    p.with = (unsigned)harness_between(rng, 0, 63);
    p.gap = harness_one_in(rng, 2) ? 0 : harness_between(rng, 1, 5);
    if (harness_one_in(rng, 3))
        p.alpha = harness_uniform(rng) * 3;
    if (p.with & WITH_C)
        p.beta = harness_one_in(rng, 4) ? 0 : harness_uniform(rng) * 3;
    p.activation = (hunze_activation){0, (uint32_t)harness_between(rng, 0, HUNZE_ACT_CLIP), -0.25F, 0.75F};
    if (harness_one_in(rng, 3))
        p.activation.kind = HUNZE_ACT_NONE;
    return p;
}

/* ------------------------------------------------------------------ sums that are exact: the CPU's bits */

/* Every major with whole tiles and with tails, D in both types. */
static void majors(void)
{
    hunze_context *context = start();
    harness_rng rng = {91};
    for (int turn = 0; turn < 32; turn++) {
        const bool whole = turn & 16;
        product p = plain_product(types[turn % 2], whole ? TILE_M : TILE_M + 5, whole ? TILE_N : TILE_N + 9,
                                  whole ? TILE_K : TILE_K + 11);
        p.a_turned = turn & 2;
        p.b_turned = turn & 4;
        p.with = turn & 8 ? D_F32 : 0;
        check_product(context, &rng, &p);
    }
    hunze_context_release(context);
}

/* Extents about what a warp, a part and a tile have, and about 16 bytes. */
static void sizes(void)
{
    hunze_context *context = start();
    harness_rng rng = {92};
    static const int64_t extents[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 129};
    enum { EXTENTS = sizeof extents / sizeof *extents };
    for (int i = 0; i < 4 * EXTENTS; i++) {
        const product p =
            any_product(&rng, types[i % 2], extents[i % EXTENTS], extents[harness_between(&rng, 0, EXTENTS - 1)],
                        extents[harness_between(&rng, 0, EXTENTS - 1)]);
        check_product(context, &rng, &p);
    }
    hunze_context_release(context);
}

/* From one stage to several rounds of them, with one tile and with more than there are multiprocessors, so that phases go on from tile to tile. */
static void rounds(void)
{
    hunze_context *context = start();
    harness_rng rng = {93};
    for (int64_t steps = 1; steps <= 9; steps++) {
        product p = any_product(&rng, types[steps % 2], steps % 3 ? 40 : 3 * TILE_M - 7, steps % 3 ? 24 : TILE_N + 8,
                                steps * TILE_K - (steps % 2 ? 0 : 13));
        check_product(context, &rng, &p);
    }
    const int64_t scale = (harness_scale() + 3) / 4; /* more tiles than a real device has multiprocessors */
    for (int turn = 0; turn < 2; turn++) {           /* groups of eight rows of tiles, and a last one of two */
        product p = plain_product(types[turn], 9 * scale * TILE_M + 1, scale * TILE_N + 1, 3 * TILE_K);
        p.a_turned = turn;
        check_product(context, &rng, &p);
    }
    hunze_context_release(context);
}

/* Matrices one after the other, one for all on either side, and leading axes that broadcast and do not join. */
static void batches(void)
{
    hunze_context *context = start();
    harness_rng rng = {94};
    for (int turn = 0; turn < 12; turn++) {
        product p = any_product(&rng, types[turn % 2], harness_between(&rng, 1, 70), harness_between(&rng, 1, 40),
                                harness_between(&rng, 1, 90));
        p.batch = harness_between(&rng, 2, 5);
        p.ones = (unsigned)turn / 2 % 3;
        check_product(context, &rng, &p);
    }
    static const int64_t shapes[][4][5] = {{{2, 1, 3, 19, 40}, {1, 2, 3, 40, 24}, {2, 2, 1, 19, 24}, {2, 2, 3, 19, 24}},
                                           {{1, 2, 1, 8, 72}, {3, 1, 2, 72, 16}, {3, 2, 2, 8, 16}, {3, 2, 2, 8, 16}},
                                           {{3, 1, 1, 5, 16}, {1, 1, 1, 16, 8}, {1, 1, 2, 5, 8}, {3, 1, 2, 5, 8}}};
    for (int turn = 0; turn < 6; turn++) {
        const int64_t(*shape)[5] = shapes[turn % 3];
        static const int order[5] = {1, 0, 2, 3, 4};
        device_case c = {.op = HUNZE_OP_GEMM, .alpha = 1, .beta = 0.5, .kernel = row_of(types[turn % 2])};
        device_operand *const operands[] = {&c.a, &c.b, &c.c, &c.d};
        snprintf(c.text, sizeof c.text, "leading axes, turn %d", turn);
        for (int o = 0; o < 4; o++)
            device_place(operands[o], context, &rng, types[turn % 2], 5, shape[o], turn < 3 ? NULL : order, 0,
                         HARNESS_INTEGERS);
        device_check(context, &c);
    }
    for (int turn = 0; turn < 4; turn++) { /* heads of a sequence: matrices lie closer together than rows */
        static const int order[3] = {1, 0, 2};
        const int64_t a[3] = {3, 20, 64}, b[3] = {3, 64, 16}, d[3] = {3, 20, 16};
        device_case c = {.op = HUNZE_OP_GEMM, .alpha = 1, .kernel = row_of(types[turn % 2])};
        snprintf(c.text, sizeof c.text, "heads, turn %d", turn);
        device_place(&c.a, context, &rng, types[turn % 2], 3, a, order, 0, HARNESS_INTEGERS);
        device_place(&c.b, context, &rng, types[turn % 2], 3, b, turn < 2 ? NULL : order, 0, HARNESS_INTEGERS);
        device_place(&c.d, context, &rng, types[turn % 2], 3, d, order, 0, HARNESS_SPECIAL);
        device_check(context, &c);
    }
    hunze_context_release(context);
}

/* Every activation with everything before it; alpha 0 reads neither A nor B, beta 0 not C. */
static void epilogues(void)
{
    hunze_context *context = start();
    harness_rng rng = {95};
    for (uint32_t kind = 0; kind <= HUNZE_ACT_CLIP; kind++)
        for (int turn = 0; turn < 2; turn++) {
            product p = any_product(&rng, types[turn], 19, 70, 24);
            p.activation.kind = kind;
            check_product(context, &rng, &p);
        }
    static const double scalars[] = {0, -0.0, 1, -1, 0.5};
    for (int i = 0; i < 25; i++) {
        product p = any_product(&rng, types[i % 2], 9, 11, harness_between(&rng, 1, 20));
        p.alpha = scalars[i / 5];
        p.beta = scalars[i % 5];
        p.with |= WITH_C;
        p.values = p.alpha == 0 ? HARNESS_SPECIAL : HARNESS_INTEGERS;
        check_product(context, &rng, &p);
    }
    hunze_context_release(context);
}

/* Sums of one product, which are exact too: to the nearest of D's type, with NaN and Inf. */
static void roundings(void)
{
    hunze_context *context = start();
    harness_rng rng = {96};
    for (int turn = 0; turn < 8; turn++) {
        product p = plain_product(types[turn % 2], 40, 56, 1);
        p.a_turned = turn & 2;
        p.values = turn & 4 ? HARNESS_SPECIAL : HARNESS_UNIFORM;
        p.alpha = turn & 2 ? 1 : 1e4;
        check_product(context, &rng, &p);
    }
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ other sums: bounds */

static double value_at(const device_operand *o, int64_t batch, int64_t row, int64_t column)
{
    const int64_t at = (o->shape[0] > 1 ? batch * o->strides[0] : 0) + row * o->strides[1] + column * o->strides[2];
    return harness_get(o->type, o->tensor.data, at);
}

/* Sums in f32 that may truncate: an error of 2^-23 of each partial sum; then D's rounding. */
static void bounds(void)
{
    static const harness_values values[] = {HARNESS_UNIFORM, HARNESS_CANCEL, HARNESS_CONSTANT};
    hunze_context *context = start();
    harness_rng rng = {97};
    for (int turn = 0; turn < 12; turn++) {
        product p = plain_product(types[turn % 2], 33, 47, 5 * TILE_K - 3);
        device_case c;
        p.a_turned = turn & 2;
        p.b_turned = turn & 4;
        p.with = turn & 1 ? D_F32 : 0;
        p.values = values[turn % 3];
        p.alpha = 0.75;
        make(context, &rng, &p, &c);
        char *got = malloc(c.d.bytes);
        device_run(context, &c, got);
        const double rounding = p.with & D_F32 ? 0x1p-24 : p.type == HUNZE_TYPE_F16 ? 0x1p-11 : 0x1p-8;
        for (int64_t i = 0; i < p.m; i++)
            for (int64_t j = 0; j < p.n; j++) {
                double sum = 0, size = 0;
                for (int64_t k = 0; k < p.k; k++) {
                    const double term = value_at(&c.a, 0, i, k) * value_at(&c.b, 0, k, j);
                    sum += term;
                    size += fabs(term);
                }
                const double exact = p.alpha * sum, error = p.alpha * size * (double)(p.k + 2) * 0x1p-23;
                const double found = harness_get(c.d.type, got, i * c.d.strides[1] + j * c.d.strides[2]);
                check(fabs(found - exact) <= error + (fabs(exact) + error) * rounding,
                      "%s: element (%lld, %lld) is %g, exactly %g", c.text, (long long)i, (long long)j, found, exact);
            }
        free(got);
        device_drop(context, &c);
    }
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ convolutions of 1 x 1 */

/* Element (image, channel, position) of an operand with axes of its layout. */
static double image_value(const device_operand *o, bool last, int64_t image, int64_t channel, int64_t y, int64_t x)
{
    const int64_t *s = o->strides;
    return harness_get(o->type, o->tensor.data,
                       image * s[0] + channel * s[last ? 3 : 1] + y * s[last ? 1 : 2] + x * s[last ? 2 : 3]);
}

/* Channels last: one product for all images; channels first: one for each, and D's transpose is computed. */
static void convolutions(void)
{
    hunze_context *context = start();
    harness_rng rng = {98};
    for (int turn = 0; turn < 12; turn++) {
        const hunze_type type = types[turn % 2];
        const bool last = turn & 2, adds = turn & 4;
        const int64_t images = 2, in = 24, out = 16, height = 3, width = 8;
        const int64_t x[4] = {images, last ? height : in, last ? width : height, last ? in : width},
                      y[4] = {images, last ? height : out, last ? width : height, last ? out : width},
                      w[4] = {out, in, 1, 1};
        device_case c = {.op = HUNZE_OP_CONV,
                         .conv = {.layout = last ? HUNZE_CHANNELS_LAST : HUNZE_CHANNELS_FIRST},
                         .activation = {.kind = turn & 8 ? HUNZE_ACT_RELU : HUNZE_ACT_NONE},
                         .kernel = row_of(type)};
        snprintf(c.text, sizeof c.text, "convolution, turn %d", turn);
        device_place(&c.a, context, &rng, type, 4, x, NULL, 0, HARNESS_INTEGERS);
        device_place(&c.b, context, &rng, type, 4, w, NULL, 0, HARNESS_INTEGERS);
        device_place(&c.d, context, &rng, type, 4, y, NULL, 0, HARNESS_SPECIAL);
        if (adds) {
            device_place(&c.bias, context, &rng, HUNZE_TYPE_F32, 1, &out, NULL, 0, HARNESS_UNIFORM);
            device_place(&c.residual, context, &rng, type, 4, y, NULL, 0, HARNESS_UNIFORM);
        }
        char *got = malloc(c.d.bytes);
        device_run(context, &c, got);
        for (int64_t at = 0; at < images * out * height * width; at++) {
            const int64_t column = at % width, row = at / width % height, channel = at / width / height % out,
                          image = at / width / height / out;
            float sum = 0;
            for (int64_t i = 0; i < in; i++)
                sum += (float)(image_value(&c.a, last, image, i, row, column) *
                               harness_get(type, c.b.tensor.data, channel * in + i));
            if (adds) {
                sum += (float)harness_get(HUNZE_TYPE_F32, c.bias.tensor.data, channel);
                sum += (float)image_value(&c.residual, last, image, channel, row, column);
            }
            uint16_t expected;
            harness_set(type, &expected, 0, turn & 8 && sum < 0 ? 0 : sum);
            const double there = harness_get(type, &expected, 0);
            device_operand found = c.d;
            found.tensor.data = got;
            const double value = image_value(&found, last, image, channel, row, column);
            check(value == there, "%s: element %lld is %g, not %g", c.text, (long long)at, value, there);
        }
        free(got);
        device_drop(context, &c);
    }
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ what is read, and how */

static const char *kernel_of(const product *p)
{
    static char name[64];
    snprintf(name, sizeof name, "hunze_%s_%c%c", row_of(p->type), p->a_turned ? 'm' : 'k', p->b_turned ? 'k' : 'n');
    return name;
}

/* A is read once for each column of tiles, B for each row of tiles, by copies of tiles alone; no two threads of a warp wait for one bank. */
static void counts(void)
{
    hunze_context *context = start();
    harness_rng rng = {99};
    device_count_banks(true);
    for (int turn = 0; turn < 8; turn++) {
        product p = plain_product(types[turn % 2], TILE_M + 24, 2 * TILE_N - 8, 3 * TILE_K - 16);
        const uint64_t m = (uint64_t)p.m, n = (uint64_t)p.n, k = (uint64_t)p.k, rows = 2, columns = 2, steps = 3;
        device_case c;
        p.a_turned = turn & 2;
        p.b_turned = turn & 4;
        make(context, &rng, &p, &c);
        device_reset_counters();
        device_check(context, &c);
        const hunze_emulator_counters found = device_counters(kernel_of(&p));
        check(found.launches == 1 && found.blocks == 3, "%s: %llu blocks", c.text, (unsigned long long)found.blocks);
        check(found.global_read_bytes == (m * columns + n * rows) * k * 2, "%s: %llu bytes are read", c.text,
              (unsigned long long)found.global_read_bytes);
        check(found.tile_copies == rows * columns * steps * ((p.a_turned ? 2 : 1) + (p.b_turned ? 1 : 4)),
              "%s: %llu copies of tiles", c.text, (unsigned long long)found.tile_copies);
        check(found.copies == 0, "%s: other copies", c.text);
        check(found.global_write_bytes == m * n * 2, "%s: %llu bytes are written", c.text,
              (unsigned long long)found.global_write_bytes);
        check(found.wgmma == rows * columns * steps * 2 * 4, "%s: %llu products", c.text,
              (unsigned long long)found.wgmma);
        check(found.shared_requests > 0 && found.bank_conflicts == 0, "%s: %llu bank conflicts in %llu requests",
              c.text, (unsigned long long)found.bank_conflicts, (unsigned long long)found.shared_requests);
    }
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ what is refused */

typedef struct matrices {
    int64_t a[3], a_steps[3], b[3], b_steps[3], d[3];
    uint64_t a_at;
    uint32_t flags;
} matrices;

/* A plan for the row by its name, of which it is said why it does not take it. */
static void refuse(hunze_context *context, const matrices *of, const char *why)
{
    static const int64_t last_first[3] = {0, 0, 0};
    hunze_gemm_options options = {.struct_size = sizeof options, .flags = of->flags, .kernel = row_of(HUNZE_TYPE_BF16)};
    array a, b, d;
    const hunze_dtype bf16 = {HUNZE_BFLOAT, 16, 1};
    const hunze_call call = {
        .struct_size = sizeof call,
        .op = HUNZE_OP_GEMM,
        .a = view(&a, cuda0, bf16, (void *)(uintptr_t)of->a_at, 3, of->a,
                  memcmp(of->a_steps, last_first, sizeof last_first) ? of->a_steps : NULL),
        .b = view(&b, cuda0, bf16, NULL, 3, of->b,
                  memcmp(of->b_steps, last_first, sizeof last_first) ? of->b_steps : NULL),
        .d = view(&d, cuda0, bf16, NULL, 3, of->d, NULL),
        .options = &options,
    };
    hunze_plan *plan = NULL;
    if (!why)
        OK(hunze_plan_create(context, &call, &plan));
    else
        REFUSED(UNSUPPORTED, hunze_plan_create(context, &call, &plan), row_of(HUNZE_TYPE_BF16), why);
    hunze_plan_release(plan);
}

/* A convolution, whose residual has rows so far apart. */
static void refuse_convolution(hunze_context *context, uint32_t stride, const int64_t *residual_strides,
                               const char *why)
{
    const int64_t x[4] = {2, 4, 4, 8}, y[4] = {2, stride == 1 ? 4 : 2, stride == 1 ? 4 : 2, 16}, w[4] = {16, 8, 1, 1};
    const hunze_dtype bf16 = {HUNZE_BFLOAT, 16, 1};
    array of_x, of_w, of_y, of_residual;
    hunze_conv_options options = {.struct_size = sizeof options,
                                  .layout = HUNZE_CHANNELS_LAST,
                                  .stride = {stride, stride},
                                  .residual = view(&of_residual, cuda0, bf16, NULL, 4, y, residual_strides),
                                  .kernel = row_of(HUNZE_TYPE_BF16)};
    const hunze_call call = {
        .struct_size = sizeof call,
        .op = HUNZE_OP_CONV,
        .a = view(&of_x, cuda0, bf16, NULL, 4, x, NULL),
        .b = view(&of_w, cuda0, bf16, NULL, 4, w, NULL),
        .d = view(&of_y, cuda0, bf16, NULL, 4, y, NULL),
        .options = &options,
    };
    hunze_plan *plan = NULL;
    if (!why)
        OK(hunze_plan_create(context, &call, &plan));
    else
        REFUSED(UNSUPPORTED, hunze_plan_create(context, &call, &plan), row_of(HUNZE_TYPE_BF16), why);
    hunze_plan_release(plan);
}

static void refusals(void)
{
    hunze_context *context = start();
    const int64_t far = INT64_C(1) << 39, most = (INT64_C(1) << 31) - 256;
    const matrices taken = {.a = {2, 8, 16}, .b = {2, 16, 24}, .d = {2, 8, 24}};
    matrices of = taken;
    refuse(context, &of, NULL);
    of.a_at = 0x1008;
    refuse(context, &of, "first operand aligned to 16 bytes");
    of = taken;
    of.flags = HUNZE_BATCH_INVARIANT;
    refuse(context, &of, "may change with the batch");
    of.flags = HUNZE_REPRODUCIBLE;
    refuse(context, &of, "an order of its own");
    of = (matrices){.a = {1, 8, 12}, .b = {1, 12, 24}, .d = {1, 8, 24}};
    refuse(context, &of, "first operand's rows a multiple of 16 bytes apart");
    of = (matrices){.a = {1, 8, 16}, .b = {1, 16, 20}, .d = {1, 8, 20}};
    refuse(context, &of, "second operand's rows a multiple of 16 bytes apart");
    of = (matrices){.a = {1, 8, 16}, .a_steps = {0, 64, 2}, .b = {1, 16, 24}, .d = {1, 8, 24}};
    refuse(context, &of, "first operand's rows or columns contiguous");
    of = (matrices){.a = {1, 8, 16}, .a_steps = {0, -16, 1}, .b = {1, 16, 24}, .d = {1, 8, 24}};
    refuse(context, &of, "first operand's rows a multiple of 16 bytes apart");
    of = (matrices){.a = {1, 8, 24}, .a_steps = {0, 16, 1}, .b = {1, 24, 24}, .d = {1, 8, 24}};
    refuse(context, &of, "first operand's rows a multiple of 16 bytes apart, below 2^40, disjoint");
    of = (matrices){.a = {1, 8, 16}, .b = {1, 16, 24}, .b_steps = {0, 1, 8}, .d = {1, 8, 24}};
    refuse(context, &of, "second operand's rows a multiple of 16 bytes apart, below 2^40, disjoint");
    of = (matrices){.a = {1, 8, 16}, .a_steps = {0, far, 1}, .b = {1, 16, 24}, .d = {1, 8, 24}};
    refuse(context, &of, "below 2^40");
    of.a_steps[1] = far - 8;
    refuse(context, &of, NULL);
    of = (matrices){.a = {2, 8, 16}, .b = {2, 16, 24}, .b_steps = {388, 24, 1}, .d = {2, 8, 24}};
    refuse(context, &of, "second operand's matrices a multiple of 16 bytes apart");
    of.b_steps[0] = far;
    refuse(context, &of, "second operand's matrices a multiple of 16 bytes apart, below 2^40");
    of.b_steps[0] = 0; /* one for all */
    refuse(context, &of, NULL);
    of = (matrices){.a = {1, 8, 0}, .b = {1, 0, 24}, .d = {1, 8, 24}};
    refuse(context, &of, "needs k");
    of = (matrices){.a = {1, 8, 1}, .b = {1, 1, most - 8}, .d = {1, 8, most - 8}};
    refuse(context, &of, NULL);
    of.b[2] = of.d[2] = most;
    refuse(context, &of, "below 2^31 - 256");
    of = (matrices){.a = {1, most / 4, 8}, .b = {1, 8, most / 4}, .d = {1, most / 4, most / 4}};
    refuse(context, &of, "fewer than 2^31 tiles");
    refuse_convolution(context, 1, (const int64_t[]){300, 64, 16, 1}, NULL);
    refuse_convolution(context, 1, (const int64_t[]){300, 72, 16, 1}, "positions of an image one stride apart");
    refuse_convolution(context, 2, NULL, "1 x 1 without stride");
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ what is chosen */

/* The kernel of a product whose A begins at an address, and, if asked, why the other one is not taken. */
static void chosen(hunze_context *context, int64_t m, int64_t n, int64_t k, uint64_t a_at, uint32_t flags,
                   const char *kernel, const char *why)
{
    const int64_t of_a[2] = {m, k}, of_b[2] = {k, n}, of_d[2] = {m, n};
    const hunze_dtype bf16 = {HUNZE_BFLOAT, 16, 1};
    const hunze_gemm_options options = {.struct_size = sizeof options, .flags = flags};
    array a, b, d;
    const hunze_call call = {.struct_size = sizeof call,
                             .op = HUNZE_OP_GEMM,
                             .a = view(&a, cuda0, bf16, (void *)(uintptr_t)a_at, 2, of_a, NULL),
                             .b = view(&b, cuda0, bf16, NULL, 2, of_b, NULL),
                             .d = view(&d, cuda0, bf16, NULL, 2, of_d, NULL),
                             .options = &options};
    hunze_plan *plan = NULL;
    char *text = NULL;
    OK(hunze_plan_create(context, &call, &plan));
    check(strcmp(hunze_plan_kernel(plan), kernel) == 0, "%lld x %lld x %lld gets %s, not %s", (long long)m,
          (long long)n, (long long)k, hunze_plan_kernel(plan), kernel);
    OK(hunze_plan_explain(plan, &text));
    check(strstr(text, why) != NULL, "\"%s\" is not said: %s", why, text);
    hunze_string_free(text);
    hunze_plan_release(plan);
}

/* Large products; small ones have more tiles in the other kernel, which also takes what is refused here. */
static void choices(void)
{
    const char *const here = row_of(HUNZE_TYPE_BF16), *const other =
                                                          device_product(HUNZE_TYPE_BF16, HUNZE_ISA_CUDA_SM80);
    hunze_context *context = start();
    chosen(context, 4096, 4096, 4096, 0, 0, here, "modelled at 1.9");
    chosen(context, 512, 512, 512, 0, 0, other, "modelled at 2.");
    chosen(context, 4096, 4096, 4096, 0x1008, 0, other, "needs the first operand aligned to 16 bytes");
    chosen(context, 4096, 4096, 4095, 0, 0, other, "needs the first operand's rows a multiple of 16 bytes apart");
    chosen(context, 4096, 4096, 4096, 0, HUNZE_BATCH_INVARIANT, other, "may change with the batch");
    hunze_context_release(context);
}

/* Code with instructions of 9.0 runs on no later device either. */
static void another_capability(void)
{
    hunze_context *context = new_context(NULL);
    const matrices of = {.a = {2, 8, 16}, .b = {2, 16, 24}, .d = {2, 8, 24}};
    refuse(context, &of, "needs cuda_sm90a");
    hunze_context_release(context);
}

static const cuda_case cases[] = {
    {"majors", majors, "sms=3", NULL},
    {"sizes", sizes, "sms=2", NULL},
    {"rounds", rounds, "sms=2", NULL},
    {"batches", batches, "sms=3", NULL},
    {"epilogues", epilogues, "sms=2", NULL},
    {"roundings", roundings, NULL, NULL},
    {"bounds", bounds, NULL, NULL},
    {"convolutions", convolutions, "sms=1", NULL},
    {"counts", counts, "sms=3", NULL},
    {"refusals", refusals, NULL, NULL},
    {"choices", choices, "sms=132", NULL},
    {"earlier", another_capability, "capability=89", NULL},
    {"later", another_capability, "capability=100", NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof *cases); }
