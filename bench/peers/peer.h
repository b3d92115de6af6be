/* SPDX-License-Identifier: Apache-2.0 */
/* What a library that is measured through its C ABI does for `hunze_bench`: one file per library in this folder, one line in table.c.
 * It is opened by dlopen in a process of its own; nothing is linked. */
#ifndef HUNZE_BENCH_PEER_H
#define HUNZE_BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { BENCH_MOST_WAYS = 24 };

typedef enum bench_op { BENCH_GEMM, BENCH_CONV } bench_op;

/* One row of a suite, with its operands.  Everything is row-major without gaps, and 64-byte aligned.
 *   gemm  a (batch, m, k)   b (batch, k, n), or (batch, n, k) where trans_b   d (batch, m, n)
 *   conv  a (images, channels, height, width)   b (filters, channels/groups, kernel_height, kernel_width)
 *         d (images, filters, out_height, out_width)
 * dtype   a     b     d
 * "f32"   f32   f32   f32
 * "f64"   f64   f64   f64
 * "bf16"  bf16  bf16  bf16 or f32, as the way says
 * "u8s8"  u8    s8    s32
 * "s8s8"  s8    s8    s32
 * "w4gG"  f32   codes of 4 bits, one per byte, 0 … 15, (n, k): real = (code - 8) * scales[row, column / G]     d f32
 * "w8gG"  f32   codes of 8 bits, (n, k): real = (code - 128) * scales[row, column / G]                         d f32 */
typedef struct bench_case {
    bench_op op;
    char id[32], dtype[16];
    int64_t m, n, k, batch;
    bool trans_b, packed_b; /* packed_b: weights may be brought into a form of the library's own before the timing */
    int64_t images, channels, height, width, filters, kernel_height, kernel_width, stride, pad, groups;
    int64_t out_height, out_width;
    int64_t group_size; /* G of w4gG and w8gG */
    bool every_kernel;  /* hunze alone: its kernels by their names, that of the plan among them */
    int threads;
    int copies; /* of b, one behind the other: a call with copy i uses the i-th, so that weights come from memory */
    size_t b_stride; /* bytes from one copy of b to the next */
    const void *a, *b;
    const float *scales; /* (n, ceil(k / G)) */
    void *d;             /* batch * m * n elements, or y; room for f32 or s32 */
} bench_case;

/* One way in which a library does a row: another function, layout, kernel or level of accuracy. */
typedef struct bench_way {
    char name[64];          /* "" where there is one only; else such as "jit", "channels last", or a kernel's name */
    char isa[16];           /* instruction set whose limit it is judged by; "" for the machine's highest */
    char d_dtype[8];        /* "f32", "f64", "s32", "bf16" */
    double prepack_seconds; /* what the weights took to bring into the library's form, for one copy; 0 without */
    char *explain;          /* JSON, from malloc, or NULL */
    void *state;
    bool (*call)(void *state, int copy); /* one call, timed; false: it failed */
    void (*finish)(void *state);         /* after a call that is not timed: d in the layout above.  NULL: it is there */
    void (*release)(void *state);        /* NULL: nothing to release */
} bench_way;

typedef struct bench_peer {
    const char *name; /* "openblas" */
    /* Opens the library: `path` if given, else what is found in the environment of the peers (`environment`, a virtual environment's
     * folder or NULL) or on the system.  On success version and place are filled and true is returned; else `why` says what is missing. */
    bool (*open)(const char *path, const char *environment, int threads, char version[128], char place[512],
                 char why[256]);
    /* Fills ways; how many, 0 where the library does not do the row (`why` says so). */
    int (*prepare)(const bench_case *row, bench_way ways[BENCH_MOST_WAYS], char why[256]);
} bench_peer;

extern const bench_peer *const bench_peers[]; /* ends with NULL */

#ifdef __cplusplus
}
#endif
#endif
