/* SPDX-License-Identifier: Apache-2.0 */
/* What elementwise kernels get. */
#ifndef HUNZE_CUDA_ARGUMENTS_RUNS_H
#define HUNZE_CUDA_ARGUMENTS_RUNS_H

#include <stdint.h>

enum {
    HUNZE_CUDA_RUNS_OPERANDS = 4,
    HUNZE_CUDA_RUNS_AXES = 16,
    HUNZE_CUDA_RUNS_THREADS = 256,
    HUNZE_CUDA_RUNS_CHUNK = 2048
};

/* hunze_runs (src/runs.h) in fixed-width fields: operands of one shape as runs along one axis, cut into chunks.  Operand 0 is the output. */
typedef struct hunze_cuda_runs {
    int64_t chunks, chunks_per_run;
    int64_t length;                         /* of a run */
    int64_t step[HUNZE_CUDA_RUNS_OPERANDS]; /* elements between a run's elements */
    int32_t axes;                           /* outer ones, slowest first */
    int32_t fours; /* runs of the first operands are contiguous, each four elements aligned to their size */
    int64_t extent[HUNZE_CUDA_RUNS_AXES];
    int64_t stride[HUNZE_CUDA_RUNS_AXES][HUNZE_CUDA_RUNS_OPERANDS];
} hunze_cuda_runs;

/* ------------------------------------------------------------------ quantize and dequantize */

/* Operands: output, input, scale, zero point. */
typedef struct hunze_cuda_codes {
    hunze_cuda_runs runs;
    void *output;
    const void *input;
    const float *scale;
    const void *zero_point;   /* NULL: 0; the codes' type */
    const uint32_t *has_none; /* NULL, or not 0: x has no scale, and nothing is written */
    uint32_t canonical_nan;   /* of a dequantized element */
} hunze_cuda_codes;

/* Dynamic quantisation, first step: operand 0 is x, operand 1 the parameter's index.  ranges, all 0 before: per parameter the bits of -min
 * and of max over x and 0, which order as integers do; has_none, 0 before: 1 where x holds a NaN or an infinity. */
typedef struct hunze_cuda_range {
    hunze_cuda_runs runs;
    const float *x;
    uint32_t *ranges, *has_none;
} hunze_cuda_range;

/* Second step. */
typedef struct hunze_cuda_dynamic {
    const uint32_t *ranges, *has_none;
    int64_t parameters;
    float *scale; /* NaN where has_none; then zero_point stays as it is */
    int64_t scale_stride;
    uint8_t *zero_point; /* or NULL */
    int64_t zero_point_stride;
} hunze_cuda_dynamic;

#endif
