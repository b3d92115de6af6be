/* SPDX-License-Identifier: Apache-2.0 */
/* Every peer of bench/peers/table.c that is another library: opens it, runs each of its ways on small rows, and compares with plain C.
 * Operands are small integers, so that every order of summation gives the same.  The environment of the peers is the variable
 * HUNZE_BENCH_PEERS, or build/peers; a library that is not there skips its test. */
#include "../../bench/peers/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COPIES = 3 };

static const bench_case rows[] = {
    {.id = "f32", .dtype = "f32", .m = 5, .n = 7, .k = 3},
    {.id = "f32 T", .dtype = "f32", .m = 13, .n = 33, .k = 65, .trans_b = true},
    {.id = "f32 large", .dtype = "f32", .m = 131, .n = 257, .k = 300},
    {.id = "f32 packed", .dtype = "f32", .m = 17, .n = 100, .k = 129, .packed_b = true, .copies = 3},
    {.id = "f32 packed T", .dtype = "f32", .m = 17, .n = 100, .k = 129, .trans_b = true, .packed_b = true, .copies = 2},
    {.id = "f32 batch", .dtype = "f32", .m = 9, .n = 11, .k = 13, .batch = 3, .copies = 2},
    {.id = "f32 batch large", .dtype = "f32", .m = 128, .n = 127, .k = 65, .batch = 3, .trans_b = true, .copies = 2},
    {.id = "f32 batch T", .dtype = "f32", .m = 9, .n = 11, .k = 13, .batch = 3, .trans_b = true},
    {.id = "f64", .dtype = "f64", .m = 5, .n = 7, .k = 3},
    {.id = "f64 T", .dtype = "f64", .m = 33, .n = 13, .k = 65, .trans_b = true, .copies = 2},
    {.id = "f64 packed", .dtype = "f64", .m = 17, .n = 100, .k = 129, .packed_b = true, .copies = 2},
    {.id = "f64 batch", .dtype = "f64", .m = 9, .n = 9, .k = 8, .batch = 3},
    {.id = "f64 batch large", .dtype = "f64", .m = 101, .n = 100, .k = 102, .batch = 2},
    {.id = "f64 batch T", .dtype = "f64", .m = 9, .n = 10, .k = 8, .batch = 3, .trans_b = true},
    {.id = "bf16", .dtype = "bf16", .m = 5, .n = 7, .k = 33},
    {.id = "bf16 batch T", .dtype = "bf16", .m = 5, .n = 7, .k = 33, .batch = 3, .trans_b = true},
    {.id = "bf16 packed", .dtype = "bf16", .m = 5, .n = 40, .k = 33, .packed_b = true, .copies = 2},
    {.id = "u8s8", .dtype = "u8s8", .m = 5, .n = 7, .k = 33},
    {.id = "u8s8 T", .dtype = "u8s8", .m = 5, .n = 7, .k = 33, .trans_b = true, .copies = 2},
    {.id = "u8s8 batch", .dtype = "u8s8", .m = 5, .n = 7, .k = 33, .batch = 3},
    {.id = "u8s8 packed", .dtype = "u8s8", .m = 17, .n = 100, .k = 129, .packed_b = true, .copies = 2},
    {.id = "u8s8 one row", .dtype = "u8s8", .m = 1, .n = 70, .k = 67, .packed_b = true, .copies = 3},
    {.id = "s8s8", .dtype = "s8s8", .m = 5, .n = 7, .k = 33},
    {.id = "s8s8 packed", .dtype = "s8s8", .m = 17, .n = 100, .k = 129, .packed_b = true, .copies = 2},
#define IMAGE(id_, dtype_, images_, channels_, height_, width_, filters_, kh, kw, stride_, pad_, groups_)              \
    {.id = id_,                                                                                                        \
     .dtype = dtype_,                                                                                                  \
     .op = BENCH_CONV,                                                                                                 \
     .images = images_,                                                                                                \
     .channels = channels_,                                                                                            \
     .height = height_,                                                                                                \
     .width = width_,                                                                                                  \
     .filters = filters_,                                                                                              \
     .kernel_height = kh,                                                                                              \
     .kernel_width = kw,                                                                                               \
     .stride = stride_,                                                                                                \
     .pad = pad_,                                                                                                      \
     .groups = groups_,                                                                                                \
     .packed_b = true,                                                                                                 \
     .copies = 2}
    IMAGE("conv 3x3", "f32", 1, 5, 9, 11, 7, 3, 3, 1, 1, 1),
    IMAGE("conv 1x1", "f32", 2, 16, 5, 6, 32, 1, 1, 1, 0, 1),
    IMAGE("conv strides", "f32", 2, 3, 15, 14, 16, 7, 7, 2, 3, 1),
    IMAGE("conv 5x10", "f32", 1, 4, 19, 41, 6, 5, 10, 2, 0, 1),
    IMAGE("conv groups", "f32", 1, 6, 8, 8, 9, 3, 3, 1, 1, 3),
    IMAGE("depthwise", "f32", 1, 24, 10, 9, 24, 3, 3, 2, 1, 24),
    IMAGE("depthwise 5x5", "f32", 2, 10, 10, 9, 10, 5, 5, 1, 2, 10),
    IMAGE("conv bf16", "bf16", 1, 6, 9, 7, 10, 3, 3, 1, 1, 1),
    IMAGE("conv u8s8", "u8s8", 1, 20, 9, 7, 18, 3, 3, 2, 1, 1),
    IMAGE("1x1 u8s8", "u8s8", 1, 32, 9, 7, 16, 1, 1, 1, 0, 1),
    IMAGE("depthwise u8s8", "u8s8", 1, 17, 9, 7, 17, 3, 3, 1, 1, 17),
    IMAGE("conv s8s8", "s8s8", 2, 20, 9, 7, 18, 3, 3, 1, 1, 1),
    IMAGE("depthwise s8s8", "s8s8", 1, 17, 9, 7, 17, 3, 3, 1, 1, 17),
    {.id = "w4g32", .dtype = "w4g32", .m = 1, .n = 8, .k = 64, .packed_b = true, .group_size = 32},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* What a library must offer.  In oneDNN bf16 and packed weights hang on the CPU, and are compared where they are there. */
static const struct {
    const char *peer, *row, *ways; /* in order, each ended by ; and + where more may follow */
} offers[] = {
    {"openblas", "f32", ";"},
    {"openblas", "f32 batch large", ";batch_strided;"},
    {"openblas", "f64 batch large", ";batch_strided;"},
    {"openblas", "bf16", NULL},
    {"openblas", "conv 3x3", NULL},
    {"blis", "f32 batch", ";"},
    {"blis", "f64", ";"},
    {"blis", "u8s8", NULL},
    {"mkl", "f32", ";direct;jit;"},
    {"mkl", "f32 large", ";"},
    {"mkl", "f32 batch", ";batch_strided;direct;jit;"},
    {"mkl", "f32 packed", ";packed;"},
    {"mkl", "f64 packed", ";packed;"},
    {"mkl", "f64 batch", ";batch_strided;direct;jit;"},
    {"mkl", "bf16", ";"},
    {"mkl", "bf16 packed", ";packed;"},
    {"mkl", "u8s8", ";"},
    {"mkl", "u8s8 packed", ";packed;"},
    {"mkl", "s8s8", NULL},
    {"onednn", "f32", ";"},
    {"onednn", "f32 batch T", ";"},
    {"onednn", "f32 packed", ";+"},
    {"onednn", "f64", NULL},
    {"onednn", "u8s8 packed", ";+"},
    {"onednn", "s8s8 packed", ";+"},
    {"onednn", "conv 3x3", "channels first;channels last;any layout;"},
    {"onednn", "depthwise", "channels first;channels last;any layout;"},
    {"onednn", "conv u8s8", "channels last;any layout;"},
    {"onednn", "conv s8s8", "channels last;any layout;"},
    {"onednn", "w4g32", NULL},
};

/* How many ways at least, for every row of these. */
static const struct {
    const char *peer;
    bench_op op;
    const char *dtype;
    int ways;
} least[] = {
    {"openblas", BENCH_GEMM, "f32", 1}, {"openblas", BENCH_GEMM, "f64", 1}, {"blis", BENCH_GEMM, "f32", 1},
    {"blis", BENCH_GEMM, "f64", 1},     {"mkl", BENCH_GEMM, "f32", 1},      {"mkl", BENCH_GEMM, "f64", 1},
    {"mkl", BENCH_GEMM, "bf16", 1},     {"mkl", BENCH_GEMM, "u8s8", 1},     {"onednn", BENCH_GEMM, "f32", 1},
    {"onednn", BENCH_GEMM, "u8s8", 1},  {"onednn", BENCH_GEMM, "s8s8", 1},  {"onednn", BENCH_CONV, "f32", 3},
    {"onednn", BENCH_CONV, "u8s8", 2},  {"onednn", BENCH_CONV, "s8s8", 2},
};

static const char *environment(void)
{
    const char *given = getenv("HUNZE_BENCH_PEERS");
    return given ? given : "build/peers";
}

/* Fills `count` elements with whole numbers as element type `type`: 'f', 'd', 'b' (bf16), 'u', 's'. */
static size_t element_bytes(char type) { return type == 'd' ? 8 : type == 'f' ? 4 : type == 'b' ? 2 : 1; }

static void put(void *to, char type, int64_t index, int value)
{
    const float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    switch (type) {
    case 'd': ((double *)to)[index] = value; break;
    case 'f': ((float *)to)[index] = f; break;
    case 'b': ((uint16_t *)to)[index] = (uint16_t)(bits >> 16); break; /* exact for these */
    case 'u': ((uint8_t *)to)[index] = (uint8_t)value; break;
    default: ((int8_t *)to)[index] = (int8_t)value; break;
    }
}

static double get(const void *from, const char *dtype, int64_t index)
{
    if (strcmp(dtype, "f64") == 0)
        return ((const double *)from)[index];
    if (strcmp(dtype, "f32") == 0)
        return ((const float *)from)[index];
    if (strcmp(dtype, "s32") == 0)
        return ((const int32_t *)from)[index];
    assert_string_equal(dtype, "bf16");
    const uint32_t bits = (uint32_t)((const uint16_t *)from)[index] << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static int draw(uint32_t *seed, int low, int high)
{
    *seed = *seed * 1664525u + 1013904223u;
    return low + (int)((*seed >> 8) % (uint32_t)(high - low + 1));
}

typedef struct problem {
    bench_case row;
    int *a, *b; /* the numbers; b of each copy */
    int64_t a_count, b_count, d_count;
    int64_t *want; /* of each copy */
} problem;

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(p);
    return p;
}

static void expect_product(problem *p, int copy)
{
    const bench_case *r = &p->row;
    const int *b = p->b + copy * p->b_count;
    for (int64_t l = 0; l < r->batch; l++)
        for (int64_t i = 0; i < r->m; i++)
            for (int64_t j = 0; j < r->n; j++) {
                int64_t sum = 0;
                for (int64_t x = 0; x < r->k; x++)
                    sum += (int64_t)p->a[(l * r->m + i) * r->k + x] *
                           b[l * r->k * r->n + (r->trans_b ? j * r->k + x : x * r->n + j)];
                p->want[copy * p->d_count + (l * r->m + i) * r->n + j] = sum;
            }
}

static int64_t expect_pixel(const problem *p, const int *b, int64_t image, int64_t filter, int64_t y, int64_t x)
{
    const bench_case *r = &p->row;
    const int64_t channels = r->channels / r->groups, group = filter / (r->filters / r->groups);
    int64_t sum = 0;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t h = 0; h < r->kernel_height; h++)
            for (int64_t w = 0; w < r->kernel_width; w++) {
                const int64_t from_y = y * r->stride + h - r->pad, from_x = x * r->stride + w - r->pad;
                if (from_y < 0 || from_y >= r->height || from_x < 0 || from_x >= r->width)
                    continue;
                sum +=
                    (int64_t)
                        p->a[((image * r->channels + group * channels + c) * r->height + from_y) * r->width + from_x] *
                    b[((filter * channels + c) * r->kernel_height + h) * r->kernel_width + w];
            }
    return sum;
}

