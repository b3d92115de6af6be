/* SPDX-License-Identifier: Apache-2.0 */
/* Tiny kernels with barriers in shared memory, copies of tiles and products of warpgroups: right ones, and the same with one bug each.
 * test_emulator_sm90a.cpp knows how each of them has to end. */
#include "ptx.cuh"
#include "test_emulator_sm90a.h"

enum bug {
    NONE,
    NO_FENCE_INIT,
    NO_SYNC_INIT,
    NO_INIT,
    INIT_TWICE,
    INIT_NONE,
    NO_EXPECT,
    EXPECTS_TOO_MUCH,
    EXPECTS_TOO_LITTLE,
    EXPECTS_HUGE,
    ARRIVES_TWICE,
    NO_EMPTY_WAIT,
    NO_FULL_WAIT,
    NO_WGMMA_FENCE,
    NO_COMMIT,
    NO_WGMMA_WAIT,
    EARLY_RELEASE,
    WRITES_ACCUMULATOR,
    OTHER_DESCRIPTOR,
    MOVED_TILE,
    LANE_MISSING,
    LEAVES_COPIES,
    LEAVES_PRODUCTS,
    MISPLACED_COPY,
    NO_MAP,
    TOO_MANY_REGISTERS,
    TAKES_LESS,
    NO_FENCE_ASYNC,
    NO_SYNC,
    OVERTAKEN,
    UNHEARD_READER,
    PART_OF_A_WARP,
    OTHER_COUNT,
    READS_BARRIER,
    READS_NOTHING,
    READS_BEYOND,
    OTHER_PARITY,
    BARRIER_16
};

/* ------------------------------------------------------------------ products of copied tiles */

enum { STAGES = 2 };
struct tiles_shared {
    alignas(1024) unsigned char a[STAGES][TEST_M * 128], b[STAGES][TEST_N * 128];
    uint64_t full[STAGES], empty[STAGES];
};

/* Rows contiguous: boxes of 64 rows and 64 k, one after the other. */
template <int rows, bool transposed>
HUNZE_INLINE void copy_operand(unsigned char *to, const hunze_tensor_map *map, uint64_t *barrier, int k)
{
    if (!transposed)
        copy_tile_3d(to, map, barrier, k, 0, 0);
    else
        for (int row = 0; row < rows; row += 64)
            copy_tile_3d(to + row * 128, map, barrier, row, k, 0);
}

template <int n> HUNZE_INLINE void store_results(const test_tiles &p, const float (&d)[n / 2])
{
    const int thread = thread_index() % 128;
    for (int i = 0; i < n / 2; i++)
        store_global(p.d + (16 * (thread / 32) + thread % 32 / 4 + 8 * (i / 2 % 2)) * n + 8 * (i / 4) + thread % 4 * 2 +
                         i % 2,
                     d[i]);
}

template <bool f16, bool transpose_a, bool transpose_b>
HUNZE_INLINE void multiply(float (&d)[128], uint64_t a, uint64_t b, bool accumulate)
{
    if (f16)
        wgmma_f16_m64n256k16<transpose_a, transpose_b>(d, a, b, accumulate);
    else
        wgmma_bf16_m64n256k16<transpose_a, transpose_b>(d, a, b, accumulate);
}

