/* SPDX-License-Identifier: Apache-2.0 */
/* Products of f32 and f64 on a device: the CPU's bits, whatever the shape, layout, batch and epilogue; each element of A and B is
 * read as often as the tiling says, and no two threads of a warp wait for one bank. */
#include "../../cuda/cuda.h"
#include "device_case.h"

static const hunze_type types[] = {HUNZE_TYPE_F32, HUNZE_TYPE_F64};

static int64_t kc_of(hunze_type type) { return type == HUNZE_TYPE_F64 ? HUNZE_KC_F64 : HUNZE_KC_F32; }

/* ------------------------------------------------------------------ cases */

/* What a case has beside A, B and D. */
enum { WITH_C = 1, WITH_BIAS = 2, WITH_ROW_BIAS = 4, WITH_RESIDUAL = 8 };

typedef struct product {
    hunze_type type;
    int64_t batch, m, n, k;
    unsigned lies, with;
    bool a_turned, b_turned, d_turned; /* the last axis of memory is the other one */
    harness_values values;
    double alpha, beta;
    hunze_activation activation;
} product;

static void make(hunze_context *context, harness_rng *rng, const product *p, device_case *c)
{
    static const int plain[3] = {0, 1, 2}, turned[3] = {0, 2, 1};
    const int64_t a[3] = {p->batch, p->m, p->k}, b[3] = {p->batch, p->k, p->n}, d[3] = {p->batch, p->m, p->n};
    const unsigned output = p->lies & ~(unsigned)LIES_REPEATED;
    *c = (device_case){.op = HUNZE_OP_GEMM, .alpha = p->alpha, .beta = p->beta, .activation = p->activation};
    snprintf(
        c->text, sizeof c->text,
        "%s batch %lld m %lld n %lld k %lld lies %u with %u turned %d%d%d values %s alpha %g beta %g activation %u",
        p->type == HUNZE_TYPE_F64 ? "f64" : "f32", (long long)p->batch, (long long)p->m, (long long)p->n,
        (long long)p->k, p->lies, p->with, p->a_turned, p->b_turned, p->d_turned, harness_values_name(p->values),
        p->alpha, p->beta, p->activation.kind);
    device_place(&c->a, context, rng, p->type, 3, a, p->a_turned ? turned : plain, p->lies, p->values);
    device_place(&c->b, context, rng, p->type, 3, b, p->b_turned ? turned : plain, p->lies, p->values);
    device_place(&c->d, context, rng, p->type, 3, d, p->d_turned ? turned : plain, output, HARNESS_SPECIAL);
    if (p->with & WITH_C)
        device_place(&c->c, context, rng, p->type, 3, d, p->a_turned ? turned : plain, p->lies, p->values);
    if (p->with & WITH_BIAS)
        device_place(&c->bias, context, rng, p->type, 1, &p->n, NULL, p->lies, p->values);
    else if (p->with & WITH_ROW_BIAS)
        device_place(&c->bias, context, rng, p->type, 2, (const int64_t[]){p->m, 1}, NULL, p->lies, p->values);
    if (p->with & WITH_RESIDUAL)
        device_place(&c->residual, context, rng, p->type, 3, d, p->b_turned ? turned : plain, p->lies, p->values);
}

static void check_product(hunze_context *context, harness_rng *rng, const product *p)
{
    device_case c;
    make(context, rng, p, &c);
    device_check(context, &c);
}

static product plain_product(hunze_type type, int64_t m, int64_t n, int64_t k)
{
    return (product){.type = type, .batch = 1, .m = m, .n = n, .k = k, .alpha = 1};
}

