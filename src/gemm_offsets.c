/* SPDX-License-Identifier: Apache-2.0 */
/* Products of groups of rows, each with a matrix of its own, as offsets cut them: the layers of a mixture of experts.
 *
 * Groups of few rows are jobs of one list: each unit of work reads its part of a group's B once and packs it, if at all, for itself, so that lanes
 * share all groups and nobody waits between them.  A group of many rows goes by itself, its B packed by all lanes.  Which group is of which kind
 * is known only when the offsets are: workspace is computed from numbers of rows and groups that stand for all smaller ones. */
#include "gemm.h"
#include "gemm_unit.h"

typedef struct grouped {
    const hunze_plan *plan;
    const hunze_gemm_options *options;
    const int32_t *offsets;
    const int32_t *order;       /* groups, those with most rows first */
    int64_t count;              /* of the list that runs, from order[0] on */
    hunze_gemm_job first;       /* as if all rows were of group 0 */
    int64_t b_group, b_element; /* from one group's B to the next; bytes */
    int64_t bias_group;         /* of bias likewise, in elements */
    int64_t a_element, d_element, bias_element, residual_element;
} grouped;

static int64_t rows_of(const int32_t *offsets, int32_t group) { return (int64_t)offsets[group + 1] - offsets[group]; }

static void *moved(const void *pointer, int64_t bytes) { return pointer ? (char *)(uintptr_t)pointer + bytes : NULL; }

static void group_job(const void *user, int64_t index, hunze_gemm_job *out)
{
    const grouped *g = user;
    *out = g->first;
    if (index >= g->count) { /* a list is run as one of more groups, which have no rows */
        out->m = 0;
        return;
    }
    const int32_t group = g->order[index];
    const int64_t row = g->offsets[group];
    const int64_t bias = group * g->bias_group * g->bias_element;
    out->m = rows_of(g->offsets, group);
    out->a = moved(out->a, row * out->a_row * g->a_element);
    out->b = moved(out->b, group * g->b_group * g->b_element);
    out->c = moved(out->c, row * out->c_row * g->d_element);
    out->d = moved(out->d, row * out->d_row * g->d_element);
    hunze_float_epilogue *f = &out->float_epilogue;
    f->bias = moved(f->bias, bias);
    f->residual = moved(f->residual, row * f->residual_row * g->residual_element);
    hunze_int_epilogue *e = &out->int_epilogue;
    e->bias = moved(e->bias, bias);
    out->int_bias = moved(out->int_bias, bias);
    e->residual = moved(e->residual, row * e->residual_row * g->residual_element);
    e->row_scale = moved(e->row_scale, row * e->row_scale_stride * (int64_t)sizeof(float));
    out->a_zero_point = moved(out->a_zero_point, row * out->a_zero_point_stride);
}

static int64_t element_bytes(const hunze_tensor *tensor) { return tensor ? tensor->dtype.bits / 8 : 0; }

static grouped read_call(const hunze_plan *plan, const hunze_call *call, uint32_t flags)
{
    const hunze_gemm_options *options = call->options;
    const hunze_tensor *bias = options->bias;
    grouped g = {.plan = plan,
                 .options = options,
                 .offsets = hunze_data(options->offsets),
                 .first = hunze_gemm_first_job(plan, call, flags),
                 .b_group = hunze_stride(call->b, 0),
                 .b_element = element_bytes(call->b),
                 .bias_group = bias && bias->ndim == 2 ? hunze_stride(bias, 0) : 0,
                 .a_element = element_bytes(call->a),
                 .d_element = element_bytes(call->d),
                 .bias_element = element_bytes(bias),
                 .residual_element = element_bytes(options->residual)};
    g.first.float_epilogue.bias_row = g.first.int_epilogue.bias_row = g.first.int_bias_row = 0;
    return g;
}

/* ------------------------------------------------------------------ rows that stand for fewer */

/* Up to so many rows, units of a group need not share a packed B. */
static int64_t lane_rows(const hunze_row *row) { return hunze_most(row->mc / row->mr, 1) * row->mr; }

/* The least number of rows that is at least `rows` and stands for others. */
static int64_t standing_for(const hunze_plan *plan, int64_t rows)
{
    const hunze_row *row = plan->row;
    int64_t standing = row->int_tile ? lane_rows(row) : row->float_strip ? HUNZE_GEMM_STRIP_M : HUNZE_GEMM_SKINNY_M;
    if (standing < rows)
        standing = hunze_most(standing, lane_rows(row));
    while (standing < rows)
        standing *= 2;
    return hunze_least(standing, plan->gemm_shape.m);
}

