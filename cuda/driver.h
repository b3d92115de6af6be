/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA driver, libcuda.so.1: opened by the first call that needs it, its functions found by name and version.  For the runtime. */
#ifndef HUNZE_DRIVER_H
#define HUNZE_DRIVER_H

#include "cuda.h"

#include <cudaTypedefs.h>

/* CUDA 13.0: the images and the PTX in the library are of this version, and older drivers load neither. */
enum { HUNZE_DRIVER_FLOOR = 13000 };

/* Each function in the version whose type cudaTypedefs.h calls PFN_NAME_vVERSION: both come from one row, so they belong together. */
#define HUNZE_DRIVER_FUNCTIONS(X)                                                                                      \
    X(cuCtxGetCurrent, 4000)                                                                                           \
    X(cuCtxGetDevice, 13000)                                                                                           \
    X(cuCtxPopCurrent, 4000)                                                                                           \
    X(cuCtxPushCurrent, 4000)                                                                                          \
    X(cuDeviceGet, 2000)                                                                                               \
    X(cuDeviceGetAttribute, 2000)                                                                                      \
    X(cuDeviceGetCount, 2000)                                                                                          \
    X(cuDeviceGetName, 2000)                                                                                           \
    X(cuDevicePrimaryCtxRetain, 7000)                                                                                  \
    X(cuDeviceTotalMem, 3020)                                                                                          \
    X(cuEventCreate, 2000)                                                                                             \
    X(cuEventDestroy, 4000)                                                                                            \
    X(cuEventElapsedTime, 2000)                                                                                        \
    X(cuEventQuery, 2000)                                                                                              \
    X(cuEventRecord, 2000)                                                                                             \
    X(cuEventSynchronize, 2000)                                                                                        \
    X(cuGetErrorName, 6000)                                                                                            \
    X(cuGetErrorString, 6000)                                                                                          \
    X(cuInit, 2000)                                                                                                    \
    X(cuFuncLoad, 12040)                                                                                               \
    X(cuGreenCtxGetDevResource, 12040)                                                                                 \
    X(cuKernelGetFunction, 12000)                                                                                      \
    X(cuKernelSetAttribute, 12000)                                                                                     \
    X(cuLaunchKernelEx, 11060)                                                                                         \
    X(cuLibraryGetKernel, 12000)                                                                                       \
    X(cuLibraryLoadData, 12000)                                                                                        \
    X(cuMemAlloc, 3020)                                                                                                \
    X(cuMemAllocFromPoolAsync, 11020)                                                                                  \
    X(cuMemFree, 3020)                                                                                                 \
    X(cuMemFreeAsync, 11020)                                                                                           \
    X(cuMemFreeHost, 2000)                                                                                             \
    X(cuMemGetInfo, 3020)                                                                                              \
    X(cuMemHostAlloc, 2020)                                                                                            \
    X(cuMemPoolCreate, 11020)                                                                                          \
    X(cuMemPoolDestroy, 11020)                                                                                         \
    X(cuMemPoolSetAttribute, 11020)                                                                                    \
    X(cuMemPoolTrimTo, 11020)                                                                                          \
    X(cuMemcpy2DAsync, 3020)                                                                                           \
    X(cuMemcpyAsync, 4000)                                                                                             \
    X(cuMemsetD8Async, 3020)                                                                                           \
    X(cuPointerGetAttributes, 7000)                                                                                    \
    X(cuStreamCreate, 2000)                                                                                            \
    X(cuStreamDestroy, 4000)                                                                                           \
    X(cuStreamGetCtx, 12050)                                                                                           \
    X(cuStreamIsCapturing, 10000)                                                                                      \
    X(cuStreamSynchronize, 2000)                                                                                       \
    X(cuStreamWaitEvent, 3020)                                                                                         \
    X(cuTensorMapEncodeTiled, 12000)                                                                                   \
    X(cuThreadExchangeStreamCaptureMode, 10010)

typedef struct hunze_driver {
#define HUNZE_DRIVER_MEMBER(name, version) PFN_##name##_v##version name;
    HUNZE_DRIVER_FUNCTIONS(HUNZE_DRIVER_MEMBER)
#undef HUNZE_DRIVER_MEMBER
} hunze_driver;

/* The functions, once hunze_driver_open returned HUNZE_OK. */
extern const hunze_driver *const hunze_cu;

/* Opens the driver, once in a process, and calls cuInit; says why there is none, every time. */
hunze_status hunze_driver_open(void);
typedef enum hunze_driver_state { HUNZE_DRIVER_UNTRIED, HUNZE_DRIVER_OPEN, HUNZE_DRIVER_REFUSED } hunze_driver_state;
/* What the first call that needed it found, without opening anything.  text: the driver's CUDA version, or why there is no driver;
 * cut at `size`. */
hunze_driver_state hunze_driver_look(char *text, size_t size);

/* The status of a driver's error, and a sentence: "DOING: …".  CUDA_SUCCESS is HUNZE_OK. */
hunze_status hunze_driver_check(CUresult result, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whether the driver is gone because the process ends: what it held is given back already.  After hunze_driver_open. */
bool hunze_driver_is_over(void);
/* Whether a context in which this happened is of no more use. */
bool hunze_driver_is_fault(CUresult result);

#endif
