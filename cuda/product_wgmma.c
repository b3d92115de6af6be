/* SPDX-License-Identifier: Apache-2.0 */
/* Launches bf16 and f16 products on compute capability 9.0: hunze_gemm, and a hunze_conv that is one product per image or in all, because its
 * kernel is 1 x 1.  What the tensor memory accelerator cannot read, or coordinates of 32 bits cannot count, is refused. */
#include "launchers.h"
#include "arguments_wgmma.h"
#include "driver.h"
#include "image_strides.h"
#include "matrices.h"
#include "operands_half.h"

#include "../src/conv.h"
#include "../src/plan.h"

#include <stdlib.h>

/* ------------------------------------------------------------------ kernels */

#define SIZES HUNZE_CUDA_WGMMA_THREADS, HUNZE_CUDA_WGMMA_SHARED
/* [rows of A are contiguous][columns of B are] */
static const hunze_cuda_kernel bf16[2][2] = {
    {{"hunze_gemm_bf16_cuda_sm90a_kk", &hunze_fatbin_gemm_bf16_cuda_sm90a, SIZES},
     {"hunze_gemm_bf16_cuda_sm90a_kn", &hunze_fatbin_gemm_bf16_cuda_sm90a, SIZES}},
    {{"hunze_gemm_bf16_cuda_sm90a_mk", &hunze_fatbin_gemm_bf16_cuda_sm90a, SIZES},
     {"hunze_gemm_bf16_cuda_sm90a_mn", &hunze_fatbin_gemm_bf16_cuda_sm90a, SIZES}}};
static const hunze_cuda_kernel f16[2][2] = {
    {{"hunze_gemm_f16_cuda_sm90a_kk", &hunze_fatbin_gemm_f16_cuda_sm90a, SIZES},
     {"hunze_gemm_f16_cuda_sm90a_kn", &hunze_fatbin_gemm_f16_cuda_sm90a, SIZES}},
    {{"hunze_gemm_f16_cuda_sm90a_mk", &hunze_fatbin_gemm_f16_cuda_sm90a, SIZES},
     {"hunze_gemm_f16_cuda_sm90a_mn", &hunze_fatbin_gemm_f16_cuda_sm90a, SIZES}}};