static bool goes_alone(const hunze_plan *plan, int64_t rows)
{
    const hunze_gemm_shape *s = &plan->gemm_shape;
    return rows > lane_rows(plan->row) &&
           2.0 * (double)rows * (double)s->n * (double)(s->k + 1) > hunze_gemm_phase_operations;
}

static hunze_gemm_jobs jobs_of(const grouped *g, const hunze_plan *plan, int64_t rows, int64_t count)
{
    hunze_gemm_jobs jobs = hunze_gemm_plan_jobs(plan, g ? g->options : NULL);
    jobs.count = count;
    jobs.job = group_job;
    jobs.user = g;
    jobs.m = rows;
    jobs.lane_b = !goes_alone(plan, rows);
    return jobs;
}

static size_t order_bytes(const hunze_plan *plan)
{
    return hunze_align64((size_t)plan->gemm_shape.groups * sizeof(int32_t));
}

size_t hunze_gemm_offsets_workspace(const hunze_plan *plan, int32_t threads)
{
    const int64_t m = plan->gemm_shape.m, groups = plan->gemm_shape.groups;
    size_t most = 0;
    for (int64_t rows = standing_for(plan, 1);; rows = standing_for(plan, rows + 1)) {
        for (int64_t count = 1;; count *= 2) {
            const hunze_gemm_jobs jobs = jobs_of(NULL, plan, rows, count);
            const size_t bytes = hunze_gemm_jobs_workspace(&jobs, threads);
            most = bytes > most ? bytes : most;
            if (count >= groups || !jobs.lane_b)
                break;
        }
        if (rows >= m)
            break;
    }
    return hunze_align64(most) + order_bytes(plan);
}

/* ------------------------------------------------------------------ the driver */

/* Shell's sort. */
static void sort_by_rows(int32_t *order, int64_t count, const int32_t *offsets)
{
    int64_t gap = 1;
    while (gap < count / 3)
        gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3)
        for (int64_t i = gap; i < count; i++) {
            const int32_t group = order[i];
            int64_t to = i;
            for (; to >= gap && rows_of(offsets, order[to - gap]) < rows_of(offsets, group); to -= gap)
                order[to] = order[to - gap];
            order[to] = group;
        }
}

/* The groups of g's list, of which the first has the most rows.  As they are if there is workspace for it, else as more groups of more rows. */
static hunze_status run_list(const grouped *g, hunze_exec *exec, size_t workspace)
{
    const int64_t rows = rows_of(g->offsets, g->order[0]);
    hunze_gemm_jobs jobs = jobs_of(g, g->plan, rows, g->count);
    if (hunze_gemm_jobs_workspace(&jobs, exec->threads) > workspace) {
        int64_t count = 1;
        while (count < g->count)
            count *= 2;
        jobs = jobs_of(g, g->plan, standing_for(g->plan, rows), count);
    }
    return hunze_gemm_run_jobs(&jobs, exec);
}

/* Bytes of one group's matrix or row, if groups have their own. */
static uint64_t bytes_of_group(const hunze_tensor *tensor, int inner)
{
    if (!tensor || tensor->ndim <= inner || hunze_stride(tensor, 0) == 0)
        return 0;
    uint64_t bytes = tensor->dtype.bits / 8u;
    for (int axis = 1; axis < tensor->ndim; axis++)
        if (hunze_stride(tensor, axis) != 0)
            bytes *= (uint64_t)tensor->shape[axis];
    return bytes;
}

hunze_status hunze_run_gemm_offsets(const hunze_plan *plan, const hunze_call *call, hunze_exec *exec)
{
    grouped g = read_call(plan, call, exec->flags);
    const int64_t groups = plan->gemm_shape.groups;
    const size_t workspace = exec->workspace_bytes - order_bytes(plan);
    int32_t *order = (int32_t *)(void *)((char *)exec->workspace + workspace);
    int64_t count = 0;
    for (int32_t group = 0; group < groups; group++)
        if (rows_of(g.offsets, group) > 0)
            order[count++] = group;
    sort_by_rows(order, count, g.offsets);
    exec->unread_bytes = (uint64_t)(groups - count) * (bytes_of_group(call->b, 2) + bytes_of_group(g.options->bias, 1));
    for (int64_t from = 0; from < count; from += g.count) {
        const int64_t standing = standing_for(plan, rows_of(g.offsets, order[from]));
        g.order = order + from;
        g.count = 1;
        while (!goes_alone(plan, standing) && from + g.count < count &&
               standing_for(plan, rows_of(g.offsets, order[from + g.count])) == standing)
            g.count++;
        TRY(run_list(&g, exec, workspace));
    }
    return HUNZE_OK;
}
