/* SPDX-License-Identifier: Apache-2.0 */
/* GEMM by blocks: how a list of products is cut into units, and the phases that run them.
 *
 * A pass covers some columns of D over all of k.  Its B is in packed panels: given by the caller, packed by one phase into a buffer that all
 * lanes share, or (jobs with their own, small B) prepared by the lane that needs it.  The next phase computes: units of unit_m rows by unit_n
 * columns are handed out by an atomic counter.  No result bit depends on the cut: each element of D is one chain over k
 * (docs/NUMERICS.md) whatever tile it falls into. */
#include "gemm_unit.h"

enum { UNITS_PER_LANE = 4, PANELS_PER_LANE = 4, TILES_TO_SPLIT = 8 };
/* Of D's rows in a unit of all rows, where lanes have enough of them: shorter pieces are written more slowly (at k = 64, 90 in place of 155 Gop/s). */
enum { ALL_ROWS_BYTES = 4096 };
/* Operations below which a further lane costs more than it brings. */
static const double lane_operations = 2e6;
const double hunze_gemm_phase_operations = 3e7;

/* ------------------------------------------------------------------ blocking */

int64_t hunze_gemm_kc(const hunze_row *row)
{
    return row->int_tile ? HUNZE_GEMM_KC_INT : hunze_type_bytes(row->a) == 8 ? HUNZE_KC_F64 : HUNZE_KC_F32;
}

int32_t hunze_gemm_lanes(double operations, int32_t threads)
{
    double lanes = operations / lane_operations;
    return lanes < 2 ? 1 : lanes < threads ? (int32_t)lanes : threads;
}

/* Where part `index` starts of `whole` things in `parts` parts, alike but for one thing, the larger ones first. */
static int64_t part_start(int64_t whole, int64_t parts, int64_t index)
{
    return index * (whole / parts) + hunze_least(index, whole % parts);
}

