/* SPDX-License-Identifier: Apache-2.0 */
/* Packed panels of B: how large they are, and packing one, a part of one, or all of a product's weights at the speed of memory. */
#include "gemm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

size_t hunze_packed_elements_bytes(const hunze_row *row, int64_t k)
{
    return (size_t)(hunze_ceil_div(k, row->kr) * row->kr * row->nr) * hunze_type_bytes(row->b);
}

size_t hunze_packed_panel_bytes(const hunze_row *row, int64_t k)
{
    size_t sums = row->int_tile ? (size_t)row->nr * sizeof(int32_t) : 0;
    return hunze_align64(hunze_packed_elements_bytes(row, k) + sums);
}

size_t hunze_packed_panels_bytes(const hunze_row *row, int64_t n, int64_t k)
{
    return (size_t)hunze_ceil_div(n, row->nr) * hunze_packed_panel_bytes(row, k);
}

enum {
    MOST_NR = 64,    /* of integers */
    STAGED_ROWS = 64 /* a multiple of every kr */
};

static void add_sums(int32_t *sums, const int32_t *part, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        sums[i] = (int32_t)((uint32_t)sums[i] + (uint32_t)part[i]);
}

/* k rows of u8 as s8, 128 less: some at a time are moved, then packed. */
static void pack_u8(const hunze_row *row, int64_t k, int64_t n, const uint8_t *b, int64_t b_row, int64_t b_col,
                    char *panel, int32_t *sums)
{
    uint8_t moved[STAGED_ROWS * MOST_NR];
    int32_t part[MOST_NR];
    const bool by_columns = b_row == 1;
    for (int64_t p = 0; p < k || p == 0; p += STAGED_ROWS) {
        const int64_t rows = hunze_least(STAGED_ROWS, k - p), lines = by_columns ? n : rows,
                      line = by_columns ? rows : n, line_step = by_columns ? b_col : b_row,
                      step = by_columns ? b_row : b_col, stage_step = by_columns ? STAGED_ROWS : MOST_NR;
        for (int64_t i = 0; i < lines; i++) {
            const uint8_t *from = b + p * b_row + i * line_step;
            uint8_t *to = moved + i * stage_step;
            if (step == 1)
                for (int64_t e = 0; e < line; e++)
                    to[e] = from[e] ^ 0x80;
            else
                for (int64_t e = 0; e < line; e++)
                    to[e] = from[e * step] ^ 0x80;
        }
        row->pack_b(rows, n, moved, by_columns ? 1 : MOST_NR, by_columns ? STAGED_ROWS : 1, panel + p * row->nr,
                    p ? part : sums);
        if (p)
            add_sums(sums, part, row->nr);
    }
}

/* p0 is a multiple of kr; column sums of these rows go to `sums`. */
static void pack_rows(const hunze_row *row, int64_t n, const hunze_gemm_b *b, int64_t j, int64_t p0, int64_t p1,
                      char *panel, int32_t *sums)
{
    const size_t size = hunze_type_bytes(row->b);
    const char *from = (const char *)b->b + (p0 * b->row + j * row->nr * b->col) * (int64_t)size;
    const int64_t columns = hunze_least(row->nr, n - j * row->nr);
    panel += (size_t)(p0 * row->nr) * size;
    if (b->is_u8)
        pack_u8(row, p1 - p0, columns, (const uint8_t *)from, b->row, b->col, panel, sums);
    else
        row->pack_b(p1 - p0, columns, from, b->row, b->col, panel, sums);
}

void hunze_pack_panel_rows(const hunze_row *row, int64_t n, int64_t k, const hunze_gemm_b *b, int64_t j, int64_t p0,
                           int64_t p1, char *panel)
{
    pack_rows(row, n, b, j, p0, p1, panel, (int32_t *)(void *)(panel + hunze_packed_elements_bytes(row, k)));
}

void hunze_pack_panel(const hunze_row *row, int64_t n, int64_t k, const hunze_gemm_b *b, int64_t j, void *panels)
{
    hunze_pack_panel_rows(row, n, k, b, j, 0, k, (char *)panels + (size_t)j * hunze_packed_panel_bytes(row, k));
}

/* ------------------------------------------------------------------ all of a product's weights */

enum {
    STRIP_BYTES = 4096, /* of a row of B, read by one lane */
    STRIP_ROWS = 16     /* read side by side: a multiple of every kr */
};

typedef struct pack_phase {
    const hunze_row *row;
    int64_t n, k;
    const hunze_gemm_b *b;
    char *panels;
    size_t panel_bytes;
    int64_t strip; /* panels */
    hunze_items items;
} pack_phase;

/* Panels [first, end), some rows of B after the other: as B lies in memory. */
static void pack_strip(const pack_phase *phase, int64_t first, int64_t end)
{
    const hunze_row *row = phase->row;
    const size_t sums_at = hunze_packed_elements_bytes(row, phase->k);
    for (int64_t p = 0; p < phase->k || p == 0; p += STRIP_ROWS)
        for (int64_t j = first; j < end; j++) {
            char *panel = phase->panels + (size_t)j * phase->panel_bytes;
            int32_t part[MOST_NR], *sums = (int32_t *)(void *)(panel + sums_at);
            pack_rows(row, phase->n, phase->b, j, p, hunze_least(p + STRIP_ROWS, phase->k), panel, p ? part : sums);
            if (row->int_tile && p)
                add_sums(sums, part, row->nr);
        }
}

static void pack_lane(void *user, int32_t lane, int32_t lanes)
{
    pack_phase *phase = user;
    const hunze_row *row = phase->row;
    const int64_t panels = hunze_ceil_div(phase->n, row->nr);
    (void)lane, (void)lanes;
    for (int64_t index; hunze_take_item(&phase->items, &index);) {
        const int64_t first = index * phase->strip, end = hunze_least(panels, first + phase->strip);
        for (int64_t j = first; phase->panel_bytes && j < end; j++) /* where its gap is, if it has one */
            memset(phase->panels + (size_t)(j + 1) * phase->panel_bytes - 64, 0, 64);
        if (phase->b->col == 1)
            pack_strip(phase, first, end);
        else
            for (int64_t j = first; j < end; j++)
                hunze_pack_panel(row, phase->n, phase->k, phase->b, j, phase->panels);
    }
}

void hunze_gemm_pack_weights(const hunze_row *row, int64_t n, int64_t k, const hunze_gemm_b *b, void *panels,
                             int32_t lanes, hunze_exec *exec)
{
    pack_phase phase = {
        .row = row, .n = n, .k = k, .b = b, .panels = panels, .panel_bytes = hunze_packed_panel_bytes(row, k)};
    const int64_t count = hunze_ceil_div(n, row->nr);
    const int64_t wide = b->col == 1 ? STRIP_BYTES / (row->nr * (int64_t)hunze_type_bytes(row->b)) : 1;
    phase.strip = hunze_most(1, hunze_least(wide, hunze_ceil_div(count, lanes)));
    phase.items.count = hunze_ceil_div(count, phase.strip);
    hunze_parallel(exec, lanes, pack_lane, &phase);
}

void hunze_prefer_huge_pages(void *memory, size_t bytes)
{
    enum { HUGE_PAGE = 2 << 20 };
    const uintptr_t first = ((uintptr_t)memory + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE,
                    end = ((uintptr_t)memory + bytes) / HUGE_PAGE * HUGE_PAGE;
    const int saved = errno;
    if (end > first)
        madvise((void *)first, end - first, MADV_HUGEPAGE); /* where that cannot be, pages stay as they are */
    errno = saved;
}
