/* SPDX-License-Identifier: Apache-2.0 */
/* MKL, from the wheel mkl or from the system.  Its products of bytes want a unsigned and b signed in row-major order, which is u8s8;
 * s8s8 it has not. */
#include "cblas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool f32(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);
static bool f64(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);
static bool direct(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);
static bool jit(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);
static bool plain(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);
static bool packed(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);

enum { F32, F64, BF16, U8S8 };

static const bench_entry entries[] = {
    {BENCH_GEMM, "f32", "", "f32", f32, CBLAS_LOOP},
    {BENCH_GEMM, "f32", "batch_strided", "f32", f32, CBLAS_BATCH},
    {BENCH_GEMM, "f32", "direct", "f32", direct, F32},
    {BENCH_GEMM, "f32", "jit", "f32", jit, F32},
    {BENCH_GEMM, "f32", "packed", "f32", packed, F32},
    {BENCH_GEMM, "f64", "", "f64", f64, CBLAS_LOOP},
    {BENCH_GEMM, "f64", "batch_strided", "f64", f64, CBLAS_BATCH},
    {BENCH_GEMM, "f64", "direct", "f64", direct, F64},
    {BENCH_GEMM, "f64", "jit", "f64", jit, F64},
    {BENCH_GEMM, "f64", "packed", "f64", packed, F64},
    {BENCH_GEMM, "bf16", "", "f32", plain, BF16},
    {BENCH_GEMM, "bf16", "packed", "f32", packed, BF16},
    {BENCH_GEMM, "u8s8", "", "s32", plain, U8S8},
    {BENCH_GEMM, "u8s8", "packed", "s32", packed, U8S8},
};

enum { PACKED = 151, B_MATRIX = 162, FIXED_OFFSET = 173, SMALL = 128 };
enum { JIT_MADE = 0, JIT_ORDINARY = 1 }; /* ordinary: its pointer calls the library's usual product */
enum { LP64 = 0, INTEL_THREADS = 0, SEQUENTIAL = 1, GNU_THREADS = 3 };

typedef void f32_kernel(void *jitter, const float *a, const float *b, float *c);
typedef void f64_kernel(void *jitter, const double *a, const double *b, double *c);

static struct {
    void (*version)(char *text, int length);
    int (*set_interface)(int layer);
    int (*set_threading)(int layer);
    void (*set_threads)(int threads);
    void (*set_dynamic)(int on);
    cblas_functions plain;
    void (*sgemm_direct)(const char *trans_a, const char *trans_b, const int *m, const int *n, const int *k,
                         const float *alpha, const float *a, const int *lda, const float *b, const int *ldb,
                         const float *beta, float *c, const int *ldc, const int *flag);
    void (*dgemm_direct)(const char *trans_a, const char *trans_b, const int *m, const int *n, const int *k,
                         const double *alpha, const double *a, const int *lda, const double *b, const int *ldb,
                         const double *beta, double *c, const int *ldc, const int *flag);
    int (*jit_create_f32)(void **jitter, int layout, int trans_a, int trans_b, int m, int n, int k, float alpha,
                          int lda, int ldb, float beta, int ldc);
    int (*jit_create_f64)(void **jitter, int layout, int trans_a, int trans_b, int m, int n, int k, double alpha,
                          int lda, int ldb, double beta, int ldc);
    f32_kernel *(*jit_f32)(const void *jitter);
    f64_kernel *(*jit_f64)(const void *jitter);
    int (*jit_destroy)(void *jitter);
    void (*bf16)(int layout, int trans_a, int trans_b, int m, int n, int k, float alpha, const uint16_t *a, int lda,
                 const uint16_t *b, int ldb, float beta, float *c, int ldc);
    void (*u8s8)(int layout, int trans_a, int trans_b, int offset, int m, int n, int k, float alpha, const void *a,
                 int lda, int8_t a_offset, const void *b, int ldb, int8_t b_offset, float beta, int32_t *c, int ldc,
                 const int32_t *c_offset);
    size_t (*size_f32)(int which, int m, int n, int k), (*size_f64)(int which, int m, int n, int k),
        (*size_bf16)(int which, int m, int n, int k), (*size_u8s8)(int which, int m, int n, int k);
    void (*pack_f32)(int layout, int which, int trans, int m, int n, int k, float alpha, const float *from, int ld,
                     float *to);
    void (*pack_f64)(int layout, int which, int trans, int m, int n, int k, double alpha, const double *from, int ld,
                     double *to);
    void (*pack_bf16)(int layout, int which, int trans, int m, int n, int k, const void *from, int ld, void *to);
    void (*pack_u8s8)(int layout, int which, int trans, int m, int n, int k, const void *from, int ld, void *to);
    void (*compute_f32)(int layout, int trans_a, int trans_b, int m, int n, int k, const float *a, int lda,
                        const float *b, int ldb, float beta, float *c, int ldc);
    void (*compute_f64)(int layout, int trans_a, int trans_b, int m, int n, int k, const double *a, int lda,
                        const double *b, int ldb, double beta, double *c, int ldc);
    void (*compute_bf16)(int layout, int trans_a, int trans_b, int m, int n, int k, float alpha, const uint16_t *a,
                         int lda, const uint16_t *b, int ldb, float beta, float *c, int ldc);
    void (*compute_u8s8)(int layout, int trans_a, int trans_b, int offset, int m, int n, int k, float alpha,
                         const void *a, int lda, int8_t a_offset, const void *b, int ldb, int8_t b_offset, float beta,
                         int32_t *c, int ldc, const int32_t *c_offset);
} mkl;

