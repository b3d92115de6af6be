/* SPDX-License-Identifier: Apache-2.0 */
/* cuGetProcAddress: functions by name and by the version of their type (cudaTypedefs.h); any other version is refused. */
#include "state.h"

#include <string.h>

static const struct {
    const char *name;
    int version;
    void *function;
} functions[] = {
    {"cuInit", 2000, reinterpret_cast<void *>(cuInit)},
    {"cuDriverGetVersion", 2020, reinterpret_cast<void *>(cuDriverGetVersion)},
    {"cuGetErrorName", 6000, reinterpret_cast<void *>(cuGetErrorName)},
    {"cuGetErrorString", 6000, reinterpret_cast<void *>(cuGetErrorString)},
    {"cuDeviceGet", 2000, reinterpret_cast<void *>(cuDeviceGet)},
    {"cuDeviceGetCount", 2000, reinterpret_cast<void *>(cuDeviceGetCount)},
    {"cuDeviceGetName", 2000, reinterpret_cast<void *>(cuDeviceGetName)},
    {"cuDeviceTotalMem", 3020, reinterpret_cast<void *>(cuDeviceTotalMem)},
    {"cuDeviceGetUuid", 11040, reinterpret_cast<void *>(cuDeviceGetUuid)},
    {"cuDeviceGetAttribute", 2000, reinterpret_cast<void *>(cuDeviceGetAttribute)},
    {"cuDevicePrimaryCtxRetain", 7000, reinterpret_cast<void *>(cuDevicePrimaryCtxRetain)},
    {"cuDevicePrimaryCtxRelease", 11000, reinterpret_cast<void *>(cuDevicePrimaryCtxRelease)},
    {"cuDevicePrimaryCtxGetState", 7000, reinterpret_cast<void *>(cuDevicePrimaryCtxGetState)},
    {"cuCtxCreate", 12050, reinterpret_cast<void *>(cuCtxCreate)},
    {"cuCtxDestroy", 4000, reinterpret_cast<void *>(cuCtxDestroy)},
    {"cuCtxGetCurrent", 4000, reinterpret_cast<void *>(cuCtxGetCurrent)},
    {"cuCtxSetCurrent", 4000, reinterpret_cast<void *>(cuCtxSetCurrent)},
    {"cuCtxPushCurrent", 4000, reinterpret_cast<void *>(cuCtxPushCurrent)},
    {"cuCtxPopCurrent", 4000, reinterpret_cast<void *>(cuCtxPopCurrent)},
    {"cuCtxGetDevice", 2000, reinterpret_cast<void *>(cuCtxGetDevice)},
    {"cuCtxGetDevice", 13000, reinterpret_cast<void *>(cuCtxGetDevice_v2)},
    {"cuDeviceGetDevResource", 12040, reinterpret_cast<void *>(cuDeviceGetDevResource)},
    {"cuDevSmResourceSplitByCount", 12040, reinterpret_cast<void *>(cuDevSmResourceSplitByCount)},
    {"cuDevResourceGenerateDesc", 12040, reinterpret_cast<void *>(cuDevResourceGenerateDesc)},
    {"cuGreenCtxCreate", 12040, reinterpret_cast<void *>(cuGreenCtxCreate)},
    {"cuGreenCtxDestroy", 12040, reinterpret_cast<void *>(cuGreenCtxDestroy)},
    {"cuGreenCtxGetDevResource", 12040, reinterpret_cast<void *>(cuGreenCtxGetDevResource)},
    {"cuGreenCtxStreamCreate", 12050, reinterpret_cast<void *>(cuGreenCtxStreamCreate)},
    {"cuCtxSynchronize", 2000, reinterpret_cast<void *>(cuCtxSynchronize)},
    {"cuStreamCreate", 2000, reinterpret_cast<void *>(cuStreamCreate)},
    {"cuStreamDestroy", 4000, reinterpret_cast<void *>(cuStreamDestroy)},
    {"cuStreamGetCtx", 9020, reinterpret_cast<void *>(cuStreamGetCtx)},
    {"cuStreamGetCtx", 12050, reinterpret_cast<void *>(cuStreamGetCtx_v2)},
    {"cuStreamSynchronize", 2000, reinterpret_cast<void *>(cuStreamSynchronize)},
    {"cuStreamQuery", 2000, reinterpret_cast<void *>(cuStreamQuery)},
    {"cuStreamWaitEvent", 3020, reinterpret_cast<void *>(cuStreamWaitEvent)},
    {"cuStreamBeginCapture", 10010, reinterpret_cast<void *>(cuStreamBeginCapture)},
    {"cuStreamEndCapture", 10000, reinterpret_cast<void *>(cuStreamEndCapture)},
    {"cuStreamIsCapturing", 10000, reinterpret_cast<void *>(cuStreamIsCapturing)},
    {"cuThreadExchangeStreamCaptureMode", 10010, reinterpret_cast<void *>(cuThreadExchangeStreamCaptureMode)},
    {"cuGraphInstantiate", 12000, reinterpret_cast<void *>(cuGraphInstantiate)},
    {"cuGraphInstantiateWithFlags", 11040, reinterpret_cast<void *>(cuGraphInstantiate)},
    {"cuGraphLaunch", 10000, reinterpret_cast<void *>(cuGraphLaunch)},
    {"cuGraphExecDestroy", 10000, reinterpret_cast<void *>(cuGraphExecDestroy)},
    {"cuGraphDestroy", 10000, reinterpret_cast<void *>(cuGraphDestroy)},
    {"cuEventCreate", 2000, reinterpret_cast<void *>(cuEventCreate)},
    {"cuEventRecord", 2000, reinterpret_cast<void *>(cuEventRecord)},
    {"cuEventQuery", 2000, reinterpret_cast<void *>(cuEventQuery)},
    {"cuEventSynchronize", 2000, reinterpret_cast<void *>(cuEventSynchronize)},
    {"cuEventElapsedTime", 2000, reinterpret_cast<void *>(cuEventElapsedTime)},
    {"cuEventElapsedTime", 12080, reinterpret_cast<void *>(cuEventElapsedTime)},
    {"cuEventDestroy", 4000, reinterpret_cast<void *>(cuEventDestroy)},
    {"cuMemAlloc", 3020, reinterpret_cast<void *>(cuMemAlloc)},
    {"cuMemFree", 3020, reinterpret_cast<void *>(cuMemFree)},
    {"cuMemAllocManaged", 6000, reinterpret_cast<void *>(cuMemAllocManaged)},
    {"cuMemHostAlloc", 2020, reinterpret_cast<void *>(cuMemHostAlloc)},
    {"cuMemFreeHost", 2000, reinterpret_cast<void *>(cuMemFreeHost)},
    {"cuMemGetInfo", 3020, reinterpret_cast<void *>(cuMemGetInfo)},
    {"cuMemPoolCreate", 11020, reinterpret_cast<void *>(cuMemPoolCreate)},
    {"cuMemPoolDestroy", 11020, reinterpret_cast<void *>(cuMemPoolDestroy)},
    {"cuMemPoolSetAttribute", 11020, reinterpret_cast<void *>(cuMemPoolSetAttribute)},
    {"cuMemPoolGetAttribute", 11020, reinterpret_cast<void *>(cuMemPoolGetAttribute)},
    {"cuMemPoolTrimTo", 11020, reinterpret_cast<void *>(cuMemPoolTrimTo)},
    {"cuMemAllocFromPoolAsync", 11020, reinterpret_cast<void *>(cuMemAllocFromPoolAsync)},
    {"cuMemFreeAsync", 11020, reinterpret_cast<void *>(cuMemFreeAsync)},
    {"cuPointerGetAttribute", 4000, reinterpret_cast<void *>(cuPointerGetAttribute)},
    {"cuPointerGetAttributes", 7000, reinterpret_cast<void *>(cuPointerGetAttributes)},
    {"cuMemcpy", 4000, reinterpret_cast<void *>(cuMemcpy)},
    {"cuMemcpyAsync", 4000, reinterpret_cast<void *>(cuMemcpyAsync)},
    {"cuMemcpyHtoD", 3020, reinterpret_cast<void *>(cuMemcpyHtoD)},
    {"cuMemcpyDtoH", 3020, reinterpret_cast<void *>(cuMemcpyDtoH)},
    {"cuMemcpyHtoDAsync", 3020, reinterpret_cast<void *>(cuMemcpyHtoDAsync)},
    {"cuMemcpyDtoHAsync", 3020, reinterpret_cast<void *>(cuMemcpyDtoHAsync)},
    {"cuMemcpyDtoDAsync", 3020, reinterpret_cast<void *>(cuMemcpyDtoDAsync)},
    {"cuMemcpy2DAsync", 3020, reinterpret_cast<void *>(cuMemcpy2DAsync)},
    {"cuMemsetD8Async", 3020, reinterpret_cast<void *>(cuMemsetD8Async)},
    {"cuLibraryLoadData", 12000, reinterpret_cast<void *>(cuLibraryLoadData)},
    {"cuLibraryUnload", 12000, reinterpret_cast<void *>(cuLibraryUnload)},
    {"cuLibraryGetKernel", 12000, reinterpret_cast<void *>(cuLibraryGetKernel)},
    {"cuKernelGetFunction", 12000, reinterpret_cast<void *>(cuKernelGetFunction)},
    {"cuKernelGetAttribute", 12000, reinterpret_cast<void *>(cuKernelGetAttribute)},
    {"cuKernelSetAttribute", 12000, reinterpret_cast<void *>(cuKernelSetAttribute)},
    {"cuFuncGetAttribute", 2020, reinterpret_cast<void *>(cuFuncGetAttribute)},
    {"cuFuncSetAttribute", 9000, reinterpret_cast<void *>(cuFuncSetAttribute)},
    {"cuFuncLoad", 12040, reinterpret_cast<void *>(cuFuncLoad)},
    {"cuOccupancyMaxActiveBlocksPerMultiprocessor", 6050,
     reinterpret_cast<void *>(cuOccupancyMaxActiveBlocksPerMultiprocessor)},
    {"cuLaunchKernelEx", 11060, reinterpret_cast<void *>(cuLaunchKernelEx)},
    {"cuTensorMapEncodeTiled", 12000, reinterpret_cast<void *>(cuTensorMapEncodeTiled)},
};

extern "C" __attribute__((visibility("default"))) CUresult cuGetProcAddress_v2(const char *symbol, void **function,
                                                                               int version, cuuint64_t flags,
                                                                               CUdriverProcAddressQueryResult *status)
{
    CALL(CALL_ANY_TIME);
    if (!symbol || !function || (flags != CU_GET_PROC_ADDRESS_DEFAULT && flags != CU_GET_PROC_ADDRESS_LEGACY_STREAM))
        return CUDA_ERROR_INVALID_VALUE;
    CUdriverProcAddressQueryResult found = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    *function = nullptr;
    for (const auto &row : functions) {
        if (strcmp(row.name, symbol) || row.version > standin().the_machine.driver)
            continue;
        if (!*function)
            found = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
        if (row.version == version) {
            *function = row.function;
            found = CU_GET_PROC_ADDRESS_SUCCESS;
        }
    }
    if (status)
        *status = found;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
