/* SPDX-License-Identifier: Apache-2.0 */
/* Activations of f32: the body is activation_float.cuh. */
#define HUNZE_FLOAT_BITS 32
#include "activation_float.cuh"

KERNEL(hunze_activation_f32_cuda, HUNZE_CUDA_RUNS_THREADS, 4, hunze_cuda_activation) { activation_map(arguments); }
