/* SPDX-License-Identifier: Apache-2.0 */
#include "standin_case.h"

/* ------------------------------------------------------------------ the library */

standin_functions cuda;

void *symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);
    assert_non_null(found);
    return found;
}

void open_library(const char *machine)
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

void expect(CUresult expected, CUresult result, const char *text, int line)
{
    if (result != expected)
        fail_msg("line %d: %s gave %d, not %d", line, text, (int)result, (int)expected);
}

/* ------------------------------------------------------------------ a device */

CUcontext context;
CUstream stream;

void open_device(const char *machine)
{
    open_library(machine);
    OK(cuda.cuInit(0));
    OK(cuda.cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuda.cuCtxPushCurrent(context));
    OK(cuda.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
}

CUkernel find_kernel(const char *name)
{
    static CUlibrary library;
    CUkernel kernel;
    if (!library)
        OK(cuda.cuLibraryLoadData(&library, "kernels of test_emulator_kernels are on the emulator only\n", nullptr,
                                  nullptr, 0, nullptr, nullptr, 0));
    OK(cuda.cuLibraryGetKernel(&kernel, library, name));
    return kernel;
}

CUresult launch_config(CUkernel kernel, CUlaunchConfig config, CUdeviceptr from, CUdeviceptr to, int64_t count)
{
    test_floats floats = {(const float *)from, (float *)to, count};
    void *arguments[] = {&floats};
    return cuda.cuLaunchKernelEx(&config, (CUfunction)kernel, arguments, nullptr);
}

CUresult launch_reverse(CUstream on, CUdeviceptr from, CUdeviceptr to, int64_t count)
{
    const auto blocks = (unsigned)((count + TEST_THREADS - 1) / TEST_THREADS);
    return launch_config(find_kernel("test_reverse"),
                         {blocks, 1, 1, TEST_THREADS, 1, 1, 4 * TEST_THREADS, on, nullptr, 0}, from, to, count);
}

std::vector<float> values(float first)
{
    std::vector<float> all(COUNT);
    for (int i = 0; i < COUNT; i++)
        all[(size_t)i] = first + (float)i;
    return all;
}

bool is_reversed(const float *got, float first)
{
    for (int i = 0; i < COUNT; i++)
        if (got[i] != first + (float)(COUNT - 1 - i))
            return false;
    return true;
}

CUdeviceptr device_memory(size_t bytes)
{
    CUdeviceptr pointer;
    OK(cuda.cuMemAlloc(&pointer, bytes));
    return pointer;
}

CUmemoryPool make_pool(int device)
{
    CUmemPoolProps properties = {};
    properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    properties.location.id = device;
    CUmemoryPool pool;
    OK(cuda.cuMemPoolCreate(&pool, &properties));
    return pool;
}

/* ------------------------------------------------------------------ each in a process of its own */

static void in_a_process(void **state)
{
    const auto *t = static_cast<const standin_case *>(*state);
    const outcome o = run_child(t->name, t->environment);
    const bool ended = t->status < 0 ? WIFSIGNALED(o.status) && WTERMSIG(o.status) == -t->status : exited(o, t->status);
    if (!ended || (t->sentence && o.text.find(t->sentence) == std::string::npos))
        fail_msg("status %#x: %s", o.status, o.text.c_str());
}

int standin_main(int argc, char **argv, const std::vector<standin_case> &cases)
{
    std::vector<CMUnitTest> all;
    for (const standin_case &t : cases) {
        void *const state = const_cast<standin_case *>(&t);
        if (argc == 1)
            all.push_back({t.name, in_a_process, nullptr, nullptr, state});
        else if (strcmp(t.name, argv[1]) == 0)
            all.push_back(
                {t.name, [](void **given) { ((const standin_case *)*given)->run(); }, nullptr, nullptr, state});
    }
    return all.empty() ? 2 : _cmocka_run_group_tests("standin", all.data(), all.size(), nullptr, nullptr);
}
