/* SPDX-License-Identifier: Apache-2.0 */
/* Where depthwise kernels of a device find their weights. */
#ifndef HUNZE_CUDA_DEPTHWISE_WEIGHTS_H
#define HUNZE_CUDA_DEPTHWISE_WEIGHTS_H

#include "cuda.h"
#include "../src/conv.h"

/* Steps in elements; axis: kernel row, kernel column. */
typedef struct hunze_cuda_depthwise_weights {
    const void *w;
    int64_t channel, axis[2];
} hunze_cuda_depthwise_weights;

/* w: the data of the call's weights, packed or not. */
hunze_cuda_depthwise_weights hunze_cuda_depthwise_weights_of(const hunze_conv_shape *shape, const void *w);

#endif
