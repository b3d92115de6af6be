/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of bytes in shared memory, 64 of k per row, and the ways in which they get there.
 *
 * A thread always brings the same bytes of k for eight rows (or 16 bytes for two): where it stands in k moves on by addition alone.  Bytes
 * beyond an operand's rows or beyond k are 0. */
#ifndef HUNZE_TILE_BYTES_CUH
#define HUNZE_TILE_BYTES_CUH

#include "ptx.cuh"
#include "arguments_integer.h"

/* Offset of a byte.  The four 16-byte chunks of a row are exchanged such that no two words lie in one bank of those that a warp reads
 * as a fragment (8 rows, one chunk) or writes across rows (32 rows, half of them at a time). */
HUNZE_INLINE int tile_at(int row, int k)
{
    return row * HUNZE_CUDA_TILE_K + (((k >> 4) ^ (row >> 1) ^ (row >> 3)) & 3) * 16 + (k & 15);
}

/* ------------------------------------------------------------------ where a thread stands in k */

struct k_position {
    int row, column, channel; /* row and column of taps */
};

HUNZE_INLINE k_position k_position_of(const hunze_cuda_bytes &bytes, int k)
{
    const int tap = k / bytes.channels;
    return {tap / bytes.columns, tap % bytes.columns, k % bytes.channels};
}

/* On by so many tap rows, tap columns and channels. */
HUNZE_INLINE void k_move(const hunze_cuda_bytes &bytes, k_position &p, int row, int column, int channel)
{
    p.channel += channel;
    p.column += column;
    p.row += row;
    if (p.channel >= bytes.channels) {
        p.channel -= bytes.channels;
        p.column++;
    }
    if (p.column >= bytes.columns) {
        p.column -= bytes.columns;
        p.row++;
    }
}

HUNZE_INLINE int64_t k_offset(const hunze_cuda_bytes &bytes, const k_position &p)
{
    return p.row * bytes.tap[0] + p.column * bytes.tap[1] + p.channel * bytes.channel_step;
}

/* ------------------------------------------------------------------ rows
 * start(row): what holds of a row for all k; tap(p): what holds of a k for all rows; find: where their byte is, or false where it is
 * padding. */

struct strided_rows {
    enum { STRIDED = 1 };
    const uint8_t *first;
    int64_t step;
    int count;

    typedef const uint8_t *row_start;
    typedef int64_t tap_offset;
    HUNZE_MEMBER row_start start(int row) const { return first + row * step; }
    HUNZE_MEMBER static tap_offset tap(const hunze_cuda_bytes &bytes, const k_position &p)
    {
        return k_offset(bytes, p);
    }
    HUNZE_MEMBER static bool find(row_start start, tap_offset tap, const uint8_t **from)
    {
        *from = start + tap;
        return true;
    }
    HUNZE_MEMBER static uint32_t padding() { return 0; }
};

struct alignas(16) gathered_row {
    const uint8_t *first; /* where the first tap is, or would be */
    int32_t y, x;         /* of the same, in the image */
};
struct gathered_tap {
    int64_t offset;
    int32_t y, x; /* from the first tap */
};
template <int ROWS> struct gathered_table {
    gathered_row rows[ROWS];
    uint32_t pad; /* the byte outside the image, four times */
};

template <int ROWS> struct gathered_rows {
    enum { STRIDED = 0 };
    const hunze_cuda_gather &gather;
    const gathered_table<ROWS> &table; /* in shared memory */
    int count;

    typedef gathered_row row_start;
    typedef gathered_tap tap_offset;
    HUNZE_MEMBER row_start start(int row) const { return load_shared(table.rows + row); }
    HUNZE_MEMBER tap_offset tap(const hunze_cuda_bytes &bytes, const k_position &p) const
    {
        return {k_offset(bytes, p), p.row * gather.dilation[0], p.column * gather.dilation[1]};
    }
    HUNZE_MEMBER bool find(const row_start &start, const tap_offset &tap, const uint8_t **from) const
    {
        const int32_t y = start.y + tap.y, x = start.x + tap.x;
        *from = start.first + tap.offset;
        return INSIDE(y >= 0 && y < gather.in[0] && x >= 0 && x < gather.in[1]);
    }
    HUNZE_MEMBER uint32_t padding() const { return load_shared(&table.pad); }
};

