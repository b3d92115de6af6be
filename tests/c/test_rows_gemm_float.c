/* SPDX-License-Identifier: Apache-2.0 */
/* GEMM rows of floating point, and of integers that wrap: the tile bit by bit against a scalar loop in the order of the contract, floats also within
 * the fp64 bound, and the packing of B. */
#include "harness.h"

#include <math.h>
#include <string.h>

enum { A, B, T, C }; /* slots */

static bool has_tile(const hunze_row *row) { return row->float_tile != NULL; }

typedef struct sizes {
    int m, n;
    int64_t k;
    uint32_t flags;
    bool a_by_columns, t_is_c;
    double alpha, beta;
    harness_values values;
    harness_side side;
} sizes;

/* Element (p, 0) of B, and how far apart columns are. */
static int64_t b_at(const hunze_row *row, const hunze_float_tile *tile, int64_t p, int *step)
{
    const bool paired = hunze_row_reads_pairs(row) && tile->flags & HUNZE_TILE_B_FULL;
    *step = paired ? 2 : 1;
    return paired ? p / 2 * 2 * row->nr + p % 2 : tile->b_offset ? tile->b_offset[p] : p * tile->b_row;
}

/* The contract in scalars.  fmaf and fma of the C library are correctly rounded. */
static void reference_f32(const hunze_row *row, const hunze_float_tile *tile, int i, int j, float *t, double *exact,
                          double *absolute)
{
    const bool pairs = hunze_row_reads_pairs(row);
    const float alpha = *(const float *)tile->alpha, beta = *(const float *)tile->beta;
    float s = 0;
    *exact = *absolute = 0;
    for (int64_t turn = 0; turn < (pairs ? (tile->k + 1) / 2 * 2 : tile->k); turn++) {
        const int64_t p = pairs ? turn ^ 1 : turn;
        int step;
        const int64_t b_row = b_at(row, tile, p, &step);
        float x = 0, y = 0; /* what stands for the last row's partner */
        if (p < tile->k) {
            x = (float)harness_get(pairs ? row->a : HUNZE_TYPE_F32, tile->a, i * tile->a_row + p * tile->a_col);
            y = (float)harness_get(row->b, tile->b, b_row + j * step);
        }
        if (pairs) {
            x = harness_flush(x);
            y = harness_flush(y);
        }
        s = pairs ? harness_step_bf16(x, y, s) : fmaf(x, y, s);
        *exact += (double)x * y;
        *absolute += fabs((double)x * y);
    }
    if (!(tile->flags & HUNZE_TILE_FIRST))
        *t = fmaf(alpha, s, *t);
    else if (tile->flags & HUNZE_TILE_READ_C)
        *t = fmaf(alpha, s, beta * ((const float *)tile->c)[i * tile->c_row + j]);
    else
        *t = alpha * s;
}

static void reference_f64(const hunze_float_tile *tile, int i, int j, double *t, long double *exact,
                          long double *absolute)
{
    const double *a = tile->a, *b = tile->b, alpha = *(const double *)tile->alpha, beta = *(const double *)tile->beta;
    double s = 0;
    *exact = *absolute = 0;
    for (int64_t p = 0; p < tile->k; p++) {
        double x = a[i * tile->a_row + p * tile->a_col],
               y = b[(tile->b_offset ? tile->b_offset[p] : p * tile->b_row) + j];
        s = fma(x, y, s);
        *exact += (long double)x * y;
        *absolute += fabsl((long double)x * y);
    }
    if (!(tile->flags & HUNZE_TILE_FIRST))
        *t = fma(alpha, s, *t);
    else if (tile->flags & HUNZE_TILE_READ_C)
        *t = fma(alpha, s, beta * ((const double *)tile->c)[i * tile->c_row + j]);
    else
        *t = alpha * s;
}

