/* SPDX-License-Identifier: Apache-2.0 */
/* f32 to s8, and the parameters of dynamic quantisation: the bodies are codes.cuh and dynamic_range.cuh. */
#include "codes.cuh"
#include "dynamic_range.cuh"

KERNEL(hunze_quantize_s8_cuda, HUNZE_CUDA_RUNS_THREADS, 4, hunze_cuda_codes)
{
    codes_of<quantize_element<int8_t>, int8_t>(arguments);
}
KERNEL(hunze_quantize_s8_cuda_range, HUNZE_CUDA_RUNS_THREADS, 4, hunze_cuda_range) { range_of(arguments); }
KERNEL(hunze_quantize_s8_cuda_parameters, HUNZE_CUDA_RUNS_THREADS, 4, hunze_cuda_dynamic)
{
    dynamic_parameters<true>(arguments);
}
