/* SPDX-License-Identifier: Apache-2.0 */
/* The names of cuda/ptx_sm90a.cuh for the CPU. */
#ifndef HUNZE_EMULATOR_SM90A_H
#define HUNZE_EMULATOR_SM90A_H

#include "tensor_map.h"

/* ------------------------------------------------------------------ barriers */

void barrier_init(uint64_t *barrier, uint32_t arrivals);
void emulator_fence_barrier_init(emulator_site &site);
void emulator_fence_async(emulator_site &site);
void emulator_barrier_arrive(emulator_site &site, uint64_t *barrier);
void emulator_barrier_arrive_expect(emulator_site &site, uint64_t *barrier, uint32_t bytes);
void emulator_barrier_wait(emulator_site &site, uint64_t *barrier, uint32_t parity);
void emulator_sync_named(emulator_site &site, int id, int threads);

#define FENCE_BARRIER_INIT() emulator_fence_barrier_init(EMULATOR_SITE("FENCE_BARRIER_INIT"))
#define FENCE_ASYNC() emulator_fence_async(EMULATOR_SITE("FENCE_ASYNC"))
#define BARRIER_ARRIVE(barrier) emulator_barrier_arrive(EMULATOR_SITE("BARRIER_ARRIVE"), barrier)
#define BARRIER_ARRIVE_EXPECT(barrier, bytes)                                                                          \
    emulator_barrier_arrive_expect(EMULATOR_SITE("BARRIER_ARRIVE_EXPECT"), barrier, bytes)
#define BARRIER_WAIT(barrier, parity) emulator_barrier_wait(EMULATOR_SITE("BARRIER_WAIT"), barrier, parity)
#define SYNC_NAMED(id, threads) emulator_sync_named(EMULATOR_SITE("SYNC_NAMED"), id, threads)

void emulator_of_first_lane(void *const lanes[32]);
HUNZE_INLINE int uniform(int x)
{
    emulator_together("uniform", emulator_of_first_lane, &x);
    return x;
}

/* ------------------------------------------------------------------ copies of tiles */

void prefetch_tensor_map(const hunze_tensor_map *map);
void copy_tile_3d(void *shared, const hunze_tensor_map *map, uint64_t *barrier, int32_t x, int32_t y, int32_t z);

/* ------------------------------------------------------------------ products of a warpgroup */

HUNZE_INLINE uint64_t wgmma_descriptor(const void *shared, uint32_t leading_bytes, uint32_t stride_bytes)
{
    const auto offset = (uint32_t)((const char *)shared - emulator.shared);
    return (uint64_t)((offset & 0x3FFFFu) >> 4) | (uint64_t)(leading_bytes >> 4) << 16 |
           (uint64_t)(stride_bytes >> 4) << 32 | (uint64_t)1 << 62;
}
HUNZE_INLINE uint64_t wgmma_advance(uint64_t descriptor, int bytes) { return descriptor + (uint64_t)(bytes >> 4); }

/* What one thread brings. */
struct emulator_product {
    float *d;
    uint64_t a, b;
    bool accumulate;
    int n;
    bool is_f16, transpose_a, transpose_b;
};
emulator_together_fn emulator_start_product;
void emulator_wgmma_fence(emulator_site &site);
void emulator_wgmma_commit(emulator_site &site);
void emulator_wgmma_wait(emulator_site &site, int pending);
void emulator_wgmma_results(const float *d);

#define WGMMA_FENCE() emulator_wgmma_fence(EMULATOR_SITE("WGMMA_FENCE"))
#define WGMMA_COMMIT() emulator_wgmma_commit(EMULATOR_SITE("WGMMA_COMMIT"))
#define WGMMA_WAIT(pending) emulator_wgmma_wait(EMULATOR_SITE("WGMMA_WAIT"), pending)
template <int count> HUNZE_INLINE void wgmma_results(float (&d)[count]) { emulator_wgmma_results(d); }

#define EMULATOR_WGMMA(name, is_f16, n)                                                                                \
    template <bool TRANSPOSE_A, bool TRANSPOSE_B>                                                                      \
    HUNZE_INLINE void name(float(&d)[n / 2], uint64_t a, uint64_t b, bool accumulate)                                  \
    {                                                                                                                  \
        emulator_product mine = {d, a, b, accumulate, n, is_f16, TRANSPOSE_A, TRANSPOSE_B};                            \
        emulator_together(#name, emulator_start_product, &mine, 128);                                                  \
    }
EMULATOR_WGMMA(wgmma_bf16_m64n256k16, false, 256)
EMULATOR_WGMMA(wgmma_f16_m64n256k16, true, 256)
EMULATOR_WGMMA(wgmma_bf16_m64n128k16, false, 128)
EMULATOR_WGMMA(wgmma_f16_m64n128k16, true, 128)
#undef EMULATOR_WGMMA

void emulator_registers(int count, bool take);
template <int count> HUNZE_INLINE void registers_release() { emulator_registers(count, false); }
template <int count> HUNZE_INLINE void registers_take() { emulator_registers(count, true); }

#endif
