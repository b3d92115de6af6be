/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the CUDA driver, and what its errors mean to somebody in a notebook. */
#include "driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static hunze_driver functions;
const hunze_driver *const hunze_cu = &functions;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_bool opened; /* `functions` or `reason` is written */
static atomic_bool forked; /* since cuInit */
static char version_text[16];
static char reason[400]; /* why there is no driver; "" where there is one */

static void mark_forked(void)
{
    if (atomic_load(&opened) && !reason[0])
        atomic_store(&forked, true);
}

/* NVIDIA numbers its drivers by branches, and that number is what administrators know. */
static const char *branch_of(int version)
{
    static const struct {
        int version;
        const char *name;
    } branches[] = {
        {13000, "R580"}, {12090, "R575"}, {12080, "R570"}, {12070, "R565"}, {12060, "R560"}, {12050, "R555"},
        {12040, "R550"}, {12030, "R545"}, {12020, "R535"}, {12010, "R530"}, {12000, "R525"}, {11080, "R520"},
        {11070, "R515"}, {11060, "R510"}, {11050, "R495"}, {11040, "R470"}, {11030, "R465"}, {11020, "R460"},
    };
    for (size_t i = 0; i < sizeof branches / sizeof branches[0]; i++)
        if (version >= branches[i].version)
            return branches[i].name;
    return "R455 or older";
}

/* What cuInit's errors ask for. */
static const char *advice(CUresult result)
{
    switch (result) {
    case CUDA_ERROR_NO_DEVICE:
        return "there is no CUDA device: nvidia-smi lists none, or CUDA_VISIBLE_DEVICES hides them all";
    case CUDA_ERROR_STUB_LIBRARY:
        return "the libcuda.so.1 that was found is the toolkit's stub: take its folder \"stubs\" off LD_LIBRARY_PATH";
    case CUDA_ERROR_NOT_INITIALIZED:
        return "the process was forked from one that used CUDA already: start it by spawn or forkserver instead of "
               "fork";
    case CUDA_ERROR_SYSTEM_NOT_READY:
        return "the machine's switches between GPUs are not set up: its administrator starts nvidia-fabricmanager";
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
        return "libcuda.so.1 and the kernel's NVIDIA module are of different versions: after an update of the driver "
               "the "
               "machine must restart";
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
        return "a forward-compatible libcuda.so.1 (folder \"compat\") was found, which works on data centre GPUs only: "
               "take its folder off LD_LIBRARY_PATH";
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
        return "the driver is too old to compile the library's PTX for this device: CUDA 13.0 (R580) or later is "
               "needed";
    case CUDA_ERROR_JIT_COMPILER_NOT_FOUND:
        return "the library has no machine code for this device, and the driver's compiler of PTX is not installed: "
               "libnvidia-ptxjitcompiler.so.1 must be where libcuda.so.1 is";
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
        return "another process has the device for itself: nvidia-smi shows which, and whether the device's compute "
               "mode is exclusive";
    case CUDA_ERROR_NO_BINARY_FOR_GPU: return "the library has no kernel for this device";
    case CUDA_ERROR_OPERATING_SYSTEM:
        return "the operating system does not let this process use the GPU: /dev/nvidia* must be there and writable";
    default: return NULL;
    }
}

/* "CUDA_ERROR_…: words", from the driver itself where it can say them. */
static const char *describe(CUresult result, char *text, size_t size)
{
    const char *name = NULL, *words = NULL;
    if (functions.cuGetErrorName)
        functions.cuGetErrorName(result, &name);
    if (functions.cuGetErrorString)
        functions.cuGetErrorString(result, &words);
    const char *more = advice(result);
    if (name)
        snprintf(text, size, "%s (%s)", more ? more : words ? words : "no words for it", name);
    else
        snprintf(text, size, "%s (CUDA error %d)", more ? more : "no words for it", result);
    return text;
}

static void try_to_open(void)
{
    const char *const needed = "Hunze needs one for CUDA 13.0 (R580) or later, and computes on the CPU without";
    char text[300];
    int version = 0;
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        snprintf(reason, sizeof reason, "there is no CUDA driver: %s; %s", why ? why : "libcuda.so.1 does not open",
                 needed);
        return;
    }
    PFN_cuDriverGetVersion_v2020 get_version;
    PFN_cuGetProcAddress_v12000 find;
    *(void **)&get_version = dlsym(library, "cuDriverGetVersion");
    *(void **)&find = dlsym(library, "cuGetProcAddress_v2");
    const CUresult result = get_version ? get_version(&version) : CUDA_ERROR_NOT_FOUND;
    if (result != CUDA_SUCCESS) {
        snprintf(reason, sizeof reason, "the CUDA driver does not tell its version: %s; %s",
                 describe(result, text, sizeof text), needed);
        return;
    }
    if (version < HUNZE_DRIVER_FLOOR || !find) {
        snprintf(reason, sizeof reason, "the CUDA driver is for CUDA %d.%d (%s); %s", version / 1000,
                 version % 1000 / 10, branch_of(version), needed);
        return;
    }
