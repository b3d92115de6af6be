/* SPDX-License-Identifier: Apache-2.0 */
/* One unit of a product: for each K block, for each few rows of A (which stay in L1), panel after panel of B streams by from L2; the
 * epilogue follows the last block while the tile is in L1.  t lives in D where D's rows are contiguous and of t's type, else in scratch, panel by panel [unit_m][nr]. */
#include "gemm_unit.h"
#include "simd/transpose.h"

#include <string.h>

enum {
    SEGMENT_SUMS_BYTES = 2048, /* one tile of sums */
    SKINNY_ROWS = 8,           /* of B, read together */
    FETCH_AHEAD = 8192,        /* bytes, of panels that are read from end to end */
    PANEL_ROWS = 2,            /* of D: up to so many, packed panels are read so */
    MOST_PANEL_ROW = 128       /* bytes */
};

void hunze_gemm_copy_strided(size_t size, int64_t m, int64_t n, const void *from, int64_t from_row, int64_t from_col,
                             void *to, int64_t to_row, int64_t to_col)
{
    if (size > 1 && from_col == 1 && to_row == 1) {
        transpose((int)size, false, m, n, from, from_row * (int64_t)size, to, to_col * (int64_t)size);
        return;
    }
    if (size > 1 && from_row == 1 && to_col == 1) {
        transpose((int)size, true, n, m, from, from_col * (int64_t)size, to, to_row * (int64_t)size);
        return;
    }
#define COPY(type)                                                                                                     \
    for (int64_t j = 0; j < n; j++)                                                                                    \
        for (int64_t i = 0; i < m; i++)                                                                                \
    ((type *)to)[i * to_row + j * to_col] = ((const type *)from)[i * from_row + j * from_col]
    if (size == 1)
        COPY(uint8_t);
    else if (size == 2)
        COPY(uint16_t);
    else if (size == 4)
        COPY(uint32_t);
    else
        COPY(uint64_t);
#undef COPY
}

/* Rows whose starts are a multiple of 4 KB apart, or nearly, share one set of L1, and a tile has more rows than the set has ways.  From 16
 * bytes more or less on, no more than four share one. */
static bool rows_collide(int64_t row, size_t size)
{
    uint64_t bytes = (uint64_t)(row < 0 ? -row : row) * size % 4096;
    return bytes < 16 || bytes > 4096 - 16;
}

static bool gathers_by_columns(const hunze_gemm_unit *unit)
{
    return unit->job.gather && unit->job.gather_by_columns && unit->jobs->row->float_tile;
}

/* All rows of the unit, columns [p0, p1): in memory, or gathered into scratch by columns.  Gathers by rows are left to hunze_gemm_rows_of_tile. */
hunze_gemm_rows hunze_gemm_rows_of_block(const hunze_gemm_unit *unit, int64_t p0, int64_t p1)
{
    const hunze_gemm_job *job = &unit->job;
    const hunze_gemm_blocking *bl = unit->blocking;
    if (!job->gather)
        return (hunze_gemm_rows){hunze_gemm_at(job->a, bl->element, unit->i0, job->a_row, p0, job->a_col), job->a_row,
                                 job->a_col};
    if (gathers_by_columns(unit) && p1 > p0)
        job->gather(job->gather_source, job->gather_row + unit->i0, job->gather_row + unit->i1, p0, p1, unit->a_scratch,
                    1, bl->unit_m);
    return (hunze_gemm_rows){unit->a_scratch, 1, bl->unit_m};
}

/* m rows, columns [0, k), into scratch: each contiguous, their starts no multiple of 4 KB apart. */
static hunze_gemm_rows copied_rows(const hunze_gemm_unit *unit, hunze_gemm_rows rows, int64_t m, int64_t k,
                                   int64_t copied_row)
{
    const size_t size = unit->blocking->element;
    const hunze_gemm_rows copied = {unit->a_scratch, copied_row, 1};
    if (rows.col == 1)
        for (int64_t r = 0; r < m; r++)
            memcpy(hunze_gemm_at(copied.a, size, r, copied.row, 0, 0), hunze_gemm_at(rows.a, size, r, rows.row, 0, 0),
                   (size_t)k * size);
    else
        hunze_gemm_copy_strided(size, m, k, rows.a, rows.row, rows.col, unit->a_scratch, copied.row, 1);
    return copied;
}