/* The first warpgroup copies, the second one multiplies with one group of products on its way. */
template <int bug, bool f16, bool transpose_a, bool transpose_b> HUNZE_INLINE void tiles(const test_tiles &p)
{
    enum : uint32_t { BYTES = (TEST_M + TEST_N) * 128 };
    tiles_shared &shared = SHARED(tiles_shared);
    const int thread = thread_index();
    if (thread == 0 && bug != NO_INIT)
        for (int stage = 0; stage < STAGES; stage++) {
            barrier_init(&shared.full[stage], bug == INIT_NONE ? 0 : 1);
            barrier_init(&shared.empty[bug == INIT_TWICE ? 0 : stage], 1);
        }
    if (thread == 0 && bug != NO_FENCE_INIT)
        FENCE_BARRIER_INIT();
    if (bug != NO_SYNC_INIT)
        SYNC_BLOCK();
    if (thread < 128) {
        for (int block = 0; block < p.k_blocks + (bug == LEAVES_COPIES) && thread == 0; block++) {
            const int stage = block % STAGES;
            uint64_t *full = &shared.full[stage];
            if (bug != NO_EMPTY_WAIT)
                BARRIER_WAIT(&shared.empty[stage], bug == OTHER_PARITY ? 2 : (block / STAGES & 1) ^ 1);
            if (bug == NO_EXPECT)
                BARRIER_ARRIVE(full);
            else
                BARRIER_ARRIVE_EXPECT(full, bug == EXPECTS_HUGE
                                                ? 1 << 20
                                                : BYTES + (bug == EXPECTS_TOO_MUCH) - (bug == EXPECTS_TOO_LITTLE));
            if (bug == ARRIVES_TWICE)
                BARRIER_ARRIVE(full);
            copy_operand<TEST_M, transpose_a>(shared.a[stage] + (bug == MISPLACED_COPY ? 128 : 0),
                                              bug == NO_MAP ? (const hunze_tensor_map *)&shared : &p.a, full,
                                              block * TEST_K_BLOCK);
            copy_operand<TEST_N, transpose_b>(shared.b[stage], &p.b, full, block * TEST_K_BLOCK);
        }
        return;
    }
    float d[128];
    for (int block = 0; block < p.k_blocks; block++) {
        const int stage = block % STAGES;
        if (bug != NO_FULL_WAIT || block)
            BARRIER_WAIT(&shared.full[stage], block / STAGES & 1);
        if (bug != NO_WGMMA_FENCE && !(bug == LANE_MISSING && thread == 200))
            WGMMA_FENCE();
        for (int k = 0; k < TEST_K_BLOCK; k += 16) {
            uint64_t a = wgmma_descriptor(shared.a[stage] + (bug == MOVED_TILE ? 128 : 0), 0, 1024);
            uint64_t b = wgmma_descriptor(shared.b[stage], 8192, 1024);
            a = wgmma_advance(a, transpose_a ? k * 128 : k * 2);
            b = wgmma_advance(b, transpose_b ? k * 128 : k * 2);
            if (bug == OTHER_DESCRIPTOR && thread == 200)
                a = wgmma_advance(a, 16);
            multiply<f16, transpose_a, transpose_b>(d, a, b, block || k);
            if (bug == WRITES_ACCUMULATOR && k == 16 && thread == 200)
                d[3] = 0;
        }
        if (bug == LEAVES_PRODUCTS)
            return;
        if (bug != NO_COMMIT)
            WGMMA_COMMIT();
        WGMMA_WAIT(1);
        if (thread == 128 && (block || bug == EARLY_RELEASE))
            BARRIER_ARRIVE(&shared.empty[bug == EARLY_RELEASE ? stage : (block - 1) % STAGES]);
    }
    if (bug != NO_WGMMA_WAIT)
        WGMMA_WAIT(0);
    wgmma_results(d);
    store_results<TEST_N>(p, d);
}

#define TILES(name, ...)                                                                                               \
    KERNEL(name, TEST_TILES_THREADS, 1, test_tiles) { tiles<__VA_ARGS__>(arguments); }
TILES(test_tiles_bf16_kk, NONE, false, false, false)
TILES(test_tiles_bf16_km, NONE, false, false, true)
TILES(test_tiles_bf16_mk, NONE, false, true, false)
TILES(test_tiles_bf16_mm, NONE, false, true, true)
TILES(test_tiles_f16_km, NONE, true, false, true)
TILES(test_tiles_f16_mk, NONE, true, true, false)
#define BROKEN(name, bug) TILES(test_tiles_bf16_kk_##name, bug, false, false, false)
BROKEN(no_fence_init, NO_FENCE_INIT)
BROKEN(no_sync_init, NO_SYNC_INIT)
BROKEN(no_init, NO_INIT)
BROKEN(init_twice, INIT_TWICE)
BROKEN(init_none, INIT_NONE)
BROKEN(no_expect, NO_EXPECT)
BROKEN(expects_too_much, EXPECTS_TOO_MUCH)
BROKEN(expects_too_little, EXPECTS_TOO_LITTLE)
BROKEN(expects_huge, EXPECTS_HUGE)
BROKEN(other_parity, OTHER_PARITY)
BROKEN(not_a_map, NONE)
BROKEN(arrives_twice, ARRIVES_TWICE)
BROKEN(no_empty_wait, NO_EMPTY_WAIT)
BROKEN(no_full_wait, NO_FULL_WAIT)
BROKEN(no_wgmma_fence, NO_WGMMA_FENCE)
BROKEN(no_commit, NO_COMMIT)
BROKEN(no_wgmma_wait, NO_WGMMA_WAIT)
BROKEN(early_release, EARLY_RELEASE)
BROKEN(writes_accumulator, WRITES_ACCUMULATOR)
BROKEN(other_descriptor, OTHER_DESCRIPTOR)
BROKEN(moved_tile, MOVED_TILE)
BROKEN(lane_missing, LANE_MISSING)
BROKEN(leaves_copies, LEAVES_COPIES)
BROKEN(leaves_products, LEAVES_PRODUCTS)
BROKEN(misplaced_copy, MISPLACED_COPY)
BROKEN(no_map, NO_MAP)

