/* SPDX-License-Identifier: Apache-2.0 */
/* Products of one launch: matrices of a batch, or groups of a convolution, and how far apart their operands lie. */
#ifndef HUNZE_CUDA_ARGUMENTS_MATRICES_H
#define HUNZE_CUDA_ARGUMENTS_MATRICES_H

#include <stdint.h>

enum {
    HUNZE_CUDA_OF_D,
    HUNZE_CUDA_OF_A,
    HUNZE_CUDA_OF_B,
    HUNZE_CUDA_OF_C,
    HUNZE_CUDA_OF_BIAS, /* of integers: all that columns have, scales too */
    HUNZE_CUDA_OF_RESIDUAL,
    HUNZE_CUDA_OF_COUNT
};
enum { HUNZE_CUDA_MATRIX_AXES = 16 };
typedef struct hunze_cuda_matrices {
    int64_t stride[HUNZE_CUDA_MATRIX_AXES][HUNZE_CUDA_OF_COUNT]; /* elements */
    uint32_t extent[HUNZE_CUDA_MATRIX_AXES];
    int32_t axes; /* slowest first */
    int32_t reserved;
} hunze_cuda_matrices;

#endif