/* m rows, columns [0, k), for tiles that read columns that lie together: where they are, or copied to rows copied_row apart. */
hunze_gemm_rows hunze_gemm_rows_in_place(const hunze_gemm_unit *unit, hunze_gemm_rows rows, int64_t m, int64_t k,
                                         int64_t copied_row)
{
    if (k <= 1 || (rows.col == 1 && !(m > 8 && rows_collide(rows.row, unit->blocking->element))))
        return rows;
    return copied_rows(unit, rows, m, k, copied_row);
}

/* m rows of bf16 or f16, columns [0, k), as tiles read them. */
static hunze_gemm_rows widened(const hunze_gemm_unit *unit, hunze_gemm_rows rows, int64_t m, int64_t k)
{
    const hunze_row *row = unit->jobs->row;
    if (hunze_row_reads_pairs(row))
        return hunze_gemm_rows_in_place(unit, rows, m, k, unit->blocking->kc_longest + HUNZE_GEMM_A_PAD);
    hunze_gemm_rows wide = {unit->a_scratch, unit->blocking->kc_longest + HUNZE_GEMM_A_PAD, 1};
    float *to = (float *)(void *)unit->a_scratch;
    if (rows.row == 1) {
        wide.row = 1;
        wide.col = m;
        row->widen(k, m, rows.a, rows.col, 1, to, m);
    } else {
        row->widen(m, k, rows.a, rows.row, rows.col, to, wide.row);
    }
    return wide;
}

/* m rows from row i of the block on, columns [p0, p0 + k): gathered, or copied where reading them panel after panel in place would be slow
 * or (bytes) is not possible. */
hunze_gemm_rows hunze_gemm_rows_of_tile(const hunze_gemm_unit *unit, hunze_gemm_rows block, int64_t i, int64_t m,
                                        int64_t p0, int64_t k)
{
    const hunze_gemm_job *job = &unit->job;
    const hunze_gemm_blocking *bl = unit->blocking;
    const hunze_row *row = unit->jobs->row;
    const size_t size = bl->element;
    if (row->widen)
        return widened(unit, (hunze_gemm_rows){hunze_gemm_at(block.a, size, i, block.row, 0, 0), block.row, block.col},
                       m, k);
    if (job->gather && !gathers_by_columns(unit)) {
        const hunze_gemm_rows gathered = {unit->a_scratch, bl->kc_longest + HUNZE_GEMM_A_PAD, 1};
        const int64_t first = job->gather_row + unit->i0 + i;
        if (k > 0)
            job->gather(job->gather_source, first, first + m, p0, p0 + k, unit->a_scratch, gathered.row, 1);
        return gathered;
    }
    const hunze_gemm_rows rows = {hunze_gemm_at(block.a, size, i, block.row, 0, 0), block.row, block.col};
    bool copy = rows.col != 1;
    if (unit->job.gather || k <= 1)
        copy = false;
    else if (row->float_tile)
        copy = bl->copy_a && (copy || (m > 8 && rows_collide(rows.row, size)));
    if (!copy)
        return rows;
    if (rows.col != 1 && rows.row == 1 && row->float_tile) {
        const hunze_gemm_rows copied = {unit->a_scratch, 1, row->mr};
        for (int64_t p = 0; p < k; p++)
            memcpy(hunze_gemm_at(copied.a, size, 0, 0, p, copied.col), hunze_gemm_at(rows.a, size, 0, 0, p, rows.col),
                   (size_t)m * size);
        return copied;
    }
    return copied_rows(unit, rows, m, k, bl->kc_longest + HUNZE_GEMM_A_PAD);
}

static hunze_float_epilogue float_epilogue_at(const hunze_float_epilogue *whole, size_t size, int64_t i, int64_t j)
{
    hunze_float_epilogue part = *whole;
    if (part.bias)
        part.bias = hunze_gemm_at(part.bias, size, i, part.bias_row, j, part.bias_col);
    if (part.residual)
        part.residual = hunze_gemm_at(part.residual, size, i, part.residual_row, j, part.residual_col);
    return part;
}

