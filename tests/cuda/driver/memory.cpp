/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: an address range that the CPU cannot touch, whose bytes lie elsewhere; pools; pinned and managed memory. */
#include "state.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ------------------------------------------------------------------ addresses */

enum : size_t { PAGE = 4096, ARENA = (size_t)1 << 36 };
static struct {
    int file;
    uintptr_t begin;
    char *bytes; /* of `begin` */
    uintptr_t next;
} arena;

static void make_arena()
{
    if (arena.begin)
        return;
    arena.file = memfd_create("hunze_standin", MFD_CLOEXEC);
    void *addresses = mmap(nullptr, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void *bytes = MAP_FAILED;
    if (arena.file >= 0 && ftruncate(arena.file, ARENA) == 0)
        bytes = mmap(nullptr, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, arena.file, 0);
    if (addresses == MAP_FAILED || bytes == MAP_FAILED)
        standin_fail("no addresses for the memory of its devices");
    arena.begin = arena.next = (uintptr_t)addresses;
    arena.bytes = static_cast<char *>(bytes);
}

bool is_device_address(uintptr_t address)
{
    return arena.begin && address >= arena.begin && address - arena.begin < ARENA;
}

static intptr_t shift_of(const allocation &a)
{
    return is_device_address(a.begin) ? (intptr_t)((uintptr_t)arena.bytes - arena.begin) : 0;
}

char *bytes_at(const allocation &a, uintptr_t address) { return (char *)(address + shift_of(a)); }

/* Never where memory was before, as long as there are other addresses; aligned to 256 bytes and to no more. */
static uintptr_t new_addresses(size_t bytes)
{
    make_arena();
    const auto &all = standin().allocations;
    const size_t size = (bytes + 256 + PAGE - 1) / PAGE * PAGE + PAGE;
    for (int turn = 0; turn < 2; turn++) {
        while (arena.next + size <= arena.begin + ARENA) {
            auto at = all.upper_bound(arena.next + size);
            const uintptr_t end = at == all.begin() ? 0 : std::prev(at)->second.begin + std::prev(at)->second.bytes;
            const uintptr_t begin = arena.next;
            if (end > begin && is_device_address(end)) {
                arena.next = (end + 2 * PAGE) / PAGE * PAGE;
                continue;
            }
            arena.next += size;
            return begin + 256;
        }
        arena.next = arena.begin;
    }
    return 0;
}

static void give_up_bytes(const allocation &a)
{
    const uintptr_t begin = a.begin / PAGE * PAGE, end = (a.begin + a.bytes + PAGE - 1) / PAGE * PAGE;
    if (fallocate(arena.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(begin - arena.begin),
                  (off_t)(end - begin)))
        memset(bytes_at(a, begin), 0, end - begin);
}

/* ------------------------------------------------------------------ allocations */

allocation *find_allocation(uintptr_t address, bool at_call)
{
    auto &all = standin().allocations;
    auto at = all.upper_bound(address);
    if (at == all.begin())
        return nullptr;
    allocation *a = &std::prev(at)->second;
    const bool usable = at_call ? a->given : a->visible;
    return usable && address - a->begin < a->bytes ? a : nullptr;
}

bool find_range(void *user, uintptr_t address, hunze_emulator_range *range)
{
    const int device = *static_cast<const int *>(user);
    const auto sees = [device](const allocation &a) {
        return a.visible && (a.device == device || a.kind == MEMORY_PINNED || a.kind == MEMORY_MANAGED);
    };
    const allocation *found = find_allocation(address, false);
    if (found && sees(*found)) {
        *range = {found->begin, found->begin + found->bytes, shift_of(*found)};
        return true;
    }
    if (standin().the_machine.pageable && !found && !is_device_address(address)) {
        *range = {address / PAGE * PAGE, address / PAGE * PAGE + PAGE, 0};
        return true;
    }
    uintptr_t nearest = UINTPTR_MAX;
    *range = {};
    for (const auto &entry : standin().allocations) {
        const allocation &a = entry.second;
        const uintptr_t distance = address < a.begin ? a.begin - address : address - a.begin - a.bytes;
        if (sees(a) && distance < nearest) {
            nearest = distance;
            *range = {a.begin, a.begin + a.bytes, shift_of(a)};
        }
    }
    return false;
}

static uint64_t bytes_used(int device)
{
    uint64_t used = 0;
    for (const auto &entry : standin().allocations)
        if (entry.second.device == device && entry.second.kind != MEMORY_PINNED)
            used += entry.second.bytes;
    return used;
}

static void trim(CUmemoryPool pool, uint64_t keep)
{
    auto &all = standin().allocations;
    for (auto at = all.begin(); at != all.end() && pool->kept > keep;) {
        const allocation &a = at->second;
        if (a.pool == pool && !a.given && a.freed_by && a.freed_by->done) {
            pool->kept -= a.bytes;
            give_up_bytes(a);
            at = all.erase(at);
        } else
            ++at;
    }
}

static bool fits(int device, size_t bytes)
{
    for (int turn = 0; turn < 2; turn++) {
        if (bytes_used(device) + bytes <= standin().the_machine.memory)
            return true;
        for (CUmemoryPool pool : standin().pools)
            if (pool->device == device)
                trim(pool, 0);
    }
    return false;
}

static allocation *add(memory_kind kind, uintptr_t begin, size_t bytes)
{
    static uint64_t ids;
    CUctx_st *context = current_context();
    return &(standin().allocations[begin] = {begin, bytes, kind, context->device, context, nullptr, true, true, ++ids,
                                             nullptr, nullptr});
}

static void poison(const allocation &a) { memset(bytes_at(a, a.begin), 0xFF, a.bytes); }

static allocation *find_begin(uintptr_t begin)
{
    allocation *a = find_allocation(begin, true);
    return a && a->begin == begin ? a : nullptr;
}

CUresult cuMemAlloc(CUdeviceptr *pointer, size_t bytes)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    if (!pointer || !bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (!fits(current_device(), bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    *pointer = new_addresses(bytes);
    if (!*pointer)
        return CUDA_ERROR_OUT_OF_MEMORY;
    poison(*add(MEMORY_DEVICE, *pointer, bytes));
    return CUDA_SUCCESS;
}

static void drop(allocation *a)
{
    if (a->kind == MEMORY_PINNED || a->kind == MEMORY_MANAGED)
        munmap((void *)a->begin, a->bytes);
    else
        give_up_bytes(*a);
    standin().allocations.erase(a->begin);
}

/* Waits, but for memory of pools (CUDA's manual, cuMemFree). */
CUresult cuMemFree(CUdeviceptr pointer)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    allocation *a = find_begin(pointer);
    if (!pointer)
        return CUDA_SUCCESS;
    if (!a || a->kind == MEMORY_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    if (a->kind == MEMORY_POOL)
        a->pool->used -= a->bytes;
    else
        for (CUctx_st *context : standin().contexts)
            complete_all(context);
    drop(a);
    return current_context()->fault;
}

/* Memory that the CPU sees too. */
static CUresult map_for_both(memory_kind kind, size_t bytes, uintptr_t *begin)
{
    if (!bytes)
        return CUDA_ERROR_INVALID_VALUE;
    void *map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *begin = (uintptr_t)map;
    poison(*add(kind, *begin, bytes));
    return CUDA_SUCCESS;
}

CUresult cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned int flags)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST)
        return CUDA_ERROR_INVALID_VALUE;
    uintptr_t begin;
    const CUresult result = map_for_both(MEMORY_MANAGED, bytes, &begin);
    if (!result)
        *pointer = begin;
    return result;
}

CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned int flags)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    if (flags > 7)
        return CUDA_ERROR_INVALID_VALUE;
    uintptr_t begin;
    const CUresult result = map_for_both(MEMORY_PINNED, bytes, &begin);
    if (!result)
        *pointer = (void *)begin;
    return result;
}

CUresult cuMemFreeHost(void *pointer)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    allocation *a = find_begin((uintptr_t)pointer);
    if (!a || a->kind != MEMORY_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    drop(a);
    return CUDA_SUCCESS;
}

CUresult cuMemGetInfo(size_t *free, size_t *total)
{
    CALL(CALL_CONTEXT);
    *total = standin().the_machine.memory;
    *free = *total - bytes_used(current_device());
    return CUDA_SUCCESS;
}

void free_memory_of(CUctx_st *context)
{
    std::vector<allocation *> gone;
    for (auto &entry : standin().allocations)
        if (entry.second.context == context && entry.second.kind != MEMORY_POOL)
            gone.push_back(&entry.second);
    for (allocation *a : gone)
        drop(a);
}

/* ------------------------------------------------------------------ pools */

#define FIND_POOL(pool)                                                                                                \
    if (!standin().pools.count(pool))                                                                                  \
    return CUDA_ERROR_INVALID_VALUE

CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *properties)
{
    CALL(CALL_UNSAFE);
    if (!pool || !properties || properties->allocType != CU_MEM_ALLOCATION_TYPE_PINNED ||
        properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE || properties->location.id < 0 ||
        properties->location.id >= standin().the_machine.devices)
        return CUDA_ERROR_INVALID_VALUE;
    if (!standin().the_machine.pools)
        return CUDA_ERROR_NOT_SUPPORTED;
    *pool = new CUmemPoolHandle_st{properties->location.id, 0, 0, 0, 0, 0};
    standin().pools.insert(*pool);
    return CUDA_SUCCESS;
}

