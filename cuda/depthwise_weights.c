/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of depthwise convolutions on a device: packed as [kernel row][kernel column][channel], read so or as the caller has them. */
#include "depthwise_weights.h"
#include "copy_strided.h"
#include "launchers.h"

#include "../src/device.h"

hunze_status hunze_cuda_pack_depthwise(const hunze_device_weights *weights, const hunze_cuda_run *run)
{
    const int64_t columns = weights->kernel[1], channels = weights->groups;
    const int64_t shape[3] = {weights->kernel[0], columns, channels};
    const int64_t to[3] = {columns * channels, channels, 1};
    const int64_t from[3] = {weights->axis_step[0], weights->axis_step[1], weights->group_step};
    hunze_runs runs;
    hunze_runs_make(&runs, 3, shape, 2, (const int64_t *const[]){to, from});
    return hunze_copy_strided_on_device(run, &runs, weights->to, weights->w, hunze_type_bytes(run->plan->row->b));
}

hunze_cuda_depthwise_weights hunze_cuda_depthwise_weights_of(const hunze_conv_shape *shape, const void *w)
{
    if (shape->packed)
        return (hunze_cuda_depthwise_weights){
            (const char *)w + sizeof(hunze_packed_header), 1, {shape->kernel[1] * shape->c, shape->c}};
    return (hunze_cuda_depthwise_weights){w, shape->w_k, {shape->w_axis[0], shape->w_axis[1]}};
}
