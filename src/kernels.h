/* What a kernel is: the contracts of the leaf functions, and the row that declares one.
 *
 * A kernel is one leaf function in one file with one row in kernels.def.  It allocates nothing, starts no thread, reports no
 * error and reads no global.  Drivers (gemm.c, conv.c, quantize.c) call kernels through the row that the plan chose. */
#ifndef HUNZE_KERNELS_H
#define HUNZE_KERNELS_H

#include "../include/hunze.h"

#include <stdbool.h>

/* K blocks of the numeric contract (docs/NUMERICS.md): part of the result's bits, equal on every ISA.  A last block shorter than half joins
 * its predecessor. */
enum { HUNZE_KC_F32 = 512, HUNZE_KC_F64 = 256 };

/* Feature bundles of CPUs, then of devices; a set is a mask of (1u << bundle). */
typedef enum hunze_isa {
    HUNZE_ISA_PORTABLE = 0,
    HUNZE_ISA_AVX2 = 1,    /* AVX2, FMA, F16C */
    HUNZE_ISA_AVXVNNI = 2, /* + VEX-encoded vpdpbusd */
    HUNZE_ISA_AVX512 = 3,  /* F BW DQ VL */
    HUNZE_ISA_AVX512VNNI = 4,
    HUNZE_ISA_AVX512BF16 = 5,
    HUNZE_ISA_CPU_COUNT = 6,
    HUNZE_ISA_CUDA_SM80 = 6,  /* capability 8.0 and up, at most 99 KB of shared memory */
    HUNZE_ISA_CUDA_SM90A = 7, /* 9.0 exactly */
    HUNZE_ISA_PROVIDER = 8,   /* what another library makes of the CPU; in no set */
    HUNZE_ISA_COUNT = 9
} hunze_isa;

/* Libraries that rows call; opened at run time, where the context allows it (providers/). */
typedef enum hunze_provider {
    HUNZE_PROVIDER_NONE = 0,
    HUNZE_PROVIDER_OPENBLAS,
    HUNZE_PROVIDER_ONEDNN,
    HUNZE_PROVIDER_COUNT
} hunze_provider;

/* Element types that rows name. */
typedef enum hunze_type {
    HUNZE_TYPE_NONE = 0,
    HUNZE_TYPE_F32,
    HUNZE_TYPE_F64,
    HUNZE_TYPE_S32,
    HUNZE_TYPE_S8,
    HUNZE_TYPE_U8,
    HUNZE_TYPE_BF16,
    HUNZE_TYPE_F16,
    HUNZE_TYPE_S16,
    HUNZE_TYPE_S64,
    HUNZE_TYPE_U16,
    HUNZE_TYPE_U32,
    HUNZE_TYPE_U64,
    HUNZE_TYPE_COUNT
} hunze_type;

/* order: EXACT integers; CHAIN the contract of docs/NUMERICS.md; OWN its own. */
typedef enum hunze_order { HUNZE_ORDER_EXACT, HUNZE_ORDER_CHAIN, HUNZE_ORDER_OWN } hunze_order;

/* Error bound that a row's tests use (docs/NUMERICS.md, "Bounds"). */
typedef enum hunze_bound { HUNZE_BOUND_EXACT, HUNZE_BOUND_F32, HUNZE_BOUND_F64, HUNZE_BOUND_TENSOR } hunze_bound;

/* ------------------------------------------------------------------ GEMM tile, floating point
 *
 * One tile of t (m <= mr rows, n <= nr columns) over one K block:
 *     s = sum over p in [0, k) of a[i, p] * b[p, j], one fma after the other, p ascending, from +0
 *     FIRST and not READ_C:  t = alpha * s
 *     FIRST and READ_C:      t = fma(alpha, s, beta * c)
 *     else:                  t = fma(alpha, s, t)
 *
 *   a: element (i, p) at a + i*a_row + p*a_col: row-major in place, packed, or transposed; read as broadcasts
 *   b: element (p, j) at b + p*b_row + j.   B_FULL: nr columns may be read whatever n is (packed panels, zero-filled,
 *      64-byte aligned, b_row == nr).  Else only n columns of each row are readable, and unaligned.
 *   b_offset: NULL, or k offsets: row p of b is at b + b_offset[p] instead.  Then a_row is 1, and n columns are readable, unaligned.
 *   start: NULL, or the chain goes on: s begins with start + i*start_row + j instead of +0 (nr columns are readable).
 *   t: element (i, j) at t + i*t_row + j; c likewise.  t may be c.  Strides count elements.
 * alpha and beta point to the element type.
 * bf16 and f16: b's elements are of that type and widened as they are read, all others are f32; one of a_row and
 * a_col is 1; B_FULL unless n is nr; no b_offset.
 *   ahead: NULL, or what is read after b: ahead_bytes of it per step of kr come nearer meanwhile.
 * s16, s32 and s64 that wrap, unsigned ones too: all operands are of that type, fma is a product and a sum modulo 2^bits; B_FULL unless n is nr; no b_offset.
 * bf16 by pairs of k (kr is 2): a and b are of that type, a_col is 1, and s has an order of its own (docs/NUMERICS.md); no b_offset. */