/* Rows [i, i + tile.m) and columns [j, j + tile.n) of the unit, over one K block. */
static void float_tile(const hunze_gemm_unit_state *s, hunze_float_tile *tile, int64_t i, int64_t j, bool last)
{
    const hunze_gemm_unit *unit = s->unit;
    const hunze_gemm_job *job = &unit->job;
    const hunze_row *row = unit->jobs->row;
    const size_t size = s->t_size;
    tile->t = hunze_gemm_t_of(s, i, j, &tile->t_row);
    if (tile->flags & HUNZE_TILE_READ_C && row->widen) {
        hunze_gemm_narrow_begin(row, job, unit->i0 + i, unit->j0 + j, tile->m, tile->n, tile->t, tile->t_row);
        tile->c = tile->t;
        tile->c_row = tile->t_row;
    } else if (tile->flags & HUNZE_TILE_READ_C) {
        tile->c = hunze_gemm_at(job->c, size, unit->i0 + i, job->c_row, unit->j0 + j, job->c_col);
        tile->c_row = job->c_row;
        if (job->c_col != 1 && tile->n > 1) {
            hunze_gemm_copy_strided(size, tile->m, tile->n, tile->c, job->c_row, job->c_col, tile->t, tile->t_row, 1);
            tile->c = tile->t;
            tile->c_row = tile->t_row;
        }
    }
    row->float_tile(tile);
    if (last && row->widen) {
        hunze_gemm_narrow_end(row, job, unit->i0 + i, unit->j0 + j, tile->m, tile->n, tile->t, tile->t_row);
    } else if (last && s->float_epilogue) {
        hunze_float_epilogue part = float_epilogue_at(&job->float_epilogue, size, unit->i0 + i, unit->j0 + j);
        row->float_epilogue(&part, tile->m, tile->n, tile->t, tile->t_row);
    }
}

/* Rows [i, i + tile.m) read in place, segment after segment of k, against every panel; between segments the sums wait in scratch.  False:
 * these rows must be gathered. */
static bool float_segments(const hunze_gemm_unit_state *s, hunze_float_tile *tile, int64_t i, const char *panels,
                           size_t panel_bytes)
{
    const hunze_gemm_unit *unit = s->unit;
    const hunze_gemm_job *job = &unit->job;
    const hunze_row *row = unit->jobs->row;
    const int64_t n = unit->j1 - unit->j0, nr = row->nr, first = job->gather_row + unit->i0 + i;
    const size_t size = s->t_size;
    _Alignas(64) char sums[SEGMENT_SUMS_BYTES];
    hunze_gemm_segment segments[HUNZE_GEMM_SEGMENTS];
    const int count = job->segments(job->gather_source, first, first + tile->m, segments);
    if (count == 0)
        return false;
    /* The next tile's rows usually follow these; strided short runs are nothing that hardware foresees. */
    for (int at_segment = 0; at_segment < count; at_segment++) {
        const int64_t bytes = tile->m * segments[at_segment].a_row * (int64_t)size;
        for (int64_t ahead = 0; ahead < bytes; ahead += 64)
            __builtin_prefetch((const char *)segments[at_segment].a + bytes + ahead, 0, 3);
    }
    tile->a_col = 1;
    for (int64_t j = 0; j < n; j += nr) {
        const int64_t columns = hunze_least(nr, n - j);
        tile->b = panels + (size_t)(j / nr) * panel_bytes;
        tile->start = NULL;
        for (int at_segment = 0; at_segment < count; at_segment++) {
            tile->a = segments[at_segment].a;
            tile->a_row = segments[at_segment].a_row;
            tile->k = segments[at_segment].k;
            tile->n = (int32_t)columns;
            if (at_segment + 1 == count) {
                float_tile(s, tile, i, j, true);
            } else {
                tile->n = (int32_t)(columns <= nr / 2 ? nr / 2 : nr);
                tile->t = sums;
                tile->t_row = nr;
                row->float_tile(tile);
                tile->start = sums;
                tile->start_row = nr;
            }
            tile->b = (const char *)tile->b + (size_t)(tile->k * nr) * size;
        }
    }
    tile->start = NULL;
    return true;
}

