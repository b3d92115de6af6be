/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels of hunze_copy get. */
#ifndef HUNZE_CUDA_ARGUMENTS_COPY_H
#define HUNZE_CUDA_ARGUMENTS_COPY_H

#include <stdint.h>

enum {
    HUNZE_CUDA_COPY_THREADS = 256,
    HUNZE_CUDA_COPY_TILE = 32,  /* rows and columns of a tile that goes through shared memory */
    HUNZE_CUDA_COPY_SHIFT = 10, /* log2 of any tile's elements */
    HUNZE_CUDA_COPY_AXES = 16
};
enum { HUNZE_CUDA_COPY_TO, HUNZE_CUDA_COPY_FROM };

/* Elements of one size, tile by tile of a plane: its columns are where `to` has the shortest step; its rows where `from` has, or the next axis
 * of `to`. */
typedef struct hunze_cuda_copy {
    void *to;
    const void *from;
    int64_t tiles, tiles_of_columns, tiles_of_rows;
    int64_t rows, columns;
    int64_t row_step[2], column_step[2]; /* elements, in `to` and in `from` */
    int32_t turned;                      /* neighbours of `from` are in a column: tiles go through shared memory */
    int32_t columns_shift;               /* log2 of a tile's columns */
    int32_t axes, reserved;              /* above the plane, slowest first */
    int64_t extent[HUNZE_CUDA_COPY_AXES];
    int64_t stride[HUNZE_CUDA_COPY_AXES][2];
} hunze_cuda_copy;

#endif
