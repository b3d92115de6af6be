/* SPDX-License-Identifier: Apache-2.0 */
/* How the tensor cores of compute capability 9.0 add when a warpgroup multiplies: the questions of gpu_sums.cu, whose exponents are the rows here. */
#include "../../cuda/ptx.cuh"
#include "gpu_fixtures.h"

struct sum_tiles {
    alignas(1024) uint16_t a[64 * 64];
    alignas(1024) uint16_t b[256 * 64];
};

template <bool is_bf16> HUNZE_INLINE void sums(const hunze_fixture_call &call)
{
    sum_tiles &tiles = SHARED(sum_tiles);
    const int thread = thread_index(), position = (int)block_y() + 1, way = (int)block_z();
    for (int i = thread; i < 64 * 64; i += 128) {
        const int row = i / 64, k = (i / 8 % 8 ^ row % 8) * 8 + i % 8; /* swizzled by 128 bytes */
        float value = k == 0 ? (way == 3 ? -1.0f : 1.0f) : k == 15 && way == 2 ? -1.0f : 0.0f;
        if (k == position)
            value = ldexpf(way == 1 ? -1.0f : 1.0f, -row);
        store_shared(tiles.a + i, (uint16_t)(is_bf16 ? round_bf16_pair(value, 0) : round_f16_pair(value, 0)));
    }
    for (int i = thread; i < 256 * 64; i += 128)
        store_shared(tiles.b + i, (uint16_t)(is_bf16 ? round_bf16_pair(1, 0) : round_f16_pair(1, 0)));
    FENCE_ASYNC();
    SYNC_BLOCK();
    float d[128];
#pragma unroll
    for (int i = 0; i < 128; i++)
        d[i] = way == 3 ? 1.0f : 0.0f;
    wgmma_results(d); /* written before the fence */
    WGMMA_FENCE();
    if (is_bf16)
        wgmma_bf16_m64n256k16<false, false>(d, wgmma_descriptor(tiles.a, 0, 1024), wgmma_descriptor(tiles.b, 0, 1024),
                                            true);
    else
        wgmma_f16_m64n256k16<false, false>(d, wgmma_descriptor(tiles.a, 0, 1024), wgmma_descriptor(tiles.b, 0, 1024),
                                           true);
    WGMMA_COMMIT();
    WGMMA_WAIT(0);
    wgmma_results(d);
    /* Column 0: threads whose number in the warp is a multiple of 4 have rows thread / 4 and 8 more. */
    if (thread % 4 == 0) {
        const int64_t at = ((int64_t)way * gridDim.y + position - 1) * 64;
        const int row = thread / 32 * 16 + thread % 32 / 4;
        store_global(call.out + at + row, __float_as_uint(d[0]));
        store_global(call.out + at + row + 8, __float_as_uint(d[2]));
    }
}
KERNEL(hunze_sums_wgmma_bf16, 128, 1, hunze_fixture_call) { sums<true>(arguments); }
KERNEL(hunze_sums_wgmma_f16, 128, 1, hunze_fixture_call) { sums<false>(arguments); }
