/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to what compute capability 9.0 has alone: where products of a warpgroup find their operands and leave their results, and what a copy
 * of a tile writes where.  Built for the GPU by gpu.cmake, and for the emulator. */
#include "../../cuda/ptx.cuh"
#include "gpu_fixtures.h"

/* ------------------------------------------------------------------ operands of wgmma */

enum { ROWS_A = 64, ROWS_B = 256, K_BLOCK = 64 };
struct fixture_tiles {
    alignas(1024) uint32_t a[ROWS_A * K_BLOCK / 2]; /* two elements each */
    alignas(1024) uint32_t b[ROWS_B * K_BLOCK / 2];
};

/* The number of the element (row, k) in its tile, which is swizzled by 128 bytes.  A row is one of A or a column of B. */
template <bool rows_contiguous> HUNZE_INLINE int place(int row, int k)
{
    const int line = rows_contiguous ? k : row, along = rows_contiguous ? row % 64 : k;
    return (rows_contiguous ? row / 64 * 64 * 64 : 0) + line * 64 + ((along / 8 ^ line % 8) * 8 + along % 8);
}

template <bool is_bf16> HUNZE_INLINE uint32_t pair(float low, float high)
{
    return is_bf16 ? round_bf16_pair(low, high) : round_f16_pair(low, high);
}

/* Elements 2 * i and 2 * i + 1 of a tile whose elements are a digit of where they lie. */
template <bool is_bf16> HUNZE_INLINE uint32_t digits(int i, bool high)
{
    const int at = 2 * i;
    return high ? pair<is_bf16>((float)(at / 128 + 1), (float)(at / 128 + 1))
                : pair<is_bf16>((float)(at % 128 + 1), (float)(at % 128 + 2));
}

/* A block is (step of 16 in k, the operand that is asked, digit).  The operand's elements are a digit of where they lie; the other operand is an
 * identity of 16 x 16 in its first rows.  So a row of D, or a column, is what the operand has for one k. */
template <bool is_bf16, bool turned_a, bool turned_b> HUNZE_INLINE void map_of_wgmma(const hunze_fixture_call &call)
{
    fixture_tiles &tiles = SHARED(fixture_tiles);
    const int thread = thread_index(), step = (int)block_x();
    const bool asks_b = block_y() != 0, high = block_z() != 0;
    for (int i = thread; i < ROWS_A * K_BLOCK / 2; i += 128)
        store_shared(tiles.a + i, asks_b ? 0u : digits<is_bf16>(i, high));
    for (int i = thread; i < ROWS_B * K_BLOCK / 2; i += 128)
        store_shared(tiles.b + i, asks_b ? digits<is_bf16>(i, high) : 0u);
    SYNC_BLOCK();
    if (thread < 16) {
        const int k = 16 * step + thread, at = asks_b ? place<turned_a>(thread, k) : place<turned_b>(thread, k);
        store_shared((asks_b ? tiles.a : tiles.b) + at / 2, pair<is_bf16>(at % 2 == 0, at % 2 == 1));
    }
    FENCE_ASYNC();
    SYNC_BLOCK();
    const uint64_t a = wgmma_advance(wgmma_descriptor(tiles.a, 8192, 1024), step * (turned_a ? 2048 : 32)),
                   b = wgmma_advance(wgmma_descriptor(tiles.b, 8192, 1024), step * (turned_b ? 2048 : 32));
    float d[128];
    WGMMA_FENCE();
    if (is_bf16)
        wgmma_bf16_m64n256k16<turned_a, turned_b>(d, a, b, false);
    else
        wgmma_f16_m64n256k16<turned_a, turned_b>(d, a, b, false);
    WGMMA_COMMIT();
    WGMMA_WAIT(0);
    wgmma_results(d);
    const int64_t block = (block_z() * 2 + block_y()) * 4 + block_x();
#pragma unroll
    for (int i = 0; i < 128; i++)
        store_global(call.out + ((block * 128 + thread) * 128 + i), (uint32_t)d[i]);
}

#define MAP(name, ...)                                                                                                 \
    KERNEL(hunze_fixture_wgmma_##name, 128, 1, hunze_fixture_call) { map_of_wgmma<__VA_ARGS__>(arguments); }
MAP(bf16_nn, true, false, false)
MAP(bf16_nt, true, false, true)
MAP(bf16_tn, true, true, false)
MAP(bf16_tt, true, true, true)
MAP(f16_nn, false, false, false)
MAP(f16_nt, false, false, true)
MAP(f16_tn, false, true, false)
MAP(f16_tt, false, true, true)

/* ------------------------------------------------------------------ copies of tiles */

struct fixture_box {
    alignas(1024) uint32_t words[HUNZE_FIXTURE_BOX_WORDS];
    alignas(8) uint64_t full;
};

KERNEL(hunze_fixture_tile, 128, 1, hunze_fixture_tile_call)
{
    fixture_box &box = SHARED(fixture_box);
    const int thread = thread_index();
    if (thread == 0) {
        barrier_init(&box.full, 1);
        FENCE_BARRIER_INIT();
    }
    SYNC_BLOCK();
    if (thread == 0) {
        BARRIER_ARRIVE_EXPECT(&box.full, (uint32_t)arguments.bytes);
        copy_tile_3d(box.words, &arguments.map, &box.full, (int32_t)arguments.at[0], (int32_t)arguments.at[1],
                     (int32_t)arguments.at[2]);
    }
    BARRIER_WAIT(&box.full, 0);
    for (int i = thread; i < (int)arguments.bytes / 4; i += 128)
        store_global(arguments.out + i, load_shared(box.words + i));
}