/* A random case around given extents. */
static product any_product(harness_rng *rng, hunze_type type, int64_t m, int64_t n, int64_t k)
{
    product p = plain_product(type, m, n, k);
    p.lies = (unsigned)harness_between(rng, 0, LIES_ANYHOW);
    p.with = (unsigned)harness_between(rng, 0, 15);
    p.a_turned = harness_one_in(rng, 2);
    p.b_turned = harness_one_in(rng, 2);
    p.d_turned = harness_one_in(rng, 3);
    p.values = (harness_values)harness_between(rng, 0, HARNESS_VALUES - 1);
    if (harness_one_in(rng, 3))
        p.alpha = harness_uniform(rng) * 3;
    if (p.with & WITH_C)
        p.beta = harness_one_in(rng, 4) ? 0 : harness_uniform(rng) * 3;
    p.activation = (hunze_activation){0, (uint32_t)harness_between(rng, 0, HUNZE_ACT_CLIP), -0.25F, 0.75F};
    if (harness_one_in(rng, 3))
        p.activation.kind = HUNZE_ACT_NONE;
    return p;
}

/* ------------------------------------------------------------------ tests */

/* Extents about tiles of 64 and 128, and none at all. */
static void sizes(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {71};
    static const int64_t extents[] = {1, 2, 3, 5, 17, 31, 63, 64, 65, 67, 127, 128, 129, 131};
    enum { EXTENTS = sizeof extents / sizeof *extents };
    for (int t = 0; t < 2; t++) {
        for (int i = 0; i < 4 * EXTENTS; i++) {
            const product p = any_product(&rng, types[t], extents[i % EXTENTS],
                                          extents[harness_between(&rng, 0, EXTENTS - 1)], harness_between(&rng, 1, 40));
            check_product(context, &rng, &p);
        }
        for (int empty = 0; empty < 8; empty++) {
            const product p = any_product(&rng, types[t], empty & 1 ? 0 : 5, empty & 2 ? 0 : 7, empty & 4 ? 0 : 3);
            check_product(context, &rng, &p);
        }
    }
    hunze_context_release(context);
}

/* Rows that are contiguous and come by 16 bytes, of which the last may be less; sums of products that underflow, half of them to -0, which what is
 * behind the end of k must not change. */
static void contiguous_rows(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {78};
    for (int turn = 0; turn < 160; turn++) {
        product p = plain_product(types[turn % 2], harness_between(&rng, 2, 12), harness_between(&rng, 2, 12),
                                  harness_between(&rng, 1, 40));
        p.a_turned = true;
        p.lies = turn % 4 < 2 ? LIES_WITH_GAPS : 0;
        p.values = HARNESS_DENORMAL;
        check_product(context, &rng, &p);
    }
    hunze_context_release(context);
}

/* k about stages of 16 and K blocks: the last one joins its predecessor or not. */
static void blocks_of_k(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {72};
    for (int t = 0; t < 2; t++) {
        const int64_t kc = kc_of(types[t]), half = kc / 2;
        const int64_t ks[] = {0,
                              15,
                              16,
                              17,
                              32,
                              33,
                              48,
                              kc - 1,
                              kc,
                              kc + 1,
                              kc + half - 1,
                              kc + half,
                              kc + half + 1,
                              2 * kc - 1,
                              2 * kc,
                              2 * kc + half,
                              3 * kc - half - 1};
        for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
            for (int turn = 0; turn < 3; turn++) {
                product p =
                    any_product(&rng, types[t], harness_between(&rng, 1, 9), harness_between(&rng, 1, 9), ks[i]);
                check_product(context, &rng, &p);
            }
    }
    hunze_context_release(context);
}

/* Every activation with everything before it; alpha 0 and beta 0 read nothing. */
static void epilogues(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {73};
    for (int t = 0; t < 2; t++) {
        for (uint32_t kind = 0; kind <= HUNZE_ACT_CLIP; kind++)
            for (int values = 0; values < HARNESS_VALUES; values++) {
                product p = any_product(&rng, types[t], 9, 11, 5);
                p.activation.kind = kind;
                p.values = (harness_values)values;
                check_product(context, &rng, &p);
            }
        static const double scalars[] = {0, -0.0, 1, -1, 0.5, 1e-300, 1e300};
        for (int i = 0; i < 49; i++) {
            product p = any_product(&rng, types[t], 6, 7, harness_between(&rng, 0, 20));
            p.alpha = scalars[i / 7];
            p.beta = scalars[i % 7];
            p.with |= WITH_C;
            p.values = i % 2 ? HARNESS_SPECIAL : HARNESS_UNIFORM;
            check_product(context, &rng, &p);
        }
    }
    hunze_context_release(context);
}

