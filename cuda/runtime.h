/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the CUDA runtime share: devices, the current context, memory, kernels and timed calls.  Launchers do not include this. */
#ifndef HUNZE_CUDA_RUNTIME_H
#define HUNZE_CUDA_RUNTIME_H

#include "../src/device.h"
#include "driver.h"

/* ------------------------------------------------------------------ devices and contexts (device.c) */

typedef struct hunze_gpu {
    hunze_cuda_device device;
    CUdevice handle;
    char name[96];
    uint64_t bytes;
    bool pools;        /* has stream-ordered memory pools */
    bool reaches_host; /* kernels may read any memory of the process */
    bool compiles;     /* no machine code in the library is its own: kernels come from PTX */
    CUcontext primary; /* retained by the first call that needs it and never released; under the lock of device.c */
} hunze_gpu;

/* Opens the driver.  HUNZE_ERR_DEVICE if there is none of this number. */
hunze_status hunze_gpu_find(int32_t id, hunze_gpu **gpu);

/* A context made current for one call: that of the stream, else the calling thread's if it is of this device, else the primary one. */
typedef struct hunze_scope {
    hunze_gpu *gpu;
    CUcontext context;
    CUstream stream;
    int32_t multiprocessors; /* that the stream's work may have: the device's, or those of its green context */
    bool pushed;
    bool captured; /* the stream is being captured */
} hunze_scope;
hunze_status hunze_scope_enter(hunze_scope *scope, hunze_gpu *gpu, void *stream);
/* For what belongs to no stream. */
hunze_status hunze_scope_enter_device(hunze_scope *scope, hunze_gpu *gpu);
void hunze_scope_leave(const hunze_scope *scope);
/* Waits for the scope's stream, which is not captured. */
CUresult hunze_scope_wait(const hunze_scope *scope);

/* Whether kernels in the scope may use the pointer as the operand `name` on its device. */
hunze_status hunze_pointer_check(const hunze_scope *scope, const char *name, const void *pointer);

/* Between these, what the thread asks of the driver does not disturb a capture that goes on elsewhere. */
typedef struct hunze_relaxed {
    CUstreamCaptureMode before;
    bool changed;
} hunze_relaxed;
hunze_relaxed hunze_relax(void);
void hunze_unrelax(hunze_relaxed mode);

/* ------------------------------------------------------------------ memory (memory.c), in a scope whose stream is not captured */

/* Device memory, aligned to HUNZE_CUDA_ALIGNMENT, for work given to the scope's stream from now on. */
hunze_status hunze_gpu_alloc(hunze_context *context, const hunze_scope *scope, size_t bytes, void **pointer);
hunze_status hunze_gpu_free(hunze_context *context, const hunze_scope *scope, void *pointer, size_t bytes);
/* Pinned memory that nothing uses any more; `bytes` may be rounded up. */
hunze_status hunze_pinned_alloc(hunze_context *context, const hunze_scope *scope, size_t bytes, void **pointer);
/* Once what was given to the scope's stream so far has run. */
hunze_status hunze_pinned_free(hunze_context *context, const hunze_scope *scope, void *pointer, size_t bytes);

/* ------------------------------------------------------------------ timed calls (timing.c) */

/* The seconds of a call between two events of its stream. */
typedef struct hunze_timed {
    CUevent start, end;
} hunze_timed;
hunze_status hunze_timed_start(const hunze_scope *scope, hunze_timed *timed);
hunze_status hunze_timed_end(const hunze_scope *scope, hunze_timed *timed);
/* Waits for the call. */
hunze_status hunze_timed_read(hunze_timed *timed, uint64_t *nanoseconds);
/* Hands the events over: the context's meter gets the seconds when they are known. */
void hunze_timed_keep(hunze_context *context, const hunze_scope *scope, hunze_timed *timed);
void hunze_timed_drop(hunze_timed *timed);

/* ------------------------------------------------------------------ kernels (launch.c) */

/* Everything that the kernel's first launch in the scope's context would do before it. */
hunze_status hunze_kernel_prepare(const hunze_cuda_kernel *kernel, const hunze_scope *scope);

#endif
