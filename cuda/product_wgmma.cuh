/* SPDX-License-Identifier: Apache-2.0 */
/* D = act(alpha * A * B + beta * C + bias + residual) of bf16 or f16 on compute capability 9.0.
 *
 * One block per multiprocessor works on tiles of 128 x 256, one after the other.  Warpgroup 0 produces: one thread copies 64 of k of A and B
 * into the next free of four stages, and runs ahead over tiles.  Warpgroups 1 and 2 consume: each multiplies 64 rows, with one group of products
 * in flight, so that a stage is free when the next one's products have been started.  Their sums go through shared memory, 64 columns at a
 * time, so that a warp writes whole rows of D. */
#ifndef HUNZE_PRODUCT_WGMMA_CUH
#define HUNZE_PRODUCT_WGMMA_CUH

#include "arguments_wgmma.h"
#include "epilogue_half.cuh"
#include "tile_order.cuh"

enum {
    TILE_M = HUNZE_CUDA_WGMMA_M,
    TILE_N = HUNZE_CUDA_WGMMA_N,
    TILE_K = HUNZE_CUDA_WGMMA_K,
    STAGES = HUNZE_CUDA_WGMMA_STAGES,
    GROUP = 128,  /* threads of a warpgroup */
    GROUP_M = 64, /* rows of a consumer */
    CONSUMERS = TILE_M / GROUP_M,
    PART_N = 64,       /* columns that go through shared memory at once */
    WARP_M = 16,       /* rows of a warp */
    SWIZZLED_ROWS = 64 /* rows of 2 bytes in 128: a box where rows are contiguous */
};

struct wgmma_shared {
    uint16_t a[STAGES][TILE_M * TILE_K], b[STAGES][TILE_N * TILE_K];
    half_pair_f32 sums[CONSUMERS * GROUP / 32][WARP_M][PART_N / 2];
    uint64_t full[STAGES], empty[STAGES];
};
static_assert(sizeof(wgmma_shared) == HUNZE_CUDA_WGMMA_SHARED, "as launchers say");

/* ------------------------------------------------------------------ which tile */

HUNZE_INLINE tile_place wgmma_place_of(const hunze_cuda_wgmma_product &p, uint32_t index)
{
    return tile_place_of(p, TILE_M, TILE_N, index);
}

/* A stage, and the parity of its barriers' phase; the stages are gone through again and again. */
struct wgmma_stage {
    int at;
    uint32_t parity;
    HUNZE_MEMBER void next()
    {
        if (++at == STAGES) {
            at = 0;
            parity ^= 1;
        }
    }
};

/* ------------------------------------------------------------------ the producer */

template <bool BY_ROWS>
HUNZE_INLINE void wgmma_copy(uint16_t *to, const hunze_tensor_map *map, uint64_t *barrier, int rows, int32_t k,
                             int32_t row, int64_t matrix)
{
    for (int first = 0; first < rows; first += BY_ROWS ? SWIZZLED_ROWS : rows)
        copy_tile_3d(to + first * TILE_K, map, barrier, BY_ROWS ? row + first : k, BY_ROWS ? k : row, (int32_t)matrix);
}

template <bool A_BY_ROWS, bool B_BY_ROWS>
HUNZE_INLINE void wgmma_produce(const hunze_cuda_wgmma_product &p, wgmma_shared &shared)
{
    wgmma_stage stage = {0, 1}; /* the phase before the first is over: all stages are free */
    prefetch_tensor_map(&p.a);
    prefetch_tensor_map(&p.b);
#pragma unroll 1
    for (uint32_t tile = (uint32_t)block_x(); tile < p.tiles; tile += (uint32_t)blocks_x()) {
        const tile_place place = wgmma_place_of(p, tile);
#pragma unroll 1
        for (uint32_t step = 0; step < p.steps; step++, stage.next()) {
            const int32_t k = (int32_t)step * TILE_K;
            uint64_t *full = &shared.full[stage.at];
            BARRIER_WAIT(&shared.empty[stage.at], stage.parity);
            BARRIER_ARRIVE_EXPECT(full, HUNZE_CUDA_WGMMA_STAGE_BYTES);
            wgmma_copy<A_BY_ROWS>(shared.a[stage.at], &p.a, full, TILE_M, k, place.row, place.offset[HUNZE_CUDA_OF_A]);
            wgmma_copy<B_BY_ROWS>(shared.b[stage.at], &p.b, full, TILE_N, k, place.column,
                                  place.offset[HUNZE_CUDA_OF_B]);
        }
    }
}