/* Several tiles in each direction, whole ones and cut ones; on a device by HUNZE_TEST_SCALE so many that they are the large ones. */
static void many_tiles(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {78};
    const int64_t scale = harness_scale();
    for (int turn = 0; turn < 16; turn++) {
        product p = any_product(&rng, types[turn % 2], 140 * scale, 132 * scale + 3, 52 * scale + 5);
        p.a_turned = turn & 2;
        p.b_turned = turn & 4;
        p.d_turned = turn & 8;
        check_product(context, &rng, &p);
    }
    hunze_context_release(context);
}

/* NaN is stored as the canonical one, bit by bit. */
static void reproducible(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {74};
    for (int t = 0; t < 2; t++)
        for (int turn = 0; turn < 12; turn++) {
            product p = any_product(&rng, types[t], 33, 35, 7);
            device_case c;
            p.values = turn % 2 ? HARNESS_SPECIAL : HARNESS_CORNERS;
            make(context, &rng, &p, &c);
            c.flags = HUNZE_REPRODUCIBLE;
            device_check(context, &c);
        }
    hunze_context_release(context);
}

/* D is C. */
static void in_place(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {75};
    for (int turn = 0; turn < 8; turn++) {
        product p = any_product(&rng, types[turn % 2], 70, 66, 19);
        device_case c;
        p.with &= ~(unsigned)WITH_C;
        make(context, &rng, &p, &c);
        c.c = c.d;
        c.beta = 0.75;
        device_check(context, &c);
    }
    hunze_context_release(context);
}

/* Leading axes that broadcast, up to fourteen; extents of one and axes that join. */
static void batches(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {76};
    for (int turn = 0; turn < 40; turn++) {
        const hunze_type type = types[turn % 2];
        const int leading = turn < 4 ? 14 : (int)harness_between(&rng, 1, 4);
        const int64_t m = harness_between(&rng, 1, 9), n = harness_between(&rng, 1, 9),
                      k = harness_between(&rng, 1, 20);
        const int64_t inner[4][2] = {{m, k}, {k, n}, {m, n}, {m, n}};
        int64_t shape[4][16]; /* of A, B, C and D, all with D's rank */
        device_case c = {.op = HUNZE_OP_GEMM, .alpha = 1, .beta = 0.5};
        for (int o = 0; o < 4; o++) {
            for (int axis = 0; axis < leading; axis++)
                shape[o][axis] = 1;
            shape[o][leading] = inner[o][0];
            shape[o][leading + 1] = inner[o][1];
        }
        int64_t products = 1;
        for (int axis = 0; axis < leading; axis++) {
            const int64_t extent = products < 24 ? harness_between(&rng, 1, 3) : 1;
            products *= extent;
            shape[3][axis] = extent;
            for (int o = 0; o < 3; o++)
                shape[o][axis] = harness_one_in(&rng, 3) ? 1 : extent;
        }
        snprintf(c.text, sizeof c.text, "turn %d: %d leading axes, %lld products", turn, leading, (long long)products);
        device_operand *const operands[] = {&c.a, &c.b, &c.c, &c.d};
        const unsigned lies = turn % 3 ? LIES_ANYHOW : 0;
        for (int o = 0; o < 4; o++) { /* inputs may lack leading axes */
            const int skipped = o < 3 && shape[o][0] == 1 && harness_one_in(&rng, 2) ? 1 : 0;
            device_place(operands[o], context, &rng, type, leading + 2 - skipped, shape[o] + skipped, NULL,
                         o == 3 ? lies & ~(unsigned)LIES_REPEATED : lies, HARNESS_UNIFORM);
        }
        if (harness_one_in(&rng, 2)) /* one row for all of D, or a matrix for each */
            device_place(&c.residual, context, &rng, type, turn % 4 ? leading + 2 : 1, turn % 4 ? shape[3] : &n, NULL,
                         lies, HARNESS_UNIFORM);
        device_check(context, &c);
    }
    hunze_context_release(context);
}

