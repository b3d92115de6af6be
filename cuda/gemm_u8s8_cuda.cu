/* SPDX-License-Identifier: Apache-2.0 */
/* u8 times s8 to s32, f32, s8 or u8: the body is product_integer.cuh. */
#include "product_integer.cuh"

KERNEL(hunze_gemm_u8s8_cuda_128, HUNZE_CUDA_INT_LARGE_THREADS, 2, hunze_cuda_int_product)
{
    product_strided<HUNZE_CUDA_INT_LARGE, HUNZE_CUDA_INT_LARGE_THREADS, false>(arguments);
}
KERNEL(hunze_gemm_u8s8_cuda_64, HUNZE_CUDA_INT_SMALL_THREADS, 4, hunze_cuda_int_product)
{
    product_strided<HUNZE_CUDA_INT_SMALL, HUNZE_CUDA_INT_SMALL_THREADS, false>(arguments);
}
KERNEL(hunze_conv_u8s8_cuda_128, HUNZE_CUDA_INT_LARGE_THREADS, 2, hunze_cuda_int_product)
{
    product_gathered<HUNZE_CUDA_INT_LARGE, HUNZE_CUDA_INT_LARGE_THREADS, false>(arguments);
}
KERNEL(hunze_conv_u8s8_cuda_64, HUNZE_CUDA_INT_SMALL_THREADS, 4, hunze_cuda_int_product)
{
    product_gathered<HUNZE_CUDA_INT_SMALL, HUNZE_CUDA_INT_SMALL_THREADS, false>(arguments);
}
