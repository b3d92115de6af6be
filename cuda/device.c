/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: what each is, which rows it runs, and in whose context a call works. */
#include "runtime.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static hunze_gpu gpus[HUNZE_MAX_DEVICES];
static _Atomic int32_t gpu_count = -1; /* -1: not asked yet */

/* ------------------------------------------------------------------ what they are */

/* Whether a list of architectures ("80 90a") has one for this capability.  Code runs on later devices of the same major capability; code with
 * an "a" runs on its own only. */
static bool has_machine_code(const char *architectures, int32_t capability)
{
    for (const char *at = architectures; *at;) {
        char *end;
        const long arch = strtol(at, &end, 10);
        if (*end == 'a' ? capability == arch : capability / 10 == arch / 10 && capability >= arch)
            return true;
        while (*end && *end != ' ')
            end++;
        at = end;
    }
    return false;
}

static hunze_status read_gpu(int32_t id, hunze_gpu *gpu)
{
    int major = 0, minor = 0, pools = 0, reaches_host = 0;
    size_t bytes = 0;
    const struct {
        CUdevice_attribute attribute;
        int *value;
    } wanted[] = {
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &major},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &minor},
        {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &gpu->device.multiprocessors},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &gpu->device.shared_bytes},
        {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, &gpu->device.multiprocessor_threads},
        {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, &gpu->device.l2_bytes},
        {CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, &pools},
        {CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS, &reaches_host},
    };
    TRY(hunze_driver_check(hunze_cu->cuDeviceGet(&gpu->handle, id), "cuda:%d", id));
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        TRY(hunze_driver_check(hunze_cu->cuDeviceGetAttribute(wanted[i].value, wanted[i].attribute, gpu->handle),
                               "cuda:%d", id));
    TRY(hunze_driver_check(hunze_cu->cuDeviceGetName(gpu->name, sizeof gpu->name, gpu->handle), "cuda:%d", id));
    TRY(hunze_driver_check(hunze_cu->cuDeviceTotalMem(&bytes, gpu->handle), "cuda:%d", id));
    const int32_t capability = 10 * major + minor;
    gpu->device.id = id;
    gpu->device.capability = capability;
    gpu->device.bundles =
        (capability >= 80 ? 1u << HUNZE_ISA_CUDA_SM80 : 0) | (capability == 90 ? 1u << HUNZE_ISA_CUDA_SM90A : 0);
    gpu->bytes = bytes;
    gpu->pools = pools;
    gpu->reaches_host = reaches_host;
    gpu->compiles = !has_machine_code(HUNZE_CUDA_ARCHITECTURES, capability);
    return HUNZE_OK;
}

static hunze_status read_gpus(void)
{
    int count = 0;
    TRY(hunze_driver_check(hunze_cu->cuDeviceGetCount(&count), "the devices"));
    count = count < HUNZE_MAX_DEVICES ? count : HUNZE_MAX_DEVICES;
    for (int32_t id = 0; id < count; id++)
        TRY(read_gpu(id, &gpus[id]));
    atomic_store(&gpu_count, count);
    return HUNZE_OK;
}

static hunze_status find_gpus(int32_t *count)
{
    TRY(hunze_driver_open());
    *count = atomic_load_explicit(&gpu_count, memory_order_acquire);
    if (__builtin_expect(*count < 0, 0)) {
        hunze_status status = HUNZE_OK;
        pthread_mutex_lock(&lock);
        if (atomic_load(&gpu_count) < 0)
            status = read_gpus();
        pthread_mutex_unlock(&lock);
        *count = atomic_load(&gpu_count);
        return status;
    }
    return HUNZE_OK;
}

hunze_status hunze_gpu_find(int32_t id, hunze_gpu **gpu)
{
    int32_t count;
    TRY(find_gpus(&count));
    if (id < 0 || id >= count)
        return hunze_fail(HUNZE_ERR_DEVICE, "there is no cuda:%d: the driver shows %d device%s", id, count,
                          count == 1 ? "" : "s");
    *gpu = &gpus[id];
    return HUNZE_OK;
}

