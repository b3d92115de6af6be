/* Binds src/simd/depthwise.h and depthwise_plane.h to bytes: DEPTHWISE_X is uint8_t or int8_t, LOAD_X its widening load; exact in s32. */
#define DEPTHWISE_SUM int32_t
typedef vi32 vsum;
enum { VSUM_LANES = VI32_LANES };
SIMD_INLINE vsum vsum_zero(void) { return vi32_set1(0); }
SIMD_INLINE vsum load_x(const DEPTHWISE_X *p, int64_t left) { return LOAD_X(p, left); }
SIMD_INLINE vsum load_w(const int32_t *p, int64_t left)
{
    return left == VI32_LANES ? vi32_load(p) : vi32_load_first(p, left);
}
SIMD_INLINE vsum multiply_add(vsum x, vsum w, vsum sum) { return vi32_add(vi32_mul(x, w), sum); }
SIMD_INLINE void store(int32_t *p, vsum v, int64_t left)
{
    if (left == VI32_LANES)
        vi32_store(p, v);
    else
        vi32_store_first(p, v, left);
}
SIMD_INLINE vsum set1_w(int32_t w) { return vi32_set1(w); }
SIMD_INLINE vsum add_bias(vsum sum, const float *bias)
{
    (void)bias; /* an s32 bias is in the epilogue's offsets */
    return sum;
}
/* At borders, and columns far apart.  Out of line: a stack would hold it a hundred times. */
static __attribute__((noinline)) vsum load_bytes_between(const DEPTHWISE_X *p, int64_t step, int64_t low, int64_t high,
                                                         int32_t pad)
{
    DEPTHWISE_X lanes[VI32_LANES];
    for (int64_t i = 0; i < VI32_LANES; i++)
        lanes[i] = i >= low && i < high ? p[i * step] : (DEPTHWISE_X)pad;
    return LOAD_X(lanes, VI32_LANES);
}
SIMD_INLINE vsum load_step(const DEPTHWISE_X *p, int64_t step)
{
    return step == 1 ? LOAD_X(p, VI32_LANES) : load_bytes_between(p, step, 0, VI32_LANES, 0);
}
typedef struct read_lanes {
    int64_t low, high;
} read_lanes;
SIMD_INLINE read_lanes read_lanes_of(int64_t step, int64_t low, int64_t high)
{
    (void)step;
    return (read_lanes){low, high};
}
SIMD_INLINE vsum load_step_lanes(const DEPTHWISE_X *p, int64_t step, const read_lanes *lanes, int32_t pad)
{
    return load_bytes_between(p, step, lanes->low, lanes->high, pad);
}
#include "depthwise.h"
#include "depthwise_plane.h"
