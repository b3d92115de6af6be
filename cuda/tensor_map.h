/* SPDX-License-Identifier: Apache-2.0 */
/* What the tensor memory accelerator is told of an operand: its address, extents, strides and the box of one copy.  The driver encodes it
 * (cuTensorMapEncodeTiled), and kernels get it as a member of their argument. */
#ifndef HUNZE_TENSOR_MAP_H
#define HUNZE_TENSOR_MAP_H

#ifdef __cplusplus
#define HUNZE_ALIGNED(bytes) alignas(bytes)
#else
#define HUNZE_ALIGNED(bytes) _Alignas(bytes)
#endif

typedef struct hunze_tensor_map {
    HUNZE_ALIGNED(64) unsigned char bytes[128]; /* a CUtensorMap */
} hunze_tensor_map;

#endif
