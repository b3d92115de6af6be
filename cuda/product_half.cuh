/* SPDX-License-Identifier: Apache-2.0 */
/* D = act(alpha * A * B + beta * C + bias + residual) of bf16 or f16 by mma.sync m16n8k16, sums in f32: one chain of mma per element, k
 * ascending, whatever the tile.  So an element has the same bits in each of them, and m, n and the batch do not matter.
 *
 * Tile TILE_M x TILE_N of 2 x WARPS_N warps.  Operands come in HUNZE_CUDA_HALF_STAGES stages of 32 of k, one barrier each; fragments are read
 * by ldmatrix, transposed where shared memory has rows together.  Sums then go through shared memory, 128 columns at a time, so that threads
 * meet D along the axis on which its elements lie closer together.  The including file says which type. */
#ifndef HUNZE_PRODUCT_HALF_CUH
#define HUNZE_PRODUCT_HALF_CUH

#include "epilogue_half.cuh"
#include "tile_half.cuh"
#include "tile_order.cuh"

HUNZE_INLINE void half_mma(type_bf16, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    mma_bf16(d, a, b);
}
HUNZE_INLINE void half_mma(type_f16, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    mma_f16(d, a, b);
}

/* ------------------------------------------------------------------ the shape of a kernel */

template <int TILE_M_, int TILE_N_, int WARPS_N_> struct half_shape {
    enum {
        TILE_M = TILE_M_,
        TILE_N = TILE_N_,
        WARPS_M = 2,
        WARPS_N = WARPS_N_,
        THREADS = 32 * WARPS_M * WARPS_N,
        WARP_M = TILE_M / WARPS_M,
        WARP_N = TILE_N / WARPS_N,
        FRAGMENTS_M = WARP_M / 16,
        FRAGMENTS_N = WARP_N / 8,
        STAGES = HUNZE_CUDA_HALF_STAGES,
        SLICE_N = TILE_N < 128 ? TILE_N : 128 /* columns whose sums lie in shared memory at once */
    };
    static_assert(WARP_M <= 64 && WARP_N <= 64 && WARP_N % 16 == 0, "a warp's chunks of a line are exchanged by XOR");
};
typedef half_shape<HUNZE_CUDA_HALF_SMALL, HUNZE_CUDA_HALF_SMALL, 2> half_small;
typedef half_shape<HUNZE_CUDA_HALF_LARGE, HUNZE_CUDA_HALF_LARGE, 4> half_large;
typedef half_shape<HUNZE_CUDA_HALF_LARGE, HUNZE_CUDA_HALF_WIDE, 4> half_wide;

template <typename shape> struct half_shared {
    union {
        struct {
            uint16_t a[shape::STAGES][shape::TILE_M * HALF_K], b[shape::STAGES][shape::TILE_N * HALF_K];
        };
        float sum[shape::TILE_M * shape::SLICE_N];
    };
    union {
        half_gathered_row gathered[shape::TILE_M];
        struct {
            int64_t d_row[shape::TILE_M], residual_row[shape::TILE_M];
        };
    };
};
static_assert(sizeof(half_shared<half_small>) == HUNZE_CUDA_HALF_SMALL_SHARED &&
                  sizeof(half_shared<half_large>) == HUNZE_CUDA_HALF_LARGE_SHARED &&
                  sizeof(half_shared<half_wide>) == HUNZE_CUDA_HALF_WIDE_SHARED,
              "what launches give");

/* Where a sum lies: pairs of columns are exchanged such that neither those of four rows of a fragment nor 16 rows meet in a bank. */
template <typename shape> HUNZE_INLINE int half_sum_at(int row, int column)
{
    return row * shape::SLICE_N + (column ^ ((row & 3) << 3 | (row >> 2 & 3) << 1));
}

/* ------------------------------------------------------------------ where a tile lies */

