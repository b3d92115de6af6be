/* SPDX-License-Identifier: Apache-2.0 */
#include "image_strides.h"

hunze_cuda_image_strides hunze_cuda_image_strides_of(const hunze_tensor *tensor, uint32_t layout)
{
    const bool last = layout == HUNZE_CHANNELS_LAST;
    const int spatial = tensor->ndim - 2;
    hunze_cuda_image_strides strides = {.image = hunze_stride(tensor, 0),
                                        .channel = hunze_stride(tensor, last ? spatial + 1 : 1)};
    for (int axis = 0; axis < spatial; axis++)
        strides.axis[2 - spatial + axis] = hunze_stride(tensor, (last ? 1 : 2) + axis);
    return strides;
}
