/* SPDX-License-Identifier: Apache-2.0 */
/* Which tile a floating-point product has, whether its K blocks run side by side, and the launch of both. */
#include "launchers.h"
#include "operands_float.h"

/* ------------------------------------------------------------------ kernels */

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

static const hunze_cuda_kernel f32_fold = {"hunze_fold_f32_cuda", &hunze_fatbin_gemm_f32_cuda, HUNZE_CUDA_FLOAT_THREADS,
                                           HUNZE_CUDA_F32_SMALL_SHARED};
static const hunze_cuda_kernel f64_fold = {"hunze_fold_f64_cuda", &hunze_fatbin_gemm_f64_cuda, HUNZE_CUDA_FLOAT_THREADS,
                                           HUNZE_CUDA_F64_FOLD_SHARED};

const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_f32[] = {
    &f32_small, &f32_large, &f32_small_gather, &f32_large_gather, &f32_fold, &f32_pack, NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_f64[] = {&f64, &f64_gather, &f64_fold, &f64_pack, NULL};

/* A kernel's tile of D, and how much of a multiprocessor's work it turns into products: a small tile reads each operand twice as often. */
typedef struct float_tile {
    int32_t tile;
    double efficiency;
    const hunze_cuda_kernel *strided, *gathered;
} float_tile;
typedef struct float_kernels {
    const float_tile *tiles; /* smallest first */
    int count;
    int32_t span; /* of the fold's tile */
    const hunze_cuda_kernel *fold;
    int64_t kc, bytes;
} float_kernels;

static const float_kernels *kernels_of(const hunze_plan *plan)
{
    static const float_tile tiles_f32[] = {{HUNZE_CUDA_F32_SMALL, 0.75, &f32_small, &f32_small_gather},
                                           {HUNZE_CUDA_F32_LARGE, 1, &f32_large, &f32_large_gather}},
                            tiles_f64[] = {{HUNZE_CUDA_F64_TILE, 1, &f64, &f64_gather}};
    static const float_kernels kernels_f32 = {tiles_f32, 2, HUNZE_CUDA_F32_SMALL, &f32_fold, HUNZE_KC_F32, 4},
                               kernels_f64 = {tiles_f64, 1, HUNZE_CUDA_F64_FOLD, &f64_fold, HUNZE_KC_F64, 8};
    return plan->row->d == HUNZE_TYPE_F64 ? &kernels_f64 : &kernels_f32;
}

const hunze_cuda_kernel *hunze_cuda_float_pack_of(hunze_type type)
{
    return type == HUNZE_TYPE_F64 ? &f64_pack : &f32_pack;
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

/* ------------------------------------------------------------------ the rule
 *
 * Of the tiles, with all of k in one block of threads or with one for each K block, that with which the multiprocessors are done first: each
 * has the same number of blocks or one less.  Time is in products that a multiprocessor does meanwhile.  The last K block may be longer than the
 * others. */

enum { PARTIAL_BYTES = 64 << 20 /* of workspace, at most */ };
static const double fold_element = 16,          /* to write a sum, and to read and add it */
    fold_launch = 64.0 * 64 * HUNZE_KC_F32 / 4; /* one more kernel */

static double rounds(int64_t blocks, const hunze_cuda_device *device)
{
    return (double)hunze_ceil_div(blocks, device->multiprocessors);
}

/* Bytes of the sums of all K blocks. */
static double partial_bytes(const float_kernels *kernels, int64_t m, int64_t n, int64_t products, int64_t k_blocks)
{
    return (double)(tiles_of(m, n, kernels->span) * products) * (double)k_blocks * kernels->span * kernels->span *
           (double)kernels->bytes;
}

void hunze_cuda_choose_float_tile(hunze_plan *plan, int64_t m, int64_t n, int64_t k, int64_t products)
{
    const float_kernels *kernels = kernels_of(plan);
    const hunze_cuda_device *device = hunze_cuda_device_of(plan);
    const int64_t k_blocks = hunze_gemm_k_blocks(k, kernels->kc);
    const double bytes = partial_bytes(kernels, m, n, products, k_blocks);
    const double fold = fold_launch + rounds(tiles_of(m, n, kernels->span) * products, device) * (double)k_blocks *
                                          kernels->span * kernels->span * fold_element;
    double least = 0;
    for (int i = 0; i < kernels->count; i++) {
        const float_tile *tile = &kernels->tiles[i];
        const int64_t blocks = tiles_of(m, n, tile->tile) * products;
        const double step = (double)tile->tile * tile->tile / tile->efficiency;
        const double whole = rounds(blocks, device) * step * (double)k;
        if (i == 0 || whole < least) {
            least = whole;
            plan->choice = (hunze_launch_choice){.tile = tile->tile};
        }
        if (k_blocks == 1 || bytes > PARTIAL_BYTES)
            continue;
        const double longest = (double)hunze_most(kernels->kc, k - (k_blocks - 1) * kernels->kc),
                     average = rounds(blocks * k_blocks, device) * (double)k / (double)k_blocks;
        const double apart = step * (average > longest ? average : longest) + fold;
        if (apart < least) {
            least = apart;
            plan->choice = (hunze_launch_choice){tile->tile, (uint32_t)k_blocks, (size_t)bytes};
        }
    }
}

/* ------------------------------------------------------------------ launches */

static void set_tiles(hunze_cuda_float_product *p, int64_t tile)
{
    p->tiles_m = (uint32_t)hunze_ceil_div(p->m, tile);
    p->tiles_n = (uint32_t)hunze_ceil_div(p->n, tile);
}

static hunze_status start(const hunze_cuda_kernel *kernel, const hunze_cuda_float_product *p, int64_t times,
                          const hunze_cuda_run *run)
{
    return hunze_cuda_start(run, kernel, (int64_t)p->tiles_m * p->tiles_n * times, 1, 1, p, sizeof *p);
}

hunze_status hunze_cuda_start_float_product(hunze_cuda_float_product *p, bool gathered, int64_t products, void *partial,
                                            const hunze_cuda_run *run)
{
    const float_kernels *kernels = kernels_of(run->plan);
    const hunze_launch_choice *choice = &run->plan->choice;
    const float_tile *tile = kernels->tiles;
    while (tile->tile != choice->tile)
        tile++;
    const hunze_cuda_kernel *kernel = gathered ? tile->gathered : tile->strided;
    set_tiles(p, tile->tile);
    if (choice->k_blocks == 0 || p->k == 0 || run->workspace_bytes < run->plan->workspace_bytes)
        return start(kernel, p, products, run);
    const double alpha = p->alpha;
    const void *c = p->c;
    p->alpha = 1;
    p->c = NULL;
    p->k_blocks = choice->k_blocks;
    p->partial = partial;
    p->partial_rows = (uint32_t)hunze_ceil_div(p->m, kernels->span);
    p->partial_columns = (uint32_t)hunze_ceil_div(p->n, kernels->span);
    p->products = (uint32_t)products;
    TRY(start(kernel, p, products * p->k_blocks, run));
    p->alpha = alpha;
    p->c = c;
    set_tiles(p, kernels->span);
    return start(kernels->fold, p, products, run);
}