#define FIND(function, since)                                                                                          \
    if (find(#function, (void **)&functions.function, since, CU_GET_PROC_ADDRESS_LEGACY_STREAM, NULL) ||               \
        !functions.function) {                                                                                         \
        snprintf(reason, sizeof reason, "the CUDA driver, of CUDA %d.%d, has no %s of version %d", version / 1000,     \
                 version % 1000 / 10, #function, since);                                                               \
        return;                                                                                                        \
    }
    HUNZE_DRIVER_FUNCTIONS(FIND)
#undef FIND
    const CUresult started = functions.cuInit(0);
    if (started != CUDA_SUCCESS) {
        snprintf(reason, sizeof reason, "the CUDA driver does not start: %s", describe(started, text, sizeof text));
        return;
    }
    snprintf(version_text, sizeof version_text, "%d.%d", version / 1000, version % 1000 / 10);
    pthread_atfork(NULL, NULL, mark_forked);
}

static void open_once(void)
{
    try_to_open();
    atomic_store_explicit(&opened, true, memory_order_release);
}

static const char after_fork[] = "this process was forked after its parent had opened the CUDA driver, which does not "
                                 "survive that: start it by spawn or forkserver instead of fork, or open no device "
                                 "before";

hunze_status hunze_driver_open(void)
{
    if (!atomic_load_explicit(&opened, memory_order_acquire))
        pthread_once(&once, open_once);
    if (__builtin_expect(reason[0] != 0, 0))
        return hunze_fail(HUNZE_ERR_DRIVER, "%s", reason);
    if (__builtin_expect(atomic_load_explicit(&forked, memory_order_relaxed), 0))
        return hunze_fail(HUNZE_ERR_DRIVER, "%s", after_fork);
    return HUNZE_OK;
}

hunze_driver_state hunze_driver_look(char *text, size_t size)
{
    if (!atomic_load_explicit(&opened, memory_order_acquire)) {
        snprintf(text, size, "no call needed it so far");
        return HUNZE_DRIVER_UNTRIED;
    }
    const char *why = reason[0] ? reason : atomic_load(&forked) ? after_fork : NULL;
    snprintf(text, size, "%s", why ? why : version_text);
    return why ? HUNZE_DRIVER_REFUSED : HUNZE_DRIVER_OPEN;
}

bool hunze_driver_is_over(void)
{
    CUcontext current;
    return functions.cuCtxGetCurrent(&current) == CUDA_ERROR_DEINITIALIZED;
}

bool hunze_driver_is_fault(CUresult result)
{
    switch (result) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case CUDA_ERROR_EXTERNAL_DEVICE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_TENSOR_MEMORY_LEAK: return true;
    default: return false;
    }
}

static hunze_status status_of(CUresult result)
{
    if (hunze_driver_is_fault(result))
        return HUNZE_ERR_FAULT;
    switch (result) {
    case CUDA_ERROR_OUT_OF_MEMORY: return HUNZE_ERR_NOMEM;
    case CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED:
    case CUDA_ERROR_STREAM_CAPTURE_INVALIDATED:
    case CUDA_ERROR_STREAM_CAPTURE_MERGE:
    case CUDA_ERROR_STREAM_CAPTURE_UNMATCHED:
    case CUDA_ERROR_STREAM_CAPTURE_UNJOINED:
    case CUDA_ERROR_STREAM_CAPTURE_ISOLATION:
    case CUDA_ERROR_STREAM_CAPTURE_IMPLICIT:
    case CUDA_ERROR_CAPTURED_EVENT:
    case CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD: return HUNZE_ERR_CAPTURE;
    case CUDA_ERROR_INVALID_DEVICE:
    case CUDA_ERROR_INVALID_CONTEXT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_INVALID_HANDLE: return HUNZE_ERR_DEVICE;
    case CUDA_ERROR_NO_BINARY_FOR_GPU: return HUNZE_ERR_UNSUPPORTED;
    default: return HUNZE_ERR_DRIVER;
    }
}

hunze_status hunze_driver_check(CUresult result, const char *format, ...)
{
    if (__builtin_expect(result == CUDA_SUCCESS, 1))
        return HUNZE_OK;
    char doing[160], text[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(doing, sizeof doing, format, arguments);
    va_end(arguments);
    const hunze_status status = status_of(result);
    describe(result, text, sizeof text);
    if (status == HUNZE_ERR_FAULT)
        return hunze_fail(status,
                          "%s: the device reported a fault of earlier work: %s; its context is of no more use: restart "
                          "the process",
                          doing, text);
    return hunze_fail(status, "%s: %s", doing, text);
}
