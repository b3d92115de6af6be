/* SPDX-License-Identifier: Apache-2.0 */
#include "launchers.h"
#include "operands_half.h"

#include <stdlib.h>

/* ------------------------------------------------------------------ kernels */

#define SMALL HUNZE_CUDA_HALF_SMALL_THREADS, HUNZE_CUDA_HALF_SMALL_SHARED
#define LARGE HUNZE_CUDA_HALF_THREADS, HUNZE_CUDA_HALF_LARGE_SHARED
#define WIDE HUNZE_CUDA_HALF_THREADS, HUNZE_CUDA_HALF_WIDE_SHARED
#define PACK HUNZE_CUDA_PACK_THREADS, HUNZE_CUDA_PACK_HALF_SHARED
enum { SHAPES = 3 };
/* [rows are gathered][shape of the tile], then packing. */
static const hunze_cuda_kernel bf16[2][SHAPES] = {{{"hunze_gemm_bf16_cuda_64", &hunze_fatbin_gemm_bf16_cuda, SMALL},
                                                   {"hunze_gemm_bf16_cuda_128", &hunze_fatbin_gemm_bf16_cuda, LARGE},
                                                   {"hunze_gemm_bf16_cuda_256", &hunze_fatbin_gemm_bf16_cuda, WIDE}},
                                                  {{"hunze_conv_bf16_cuda_64", &hunze_fatbin_gemm_bf16_cuda, SMALL},
                                                   {"hunze_conv_bf16_cuda_128", &hunze_fatbin_gemm_bf16_cuda, LARGE},
                                                   {"hunze_conv_bf16_cuda_256", &hunze_fatbin_gemm_bf16_cuda, WIDE}}};
static const hunze_cuda_kernel f16[2][SHAPES] = {{{"hunze_gemm_f16_cuda_64", &hunze_fatbin_gemm_f16_cuda, SMALL},
                                                  {"hunze_gemm_f16_cuda_128", &hunze_fatbin_gemm_f16_cuda, LARGE},
                                                  {"hunze_gemm_f16_cuda_256", &hunze_fatbin_gemm_f16_cuda, WIDE}},
                                                 {{"hunze_conv_f16_cuda_64", &hunze_fatbin_gemm_f16_cuda, SMALL},
                                                  {"hunze_conv_f16_cuda_128", &hunze_fatbin_gemm_f16_cuda, LARGE},
                                                  {"hunze_conv_f16_cuda_256", &hunze_fatbin_gemm_f16_cuda, WIDE}}};
static const hunze_cuda_kernel pack_bf16 = {"hunze_pack_bf16_cuda", &hunze_fatbin_gemm_bf16_cuda, PACK};
static const hunze_cuda_kernel pack_f16 = {"hunze_pack_f16_cuda", &hunze_fatbin_gemm_f16_cuda, PACK};

