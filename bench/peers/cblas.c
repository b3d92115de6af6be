/* SPDX-License-Identifier: Apache-2.0 */
#include "cblas.h"

#include <limits.h>
#include <stdlib.h>

typedef struct product {
    cblas_shape s;
    const cblas_functions *functions;
    const char *a, *b;
    size_t b_stride;
    void *d;
} product;

bool cblas_shape_of(const bench_case *row, cblas_shape *shape, char why[BENCH_WHY])
{
    const int64_t a = row->m * row->k, b = row->k * row->n, c = row->m * row->n;
    if (a > INT_MAX || b > INT_MAX || c > INT_MAX || row->batch > INT_MAX)
        return bench_refuse(why, "an extent does not fit its 32-bit integers");
    *shape = (cblas_shape){.m = (int)row->m,
                           .n = (int)row->n,
                           .k = (int)row->k,
                           .batch = (int)row->batch,
                           .trans_b = row->trans_b ? CBLAS_TRANS : CBLAS_NO_TRANS,
                           .ldb = (int)(row->trans_b ? row->k : row->n),
                           .a_size = (int)a,
                           .b_size = (int)b,
                           .c_size = (int)c};
    return true;
}

static bool f32_loop(void *state, int copy)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    const float *a = (const float *)p->a, *b = (const float *)(p->b + (size_t)copy * p->b_stride);
    float *c = p->d;
    for (int i = 0; i < s->batch; i++, a += s->a_size, b += s->b_size, c += s->c_size)
        p->functions->sgemm(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, s->trans_b, s->m, s->n, s->k, 1, a, s->k, b, s->ldb, 0, c,
                            s->n);
    return true;
}

static bool f64_loop(void *state, int copy)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    const double *a = (const double *)p->a, *b = (const double *)(p->b + (size_t)copy * p->b_stride);
    double *c = p->d;
    for (int i = 0; i < s->batch; i++, a += s->a_size, b += s->b_size, c += s->c_size)
        p->functions->dgemm(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, s->trans_b, s->m, s->n, s->k, 1, a, s->k, b, s->ldb, 0, c,
                            s->n);
    return true;
}

static bool f32_batch(void *state, int copy)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    p->functions->sgemm_batch_strided(
        CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, s->trans_b, s->m, s->n, s->k, 1, (const float *)p->a, s->k, s->a_size,
        (const float *)(p->b + (size_t)copy * p->b_stride), s->ldb, s->b_size, 0, p->d, s->n, s->c_size, s->batch);
    return true;
}

static bool f64_batch(void *state, int copy)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    p->functions->dgemm_batch_strided(
        CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, s->trans_b, s->m, s->n, s->k, 1, (const double *)p->a, s->k, s->a_size,
        (const double *)(p->b + (size_t)copy * p->b_stride), s->ldb, s->b_size, 0, p->d, s->n, s->c_size, s->batch);
    return true;
}

static bool make(const cblas_functions *functions, int form, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    cblas_shape shape;
    if (!cblas_shape_of(row, &shape, why))
        return false;
    if (form == CBLAS_BATCH && shape.batch == 1)
        return false;
    product *p = malloc(sizeof *p);
    if (!p)
        return bench_refuse(why, "no memory");
    *p = (product){shape, functions, row->a, row->b, row->b_stride, row->d};
    way->state = p;
    way->release = free;
    return true;
}

bool cblas_make_f32(const cblas_functions *functions, int form, const bench_case *row, bench_way *way,
                    char why[BENCH_WHY])
{
    way->call = form == CBLAS_BATCH ? f32_batch : f32_loop;
    return make(functions, form, row, way, why);
}

bool cblas_make_f64(const cblas_functions *functions, int form, const bench_case *row, bench_way *way,
                    char why[BENCH_WHY])
{
    way->call = form == CBLAS_BATCH ? f64_batch : f64_loop;
    return make(functions, form, row, way, why);
}