/* Modulo 2^64, so modulo 2^bits too. */
static uint64_t reference_wrapping(hunze_type type, const hunze_float_tile *tile, int i, int j)
{
    const uint64_t alpha = (uint64_t)harness_get_whole(type, tile->alpha, 0),
                   beta = (uint64_t)harness_get_whole(type, tile->beta, 0);
    uint64_t s = 0, old = 0;
    for (int64_t p = 0; p < tile->k; p++)
        s += (uint64_t)harness_get_whole(type, tile->a, i * tile->a_row + p * tile->a_col) *
             (uint64_t)harness_get_whole(type, tile->b, p * tile->b_row + j);
    if (!(tile->flags & HUNZE_TILE_FIRST))
        old = (uint64_t)harness_get_whole(type, tile->t, i * tile->t_row + j);
    else if (tile->flags & HUNZE_TILE_READ_C)
        old = beta * (uint64_t)harness_get_whole(type, tile->c, i * tile->c_row + j);
    return alpha * s + old;
}

static void check_tile(const hunze_row *row, harness_rng *rng, const sizes *size)
{
    const bool pairs = hunze_row_reads_pairs(row), by_columns = size->a_by_columns && !pairs;
    const hunze_type type = row->d, a_type = pairs ? row->a : type; /* type: of all operands but a and b */
    const size_t bytes = harness_bytes(type), a_bytes = harness_bytes(a_type), b_bytes = harness_bytes(row->b);
    /* What is widened, and what wraps, is read in whole rows of a panel. */
    const bool full = size->flags & HUNZE_TILE_B_FULL || (hunze_row_reads_whole_b(row) && size->n < row->nr),
               first = size->flags & HUNZE_TILE_FIRST;
    const bool read_c = first && size->flags & HUNZE_TILE_READ_C;
    hunze_float_tile tile = {
        .m = size->m, .n = size->n, .k = size->k, .flags = size->flags | (full ? HUNZE_TILE_B_FULL : 0)};
    harness_case("m %d n %d k %lld%s%s%s%s%s alpha %g beta %g %s, operands %s", size->m, size->n, (long long)size->k,
                 first ? " FIRST" : "", size->flags & HUNZE_TILE_READ_C ? " READ_C" : "", full ? " B_FULL" : "",
                 by_columns ? ", A by columns" : "", size->t_is_c ? ", t is c" : "", size->alpha, size->beta,
                 harness_values_name(size->values), size->side == HARNESS_AT_END ? "at the end" : "at the start");

    /* A: m rows of k with a gap behind each, or k rows of m. */
    const int64_t a_lines = by_columns ? size->k : size->m, a_line = by_columns ? size->m : size->k;
    const int64_t a_step = row->widen || harness_between(rng, 0, 3) ? 1 : 2; /* neither stride is 1 then */
    const int64_t a_stride = a_line * a_step + harness_between(rng, 0, 5);
    const int64_t a_count = a_lines && a_line ? (a_lines - 1) * a_stride + (a_line - 1) * a_step + 1 : 0;
    char *a = harness_place(A, (size_t)a_count * a_bytes, a_bytes, size->side);
    for (int64_t i = 0; i < a_lines; i++) {
        char *line = a + (size_t)(i * a_stride) * a_bytes;
        harness_fill(rng, a_type, line, a_line, size->values);
        for (int64_t p = a_line - 1; p > 0 && a_step > 1; p--) { /* apart, poison between */
            memcpy(line + (size_t)(p * a_step) * bytes, line + (size_t)p * bytes, bytes);
            if (p & 1)
                memset(line + (size_t)p * bytes, 0xff, bytes);
        }
    }
    tile.a = a;
    tile.a_row = by_columns ? a_step : a_stride;
    tile.a_col = by_columns ? a_stride : a_step;

    /* B: a packed panel, zero beyond n, or n columns in place. */
    const int64_t b_line = full ? row->nr : size->n;
    tile.b_row = full ? row->nr : size->n + harness_between(rng, 0, 7);
    const int64_t b_lines = pairs && full ? (size->k + 1) / 2 * 2 : size->k;
    const int64_t b_count = b_lines ? (b_lines - 1) * tile.b_row + b_line : 0;
    char *b = harness_place(B, (size_t)b_count * b_bytes, full ? 64 : b_bytes, size->side);
    for (int64_t p = 0; p < b_lines; p++) {
        char *line = b + (size_t)(p * tile.b_row) * b_bytes, values[64 * 8];
        harness_fill(rng, row->b, values, size->n, size->values == HARNESS_CANCEL ? HARNESS_CONSTANT : size->values);
        if (!full || !pairs || p % 2 == 0)
            memset(line, 0, (size_t)b_line * b_bytes * (pairs && full ? 2 : 1));
        int step;
        const int64_t at = b_at(row, &tile, p, &step);
        for (int j = 0; j < size->n && p < size->k; j++)
            memcpy(b + (size_t)(at + j * step) * b_bytes, values + (size_t)j * b_bytes, b_bytes);
    }
    tile.b = b;
    static int32_t offsets[1024];
    const bool by_offset = !full && !row->widen && !hunze_row_wraps(row) && tile.a_row == 1 && harness_u64(rng) & 1;
    for (int64_t p = 0; by_offset && p < size->k; p++)
        offsets[p] = (int32_t)((size->k - 1 - p) * tile.b_row); /* from the last row on */
    if (by_offset) {
        tile.b_offset = offsets;
        tile.b_row = INT32_MAX; /* not looked at */
    }

    tile.t_row = size->n + harness_between(rng, 0, 9);
    const int64_t t_count = (size->m - 1) * tile.t_row + size->n;
    char *t = harness_place(T, (size_t)t_count * bytes, bytes, size->side);
    tile.t = t;
    if (!first || (read_c && size->t_is_c))
        for (int i = 0; i < size->m; i++)
            harness_fill(rng, type, t + (size_t)(i * tile.t_row) * bytes, size->n, size->values);
    /* Without READ_C, c is poison (NaN) or no address at all. */
    tile.c = size->t_is_c ? t : NULL;
    tile.c_row = tile.t_row;
    if (!size->t_is_c && (read_c || harness_u64(rng) & 1)) {
        tile.c_row = size->n + harness_between(rng, 0, 9);
        char *c = harness_place(C, (size_t)((size->m - 1) * tile.c_row + size->n) * bytes, bytes, size->side);
        for (int i = 0; read_c && i < size->m; i++)
            harness_fill(rng, type, c + (size_t)(i * tile.c_row) * bytes, size->n, size->values);
        harness_snapshot(C);
        tile.c = c;
    }
    float scalars_f32[2] = {(float)size->alpha, (float)size->beta};
    double scalars_f64[2] = {size->alpha, size->beta};
    int64_t whole[2] = {(int64_t)(4 * size->alpha), (int64_t)(4 * size->beta)};
    void *scalars = hunze_row_wraps(row) ? (void *)whole : type == HUNZE_TYPE_F32 ? (void *)scalars_f32 : scalars_f64;
    tile.alpha = scalars;
    tile.beta = (char *)scalars + (scalars == scalars_f32 ? sizeof(float) : sizeof(double));

    static double expected[64 * 64], exact[64 * 64], bound[64 * 64];
    for (int i = 0; i < size->m; i++)
        for (int j = 0; j < size->n; j++) {
            const int64_t at = i * row->nr + j;
            const double old = !first   ? harness_get(type, t, i * tile.t_row + j)
                               : read_c ? size->beta * harness_get(type, tile.c, i * tile.c_row + j)
                                        : 0;
            const double k = (double)size->k;
            if (hunze_row_wraps(row)) {
                const uint64_t value = reference_wrapping(type, &tile, i, j);
                memcpy(&expected[at], &value, sizeof value);
                exact[at] = NAN; /* has no bound */
            } else if (type == HUNZE_TYPE_F32) {
                double sum, absolute;
                float value = ((float *)t)[i * tile.t_row + j];
                reference_f32(row, &tile, i, j, &value, &sum, &absolute);
                memcpy(&expected[at], &value, sizeof value);
                exact[at] = (double)scalars_f32[0] * sum + old;
                bound[at] = (k + 4) * 0x1p-24 * (fabs(scalars_f32[0] * absolute) + fabs(old)) +
                            (k + 4) * (pairs ? 0x1p-126 * fmax(1, fabs(scalars_f32[0])) : 0x1p-149);
            } else {
                long double sum, absolute;
                double value = ((double *)t)[i * tile.t_row + j];
                reference_f64(&tile, i, j, &value, &sum, &absolute);
                expected[at] = value;
                exact[at] = (double)(size->alpha * sum + old);
                bound[at] =
                    (double)((k + 4) * 0x1p-53 * (fabsl(size->alpha * absolute) + fabs(old)) + (k + 4) * 0x1p-1074);
            }
        }

    for (int slot = A; slot <= T; slot++)
        harness_snapshot(slot);
    HARNESS_CALL(row->float_tile, HARNESS_ARGUMENT(&tile));
    for (int i = 0; i < size->m; i++)
        for (int j = 0; j < size->n; j++) {
            void *got = t + (size_t)(i * tile.t_row + j) * bytes;
            const int64_t at = i * row->nr + j;
            harness_check(harness_same(type, got, &expected[at]), "t[%d,%d] is %s, the contract gives %s", i, j,
                          harness_show(type, got), harness_show(type, &expected[at]));
            const double value = harness_get(type, got, 0);
            harness_check(!isfinite(value) || !isfinite(exact[at]) || fabs(value - exact[at]) <= bound[at],
                          "t[%d,%d] is %.9g, exact %.9g, more than %.3g away", i, j, value, exact[at], bound[at]);
            memcpy(harness_remembered(T, got), got, bytes);
        }
    harness_unchanged(T, "t outside the tile");
    harness_unchanged(A, "a");
    harness_unchanged(B, "b");
    if (tile.c && tile.c != tile.t)
        harness_unchanged(C, "c");
}

