/* SPDX-License-Identifier: Apache-2.0 */
/* hunze_copy on a device, by the bytes of an element: the body is copy.cuh. */
#include "copy.cuh"

KERNEL(hunze_copy_cuda_1, HUNZE_CUDA_COPY_THREADS, 4, hunze_cuda_copy) { copy_tiles<uint8_t>(arguments); }
KERNEL(hunze_copy_cuda_2, HUNZE_CUDA_COPY_THREADS, 4, hunze_cuda_copy) { copy_tiles<uint16_t>(arguments); }
KERNEL(hunze_copy_cuda_4, HUNZE_CUDA_COPY_THREADS, 4, hunze_cuda_copy) { copy_tiles<uint32_t>(arguments); }
KERNEL(hunze_copy_cuda_8, HUNZE_CUDA_COPY_THREADS, 4, hunze_cuda_copy) { copy_tiles<uint64_t>(arguments); }
KERNEL(hunze_copy_cuda_16, HUNZE_CUDA_COPY_THREADS, 3, hunze_cuda_copy) { copy_tiles<copy_16_bytes>(arguments); }
