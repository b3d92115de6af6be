/* SPDX-License-Identifier: Apache-2.0 */
/* The stand-in for libcuda.so.1 refuses what the driver refuses, and fails on demand. */
#include "standin_case.h"

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
    TAKEN((m.strides[0] = 64, m.extents[0] = 32));
    TAKEN(m.strides[1] = 0);
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
    NOT_TAKEN(m.strides[0] = 112); /* of 64 elements */
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

static const std::vector<standin_case> cases = {
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
    TEST(failures_come_on_demand),
    {"the_environment_describes_and_fails",
     the_environment_describes_and_fails,
     0,
     nullptr,
     {"HUNZE_FAKE_CUDA=driver=12040", "HUNZE_FAKE_CUDA_FAIL=cuDriverGetVersion:1:CUDA_ERROR_SYSTEM_NOT_READY"}},
#undef TEST
};

int main(int argc, char **argv) { return standin_main(argc, argv, cases); }
