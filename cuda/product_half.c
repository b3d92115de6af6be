/* SPDX-License-Identifier: Apache-2.0 */
/* Launches bf16 and f16 products: hunze_gemm here, convolutions in convolution_half.c. */
#include "launchers.h"
#include "matrices.h"
#include "operands_half.h"

#include "../src/gemm.h"

static hunze_status launch_gemm(const hunze_plan *plan, const hunze_call *call, const hunze_cuda_run *run)
{
    const hunze_gemm_options *options = call->options;
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    const hunze_matrix a = hunze_matrix_of(call->a, options->transpose_a),
                       b = hunze_matrix_of(call->b, options->transpose_b), d = hunze_matrix_of(call->d, false);
    const double alpha = options->alpha ? *options->alpha : 1, beta = options->beta ? *options->beta : 0;
    const hunze_tensor *c = beta != 0 ? call->c : NULL;
    const bool empty = alpha == 0 || shape->k == 0;
    hunze_cuda_half_product p = {
        .m = (int32_t)shape->m,
        .n = (int32_t)shape->n,
        .k = empty ? 0 : (int32_t)shape->k,
        .a = {.data = a.data, .row_step = a.row, .k_step = a.col},
        .b = {.data = b.data, .row_step = b.col, .k_step = b.row},
        .positions = {.images = 1,
                      .height = 1,
                      .width = hunze_most(shape->m, 1),
                      .d = {0, 0, shape->m > 1 ? d.row : 0}},
        .epilogue = hunze_cuda_half_epilogue_of(call->d, c, options->bias, options->residual, options->activation),
    };
    if (shape->packed_b)
        p.b = (hunze_cuda_half_operand){.data = (char *)hunze_data(call->b) + sizeof(hunze_packed_header),
                                        .row_step = 1,
                                        .k_step = hunze_cuda_kn_columns(shape->n)};
    p.epilogue.alpha = empty ? 0 : (float)alpha;
    p.epilogue.beta = (float)beta;
    p.epilogue.d_column = d.col;
    if (c) {
        const hunze_matrix addend = hunze_matrix_of(c, false);
        p.c_row = addend.row;
        p.epilogue.c_column = addend.col;
    }
    if (options->bias) {
        const hunze_matrix bias = hunze_matrix_of(options->bias, false);
        p.bias_row = bias.row;
        p.epilogue.bias_column = bias.col;
    }
    if (options->residual) {
        const hunze_matrix residual = hunze_matrix_of(options->residual, false);
        p.positions.residual[2] = residual.row;
        p.epilogue.residual_column = residual.col;
    }
    hunze_cuda_matrices_of(&p.matrices, (const hunze_tensor *const[HUNZE_CUDA_OF_COUNT]){
                                            [HUNZE_CUDA_OF_D] = call->d,
                                            [HUNZE_CUDA_OF_A] = call->a,
                                            [HUNZE_CUDA_OF_B] = shape->packed_b ? NULL : call->b,
                                            [HUNZE_CUDA_OF_C] = c,
                                            [HUNZE_CUDA_OF_RESIDUAL] = options->residual,
                                        });
    hunze_cuda_half_set_load(&p.a, shape->m, shape->k, hunze_cuda_matrices_strides(&p.matrices, HUNZE_CUDA_OF_A));
    hunze_cuda_half_set_load(&p.b, shape->n, shape->k, hunze_cuda_matrices_strides(&p.matrices, HUNZE_CUDA_OF_B));
    hunze_cuda_half_set_pairs(&p);
    return hunze_cuda_half_start(&p, false, shape->batch, run);
}

hunze_status hunze_cuda_launch_product_half(const hunze_plan *plan, const hunze_call *call, const hunze_cuda_run *run)
{
    return plan->op == HUNZE_OP_GEMM ? launch_gemm(plan, call, run) : hunze_cuda_launch_conv_half(plan, call, run);
}

const char *hunze_cuda_refuses_product_half(const hunze_plan *plan)
{
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    return plan->op == HUNZE_OP_GEMM ? hunze_cuda_half_refuses(shape->m, shape->n, shape->k, shape->batch)
                                     : hunze_cuda_refuses_conv_half(plan);
}

double hunze_cuda_cost_product_half(const hunze_plan *plan)
{
    const hunze_cuda_device *device = hunze_cuda_device_of(plan);
    if (plan->op == HUNZE_OP_GEMM) {
        const hunze_gemm_shape *shape = &plan->gemm_shape;
        return hunze_cuda_half_cost(shape->m, shape->n, shape->k, shape->batch, device);
    }
    const hunze_conv_shape *shape = &plan->conv;
    return hunze_cuda_half_cost(shape->n * shape->out[0] * shape->out[1], shape->k / shape->groups,
                                shape->c / shape->groups * shape->kernel[0] * shape->kernel[1], shape->groups, device);
}

size_t hunze_cuda_workspace_product_half(const hunze_plan *plan)
{
    return plan->op == HUNZE_OP_GEMM ? 0 : hunze_cuda_workspace_conv_half(plan);
}
