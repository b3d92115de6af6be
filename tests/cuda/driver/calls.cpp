/* SPDX-License-Identifier: Apache-2.0 */
/* What every call begins with; the machine that is described; failures on demand; names of errors. */
#include "state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

standin_state &standin()
{
    static standin_state *state = new standin_state();
    return *state;
}

void standin_fail(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "hunze stand-in for libcuda: ");
    vfprintf(stderr, format, list);
    fprintf(stderr, "\n");
    va_end(list);
    fflush(stderr);
    _exit(HUNZE_EMULATOR_STATUS);
}

/* splitmix64 */
uint32_t standin_random()
{
    static uint64_t state = getenv("HUNZE_EMU_SEED") ? strtoull(getenv("HUNZE_EMU_SEED"), nullptr, 0) : 1;
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)(z >> 32);
}

/* ------------------------------------------------------------------ errors */

#define ERRORS(X)                                                                                                      \
    X(CUDA_SUCCESS, "no error")                                                                                        \
    X(CUDA_ERROR_INVALID_VALUE, "invalid argument")                                                                    \
    X(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")                                                                       \
    X(CUDA_ERROR_NOT_INITIALIZED, "initialization error")                                                              \
    X(CUDA_ERROR_DEINITIALIZED, "driver shutting down")                                                                \
    X(CUDA_ERROR_STUB_LIBRARY, "CUDA driver is a stub library")                                                        \
    X(CUDA_ERROR_DEVICE_UNAVAILABLE, "CUDA-capable device(s) is/are busy or unavailable")                              \
    X(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected")                                                      \
    X(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal")                                                             \
    X(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid")                                                      \
    X(CUDA_ERROR_INVALID_CONTEXT, "invalid device context")                                                            \
    X(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device")                        \
    X(CUDA_ERROR_ECC_UNCORRECTABLE, "uncorrectable ECC error encountered")                                             \
    X(CUDA_ERROR_NVLINK_UNCORRECTABLE, "uncorrectable NVLink error detected during the execution")                     \
    X(CUDA_ERROR_JIT_COMPILER_NOT_FOUND, "PTX JIT compiler library not found")                                         \
    X(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "the provided PTX was compiled with an unsupported toolchain.")              \
    X(CUDA_ERROR_CONTAINED, "Invalid memory access of a contained kernel")                                             \
    X(CUDA_ERROR_OPERATING_SYSTEM, "OS call failed or operation not supported on this OS")                             \
    X(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle")                                                            \
    X(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state")                              \
    X(CUDA_ERROR_NOT_FOUND, "named symbol not found")                                                                  \
    X(CUDA_ERROR_NOT_READY, "device not ready")                                                                        \
    X(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered")                                          \
    X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch")                                   \
    X(CUDA_ERROR_LAUNCH_TIMEOUT, "the launch timed out and was terminated")                                            \
    X(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed")                                                         \
    X(CUDA_ERROR_ASSERT, "device-side assert triggered")                                                               \
    X(CUDA_ERROR_HARDWARE_STACK_ERROR, "hardware stack error")                                                         \
    X(CUDA_ERROR_ILLEGAL_INSTRUCTION, "an illegal instruction was encountered")                                        \
    X(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address")                                                             \
    X(CUDA_ERROR_INVALID_ADDRESS_SPACE, "operation not supported on global/shared address space")                      \
    X(CUDA_ERROR_INVALID_PC, "invalid program counter")                                                                \
    X(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure")                                                          \
    X(CUDA_ERROR_TENSOR_MEMORY_LEAK, "tensor memory was not given back")                                               \
    X(CUDA_ERROR_EXTERNAL_DEVICE, "an external device failed")                                                         \
    X(CUDA_ERROR_MPS_CLIENT_TERMINATED, "MPS client has been terminated by the server")                                \
    X(CUDA_ERROR_NOT_PERMITTED, "operation not permitted")                                                             \
    X(CUDA_ERROR_NOT_SUPPORTED, "operation not supported")                                                             \
    X(CUDA_ERROR_SYSTEM_NOT_READY, "system not yet initialized")                                                       \
    X(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "system has unsupported display driver / cuda driver combination")            \
    X(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, "forward compatibility was attempted on non supported HW")            \
    X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing")                       \
    X(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture")                \
    X(CUDA_ERROR_STREAM_CAPTURE_MERGE, "operation would result in a merge of separate capture sequences")              \
    X(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not ended in the same stream as it began")                     \
    X(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work")                                        \
    X(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "dependency created on uncaptured work in another stream")                  \
    X(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "operation would make the legacy stream depend on a capturing one")          \
    X(CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream")            \
    X(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "attempt to terminate a thread-local capture from another thread")       \
    X(CUDA_ERROR_UNKNOWN, "unknown error")

static const struct {
    CUresult code;
    const char *name, *text;
} errors[] = {
#define ERROR_ROW(code, text) {code, #code, text},
    ERRORS(ERROR_ROW)
#undef ERROR_ROW
};

static CUresult error_of(const std::string &name)
{
    for (const auto &error : errors)
        if (name == error.name)
            return error.code;
    standin_fail("\"%s\" in HUNZE_FAKE_CUDA_FAIL is no error that it knows", name.c_str());
}

CUresult cuGetErrorName(CUresult code, const char **text)
{
    for (const auto &error : errors)
        if (code == error.code) {
            *text = error.name;
            return CUDA_SUCCESS;
        }
    *text = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult code, const char **text)
{
    for (const auto &error : errors)
        if (code == error.code) {
            *text = error.text;
            return CUDA_SUCCESS;
        }
    *text = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

/* A context in which this happened is of no more use. */
static bool is_sticky(CUresult code)
{
    switch (code) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_TENSOR_MEMORY_LEAK:
    case CUDA_ERROR_EXTERNAL_DEVICE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case CUDA_ERROR_LAUNCH_FAILED: return true;
    default: return false;
    }
}

/* ------------------------------------------------------------------ the machine, failures on demand */

static std::vector<std::string> split(const std::string &text, char separator)
{
    std::vector<std::string> parts;
    for (size_t at = 0; at <= text.size();) {
        const size_t end = std::min(text.find(separator, at), text.size());
        parts.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return parts;
}

static void describe(const char *text)
{
    machine m;
    for (const std::string &part : split(text, ',')) {
        if (part.empty())
            continue;
        const size_t equals = std::min(part.find('='), part.size() - 1);
        const std::string name = part.substr(0, equals);
        char *unit;
        const long value = strtol(part.c_str() + equals + 1, &unit, 10);
        if (name == "devices")
            m.devices = (int)value;
        else if (name == "capability")
            m.capability = (int)value;
        else if (name == "driver")
            m.driver = (int)value;
        else if (name == "sms")
            m.multiprocessors = (int)value;
        else if (name == "pools")
            m.pools = (int)value;
        else if (name == "pageable")
            m.pageable = (int)value;
        else if (name == "memory" && strcmp(unit, "MiB") == 0)
            m.memory = (size_t)value << 20;
        else
            standin_fail("\"%s\" in HUNZE_FAKE_CUDA says nothing that it knows", part.c_str());
    }
    standin().the_machine = m;
    standin().described = true;
}

struct failure {
    uint64_t call; /* 0: each */
    CUresult code;
};
static std::multimap<std::string, failure> &failures()
{
    static auto *all = new std::multimap<std::string, failure>;
    return *all;
}

/* Calls are counted from here on. */
static void set_failures(const char *text)
{
    failures().clear();
    for (const std::string &part : split(text, ',')) {
        const std::vector<std::string> words = split(part, ':');
        if (part.empty())
            continue;
        if (words.size() != 3)
            standin_fail("\"%s\" in HUNZE_FAKE_CUDA_FAIL is not function:number:error", part.c_str());
        const uint64_t from = words[1] == "*" ? 0 : standin().calls[words[0]];
        failures().insert({words[0], {from + strtoull(words[1].c_str(), nullptr, 10), error_of(words[2])}});
    }
}

static void read_environment()
{
    static bool read;
    if (read)
        return;
    read = true;
    if (!standin().described)
        describe(getenv("HUNZE_FAKE_CUDA") ? getenv("HUNZE_FAKE_CUDA") : "");
    if (failures().empty() && getenv("HUNZE_FAKE_CUDA_FAIL"))
        set_failures(getenv("HUNZE_FAKE_CUDA_FAIL"));
}

void hunze_standin_describe(const char *text)
{
    const std::lock_guard<std::recursive_mutex> hold(standin().lock);
    if (standin().initialized)
        standin_fail("its machine cannot change after cuInit");
    describe(text);
}

void hunze_standin_fail(const char *text)
{
    const std::lock_guard<std::recursive_mutex> hold(standin().lock);
    read_environment();
    set_failures(text);
}

uint64_t hunze_standin_calls(const char *function)
{
    const std::lock_guard<std::recursive_mutex> hold(standin().lock);
    return function ? standin().calls[function] : standin().all_calls;
}

/* ------------------------------------------------------------------ a call */

call::call(const char *function, unsigned rules) : refused(CUDA_SUCCESS), enqueues(rules & CALL_ENQUEUES)
{
    standin_state &s = standin();
    if (s.initialized && s.process != getpid()) { /* its other threads are gone, perhaps with the lock */
        refused = CUDA_ERROR_NOT_INITIALIZED;
        return;
    }
    hold = std::unique_lock<std::recursive_mutex>(s.lock);
    read_environment();
    std::string name = function;
    const size_t suffix = name.rfind("_v");
    if (suffix != std::string::npos)
        name.resize(suffix);
    const uint64_t count = ++s.calls[name];
    s.all_calls++;

    CUctx_st *context = current_context();
    const auto wanted = failures().equal_range(name);
    for (auto at = wanted.first; at != wanted.second; ++at)
        if (!at->second.call || at->second.call == count) {
            refused = at->second.code;
            if (is_sticky(refused) && rules & CALL_ENQUEUES) {
                s.deferred_fault = refused;
                refused = CUDA_SUCCESS;
            } else if (is_sticky(refused) && context)
                context->fault = refused;
        }
    if (refused)
        return;
    if (s.deinitialized)
        refused = CUDA_ERROR_DEINITIALIZED;
    else if (!s.initialized && !(rules & CALL_ANY_TIME))
        refused = CUDA_ERROR_NOT_INITIALIZED;
    else if (rules & CALL_CONTEXT && !context)
        refused = CUDA_ERROR_INVALID_CONTEXT;
    else if (rules & CALL_CONTEXT && !s.contexts.count(context))
        refused = CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (refused)
        return;
    if (standin_random() % 4 == 0)
        run_some();
    if (rules & CALL_CONTEXT && context->fault)
        refused = context->fault;
    else if (rules & CALL_UNSAFE)
        refused = refuse_under_capture();
}

call::~call()
{
    if (!hold)
        return;
    standin().deferred_fault = CUDA_SUCCESS;
    if (enqueues && !refused && standin_random() % 8 == 0) /* seldom, work is early */
        run_some();
}

CUresult cuInit(unsigned int flags)
{
    CALL(CALL_ANY_TIME);
    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (!standin().the_machine.devices)
        return CUDA_ERROR_NO_DEVICE;
    if (!standin().initialized) {
        standin().process = getpid();
        atexit([] { standin().deinitialized = true; });
    }
    standin().initialized = true;
    return CUDA_SUCCESS;
}

__attribute__((visibility("default"))) CUresult cuDriverGetVersion(int *version)
{
    CALL(CALL_ANY_TIME);
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
    *version = standin().the_machine.driver;
    return CUDA_SUCCESS;
}