static const uint32_t modes[] = {HUNZE_TILE_FIRST, HUNZE_TILE_FIRST | HUNZE_TILE_READ_C, 0};

/* Every m and n of the tile, both sides of memory, each mode. */
static void check_extents(const hunze_row *row)
{
    harness_rng rng = {1};
    harness_check(row->mr <= 64 && row->nr <= 64, "the tile is larger than this test's buffers");
    for (int m = 1; m <= row->mr; m++)
        for (int n = 1; n <= row->nr; n++) {
            if (harness_small() && m > 1 && m < row->mr && n > 1 && n < row->nr && (m * 7 + n) % 11)
                continue;
            const uint32_t choice = (uint32_t)harness_u64(&rng);
            sizes size = {.m = m,
                          .n = n,
                          .k = harness_between(&rng, 1, 9),
                          .alpha = choice & 1 ? 1 : -0.75,
                          .beta = choice & 2 ? 1 : 0.5,
                          .a_by_columns = choice & 4,
                          .t_is_c = choice & 8,
                          .side = choice & 16 ? HARNESS_AT_END : HARNESS_AT_START};
            for (int mode = 0; mode < harness_budget(3, 1); mode++)
                for (int full = 0; full < 2; full++) {
                    size.flags = modes[(mode + (int)(choice >> 8)) % 3] | (full ? HUNZE_TILE_B_FULL : 0);
                    check_tile(row, &rng, &size);
                }
        }
}

