/* SPDX-License-Identifier: Apache-2.0 */
/* From f32 sums of a bf16 or f16 product to elements of D, two neighbouring columns of a row at a time: what the CPU's rows do around their
 * tiles (src/gemm_narrow.c), with the same roundings; NaN becomes 0x7FFF. */
#ifndef HUNZE_EPILOGUE_HALF_CUH
#define HUNZE_EPILOGUE_HALF_CUH

#include "arguments_half.h"
#include "vocabulary.cuh"
#define HUNZE_FLOAT_BITS 32
#include "../src/simd/float_type.h"
#include "../src/simd/activation.h"

struct type_bf16 {
    HUNZE_MEMBER static float widen(uint16_t bits) { return vf32_from_bits((vi32)((uint32_t)bits << 16)); }
    HUNZE_MEMBER static uint32_t round_pair(float low, float high) { return round_bf16_pair(low, high); }
};
struct type_f16 {
    HUNZE_MEMBER static float widen(uint16_t bits) { return widen_f16(bits); }
    HUNZE_MEMBER static uint32_t round_pair(float low, float high) { return round_f16_pair(low, high); }
};

/* Where a row begins in each operand. */
struct half_row {
    int64_t d, c, bias, residual;
};
struct alignas(8) half_pair_f32 {
    float at[2];
};

template <typename type> HUNZE_INLINE float half_load(const void *p, int64_t at, bool is_f32)
{
    return is_f32 ? load_global(static_cast<const float *>(p) + at)
                  : type::widen(load_global(static_cast<const uint16_t *>(p) + at));
}

template <typename type>
HUNZE_INLINE float half_finish(const hunze_cuda_half_epilogue &e, const half_row &row, int64_t column, float sum)
{
    float t = e.c ? fma_rn(e.alpha, sum, mul_rn(e.beta, half_load<type>(e.c, row.c + column * e.c_column, e.d_f32)))
                  : mul_rn(e.alpha, sum);
    if (e.bias)
        t = add_rn(t, half_load<type>(e.bias, row.bias + column * e.bias_column, e.bias_f32));
    if (e.residual)
        t = add_rn(t, half_load<type>(e.residual, row.residual + column * e.residual_column, e.residual_f32));
    return t;
}

/* sums[i] is that of column + i; `columns` of them exist, one or two, or none and less. */
template <typename type>
HUNZE_INLINE void half_store(const hunze_cuda_half_epilogue &e, const half_row &row, int64_t column,
                             const float (&sums)[2], int64_t columns)
{
    const vf_activation act =
        vf_activation_of((hunze_activation_kind)e.activation, e.activation_alpha, e.activation_beta);
    half_pair_f32 t;
#pragma unroll
    for (int i = 0; i < 2; i++)
        t.at[i] = INSIDE(i < columns) ? half_finish<type>(e, row, column + i, sums[i]) : 0.0f;
#pragma unroll 1
    for (int i = 0; e.activation != HUNZE_ACT_NONE && i < 2;
         i++) { /* exchanged, so that the activations' code is there once */
        const float next = vf_activate(&act, t.at[0]);
        t.at[0] = t.at[1];
        t.at[1] = next;
    }
    const int64_t at = row.d + column * e.d_column;
    const uint32_t rounded = type::round_pair(t.at[0], t.at[1]);
    if (e.pairs && INSIDE(columns > 1)) {
        if (e.d_f32)
            store_global(reinterpret_cast<half_pair_f32 *>(static_cast<float *>(e.d) + at), t);
        else
            store_global(reinterpret_cast<uint32_t *>(static_cast<uint16_t *>(e.d) + at), rounded);
        return;
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
        if (INSIDE(i < columns)) {
            if (e.d_f32)
                store_global(static_cast<float *>(e.d) + at + i * e.d_column, t.at[i]);
            else
                store_global(static_cast<uint16_t *>(e.d) + at + i * e.d_column, (uint16_t)(rounded >> 16 * i));
        }
}

#endif
