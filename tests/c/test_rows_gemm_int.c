/* SPDX-License-Identifier: Apache-2.0 */
/* Integer GEMM rows: u8 or s8 times s8, exact in wrapping s32, and the packing of B with its column sums. */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

enum { A, B, T, SUMS }; /* slots */

static bool has_tile(const hunze_row *row) { return row->int_tile != NULL; }
static int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

typedef struct sizes {
    int m, n;
    int64_t k;
    bool first;
    int values; /* 0 whole range, 1 extremes, then all alike: A 255 or (s8) 2, 3: -128, 4, 5: 127; B 2, 4: -128, 3, 5: 127 */
    harness_side side;
} sizes;

/* A row with safe_weights accepts |w0| + |w1| <= 128 in each pair along k: `partner` is w0 for odd k, else 0. */
static int8_t weight(harness_rng *rng, const hunze_row *row, int values, int partner)
{
    if (row->safe_weights) {
        const int room = 128 - (partner < 0 ? -partner : partner), most = room > 127 ? 127 : room;
        if (values == 0)
            return (int8_t)harness_between(rng, -room, most);
        if (values == 1)
            return (int8_t)(harness_u64(rng) & 1 ? -room : most);
        return values & 1 ? 64 : -64;
    }
    int8_t w;
    if (values >= 2)
        return values & 1 ? 127 : -128;
    harness_fill_int(rng, HUNZE_TYPE_S8, &w, 1, values == 1);
    return w;
}

static void check_tile(const hunze_row *row, harness_rng *rng, const sizes *size)
{
    const int64_t k = size->k, padded = round_up(k, row->kr);
    hunze_int_tile tile = {.m = size->m, .n = size->n, .k = k, .flags = size->first ? HUNZE_TILE_FIRST : 0};
    harness_case("m %d n %d k %lld%s values %d, operands %s", size->m, size->n, (long long)k,
                 size->first ? " FIRST" : "", size->values,
                 size->side == HARNESS_AT_END ? "at the end" : "at the start");
    tile.a_row = k + harness_between(rng, 0, 5);
    unsigned char *a = harness_place(A, (size_t)(k ? (size->m - 1) * tile.a_row + k : 0), 1, size->side);
    for (int i = 0; i < size->m; i++)
        for (int64_t p = 0; p < k; p++) {
            unsigned char *at = a + i * tile.a_row + p;
            if (size->values >= 2)
                *at = row->a == HUNZE_TYPE_U8 ? 255 : size->values < 4 ? 128 : 127;
            else
                harness_fill_int(rng, row->a, at, 1, size->values == 1);
        }
    int8_t *b = harness_place(B, (size_t)(padded * row->nr), 64, size->side);
    int32_t *sums = harness_place(SUMS, (size_t)row->nr * 4, 64, HARNESS_AT_END);
    memset(b, 0, (size_t)(padded * row->nr));
    memset(sums, 0, (size_t)row->nr * 4);
    for (int64_t p = 0; p < k; p++)
        for (int j = 0; j < size->n; j++) {
            const int partner = p & 1 ? b[((p - 1) / row->kr * row->nr + j) * row->kr + (p - 1) % row->kr] : 0;
            int8_t w = weight(rng, row, size->values, partner);
            b[(p / row->kr * row->nr + j) * row->kr + p % row->kr] = w;
            sums[j] += w;
        }
    tile.a = a;
    tile.b = b;
    tile.column_sums = sums;
    tile.t_row = size->n + harness_between(rng, 0, 9);
    int32_t *t = harness_place(T, (size_t)((size->m - 1) * tile.t_row + size->n) * 4, 4, size->side);
    tile.t = t;
    if (!size->first)
        for (int i = 0; i < size->m; i++)
            harness_fill_int(rng, HUNZE_TYPE_S32, t + i * tile.t_row, size->n, size->values == 1);
    for (int slot = A; slot <= SUMS; slot++)
        harness_snapshot(slot);
    for (int i = 0; i < size->m; i++) /* what t may become, in the remembered copy */
        for (int j = 0; j < size->n; j++) {
            uint32_t s = size->first ? 0 : (uint32_t)t[i * tile.t_row + j];
            for (int64_t p = 0; p < k; p++) {
                const unsigned char x = a[i * tile.a_row + p];
                const int value = row->a == HUNZE_TYPE_U8 ? x : (int8_t)x;
                s += (uint32_t)(value * b[(p / row->kr * row->nr + j) * row->kr + p % row->kr]);
            }
            memcpy(harness_remembered(T, &t[i * tile.t_row + j]), &s, 4);
        }
    HARNESS_CALL(row->int_tile, HARNESS_ARGUMENT(&tile));
    for (int i = 0; i < size->m; i++)
        for (int j = 0; j < size->n; j++) {
            int32_t want;
            memcpy(&want, harness_remembered(T, &t[i * tile.t_row + j]), 4);
            harness_check(t[i * tile.t_row + j] == want, "t[%d,%d] is %d, exact %d", i, j, t[i * tile.t_row + j], want);
        }
    harness_unchanged(T, "t outside the tile");
    harness_unchanged(A, "a");
    harness_unchanged(B, "b");
    harness_unchanged(SUMS, "column sums");
}

