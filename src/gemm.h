/* The GEMM driver as convolution uses it: a list of products that share one kernel row, one k and one set of scalars.
 *
 * Activations are A (broadcast operand), weights are B (packed panels), for both layouts of a convolution.  Channels-first convolution,
 * where conv_planes.c does not take it, reads A by columns (a_row 1) and writes D transposed (d_col != 1) through scratch. */
#ifndef HUNZE_GEMM_H
#define HUNZE_GEMM_H

#include "internal.h"

/* Fills rows [i0, i1), columns [p0, p1) of the virtual A into dst: element (i, p) at dst + ((i - i0)*dst_row + (p - p0)*dst_col)
 * elements.  dst_col == 1, or dst_row == 1 where the driver asked for columns.  Runs in any lane; must not write shared state. */
typedef void hunze_gather_fn(const void *source, int64_t i0, int64_t i1, int64_t p0, int64_t p1, void *dst,
                             int64_t dst_row, int64_t dst_col);

/* Columns of A that lie together in memory: element (i, p) at a + i*a_row + p, p counted from the segment's start. */
typedef struct hunze_gemm_segment {
    const void *a;
    int64_t a_row, k;
} hunze_gemm_segment;
enum { HUNZE_GEMM_SEGMENTS = 32 };
/* Rows [i0, i1) as segments that follow each other through k; their number, or 0 where these rows must be gathered. */
typedef int hunze_segments_fn(const void *source, int64_t i0, int64_t i1,
                              hunze_gemm_segment segments[HUNZE_GEMM_SEGMENTS]);

typedef struct hunze_gemm_job {
    int64_t m, n;
    const void *a; /* element (i, p) at a + i*a_row + p*a_col; unused with gather */
    int64_t a_row, a_col;
    hunze_gather_fn *gather; /* NULL: A is in memory */
    const void *gather_source;
    int64_t gather_row;          /* added to i0 and i1: this job's first row among those that the source describes */
    hunze_segments_fn *segments; /* with gather: of the same source, spares gathering where k is one block; or NULL */
    bool gather_by_columns;      /* the gather is faster with dst_row == 1 (channels-first) */
    const void *b;               /* element (p, j); unused with packed_b */
    int64_t b_row, b_col;
    const void *packed_b; /* the first panel of this group in a packed blob, or NULL */
    const void *c;
    int64_t c_row, c_col;
    void *d;
    int64_t d_row, d_col;
    hunze_float_epilogue float_epilogue; /* by the job's rows and columns */
    /* Rows of bf16 and f16: which of these are of the row's type instead of f32. */
    bool narrow_d, narrow_bias, narrow_residual; /* c is as d */
    hunze_int_epilogue int_epilogue;
    /* Integers.  The driver adds what zero points and int_bias make to the epilogue's offsets. */
    int32_t a_zero_point_scalar; /* when a_zero_point is NULL */
    const void *a_zero_point;    /* A's type, one per row, a_zero_point_stride apart, or NULL */
    int64_t a_zero_point_stride;
    const void *b_zero_point; /* B's type, b_zero_point_stride apart over columns (0: one for all), or NULL: 0 */
    int64_t b_zero_point_stride;
    const int32_t *int_bias; /* element (i, j) at int_bias + i*int_bias_row + j*int_bias_col, one of them 0; or NULL */
    int64_t int_bias_row, int_bias_col;
} hunze_gemm_job;

typedef struct hunze_gemm_jobs {
    const hunze_row *row;
    int64_t count; /* jobs; job(user, index, out) fills one; called in any lane */
    void (*job)(const void *user, int64_t index, hunze_gemm_job *out);
    const void *user;
    int64_t m, n, k; /* the largest m and n of the jobs, and k of all: workspace is computed from them */
    double alpha, beta;
    bool unsigned_b;   /* integers: B is u8, and its panels hold b - 128 */
    bool packed_b;     /* every job has packed_b */
    bool shared_b;     /* every job has the same B: it is packed once */
    bool lane_b;       /* each unit packs its own part of B, if at all: few rows share it */
    bool gathers;      /* any job has a gather */
    bool transposed_d; /* any job has d_col != 1 and n > 1 */
    bool narrow_d;     /* every job has */
} hunze_gemm_jobs;

/* K blocks of a float type (kernels.h): their count for k >= 0, and the first index of block `index`; that of block `count` is k. */
static inline int64_t hunze_gemm_k_blocks(int64_t k, int64_t kc)
{
    return k < kc ? 1 : k / kc + (k % kc >= kc / 2 && k % kc != 0);
}
static inline int64_t hunze_gemm_k_block_start(int64_t k, int64_t kc, int64_t index)
{
    return index == hunze_gemm_k_blocks(k, kc) ? k : index * kc;
}

/* The last two axes of an operand that broadcasts to D: strides in elements, 0 along an extent of 1. */
typedef struct hunze_matrix {
    char *data;
    int64_t row, col;
} hunze_matrix;
hunze_matrix hunze_matrix_of(const hunze_tensor *x, bool transpose);
/* Elements from x's first matrix to the one that meets matrix `index` of D. */
int64_t hunze_batch_offset(const hunze_tensor *x, const hunze_tensor *d, int64_t index);