hunze_status hunze_device_bundles(hunze_device device, uint32_t *bundles)
{
    hunze_gpu *gpu = NULL;
    TRY(hunze_gpu_find(device.id, &gpu));
    *bundles = gpu->device.bundles;
    return HUNZE_OK;
}

const hunze_cuda_device *hunze_cuda_device_of(const hunze_plan *plan) { return &gpus[plan->device.id].device; }

const char *hunze_device_text(hunze_device device, char text[HUNZE_DEVICE_TEXT])
{
    const hunze_gpu *gpu = &gpus[device.id];
    snprintf(text, HUNZE_DEVICE_TEXT, "cuda:%d (%s, capability %d.%d)", device.id, gpu->name,
             gpu->device.capability / 10, gpu->device.capability % 10);
    return text;
}

bool hunze_device_compiles(hunze_device device) { return gpus[device.id].compiles; }

void hunze_device_info(hunze_text *text)
{
    char words[512];
    const bool open = hunze_driver_look(words, sizeof words) == HUNZE_DRIVER_OPEN;
    hunze_text_add(text, "\"cuda\": ");
    hunze_text_add_quoted(text, open ? words : NULL);
    hunze_text_add(text, ", \"cuda_reason\": ");
    hunze_text_add_quoted(text, open ? NULL : words);
}

static void add_gpu(hunze_text *text, const hunze_gpu *gpu)
{
    hunze_text_add(text, "{\"id\": %d, \"name\": ", gpu->device.id);
    hunze_text_add_quoted(text, gpu->name);
    hunze_text_add(text, ", \"capability\": \"%d.%d\", \"bytes\": %llu, \"multiprocessors\": %d, \"kernels\": [",
                   gpu->device.capability / 10, gpu->device.capability % 10, (unsigned long long)gpu->bytes,
                   gpu->device.multiprocessors);
    for (int i = 0, first = 1; i < hunze_row_count; i++)
        if (gpu->device.bundles & 1u << hunze_rows[i].isa) {
            hunze_text_add(text, first ? "\"%s\"" : ", \"%s\"", hunze_rows[i].name);
            first = 0;
        }
    hunze_text_add(text, "]}");
}

hunze_status hunze_devices(hunze_context *context, char **out)
{
    int32_t count = 0;
    if (!context || !out)
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL", context ? "text" : "context");
    const hunze_status status = find_gpus(&count);
    if (status != HUNZE_OK && status != HUNZE_ERR_DRIVER)
        return status;
    char version[16];
    hunze_text text;
    hunze_text_start(&text);
    hunze_text_add(&text, "{\"driver\": ");
    if (status == HUNZE_OK)
        hunze_driver_look(version, sizeof version);
    hunze_text_add_quoted(&text, status == HUNZE_OK ? version : NULL);
    hunze_text_add(&text, ", \"reason\": ");
    hunze_text_add_quoted(&text, status == HUNZE_OK ? NULL : hunze_last_error());
    hunze_text_add(&text, ", \"note\": ");
    hunze_text_add_quoted(&text, status == HUNZE_OK
                                     ? "the driver is open: children that this process forks from now on "
                                       "cannot use devices"
                                     : NULL);
    hunze_text_add(&text, ", \"devices\": [");
    for (int32_t id = 0; status == HUNZE_OK && id < count; id++) {
        hunze_text_add(&text, id ? ", " : "");
        add_gpu(&text, &gpus[id]);
    }
    hunze_text_add(&text, "]}");
    return hunze_text_finish(&text, out);
}

/* ------------------------------------------------------------------ contexts */

static hunze_status primary_of(hunze_gpu *gpu, CUcontext *context)
{
    hunze_status status = HUNZE_OK;
    pthread_mutex_lock(&lock);
    if (!gpu->primary) {
        const hunze_relaxed mode = hunze_relax();
        status = hunze_driver_check(hunze_cu->cuDevicePrimaryCtxRetain(&gpu->primary, gpu->handle),
                                    "the context of cuda:%d", gpu->device.id);
        hunze_unrelax(mode);
    }
    *context = gpu->primary;
    pthread_mutex_unlock(&lock);
    return status;
}

static bool is_of(CUcontext context, const hunze_gpu *gpu)
{
    CUdevice device;
    return hunze_cu->cuCtxGetDevice(&device, context) == CUDA_SUCCESS && device == gpu->handle;
}

