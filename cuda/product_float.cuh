/* SPDX-License-Identifier: Apache-2.0 */
/* D = act(alpha * A * B + beta * C + bias + residual) of f32 or f64, each sum in the order of docs/NUMERICS.md: one chain of fma per K block, the
 * blocks added to a total; both are in registers.
 *
 * A block of 16 x 16 threads has a tile of D: each thread GROUPS x GROUPS groups of 4 x 4 elements (f64: 2 x 2), so that it reads operands
 * from shared memory by 16 bytes without bank conflicts.  Three stages of 16 of k, one barrier each.  The including file says HUNZE_FLOAT_BITS. */
#ifndef HUNZE_PRODUCT_FLOAT_CUH
#define HUNZE_PRODUCT_FLOAT_CUH

#include "gather_float.cuh"
#include "tile_order.cuh"
#include "vocabulary.cuh"
#include "../src/simd/float_type.h"
#include "../src/simd/activation.h"

enum { PRODUCT_KC = HUNZE_FLOAT_BITS == 32 ? HUNZE_KC_F32 : HUNZE_KC_F64 };
static_assert(PRODUCT_KC % 16 == 0, "K blocks are whole tiles");

/* ------------------------------------------------------------------ where a tile lies */

struct product_place {
    int64_t row, column; /* of D; rows of a phase */
    uint32_t phase, k_block;
    uint32_t matrix; /* with phases and K blocks, which are the slowest */
    int64_t offset[HUNZE_CUDA_OF_COUNT];
};

HUNZE_INLINE product_place product_place_of(const hunze_cuda_float_product &p, uint32_t index, int size)
{
    const tile_index tile = tile_index_of(p.tiles_m, p.tiles_n, index);
    const uint32_t phases = (uint32_t)p.gather.axis[0].phases * (uint32_t)p.gather.axis[1].phases;
    product_place place = {
        (int64_t)tile.row * size, (int64_t)tile.column * size, tile.matrix % phases, 0, tile.matrix, {0}};
    place.k_block = tile_offsets(p.matrices, tile.matrix / phases, place.offset);
    return place;
}

/* What a block of threads has of k. */
struct product_range {
    int64_t first, count;
};

HUNZE_INLINE product_range product_range_of(const hunze_cuda_float_product &p, uint32_t k_block, int64_t k)
{
    if (!p.partial)
        return {0, k};
    const int64_t first = (int64_t)k_block * PRODUCT_KC;
    return {first, k_block + 1 < p.k_blocks ? (int64_t)PRODUCT_KC : k - first};
}

/* Where the sums of a tile of SPAN begin, in a matrix of a K block. */
HUNZE_INLINE scalar *product_partial(const hunze_cuda_float_product &p, uint32_t matrix, int64_t row, int64_t column)
{
    enum { SPAN = tile_shape<scalar, 1>::SPAN };
    const int64_t tile = ((int64_t)matrix * p.partial_rows + row / SPAN) * p.partial_columns + column / SPAN;
    return static_cast<scalar *>(p.partial) + tile * SPAN * SPAN;
}

/* ------------------------------------------------------------------ shared memory */

template <int GROUPS> struct product_shared {
    typedef tile_shape<scalar, GROUPS> shape;
    union {
        struct {
            tile_of<scalar, GROUPS> a[shape::STAGES], b[shape::STAGES];
        };
        scalar total[shape::TILE * shape::TILE];
    };
    int64_t d_row[shape::TILE], residual_row[shape::TILE];
};
template <int GROUPS> struct product_gathered_shared {
    product_shared<GROUPS> product;
    gather_tables<tile_shape<scalar, GROUPS>::TILE> tables;
};

/* A total's place: `slow` and `fast` are its row and column, or its column and row.  Vectors within 8 of them are exchanged such that threads
 * meet different banks whichever way they write. */
template <int GROUPS> HUNZE_INLINE int product_total_at(int slow, int fast)
{
    typedef tile_shape<scalar, GROUPS> shape;
    return slow * shape::TILE + (fast ^ slow / shape::VECTOR % 8 * shape::VECTOR);
}

/* ------------------------------------------------------------------ a thread's sums */

