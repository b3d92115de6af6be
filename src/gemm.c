/* SPDX-License-Identifier: Apache-2.0 */
/* hunze_gemm's driver: reads a validated call's operands, runs small products at once and hands the others to gemm_blocked.c. */
#include "gemm.h"
#include "plan.h"

#include <string.h>

/* Products of at most so many multiplications, with so little of B per panel, run in the calling thread without workspace. */
enum {
    SMALL_PRODUCTS = 1 << 18,
    SMALL_PANEL_BYTES = 16384,
    SMALL_TILE_BYTES = 4096,
    SMALL_WIDE_A = 4096 /* elements */
};

static const float one = 1;

hunze_matrix hunze_matrix_of(const hunze_tensor *x, bool transpose)
{
    hunze_matrix mat = {.data = hunze_data(x)};
    const int last = x->ndim - 1;
    if (last >= 0 && x->shape[last] != 1)
        mat.col = hunze_stride(x, last);
    if (last >= 1 && x->shape[last - 1] != 1)
        mat.row = hunze_stride(x, last - 1);
    if (transpose) {
        int64_t row = mat.row;
        mat.row = mat.col;
        mat.col = row;
    }
    return mat;
}

hunze_scalar hunze_scalar_of(const hunze_row *row, double value)
{
    switch (row->d) {
    case HUNZE_TYPE_F32: return (hunze_scalar){.f32 = (float)value};
    case HUNZE_TYPE_F64: return (hunze_scalar){.f64 = value};
    case HUNZE_TYPE_S16: return (hunze_scalar){.s16 = (int16_t)(int64_t)value};
    case HUNZE_TYPE_S32: return (hunze_scalar){.s32 = (int32_t)(int64_t)value};
    default: return (hunze_scalar){.s64 = (int64_t)value};
    }
}

int64_t hunze_batch_offset(const hunze_tensor *x, const hunze_tensor *d, int64_t index)
{
    int64_t offset = 0;
    for (int axis = d->ndim - 3; axis >= 0; axis--) {
        const int64_t at = index % d->shape[axis];
        const int x_axis = axis - d->ndim + x->ndim;
        index /= d->shape[axis];
        if (x_axis >= 0 && x->shape[x_axis] != 1)
            offset += at * hunze_stride(x, x_axis);
    }
    return offset;
}

/* What holds for all matrices of the batch. */
typedef struct gemm_call {
    const hunze_plan *plan;
    const hunze_call *call;
    const hunze_gemm_options *options;
    hunze_gemm_job first; /* of the batch */
    bool one_matrix;
} gemm_call;

static void read_zero_point(const hunze_tensor *zero_point, const void **values, int64_t *stride)
{
    *values = hunze_data(zero_point);
    *stride = zero_point->ndim > 0 && hunze_count(zero_point) > 1 ? hunze_stride(zero_point, zero_point->ndim - 1) : 0;
}

static const float *read_scale(const hunze_quant *quant, int64_t *stride)
{
    *stride = 0;
    if (!quant || !quant->scale)
        return &one;
    const hunze_tensor *scale = quant->scale;
    *stride = scale->ndim > 0 && hunze_count(scale) > 1 ? hunze_stride(scale, scale->ndim - 1) : 0;
    return hunze_data(scale);
}

static void read_integer_options(gemm_call *g)
{
    const hunze_gemm_options *options = g->options;
    hunze_gemm_job *job = &g->first;
    hunze_int_epilogue *e = &job->int_epilogue;
    e->output = hunze_type_of(g->call->d->dtype);
    const hunze_quant *a_quant = options ? options->a_quant : NULL, *b_quant = options ? options->b_quant : NULL;
    const hunze_quant *d_quant = options ? options->d_quant : NULL;
    e->row_scale = read_scale(a_quant, &e->row_scale_stride);
    e->column_scale = read_scale(b_quant, &e->column_scale_stride);
    e->output_scale = read_scale(d_quant, &e->output_scale_stride);
    if (a_quant && a_quant->zero_point)
        read_zero_point(a_quant->zero_point, &job->a_zero_point, &job->a_zero_point_stride);
    if (b_quant && b_quant->zero_point)
        read_zero_point(b_quant->zero_point, &job->b_zero_point, &job->b_zero_point_stride);
    if (d_quant && d_quant->zero_point)
        e->output_zero_point = hunze_data(d_quant->zero_point);
    if (options && options->bias) {
        hunze_matrix bias = hunze_matrix_of(options->bias, false);
        if (hunze_type_of(options->bias->dtype) == HUNZE_TYPE_S32) {
            job->int_bias = (const int32_t *)(const void *)bias.data;
            job->int_bias_row = bias.row;
            job->int_bias_col = bias.col;
        } else {
            e->bias = (const float *)(const void *)bias.data;
            e->bias_row = bias.row;
            e->bias_col = bias.col;
        }
    }
    if (options && options->residual) {
        hunze_matrix residual = hunze_matrix_of(options->residual, false);
        e->residual = (const float *)(const void *)residual.data;
        e->residual_row = residual.row;
        e->residual_col = residual.col;
    }
    if (options && options->activation) {
        e->activation = (hunze_activation_kind)options->activation->kind;
        e->alpha = options->activation->alpha;
        e->beta = options->activation->beta;
    }
}

