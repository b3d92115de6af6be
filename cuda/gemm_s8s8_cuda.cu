/* SPDX-License-Identifier: Apache-2.0 */
/* s8 times s8 to s32, f32, s8 or u8: the body is product_integer.cuh. */
#include "product_integer.cuh"
#include "pack_integer.cuh"

KERNEL(hunze_gemm_s8s8_cuda_128, HUNZE_CUDA_INT_LARGE_THREADS, 2, hunze_cuda_int_product)
{
    product_strided<HUNZE_CUDA_INT_LARGE, HUNZE_CUDA_INT_LARGE_THREADS, true>(arguments);
}
KERNEL(hunze_gemm_s8s8_cuda_64, HUNZE_CUDA_INT_SMALL_THREADS, 4, hunze_cuda_int_product)
{
    product_strided<HUNZE_CUDA_INT_SMALL, HUNZE_CUDA_INT_SMALL_THREADS, true>(arguments);
}
KERNEL(hunze_conv_s8s8_cuda_128, HUNZE_CUDA_INT_LARGE_THREADS, 2, hunze_cuda_int_product)
{
    product_gathered<HUNZE_CUDA_INT_LARGE, HUNZE_CUDA_INT_LARGE_THREADS, true>(arguments);
}
KERNEL(hunze_conv_s8s8_cuda_64, HUNZE_CUDA_INT_SMALL_THREADS, 4, hunze_cuda_int_product)
{
    product_gathered<HUNZE_CUDA_INT_SMALL, HUNZE_CUDA_INT_SMALL_THREADS, true>(arguments);
}

/* Of products of u8, too: weights are s8. */
KERNEL(hunze_pack_s8_cuda, HUNZE_CUDA_PACK_BYTES_THREADS, 1, hunze_cuda_pack_bytes) { pack_bytes(arguments); }