enum { HUNZE_TILE_FIRST = 1, HUNZE_TILE_READ_C = 2, HUNZE_TILE_B_FULL = 4 };

typedef struct hunze_float_tile {
    int32_t m, n;
    int64_t k;
    uint32_t flags;
    const void *a;
    int64_t a_row, a_col;
    const void *b;
    int64_t b_row;
    const int32_t *b_offset;
    const void *start;
    int64_t start_row;
    void *t;
    int64_t t_row;
    const void *c;
    int64_t c_row;
    const void *alpha, *beta;
    const void *ahead; /* bf16 and f16 */
    int64_t ahead_bytes;
} hunze_float_tile;
typedef void hunze_float_tile_fn(const hunze_float_tile *tile);

/* ------------------------------------------------------------------ GEMM strip, floating point: few rows of A
 *
 * The sums of m rows over n columns and one K block, in the order of a tile's:
 *     sums[i*sums_row + j] = sum over p in [0, k) of a[i, p] * b[p, j], one fma after the other, p ascending, from +0
 *   a: element (i, p) at a + p/HUNZE_STRIP_ROWS*a_step + i*a_row + p%HUNZE_STRIP_ROWS; a_step is HUNZE_STRIP_ROWS where b_col is not 1
 *   b: element (p, j) at b + p*b_row + j*b_col, one of these 1; n columns of each row are readable, unaligned
 *   next: where b_col is not 1, what is read afterwards: as much, as far apart, comes nearer meanwhile
 *   sums: n columns up to a multiple of nr are written, those from n on with anything. */
enum { HUNZE_STRIP_ROWS = 8 };

typedef struct hunze_float_strip {
    int64_t m, n, k;
    const void *a, *b;
    int64_t a_step, a_row, b_row, b_col;
    const void *next;
    void *sums;
    int64_t sums_row;
} hunze_float_strip;
typedef void hunze_float_strip_fn(const hunze_float_strip *strip);

/* ------------------------------------------------------------------ GEMM batch, floating point: small matrices in place
 *
 * m, n >= 1.  In each of `count` matrices, s as in a tile:  d = alpha * s where c is NULL, else d = fma(alpha, s, beta * c)
 *   a: element (i, p) at a + i*a_row + p*a_col; b: element (p, j) at b + p*b_row + j; c and d: element (i, j) at c + i*c_row + j
 *   …_next: bytes from a matrix to the next one
 * alpha and beta point to the element type.  d may be c. */
typedef struct hunze_float_batch {
    int64_t m, n, k, count;
    const void *a;
    int64_t a_row, a_col, a_next;
    const void *b;
    int64_t b_row, b_next;
    const void *c;
    int64_t c_row, c_next;
    void *d;
    int64_t d_row, d_next;
    const void *alpha, *beta;
} hunze_float_batch;
typedef void hunze_float_batch_fn(const hunze_float_batch *batch);

/* ------------------------------------------------------------------ GEMM tile, integers: u8 or s8 times s8, exact in s32 (wrapping)
 *
 *     FIRST: t = s   else  t += s        s = sum over p in [0, k) of a[i, p] * b[p, j]
 *   a: bytes, element (i, p) at a + i*a_row + p; exactly k bytes of a row are readable
 *   b: a packed panel in the row's layout (hunze_int_packing), zero-filled to kr in k and nr in n, 64-byte aligned
 *   t: s32, element (i, j) at t + i*t_row + j
 * A row whose instruction needs unsigned A reads s8 as u8 (by XOR 0x80) and takes 128 * column sum off. */
