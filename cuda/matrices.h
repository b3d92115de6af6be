/* SPDX-License-Identifier: Apache-2.0 */
/* A batch as kernels see it. */
#ifndef HUNZE_CUDA_MATRICES_H
#define HUNZE_CUDA_MATRICES_H

#include "cuda.h"
#include "arguments_float.h"

/* The leading axes of D, and how far apart operands (NULL: absent) are along them; axes that continue each other in all are one. */
void hunze_cuda_matrices_of(hunze_cuda_matrices *matrices, const hunze_tensor *const operand[HUNZE_CUDA_OF_COUNT]);

#endif