static void check_extents(const hunze_row *row)
{
    harness_rng rng = {11};
    for (int m = 1; m <= row->mr; m++)
        for (int n = 1; n <= row->nr; n++) {
            if (harness_small() && m > 1 && m < row->mr && n > 1 && n < row->nr && (m * 7 + n) % 13)
                continue;
            for (int turn = 0; turn < harness_budget(4, 1); turn++) {
                const uint32_t choice = (uint32_t)harness_u64(&rng);
                check_tile(row, &rng,
                           &(sizes){m, n, harness_between(&rng, 1, 13), choice & 1, choice & 2 ? 1 : 0,
                                    choice & 4 ? HARNESS_AT_END : HARNESS_AT_START});
            }
        }
}

static void check_k(const hunze_row *row)
{
    harness_rng rng = {12};
    static const int64_t ks[] = {0,  1,  2,  3,  4,  5,  6,   7,   8,   9,   15,  16,   17,  31,
                                 32, 33, 61, 63, 64, 65, 127, 128, 251, 256, 509, 1021, 2048};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++)
        for (int turn = 0; turn < harness_budget(16, 4); turn++) {
            const uint32_t choice = (uint32_t)harness_u64(&rng);
            check_tile(row, &rng,
                       &(sizes){turn & 1 ? row->mr : (int)harness_between(&rng, 1, row->mr),
                                turn & 2 ? row->nr : (int)harness_between(&rng, 1, row->nr), ks[i], choice & 1,
                                (int)(choice >> 4 & 3), choice & 4 ? HARNESS_AT_END : HARNESS_AT_START});
        }
}

/* One sum at the int32 limit and beyond, where it wraps: 65793 products 255 * -128 are the last that fit, 131071 of -128 * -128. */
static void check_limit(const hunze_row *row)
{
    const int64_t limit = row->a == HUNZE_TYPE_U8 ? 65793 : 131071;
    harness_rng rng = {13};
    for (int64_t k = limit; k <= limit + 1; k++)
        for (int values = 2; values < harness_budget(6, 3); values++)
            check_tile(row, &rng, &(sizes){1, row->nr, k, true, values, HARNESS_AT_END});
}

static bool has_pack(const hunze_row *row) { return row->int_tile != NULL && row->pack_b != NULL; }

/* A panel is [ceil(k/kr)][nr][kr], zero beyond k and n; column sums over these k rows. */
static void check_pack(const hunze_row *row)
{
    harness_rng rng = {14};
    static const int64_t ks[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 63, 67};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++)
        for (int n = 1; n <= row->nr; n++)
            for (int form = 0; form < 4; form++) { /* rows with gaps, columns, negative columns, every second column */
                if (harness_small() && n > 1 && n < row->nr && (n + form) % 7)
                    continue;
                const int64_t k = ks[i], step = form == 3 ? 2 : 1;
                const bool columns = form == 1 || form == 2;
                const int64_t line = columns ? k : n, lines = columns ? n : k;
                const int64_t stride = line * step + harness_between(&rng, 0, 3);
                const int64_t count = line && lines ? (lines - 1) * stride + (line - 1) * step + 1 : 0;
                harness_case("k %lld n %d %s", (long long)k, n,
                             (const char *const[]){"rows", "columns", "negative columns", "every second column"}[form]);
                int8_t *b = harness_place(B, (size_t)count, 1, n & 1 ? HARNESS_AT_END : HARNESS_AT_START);
                for (int64_t l = 0; l < lines; l++)
                    for (int64_t e = 0; e < line; e++)
                        harness_fill_int(&rng, HUNZE_TYPE_S8, b + l * stride + e * step, 1, n % 5 == 0);
                const int64_t b_row = columns ? 1 : stride, b_col = !columns ? step : form == 2 ? -stride : stride;
                const int8_t *origin = form == 2 && count ? b + (n - 1) * stride : b;
                const int64_t padded = round_up(k, row->kr);
                int8_t *panel = harness_place(T, (size_t)(padded * row->nr), 64, HARNESS_AT_END);
                int32_t *sums = harness_place(SUMS, (size_t)row->nr * 4, 4, HARNESS_AT_END);
                harness_snapshot(B);
                harness_snapshot(T);
                harness_snapshot(SUMS);
                HARNESS_CALL(row->pack_b, HARNESS_ARGUMENT(k), HARNESS_ARGUMENT(n), HARNESS_ARGUMENT(origin),
                             HARNESS_ARGUMENT(b_row), HARNESS_ARGUMENT(b_col), HARNESS_ARGUMENT(panel),
                             HARNESS_ARGUMENT(sums));
                for (int j = 0; j < row->nr; j++) {
                    int32_t sum = 0;
                    for (int64_t p = 0; p < padded; p++) {
                        int8_t *got = panel + (p / row->kr * row->nr + j) * row->kr + p % row->kr;
                        const int8_t want = p < k && j < n ? origin[p * b_row + j * b_col] : 0;
                        harness_check(*got == want, "panel for (%lld,%d) is %d, not %d", (long long)p, j, *got, want);
                        sum += want;
                        *(int8_t *)harness_remembered(T, got) = want;
                    }
                    harness_check(sums[j] == sum, "column sum %d is %d, not %d", j, sums[j], sum);
                    memcpy(harness_remembered(SUMS, &sums[j]), &sum, 4);
                }
                harness_unchanged(T, "beyond the panel");
                harness_unchanged(SUMS, "beyond the column sums");
                harness_unchanged(B, "b");
            }
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"tile extents", has_tile, check_extents},
                                         {"tile k", has_tile, check_k},
                                         {"tile at the int32 limit", has_tile, check_limit},
                                         {"pack_b", has_pack, check_pack}};
    return harness_main(argc, argv, "rows: GEMM, integers", parts, sizeof parts / sizeof parts[0]);
}
