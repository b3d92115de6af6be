/* SPDX-License-Identifier: Apache-2.0 */
/* Small floating-point products whose operands the tile reads and writes in place: one K block, one matrix, nothing behind the sum.  The plan
 * holds the tile but for its pointers, so that a call is little more than the kernel.  The bits are those of hunze_run_gemm. */
#include "plan.h"

enum { DIRECT_PRODUCTS = 64 * 64 * 64 };

/* The strides of a matrix by rows and columns; an axis of one index has none. */
static void strides_of(const hunze_tensor *tensor, bool transposed, int64_t *row, int64_t *col)
{
    const int first = tensor->ndim - 2, row_axis = first + transposed, col_axis = first + !transposed;
    *row = tensor->shape[row_axis] == 1 ? 0 : hunze_stride(tensor, row_axis);
    *col = tensor->shape[col_axis] == 1 ? 1 : hunze_stride(tensor, col_axis);
}

bool hunze_gemm_is_direct(const hunze_request *request, hunze_plan *plan)
{
    const uint32_t plain = 1u << HUNZE_ROLE_A | 1u << HUNZE_ROLE_B | 1u << HUNZE_ROLE_C | 1u << HUNZE_ROLE_D;
    const hunze_gemm_options *options = request->call->options;
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    const bool f64 = plan->row->d == HUNZE_TYPE_F64;
    if (!plan->row->float_tile || plan->row->widen || hunze_row_wraps(plan->row) || plan->packed ||
        plan->roles & ~plain || plan->flags & HUNZE_REPRODUCIBLE || shape->batch != 1 ||
        (options->activation && options->activation->kind != HUNZE_ACT_NONE) ||
        shape->k >= (f64 ? HUNZE_KC_F64 : HUNZE_KC_F32) ||
        (double)shape->m * (double)shape->n * (double)shape->k > DIRECT_PRODUCTS)
        return false;
    hunze_float_tile *tile = &plan->direct;
    int64_t b_col, d_col, c_col = 1;
    tile->k = shape->k;
    tile->flags = HUNZE_TILE_FIRST;
    strides_of(request->operand[HUNZE_ROLE_A], options->transpose_a, &tile->a_row, &tile->a_col);
    strides_of(request->operand[HUNZE_ROLE_B], options->transpose_b, &tile->b_row, &b_col);
    strides_of(request->operand[HUNZE_ROLE_D], false, &tile->t_row, &d_col);
    if (request->operand[HUNZE_ROLE_C])
        strides_of(request->operand[HUNZE_ROLE_C], false, &tile->c_row, &c_col);
    if (b_col != 1 || d_col != 1 || c_col != 1)
        return false;
    static const float one_f32 = 1, zero_f32 = 0;
    static const double one_f64 = 1, zero_f64 = 0;
    tile->alpha = f64 ? (const void *)&one_f64 : &one_f32;
    tile->beta = f64 ? (const void *)&zero_f64 : &zero_f32;
    plan->single = shape->m <= plan->row->mr && shape->n <= plan->row->nr;
    tile->m = (int32_t)shape->m; /* if single */
    tile->n = (int32_t)shape->n;
    return true;
}

hunze_status hunze_run_gemm_direct(const hunze_plan *plan, const hunze_call *call, hunze_exec *exec)
{
    (void)exec;
    const hunze_gemm_options *options = call->options;
    const hunze_row *row = plan->row;
    const bool f64 = row->d == HUNZE_TYPE_F64;
    float alpha_f32, beta_f32;
    double alpha_f64;
    hunze_float_tile tile = plan->direct;
    tile.a = hunze_data(call->a);
    tile.b = hunze_data(call->b);
    tile.t = hunze_data(call->d);
    if (options->alpha) {
        if (*options->alpha == 0) /* A and B are not read */
            tile.k = 0;
        alpha_f64 = tile.k == 0 ? 0 : *options->alpha;
        alpha_f32 = (float)alpha_f64;
        tile.alpha = f64 ? (const void *)&alpha_f64 : &alpha_f32;
    }
    if (options->beta && *options->beta != 0) {
        beta_f32 = (float)*options->beta;
        tile.beta = f64 ? (const void *)options->beta : &beta_f32;
        tile.c = hunze_data(call->c);
        tile.flags |= HUNZE_TILE_READ_C;
    }
    if (plan->single) {
        row->float_tile(&tile);
        return HUNZE_OK;
    }
    const char *a = tile.a, *b = tile.b, *c = tile.c;
    char *d = tile.t;
    const int64_t m = plan->gemm_shape.m, n = plan->gemm_shape.n, bytes = f64 ? 8 : 4;
    for (int64_t j = 0; j < n; j += row->nr) {
        tile.n = (int32_t)(n - j < row->nr ? n - j : row->nr);
        tile.b = b + j * bytes;
        for (int64_t i = 0; i < m; i += row->mr) {
            tile.m = (int32_t)(m - i < row->mr ? m - i : row->mr);
            tile.a = a + i * tile.a_row * bytes;
            tile.t = d + (i * tile.t_row + j) * bytes;
            tile.c = c ? c + (i * tile.c_row + j) * bytes : NULL;
            row->float_tile(&tile);
        }
    }
    return HUNZE_OK;
}