template <int GROUPS> struct product_sums {
    typedef tile_shape<scalar, GROUPS> shape;
    typedef vector_of<scalar> vector;
    enum { VECTOR = shape::VECTOR, SPAN = shape::SPAN };

    /* Element (i, j) of group (g, h): row g*SPAN + y + i, column h*SPAN + x + j. */
    scalar sum[GROUPS][VECTOR][GROUPS][VECTOR], total[GROUPS][VECTOR][GROUPS][VECTOR];

    HUNZE_MEMBER static int y() { return (thread_index() / 64 * 4 + thread_index() % 32 / 8) * VECTOR; }
    HUNZE_MEMBER static int x() { return (thread_index() / 32 % 2 * 8 + thread_index() % 8) * VECTOR; }

#define PRODUCT_EACH(g, i, h, j)                                                                                       \
    _Pragma("unroll") for (int g = 0; g < GROUPS; g++) _Pragma("unroll") for (int i = 0; i < VECTOR; i++)              \
        _Pragma("unroll") for (int h = 0; h < GROUPS; h++) _Pragma("unroll") for (int j = 0; j < VECTOR; j++)

    /* The totals begin with beta * c, or with -0, which is the same as nothing. */
    HUNZE_MEMBER product_sums(const hunze_cuda_float_product &p, const product_place &place)
    {
        const scalar *c = static_cast<const scalar *>(p.c) + place.offset[HUNZE_CUDA_OF_C];
        const int64_t row = place.row + y(), column = place.column + x();
        PRODUCT_EACH(g, i, h, j)
        {
            const int64_t at_row = row + g * SPAN + i, at_column = column + h * SPAN + j;
            sum[g][i][h][j] = 0;
            total[g][i][h][j] = (scalar)-0.0;
            if (p.c && INSIDE(at_row < p.m && at_column < p.n))
                total[g][i][h][j] = mul_rn((scalar)p.beta, load_global(c + at_row * p.c_row + at_column * p.c_column));
        }
    }

    HUNZE_MEMBER void read(vector (&a)[GROUPS], vector (&b)[GROUPS], const tile_of<scalar, GROUPS> &a_tile,
                           const tile_of<scalar, GROUPS> &b_tile, int k) const
    {
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            a[g] = load_shared(reinterpret_cast<const vector *>(&a_tile.at[k][g * SPAN + y()]));
            b[g] = load_shared(reinterpret_cast<const vector *>(&b_tile.at[k][g * SPAN + x()]));
        }
    }

    HUNZE_MEMBER void multiply(const tile_of<scalar, GROUPS> &a_tile, const tile_of<scalar, GROUPS> &b_tile)
    {
        vector a[2][GROUPS], b[2][GROUPS];
        read(a[0], b[0], a_tile, b_tile, 0);
#pragma unroll
        for (int k = 0; k < shape::K; k++) {
            if (k + 1 < shape::K)
                read(a[(k + 1) % 2], b[(k + 1) % 2], a_tile, b_tile, k + 1);
            PRODUCT_EACH(g, i, h, j)
            sum[g][i][h][j] = fma_rn(a[k % 2][g].at[i], b[k % 2][h].at[j], sum[g][i][h][j]);
        }
    }

    /* A K block ends. */
    HUNZE_MEMBER void fold(scalar alpha)
    {
        PRODUCT_EACH(g, i, h, j)
        {
            total[g][i][h][j] = fma_rn(alpha, sum[g][i][h][j], total[g][i][h][j]);
            sum[g][i][h][j] = 0;
        }
    }

    HUNZE_MEMBER bool has_negative_zero() const
    {
        bool found = false;
        PRODUCT_EACH(g, i, h, j)
        found |= vf_bits(sum[g][i][h][j]) == SIGN_BITS;
        return found;
    }

    /* The totals, which are the sums of one K block. */
    HUNZE_MEMBER void put_partial(const hunze_cuda_float_product &p, const product_place &place) const
    {
#pragma unroll
        for (int g = 0; g < GROUPS; g++)
#pragma unroll
            for (int h = 0; h < GROUPS; h++) {
                const int64_t row = place.row + g * SPAN, column = place.column + h * SPAN;
                if (!INSIDE(row < p.m && column < p.n))
                    continue;
                vector *to = reinterpret_cast<vector *>(product_partial(p, place.matrix, row, column)) + thread_index();
#pragma unroll
                for (int i = 0; i < VECTOR; i++) {
                    vector v;
#pragma unroll
                    for (int j = 0; j < VECTOR; j++)
                        v.at[j] = total[g][i][h][j];
                    store_global(to + i * shape::THREADS, v);
                }
            }
    }

    /* Of a tile of SPAN. */
    HUNZE_MEMBER void get_partial(const scalar *from)
    {
        const vector *mine = reinterpret_cast<const vector *>(from) + thread_index();
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
            const vector v = load_global(mine + i * shape::THREADS);
#pragma unroll
            for (int j = 0; j < VECTOR; j++)
                sum[0][i][0][j] = v.at[j];
        }
    }

    /* by_columns: columns are the slow axis. */
    HUNZE_MEMBER void put(scalar *to, bool by_columns) const
    {
#pragma unroll
        for (int g = 0; g < GROUPS; g++)
#pragma unroll
            for (int h = 0; h < GROUPS; h++)
#pragma unroll
                for (int q = 0; q < VECTOR; q++) {
                    vector v;
#pragma unroll
                    for (int r = 0; r < VECTOR; r++)
                        v.at[r] = by_columns ? total[g][r][h][q] : total[g][q][h][r];
                    const int slow = by_columns ? h * SPAN + x() + q : g * SPAN + y() + q;
                    const int fast = by_columns ? g * SPAN + y() : h * SPAN + x();
                    store_shared(reinterpret_cast<vector *>(to + product_total_at<GROUPS>(slow, fast)), v);
                }
    }