typedef struct hunze_int_tile {
    int32_t m, n;
    int64_t k;
    uint32_t flags; /* HUNZE_TILE_FIRST */
    const void *a;
    int64_t a_row;
    const void *b;              /* this K block of one panel */
    const int32_t *column_sums; /* nr sums of b over this K block; or 0 in one call and all of them in another */
    int32_t *t;
    int64_t t_row;
} hunze_int_tile;
typedef void hunze_int_tile_fn(const hunze_int_tile *tile);

/* ------------------------------------------------------------------ packing B
 *
 * Packs columns [0, n) (n <= nr) and rows [0, k) of b (element (p, j) at b + p*b_row + j*b_col) into one panel, zero-filled to nr
 * columns, bit by bit: [k][nr], where kr is 2 [ceil(k/2)][nr][2]. */
typedef void hunze_pack_b_fn(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel);

/* Integers of 8 bits: k rows and n columns of b into ceil(n/nr) panels [ceil(k/kr)][nr][kr], panel_bytes apart and zero-filled.  Each byte is changed by XOR flip: 0x80
 * makes s8 of u8, 128 less.  column_sums: NULL, or the sums of each panel's nr columns are added to what is there, column_sums_step apart. */
typedef struct hunze_int_packing {
    int64_t k, n;
    const void *b;
    int64_t b_row, b_col;
    uint8_t flip;
    void *panels;
    int64_t panel_bytes;
    int32_t *column_sums;
    int64_t column_sums_step;
} hunze_int_packing;
typedef void hunze_pack_int_fn(const hunze_int_packing *packing);

/* ------------------------------------------------------------------ bf16 and f16, which are computed in f32
 *
 * widen, exactly:  to[i*to_row + j] = from[i*from_row + j*from_col], i in [0, m), j in [0, n)
 * narrow:          to[i*to_row + j] = from[i*from_row + j], rounded to nearest, ties to even; beyond the range Inf; NaN is quiet */
typedef void hunze_widen_fn(int64_t m, int64_t n, const void *from, int64_t from_row, int64_t from_col, float *to,
                            int64_t to_row);
typedef void hunze_narrow_fn(int64_t m, int64_t n, const float *from, int64_t from_row, void *to, int64_t to_row);

/* ------------------------------------------------------------------ epilogues
 *
 * Floating point, in place on t, in this order, each present step one rounding: t += bias; t += residual; t = act(t).
 *   bias (i, j) at bias + i*bias_row + j*bias_col (NULL: none; a stride may be 0); residual likewise. */
typedef struct hunze_float_epilogue {
    const void *bias;
    int64_t bias_row, bias_col;
    const void *residual;
    int64_t residual_row, residual_col;
    hunze_activation_kind activation;
    float alpha, beta;  /* of the activation */
    bool canonical_nan; /* HUNZE_REPRODUCIBLE: NaN becomes 0x7FC00000 (f64: 0x7FF8000000000000) */
} hunze_float_epilogue;
/* Whether it changes t at all. */
static inline bool hunze_float_epilogue_is_needed(const hunze_float_epilogue *e)
{
    return e->bias || e->residual || e->activation != HUNZE_ACT_NONE || e->canonical_nan;
}
typedef void hunze_float_epilogue_fn(const hunze_float_epilogue *epilogue, int64_t m, int64_t n, void *t,
                                     int64_t t_row);

/* Integers: v = t + row_offset[i] + column_offset[j] (wrapping; NULL: 0; zero points and an s32 bias live there), then by `output`:
 *   S32: d = act(v), relu or clip only.
 *   F32: f = (float)v * (row_scale * column_scale); f += bias; f += residual; d = act(f).
 *   S8/U8: as F32 and d = saturate(round_half_even(f / output_scale) + output_zero_point); with neither bias, residual nor
 *          activation f / output_scale is (float)v * (row_scale * column_scale / output_scale), the product formed in f32.
 *   A scale's stride is 0 or 1.  d: element (i, j) at d + (i*d_row + j) elements of the output type; d may be t for S32 and F32. */
