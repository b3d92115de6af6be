/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels of test_emulator_kernels.cu are given. */
#ifndef HUNZE_TEST_EMULATOR_KERNELS_H
#define HUNZE_TEST_EMULATOR_KERNELS_H

#include <stdint.h>

enum { TEST_THREADS = 64, TEST_STAGES = 4 };

/* to[i] for i < count; from holds stages * TEST_THREADS * 4 floats for the pipeline, else count. */
typedef struct test_floats {
    const float *from;
    float *to;
    int64_t count;
} test_floats;

/* d (16, 8) += a (16, 32) * b (8, 32) transposed, as rows of bytes. */
typedef struct test_bytes {
    const uint8_t *a;
    const int8_t *b;
    int32_t *d;
} test_bytes;

/* d (16, 8) += a (16, 16) * b (8, 16) transposed, as rows of bf16 or f16; or a and b are transposed, too. */
typedef struct test_narrow {
    const uint16_t *a, *b;
    float *d;
} test_narrow;

#endif
