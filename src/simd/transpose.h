/* SPDX-License-Identifier: Apache-2.0 */
/* Transposes in blocks that fit 16-byte registers, for any CPU: to[j][i] = from[i][j], elements of 2, 4 or 8 bytes. */
#ifndef HUNZE_SIMD_TRANSPOSE_H
#define HUNZE_SIMD_TRANSPOSE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t transpose_u16x8 __attribute__((vector_size(16)));
typedef uint32_t transpose_u32x4 __attribute__((vector_size(16)));
typedef uint64_t transpose_u64x2 __attribute__((vector_size(16)));

#ifdef __clang__
#define TRANSPOSE_SHUFFLE(type, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define TRANSPOSE_SHUFFLE(type, a, b, ...) __builtin_shuffle(a, b, (type){__VA_ARGS__})
#endif

/* Three times each two rows, four apart, become two: their elements in turn. */
static inline __attribute__((always_inline)) void transpose_8x8(const char *from, int64_t from_row, char *to,
                                                                int64_t to_row)
{
    transpose_u16x8 r[2][8];
    for (int i = 0; i < 8; i++)
        memcpy(&r[0][i], from + i * from_row, 16);
    for (int step = 0; step < 3; step++)
        for (int i = 0; i < 4; i++) {
            const transpose_u16x8 a = r[step % 2][i], b = r[step % 2][i + 4];
            r[1 - step % 2][2 * i] = TRANSPOSE_SHUFFLE(transpose_u16x8, a, b, 0, 8, 1, 9, 2, 10, 3, 11);
            r[1 - step % 2][2 * i + 1] = TRANSPOSE_SHUFFLE(transpose_u16x8, a, b, 4, 12, 5, 13, 6, 14, 7, 15);
        }
    for (int j = 0; j < 8; j++)
        memcpy(to + j * to_row, &r[1][j], 16);
}

static inline __attribute__((always_inline)) void transpose_4x4(const char *from, int64_t from_row, char *to,
                                                                int64_t to_row)
{
    transpose_u32x4 r[4], low[2], high[2];
    for (int i = 0; i < 4; i++)
        memcpy(&r[i], from + i * from_row, 16);
    for (int i = 0; i < 2; i++) {
        low[i] = TRANSPOSE_SHUFFLE(transpose_u32x4, r[i], r[i + 2], 0, 4, 1, 5);
        high[i] = TRANSPOSE_SHUFFLE(transpose_u32x4, r[i], r[i + 2], 2, 6, 3, 7);
    }
    r[0] = TRANSPOSE_SHUFFLE(transpose_u32x4, low[0], low[1], 0, 4, 1, 5);
    r[1] = TRANSPOSE_SHUFFLE(transpose_u32x4, low[0], low[1], 2, 6, 3, 7);
    r[2] = TRANSPOSE_SHUFFLE(transpose_u32x4, high[0], high[1], 0, 4, 1, 5);
    r[3] = TRANSPOSE_SHUFFLE(transpose_u32x4, high[0], high[1], 2, 6, 3, 7);
    for (int j = 0; j < 4; j++)
        memcpy(to + j * to_row, &r[j], 16);
}

static inline __attribute__((always_inline)) void transpose_2x2(const char *from, int64_t from_row, char *to,
                                                                int64_t to_row)
{
    transpose_u64x2 r[2];
    memcpy(&r[0], from, 16);
    memcpy(&r[1], from + from_row, 16);
    const transpose_u64x2 first = TRANSPOSE_SHUFFLE(transpose_u64x2, r[0], r[1], 0, 2);
    const transpose_u64x2 second = TRANSPOSE_SHUFFLE(transpose_u64x2, r[0], r[1], 1, 3);
    memcpy(to, &first, 16);
    memcpy(to + to_row, &second, 16);
}

/* m by n elements of `size` (2, 4 or 8) bytes: element j of row i goes to where element i of row j of `to` is.  Rows lie from_row and to_row bytes apart, their
 * elements together.  rows_first: long runs of `from` are read, for a `to` that is near; else long runs of `to` are written. */
static inline __attribute__((always_inline)) void
transpose(int size, bool rows_first, int64_t m, int64_t n, const void *from, int64_t from_row, void *to, int64_t to_row)
{
    const char *f = from;
    char *t = to;
#define TRANSPOSE(block, step, bytes)                                                                                  \
    do {                                                                                                               \
        const int64_t whole_m = m - m % step, whole_n = n - n % step;                                                  \
        if (rows_first)                                                                                                \
            for (int64_t i = 0; i < whole_m; i += step)                                                                \
                for (int64_t j = 0; j < whole_n; j += step)                                                            \
                    block(f + i * from_row + j * bytes, from_row, t + j * to_row + i * bytes, to_row);                 \
        else                                                                                                           \
            for (int64_t j = 0; j < whole_n; j += step)                                                                \
                for (int64_t i = 0; i < whole_m; i += step)                                                            \
                    block(f + i * from_row + j * bytes, from_row, t + j * to_row + i * bytes, to_row);                 \
        for (int64_t i = 0; i < m; i++)                                                                                \
            for (int64_t j = i < whole_m ? whole_n : 0; j < n; j++)                                                    \
                memcpy(t + j * to_row + i * bytes, f + i * from_row + j * bytes, bytes);                               \
    } while (0)
    if (size == 2)
        TRANSPOSE(transpose_8x8, 8, 2);
    else if (size == 4)
        TRANSPOSE(transpose_4x4, 4, 4);
    else
        TRANSPOSE(transpose_2x2, 2, 8);
#undef TRANSPOSE
}

#endif
