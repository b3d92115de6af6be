/* SPDX-License-Identifier: Apache-2.0 */
/* The stand-in for libcuda.so.1 as its own tests call it, with the kernels of test_emulator_kernels.cu.  Each case is a process: cuInit
 * happens once. */
#ifndef HUNZE_TESTS_STANDIN_CASE_H
#define HUNZE_TESTS_STANDIN_CASE_H

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

struct standin_functions {
    decltype(&cuGetProcAddress_v2) find;
    decltype(&hunze_standin_describe) describe;
    decltype(&hunze_standin_fail) fail_calls;
    decltype(&hunze_standin_calls) calls;
    decltype(&hunze_standin_pending) pending;
    decltype(&hunze_standin_contexts) contexts;
#define MEMBER(name, version) decltype(&::name) name;
    FUNCTIONS(MEMBER)
#undef MEMBER
};
extern standin_functions cuda;

void *symbol(void *library, const char *name);
/* Of a machine that HUNZE_FAKE_CUDA could describe. */
void open_library(const char *machine);

void expect(CUresult expected, CUresult result, const char *text, int line);
#define OK(expression) expect(CUDA_SUCCESS, expression, #expression, __LINE__)
#define REFUSED(code, expression) expect(CUDA_ERROR_##code, expression, #expression, __LINE__)

/* ------------------------------------------------------------------ a device */

extern CUcontext context; /* of device 0 */
extern CUstream stream;
void open_device(const char *machine);

CUkernel find_kernel(const char *name);
CUresult launch_config(CUkernel kernel, CUlaunchConfig config, CUdeviceptr from, CUdeviceptr to, int64_t count);
/* to = from, reversed in groups of TEST_THREADS */
CUresult launch_reverse(CUstream on, CUdeviceptr from, CUdeviceptr to, int64_t count);

enum { COUNT = TEST_THREADS, BYTES = COUNT * 4 };
std::vector<float> values(float first);
bool is_reversed(const float *got, float first);

CUdeviceptr device_memory(size_t bytes);
CUmemoryPool make_pool(int device);

/* ------------------------------------------------------------------ each in a process of its own */

struct standin_case {
    const char *name;
    void (*run)();
    int status;           /* of the process; -11: it faults */
    const char *sentence; /* on stderr, or NULL */
    std::vector<const char *> environment = {"HUNZE_TEST_CHILD=1"};
};
/* argv[1], if given: the one to run in this process. */
int standin_main(int argc, char **argv, const std::vector<standin_case> &cases);

#endif
