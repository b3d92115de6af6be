/* SPDX-License-Identifier: Apache-2.0 */
/* A batch as kernels see it. */
#ifndef HUNZE_CUDA_MATRICES_H
#define HUNZE_CUDA_MATRICES_H

#include "cuda.h"
#include "arguments_matrices.h"

/* The leading axes of D, and how far apart operands (NULL: absent) are along them; axes that continue each other in all are one. */
void hunze_cuda_matrices_of(hunze_cuda_matrices *matrices, const hunze_tensor *const operand[HUNZE_CUDA_OF_COUNT]);
/* An operand's strides between matrices, or'ed: what they are multiples of. */
int64_t hunze_cuda_matrices_strides(const hunze_cuda_matrices *matrices, int operand);

#endif