/* ------------------------------------------------------------------ consumers */

/* Where an operand begins in the first stage, `first` being its first row there. */
template <bool BY_ROWS> HUNZE_INLINE uint64_t wgmma_operand(const uint16_t *tile, int first)
{
    return wgmma_descriptor(tile + first * TILE_K, BY_ROWS ? SWIZZLED_ROWS * TILE_K * 2 : 16, 1024);
}
/* The i-th 16 of k of a stage. */
template <bool BY_ROWS> HUNZE_INLINE uint64_t wgmma_operand_at(uint64_t first, int stage, int rows, int i)
{
    return wgmma_advance(first, stage * rows * TILE_K * 2 + i * (BY_ROWS ? 16 * SWIZZLED_ROWS * 2 : 16 * 2));
}

template <bool A_BY_ROWS, bool B_BY_ROWS>
HUNZE_INLINE void wgmma_multiply(type_bf16, float (&sums)[128], uint64_t a, uint64_t b, bool accumulate)
{
    wgmma_bf16_m64n256k16<A_BY_ROWS, B_BY_ROWS>(sums, a, b, accumulate);
}
template <bool A_BY_ROWS, bool B_BY_ROWS>
HUNZE_INLINE void wgmma_multiply(type_f16, float (&sums)[128], uint64_t a, uint64_t b, bool accumulate)
{
    wgmma_f16_m64n256k16<A_BY_ROWS, B_BY_ROWS>(sums, a, b, accumulate);
}

/* A warp's sums as rows in shared memory: pairs of a row are exchanged such that threads meet different banks when they write, and that four
 * columns stay together. */
HUNZE_INLINE half_pair_f32 *wgmma_sums_at(wgmma_shared &shared, int warp, int row, int pair)
{
    return &shared.sums[warp][row][pair ^ row % 4 * 4];
}
struct alignas(16) wgmma_four {
    float at[4];
};
struct alignas(8) wgmma_four_rounded {
    uint32_t at[2];
};

/* Four neighbours of a row, loaded or stored at once. */
template <typename type> HUNZE_INLINE wgmma_four wgmma_load_four(const void *p, int64_t at, bool is_f32)
{
    if (is_f32)
        return load_global(reinterpret_cast<const wgmma_four *>(static_cast<const float *>(p) + at));
    const wgmma_four_rounded bits =
        load_global(reinterpret_cast<const wgmma_four_rounded *>(static_cast<const uint16_t *>(p) + at));
    return {{type::widen((uint16_t)bits.at[0]), type::widen((uint16_t)(bits.at[0] >> 16)),
             type::widen((uint16_t)bits.at[1]), type::widen((uint16_t)(bits.at[1] >> 16))}};
}
template <typename type>
HUNZE_INLINE void wgmma_store_four(const hunze_cuda_half_epilogue &e, int64_t at, const wgmma_four &t)
{
    if (e.d_f32) {
        store_global(reinterpret_cast<wgmma_four *>(static_cast<float *>(e.d) + at), t);
        return;
    }
    const wgmma_four_rounded rounded = {{type::round_pair(t.at[0], t.at[1]), type::round_pair(t.at[2], t.at[3])}};
    store_global(reinterpret_cast<wgmma_four_rounded *>(static_cast<uint16_t *>(e.d) + at), rounded);
}

/* A warp's rows and 64 of its columns, sums of which lie in shared memory: each thread has four columns of every other row, and of these
 * rows four at once. */
struct wgmma_part {
    enum { THREADS = PART_N / 4, STEP = 32 / THREADS, COUNT = WARP_M / STEP, AT_ONCE = 4 };
    const hunze_cuda_wgmma_product &p;
    const tile_place &place;
    wgmma_shared &shared;
    int warp;
    int64_t column;

    HUNZE_MEMBER int row(int i) const { return thread_index() % 32 / THREADS + i * STEP; }
    HUNZE_MEMBER int64_t d_row(int i) const { return place.row + warp * WARP_M + row(i); }
    HUNZE_MEMBER wgmma_four *sums(int i) const
    {
        return reinterpret_cast<wgmma_four *>(wgmma_sums_at(shared, warp, row(i), thread_index() % THREADS * 2));
    }

    /* Four columns of four rows of an operand; all loads are on their way before the first is waited for. */
    template <typename type>
    HUNZE_MEMBER void load(wgmma_four (&four)[AT_ONCE], int first, const void *from, int64_t offset, int64_t step,
                           bool is_f32) const
    {
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (INSIDE(d_row(first + i) < p.m))
                four[i] = wgmma_load_four<type>(from, offset + d_row(first + i) * step + column, is_f32);
            else
                four[i] = {{0, 0, 0, 0}};
    }