/* A panel that is not whole in B is packed into `panel` for tiles that read nothing less. */
static void pack_rest(const hunze_row *row, hunze_float_tile *tile, const hunze_gemm_job *job, void *panel)
{
    tile->flags &= ~(uint32_t)HUNZE_TILE_B_FULL;
    tile->b_row = job->b_row;
    if (!hunze_row_reads_whole_b(row) || tile->n == row->nr)
        return;
    row->pack_b(tile->k, tile->n, tile->b, job->b_row, job->b_col, panel);
    tile->flags |= HUNZE_TILE_B_FULL;
    tile->b = panel;
    tile->b_row = row->nr;
}

/* One K block of very few rows, B where it is: some of B's rows at a time over all of the unit's columns, as memory likes to be read.  Between
 * them the sums wait in scratch, panel by panel [m][nr]. */
static void float_skinny(const hunze_gemm_unit_state *s, hunze_float_tile tile, hunze_gemm_rows a, int64_t p0,
                         bool last)
{
    const hunze_gemm_unit *unit = s->unit;
    const hunze_gemm_job *job = &unit->job;
    const hunze_row *row = unit->jobs->row;
    const int64_t m = unit->i1 - unit->i0, n = unit->j1 - unit->j0, nr = row->nr, mr = row->mr, k = tile.k;
    const size_t size = s->t_size, element = unit->blocking->element;
    _Alignas(64) char rest[SKINNY_ROWS * MOST_PANEL_ROW];
    const uint32_t flags = tile.flags;
    const hunze_scalar one = hunze_scalar_of(row, 1);
    const void *alpha = tile.alpha;
    tile.a_row = a.row;
    tile.a_col = a.col;
    for (int64_t p = 0; p < k || p == 0; p += SKINNY_ROWS) {
        const bool end = p + SKINNY_ROWS >= k;
        tile.k = end ? k - p : SKINNY_ROWS;
        tile.flags = end ? flags : HUNZE_TILE_FIRST;
        tile.alpha = end ? alpha : &one;
        for (int64_t j = 0; j < n; j += nr) {
            tile.n = (int32_t)hunze_least(nr, n - j);
            tile.b = hunze_gemm_at(job->b, element, p0 + p, job->b_row, unit->j0 + j, 1);
            pack_rest(row, &tile, job, rest);
            for (int64_t i = 0; i < m; i += mr) {
                char *sums = hunze_gemm_at(unit->b_scratch, size, i, nr, j, m);
                tile.m = (int32_t)hunze_least(mr, m - i);
                tile.a = hunze_gemm_at(a.a, unit->blocking->tile_a, i, a.row, p, a.col);
                tile.start = p > 0 ? sums : NULL;
                tile.start_row = nr;
                if (end) {
                    float_tile(s, &tile, i, j, last);
                } else {
                    tile.t = sums;
                    tile.t_row = nr;
                    row->float_tile(&tile);
                }
            }
        }
    }
}

/* A of few rows over k values of p from p0 on, as strips of B's rows read it: what meets rows of B side by side lies together (m = 16 takes 12 % less
 * time than where rows lie apart). */
static void take_a_by_steps(const hunze_gemm_unit *unit, int64_t p0, int64_t k, hunze_float_strip *strip)
{
    enum { STEP = HUNZE_STRIP_ROWS };
    const hunze_gemm_job *job = &unit->job;
    const size_t size = unit->blocking->element;
    strip->a = unit->a_scratch;
    strip->a_step = STEP * strip->m;
    strip->a_row = STEP;
    for (int64_t p = 0; p < k; p += STEP)
        for (int64_t i = 0; i < strip->m; i++) { /* a row at a time: rows may share a set of L1 */
            const void *from = hunze_gemm_at(job->a, size, unit->i0 + i, job->a_row, p0 + p, job->a_col);
            void *to = hunze_gemm_at(unit->a_scratch, size, p, strip->m, i, STEP);
            if (job->a_col == 1)
                memcpy(to, from, (size_t)hunze_least(STEP, k - p) * size);
            else
                hunze_gemm_copy_strided(size, 1, hunze_least(STEP, k - p), from, 0, job->a_col, to, 0, 1);
        }
}

