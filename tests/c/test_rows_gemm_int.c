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

static bool has_pack(const hunze_row *row) { return row->pack_int != NULL; }

/* Rows with gaps, columns, negative columns, every second column. */
enum { ROWS, COLUMNS, NEGATIVE_COLUMNS, EVERY_SECOND, FORMS };

/* Panels are [ceil(k/kr)][nr][kr], zero beyond k and n, -128 everywhere else if `least`; the sums of their columns are added to what was there. */
static void check_packing(const hunze_row *row, harness_rng *rng, int64_t k, int64_t n, int form, uint8_t flip,
                          bool sums, bool least)
{
    const int64_t step = form == EVERY_SECOND ? 2 : 1, padded = round_up(k, row->kr),
                  panels = round_up(n, row->nr) / row->nr;
    const bool columns = form == COLUMNS || form == NEGATIVE_COLUMNS;
    const int64_t line = columns ? k : n, lines = columns ? n : k;
    const int64_t stride = line * step + harness_between(rng, 0, 3);
    const int64_t count = line && lines ? (lines - 1) * stride + (line - 1) * step + 1 : 0;
    harness_case("k %lld n %lld %s%s%s", (long long)k, (long long)n,
                 (const char *const[]){"rows", "columns", "negative columns", "every second column"}[form],
                 flip ? ", u8" : "", sums ? ", sums" : "");
    int8_t *b = harness_place(B, (size_t)count, 1, n & 1 ? HARNESS_AT_END : HARNESS_AT_START);
    for (int64_t l = 0; l < lines; l++)
        for (int64_t e = 0; e < line; e++)
            harness_fill_int(rng, HUNZE_TYPE_S8, b + l * stride + e * step, 1, n % 5 == 0);
    if (least && count)
        memset(b, flip ^ 0x80, (size_t)count);
    hunze_int_packing packing = {.k = k, .n = n, .flip = flip};
    packing.b_row = columns ? 1 : stride;
    packing.b_col = !columns ? step : form == NEGATIVE_COLUMNS ? -stride : stride;
    const int8_t *origin = form == NEGATIVE_COLUMNS && count ? b + (n - 1) * stride : b;
    packing.b = origin;
    packing.panel_bytes = padded * row->nr + 64 * harness_between(rng, 0, 2);
    packing.column_sums_step = row->nr + harness_between(rng, 0, 3);
    packing.panels =
        harness_place(T, (size_t)((panels - 1) * packing.panel_bytes + padded * row->nr), 64, HARNESS_AT_END);
    int32_t *column_sums =
        harness_place(SUMS, (size_t)((panels - 1) * packing.column_sums_step + row->nr) * 4, 4, HARNESS_AT_END);
    packing.column_sums = sums ? column_sums : NULL;
    for (int64_t j = 0; j < panels * row->nr; j++)
        harness_fill_int(rng, HUNZE_TYPE_S32, &column_sums[j / row->nr * packing.column_sums_step + j % row->nr], 1,
                         false);
    for (int slot = B; slot <= SUMS; slot++)
        harness_snapshot(slot);
    for (int64_t j = 0; j < panels * row->nr; j++) { /* what they are to become, in the remembered copies */
        uint32_t sum = 0;
        for (int64_t p = 0; p < padded; p++) {
            const int8_t want =
                p < k && j < n ? (int8_t)((uint8_t)origin[p * packing.b_row + j * packing.b_col] ^ flip) : 0;
            int8_t *at = (int8_t *)packing.panels + j / row->nr * packing.panel_bytes +
                         (p / row->kr * row->nr + j % row->nr) * row->kr + p % row->kr;
            *(int8_t *)harness_remembered(T, at) = want;
            sum += (uint32_t)(int32_t)want;
        }
        int32_t *at = &column_sums[j / row->nr * packing.column_sums_step + j % row->nr];
        const uint32_t want = (uint32_t)*at + (sums ? sum : 0);
        memcpy(harness_remembered(SUMS, at), &want, 4);
    }
    HARNESS_CALL(row->pack_int, HARNESS_ARGUMENT(&packing));
    harness_unchanged(T, "a panel, or what lies beside it");
    harness_unchanged(SUMS, "the column sums, or what lies beside them");
    harness_unchanged(B, "b");
}

static void check_pack(const hunze_row *row)
{
    harness_rng rng = {14};
    static const int64_t ks[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 63, 67};
    const int most = 2 * row->nr + 3;
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++)
        for (int n = 1; n <= most; n++)
            for (int form = 0; form < FORMS; form++) {
                if (harness_small() && n > 1 && n < most && n != row->nr && (n + form) % 7)
                    continue;
                const uint32_t choice = (uint32_t)harness_u64(&rng);
                check_packing(row, &rng, ks[i], n, form, choice & 1 ? 0x80 : 0, choice & 2, choice % 16 == 0);
            }
    for (int form = 0; form < FORMS; form++) /* many columns, and sums of many steps */
        for (int turn = 0; turn < 2; turn++) {
            check_packing(row, &rng, 9, 300 + 229 * turn, form, turn ? 0x80 : 0, true, false);
            check_packing(row, &rng, 700 + 5 * turn, row->nr + 5, form, turn ? 0 : 0x80, true, true);
        }
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"tile extents", has_tile, check_extents},
                                         {"tile k", has_tile, check_k},
                                         {"tile at the int32 limit", has_tile, check_limit},
                                         {"packing", has_pack, check_pack}};
    return harness_main(argc, argv, "rows: GEMM, integers", parts, sizeof parts / sizeof parts[0]);
}