typedef struct hunze_int_epilogue {
    hunze_type output;
    const int32_t *row_offset, *column_offset;
    const float *row_scale, *column_scale; /* never NULL for F32, S8, U8 */
    int64_t row_scale_stride, column_scale_stride;
    const float *bias;
    int64_t bias_row, bias_col;
    const float *residual;
    int64_t residual_row, residual_col;
    hunze_activation_kind activation;
    float alpha, beta;
    const float *output_scale;
    int64_t output_scale_stride;   /* over columns */
    const void *output_zero_point; /* NULL: 0; the output's type, same stride */
    bool canonical_nan;
} hunze_int_epilogue;
typedef void hunze_int_epilogue_fn(const hunze_int_epilogue *epilogue, int64_t m, int64_t n, const int32_t *t,
                                   int64_t t_row, void *d, int64_t d_row);

/* ------------------------------------------------------------------ depthwise convolution, channels contiguous
 *
 * One output row segment: for x in [0, width), c in [0, channels):
 *     floating point: s = +0; over (r, s) ascending: s = fma(x[r, x*stride_x + s*dilation_x, c], w[r, s, c], s); t = s.
 *     integers:       t = the same sum, exact in s32.  w is widened to s32 with its zero point taken off; x's zero point is the driver's.
 * row[r] points at channel 0 of the first output's first tap in the input row of tap r.  Every tap is readable: where taps leave the
 * image the driver passes padded copies. */
typedef struct hunze_depthwise_row {
    int32_t kernel_h, kernel_w;
    int64_t width, channels;
    const void *const *row; /* kernel_h pointers */
    int64_t column;         /* elements between input columns */
    int64_t stride_x, dilation_x;
    const void *w; /* [kernel_h][kernel_w][w_row]: f32, or s32 for integers */
    int64_t w_row;
    void *t; /* f32 or s32; output x, channel c at t + x*t_column + c */
    int64_t t_column;
} hunze_depthwise_row;
typedef void hunze_depthwise_fn(const hunze_depthwise_row *args);

/* ------------------------------------------------------------------ depthwise convolution, columns contiguous
 *
 * Outputs [0, height) x [0, width) of one channel, the same sum as above: tap (r, s) of output (y, x) is input row
 * y*stride[0] - before[0] + r*dilation[0] and column likewise; outside [0, in[0]) x [0, in[1]) nothing is read and x is pad (0 for
 * floats).  before may be negative: a block from the middle of a plane.  bias: f32, added to each sum, rounded once. */
typedef struct hunze_depthwise_plane {
    int64_t height, width;
    int64_t in[2], kernel[2], stride[2], dilation[2], before[2];
    const void *x; /* input row i, column j at x + i*x_row + j */
    int64_t x_row;
    int32_t pad;
    const void *w; /* tap r*kernel[1] + s at w + tap*w_step: f32, or s32 for integers */
    int64_t w_step;
    const void *bias; /* NULL: none */
    void *t;          /* f32 or s32; output (y, x) at t + y*t_row + x */
    int64_t t_row;
} hunze_depthwise_plane;
typedef void hunze_depthwise_plane_fn(const hunze_depthwise_plane *plane);

/* ------------------------------------------------------------------ quantize and dequantize, contiguous runs of n elements */

typedef struct hunze_quantize_run {
    int64_t n;
    const void *x;
    void *y;
    const float *scale;     /* stride 0 (one for the run) or 1 (one per element) */
    const void *zero_point; /* NULL: 0; the codes' type */
    int64_t parameter_stride;
    bool canonical_nan; /* of a dequantized element, as in hunze_float_epilogue */
} hunze_quantize_run;
typedef void hunze_quantize_fn(const hunze_quantize_run *run);
/* Folds n elements into range[0] = min, range[1] = max (both start at 0 or at the first element, as the caller set them) and sets
 * *has_nan.  -0 counts as +0. */
typedef void hunze_minmax_fn(int64_t n, const float *x, float range[2], bool *has_nan);

/* ------------------------------------------------------------------ launchers (cuda/cuda.h), for operands on a device
 *
 * launch computes the whole op: it puts kernels on the run's stream and does not wait.  choose: what can be chosen when a plan is made, into
 * plan->choice.  workspace: bytes of device memory that it needs, asked for afterwards.
 * refusal: NULL if it takes the plan's call, else why not, in words that follow the row's name ("needs …").  cost: modelled cycles of a
 * multiprocessor, of a plan that was not refused. */