/* Multiplications of one matrix that gemm_direct.c takes, at most. */
enum { HUNZE_GEMM_DIRECT_PRODUCTS = 64 * 64 * 64 };
/* Whether hunze_run_gemm runs a plan in the calling thread, without workspace. */
bool hunze_gemm_is_small(const hunze_plan *plan);

/* A number as a row's tiles read alpha and beta. */
typedef union hunze_scalar {
    float f32;
    double f64;
    int16_t s16;
    int32_t s32;
    int64_t s64;
} hunze_scalar;
hunze_scalar hunze_scalar_of(const hunze_row *row, double value);

/* The length of a K block of a row's type. */
int64_t hunze_gemm_kc(const hunze_row *row);
/* What holds for every list of a plan's products; who runs it adds the jobs.  options may be NULL. */
hunze_gemm_jobs hunze_gemm_plan_jobs(const struct hunze_plan *plan, const hunze_gemm_options *options);
/* The first product of a validated gemm. */
hunze_gemm_job hunze_gemm_first_job(const struct hunze_plan *plan, const hunze_call *call, uint32_t flags);
/* Lanes that are worth it, at most `threads`. */
int32_t hunze_gemm_lanes(double operations, int32_t threads);
/* Operations from which on a job of many has phases of its own. */
extern const double hunze_gemm_phase_operations;
size_t hunze_gemm_jobs_workspace(const hunze_gemm_jobs *jobs, int32_t threads);
hunze_status hunze_gemm_run_jobs(const hunze_gemm_jobs *jobs, hunze_exec *exec);

/* How a plan's product is cut, for explain: rows and columns of a unit of work, the length of a K block, and where B comes from. */
typedef struct hunze_gemm_cut {
    const char *driver, *b;
    int64_t unit_m, unit_n, kc;
    int32_t lanes;
} hunze_gemm_cut;
hunze_gemm_cut hunze_gemm_cut_of(const hunze_plan *plan, int32_t threads);
hunze_gemm_cut hunze_gemm_jobs_cut(const hunze_gemm_jobs *jobs, int32_t threads);

/* The driver of rows that another library computes (providers/product.c). */
hunze_status hunze_run_provided(const hunze_plan *plan, const hunze_gemm_jobs *jobs, hunze_exec *exec);

/* What surrounds the tiles of a row of bf16 or f16, for rows [i, i + m) and columns [j, j + n) of a job, at most a tile: C, widened, to t; and
 * t by the epilogue and to D, unless D is t. */
void hunze_gemm_narrow_begin(const hunze_row *row, const hunze_gemm_job *job, int64_t i, int64_t j, int64_t m,
                             int64_t n, float *t, int64_t t_row);
void hunze_gemm_narrow_end(const hunze_row *row, const hunze_gemm_job *job, int64_t i, int64_t j, int64_t m, int64_t n,
                           float *t, int64_t t_row);

/* Packed panels of (n, k) in a row's layout: panel j holds columns [j*nr, (j+1)*nr) over all of k and starts j times
 * hunze_packed_panel_bytes behind the first; integers: the panel's nr column sums follow its elements. */
size_t hunze_packed_panel_bytes(const hunze_row *row, int64_t k); /* a multiple of 64 */
size_t hunze_packed_elements_bytes(const hunze_row *row, int64_t k);
size_t hunze_packed_panels_bytes(const hunze_row *row, int64_t n, int64_t k);
/* B of (k, n): element (p, j) at b + p*row + j*col.  is_u8: of bytes without a sign, whose panels hold b - 128. */
typedef struct hunze_gemm_b {
    const void *b;
    int64_t row, col;
    bool is_u8;
} hunze_gemm_b;
/* Packs rows [p0, p1) of panel j into `panel`.  Not of integers of 8 bits. */
void hunze_pack_panel_rows(const hunze_row *row, int64_t n, const hunze_gemm_b *b, int64_t j, int64_t p0, int64_t p1,
                           char *panel);
/* All of panels [first, end) into panels. */
void hunze_pack_panels(const hunze_row *row, int64_t n, int64_t k, const hunze_gemm_b *b, int64_t first, int64_t end,
                       void *panels);
/* All panels, gaps between them zeroed. */
void hunze_gemm_pack_weights(const hunze_row *row, int64_t n, int64_t k, const hunze_gemm_b *b, void *panels,
                             int32_t lanes, hunze_exec *exec);
/* Asks the kernel for huge pages: memory of 4 KB pages takes a fault for each when it is first written, and is read more slowly. */
void hunze_prefer_huge_pages(void *memory, size_t bytes);

/* ------------------------------------------------------------------ what packing finds out (pack_check.c) */
bool hunze_weights_are_finite(const hunze_tensor *w, int32_t lanes, hunze_exec *exec);
/* |w0| + |w1| <= 128 in each pair along k. */
bool hunze_pairs_are_safe(const int8_t *w, int64_t k, int64_t n, int64_t k_stride, int64_t n_stride);

#endif