/* Where output position i has its first tap. */
HUNZE_INLINE gathered_row gathered_row_of(const hunze_cuda_gather &g, const hunze_cuda_positions &positions,
                                          const uint8_t *x_first, int i)
{
    const int line = i / positions.width, image = line / positions.height;
    const int32_t y = line % positions.height * g.stride[0] - g.before[0],
                  x = i % positions.width * g.stride[1] - g.before[1];
    return {x_first + (image * g.image + y * g.axis[0] + x * g.axis[1]), y, x};
}

/* ------------------------------------------------------------------ from global to shared memory */

template <int WIDTH> struct alignas(WIDTH) copied_words {
    uint32_t word[WIDTH / 4];
    HUNZE_MEMBER explicit copied_words(uint32_t all)
    {
#pragma unroll
        for (int i = 0; i < WIDTH / 4; i++)
            word[i] = all;
    }
};

template <int ROWS, int THREADS, typename Rows> struct tile_loader {
    enum { SLOTS = ROWS * HUNZE_CUDA_TILE_K / 4 / THREADS, WARPS = THREADS / 32 };
    static_assert(SLOTS == 8 && WARPS % 4 == 0, "a thread has eight words, four warps are 16 words along k");

    const hunze_cuda_bytes &bytes;
    Rows rows;
    k_position at; /* of this thread's first byte in the next tile */

    HUNZE_MEMBER tile_loader(const hunze_cuda_bytes &bytes_, const Rows &rows_)
        : bytes(bytes_), rows(rows_), at(k_position_of(bytes, first_k(thread_index())))
    {
    }

    /* Of the thread's bytes in a tile. */
    HUNZE_MEMBER int first_k(int thread) const
    {
        if (bytes.load == HUNZE_CUDA_COPY_16)
            return thread % 4 * 16;
        if (bytes.load == HUNZE_CUDA_COPY_4 || bytes.load == HUNZE_CUDA_BYTES_ALONG)
            return thread % 16 * 4;
        return (thread / 32 % 4 * 4 + thread % 4) * 4;
    }

    /* Across, a warp has 32 rows and 16 bytes of k.  The upper half of it takes rows in another order, so that stores meet all banks. */
    HUNZE_MEMBER static int row_across(int thread, int slot)
    {
        const int lane = thread % 32;
        return (thread / 128 + slot / 4 * (WARPS / 4)) * 32 + lane / 4 * 4 + (slot % 4 ^ lane / 16);
    }
    HUNZE_MEMBER static int row_along(int thread, int slot) { return thread / 16 + slot * (THREADS / 16); }

    /* Begins to bring the next tile, that of [k, k + HUNZE_CUDA_TILE_K): copies are on their way, all else is there. */
    HUNZE_MEMBER void get(uint8_t *tile, int k)
    {
        const int thread = anew(thread_index()), first = first_k(thread), left = bytes.k - k - first;
        switch (bytes.load) {
        case HUNZE_CUDA_COPY_16: copy<16>(tile, thread, first, left); break;
        case HUNZE_CUDA_COPY_4: copy<4>(tile, thread, first, left); break;
        case HUNZE_CUDA_BYTES_ALONG: get_bytes<false>(tile, thread, first, left); break;
        case HUNZE_CUDA_BYTES_ACROSS: get_bytes<true>(tile, thread, first, left); break;
        default:
            if constexpr (Rows::STRIDED)
                get_words(tile, thread, first, left);
        }
        k_move(bytes, at, bytes.tile_rows, bytes.tile_columns, bytes.tile_channels);
    }

    /* left: bytes of k from the thread's first on. */
    template <int WIDTH> HUNZE_MEMBER void copy(uint8_t *tile, int thread, int first, int left) const
    {
        enum { PER_ROW = HUNZE_CUDA_TILE_K / WIDTH };
        const typename Rows::tap_offset tap = rows.tap(bytes, at);
#pragma unroll
        for (int slot = 0; slot < SLOTS * 4 / WIDTH; slot++) {
            const int row = thread / PER_ROW + slot * (THREADS / PER_ROW);
            const bool there = INSIDE(row < rows.count && left > 0);
            const uint8_t *from;
            uint8_t *to = tile + tile_at(row, first);
            const bool found = rows.find(rows.start(row), tap, &from);
            if (Rows::STRIDED && there && left < WIDTH) { /* k ends here; the copies of gathered rows are whole */
#pragma unroll 1
                for (int at_word = 0; at_word < WIDTH; at_word += 4) {
                    uint32_t word = 0;
#pragma unroll 1
                    for (int q = 0; q < 4; q++)
                        if (INSIDE(at_word + q < left))
                            word |= (uint32_t)load_global(from + at_word + q) << 8 * q;
                    store_shared(reinterpret_cast<uint32_t *>(to + at_word), word);
                }
            } else if (!found && there) {
                store_shared(reinterpret_cast<copied_words<WIDTH> *>(to), copied_words<WIDTH>(rows.padding()));
            } else {
                /* Zeros, too, come from an aligned address. */
                copy_async<WIDTH>(to, there ? from : from - (uintptr_t)from % WIDTH, there);
            }
        }
    }

    template <bool ACROSS> HUNZE_MEMBER void get_bytes(uint8_t *tile, int thread, int first, int left) const
    {
        typename Rows::tap_offset tap[4];
        k_position p = at;
#pragma unroll
        for (int q = 0; q < 4; q++) {
            tap[q] = rows.tap(bytes, p);
            k_move(bytes, p, 0, 0, 1);
        }
#pragma unroll 1
        for (int slot = 0; slot < SLOTS; slot++) {
            const int row = ACROSS ? row_across(thread, slot) : row_along(thread, slot);
            const typename Rows::row_start start = rows.start(row);
            uint32_t word = 0;
#pragma unroll
            for (int q = 0; q < 4; q++) {
                if (!INSIDE(row < rows.count && q < left))
                    continue;
                const uint8_t *from;
                const bool found = rows.find(start, tap[q], &from);
                word |= (found ? load_global(from) : rows.padding() & 0xFF) << 8 * q;
            }
            store_shared(reinterpret_cast<uint32_t *>(tile + tile_at(row, first)), word);
        }
    }

    /* Four neighbouring rows per word, turned to four neighbours along k. */
    HUNZE_MEMBER void get_words(uint8_t *tile, int thread, int first, int left) const
    {
        const bool exchange = thread % 32 / 16;
#pragma unroll 1
        for (int half = 0; half < 2; half++) {
            const int row = row_across(thread, 4 * half) & ~3;
            uint32_t in[4];
            k_position p = at;
#pragma unroll
            for (int q = 0; q < 4; q++) {
                const uint8_t *from = rows.start(row) + k_offset(bytes, p);
                in[q] = 0;
                if (INSIDE(row + 3 < rows.count && q < left)) {
                    in[q] = load_global(reinterpret_cast<const uint32_t *>(from));
                } else {
#pragma unroll 1
                    for (int i = 0; i < 4; i++)
                        if (INSIDE(row + i < rows.count && q < left))
                            in[q] |= (uint32_t)load_global(from + i) << 8 * i;
                }
                k_move(bytes, p, 0, 0, 1);
            }
            const uint32_t low01 = permute_bytes(in[0], in[1], 0x5140), high01 = permute_bytes(in[0], in[1], 0x7362),
                           low23 = permute_bytes(in[2], in[3], 0x5140), high23 = permute_bytes(in[2], in[3], 0x7362);
            const uint32_t out[4] = {permute_bytes(low01, low23, 0x5410), permute_bytes(low01, low23, 0x7632),
                                     permute_bytes(high01, high23, 0x5410), permute_bytes(high01, high23, 0x7632)};
#pragma unroll
            for (int i = 0; i < 4; i++)
                store_shared(reinterpret_cast<uint32_t *>(tile + tile_at(row + (i ^ exchange), first)),
                             exchange ? out[i ^ 1] : out[i]);
        }
    }
};

#endif