    template <typename type> HUNZE_MEMBER void store_fours() const
    {
        const hunze_cuda_half_epilogue &e = p.epilogue;
        wgmma_four bias = {{0, 0, 0, 0}};
        if (e.bias && p.bias_row == 0)
#pragma unroll
            for (int j = 0; j < 4; j++)
                bias.at[j] = half_load<type>(e.bias, (column + j) * e.bias_column, e.bias_f32);
#pragma unroll 1
        for (int i = 0; i < COUNT; i += AT_ONCE)
            store_some<type>(i, bias);
    }

#define WGMMA_EACH(i, j)                                                                                               \
    _Pragma("unroll") for (int i = 0; i < AT_ONCE; i++) _Pragma("unroll") for (int j = 0; j < 4; j++)

    /* half_finish's steps, each for all before the next. */
    template <typename type> HUNZE_MEMBER void store_some(int first, const wgmma_four &bias) const
    {
        const hunze_cuda_half_epilogue &e = p.epilogue;
        wgmma_four t[AT_ONCE], other[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            t[i] = load_shared(sums(first + i));
        if (e.c) {
            load<type>(other, first, e.c, place.offset[HUNZE_CUDA_OF_C], p.c_row, e.d_f32);
            WGMMA_EACH(i, j) t[i].at[j] = fma_rn(e.alpha, t[i].at[j], mul_rn(e.beta, other[i].at[j]));
        } else {
            WGMMA_EACH(i, j) t[i].at[j] = mul_rn(e.alpha, t[i].at[j]);
        }
        if (e.bias && p.bias_row == 0) {
            WGMMA_EACH(i, j) t[i].at[j] = add_rn(t[i].at[j], bias.at[j]);
        } else if (e.bias) {
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++)
                other[i].at[0] = INSIDE(d_row(first + i) < p.m)
                                     ? half_load<type>(e.bias, d_row(first + i) * p.bias_row, e.bias_f32)
                                     : 0.0f;
            WGMMA_EACH(i, j) t[i].at[j] = add_rn(t[i].at[j], other[i].at[0]);
        }
        if (e.residual) {
            load<type>(other, first, e.residual, place.offset[HUNZE_CUDA_OF_RESIDUAL], p.residual_row, e.residual_f32);
            WGMMA_EACH(i, j) t[i].at[j] = add_rn(t[i].at[j], other[i].at[j]);
        }
        if (e.activation != HUNZE_ACT_NONE)
            activate(first, t);
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (INSIDE(d_row(first + i) < p.m))
                wgmma_store_four<type>(e, place.offset[HUNZE_CUDA_OF_D] + d_row(first + i) * p.d_row + column, t[i]);
    }
#undef WGMMA_EACH

