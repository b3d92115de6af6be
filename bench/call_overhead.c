/* SPDX-License-Identifier: Apache-2.0 */
/* What a call costs beyond its kernel: a 4x4x4 f32 product through hunze_gemm, through a plan, through the driver alone and as the bare
 * kernel, interleaved, medians.  Time stamp counter cycles are turned into ns by the clock. */
#include "context.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

enum { ROUNDS = 4001, CALLS = 32, WAYS = 4 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    hunze_context *context;
    hunze_plan *plan;
    if (hunze_context_create(NULL, &context))
        return fprintf(stderr, "%s\n", hunze_last_error()), 1;
    float values[3][16] = {{1}, {2}, {0}};
    int64_t shape[] = {4, 4};
    hunze_tensor tensor[3];
    for (int i = 0; i < 3; i++)
        tensor[i] = (hunze_tensor){values[i], {HUNZE_DEVICE_CPU, 0}, 2, {HUNZE_FLOAT, 32, 1}, shape, NULL, 0};
    const hunze_gemm_options options = {.struct_size = sizeof options};
    const hunze_call call = {sizeof call, HUNZE_OP_GEMM, &tensor[0], &tensor[1], NULL, &tensor[2], &options};
    if (hunze_plan_create(context, &call, &plan) ||
        hunze_gemm(context, &tensor[0], &tensor[1], NULL, &tensor[2], NULL, NULL))
        return fprintf(stderr, "%s\n", hunze_last_error()), 1;
    hunze_exec exec = {.context = context, .threads = 1};
    const float alpha = 1, beta = 0;
    const hunze_float_tile tile = {.m = 4,
                                   .n = 4,
                                   .k = 4,
                                   .flags = HUNZE_TILE_FIRST,
                                   .a = values[0],
                                   .a_row = 4,
                                   .a_col = 1,
                                   .b = values[1],
                                   .b_row = 4,
                                   .t = values[2],
                                   .t_row = 4,
                                   .alpha = &alpha,
                                   .beta = &beta};
    static double cycles[WAYS][ROUNDS];
    const double start_ns = now();
    const unsigned long long start = __rdtsc();
    for (int round = 0; round < ROUNDS; round++)
        for (int way = 0; way < WAYS; way++) {
            const unsigned long long before = __rdtsc();
            for (int i = 0; i < CALLS; i++)
                switch (way) {
                case 0: hunze_gemm(context, &tensor[0], &tensor[1], NULL, &tensor[2], NULL, NULL); break;
                case 1: hunze_plan_run(plan, &call, NULL); break;
                case 2: plan->driver(plan, &call, &exec); break;
                case 3: plan->row->float_tile(&tile); break;
                }
            cycles[way][round] = (double)(__rdtsc() - before) / CALLS;
        }
    const double ns_per_cycle = (now() - start_ns) / (double)(__rdtsc() - start);
    static const char *const names[WAYS] = {"hunze_gemm", "hunze_plan_run", "driver", "kernel"};
    double median[WAYS];
    for (int way = 0; way < WAYS; way++) {
        qsort(cycles[way], ROUNDS, sizeof(double), ascending);
        median[way] = cycles[way][ROUNDS / 2] * ns_per_cycle;
    }
    for (int way = 0; way < WAYS; way++)
        printf("%-16s %7.1f ns  (quartiles %.1f %.1f)  %+.1f over the kernel %s\n", names[way], median[way],
               cycles[way][ROUNDS / 4] * ns_per_cycle, cycles[way][ROUNDS * 3 / 4] * ns_per_cycle,
               median[way] - median[WAYS - 1], plan->row->name);
    hunze_plan_release(plan);
    hunze_context_release(context);
    return 0;
}