#undef PRODUCT_EACH
};

/* ------------------------------------------------------------------ from totals to D */

/* Each thread works on totals of one `fast` index; others' are not touched, so nobody has to wait. */
template <int GROUPS> struct product_end {
    typedef tile_shape<scalar, GROUPS> shape;
    enum { TILE = shape::TILE, STEP = shape::THREADS / TILE };
    const hunze_cuda_float_product &p;
    const product_place &place;
    product_shared<GROUPS> &shared;
    bool by_columns;
    int rows, columns; /* of the tile */

    HUNZE_MEMBER int fast() const { return thread_index() % TILE; }
    HUNZE_MEMBER int row(int slow) const { return by_columns ? fast() : slow; }
    HUNZE_MEMBER int column(int slow) const { return by_columns ? slow : fast(); }
    HUNZE_MEMBER bool inside(int slow) const { return row(slow) < rows && column(slow) < columns; }
    HUNZE_MEMBER scalar *total(int slow) const { return shared.total + product_total_at<GROUPS>(slow, fast()); }

    HUNZE_MEMBER void add_bias() const
    {
        const hunze_cuda_float_epilogue &e = p.epilogue;
        const scalar *bias = static_cast<const scalar *>(e.bias) + place.offset[HUNZE_CUDA_OF_BIAS] +
                             place.row * e.bias_row + place.column * e.bias_column;
#pragma unroll 4
        for (int slow = thread_index() / TILE; slow < TILE; slow += STEP)
            if (INSIDE(inside(slow)))
                store_shared(total(slow), add_rn(load_shared(total(slow)), load_global(bias + row(slow) * e.bias_row +
                                                                                       column(slow) * e.bias_column)));
    }

    HUNZE_MEMBER void add_residual() const
    {
        const hunze_cuda_float_epilogue &e = p.epilogue;
        const scalar *residual = static_cast<const scalar *>(e.residual) + place.offset[HUNZE_CUDA_OF_RESIDUAL] +
                                 place.column * e.residual_column;
#pragma unroll 4
        for (int slow = thread_index() / TILE; slow < TILE; slow += STEP)
            if (INSIDE(inside(slow)))
                store_shared(total(slow), add_rn(load_shared(total(slow)),
                                                 load_global(residual + load_shared(&shared.residual_row[row(slow)]) +
                                                             column(slow) * e.residual_column)));
    }

    HUNZE_MEMBER void activate() const
    {
        const hunze_cuda_float_epilogue &e = p.epilogue;
        const vf_activation act = vf_activation_of((hunze_activation_kind)e.activation, e.alpha, e.beta);
#pragma unroll 1
        for (int slow = thread_index() / TILE; slow < TILE; slow += STEP)
            store_shared(total(slow), vf_activate(&act, load_shared(total(slow))));
    }

    HUNZE_MEMBER void store() const
    {
        const hunze_cuda_float_epilogue &e = p.epilogue;
        scalar *d = static_cast<scalar *>(e.d) + place.offset[HUNZE_CUDA_OF_D] + place.column * e.d_column;
#pragma unroll 4
        for (int slow = thread_index() / TILE; slow < TILE; slow += STEP) {
            const scalar v = load_shared(total(slow));
            if (INSIDE(inside(slow)))
                store_global(d + load_shared(&shared.d_row[row(slow)]) + column(slow) * e.d_column,
                             e.canonical_nan ? vf_canonical_nan(v) : v);
        }
    }
};

