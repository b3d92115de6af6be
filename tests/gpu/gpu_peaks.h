/* SPDX-License-Identifier: Apache-2.0 */
/* What gpu_ceilings.c hands to the kernels of gpu_peaks.cu. */
#ifndef HUNZE_TESTS_GPU_PEAKS_H
#define HUNZE_TESTS_GPU_PEAKS_H

#include <stdint.h>

enum {
    HUNZE_PEAK_THREADS = 256,
    HUNZE_PEAK_CHAINS = 16,                             /* fma of a thread that do not wait for each other */
    HUNZE_PEAK_PRODUCTS = 8,                            /* mma of a warp likewise */
    HUNZE_PEAK_WORDS = 6,                               /* that a thread reads for its operands */
    HUNZE_PEAK_COPY_BYTES = 4 * 16 * HUNZE_PEAK_THREADS /* of a block in one round */
};

typedef struct hunze_peak_call {
    const uint32_t *in;
    uint32_t *out;
    int64_t iterations; /* of chains and products; of copies: 16-byte words in all */
    double factor, addend;
} hunze_peak_call;

#endif
