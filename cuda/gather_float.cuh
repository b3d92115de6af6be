/* SPDX-License-Identifier: Apache-2.0 */
/* A's tiles gathered from images: rows are output positions, k is (kernel row, kernel column, channel).
 *
 * Two tables in shared memory say where an element is: one of the tile's rows, made once, and one of the 16 k of each tile.  The latter is
 * written by 16 threads, three tiles ahead: each walks through k in steps of 16, by additions and carries alone. */
#ifndef HUNZE_GATHER_FLOAT_CUH
#define HUNZE_GATHER_FLOAT_CUH

#include "tile_float.cuh"

#include <string.h>

/* ------------------------------------------------------------------ tables */

/* A number of inputs that no bound lets pass, added to a row's. */
#define GATHER_NEVER INT32_MIN

struct alignas(16) gather_row {
    int64_t first; /* offset of the input where taps count from, which may not exist */
    int32_t y, x;  /* its place in the image */
};
struct alignas(16) gather_tap {
    int64_t offset; /* from a row's first */
    int32_t y, x;
};

struct alignas(16) four_words {
    int32_t at[4];
};

enum { GATHER_TILES = 4 }; /* written, on their way twice, multiplied */

/* A position along one axis: at + rest/divisor taps' steps. */
struct gather_step {
    int32_t at, rest;
};
struct gather_walk {
    int32_t row, column, channel;
    gather_step y, x;
};
struct gather_moves {
    int32_t rows, columns, channels;             /* of taps, and of channels per tap */
    int32_t tile_row, tile_column, tile_channel; /* 16 further along k */
    int32_t divisor_y, divisor_x;
    gather_step y_tile, x_tile, y_row, x_column, x_row; /* x_row: back to the first column */
    int32_t weight, weight_row, weight_column;          /* rows of packed weights: of the first tap, and between taps */
};
enum { GATHER_WALK_WORDS = sizeof(gather_walk) / 4, GATHER_MOVES_WORDS = sizeof(gather_moves) / 4 };

template <int TILE> struct gather_tables {
    gather_row rows[TILE];
    gather_tap taps[GATHER_TILES][16];
    alignas(16) int32_t
        weights[GATHER_TILES][16]; /* row of packed weights; ~row: the tap meets no input, whatever the output */
    int32_t walks[GATHER_WALK_WORDS][16];
    int32_t moves[GATHER_MOVES_WORDS];
};

/* ------------------------------------------------------------------ what holds for a block */

/* Taps of one axis that a phase has. */
struct gather_taps {
    int32_t first, count, period; /* of the kernel's */
    int32_t start, step, divisor; /* tap t of these is (start + t*step) / divisor further */
};

HUNZE_INLINE gather_taps gather_taps_of(const hunze_cuda_gather_axis &axis, int32_t phase, bool drops)
{
    const int32_t start = phase + axis.before;
    if (!drops || axis.divisor == 1)
        return {0, axis.kernel, 1, start, axis.tap_step, axis.divisor};
    const int32_t common = axis.divisor / axis.period;
    const int32_t first = (int32_t)((int64_t)(start / common % axis.period) * axis.inverse % axis.period);
    if (start % common != 0 || first >= axis.kernel)
        return {0, 0, 1, 0, 0, 1};
    return {first,
            (axis.kernel - first + axis.period - 1) / axis.period,
            axis.period,
            (int32_t)((start + (int64_t)first * axis.tap_step) / axis.divisor),
            (int32_t)((int64_t)axis.period * axis.tap_step / axis.divisor),
            1};
}

/* A block's phase: its outputs and taps. */
struct gather_phase {
    int32_t y, x; /* which */
    int64_t height, width, m, k;
    gather_taps taps_y, taps_x;
    bool skips; /* a tile of taps that meet no input changes no sum but -0 */
};