/* And as strips of B's columns do, row after row. */
static hunze_gemm_rows a_by_rows(const hunze_gemm_unit *unit, int64_t p0, int64_t k)
{
    const hunze_gemm_job *job = &unit->job;
    const hunze_gemm_rows rows = {hunze_gemm_at(job->a, unit->blocking->element, unit->i0, job->a_row, p0, job->a_col),
                                  job->a_row, job->a_col};
    return copied_rows(unit, rows, unit->i1 - unit->i0, k, hunze_gemm_strip_a_row(k));
}

/* Over one K block by a strip, which starts at column j of the unit: the sums first, then D of them, tile by tile. */
static void float_strip(const hunze_gemm_unit_state *s, hunze_float_tile tile, const hunze_float_strip *strip,
                        int64_t j, bool last)
{
    const hunze_row *row = s->unit->jobs->row;
    row->float_strip(strip);
    tile.k = 0;
    tile.a = strip->a;
    tile.b = strip->b;
    tile.start_row = strip->sums_row;
    for (int64_t column = 0; column < strip->n; column += row->nr) {
        tile.n = (int32_t)hunze_least(row->nr, strip->n - column);
        for (int64_t i = 0; i < strip->m; i += row->mr) {
            tile.m = (int32_t)hunze_least(row->mr, strip->m - i);
            tile.start = hunze_gemm_at(strip->sums, s->t_size, i, strip->sums_row, column, 1);
            float_tile(s, &tile, i, j + column, last);
        }
    }
}

/* One K block of few rows, B where it is or packed: panel after panel, so that each is read once.  While the rows of one are computed, the next is fetched. */
static void float_few_rows(const hunze_gemm_unit_state *s, hunze_float_tile tile, hunze_gemm_rows a, int64_t p0,
                           bool last)
{
    const hunze_gemm_unit *unit = s->unit;
    const hunze_gemm_job *job = &unit->job;
    const hunze_row *row = unit->jobs->row;
    const int64_t m = unit->i1 - unit->i0, n = unit->j1 - unit->j0, nr = row->nr;
    const int64_t tiles = hunze_ceil_div(m, row->mr),
                  rows = hunze_ceil_div(m, tiles); /* alike: a tile of one row or two takes as long as one of six */
    const size_t element = unit->blocking->element, panel_bytes = unit->blocking->panel_bytes;
    const int64_t steps = hunze_ceil_div(tile.k, row->kr), step_bytes = nr * row->kr * (int64_t)element;
    tile.a_row = a.row;
    tile.a_col = a.col;
    for (int64_t j = 0; j < n; j += nr) {
        tile.n = (int32_t)hunze_least(nr, n - j);
        if (unit->panels) {
            tile.flags |= HUNZE_TILE_B_FULL;
            tile.b_row = nr;
            tile.b = unit->panels + (size_t)(j / nr) * panel_bytes + (size_t)(p0 * nr) * element;
        } else {
            tile.b = hunze_gemm_at(job->b, element, p0, job->b_row, unit->j0 + j, 1);
            pack_rest(row, &tile, job, unit->b_scratch);
        }
        tile.ahead = !unit->panels ? NULL : (const char *)tile.b + (n > nr ? panel_bytes : FETCH_AHEAD);
        tile.ahead_bytes = tile.ahead ? step_bytes / tiles : 0;
        for (int64_t i = 0; i < m; i += rows) {
            tile.m = (int32_t)hunze_least(rows, m - i);
            tile.a = hunze_gemm_at(a.a, unit->blocking->tile_a, i, a.row, 0, 0);
            float_tile(s, &tile, i, j, last);
            if (tile.ahead)
                tile.ahead = (const char *)tile.ahead + steps * tile.ahead_bytes;
        }
    }
}