static const char *kernel_of(hunze_type type, bool large)
{
    return type == HUNZE_TYPE_F64 ? "hunze_gemm_f64_cuda"
           : large                ? "hunze_gemm_f32_cuda_128"
                                  : "hunze_gemm_f32_cuda_64";
}

/* ------------------------------------------------------------------ the choice of tiles and of K blocks side by side */

/* Without data. */
static hunze_status plan_of(hunze_context *context, hunze_type type, int64_t batch, int64_t m, int64_t n, int64_t k,
                            hunze_plan **plan)
{
    const hunze_dtype dtype = {HUNZE_FLOAT, type == HUNZE_TYPE_F64 ? 64 : 32, 1};
    const int64_t a_shape[3] = {batch, m, k}, b_shape[3] = {batch, k, n}, d_shape[3] = {batch, m, n};
    array a, b, d;
    const hunze_call call = {.struct_size = sizeof call,
                             .op = HUNZE_OP_GEMM,
                             .a = view(&a, cuda0, dtype, NULL, 3, a_shape, NULL),
                             .b = view(&b, cuda0, dtype, NULL, 3, b_shape, NULL),
                             .d = view(&d, cuda0, dtype, NULL, 3, d_shape, NULL)};
    return hunze_plan_create(context, &call, plan);
}

/* Grids have 2^31 - 1 blocks in x, 65535 in y and z. */
static void more_tiles_than_a_grid(void)
{
    static const hunze_cuda_kernel kernel = {.name = "some_kernel"};
    static const int64_t grids[3][3] = {{INT64_C(1) << 31, 1, 1}, {1, 65536, 1}, {1, 1, 65536}};
    for (int i = 0; i < 3; i++)
        REFUSED(UNSUPPORTED, hunze_cuda_start(NULL, &kernel, grids[i][0], grids[i][1], grids[i][2], NULL, 0),
                "some_kernel", i == 0 ? "2147483648" : "65536", "2147483647 x 65535 x 65535");
    hunze_context *context = new_context(NULL);
    const int64_t most = INT64_C(64) * INT32_MAX, million = 1 << 20;
    hunze_plan *plan;
    for (int t = 0; t < 2; t++) {
        OK(plan_of(context, types[t], 1, most, 64, 1, &plan));
        hunze_plan_release(plan);
        REFUSED(UNSUPPORTED, plan_of(context, types[t], 1, most + 1, 64, 1, &plan), "2^31 tiles of 64 x 64");
        REFUSED(UNSUPPORTED, plan_of(context, types[t], million, 64, 64 * 2048, 1, &plan), "2^31 tiles of 64 x 64");
        OK(plan_of(context, types[t], million, 64, 64 * 2047, 1, &plan));
        hunze_plan_release(plan);
    }
    hunze_context_release(context);
}

typedef struct choice {
    hunze_type type;
    int64_t batch, m, n, k;
    int tile, k_blocks;
    size_t workspace;
} choice;

/* What a plan says. */
static void check_choices(const choice *choices, size_t count)
{
    standin_only("number of multiprocessors to choose");
    hunze_context *context = new_context(NULL);
    for (const choice *c = choices; c < choices + count; c++) {
        hunze_plan *plan;
        char *text, words[80];
        OK(plan_of(context, c->type, c->batch, c->m, c->n, c->k, &plan));
        OK(hunze_plan_explain(plan, &text));
        snprintf(words, sizeof words, "\"tile\": %d, \"parallel_k_blocks\": %d, ", c->tile, c->k_blocks);
        check(strstr(text, words), "case %td: not %s in %s", c - choices, words, text);
        check(hunze_plan_workspace(plan, 0) == c->workspace, "case %td: %zu bytes of workspace, not %zu", c - choices,
              hunze_plan_workspace(plan, 0), c->workspace);
        hunze_string_free(text);
        hunze_plan_release(plan);
    }
    hunze_context_release(context);
}

