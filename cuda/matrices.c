/* SPDX-License-Identifier: Apache-2.0 */
#include "matrices.h"

void hunze_cuda_matrices_of(hunze_cuda_matrices *matrices, const hunze_tensor *const operand[HUNZE_CUDA_OF_COUNT])
{
    const hunze_tensor *d = operand[HUNZE_CUDA_OF_D];
    for (int axis = 0; axis < d->ndim - 2; axis++) {
        int64_t strides[HUNZE_CUDA_OF_COUNT];
        if (d->shape[axis] == 1)
            continue;
        int last = matrices->axes - 1;
        bool joins = last >= 0;
        for (int o = 0; o < HUNZE_CUDA_OF_COUNT; o++) {
            const int own = operand[o] ? axis - d->ndim + operand[o]->ndim : -1;
            strides[o] = own >= 0 && operand[o]->shape[own] != 1 ? hunze_stride(operand[o], own) : 0;
            joins = joins && matrices->stride[last][o] == strides[o] * d->shape[axis];
        }
        if (!joins) {
            last = matrices->axes++;
            matrices->extent[last] = 1;
        }
        matrices->extent[last] *= (uint32_t)d->shape[axis];
        for (int o = 0; o < HUNZE_CUDA_OF_COUNT; o++)
            matrices->stride[last][o] = strides[o];
    }
}

int64_t hunze_cuda_matrices_strides(const hunze_cuda_matrices *matrices, int operand)
{
    int64_t strides = 0;
    for (int axis = 0; axis < matrices->axes; axis++)
        strides |= matrices->stride[axis][operand];
    return strides;
}