/* Whether an operand is of the row's 16-bit type. */
static bool is_narrow(const hunze_row *row, const hunze_tensor *x) { return row->widen && x->dtype.bits == 16; }

static void read_float_options(gemm_call *g)
{
    const hunze_gemm_options *options = g->options;
    hunze_gemm_job *job = &g->first;
    hunze_float_epilogue *e = &job->float_epilogue;
    job->narrow_d = is_narrow(g->plan->row, g->call->d);
    if (!options)
        return;
    if (options->bias) {
        hunze_matrix bias = hunze_matrix_of(options->bias, false);
        e->bias = bias.data;
        e->bias_row = bias.row;
        e->bias_col = bias.col;
        job->narrow_bias = is_narrow(g->plan->row, options->bias);
    }
    if (options->residual) {
        hunze_matrix residual = hunze_matrix_of(options->residual, false);
        job->narrow_residual = is_narrow(g->plan->row, options->residual);
        e->residual = residual.data;
        e->residual_row = residual.row;
        e->residual_col = residual.col;
    }
    if (options->activation) {
        e->activation = (hunze_activation_kind)options->activation->kind;
        e->alpha = options->activation->alpha;
        e->beta = options->activation->beta;
    }
}

static gemm_call read_call(const hunze_plan *plan, const hunze_call *call, uint32_t flags)
{
    gemm_call g = {.plan = plan, .call = call, .options = call->options, .one_matrix = plan->gemm_shape.batch == 1};
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    hunze_gemm_job *job = &g.first;
    job->m = shape->m;
    job->n = shape->n;
    hunze_matrix a = hunze_matrix_of(call->a, g.options && g.options->transpose_a), d = hunze_matrix_of(call->d, false);
    job->a = a.data;
    job->a_row = a.row;
    job->a_col = shape->k == 1 ? 1 : a.col;
    job->d = d.data;
    job->d_row = d.row;
    job->d_col = shape->n == 1 ? 1 : d.col;
    if (shape->packed_b) {
        job->packed_b = (char *)hunze_data(call->b) + sizeof(hunze_packed_header);
    } else {
        hunze_matrix b = hunze_matrix_of(call->b, g.options && g.options->transpose_b);
        job->b = b.data;
        job->b_row = b.row;
        job->b_col = shape->n == 1 ? 1 : b.col;
    }
    if (call->c) {
        hunze_matrix c = hunze_matrix_of(call->c, false);
        job->c = c.data;
        job->c_row = c.row;
        job->c_col = c.col;
    }
    job->float_epilogue.canonical_nan = job->int_epilogue.canonical_nan = (flags & HUNZE_REPRODUCIBLE) != 0;
    if (plan->row->int_tile)
        read_integer_options(&g);
    else
        read_float_options(&g);
    return g;
}

hunze_gemm_job hunze_gemm_first_job(const hunze_plan *plan, const hunze_call *call, uint32_t flags)
{
    return read_call(plan, call, flags).first;
}

static void move(const void *pointer, const hunze_tensor *x, const hunze_tensor *d, int64_t index)
{
    const char **moved = (const char **)(uintptr_t)pointer;
    *moved += hunze_batch_offset(x, d, index) * (x->dtype.bits / 8);
}

static void gemm_job(const void *user, int64_t index, hunze_gemm_job *out)
{
    const gemm_call *g = user;
    const hunze_call *call = g->call;
    *out = g->first;
    if (g->one_matrix)
        return;
    move(&out->a, call->a, call->d, index);
    if (!out->packed_b)
        move(&out->b, call->b, call->d, index);
    if (out->c)
        move(&out->c, call->c, call->d, index);
    move(&out->d, call->d, call->d, index);
    if (out->float_epilogue.residual)
        move(&out->float_epilogue.residual, g->options->residual, call->d, index);
    if (out->int_epilogue.residual)
        move(&out->int_epilogue.residual, g->options->residual, call->d, index);
}

