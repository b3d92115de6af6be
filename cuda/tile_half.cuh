/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of 2-byte elements in shared memory, ROWS by 32 of k, and the ways in which they get there.
 *
 * Both forms, [row][32 k] and [k][ROWS], are lines of 16-byte chunks, exchanged such that the eight chunks of an ldmatrix (eight neighbouring
 * lines, one chunk) lie in all banks, and so do the words of a warp that writes lines element by element.  Elements beyond the operand are 0. */
#ifndef HUNZE_TILE_HALF_CUH
#define HUNZE_TILE_HALF_CUH

#include "ptx.cuh"
#include "arguments_product_half.h"

enum { HALF_K = HUNZE_CUDA_HALF_K };

/* Offset of an element. */
HUNZE_INLINE int half_at_row(int row, int k) { return row * HALF_K + ((k >> 3 ^ row >> 1) & 3) * 8 + (k & 7); }
template <int ROWS> HUNZE_INLINE int half_at_k(int row, int k)
{
    return k * ROWS + (row >> 3 ^ (k & 7)) * 8 + (row & 7);
}

/* Which pieces of BYTES a thread brings: the same of every LINES_APART-th line. */
template <int ROWS, int THREADS, bool ALONG_ROWS, int BYTES> struct half_pieces {
    enum {
        RUN = ALONG_ROWS ? ROWS : HALF_K, /* elements of a line */
        LINES = ALONG_ROWS ? HALF_K : ROWS,
        ELEMENTS = BYTES / 2,
        PER_LINE = RUN / ELEMENTS,
        LINES_APART = THREADS / PER_LINE,
        COUNT = LINES / LINES_APART
    };
    static_assert(COUNT * LINES_APART == LINES && COUNT >= 1, "threads bring the same number of pieces");
    HUNZE_MEMBER static int line(int thread) { return thread / PER_LINE; }
    HUNZE_MEMBER static int first(int thread) { return thread % PER_LINE * ELEMENTS; }
    HUNZE_MEMBER static int at(int line, int first)
    {
        return ALONG_ROWS ? half_at_k<ROWS>(first, line) : half_at_row(line, first);
    }
};

/* Bytes of a piece that exist, where its line does: left elements from its first on. */
template <int BYTES> HUNZE_INLINE int half_piece_bytes(int left)
{
    return INSIDE(left > 0) ? (2 * left < BYTES ? 2 * left : (int)BYTES) : 0;
}

/* Two elements to a word. */
HUNZE_INLINE uint32_t half_word(uint32_t low, uint32_t high) { return low | high << 16; }

/* ------------------------------------------------------------------ matrices */

