/* SPDX-License-Identifier: Apache-2.0 */
#include "launchers.h"
#include "operands_float.h"

#include <stdlib.h>

static const hunze_cuda_kernel f32_small = {"hunze_gemm_f32_cuda_64", &hunze_fatbin_gemm_f32_cuda,
                                            HUNZE_CUDA_FLOAT_THREADS, HUNZE_CUDA_F32_SMALL_SHARED};
static const hunze_cuda_kernel f32_large = {"hunze_gemm_f32_cuda_128", &hunze_fatbin_gemm_f32_cuda,
                                            HUNZE_CUDA_FLOAT_THREADS, HUNZE_CUDA_F32_LARGE_SHARED};
static const hunze_cuda_kernel f32_small_gather = {"hunze_conv_f32_cuda_64", &hunze_fatbin_gemm_f32_cuda,
                                                   HUNZE_CUDA_FLOAT_THREADS,
                                                   HUNZE_CUDA_F32_SMALL_SHARED + HUNZE_CUDA_F32_SMALL_GATHER};
static const hunze_cuda_kernel f32_large_gather = {"hunze_conv_f32_cuda_128", &hunze_fatbin_gemm_f32_cuda,
                                                   HUNZE_CUDA_FLOAT_THREADS,
                                                   HUNZE_CUDA_F32_LARGE_SHARED + HUNZE_CUDA_F32_LARGE_GATHER};
static const hunze_cuda_kernel f32_pack = {"hunze_pack_f32_cuda", &hunze_fatbin_gemm_f32_cuda, HUNZE_CUDA_PACK_THREADS,
                                           HUNZE_CUDA_PACK_F32_SHARED};
static const hunze_cuda_kernel f64 = {"hunze_gemm_f64_cuda", &hunze_fatbin_gemm_f64_cuda, HUNZE_CUDA_FLOAT_THREADS,
                                      HUNZE_CUDA_F64_SHARED};
static const hunze_cuda_kernel f64_gather = {"hunze_conv_f64_cuda", &hunze_fatbin_gemm_f64_cuda,
                                             HUNZE_CUDA_FLOAT_THREADS, HUNZE_CUDA_F64_SHARED + HUNZE_CUDA_F64_GATHER};
static const hunze_cuda_kernel f64_pack = {"hunze_pack_f64_cuda", &hunze_fatbin_gemm_f64_cuda, HUNZE_CUDA_PACK_THREADS,
                                           HUNZE_CUDA_PACK_F64_SHARED};

