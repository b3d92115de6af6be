/* SPDX-License-Identifier: Apache-2.0 */
/* The most that products of warpgroups reach: two of them over the same tiles, one group of products always on its way. */
#include "../../cuda/ptx.cuh"
#include "gpu_peaks.h"

struct peak_tiles {
    alignas(1024) uint32_t a[2][64 * 32];
    alignas(1024) uint32_t b[256 * 32];
};

KERNEL(hunze_peak_wgmma_bf16, HUNZE_PEAK_THREADS, 1, hunze_peak_call)
{
    peak_tiles &tiles = SHARED(peak_tiles);
    const int thread = thread_index(), group = uniform(thread / 128);
    for (int i = thread; i < 2 * 64 * 32; i += HUNZE_PEAK_THREADS)
        store_shared(tiles.a[0] + i, load_global(arguments.in + i));
    for (int i = thread; i < 256 * 32; i += HUNZE_PEAK_THREADS)
        store_shared(tiles.b + i, load_global(arguments.in + i));
    FENCE_ASYNC();
    SYNC_BLOCK();
    const uint64_t a = wgmma_descriptor(tiles.a[group], 0, 1024), b = wgmma_descriptor(tiles.b, 0, 1024);
    float d[128], all = 0;
    for (int64_t iteration = 0; iteration < arguments.iterations; iteration++) {
        WGMMA_FENCE();
        for (int k = 0; k < 4; k++)
            wgmma_bf16_m64n256k16<false, false>(d, wgmma_advance(a, 32 * k), wgmma_advance(b, 32 * k), iteration || k);
        WGMMA_COMMIT();
        WGMMA_WAIT(1);
    }
    WGMMA_WAIT(0);
    wgmma_results(d);
#pragma unroll
    for (int i = 0; i < 128; i++)
        all += d[i];
    if (all == (float)arguments.factor)
        store_global(arguments.out, 1u);
}