/* On one multiprocessor the larger tile, unless much of it is outside D; never K blocks side by side, for nobody is idle. */
static void choices_of_one(void)
{
    static const choice choices[] = {
        {HUNZE_TYPE_F32, 1, 128, 128, 16, 128, 1, 0},    {HUNZE_TYPE_F32, 1, 64, 64, 16, 64, 1, 0},
        {HUNZE_TYPE_F32, 1, 64, 256, 4096, 64, 1, 0},    {HUNZE_TYPE_F32, 1, 65, 256, 4096, 128, 1, 0},
        {HUNZE_TYPE_F32, 5, 64, 64, 1 << 20, 64, 1, 0},  {HUNZE_TYPE_F32, 1, 4096, 4096, 4096, 128, 1, 0},
        {HUNZE_TYPE_F64, 1, 4096, 4096, 4096, 64, 1, 0}, {HUNZE_TYPE_F64, 1, 64, 64, 1 << 20, 64, 1, 0},
        {HUNZE_TYPE_F32, 1, 64, 64, 1279, 64, 1, 0},
    };
    check_choices(choices, sizeof choices / sizeof *choices);
}

/* On 132: small tiles while large ones leave some without any; K blocks side by side while there are fewer tiles than multiprocessors, k is so long
 * that adding them is little, and their sums fit 64 MiB. */
static void choices_of_many(void)
{
    enum { TILE_F32 = 64 * 64 * 4, TILE_F64 = 32 * 32 * 8, BLOCKS_F32 = 4096 };
    static const choice choices[] = {
        {HUNZE_TYPE_F32, 1, 1024, 1024, 512, 64, 1, 0},
        {HUNZE_TYPE_F32, 1, 4096, 4096, 512, 128, 1, 0},
        {HUNZE_TYPE_F32, 4, 1024, 1024, 512, 128, 1, 0},
        {HUNZE_TYPE_F32, 1, 64, 64, 767, 64, 1, 0},
        {HUNZE_TYPE_F32, 1, 64, 64, 768, 64, 2, 2 * TILE_F32},
        {HUNZE_TYPE_F32, 1, 65, 64, 8192, 64, 16, 32 * TILE_F32},
        {HUNZE_TYPE_F32, 3, 64, 64, 8192, 64, 16, 48 * TILE_F32},
        {HUNZE_TYPE_F32, 1, 512, 512, 4096, 128, 8, 512 * TILE_F32},
        {HUNZE_TYPE_F32, 1, 4096, 4096, 4096, 128, 1, 0},
        {HUNZE_TYPE_F32, 1, 64, 64, BLOCKS_F32 * HUNZE_KC_F32, 64, BLOCKS_F32, BLOCKS_F32 * TILE_F32},
        {HUNZE_TYPE_F32, 1, 64, 64, BLOCKS_F32 * HUNZE_KC_F32 + HUNZE_KC_F32, 64, 1, 0},
        {HUNZE_TYPE_F32, 1, 64, 64, 1279, 64, 2, 2 * TILE_F32},
        {HUNZE_TYPE_F64, 1, 64, 64, 383, 64, 1, 0},
        {HUNZE_TYPE_F64, 1, 64, 33, 4096, 64, 16, 64 * TILE_F64},
        {HUNZE_TYPE_F64, 1, 32, 32, 4096, 64, 16, 16 * TILE_F64},
    };
    check_choices(choices, sizeof choices / sizeof *choices);
}

/* K blocks side by side: several tiles, whole ones and cut ones, and matrices, with everything that an epilogue has. */
static void k_blocks_apart(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {79};
    for (int turn = 0; turn < 12; turn++) {
        const hunze_type type = types[turn % 2];
        product p = any_product(&rng, type, harness_between(&rng, 1, 70), harness_between(&rng, 60, 70),
                                kc_of(type) * harness_between(&rng, 2, 3) + harness_between(&rng, -20, 20));
        p.batch = harness_between(&rng, 1, 2);
        check_product(context, &rng, &p);
    }
    hunze_context_release(context);
}