template <int ROWS, int THREADS> struct half_strided_loader {
    const hunze_cuda_half_operand &operand;
    const uint16_t *next; /* the next tile's element (0, 0) */
    int rows;             /* of the operand from there on */

    HUNZE_MEMBER half_strided_loader(const hunze_cuda_half_operand &operand_, int64_t first, int rows_)
        : operand(operand_), next(static_cast<const uint16_t *>(operand_.data) + first), rows(rows_)
    {
    }

    /* Begins to bring the next tile, of which `left` of k are there: copies are on their way, all else is there. */
    HUNZE_MEMBER void get(uint16_t *tile, int left)
    {
        if (operand.along_rows)
            get_lines<true>(tile, left);
        else
            get_lines<false>(tile, left);
        next += HALF_K * operand.k_step;
    }

    template <bool ALONG_ROWS> HUNZE_MEMBER void get_lines(uint16_t *tile, int left) const
    {
        switch (operand.load) {
        case HUNZE_CUDA_HALF_RUNS_16: copy<ALONG_ROWS, 16>(tile, left); break;
        case HUNZE_CUDA_HALF_RUNS_8: copy<ALONG_ROWS, 8>(tile, left); break;
        case HUNZE_CUDA_HALF_RUNS_4: copy<ALONG_ROWS, 4>(tile, left); break;
        default: get_elements<ALONG_ROWS>(tile, left);
        }
    }

    template <bool ALONG_ROWS, int BYTES> HUNZE_MEMBER void copy(uint16_t *tile, int left) const
    {
        typedef half_pieces<ROWS, THREADS, ALONG_ROWS, BYTES> pieces;
        const int thread = anew(thread_index()), line = pieces::line(thread), first = pieces::first(thread);
        const int lines = ALONG_ROWS ? left : rows;
        const int64_t line_step = ALONG_ROWS ? operand.k_step : operand.row_step;
        const int bytes = half_piece_bytes<BYTES>((ALONG_ROWS ? rows : left) - first);
        const uint16_t *from = next + line * line_step + first;
#pragma unroll
        for (int i = 0; i < pieces::COUNT; i++, from += pieces::LINES_APART * line_step) {
            const int at = line + i * pieces::LINES_APART;
            copy_async_first<BYTES>(tile + pieces::at(at, first), from, INSIDE(at < lines) ? bytes : 0);
        }
    }

    template <bool ALONG_ROWS> HUNZE_MEMBER void get_elements(uint16_t *tile, int left) const
    {
        typedef half_pieces<ROWS, THREADS, ALONG_ROWS, 4> pieces;
        const int thread = anew(thread_index()), line = pieces::line(thread), first = pieces::first(thread);
        const int lines = ALONG_ROWS ? left : rows, run = (ALONG_ROWS ? rows : left) - first;
        const int64_t line_step = ALONG_ROWS ? operand.k_step : operand.row_step,
                      step = ALONG_ROWS ? operand.row_step : operand.k_step;
        const uint16_t *from = next + line * line_step + first * step;
        uint32_t words[pieces::COUNT];
#pragma unroll
        for (int i = 0; i < pieces::COUNT; i++, from += pieces::LINES_APART * line_step) {
            const bool there = line + i * pieces::LINES_APART < lines;
            const uint32_t low = INSIDE(there && run > 0) ? load_global(from) : 0;
            words[i] = half_word(low, INSIDE(there && run > 1) ? load_global(from + step) : 0);
        }
#pragma unroll
        for (int i = 0; i < pieces::COUNT; i++)
            store_shared(reinterpret_cast<uint32_t *>(tile + pieces::at(line + i * pieces::LINES_APART, first)),
                         words[i]);
    }
};

/* ------------------------------------------------------------------ images: A as [row][k] */

struct alignas(16) half_gathered_row {
    const uint16_t *first; /* where the first tap is, or would be */
    int32_t y, x;          /* of the same, in the image */
};

/* Output position i's first tap. */
HUNZE_INLINE half_gathered_row half_gathered_row_of(const hunze_cuda_half_product &p, const uint16_t *image, int i)
{
    const hunze_cuda_half_gather &g = p.gather;
    const int width = (int)p.positions.width, height = (int)p.positions.height;
    const int line = i / width;
    const int32_t y = line % height * g.step[0] + g.first[0], x = i % width * g.step[1] + g.first[1];
    return {image + (line / height * g.image + y * g.axis[0] + x * g.axis[1]), y, x};
}

/* A tap and channel. */
struct half_tap {
    int row, column, channel;
};
HUNZE_INLINE void half_move(const hunze_cuda_half_gather &g, half_tap &tap, int rows, int columns, int channels)
{
    tap.channel += channels;
    tap.column += columns;
    tap.row += rows;
    if (tap.channel >= g.channels) {
        tap.channel -= g.channels;
        tap.column++;
    }
    if (tap.column >= g.columns) {
        tap.column -= g.columns;
        tap.row++;
    }
}

/* A tap as it is for all rows: from a row's first. */
struct half_tap_offset {
    int64_t offset;
    int32_t y, x;
};