static int32_t multiprocessors_of(CUgreenCtx green, const hunze_gpu *gpu)
{
    CUdevResource resource;
    if (green && hunze_cu->cuGreenCtxGetDevResource(green, &resource, CU_DEV_RESOURCE_TYPE_SM) == CUDA_SUCCESS)
        return (int32_t)resource.sm.smCount;
    return gpu->device.multiprocessors;
}

static hunze_status find_context(hunze_gpu *gpu, CUstream stream, CUcontext current, CUcontext *wanted,
                                 int32_t *multiprocessors)
{
    *multiprocessors = gpu->device.multiprocessors;
    if (!stream || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD) {
        *wanted = current;
        return current && is_of(current, gpu) ? HUNZE_OK : primary_of(gpu, wanted);
    }
    CUgreenCtx green = NULL;
    const CUresult result = hunze_cu->cuStreamGetCtx(stream, wanted, &green);
    if (result == CUDA_ERROR_INVALID_HANDLE || result == CUDA_ERROR_INVALID_VALUE ||
        result == CUDA_ERROR_CONTEXT_IS_DESTROYED || result == CUDA_ERROR_INVALID_CONTEXT)
        return hunze_fail(HUNZE_ERR_DEVICE,
                          "the stream is none of this process: it was destroyed, or it is no CUstream");
    TRY(hunze_driver_check(result, "the stream's context"));
    CUdevice device;
    TRY(hunze_driver_check(hunze_cu->cuCtxGetDevice(&device, *wanted), "the stream's device"));
    if (device != gpu->handle)
        return hunze_fail(HUNZE_ERR_DEVICE, "the stream is of cuda:%d, and the work is on cuda:%d", device,
                          gpu->device.id);
    *multiprocessors = multiprocessors_of(green, gpu);
    return HUNZE_OK;
}

static hunze_status enter_context(hunze_scope *scope, hunze_gpu *gpu, void *stream)
{
    CUcontext current = NULL;
    *scope = (hunze_scope){.gpu = gpu, .stream = stream};
    TRY(hunze_driver_check(hunze_cu->cuCtxGetCurrent(&current), "the current context"));
    TRY(find_context(gpu, stream, current, &scope->context, &scope->multiprocessors));
    if (scope->context != current) {
        TRY(hunze_driver_check(hunze_cu->cuCtxPushCurrent(scope->context), "the context of cuda:%d", gpu->device.id));
        scope->pushed = true;
    }
    return HUNZE_OK;
}

hunze_status hunze_scope_enter(hunze_scope *scope, hunze_gpu *gpu, void *stream)
{
    TRY(enter_context(scope, gpu, stream));
    CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
    const hunze_status status =
        hunze_driver_check(hunze_cu->cuStreamIsCapturing(stream, &capture), "the stream on cuda:%d", gpu->device.id);
    scope->captured = capture != CU_STREAM_CAPTURE_STATUS_NONE;
    if (status)
        hunze_scope_leave(scope);
    return status;
}

hunze_status hunze_scope_enter_device(hunze_scope *scope, hunze_gpu *gpu) { return enter_context(scope, gpu, NULL); }

void hunze_scope_leave(const hunze_scope *scope)
{
    CUcontext popped;
    if (scope->pushed)
        (void)hunze_cu->cuCtxPopCurrent(&popped);
}

hunze_relaxed hunze_relax(void)
{
    hunze_relaxed mode = {.before = CU_STREAM_CAPTURE_MODE_RELAXED};
    mode.changed = hunze_cu->cuThreadExchangeStreamCaptureMode(&mode.before) == CUDA_SUCCESS;
    return mode;
}

void hunze_unrelax(hunze_relaxed mode)
{
    if (mode.changed)
        (void)hunze_cu->cuThreadExchangeStreamCaptureMode(&mode.before);
}

CUresult hunze_scope_wait(const hunze_scope *scope)
{
    const hunze_relaxed mode = hunze_relax();
    const CUresult result = hunze_cu->cuStreamSynchronize(scope->stream);
    hunze_unrelax(mode);
    return result;
}
