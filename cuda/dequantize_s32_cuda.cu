/* SPDX-License-Identifier: Apache-2.0 */
/* s32 to f32: the body is codes.cuh. */
#include "codes.cuh"

KERNEL(hunze_dequantize_s32_cuda, HUNZE_CUDA_RUNS_THREADS, 4, hunze_cuda_codes)
{
    codes_of<dequantize_element<int32_t>, int32_t>(arguments);
}