const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_f32[] = {&f32_small,        &f32_large, &f32_small_gather,
                                                                &f32_large_gather, &f32_pack,  NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_f64[] = {&f64, &f64_gather, &f64_pack, NULL};

/* A small tile reads each operand twice as often. */
static const hunze_cuda_float_tile tiles_f32[] = {{HUNZE_CUDA_F32_SMALL, 0.75, &f32_small, &f32_small_gather},
                                                  {HUNZE_CUDA_F32_LARGE, 1, &f32_large, &f32_large_gather}},
                                   tiles_f64[] = {{HUNZE_CUDA_F64_TILE, 1, &f64, &f64_gather}};

const hunze_cuda_float_kernels *hunze_cuda_float_kernels_of(hunze_type type)
{
    static const hunze_cuda_float_kernels kernels_f32 = {tiles_f32, 2, &f32_pack},
                                          kernels_f64 = {tiles_f64, 1, &f64_pack};
    return type == HUNZE_TYPE_F64 ? &kernels_f64 : &kernels_f32;
}

/* ------------------------------------------------------------------ grids */

static int64_t tiles_of(int64_t m, int64_t n, int64_t tile)
{
    return hunze_ceil_div(m, tile) * hunze_ceil_div(n, tile);
}

const char *hunze_cuda_refuses_grid(int64_t m, int64_t n, int64_t products)
{
    int64_t blocks;
    if (m > INT64_MAX - 128 || n > INT64_MAX - 128 ||
        __builtin_mul_overflow(tiles_of(m, n, HUNZE_CUDA_F32_SMALL), products, &blocks) || blocks > INT32_MAX)
        return "needs fewer than 2^31 tiles of 64 x 64";
    return NULL;
}

/* The tile with which the multiprocessors are done first, each having the same number of tiles or one less. */
hunze_status hunze_cuda_start_float_product(hunze_cuda_float_product *p, bool gathered, int64_t products,
                                            const hunze_cuda_run *run)
{
    const hunze_cuda_float_kernels *kernels = hunze_cuda_float_kernels_of(run->plan->row->d);
    const hunze_cuda_float_tile *best = NULL;
    double least = 0;
    for (int i = 0; i < kernels->count; i++) {
        const hunze_cuda_float_tile *tile = &kernels->tiles[i];
        const int64_t rounds =
            hunze_ceil_div(tiles_of(p->m, p->n, tile->tile) * products, run->device->multiprocessors);
        const double time = (double)rounds * tile->tile * tile->tile / tile->efficiency;
        if (!best || time < least) {
            best = tile;
            least = time;
        }
    }
    p->tiles_m = (uint32_t)hunze_ceil_div(p->m, best->tile);
    p->tiles_n = (uint32_t)hunze_ceil_div(p->n, best->tile);
    return hunze_cuda_start(run, gathered ? best->gathered : best->strided, tiles_of(p->m, p->n, best->tile) * products,
                            1, 1, p, sizeof *p);
}

/* ------------------------------------------------------------------ operands */

uint32_t hunze_cuda_load_of(const hunze_cuda_strided *operand, int64_t rows, int64_t others, int64_t bytes)
{
    enum { FEW_ROWS = 8 };
    if (operand->row_step == 1 && rows > 1 && ((operand->k_step | others) * bytes) % 16 == 0 &&
        (uintptr_t)operand->data % 16 == 0)
        return HUNZE_CUDA_VECTORS;
    return rows >= FEW_ROWS && llabs(operand->row_step) < llabs(operand->k_step) ? HUNZE_CUDA_ALONG_ROWS
                                                                                 : HUNZE_CUDA_ALONG_K;
}

const char *hunze_cuda_refuses_extents(const hunze_conv_shape *shape)
{
    for (int axis = 0; axis < 2; axis++) {
        int64_t sum = shape->before[axis] + shape->after[axis], reach;
        if (__builtin_mul_overflow(shape->kernel[axis] - 1, shape->dilation[axis], &reach) ||
            __builtin_add_overflow(sum, reach, &sum) || __builtin_add_overflow(sum, shape->in[axis], &sum) ||
            __builtin_add_overflow(sum, shape->out[axis], &sum) || sum >= INT32_MAX)
            return "needs extents, padding and dilated kernels below 2^31 together";
    }
    return NULL;
}

void hunze_cuda_conv_float_epilogue(const hunze_conv_shape *shape, const hunze_conv_operands *operands,
                                    hunze_cuda_float_epilogue *epilogue, hunze_cuda_positions *positions)
{
    *epilogue = (hunze_cuda_float_epilogue){
        .bias = operands->bias,
        .bias_column = operands->bias_stride,
        .residual = operands->residual,
        .residual_column = operands->residual_c,
        .activation = operands->activation,
        .alpha = operands->alpha,
        .beta = operands->beta,
        .canonical_nan = operands->canonical_nan,
        .d = operands->y,
        .d_column = shape->y_c,
    };
    *positions = (hunze_cuda_positions){
        .images = shape->n,
        .height = shape->out[0],
        .width = shape->out[1],
        .d = {shape->y_n, shape->y_axis[0], shape->y_axis[1]},
        .residual = {operands->residual_n, operands->residual_axis[0], operands->residual_axis[1]},
    };
}
