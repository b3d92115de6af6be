/* SPDX-License-Identifier: Apache-2.0 */
#include "depthwise_float.cuh"

KERNEL(hunze_depthwise_f32_cuda, HUNZE_CUDA_DEPTHWISE_FLOAT_THREADS, 4, hunze_cuda_float_depthwise)
{
    depthwise_float<element_f32>(arguments);
}
