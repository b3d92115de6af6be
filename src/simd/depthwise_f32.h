/* Binds src/simd/depthwise.h and depthwise_plane.h to f32: one fma per tap, in the order of the contract. */
#define DEPTHWISE_X float
#define DEPTHWISE_SUM float
typedef vf32 vsum;
enum { VSUM_LANES = VF32_LANES };
SIMD_INLINE vsum vsum_zero(void) { return vf32_set1(0.0f); }
SIMD_INLINE vsum load_x(const float *p, int64_t left)
{
    return left == VF32_LANES ? vf32_load(p) : vf32_load_first(p, left);
}
SIMD_INLINE vsum load_w(const float *p, int64_t left) { return load_x(p, left); }
SIMD_INLINE vsum multiply_add(vsum x, vsum w, vsum sum) { return vf32_fma(x, w, sum); }
SIMD_INLINE void store(float *p, vsum v, int64_t left)
{
    if (left == VF32_LANES)
        vf32_store(p, v);
    else
        vf32_store_first(p, v, left);
}
SIMD_INLINE vsum set1_w(float w) { return vf32_set1(w); }
SIMD_INLINE vsum add_bias(vsum sum, const float *bias) { return vf32_add(sum, vf32_set1(*bias)); }
SIMD_INLINE vsum load_step(const float *p, int64_t step)
{
    return step == 1 ? vf32_load(p) : vf32_even(vf32_load(p), vf32_load(p + VF32_LANES));
}
typedef struct read_lanes {
    int64_t low, high;
    vf32_mask mask[2]; /* of the vectors at p and, at step 2, behind it */
} read_lanes;
SIMD_INLINE read_lanes read_lanes_of(int64_t step, int64_t low, int64_t high)
{
    read_lanes lanes = {low, high, {vf32_mask_between(low, high)}};
    if (step == 2) {
        const int64_t from = 2 * low, to = low < high ? 2 * high - 1 : from, n = VF32_LANES; /* elements */
        lanes.mask[0] = vf32_mask_between(from < n ? from : n, to < n ? to : n);
        lanes.mask[1] = vf32_mask_between(from > n ? from - n : 0, to > n ? to - n : 0);
    }
    return lanes;
}
SIMD_INLINE vsum load_step_lanes(const float *p, int64_t step, const read_lanes *lanes, int32_t pad)
{
    (void)pad; /* 0 */
    if (step == 1)
        return vf32_load_masked(p, lanes->mask[0]);
    if (step == 2)
        return vf32_even(vf32_load_masked(p, lanes->mask[0]), vf32_load_masked(p + VF32_LANES, lanes->mask[1]));
    float values[VF32_LANES] = {0};
    for (int64_t i = lanes->low; i < lanes->high; i++)
        values[i] = p[i * step];
    return vf32_load(values);
}
#include "depthwise.h"
#include "depthwise_plane.h"
