/* SPDX-License-Identifier: Apache-2.0 */
/* bf16 and f16 to f32 and back: every value of 16 bits, and around each the f32 values that lie nearest to where rounding turns, against the
 * formats' definition; rows with gaps, columns apart, operands that end at a guard page. */
#include "harness.h"

#include <math.h>
#include <string.h>

enum { FROM, TO }; /* slots */

static bool converts(const hunze_row *row) { return row->widen != NULL; }

/* Element (i, j) of rows at base + (i*row + j*col) elements. */
typedef struct rows {
    char *base;
    int64_t m, n, row, col;
    size_t bytes;
} rows;

static char *at(const rows *r, int64_t i, int64_t j) { return r->base + (i * r->row + j * r->col) * (int64_t)r->bytes; }

static rows place(int slot, int64_t m, int64_t n, int64_t row, int64_t col, size_t bytes, harness_side side)
{
    const int64_t count = m && n ? (m - 1) * row + (n - 1) * col + 1 : 0;
    return (rows){harness_place(slot, (size_t)count * bytes, bytes, side), m, n, row, col, bytes};
}

static bool is_quiet(hunze_type type, uint16_t bits) { return bits & (type == HUNZE_TYPE_BF16 ? 0x40 : 0x200); }

static void widen(const hunze_row *row, const rows *from, const rows *to)
{
    harness_snapshot(FROM);
    harness_snapshot(TO);
    HARNESS_CALL(row->widen, HARNESS_ARGUMENT(from->m), HARNESS_ARGUMENT(from->n), HARNESS_ARGUMENT(from->base),
                 HARNESS_ARGUMENT(from->row), HARNESS_ARGUMENT(from->col), HARNESS_ARGUMENT(to->base),
                 HARNESS_ARGUMENT(to->row));
    for (int64_t i = 0; i < from->m; i++)
        for (int64_t j = 0; j < from->n; j++) {
            const float want = (float)harness_get(row->a, at(from, i, j), 0);
            harness_check(harness_same(HUNZE_TYPE_F32, at(to, i, j), &want), "(%lld, %lld): %s is %s, not %s",
                          (long long)i, (long long)j, harness_show(row->a, at(from, i, j)),
                          harness_show(HUNZE_TYPE_F32, at(to, i, j)), harness_show(HUNZE_TYPE_F32, &want));
            memcpy(harness_remembered(TO, at(to, i, j)), at(to, i, j), to->bytes);
        }
    harness_unchanged(TO, "beyond the result");
    harness_unchanged(FROM, "the input");
}

static void narrow(const hunze_row *row, const rows *from, const rows *to)
{
    harness_snapshot(FROM);
    harness_snapshot(TO);
    HARNESS_CALL(row->narrow, HARNESS_ARGUMENT(from->m), HARNESS_ARGUMENT(from->n), HARNESS_ARGUMENT(from->base),
                 HARNESS_ARGUMENT(from->row), HARNESS_ARGUMENT(to->base), HARNESS_ARGUMENT(to->row));
    for (int64_t i = 0; i < from->m; i++)
        for (int64_t j = 0; j < from->n; j++) {
            const double value = harness_get(HUNZE_TYPE_F32, at(from, i, j), 0);
            uint16_t want, got;
            harness_set(row->a, &want, 0, value);
            memcpy(&got, at(to, i, j), sizeof got);
            harness_check(harness_same(row->a, &got, &want), "(%lld, %lld): %s is %s, not %s", (long long)i,
                          (long long)j, harness_show(HUNZE_TYPE_F32, at(from, i, j)), harness_show(row->a, &got),
                          harness_show(row->a, &want));
            harness_check(!isnan(value) || is_quiet(row->a, got), "(%lld, %lld): %s is the signalling NaN %s",
                          (long long)i, (long long)j, harness_show(HUNZE_TYPE_F32, at(from, i, j)),
                          harness_show(row->a, &got));
            memcpy(harness_remembered(TO, at(to, i, j)), &got, sizeof got);
        }
    harness_unchanged(TO, "beyond the result");
    harness_unchanged(FROM, "the input");
}

