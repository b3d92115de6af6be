/* SPDX-License-Identifier: Apache-2.0 */
/* Launches floating-point products: hunze_gemm here, convolutions in convolution_float.c. */
#include "launchers.h"
#include "matrices.h"
#include "operands_float.h"

static hunze_status launch_gemm(const hunze_plan *plan, const hunze_call *call, const hunze_cuda_run *run)
{
    const hunze_gemm_options *options = call->options;
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    const int64_t bytes = (int64_t)hunze_type_bytes(plan->row->d);
    const hunze_matrix a = hunze_matrix_of(call->a, options->transpose_a),
                       b = hunze_matrix_of(call->b, options->transpose_b), d = hunze_matrix_of(call->d, false);
    const double alpha = options->alpha ? *options->alpha : 1, beta = options->beta ? *options->beta : 0;
    const bool read_c = beta != 0 && call->c, empty = alpha == 0 || shape->k == 0;
    hunze_cuda_float_product p = {
        .m = shape->m,
        .n = shape->n,
        .k = empty ? 0 : shape->k,
        .alpha = empty ? 0 : alpha,
        .beta = beta,
        .a = {.data = a.data, .row_step = a.row, .k_step = a.col},
        .b = {.data = b.data, .row_step = b.col, .k_step = b.row},
        .gather = {.axis = {{.phases = 1}, {.phases = 1}}},
        .positions = {.images = 1, .height = 1, .width = shape->m, .d = {0, 0, d.row}},
        .epilogue = {.d = d.data, .d_column = d.col, .canonical_nan = (run->flags & HUNZE_REPRODUCIBLE) != 0},
    };
    if (shape->packed_b)
        p.b = (hunze_cuda_strided){.data = (char *)hunze_data(call->b) + sizeof(hunze_packed_header),
                                   .row_step = 1,
                                   .k_step = hunze_cuda_kn_columns(shape->n)};
    if (read_c) {
        const hunze_matrix c = hunze_matrix_of(call->c, false);
        p.c = c.data;
        p.c_row = c.row;
        p.c_column = c.col;
    }
    if (options->bias) {
        const hunze_matrix bias = hunze_matrix_of(options->bias, false);
        p.epilogue.bias = bias.data;
        p.epilogue.bias_row = bias.row;
        p.epilogue.bias_column = bias.col;
    }
    if (options->residual) {
        const hunze_matrix residual = hunze_matrix_of(options->residual, false);
        p.epilogue.residual = residual.data;
        p.epilogue.residual_column = residual.col;
        p.positions.residual[2] = residual.row;
    }
    if (options->activation) {
        p.epilogue.activation = options->activation->kind;
        p.epilogue.alpha = options->activation->alpha;
        p.epilogue.beta = options->activation->beta;
    }
    hunze_cuda_matrices_of(&p.matrices, (const hunze_tensor *const[HUNZE_CUDA_OF_COUNT]){
                                            [HUNZE_CUDA_OF_D] = call->d,
                                            [HUNZE_CUDA_OF_A] = call->a,
                                            [HUNZE_CUDA_OF_B] = shape->packed_b ? NULL : call->b,
                                            [HUNZE_CUDA_OF_C] = read_c ? call->c : NULL,
                                            [HUNZE_CUDA_OF_RESIDUAL] = options->residual,
                                        });
    p.a.load = hunze_cuda_load_of(&p.a, shape->m, hunze_cuda_matrices_strides(&p.matrices, HUNZE_CUDA_OF_A), bytes);
    p.b.load = hunze_cuda_load_of(&p.b, shape->n, hunze_cuda_matrices_strides(&p.matrices, HUNZE_CUDA_OF_B), bytes);
    return hunze_cuda_start_float_product(&p, false, shape->batch, run->workspace, run);
}

hunze_status hunze_cuda_launch_product_float(const hunze_plan *plan, const hunze_call *call, const hunze_cuda_run *run)
{
    return plan->op == HUNZE_OP_GEMM ? launch_gemm(plan, call, run) : hunze_cuda_launch_conv_float(plan, call, run);
}

void hunze_cuda_choose_product_float(hunze_plan *plan, const hunze_call *call)
{
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    if (plan->op == HUNZE_OP_GEMM)
        hunze_cuda_choose_float_tile(plan, shape->m, shape->n, shape->k, shape->batch);
    else
        hunze_cuda_choose_conv_float(plan, call);
}

size_t hunze_cuda_workspace_product_float(const hunze_plan *plan)
{
    return plan->choice.partial_bytes + (plan->op == HUNZE_OP_GEMM ? 0 : hunze_cuda_workspace_conv_float(plan));
}

const char *hunze_cuda_refuses_product_float(const hunze_plan *plan)
{
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    return plan->op == HUNZE_OP_GEMM ? hunze_cuda_refuses_grid(shape->m, shape->n, shape->batch)
                                     : hunze_cuda_refuses_conv_float(plan);
}
