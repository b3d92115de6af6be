/* SPDX-License-Identifier: Apache-2.0 */
/* A product on the process's context, and in plain loops where Hunze refuses it. */
#include "blas.h"

#include <hunze.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ the context */

static _Atomic(hunze_context *) process_context; /* never released: threads may compute until the process ends */

/* HUNZE_NUM_THREADS, which the library reads, or else what a program that speaks BLAS is told by; 0: neither. */
static int32_t environment_threads(void)
{
    const char *own = getenv("HUNZE_NUM_THREADS"), *openmp = getenv("OMP_NUM_THREADS");
    if ((own && *own) || !openmp)
        return 0;
    const long threads = strtol(openmp, NULL, 10); /* of a list the first: that of the outermost level */
    return threads > 0 && threads <= INT32_MAX ? (int32_t)threads : 0;
}

/* Programs meet many more shapes than a network does, and a new plan takes 2 us. */
enum { SHAPES = 1024 };

/* BLAS cannot return what is wrong with a variable, so then none of them is read. */
static void make_context(void)
{
    hunze_context_options options = {
        .struct_size = sizeof options, .threads = environment_threads(), .plan_cache = SHAPES};
    hunze_context *context = NULL;
    if (hunze_context_create(&options, &context)) {
        options.flags = HUNZE_IGNORE_ENVIRONMENT;
        options.threads = 0;
        if (hunze_context_create(&options, &context))
            return;
    }
    atomic_store_explicit(&process_context, context, memory_order_release);
}

static hunze_context *context_of_process(void)
{
    hunze_context *context = atomic_load_explicit(&process_context, memory_order_acquire);
    if (__builtin_expect(context != NULL, 1))
        return context;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_context);
    return atomic_load_explicit(&process_context, memory_order_acquire);
}

/* ------------------------------------------------------------------ the product */

/* As by rows, in the order in which SGEMM counts. */
static __attribute__((noinline)) int wrong_argument(int64_t m, int64_t n, int64_t k, bool a_wrong, bool b_wrong)
{
    return n < 0 ? 3 : m < 0 ? 4 : k < 0 ? 5 : b_wrong ? 8 : a_wrong ? 10 : 13;
}

static double element(const hunze_tensor *tensor, int64_t i, int64_t j, bool transposed)
{
    const int64_t at = transposed ? j * tensor->strides[0] + i : i * tensor->strides[0] + j;
    return tensor->dtype.bits == 32 ? (double)((const float *)tensor->data)[at] : ((const double *)tensor->data)[at];
}

/* For what Hunze refuses: C overlaps A or B (BLAS does not say what then happens, and does not forbid it), or there is no memory. */
static __attribute__((noinline)) void run_loops(const hunze_tensor *a, const hunze_tensor *b, const hunze_tensor *d,
                                                int64_t k, double alpha, double beta, const hunze_gemm_options *options)
{
    for (int64_t i = 0; i < d->shape[0]; i++)
        for (int64_t j = 0; j < d->shape[1]; j++) {
            double sum = 0;
            for (int64_t p = 0; p < k && alpha != 0; p++)
                sum += element(a, i, p, options->transpose_a) * element(b, p, j, options->transpose_b);
            const double value =
                (k > 0 && alpha != 0 ? alpha * sum : 0) + (beta != 0 ? beta * element(d, i, j, false) : 0);
            const int64_t at = i * d->strides[0] + j;
            if (d->dtype.bits == 32)
                ((float *)d->data)[at] = (float)value;
            else
                ((double *)d->data)[at] = value;
        }
}

/* What most calls share is copied or pointed to: a product of 4 x 4 takes as long as it takes to describe it. */
static const hunze_tensor matrix_f32 = {.device = {HUNZE_DEVICE_CPU, 0}, .ndim = 2, .dtype = {HUNZE_FLOAT, 32, 1}};
static const hunze_tensor matrix_f64 = {.device = {HUNZE_DEVICE_CPU, 0}, .ndim = 2, .dtype = {HUNZE_FLOAT, 64, 1}};
#define OPTIONS(a, b) {.struct_size = sizeof(hunze_gemm_options), .transpose_a = a, .transpose_b = b}
static const hunze_gemm_options plain[2][2] = {{OPTIONS(0, 0), OPTIONS(0, 1)}, {OPTIONS(1, 0), OPTIONS(1, 1)}};

int hunze_blas_run(const hunze_blas_product *product, bool by_columns)
{
    /* What lies by columns is the transpose by rows: C' = op(B)' @ op(A)'. */
    const int left = by_columns, right = !by_columns;
    const int64_t m = product->side[left].extent, n = product->side[right].extent, k = product->k;
    const int64_t lda = product->side[left].ld, ldb = product->side[right].ld, ldc = product->ldc;
    const bool transpose_a = product->side[left].transposed, transpose_b = product->side[right].transposed;
    const int64_t columns_a = transpose_a ? m : k, columns_b = transpose_b ? k : n;
    const bool a_wrong = lda < columns_a || lda < 1, b_wrong = ldb < columns_b || ldb < 1, c_wrong = ldc < n || ldc < 1;
    if (__builtin_expect((m | n | k) < 0 || a_wrong || b_wrong || c_wrong, 0))
        return wrong_argument(m, n, k, a_wrong, b_wrong);
    const double alpha = product->alpha, beta = product->beta;
    if (m == 0 || n == 0 || ((k == 0 || alpha == 0) && beta == 1))
        return 0;
    int64_t shape_a[2] = {transpose_a ? k : m, columns_a}, strides_a[2] = {lda, 1};
    int64_t shape_b[2] = {transpose_b ? n : k, columns_b}, strides_b[2] = {ldb, 1};
    int64_t shape_d[2] = {m, n}, strides_d[2] = {ldc, 1};
    const hunze_tensor *kind = product->bits == 32 ? &matrix_f32 : &matrix_f64;
    hunze_tensor a = *kind, b = *kind, d = *kind;
    a.data = (void *)product->side[left].matrix;
    a.shape = shape_a;
    a.strides = strides_a;
    b.data = (void *)product->side[right].matrix;
    b.shape = shape_b;
    b.strides = strides_b;
    d.data = product->c;
    d.shape = shape_d;
    d.strides = strides_d;
    const hunze_gemm_options *options = &plain[transpose_a][transpose_b];
    hunze_gemm_options scaled;
    if (alpha != 1 || beta != 0) {
        scaled = *options;
        scaled.alpha = &alpha;
        scaled.beta = &beta;
        options = &scaled;
    }
    hunze_context *context = context_of_process();
    if (!context || hunze_gemm(context, &a, &b, beta == 0 ? NULL : &d, &d, options, NULL))
        run_loops(&a, &b, &d, k, alpha, beta, options);
    return 0;
}
