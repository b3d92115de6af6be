/* SPDX-License-Identifier: Apache-2.0 */
/* Products and convolutions of f32: the bodies are product_float.cuh and pack_float.cuh. */
#define HUNZE_FLOAT_BITS 32
#include "pack_float.cuh"
#include "product_float.cuh"

static_assert(sizeof(product_shared<2>) == HUNZE_CUDA_F32_LARGE_SHARED, "as launchers say");
static_assert(sizeof(product_shared<1>) == HUNZE_CUDA_F32_SMALL_SHARED, "as launchers say");
static_assert(sizeof(product_gathered_shared<2>) == HUNZE_CUDA_F32_LARGE_SHARED + HUNZE_CUDA_F32_LARGE_GATHER,
              "as launchers say");
static_assert(sizeof(product_gathered_shared<1>) == HUNZE_CUDA_F32_SMALL_SHARED + HUNZE_CUDA_F32_SMALL_GATHER,
              "as launchers say");
static_assert(sizeof(pack_shared<float>) == HUNZE_CUDA_PACK_F32_SHARED, "as launchers say");

KERNEL(hunze_gemm_f32_cuda_128, HUNZE_CUDA_FLOAT_THREADS, 1, hunze_cuda_float_product)
{
    product_strided<2>(arguments);
}
KERNEL(hunze_gemm_f32_cuda_64, HUNZE_CUDA_FLOAT_THREADS, 2, hunze_cuda_float_product) { product_strided<1>(arguments); }
KERNEL(hunze_conv_f32_cuda_128, HUNZE_CUDA_FLOAT_THREADS, 1, hunze_cuda_float_product)
{
    product_gathered<2>(arguments);
}
KERNEL(hunze_conv_f32_cuda_64, HUNZE_CUDA_FLOAT_THREADS, 2, hunze_cuda_float_product)
{
    product_gathered<1>(arguments);
}
KERNEL(hunze_fold_f32_cuda, HUNZE_CUDA_FLOAT_THREADS, 2, hunze_cuda_float_product) { product_fold(arguments); }
KERNEL(hunze_pack_f32_cuda, HUNZE_CUDA_PACK_THREADS, 4, hunze_cuda_pack) { pack_weights<float>(arguments); }