HUNZE_INLINE gather_phase gather_phase_of(const hunze_cuda_float_product &p, uint32_t index)
{
    const hunze_cuda_gather &g = p.gather;
    const bool finite = !g.not_finite || load_global(g.not_finite) == 0, drops = finite && g.drops;
    gather_phase phase;
    phase.y = (int32_t)(index / (uint32_t)g.axis[1].phases);
    phase.x = (int32_t)(index % (uint32_t)g.axis[1].phases);
    phase.height = (p.positions.height - phase.y + g.axis[0].phases - 1) / g.axis[0].phases;
    phase.width = (p.positions.width - phase.x + g.axis[1].phases - 1) / g.axis[1].phases;
    phase.m = p.positions.images * phase.height * phase.width;
    phase.taps_y = gather_taps_of(g.axis[0], phase.y, drops);
    phase.taps_x = gather_taps_of(g.axis[1], phase.x, drops);
    phase.k = (int64_t)phase.taps_y.count * phase.taps_x.count * g.channels;
    phase.skips = g.not_finite && finite && !drops;
    return phase;
}

/* ------------------------------------------------------------------ the walk through k */

/* So much further along an axis; the rest stays within [0, divisor). */
HUNZE_INLINE gather_step gather_step_of(int64_t distance, int32_t divisor)
{
    const int64_t at = distance / divisor - (distance % divisor < 0);
    return {(int32_t)at, (int32_t)(distance - at * divisor)};
}

