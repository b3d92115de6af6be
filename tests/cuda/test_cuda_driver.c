/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the driver: when it happens, what each kind of refusal says, devices, contexts, forks and the end of the process. */
#include "cuda_test.h"
#include "json.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 8 };
static const float values[N] = {-3, 2, -1, 0, 5, -7, 0.5f, 4};

static char *devices_of(hunze_context *context)
{
    char *text = NULL;
    OK(hunze_devices(context, &text));
    check(json_is_valid(text), "%s", text);
    return text;
}

static char *info_of(hunze_context *context)
{
    char *text = NULL;
    OK(hunze_context_info(context, &text));
    check(json_is_valid(text), "%s", text);
    return text;
}

/* Every way to a device is refused with the same words, and the CPU goes on. */
static void expect_no_driver(const char *word, const char *other)
{
    hunze_context *context = new_context(NULL);
    float x[N], y[N];
    void *pointer = x, *stream = x;
    memcpy(x, values, sizeof x);
    char *text = devices_of(context);
    check(strncmp(json_member(text, "driver"), "null", 4) == 0, "%s", text);
    check(strstr(json_member(text, "reason"), word) && strstr(json_member(text, "reason"), other), "%s", text);
    check(strncmp(json_member(text, "devices"), "[]", 2) == 0, "%s", text);
    hunze_string_free(text);
    text = info_of(context);
    check(strstr(json_member(text, "cuda_reason"), word) && strncmp(json_member(text, "cuda"), "null", 4) == 0, "%s",
          text);
    hunze_string_free(text);
    for (int i = 0; i < 2; i++) { /* the second time, too */
        REFUSED(DRIVER, hunze_memory_alloc(context, cuda0, 64, NULL, &pointer), word, other);
        REFUSED(DRIVER, hunze_memory_alloc(context, pinned, 64, NULL, &pointer), word, other);
        REFUSED(DRIVER, hunze_memory_free(context, cuda0, x, 64, NULL), word, other);
        REFUSED(DRIVER, hunze_stream_create(context, cuda0, &stream), word, other);
        REFUSED(DRIVER, hunze_stream_synchronize(context, cuda0, NULL), word, other);
        REFUSED(DRIVER, relu(context, cuda0, x, y, N, NULL), word, other);
        array from, to;
        REFUSED(DRIVER, hunze_copy(context, floats(&from, cpu, x, N), floats(&to, cuda0, y, N), NULL), word, other);
    }
    check(stream == NULL && pointer == NULL, "a refused call gave something");
    OK(hunze_memory_trim(context));
    OK(relu(context, cpu, x, y, N, NULL));
    check(y[0] == 0 && y[1] == 2, "the CPU computes %g", (double)y[0]);
    hunze_context_release(context);
}

static void no_library(void)
{
    char folder[] = "/tmp/hunze-no-driver-XXXXXX", path[64];
    if (getenv("HUNZE_TEST_WITHOUT_DRIVER")) { /* the loader reads its path when a program starts */
        expect_no_driver("there is no CUDA driver: ", "R580");
        return;
    }
    check(mkdtemp(folder), "%s", folder);
    snprintf(path, sizeof path, "%s/libcuda.so.1", folder);
    FILE *file = fopen(path, "w");
    check(file && fclose(file) == 0, "%s", path);
    const pid_t child = fork();
    if (child == 0) {
        setenv("LD_LIBRARY_PATH", folder, 1);
        setenv("HUNZE_TEST_WITHOUT_DRIVER", "1", 1);
        execl("/proc/self/exe", "test_cuda_driver", "no_library", (char *)NULL);
        _exit(127);
    }
    int status = 1;
    waitpid(child, &status, 0);
    unlink(path);
    rmdir(folder);
    check(status == 0, "without a driver: %d", status);
}