/* One K block. */
static void float_block(const hunze_gemm_unit_state *s, hunze_float_tile tile, int64_t p0, bool last)
{
    const hunze_gemm_unit *unit = s->unit;
    const hunze_gemm_job *job = &unit->job;
    const hunze_gemm_blocking *bl = unit->blocking;
    const hunze_row *row = unit->jobs->row;
    const int64_t m = unit->i1 - unit->i0, n = unit->j1 - unit->j0, nr = row->nr, mr = row->mr;
    const size_t size = bl->element;
    const hunze_gemm_rows block = hunze_gemm_rows_of_block(unit, p0, p0 + tile.k);
    const bool in_place = bl->source == HUNZE_B_LANE && (job->b_col == 1 || job->n == 1);
    if (in_place && bl->strips) {
        hunze_float_strip strip = hunze_gemm_skinny_strip(unit, 0, n, p0, tile.k);
        take_a_by_steps(unit, p0, tile.k, &strip);
        float_strip(s, tile, &strip, 0, last);
        return;
    }
    if ((in_place && m <= HUNZE_GEMM_IN_PLACE_TILES * mr) || (unit->panels && row->widen && m <= HUNZE_GEMM_FEW_ROWS)) {
        const hunze_gemm_rows rows = row->widen ? widened(unit, block, m, tile.k) : block;
        (bl->skinny ? float_skinny : float_few_rows)(s, tile, rows, p0, last);
        return;
    }
    tile.flags |= HUNZE_TILE_B_FULL;
    tile.b_row = nr;
    const char *panels = unit->panels + (size_t)(p0 * nr) * size;
    size_t panel_bytes = bl->panel_bytes;
    if (!unit->panels) {
        panels = unit->b_scratch;
        panel_bytes = (size_t)(hunze_ceil_div(tile.k, row->kr) * row->kr * nr) * size;
        for (int64_t j = 0; j < n && tile.k > 0; j += nr)
            row->pack_b(tile.k, hunze_least(nr, n - j),
                        hunze_gemm_at(job->b, size, p0, job->b_row, unit->j0 + j, job->b_col), job->b_row, job->b_col,
                        unit->b_scratch + (size_t)(j / nr) * panel_bytes);
    }
    const int64_t k = tile.k;
    const bool segments = job->segments && bl->k_blocks == 1 && !s->read_c && unit->jobs->alpha == 1 &&
                          (size_t)(mr * nr) * size <= SEGMENT_SUMS_BYTES;
    for (int64_t i = 0; i < m; i += mr) {
        tile.m = (int32_t)hunze_least(mr, m - i);
        if (segments && float_segments(s, &tile, i, panels, panel_bytes))
            continue;
        tile.k = k;
        const hunze_gemm_rows a = hunze_gemm_rows_of_tile(unit, block, i, tile.m, p0, k);
        tile.a = a.a;
        tile.a_row = a.row;
        tile.a_col = a.col;
        for (int64_t j = 0; j < n; j += nr) {
            tile.n = (int32_t)hunze_least(nr, n - j);
            tile.b = panels + (size_t)(j / nr) * panel_bytes;
            float_tile(s, &tile, i, j, last);
        }
    }
}

/* t in scratch to a D whose rows are not contiguous, panel by panel. */
static void store_transposed(const hunze_gemm_unit_state *s)
{
    const hunze_gemm_unit *unit = s->unit;
    const hunze_gemm_job *job = &unit->job;
    const int64_t m = unit->i1 - unit->i0, n = unit->j1 - unit->j0, nr = unit->jobs->row->nr;
    for (int64_t j = 0; j < n; j += nr) {
        int64_t t_row;
        const void *t = hunze_gemm_t_of(s, 0, j, &t_row);
        hunze_gemm_copy_strided(s->t_size, m, hunze_least(nr, n - j), t, t_row, 1,
                                hunze_gemm_at(job->d, s->t_size, unit->i0, job->d_row, unit->j0 + j, job->d_col),
                                job->d_row, job->d_col);
    }
}

/* What tiles of a K block share, and where the block starts. */
static hunze_float_tile tile_of_block(const hunze_gemm_unit_state *s, int64_t block, int64_t *p0)
{
    const hunze_gemm_blocking *bl = s->unit->blocking;
    *p0 = hunze_gemm_k_block_start(bl->k, bl->kc, block);
    return (hunze_float_tile){.alpha = &s->unit->alpha,
                              .beta = &s->unit->beta,
                              .k = hunze_gemm_k_block_start(bl->k, bl->kc, block + 1) - *p0,
                              .flags = block > 0   ? 0
                                       : s->read_c ? HUNZE_TILE_FIRST | HUNZE_TILE_READ_C
                                                   : HUNZE_TILE_FIRST};
}

