/* SPDX-License-Identifier: Apache-2.0 */
/* What rows of devices name beside their `launch`: for the table alone. */
#ifndef HUNZE_LAUNCHERS_H
#define HUNZE_LAUNCHERS_H

#include "cuda.h"

/* Each family's hunze_cuda_choose_fn, hunze_cuda_workspace_fn, hunze_cuda_refusal_fn and list of kernels. */

/* ------------------------------------------------------------------ product_float.c, convolution_float.c, tiles_float.c */
hunze_cuda_choose_fn hunze_cuda_choose_product_float;
hunze_cuda_workspace_fn hunze_cuda_workspace_product_float;
hunze_cuda_refusal_fn hunze_cuda_refuses_product_float;
hunze_cuda_pack_fn hunze_cuda_pack_float;
extern const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_f32[], *const hunze_cuda_kernels_gemm_f64[];

/* ------------------------------------------------------------------ product_wgmma.c */
hunze_cuda_refusal_fn hunze_cuda_refuses_product_wgmma;
hunze_cuda_cost_fn hunze_cuda_cost_product_wgmma;
extern const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_bf16_sm90a[], *const hunze_cuda_kernels_gemm_f16_sm90a[];

/* ------------------------------------------------------------------ depthwise_float.c */
hunze_cuda_refusal_fn hunze_cuda_refuses_depthwise_float;
extern const hunze_cuda_kernel *const hunze_cuda_kernels_depthwise_f32[], *const hunze_cuda_kernels_depthwise_bf16[],
                                                                              *const hunze_cuda_kernels_depthwise_f16[];

/* ------------------------------------------------------------------ depthwise_weights.c */
hunze_cuda_pack_fn hunze_cuda_pack_depthwise;

/* ------------------------------------------------------------------ product_half.c, convolution_half.c */
hunze_cuda_workspace_fn hunze_cuda_workspace_product_half;
hunze_cuda_refusal_fn hunze_cuda_refuses_product_half;
hunze_cuda_cost_fn hunze_cuda_cost_product_half;
hunze_cuda_pack_fn hunze_cuda_pack_half;
extern const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_bf16[], *const hunze_cuda_kernels_gemm_f16[];

/* ------------------------------------------------------------------ activation.c */
extern const hunze_cuda_kernel *const hunze_cuda_kernels_activation_f32[], *const hunze_cuda_kernels_activation_f64[];
/* product_integer.c, depthwise_integer.c */
hunze_cuda_refusal_fn hunze_cuda_refuses_product_integer, hunze_cuda_refuses_depthwise_integer;
hunze_cuda_pack_fn hunze_cuda_pack_integer;
extern const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_u8s8[],
    *const hunze_cuda_kernels_gemm_s8s8[], *const hunze_cuda_kernels_depthwise_u8s8[],
                                               *const hunze_cuda_kernels_depthwise_s8s8[];

/* quantize.c */
hunze_cuda_workspace_fn hunze_cuda_workspace_quantize;
extern const hunze_cuda_kernel *const hunze_cuda_kernels_quantize_u8[],
    *const hunze_cuda_kernels_quantize_s8[], *const hunze_cuda_kernels_dequantize_u8[],
                                                 *const hunze_cuda_kernels_dequantize_s8[],
                                                     *const hunze_cuda_kernels_dequantize_s32[];

#endif