static void expect_convolution(problem *p, int copy)
{
    const bench_case *r = &p->row;
    int64_t *want = p->want + copy * p->d_count;
    for (int64_t i = 0; i < r->images; i++)
        for (int64_t f = 0; f < r->filters; f++)
            for (int64_t y = 0; y < r->out_height; y++)
                for (int64_t x = 0; x < r->out_width; x++)
                    *want++ = expect_pixel(p, p->b + copy * p->b_count, i, f, y, x);
}

static void make_problem(problem *p, const bench_case *row, int threads)
{
    p->row = *row;
    bench_case *r = &p->row;
    r->threads = threads;
    r->copies = r->copies ? r->copies : 1;
    r->batch = r->batch ? r->batch : 1;
    if (r->op == BENCH_CONV) {
        r->out_height = (r->height + 2 * r->pad - r->kernel_height) / r->stride + 1;
        r->out_width = (r->width + 2 * r->pad - r->kernel_width) / r->stride + 1;
        p->a_count = r->images * r->channels * r->height * r->width;
        p->b_count = r->filters * (r->channels / r->groups) * r->kernel_height * r->kernel_width;
        p->d_count = r->images * r->filters * r->out_height * r->out_width;
    } else {
        p->a_count = r->batch * r->m * r->k;
        p->b_count = r->batch * r->k * r->n;
        p->d_count = r->batch * r->m * r->n;
    }
    const bool f64 = strcmp(r->dtype, "f64") == 0, bf16 = strcmp(r->dtype, "bf16") == 0;
    const bool u8 = strcmp(r->dtype, "u8s8") == 0, s8 = strcmp(r->dtype, "s8s8") == 0;
    const char a_type = f64 ? 'd' : bf16 ? 'b' : u8 ? 'u' : s8 ? 's' : 'f';
    const char b_type = u8 ? 's' : *r->dtype == 'w' ? 'u' : a_type;
    /* Sums stay exact in bf16; weights of 7 bits, so that two products of bytes fit 16 bits, and
     * even ones for s8s8, which oneDNN halves on CPUs without a dot product of bytes. */
    const int a_low = u8 ? 0 : s8 ? -128 : bf16 ? -1 : -9, a_high = u8 ? 255 : s8 ? 127 : bf16 ? 1 : 9;
    const int b_low = u8 ? -64 : bf16 ? -1 : *r->dtype == 'w' ? 0 : -9, b_high = u8 ? 63 : bf16 ? 1 : 9;
    uint32_t seed = 1;
    r->b_stride = ((size_t)p->b_count * element_bytes(b_type) + 63) / 64 * 64 + 64;
    char *a = memory((size_t)p->a_count * element_bytes(a_type)), *b = memory(r->b_stride * (size_t)r->copies);
    p->a = memory((size_t)p->a_count * sizeof *p->a);
    p->b = memory((size_t)(p->b_count * r->copies) * sizeof *p->b);
    for (int64_t i = 0; i < p->a_count; i++)
        put(a, a_type, i, p->a[i] = draw(&seed, a_low, a_high));
    for (int64_t i = 0; i < p->b_count * r->copies; i++)
        put(b + (size_t)(i / p->b_count) * r->b_stride, b_type, i % p->b_count,
            p->b[i] = s8 ? 2 * draw(&seed, -32, 31) : draw(&seed, b_low, b_high));
    r->a = a;
    r->b = b;
    r->d = memory((size_t)p->d_count * 8);
    p->want = memory((size_t)(p->d_count * r->copies) * sizeof *p->want);
    for (int i = 0; i < r->copies; i++)
        r->op == BENCH_CONV ? expect_convolution(p, i) : expect_product(p, i);
}