/* Depends on what workspace is computed from, and on nothing else: not on alpha. */
static hunze_gemm_blocking blocking_of(const hunze_gemm_jobs *jobs, int32_t threads)
{
    const hunze_row *row = jobs->row;
    const int64_t m = jobs->m, n = jobs->n, k = jobs->k;
    const double job_operations = 2.0 * (double)m * (double)n * (double)(k + 1);
    const bool integers = row->int_tile, one_b = jobs->count == 1 || jobs->shared_b;
    hunze_gemm_blocking bl = {.k = k, .kc = hunze_gemm_kc(row), .element = hunze_type_bytes(row->a)};
    bl.k_blocks = hunze_gemm_k_blocks(k, bl.kc);
    bl.kc_longest = hunze_least(k, bl.kc + bl.kc / 2);
    bl.panel_bytes = hunze_packed_panel_bytes(row, k);

    /* Each panel is packed once, by the lane that reads it, where there are enough of them for all lanes. */
    const int64_t panels = hunze_ceil_div(n, row->nr), tiles = hunze_ceil_div(m, row->mr);
    const int32_t lanes = hunze_gemm_lanes(job_operations * (double)jobs->count, threads);
    const bool all_rows = !jobs->packed_b && !jobs->gathers && m <= row->lane_m &&
                          (jobs->count == 1 || !jobs->shared_b) &&
                          (lanes == 1 || (double)panels * (double)jobs->count >= PANELS_PER_LANE * lanes);

    bl.jobs_per_pass = jobs->count;
    if (jobs->packed_b) {
        bl.source = HUNZE_B_GIVEN;
    } else if (all_rows || jobs->lane_b) {
        bl.source = HUNZE_B_LANE;
    } else if (one_b && (integers || (double)m * (double)jobs->count > HUNZE_GEMM_IN_PLACE_TILES * row->mr)) {
        bl.source = HUNZE_B_SHARED;
    } else if (m > HUNZE_GEMM_IN_PLACE_TILES * row->mr && job_operations > hunze_gemm_phase_operations) {
        bl.source = HUNZE_B_SHARED;
        bl.jobs_per_pass = 1;
    } else {
        bl.source = HUNZE_B_LANE;
    }
    if (bl.source == HUNZE_B_SHARED && bl.panel_bytes > HUNZE_GEMM_LANE_PASS_BYTES) /* of so long a k */
        bl.source = HUNZE_B_LANE;
    bl.tile_a = hunze_row_widens(row) ? sizeof(float) : bl.element;
    bl.strips = row->float_strip && bl.source == HUNZE_B_LANE && m <= HUNZE_GEMM_STRIP_M && !jobs->gathers;
    bl.skinny = bl.strips || (!integers && bl.source == HUNZE_B_LANE && m <= HUNZE_GEMM_SKINNY_M);
    /* Few rows wait for memory: then it is B's elements that count. */
    const double weight = m < 8 ? 8 / (double)m : 1;
    bl.lanes = hunze_gemm_lanes(job_operations * weight * (double)bl.jobs_per_pass, threads);

    int64_t pass_panels = panels;
    if (bl.source == HUNZE_B_SHARED) {
        const int64_t bytes = hunze_least(HUNZE_GEMM_PASS_BYTES, bl.lanes * HUNZE_GEMM_LANE_PASS_BYTES);
        const int64_t budget = bl.panel_bytes ? bytes / (int64_t)bl.panel_bytes : panels;
        pass_panels = hunze_least(panels, hunze_most(budget, 1));
        pass_panels = hunze_ceil_div(panels, hunze_ceil_div(panels, pass_panels)); /* passes of like width */
        bl.shared_bytes = (size_t)pass_panels * bl.panel_bytes;
    }
    bl.pass_n = pass_panels * row->nr;

    /* A unit's B stays in L2 or L3 while its rows of A pass; so does t where it lives in scratch. */
    const size_t lane_panel_bytes = hunze_packed_elements_bytes(row, bl.kc_longest);
    const int64_t strip_bytes = hunze_least(HUNZE_GEMM_STRIP_ROW_BYTES, HUNZE_GEMM_STRIP_SUMS_BYTES / hunze_most(m, 1));
    const bool pieces = integers && bl.source == HUNZE_B_LANE;
    const hunze_gemm_piece by_rows = hunze_gemm_piece_of(row, m, k, false),
                           by_columns = hunze_gemm_piece_of(row, m, k, true);
    const int64_t columns = bl.strips   ? strip_bytes / (int64_t)bl.element
                            : bl.skinny ? HUNZE_GEMM_SKINNY_N
                            : pieces    ? hunze_most(by_rows.n, row->nc)
                                        : row->nc;
    int64_t most_panels = hunze_least(pass_panels, columns / row->nr);
    const bool t_in_scratch = integers || jobs->transposed_d || jobs->narrow_d;
    /* One K block of a D that is rounded: each tile is finished at once. */
    bl.one_tile = jobs->narrow_d && bl.k_blocks == 1;
    if (t_in_scratch && !bl.one_tile && !bl.skinny && !pieces)
        most_panels =
            hunze_least(most_panels, HUNZE_GEMM_SCRATCH_BYTES_N / (int64_t)hunze_type_bytes(row->d) / row->nr);
    if (bl.source == HUNZE_B_LANE && lane_panel_bytes && !bl.skinny && !pieces)
        most_panels = hunze_least(most_panels, HUNZE_GEMM_LANE_B_ROWS * row->nr * (int64_t)hunze_type_bytes(row->d) /
                                                   (int64_t)lane_panel_bytes);
    if (most_panels < 1)
        most_panels = 1;
    const int64_t most_tiles = all_rows ? tiles : hunze_most(row->mc / row->mr, 1);
    int64_t blocks_m = hunze_ceil_div(tiles, most_tiles), blocks_n = hunze_ceil_div(pass_panels, most_panels);
    if (bl.lanes > 1) {
        const int64_t units = bl.skinny && bl.jobs_per_pass == 1 ? bl.lanes : bl.lanes * UNITS_PER_LANE;
        while (bl.jobs_per_pass * blocks_m * blocks_n < units) {
            const int64_t row_bytes = pass_panels / blocks_n * row->nr * (int64_t)hunze_type_bytes(row->d);
            if (all_rows && bl.jobs_per_pass * blocks_n >= bl.lanes && row_bytes < 2 * ALL_ROWS_BYTES)
                break;
            if (!all_rows && !jobs->lane_b && tiles / blocks_m >= TILES_TO_SPLIT)
                blocks_m *= 2;
            else if (pass_panels / blocks_n >= 2)
                blocks_n *= 2;
            else if (tiles / blocks_m >= 2)
                blocks_m *= 2;
            else
                break;
        }
        /* As many for each lane, where that can be had. */
        int64_t *cuts = all_rows || jobs->lane_b ? &blocks_n : &blocks_m;
        const int64_t most = all_rows || jobs->lane_b ? pass_panels : tiles;
        const int64_t others = bl.jobs_per_pass * blocks_m * blocks_n / *cuts;
        for (int64_t more = *cuts; more <= most && more < *cuts + bl.lanes; more++)
            if (others * more % bl.lanes == 0) {
                *cuts = more;
                break;
            }
    }
    bl.unit_m = hunze_ceil_div(tiles, blocks_m) * row->mr;
    bl.unit_n = hunze_ceil_div(pass_panels, blocks_n) * row->nr;
    bl.units_m = blocks_m;
    bl.units_n = blocks_n;
    bl.lanes = (int32_t)hunze_least(bl.lanes, bl.jobs_per_pass * bl.units_m * bl.units_n);

    /* Lane scratch: A (a unit's rows where gathered, a tile's where copied), the panels of B, t, and what integers need. */
    bl.copy_a = integers || row->widen || bl.unit_n >= HUNZE_GEMM_COPY_A_PANELS * row->nr;
    int64_t a_rows = jobs->gathers ? bl.unit_m : bl.copy_a ? row->mr : 0;
    if (row->widen && bl.source == HUNZE_B_LANE)
        a_rows = hunze_least(bl.unit_m, HUNZE_GEMM_IN_PLACE_TILES * row->mr);
    if (row->widen && bl.source != HUNZE_B_LANE)
        a_rows = hunze_least(bl.unit_m, hunze_most(row->mr, HUNZE_GEMM_FEW_ROWS));
    if (pieces)
        a_rows = bl.unit_m;
    bl.a_bytes = hunze_align64((size_t)(a_rows * ((pieces ? HUNZE_GEMM_PIECE_K : bl.kc_longest) + HUNZE_GEMM_A_PAD)) *
                               bl.tile_a);
    if (pieces)
        bl.b_bytes = hunze_align64((size_t)hunze_most(by_rows.k * by_rows.group, by_columns.k * by_columns.group));
    else if (bl.source == HUNZE_B_LANE)
        bl.b_bytes = hunze_align64((size_t)(bl.unit_n / row->nr) * lane_panel_bytes);
    if (bl.strips) {
        const int64_t block_bytes = hunze_most(m, 1) * bl.kc * (int64_t)bl.element;
        bl.strip_blocks = hunze_least(hunze_most(HUNZE_GEMM_STRIP_A_BYTES / block_bytes, 1), bl.k_blocks);
        const int64_t strip_k = hunze_least(k, bl.strip_blocks * bl.kc + bl.kc / 2);
        const size_t a_bytes = hunze_align64((size_t)(m * hunze_gemm_strip_a_row(strip_k)) * bl.element);
        bl.a_bytes = bl.a_bytes > a_bytes ? bl.a_bytes : a_bytes;
    }
    if (bl.skinny) { /* sums of the unit, or one panel of B */
        const size_t sums = bl.strips ? hunze_gemm_skinny_sums_bytes(row, m, bl.unit_n)
                                      : (size_t)(bl.unit_m * bl.unit_n) * hunze_type_bytes(row->d);
        bl.b_bytes = hunze_align64(sums > lane_panel_bytes ? sums : lane_panel_bytes);
    }
    if (t_in_scratch)
        bl.t_bytes =
            hunze_align64((size_t)(bl.one_tile ? row->mr * row->nr : bl.unit_m * bl.unit_n) * hunze_type_bytes(row->d));
    if (integers) {
        bl.stage_bytes = hunze_align64((size_t)(row->mr * row->nr));
        bl.integer_bytes = hunze_gemm_integer_scratch_bytes(bl.unit_m, bl.unit_n);
    }
    bl.lane_bytes = bl.a_bytes + bl.b_bytes + bl.t_bytes + bl.stage_bytes + bl.integer_bytes;
    return bl;
}