hunze_gemm_jobs hunze_gemm_plan_jobs(const hunze_plan *plan, const hunze_gemm_options *options)
{
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    return (hunze_gemm_jobs){.row = plan->row,
                             .m = shape->m,
                             .n = shape->n,
                             .k = shape->k,
                             .alpha = options && options->alpha ? *options->alpha : 1,
                             .beta = options && options->beta ? *options->beta : 0,
                             .unsigned_b = plan->b_type == HUNZE_TYPE_U8,
                             .transposed_d = shape->transposed_d,
                             .narrow_d = plan->row->widen && plan->d_type == plan->row->a};
}

static hunze_gemm_jobs jobs_of(const gemm_call *g, const hunze_plan *plan)
{
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    hunze_gemm_jobs jobs = hunze_gemm_plan_jobs(plan, g ? g->options : NULL);
    jobs.count = shape->batch;
    jobs.job = gemm_job;
    jobs.user = g;
    jobs.packed_b = shape->packed_b;
    jobs.shared_b = shape->shared_b;
    return jobs;
}

/* ------------------------------------------------------------------ small products */

bool hunze_gemm_is_small(const hunze_plan *plan)
{
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    const hunze_row *row = plan->row;
    const int64_t b_size = (int64_t)hunze_type_bytes(row->b), t_size = (int64_t)hunze_type_bytes(row->d);
    return row->float_tile && !shape->packed_b && shape->k * row->nr * b_size <= SMALL_PANEL_BYTES &&
           (double)shape->batch * (double)shape->m * (double)shape->n * (double)shape->k <= SMALL_PRODUCTS &&
           row->mr * row->nr * t_size <= SMALL_TILE_BYTES && shape->k < hunze_gemm_kc(row) &&
           (!row->widen || shape->m * shape->k <= SMALL_WIDE_A);
}

static void copy_matrix(size_t size, int64_t m, int64_t n, const char *from, int64_t from_row, int64_t from_col,
                        char *to, int64_t to_row, int64_t to_col)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            memcpy(to + (i * to_row + j * to_col) * (int64_t)size, from + (i * from_row + j * from_col) * (int64_t)size,
                   size);
}