/* Beyond the end of k the sums wrap: nobody uses them. */
HUNZE_INLINE int32_t gather_add(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

HUNZE_INLINE void gather_move(gather_step &step, const gather_step &by, int32_t divisor)
{
    step.at = gather_add(step.at, by.at);
    step.rest += by.rest;
    if (step.rest >= divisor) {
        step.rest -= divisor;
        step.at = gather_add(step.at, 1);
    }
}

HUNZE_INLINE gather_moves gather_moves_of(const hunze_cuda_gather &g, const gather_phase &phase)
{
    const gather_taps &y = phase.taps_y, &x = phase.taps_x;
    gather_moves m;
    m.channels = g.channels > 0 ? g.channels : 1;
    m.columns = x.count > 0 ? x.count : 1;
    m.rows = y.count;
    m.tile_channel = 16 % m.channels;
    m.tile_column = 16 / m.channels % m.columns;
    m.tile_row = 16 / m.channels / m.columns;
    m.divisor_y = y.divisor;
    m.divisor_x = x.divisor;
    m.y_row = gather_step_of(y.step, y.divisor);
    m.y_tile = gather_step_of((int64_t)m.tile_row * y.step, y.divisor);
    m.x_column = gather_step_of(x.step, x.divisor);
    m.x_tile = gather_step_of((int64_t)m.tile_column * x.step, x.divisor);
    m.x_row = gather_step_of(-(int64_t)m.columns * x.step, x.divisor);
    m.weight_column = x.period * m.channels;
    m.weight_row = y.period * g.axis[1].kernel * m.channels;
    m.weight = (y.first * g.axis[1].kernel + x.first) * m.channels;
    return m;
}

/* The place of k, of which phases have less than 2^31. */
HUNZE_INLINE gather_walk gather_walk_of(const gather_moves &m, const gather_phase &phase, int k)
{
    gather_walk w;
    w.channel = k % m.channels;
    w.column = k / m.channels % m.columns;
    w.row = k / m.channels / m.columns;
    w.y = gather_step_of(phase.taps_y.start + (int64_t)w.row * phase.taps_y.step, m.divisor_y);
    w.x = gather_step_of(phase.taps_x.start + (int64_t)w.column * phase.taps_x.step, m.divisor_x);
    return w;
}

HUNZE_INLINE void gather_walk_on(const gather_moves &m, gather_walk &w)
{
    w.channel += m.tile_channel;
    w.column += m.tile_column;
    w.row += m.tile_row;
    gather_move(w.x, m.x_tile, m.divisor_x);
    gather_move(w.y, m.y_tile, m.divisor_y);
    if (w.channel >= m.channels) {
        w.channel -= m.channels;
        w.column++;
        gather_move(w.x, m.x_column, m.divisor_x);
    }
    if (w.column >= m.columns) {
        w.column -= m.columns;
        w.row++;
        gather_move(w.x, m.x_row, m.divisor_x);
        gather_move(w.y, m.y_row, m.divisor_y);
    }
}

/* Output position i of a phase. */
HUNZE_INLINE gather_row gather_row_of(const hunze_cuda_gather &g, const gather_phase &phase, int64_t i)
{
    const int64_t line = i / phase.width, image = line / phase.height;
    gather_row row;
    row.y = (int32_t)(line - image * phase.height) * g.axis[0].row_step + g.axis[0].row_first;
    row.x = (int32_t)(i - line * phase.width) * g.axis[1].row_step + g.axis[1].row_first;
    row.first = image * g.image + row.y * g.axis[0].x + row.x * g.axis[1].x;
    return row;
}

/* ------------------------------------------------------------------ loads */

template <typename T, int GROUPS> struct gathered_loads {
    typedef tile_thread<T, GROUPS> mine;
    typedef gather_tables<mine::TILE> tables_of;
    enum { ELEMENT = sizeof(T) };
    const hunze_cuda_float_product &p;
    tables_of &tables;
    const T *x, *weights; /* of the group; the tile's first column */
    int rows, columns;    /* of the operands from the tile's first on, at most a tile's */
    int64_t k;
    bool skips;

    /* All threads; SYNC_BLOCK follows. */
    HUNZE_MEMBER gathered_loads(const hunze_cuda_float_product &p_, tables_of &tables_, const gather_phase &phase,
                                int64_t row, int64_t column, int64_t a, int64_t b, int64_t first, int64_t count)
        : p(p_), tables(tables_), x(static_cast<const T *>(p.a.data) + a),
          weights(static_cast<const T *>(p.b.data) + b + column), rows(least(phase.m - row)),
          columns(least(p.b.k_step - column)), k(count), skips(phase.skips)
    {
        const int thread = thread_index();
        for (int i = thread; i < rows; i += mine::THREADS)
            store_shared(&tables.rows[i], gather_row_of(p.gather, phase, row + i));
        if (thread >= 16)
            return;
        const gather_moves moves = gather_moves_of(p.gather, phase);
        gather_walk walk = gather_walk_of(moves, phase, (int)first + thread);
        for (uint32_t i = 0; i < GATHER_TILES - 1; i++)
            put_tap(moves, walk, i);
        put_walk(walk);
        int32_t words[GATHER_MOVES_WORDS];
        memcpy(words, &moves, sizeof moves);
        for (int i = 0; thread == 0 && i < GATHER_MOVES_WORDS; i++)
            store_shared(&tables.moves[i], words[i]);
    }

    HUNZE_MEMBER static int least(int64_t left) { return left < mine::TILE ? (int)left : mine::TILE; }

    HUNZE_MEMBER void put_walk(const gather_walk &walk)
    {
        int32_t words[GATHER_WALK_WORDS];
        memcpy(words, &walk, sizeof walk);
        for (int i = 0; i < GATHER_WALK_WORDS; i++)
            store_shared(&tables.walks[i][thread_index()], words[i]);
    }

    /* The tap where this thread stands, and on. */
    HUNZE_MEMBER void put_tap(const gather_moves &moves, gather_walk &walk, uint32_t of_tile)
    {
        const hunze_cuda_gather &g = p.gather;
        const int thread = thread_index();
        const bool meets = walk.y.rest == 0 && walk.x.rest == 0 && walk.row < moves.rows;
        const int32_t weight =
            (int32_t)((uint32_t)moves.weight + (uint32_t)walk.row * (uint32_t)moves.weight_row +
                      (uint32_t)walk.column * (uint32_t)moves.weight_column + (uint32_t)walk.channel);
        const gather_tap tap = {walk.y.at * g.axis[0].x + walk.x.at * g.axis[1].x + walk.channel * g.channel,
                                meets ? walk.y.at : GATHER_NEVER, walk.x.at};
        store_shared(&tables.taps[of_tile % GATHER_TILES][thread], tap);
        store_shared(&tables.weights[of_tile % GATHER_TILES][thread], meets ? weight : ~weight);
        gather_walk_on(moves, walk);
    }

    /* Begins to bring tile `of_tile`; left: what remains of k. */
    HUNZE_MEMBER void get(tile_of<T, GROUPS> &a, tile_of<T, GROUPS> &b, uint32_t of_tile, int left) const
    {
        const int thread = thread_index(), slot = (int)(of_tile % GATHER_TILES);
        const uint32_t load = p.a.load;
        const int row = mine::row(load, thread), k0 = mine::k(load, thread);
        if (load == HUNZE_CUDA_ALONG_K) {
            const gather_tap tap = load_shared(&tables.taps[slot][k0]);
#pragma unroll
            for (int i = 0; i < mine::COUNT; i++) {
                const int at = row + i * mine::ROWS_APART;
                copy(&a.at[k0][at], load_shared(&tables.rows[at]), tap, at, k0 < left);
            }
        } else {
            const gather_row first = load_shared(&tables.rows[row]);
#pragma unroll
            for (int i = 0; i < mine::COUNT; i++) {
                const int at = k0 + i * mine::K_APART;
                copy(&a.at[at][row], first, load_shared(&tables.taps[slot][at]), row, at < left);
            }
        }
        const int column = mine::row(HUNZE_CUDA_VECTORS, thread);
#pragma unroll
        for (int i = 0; i < mine::VECTORS; i++) {
            const int at = mine::k(HUNZE_CUDA_VECTORS, thread) + i * mine::K_APART_VECTORS;
            const int32_t weight = load_shared(&tables.weights[slot][at]);
            const T *from = weights + (weight ^ weight >> 31) * p.b.k_step + column;
            copy_async<16>(&b.at[at][column], from, INSIDE(at < left && column < columns));
        }
    }

    HUNZE_MEMBER void copy(T *to, const gather_row &row, const gather_tap &tap, int index, bool in_k) const
    {
        const uint32_t y = (uint32_t)gather_add(row.y, tap.y), x_at = (uint32_t)gather_add(row.x, tap.x);
        const bool met = y < (uint32_t)p.gather.axis[0].in && x_at < (uint32_t)p.gather.axis[1].in;
        if (!in_k)
            store_shared(to, (T)-0.0);
        else
            copy_async<ELEMENT>(to, x + (row.first + tap.offset), INSIDE(index < rows && met));
    }

    /* While a tile is multiplied: the taps of the one after those that are on their way. */
    HUNZE_MEMBER void prepare(uint32_t tile)
    {
        if (thread_index() >= 16)
            return;
        gather_moves moves;
        gather_walk walk;
        int32_t words[GATHER_MOVES_WORDS];
        for (int i = 0; i < GATHER_MOVES_WORDS; i++)
            words[i] = load_shared(&tables.moves[i]);
        memcpy(&moves, words, sizeof moves);
        for (int i = 0; i < GATHER_WALK_WORDS; i++)
            words[i] = load_shared(&tables.walks[i][thread_index()]);
        memcpy(&walk, words, sizeof walk);
        put_tap(moves, walk, tile + GATHER_TILES - 1);
        put_walk(walk);
    }

    /* Whether none of the tile's taps meets any input. */
    HUNZE_MEMBER bool is_padding(uint32_t tile) const
    {
        if (!skips)
            return false;
        int32_t all = -1;
#pragma unroll
        for (int i = 0; i < 16; i += 4) {
            const four_words w =
                load_shared(reinterpret_cast<const four_words *>(&tables.weights[tile % GATHER_TILES][i]));
            all &= w.at[0] & w.at[1] & w.at[2] & w.at[3];
        }
        return all < 0;
    }
};

#endif