size_t hunze_gemm_jobs_workspace(const hunze_gemm_jobs *jobs, int32_t threads)
{
    if (jobs->count == 0 || jobs->m == 0 || jobs->n == 0)
        return 0;
    hunze_gemm_blocking bl = blocking_of(jobs, threads);
    return bl.shared_bytes + (size_t)bl.lanes * bl.lane_bytes;
}

hunze_gemm_cut hunze_gemm_jobs_cut(const hunze_gemm_jobs *jobs, int32_t threads)
{
    const hunze_gemm_blocking bl = blocking_of(jobs, threads);
    return (hunze_gemm_cut){.driver = bl.strips   ? "strips of few rows"
                                      : bl.skinny ? "few rows"
                                                  : "blocked",
                            .b = bl.source == HUNZE_B_GIVEN    ? "packed beforehand"
                                 : bl.source == HUNZE_B_SHARED ? "packed once for all lanes"
                                 : bl.strips                   ? "read in place"
                                                               : "read in place, or packed by the lane that needs it",
                            .unit_m = hunze_least(bl.unit_m, jobs->m),
                            .unit_n = hunze_least(bl.unit_n, jobs->n),
                            .kc = bl.k_blocks == 1 ? jobs->k : bl.kc,
                            .lanes = bl.lanes};
}

