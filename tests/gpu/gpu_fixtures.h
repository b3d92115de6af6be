/* SPDX-License-Identifier: Apache-2.0 */
/* What gpu_fixtures.c hands to its kernels. */
#ifndef HUNZE_TESTS_GPU_FIXTURES_H
#define HUNZE_TESTS_GPU_FIXTURES_H

#include "../../cuda/tensor_map.h"

#include <stdint.h>

enum {
    HUNZE_FIXTURE_FMA,
    HUNZE_FIXTURE_MULTIPLY,
    HUNZE_FIXTURE_ADD,
    HUNZE_FIXTURE_MULTIPLY_ADD,
    HUNZE_FIXTURE_DIVIDE,
    HUNZE_FIXTURE_DOT4_U8S8,
    HUNZE_FIXTURE_DOT4_S8S8,
    HUNZE_FIXTURE_PERMUTE,
    HUNZE_FIXTURE_ROUND_BF16,
    HUNZE_FIXTURE_ROUND_F16,
    HUNZE_FIXTURE_WIDEN_F16,
    HUNZE_FIXTURE_SHUFFLE,
    HUNZE_FIXTURE_OPERATIONS
};

typedef struct hunze_fixture_call {
    const uint32_t *in;
    uint32_t *out;
    int64_t operation;
} hunze_fixture_call;

enum { HUNZE_FIXTURE_TILES_BYTES = (64 + 256) * 128 }; /* shared memory of a product of a warpgroup */

/* A copy of a box: `bytes` of shared memory are given back. */
enum { HUNZE_FIXTURE_BOX_WORDS = 2048 };
typedef struct hunze_fixture_tile_call {
    hunze_tensor_map map;
    uint32_t *out;
    int64_t bytes, at[3];
} hunze_fixture_tile_call;

#endif
