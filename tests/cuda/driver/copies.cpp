/* SPDX-License-Identifier: Apache-2.0 */
/* Copies and fills.  Pageable memory is copied during the call, as the driver does by staging, unless devices reach it; pinned memory when the
 * operation runs. */
#include "state.h"

#include <string.h>

struct place {
    uintptr_t begin;
    bool known; /* the driver's own memory, not any memory of the process */
};

static CUresult find_place(uintptr_t address, size_t bytes, place *found)
{
    const allocation *a = find_allocation(address, true);
    *found = {address, a != nullptr};
    if (!bytes)
        return CUDA_SUCCESS;
    if (a)
        return bytes > a->bytes - (address - a->begin) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    return !address || is_device_address(address) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

/* For the CPU, now that the operation runs. */
static char *reach(const place &p, const char *what)
{
    if (!p.known)
        return (char *)p.begin;
    const allocation *a = find_allocation(p.begin, false);
    if (!a)
        standin_fail("%s runs when its memory is not allocated any more, or not yet on its stream", what);
    return bytes_at(*a, p.begin);
}

/* rows of `bytes` bytes each. */
struct rows {
    uintptr_t to, from;
    size_t to_pitch, from_pitch, bytes, count;
};

static CUresult copy_rows(CUstream handle, const rows &r, bool waits)
{
    CUstream_st *stream;
    if (const CUresult missing = find_stream(handle, &stream))
        return missing;
    if (!r.bytes || !r.count)
        return CUDA_SUCCESS;
    place to, from;
    if (find_place(r.to, (r.count - 1) * r.to_pitch + r.bytes, &to) ||
        find_place(r.from, (r.count - 1) * r.from_pitch + r.bytes, &from))
        return CUDA_ERROR_INVALID_VALUE;

    if (!stream->captured && (!from.known || !to.known)) /* the CPU waits for it */
        if (const CUresult refused = refuse_under_capture())
            return refused;
    std::shared_ptr<std::vector<char>> staged;
    if (!from.known && to.known && !stream->captured && !standin().the_machine.pageable) {
        const char *begin = (const char *)r.from;
        staged.reset(new std::vector<char>(begin, begin + (r.count - 1) * r.from_pitch + r.bytes));
    }
    const CUresult result = enqueue(stream, [=] {
        char *t = reach(to, "a copy");
        const char *f = staged ? staged->data() : reach(from, "a copy");
        for (size_t row = 0; row < r.count; row++)
            memmove(t + row * r.to_pitch, f + row * r.from_pitch, r.bytes);
    });
    if (result || stream->captured || (!waits && to.known))
        return result;
    complete(stream->last);
    return stream->context->fault;
}

static CUresult copy(CUstream stream, uintptr_t to, uintptr_t from, size_t bytes, bool waits)
{
    return copy_rows(stream, {to, from, 0, 0, bytes, 1}, waits);
}

/* The address must be the device's (or usable by it). */
static bool is_known(CUdeviceptr pointer, size_t bytes) { return !bytes || find_allocation(pointer, true); }

CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    return copy(CU_STREAM_LEGACY, to, from, bytes, true);
}

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    CALL(CALL_CONTEXT | CALL_ENQUEUES);
    return copy(stream, to, from, bytes, false);
}

CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    return is_known(to, bytes) ? copy(CU_STREAM_LEGACY, to, (uintptr_t)from, bytes, true) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    return is_known(from, bytes) ? copy(CU_STREAM_LEGACY, (uintptr_t)to, from, bytes, true) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    CALL(CALL_CONTEXT | CALL_ENQUEUES);
    return is_known(to, bytes) ? copy(stream, to, (uintptr_t)from, bytes, false) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    CALL(CALL_CONTEXT | CALL_ENQUEUES);
    return is_known(from, bytes) ? copy(stream, (uintptr_t)to, from, bytes, false) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    CALL(CALL_CONTEXT | CALL_ENQUEUES);
    return is_known(to, bytes) && is_known(from, bytes) ? copy(stream, to, from, bytes, false)
                                                        : CUDA_ERROR_INVALID_VALUE;
}

static bool pick(CUmemorytype type, const void *host, CUdeviceptr device, size_t x, size_t y, size_t pitch,
                 uintptr_t *begin)
{
    const uintptr_t at = type == CU_MEMORYTYPE_HOST ? (uintptr_t)host : (uintptr_t)device;
    *begin = at + y * pitch + x;
    return type == CU_MEMORYTYPE_HOST || type == CU_MEMORYTYPE_UNIFIED ||
           (type == CU_MEMORYTYPE_DEVICE && find_allocation(*begin, true));
}

CUresult cuMemcpy2DAsync(const CUDA_MEMCPY2D *c, CUstream stream)
{
    CALL(CALL_CONTEXT | CALL_ENQUEUES);
    enum : size_t { LARGEST_PITCH = 0x7FFFFFFF };
    rows r;
    r.to_pitch = c->dstPitch ? c->dstPitch : c->WidthInBytes + c->dstXInBytes;
    r.from_pitch = c->srcPitch ? c->srcPitch : c->WidthInBytes + c->srcXInBytes;
    r.bytes = c->WidthInBytes;
    r.count = c->Height;
    if (r.to_pitch < c->WidthInBytes + c->dstXInBytes || r.from_pitch < c->WidthInBytes + c->srcXInBytes ||
        r.to_pitch > LARGEST_PITCH || r.from_pitch > LARGEST_PITCH)
        return CUDA_ERROR_INVALID_VALUE;
    if (!pick(c->srcMemoryType, c->srcHost, c->srcDevice, c->srcXInBytes, c->srcY, r.from_pitch, &r.from) ||
        !pick(c->dstMemoryType, c->dstHost, c->dstDevice, c->dstXInBytes, c->dstY, r.to_pitch, &r.to))
        return CUDA_ERROR_INVALID_VALUE;
    return copy_rows(stream, r, false);
}

static CUresult fill(CUdeviceptr pointer, unsigned char byte, size_t bytes, CUstream handle)
{
    CUstream_st *stream;
    if (const CUresult missing = find_stream(handle, &stream))
        return missing;
    place to;
    if (!is_known(pointer, bytes) || find_place(pointer, bytes, &to))
        return CUDA_ERROR_INVALID_VALUE;
    if (!bytes)
        return CUDA_SUCCESS;
    return enqueue(stream, [=] { memset(reach(to, "a fill"), byte, bytes); });
}

CUresult cuMemsetD8Async(CUdeviceptr pointer, unsigned char byte, size_t bytes, CUstream stream)
{
    CALL(CALL_CONTEXT | CALL_ENQUEUES);
    return fill(pointer, byte, bytes, stream);
}