/* ------------------------------------------------------------------ phases */

typedef struct gemm_pass {
    const hunze_gemm_jobs *jobs;
    const hunze_gemm_blocking *blocking;
    int64_t first_job, first_panel; /* a pass covers blocking->jobs_per_pass jobs and pass_n columns */
    char *shared, *lane_scratch;
    hunze_items items;
} gemm_pass;

static void pack_phase(void *user, int32_t lane, int32_t lanes)
{
    (void)lane, (void)lanes;
    gemm_pass *pass = user;
    const hunze_gemm_blocking *bl = pass->blocking;
    const hunze_row *row = pass->jobs->row;
    const int64_t pieces = bl->k_blocks;
    hunze_gemm_job job = {0};
    pass->jobs->job(pass->jobs->user, pass->first_job, &job);
    const int64_t panels = hunze_least(bl->pass_n / row->nr, hunze_ceil_div(job.n, row->nr) - pass->first_panel);
    for (int64_t index; hunze_take_item(&pass->items, &index);) {
        int64_t panel = index / pieces, piece = index % pieces;
        if (panel >= panels)
            continue; /* of a last pass, narrower than the others */
        const int64_t p0 = hunze_gemm_k_block_start(bl->k, bl->kc, piece),
                      p1 = hunze_gemm_k_block_start(bl->k, bl->kc, piece + 1);
        const hunze_gemm_b b = {.b = job.b, .row = job.b_row, .col = job.b_col};
        hunze_pack_panel_rows(row, job.n, &b, pass->first_panel + panel, p0, p1,
                              pass->shared + (size_t)panel * bl->panel_bytes);
    }
}

static void compute_phase(void *user, int32_t lane, int32_t lanes)
{
    (void)lanes;
    gemm_pass *pass = user;
    const hunze_gemm_blocking *bl = pass->blocking;
    const hunze_row *row = pass->jobs->row;
    char *scratch = pass->lane_scratch + (size_t)lane * bl->lane_bytes;
    const int64_t units_per_job = bl->units_m * bl->units_n;
    hunze_gemm_unit unit = {.jobs = pass->jobs, .blocking = bl};
    unit.a_scratch = scratch;
    unit.b_scratch = scratch + bl->a_bytes;
    unit.t_scratch = scratch + bl->a_bytes + bl->b_bytes;
    unit.stage = scratch + bl->a_bytes + bl->b_bytes + bl->t_bytes;
    unit.integer_scratch = scratch + bl->a_bytes + bl->b_bytes + bl->t_bytes + bl->stage_bytes;
    unit.alpha = hunze_scalar_of(row, bl->k == 0 ? 0 : pass->jobs->alpha);
    unit.beta = hunze_scalar_of(row, pass->jobs->beta);
    int64_t job_index = -1;
    for (int64_t index; hunze_take_item(&pass->items, &index);) {
        if (index / units_per_job != job_index) {
            job_index = index / units_per_job;
            unit.job = (hunze_gemm_job){0};
            pass->jobs->job(pass->jobs->user, pass->first_job + job_index, &unit.job);
        }
        int64_t in_job = index % units_per_job;
        const int64_t tiles = hunze_ceil_div(unit.job.m, row->mr), i = in_job / bl->units_n, j = in_job % bl->units_n;
        const int64_t panels =
            hunze_least(bl->pass_n / row->nr, hunze_ceil_div(unit.job.n, row->nr) - pass->first_panel);
        unit.i0 = part_start(tiles, bl->units_m, i) * row->mr;
        unit.i1 = hunze_least(part_start(tiles, bl->units_m, i + 1) * row->mr, unit.job.m);
        unit.j0 = (pass->first_panel + part_start(panels, bl->units_n, j)) * row->nr;
        unit.j1 = hunze_least((pass->first_panel + part_start(panels, bl->units_n, j + 1)) * row->nr, unit.job.n);
        if (unit.i0 >= unit.i1 || unit.j0 >= unit.j1)
            continue;
        const char *packed = bl->source == HUNZE_B_GIVEN    ? unit.job.packed_b
                             : bl->source == HUNZE_B_SHARED ? pass->shared - (size_t)pass->first_panel * bl->panel_bytes
                                                            : NULL;
        unit.panels = packed ? packed + (size_t)(unit.j0 / row->nr) * bl->panel_bytes : NULL;
        hunze_gemm_run_unit(&unit);
    }
}

