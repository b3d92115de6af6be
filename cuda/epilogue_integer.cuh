/* SPDX-License-Identifier: Apache-2.0 */
/* From an exact sum to an element of D: src/simd/epilogue_int.h's steps and roundings, one element per thread. */
#ifndef HUNZE_EPILOGUE_INTEGER_CUH
#define HUNZE_EPILOGUE_INTEGER_CUH

#include "ptx.cuh"
#include "arguments_integer.h"
#include "vocabulary.cuh"
#define HUNZE_FLOAT_BITS 32
#include "../src/simd/float_type.h"
#include "../src/simd/activation.h"
#include "../src/simd/round_to_codes.h"

/* Integers wrap. */
HUNZE_INLINE int32_t wrapping_add(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
HUNZE_INLINE int32_t wrapping_sub(int32_t a, int32_t b) { return (int32_t)((uint32_t)a - (uint32_t)b); }
HUNZE_INLINE int32_t wrapping_mul(int32_t a, int32_t b) { return (int32_t)((uint32_t)a * (uint32_t)b); }

HUNZE_INLINE int32_t load_byte(const void *p, int64_t i, bool is_signed)
{
    return is_signed ? load_global(static_cast<const int8_t *>(p) + i)
                     : load_global(static_cast<const uint8_t *>(p) + i);
}

/* What belongs to a row, and what to a column. */
HUNZE_INLINE float epilogue_row_scale(const hunze_cuda_int_epilogue &e, int64_t row)
{
    return e.row_scale ? load_global(e.row_scale + row * e.row_scale_stride) : 1.0f;
}
HUNZE_INLINE float epilogue_column_scale(const hunze_cuda_int_epilogue &e, int64_t column)
{
    return e.column_scale ? load_global(e.column_scale + column * e.column_scale_stride) : 1.0f;
}
HUNZE_INLINE float epilogue_output_scale(const hunze_cuda_int_epilogue &e, int64_t column)
{
    return e.output_scale ? load_global(e.output_scale + column * e.output_stride) : 1.0f;
}
HUNZE_INLINE int32_t epilogue_output_zero(const hunze_cuda_int_epilogue &e, int64_t column)
{
    return e.output_zero_point ? load_byte(e.output_zero_point, column * e.output_stride, e.output == HUNZE_TYPE_S8)
                               : 0;
}

/* Sum v of (row, column), counted as the parameters are, to element d_at of D; residual_at: the residual's. */
HUNZE_INLINE void epilogue_store(const hunze_cuda_int_epilogue &e, int32_t v, int64_t row, int64_t column,
                                 float row_scale, float column_scale, float output_scale, int32_t output_zero,
                                 int64_t d_at, int64_t residual_at)
{
    if (e.int_bias)
        v = wrapping_add(v, load_global(e.int_bias + row * e.int_bias_row + column * e.int_bias_column));
    if (e.output == HUNZE_TYPE_S32) {
        v = vi32_select_lt(v, e.low, e.low, v);
        store_global(static_cast<int32_t *>(e.d) + d_at, vi32_select_lt(e.high, v, e.high, v));
        return;
    }
    vf32 f = vf32_from_vi32(v);
    const vf32 scale = vf32_mul(row_scale, column_scale);
    if (e.direct) {
        f = vf32_mul(f, vf32_div(scale, output_scale));
    } else {
        f = vf32_mul(f, scale);
        if (e.bias)
            f = vf32_add(f, load_global(e.bias + row * e.bias_row + column * e.bias_column));
        if (e.residual)
            f = vf32_add(f, load_global(e.residual + residual_at));
        const vf_activation act = vf_activation_of((hunze_activation_kind)e.activation, e.alpha, e.beta);
        f = vf_activate(&act, f);
        if (e.output == HUNZE_TYPE_F32) {
            if (e.canonical_nan)
                f = vf_canonical_nan(f);
            store_global(static_cast<float *>(e.d) + d_at, f);
            return;
        }
        f = vf32_div(f, output_scale);
    }
    if (e.output == HUNZE_TYPE_S8)
        store_global(static_cast<int8_t *>(e.d) + d_at, (int8_t)round_to_codes(f, output_zero, -128, 127));
    else
        store_global(static_cast<uint8_t *>(e.d) + d_at, (uint8_t)round_to_codes(f, output_zero, 0, 255));
}

#endif
