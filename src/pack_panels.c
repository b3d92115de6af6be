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

void hunze_pack_panel_rows(const hunze_row *row, int64_t n, const hunze_gemm_b *b, int64_t j, int64_t p0, int64_t p1,
                           char *panel)
{
    const int64_t size = (int64_t)hunze_type_bytes(row->b);
    row->pack_b(p1 - p0, hunze_least(row->nr, n - j * row->nr),
                (const char *)b->b + (p0 * b->row + j * row->nr * b->col) * size, b->row, b->col,
                panel + p0 * row->nr * size);
}

/* ------------------------------------------------------------------ all of a product's weights */

enum {
    STRIP_BYTES = 4096, /* of a row of B, read by one lane */
    STRIP_ROWS = 16,    /* read side by side: a multiple of every kr */
    STRIP_RUN = 512     /* of k, where that is contiguous */
};

/* Of integers of 8 bits. */
static void pack_int_panels(const hunze_row *row, int64_t n, int64_t k, const hunze_gemm_b *b, int64_t first,
                            int64_t end, char *panels)
{
    const int64_t j = first * row->nr, run = b->col == 1 ? STRIP_ROWS : STRIP_RUN;
    const size_t panel_bytes = hunze_packed_panel_bytes(row, k);
    char *sums = panels + hunze_packed_elements_bytes(row, k);
    for (int64_t panel = 0; panel < end - first; panel++)
        memset(sums + (size_t)panel * panel_bytes, 0, (size_t)row->nr * sizeof(int32_t));
    for (int64_t p = 0; p < k; p += run)
        row->pack_int(&(hunze_int_packing){.k = hunze_least(run, k - p),
                                           .n = hunze_least(end * row->nr, n) - j,
                                           .b = (const char *)b->b + p * b->row + j * b->col,
                                           .b_row = b->row,
                                           .b_col = b->col,
                                           .flip = b->is_u8 ? 0x80 : 0,
                                           .panels = panels + p * row->nr,
                                           .panel_bytes = (int64_t)panel_bytes,
                                           .column_sums = (int32_t *)(void *)sums,
                                           .column_sums_step = (int64_t)(panel_bytes / sizeof(int32_t))});
}

/* Some rows of B after the other where they are contiguous: as B lies in memory. */
void hunze_pack_panels(const hunze_row *row, int64_t n, int64_t k, const hunze_gemm_b *b, int64_t first, int64_t end,
                       void *panels)
{
    const size_t panel_bytes = hunze_packed_panel_bytes(row, k);
    char *to = (char *)panels + (size_t)first * panel_bytes;
    if (row->pack_int) {
        pack_int_panels(row, n, k, b, first, end, to);
        return;
    }
    const int64_t rows = b->col == 1 ? STRIP_ROWS : hunze_most(k, 1);
    for (int64_t p = 0; p < k; p += rows)
        for (int64_t j = first; j < end; j++)
            hunze_pack_panel_rows(row, n, b, j, p, hunze_least(p + rows, k), to + (size_t)(j - first) * panel_bytes);
}

typedef struct pack_phase {
    const hunze_row *row;
    int64_t n, k;
    const hunze_gemm_b *b;
    char *panels;
    size_t panel_bytes;
    int64_t strip; /* panels */
    hunze_items items;
} pack_phase;

static void pack_lane(void *user, int32_t lane, int32_t lanes)
{
    pack_phase *phase = user;
    const int64_t panels = hunze_ceil_div(phase->n, phase->row->nr);
    (void)lane, (void)lanes;
    for (int64_t index; hunze_take_item(&phase->items, &index);) {
        const int64_t first = index * phase->strip, end = hunze_least(panels, first + phase->strip);
        for (int64_t j = first; phase->panel_bytes && j < end; j++) /* where its gap is, if it has one */
            memset(phase->panels + (size_t)(j + 1) * phase->panel_bytes - 64, 0, 64);
        hunze_pack_panels(phase->row, phase->n, phase->k, phase->b, first, end, phase->panels);
    }
}

void hunze_gemm_pack_weights(const hunze_row *row, int64_t n, int64_t k, const hunze_gemm_b *b, void *panels,
                             int32_t lanes, hunze_exec *exec)
{
    pack_phase phase = {.row = row,
                        .n = n,
                        .k = k,
                        .b = b,
                        .panels = panels,
                        .panel_bytes = hunze_packed_panel_bytes(row, k),
                        .items = {.exec = exec}};
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