const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_bf16_sm90a[] = {&bf16[0][0], &bf16[0][1], &bf16[1][0],
                                                                       &bf16[1][1], NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_f16_sm90a[] = {&f16[0][0], &f16[0][1], &f16[1][0], &f16[1][1],
                                                                      NULL};

/* ------------------------------------------------------------------ a product, from whichever op */

/* A, whose rows are those of D, or B, whose rows are D's columns; in elements. */
typedef struct product_side {
    void *data;
    int64_t rows, row_step, k_step;
    /* Found by find_map: */
    bool by_rows;       /* neighbours in memory are neighbouring rows */
    int64_t outer;      /* elements from one to the next along the other axis */
    int64_t matrices;   /* that the map has */
    int64_t per_matrix; /* elements from one of them to the next */
} product_side;

typedef struct product {
    product_side a, b;
    int64_t k;
    hunze_cuda_wgmma_product to; /* the kernel's argument, but for maps, tiles, and what depends on addresses */
} product;

typedef struct operands {
    const hunze_tensor *of[HUNZE_ROLE_COUNT];
    const hunze_activation *activation;
} operands;

static hunze_cuda_half_epilogue epilogue_of(const operands *o)
{
    return hunze_cuda_half_epilogue_of(o->of[HUNZE_ROLE_D], o->of[HUNZE_ROLE_C], o->of[HUNZE_ROLE_BIAS],
                                       o->of[HUNZE_ROLE_RESIDUAL], o->activation);
}

static hunze_matrix matrix_of(const operands *o, int role, bool transposed)
{
    return o->of[role] ? hunze_matrix_of(o->of[role], transposed) : (hunze_matrix){0};
}

static void gemm_product(const hunze_plan *plan, const operands *o, product *p)
{
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    const hunze_matrix a = matrix_of(o, HUNZE_ROLE_A, hunze_plan_transposes(plan, HUNZE_ROLE_A)),
                       b = matrix_of(o, HUNZE_ROLE_B, hunze_plan_transposes(plan, HUNZE_ROLE_B)),
                       c = matrix_of(o, HUNZE_ROLE_C, false), d = matrix_of(o, HUNZE_ROLE_D, false),
                       bias = matrix_of(o, HUNZE_ROLE_BIAS, false), residual = matrix_of(o, HUNZE_ROLE_RESIDUAL, false);
    *p = (product){
        .a = {.data = a.data, .rows = shape->m, .row_step = a.row, .k_step = a.col},
        .b = {.data = b.data, .rows = shape->n, .row_step = b.col, .k_step = b.row},
        .k = shape->k,
        .to = {.d_row = d.row, .c_row = c.row, .bias_row = bias.row, .residual_row = residual.row},
    };
    hunze_cuda_half_epilogue *e = &p->to.epilogue;
    *e = epilogue_of(o);
    e->d_column = d.col;
    e->c_column = c.col;
    e->bias_column = bias.col;
    e->residual_column = residual.col;
    hunze_cuda_matrices_of(&p->to.matrices, (const hunze_tensor *const[HUNZE_CUDA_OF_COUNT]){
                                                [HUNZE_CUDA_OF_D] = o->of[HUNZE_ROLE_D],
                                                [HUNZE_CUDA_OF_A] = o->of[HUNZE_ROLE_A],
                                                [HUNZE_CUDA_OF_B] = o->of[HUNZE_ROLE_B],
                                                [HUNZE_CUDA_OF_C] = o->of[HUNZE_ROLE_C],
                                                [HUNZE_CUDA_OF_RESIDUAL] = o->of[HUNZE_ROLE_RESIDUAL],
                                            });
}

/* Positions of an image, or of all images, that are one stride apart. */
static bool one_stride(const hunze_conv_shape *shape, bool all, int64_t image, const int64_t axis[2], int64_t *step)
{
    const int64_t extent[3] = {all ? shape->n : 1, shape->out[0], shape->out[1]};
    const int64_t strides[3] = {image, axis[0], axis[1]};
    return hunze_axes_of_one_stride(extent, strides, step) == 3;
}

static const char *conv_product(const hunze_plan *plan, const operands *o, product *p)
{
    const hunze_conv_shape *shape = &plan->conv;
    for (int axis = 0; axis < 2; axis++)
        if (shape->kernel[axis] != 1 || shape->stride[axis] != 1 || shape->before[axis] || shape->after[axis])
            return "computes products, and convolutions only of 1 x 1 without stride and padding";
    if (plan->op != HUNZE_OP_CONV || shape->groups != 1)
        return "computes products, and convolutions only without groups";
    const hunze_tensor *of_residual = o->of[HUNZE_ROLE_RESIDUAL], *of_bias = o->of[HUNZE_ROLE_BIAS];
    hunze_cuda_image_strides residual = {0};
    if (of_residual)
        residual =
            hunze_cuda_image_strides_of(of_residual, shape->channels_last ? HUNZE_CHANNELS_LAST : HUNZE_CHANNELS_FIRST);
    int64_t x_step = 0, y_step = 0, residual_step = 0;
    bool fits = false, all = true;
    for (int i = 0; i < 2 && !fits; i++) {
        all = i == 0;
        fits = one_stride(shape, all, shape->x_n, shape->x_axis, &x_step) &&
               one_stride(shape, all, shape->y_n, shape->y_axis, &y_step) &&
               one_stride(shape, all, residual.image, residual.axis, &residual_step);
    }
    if (!fits)
        return "needs the positions of an image one stride apart, in each operand";
    *p = (product){
        .a = {.data = hunze_data(o->of[HUNZE_ROLE_A]),
              .rows = (all ? shape->n : 1) * shape->out[0] * shape->out[1],
              .row_step = x_step,
              .k_step = shape->x_c},
        .b = {.data = hunze_data(o->of[HUNZE_ROLE_B]), .rows = shape->k, .row_step = shape->w_k, .k_step = shape->w_c},
        .k = shape->c,
        .to = {.d_row = y_step, .residual_row = residual_step},
    };
    hunze_cuda_half_epilogue *e = &p->to.epilogue;
    *e = epilogue_of(o);
    e->d_column = shape->y_c;
    e->bias_column = of_bias && shape->k > 1 ? hunze_stride(of_bias, 0) : 0;
    e->residual_column = residual.channel;
    if (!all) {
        p->to.matrices.axes = 1;
        p->to.matrices.extent[0] = (uint32_t)shape->n;
        p->to.matrices.stride[0][HUNZE_CUDA_OF_A] = shape->x_n;
        p->to.matrices.stride[0][HUNZE_CUDA_OF_D] = shape->y_n;
        p->to.matrices.stride[0][HUNZE_CUDA_OF_RESIDUAL] = residual.image;
    }
    return NULL;
}

/* Computes the transpose of D, whose rows are contiguous, so that its columns are. */
static void swap_sides(product *p)
{
#define SWAP(type, x, y)                                                                                               \
    do {                                                                                                               \
        const type swap_ = x;                                                                                          \
        x = y;                                                                                                         \
        y = swap_;                                                                                                     \
    } while (0)
    hunze_cuda_wgmma_product *to = &p->to;
    hunze_cuda_half_epilogue *e = &to->epilogue;
    SWAP(product_side, p->a, p->b);
    SWAP(int64_t, to->d_row, e->d_column);
    SWAP(int64_t, to->c_row, e->c_column);
    SWAP(int64_t, to->bias_row, e->bias_column);
    SWAP(int64_t, to->residual_row, e->residual_column);
    for (int axis = 0; axis < to->matrices.axes; axis++)
        SWAP(int64_t, to->matrices.stride[axis][HUNZE_CUDA_OF_A], to->matrices.stride[axis][HUNZE_CUDA_OF_B]);
#undef SWAP
}

/* ------------------------------------------------------------------ maps */

enum { ELEMENT = 2, UNIT = 16 / ELEMENT }; /* bytes; elements that are copied at least */
static const int64_t most_stride = (INT64_C(1) << 40) / ELEMENT, most_extent = INT32_MAX - HUNZE_CUDA_WGMMA_N;

/* Whether one axis can be that along which elements are neighbours, the other being `outer` apart and holding `inside` of them. */
static bool is_contiguous(int64_t extent, int64_t step) { return extent == 1 || step == 1; }
static bool is_outer(int64_t extent, int64_t step, int64_t inside)
{
    return extent == 1 || (step >= inside && step % UNIT == 0 && step < most_stride);
}

/* An operand of which matrices are `strides` apart: what its map says, and the strides as numbers of the map's matrices.  `which` is 0
 * for the first operand, 1 for the second. */
static const char *find_map(product_side *side, int64_t k, hunze_cuda_matrices *matrices, int operand, int which)
{
    static const char
        *const neighbours[] = {"needs the first operand's rows or columns contiguous",
                               "needs the second operand's rows or columns contiguous"},
               *const steps[] = {"needs the first operand's rows a multiple of 16 bytes apart, below 2^40, disjoint",
                                 "needs the second operand's rows a multiple of 16 bytes apart, below 2^40, disjoint"},
               *const apart[] = {"needs the first operand's matrices a multiple of 16 bytes apart, below 2^40",
                                 "needs the second operand's matrices a multiple of 16 bytes apart, below 2^40"},
               *const count[] = {"needs the first operand's matrices within 2^31 of their common stride",
                                 "needs the second operand's matrices within 2^31 of their common stride"};
    const bool by_k = is_contiguous(k, side->k_step), by_rows = is_contiguous(side->rows, side->row_step);
    if (by_k && is_outer(side->rows, side->row_step, k)) {
        side->by_rows = false;
        side->outer = side->rows > 1 ? side->row_step : hunze_ceil_div(k, UNIT) * UNIT;
    } else if (by_rows && is_outer(k, side->k_step, side->rows)) {
        side->by_rows = true;
        side->outer = k > 1 ? side->k_step : hunze_ceil_div(side->rows, UNIT) * UNIT;
    } else {
        return (by_k || by_rows ? steps : neighbours)[which];
    }
    side->per_matrix = 0;
    side->matrices = 1;
    for (int axis = 0; axis < matrices->axes; axis++) {
        const int64_t stride = matrices->stride[axis][operand];
        if (stride < 0 || stride % UNIT || stride >= most_stride)
            return apart[which];
        side->per_matrix = hunze_common_divisor(stride, side->per_matrix);
    }
    if (side->per_matrix == 0) { /* one for the whole batch; a second one would follow it */
        if (__builtin_mul_overflow(side->outer, side->by_rows ? k : side->rows, &side->per_matrix) ||
            side->per_matrix >= most_stride)
            side->per_matrix = UNIT;
        return NULL;
    }
    for (int axis = 0; axis < matrices->axes; axis++) {
        int64_t reach;
        matrices->stride[axis][operand] /= side->per_matrix;
        if (__builtin_mul_overflow((int64_t)matrices->extent[axis] - 1, matrices->stride[axis][operand], &reach) ||
            __builtin_add_overflow(side->matrices, reach, &side->matrices) || side->matrices >= most_extent)
            return count[which];
    }
    return NULL;
}

static hunze_status encode(const product_side *side, int64_t k, uint32_t tile, const hunze_cuda_run *run,
                           hunze_tensor_map *map)
{
    const cuuint64_t extent[3] = {(cuuint64_t)(side->by_rows ? side->rows : k),
                                  (cuuint64_t)(side->by_rows ? k : side->rows), (cuuint64_t)side->matrices};
    const cuuint64_t strides[2] = {(cuuint64_t)side->outer * ELEMENT, (cuuint64_t)side->per_matrix * ELEMENT};
    const cuuint32_t box[3] = {HUNZE_CUDA_WGMMA_K, side->by_rows ? HUNZE_CUDA_WGMMA_K : tile, 1};
    const cuuint32_t every[3] = {1, 1, 1};
    const CUtensorMapDataType type =
        run->plan->row->a == HUNZE_TYPE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    return hunze_driver_check(
        hunze_cu->cuTensorMapEncodeTiled((CUtensorMap *)map, type, 3, side->data, extent, strides, box, every,
                                         CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                         CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "an operand of kernel %s on cuda:%d", run->plan->row->name, run->device->id);
}
_Static_assert(sizeof(CUtensorMap) == sizeof(hunze_tensor_map), "kernels get what the driver encodes");

/* ------------------------------------------------------------------ from a plan to a launch */

/* Why a product of this plan is refused; NULL: *p is all that there is to know without addresses. */
static const char *describe(const hunze_plan *plan, const operands *o, product *p)
{
    const char *why = NULL;
    if (plan->packed)
        return "takes weights that are not packed";
    if (plan->op == HUNZE_OP_GEMM)
        gemm_product(plan, o, p);
    else if ((why = conv_product(plan, o, p)) != NULL)
        return why;
    hunze_cuda_wgmma_product *to = &p->to;
    if (p->k == 0)
        return "needs k, for there is no map of an empty operand";
    if (p->k >= most_extent || p->a.rows >= most_extent || p->b.rows >= most_extent)
        return "needs rows, columns and k below 2^31 - 256 each";
    if ((why = find_map(&p->a, p->k, &to->matrices, HUNZE_CUDA_OF_A, 0)) != NULL ||
        (why = find_map(&p->b, p->k, &to->matrices, HUNZE_CUDA_OF_B, 1)) != NULL)
        return why;
    if (to->epilogue.d_column != 1 && to->d_row == 1)
        swap_sides(p);
    to->m = p->a.rows;
    to->n = p->b.rows;
    const int64_t tiles_m = hunze_ceil_div(to->m, HUNZE_CUDA_WGMMA_M),
                  tiles_n = hunze_ceil_div(to->n, HUNZE_CUDA_WGMMA_N);
    int64_t tiles = plan->op == HUNZE_OP_GEMM ? plan->gemm_shape.batch : to->matrices.axes > 0 ? plan->conv.n : 1;
    if (__builtin_mul_overflow(tiles, tiles_m * tiles_n, &tiles) || tiles > INT32_MAX)
        return "needs fewer than 2^31 tiles of 128 x 256";
    to->tiles_m = (uint32_t)tiles_m;
    to->tiles_n = (uint32_t)tiles_n;
    to->tiles = (uint32_t)tiles;
    to->steps = (uint32_t)hunze_ceil_div(p->k, HUNZE_CUDA_WGMMA_K);
    return NULL;
}

/* The same without a call. */
static const char *describe_plan(const hunze_plan *plan, product *p)
{
    hunze_tensor tensors[HUNZE_ROLE_COUNT];
    operands o = {.of = {NULL}};
    for (int role = HUNZE_ROLE_D; role <= HUNZE_ROLE_RESIDUAL; role++)
        if (hunze_plan_operand(plan, role, &tensors[role]))
            o.of[role] = &tensors[role];
    return describe(plan, &o, p);
}

const char *hunze_cuda_refuses_product_wgmma(const hunze_plan *plan)
{
    static const char *const alignment[] = {"needs the first operand aligned to 16 bytes",
                                            "needs the second operand aligned to 16 bytes"};
    product p;
    if (plan->flags & HUNZE_BATCH_INVARIANT)
        return "gives way to another kernel by how operands lie, which may change with the batch, and bits must not";
    for (int role = HUNZE_ROLE_A; role <= HUNZE_ROLE_B; role++)
        if (plan->alignment[role] < 16)
            return alignment[role - HUNZE_ROLE_A];
    return describe_plan(plan, &p);
}

/* Each multiprocessor has the same number of tiles or one less, whole ones whatever of them is inside D. */
double hunze_cuda_cost_product_wgmma(const hunze_plan *plan)
{
    enum { STEP_CYCLES = 1024, TILE_CYCLES = 3000 }; /* 64 of k; filling the stages, and storing a tile */
    product p;
    if (describe_plan(plan, &p))
        return 0;
    const int64_t rounds = hunze_ceil_div(p.to.tiles, hunze_cuda_device_of(plan)->multiprocessors);
    return (double)rounds * ((double)p.to.steps * STEP_CYCLES + TILE_CYCLES);
}

/* Whether `count` neighbours of a row, and all others that many columns on or in other rows, are aligned together; true if there is no operand. */
static bool aligned(const hunze_cuda_wgmma_product *to, const void *data, uint32_t f32, int64_t row, int64_t column,
                    int operand, int64_t count)
{
    const int64_t steps = row | hunze_cuda_matrices_strides(&to->matrices, operand);
    return !data || (column == 1 && steps % count == 0 && (uintptr_t)data % (uintptr_t)(count * (f32 ? 4 : 2)) == 0);
}

hunze_status hunze_cuda_launch_product_wgmma(const hunze_plan *plan, const hunze_call *call, const hunze_cuda_run *run)
{
    operands o = {.of = {[HUNZE_ROLE_D] = call->d, [HUNZE_ROLE_A] = call->a, [HUNZE_ROLE_B] = call->b}};
    double alpha = 1, beta = 0;
    if (plan->op == HUNZE_OP_GEMM) {
        const hunze_gemm_options *options = call->options;
        alpha = options->alpha ? *options->alpha : 1;
        beta = options->beta ? *options->beta : 0;
        o.of[HUNZE_ROLE_C] = beta != 0 ? call->c : NULL;
        o.of[HUNZE_ROLE_BIAS] = options->bias;
        o.of[HUNZE_ROLE_RESIDUAL] = options->residual;
        o.activation = options->activation;
    } else {
        const hunze_conv_options *options = call->options;
        o.of[HUNZE_ROLE_BIAS] = options->bias;
        o.of[HUNZE_ROLE_RESIDUAL] = options->residual;
        o.activation = options->activation;
    }
    product p;
    const char *why = describe(plan, &o, &p);
    if (why)
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "kernel %s %s", plan->row->name, why);
    hunze_cuda_wgmma_product *to = &p.to;
    hunze_cuda_half_epilogue *e = &to->epilogue;
    e->alpha = (float)alpha;
    e->beta = (float)beta;
    if (alpha == 0)
        to->steps = 0;
    e->pairs = aligned(to, e->d, e->d_f32, to->d_row, e->d_column, HUNZE_CUDA_OF_D, 2);
    to->fours =
        aligned(to, e->d, e->d_f32, to->d_row, e->d_column, HUNZE_CUDA_OF_D, 4) &&
        aligned(to, e->c, e->d_f32, to->c_row, e->c_column, HUNZE_CUDA_OF_C, 4) &&
        aligned(to, e->residual, e->residual_f32, to->residual_row, e->residual_column, HUNZE_CUDA_OF_RESIDUAL, 4);
    TRY(encode(&p.a, p.k, HUNZE_CUDA_WGMMA_M, run, &to->a));
    TRY(encode(&p.b, p.k, HUNZE_CUDA_WGMMA_N, run, &to->b));
    const hunze_cuda_kernel(*kernels)[2] = plan->row->a == HUNZE_TYPE_F16 ? f16 : bf16;
    return hunze_cuda_start(run, &kernels[p.a.by_rows][p.b.by_rows],
                            hunze_least(to->tiles, run->device->multiprocessors), 1, 1, to, sizeof *to);
}
