/* SPDX-License-Identifier: Apache-2.0 */
/* D = epilogue(sum over k of (A[i,k] - a_zero[i]) (B[k,j] - b_zero[j])), u8 or s8 times s8, exact in s32 (wrapping), by mma.sync m16n8k32.
 *
 * Tile TILE x TILE x 64 of WARPS = 2 x (THREADS/64) warps, each TILE/2 x 32: TILE*32/64 accumulators per thread.  Both operands lie in shared
 * memory with k along their rows (tile_bytes.cuh), in HUNZE_CUDA_INT_STAGES stages; one barrier per 64 of k.
 * Zero points: sum ab - a_zero sum b - b_zero (sum a - k a_zero); the sums of a's rows and b's columns come from the fragments, each from
 * one warp of those that hold them. */
#ifndef HUNZE_PRODUCT_INTEGER_CUH
#define HUNZE_PRODUCT_INTEGER_CUH

#include "epilogue_integer.cuh"
#include "tile_bytes.cuh"
#include "tile_order.cuh"

/* The sums of a tile leave registers together, for what is done with each needs many of its own: the stages' memory then holds them. */
template <int TILE> union product_shared {
    struct {
        uint8_t stage[HUNZE_CUDA_INT_STAGES][2][TILE * HUNZE_CUDA_TILE_K];
        gathered_table<TILE> gathered;
    };
    struct {
        int32_t sum[TILE * TILE];
        int64_t d_row[TILE], residual_row[TILE];
        int32_t row_sum[TILE], row_zero[TILE], row_bias[TILE];
        int32_t column_sum[TILE], column_zero[TILE], column_bias[TILE], output_zero[TILE];
        float row_scale[TILE], column_scale[TILE], output_scale[TILE];
    };
};

static_assert(sizeof(product_shared<HUNZE_CUDA_INT_LARGE>) == HUNZE_CUDA_INT_LARGE_SHARED &&
                  sizeof(product_shared<HUNZE_CUDA_INT_SMALL>) == HUNZE_CUDA_INT_SMALL_SHARED,
              "what launches give");

/* Where a sum lies: within 32 columns exchanged such that neither the pairs of four rows of a fragment nor 32 rows meet in a bank. */
template <int TILE> HUNZE_INLINE int product_sum_at(int row, int column)
{
    return row * TILE + (column ^ (row % 4 * 8 + row / 4 % 8));
}

template <bool SIGNED> HUNZE_INLINE void product_mma(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    if (SIGNED)
        mma_s8s8(d, a, b);
    else
        mma_u8s8(d, a, b);
}

/* sum + the four bytes of A. */
template <bool SIGNED> HUNZE_INLINE int32_t product_add_bytes(uint32_t a, int32_t sum)
{
    return SIGNED ? dot4_s8s8(a, 0x01010101, sum) : dot4_u8s8(a, 0x01010101, sum);
}

/* The sum over the four lanes of a row of A's or a column of B's fragments. */
HUNZE_INLINE int32_t product_sum_lanes(int32_t sum)
{
    sum = wrapping_add(sum, shuffle_xor(sum, 1));
    return wrapping_add(sum, shuffle_xor(sum, 2));
}

