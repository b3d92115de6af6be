/* SPDX-License-Identifier: Apache-2.0 */
/* Green contexts: some of a device's multiprocessors, for streams of their own.  They live in the memory of the primary context. */
#include "state.h"

#include <deque>
#include <string.h>

static CUresult describe(CUdevResource *resource, CUdevResourceType type, int device, unsigned count)
{
    if (!resource || device < 0 || device >= standin().the_machine.devices)
        return CUDA_ERROR_INVALID_VALUE;
    if (type != CU_DEV_RESOURCE_TYPE_SM)
        return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    memset(resource, 0, sizeof *resource);
    resource->type = type;
    resource->sm.smCount = count;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetDevResource(CUdevice device, CUdevResource *resource, CUdevResourceType type)
{
    CALL(0);
    return describe(resource, type, device, (unsigned)standin().the_machine.multiprocessors);
}

CUresult cuDevSmResourceSplitByCount(CUdevResource *result, unsigned int *groups, const CUdevResource *input,
                                     CUdevResource *remaining, unsigned int, unsigned int least)
{
    CALL(0);
    if (!groups || !input || input->type != CU_DEV_RESOURCE_TYPE_SM || !least || least > input->sm.smCount)
        return CUDA_ERROR_INVALID_VALUE;
    const unsigned there = input->sm.smCount / least;
    *groups = result ? std::min(*groups, there) : there;
    for (unsigned i = 0; result && i < *groups; i++) {
        result[i] = *input;
        result[i].sm.smCount = least;
    }
    if (remaining) {
        *remaining = *input;
        remaining->sm.smCount -= *groups * least;
    }
    return CUDA_SUCCESS;
}

CUresult cuDevResourceGenerateDesc(CUdevResourceDesc *description, CUdevResource *resources, unsigned int count)
{
    CALL(0);
    if (!description || !resources || count != 1 || resources->type != CU_DEV_RESOURCE_TYPE_SM)
        return CUDA_ERROR_INVALID_VALUE;
    static std::deque<CUdevResource> described; /* the driver has no function that ends one */
    described.push_back(*resources);
    *description = reinterpret_cast<CUdevResourceDesc>(&described.back());
    return CUDA_SUCCESS;
}

CUresult cuGreenCtxCreate(CUgreenCtx *green, CUdevResourceDesc description, CUdevice device, unsigned int flags)
{
    CALL(CALL_UNSAFE);
    if (!green || !description || flags != CU_GREEN_CTX_DEFAULT_STREAM)
        return CUDA_ERROR_INVALID_VALUE;
    CUcontext primary;
    if (const CUresult refused = cuDevicePrimaryCtxRetain(&primary, device))
        return refused;
    *green = new CUgreenCtx_st{primary, *reinterpret_cast<CUdevResource *>(description)};
    standin().green_contexts.insert(*green);
    return CUDA_SUCCESS;
}

CUresult cuGreenCtxDestroy(CUgreenCtx green)
{
    CALL(0);
    if (!standin().green_contexts.erase(green))
        return CUDA_ERROR_INVALID_CONTEXT;
    return cuDevicePrimaryCtxRelease(green->primary->device);
}

CUresult cuGreenCtxGetDevResource(CUgreenCtx green, CUdevResource *resource, CUdevResourceType type)
{
    CALL(0);
    if (!standin().green_contexts.count(green))
        return CUDA_ERROR_INVALID_CONTEXT;
    return describe(resource, type, green->primary->device, green->multiprocessors.sm.smCount);
}

CUresult cuGreenCtxStreamCreate(CUstream *stream, CUgreenCtx green, unsigned int flags, int)
{
    CALL(CALL_UNSAFE);
    if (!stream || flags != CU_STREAM_NON_BLOCKING)
        return CUDA_ERROR_INVALID_VALUE;
    if (!standin().green_contexts.count(green))
        return CUDA_ERROR_INVALID_CONTEXT;
    *stream = make_stream(green->primary, false);
    (*stream)->green = green;
    standin().streams.insert(*stream);
    return CUDA_SUCCESS;
}
