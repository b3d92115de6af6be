/* SPDX-License-Identifier: Apache-2.0 */
/* The C interface of BLAS with 32-bit integers, and the plain products through it, for every library that has it. */
#ifndef HUNZE_BENCH_CBLAS_H
#define HUNZE_BENCH_CBLAS_H

#include "library.h"

enum { CBLAS_ROW_MAJOR = 101, CBLAS_NO_TRANS = 111, CBLAS_TRANS = 112 };

typedef void cblas_sgemm_function(int layout, int trans_a, int trans_b, int m, int n, int k, float alpha,
                                  const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
typedef void cblas_dgemm_function(int layout, int trans_a, int trans_b, int m, int n, int k, double alpha,
                                  const double *a, int lda, const double *b, int ldb, double beta, double *c, int ldc);
typedef void cblas_sgemm_batch_function(int layout, int trans_a, int trans_b, int m, int n, int k, float alpha,
                                        const float *a, int lda, int stride_a, const float *b, int ldb, int stride_b,
                                        float beta, float *c, int ldc, int stride_c, int batch);
typedef void cblas_dgemm_batch_function(int layout, int trans_a, int trans_b, int m, int n, int k, double alpha,
                                        const double *a, int lda, int stride_a, const double *b, int ldb, int stride_b,
                                        double beta, double *c, int ldc, int stride_c, int batch);

/* A library's functions. */
typedef struct cblas_functions {
    cblas_sgemm_function *sgemm;
    cblas_dgemm_function *dgemm;
    cblas_sgemm_batch_function *sgemm_batch_strided; /* NULL: it has none, and batches are a loop */
    cblas_dgemm_batch_function *dgemm_batch_strided;
} cblas_functions;

/* How a row looks to BLAS. */
typedef struct cblas_shape {
    int m, n, k, batch, trans_b, ldb; /* lda is k, ldc is n */
    int a_size, b_size, c_size;       /* elements of one product of the batch */
} cblas_shape;

bool cblas_shape_of(const bench_case *row, cblas_shape *shape, char why[BENCH_WHY]);

/* make() of a table's entry; forms: */
enum { CBLAS_LOOP, CBLAS_BATCH };
bool cblas_make_f32(const cblas_functions *functions, int form, const bench_case *row, bench_way *way,
                    char why[BENCH_WHY]);
bool cblas_make_f64(const cblas_functions *functions, int form, const bench_case *row, bench_way *way,
                    char why[BENCH_WHY]);

#endif