/* Each block of threads has its part of A and B once for each column and row of tiles; the sums are written once and read once. */
static void count_apart(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {80};
    device_count_banks(true);
    for (int t = 0; t < 2; t++) {
        const int64_t kc = kc_of(types[t]), m = 100, n = 60, k = 3 * kc + 20, size = (int64_t)harness_bytes(types[t]),
                      span = t ? 32 : 64, cells = (m + span - 1) / span * ((n + span - 1) / span) * span * span;
        const product p = plain_product(types[t], m, n, k);
        device_case c;
        make(context, &rng, &p, &c);
        device_reset_counters();
        device_check(context, &c);
        const hunze_emulator_counters sums = device_counters(kernel_of(p.type, false)),
                                      fold = device_counters(t ? "hunze_fold_f64_cuda" : "hunze_fold_f32_cuda");
        check(sums.launches == 1 && sums.blocks == 3 * 2 && fold.launches == 1 &&
                  fold.blocks == (uint64_t)(cells / span / span),
              "%s: %llu and %llu blocks", c.text, (unsigned long long)sums.blocks, (unsigned long long)fold.blocks);
        check(sums.global_read_bytes == (uint64_t)((m + 2 * n) * k * size) &&
                  sums.global_write_bytes == (uint64_t)(3 * cells * size),
              "%s: the sums read %llu bytes and write %llu", c.text, (unsigned long long)sums.global_read_bytes,
              (unsigned long long)sums.global_write_bytes);
        check(fold.global_read_bytes == (uint64_t)(3 * cells * size) &&
                  fold.global_write_bytes == (uint64_t)(m * n * size),
              "%s: the fold reads %llu bytes and writes %llu", c.text, (unsigned long long)fold.global_read_bytes,
              (unsigned long long)fold.global_write_bytes);
        check(fold.shared_requests > 0 && fold.bank_conflicts == 0, "%s: %llu bank conflicts in %llu requests", c.text,
              (unsigned long long)fold.bank_conflicts, (unsigned long long)fold.shared_requests);
    }
    hunze_context_release(context);
}

/* Under capture nothing is allocated for sums: K blocks go one after another, to the same bits. */
static void captured(void)
{
    enum { K = 3 * HUNZE_KC_F32 };
    static float values[2 * K], expected, got;
    hunze_context *context = new_context(NULL);
    harness_rng rng = {82};
    harness_fill(&rng, HUNZE_TYPE_F32, values, 2 * K, HARNESS_UNIFORM);
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    const int64_t row[2] = {1, K}, column[2] = {K, 1}, one[2] = {1, 1};
    array a, b, d;
    OK(hunze_gemm(context, view(&a, cpu, f32, values, 2, row, NULL), view(&b, cpu, f32, values + K, 2, column, NULL),
                  NULL, view(&d, cpu, f32, &expected, 2, one, NULL), NULL, NULL));
    void *a_gpu = to_gpu(context, cuda0, NULL, values, K), *b_gpu = to_gpu(context, cuda0, NULL, values + K, K),
         *d_gpu = to_gpu(context, cuda0, NULL, &got, 1), *stream = NULL;
    CUcontext primary = NULL;
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    hunze_plan *plan;
    const hunze_call call = {.struct_size = sizeof call,
                             .op = HUNZE_OP_GEMM,
                             .a = view(&a, cuda0, f32, a_gpu, 2, row, NULL),
                             .b = view(&b, cuda0, f32, b_gpu, 2, column, NULL),
                             .d = view(&d, cuda0, f32, d_gpu, 2, one, NULL)};
    OK(hunze_plan_create(context, &call, &plan));
    check(hunze_plan_workspace(plan, 0) > 0, "K blocks do not go side by side");
    OK(hunze_plan_prepare(plan));
    OK(hunze_stream_create(context, cuda0, &stream));
    OK(hunze_stream_synchronize(context, cuda0, NULL));
    DRIVER_OK(DRIVER(cuDevicePrimaryCtxRetain, 7000)(&primary, 0));
    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));
    DRIVER_OK(DRIVER(cuStreamBeginCapture, 10010)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    OK(hunze_plan_run(plan, &call, &run));
    DRIVER_OK(DRIVER(cuStreamEndCapture, 10000)(stream, &graph));
    DRIVER_OK(DRIVER(cuGraphInstantiateWithFlags, 11040)(&exec, graph, 0));
    DRIVER_OK(DRIVER(cuGraphLaunch, 10000)(exec, stream));
    from_gpu(context, cuda0, stream, d_gpu, &got, 1);
    OK(hunze_stream_synchronize(context, cuda0, stream));
    check(memcmp(&got, &expected, sizeof got) == 0, "%g, not %g", (double)got, (double)expected);
    hunze_plan_release(plan);
    hunze_context_release(context);
}

