/* SPDX-License-Identifier: Apache-2.0 */
/* libhunze_blas.so: the products of BLAS in f32 and f64 on Hunze (doors), every other function on another BLAS (forwards).
 *
 * A door reads its arguments into a hunze_blas_product and runs it; a forward jumps to the function of the same name in the backing
 * library, which the first jump opens. */
#ifndef HUNZE_BLAS_H
#define HUNZE_BLAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* C = alpha * op(A) @ op(B) + beta * C, with C m by n. */
typedef struct hunze_blas_product {
    struct {
        const void *matrix;
        int64_t extent, ld; /* m of A, n of B */
        bool transposed;
    } side[2]; /* A, B */
    int64_t k, ldc;
    void *c;
    double alpha, beta;
    uint8_t bits; /* of a real: 32 or 64 */
} hunze_blas_product;

/* ------------------------------------------------------------------ product.c */
/* 0, or, with C untouched, the number that the wrong argument has in the call of SGEMM to which a product by rows comes down: that of the
 * transposes, with A and B exchanged.  Thread-safe. */
int hunze_blas_run(const hunze_blas_product *product, bool by_columns);

/* ------------------------------------------------------------------ backing.c */
/* What a forward jumps through: forwards.c makes one per name, whose first target fills it. */
typedef struct hunze_blas_forward {
    void *target;
    const char *name;
} hunze_blas_forward;

/* Finds the function, which is where the forward jumps from now on.  Where there is none it ends the process as the dynamic linker does
 * for a function that is missing: no result could be returned.  Thread-safe. */
void *hunze_blas_resolve(hunze_blas_forward *forward);

/* ------------------------------------------------------------------ xerbla.c
 * Errors as in the reference BLAS, by functions and variables that a program may have of its own: these are then used, here and by the
 * backing library. */
void xerbla_(const char *routine, const void *argument, size_t length);
void cblas_xerbla(int argument, const char *routine, const char *format, ...);
extern int RowMajorStrg;    /* cblas_xerbla exchanges the numbers of A's and B's arguments */
extern int CBLAS_CallFromC; /* xerbla_ was reached through a cblas_ function of the backing library */

#endif
