/* SPDX-License-Identifier: Apache-2.0 */
/* sgemm and dgemm under all their names.  Arguments are checked in the order of the reference BLAS, and so are the numbers that xerbla_ and
 * cblas_xerbla get. */
#include "blas.h"

/* 0 as it lies, 1 transposed (or conjugated too: these are reals), -1 none of BLAS's letters. */
static int transposes_fortran(char letter)
{
    switch (letter) {
    case 'N':
    case 'n': return 0;
    case 'T':
    case 't':
    case 'C':
    case 'c': return 1;
    default: return -1;
    }
}

enum { CBLAS_ROW_MAJOR = 101, CBLAS_COL_MAJOR = 102, CBLAS_NO_TRANS = 111, CBLAS_TRANS = 112, CBLAS_CONJ_TRANS = 113 };

static int transposes_c(int value)
{
    return value == CBLAS_NO_TRANS ? 0 : value == CBLAS_TRANS || value == CBLAS_CONJ_TRANS ? 1 : -1;
}

static void __attribute__((noinline)) report_fortran(const char *routine, int argument)
{
    const int64_t wide = argument; /* little-endian: whichever width xerbla_ reads */
    xerbla_(routine, &wide, sizeof "SGEMM " - 1);
}

/* `argument` counts as in Fortran; the C functions have one more in front. */
static void __attribute__((noinline)) report_c(const char *routine, int argument, bool row_major)
{
    RowMajorStrg = row_major;
    cblas_xerbla(argument + 1, routine, "");
    RowMajorStrg = 0;
}

static void run_c(const char *routine, int layout, int trans_a, int trans_b, hunze_blas_product *product)
{
    const int transpose_a = transposes_c(trans_a), transpose_b = transposes_c(trans_b);
    if (layout != CBLAS_ROW_MAJOR && layout != CBLAS_COL_MAJOR) {
        cblas_xerbla(1, routine, "Illegal layout setting, %d\n", layout);
    } else if (transpose_a < 0) {
        cblas_xerbla(2, routine, "Illegal TransA setting, %d\n", trans_a);
    } else if (transpose_b < 0) {
        cblas_xerbla(3, routine, "Illegal TransB setting, %d\n", trans_b);
    } else {
        product->side[0].transposed = transpose_a;
        product->side[1].transposed = transpose_b;
        const int argument = hunze_blas_run(product, layout == CBLAS_COL_MAJOR);
        if (argument)
            report_c(routine, argument, layout == CBLAS_ROW_MAJOR);
    }
}

static void run_fortran(const char *routine, char trans_a, char trans_b, hunze_blas_product *product)
{
    const int transpose_a = transposes_fortran(trans_a), transpose_b = transposes_fortran(trans_b);
    product->side[0].transposed = transpose_a > 0;
    product->side[1].transposed = transpose_b > 0;
    const int argument = transpose_a < 0 ? 1 : transpose_b < 0 ? 2 : hunze_blas_run(product, true);
    if (argument)
        report_fortran(routine, argument);
}

/* Fortran passes the lengths of the two letters behind ldc; nobody needs them. */
#define HUNZE_BLAS_FORTRAN(function, integer, real, routine)                                                           \
    void function(const char *trans_a, const char *trans_b, const integer *m, const integer *n, const integer *k,      \
                  const real *alpha, const real *a, const integer *lda, const real *b, const integer *ldb,             \
                  const real *beta, real *c, const integer *ldc)                                                       \
    {                                                                                                                  \
        hunze_blas_product product = {                                                                                 \
            {{a, *m, *lda, false}, {b, *n, *ldb, false}}, *k, *ldc, c, *alpha, *beta, 8 * sizeof(real)};               \
        run_fortran(routine, *trans_a, *trans_b, &product);                                                            \
    }

#define HUNZE_BLAS_C(function, integer, real, routine)                                                                 \
    void function(int layout, int trans_a, int trans_b, integer m, integer n, integer k, real alpha, const real *a,    \
                  integer lda, const real *b, integer ldb, real beta, real *c, integer ldc)                            \
    {                                                                                                                  \
        hunze_blas_product product = {                                                                                 \
            {{a, m, lda, false}, {b, n, ldb, false}}, k, ldc, c, alpha, beta, 8 * sizeof(real)};                       \
        run_c(routine, layout, trans_a, trans_b, &product);                                                            \
    }

#include "doors.def"
