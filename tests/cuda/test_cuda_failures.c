/* SPDX-License-Identifier: Apache-2.0 */
/* Each call of the driver fails once: the status has a sentence, nothing is held, and the next try goes well. */
#include "json.h"
#include "relu_case.h"

#include <sys/wait.h>
#include <unistd.h>

static hunze_status try_all(hunze_context *context)
{
    float result[N];
    void *stream = NULL, *x = NULL, *y = NULL, *block = NULL, *event = NULL;
    hunze_meter *meter = NULL;
    char *text = NULL;
    array a, b;
    const int64_t rows[2] = {10, 10}, transposed[2] = {1, 10};
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    hunze_status status = hunze_stream_create(context, cuda0, &stream);
    if (status)
        return status;
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    hunze_plan *plan = NULL;
    status = hunze_memory_alloc(context, cuda0, BYTES, stream, &x);
    if (status == HUNZE_OK)
        status = hunze_memory_alloc(context, cuda0, BYTES, stream, &y);
    if (status == HUNZE_OK)
        status = hunze_memory_alloc(context, pinned, BYTES, stream, &block);
    if (status == HUNZE_OK)
        status = hunze_copy(context, view(&a, cpu, f32, values, 2, rows, transposed),
                            view(&b, cuda0, f32, x, 2, rows, NULL), &run);
    if (status == HUNZE_OK) {
        plan = make_plan(context, x, y);
        plan->workspace_bytes = 512;
        status = hunze_plan_prepare(plan);
    }
    if (status == HUNZE_OK)
        status = hunze_meter_start(context, &meter);
    if (status == HUNZE_OK)
        status = run_plan(plan, x, y, &run);
    if (status == HUNZE_OK)
        status = hunze_stream_wait(context, cuda0, NULL, stream);
    if (status == HUNZE_OK)
        status = hunze_event_record(context, cuda0, stream, &event);
    for (int32_t over = 0; status == HUNZE_OK && !over;)
        status = hunze_event_query(context, cuda0, event, &over);
    if (status == HUNZE_OK)
        status = hunze_copy(context, view(&a, cuda0, f32, y, 2, rows, NULL),
                            view(&b, cpu, f32, result, 2, rows, transposed), &run);
    if (status == HUNZE_OK)
        for (int i = 0; i < N; i++)
            check(result[i] == (values[i] < 0 ? 0 : values[i]), "element %d is %g", i, (double)result[i]);
    hunze_plan_release(plan);
    const hunze_status freed[] = {event ? hunze_event_destroy(context, cuda0, event) : HUNZE_OK,
                                  hunze_memory_free(context, cuda0, x, BYTES, stream),
                                  hunze_memory_free(context, cuda0, y, BYTES, stream),
                                  hunze_memory_free(context, pinned, block, BYTES, stream),
                                  hunze_stream_synchronize(context, cuda0, stream),
                                  hunze_stream_destroy(context, cuda0, stream)};
    if (meter && hunze_meter_stop(meter, &text) == HUNZE_OK)
        hunze_string_free(text);
    for (size_t i = 0; i < sizeof freed / sizeof freed[0]; i++)
        status = status ? status : freed[i];
    return status;
}

/* Nothing is held that was not before: each kind of thing was given back as often as it was taken, but for the call that failed. */
static void expect_balance(const char *failed)
{
    static const char *const pairs[][2] = {
        {"cuEventCreate", "cuEventDestroy"},     {"cuMemHostAlloc", "cuMemFreeHost"},
        {"cuMemPoolCreate", "cuMemPoolDestroy"}, {"cuStreamCreate", "cuStreamDestroy"},
        {"cuCtxPushCurrent", "cuCtxPopCurrent"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const bool failing = strcmp(failed, pairs[i][0]) == 0;
        const uint64_t taken = standin_count(pairs[i][0]), given = standin_count(pairs[i][1]);
        check(taken == given + failing || (strcmp(failed, pairs[i][1]) == 0 && taken <= given),
              "%s %llu times, %s %llu", pairs[i][0], (unsigned long long)taken, pairs[i][1], (unsigned long long)given);
    }
    standin_check(standin_depth() == 0, "a context stays current");
    CUcontext primary = NULL;
    DRIVER_OK(DRIVER(cuDevicePrimaryCtxRetain, 7000)(&primary, 0));
    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));
    size_t free = 0, total = 0;
    DRIVER_OK(DRIVER(cuMemGetInfo, 3020)(&free, &total));
    check(free == total, "%zu bytes of the device are held", total - free);
}

