/* SPDX-License-Identifier: Apache-2.0 */
/* Where the elements of a convolution's operand lie that has the output's shape. */
#ifndef HUNZE_CUDA_IMAGE_STRIDES_H
#define HUNZE_CUDA_IMAGE_STRIDES_H

#include "cuda.h"

/* Elements between an image's neighbours; missing axes are 0, as in hunze_conv_shape. */
typedef struct hunze_cuda_image_strides {
    int64_t image, channel, axis[2];
} hunze_cuda_image_strides;
hunze_cuda_image_strides hunze_cuda_image_strides_of(const hunze_tensor *tensor, uint32_t layout);

#endif