/* All of one sign at a time, so that a row has 32768 values. */
static void check_all_values(const hunze_row *row)
{
    const int64_t count = harness_budget(32768, 2048);
    for (uint32_t first = 0; first < 65536; first += (uint32_t)count) {
        if (harness_small() && first % 32768 &&
            first % 32768 < 30720) /* denormals and small ones, large ones and NaN */
            continue;
        harness_case("widen, values from %04x", first);
        rows from = place(FROM, 1, count, count, 1, 2, HARNESS_AT_END),
             to = place(TO, 1, count, count, 1, 4, HARNESS_AT_END);
        for (int64_t i = 0; i < count; i++) {
            const uint16_t bits = (uint16_t)(first + i);
            memcpy(at(&from, 0, i), &bits, sizeof bits);
        }
        widen(row, &from, &to);
        /* Each value, the middle between it and its follower, and the two next to the middle. */
        harness_case("narrow, values from %04x", first);
        from = place(FROM, 4, count, count, 1, 4, HARNESS_AT_END);
        to = place(TO, 4, count, count, 1, 2, HARNESS_AT_END);
        const int shift = row->a == HUNZE_TYPE_BF16 ? 16 : 13;
        for (int64_t i = 0; i < count; i++) {
            const uint16_t word = (uint16_t)(first + i), next = word + 1;
            const float value = (float)harness_get(row->a, &word, 0), above = (float)harness_get(row->a, &next, 0);
            uint32_t bits, middle;
            memcpy(&bits, &value, sizeof bits);
            middle = bits + (1u << (shift - 1)); /* also beyond the largest finite one, and among NaN */
            const float half = value + (above - value) / 2;
            if (isfinite(half))
                memcpy(&middle, &half, sizeof half);
            const uint32_t all[4] = {bits, middle, middle - 1, middle + 1};
            for (int64_t r = 0; r < 4; r++)
                memcpy(at(&from, r, i), &all[r], sizeof all[r]);
        }
        narrow(row, &from, &to);
    }
}

/* Of every size of f32, most of them beyond f16's. */
static void check_any_bits(const hunze_row *row)
{
    harness_rng rng = {41};
    for (int turn = 0; turn < harness_budget(64, 2); turn++) {
        harness_case("narrow, any bits, turn %d", turn);
        rows from = place(FROM, 1, 1000, 1000, 1, 4, HARNESS_AT_END),
             to = place(TO, 1, 1000, 1000, 1, 2, HARNESS_AT_END);
        for (int64_t i = 0; i < 1000; i++) {
            const uint32_t bits = (uint32_t)harness_u64(&rng);
            memcpy(at(&from, 0, i), &bits, sizeof bits);
        }
        narrow(row, &from, &to);
    }
}

static void check_shapes(const hunze_row *row)
{
    harness_rng rng = {42};
    for (int64_t m = 0; m < 4; m++)
        for (int64_t n = 0; n <= 37; n++)
            for (int turn = 0; turn < harness_budget(6, 1); turn++) {
                const uint32_t choice = (uint32_t)harness_u64(&rng);
                const harness_side side = choice & 1 ? HARNESS_AT_END : HARNESS_AT_START;
                const int64_t col = choice & 2 ? 1 : harness_between(&rng, 2, 4), gap = harness_between(&rng, 0, 5);
                const int64_t line = n ? (n - 1) * col + 1 : 0, to_row = n + harness_between(&rng, 0, 5);
                harness_case("m %lld n %lld, columns %lld apart, rows %lld and %lld", (long long)m, (long long)n,
                             (long long)col, (long long)(line + gap), (long long)to_row);
                rows from = place(FROM, m, n, line + gap, col, 2, side), to = place(TO, m, n, to_row, 1, 4, side);
                for (int64_t i = 0; i < m; i++)
                    for (int64_t j = 0; j < n; j++)
                        harness_fill(&rng, row->a, at(&from, i, j), 1, HARNESS_SPECIAL);
                widen(row, &from, &to);
                from = place(FROM, m, n, n + gap, 1, 4, side);
                to = place(TO, m, n, to_row, 1, 2, side);
                for (int64_t i = 0; i < m; i++)
                    harness_fill(&rng, HUNZE_TYPE_F32, at(&from, i, 0), n, HARNESS_SPECIAL);
                narrow(row, &from, &to);
            }
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"every value", converts, check_all_values},
                                         {"any bits", converts, check_any_bits},
                                         {"rows and columns", converts, check_shapes}};
    return harness_main(argc, argv, "rows: bf16 and f16", parts, sizeof parts / sizeof parts[0]);
}
