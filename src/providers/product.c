/* SPDX-License-Identifier: Apache-2.0 */
/* Products by a library: what its rows take, and the driver.  The library computes in each lane's own thread, so the call's threads, its
 * parallel_for and its cancel are kept; what surrounds the product is ours. */
#include "../gemm.h"
#include "providers.h"

#include <stdio.h>
#include <string.h>

/* Rows or columns of D that a lane takes are a multiple of this. */
enum { STRIP = 64 };

/* ------------------------------------------------------------------ what rows take */

static int size_of(const hunze_plan *plan)
{
    return hunze_product_size(plan->gemm_shape.m, plan->gemm_shape.n, plan->gemm_shape.k);
}

/* How BLAS names a matrix with these strides: its rows, or transposed its columns, are `step` elements apart.  False: it cannot. */
static bool named(int64_t rows, int64_t columns, int64_t row, int64_t column, bool *transposed, int64_t *step)
{
    *transposed = false;
    *step = rows > 1 ? row : hunze_most(columns, 1);
    if ((columns <= 1 || column == 1) && *step >= hunze_most(columns, 1))
        return true;
    *transposed = true;
    *step = columns > 1 ? column : hunze_most(rows, 1);
    return (rows <= 1 || row == 1) && *step >= hunze_most(rows, 1);
}

static bool operand_is_named(const hunze_plan *plan, int role, int64_t rows, int64_t columns)
{
    hunze_tensor tensor;
    bool transposed;
    int64_t step;
    if (rows == 0 || columns == 0 || !hunze_plan_operand(plan, role, &tensor))
        return true;
    const hunze_matrix matrix = hunze_matrix_of(&tensor, role != HUNZE_ROLE_D && hunze_plan_transposes(plan, role));
    return named(rows, columns, matrix.row, matrix.col, &transposed, &step) && step <= INT32_MAX;
}

const char *hunze_provided_refusal(const hunze_plan *plan, const hunze_row *row, char *text, size_t size)
{
    const uint32_t exact = 1u << HUNZE_ISA_AVXVNNI | 1u << HUNZE_ISA_AVX512VNNI;
    const uint32_t plain = 1u << HUNZE_ROLE_A | 1u << HUNZE_ROLE_B | 1u << HUNZE_ROLE_D;
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    const char *name = hunze_provider_name(row->provider), *why;
    if (plan->op != HUNZE_OP_GEMM)
        return "computes products, not convolutions";
    if (shape->groups > 0)
        return "multiplies matrices, not groups of rows";
    if (plan->b_type == HUNZE_TYPE_U8)
        return "multiplies by s8, not by u8";
    if (!plan->context->providers[row->provider].file) {
        snprintf(text, size, "the context does not allow %s", name);
        return text;
    }
    if (plan->flags & (HUNZE_REPRODUCIBLE | HUNZE_BATCH_INVARIANT))
        return "its bits are its own, and the call asks for the same everywhere";
    if (plan->flags & HUNZE_WIPE)
        return "its scratch cannot be zeroed";
    if (plan->packs || plan->packed)
        return "takes no packed weights";
    if (row->d == HUNZE_TYPE_S32 && !(plan->bundles & exact))
        return "could saturate on a CPU without VNNI";
    if (row->d == HUNZE_TYPE_S32 && (plan->d_type != HUNZE_TYPE_S32 || plan->roles & ~plain || plan->activates))
        return "computes the sums in s32 alone: no scale, zero point, bias or activation";
    if (row->d == HUNZE_TYPE_S32 && shape->transposed_d)
        return "takes d by rows";
    if (shape->m > INT32_MAX || shape->n > INT32_MAX || shape->k > INT32_MAX)
        return "takes extents of 31 bits";
    if (!operand_is_named(plan, HUNZE_ROLE_A, shape->m, shape->k) ||
        !operand_is_named(plan, HUNZE_ROLE_B, shape->k, shape->n) ||
        !operand_is_named(plan, HUNZE_ROLE_D, shape->m, shape->n))
        return "takes matrices whose rows or columns are contiguous and do not overlap";
    if (plan->forced != row && !hunze_provider_measured(plan->context, row, size_of(plan), NULL))
        return NULL; /* ranks after ours, so there is no need to open it */
    if (hunze_provider_open(plan->context, row->provider, &why))
        return NULL;
    snprintf(text, size, "%s %s", name, why);
    return text;
}