/* k around 0, the unrolling, primes and the K block, at the tile's edges. */
static void check_k(const hunze_row *row)
{
    harness_rng rng = {2};
    static const int64_t ks[] = {0,  1,  2,   3,   4,   5,   7,   8,   9,   15,  16, 17,
                                 31, 61, 127, 128, 255, 256, 257, 511, 512, 513, 767};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++)
        for (int turn = 0; turn < harness_budget(24, 4); turn++) {
            const uint32_t choice = (uint32_t)harness_u64(&rng);
            sizes size = {.m = turn & 1 ? row->mr : (int)harness_between(&rng, 1, row->mr),
                          .n = turn & 2 ? row->nr : (int)harness_between(&rng, 1, row->nr),
                          .k = ks[i],
                          .alpha = choice & 1 ? 1 : 1.25,
                          .beta = choice & 2 ? 1 : -2.5,
                          .a_by_columns = choice & 4,
                          .t_is_c = choice & 8,
                          .side = choice & 16 ? HARNESS_AT_END : HARNESS_AT_START,
                          .flags = modes[turn % 3] | (choice & 32 ? HUNZE_TILE_B_FULL : 0)};
            check_tile(row, &rng, &size);
        }
}

/* The adversarial values: an order or a rounding that differs shows here first. */
static void check_values(const hunze_row *row)
{
    harness_rng rng = {3};
    for (int values = 0; values < HARNESS_VALUES; values++)
        for (int turn = 0; turn < harness_budget(60, 6); turn++) {
            const uint32_t choice = (uint32_t)harness_u64(&rng);
            sizes size = {.m = turn % 3 ? (int)harness_between(&rng, 1, row->mr) : row->mr,
                          .n = turn % 3 ? (int)harness_between(&rng, 1, row->nr) : row->nr,
                          .k = harness_between(&rng, 1, 40),
                          .alpha = choice & 1 ? 1 : (choice & 2 ? 0x1p-100 : 3),
                          .beta = choice & 4 ? 1 : -0.0,
                          .a_by_columns = choice & 8,
                          .t_is_c = choice & 16,
                          .side = choice & 32 ? HARNESS_AT_END : HARNESS_AT_START,
                          .flags = modes[turn % 3] | (choice & 64 ? HUNZE_TILE_B_FULL : 0),
                          .values = (harness_values)values};
            check_tile(row, &rng, &size);
        }
}

