/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_host_time.h"

#include "gpu_check.h"
#include "gpu_image.h"
#include "gpu_operand.h"
#include "gpu_rounds.h"

#include <stdio.h>
#include <string.h>

static struct {
    CUlaunchConfig config;
    CUfunction function;
    size_t size;
    unsigned char argument[4096];
    int launches;
} recorded;
static PFN_cuLaunchKernelEx_v11060 launch;

/* Keeps the launch, whose argument the library gives as bytes, and does it. */
static CUresult record_launch(const CUlaunchConfig *config, CUfunction function, void **arguments, void **extra)
{
    recorded.config = *config;
    recorded.function = function;
    recorded.size = extra ? *(size_t *)extra[3] : 0;
    if (recorded.size <= sizeof recorded.argument)
        memcpy(recorded.argument, extra[1], recorded.size);
    recorded.launches++;
    return launch(config, function, arguments, extra);
}

bool gpu_host_time(hunze_context *context, void *stream, const char *type, const hunze_dtype dtypes[3], int64_t size,
                   int runs)
{
    enum { WAYS = 3, ROUNDS = 15 };
    const int64_t shape[2] = {size, size};
    gpu_operand *a = gpu_operand_make(context, stream, dtypes[0], 2, shape, NULL, 1),
                *b = gpu_operand_make(context, stream, dtypes[1], 2, shape, NULL, 1),
                *d = gpu_operand_make(context, stream, dtypes[2], 2, shape, NULL, 1);
    const hunze_call call = {
        .struct_size = sizeof call, .op = HUNZE_OP_GEMM, .a = &a->tensor, .b = &b->tensor, .d = &d->tensor};
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    hunze_plan *plan;
    CHECK(hunze_plan_create(context, &call, &plan));
    CHECK(hunze_plan_run(plan, &call, &run));
    hunze_driver *driver = (hunze_driver *)(uintptr_t)hunze_cu;
    launch = driver->cuLaunchKernelEx;
    recorded.launches = 0;
    driver->cuLaunchKernelEx = record_launch;
    CHECK(hunze_plan_run(plan, &call, &run));
    driver->cuLaunchKernelEx = launch;
    if (recorded.launches != 1 || recorded.size > sizeof recorded.argument) {
        printf("host time of %s: %d launches with %zu bytes, so there is no bare one to compare with\n", type,
               recorded.launches, recorded.size);
        return false;
    }
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, recorded.argument, CU_LAUNCH_PARAM_BUFFER_SIZE, &recorded.size,
                     CU_LAUNCH_PARAM_END};
    double rounds[WAYS][ROUNDS], microseconds[WAYS];
    for (int round = -1; round < ROUNDS; round++) /* the first is forgotten */
        for (int way = 0; way < WAYS; way++) {
            const double begin = gpu_now();
            for (int i = 0; i < runs; i++)
                if (way == 0)
                    NEED(cuLaunchKernelEx(&recorded.config, recorded.function, NULL, extra));
                else if (way == 1)
                    CHECK(hunze_plan_run(plan, &call, &run));
                else
                    CHECK(hunze_gemm(context, &a->tensor, &b->tensor, NULL, &d->tensor, NULL, &run));
            if (round >= 0)
                rounds[way][round] = (gpu_now() - begin) / runs * 1e6;
            NEED(cuStreamSynchronize(stream));
        }
    for (int way = 0; way < WAYS; way++)
        microseconds[way] = gpu_median(rounds[way], ROUNDS);
    printf("RESULT {\"case\": \"host time of gemm %s %lld\", \"kernel\": \"%s\", \"bare_launch\": %.3f, \"plan_run\": "
           "%.3f, \"hunze_gemm\": %.3f}\n",
           type, (long long)size, hunze_plan_kernel(plan), microseconds[0], microseconds[1], microseconds[2]);
    hunze_plan_release(plan);
    return true;
}