/* What it still gives out lives on until it is freed. */
CUresult cuMemPoolDestroy(CUmemoryPool pool)
{
    CALL(CALL_UNSAFE);
    FIND_POOL(pool);
    trim(pool, 0);
    standin().pools.erase(pool);
    standin().destroyed_pools.push_back(pool);
    return CUDA_SUCCESS;
}

static uint64_t *pool_attribute(CUmemoryPool pool, CUmemPool_attribute attribute, uint64_t *reserved)
{
    *reserved = pool->used + pool->kept;
    switch (attribute) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: return &pool->threshold;
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: return &pool->used;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH: return &pool->used_high;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: return reserved;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: return &pool->reserved_high;
    default: return nullptr;
    }
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    CALL(0);
    FIND_POOL(pool);
    if (attribute <= CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES)
        return CUDA_SUCCESS;
    uint64_t reserved, *at = pool_attribute(pool, attribute, &reserved), wanted = *static_cast<uint64_t *>(value);
    const bool high = at == &pool->used_high || at == &pool->reserved_high;
    if (!at || (at != &pool->threshold && !(high && wanted == 0)))
        return CUDA_ERROR_INVALID_VALUE;
    *at = wanted;
    return CUDA_SUCCESS;
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    CALL(0);
    FIND_POOL(pool);
    uint64_t reserved, *at = pool_attribute(pool, attribute, &reserved);
    if (!at)
        return CUDA_ERROR_INVALID_VALUE;
    *static_cast<uint64_t *>(value) = *at;
    return CUDA_SUCCESS;
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
    CALL(CALL_UNSAFE);
    FIND_POOL(pool);
    trim(pool, keep > pool->used ? keep - pool->used : 0);
    return CUDA_SUCCESS;
}