/* ------------------------------------------------------------------ products of stored tiles */

HUNZE_INLINE void multiply_stored(const test_tiles &p, const unsigned char *a, const unsigned char *b)
{
    float d[64];
    for (int i = 0; i < 64; i++)
        d[i] = 1;
    WGMMA_FENCE();
    wgmma_bf16_m64n128k16<false, false>(d, wgmma_descriptor(a, 0, 1024), wgmma_descriptor(b, 0, 1024), true);
    WGMMA_COMMIT();
    WGMMA_WAIT(0);
    wgmma_results(d);
    store_results<128>(p, d);
}

/* Each thread stores a part of a, which is all ones, and the first 128 rows of b, whose column is their sum; each product is then k. */
template <int bug> HUNZE_INLINE void stored(const test_tiles &p)
{
    tiles_shared &shared = SHARED(tiles_shared);
    const int thread = thread_index();
    for (int i = thread; i < TEST_M * 32; i += 128)
        store_shared((uint32_t *)shared.a[0] + i, 0x3F803F80u);
    for (int i = thread; i < 128 * 32; i += 128)
        store_shared((uint32_t *)shared.b[0] + i, 0x40004000u);
    if (bug != NO_FENCE_ASYNC)
        FENCE_ASYNC();
    if (bug != NO_SYNC)
        SYNC_BLOCK();
    const unsigned char *b = bug == READS_NOTHING  ? shared.b[1]
                             : bug == READS_BEYOND ? shared.b[1] + TEST_N * 128 + 1024
                                                   : shared.b[0];
    multiply_stored(p, shared.a[0], b);
}

/* The same, but the halves of each word are two threads', with or without barriers before the fence. */
template <int bug, bool synchronised> HUNZE_INLINE void stored_by_halves(const test_tiles &p)
{
    tiles_shared &shared = SHARED(tiles_shared);
    const int thread = thread_index();
    for (int half = 0; half < 2; half++) {
        for (int i = (thread + half) % 128; i < TEST_M * 32; i += 128)
            store_shared((uint16_t *)shared.a[0] + 2 * i + half, (uint16_t)0x3F80);
        for (int i = (thread + half) % 128; i < 128 * 32; i += 128)
            store_shared((uint16_t *)shared.b[0] + 2 * i + half, (uint16_t)0x4000);
        if (!half && bug == NO_FENCE_ASYNC)
            FENCE_ASYNC();
        if (synchronised)
            SYNC_BLOCK();
    }
    if (bug != NO_FENCE_ASYNC)
        FENCE_ASYNC();
    SYNC_BLOCK();
    multiply_stored(p, shared.a[0], shared.b[0]);
}

KERNEL(test_stored, 128, 1, test_tiles) { stored<NONE>(arguments); }
KERNEL(test_stored_no_fence_async, 128, 1, test_tiles) { stored<NO_FENCE_ASYNC>(arguments); }
KERNEL(test_stored_reads_nothing, 128, 1, test_tiles) { stored<READS_NOTHING>(arguments); }
KERNEL(test_stored_reads_beyond, 128, 1, test_tiles) { stored<READS_BEYOND>(arguments); }
KERNEL(test_stored_half_a_warpgroup, 64, 1, test_tiles) { stored<NONE>(arguments); }
KERNEL(test_stored_no_sync, 128, 1, test_tiles) { stored<NO_SYNC>(arguments); }
KERNEL(test_stored_halves, 128, 1, test_tiles) { stored_by_halves<NONE, false>(arguments); }
KERNEL(test_stored_halves_in_turn, 128, 1, test_tiles) { stored_by_halves<NONE, true>(arguments); }
KERNEL(test_stored_halves_no_fence_async, 128, 1, test_tiles) { stored_by_halves<NO_FENCE_ASYNC, true>(arguments); }

/* ------------------------------------------------------------------ order */

struct order_shared {
    alignas(1024) float tile[64][32];
    uint64_t full, read;
};