/* Nor are there any where the device's memory is full. */
static void memory_is_full(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {83};
    standin_only("failures on demand");
    for (int t = 0; t < 2; t++) {
        product p = any_product(&rng, types[t], 70, 60, 3 * kc_of(types[t]) + 7);
        device_case c;
        make(context, &rng, &p, &c);
        const uint64_t asked = standin_count("cuMemAllocFromPoolAsync");
        standin_failures("cuMemAllocFromPoolAsync:*:CUDA_ERROR_OUT_OF_MEMORY");
        device_check(context, &c);
        check(standin_count("cuMemAllocFromPoolAsync") > asked, "K blocks do not go side by side");
        standin_failures("");
        check_product(context, &rng, &p);
        const uint64_t folds = device_counters(t ? "hunze_fold_f64_cuda" : "hunze_fold_f32_cuda").launches;
        check(folds == 1, "%llu times are sums added", (unsigned long long)folds);
    }
    hunze_context_release(context);
}

/* What a call asks of the driver when its like has run before: the context and its device, whether the stream is captured, whose each of three
 * pointers is (but for HUNZE_TRUST_POINTERS), and the launch.  Where K blocks go side by side, workspace is taken in relaxed mode and given
 * back, and there are two launches. */
static void calls_of_the_driver(void)
{
    static const struct {
        int64_t k;
        uint64_t calls, launches;
    } sizes[] = {{8, 7, 1}, {2 * HUNZE_KC_F32, 7 + 4 + 1, 2}};
    hunze_context *context = new_context(NULL);
    CUcontext primary = NULL;
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    void *memory = NULL;
    OK(hunze_memory_alloc(context, cuda0, 4096 * sizeof(float), NULL, &memory));
    DRIVER_OK(DRIVER(cuDevicePrimaryCtxRetain, 7000)(&primary, 0));
    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));
    for (int turn = 0; turn < 4; turn++) {
        const int i = turn & 1;
        const hunze_gemm_options options = {.struct_size = sizeof options,
                                            .flags = turn & 2 ? HUNZE_TRUST_POINTERS : 0};
        const uint64_t expected = sizes[i].calls - (turn & 2 ? 3 : 0);
        const int64_t row[2] = {1, sizes[i].k}, column[2] = {sizes[i].k, 1}, one[2] = {1, 1};
        array a, b, d;
        view(&a, cuda0, f32, memory, 2, row, NULL);
        view(&b, cuda0, f32, (float *)memory + 2048, 2, column, NULL);
        view(&d, cuda0, f32, (float *)memory + 4095, 2, one, NULL);
        OK(hunze_gemm(context, &a.tensor, &b.tensor, NULL, &d.tensor, &options, NULL));
        const uint64_t calls = standin_count(NULL), launches = standin_count("cuLaunchKernelEx");
        OK(hunze_gemm(context, &a.tensor, &b.tensor, NULL, &d.tensor, &options, NULL));
        standin_check(standin_count(NULL) - calls == expected &&
                          standin_count("cuLaunchKernelEx") - launches == sizes[i].launches,
                      "k %lld, flags %u: %llu calls of the driver, %llu of them launches", (long long)sizes[i].k,
                      options.flags, (unsigned long long)(standin_count(NULL) - calls),
                      (unsigned long long)(standin_count("cuLaunchKernelEx") - launches));
    }
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ counts */

