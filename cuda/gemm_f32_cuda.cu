/* SPDX-License-Identifier: Apache-2.0 */
/* Products and convolutions of f32: the bodies are product_float.cuh and pack_float.cuh. */
#define HUNZE_FLOAT_BITS 32
#include "product_float.cuh"

KERNEL(hunze_gemm_f32_cuda_128, HUNZE_CUDA_FLOAT_THREADS, 1, hunze_cuda_float_product) { product_strided<2>(arguments); }
KERNEL(hunze_gemm_f32_cuda_64, HUNZE_CUDA_FLOAT_THREADS, 2, hunze_cuda_float_product) { product_strided<1>(arguments); }
KERNEL(hunze_conv_f32_cuda_128, HUNZE_CUDA_FLOAT_THREADS, 1, hunze_cuda_float_product) { product_gathered<2>(arguments); }
KERNEL(hunze_conv_f32_cuda_64, HUNZE_CUDA_FLOAT_THREADS, 2, hunze_cuda_float_product) { product_gathered<1>(arguments); }