/* Offsets of the tile's rows in D and the residual: those of `rows` outputs of a phase from place.row on. */
template <int GROUPS>
HUNZE_INLINE void product_rows(const hunze_cuda_float_product &p, const product_place &place, const gather_phase &phase,
                               int rows, product_shared<GROUPS> &shared)
{
    const hunze_cuda_positions &at = p.positions;
    for (int i = thread_index(); i < rows; i += HUNZE_CUDA_FLOAT_THREADS) {
        const int64_t row = place.row + i, line = row / phase.width, image = line / phase.height;
        const int64_t y = (line - image * phase.height) * p.gather.axis[0].phases + phase.y,
                      x = (row - line * phase.width) * p.gather.axis[1].phases + phase.x;
        store_shared(&shared.d_row[i], image * at.d[0] + y * at.d[1] + x * at.d[2]);
        store_shared(&shared.residual_row[i], image * at.residual[0] + y * at.residual[1] + x * at.residual[2]);
    }
}

/* ------------------------------------------------------------------ a tile */

template <int GROUPS> struct strided_loads {
    typedef tile_of<scalar, GROUPS> tile;
    strided_loader<scalar, GROUPS, true> a;
    strided_loader<scalar, GROUPS, false> b;
    int64_t k;

    HUNZE_MEMBER strided_loads(const hunze_cuda_float_product &p, const product_place &place,
                               const product_range &range)
        : a(p.a, first(p.a, place.offset[HUNZE_CUDA_OF_A], place.row, range), least(p.m - place.row)),
          b(p.b, first(p.b, place.offset[HUNZE_CUDA_OF_B], place.column, range), least(p.n - place.column)),
          k(range.count)
    {
    }
    HUNZE_MEMBER static const scalar *first(const hunze_cuda_strided &matrix, int64_t offset, int64_t row,
                                            const product_range &range)
    {
        return static_cast<const scalar *>(matrix.data) + offset + row * matrix.row_step + range.first * matrix.k_step;
    }
    HUNZE_MEMBER static int least(int64_t left) { return left < tile::TILE ? (int)left : tile::TILE; }
    HUNZE_MEMBER void get(tile &a_tile, tile &b_tile, uint32_t, int left)
    {
        a.get(a_tile, left);
        b.get(b_tile, left);
    }
    HUNZE_MEMBER void prepare(uint32_t) {}
    HUNZE_MEMBER bool is_padding(uint32_t) const { return false; }
};

/* Tiles of k in the block that begins where so much of k is left: a last one shorter than half joins its predecessor. */
HUNZE_INLINE int product_block_tiles(int64_t left)
{
    return left < PRODUCT_KC + PRODUCT_KC / 2 ? (int)((left + 15) / 16) : PRODUCT_KC / 16;
}

template <int GROUPS, typename Loads>
HUNZE_INLINE void product_accumulate(product_sums<GROUPS> &sums, Loads &loads, product_shared<GROUPS> &shared,
                                     scalar alpha)
{
    typedef tile_shape<scalar, GROUPS> shape;
    enum { STAGES = shape::STAGES, K = shape::K };
    int64_t left = loads.k; /* of k, not multiplied yet */
    for (int stage = 0; stage < STAGES - 1; stage++) {
        if (left > stage * K)
            loads.get(shared.a[stage], shared.b[stage], stage, left - stage * K < K ? (int)left - stage * K : K);
        copy_async_commit();
    }
    int now = 0, until = product_block_tiles(left);
    uint32_t tile = 0;
#pragma unroll 1
    for (; left > 0; left -= K, tile++) {
        copy_async_wait<STAGES - 2>();
        SYNC_BLOCK(); /* this stage has arrived, and nobody reads the last one any more */
        const int64_t ahead = left - (STAGES - 1) * K;
        const int free = now ? now - 1 : STAGES - 1;
        if (ahead > 0)
            loads.get(shared.a[free], shared.b[free], tile + STAGES - 1, ahead < K ? (int)ahead : K);
        copy_async_commit();
        loads.prepare(tile);
        if (!loads.is_padding(tile) || sums.has_negative_zero())
            sums.multiply(shared.a[now], shared.b[now]);
        now = now + 1 == STAGES ? 0 : now + 1;
        if (--until == 0) {
            sums.fold(alpha);
            until = product_block_tiles(left - K);
        }
    }
    if (loads.k <= 0)
        sums.fold(alpha);
    SYNC_BLOCK(); /* the stages, whose copies were all waited for, become the memory of the totals */
}