template <int TILE, int THREADS, bool SIGNED> struct product_warp {
    enum {
        WARPS_M = 2,
        WARPS_N = THREADS / 64,
        FRAGMENTS_M = TILE / WARPS_M / 16,
        FRAGMENTS_N = TILE / WARPS_N / 8,
        SUMMED_N = FRAGMENTS_N / WARPS_M /* columns of fragments that a warp sums; of rows it is one */
    };
    static_assert(FRAGMENTS_N == 4 && FRAGMENTS_M == WARPS_N,
                  "32 columns per warp; each warp sums one fragment's rows");

    int32_t sum[FRAGMENTS_M][FRAGMENTS_N][4];
    int32_t row_sum[2], column_sum[SUMMED_N];

    HUNZE_MEMBER product_warp() : sum(), row_sum(), column_sum() {}

    /* A thread among those of its block. */
    struct position {
        int group, member, warp_m, warp_n, first_row, first_column;
        HUNZE_MEMBER explicit position(int thread)
        {
            group = thread % 32 / 4;
            member = thread % 4;
            warp_m = thread / 32 / WARPS_N;
            warp_n = thread / 32 % WARPS_N;
            first_row = warp_m * (TILE / WARPS_M);
            first_column = warp_n * 32;
        }
        HUNZE_MEMBER uint32_t word(const uint8_t *tile, int row, int k) const
        {
            return load_shared(reinterpret_cast<const uint32_t *>(tile + tile_at(row, k + 4 * member)));
        }
    };

    HUNZE_MEMBER void multiply(const position &at, const uint8_t *a_tile, const uint8_t *b_tile, bool sums_rows,
                               bool sums_columns)
    {
#pragma unroll 1
        for (int step = 0; step < HUNZE_CUDA_TILE_K; step += 32) {
            uint32_t b[FRAGMENTS_N][2];
#pragma unroll
            for (int j = 0; j < FRAGMENTS_N; j++) {
#pragma unroll
                for (int i = 0; i < 2; i++)
                    b[j][i] = at.word(b_tile, at.first_column + 8 * j + at.group, step + 16 * i);
                if (sums_columns && j / SUMMED_N == at.warp_m)
                    column_sum[j % SUMMED_N] =
                        dot4_s8s8(b[j][1], 0x01010101, dot4_s8s8(b[j][0], 0x01010101, column_sum[j % SUMMED_N]));
            }
#pragma unroll
            for (int i = 0; i < FRAGMENTS_M; i++) {
                uint32_t a[4];
#pragma unroll
                for (int q = 0; q < 4; q++)
                    a[q] = at.word(a_tile, at.first_row + 16 * i + at.group + q % 2 * 8, step + q / 2 * 16);
                if (sums_rows && i == at.warp_n) {
                    row_sum[0] = product_add_bytes<SIGNED>(a[2], product_add_bytes<SIGNED>(a[0], row_sum[0]));
                    row_sum[1] = product_add_bytes<SIGNED>(a[3], product_add_bytes<SIGNED>(a[1], row_sum[1]));
                }
#pragma unroll
                for (int j = 0; j < FRAGMENTS_N; j++)
                    product_mma<SIGNED>(sum[i][j], a, b[j]);
            }
        }
    }

    HUNZE_MEMBER void put_sums(const position &at, int32_t *rows, int32_t *columns) const
    {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int32_t sum_of_row = product_sum_lanes(row_sum[i]);
            if (at.member == 0)
                store_shared(rows + at.first_row + 16 * at.warp_n + 8 * i + at.group, sum_of_row);
        }
#pragma unroll
        for (int j = 0; j < SUMMED_N; j++) {
            const int32_t sum_of_column = product_sum_lanes(column_sum[j]);
            if (at.member == 0)
                store_shared(columns + at.first_column + 8 * (SUMMED_N * at.warp_m + j) + at.group, sum_of_column);
        }
    }

    HUNZE_MEMBER void put(const position &at, int32_t *to) const
    {
#pragma unroll
        for (int i = 0; i < FRAGMENTS_M; i++)
#pragma unroll
            for (int j = 0; j < FRAGMENTS_N; j++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int row = at.first_row + 16 * i + 8 * half + at.group;
                    const int word = product_sum_at<TILE>(row, at.first_column + 8 * j + 2 * at.member);
                    const uint32_t even = (uint32_t)sum[i][j][2 * half], odd = (uint32_t)sum[i][j][2 * half + 1];
                    const uint64_t pair = word % 2 ? odd | (uint64_t)even << 32 : even | (uint64_t)odd << 32;
                    store_shared(reinterpret_cast<uint64_t *>(to + (word & ~1)), pair);
                }
    }
};

