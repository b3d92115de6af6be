/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of A and B in shared memory, [k][row], and how a matrix gets there.
 *
 * Copies are asynchronous and of single elements, which turns any layout, or of 16 bytes where rows are contiguous.  Rows beyond the operand are +0.
 * Where k ends, A has -0 and B +0: their product, -0, changes no sum. */
#ifndef HUNZE_TILE_FLOAT_CUH
#define HUNZE_TILE_FLOAT_CUH

#include "ptx.cuh"
#include "arguments_float.h"

/* As many elements as 16 bytes hold. */
template <typename T> struct alignas(16) vector_of {
    T at[16 / sizeof(T)];
};

template <typename T, int GROUPS> struct tile_shape {
    enum {
        THREADS = HUNZE_CUDA_FLOAT_THREADS,
        VECTOR = 16 / sizeof(T),
        SPAN = 16 * VECTOR, /* of a group of rows or columns: 16 threads with a vector each */
        TILE = SPAN * GROUPS,
        K = 16,
        STAGES = 3,
        PITCH = TILE + VECTOR /* so that threads along k meet different banks */
    };
};

template <typename T, int GROUPS> struct tile_of : tile_shape<T, GROUPS> {
    T at[tile_shape<T, GROUPS>::K][tile_shape<T, GROUPS>::PITCH];
};

/* Which elements of a tile a thread brings. */
template <typename T, int GROUPS> struct tile_thread : tile_shape<T, GROUPS> {
    typedef tile_shape<T, GROUPS> shape;
    enum {
        COUNT = shape::TILE / 16, /* elements */
        VECTORS = COUNT / shape::VECTOR,
        ROWS_APART = 16,                        /* along k: one k, every 16th row */
        K_APART = shape::THREADS / shape::TILE, /* along rows: one row */
        VECTORS_PER_ROW = shape::TILE / shape::VECTOR,
        K_APART_VECTORS = shape::THREADS / VECTORS_PER_ROW
    };
    HUNZE_MEMBER static int row(uint32_t load, int thread)
    {
        if (load == HUNZE_CUDA_ALONG_K) /* a warp has 8 of k by 4 rows, two warps 16 of k */
            return thread / 64 * 4 + thread % 32 / 8;
        return load == HUNZE_CUDA_ALONG_ROWS ? thread % shape::TILE : thread % VECTORS_PER_ROW * shape::VECTOR;
    }
    HUNZE_MEMBER static int k(uint32_t load, int thread)
    {
        if (load == HUNZE_CUDA_ALONG_K)
            return thread / 32 % 2 * 8 + thread % 8;
        return load == HUNZE_CUDA_ALONG_ROWS ? thread / shape::TILE : thread / VECTORS_PER_ROW;
    }
};

/* IS_A: of A, else of B. */
template <typename T, int GROUPS, bool IS_A> struct strided_loader {
    typedef tile_thread<T, GROUPS> mine;
    enum { ELEMENT = sizeof(T) };
    const hunze_cuda_strided &matrix;
    const T *from; /* this thread's first element of the next tile */
    int rows;      /* of the operand from the tile's first on, at most a tile's */

    /* first: element (first row of the tile, 0). */
    HUNZE_MEMBER strided_loader(const hunze_cuda_strided &matrix_, const T *first, int rows_)
        : matrix(matrix_), from(first + mine::row(matrix.load, thread_index()) * matrix.row_step +
                                mine::k(matrix.load, thread_index()) * matrix.k_step),
          rows(rows_)
    {
    }

    /* Begins to bring the next tile; left: what remains of k. */
    HUNZE_MEMBER void get(tile_of<T, GROUPS> &tile, int left)
    {
        const int thread = anew(thread_index()), row = mine::row(matrix.load, thread), k = mine::k(matrix.load, thread);
        const T *at = from;
        if (matrix.load == HUNZE_CUDA_ALONG_K) {
            const int64_t step = mine::ROWS_APART * matrix.row_step;
#pragma unroll
            for (int i = 0; i < mine::COUNT; i++, at += step)
                copy(&tile.at[k][row + i * mine::ROWS_APART], at, row + i * mine::ROWS_APART, k < left);
        } else if (matrix.load == HUNZE_CUDA_ALONG_ROWS) {
            const int64_t step = mine::K_APART * matrix.k_step;
#pragma unroll
            for (int i = 0; i < mine::COUNT; i++, at += step)
                copy(&tile.at[k + i * mine::K_APART][row], at, row, k + i * mine::K_APART < left);
        } else {
            const int64_t step = mine::K_APART_VECTORS * matrix.k_step;
#pragma unroll
            for (int i = 0; i < mine::VECTORS; i++, at += step) {
                T *to = &tile.at[k + i * mine::K_APART_VECTORS][row];
                const bool in_k = k + i * mine::K_APART_VECTORS < left, whole = row + mine::VECTOR <= rows;
                if (IS_A && !in_k) {
                    store_shared(reinterpret_cast<vector_of<T> *>(to), negative_zeros());
                } else if (whole || row >= rows || !in_k) {
                    copy_async<16>(to, at, INSIDE(whole && in_k));
                } else { /* the operand ends within these */
#pragma unroll 1
                    for (int j = 0; j < mine::VECTOR; j++)
                        copy_async<ELEMENT>(to + j, at + j, INSIDE(row + j < rows));
                }
            }
        }
        from += mine::K * matrix.k_step;
    }

    HUNZE_MEMBER static vector_of<T> negative_zeros()
    {
        vector_of<T> v;
        for (int j = 0; j < mine::VECTOR; j++)
            v.at[j] = (T)-0.0;
        return v;
    }

    HUNZE_MEMBER void copy(T *to, const T *at, int row, bool in_k) const
    {
        if (IS_A && !in_k)
            store_shared(to, (T)-0.0);
        else
            copy_async<ELEMENT>(to, at, INSIDE(row < rows && in_k));
    }
};

#endif
