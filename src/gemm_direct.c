/* SPDX-License-Identifier: Apache-2.0 */
/* Small floating-point products whose operands the kernel reads and writes in place, but for a B whose columns are packed on the stack: one K block,
 * nothing behind the sum; one matrix, or a batch of them.  The plan holds the kernel's arguments but for pointers to data, so that a call is
 * little more than the kernel.  The bits are those of hunze_run_gemm. */
#include "gemm_unit.h"
#include "plan.h"

enum {
    ITEM_PRODUCTS = 1 << 16, /* of the matrices that a lane takes at a time */
    PANEL_BYTES = 16384
};

/* The strides of a matrix by rows and columns; an axis of one index has none. */
static void strides_of(const hunze_tensor *tensor, bool transposed, int64_t *row, int64_t *col)
{
    const int first = tensor->ndim - 2, row_axis = first + transposed, col_axis = first + !transposed;
    *row = tensor->shape[row_axis] == 1 ? 0 : hunze_stride(tensor, row_axis);
    *col = tensor->shape[col_axis] == 1 ? 1 : hunze_stride(tensor, col_axis);
}

/* Bytes between the matrices of an operand that neighbours along an axis of d meet. */
static int64_t step_of(const hunze_tensor *tensor, const hunze_tensor *d, int axis)
{
    const int own_axis = axis - d->ndim + tensor->ndim;
    return own_axis < 0 || tensor->shape[own_axis] == 1 ? 0 : hunze_stride(tensor, own_axis) * (tensor->dtype.bits / 8);
}

/* The innermost leading axes along which every operand goes on in equal steps: these matrices are one call of the kernel. */
static void find_runs(const hunze_request *request, hunze_float_batch *batch)
{
    static const int roles[] = {HUNZE_ROLE_A, HUNZE_ROLE_B, HUNZE_ROLE_C, HUNZE_ROLE_D};
    int64_t *const next[] = {&batch->a_next, &batch->b_next, &batch->c_next, &batch->d_next};
    const hunze_tensor *d = request->operand[HUNZE_ROLE_D];
    batch->count = 1;
    for (int axis = d->ndim - 3; axis >= 0; axis--) {
        if (d->shape[axis] == 1)
            continue;
        for (int i = 0; i < 4; i++) {
            const hunze_tensor *tensor = request->operand[roles[i]];
            const int64_t step = tensor ? step_of(tensor, d, axis) : 0;
            if (batch->count == 1)
                *next[i] = step;
            else if (step != *next[i] * batch->count)
                return;
        }
        batch->count *= d->shape[axis];
    }
}

/* Whether reading A and B where they lie, once for each few rows of A, is faster than packing B.  Beyond HUNZE_GEMM_DIRECT_PRODUCTS as measured: few
 * rows have drivers of their own, few columns would leave vectors empty, and rows that are far apart share sets of L1 (on AVX2 twice the time). */
static bool is_short(const hunze_gemm_shape *shape, int64_t row_bytes)
{
    enum { LEAST_N = 32, ROW_BYTES = 2048, TIMES = 4 };
    const double products = (double)shape->m * (double)shape->n * (double)hunze_most(shape->k, 1);
    return products <= HUNZE_GEMM_DIRECT_PRODUCTS ||
           (products <= TIMES * (double)HUNZE_GEMM_DIRECT_PRODUCTS && shape->m > HUNZE_GEMM_STRIP_M &&
            shape->n >= LEAST_N && row_bytes < ROW_BYTES);
}

bool hunze_gemm_is_direct(const hunze_request *request, hunze_plan *plan)
{
    const uint32_t plain = 1u << HUNZE_ROLE_A | 1u << HUNZE_ROLE_B | 1u << HUNZE_ROLE_C | 1u << HUNZE_ROLE_D;
    const hunze_gemm_options *options = request->call->options;
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    const bool f64 = plan->row->d == HUNZE_TYPE_F64;
    if (!plan->row->float_batch || plan->packed || plan->roles & ~plain || plan->flags & HUNZE_REPRODUCIBLE ||
        shape->batch == 0 || (options->activation && options->activation->kind != HUNZE_ACT_NONE) ||
        shape->k >= (f64 ? HUNZE_KC_F64 : HUNZE_KC_F32))
        return false;
    hunze_float_batch *batch = &plan->direct;
    int64_t d_col, c_col = 1;
    batch->m = shape->m;
    batch->n = shape->n;
    batch->k = shape->k;
    strides_of(request->operand[HUNZE_ROLE_A], options->transpose_a, &batch->a_row, &batch->a_col);
    strides_of(request->operand[HUNZE_ROLE_B], options->transpose_b, &batch->b_row, &plan->direct_b_col);
    strides_of(request->operand[HUNZE_ROLE_D], false, &batch->d_row, &d_col);
    if (request->operand[HUNZE_ROLE_C])
        strides_of(request->operand[HUNZE_ROLE_C], false, &batch->c_row, &c_col);
    const int64_t bytes = (int64_t)hunze_type_bytes(plan->row->d);
    if (d_col != 1 || c_col != 1 || !is_short(shape, hunze_most(batch->a_row, batch->b_row) * bytes) ||
        (plan->direct_b_col != 1 && shape->k * plan->row->nr * bytes > PANEL_BYTES))
        return false;
    static const float one_f32 = 1;
    static const double one_f64 = 1;
    batch->alpha = f64 ? (const void *)&one_f64 : &one_f32;
    find_runs(request, batch);
    const uint32_t operands = 1u << HUNZE_ROLE_A | 1u << HUNZE_ROLE_B | 1u << HUNZE_ROLE_D;
    plan->single = shape->batch == 1 && !(operands & ~plan->operands.filled);
    return true;
}