static void fail_once(const char *function, int call)
{
    char failures[96];
    snprintf(failures, sizeof failures, "%s:%d:CUDA_ERROR_NOT_PERMITTED", function, call);
    setenv("HUNZE_FAKE_CUDA_FAIL", failures, 1);
    hunze_context *context = new_context(NULL);
    const hunze_status status = try_all(context);
    check(status == HUNZE_OK || hunze_last_error()[0], "%s without a sentence", hunze_status_name(status));
    check(status == HUNZE_OK || status == HUNZE_ERR_DRIVER || status == HUNZE_ERR_DEVICE || status == HUNZE_ERR_NOMEM,
          "%s: %s", hunze_status_name(status), hunze_last_error());
    char *text = NULL;
    OK(hunze_devices(context, &text));
    const bool open = strncmp(json_member(text, "driver"), "null", 4) != 0;
    hunze_string_free(text);
    const bool failed = standin_count(function) >= (uint64_t)call;
    if (open && failed) /* once more, and nothing is in the way */
        OK(try_all(context));
    hunze_context_release(context);
    if (open)
        expect_balance(failed ? function : "");
}

static const char *const functions[] = {
    "cuInit",
    "cuDriverGetVersion",
    "cuGetProcAddress",
    "cuCtxGetCurrent",
    "cuCtxGetDevice",
    "cuCtxPushCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceTotalMem",
    "cuDevicePrimaryCtxRetain",
    "cuEventCreate",
    "cuEventElapsedTime",
    "cuEventQuery",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncLoad",
    "cuKernelGetFunction",
    "cuKernelSetAttribute",
    "cuLaunchKernelEx",
    "cuLibraryGetKernel",
    "cuLibraryLoadData",
    "cuMemAlloc",
    "cuMemAllocFromPoolAsync",
    "cuMemFreeAsync",
    "cuMemHostAlloc",
    "cuMemPoolCreate",
    "cuMemPoolSetAttribute",
    "cuMemcpyAsync",
    "cuPointerGetAttributes",
    "cuStreamCreate",
    "cuStreamGetCtx",
    "cuStreamIsCapturing",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuThreadExchangeStreamCaptureMode",
};

static void each_call_fails_once(void)
{
    int tried = 0;
    standin_only("failures on demand");
    make_values();
    for (size_t f = 0; f < sizeof functions / sizeof functions[0]; f++)
        for (int call = 1; call <= 6; call++) {
            if (call > 1 && strcmp(functions[f], "cuDevicePrimaryCtxRetain") == 0)
                break; /* the others are the test's own */
            fflush(NULL);
            const pid_t child = fork();
            if (child == 0) {
                fail_once(functions[f], call);
                /* 2: there was no such call, so no later one either */
                _exit(standin_count(functions[f]) < (uint64_t)call ? 2 : 0);
            }
            int status = 0;
            check(waitpid(child, &status, 0) == child, "waitpid");
            check(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2), "call %d of %s fails",
                  call, functions[f]);
            tried += WEXITSTATUS(status) == 0;
            if (WEXITSTATUS(status) == 2)
                break;
        }
    check(tried > 60, "only %d calls were there", tried);
}

static const cuda_case cases[] = {
    {"each_call_fails_once", each_call_fails_once, NULL, NULL},
    {"each_call_fails_once_without_pools", each_call_fails_once, "pools=0", NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]); }