/* A tile is copied twice, and in between read by ordinary loads and written by ordinary stores. */
template <int bug> HUNZE_INLINE void reuse(const test_order &p)
{
    order_shared &shared = SHARED(order_shared);
    const int thread = thread_index();
    if (thread == 0) {
        barrier_init(&shared.full, 1);
        barrier_init(&shared.read, 64);
        FENCE_BARRIER_INIT();
    }
    SYNC_BLOCK();
    float sum = 0;
    for (int turn = 0; turn < 3; turn++) {
        if (thread == 0) {
            if (turn)
                BARRIER_WAIT(&shared.read, (turn - 1) & 1);
            BARRIER_ARRIVE_EXPECT(&shared.full, sizeof shared.tile);
            copy_tile_3d(shared.tile, &p.map, &shared.full, -1, turn, 0);
        }
        BARRIER_WAIT(&shared.full, turn & 1);
        if (bug == OVERTAKEN && thread == 40)
            continue;
        if (bug == READS_BARRIER)
            sum += (float)load_shared(&shared.full);
        if (bug == UNHEARD_READER)
            BARRIER_ARRIVE(&shared.read);
        sum += load_shared(&shared.tile[thread][4]);
        store_shared(&shared.tile[thread][8], 1.0f);
        if (bug != NO_FENCE_ASYNC)
            FENCE_ASYNC();
        if (bug != UNHEARD_READER)
            BARRIER_ARRIVE(&shared.read);
        if (bug == OVERTAKEN && thread == 41)
            BARRIER_ARRIVE(&shared.read);
    }
    if (bug == OVERTAKEN)
        BARRIER_WAIT(&shared.read, 0);
    store_global(p.to + thread, sum);
}
KERNEL(test_reuse, 64, 1, test_order) { reuse<NONE>(arguments); }
KERNEL(test_reuse_no_fence_async, 64, 1, test_order) { reuse<NO_FENCE_ASYNC>(arguments); }
KERNEL(test_reuse_overtaken, 64, 1, test_order) { reuse<OVERTAKEN>(arguments); }
KERNEL(test_reuse_unheard_reader, 64, 1, test_order) { reuse<UNHEARD_READER>(arguments); }
KERNEL(test_reuse_reads_barrier, 64, 1, test_order) { reuse<READS_BARRIER>(arguments); }

/* All elements of a box of 8 x 4 x 2 whose every second row is taken, in the order of shared memory. */
KERNEL(test_box, 32, 1, test_order)
{
    struct box {
        alignas(128) float at[2 * 2 * 8];
        uint64_t full;
    };
    box &shared = SHARED(box);
    if (thread_index() == 0) {
        barrier_init(&shared.full, 1);
        FENCE_BARRIER_INIT();
        BARRIER_ARRIVE_EXPECT(&shared.full, sizeof shared.at);
        copy_tile_3d(shared.at, &arguments.map, &shared.full, -2, -1, 1);
    }
    SYNC_BLOCK();
    BARRIER_WAIT(&shared.full, 0);
    store_global(arguments.to + thread_index(), load_shared(&shared.at[thread_index()]));
}

/* Pairs of warps exchange values, each pair at its own barrier. */
template <int bug> HUNZE_INLINE void exchange(const test_order &p)
{
    struct values {
        float of[128];
    };
    values &shared = SHARED(values);
    const int thread = thread_index();
    store_shared(&shared.of[thread], (float)thread);
    if (bug == PART_OF_A_WARP)
        SYNC_NAMED(thread % 2 + 1, 64);
    else if (thread < 64)
        SYNC_NAMED(1, bug == OTHER_COUNT && thread < 32 ? 96 : 64);
    else if (bug == BARRIER_16)
        SYNC_NAMED(16, 64);
    else if (bug != NO_SYNC)
        SYNC_NAMED(2, 64);
    store_global(p.to + thread, load_shared(&shared.of[thread ^ 63]));
}
KERNEL(test_exchange, 128, 1, test_order) { exchange<NONE>(arguments); }
KERNEL(test_exchange_no_sync, 128, 1, test_order) { exchange<NO_SYNC>(arguments); }
KERNEL(test_exchange_part_of_a_warp, 128, 1, test_order) { exchange<PART_OF_A_WARP>(arguments); }
KERNEL(test_exchange_barrier_16, 128, 1, test_order) { exchange<BARRIER_16>(arguments); }
KERNEL(test_exchange_other_count, 128, 1, test_order) { exchange<OTHER_COUNT>(arguments); }

/* 168 registers of 384 threads are 504 of 128. */
template <int bug> HUNZE_INLINE void registers(const test_order &p)
{
    if (thread_index() < 128)
        registers_release<40>();
    else if (bug == TOO_MANY_REGISTERS)
        registers_take<240>();
    else if (bug == TAKES_LESS)
        registers_take<160>();
    else
        registers_take<232>();
    store_global(p.to + thread_index(), (float)uniform(thread_index()));
}
KERNEL(test_registers, 384, 1, test_order) { registers<NONE>(arguments); }
KERNEL(test_registers_too_many, 384, 1, test_order) { registers<TOO_MANY_REGISTERS>(arguments); }
KERNEL(test_registers_takes_less, 384, 1, test_order) { registers<TAKES_LESS>(arguments); }
