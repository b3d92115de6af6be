/* SPDX-License-Identifier: Apache-2.0 */
/* One unit of a product of 8-bit integers, and its zero points: with A's zero points x (one, or per row) and B's z (one, or per column)
 *     sum (a - x)(b - z) = sum a*b  -  x * column sum of b  -  z * row sum of a  +  k * x * z
 * where x and z are one number each, that is an offset per column and one per row.  All arithmetic wraps. */
#include "gemm_unit.h"

#include <string.h>

/* Zero points of one unit.  Where both are one number per tensor they become offsets; else `outer` is applied to t itself. */
typedef struct zero_points {
    hunze_int_epilogue epilogue; /* by rows and columns of the unit */
    bool row_sums;               /* rows of A must be summed: some zero point of B is not 0 */
    bool column_sums;            /* and columns of B: some zero point of A is not 0, or tiles want them */
    bool outer;
    int32_t *row_offset, *column_offset, *row_sum, *row_zero, *column_zero, *column_sum;
} zero_points;

static int32_t times(int32_t a, int32_t b) { return (int32_t)((uint32_t)a * (uint32_t)b); }
static int32_t plus(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
static int32_t minus(int32_t a, int32_t b) { return (int32_t)((uint32_t)a - (uint32_t)b); }

static int32_t read_byte(hunze_type type, const void *p, int64_t i)
{
    return type == HUNZE_TYPE_S8 ? ((const int8_t *)p)[i] : ((const uint8_t *)p)[i];
}

size_t hunze_gemm_integer_scratch_bytes(int64_t unit_m, int64_t unit_n)
{
    return 3 * hunze_align64((size_t)unit_m * 4) + 3 * hunze_align64((size_t)unit_n * 4);
}

static void *take(char **scratch, size_t bytes)
{
    void *taken = *scratch;
    *scratch += hunze_align64(bytes);
    return taken;
}

static void add_column_sums(zero_points *g, int64_t j, int64_t n, const int32_t *sums)
{
    for (int64_t i = 0; i < n; i++)
        g->column_sum[j + i] = plus(g->column_sum[j + i], sums[i]);
}

static void take_column_offsets(zero_points *g, const hunze_gemm_unit *unit, int64_t j, int64_t n)
{
    const hunze_gemm_job *job = &unit->job;
    if (!g->epilogue.column_offset)
        return;
    for (int64_t c = j; c < j + n; c++) {
        int32_t offset = job->int_epilogue.column_offset ? job->int_epilogue.column_offset[unit->j0 + c] : 0;
        if (job->int_bias && job->int_bias_row == 0)
            offset = plus(offset, job->int_bias[(unit->j0 + c) * job->int_bias_col]);
        if (!g->outer)
            offset = minus(offset, times(g->row_zero[0], g->column_sum[c]));
        g->column_offset[c] = offset;
    }
}

static void begin(zero_points *g, const hunze_gemm_unit *unit)
{
    const hunze_gemm_job *job = &unit->job;
    const hunze_row *row = unit->jobs->row;
    const int64_t i0 = unit->i0, j0 = unit->j0, m = unit->i1 - i0, n = unit->j1 - j0;
    const int64_t unit_m = unit->blocking->unit_m, unit_n = unit->blocking->unit_n;
    char *scratch = unit->integer_scratch;
    g->row_offset = take(&scratch, (size_t)unit_m * 4);
    g->row_sum = take(&scratch, (size_t)unit_m * 4);
    g->row_zero = take(&scratch, (size_t)unit_m * 4);
    g->column_offset = take(&scratch, (size_t)unit_n * 4);
    g->column_sum = take(&scratch, (size_t)unit_n * 4);
    g->column_zero = take(&scratch, (size_t)unit_n * 4);

    bool some_b_zero = false;
    const bool is_u8 = unit->jobs->unsigned_b; /* panels hold b - 128: so does the zero point of b */
    for (int64_t j = 0; j < n; j++) {
        g->column_zero[j] = job->b_zero_point ? read_byte(is_u8 ? HUNZE_TYPE_U8 : row->b, job->b_zero_point,
                                                          (j0 + j) * job->b_zero_point_stride)
                                              : 0;
        g->column_zero[j] -= is_u8 ? 128 : 0;
        some_b_zero |= g->column_zero[j] != 0;
    }
    bool some_a_zero = false, a_per_row = job->a_zero_point && job->a_zero_point_stride != 0;
    for (int64_t i = 0; i < m; i++) {
        g->row_zero[i] = job->a_zero_point ? read_byte(row->a, job->a_zero_point, (i0 + i) * job->a_zero_point_stride)
                                           : job->a_zero_point_scalar;
        some_a_zero |= g->row_zero[i] != 0;
    }
    g->row_sums = some_b_zero;
    g->outer = (a_per_row && some_a_zero) || (job->b_zero_point && job->b_zero_point_stride != 0 && some_b_zero);
    memset(g->row_sum, 0, (size_t)m * 4);

    g->epilogue = job->int_epilogue;
    g->epilogue.row_offset =
        job->int_epilogue.row_offset || (job->int_bias && job->int_bias_row != 0) || g->row_sums ? g->row_offset : NULL;
    g->epilogue.column_offset =
        job->int_epilogue.column_offset || (job->int_bias && job->int_bias_row == 0) || (some_a_zero && !g->outer)
            ? g->column_offset
            : NULL;
    g->column_sums = some_a_zero || row->a == HUNZE_TYPE_S8;
    memset(g->column_sum, 0, (size_t)unit_n * 4);
    hunze_int_epilogue *e = &g->epilogue;
    if (e->row_scale)
        e->row_scale += i0 * e->row_scale_stride;
    if (e->column_scale)
        e->column_scale += j0 * e->column_scale_stride;
    if (e->output_scale)
        e->output_scale += j0 * e->output_scale_stride;
    if (e->output_zero_point)
        e->output_zero_point = (const int8_t *)e->output_zero_point + j0 * e->output_scale_stride;
    if (e->bias)
        e->bias += i0 * e->bias_row + j0 * e->bias_col;
    if (e->residual)
        e->residual += i0 * e->residual_row + j0 * e->residual_col;
}

static void sum_rows(zero_points *g, bool is_signed, int64_t i, int64_t m, int64_t k, const void *a, int64_t a_row)
{
    for (int64_t r = 0; r < m; r++) {
        const uint8_t *row = (const uint8_t *)a + r * a_row;
        uint32_t sum = 0; /* of the bytes as unsigned; s8 is u8 of x ^ 0x80, less 128 */
        if (is_signed) {
            for (int64_t p = 0; p < k; p++)
                sum += row[p] ^ 0x80u;
            sum -= 128u * (uint32_t)k;
        } else {
            for (int64_t p = 0; p < k; p++)
                sum += row[p];
        }
        g->row_sum[i + r] = plus(g->row_sum[i + r], (int32_t)sum);
    }
}

static void take_row_offsets(zero_points *g, const hunze_gemm_unit *unit, int64_t i, int64_t m)
{
    const hunze_gemm_job *job = &unit->job;
    for (int64_t r = i; r < i + m; r++) {
        int32_t offset = job->int_epilogue.row_offset ? job->int_epilogue.row_offset[unit->i0 + r] : 0;
        if (job->int_bias && job->int_bias_row != 0)
            offset = plus(offset, job->int_bias[(unit->i0 + r) * job->int_bias_row]);
        if (!g->outer && g->row_sums)
            offset = minus(offset, times(g->column_zero[0],
                                         minus(g->row_sum[r], times((int32_t)unit->blocking->k, g->row_zero[r]))));
        g->row_offset[r] = offset;
    }
}

static void apply_outer(const zero_points *g, int64_t k, int64_t i, int64_t j, int64_t m, int64_t n, int32_t *t,
                        int64_t t_row)
{
    for (int64_t r = 0; r < m; r++) {
        const int32_t zero = g->row_zero[i + r];
        const int32_t sum = g->row_sums ? minus(g->row_sum[i + r], times((int32_t)k, zero)) : 0;
        for (int64_t c = 0; c < n; c++)
            t[r * t_row + c] =
                minus(t[r * t_row + c], plus(times(zero, g->column_sum[j + c]), times(g->column_zero[j + c], sum)));
    }
}

static hunze_int_epilogue epilogue_at(const hunze_int_epilogue *whole, int64_t i, int64_t j)
{
    hunze_int_epilogue part = *whole;
    if (part.row_offset)
        part.row_offset += i;
    if (part.column_offset)
        part.column_offset += j;
    if (part.row_scale)
        part.row_scale += i * part.row_scale_stride;
    if (part.column_scale)
        part.column_scale += j * part.column_scale_stride;
    if (part.bias)
        part.bias += i * part.bias_row + j * part.bias_col;
    if (part.residual)
        part.residual += i * part.residual_row + j * part.residual_col;
    if (part.output_scale)
        part.output_scale += j * part.output_scale_stride;
    if (part.output_zero_point)
        part.output_zero_point = (const char *)part.output_zero_point + j * part.output_scale_stride;
    return part;
}

/* ------------------------------------------------------------------ the unit */

/* s32 sums that are the result as they are. */
static bool is_result(const hunze_int_epilogue *e)
{
    return e->output == HUNZE_TYPE_S32 && !e->row_offset && !e->column_offset && e->activation == HUNZE_ACT_NONE;
}

static void int_tile(const hunze_gemm_unit_state *s, const zero_points *g, hunze_int_tile *tile, int64_t i, int64_t j,
                     bool last)
{
    const hunze_gemm_unit *unit = s->unit;
    const hunze_gemm_job *job = &unit->job;
    const hunze_row *row = unit->jobs->row;
    tile->t = hunze_gemm_t_of(s, i, j, &tile->t_row);
    row->int_tile(tile);
    if (!last)
        return;
    if (g->outer)
        apply_outer(g, unit->blocking->k, i, j, tile->m, tile->n, tile->t, tile->t_row);
    /* The epilogue writes where it may: D itself, t, or (bytes of a D whose rows are not contiguous) the stage. */
    void *d = hunze_gemm_at(job->d, s->d_size, unit->i0 + i, job->d_row, unit->j0 + j, job->d_col);
    const bool direct = job->d_col == 1 || tile->n == 1;
    void *out = direct ? d : s->d_size == s->t_size ? (void *)tile->t : unit->stage;
    const int64_t out_row = direct ? job->d_row : row->nr;
    if (out != tile->t || !is_result(&g->epilogue)) {
        hunze_int_epilogue part = epilogue_at(&g->epilogue, i, j);
        row->int_epilogue(&part, tile->m, tile->n, tile->t, tile->t_row, out, out_row);
    }
    if (!direct)
        hunze_gemm_copy_strided(s->d_size, tile->m, tile->n, out, out_row, 1, d, job->d_row, job->d_col);
}

/* One K block carries the sums over all of k. */
static const int32_t no_sums[64] = {0};

/* Lines of runs that follow each other, step bytes from start to start, some at a time. */
typedef struct fetch {
    const char *run;
    int64_t bytes, step, runs, at;
} fetch;

static void fetch_lines(fetch *f, int64_t lines)
{
    for (; lines > 0 && f->runs > 0; lines--) {
        __builtin_prefetch(f->run + f->at, 0, 2);
        f->at += 64;
        if (f->at >= f->bytes) {
            f->at = 0;
            f->run += f->step;
            f->runs--;
        }
    }
}

/* All rows of the unit, columns [p0, p0 + k): where they are, or copied. */
static hunze_gemm_rows a_of_piece(const hunze_gemm_unit *unit, int64_t p0, int64_t k)
{
    const hunze_gemm_job *job = &unit->job;
    const int64_t m = unit->i1 - unit->i0, first = job->gather_row + unit->i0;
    const hunze_gemm_rows copied = {unit->a_scratch, HUNZE_GEMM_PIECE_K + HUNZE_GEMM_A_PAD, 1};
    if (job->gather) {
        if (k > 0)
            job->gather(job->gather_source, first, first + m, p0, p0 + k, unit->a_scratch, copied.row, 1);
        return copied;
    }
    const hunze_gemm_rows rows = {hunze_gemm_at(job->a, 1, unit->i0, job->a_row, p0, job->a_col), job->a_row,
                                  job->a_col};
    return hunze_gemm_rows_in_place(unit, rows, m, k, copied.row);
}

hunze_gemm_piece hunze_gemm_piece_of(const hunze_row *row, int64_t m, int64_t k, bool by_columns)
{
    enum {
        FEW_ROWS = 8,
        FEW_K = 64,
        FEW_N = 4096,
        GROUP = 256,
        ALIGNED_K = 8
    }; /* panels of 8 columns and more start at lines */
    const int64_t most_k = hunze_ceil_div(hunze_least(hunze_most(k, 1), HUNZE_GEMM_PIECE_K), ALIGNED_K) * ALIGNED_K;
    if (by_columns)
        return (hunze_gemm_piece){most_k, row->nr, row->nr};
    /* Few rows wait for B, which comes fastest by long rows: what is packed of it stays in the first cache.  More rows would store their sums too often. */
    if (m <= FEW_ROWS)
        return (hunze_gemm_piece){hunze_least(most_k, FEW_K), FEW_N, GROUP};
    return (hunze_gemm_piece){most_k, GROUP, GROUP};
}

/* B where it is: of a piece, which the second cache holds, a group of columns after the other is packed and multiplied at once.  Meanwhile the next piece
 * comes nearer, in the order in which it lies in memory. */
static void int_pieces(const hunze_gemm_unit_state *s, zero_points *g)
{
    const hunze_gemm_unit *unit = s->unit;
    const hunze_gemm_job *job = &unit->job;
    const hunze_row *row = unit->jobs->row;
    const int64_t m = unit->i1 - unit->i0, n = unit->j1 - unit->j0, nr = row->nr, mr = row->mr, k = unit->blocking->k;
    const bool by_columns = job->b_row == 1 && job->b_col != 1;
    const hunze_gemm_piece piece = hunze_gemm_piece_of(row, unit->jobs->m, k, by_columns);
    const char *b = hunze_gemm_at(job->b, 1, 0, job->b_row, unit->j0, job->b_col);
    for (int64_t j0 = 0; j0 < n; j0 += piece.n)
        for (int64_t p0 = 0; p0 < k || p0 == 0; p0 += piece.k) {
            const int64_t p1 = hunze_least(p0 + piece.k, k), j1 = hunze_least(j0 + piece.n, n);
            const bool last = p1 == k;
            hunze_int_tile tile = {.k = p1 - p0, .flags = p0 == 0 ? HUNZE_TILE_FIRST : 0};
            const hunze_gemm_rows a = a_of_piece(unit, p0, tile.k);
            if (g->row_sums && j0 == 0)
                sum_rows(g, row->a == HUNZE_TYPE_S8, 0, m, tile.k, a.a, a.row);
            if (last && j0 == 0)
                take_row_offsets(g, unit, 0, m);
            fetch next = {0};
            const int64_t next_p = last ? 0 : p1, next_j = last ? j1 : j0, next_k = hunze_least(piece.k, k - next_p),
                          next_n = hunze_least(piece.n, n - next_j);
            if (next_n > 0)
                next = (fetch){.run = hunze_gemm_at(b, 1, next_p, job->b_row, next_j, job->b_col),
                               .bytes = by_columns ? next_k : next_n,
                               .step = by_columns ? job->b_col : job->b_row,
                               .runs = by_columns ? next_n : next_k};
            const int64_t lines =
                hunze_ceil_div(next.runs * hunze_ceil_div(next.bytes, 64), hunze_ceil_div(j1 - j0, nr));
            hunze_int_packing packing = {.k = tile.k,
                                         .b_row = job->b_row,
                                         .b_col = job->b_col,
                                         .flip = unit->jobs->unsigned_b ? 0x80 : 0,
                                         .panels = unit->b_scratch,
                                         .panel_bytes = piece.k * nr,
                                         .column_sums_step = nr};
            for (int64_t j = j0; j < j1; j += nr) {
                if ((j - j0) % piece.group == 0) {
                    packing.n = hunze_least(piece.group, j1 - j);
                    packing.b = hunze_gemm_at(b, 1, p0, job->b_row, j, job->b_col);
                    packing.column_sums = g->column_sums ? g->column_sum + j : NULL;
                    row->pack_int(&packing);
                    if (last)
                        take_column_offsets(g, unit, j, packing.n);
                }
                fetch_lines(&next, lines);
                tile.n = (int32_t)hunze_least(nr, n - j);
                tile.b = unit->b_scratch + (j - j0) % piece.group / nr * packing.panel_bytes;
                tile.column_sums = last ? g->column_sum + j : no_sums;
                for (int64_t i = 0; i < m; i += mr) {
                    tile.m = (int32_t)hunze_least(mr, m - i);
                    tile.a = hunze_gemm_at(a.a, 1, i, a.row, 0, 0);
                    tile.a_row = a.row;
                    int_tile(s, g, &tile, i, j, last);
                }
            }
        }
}

void hunze_gemm_integer_unit(const hunze_gemm_unit_state *s)
{
    zero_points zero, *g = &zero;
    const hunze_gemm_unit *unit = s->unit;
    const hunze_gemm_blocking *bl = unit->blocking;
    const hunze_row *row = unit->jobs->row;
    const int64_t m = unit->i1 - unit->i0, n = unit->j1 - unit->j0, nr = row->nr, mr = row->mr;
    const size_t elements_bytes = hunze_packed_elements_bytes(row, bl->k);
    begin(g, unit);
    if (!unit->panels) {
        int_pieces(s, g);
        return;
    }
    for (int64_t j = 0; j < n; j += nr)
        add_column_sums(
            g, j, hunze_least(nr, n - j),
            (const int32_t *)(const void *)(unit->panels + (size_t)(j / nr) * bl->panel_bytes + elements_bytes));
    take_column_offsets(g, unit, 0, n);
    for (int64_t block = 0; block < bl->k_blocks; block++) {
        const int64_t p0 = hunze_gemm_k_block_start(bl->k, bl->kc, block);
        const bool last = block + 1 == bl->k_blocks;
        hunze_int_tile tile = {.k = hunze_gemm_k_block_start(bl->k, bl->kc, block + 1) - p0,
                               .flags = block == 0 ? HUNZE_TILE_FIRST : 0};
        const hunze_gemm_rows rows = hunze_gemm_rows_of_block(unit, p0, p0 + tile.k);
        for (int64_t i = 0; i < m; i += mr) {
            tile.m = (int32_t)hunze_least(mr, m - i);
            const hunze_gemm_rows a = hunze_gemm_rows_of_tile(unit, rows, i, tile.m, p0, tile.k);
            tile.a = a.a;
            tile.a_row = a.row;
            if (g->row_sums)
                sum_rows(g, row->a == HUNZE_TYPE_S8, i, tile.m, tile.k, a.a, a.row);
            if (last)
                take_row_offsets(g, unit, i, tile.m);
            for (int64_t j = 0; j < n; j += nr) {
                const char *panel = unit->panels + (size_t)(j / nr) * bl->panel_bytes;
                tile.n = (int32_t)hunze_least(nr, n - j);
                tile.b = panel + p0 * nr;
                tile.column_sums = block == 0 ? (const int32_t *)(const void *)(panel + elements_bytes) : no_sums;
                int_tile(s, g, &tile, i, j, last);
            }
        }
    }
}