/* place and phase are made anew: registers are scarce before. */
template <int GROUPS>
HUNZE_INLINE void product_finish(const hunze_cuda_float_product &p, const product_place &place,
                                 const gather_phase &phase, const product_sums<GROUPS> &sums,
                                 product_shared<GROUPS> &shared)
{
    const hunze_cuda_float_epilogue &e = p.epilogue;
    const int64_t d_row = p.positions.d[2];
    const bool by_columns = (e.d_column < 0 ? -e.d_column : e.d_column) > (d_row < 0 ? -d_row : d_row);
    const int64_t rows = phase.m - place.row, columns = p.n - place.column;
    enum { TILE = tile_shape<scalar, GROUPS>::TILE };
    const product_end<GROUPS> end = {
        p, place, shared, by_columns, rows < TILE ? (int)rows : TILE, columns < TILE ? (int)columns : TILE};
    sums.put(shared.total, by_columns);
    product_rows<GROUPS>(p, place, phase, end.rows, shared);
    SYNC_BLOCK();
    if (e.bias)
        end.add_bias();
    if (e.residual)
        end.add_residual();
    if (e.activation != HUNZE_ACT_NONE)
        end.activate();
    end.store();
}

HUNZE_INLINE gather_phase product_phase_of_matrix(const hunze_cuda_float_product &p)
{
    gather_phase phase = {};
    phase.height = 1;
    phase.width = phase.m = p.m;
    return phase;
}

/* A is a matrix: its rows are one stride apart. */
template <int GROUPS> HUNZE_INLINE void product_strided(const hunze_cuda_float_product &p)
{
    typedef product_shared<GROUPS> shared_memory;
    enum { TILE = tile_shape<scalar, GROUPS>::TILE };
    shared_memory &shared = SHARED(shared_memory);
    const product_place place = product_place_of(p, (uint32_t)block_x(), TILE);
    product_sums<GROUPS> sums(p, place);
    strided_loads<GROUPS> loads(p, place, product_range_of(p, place.k_block, p.k));
    product_accumulate(sums, loads, shared, (scalar)p.alpha);
    const product_place end = product_place_of(p, (uint32_t)anew(block_x()), TILE);
    if (p.partial)
        sums.put_partial(p, end);
    else
        product_finish(p, end, product_phase_of_matrix(p), sums, shared);
}

/* A is gathered from images. */
template <int GROUPS> HUNZE_INLINE void product_gathered(const hunze_cuda_float_product &p)
{
    typedef product_gathered_shared<GROUPS> shared_memory;
    enum { TILE = tile_shape<scalar, GROUPS>::TILE };
    shared_memory &shared = SHARED(shared_memory);
    const product_place place = product_place_of(p, (uint32_t)block_x(), TILE);
    const gather_phase phase = gather_phase_of(p, place.phase);
    if (place.row >= phase.m)
        return;
    product_sums<GROUPS> sums(p, place);
    const product_range range = product_range_of(p, place.k_block, phase.k);
    gathered_loads<scalar, GROUPS> loads(p, shared.tables, phase, place.row, place.column,
                                         place.offset[HUNZE_CUDA_OF_A], place.offset[HUNZE_CUDA_OF_B], range.first,
                                         range.count);
    SYNC_BLOCK(); /* the tables are there */
    product_accumulate(sums, loads, shared.product, (scalar)p.alpha);
    const product_place end = product_place_of(p, (uint32_t)anew(block_x()), TILE);
    if (p.partial)
        sums.put_partial(p, end);
    else
        product_finish(p, end, gather_phase_of(p, end.phase), sums, shared.product);
}

/* Adds the sums of K blocks in their order. */
HUNZE_INLINE void product_fold(const hunze_cuda_float_product &p)
{
    typedef product_shared<1> shared_memory;
    shared_memory &shared = SHARED(shared_memory);
    const product_place place = product_place_of(p, (uint32_t)block_x(), tile_shape<scalar, 1>::TILE);
    const gather_phase phase = gather_phase_of(p, place.phase);
    if (place.row >= phase.m)
        return;
    product_sums<1> sums(p, place);
    const scalar *from = product_partial(p, place.matrix, place.row, place.column);
    const int64_t step = product_partial(p, p.products, 0, 0) - product_partial(p, 0, 0, 0);
#pragma unroll 4
    for (uint32_t k_block = 0; k_block < p.k_blocks; k_block++, from += step) {
        sums.get_partial(from);
        sums.fold((scalar)p.alpha);
    }
    product_finish(p, place, phase, sums, shared);
}

#endif