/* What belongs to the tile's rows and columns, for product_put. */
template <int TILE, int THREADS, bool SIGNED>
HUNZE_INLINE void product_parameters(const hunze_cuda_int_product &p, const tile_place &place,
                                     product_shared<TILE> &shared)
{
    const hunze_cuda_int_epilogue &e = p.epilogue;
    const hunze_cuda_positions &at = p.positions;
    for (int i = thread_index(); i < 2 * TILE; i += THREADS) {
        const int row = place.row + i, j = i - TILE;
        const int64_t column = place.offset[HUNZE_CUDA_OF_BIAS] + place.column + j;
        if (i < TILE) {
            if (!INSIDE(row < p.m))
                continue;
            const int line = row / at.width, x = row % at.width, image = line / at.height, y = line % at.height;
            store_shared(&shared.d_row[i], image * at.d[0] + y * at.d[1] + x * at.d[2]);
            store_shared(&shared.residual_row[i], image * at.residual[0] + y * at.residual[1] + x * at.residual[2]);
            store_shared(&shared.row_scale[i], epilogue_row_scale(e, row));
            store_shared(&shared.row_bias[i], epilogue_row_bias(e, row));
            store_shared(&shared.row_zero[i], p.a_zero ? load_byte(p.a_zero, row * p.a_zero_stride, SIGNED) : 0);
        } else if (INSIDE(place.column + j < p.n)) {
            const epilogue_column own = epilogue_column_of(e, column);
            store_shared(&shared.column_scale[j], own.scale);
            store_shared(&shared.output_scale[j], own.output_scale);
            store_shared(&shared.output_zero[j], own.output_zero);
            store_shared(&shared.column_bias[j], epilogue_column_bias(e, column));
            store_shared(&shared.column_zero[j], p.b_zero ? load_byte(p.b_zero, column * p.b_zero_stride, true) : 0);
        }
    }
}

struct product_row {
    int32_t zero, sum /* of a - zero */, bias;
    float scale;
    int64_t d, residual; /* elements to the row */
};
template <int TILE> HUNZE_INLINE product_row product_row_of(const product_shared<TILE> &shared, int32_t k, int row)
{
    const int32_t zero = load_shared(&shared.row_zero[row]);
    return {zero,
            wrapping_sub(load_shared(&shared.row_sum[row]), wrapping_mul(k, zero)),
            load_shared(&shared.row_bias[row]),
            load_shared(&shared.row_scale[row]),
            load_shared(&shared.d_row[row]),
            load_shared(&shared.residual_row[row])};
}

struct product_column {
    int32_t zero, sum, bias;
    epilogue_column own;
};
template <int TILE> HUNZE_INLINE product_column product_column_of(const product_shared<TILE> &shared, int column)
{
    return {load_shared(&shared.column_zero[column]),
            load_shared(&shared.column_sum[column]),
            load_shared(&shared.column_bias[column]),
            {load_shared(&shared.column_scale[column]), load_shared(&shared.output_scale[column]),
             load_shared(&shared.output_zero[column])}};
}

/* Threads go along the axis on which D's elements lie closer together; each keeps its index on it. */
template <int TILE, int THREADS>
HUNZE_INLINE void product_put(const hunze_cuda_int_product &p, const tile_place &place, product_shared<TILE> &shared)
{
    static_assert(THREADS % TILE == 0, "a thread keeps its index");
    const hunze_cuda_int_epilogue &e = p.epilogue;
    const int64_t d_row = p.positions.d[2];
    const bool along_rows = (e.d_column < 0 ? -e.d_column : e.d_column) > (d_row < 0 ? -d_row : d_row);
    const int kept = thread_index() % TILE, rows = p.m - place.row, columns = p.n - place.column;
    if (!INSIDE(kept < (along_rows ? rows : columns)))
        return;
    product_row row = product_row_of(shared, p.k, kept);
    product_column column = product_column_of(shared, kept);
#pragma unroll 1
    for (int other = thread_index() / TILE; other < TILE; other += THREADS / TILE) {
        if (!INSIDE(other < (along_rows ? columns : rows)))
            break;
        const int i = along_rows ? kept : other, j = along_rows ? other : kept;
        if (along_rows)
            column = product_column_of(shared, j);
        else
            row = product_row_of(shared, p.k, i);
        int32_t v = load_shared(&shared.sum[product_sum_at<TILE>(i, j)]);
        v = wrapping_sub(v, wrapping_mul(row.zero, column.sum));
        v = wrapping_sub(v, wrapping_mul(column.zero, row.sum));
        v = wrapping_add(v, wrapping_add(row.bias, column.bias));
        const int at = place.column + j;
        epilogue_store(e, v, place.row + i, place.offset[HUNZE_CUDA_OF_BIAS] + at, row.scale, column.own,
                       place.offset[HUNZE_CUDA_OF_D] + row.d + at * e.d_column,
                       place.offset[HUNZE_CUDA_OF_RESIDUAL] + row.residual + at * e.residual_column);
    }
}