template <int ROWS, int THREADS> struct half_gathered_loader {
    const hunze_cuda_half_operand &operand;
    const hunze_cuda_half_gather &gather;
    const half_gathered_row *table; /* of the tile's rows, in shared memory */
    int rows;
    half_tap tap; /* of this thread's first element in the next tile */

    HUNZE_MEMBER half_gathered_loader(const hunze_cuda_half_product &p, const half_gathered_row *table_, int rows_)
        : operand(p.a), gather(p.gather), table(table_), rows(rows_)
    {
        const int k = first_k(thread_index()), at = k / gather.channels;
        tap = {at / gather.columns, at % gather.columns, k % gather.channels};
    }

    HUNZE_MEMBER int first_k(int thread) const
    {
        switch (operand.load) {
        case HUNZE_CUDA_HALF_RUNS_16: return half_pieces<ROWS, THREADS, false, 16>::first(thread);
        case HUNZE_CUDA_HALF_RUNS_8: return half_pieces<ROWS, THREADS, false, 8>::first(thread);
        default: return half_pieces<ROWS, THREADS, false, 4>::first(thread);
        }
    }

    HUNZE_MEMBER void get(uint16_t *tile, int left)
    {
        switch (operand.load) {
        case HUNZE_CUDA_HALF_RUNS_16: copy<16>(tile, left); break;
        case HUNZE_CUDA_HALF_RUNS_8: copy<8>(tile, left); break;
        case HUNZE_CUDA_HALF_RUNS_4: copy<4>(tile, left); break;
        default: get_elements(tile, left);
        }
        half_move(gather, tap, gather.tile_rows, gather.tile_columns, gather.tile_channels);
    }

    HUNZE_MEMBER half_tap_offset offset_of(const half_tap &at) const
    {
        return {at.row * gather.tap[0] * gather.axis[0] + at.column * gather.tap[1] * gather.axis[1] +
                    at.channel * operand.k_step,
                at.row * gather.tap[0], at.column * gather.tap[1]};
    }
    HUNZE_MEMBER bool meets(const half_gathered_row &row, const half_tap_offset &at) const
    {
        return (uint32_t)(row.y + at.y) < (uint32_t)gather.in[0] && (uint32_t)(row.x + at.x) < (uint32_t)gather.in[1];
    }

    template <int BYTES> HUNZE_MEMBER void copy(uint16_t *tile, int left) const
    {
        typedef half_pieces<ROWS, THREADS, false, BYTES> pieces;
        const int thread = anew(thread_index()), line = pieces::line(thread), first = pieces::first(thread);
        const half_tap_offset at = offset_of(tap);
        const int bytes = half_piece_bytes<BYTES>(left - first);
#pragma unroll
        for (int i = 0; i < pieces::COUNT; i++) {
            const int row = line + i * pieces::LINES_APART;
            const half_gathered_row start = load_shared(table + row);
            copy_async_first<BYTES>(tile + half_at_row(row, first), start.first + at.offset,
                                    INSIDE(row < rows && meets(start, at)) ? bytes : 0);
        }
    }

    HUNZE_MEMBER void get_elements(uint16_t *tile, int left) const
    {
        typedef half_pieces<ROWS, THREADS, false, 4> pieces;
        const int thread = anew(thread_index()), line = pieces::line(thread), first = pieces::first(thread);
        half_tap next = tap;
        half_move(gather, next, 0, 0, 1);
        const half_tap_offset low_at = offset_of(tap), high_at = offset_of(next);
        uint32_t words[pieces::COUNT];
#pragma unroll
        for (int i = 0; i < pieces::COUNT; i++) {
            const int row = line + i * pieces::LINES_APART;
            const half_gathered_row start = load_shared(table + row);
            const bool low = row < rows && first < left && meets(start, low_at),
                       high = row < rows && first + 1 < left && meets(start, high_at);
            const uint32_t low_bits = INSIDE(low) ? load_global(start.first + low_at.offset) : 0;
            words[i] = half_word(low_bits, INSIDE(high) ? load_global(start.first + high_at.offset) : 0);
        }
#pragma unroll
        for (int i = 0; i < pieces::COUNT; i++)
            store_shared(reinterpret_cast<uint32_t *>(tile + half_at_row(line + i * pieces::LINES_APART, first)),
                         words[i]);
    }
};

#endif
