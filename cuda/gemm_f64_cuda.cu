/* SPDX-License-Identifier: Apache-2.0 */
/* Products and convolutions of f64: the bodies are product_float.cuh and pack_float.cuh. */
#define HUNZE_FLOAT_BITS 64
#include "pack_float.cuh"
#include "product_float.cuh"

static_assert(sizeof(product_shared<2>) == HUNZE_CUDA_F64_SHARED, "as launchers say");
static_assert(sizeof(product_shared<1>) == HUNZE_CUDA_F64_FOLD_SHARED, "as launchers say");
static_assert(sizeof(product_gathered_shared<2>) == HUNZE_CUDA_F64_SHARED + HUNZE_CUDA_F64_GATHER, "as launchers say");
static_assert(sizeof(pack_shared<double>) == HUNZE_CUDA_PACK_F64_SHARED, "as launchers say");

KERNEL(hunze_gemm_f64_cuda, HUNZE_CUDA_FLOAT_THREADS, 2, hunze_cuda_float_product) { product_strided<2>(arguments); }
KERNEL(hunze_conv_f64_cuda, HUNZE_CUDA_FLOAT_THREADS, 2, hunze_cuda_float_product) { product_gathered<2>(arguments); }
KERNEL(hunze_fold_f64_cuda, HUNZE_CUDA_FLOAT_THREADS, 2, hunze_cuda_float_product) { product_fold(arguments); }
KERNEL(hunze_pack_f64_cuda, HUNZE_CUDA_PACK_THREADS, 4, hunze_cuda_pack) { pack_weights<double>(arguments); }
