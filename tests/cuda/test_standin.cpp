/* SPDX-License-Identifier: Apache-2.0 */
/* The stand-in for libcuda.so.1: it refuses what the driver refuses, and work is late, so that a host's mistakes show.  Each test is a process:
 * cuInit happens once.  The kernels are those of test_emulator_kernels.cu. */
#include "child.h"
#include "driver/standin.h"
#include "test_emulator_kernels.h"

#include <cuda.h>
#include <dlfcn.h>
#include <signal.h>

#include <vector>

/* ------------------------------------------------------------------ the library */

#define FUNCTIONS(X)                                                                                                   \
    X(cuInit, 2000)                                                                                                    \
    X(cuGetErrorName, 6000)                                                                                            \
    X(cuDeviceGet, 2000)                                                                                               \
    X(cuDeviceGetCount, 2000)                                                                                          \
    X(cuDeviceGetAttribute, 2000)                                                                                      \
    X(cuDevicePrimaryCtxRetain, 7000)                                                                                  \
    X(cuCtxCreate, 12050)                                                                                              \
    X(cuCtxDestroy, 4000)                                                                                              \
    X(cuCtxSetCurrent, 4000)                                                                                           \
    X(cuCtxPushCurrent, 4000)                                                                                          \
    X(cuCtxPopCurrent, 4000)                                                                                           \
    X(cuCtxGetDevice, 2000)                                                                                            \
    X(cuCtxSynchronize, 2000)                                                                                          \
    X(cuStreamCreate, 2000)                                                                                            \
    X(cuStreamDestroy, 4000)                                                                                           \
    X(cuStreamGetCtx, 9020)                                                                                            \
    X(cuStreamSynchronize, 2000)                                                                                       \
    X(cuStreamQuery, 2000)                                                                                             \
    X(cuStreamWaitEvent, 3020)                                                                                         \
    X(cuStreamBeginCapture, 10010)                                                                                     \
    X(cuStreamEndCapture, 10000)                                                                                       \
    X(cuStreamIsCapturing, 10000)                                                                                      \
    X(cuThreadExchangeStreamCaptureMode, 10010)                                                                        \
    X(cuGraphInstantiate, 12000)                                                                                       \
    X(cuGraphLaunch, 10000)                                                                                            \
    X(cuEventCreate, 2000)                                                                                             \
    X(cuEventRecord, 2000)                                                                                             \
    X(cuEventQuery, 2000)                                                                                              \
    X(cuEventElapsedTime, 2000)                                                                                        \
    X(cuEventSynchronize, 2000)                                                                                        \
    X(cuMemAlloc, 3020)                                                                                                \
    X(cuMemFree, 3020)                                                                                                 \
    X(cuMemAllocManaged, 6000)                                                                                         \
    X(cuMemHostAlloc, 2020)                                                                                            \
    X(cuMemFreeHost, 2000)                                                                                             \
    X(cuMemGetInfo, 3020)                                                                                              \
    X(cuMemPoolCreate, 11020)                                                                                          \
    X(cuMemPoolGetAttribute, 11020)                                                                                    \
    X(cuMemPoolTrimTo, 11020)                                                                                          \
    X(cuMemAllocFromPoolAsync, 11020)                                                                                  \
    X(cuMemFreeAsync, 11020)                                                                                           \
    X(cuPointerGetAttributes, 7000)                                                                                    \
    X(cuMemcpyAsync, 4000)                                                                                             \
    X(cuMemcpyHtoD, 3020)                                                                                              \
    X(cuMemcpyDtoH, 3020)                                                                                              \
    X(cuMemcpyHtoDAsync, 3020)                                                                                         \
    X(cuMemcpyDtoHAsync, 3020)                                                                                         \
    X(cuMemcpyDtoDAsync, 3020)                                                                                         \
    X(cuMemcpy2DAsync, 3020)                                                                                           \
    X(cuMemsetD8Async, 3020)                                                                                           \
    X(cuLibraryLoadData, 12000)                                                                                        \
    X(cuLibraryGetKernel, 12000)                                                                                       \
    X(cuKernelGetFunction, 12000)                                                                                      \
    X(cuKernelSetAttribute, 12000)                                                                                     \
    X(cuKernelGetAttribute, 12000)                                                                                     \
    X(cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050)                                                               \
    X(cuLaunchKernelEx, 11060)                                                                                         \
    X(cuTensorMapEncodeTiled, 12000)

static struct {
    decltype(&cuGetProcAddress_v2) find;
    decltype(&hunze_standin_describe) describe;
    decltype(&hunze_standin_fail) fail_calls;
    decltype(&hunze_standin_calls) calls;
    decltype(&hunze_standin_pending) pending;
    decltype(&hunze_standin_contexts) contexts;
#define MEMBER(name, version) decltype(&::name) name;
    FUNCTIONS(MEMBER)
#undef MEMBER
} cuda;

static void *symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);
    assert_non_null(found);
    return found;
}

static void open_library(const char *machine)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail_msg("%s", dlerror());
    cuda.find = (decltype(cuda.find))symbol(library, "cuGetProcAddress_v2");
    cuda.describe = (decltype(cuda.describe))symbol(library, "hunze_standin_describe");
    cuda.fail_calls = (decltype(cuda.fail_calls))symbol(library, "hunze_standin_fail");
    cuda.calls = (decltype(cuda.calls))symbol(library, "hunze_standin_calls");
    cuda.pending = (decltype(cuda.pending))symbol(library, "hunze_standin_pending");
    cuda.contexts = (decltype(cuda.contexts))symbol(library, "hunze_standin_contexts");
    cuda.describe(machine);
