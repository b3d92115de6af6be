/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels: loaded from their fatbin when they are first used, once in a process, and started. */
#include "runtime.h"

#include <pthread.h>
#include <stdatomic.h>

/* Read without a lock, written under one; a kernel never leaves it. */
enum { PLACES = 1024, DEFAULT_SHARED_BYTES = 48 << 10, MOST_X = INT32_MAX, MOST_YZ = 65535 };
typedef struct loaded_kernel {
    _Atomic(const hunze_cuda_kernel *) kernel;
    CUkernel handle;
    _Atomic uint64_t ready; /* mask of devices that know how much shared memory it takes */
} loaded_kernel;
static loaded_kernel kernels[PLACES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    const hunze_fatbin *fatbin;
    CUlibrary library;
} libraries[HUNZE_FATBIN_COUNT];
_Static_assert(HUNZE_MAX_DEVICES <= 64, "a mask has a bit for each device");

/* The kernel's place, or the free one where it belongs. */
static loaded_kernel *place_of(const hunze_cuda_kernel *kernel)
{
    uint32_t at = (uint32_t)((uintptr_t)kernel * 0x9E3779B97F4A7C15u >> 54);
    _Static_assert(PLACES == 1 << 10, "the hash above gives 10 bits");
    for (;; at = (at + 1) % PLACES) {
        const hunze_cuda_kernel *there = atomic_load_explicit(&kernels[at].kernel, memory_order_acquire);
        if (there == kernel || !there)
            return &kernels[at];
    }
}

static hunze_status load_library(const hunze_fatbin *fatbin, CUlibrary *library)
{
    int at = 0;
    while (libraries[at].fatbin && libraries[at].fatbin != fatbin)
        at++;
    if (!libraries[at].fatbin) {
        CUlibrary made = NULL;
        TRY(hunze_driver_check(hunze_cu->cuLibraryLoadData(&made, fatbin->image, NULL, NULL, 0, NULL, NULL, 0),
                               "the kernels of %s", fatbin->name));
        libraries[at].library = made;
        libraries[at].fatbin = fatbin;
    }
    *library = libraries[at].library;
    return HUNZE_OK;
}

static hunze_status load_kernel(const hunze_cuda_kernel *kernel)
{
    CUlibrary library = NULL;
    CUkernel handle = NULL;
    loaded_kernel *place = place_of(kernel);
    if (atomic_load(&place->kernel))
        return HUNZE_OK;
    TRY(load_library(kernel->fatbin, &library));
    TRY(hunze_driver_check(hunze_cu->cuLibraryGetKernel(&handle, library, kernel->name), "kernel %s", kernel->name));
    place->handle = handle;
    atomic_store_explicit(&place->kernel, kernel, memory_order_release);
    return HUNZE_OK;
}

static __attribute__((noinline)) hunze_status make_ready(const hunze_cuda_kernel *kernel, const hunze_gpu *gpu)
{
    const hunze_relaxed mode = hunze_relax();
    pthread_mutex_lock(&lock);
    hunze_status status = load_kernel(kernel);
    pthread_mutex_unlock(&lock);
    loaded_kernel *place = place_of(kernel);
    if (status == HUNZE_OK && kernel->shared_bytes > DEFAULT_SHARED_BYTES)
        status = hunze_driver_check(
            hunze_cu->cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)kernel->shared_bytes,
                                           place->handle, gpu->handle),
            "kernel %s with %u bytes of shared memory on cuda:%d", kernel->name, kernel->shared_bytes, gpu->device.id);
    hunze_unrelax(mode);
    if (status == HUNZE_OK)
        atomic_fetch_or(&place->ready, UINT64_C(1) << gpu->device.id);
    return status;
}

static inline hunze_status find_kernel(const hunze_cuda_kernel *kernel, const hunze_gpu *gpu, CUkernel *handle)
{
    loaded_kernel *place = place_of(kernel);
    const uint64_t ready = atomic_load_explicit(&place->ready, memory_order_acquire);
    /* A place that was free may be another kernel's by now, and ready. */
    if (__builtin_expect(!(ready & UINT64_C(1) << gpu->device.id) || atomic_load(&place->kernel) != kernel, 0)) {
        TRY(make_ready(kernel, gpu));
        place = place_of(kernel);
    }
    *handle = place->handle;
    return HUNZE_OK;
}

hunze_status hunze_kernel_prepare(const hunze_cuda_kernel *kernel, const hunze_scope *scope)
{
    CUkernel handle = NULL;
    CUfunction function = NULL;
    TRY(find_kernel(kernel, scope->gpu, &handle));
    const hunze_relaxed mode = hunze_relax();
    CUresult result = hunze_cu->cuKernelGetFunction(&function, handle);
    if (result == CUDA_SUCCESS)
        result = hunze_cu->cuFuncLoad(function);
    hunze_unrelax(mode);
    return hunze_driver_check(result, "kernel %s on cuda:%d", kernel->name, scope->gpu->device.id);
}

hunze_status hunze_cuda_start(const hunze_cuda_run *run, const hunze_cuda_kernel *kernel, int64_t grid_x,
                              int64_t grid_y, int64_t grid_z, const void *arguments, size_t bytes)
{
    CUkernel handle = NULL;
    if (grid_x == 0 || grid_y == 0 || grid_z == 0)
        return HUNZE_OK;
    if (grid_x > MOST_X || grid_y > MOST_YZ || grid_z > MOST_YZ)
        return hunze_fail(
            HUNZE_ERR_UNSUPPORTED, "kernel %s would need a grid of %lld x %lld x %lld blocks; CUDA takes %d x %d x %d",
            kernel->name, (long long)grid_x, (long long)grid_y, (long long)grid_z, MOST_X, MOST_YZ, MOST_YZ);
    TRY(find_kernel(kernel, (const hunze_gpu *)run->device, &handle));
    const CUlaunchConfig config = {
        .gridDimX = (unsigned)grid_x,
        .gridDimY = (unsigned)grid_y,
        .gridDimZ = (unsigned)grid_z,
        .blockDimX = kernel->threads,
        .blockDimY = 1,
        .blockDimZ = 1,
        .sharedMemBytes = kernel->shared_bytes,
        .hStream = run->stream,
    };
    /* By size, so that the driver notices when the kernel's struct is another. */
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)arguments, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                     CU_LAUNCH_PARAM_END};
    return hunze_driver_check(hunze_cu->cuLaunchKernelEx(&config, (CUfunction)handle, NULL, extra),
                              "kernel %s on cuda:%d", kernel->name, run->device->id);
}

hunze_status hunze_cuda_clear(const hunze_cuda_run *run, void *pointer, uint8_t byte, size_t bytes)
{
    if (bytes == 0)
        return HUNZE_OK;
    return hunze_driver_check(hunze_cu->cuMemsetD8Async((CUdeviceptr)pointer, byte, bytes, run->stream),
                              "memory that is cleared on cuda:%d", run->device->id);
}