const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_bf16[] = {&bf16[0][0], &bf16[0][1], &bf16[0][2], &bf16[1][0],
                                                                 &bf16[1][1], &bf16[1][2], &pack_bf16,  NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_f16[] = {&f16[0][0], &f16[0][1], &f16[0][2], &f16[1][0],
                                                                &f16[1][1], &f16[1][2], &pack_f16,  NULL};

const hunze_cuda_kernel *hunze_cuda_half_pack_kernel(hunze_type type)
{
    return type == HUNZE_TYPE_BF16 ? &pack_bf16 : &pack_f16;
}

/* ------------------------------------------------------------------ grids */

/* efficiency: of a multiprocessor that has enough of such tiles. */
static const struct {
    int32_t m, n;
    double efficiency;
} tiles[SHAPES] = {{HUNZE_CUDA_HALF_SMALL, HUNZE_CUDA_HALF_SMALL, 0.6},
                   {HUNZE_CUDA_HALF_LARGE, HUNZE_CUDA_HALF_LARGE, 0.9},
                   {HUNZE_CUDA_HALF_LARGE, HUNZE_CUDA_HALF_WIDE, 1}};

static int64_t tiles_of(int64_t m, int64_t n, int shape)
{
    return hunze_ceil_div(m, tiles[shape].m) * hunze_ceil_div(n, tiles[shape].n);
}

const char *hunze_cuda_half_refuses(int64_t m, int64_t n, int64_t k, int64_t products)
{
    const int64_t limit = HUNZE_CUDA_HALF_LIMIT;
    int64_t blocks;
    if (m >= limit || n >= limit || k >= limit)
        return "needs rows, columns and k below 2^30 each";
    if (__builtin_mul_overflow(tiles_of(m, n, 0), products, &blocks) || blocks >= limit)
        return "needs fewer than 2^30 tiles of 64 x 64";
    return NULL;
}

/* The tile with which the multiprocessors are done first, each having the same number of tiles or one less, and elements of D that each
 * has then.  All of them give the same bits. */
static int best_shape(int64_t m, int64_t n, int64_t products, int32_t multiprocessors, double *elements)
{
    int best = 0;
    for (int i = 0; i < SHAPES; i++) {
        const int64_t rounds = hunze_ceil_div(tiles_of(m, n, i) * products, multiprocessors);
        const double here = (double)rounds * tiles[i].m * tiles[i].n / tiles[i].efficiency;
        if (i == 0 || here < *elements) {
            best = i;
            *elements = here;
        }
    }
    return best;
}

double hunze_cuda_half_cost(int64_t m, int64_t n, int64_t k, int64_t products, const hunze_cuda_device *device)
{
    enum { PRODUCTS_PER_CYCLE = 1024, TILE_CYCLES = 1500 }; /* filling the stages, and storing a tile */
    double elements = 0;
    best_shape(m, n, products, device->multiprocessors, &elements);
    return elements * (double)k / PRODUCTS_PER_CYCLE + TILE_CYCLES;
}

hunze_status hunze_cuda_half_start(hunze_cuda_half_product *p, bool gathered, int64_t products,
                                   const hunze_cuda_run *run)
{
    double elements = 0;
    const int best = best_shape(p->m, p->n, products, run->device->multiprocessors, &elements);
    p->tiles_m = (int32_t)hunze_ceil_div(p->m, tiles[best].m);
    p->tiles_n = (int32_t)hunze_ceil_div(p->n, tiles[best].n);
    const hunze_cuda_kernel *kernel =
        run->plan->row->a == HUNZE_TYPE_BF16 ? &bf16[gathered][best] : &f16[gathered][best];
    return hunze_cuda_start(run, kernel, tiles_of(p->m, p->n, best) * products, 1, 1, p, sizeof *p);
}

/* ------------------------------------------------------------------ operands */

uint32_t hunze_cuda_half_load_of(const void *data, int64_t length, int64_t strides)
{
    const int64_t bytes = (int64_t)(uintptr_t)data | 2 * (strides | length);
    return bytes % 16 == 0  ? HUNZE_CUDA_HALF_RUNS_16
           : bytes % 8 == 0 ? HUNZE_CUDA_HALF_RUNS_8
           : bytes % 4 == 0 ? HUNZE_CUDA_HALF_RUNS_4
                            : HUNZE_CUDA_HALF_ELEMENTS;
}

void hunze_cuda_half_set_load(hunze_cuda_half_operand *o, int64_t rows, int64_t k, int64_t others)
{
    const int64_t row_step = rows > 1 ? o->row_step : 0, k_step = k > 1 ? o->k_step : 0;
    const uint32_t along_k = k > 1 && k_step != 1 ? HUNZE_CUDA_HALF_ELEMENTS
                                                  : hunze_cuda_half_load_of(o->data, 0, row_step | others),
                   along_rows = rows > 1 && row_step != 1 ? HUNZE_CUDA_HALF_ELEMENTS
                                                          : hunze_cuda_half_load_of(o->data, 0, k_step | others);
    o->row_step = row_step;
    o->k_step = k_step;
    o->load = along_k < along_rows ? along_k : along_rows;
    o->along_rows = along_k != along_rows ? along_rows < along_k : k > 1 && llabs(row_step) < llabs(k_step);
}

hunze_cuda_half_epilogue hunze_cuda_half_epilogue_of(const hunze_tensor *d, const hunze_tensor *c,
                                                     const hunze_tensor *bias, const hunze_tensor *residual,
                                                     const hunze_activation *activation)
{
    hunze_cuda_half_epilogue e = {
        .d = hunze_data(d),
        .c = c ? hunze_data(c) : NULL,
        .bias = bias ? hunze_data(bias) : NULL,
        .residual = residual ? hunze_data(residual) : NULL,
        .alpha = 1,
        .d_f32 = hunze_type_of(d->dtype) == HUNZE_TYPE_F32,
        .bias_f32 = bias && hunze_type_of(bias->dtype) == HUNZE_TYPE_F32,
        .residual_f32 = residual && hunze_type_of(residual->dtype) == HUNZE_TYPE_F32,
    };
    if (activation) {
        e.activation = activation->kind;
        e.activation_alpha = activation->alpha;
        e.activation_beta = activation->beta;
    }
    return e;
}

void hunze_cuda_half_set_pairs(hunze_cuda_half_product *p)
{
    int64_t strides = p->positions.d[0] | p->positions.d[1] | p->positions.d[2];
    for (int axis = 0; axis < p->matrices.axes; axis++)
        strides |= p->matrices.stride[axis][HUNZE_CUDA_OF_D];
    p->epilogue.pairs =
        p->epilogue.d_column == 1 && strides % 2 == 0 && (uintptr_t)p->epilogue.d % (p->epilogue.d_f32 ? 8 : 4) == 0;
}