#define FIND(name, version)                                                                                            \
    assert_int_equal(cuda.find(#name, (void **)&cuda.name, version, CU_GET_PROC_ADDRESS_LEGACY_STREAM, nullptr), 0);
    FUNCTIONS(FIND)
#undef FIND
}

static void expect(CUresult expected, CUresult result, const char *text, int line)
{
    if (result != expected)
        fail_msg("line %d: %s gave %d, not %d", line, text, (int)result, (int)expected);
}
#define OK(expression) expect(CUDA_SUCCESS, expression, #expression, __LINE__)
#define REFUSED(code, expression) expect(CUDA_ERROR_##code, expression, #expression, __LINE__)

static CUcontext context; /* of device 0 */
static CUstream stream;

static void open_device(const char *machine)
{
    open_library(machine);
    OK(cuda.cuInit(0));
    OK(cuda.cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuda.cuCtxPushCurrent(context));
    OK(cuda.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
}

static CUkernel find_kernel(const char *name)
{
    static CUlibrary library;
    CUkernel kernel;
    if (!library)
        OK(cuda.cuLibraryLoadData(&library, "kernels of test_emulator_kernels are on the emulator only\n", nullptr,
                                  nullptr, 0, nullptr, nullptr, 0));
    OK(cuda.cuLibraryGetKernel(&kernel, library, name));
    return kernel;
}

static CUresult launch_config(CUkernel kernel, CUlaunchConfig config, CUdeviceptr from, CUdeviceptr to, int64_t count)
{
    test_floats floats = {(const float *)from, (float *)to, count};
    void *arguments[] = {&floats};
    return cuda.cuLaunchKernelEx(&config, (CUfunction)kernel, arguments, nullptr);
}

/* to = from, reversed in groups of TEST_THREADS */
static CUresult launch_reverse(CUstream on, CUdeviceptr from, CUdeviceptr to, int64_t count)
{
    const auto blocks = (unsigned)((count + TEST_THREADS - 1) / TEST_THREADS);
    return launch_config(find_kernel("test_reverse"),
                         {blocks, 1, 1, TEST_THREADS, 1, 1, 4 * TEST_THREADS, on, nullptr, 0}, from, to, count);
}

enum { COUNT = TEST_THREADS, BYTES = COUNT * 4 };

static std::vector<float> values(float first)
{
    std::vector<float> all(COUNT);
    for (int i = 0; i < COUNT; i++)
        all[(size_t)i] = first + (float)i;
    return all;
}

static bool is_reversed(const float *got, float first)
{
    for (int i = 0; i < COUNT; i++)
        if (got[i] != first + (float)(COUNT - 1 - i))
            return false;
    return true;
}

static CUdeviceptr device_memory(size_t bytes)
{
    CUdeviceptr pointer;
    OK(cuda.cuMemAlloc(&pointer, bytes));
    return pointer;
}

static CUmemoryPool make_pool(int device)
{
    CUmemPoolProps properties = {};
    properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    properties.location.id = device;
    CUmemoryPool pool;
    OK(cuda.cuMemPoolCreate(&pool, &properties));
    return pool;
}

/* ------------------------------------------------------------------ finding and starting it */

static void entry_points_have_one_version_each()
{
    open_library("driver=13000");
    void *found;
    CUdriverProcAddressQueryResult why;
    OK(cuda.find("cuMemAlloc", &found, 3020, CU_GET_PROC_ADDRESS_DEFAULT, &why));
    assert_int_equal(why, CU_GET_PROC_ADDRESS_SUCCESS);
    REFUSED(NOT_FOUND, cuda.find("cuMemAlloc", &found, 13000, CU_GET_PROC_ADDRESS_DEFAULT, &why));
    assert_int_equal(why, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    assert_null(found);
    REFUSED(NOT_FOUND, cuda.find("cuMemAllok", &found, 3020, CU_GET_PROC_ADDRESS_DEFAULT, &why));
    assert_int_equal(why, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    REFUSED(INVALID_VALUE, cuda.find("cuMemAlloc", &found, 3020, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, &why));
    OK(cuda.find("cuStreamGetCtx", &found, 12050, CU_GET_PROC_ADDRESS_DEFAULT, &why));
    cuda.describe("driver=12000");
    REFUSED(NOT_FOUND, cuda.find("cuStreamGetCtx", &found, 12050, CU_GET_PROC_ADDRESS_DEFAULT, &why));
}

static void nothing_works_before_cuInit()
{
    open_library("devices=2");
    int count;
    REFUSED(NOT_INITIALIZED, cuda.cuDeviceGetCount(&count));
    REFUSED(NOT_INITIALIZED, cuda.cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuda.cuInit(0));
    OK(cuda.cuDeviceGetCount(&count));
    assert_int_equal(count, 2);
    assert_int_equal(cuda.calls("cuDeviceGetCount"), 2);
    CUdevice device;
    REFUSED(INVALID_DEVICE, cuda.cuDeviceGet(&device, 2));
}

static void a_machine_may_have_no_device()
{
    open_library("devices=0");
    REFUSED(NO_DEVICE, cuda.cuInit(0));
}

static void forked_children_cannot_use_it()
{
    open_device("");
    const pid_t child = fork();
    if (child == 0) {
        int count;
        _exit(cuda.cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED &&
                      cuda.cuInit(0) == CUDA_ERROR_NOT_INITIALIZED
                  ? 0
                  : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void calls_after_exit_are_refused()
{
    atexit([] { /* runs after the handler that cuInit registers */
                CUcontext current;
                _exit(cuda.cuDevicePrimaryCtxRetain(&current, 0) == CUDA_ERROR_DEINITIALIZED ? 0 : 1);
    });
    open_device("");
    exit(1);
}

/* ------------------------------------------------------------------ contexts */

static void contexts_are_checked()
{
    open_device("devices=2");
    CUcontext own, popped;
    CUdeviceptr pointer;
    CUstream other;
    CUevent event;
    CUdevice device;
    OK(cuda.cuCtxCreate(&own, nullptr, 0, 1));
    assert_int_equal(cuda.contexts(), 2);
    OK(cuda.cuCtxGetDevice(&device));
    assert_int_equal(device, 1);
    REFUSED(INVALID_HANDLE, cuda.cuStreamSynchronize(stream));
    REFUSED(INVALID_HANDLE, cuda.cuMemsetD8Async(0, 0, 0, stream));
    OK(cuda.cuStreamGetCtx(stream, &popped));
    assert_ptr_equal(popped, context);
    OK(cuda.cuEventCreate(&event, 0));
    OK(cuda.cuCtxPopCurrent(&popped));
    assert_ptr_equal(popped, own);
    REFUSED(INVALID_HANDLE, cuda.cuEventRecord(event, stream));
    OK(cuda.cuCtxDestroy(own));
    REFUSED(INVALID_CONTEXT, cuda.cuCtxPushCurrent(own));
    REFUSED(INVALID_CONTEXT, cuda.cuCtxDestroy(context)); /* a primary one */
    OK(cuda.cuStreamDestroy(stream));
    REFUSED(INVALID_HANDLE, cuda.cuStreamSynchronize(stream));
    OK(cuda.cuCtxSetCurrent(nullptr));
    assert_int_equal(cuda.contexts(), 0);
    REFUSED(INVALID_CONTEXT, cuda.cuMemAlloc(&pointer, 4));
    REFUSED(INVALID_CONTEXT, cuda.cuStreamCreate(&other, 0));
    REFUSED(INVALID_CONTEXT, cuda.cuStreamGetCtx(nullptr, &popped));
    REFUSED(INVALID_CONTEXT, cuda.cuCtxPopCurrent(&popped));
}

/* ------------------------------------------------------------------ memory */

static void pointers_are_checked()
{
    open_device("memory=2MiB");
    const CUdeviceptr memory = device_memory(BYTES);
    char host[BYTES] = {0};
    CUdeviceptr more;
    assert_int_equal(memory % 256, 0);
    assert_int_not_equal(memory % 512, 0);
    REFUSED(INVALID_VALUE, cuda.cuMemcpyHtoD(memory, host, BYTES + 1));
    REFUSED(INVALID_VALUE, cuda.cuMemcpyHtoD(memory + BYTES, host, 1));
    REFUSED(INVALID_VALUE, cuda.cuMemcpyDtoH(host, memory - 1, 1));
    REFUSED(INVALID_VALUE, cuda.cuMemcpyDtoH(host, (CUdeviceptr)host, 1));
    REFUSED(INVALID_VALUE, cuda.cuMemcpyDtoDAsync(memory + 1, memory, BYTES, stream));
    REFUSED(INVALID_VALUE, cuda.cuMemsetD8Async(memory, 0, BYTES + 1, stream));
    REFUSED(INVALID_VALUE, cuda.cuMemcpyAsync(memory, 0, 1, stream));
    REFUSED(INVALID_VALUE, cuda.cuMemFree(memory + 4));
    REFUSED(INVALID_VALUE, cuda.cuMemFreeAsync(memory, stream));
    REFUSED(INVALID_VALUE, cuda.cuMemAlloc(&more, 0));
    REFUSED(OUT_OF_MEMORY, cuda.cuMemAlloc(&more, 2 << 20));
    size_t free_bytes, total;
    OK(cuda.cuMemGetInfo(&free_bytes, &total));
    assert_int_equal(total, 2 << 20);
    assert_int_equal(free_bytes, (2 << 20) - BYTES);
    OK(cuda.cuMemFree(memory));
    REFUSED(INVALID_VALUE, cuda.cuMemFree(memory));
    REFUSED(INVALID_VALUE, cuda.cuMemcpyDtoH(host, memory, 1));
    OK(cuda.cuMemAlloc(&more, 2 << 20));
}

static void pointers_are_described()
{
    open_device("devices=2");
    CUdeviceptr memory[5] = {device_memory(BYTES)};
    void *pinned;
    char plain[4];
    OK(cuda.cuMemAllocFromPoolAsync(&memory[1], BYTES, make_pool(0), stream));
    OK(cuda.cuMemAllocManaged(&memory[2], BYTES, CU_MEM_ATTACH_GLOBAL));
    OK(cuda.cuMemHostAlloc(&pinned, BYTES, 0));
    memory[3] = (CUdeviceptr)pinned;
    memory[4] = (CUdeviceptr)plain;
    static const unsigned types[] = {CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_DEVICE,
                                     CU_MEMORYTYPE_HOST, 0};
    for (int i = 0; i < 5; i++) {
        CUpointer_attribute wanted[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_CONTEXT,
                                        CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, CU_POINTER_ATTRIBUTE_IS_MANAGED,
                                        CU_POINTER_ATTRIBUTE_RANGE_SIZE};
        unsigned type = 77, managed = 77;
        CUcontext owner;
        int device = 77;
        size_t bytes;
        void *got[] = {&type, &owner, &device, &managed, &bytes};
        OK(cuda.cuPointerGetAttributes(5, wanted, got, memory[i] + (i < 4 ? 4 : 0)));
        assert_int_equal(type, types[i]);
        assert_ptr_equal(owner, i == 1 || i == 4 ? nullptr : context);
        assert_int_equal(device, i == 4 ? -2 : 0);
        assert_int_equal(managed, i == 2);
        assert_int_equal(bytes, i == 4 ? 0 : BYTES);
    }
    assert_int_equal(((float *)pinned)[0] != ((float *)pinned)[0], 1); /* new memory is NaN */
}

static void the_cpu_cannot_touch_device_memory()
{
    open_device("");
    const CUdeviceptr memory = device_memory(BYTES);
    signal(SIGSEGV, SIG_DFL); /* cmocka has taken it */
    exit(*(volatile float *)memory == 0 ? 2 : 3);
}

static uint64_t pool_attribute(CUmemoryPool pool, CUmemPool_attribute attribute)
{
    uint64_t value;
    OK(cuda.cuMemPoolGetAttribute(pool, attribute, &value));
    return value;
}

static void pools_keep_and_trim()
{
    open_device("memory=2MiB");
    CUmemoryPool pool = make_pool(0);
    CUdeviceptr first, second, third;
    std::vector<float> host = values(5), got(COUNT);
    OK(cuda.cuMemAllocFromPoolAsync(&first, BYTES, pool, stream));
    OK(cuda.cuMemcpyHtoDAsync(first, host.data(), BYTES, stream));
    OK(cuda.cuMemFreeAsync(first, stream));
    REFUSED(INVALID_VALUE, cuda.cuMemFreeAsync(first, stream));
    REFUSED(INVALID_VALUE, cuda.cuMemcpyDtoHAsync(got.data(), first, BYTES, stream));
    assert_int_equal(pool_attribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 0);
    assert_int_equal(pool_attribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), BYTES);
    OK(cuda.cuMemAllocFromPoolAsync(&second, BYTES, pool, stream)); /* the same block, with what is in it */
    assert_int_equal(second, first);
    OK(cuda.cuMemcpyDtoHAsync(got.data(), second, BYTES, stream));
    assert_memory_equal(got.data(), host.data(), BYTES);
    REFUSED(OUT_OF_MEMORY, cuda.cuMemAllocFromPoolAsync(&third, 2 << 20, pool, stream));
    OK(cuda.cuMemFreeAsync(second, stream));
    OK(cuda.cuStreamSynchronize(stream));
    OK(cuda.cuMemPoolTrimTo(pool, 0));
    assert_int_equal(pool_attribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 0);
    OK(cuda.cuMemAllocFromPoolAsync(&third, 2 << 20, pool, stream));
    OK(cuda.cuMemFree(third));
}

static void there_may_be_no_pools()
{
    open_device("pools=0");
    CUmemPoolProps properties = {};
    properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    CUmemoryPool pool;
    int supported;
    REFUSED(NOT_SUPPORTED, cuda.cuMemPoolCreate(&pool, &properties));
    OK(cuda.cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 0));
    assert_int_equal(supported, 0);
}

static void rows_are_copied()
{
    open_device("");
    const CUdeviceptr memory = device_memory(4 * 10);
    const char from[3][8] = {"abcdefg", "hijklmn", "opqrstu"};
    char to[5] = "", all[40];
    CUDA_MEMCPY2D c = {};
    c.srcMemoryType = CU_MEMORYTYPE_HOST;
    c.srcHost = from;
    c.srcPitch = 8;
    c.srcXInBytes = 1;
    c.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    c.dstDevice = memory;
    c.dstPitch = 10;
    c.dstY = 1;
    c.WidthInBytes = 2;
    c.Height = 3;
    OK(cuda.cuMemsetD8Async(memory, '.', 40, stream));
    OK(cuda.cuMemcpy2DAsync(&c, stream));
    OK(cuda.cuMemcpyDtoHAsync(all, memory, 40, stream));
    assert_memory_equal(all, "..........bc........ij........pq........", 40);
    c.Height = 4;
    REFUSED(INVALID_VALUE, cuda.cuMemcpy2DAsync(&c, stream));
    c.Height = 1;
    c.dstPitch = 1;
    REFUSED(INVALID_VALUE, cuda.cuMemcpy2DAsync(&c, stream));
    OK(cuda.cuMemcpyDtoH(to, memory + 10, 4));
    assert_string_equal(to, "bc..");
}

/* ------------------------------------------------------------------ launches */

static void launches_are_checked()
{
    open_device("capability=86");
    CUlibrary library;
    CUkernel kernel;
    REFUSED(INVALID_IMAGE, cuda.cuLibraryLoadData(&library, "?", nullptr, nullptr, 0, nullptr, nullptr, 0));
    OK(cuda.cuLibraryLoadData(&library, "kernels of another file", nullptr, nullptr, 0, nullptr, nullptr, 0));
    REFUSED(NOT_FOUND, cuda.cuLibraryGetKernel(&kernel, library, "test_reverse"));
    OK(cuda.cuLibraryLoadData(&library, "\x50\xED\x55\xBA", nullptr, nullptr, 0, nullptr, nullptr, 0));
    REFUSED(NOT_FOUND, cuda.cuLibraryGetKernel(&kernel, library, "test_nothing"));
    OK(cuda.cuLibraryGetKernel(&kernel, library, "test_reverse"));

    const CUdeviceptr memory = device_memory(BYTES);
    const CUlaunchConfig right = {1, 1, 1, TEST_THREADS, 1, 1, BYTES, stream, nullptr, 0};
    OK(launch_config(kernel, right, memory, memory, COUNT));
    CUlaunchConfig wrong = right;
    wrong.gridDimX = 0;
    REFUSED(INVALID_VALUE, launch_config(kernel, wrong, memory, memory, COUNT));
    wrong = right;
    wrong.gridDimX = 0x80000000u;
    REFUSED(INVALID_VALUE, launch_config(kernel, wrong, memory, memory, COUNT));
    wrong = right;
    wrong.gridDimY = 65536;
    REFUSED(INVALID_VALUE, launch_config(kernel, wrong, memory, memory, COUNT));
    wrong = right;
    wrong.gridDimZ = 65536;
    REFUSED(INVALID_VALUE, launch_config(kernel, wrong, memory, memory, COUNT));
    wrong = right;
    wrong.blockDimX = TEST_THREADS + 32;
    REFUSED(INVALID_VALUE, launch_config(kernel, wrong, memory, memory, COUNT));
    wrong = right;
    wrong.sharedMemBytes = (48 << 10) + 1;
    REFUSED(INVALID_VALUE, launch_config(kernel, wrong, memory, memory, COUNT));
    REFUSED(INVALID_VALUE,
            cuda.cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (99 << 10) + 1, kernel, 0));
    OK(cuda.cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 99 << 10, kernel, 0));
    OK(launch_config(kernel, wrong, memory, memory, COUNT));
    REFUSED(INVALID_VALUE, cuda.cuLaunchKernelEx(&right, (CUfunction)kernel, nullptr, nullptr));
    REFUSED(INVALID_HANDLE, launch_config((CUkernel)&wrong, right, memory, memory, COUNT));

    CUfunction function;
    int blocks;
    OK(cuda.cuKernelGetFunction(&function, kernel));
    OK(launch_config((CUkernel)function, right, memory, memory, COUNT));
    OK(cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, TEST_THREADS, 49 << 10));
    assert_int_equal(blocks, 2);
    OK(cuda.cuStreamSynchronize(stream));
}

static void a_buffer_of_arguments_has_the_kernels_size()
{
    open_device("");
    const CUdeviceptr memory = device_memory(BYTES);
    test_floats floats = {(const float *)memory, (float *)memory, COUNT};
    size_t bytes = sizeof floats;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &floats, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};
    const CUlaunchConfig config = {1, 1, 1, TEST_THREADS, 1, 1, BYTES, stream, nullptr, 0};
    OK(cuda.cuLaunchKernelEx(&config, (CUfunction)find_kernel("test_reverse"), nullptr, extra));
    bytes -= 8;
    REFUSED(INVALID_VALUE, cuda.cuLaunchKernelEx(&config, (CUfunction)find_kernel("test_reverse"), nullptr, extra));
}

/* Ends with the emulator's sentence. */
static void devices_do_not_see_each_others_memory()
{
    open_device("devices=2");
    CUcontext second;
    const CUdeviceptr memory = device_memory(BYTES);
    OK(cuda.cuDevicePrimaryCtxRetain(&second, 1));
    OK(cuda.cuCtxPushCurrent(second));
    OK(launch_reverse(nullptr, memory, memory, COUNT));
    OK(cuda.cuCtxSynchronize());
    exit(1);
}

static void tensor_maps_are_checked()
{
    open_device("");
    struct {
        CUtensorMapDataType type;
        cuuint32_t rank;
        cuuint64_t address;
        cuuint64_t extents[5], strides[4];
        cuuint32_t box[5], steps[5];
        CUtensorMapInterleave interleave;
        CUtensorMapSwizzle swizzle;
        CUtensorMapFloatOOBfill fill;
    } right = {}, m = {};
    right.type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    right.rank = 3;
    right.address = device_memory(8192);
    for (int i = 0; i < 5; i++) {
        right.extents[i] = right.box[i] = 64;
        right.steps[i] = 1;
    }
    for (cuuint64_t &stride : right.strides)
        stride = 128;
    right.swizzle = CU_TENSOR_MAP_SWIZZLE_128B;
    CUtensorMap maps[2];
    CUtensorMap *map = maps;
    const auto encode = [&] {
        return cuda.cuTensorMapEncodeTiled(map, m.type, m.rank, (void *)m.address, m.extents, m.strides, m.box, m.steps,
                                           m.interleave, m.swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, m.fill);
    };
#define TAKEN(change) (m = right, change, OK(encode()))
#define NOT_TAKEN(change) (m = right, change, REFUSED(INVALID_VALUE, encode()))
    TAKEN(m.rank = 5);
    TAKEN(m.box[1] = 256);
    TAKEN(m.box[0] = 8);
    TAKEN(m.steps[0] = 9); /* is not read */
    TAKEN(m.steps[1] = 8);
    TAKEN(m.extents[1] = (cuuint64_t)1 << 32);
    TAKEN(m.strides[0] = ((cuuint64_t)1 << 40) - 16);
    TAKEN(m.strides[0] = 0);
    TAKEN((m.swizzle = CU_TENSOR_MAP_SWIZZLE_64B, m.box[0] = 32));
    TAKEN((m.swizzle = CU_TENSOR_MAP_SWIZZLE_NONE, m.box[0] = 256));
    TAKEN(m.fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA);
    NOT_TAKEN(m.rank = 0);
    NOT_TAKEN(m.rank = 6);
    NOT_TAKEN(m.address += 8);
    NOT_TAKEN(m.extents[2] = 0);
    NOT_TAKEN(m.extents[1] = ((cuuint64_t)1 << 32) + 1);
    NOT_TAKEN(m.strides[1] = 120);
    NOT_TAKEN(m.strides[0] = (cuuint64_t)1 << 40);
    NOT_TAKEN(m.box[1] = 0);
    NOT_TAKEN(m.box[1] = 257);
    NOT_TAKEN(m.box[0] = 4);
    NOT_TAKEN(m.box[0] = 128);
    NOT_TAKEN((m.swizzle = CU_TENSOR_MAP_SWIZZLE_64B, m.box[0] = 64));
    NOT_TAKEN((m.swizzle = CU_TENSOR_MAP_SWIZZLE_32B, m.box[0] = 32));
    NOT_TAKEN(m.swizzle = (CUtensorMapSwizzle)7);
    NOT_TAKEN(m.steps[1] = 0);
    NOT_TAKEN(m.steps[2] = 9);
    NOT_TAKEN((m.interleave = CU_TENSOR_MAP_INTERLEAVE_16B, m.rank = 2));
    NOT_TAKEN(m.interleave = CU_TENSOR_MAP_INTERLEAVE_32B);
    NOT_TAKEN((m.type = CU_TENSOR_MAP_DATA_TYPE_UINT16, m.fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA));
    NOT_TAKEN(map = (CUtensorMap *)((char *)maps + 32));
#undef TAKEN
#undef NOT_TAKEN
}

static void older_devices_have_no_tensor_maps()
{
    open_device("capability=89");
    CUtensorMap map;
    const cuuint64_t extents[] = {64, 64}, strides[] = {128};
    const cuuint32_t box[] = {64, 64}, steps[] = {1, 1};
    REFUSED(NOT_SUPPORTED,
            cuda.cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, (void *)device_memory(8192), extents,
                                        strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                        CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
}

/* ------------------------------------------------------------------ work is late */

static void work_is_late_and_in_order()
{
    open_device("");
    const CUdeviceptr from = device_memory(BYTES), to = device_memory(BYTES);
    void *pinned;
    OK(cuda.cuMemHostAlloc(&pinned, 2 * BYTES, 0));
    float *source = (float *)pinned, *result = source + COUNT;
    int late = 0;
    for (int turn = 0; turn < 20; turn++) {
        std::vector<float> pageable = values((float)turn);
        memset(result, 0, BYTES);
        if (turn % 2) {
            OK(cuda.cuMemcpyHtoDAsync(from, pageable.data(), BYTES, stream));
            pageable.assign(COUNT, 0.0f); /* was copied already */
        } else {
            memcpy(source, pageable.data(), BYTES);
            OK(cuda.cuMemcpyHtoDAsync(from, source, BYTES, stream));
        }
        OK(launch_reverse(stream, from, to, COUNT));
        OK(cuda.cuMemcpyDtoHAsync(result, to, BYTES, stream));
        late += !is_reversed(result, (float)turn);
        if (turn % 3 == 0)
            while (cuda.cuStreamQuery(stream) == CUDA_ERROR_NOT_READY)
                continue;
        else
            OK(cuda.cuStreamSynchronize(stream));
        assert_int_equal(cuda.pending(), 0);
        assert_true(is_reversed(result, (float)turn));
    }
    assert_in_range(late, 15, 20);
    OK(launch_reverse(stream, from, to, COUNT)); /* in the end it runs without being waited for */
    CUcontext current;
    for (int calls = 0; calls < 1000 && cuda.pending(); calls++)
        OK(cuda.cuStreamGetCtx(stream, &current));
    assert_int_equal(cuda.pending(), 0);
}

static void a_pinned_source_is_read_late()
{
    open_device("");
    const CUdeviceptr memory = device_memory(BYTES);
    void *pinned;
    OK(cuda.cuMemHostAlloc(&pinned, BYTES, 0));
    int changed = 0;
    for (int turn = 0; turn < 200; turn++) {
        float got[COUNT];
        memset(pinned, 1, BYTES);
        OK(cuda.cuMemcpyHtoDAsync(memory, pinned, BYTES, stream));
        memset(pinned, 2, BYTES);
        OK(cuda.cuMemcpyDtoHAsync(got, memory, BYTES, stream)); /* pageable: waits */
        changed += *(char *)got == 2;
    }
    assert_in_range(changed, 100, 199);
}

/* Two streams: the second reads what the first writes, behind an event, or without. */
static int wrong_results(bool waits)
{
    CUstream second;
    CUevent event;
    OK(cuda.cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    OK(cuda.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    const CUdeviceptr from = device_memory(BYTES), to = device_memory(BYTES);
    int wrong = 0;
    for (int turn = 0; turn < 20; turn++) {
        float got[COUNT];
        OK(cuda.cuMemcpyHtoDAsync(from, values((float)turn).data(), BYTES, stream));
        OK(launch_reverse(stream, from, to, COUNT));
        OK(cuda.cuEventRecord(event, stream));
        if (waits)
            OK(cuda.cuStreamWaitEvent(second, event, 0));
        OK(cuda.cuMemcpyDtoHAsync(got, to, BYTES, second));
        wrong += !is_reversed(got, (float)turn);
        OK(cuda.cuEventSynchronize(event));
        OK(cuda.cuEventQuery(event));
    }
    return wrong;
}

static void events_order_streams()
{
    open_device("");
    assert_int_equal(wrong_results(true), 0);
    assert_in_range(wrong_results(false), 5, 20);
}

static void events_tell_the_time_between()
{
    open_device("");
    CUevent first, second, untimed;
    float elapsed = -1;
    OK(cuda.cuEventCreate(&first, 0));
    OK(cuda.cuEventCreate(&second, 0));
    OK(cuda.cuEventCreate(&untimed, CU_EVENT_DISABLE_TIMING));
    OK(cuda.cuEventRecord(first, stream));
    REFUSED(INVALID_HANDLE, cuda.cuEventElapsedTime(&elapsed, first, second));
    OK(cuda.cuEventRecord(untimed, stream));
    OK(cuda.cuEventSynchronize(untimed));
    REFUSED(INVALID_HANDLE, cuda.cuEventElapsedTime(&elapsed, first, untimed));
    OK(cuda.cuEventRecord(second, stream));
    OK(cuda.cuEventSynchronize(second));
    OK(cuda.cuEventElapsedTime(&elapsed, first, second));
    assert_true(elapsed > 0);
}

static void the_legacy_stream_orders_blocking_ones()
{
    open_device("");
    CUstream blocking;
    OK(cuda.cuStreamCreate(&blocking, 0));
    const CUdeviceptr from = device_memory(BYTES), to = device_memory(BYTES);
    for (int turn = 0; turn < 20; turn++) {
        float got[COUNT];
        OK(cuda.cuMemcpyHtoDAsync(from, values((float)turn).data(), BYTES, blocking));
        OK(launch_reverse(nullptr, from, to, COUNT));
        OK(cuda.cuMemcpyDtoHAsync(got, to, BYTES, blocking));
        assert_true(is_reversed(got, (float)turn));
    }
}

/* Ends with a sentence: the kernel runs when its memory is gone. */
static void memory_freed_too_early()
{
    open_device("");
    CUmemoryPool pool = make_pool(0);
    CUstream second;
    OK(cuda.cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    for (int turn = 0; turn < 50; turn++) {
        CUdeviceptr memory;
        OK(cuda.cuMemAllocFromPoolAsync(&memory, BYTES, pool, stream));
        OK(cuda.cuStreamSynchronize(stream));
        OK(launch_reverse(stream, memory, memory, COUNT));
        OK(cuda.cuMemFreeAsync(memory, second));
        OK(cuda.cuStreamSynchronize(second));
        OK(cuda.cuStreamSynchronize(stream));
    }
    exit(1);
}

/* ------------------------------------------------------------------ capture */

static void capture_refuses_waiting_and_allocating()
{
    open_device("");
    CUmemoryPool pool = make_pool(0);
    CUevent event;
    CUgraph graph;
    CUdeviceptr memory = device_memory(BYTES), more;
    CUstreamCaptureStatus status;
    CUstream blocking;
    OK(cuda.cuEventCreate(&event, 0));
    OK(cuda.cuStreamCreate(&blocking, 0));
    const auto begin = [&] { OK(cuda.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL)); };
    const auto is_broken = [&] { REFUSED(STREAM_CAPTURE_INVALIDATED, cuda.cuStreamEndCapture(stream, &graph)); };

    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuStreamBeginCapture(nullptr, CU_STREAM_CAPTURE_MODE_GLOBAL));
    REFUSED(ILLEGAL_STATE, cuda.cuStreamEndCapture(stream, &graph));
    begin();
    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuMemAlloc(&more, BYTES));
    OK(cuda.cuStreamIsCapturing(stream, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    REFUSED(STREAM_CAPTURE_INVALIDATED, cuda.cuMemsetD8Async(memory, 0, 1, stream));
    is_broken();
    begin();
    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuMemAllocFromPoolAsync(&more, BYTES, pool, stream));
    is_broken();
    begin();
    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuStreamSynchronize(stream));
    is_broken();
    begin();
    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuStreamQuery(stream));
    is_broken();
    begin();
    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuEventQuery(event));
    is_broken();
    begin();
    OK(cuda.cuEventRecord(event, stream));
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    OK(cuda.cuThreadExchangeStreamCaptureMode(&mode));
    assert_int_equal(mode, CU_STREAM_CAPTURE_MODE_GLOBAL);
    OK(cuda.cuMemAlloc(&more, BYTES));
    OK(cuda.cuStreamIsCapturing(stream, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
    REFUSED(CAPTURED_EVENT, cuda.cuEventSynchronize(event));
    OK(cuda.cuThreadExchangeStreamCaptureMode(&mode));
    assert_int_equal(mode, CU_STREAM_CAPTURE_MODE_RELAXED);
    is_broken();
    OK(cuda.cuStreamBeginCapture(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
    REFUSED(STREAM_CAPTURE_IMPLICIT, cuda.cuStreamIsCapturing(nullptr, &status));
    REFUSED(STREAM_CAPTURE_IMPLICIT, cuda.cuMemsetD8Async(memory, 0, 1, nullptr));
    REFUSED(STREAM_CAPTURE_INVALIDATED, cuda.cuStreamEndCapture(blocking, &graph));
    OK(cuda.cuMemsetD8Async(memory, 0, 1, nullptr));
}

static void a_graph_runs_again_with_other_data()
{
    open_device("");
    CUstream second;
    CUevent fork_event, join_event;
    CUgraph graph;
    CUgraphExec exec;
    OK(cuda.cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    OK(cuda.cuEventCreate(&fork_event, 0));
    OK(cuda.cuEventCreate(&join_event, 0));
    const CUdeviceptr from = device_memory(BYTES), middle = device_memory(BYTES), to = device_memory(BYTES);
    find_kernel("test_reverse"); /* loading is refused under capture */
    for (int joined = 0; joined < 2; joined++) {
        OK(cuda.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
        OK(cuda.cuMemcpyDtoDAsync(middle, from, BYTES, stream));
        OK(cuda.cuEventRecord(fork_event, stream));
        OK(cuda.cuStreamWaitEvent(second, fork_event, 0));
        OK(launch_reverse(second, middle, to, COUNT));
        OK(cuda.cuEventRecord(join_event, second));
        if (joined)
            OK(cuda.cuStreamWaitEvent(stream, join_event, 0));
        REFUSED(STREAM_CAPTURE_UNMATCHED, cuda.cuStreamEndCapture(second, &graph));
        if (joined)
            OK(cuda.cuStreamEndCapture(stream, &graph));
        else
            REFUSED(STREAM_CAPTURE_UNJOINED, cuda.cuStreamEndCapture(stream, &graph));
    }
    assert_int_equal(cuda.pending(), 0);
    OK(cuda.cuGraphInstantiate(&exec, graph, 0));
    for (int turn = 0; turn < 5; turn++) {
        float got[COUNT];
        OK(cuda.cuMemcpyHtoDAsync(from, values((float)turn).data(), BYTES, stream));
        OK(cuda.cuGraphLaunch(exec, stream));
        OK(cuda.cuMemcpyDtoHAsync(got, to, BYTES, stream));
        assert_true(is_reversed(got, (float)turn));
    }
}

/* ------------------------------------------------------------------ failures on demand */

static void failures_come_on_demand()
{
    open_device("");
    CUdeviceptr memory = device_memory(BYTES);
    void *pinned;
    OK(cuda.cuMemHostAlloc(&pinned, BYTES, 0));
    memset(pinned, 3, BYTES);
    cuda.fail_calls("cuMemAlloc:2:CUDA_ERROR_OUT_OF_MEMORY,cuStreamQuery:*:CUDA_ERROR_NOT_READY");
    memory = device_memory(BYTES);
    REFUSED(OUT_OF_MEMORY, cuda.cuMemAlloc(&memory, BYTES));
    memory = device_memory(BYTES);
    REFUSED(NOT_READY, cuda.cuStreamQuery(stream));
    REFUSED(NOT_READY, cuda.cuStreamQuery(stream));
    cuda.fail_calls("");
    OK(cuda.cuStreamQuery(stream));

    cuda.fail_calls("cuLaunchKernelEx:1:CUDA_ERROR_ILLEGAL_ADDRESS");
    CUcontext popped;
    OK(launch_reverse(stream, memory, memory, COUNT)); /* the fault is found when it runs */
    const CUresult copied = cuda.cuMemcpyDtoHAsync(pinned, memory, BYTES, stream);
    assert_true(copied == CUDA_SUCCESS || copied == CUDA_ERROR_ILLEGAL_ADDRESS);
    REFUSED(ILLEGAL_ADDRESS, cuda.cuStreamSynchronize(stream));
    assert_int_equal(*(char *)pinned, 3); /* nothing runs after it */
    REFUSED(ILLEGAL_ADDRESS, cuda.cuMemAlloc(&memory, BYTES));
    REFUSED(ILLEGAL_ADDRESS, launch_reverse(stream, memory, memory, COUNT));
    OK(cuda.cuCtxPopCurrent(&popped));
    const char *name;
    OK(cuda.cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &name));
    assert_string_equal(name, "CUDA_ERROR_ILLEGAL_ADDRESS");
}

static void the_environment_describes_and_fails()
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    decltype(&cuDriverGetVersion) get_version = (decltype(&cuDriverGetVersion))symbol(library, "cuDriverGetVersion");
    int version;
    assert_int_equal(get_version(&version), CUDA_ERROR_SYSTEM_NOT_READY);
    assert_int_equal(get_version(&version), 0);
    assert_int_equal(version, 12040);
}

/* ------------------------------------------------------------------ each in a process of its own */

static const struct test {
    const char *name;
    void (*run)();
    int status;           /* of the process; -11: it faults */
    const char *sentence; /* on stderr, or NULL */
} tests[] = {
#define TEST(name) {#name, name, 0, nullptr}
    TEST(entry_points_have_one_version_each),
    TEST(nothing_works_before_cuInit),
    TEST(a_machine_may_have_no_device),
    TEST(forked_children_cannot_use_it),
    TEST(calls_after_exit_are_refused),
    TEST(contexts_are_checked),
    TEST(pointers_are_checked),
    TEST(pointers_are_described),
    {"the_cpu_cannot_touch_device_memory", the_cpu_cannot_touch_device_memory, -SIGSEGV, nullptr},
    TEST(pools_keep_and_trim),
    TEST(there_may_be_no_pools),
    TEST(rows_are_copied),
    TEST(launches_are_checked),
    TEST(a_buffer_of_arguments_has_the_kernels_size),
    {"devices_do_not_see_each_others_memory", devices_do_not_see_each_others_memory, HUNZE_EMULATOR_STATUS,
     "test_reverse, block (0, 0, 0)"},
    TEST(tensor_maps_are_checked),
    TEST(older_devices_have_no_tensor_maps),
    TEST(work_is_late_and_in_order),
    TEST(a_pinned_source_is_read_late),
    TEST(events_order_streams),
    TEST(events_tell_the_time_between),
    TEST(the_legacy_stream_orders_blocking_ones),
    {"memory_freed_too_early", memory_freed_too_early, HUNZE_EMULATOR_STATUS, "load_global of 4 bytes"},
    TEST(capture_refuses_waiting_and_allocating),
    TEST(a_graph_runs_again_with_other_data),
    TEST(failures_come_on_demand),
    TEST(the_environment_describes_and_fails),
#undef TEST
};

static void in_a_process(void **state)
{
    const auto *t = static_cast<const test *>(*state);
    const bool described = t->run == the_environment_describes_and_fails;
    const outcome o =
        described ? run_child(t->name, {"HUNZE_FAKE_CUDA=driver=12040",
                                        "HUNZE_FAKE_CUDA_FAIL=cuDriverGetVersion:1:CUDA_ERROR_SYSTEM_NOT_READY"})
                  : run_child(t->name, {"HUNZE_TEST_CHILD=1"});
    const bool ended = t->status < 0 ? WIFSIGNALED(o.status) && WTERMSIG(o.status) == -t->status : exited(o, t->status);
    if (!ended || (t->sentence && o.text.find(t->sentence) == std::string::npos))
        fail_msg("status %#x: %s", o.status, o.text.c_str());
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        for (const test &t : tests)
            if (strcmp(t.name, argv[1]) == 0) {
                const CMUnitTest one = {t.name, [](void **state) { ((const test *)*state)->run(); }, nullptr, nullptr,
                                        const_cast<test *>(&t)};
                return _cmocka_run_group_tests("standin", &one, 1, nullptr, nullptr);
            }
        return 2;
    }
    std::vector<CMUnitTest> all;
    for (const test &t : tests)
        all.push_back({t.name, in_a_process, nullptr, nullptr, const_cast<test *>(&t)});
    return _cmocka_run_group_tests("standin", all.data(), all.size(), nullptr, nullptr);
}
