/* SPDX-License-Identifier: Apache-2.0 */
/* f32 to u8, and the parameters of dynamic quantisation: the bodies are codes.cuh and dynamic_range.cuh. */
#include "codes.cuh"
#include "dynamic_range.cuh"

KERNEL(hunze_quantize_u8_cuda, HUNZE_CUDA_RUNS_THREADS, 4, hunze_cuda_codes)
{
    codes_of<quantize_element<uint8_t>, uint8_t>(arguments);
}
KERNEL(hunze_quantize_u8_cuda_range, HUNZE_CUDA_RUNS_THREADS, 4, hunze_cuda_range) { range_of(arguments); }
KERNEL(hunze_quantize_u8_cuda_parameters, HUNZE_CUDA_RUNS_THREADS, 4, hunze_cuda_dynamic)
{
    dynamic_parameters<false>(arguments);
}