static CUresult refuse_captured(CUstream_st *stream)
{
    if (!stream->captured)
        return CUDA_SUCCESS;
    stream->captured->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

/* Memory that the same stream gave back, or whose last use has run, comes again with what is in it. */
static allocation *reuse(CUmemoryPool pool, size_t bytes, const CUstream_st *stream)
{
    for (auto &entry : standin().allocations) {
        allocation *a = &entry.second;
        if (a->pool == pool && !a->given && a->bytes == bytes && (a->freed_on == stream || a->freed_by->done))
            return a;
    }
    return nullptr;
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *pointer, size_t bytes, CUmemoryPool pool, CUstream handle)
{
    CALL(CALL_CONTEXT | CALL_ENQUEUES);
    CUstream_st *stream;
    if (const CUresult missing = find_stream(handle, &stream))
        return missing;
    FIND_POOL(pool);
    if (!pointer || !bytes || pool->device != current_device())
        return CUDA_ERROR_INVALID_VALUE;
    if (const CUresult refused = refuse_captured(stream))
        return refused;
    allocation *a = reuse(pool, bytes, stream);
    const bool again = a;
    if (!again && !fits(pool->device, bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    const uintptr_t begin = again ? a->begin : new_addresses(bytes);
    if (!begin)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (const CUresult refused = enqueue(stream, [begin, again] {
            allocation *now = &standin().allocations.at(begin);
            now->visible = true;
            if (!again)
                poison(*now);
        }))
        return refused;
    if (again)
        pool->kept -= bytes;
    else {
        a = add(MEMORY_POOL, begin, bytes);
        a->pool = pool;
        a->visible = false;
    }
    a->given = true;
    pool->used += bytes;
    pool->used_high = std::max(pool->used_high, pool->used);
    pool->reserved_high = std::max(pool->reserved_high, pool->used + pool->kept);
    *pointer = begin;
    return CUDA_SUCCESS;
}

CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream handle)
{
    CALL(CALL_CONTEXT | CALL_ENQUEUES);
    CUstream_st *stream;
    if (const CUresult missing = find_stream(handle, &stream))
        return missing;
    allocation *a = find_begin(pointer);
    if (!a || a->kind != MEMORY_POOL)
        return CUDA_ERROR_INVALID_VALUE;
    if (const CUresult refused = refuse_captured(stream))
        return refused;
    const uintptr_t begin = a->begin;
    if (const CUresult refused = enqueue(stream, [begin] {
            const auto at = standin().allocations.find(begin);
            if (at == standin().allocations.end() || !at->second.visible)
                standin_fail("memory is freed on a stream before it was allocated on another, or twice");
            at->second.visible = false;
        }))
        return refused;
    a->given = false;
    a->freed_on = stream;
    a->freed_by = stream->last;
    a->pool->used -= a->bytes;
    a->pool->kept += a->bytes;
    return CUDA_SUCCESS;
}

/* ------------------------------------------------------------------ what a pointer is */

static bool describe_pointer(const allocation *a, uintptr_t pointer, CUpointer_attribute attribute, void *value)
{
    const bool device = a && (a->kind == MEMORY_DEVICE || a->kind == MEMORY_POOL);
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        *static_cast<CUcontext *>(value) = a && a->kind != MEMORY_POOL ? a->context : nullptr;
        return true;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: /* managed memory counts as the device's */
        *static_cast<unsigned *>(value) = !a ? 0 : a->kind == MEMORY_PINNED ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        return true;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *static_cast<CUdeviceptr *>(value) = a ? pointer : 0; return true;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        *static_cast<void **>(value) = a && !device ? (void *)pointer : nullptr;
        return true;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID: *static_cast<unsigned long long *>(value) = a ? a->id : 0; return true;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: *static_cast<unsigned *>(value) = a && a->kind == MEMORY_MANAGED; return true;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *static_cast<int *>(value) = a ? a->device : CU_DEVICE_INVALID;
        return true;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: *static_cast<CUdeviceptr *>(value) = a ? a->begin : 0; return true;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *static_cast<size_t *>(value) = a ? a->bytes : 0; return true;
    case CU_POINTER_ATTRIBUTE_MAPPED: *static_cast<unsigned *>(value) = a != nullptr; return true;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: *static_cast<CUmemoryPool *>(value) = a ? a->pool : nullptr; return true;
    default: return false;
    }
}

CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **values, CUdeviceptr pointer)
{
    CALL(0);
    const allocation *a = find_allocation(pointer, true);
    for (unsigned i = 0; i < count; i++)
        if (!values[i] || !describe_pointer(a, pointer, attributes[i], values[i]))
            return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr pointer)
{
    CALL(0);
    const allocation *a = find_allocation(pointer, true);
    if (!a || !value || !describe_pointer(a, pointer, attribute, value))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}
