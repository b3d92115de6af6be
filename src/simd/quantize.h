/* Quantize, dequantize and ranges over contiguous runs (contract: hunze_quantize_run in kernels.h).  Each division is an IEEE division and
 * each result is rounded once, so that every vocabulary gives the same codes. */
#ifndef HUNZE_SIMD_QUANTIZE_H
#define HUNZE_SIMD_QUANTIZE_H

#include "../kernels.h"
#include "canonical_nan.h"
#include "round_to_codes.h"

SIMD_INLINE vi32 codes_load_first(hunze_type codes, const void *p, int64_t n)
{
    if (codes == HUNZE_TYPE_S8)
        return vi32_load_s8_first(p, n);
    if (codes == HUNZE_TYPE_U8)
        return vi32_load_u8_first(p, n);
    return vi32_load_first(p, n);
}

/* Of one element, in all lanes. */
SIMD_INLINE vi32 codes_set1(hunze_type codes, const void *p)
{
    if (codes == HUNZE_TYPE_S8)
        return vi32_set1(*(const int8_t *)p);
    if (codes == HUNZE_TYPE_U8)
        return vi32_set1(*(const uint8_t *)p);
    return vi32_set1(*(const int32_t *)p);
}

/* n elements of a parameter from j on, its stride 0 or 1. */
SIMD_INLINE vi32 zero_points(hunze_type codes, const hunze_quantize_run *run, int64_t j, int64_t n)
{
    const int64_t bytes = codes == HUNZE_TYPE_S32 ? 4 : 1;
    if (run->parameter_stride == 0)
        return codes_set1(codes, run->zero_point);
    return codes_load_first(codes, (const char *)run->zero_point + j * bytes, n);
}

SIMD_INLINE vf32 scales(const hunze_quantize_run *run, int64_t j, int64_t n, const bool whole)
{
    if (run->parameter_stride == 0)
        return vf32_set1(*run->scale);
    return whole ? vf32_load(run->scale + j) : vf32_load_first(run->scale + j, n);
}

/* codes: S8 or U8, a constant after inlining.  whole: n is the number of lanes, and nothing is masked. */
SIMD_INLINE void quantize_vector(hunze_type codes, const hunze_quantize_run *run, int64_t j, int64_t n,
                                 const bool whole)
{
    const float *x = (const float *)run->x + j;
    vf32 q = vf32_div(whole ? vf32_load(x) : vf32_load_first(x, n), scales(run, j, n, whole));
    vi32 zero_point = run->zero_point ? zero_points(codes, run, j, n) : vi32_set1(0);
    if (codes == HUNZE_TYPE_S8)
        vi32_store_s8_first((int8_t *)run->y + j, round_to_codes(q, zero_point, -128, 127), n);
    else
        vi32_store_u8_first((uint8_t *)run->y + j, round_to_codes(q, zero_point, 0, 255), n);
}

SIMD_INLINE void quantize_run(hunze_type codes, const hunze_quantize_run *run)
{
    int64_t j = 0;
    for (; j + VF32_LANES <= run->n; j += VF32_LANES)
        quantize_vector(codes, run, j, VF32_LANES, true);
    if (j < run->n)
        quantize_vector(codes, run, j, run->n - j, false);
}

/* s32: code and zero point are rounded to f32 before they are subtracted, as ONNX has it; with 8 bits all of it is exact. */
SIMD_INLINE void dequantize_vector(hunze_type codes, const hunze_quantize_run *run, int64_t j, int64_t n,
                                   const bool whole)
{
    const int64_t bytes = codes == HUNZE_TYPE_S32 ? 4 : 1;
    float *y = (float *)run->y + j;
    vf32 f = vf32_from_vi32(codes_load_first(codes, (const char *)run->x + j * bytes, n));
    if (run->zero_point)
        f = vf32_sub(f, vf32_from_vi32(zero_points(codes, run, j, n)));
    f = vf32_mul(f, scales(run, j, n, whole));
    if (run->canonical_nan)
        f = vf32_canonical_nan(f);
    if (whole)
        vf32_store(y, f);
    else
        vf32_store_first(y, f, n);
}

SIMD_INLINE void dequantize_run(hunze_type codes, const hunze_quantize_run *run)
{
    int64_t j = 0;
    for (; j + VF32_LANES <= run->n; j += VF32_LANES)
        dequantize_vector(codes, run, j, VF32_LANES, true);
    if (j < run->n)
        dequantize_vector(codes, run, j, run->n - j, false);
}

SIMD_INLINE void minmax_run(int64_t n, const float *x, float range[2], bool *has_nan)
{
    vf32 low = vf32_set1(range[0]), high = vf32_set1(range[1]), nan = vf32_set1(0.0f);
    for (int64_t j = 0; j < n; j += VF32_LANES) {
        vf32 v;
        if (n - j >= VF32_LANES) {
            v = vf32_load(x + j);
        } else { /* the last again, or the first over and over */
            float lanes[VF32_LANES];
            for (int i = 0; i < VF32_LANES; i++)
                lanes[i] = x[j + i < n ? j + i : n - 1];
            v = vf32_load(lanes);
        }
        low = vf32_select_lt(v, low, v, low);
        high = vf32_select_lt(high, v, v, high);
        nan = vf32_select_nan(v, vf32_set1(1.0f), nan);
    }
    float lows[VF32_LANES], highs[VF32_LANES], nans[VF32_LANES];
    vf32_store(lows, low);
    vf32_store(highs, high);
    vf32_store(nans, nan);
    for (int i = 0; i < VF32_LANES; i++) {
        range[0] = lows[i] < range[0] ? lows[i] : range[0];
        range[1] = highs[i] > range[1] ? highs[i] : range[1];
        *has_nan |= nans[i] != 0.0f;
    }
    range[0] += 0.0f; /* -0 counts as +0 */
    range[1] += 0.0f;
}

#endif
