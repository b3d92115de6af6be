/* SPDX-License-Identifier: Apache-2.0 */
/* The most that a device can do of one thing: chains of fma and products of tensor cores in registers alone, and a copy.  What is computed is
 * stored where nobody expects it to be, so that nothing of it can be left out. */
#include "../../cuda/ptx.cuh"
#include "gpu_peaks.h"

template <typename T> HUNZE_INLINE void chains(const hunze_peak_call &call)
{
    const T factor = (T)call.factor, addend = (T)call.addend;
    T sums[HUNZE_PEAK_CHAINS], all = 0;
#pragma unroll
    for (int i = 0; i < HUNZE_PEAK_CHAINS; i++)
        sums[i] = (T)(thread_index() + i);
#pragma unroll 8
    for (int64_t iteration = 0; iteration < call.iterations; iteration++) {
#pragma unroll
        for (int i = 0; i < HUNZE_PEAK_CHAINS; i++)
            sums[i] = fma_rn(sums[i], factor, addend);
    }
#pragma unroll
    for (int i = 0; i < HUNZE_PEAK_CHAINS; i++)
        all = add_rn(all, sums[i]);
    if (all < 0)
        store_global(call.out, 1u);
}
KERNEL(hunze_peak_f32, HUNZE_PEAK_THREADS, 2, hunze_peak_call) { chains<float>(arguments); }
KERNEL(hunze_peak_f64, HUNZE_PEAK_THREADS, 2, hunze_peak_call) { chains<double>(arguments); }

HUNZE_INLINE void product(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma_s8s8(d, a, b); }
HUNZE_INLINE void product(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma_bf16(d, a, b); }

template <typename T> HUNZE_INLINE void products(const hunze_peak_call &call)
{
    const uint32_t *in = call.in + thread_index() * HUNZE_PEAK_WORDS;
    const uint32_t a[4] = {load_global(in), load_global(in + 1), load_global(in + 2), load_global(in + 3)},
                   b[2] = {load_global(in + 4), load_global(in + 5)};
    T sums[HUNZE_PEAK_PRODUCTS][4] = {}, all = 0;
#pragma unroll 4
    for (int64_t iteration = 0; iteration < call.iterations; iteration++) {
#pragma unroll
        for (int i = 0; i < HUNZE_PEAK_PRODUCTS; i++)
            product(sums[i], a, b);
    }
#pragma unroll
    for (int i = 0; i < HUNZE_PEAK_PRODUCTS; i++)
        for (int j = 0; j < 4; j++)
            all += sums[i][j];
    if (all == (T)call.factor)
        store_global(call.out, 1u);
}
KERNEL(hunze_peak_s8s8, HUNZE_PEAK_THREADS, 2, hunze_peak_call) { products<int32_t>(arguments); }
KERNEL(hunze_peak_bf16, HUNZE_PEAK_THREADS, 2, hunze_peak_call) { products<float>(arguments); }

struct sixteen_bytes {
    alignas(16) uint32_t words[4];
};
/* Four words of 16 bytes on their way in each thread. */
KERNEL(hunze_peak_copy, HUNZE_PEAK_THREADS, 4, hunze_peak_call)
{
    const sixteen_bytes *from = reinterpret_cast<const sixteen_bytes *>(arguments.in);
    sixteen_bytes *to = reinterpret_cast<sixteen_bytes *>(arguments.out);
    for (int64_t at = block_x() * 4 * HUNZE_PEAK_THREADS + thread_index(); at < arguments.iterations;
         at += blocks_x() * 4 * HUNZE_PEAK_THREADS) {
        sixteen_bytes words[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (INSIDE(at + i * HUNZE_PEAK_THREADS < arguments.iterations))
                words[i] = load_global(from + at + i * HUNZE_PEAK_THREADS);
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (INSIDE(at + i * HUNZE_PEAK_THREADS < arguments.iterations))
                store_global(to + at + i * HUNZE_PEAK_THREADS, words[i]);
    }
}
