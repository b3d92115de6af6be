/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of u8 with s8: the body is depthwise_integer.cuh. */
#include "depthwise_integer.cuh"

KERNEL(hunze_depthwise_u8s8_cuda, HUNZE_CUDA_DEPTHWISE_THREADS, 4, hunze_cuda_int_depthwise)
{
    depthwise_integer<false>(arguments);
}