struct hunze_plan;
struct hunze_cuda_run;
struct hunze_cuda_kernel;
typedef hunze_status hunze_cuda_launch_fn(const struct hunze_plan *plan, const hunze_call *call,
                                          const struct hunze_cuda_run *run);
typedef void hunze_cuda_choose_fn(struct hunze_plan *plan, const hunze_call *call);
typedef size_t hunze_cuda_workspace_fn(const struct hunze_plan *plan);
typedef const char *hunze_cuda_refusal_fn(const struct hunze_plan *plan);
typedef double hunze_cuda_cost_fn(const struct hunze_plan *plan);
/* Packs weights on a device in the row's layout, without the header. */
struct hunze_device_weights;
typedef hunze_status hunze_cuda_pack_fn(const struct hunze_device_weights *weights, const struct hunze_cuda_run *run);

/* ------------------------------------------------------------------ products by another library (providers/)
 *
 *     D = alpha * A @ B + beta * D      one matrix, D by rows that lie d_step apart; m, n, k > 0 and alpha is not 0
 * An operand's rows are contiguous and lie *_step apart, or, where it is transposed, its columns.  Called in a lane, computes in its thread. */
struct hunze_library;
typedef struct hunze_provided_product {
    const struct hunze_library *library;
    int64_t m, n, k;
    const void *a, *b;
    int64_t a_step, b_step;
    bool a_transposed, b_transposed;
    void *d;
    int64_t d_step;
    double alpha, beta; /* of integers 1 and 0 */
} hunze_provided_product;
typedef hunze_status hunze_provided_fn(const hunze_provided_product *product);

/* ------------------------------------------------------------------ the row
 *
 * A GEMM row also serves convolution by blocks and transposed convolution, one of bf16, f16 or integers that wrap does not; a CONV row is a depthwise kernel. */

typedef struct hunze_row {
    const char *name; /* the leaf function's name without "hunze_"; plan option `kernel`, explain, tests, benchmarks */
    hunze_op op;
    hunze_isa isa;
    hunze_type a, b, d; /* types of the first input, the weights, and t */
    hunze_order order;
    hunze_bound bound;
    hunze_float_tile_fn *float_tile;
    hunze_float_strip_fn *float_strip; /* f32 and f64 */
    hunze_float_batch_fn *float_batch; /* f32 and f64 */
    hunze_int_tile_fn *int_tile;
    hunze_pack_b_fn *pack_b;     /* floating point, and integers that wrap */
    hunze_pack_int_fn *pack_int; /* integers of 8 bits */
    hunze_widen_fn *widen;       /* bf16 and f16; NULL: no such row */
    hunze_narrow_fn *narrow;
    hunze_float_epilogue_fn *float_epilogue;
    hunze_int_epilogue_fn *int_epilogue;
    hunze_depthwise_fn *depthwise;
    hunze_depthwise_plane_fn *depthwise_plane;
    hunze_quantize_fn *quantize;
    hunze_minmax_fn *minmax;
    hunze_cuda_launch_fn *launch;              /* NULL: a row of the CPU, which has none of the next five either */
    hunze_cuda_cost_fn *launch_cost;           /* NULL: has no model, and the later bundle wins */
    hunze_cuda_choose_fn *launch_choose;       /* NULL: there is nothing to choose */
    hunze_cuda_workspace_fn *launch_workspace; /* NULL: none */
    hunze_cuda_refusal_fn *launch_refusal;     /* NULL: takes all calls of its types */
    hunze_cuda_pack_fn *launch_pack;           /* NULL: takes no packed weights */
    /* All that it may start, then NULL: hunze_plan_prepare loads them. */
    const struct hunze_cuda_kernel *const *launch_kernels;
    hunze_provided_fn *provided; /* by `provider`: such a row has no tile; NULL: a kernel of this library */
    hunze_provider provider;
    uint16_t layout; /* packed-weight layout: HUNZE_LAYOUT_… */
    int32_t mr, nr, kr;
    int32_t mc, nc; /* rows and columns of a unit of work, at most */
    int32_t lane_m; /* up to so many rows a unit has all of them, and packs its B for itself, which then stays in L2 */
    float
        step_cycles; /* modelled cycles per tile and step of kr in k, where vectors are computed whole: ranks rows of one order */
    bool safe_weights; /* takes only panels proved at packing not to saturate (|w0| + |w1| <= 128 in each pair) */
} hunze_row;

