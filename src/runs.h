/* Elementwise traversal: operands of one shape and any strides, seen as runs along one axis, cut into chunks that fit in L1. */
#ifndef HUNZE_RUNS_H
#define HUNZE_RUNS_H

#include "internal.h"

enum { HUNZE_RUNS_OPERANDS = 4, HUNZE_RUNS_CHUNK = 2048 };

typedef struct hunze_runs {
    int32_t operands, axes;
    int64_t extent[HUNZE_MAX_NDIM]; /* outer axes, slowest first */
    int64_t stride[HUNZE_MAX_NDIM][HUNZE_RUNS_OPERANDS];
    int64_t length;                    /* of a run */
    int64_t step[HUNZE_RUNS_OPERANDS]; /* elements between a run's elements */
    int64_t chunks_per_run, chunks;
} hunze_runs;

/* strides[o]: those of operand o; operand 0 (the output) decides the order of the axes.  ndim <= HUNZE_MAX_NDIM. */
void hunze_runs_make(hunze_runs *runs, int32_t ndim, const int64_t *shape, int32_t operands,
                     const int64_t *const strides[]);
/* Elements of chunk `index` in [0, chunks), and each operand's offset to its first. */
int64_t hunze_runs_chunk(const hunze_runs *runs, int64_t index, int64_t offset[HUNZE_RUNS_OPERANDS]);

/* Strides of a validated tensor, row-major where it has none. */
void hunze_runs_strides(const hunze_tensor *tensor, int64_t strides[HUNZE_MAX_NDIM]);

/* chunk(user, index) for every chunk, on as many lanes as the work is worth.  False once the caller cancelled. */
bool hunze_runs_each(const hunze_runs *runs, hunze_exec *exec, void (*chunk)(void *user, int64_t index), void *user);

/* n elements of `bytes` each (1, 4 or 8), from one stride to another. */
void hunze_copy_strided(int64_t n, int64_t bytes, const void *from, int64_t from_step, void *to, int64_t to_step);

#endif
