/* SPDX-License-Identifier: Apache-2.0 */
/* What the tensor memory accelerator is told of an operand, by the rules that cuda.h gives for cuTensorMapEncodeTiled.  The emulator copies only
 * what is not interleaved, whose elements are whole bytes, and whose chunks of 16 bytes are swizzled: other maps are checked, and cannot be
 * used. */
#include "state.h"

#include <string.h>

static uint32_t bytes_of(CUtensorMapDataType type)
{
    switch (type) {
    case CU_TENSOR_MAP_DATA_TYPE_UINT8: return 1;
    case CU_TENSOR_MAP_DATA_TYPE_UINT16:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT16:
    case CU_TENSOR_MAP_DATA_TYPE_BFLOAT16: return 2;
    case CU_TENSOR_MAP_DATA_TYPE_UINT32:
    case CU_TENSOR_MAP_DATA_TYPE_INT32:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT32:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ:
    case CU_TENSOR_MAP_DATA_TYPE_TFLOAT32:
    case CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ: return 4;
    case CU_TENSOR_MAP_DATA_TYPE_INT64:
    case CU_TENSOR_MAP_DATA_TYPE_UINT64:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT64: return 8;
    default: return 0;
    }
}

static bool is_float(CUtensorMapDataType type)
{
    switch (type) {
    case CU_TENSOR_MAP_DATA_TYPE_UINT8:
    case CU_TENSOR_MAP_DATA_TYPE_UINT16:
    case CU_TENSOR_MAP_DATA_TYPE_UINT32:
    case CU_TENSOR_MAP_DATA_TYPE_INT32:
    case CU_TENSOR_MAP_DATA_TYPE_UINT64:
    case CU_TENSOR_MAP_DATA_TYPE_INT64: return false;
    default: return true;
    }
}

/* 0: none; UINT32_MAX: there is no such swizzle. */
static uint32_t swizzle_bytes(CUtensorMapSwizzle swizzle)
{
    switch (swizzle) {
    case CU_TENSOR_MAP_SWIZZLE_NONE: return 0;
    case CU_TENSOR_MAP_SWIZZLE_32B: return 32;
    case CU_TENSOR_MAP_SWIZZLE_64B: return 64;
    case CU_TENSOR_MAP_SWIZZLE_128B:
    case CU_TENSOR_MAP_SWIZZLE_128B_ATOM_32B:
    case CU_TENSOR_MAP_SWIZZLE_128B_ATOM_32B_FLIP_8B:
    case CU_TENSOR_MAP_SWIZZLE_128B_ATOM_64B: return 128;
    default: return UINT32_MAX;
    }
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                const cuuint64_t *extents, const cuuint64_t *strides, const cuuint32_t *box,
                                const cuuint32_t *steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill)
{
    CALL(CALL_CONTEXT);
    const uint32_t element = bytes_of(type), span = swizzle_bytes(swizzle);
    const bool interleaved = interleave != CU_TENSOR_MAP_INTERLEAVE_NONE;
    const cuuint64_t alignment = interleave == CU_TENSOR_MAP_INTERLEAVE_32B ? 32 : 16;
    if (standin().the_machine.capability < 90 || !element)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!map || (uintptr_t)map % 64 || !address || (uintptr_t)address % alignment || rank < (interleaved ? 3 : 1) ||
        rank > 5 || !extents || (rank > 1 && !strides) || !box || !steps)
        return CUDA_ERROR_INVALID_VALUE;
    if (interleave > CU_TENSOR_MAP_INTERLEAVE_32B || span == UINT32_MAX ||
        promotion > CU_TENSOR_MAP_L2_PROMOTION_L2_256B || fill > CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA)
        return CUDA_ERROR_INVALID_VALUE;
    for (cuuint32_t i = 0; i < rank; i++) {
        if (!extents[i] || extents[i] > (cuuint64_t)1 << 32 || !box[i] || box[i] > 256)
            return CUDA_ERROR_INVALID_VALUE;
        if ((i || interleaved) && (!steps[i] || steps[i] > 8))
            return CUDA_ERROR_INVALID_VALUE;
        if (i + 1 < rank && (strides[i] % alignment || strides[i] >= (cuuint64_t)1 << 40))
            return CUDA_ERROR_INVALID_VALUE;
    }
    const uint32_t inner = box[0] * element;
    if (rank > 1 && strides[0] < extents[0] * element)
        return CUDA_ERROR_INVALID_VALUE;
    if ((!interleaved && (inner % 16 || (span && inner > span))) ||
        (interleave == CU_TENSOR_MAP_INTERLEAVE_32B && swizzle != CU_TENSOR_MAP_SWIZZLE_32B))
        return CUDA_ERROR_INVALID_VALUE;
    if (fill == CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA && !is_float(type))
        return CUDA_ERROR_INVALID_VALUE;

    hunze_emulator_tensor_map made = {};
    static_assert(sizeof made <= sizeof *map, "a map is 128 bytes");
    if (!interleaved && swizzle <= CU_TENSOR_MAP_SWIZZLE_128B && fill == CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE)
        made.is_map = HUNZE_EMULATOR_MAP;
    made.rank = (uint8_t)rank;
    made.element_bytes = (uint8_t)element;
    made.swizzle_bytes = (uint8_t)span;
    made.address = (uintptr_t)address;
    for (cuuint32_t i = 0; i < rank; i++) {
        made.steps[i] = (uint8_t)(i ? steps[i] : 1);
        made.strides[i] = i ? strides[i - 1] : element;
        made.last[i] = (uint32_t)(extents[i] - 1);
        made.box[i] = (uint16_t)box[i];
    }
    memset(map, 0, sizeof *map);
    memcpy(map, &made, sizeof made);
    return CUDA_SUCCESS;
}
