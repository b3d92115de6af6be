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

/* What belongs to a row, and what to a column; both counted as the parameters are. */
HUNZE_INLINE float epilogue_row_scale(const hunze_cuda_int_epilogue &e, int64_t row)
{
    return e.row_scale ? load_global(e.row_scale + row * e.row_scale_stride) : 1.0f;
}

struct epilogue_column {
    float scale, output_scale;
    int32_t output_zero;
};
HUNZE_INLINE epilogue_column epilogue_column_of(const hunze_cuda_int_epilogue &e, int64_t column)
{
    const int64_t out = column * e.output_stride;
    return {e.column_scale ? load_global(e.column_scale + column * e.column_scale_stride) : 1.0f,
            e.output_scale ? load_global(e.output_scale + out) : 1.0f,
            e.output_zero_point ? load_byte(e.output_zero_point, out, e.output == HUNZE_TYPE_S8) : 0};
}

/* The s32 bias of either: each element gets its row's and its column's. */
HUNZE_INLINE int32_t epilogue_row_bias(const hunze_cuda_int_epilogue &e, int64_t row)
{
    return e.int_bias && e.int_bias_row ? load_global(e.int_bias + row * e.int_bias_row) : 0;
}
HUNZE_INLINE int32_t epilogue_column_bias(const hunze_cuda_int_epilogue &e, int64_t column)
{
    return e.int_bias && !e.int_bias_row ? load_global(e.int_bias + column * e.int_bias_column) : 0;
}

/* Sum v, its bias added, of (row, column) to element d_at of D; residual_at: the residual's. */
HUNZE_INLINE void epilogue_store(const hunze_cuda_int_epilogue &e, int32_t v, int64_t row, int64_t column,
                                 float row_scale, const epilogue_column &c, int64_t d_at, int64_t residual_at)
{
    if (e.output == HUNZE_TYPE_S32) {
        v = vi32_select_lt(v, e.low, e.low, v);
        store_global(static_cast<int32_t *>(e.d) + d_at, vi32_select_lt(e.high, v, e.high, v));
        return;
    }
    vf32 f = vf32_from_vi32(v);
    const vf32 scale = vf32_mul(row_scale, c.scale);
    if (e.direct) {
        f = vf32_mul(f, vf32_div(scale, c.output_scale));
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
        f = vf32_div(f, c.output_scale);
    }
    if (e.output == HUNZE_TYPE_S8)
        store_global(static_cast<int8_t *>(e.d) + d_at, (int8_t)round_to_codes(f, c.output_zero, -128, 127));
    else
        store_global(static_cast<uint8_t *>(e.d) + d_at, (uint8_t)round_to_codes(f, c.output_zero, 0, 255));
}

#endif