    /* By way of this thread's places in shared memory, so that the activations' code is there once. */
    HUNZE_MEMBER void activate(int first, wgmma_four (&t)[AT_ONCE]) const
    {
        const hunze_cuda_half_epilogue &e = p.epilogue;
        const vf_activation act =
            vf_activation_of((hunze_activation_kind)e.activation, e.activation_alpha, e.activation_beta);
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            store_shared(sums(first + i), t[i]);
#pragma unroll 1
        for (int i = 0; i < AT_ONCE; i++) {
            wgmma_four four = load_shared(sums(first + i));
#pragma unroll 1
            for (int j = 0; j < 4; j++) {
                const float last = vf_activate(&act, four.at[0]);
                four = {{four.at[1], four.at[2], four.at[3], last}};
            }
            store_shared(sums(first + i), four);
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            t[i] = load_shared(sums(first + i));
    }

    template <typename type> HUNZE_MEMBER void store_pairs() const
    {
#pragma unroll 1
        for (int i = 0; i < COUNT; i++) {
            const half_row at = {place.offset[HUNZE_CUDA_OF_D] + d_row(i) * p.d_row,
                                 place.offset[HUNZE_CUDA_OF_C] + d_row(i) * p.c_row,
                                 d_row(i) * p.bias_row, /* one for all matrices */
                                 place.offset[HUNZE_CUDA_OF_RESIDUAL] + d_row(i) * p.residual_row};
            const wgmma_four four = load_shared(sums(i));
#pragma unroll 1
            for (int half = 0; half < 2; half++) {
                const float pair[2] = {half ? four.at[2] : four.at[0], half ? four.at[3] : four.at[1]};
                if (INSIDE(d_row(i) < p.m))
                    half_store<type>(p.epilogue, at, column + 2 * half, pair, p.n - column - 2 * half);
            }
        }
    }
};

template <typename type>
HUNZE_INLINE void wgmma_store(const hunze_cuda_wgmma_product &p, wgmma_shared &shared, const tile_place &place,
                              const float (&sums)[128], int group)
{
    const int thread = thread_index() % GROUP, lane = thread % 32, warp = group * (GROUP / 32) + thread / 32;
#pragma unroll 1
    for (int part = 0; part < TILE_N / PART_N; part++) {
        SYNC_NAMED(1 + group, GROUP); /* the part before has been read */
#pragma unroll
        for (int i = 0; i < 128; i += 2)
            if (part == i / 32) { /* registers have no index at run time */
                const half_pair_f32 pair = {{sums[i], sums[i + 1]}};
                store_shared(wgmma_sums_at(shared, warp, lane / 4 + i / 2 % 2 * 8, i % 32 / 4 * 4 + lane % 4), pair);
            }
        SYNC_NAMED(1 + group, GROUP);
        const wgmma_part rest = {p, place, shared, warp, place.column + part * PART_N + lane % (PART_N / 4) * 4};
        if (p.fours && INSIDE(rest.column + 4 <= p.n))
            rest.store_fours<type>();
        else
            rest.store_pairs<type>();
    }
}

template <typename type, bool A_BY_ROWS, bool B_BY_ROWS>
HUNZE_INLINE void wgmma_consume(const hunze_cuda_wgmma_product &p, wgmma_shared &shared, int group)
{
    wgmma_stage stage = {0, 0};
    const uint64_t a = wgmma_operand<A_BY_ROWS>(shared.a[0], group * GROUP_M),
                   b = wgmma_operand<B_BY_ROWS>(shared.b[0], 0);
    const bool releases = thread_index() % 32 == 0; /* for its warp */
#pragma unroll 1
    for (uint32_t tile = (uint32_t)block_x(); tile < p.tiles; tile += (uint32_t)blocks_x()) {
        float sums[128];
        int before = 0; /* the stage whose products may still be on their way */
#pragma unroll 1
        for (uint32_t step = 0; step < p.steps; step++, stage.next()) {
            BARRIER_WAIT(&shared.full[stage.at], stage.parity);
            WGMMA_FENCE();
#pragma unroll
            for (int i = 0; i < TILE_K / 16; i++)
                wgmma_multiply<A_BY_ROWS, B_BY_ROWS>(type(), sums, wgmma_operand_at<A_BY_ROWS>(a, stage.at, TILE_M, i),
                                                     wgmma_operand_at<B_BY_ROWS>(b, stage.at, TILE_N, i),
                                                     step > 0 || i > 0);
            WGMMA_COMMIT();
            WGMMA_WAIT(1);
            if (step > 0 && releases)
                BARRIER_ARRIVE(&shared.empty[before]);
            before = stage.at;
        }
        WGMMA_WAIT(0);
        wgmma_results(sums);
        if (p.steps > 0 && releases)
            BARRIER_ARRIVE(&shared.empty[before]);
        if (p.steps == 0)
#pragma unroll
            for (int i = 0; i < 128; i++)
                sums[i] = 0;
        wgmma_store<type>(p, shared, wgmma_place_of(p, tile), sums, group);
    }
}

/* ------------------------------------------------------------------ a block */

/* BY_ROWS: neighbours in memory are neighbours in m (B: in n) rather than in k. */
template <typename type, bool A_BY_ROWS, bool B_BY_ROWS>
HUNZE_INLINE void wgmma_product(const hunze_cuda_wgmma_product &p)
{
    wgmma_shared &shared = SHARED(wgmma_shared);
    if (thread_index() == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_init(&shared.full[i], 1);
            barrier_init(&shared.empty[i], CONSUMERS * GROUP / 32);
        }
        FENCE_BARRIER_INIT();
    }
    SYNC_BLOCK();
    const int group = uniform(thread_index() / GROUP);
    if (group == 0) {
        registers_release<40>();
        if (thread_index() == 0)
            wgmma_produce<A_BY_ROWS, B_BY_ROWS>(p, shared);
    } else {
        registers_take<232>();
        wgmma_consume<type, A_BY_ROWS, B_BY_ROWS>(p, shared, group - 1);
    }
}

#endif