/* By their C names: the same in small letters is the Fortran interface. */
static const bench_function functions[] = {
    {"MKL_Get_Version_String", &mkl.version},
    {"MKL_Set_Interface_Layer", &mkl.set_interface},
    {"MKL_Set_Threading_Layer", &mkl.set_threading},
    {"MKL_Set_Num_Threads", &mkl.set_threads},
    {"MKL_Set_Dynamic", &mkl.set_dynamic},
    {"cblas_sgemm", &mkl.plain.sgemm},
    {"cblas_dgemm", &mkl.plain.dgemm},
    {"cblas_sgemm_batch_strided", &mkl.plain.sgemm_batch_strided},
    {"cblas_dgemm_batch_strided", &mkl.plain.dgemm_batch_strided},
    {"sgemm_direct", &mkl.sgemm_direct},
    {"dgemm_direct", &mkl.dgemm_direct},
    {"mkl_cblas_jit_create_sgemm", &mkl.jit_create_f32},
    {"mkl_cblas_jit_create_dgemm", &mkl.jit_create_f64},
    {"mkl_jit_get_sgemm_ptr", &mkl.jit_f32},
    {"mkl_jit_get_dgemm_ptr", &mkl.jit_f64},
    {"mkl_jit_destroy", &mkl.jit_destroy},
    {"cblas_gemm_bf16bf16f32", &mkl.bf16},
    {"cblas_gemm_s8u8s32", &mkl.u8s8},
    {"cblas_sgemm_pack_get_size", &mkl.size_f32},
    {"cblas_dgemm_pack_get_size", &mkl.size_f64},
    {"cblas_gemm_bf16bf16f32_pack_get_size", &mkl.size_bf16},
    {"cblas_gemm_s8u8s32_pack_get_size", &mkl.size_u8s8},
    {"cblas_sgemm_pack", &mkl.pack_f32},
    {"cblas_dgemm_pack", &mkl.pack_f64},
    {"cblas_gemm_bf16bf16f32_pack", &mkl.pack_bf16},
    {"cblas_gemm_s8u8s32_pack", &mkl.pack_u8s8},
    {"cblas_sgemm_compute", &mkl.compute_f32},
    {"cblas_dgemm_compute", &mkl.compute_f64},
    {"cblas_gemm_bf16bf16f32_compute", &mkl.compute_bf16},
    {"cblas_gemm_s8u8s32_compute", &mkl.compute_u8s8},
};

/* State of every way but the plain f32 and f64. */
typedef struct product {
    cblas_shape s;
    int form;
    int sequential;
    const char *a, *b; /* b: its copies, in the form that the way takes */
    size_t b_stride;
    void *d;
    void *packed; /* owned, or NULL */
    void *jitter;
    f32_kernel *kernel_f32;
    f64_kernel *kernel_f64;
} product;

static bool f32(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    return cblas_make_f32(&mkl.plain, entry->form, row, way, why);
}

static bool f64(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    return cblas_make_f64(&mkl.plain, entry->form, row, way, why);
}

static void release(void *state)
{
    product *p = state;
    if (p->jitter)
        mkl.jit_destroy(p->jitter);
    free(p->packed);
    free(p);
}

/* Fills way's state for one of the forms; NULL and why. */
static product *make(int form, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    cblas_shape shape;
    if (!cblas_shape_of(row, &shape, why))
        return NULL;
    product *p = malloc(sizeof *p);
    if (!p) {
        bench_refuse(why, "no memory");
        return NULL;
    }
    *p = (product){.s = shape,
                   .form = form,
                   .sequential = row->threads == 1,
                   .a = row->a,
                   .b = row->b,
                   .b_stride = row->b_stride,
                   .d = row->d};
    way->state = p;
    way->release = release;
    return p;
}

static bool small(const bench_case *row) { return row->m <= SMALL && row->n <= SMALL && row->k <= SMALL; }