/* ------------------------------------------------------------------ which wins */

long hunze_provided_thousandths(const hunze_plan *plan, const hunze_row *row)
{
    const char *why;
    const int size = size_of(plan);
    if (!hunze_provider_measured(plan->context, row, size, NULL))
        return 0;
    const hunze_library *library = hunze_provider_open(plan->context, row->provider, &why);
    return library ? hunze_provider_measured(plan->context, row, size, library->version) : 0;
}

const char *hunze_provided_rank(const hunze_plan *plan, const hunze_row *row, char *text, size_t size)
{
    const long thousandths = hunze_provided_thousandths(plan, row);
    const char *class = hunze_product_size_name(size_of(plan));
    if (thousandths)
        snprintf(text, size, "measured at %ld.%03ld of the seconds of the library's own kernel for %s products",
                 thousandths / 1000, thousandths % 1000, class);
    else
        snprintf(text, size, "ranks after the library's own kernels: for %s products nothing was measured of it",
                 class);
    return text;
}

/* ------------------------------------------------------------------ the driver */

typedef struct work {
    const hunze_gemm_jobs *jobs;
    hunze_library *library;
    hunze_float_epilogue_fn *epilogue;
    bool by_columns;       /* D, its columns together, is computed as its transpose */
    bool cuts_m;           /* strips are rows of it; else columns */
    int64_t strips, strip; /* of each matrix; rows or columns of one */
    hunze_items items;
    hunze_status status; /* of a lane that failed */
} work;

static void exchange(int64_t *a, int64_t *b)
{
    const int64_t kept = *a;
    *a = *b;
    *b = kept;
}

/* D = A @ B is Dᵀ = Bᵀ @ Aᵀ. */
static void transpose(hunze_gemm_job *job)
{
    const void *const a = job->a;
    job->a = job->b;
    job->b = a;
    exchange(&job->m, &job->n);
    exchange(&job->a_row, &job->b_col);
    exchange(&job->a_col, &job->b_row);
    exchange(&job->c_row, &job->c_col);
    exchange(&job->d_row, &job->d_col);
    exchange(&job->float_epilogue.bias_row, &job->float_epilogue.bias_col);
    exchange(&job->float_epilogue.residual_row, &job->float_epilogue.residual_col);
}

/* What D holds before the product is added: C where it is read and elsewhere, times beta if there is no product. */
static void begin(const hunze_gemm_job *job, size_t size, double beta, bool product)
{
    const bool in_place = job->c == job->d && job->c_row == job->d_row && job->c_col == job->d_col;
    if (product && (beta == 0 || in_place))
        return;
    for (int64_t i = 0; i < job->m; i++)
        for (int64_t j = 0; j < job->n; j++) {
            char *d = (char *)job->d + (i * job->d_row + j) * (int64_t)size;
            if (beta == 0) {
                memset(d, 0, size);
                continue;
            }
            const char *c = (const char *)job->c + (i * job->c_row + j * job->c_col) * (int64_t)size;
            if (product)
                memcpy(d, c, size);
            else if (size == sizeof(float))
                *(float *)(void *)d = (float)beta * *(const float *)(const void *)c;
            else
                *(double *)(void *)d = beta * *(const double *)(const void *)c;
        }
}