/* Layouts of packed weights; append only.  KN<nr>: panels [k][nr]; K4N<nr>: [ceil(k/4)][nr][4], K2N<nr>: [ceil(k/2)][nr][2], of integers each
 * followed by nr s32 column sums; DEPTHWISE (on devices, too): [kernel_h][kernel_w][channels]; CUDA_KN: per group [k][n up to 16], of integers
 * [n up to 16][k up to 64]; behind all of f32 and f64, 64 bytes whose first u32 is 1 if a weight is no finite number. */
enum {
    HUNZE_LAYOUT_NONE = 0,
    HUNZE_LAYOUT_F32_KN16 = 1,
    HUNZE_LAYOUT_F32_KN32 = 2,
    HUNZE_LAYOUT_F64_KN8 = 3,
    HUNZE_LAYOUT_F64_KN16 = 4,
    HUNZE_LAYOUT_S8_K2N8 = 5,
    HUNZE_LAYOUT_S8_K2N16 = 6,
    HUNZE_LAYOUT_S8_K4N8 = 7,
    HUNZE_LAYOUT_S8_K4N16 = 8,
    HUNZE_LAYOUT_S8_K4N32 = 9,
    HUNZE_LAYOUT_F32_KN8 = 10,
    HUNZE_LAYOUT_DEPTHWISE = 11,
    HUNZE_LAYOUT_S8_K4N64 = 12,
    HUNZE_LAYOUT_F32_KN48 = 13,
    HUNZE_LAYOUT_S8_KN8 = 14,
    HUNZE_LAYOUT_S8_K2N32 = 15,
    HUNZE_LAYOUT_F64_KN4 = 16,
    HUNZE_LAYOUT_CUDA_KN = 17,
    HUNZE_LAYOUT_BF16_KN8 = 18,
    HUNZE_LAYOUT_BF16_KN16 = 19,
    HUNZE_LAYOUT_BF16_KN32 = 20,
    HUNZE_LAYOUT_F16_KN8 = 21,
    HUNZE_LAYOUT_F16_KN16 = 22,
    HUNZE_LAYOUT_F16_KN32 = 23,
    HUNZE_LAYOUT_BF16_K2N32 = 24,
    HUNZE_LAYOUT_S16_KN16 = 25,
    HUNZE_LAYOUT_S16_KN32 = 26,
    HUNZE_LAYOUT_S16_KN64 = 27,
    HUNZE_LAYOUT_S32_KN8 = 28,
    HUNZE_LAYOUT_S32_KN16 = 29,
    HUNZE_LAYOUT_S32_KN32 = 30,
    HUNZE_LAYOUT_S64_KN4 = 31,
    HUNZE_LAYOUT_S64_KN16 = 32
};

/* Whether a float row reads A as it is, by pairs of k. */
static inline bool hunze_row_reads_pairs(const hunze_row *row) { return row->float_tile && row->kr == 2; }
/* Whether it reads A of bf16 or f16 as f32. */
static inline bool hunze_row_widens(const hunze_row *row) { return row->widen && row->kr == 1; }

/* Columns of packed weights of n outputs per group on a device (HUNZE_LAYOUT_CUDA_KN). */
static inline int64_t hunze_cuda_kn_columns(int64_t n) { return (n / 16 + (n % 16 != 0)) * 16; }

/* Whether a row's products are of whole numbers that wrap in their own type. */
static inline bool hunze_row_wraps(const hunze_row *row) { return row->float_tile && row->order == HUNZE_ORDER_EXACT; }

/* Whether a row of products serves convolution, too. */
static inline bool hunze_row_convolves(const hunze_row *row) { return !row->widen && !hunze_row_wraps(row); }

/* Whether a row's tiles read whole rows of B only: rows that are not are packed. */
static inline bool hunze_row_reads_whole_b(const hunze_row *row)
{
    return hunze_row_widens(row) || hunze_row_wraps(row);
}

/* The table, in the order of kernels.def; a row with NULL name follows the last. */
extern const hunze_row hunze_rows[];
extern const int hunze_row_count;

#endif
