/* SPDX-License-Identifier: Apache-2.0 */
/* Products and convolutions of f16 by mma.sync, and the packing of their weights: the bodies are product_half.cuh and pack_float.cuh. */
#include "product_half.cuh"
#include "pack_float.cuh"

static_assert(sizeof(pack_shared<uint16_t>) == HUNZE_CUDA_PACK_HALF_SHARED, "as launchers say");

KERNEL(hunze_gemm_f16_cuda_64, HUNZE_CUDA_HALF_SMALL_THREADS, 4, hunze_cuda_half_product)
{
    half_strided<type_f16, half_small>(arguments);
}
KERNEL(hunze_gemm_f16_cuda_128, HUNZE_CUDA_HALF_THREADS, 2, hunze_cuda_half_product)
{
    half_strided<type_f16, half_large>(arguments);
}
KERNEL(hunze_gemm_f16_cuda_256, HUNZE_CUDA_HALF_THREADS, 1, hunze_cuda_half_product)
{
    half_strided<type_f16, half_wide>(arguments);
}
KERNEL(hunze_conv_f16_cuda_64, HUNZE_CUDA_HALF_SMALL_THREADS, 4, hunze_cuda_half_product)
{
    half_gathered<type_f16, half_small>(arguments);
}
KERNEL(hunze_conv_f16_cuda_128, HUNZE_CUDA_HALF_THREADS, 2, hunze_cuda_half_product)
{
    half_gathered<type_f16, half_large>(arguments);
}
KERNEL(hunze_conv_f16_cuda_256, HUNZE_CUDA_HALF_THREADS, 1, hunze_cuda_half_product)
{
    half_gathered<type_f16, half_wide>(arguments);
}

KERNEL(hunze_pack_f16_cuda, HUNZE_CUDA_PACK_THREADS, 1, hunze_cuda_pack) { pack_weights<uint16_t>(arguments); }