/* What MKL's header calls where a program defines MKL_DIRECT_CALL: it goes round the checks of small products.
 * Column-major, so b comes first. */
static bool direct_f32(void *state, int copy)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    const float one = 1, zero = 0, *a = (const float *)p->a, *b = (const float *)(p->b + (size_t)copy * p->b_stride);
    float *c = p->d;
    for (int i = 0; i < s->batch; i++, a += s->a_size, b += s->b_size, c += s->c_size)
        mkl.sgemm_direct(s->trans_b == CBLAS_TRANS ? "T" : "N", "N", &s->n, &s->m, &s->k, &one, b, &s->ldb, a, &s->k,
                         &zero, c, &s->n, &p->sequential);
    return true;
}

static bool direct_f64(void *state, int copy)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    const double one = 1, zero = 0, *a = (const double *)p->a, *b = (const double *)(p->b + (size_t)copy * p->b_stride);
    double *c = p->d;
    for (int i = 0; i < s->batch; i++, a += s->a_size, b += s->b_size, c += s->c_size)
        mkl.dgemm_direct(s->trans_b == CBLAS_TRANS ? "T" : "N", "N", &s->n, &s->m, &s->k, &one, b, &s->ldb, a, &s->k,
                         &zero, c, &s->n, &p->sequential);
    return true;
}

static bool direct(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    if (!small(row))
        return false;
    way->call = entry->form == F32 ? direct_f32 : direct_f64;
    return make(entry->form, row, way, why) != NULL;
}

static bool jit_f32(void *state, int copy)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    const float *a = (const float *)p->a, *b = (const float *)(p->b + (size_t)copy * p->b_stride);
    float *c = p->d;
    for (int i = 0; i < s->batch; i++, a += s->a_size, b += s->b_size, c += s->c_size)
        p->kernel_f32(p->jitter, a, b, c);
    return true;
}

static bool jit_f64(void *state, int copy)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    const double *a = (const double *)p->a, *b = (const double *)(p->b + (size_t)copy * p->b_stride);
    double *c = p->d;
    for (int i = 0; i < s->batch; i++, a += s->a_size, b += s->b_size, c += s->c_size)
        p->kernel_f64(p->jitter, a, b, c);
    return true;
}

static bool jit(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    if (!small(row))
        return false;
    product *p = make(entry->form, row, way, why);
    if (!p)
        return false;
    const cblas_shape *s = &p->s;
    const bool single = entry->form == F32;
    const int status = single ? mkl.jit_create_f32(&p->jitter, CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, s->trans_b, s->m, s->n,
                                                   s->k, 1, s->k, s->ldb, 0, s->n)
                              : mkl.jit_create_f64(&p->jitter, CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, s->trans_b, s->m, s->n,
                                                   s->k, 1, s->k, s->ldb, 0, s->n);
    if (status != JIT_MADE && status != JIT_ORDINARY) {
        p->jitter = NULL;
        release(p);
        return bench_refuse(why, "it makes no kernel for this shape");
    }
    way->explain =
        strdup(status == JIT_MADE ? "{\"kernel\": \"made for the shape\"}" : "{\"kernel\": \"ordinary product\"}");
    if (single)
        p->kernel_f32 = mkl.jit_f32(p->jitter);
    else
        p->kernel_f64 = mkl.jit_f64(p->jitter);
    way->call = single ? jit_f32 : jit_f64;
    return true;
}

static const int32_t no_offset[1] = {0};

static bool plain_bf16(void *state, int copy)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    const uint16_t *a = (const uint16_t *)p->a, *b = (const uint16_t *)(p->b + (size_t)copy * p->b_stride);
    float *c = p->d;
    for (int i = 0; i < s->batch; i++, a += s->a_size, b += s->b_size, c += s->c_size)
        mkl.bf16(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, s->trans_b, s->m, s->n, s->k, 1, a, s->k, b, s->ldb, 0, c, s->n);
    return true;
}

static bool plain_u8s8(void *state, int copy)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    const char *a = p->a, *b = p->b + (size_t)copy * p->b_stride;
    int32_t *c = p->d;
    for (int i = 0; i < s->batch; i++, a += s->a_size, b += s->b_size, c += s->c_size)
        mkl.u8s8(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, s->trans_b, FIXED_OFFSET, s->m, s->n, s->k, 1, a, s->k, 0, b, s->ldb,
                 0, 0, c, s->n, no_offset);
    return true;
}

static bool plain(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    way->call = entry->form == BF16 ? plain_bf16 : plain_u8s8;
    return make(entry->form, row, way, why) != NULL;
}

