/* SPDX-License-Identifier: Apache-2.0 */
/* What a call costs the CPU, beside a bare launch of the same kernel with the same argument. */
#ifndef HUNZE_TESTS_GPU_HOST_TIME_H
#define HUNZE_TESTS_GPU_HOST_TIME_H

#include <hunze.h>

#include <stdbool.h>

/* A RESULT line: microseconds of a launch as it was recorded, of hunze_plan_run and of hunze_gemm, for a square product; each the median of
 * rounds of `runs`.  False where the call is not one launch. */
bool gpu_host_time(hunze_context *context, void *stream, const char *type, const hunze_dtype dtypes[3], int64_t size,
                   int runs);

#endif