static void drop_problem(problem *p)
{
    free((void *)(uintptr_t)p->row.a);
    free((void *)(uintptr_t)p->row.b);
    free(p->row.d);
    free(p->a);
    free(p->b);
    free(p->want);
}

static void check_way(const bench_peer *peer, problem *p, bench_way *way)
{
    for (int i = 0; i < 2 * p->row.copies; i++) {
        const int copy = (p->row.copies - 1 + i) % p->row.copies; /* the last first */
        memset(p->row.d, 0xFF, (size_t)p->d_count * 8);
        assert_true(way->call(way->state, copy));
        if (way->finish)
            way->finish(way->state);
        for (int64_t j = 0; j < p->d_count; j++) {
            const double got = get(p->row.d, way->d_dtype, j), want = (double)p->want[copy * p->d_count + j];
            if (got != want) /* also for NaN */
                fail_msg("%s \"%s\", %s, copy %d: element %lld is %g, not %g", peer->name, way->name, p->row.id, copy,
                         (long long)j, got, want);
        }
    }
    assert_true(way->prepack_seconds >= 0 && way->prepack_seconds < 10);
    free(way->explain);
    if (way->release)
        way->release(way->state);
}

static void check_offer(const char *want, const char *names)
{
    const size_t length = strlen(want);
    if (length > 0 && want[length - 1] == '+')
        assert_memory_equal(names, want, length - 1);
    else
        assert_string_equal(names, want);
}

