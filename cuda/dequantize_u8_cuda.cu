/* SPDX-License-Identifier: Apache-2.0 */
/* u8 to f32: the body is codes.cuh. */
#include "codes.cuh"

KERNEL(hunze_dequantize_u8_cuda, HUNZE_CUDA_RUNS_THREADS, 4, hunze_cuda_codes)
{
    codes_of<dequantize_element<uint8_t>, uint8_t>(arguments);
}
