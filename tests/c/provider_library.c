/* SPDX-License-Identifier: Apache-2.0 */
/* A library in the place of OpenBLAS and oneDNN: the functions that src/providers/ calls, as scalar C that checks its arguments and counts.
 * PREFIX and SUFFIX surround the names of BLAS, INTEGER is its integer, and LACKING leaves out one function of each. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#ifndef INTEGER
#define INTEGER int32_t
#endif
#ifndef PREFIX
#define PREFIX
#endif
#ifndef SUFFIX
#define SUFFIX
#endif
#define JOIN_NOW(a, b, c) a##b##c
#define JOIN(a, b, c) JOIN_NOW(a, b, c)
#define NAMED(name) JOIN(PREFIX, name, SUFFIX)

/* For the test, by dlsym: calls; calls with arguments that BLAS refuses; the largest number of threads set in a call, and of calls at once. */
atomic_int provider_calls, provider_wrong, provider_most_threads, provider_most_inside;
/* How it presents itself, and what oneDNN's functions return. */
int provider_openmp, provider_major = 3, provider_runtime = 2, provider_result;

static atomic_int inside, process_threads = 7;
static _Thread_local int thread_threads = 5;

int omp_get_max_threads(void) { return thread_threads; }
void omp_set_num_threads(int threads) { thread_threads = threads; }
int NAMED(openblas_get_num_threads)(void) { return process_threads; }
void NAMED(openblas_set_num_threads)(int threads) { process_threads = threads; }
int NAMED(openblas_get_parallel)(void) { return provider_openmp ? 2 : 1; }
const char *NAMED(openblas_get_config)(void) { return "A BLAS 1.2 for tests"; }

static void raise_to(atomic_int *most, int value)
{
    for (int old = *most; value > old && !atomic_compare_exchange_weak(most, &old, value);)
        ;
}

/* Whether the matrix fits its step, as all three say. */
static bool fits(bool transposed, int64_t rows, int64_t columns, int64_t step)
{
    return rows > 0 && columns > 0 && step >= (transposed ? rows : columns);
}

static bool begin(bool per_thread, bool ta, bool tb, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb,
                  int64_t ldd)
{
    provider_calls++;
    raise_to(&provider_most_inside, ++inside);
    raise_to(&provider_most_threads, per_thread ? thread_threads : process_threads);
    const bool good = fits(ta, m, k, lda) && fits(tb, k, n, ldb) && fits(false, m, n, ldd);
    provider_wrong += !good;
    return good;
}

#define COMPUTE(sum_type, alpha, beta)                                                                                 \
    for (int64_t i = 0; i < m; i++)                                                                                    \
        for (int64_t j = 0; j < n; j++) {                                                                              \
            sum_type sum = 0;                                                                                          \
            for (int64_t p = 0; p < k; p++)                                                                            \
                sum += (sum_type)(ta ? a[p * lda + i] : a[i * lda + p]) *                                              \
                       (sum_type)(tb ? b[j * ldb + p] : b[p * ldb + j]);                                               \
            d[i * ldd + j] = (alpha) * sum + ((beta) == 0 ? 0 : (beta) * d[i * ldd + j]);                              \
        }

#define CBLAS_GEMM(name, real)                                                                                         \
    void name(int order, int trans_a, int trans_b, INTEGER m, INTEGER n, INTEGER k, real alpha, const real *a,         \
              INTEGER lda, const real *b, INTEGER ldb, real beta, real *d, INTEGER ldd)                                \
    {                                                                                                                  \
        const bool ta = trans_a == 112, tb = trans_b == 112, known = (ta || trans_a == 111) && (tb || trans_b == 111); \
        if (begin(provider_openmp, ta, tb, m, n, k, lda, ldb, ldd) && known && order == 101 && alpha != 0)             \
            COMPUTE(real, alpha, beta)                                                                                 \
        inside--;                                                                                                      \
    }
CBLAS_GEMM(NAMED(cblas_sgemm), float)
#ifndef LACKING
CBLAS_GEMM(NAMED(cblas_dgemm), double)
#endif

typedef struct version_info {
    int major, minor, patch;
    const char *hash;
    unsigned cpu_runtime, gpu_runtime;
} version_info;

const version_info *dnnl_version(void)
{
    static version_info version = {.minor = 4, .patch = 5};
    version.major = provider_major;
    version.cpu_runtime = (unsigned)provider_runtime;
    return &version;
}

int dnnl_sgemm(char trans_a, char trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
               const float *b, int64_t ldb, float beta, float *d, int64_t ldd)
{
    const bool ta = trans_a == 'T', tb = trans_b == 'T';
    if (begin(true, ta, tb, m, n, k, lda, ldb, ldd) && alpha != 0)
        COMPUTE(float, alpha, beta)
    inside--;
    return provider_result;
}

#ifndef LACKING
int dnnl_gemm_u8s8s32(char trans_a, char trans_b, char offset, int64_t m, int64_t n, int64_t k, float alpha,
                      const uint8_t *a, int64_t lda, uint8_t a_offset, const int8_t *b, int64_t ldb, int8_t b_offset,
                      float beta, int32_t *d, int64_t ldd, const int32_t *d_offset)
{
    const bool ta = trans_a == 'T', tb = trans_b == 'T';
    if (begin(true, ta, tb, m, n, k, lda, ldb, ldd) && offset == 'F' && alpha == 1 && beta == 0 && !a_offset &&
        !b_offset && !*d_offset)
        COMPUTE(int32_t, 1, 0)
    inside--;
    return provider_result;
}
#endif