static bool has_pack(const hunze_row *row) { return row->pack_b != NULL; }

/* A panel is [k][nr], or by pairs of k [ceil(k/2)][nr][2], zero beyond n and k; elements are copied bit by bit. */
static void check_pack(const hunze_row *row)
{
    harness_rng rng = {4};
    const size_t bytes = harness_bytes(row->b);
    static const int64_t ks[] = {0, 1, 2, 3, 7, 8, 9, 16, 17, 64, 67};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++)
        for (int n = 1; n <= row->nr; n++)
            for (int form = 0; form < 5; form++) { /* rows, columns, rows with gaps, negative rows, spread columns */
                if (harness_small() && n > 1 && n < row->nr && (n + form) % 7)
                    continue;
                const int64_t k = ks[i], gap = harness_between(&rng, 1, 4);
                const int64_t line = form == 1 ? k : n, lines = form == 1 ? n : k, step = form == 4 ? 2 : 1;
                const int64_t stride = form == 0 || !line ? line * step : line * step + gap;
                const int64_t count = line && lines ? (lines - 1) * stride + (line - 1) * step + 1 : 0;
                harness_case("k %lld n %d %s", (long long)k, n,
                             (const char *const[]){"rows", "columns", "rows with gaps", "negative rows",
                                                   "every second column"}[form]);
                char *b = harness_place(B, (size_t)count * bytes, bytes, n & 1 ? HARNESS_AT_END : HARNESS_AT_START);
                for (int64_t l = 0; l < lines; l++)
                    for (int64_t e = 0; e < line; e++)
                        harness_fill(&rng, row->b, b + (size_t)(l * stride + e * step) * bytes, 1, HARNESS_SPECIAL);
                int64_t b_row = form == 1 ? step : stride, b_col = form == 1 ? stride : step;
                const char *origin = b;
                if (form == 3 && k) {
                    origin = b + (size_t)((k - 1) * stride) * bytes;
                    b_row = -stride;
                }
                const int64_t lines_of_panel = (k + row->kr - 1) / row->kr * row->kr;
                char *panel = harness_place(T, (size_t)(lines_of_panel * row->nr) * bytes, 64, HARNESS_AT_END);
                harness_snapshot(B);
                harness_snapshot(T);
                HARNESS_CALL(row->pack_b, HARNESS_ARGUMENT(k), HARNESS_ARGUMENT(n), HARNESS_ARGUMENT(origin),
                             HARNESS_ARGUMENT(b_row), HARNESS_ARGUMENT(b_col), HARNESS_ARGUMENT(panel));
                static const char zero[8];
                for (int64_t p = 0; p < lines_of_panel; p++)
                    for (int j = 0; j < row->nr; j++) {
                        const int64_t group = p / row->kr * row->kr;
                        char *got = panel + (size_t)(group * row->nr + j * row->kr + p - group) * bytes;
                        const char *want = j < n && p < k ? origin + (p * b_row + j * b_col) * (int64_t)bytes : zero;
                        harness_check(!memcmp(got, want, bytes), "panel[%lld,%d] is %s, not %s", (long long)p, j,
                                      harness_show(row->b, got), harness_show(row->b, want));
                        memcpy(harness_remembered(T, got), got, bytes);
                    }
                harness_unchanged(T, "beyond the panel");
                harness_unchanged(B, "b");
            }
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"tile extents", has_tile, check_extents},
                                         {"tile k", has_tile, check_k},
                                         {"tile values", has_tile, check_values},
                                         {"pack_b", has_pack, check_pack}};
    return harness_main(argc, argv, "rows: GEMM, floating point and what wraps", parts, sizeof parts / sizeof parts[0]);
}