static void run_phase(gemm_pass *pass, int64_t items, void (*body)(void *user, int32_t lane, int32_t lanes))
{
    pass->items.next = 0;
    pass->items.count = items;
    hunze_parallel(pass->items.exec, pass->blocking->lanes, body, pass);
}

/* Integers of 8 bits: all of k at once, with their sums. */
static void pack_integers(const gemm_pass *pass)
{
    const hunze_gemm_blocking *bl = pass->blocking;
    const hunze_row *row = pass->jobs->row;
    hunze_gemm_job job = {0};
    pass->jobs->job(pass->jobs->user, pass->first_job, &job);
    const int64_t j = pass->first_panel * row->nr;
    const hunze_gemm_b b = {(const char *)job.b + j * job.b_col, job.b_row, job.b_col, pass->jobs->unsigned_b};
    hunze_gemm_pack_weights(row, hunze_least(bl->pass_n, job.n - j), bl->k, &b, pass->shared, bl->lanes,
                            pass->items.exec);
}

hunze_status hunze_gemm_run_jobs(const hunze_gemm_jobs *jobs, hunze_exec *exec)
{
    if (jobs->count == 0 || jobs->m == 0 || jobs->n == 0)
        return HUNZE_OK;
    hunze_gemm_blocking bl = blocking_of(jobs, exec->threads);
    if (jobs->alpha == 0) { /* A and B are not read */
        bl.k = 0;
        bl.k_blocks = 1;
    }
    if (exec->workspace_bytes < bl.shared_bytes + (size_t)bl.lanes * bl.lane_bytes)
        return hunze_fail(HUNZE_ERR_WORKSPACE, "workspace has %zu bytes, gemm needs %zu", exec->workspace_bytes,
                          bl.shared_bytes + (size_t)bl.lanes * bl.lane_bytes);
    gemm_pass pass = {.jobs = jobs, .blocking = &bl, .shared = exec->workspace, .items = {.exec = exec}};
    pass.lane_scratch = pass.shared + bl.shared_bytes;
    const int64_t panels = hunze_ceil_div(jobs->n, jobs->row->nr), pass_panels = bl.pass_n / jobs->row->nr;
    for (pass.first_job = 0; pass.first_job < jobs->count; pass.first_job += bl.jobs_per_pass) {
        for (pass.first_panel = 0; pass.first_panel < panels; pass.first_panel += pass_panels) {
            if (bl.source == HUNZE_B_SHARED && jobs->row->int_tile)
                pack_integers(&pass);
            else if (bl.source == HUNZE_B_SHARED && bl.k > 0)
                run_phase(&pass, pass_panels * bl.k_blocks, pack_phase);
            run_phase(&pass, bl.jobs_per_pass * bl.units_m * bl.units_n, compute_phase);
            if (pass.items.stopped)
                return hunze_fail(HUNZE_ERR_CANCELLED, "the cancel callback ended gemm");
        }
    }
    return HUNZE_OK;
}
