/* SPDX-License-Identifier: Apache-2.0 */
/* Devices and contexts. */
#include "state.h"

#include <stdio.h>
#include <string.h>

static bool is_device(CUdevice device) { return device >= 0 && device < standin().the_machine.devices; }

int shared_memory_limit()
{
    switch (standin().the_machine.capability) {
    case 80:
    case 87: return 163 << 10;
    case 86:
    case 89:
    case 120: return 99 << 10;
    default: return 227 << 10;
    }
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    CALL(0);
    if (!device)
        return CUDA_ERROR_INVALID_VALUE;
    if (!is_device(ordinal))
        return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
    CALL(0);
    *count = standin().the_machine.devices;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int bytes, CUdevice device)
{
    CALL(0);
    if (!is_device(device))
        return CUDA_ERROR_INVALID_DEVICE;
    snprintf(name, (size_t)bytes, "Hunze emulated GPU");
    return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device)
{
    CALL(0);
    if (!is_device(device))
        return CUDA_ERROR_INVALID_DEVICE;
    *bytes = standin().the_machine.memory;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
    CALL(0);
    if (!is_device(device))
        return CUDA_ERROR_INVALID_DEVICE;
    memset(uuid->bytes, 0x48, sizeof uuid->bytes);
    uuid->bytes[15] = (char)device;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    CALL(0);
    if (!value || attribute <= 0 || attribute >= CU_DEVICE_ATTRIBUTE_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    if (!is_device(device))
        return CUDA_ERROR_INVALID_DEVICE;
    const machine &m = standin().the_machine;
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = m.capability / 10; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = m.capability % 10; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = m.multiprocessors; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = m.pools; break;
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS: *value = m.pageable; break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: *value = 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: *value = 2048; break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: *value = 0x7FFFFFFF; break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: *value = 65535; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *value = 48 << 10; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = shared_memory_limit(); break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = shared_memory_limit() + 1024; break;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: *value = 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: *value = 65536; break;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *value = 4 << 20; break;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM: *value = 1; break;
    default: *value = 0; break;
    }
    return CUDA_SUCCESS;
}

/* ------------------------------------------------------------------ contexts */

/* Of this thread; not destroyed with it, since calls may come after that. */
static std::vector<CUctx_st *> &stack()
{
    static thread_local std::vector<CUctx_st *> *mine;
    if (!mine) {
        standin().stacks.emplace_back();
        mine = &standin().stacks.back();
    }
    return *mine;
}

CUctx_st *current_context() { return stack().empty() ? nullptr : stack().back(); }
int current_device() { return current_context()->device; }

int hunze_standin_contexts(void)
{
    const std::lock_guard<std::recursive_mutex> hold(standin().lock);
    return (int)stack().size();
}

static CUctx_st *make_context(int device, int retained)
{
    auto *context = new CUctx_st{device, retained, CUDA_SUCCESS, nullptr, {}};
    context->legacy = make_stream(context, true);
    standin().contexts.insert(context);
    return context;
}

/* Streams, events and memory of the context are gone; its handles stay recognisable. */
static void destroy_context(CUctx_st *context)
{
    standin_state &s = standin();
    if (!context->fault)
        complete_all(context);
    s.contexts.erase(context);
    for (auto at = s.streams.begin(); at != s.streams.end();)
        at = (*at)->context == context ? s.streams.erase(at) : std::next(at);
    for (auto at = s.events.begin(); at != s.events.end();)
        if ((*at)->context == context) {
            s.destroyed_events.insert(*at);
            at = s.events.erase(at);
        } else
            ++at;
    free_memory_of(context);
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    CALL(0);
    if (!context)
        return CUDA_ERROR_INVALID_VALUE;
    if (!is_device(device))
        return CUDA_ERROR_INVALID_DEVICE;
    CUctx_st *&primary = standin().primary[device];
    if (!primary) { /* memory is allocated for it */
        if (const CUresult refused = refuse_under_capture())
            return refused;
        primary = make_context(device, 0);
    }
    primary->retained++;
    *context = primary;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
    CALL(0);
    if (!is_device(device))
        return CUDA_ERROR_INVALID_DEVICE;
    CUctx_st *&primary = standin().primary[device];
    if (!primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (--primary->retained == 0) {
        destroy_context(primary);
        primary = nullptr;
    }
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active)
{
    CALL(0);
    if (!is_device(device))
        return CUDA_ERROR_INVALID_DEVICE;
    *flags = 0;
    *active = standin().primary[device] != nullptr;
    return CUDA_SUCCESS;
}

CUresult cuCtxCreate(CUcontext *context, CUctxCreateParams *parameters, unsigned int, CUdevice device)
{
    CALL(CALL_UNSAFE);
    if (!context || (parameters && parameters->numExecAffinityParams))
        return CUDA_ERROR_INVALID_VALUE;
    if (!is_device(device))
        return CUDA_ERROR_INVALID_DEVICE;
    *context = make_context(device, -1);
    stack().push_back(*context);
    return CUDA_SUCCESS;
}

CUresult cuCtxDestroy(CUcontext context)
{
    CALL(0);
    if (!standin().contexts.count(context) || context->retained >= 0)
        return CUDA_ERROR_INVALID_CONTEXT;
    destroy_context(context);
    if (current_context() == context)
        stack().pop_back();
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context)
{
    CALL(0);
    *context = current_context();
    return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent(CUcontext context)
{
    CALL(0);
    if (!standin().contexts.count(context))
        return CUDA_ERROR_INVALID_CONTEXT;
    stack().push_back(context);
    return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext *context)
{
    CALL(0);
    if (stack().empty())
        return CUDA_ERROR_INVALID_CONTEXT;
    if (context)
        *context = stack().back();
    stack().pop_back();
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context)
{
    CALL(0);
    if (context && !standin().contexts.count(context))
        return CUDA_ERROR_INVALID_CONTEXT;
    if (!stack().empty())
        stack().pop_back();
    if (context)
        stack().push_back(context);
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device)
{
    CALL(CALL_CONTEXT);
    *device = current_device();
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice_v2(CUdevice *device, CUcontext context)
{
    CALL(0);
    context = context ? context : current_context();
    if (!context || !standin().contexts.count(context))
        return CUDA_ERROR_INVALID_CONTEXT;
    *device = context->device;
    return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    complete_all(current_context());
    return current_context()->fault;
}
