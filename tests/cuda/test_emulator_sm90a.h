/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels of test_emulator_sm90a.cu are given. */
#ifndef HUNZE_TEST_EMULATOR_SM90A_H
#define HUNZE_TEST_EMULATOR_SM90A_H

#include "tensor_map.h"

enum { TEST_M = 64, TEST_N = 256, TEST_K_BLOCK = 64, TEST_TILES_THREADS = 256 };

/* d (64, n) = a * b, n being 256 or 128; d is zero where a or b end before. */
typedef struct test_tiles {
    hunze_tensor_map a, b;
    float *d;
    int k_blocks;
} test_tiles;

/* to[thread] */
typedef struct test_order {
    hunze_tensor_map map;
    float *to;
} test_order;

#endif