static void check_row(const bench_peer *peer, const bench_case *row, int threads)
{
    problem p;
    make_problem(&p, row, threads);
    bench_way ways[BENCH_MOST_WAYS];
    memset(ways, 0xFF, sizeof ways);
    char why[256] = "", names[2048] = "";
    const int count = peer->prepare(&p.row, ways, why);
    assert_in_range(count, 0, BENCH_MOST_WAYS);
    for (int i = 0; i < count; i++) {
        strcat(strcat(names, ways[i].name), ";");
        check_way(peer, &p, &ways[i]);
    }
    if (count == 0)
        assert_true(*why);
    print_message("    %-14s %s %s\n", row->id, count ? names : "-", count ? "" : why);
    for (size_t i = 0; i < sizeof least / sizeof *least; i++)
        if (strcmp(least[i].peer, peer->name) == 0 && least[i].op == row->op && strcmp(least[i].dtype, row->dtype) == 0)
            assert_true(count >= least[i].ways);
    for (size_t i = 0; i < sizeof offers / sizeof *offers; i++)
        if (strcmp(offers[i].peer, peer->name) == 0 && strcmp(offers[i].row, row->id) == 0)
            check_offer(offers[i].ways ? offers[i].ways : "", names);
    drop_problem(&p);
}

static void test_peer(void **state)
{
    const bench_peer *peer = *state;
    const char *given = getenv("HUNZE_BENCH_THREADS");
    const int threads = given ? atoi(given) : 1;
    char version[128] = "", place[512] = "", why[256] = "";
    if (!peer->open(NULL, environment(), threads, version, place, why)) {
        print_message("  %s: %s\n", peer->name, why);
        assert_true(*why);
        skip();
    }
    print_message("  %s: %s, %s\n", peer->name, version, place);
    assert_true(*version && *place);
    for (size_t i = 0; i < ROWS; i++)
        check_row(peer, &rows[i], threads);
}

static void test_missing(void **state)
{
    const bench_peer *peer = *state;
    char version[128] = "", place[512] = "", why[256] = "";
    assert_false(peer->open("/there/is/no/such/library.so", environment(), 1, version, place, why));
    assert_true(*why);
    why[0] = 0;
    assert_false(peer->open("libm.so.6", NULL, 1, version, place, why)); /* opens, and is another library */
    assert_non_null(strstr(why, "it has no "));
}

int main(void)
{
    struct CMUnitTest tests[32];
    char names[32][64];
    size_t count = 0;
    memset(tests, 0, sizeof tests);
    for (const bench_peer *const *peer = bench_peers; *peer; peer++) {
        if (strcmp((*peer)->name, "hunze") == 0)
            continue;
        for (int i = 0; i < 2; i++, count++) {
            snprintf(names[count], sizeof names[count], "%s%s", (*peer)->name, i ? "" : " missing");
            tests[count].name = names[count];
            tests[count].test_func = i ? test_peer : test_missing;
            tests[count].initial_state = (void *)(uintptr_t)*peer;
        }
    }
    return _cmocka_run_group_tests("c_peers", tests, count, NULL, NULL);
}