static hunze_status run_strip(const work *w, hunze_gemm_job *job, int64_t start)
{
    const hunze_gemm_jobs *jobs = w->jobs;
    const hunze_row *row = jobs->row;
    const int64_t a_size = (int64_t)hunze_type_bytes(row->a), b_size = (int64_t)hunze_type_bytes(row->b),
                  d_size = (int64_t)hunze_type_bytes(row->d);
    const int64_t i = w->cuts_m ? start : 0, j = w->cuts_m ? 0 : start;
    hunze_float_epilogue *e = &job->float_epilogue;
    if (w->by_columns)
        transpose(job);
    *(w->cuts_m ? &job->m : &job->n) = hunze_least(w->strip, (w->cuts_m ? job->m : job->n) - start);
    job->d = (char *)job->d + (i * job->d_row + j) * d_size;
    if (job->c)
        job->c = (const char *)job->c + (i * job->c_row + j * job->c_col) * d_size;
    if (e->bias)
        e->bias = (const char *)e->bias + (i * e->bias_row + j * e->bias_col) * d_size;
    if (e->residual)
        e->residual = (const char *)e->residual + (i * e->residual_row + j * e->residual_col) * d_size;

    hunze_provided_product product = {.library = w->library,
                                      .m = job->m,
                                      .n = job->n,
                                      .k = jobs->k,
                                      .d = job->d,
                                      .d_step = job->m > 1 ? job->d_row : job->n,
                                      .alpha = jobs->alpha,
                                      .beta = job->c ? jobs->beta : 0};
    const bool computes = jobs->k > 0 && jobs->alpha != 0;
    begin(job, (size_t)d_size, product.beta, computes);
    if (computes) { /* else A and B are not read */
        product.a = (const char *)job->a + i * job->a_row * a_size;
        product.b = (const char *)job->b + j * job->b_col * b_size;
        named(job->m, jobs->k, job->a_row, job->a_col, &product.a_transposed, &product.a_step);
        named(jobs->k, job->n, job->b_row, job->b_col, &product.b_transposed, &product.b_step);
        TRY(row->provided(&product));
    }
    if (w->epilogue)
        w->epilogue(e, job->m, job->n, job->d, job->d_row);
    return HUNZE_OK;
}

static void lane_body(void *user, int32_t lane, int32_t lanes)
{
    (void)lane, (void)lanes;
    work *w = user;
    const int32_t before = hunze_library_enter(w->library);
    for (int64_t index; hunze_take_item(&w->items, &index);) {
        hunze_gemm_job job = {0};
        w->jobs->job(w->jobs->user, index / w->strips, &job);
        const hunze_status status = run_strip(w, &job, index % w->strips * w->strip);
        if (status)
            __atomic_store_n(&w->status, status, __ATOMIC_RELAXED);
    }
    hunze_library_leave(w->library, before);
}

/* The epilogue of the widest bundle allowed, as the row's own kernels have it. */
static hunze_float_epilogue_fn *epilogue_of(const hunze_plan *plan)
{
    hunze_float_epilogue_fn *widest = NULL;
    for (int i = 0; i < hunze_row_count; i++)
        if (hunze_rows[i].op == HUNZE_OP_ACTIVATION && hunze_rows[i].d == plan->row->d &&
            hunze_rows[i].isa < HUNZE_ISA_CPU_COUNT && plan->allowed & 1u << hunze_rows[i].isa)
            widest = hunze_rows[i].float_epilogue;
    return widest;
}

hunze_status hunze_run_provided(const hunze_plan *plan, const hunze_gemm_jobs *jobs, hunze_exec *exec)
{
    const char *why;
    hunze_gemm_job job = {0};
    jobs->job(jobs->user, 0, &job);
    work w = {.jobs = jobs,
              .library = hunze_provider_open(plan->context, plan->row->provider, &why),
              .epilogue = hunze_float_epilogue_is_needed(&job.float_epilogue) ? epilogue_of(plan) : NULL,
              .by_columns = jobs->transposed_d,
              .items = {.exec = exec}};
    const int64_t m = w.by_columns ? jobs->n : jobs->m, n = w.by_columns ? jobs->m : jobs->n;
    const int32_t lanes =
        hunze_gemm_lanes(2.0 * (double)m * (double)n * (double)jobs->k * (double)jobs->count, exec->threads);
    const int64_t parts = hunze_ceil_div(lanes, jobs->count);
    w.cuts_m = m >= n;
    w.strip = hunze_ceil_div(hunze_ceil_div(w.cuts_m ? m : n, parts), STRIP) * STRIP;
    w.strips = hunze_ceil_div(w.cuts_m ? m : n, w.strip);
    w.items.count = jobs->count * w.strips;
    hunze_parallel(exec, (int32_t)hunze_least(lanes, w.items.count), lane_body, &w);
    if (w.items.stopped)
        return hunze_fail(HUNZE_ERR_CANCELLED, "the cancel callback ended gemm");
    return w.status
               ? hunze_fail(w.status, "%s could not compute the product: its output is incomplete", plan->row->name)
               : HUNZE_OK;
}
