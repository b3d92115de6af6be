/* SPDX-License-Identifier: Apache-2.0 */
/* Quantize and dequantize: src/simd/quantize.h's steps and roundings, one element per thread; four where they lie together. */
#ifndef HUNZE_CODES_CUH
#define HUNZE_CODES_CUH

#include "runs.cuh"
#include "vocabulary.cuh"
#include "../src/simd/canonical_nan.h"
#include "../src/simd/round_to_codes.h"

template <typename Code> struct quantize_element {
    typedef float input;
    typedef Code output;
    HUNZE_MEMBER static Code of(float x, float scale, int32_t zero_point, bool)
    {
        const int32_t low = (Code)-1 < 0 ? -128 : 0;
        return (Code)round_to_codes(vf32_div(x, scale), zero_point, low, low + 255);
    }
};

/* Without a zero point 0 is subtracted, which changes nothing: a code has no -0. */
template <typename Code> struct dequantize_element {
    typedef Code input;
    typedef float output;
    HUNZE_MEMBER static float of(Code code, float scale, int32_t zero_point, bool canonical_nan)
    {
        const float x = vf32_mul(vf32_sub(vf32_from_vi32(code), vf32_from_vi32(zero_point)), scale);
        return canonical_nan ? vf32_canonical_nan(x) : x;
    }
};

/* One chunk; all pointers at its first element, zero_point may be NULL. */
template <typename Element, typename Code>
HUNZE_INLINE void codes_chunk(const hunze_cuda_runs &runs, int n, typename Element::output *output,
                              const typename Element::input *input, const float *scale, const Code *zero_point,
                              bool canonical_nan)
{
    typedef typename Element::input in;
    typedef typename Element::output out;
    const int64_t *step = runs.step;
    const int width = runs.fours ? 4 : 1;
    float scale_now = load_global(scale);
    int32_t zero_now = zero_point ? load_global(zero_point) : 0;
    for (int first = thread_index() * width; first < n; first += HUNZE_CUDA_RUNS_THREADS * width) {
        four_of<in> from;
        four_of<out> to;
        const bool whole = runs.fours && INSIDE(first + 4 <= n);
        if (whole)
            from = load_global(reinterpret_cast<const four_of<in> *>(input + first));
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int j = first + i;
            if (i >= width || !INSIDE(j < n))
                continue;
            if (!whole)
                from.at[i] = load_global(input + j * step[1]);
            if (step[2])
                scale_now = load_global(scale + j * step[2]);
            if (zero_point && step[3])
                zero_now = load_global(zero_point + j * step[3]);
            to.at[i] = Element::of(from.at[i], scale_now, zero_now, canonical_nan);
            if (!whole)
                store_global(output + j * step[0], to.at[i]);
        }
        if (whole)
            store_global(reinterpret_cast<four_of<out> *>(output + first), to);
    }
}

template <typename Element, typename Code> HUNZE_INLINE void codes_of(const hunze_cuda_codes &p)
{
    if (p.has_none && load_global(p.has_none))
        return;
    for (int64_t index = block_x(); index < p.runs.chunks; index += blocks_x()) {
        int64_t offset[HUNZE_CUDA_RUNS_OPERANDS];
        const int n = runs_chunk(p.runs, index, offset);
        const Code *zero_point = static_cast<const Code *>(p.zero_point);
        codes_chunk<Element>(p.runs, n, static_cast<typename Element::output *>(p.output) + offset[0],
                             static_cast<const typename Element::input *>(p.input) + offset[1], p.scale + offset[2],
                             zero_point ? zero_point + offset[3] : nullptr, p.canonical_nan != 0);
    }
}

#endif