static void older_driver(void)
{
    expect_no_driver("CUDA 12.4 (R550)", "CUDA 13.0 (R580) or later");
    check(standin_count("cuInit") == 0, "an older driver is started");
}
static void much_older_driver(void) { expect_no_driver("CUDA 11.4 (R470)", "R580"); }
static void version_is_not_told(void) { expect_no_driver("does not tell its version", "R580"); }
static void function_is_missing(void) { expect_no_driver("has no cu", "of version"); }
static void no_device(void) { expect_no_driver("CUDA_VISIBLE_DEVICES", "CUDA_ERROR_NO_DEVICE"); }
static void stub(void) { expect_no_driver("stubs", "LD_LIBRARY_PATH"); }
static void fabric_manager(void) { expect_no_driver("nvidia-fabricmanager", "CUDA_ERROR_SYSTEM_NOT_READY"); }
static void mismatch(void) { expect_no_driver("must restart", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"); }
static void compatibility(void) { expect_no_driver("compat", "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"); }
static void unknown_refusal(void) { expect_no_driver("does not start", "CUDA_ERROR_UNKNOWN"); }

/* ------------------------------------------------------------------ when it is opened */

static void opened_by_need(void)
{
    hunze_context *context = new_context(NULL);
    float x[N], y[N];
    memcpy(x, values, sizeof x);
    OK(relu(context, cpu, x, y, N, NULL));
    char *text = info_of(context);
    check(strncmp(json_member(text, "cuda"), "null", 4) == 0 && strstr(json_member(text, "cuda_reason"), "so far"),
          "%s", text);
    hunze_string_free(text);
    OK(hunze_memory_trim(context));
    check(standin_count(NULL) == 0, "%llu calls of the driver before one was needed",
          (unsigned long long)standin_count(NULL));

    text = devices_of(context);
    check(json_says(text, "driver", "13.0") && strncmp(json_member(text, "reason"), "null", 4) == 0, "%s", text);
    check(strstr(json_member(text, "note"), "fork"), "%s", text);
    check(strstr(text, "\"id\": 0, \"name\": \"Hunze emulated GPU\", \"capability\": \"9.0\", \"bytes\": 536870912, "
                       "\"multiprocessors\": 4, \"kernels\": [\""),
          "%s", text);
    check(strstr(text, "\"id\": 1") && !strstr(text, "\"id\": 2"), "%s", text);
    hunze_string_free(text);
    check(standin_count("cuInit") == 1 && standin_count("cuDevicePrimaryCtxRetain") == 0 &&
              standin_count("cuCtxPushCurrent") == 0 && standin_depth() == 0,
          "hunze_devices makes a context");
    text = info_of(context);
    check(json_says(text, "cuda", "13.0") && strncmp(json_member(text, "cuda_reason"), "null", 4) == 0, "%s", text);
    hunze_string_free(text);
    hunze_context_release(context);
}

static void *open_in_thread(void *context)
{
    void *pointer = NULL;
    OK(hunze_memory_alloc(context, cuda0, 64, CU_STREAM_PER_THREAD, &pointer));
    OK(hunze_memory_free(context, cuda0, pointer, 64, CU_STREAM_PER_THREAD));
    return NULL;
}

static void opened_once(void)
{
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    hunze_context *context = new_context(NULL);
    for (int i = 0; i < THREADS; i++)
        check(pthread_create(&threads[i], NULL, open_in_thread, context) == 0, "a thread");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    check(standin_count("cuInit") == 1 && standin_count("cuDevicePrimaryCtxRetain") == 1 &&
              standin_count("cuMemPoolCreate") == 1,
          "opened more than once");
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ devices */

static void no_such_device(void)
{
    hunze_context *context = new_context(NULL);
    void *pointer;
    float x[N], y[N] = {0};
    const hunze_device seventh = {HUNZE_DEVICE_CUDA, 7};
    memcpy(x, values, sizeof x);
    REFUSED(DEVICE, hunze_memory_alloc(context, seventh, 64, NULL, &pointer), "cuda:7", "1 device");
    REFUSED(DEVICE, relu(context, seventh, x, y, N, NULL), "cuda:7");
    REFUSED(DEVICE, hunze_stream_create(context, cpu, &pointer), "device type 1");
    REFUSED(DEVICE, hunze_memory_alloc(context, cpu, 64, NULL, &pointer), "device type 1");
    hunze_context_release(context);
}

static hunze_status make_plan(hunze_context *context, uint32_t flags, hunze_plan **plan)
{
    array x, y;
    const hunze_activation_options options = {.struct_size = sizeof options, .flags = flags};
    const hunze_call call = {.struct_size = sizeof call,
                             .op = HUNZE_OP_ACTIVATION,
                             .a = floats(&x, cuda0, NULL, N),
                             .d = floats(&y, cuda0, NULL, N),
                             .options = &options};
    return hunze_plan_create(context, &call, plan);
}

static void device_without_a_kernel(void)
{
    hunze_context *context = new_context(NULL);
    hunze_plan *plan;
    REFUSED(UNSUPPORTED, make_plan(context, 0, &plan), "cuda_sm80", "capability 7.5", "Hunze emulated GPU");
    char *text = devices_of(context);
    check(strstr(text, "\"capability\": \"7.5\"") && strstr(text, "\"kernels\": []"), "%s", text);
    hunze_string_free(text);
    hunze_context_release(context);
}

static void explained(void)
{
    hunze_context *context = new_context(NULL);
    hunze_plan *plan = NULL;
    char *text = NULL;
    OK(make_plan(context, HUNZE_REQUIRE_FAST, &plan));
    OK(hunze_plan_explain(plan, &text));
    check(json_is_valid(text) && json_says(text, "device", "cuda:0") && json_says(text, "isa", "cuda_sm80") &&
              json_says(text, "kernel", hunze_plan_kernel(plan)) &&
              json_says(text, "device_name", "cuda:0 (Hunze emulated GPU, capability 9.0)") &&
              strncmp(json_member(text, "compiled_by_driver"), "null", 4) == 0,
          "%s", text);
    check(strstr(json_member(text, "refused"),
                 "activation_f32_portable\", \"isa\": \"portable\", \"why\": \"computes on "
                 "the CPU, and the operands live on a device\""),
          "%s", text);
    hunze_string_free(text);
    hunze_plan_release(plan);

    array x, y;
    float data[N];
    const hunze_activation_options options = {.struct_size = sizeof options};
    const hunze_call call = {.struct_size = sizeof call,
                             .op = HUNZE_OP_ACTIVATION,
                             .a = floats(&x, cpu, data, N),
                             .d = floats(&y, cpu, data, N),
                             .options = &options};
    OK(hunze_plan_create(context, &call, &plan));
    OK(hunze_plan_explain(plan, &text));
    check(json_says(text, "device", "cpu") && strstr(text, "computes on a device, and the operands live on the CPU"),
          "%s", text);
    hunze_string_free(text);
    OK(hunze_plan_prepare(plan));
    hunze_plan_release(plan);
    hunze_context_release(context);
}

/* A device that is newer than all machine code in the library. */
static void compiled_by_the_driver(void)
{
    hunze_context *context = new_context(NULL);
    hunze_plan *plan = NULL;
    char *text = NULL;
    REFUSED(SLOW, make_plan(context, HUNZE_REQUIRE_FAST, &plan), "no machine code", "capability 11.0");
    OK(make_plan(context, 0, &plan));
    OK(hunze_plan_explain(plan, &text));
    check(strstr(json_member(text, "compiled_by_driver"), "CUDA_CACHE_PATH"), "%s", text);
    hunze_string_free(text);
    hunze_plan_release(plan);
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ contexts */

static CUcontext current(void)
{
    CUcontext context = NULL;
    DRIVER_OK(DRIVER(cuCtxGetCurrent, 4000)(&context));
    return context;
}

static void check_relu(hunze_context *context, hunze_device device, void *stream)
{
    float y[N];
    void *x = to_gpu(context, device, stream, values, N), *d = to_gpu(context, device, stream, values, N);
    OK(relu(context, device, x, d, N, stream));
    from_gpu(context, device, stream, d, y, N);
    for (int i = 0; i < N; i++)
        check(y[i] == (values[i] < 0 ? 0 : values[i]), "relu(%g) is %g", (double)values[i], (double)y[i]);
    OK(hunze_memory_free(context, device, x, sizeof values, stream));
    OK(hunze_memory_free(context, device, d, sizeof values, stream));
}

static void two_devices(void)
{
    hunze_context *context = new_context(NULL);
    void *streams[2];
    OK(hunze_stream_create(context, cuda0, &streams[0]));
    OK(hunze_stream_create(context, cuda1, &streams[1]));
    check(standin_depth() == 0, "a context stays");
    for (int i = 0; i < 2; i++) {
        check_relu(context, cuda0, NULL);
        check_relu(context, cuda1, NULL);
        check_relu(context, cuda1, streams[1]);
        check_relu(context, cuda0, streams[0]);
        check(standin_depth() == 0, "a context stays");
    }
    OK(hunze_stream_destroy(context, cuda0, streams[0]));
    OK(hunze_stream_destroy(context, cuda1, streams[1]));
    hunze_context_release(context);
}

/* The calling thread's context is used if it is of the device, and stays what it was. */
static void current_context(void)
{
    hunze_context *context = new_context(NULL);
    CUcontext own = NULL, other = NULL;
    CUdevice device;
    DRIVER_OK(DRIVER(cuInit, 2000)(0));
    DRIVER_OK(DRIVER(cuDeviceGet, 2000)(&device, 0));
    DRIVER_OK(DRIVER(cuCtxCreate, 12050)(&own, NULL, 0, device));
    check_relu(context, cuda0, NULL);
    check(standin_count("cuDevicePrimaryCtxRetain") == 0, "the primary context is made beside the current one");
    check(current() == own && standin_depth() == 1, "the current context changed");
    check_relu(context, cuda1, NULL);
    check(standin_count("cuDevicePrimaryCtxRetain") == 1, "the other device has no context");
    check(current() == own && standin_depth() == 1, "the current context changed");

    /* A stream brings its context along. */
    CUstream stream = NULL;
    DRIVER_OK(DRIVER(cuStreamCreate, 2000)(&stream, 0));
    DRIVER_OK(DRIVER(cuCtxCreate, 12050)(&other, NULL, 0, device));
    check_relu(context, cuda0, stream);
    check(current() == other && standin_depth() == 2, "the current context changed");
    CUcontext popped;
    DRIVER_OK(DRIVER(cuCtxPopCurrent, 4000)(&popped));
    DRIVER_OK(DRIVER(cuCtxPopCurrent, 4000)(&popped));
    check_relu(context, cuda0, stream);
    check(standin_depth() == 0 && standin_count("cuDevicePrimaryCtxRetain") == 1, "a stream's context is not its own");
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ forks, and the end */

static int wait_for(pid_t child)
{
    int status = 0;
    check(waitpid(child, &status, 0) == child && WIFEXITED(status), "the child ended with %d", status);
    return WEXITSTATUS(status);
}

static void fork_after_open(void)
{
    hunze_context *context = new_context(NULL);
    void *x = to_gpu(context, cuda0, NULL, values, N);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        float host[N], y[N];
        void *pointer = NULL;
        memcpy(host, values, sizeof host);
        REFUSED(DRIVER, relu(context, cuda0, x, x, N, NULL), "forked", "spawn");
        REFUSED(DRIVER, hunze_memory_alloc(context, cuda0, 64, NULL, &pointer), "forked");
        REFUSED(DRIVER, hunze_memory_free(context, cuda0, x, sizeof values, NULL), "forked");
        char *text = devices_of(context);
        check(strstr(json_member(text, "reason"), "forked"), "%s", text);
        hunze_string_free(text);
        text = info_of(context);
        check(strstr(json_member(text, "cuda_reason"), "forked"), "%s", text);
        hunze_string_free(text);
        OK(relu(context, cpu, host, y, N, NULL));
        check(y[1] == 2, "the CPU computes %g", (double)y[1]);
        const uint64_t before = standin_count(NULL);
        hunze_context_release(context);
        check(standin_count(NULL) == before, "the child gives back what is its parent's");
        _exit(0);
    }
    check(wait_for(child) == 0, "the child failed");
    check_relu(context, cuda0, NULL);
    OK(hunze_memory_free(context, cuda0, x, sizeof values, NULL));
    hunze_context_release(context);
}

static void fork_before_open(void)
{
    hunze_context *context = new_context(NULL);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        check_relu(context, cuda0, NULL);
        _exit(0);
    }
    check(wait_for(child) == 0, "the child failed");
    check_relu(context, cuda0, NULL);
    hunze_context_release(context);
}

/* Another library of the process opened the driver before the fork. */
static void fork_after_another_opened(void)
{
    DRIVER_OK(DRIVER(cuInit, 2000)(0));
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        expect_no_driver("forked", "spawn");
        _exit(0);
    }
    check(wait_for(child) == 0, "the child failed");
}

static struct {
    hunze_context *context;
    void *x, *stream;
} left;

static void give_back_at_the_end(void)
{
    if (hunze_memory_free(left.context, cuda0, left.x, sizeof values, NULL) != HUNZE_OK ||
        hunze_stream_destroy(left.context, cuda0, left.stream) != HUNZE_OK ||
        hunze_memory_trim(left.context) != HUNZE_OK) {
        fprintf(stderr, "at the end: %s\n", hunze_last_error());
        _exit(1);
    }
    hunze_context_release(left.context);
}

/* The driver ends before this program's own handlers run: what they give back is gone already. */
static void end_of_the_process(void)
{
    atexit(give_back_at_the_end);
    left.context = new_context(NULL);
    left.x = to_gpu(left.context, cuda0, NULL, values, N);
    OK(hunze_stream_create(left.context, cuda0, &left.stream));
}

static const cuda_case cases[] = {
    {"no_library", no_library, NULL, NULL},
    {"older_driver", older_driver, "driver=12040", NULL},
    {"much_older_driver", much_older_driver, "driver=11040", NULL},
    {"version_is_not_told", version_is_not_told, NULL, "cuDriverGetVersion:1:CUDA_ERROR_UNKNOWN"},
    {"function_is_missing", function_is_missing, NULL, "cuGetProcAddress:9:CUDA_ERROR_NOT_FOUND"},
    {"no_device", no_device, "devices=0", NULL},
    {"stub", stub, NULL, "cuInit:1:CUDA_ERROR_STUB_LIBRARY"},
    {"fabric_manager", fabric_manager, NULL, "cuInit:1:CUDA_ERROR_SYSTEM_NOT_READY"},
    {"mismatch", mismatch, NULL, "cuInit:1:CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"},
    {"compatibility", compatibility, NULL, "cuInit:1:CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"},
    {"unknown_refusal", unknown_refusal, NULL, "cuInit:1:CUDA_ERROR_UNKNOWN"},
    {"opened_by_need", opened_by_need, "devices=2", NULL},
    {"opened_once", opened_once, NULL, NULL},
    {"no_such_device", no_such_device, NULL, NULL},
    {"device_without_a_kernel", device_without_a_kernel, "capability=75", NULL},
    {"explained", explained, NULL, NULL},
    {"compiled_by_the_driver", compiled_by_the_driver, "capability=110", NULL},
    {"two_devices", two_devices, "devices=2", NULL},
    {"current_context", current_context, "devices=2", NULL},
    {"fork_after_open", fork_after_open, NULL, NULL},
    {"fork_before_open", fork_before_open, NULL, NULL},
    {"fork_after_another_opened", fork_after_another_opened, NULL, NULL},
    {"end_of_the_process", end_of_the_process, NULL, NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]); }
