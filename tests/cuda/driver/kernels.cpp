/* SPDX-License-Identifier: Apache-2.0 */
/* Libraries of kernels, their attributes, launches.  Images are not read: kernels are found by name among those of the emulator. */
#include "state.h"

#include <string.h>

/* ------------------------------------------------------------------ libraries */

CUresult cuLibraryLoadData(CUlibrary *library, const void *image, CUjit_option *, void **, unsigned int,
                           CUlibraryOption *, void **, unsigned int)
{
    CALL(CALL_UNSAFE);
    static const char marker[] = "kernels of ", fatbin[] = "\x50\xED\x55\xBA",
                      elf[] = "\x7F"
                              "ELF",
                      ptx[] = "//";
    if (!library || !image)
        return CUDA_ERROR_INVALID_VALUE;
    const char *text = static_cast<const char *>(image);
    std::string file;
    if (strncmp(text, marker, strlen(marker)) == 0) /* the whole image of a library that was built without nvcc */
        file = std::string(text + strlen(marker), strcspn(text + strlen(marker), " \n"));
    else if (strncmp(text, fatbin, 4) && strncmp(text, elf, 4) && strncmp(text, ptx, 2))
        return CUDA_ERROR_INVALID_IMAGE;
    *library = new CUlib_st{file, {}};
    standin().libraries.insert(*library);
    return CUDA_SUCCESS;
}

CUresult cuLibraryUnload(CUlibrary library)
{
    CALL(CALL_UNSAFE);
    if (!standin().libraries.erase(library))
        return CUDA_ERROR_INVALID_HANDLE;
    for (auto &entry : library->kernels)
        standin().kernels.erase(entry.second);
    return CUDA_SUCCESS;
}

CUresult cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name)
{
    CALL(0);
    if (!kernel || !name)
        return CUDA_ERROR_INVALID_VALUE;
    if (!standin().libraries.count(library))
        return CUDA_ERROR_INVALID_HANDLE;
    const hunze_emulator_kernel *found = hunze_emulator_find_kernel(name);
    if (!found)
        return CUDA_ERROR_NOT_FOUND;
    const char *slash = strrchr(found->file, '/');
    const std::string file = slash ? slash + 1 : found->file;
    if (!library->file.empty() && file != library->file + ".cu")
        return CUDA_ERROR_NOT_FOUND;
    CUkern_st *&entry = library->kernels[name];
    if (!entry) {
        entry = new CUkern_st{found, library, {}};
        standin().kernels.insert(entry);
    }
    *kernel = entry;
    return CUDA_SUCCESS;
}

CUresult cuKernelGetFunction(CUfunction *function, CUkernel kernel)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    if (!standin().kernels.count(kernel))
        return CUDA_ERROR_INVALID_HANDLE;
    *function = new CUfunc_st{kernel, current_context()};
    standin().functions.insert(*function);
    return CUDA_SUCCESS;
}

/* A handle of either kind, as launches take it. */
static CUresult find_kernel(CUfunction function, CUkern_st **kernel)
{
    *kernel = reinterpret_cast<CUkern_st *>(function);
    if (standin().functions.count(function)) {
        if (function->context != current_context())
            return CUDA_ERROR_INVALID_HANDLE;
        *kernel = function->kernel;
    }
    return standin().kernels.count(*kernel) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult get_attribute(int *value, CUfunction_attribute attribute, CUkern_st *kernel, int device)
{
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = (int)kernel->kernel->threads; break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *value = (int)(65536 / (kernel->kernel->threads * kernel->kernel->blocks)) / 8 * 8;
        *value = *value > 255 ? 255 : *value;
        break;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
    case CU_FUNC_ATTRIBUTE_PTX_VERSION: *value = standin().the_machine.capability; break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value = kernel->shared_limit.count(device) ? kernel->shared_limit[device] : 48 << 10;
        break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *value = 0; break;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

static CUresult set_attribute(CUfunction_attribute attribute, int value, CUkern_st *kernel, int device)
{
    if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)
        return value < -1 || value > 100 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 || value > shared_memory_limit())
        return CUDA_ERROR_INVALID_VALUE;
    kernel->shared_limit[device] = value;
    return CUDA_SUCCESS;
}

CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel kernel, CUdevice device)
{
    CALL(0);
    if (!standin().kernels.count(kernel))
        return CUDA_ERROR_INVALID_HANDLE;
    return get_attribute(value, attribute, kernel, device);
}

CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel, CUdevice device)
{
    CALL(0);
    if (!standin().kernels.count(kernel))
        return CUDA_ERROR_INVALID_HANDLE;
    if (device < 0 || device >= standin().the_machine.devices)
        return CUDA_ERROR_INVALID_DEVICE;
    return set_attribute(attribute, value, kernel, device);
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function)
{
    CALL(CALL_CONTEXT);
    CUkern_st *kernel;
    const CUresult missing = find_kernel(function, &kernel);
    return missing ? missing : get_attribute(value, attribute, kernel, current_device());
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value)
{
    CALL(CALL_CONTEXT);
    CUkern_st *kernel;
    const CUresult missing = find_kernel(function, &kernel);
    return missing ? missing : set_attribute(attribute, value, kernel, current_device());
}

CUresult cuFuncLoad(CUfunction function)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    CUkern_st *kernel;
    return find_kernel(function, &kernel);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads, size_t shared_bytes)
{
    CALL(CALL_CONTEXT);
    CUkern_st *kernel;
    if (const CUresult missing = find_kernel(function, &kernel))
        return missing;
    if (threads < 1)
        return CUDA_ERROR_INVALID_VALUE;
    const int by_threads = (threads > (int)kernel->kernel->threads) ? 0 : 2048 / threads;
    const int by_shared = (int)(((size_t)shared_memory_limit() + 1024) / (shared_bytes + 1024));
    *blocks = std::min({by_threads, by_shared, 32});
    return CUDA_SUCCESS;
}

/* ------------------------------------------------------------------ launches */

/* The structure that the kernel gets, from a list of pointers or from a buffer. */
static CUresult find_arguments(const hunze_emulator_kernel *kernel, void **parameters, void **extra,
                               const void **arguments)
{
    if (!parameters == !extra)
        return CUDA_ERROR_INVALID_VALUE;
    size_t bytes = 0;
    *arguments = parameters ? parameters[0] : nullptr;
    for (; extra && *extra != CU_LAUNCH_PARAM_END; extra += 2)
        if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
            *arguments = extra[1];
        else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
            bytes = *static_cast<size_t *>(extra[1]);
    if (!*arguments || (!parameters && bytes != kernel->argument_bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra)
{
    CALL(CALL_CONTEXT | CALL_ENQUEUES);
    CUkern_st *kernel;
    CUstream_st *stream;
    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    if (const CUresult missing = find_kernel(function, &kernel))
        return missing;
    if (const CUresult missing = find_stream(config->hStream, &stream))
        return missing;
    const hunze_emulator_kernel *emulated = kernel->kernel;
    int shared_limit;
    get_attribute(&shared_limit, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, kernel, current_device());
    if (!config->gridDimX || !config->gridDimY || !config->gridDimZ || config->gridDimX > 0x7FFFFFFF ||
        config->gridDimY > 65535 || config->gridDimZ > 65535 || !config->blockDimX || config->blockDimY != 1 ||
        config->blockDimZ != 1 || config->blockDimX > emulated->threads ||
        config->sharedMemBytes > (unsigned)shared_limit)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < config->numAttrs; i++)
        if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
            return CUDA_ERROR_NOT_SUPPORTED;
    const void *arguments;
    if (const CUresult missing = find_arguments(emulated, parameters, extra, &arguments))
        return missing;

    struct started {
        hunze_emulator_launch launch;
        int device;
        std::vector<char> memory;
    };
    const std::shared_ptr<started> work(new started{});
    work->device = current_device();
    work->memory.resize(emulated->argument_bytes + 64);
    char *copy = work->memory.data() + (-(uintptr_t)work->memory.data() & 63);
    memcpy(copy, arguments, emulated->argument_bytes);
    work->launch = {emulated,
                    {config->gridDimX, config->gridDimY, config->gridDimZ},
                    config->blockDimX,
                    config->sharedMemBytes,
                    copy,
                    find_range,
                    &work->device};
    return enqueue(stream, [work] { hunze_emulator_run(&work->launch); });
}