template <int TILE, int THREADS, bool SIGNED, typename ARows>
HUNZE_INLINE void product_tile(const hunze_cuda_int_product &p, product_shared<TILE> &shared, const ARows &a_rows,
                               const strided_rows &b_rows)
{
    enum { STAGES = HUNZE_CUDA_INT_STAGES };
    tile_loader<TILE, THREADS, ARows> a(p.a, a_rows);
    tile_loader<TILE, THREADS, strided_rows> b(p.b, b_rows);
    typedef product_warp<TILE, THREADS, SIGNED> warp_of_product;
    warp_of_product warp;
    const typename warp_of_product::position lane(thread_index());
    for (int stage = 0; stage < STAGES - 1; stage++) {
        if (stage * HUNZE_CUDA_TILE_K < p.k) {
            a.get(shared.stage[stage][0], stage * HUNZE_CUDA_TILE_K);
            b.get(shared.stage[stage][1], stage * HUNZE_CUDA_TILE_K);
        }
        copy_async_commit();
    }
    int now = 0;
#pragma unroll 1
    for (int k = 0; k < p.k; k += HUNZE_CUDA_TILE_K) {
        copy_async_wait<STAGES - 2>();
        SYNC_BLOCK(); /* this stage has arrived, and nobody reads the last one any more */
        const int next = k + (STAGES - 1) * HUNZE_CUDA_TILE_K;
        if (next < p.k) {
            const int stage = now ? now - 1 : STAGES - 1;
            a.get(shared.stage[stage][0], next);
            b.get(shared.stage[stage][1], next);
        }
        copy_async_commit();
        warp.multiply(lane, shared.stage[now][0], shared.stage[now][1], p.b_zero != nullptr, p.a_zero != nullptr);
        now = now + 1 == STAGES ? 0 : now + 1;
    }
    SYNC_BLOCK(); /* the stages, whose copies were all waited for, become the memory of the sums */
    const typename warp_of_product::position end_lane(anew(thread_index()));
    warp.put(end_lane, shared.sum);
    warp.put_sums(end_lane, shared.row_sum, shared.column_sum);
    const tile_place place = tile_place_of(p, TILE, TILE, (uint32_t)anew((int)block_x()));
    product_parameters<TILE, THREADS, SIGNED>(p, place, shared);
    SYNC_BLOCK();
    product_put<TILE, THREADS>(p, place, shared);
}

template <int TILE> HUNZE_INLINE strided_rows product_b_rows(const hunze_cuda_int_product &p, const tile_place &place)
{
    const int64_t offset = place.offset[HUNZE_CUDA_OF_B] + place.column * p.b.row_step;
    return {static_cast<const uint8_t *>(p.b.data) + offset, p.b.row_step, p.n - place.column};
}

/* A's rows one stride apart. */
template <int TILE, int THREADS, bool SIGNED> HUNZE_INLINE void product_strided(const hunze_cuda_int_product &p)
{
    typedef product_shared<TILE> shared_type;
    const tile_place place = tile_place_of(p, TILE, TILE, (uint32_t)block_x());
    const int64_t offset = place.offset[HUNZE_CUDA_OF_A] + place.row * p.a.row_step;
    const strided_rows rows = {static_cast<const uint8_t *>(p.a.data) + offset, p.a.row_step, p.m - place.row};
    product_tile<TILE, THREADS, SIGNED>(p, SHARED(shared_type), rows, product_b_rows<TILE>(p, place));
}

/* A's rows gathered from an image. */
template <int TILE, int THREADS, bool SIGNED> HUNZE_INLINE void product_gathered(const hunze_cuda_int_product &p)
{
    typedef product_shared<TILE> shared_type;
    const tile_place place = tile_place_of(p, TILE, TILE, (uint32_t)block_x());
    auto &shared = SHARED(shared_type);
    const uint8_t *first = static_cast<const uint8_t *>(p.a.data) + place.offset[HUNZE_CUDA_OF_A];
    for (int row = thread_index(); row < TILE; row += THREADS)
        store_shared(&shared.gathered.rows[row], gathered_row_of(p.gather, p.positions, first, place.row + row));
    if (thread_index() == 0) {
        const uint32_t zero = p.a_zero ? load_global(static_cast<const uint8_t *>(p.a_zero)) : 0;
        store_shared(&shared.gathered.pad, zero * 0x01010101u);
    }
    SYNC_BLOCK();
    const gathered_rows<TILE> rows = {p.gather, shared.gathered, p.m - place.row};
    product_tile<TILE, THREADS, SIGNED>(p, shared, rows, product_b_rows<TILE>(p, place));
}

#endif
