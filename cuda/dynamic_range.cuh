/* SPDX-License-Identifier: Apache-2.0 */
/* Dynamic quantisation: the ranges of x, then the parameters that follow from them, as src/quantize.c has it. */
#ifndef HUNZE_DYNAMIC_RANGE_CUH
#define HUNZE_DYNAMIC_RANGE_CUH

#include "runs.cuh"
#include "vocabulary.cuh"

enum : uint32_t {
    INFINITY_BITS = 0x7F800000,
    NAN_BITS_F32 = 0x7FC00000
}; /* magnitudes from the first on are not finite */
enum { BELOW, ABOVE }; /* the words of a range */

/* The largest magnitudes of either sign. */
struct magnitudes {
    uint32_t bits[2];
    HUNZE_MEMBER void add(float x)
    {
        const uint32_t x_bits = (uint32_t)vf32_bits(x), magnitude = x_bits & 0x7FFFFFFF;
        const uint32_t below = x_bits >> 31 ? magnitude : 0, above = x_bits >> 31 ? 0 : magnitude;
        bits[BELOW] = below > bits[BELOW] ? below : bits[BELOW];
        bits[ABOVE] = above > bits[ABOVE] ? above : bits[ABOVE];
    }
    /* Into the range of a parameter; what lies there already may be an older value, for they only grow. */
    HUNZE_MEMBER void put(const hunze_cuda_range &p, int64_t parameter) const
    {
#pragma unroll
        for (int side = BELOW; side <= ABOVE; side++) {
            uint32_t *range = p.ranges + 2 * parameter + side;
            if (bits[side] > load_global(range))
                atomic_max_global(range, bits[side]);
            if (bits[side] >= INFINITY_BITS)
                atomic_or_global(p.has_none, 1);
        }
    }
};

/* Of elements that share a parameter. */
HUNZE_INLINE void range_of_warp(const hunze_cuda_range &p, magnitudes found, int64_t parameter)
{
#pragma unroll
    for (int side = BELOW; side <= ABOVE; side++)
        for (int mask = 16; mask; mask /= 2) {
            const uint32_t other = shuffle_xor(found.bits[side], mask);
            found.bits[side] = other > found.bits[side] ? other : found.bits[side];
        }
    if (thread_index() % 32 == 0)
        found.put(p, parameter);
}

HUNZE_INLINE void range_of(const hunze_cuda_range &p)
{
    const hunze_cuda_runs &runs = p.runs;
    magnitudes found = {{0, 0}}; /* since the parameter, which all of a chunk share, was another */
    int64_t parameter = 0;
    for (int64_t index = block_x(); index < runs.chunks; index += blocks_x()) {
        int64_t offset[HUNZE_CUDA_RUNS_OPERANDS];
        const int n = runs_chunk(runs, index, offset), width = runs.fours ? 4 : 1;
        const float *x = p.x + offset[0];
        if (runs.step[1] == 0 && offset[1] != parameter) {
            range_of_warp(p, found, parameter);
            found = {{0, 0}};
            parameter = offset[1];
        }
        for (int first = thread_index() * width; first < n; first += HUNZE_CUDA_RUNS_THREADS * width) {
            four_of<float> from;
            const bool whole = runs.fours && INSIDE(first + 4 <= n);
            if (whole)
                from = load_global(reinterpret_cast<const four_of<float> *>(x + first));
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if (i >= width || !INSIDE(first + i < n))
                    continue;
                const float value = whole ? from.at[i] : load_global(x + (first + i) * runs.step[0]);
                if (runs.step[1] == 0) {
                    found.add(value);
                } else {
                    magnitudes one = {{0, 0}};
                    one.add(value);
                    one.put(p, offset[1] + (first + i) * runs.step[1]);
                }
            }
        }
    }
    if (runs.step[1] == 0)
        range_of_warp(p, found, parameter);
}

/* Symmetric, codes -127 … 127; a denormal scale is coarse. */
HUNZE_INLINE float symmetric_scale(float below, float above)
{
    const float largest = above > below ? above : below;
    float scale = vf32_div(largest, 127.0f);
    while (scale != 0 && vf32_div(largest, scale) > 127.49f)
        scale = vf32_from_bits(vf32_bits(scale) + 1); /* the next float */
    return scale;
}

/* As ONNX's DynamicQuantizeLinear. */
HUNZE_INLINE float asymmetric_scale(float below, float above)
{
    const float width = vf32_add(above, below);
    return (uint32_t)vf32_bits(width) < INFINITY_BITS ? vf32_div(width, 255.0f)
                                                      : vf32_add(vf32_div(above, 255.0f), vf32_div(below, 255.0f));
}

template <bool SIGNED> HUNZE_INLINE void dynamic_parameters(const hunze_cuda_dynamic &p)
{
    const int64_t index = block_x() * HUNZE_CUDA_RUNS_THREADS + thread_index();
    if (!INSIDE(index < p.parameters))
        return;
    float *scale_at = p.scale + index * p.scale_stride;
    if (load_global(p.has_none)) {
        store_global(scale_at, vf32_from_bits((int32_t)NAN_BITS_F32));
        return;
    }
    const float below = vf32_from_bits((int32_t)load_global(p.ranges + 2 * index + BELOW)),
                above = vf32_from_bits((int32_t)load_global(p.ranges + 2 * index + ABOVE));
    float scale = SIGNED ? symmetric_scale(below, above) : asymmetric_scale(below, above);
    scale = scale != 0 ? scale : 1.0f;
    store_global(scale_at, scale);
    if (!p.zero_point)
        return;
    const float zero_point = SIGNED ? 0.0f : vf32_round(vf32_div(below, scale));
    store_global(p.zero_point + index * p.zero_point_stride, (uint8_t)(zero_point > 255.0f ? 255.0f : zero_point));
}

#endif