/* Columns of B that lie apart are packed, a panel at a time. */
static __attribute__((noinline)) void run_packed(const hunze_row *row, const hunze_float_batch *batch, int64_t b_col)
{
    _Alignas(64) char panel[PANEL_BYTES];
    const int64_t bytes = (int64_t)hunze_type_bytes(row->d), nr = row->nr;
    hunze_float_batch part = *batch;
    part.count = 1;
    part.b = panel;
    part.b_row = nr;
    for (int64_t matrix = 0; matrix < batch->count; matrix++)
        for (int64_t j = 0; j < batch->n; j += nr) {
            part.n = hunze_least(nr, batch->n - j);
            if (matrix == 0 || batch->b_next || batch->n > nr)
                row->pack_b(batch->k, part.n, (const char *)batch->b + matrix * batch->b_next + j * b_col * bytes,
                            batch->b_row, b_col, panel);
            part.a = (const char *)batch->a + matrix * batch->a_next;
            part.c = batch->c ? (const char *)batch->c + matrix * batch->c_next + j * bytes : NULL;
            part.d = (char *)batch->d + matrix * batch->d_next + j * bytes;
            row->float_batch(&part);
        }
}

static inline void run_matrices(const hunze_plan *plan, const hunze_float_batch *batch)
{
    if (plan->direct_b_col == 1)
        plan->row->float_batch(batch);
    else
        run_packed(plan->row, batch, plan->direct_b_col);
}

typedef struct batch_phase {
    const hunze_plan *plan;
    const hunze_call *call;
    const hunze_float_batch *batch; /* of the first matrices */
    int64_t item;                   /* matrices of an item */
    hunze_items items;
} batch_phase;

static void compute_phase(void *user, int32_t lane, int32_t lanes)
{
    (void)lane, (void)lanes;
    batch_phase *phase = user;
    const hunze_call *call = phase->call;
    const hunze_float_batch *whole = phase->batch;
    const int64_t bytes = (int64_t)hunze_type_bytes(phase->plan->row->d);
    hunze_float_batch batch = *whole;
    for (int64_t item; hunze_take_item(&phase->items, &item);) {
        int64_t index = item * phase->item;
        const int64_t end = hunze_least(index + phase->item, phase->plan->gemm_shape.batch);
        for (; index < end; index += batch.count) {
            batch.count = hunze_least(whole->count - index % whole->count, end - index);
            batch.a = (const char *)whole->a + hunze_batch_offset(call->a, call->d, index) * bytes;
            batch.b = (const char *)whole->b + hunze_batch_offset(call->b, call->d, index) * bytes;
            batch.d = (char *)whole->d + hunze_batch_offset(call->d, call->d, index) * bytes;
            if (batch.c)
                batch.c = (const char *)whole->c + hunze_batch_offset(call->c, call->d, index) * bytes;
            run_matrices(phase->plan, &batch);
        }
    }
}

static hunze_status run_batch(const hunze_plan *plan, const hunze_call *call, const hunze_float_batch *batch,
                              hunze_exec *exec)
{
    const double products = (double)batch->m * (double)batch->n * (double)hunze_most(batch->k, 1);
    batch_phase phase = {.plan = plan, .call = call, .batch = batch, .items = {.exec = exec}};
    phase.item = hunze_most((int64_t)(ITEM_PRODUCTS / products), 1);
    phase.items.count = hunze_ceil_div(plan->gemm_shape.batch, phase.item);
    const int32_t lanes = hunze_gemm_lanes((double)plan->operations, exec->threads);
    hunze_parallel(exec, (int32_t)hunze_least(lanes, phase.items.count), compute_phase, &phase);
    return phase.items.stopped ? hunze_fail(HUNZE_ERR_CANCELLED, "the cancel callback ended gemm") : HUNZE_OK;
}

hunze_status hunze_run_gemm_direct(const hunze_plan *plan, const hunze_call *call, hunze_exec *exec)
{
    const hunze_gemm_options *options = call->options;
    hunze_scalar alpha, beta;
    hunze_float_batch batch = plan->direct;
    batch.a = hunze_data(call->a);
    batch.b = hunze_data(call->b);
    batch.d = hunze_data(call->d);
    if (options->alpha) {
        if (*options->alpha == 0) /* A and B are not read */
            batch.k = 0;
        alpha = hunze_scalar_of(plan->row, batch.k == 0 ? 0 : *options->alpha);
        batch.alpha = &alpha;
    }
    if (options->beta && *options->beta != 0) {
        beta = hunze_scalar_of(plan->row, *options->beta);
        batch.beta = &beta;
        batch.c = hunze_data(call->c);
    }
    if (!plan->single)
        return run_batch(plan, call, &batch, exec);
    run_matrices(plan, &batch);
    return HUNZE_OK;
}
