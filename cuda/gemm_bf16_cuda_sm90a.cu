/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bf16 by warpgroups: the body is product_wgmma.cuh.  The name ends with the contiguous axes of A and B. */
#include "product_wgmma.cuh"

KERNEL(hunze_gemm_bf16_cuda_sm90a_kk, HUNZE_CUDA_WGMMA_THREADS, 1, hunze_cuda_wgmma_product)
{
    wgmma_product<type_bf16, false, false>(arguments);
}
KERNEL(hunze_gemm_bf16_cuda_sm90a_kn, HUNZE_CUDA_WGMMA_THREADS, 1, hunze_cuda_wgmma_product)
{
    wgmma_product<type_bf16, false, true>(arguments);
}
KERNEL(hunze_gemm_bf16_cuda_sm90a_mk, HUNZE_CUDA_WGMMA_THREADS, 1, hunze_cuda_wgmma_product)
{
    wgmma_product<type_bf16, true, false>(arguments);
}
KERNEL(hunze_gemm_bf16_cuda_sm90a_mn, HUNZE_CUDA_WGMMA_THREADS, 1, hunze_cuda_wgmma_product)
{
    wgmma_product<type_bf16, true, true>(arguments);
}