static void run_small(const hunze_row *row, const hunze_gemm_jobs *jobs, const hunze_gemm_job *job)
{
    _Alignas(64) char panel[SMALL_PANEL_BYTES], scratch[SMALL_TILE_BYTES];
    _Alignas(64) float wide_a[SMALL_WIDE_A];
    const int64_t size = (int64_t)hunze_type_bytes(row->d), b_size = (int64_t)hunze_type_bytes(row->b);
    const int64_t mr = row->mr, nr = row->nr;
    const bool empty = jobs->k == 0 || jobs->alpha == 0;
    const hunze_scalar alpha = hunze_scalar_of(row, empty ? 0 : jobs->alpha), beta = hunze_scalar_of(row, jobs->beta);
    const hunze_float_epilogue *e = &job->float_epilogue;
    const bool epilogue = hunze_float_epilogue_is_needed(e);
    const bool read_c = jobs->beta != 0 && job->c;
    const bool t_in_d = job->d_col == 1 && !job->narrow_d;
    const char *a = job->a;
    int64_t a_size = size;
    hunze_float_tile tile = {.k = empty ? 0 : jobs->k, .a_row = job->a_row, .a_col = job->a_col};
    if (hunze_row_reads_pairs(row)) {
        a_size = b_size;
        if (job->a_col != 1 && !empty) {
            copy_matrix((size_t)a_size, job->m, tile.k, a, job->a_row, job->a_col, (char *)wide_a, tile.k, 1);
            a = (const char *)wide_a;
            tile.a_row = tile.k;
            tile.a_col = 1;
        }
    } else if (hunze_row_widens(row) && !empty) {
        row->widen(job->m, tile.k, a, job->a_row, job->a_col, wide_a, tile.k);
        a = (const char *)wide_a;
        tile.a_row = tile.k;
        tile.a_col = 1;
    }
    tile.alpha = &alpha;
    tile.beta = &beta;
    for (int64_t j = 0; j < job->n; j += nr) {
        tile.n = (int32_t)(job->n - j < nr ? job->n - j : nr);
        tile.b = (const char *)job->b + j * job->b_col * b_size;
        tile.b_row = job->b_row;
        const bool b_in_place = empty || (job->b_col == 1 && !(hunze_row_reads_whole_b(row) && tile.n < nr));
        tile.flags = HUNZE_TILE_FIRST | (b_in_place ? 0 : HUNZE_TILE_B_FULL) | (read_c ? HUNZE_TILE_READ_C : 0);
        if (!b_in_place) {
            row->pack_b(tile.k, tile.n, tile.b, job->b_row, job->b_col, panel);
            tile.b = panel;
            tile.b_row = nr;
        }
        for (int64_t i = 0; i < job->m; i += mr) {
            tile.m = (int32_t)(job->m - i < mr ? job->m - i : mr);
            tile.a = a + i * tile.a_row * a_size;
            char *d = (char *)job->d + (i * job->d_row + j * job->d_col) * size;
            tile.t = t_in_d ? d : scratch;
            tile.t_row = t_in_d ? job->d_row : nr;
            if (read_c && row->widen) {
                hunze_gemm_narrow_begin(row, job, i, j, tile.m, tile.n, tile.t, tile.t_row);
                tile.c = tile.t;
                tile.c_row = tile.t_row;
            } else if (read_c) {
                tile.c = (const char *)job->c + (i * job->c_row + j * job->c_col) * size;
                tile.c_row = job->c_row;
                if (job->c_col != 1) {
                    copy_matrix((size_t)size, tile.m, tile.n, tile.c, job->c_row, job->c_col, tile.t, tile.t_row, 1);
                    tile.c = tile.t;
                    tile.c_row = tile.t_row;
                }
            }
            row->float_tile(&tile);
            if (row->widen) {
                hunze_gemm_narrow_end(row, job, i, j, tile.m, tile.n, tile.t, tile.t_row);
            } else if (epilogue) {
                hunze_float_epilogue part = *e;
                if (part.bias)
                    part.bias = (const char *)part.bias + (i * part.bias_row + j * part.bias_col) * size;
                if (part.residual)
                    part.residual =
                        (const char *)part.residual + (i * part.residual_row + j * part.residual_col) * size;
                row->float_epilogue(&part, tile.m, tile.n, tile.t, tile.t_row);
            }
            if (!t_in_d && !job->narrow_d)
                copy_matrix((size_t)size, tile.m, tile.n, scratch, nr, 1, d, job->d_row, job->d_col);
        }
    }
}

/* ------------------------------------------------------------------ the driver */

size_t hunze_gemm_workspace(const hunze_plan *plan, int32_t threads)
{
    if (plan->row->provided || hunze_gemm_is_small(plan))
        return 0;
    hunze_gemm_jobs jobs = jobs_of(NULL, plan);
    return hunze_gemm_jobs_workspace(&jobs, threads);
}

hunze_gemm_cut hunze_gemm_cut_of(const hunze_plan *plan, int32_t threads)
{
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    const bool direct = plan->driver == hunze_run_gemm_direct;
    if (plan->row->provided)
        return (hunze_gemm_cut){.driver = "another library"};
    if (direct || (plan->driver == hunze_run_gemm && hunze_gemm_is_small(plan)))
        return (hunze_gemm_cut){.driver = !direct             ? "small"
                                          : shape->batch == 1 ? "direct"
                                                              : "batched",
                                .b = !direct                   ? "read in place, or a panel packed on the stack"
                                     : plan->direct_b_col == 1 ? "read in place"
                                                               : "a panel packed on the stack",
                                .unit_m = shape->m,
                                .unit_n = shape->n,
                                .kc = shape->k,
                                .lanes = 1};
    const hunze_gemm_jobs jobs = jobs_of(NULL, plan);
    hunze_gemm_cut cut = hunze_gemm_jobs_cut(&jobs, threads);
    if (plan->driver == hunze_run_gemm_offsets)
        cut.driver = "groups of rows";
    return cut;
}

hunze_status hunze_run_gemm(const hunze_plan *plan, const hunze_call *call, hunze_exec *exec)
{
    const gemm_call g = read_call(plan, call, exec->flags);
    const hunze_gemm_jobs jobs = jobs_of(&g, plan);
    if (plan->row->provided)
        return hunze_run_provided(plan, &jobs, exec);
    if (!hunze_gemm_is_small(plan))
        return hunze_gemm_run_jobs(&jobs, exec);
    for (int64_t index = 0; index < jobs.count; index++) {
        hunze_gemm_job job;
        gemm_job(&g, index, &job);
        run_small(plan->row, &jobs, &job);
    }
    return HUNZE_OK;
}