static bool packed_call(void *state, int copy)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    const void *a = p->a, *b = p->b + (size_t)copy * p->b_stride;
    switch (p->form) {
    case F32:
        mkl.compute_f32(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, PACKED, s->m, s->n, s->k, a, s->k, b, s->ldb, 0, p->d, s->n);
        return true;
    case F64:
        mkl.compute_f64(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, PACKED, s->m, s->n, s->k, a, s->k, b, s->ldb, 0, p->d, s->n);
        return true;
    case BF16:
        mkl.compute_bf16(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, PACKED, s->m, s->n, s->k, 1, a, s->k, b, s->ldb, 0, p->d,
                         s->n);
        return true;
    default:
        mkl.compute_u8s8(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, PACKED, FIXED_OFFSET, s->m, s->n, s->k, 1, a, s->k, 0, b,
                         s->ldb, 0, 0, p->d, s->n, no_offset);
        return true;
    }
}

static bool pack(void *state, const void *from, void *to)
{
    const product *p = state;
    const cblas_shape *s = &p->s;
    switch (p->form) {
    case F32: mkl.pack_f32(CBLAS_ROW_MAJOR, B_MATRIX, s->trans_b, s->m, s->n, s->k, 1, from, s->ldb, to); break;
    case F64: mkl.pack_f64(CBLAS_ROW_MAJOR, B_MATRIX, s->trans_b, s->m, s->n, s->k, 1, from, s->ldb, to); break;
    case BF16: mkl.pack_bf16(CBLAS_ROW_MAJOR, B_MATRIX, s->trans_b, s->m, s->n, s->k, from, s->ldb, to); break;
    default: mkl.pack_u8s8(CBLAS_ROW_MAJOR, B_MATRIX, s->trans_b, s->m, s->n, s->k, from, s->ldb, to); break;
    }
    return true;
}

static bool packed(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    if (!row->packed_b || row->batch != 1)
        return false;
    product *p = make(entry->form, row, way, why);
    if (!p)
        return false;
    const cblas_shape *s = &p->s;
    size_t (*const sizes[])(int, int, int, int) = {mkl.size_f32, mkl.size_f64, mkl.size_bf16, mkl.size_u8s8};
    const size_t bytes = sizes[entry->form](B_MATRIX, s->m, s->n, s->k);
    p->packed = bytes ? bench_pack_copies(row, bytes, &p->b_stride, pack, p, &way->prepack_seconds) : NULL;
    if (!p->packed) {
        release(p);
        return bench_refuse(why, "no memory");
    }
    p->b = p->packed;
    way->call = packed_call;
    return true;
}

/* A library from the folder of the first, kept open for those that libmkl_rt opens by name; false: it is not there. */
static bool beside(const char *place, const char *name)
{
    char file[BENCH_PLACE];
    const char *slash = strrchr(place, '/');
    const int folder = slash ? (int)(slash - place) : 0;
    const int length = snprintf(file, sizeof file, "%.*s/%s", folder, place, name);
    return length > 0 && (size_t)length < sizeof file && dlopen(file, RTLD_NOW | RTLD_GLOBAL);
}

static bool open_mkl(const char *path, const char *environment, int threads, char version[BENCH_VERSION],
                     char place[BENCH_PLACE], char why[BENCH_WHY])
{
    static const char *const patterns[] = {"lib/libmkl_rt.so*", NULL};
    static const char *const sonames[] = {"libmkl_rt.so.3", "libmkl_rt.so.2", "libmkl_rt.so", NULL};
    const bench_library library = {"MKL", patterns, sonames};
    void *opened = bench_library_open(&library, path, environment, place, why);
    if (!opened || !bench_library_functions(opened, "", functions, sizeof functions / sizeof *functions, why))
        return false;
    /* Before the first call that loads its other libraries. */
    const int layer = threads == 1 ? SEQUENTIAL : beside(place, "libiomp5.so") ? INTEL_THREADS : GNU_THREADS;
    mkl.set_interface(LP64);
    if (mkl.set_threading(layer) != layer)
        return bench_refuse(why, "it does not take its threading layer");
    mkl.set_dynamic(0);
    mkl.set_threads(threads);
    mkl.version(version, BENCH_VERSION - 1);
    version[BENCH_VERSION - 1] = 0;
    for (size_t end = strlen(version); end > 0 && version[end - 1] == ' ';)
        version[--end] = 0;
    return true;
}

static int prepare(const bench_case *row, bench_way ways[BENCH_MOST_WAYS], char why[BENCH_WHY])
{
    mkl.set_threads(row->threads);
    return bench_entries_prepare(entries, sizeof entries / sizeof *entries, row, ways, why);
}

extern const bench_peer bench_peer_mkl;
const bench_peer bench_peer_mkl = {"mkl", open_mkl, prepare};