/* A is read once for each column of tiles, B for each row of tiles; one fma is done for each product and each element of a K block.  whole: tiles
 * are, too, and no access to shared memory takes more than one pass. */
static void count(bool large, int64_t m, int64_t n, bool whole)
{
    const int64_t k = whole ? 64 : 52;
    hunze_context *context = new_context(NULL);
    harness_rng rng = {77};
    device_count_banks(whole);
    for (int t = 0; t < 2; t++)
        for (int turned = 0; turned < 8; turned++)
            for (int late = 0; late < 2; late++) {
                product p = plain_product(types[t], m, n, k);
                const int64_t size = (int64_t)harness_bytes(p.type), tile = t == 0 && large ? 128 : 64;
                const int64_t rows = (m + tile - 1) / tile, columns = (n + tile - 1) / tile;
                device_case c;
                p.a_turned = turned & 1;
                p.b_turned = turned & 2;
                p.d_turned = turned & 4;
                p.lies = late ? LIES_LATE : 0;
                make(context, &rng, &p, &c);
                device_reset_counters();
                device_check(context, &c);
                const hunze_emulator_counters found = device_counters(kernel_of(p.type, large));
                check(found.launches == 1 && found.blocks == (uint64_t)(rows * columns),
                      "%s: %llu launches of %llu blocks", c.text, (unsigned long long)found.launches,
                      (unsigned long long)found.blocks);
                check(found.global_read_bytes == (uint64_t)((m * columns + n * rows) * k * size),
                      "%s: %llu bytes are read", c.text, (unsigned long long)found.global_read_bytes);
                check(found.global_write_bytes == (uint64_t)(m * n * size), "%s: %llu bytes are written", c.text,
                      (unsigned long long)found.global_write_bytes);
                check(found.fma == (uint64_t)(rows * columns * tile * tile * (64 + 1)), "%s: %llu fma", c.text,
                      (unsigned long long)found.fma);
                check(!whole || (found.shared_requests > 0 && found.bank_conflicts == 0),
                      "%s: %llu bank conflicts in %llu requests", c.text, (unsigned long long)found.bank_conflicts,
                      (unsigned long long)found.shared_requests);
            }
    hunze_context_release(context);
}
static void count_small(void) { count(false, 140, 132, false); }
static void count_large(void) { count(true, 125, 127, false); }
static void banks_small(void) { count(false, 128, 64, true); }
static void banks_large(void) { count(true, 128, 128, true); }

static const cuda_case cases[] = {
    {"sizes", sizes, "sms=16", NULL},
    {"sizes_of_large_tiles", sizes, "sms=1", NULL},
    {"contiguous_rows", contiguous_rows, NULL, NULL},
    {"many_tiles", many_tiles, "sms=1", NULL},
    {"blocks_of_k", blocks_of_k, "sms=1", NULL},
    {"blocks_of_k_apart", blocks_of_k, "sms=16", NULL},
    {"k_blocks_apart", k_blocks_apart, "sms=132", NULL},
    {"more_tiles_than_a_grid", more_tiles_than_a_grid, NULL, NULL},
    {"choices_of_one", choices_of_one, "sms=1", NULL},
    {"choices_of_many", choices_of_many, "sms=132", NULL},
    {"captured", captured, "sms=132", NULL},
    {"memory_is_full", memory_is_full, "sms=132", NULL},
    {"calls_of_the_driver", calls_of_the_driver, "sms=132", NULL},
    {"count_apart", count_apart, "sms=132", NULL},
    {"epilogues", epilogues, NULL, NULL},
    {"reproducible", reproducible, NULL, NULL},
    {"in_place", in_place, NULL, NULL},
    {"batches", batches, NULL, NULL},
    {"count_small", count_small, "sms=16", NULL},
    {"count_large", count_large, "sms=1", NULL},
    {"banks_small", banks_small, "sms=16", NULL},
    {"banks_large", banks_large, "sms=1", NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof *cases); }