static void float_columns(const hunze_gemm_unit_state *s)
{
    const hunze_gemm_blocking *bl = s->unit->blocking;
    for (int64_t block = 0; block < bl->k_blocks; block++) {
        int64_t p0;
        const hunze_float_tile tile = tile_of_block(s, block, &p0);
        float_block(s, tile, p0, block + 1 == bl->k_blocks);
    }
    if (!s->t_in_d && !s->unit->job.narrow_d)
        store_transposed(s);
}

/* Few rows, B by columns, which are contiguous: a panel of them after the other, each over as many K blocks as A is copied of. */
static void float_strips_by_columns(const hunze_gemm_unit_state *s)
{
    const hunze_gemm_unit *unit = s->unit;
    const hunze_gemm_job *job = &unit->job;
    const hunze_gemm_blocking *bl = unit->blocking;
    const int64_t n = unit->j1 - unit->j0, nr = unit->jobs->row->nr;
    for (int64_t first = 0, end; first < bl->k_blocks; first = end) {
        end = hunze_least(first + bl->strip_blocks, bl->k_blocks);
        const int64_t start = hunze_gemm_k_block_start(bl->k, bl->kc, first);
        const hunze_gemm_rows a = a_by_rows(unit, start, hunze_gemm_k_block_start(bl->k, bl->kc, end) - start);
        for (int64_t j = 0; j < n; j += nr)
            for (int64_t block = first; block < end; block++) {
                int64_t p0;
                const hunze_float_tile tile = tile_of_block(s, block, &p0);
                hunze_float_strip strip = hunze_gemm_skinny_strip(unit, j, hunze_least(nr, n - j), p0, tile.k);
                strip.a = hunze_gemm_at(a.a, bl->element, 0, 0, p0 - start, 1);
                strip.a_step = HUNZE_STRIP_ROWS;
                strip.a_row = a.row;
                if (block + 1 < end)
                    strip.next = hunze_gemm_at(strip.b, bl->element, tile.k, 1, 0, 0);
                else if (j + nr < n)
                    strip.next = hunze_gemm_at(job->b, bl->element, start, 1, unit->j0 + j + nr, job->b_col);
                float_strip(s, tile, &strip, j, block + 1 == bl->k_blocks);
            }
    }
    if (!s->t_in_d)
        store_transposed(s);
}

static void float_unit(hunze_gemm_unit_state *s)
{
    hunze_gemm_unit *unit = s->unit;
    const hunze_gemm_blocking *bl = unit->blocking;
    if (bl->strips && unit->job.b_row == 1 && unit->job.b_col != 1) {
        float_strips_by_columns(s);
        return;
    }
    const bool packed = unit->panels && unit->jobs->row->widen && unit->i1 - unit->i0 <= PANEL_ROWS;
    if (!packed && (!bl->skinny || unit->job.b_col == 1 || unit->job.n == 1)) {
        float_columns(s);
        return;
    }
    /* Few rows, B by columns or packed: one panel over all of k after the other, as B lies in memory. */
    const int64_t end = unit->j1;
    for (; unit->j0 < end; unit->j0 = unit->j1) {
        unit->j1 = hunze_least(unit->j0 + unit->jobs->row->nr, end);
        float_columns(s);
        if (packed)
            unit->panels += bl->panel_bytes;
    }
}

void hunze_gemm_run_unit(hunze_gemm_unit *unit)
{
    const hunze_row *row = unit->jobs->row;
    hunze_gemm_unit_state s = {.unit = unit, .t_size = hunze_type_bytes(row->d)};
    s.d_size = row->int_tile ? hunze_type_bytes(unit->job.int_epilogue.output) : s.t_size;
    s.t_in_d = (unit->job.d_col == 1 || unit->job.n == 1) && s.d_size == s.t_size && !unit->job.narrow_d;
    s.float_epilogue = hunze_float_epilogue_is_needed(&unit->job.float_epilogue);
    s.read_c = unit->jobs->beta != 0 && unit->job.c;
    if (row->int_tile)
        hunze_gemm_integer_unit(&s);
    else
        float_unit(&s);
}