template <typename shape> HUNZE_INLINE tile_place half_place_of(const hunze_cuda_half_product &p, int64_t block)
{
    return tile_place_of(p, shape::TILE_M, shape::TILE_N, (uint32_t)block);
}

/* ------------------------------------------------------------------ a warp's sums */

template <typename shape> struct half_warp {
    enum { FRAGMENTS_M = shape::FRAGMENTS_M, FRAGMENTS_N = shape::FRAGMENTS_N };
    float sum[FRAGMENTS_M][FRAGMENTS_N][4];

    HUNZE_MEMBER half_warp() : sum() {}

    HUNZE_MEMBER static int warp_m(int thread) { return thread / 32 / shape::WARPS_N; }
    HUNZE_MEMBER static int warp_n(int thread) { return thread / 32 % shape::WARPS_N; }

    /* The chunk of a tile that this lane names to ldmatrix for the first fragment of A, or for the first two of B: row_bit and k_bit are those
     * of the matrix's number that lead to the next eight rows and to the next eight of k. */
    template <int ROWS>
    HUNZE_MEMBER static int lane_at(bool along_rows, int first_row, int lane, int row_bit, int k_bit)
    {
        const int matrix = lane / 8, row = first_row + (matrix >> row_bit & 1) * 8, k = (matrix >> k_bit & 1) * 8;
        return along_rows ? half_at_k<ROWS>(row, k + lane % 8) : half_at_row(row + lane % 8, k);
    }
    HUNZE_MEMBER static int a_at(bool along_rows, int thread)
    {
        return lane_at<shape::TILE_M>(along_rows, warp_m(thread) * shape::WARP_M, thread % 32, 0, 1);
    }
    HUNZE_MEMBER static int b_at(bool along_rows, int thread)
    {
        return lane_at<shape::TILE_N>(along_rows, warp_n(thread) * shape::WARP_N, thread % 32, 1, 0);
    }

    /* 16 rows, 16 of k: rows `row` and k `step` further than `first`. */
    template <int ROWS, bool ALONG_ROWS>
    HUNZE_MEMBER static void read(uint32_t (&d)[4], const uint16_t *tile, int first, int row, int step)
    {
        ldmatrix<ALONG_ROWS>(d, tile + (ALONG_ROWS ? (first ^ row) + step * ROWS : (first ^ step) + row * HALF_K));
    }

    template <typename type, bool A_ALONG_ROWS, bool B_ALONG_ROWS>
    HUNZE_MEMBER void multiply(const uint16_t *a_tile, const uint16_t *b_tile, int a_first, int b_first)
    {
#pragma unroll
        for (int step = 0; step < HALF_K; step += 16) {
            uint32_t a[FRAGMENTS_M][4], b[FRAGMENTS_N / 2][4];
#pragma unroll
            for (int i = 0; i < FRAGMENTS_M; i++)
                read<shape::TILE_M, A_ALONG_ROWS>(a[i], a_tile, a_first, 16 * i, step);
#pragma unroll
            for (int j = 0; j < FRAGMENTS_N / 2; j++)
                read<shape::TILE_N, B_ALONG_ROWS>(b[j], b_tile, b_first, 16 * j, step);
#pragma unroll
            for (int i = 0; i < FRAGMENTS_M; i++)
#pragma unroll
                for (int j = 0; j < FRAGMENTS_N; j++) {
                    const uint32_t fragment[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                    half_mma(type(), sum[i][j], a[i], fragment);
                }
        }
    }

    /* Those of columns [first_column, first_column + SLICE_N) of the tile. */
    HUNZE_MEMBER void put(float *to, int thread, int first_column) const
    {
        const int lane = thread % 32, column = warp_n(thread) * shape::WARP_N - first_column;
        if (column < 0 || column >= shape::SLICE_N)
            return;
#pragma unroll
        for (int i = 0; i < FRAGMENTS_M; i++)
#pragma unroll
            for (int j = 0; j < FRAGMENTS_N; j++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int row = warp_m(thread) * shape::WARP_M + 16 * i + 8 * half + lane / 4;
                    const half_pair_f32 pair = {{sum[i][j][2 * half], sum[i][j][2 * half + 1]}};
                    store_shared(reinterpret_cast<half_pair_f32 *>(
                                     to + half_sum_at<shape>(row, column + 8 * j + 2 * (lane % 4))),
                                 pair);
                }
    }
};

/* ------------------------------------------------------------------ from sums to D */

/* Offsets of the tile's rows in D and the residual. */
template <typename shape>
HUNZE_INLINE void half_rows(const hunze_cuda_half_product &p, const tile_place &place, half_shared<shape> &shared)
{
    const hunze_cuda_positions &at = p.positions;
    const int width = (int)at.width, height = (int)at.height;
    for (int i = thread_index(); i < shape::TILE_M; i += shape::THREADS) {
        const int row = place.row + i, line = row / width, x = row % width, image = line / height, y = line % height;
        store_shared(&shared.d_row[i], image * at.d[0] + y * at.d[1] + x * at.d[2]);
        store_shared(&shared.residual_row[i], image * at.residual[0] + y * at.residual[1] + x * at.residual[2]);
    }
}

/* Threads go along the axis on which D's elements lie closer together: rows, or pairs of columns. */
template <typename type, typename shape>
HUNZE_INLINE void half_put(const hunze_cuda_half_product &p, const tile_place &place, int first_column,
                           const half_shared<shape> &shared)
{
    enum { PAIRS = shape::SLICE_N / 2, EACH = shape::TILE_M * PAIRS / shape::THREADS };
    const hunze_cuda_half_epilogue &e = p.epilogue;
    const int64_t d_row = p.positions.d[2];
    const bool by_columns = d_row != 0 && (e.d_column < 0 ? -e.d_column : e.d_column) > (d_row < 0 ? -d_row : d_row);
    const int rows = p.m - place.row, columns = p.n - place.column - first_column;
#pragma unroll 1
    for (int i = 0; i < EACH; i++) {
        const int index = i * shape::THREADS + thread_index();
        const int row = by_columns ? index % shape::TILE_M : index / PAIRS,
                  column = 2 * (by_columns ? index / shape::TILE_M : index % PAIRS);
        if (!INSIDE(row < rows && column < columns))
            continue;
        const half_pair_f32 pair =
            load_shared(reinterpret_cast<const half_pair_f32 *>(shared.sum + half_sum_at<shape>(row, column)));
        const half_row at = {
            place.offset[HUNZE_CUDA_OF_D] + load_shared(&shared.d_row[row]),
            place.offset[HUNZE_CUDA_OF_C] + (place.row + row) * p.c_row,
            place.offset[HUNZE_CUDA_OF_BIAS] + (place.row + row) * p.bias_row,
            place.offset[HUNZE_CUDA_OF_RESIDUAL] + load_shared(&shared.residual_row[row]),
        };
        half_store<type>(e, at, place.column + first_column + column, pair.at, columns - column);
    }
}

/* ------------------------------------------------------------------ a tile */

template <typename type, bool GATHERED, typename shape>
HUNZE_INLINE void half_multiply(const hunze_cuda_half_product &p, half_warp<shape> &warp, const uint16_t *a,
                                const uint16_t *b, int a_first, int b_first)
{
    if (GATHERED)
        warp.template multiply<type, false, true>(a, b, a_first, b_first);
    else if (p.a.along_rows && p.b.along_rows)
        warp.template multiply<type, true, true>(a, b, a_first, b_first);
    else if (p.a.along_rows)
        warp.template multiply<type, true, false>(a, b, a_first, b_first);
    else if (p.b.along_rows)
        warp.template multiply<type, false, true>(a, b, a_first, b_first);
    else
        warp.template multiply<type, false, false>(a, b, a_first, b_first);
}

template <typename type, bool GATHERED, typename shape, typename ALoader, typename BLoader>
HUNZE_INLINE void half_tile(const hunze_cuda_half_product &p, half_shared<shape> &shared, ALoader &a, BLoader &b)
{
    enum { STAGES = shape::STAGES };
    half_warp<shape> warp;
    const int a_first = half_warp<shape>::a_at(!GATHERED && p.a.along_rows, thread_index()),
              b_first = half_warp<shape>::b_at(GATHERED || p.b.along_rows, thread_index());
    for (int stage = 0; stage < STAGES - 1; stage++) {
        const int left = p.k - stage * HALF_K;
        if (left > 0) {
            a.get(shared.a[stage], left);
            b.get(shared.b[stage], left);
        }
        copy_async_commit();
    }
    int now = 0;
#pragma unroll 1
    for (int left = p.k; left > 0; left -= HALF_K) {
        copy_async_wait<STAGES - 2>();
        SYNC_BLOCK(); /* this stage has arrived, and nobody reads the last one any more */
        const int ahead = left - (STAGES - 1) * HALF_K;
        if (ahead > 0) {
            const int free = now ? now - 1 : STAGES - 1;
            a.get(shared.a[free], ahead);
            b.get(shared.b[free], ahead);
        }
        copy_async_commit();
        half_multiply<type, GATHERED>(p, warp, shared.a[now], shared.b[now], a_first, b_first);
        now = now + 1 == STAGES ? 0 : now + 1;
    }
    const tile_place place = half_place_of<shape>(p, anew(block_x()));
#pragma unroll 1
    for (int column = 0; column < shape::TILE_N; column += shape::SLICE_N) {
        SYNC_BLOCK(); /* the stages, whose copies were all waited for, then the last sums, become the memory of sums */
        warp.put(shared.sum, anew(thread_index()), column);
        if (column == 0)
            half_rows(p, place, shared);
        SYNC_BLOCK();
        half_put<type>(p, place, column, shared);
    }
}

template <typename shape>
HUNZE_INLINE half_strided_loader<shape::TILE_N, shape::THREADS> half_b_loader(const hunze_cuda_half_product &p,
                                                                              const tile_place &place)
{
    return {p.b, place.offset[HUNZE_CUDA_OF_B] + place.column * p.b.row_step, p.n - place.column};
}

/* A's rows are one stride apart. */
template <typename type, typename shape> HUNZE_INLINE void half_strided(const hunze_cuda_half_product &p)
{
    typedef half_shared<shape> shared_memory;
    const tile_place place = half_place_of<shape>(p, block_x());
    half_strided_loader<shape::TILE_M, shape::THREADS> a(p.a, place.offset[HUNZE_CUDA_OF_A] + place.row * p.a.row_step,
                                                         p.m - place.row);
    auto b = half_b_loader<shape>(p, place);
    half_tile<type, false>(p, SHARED(shared_memory), a, b);
}

/* A's rows are gathered from images; B has rows together. */
template <typename type, typename shape> HUNZE_INLINE void half_gathered(const hunze_cuda_half_product &p)
{
    typedef half_shared<shape> shared_memory;
    shared_memory &shared = SHARED(shared_memory);
    const tile_place place = half_place_of<shape>(p, block_x());
    const uint16_t *first = static_cast<const uint16_t *>(p.a.data) + place.offset[HUNZE_CUDA_OF_A];
    for (int i = thread_index(); i < shape::TILE_M; i += shape::THREADS)
        store_shared(&shared.gathered[i], half_gathered_row_of(p, first, place.row + i));
    half_gathered_loader<shape::TILE_M, shape::THREADS> a(p, shared.gathered, p.m - place.row);
    auto b = half_b_loader<shape>(p, place);
    SYNC_BLOCK(); /* the table is there */
    half_tile<type, true>(p, shared, a, b);
}

#endif
