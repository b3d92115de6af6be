/* Packs B into one panel [k][NR], columns from n on zero, bit by bit.
 *
 * The including file has said b_scalar and NR, and how a row of B becomes one of the panel: pack_panel_row. */
#ifndef HUNZE_SIMD_PACK_PANEL_H
#define HUNZE_SIMD_PACK_PANEL_H

#include "transpose.h"

/* A run of n contiguous columns.  A few at a time, while their next run, if there is one, comes nearer: runs are too short for hardware to foresee it (5 %
 * of a product of 128 rows). */
static inline __attribute__((always_inline)) void pack_panel_columns(int64_t n, int64_t run, bool more,
                                                                     const b_scalar *b, int64_t b_col, b_scalar *panel)
{
    enum { COLUMNS = 8, SIZE = sizeof(b_scalar), LINE = 64 / SIZE };
    for (int64_t j = 0; j < n; j += COLUMNS, b += COLUMNS * b_col) {
        const int64_t columns = n - j < COLUMNS ? n - j : COLUMNS;
        for (int64_t i = 0; more && i < columns; i++)
            for (int64_t p = run; p < 2 * run; p += LINE)
                __builtin_prefetch(b + i * b_col + p, 0, 2);
        transpose((int)sizeof(b_scalar), true, columns, run, b, b_col * SIZE, panel + j, NR * SIZE);
    }
}

static inline __attribute__((always_inline)) void pack_panel(int64_t k, int64_t n, const b_scalar *b, int64_t b_row,
                                                             int64_t b_col, b_scalar *panel)
{
    if (b_col == 1 || n == 1) {
        for (int64_t p = 0; p < k; p++, b += b_row, panel += NR)
            pack_panel_row(n, b, panel);
        return;
    }
    /* A run of k at a time: whole lines of a column are read, and what is written of the panel stays in L1. */
    enum { RUN = 512 / sizeof(b_scalar) };
    for (int64_t p0 = 0; p0 < k; p0 += RUN) {
        const int64_t run = k - p0 < RUN ? k - p0 : RUN;
        const b_scalar *from = b + p0 * b_row;
        b_scalar *to = panel + p0 * NR;
        if (b_row == 1)
            pack_panel_columns(n, run, p0 + run < k, from, b_col, to);
        else
            for (int64_t p = 0; p < run; p++)
                for (int64_t j = 0; j < n; j++)
                    to[p * NR + j] = from[p * b_row + j * b_col];
        for (int64_t p = 0; p < run; p++)
            for (int64_t j = n; j < NR; j++)
                to[p * NR + j] = 0;
    }
}

#endif
