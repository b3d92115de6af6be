/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of devices and pinned memory.
 *
 * A context has a stream-ordered pool of the driver's per device.  Where the driver has none, and for pinned memory, it keeps freed blocks by
 * itself, each with an event behind its last use. */
#include "memory.h"

#include <string.h>

enum { PINNED_KEPT_BYTES = 256 << 20, PAGE_BYTES = 4096, LARGE_BYTES = 1 << 20 };

/* ------------------------------------------------------------------ what a context holds */

hunze_device_memory *hunze_device_memory_of(hunze_context *context)
{
    hunze_device_memory *memory = atomic_load_explicit(&context->device_memory, memory_order_acquire), *none = NULL;
    if (memory)
        return memory;
    memory = hunze_allocate(context, sizeof *memory, _Alignof(hunze_device_memory));
    if (!memory) {
        hunze_fail(HUNZE_ERR_NOMEM, "no memory for %zu bytes to keep account of devices", sizeof *memory);
        return NULL;
    }
    memset(memory, 0, sizeof *memory);
    pthread_mutex_init(&memory->lock, NULL);
    if (atomic_compare_exchange_strong(&context->device_memory, &none, memory))
        return memory;
    pthread_mutex_destroy(&memory->lock);
    hunze_deallocate(context, memory, sizeof *memory);
    return none;
}

/* ------------------------------------------------------------------ blocks that are kept */

/* Equal for what is asked for and what is given back, and coarse, so that blocks meet again. */
static size_t rounded(size_t bytes)
{
    size_t size = PAGE_BYTES;
    if (bytes > LARGE_BYTES)
        return (bytes + LARGE_BYTES - 1) / LARGE_BYTES * LARGE_BYTES;
    while (size < bytes)
        size *= 2;
    return size;
}

static void free_block(hunze_context *context, hunze_block *block, bool pinned)
{
    CUcontext popped;
    if (hunze_cu->cuCtxPushCurrent(block->context) == CUDA_SUCCESS) {
        const hunze_relaxed mode = hunze_relax();
        (void)hunze_cu->cuEventSynchronize(block->event);
        (void)(pinned ? hunze_cu->cuMemFreeHost(block->pointer) : hunze_cu->cuMemFree((CUdeviceptr)block->pointer));
        hunze_unrelax(mode);
        (void)hunze_cu->cuEventDestroy(block->event);
        (void)hunze_cu->cuCtxPopCurrent(&popped);
    } /* else somebody destroyed the context, and with it block and event */
    hunze_deallocate(context, block, sizeof *block);
}

static void free_blocks(hunze_context *context, hunze_blocks *blocks, bool pinned)
{
    hunze_device_memory *memory = atomic_load(&context->device_memory);
    pthread_mutex_lock(&memory->lock);
    hunze_block *first = blocks->first;
    *blocks = (hunze_blocks){0};
    pthread_mutex_unlock(&memory->lock);
    for (hunze_block *next; first; first = next) {
        next = first->next;
        free_block(context, first, pinned);
    }
}

/* Work of the stream may use a device's block at once, since the stream waits for its last use.  The CPU gets a pinned one when that is over. */
static hunze_status take_block(const hunze_scope *scope, hunze_device_memory *memory, hunze_blocks *blocks,
                               size_t bytes, bool pinned, hunze_block **taken)
{
    hunze_status status = HUNZE_OK;
    const hunze_relaxed mode = hunze_relax();
    pthread_mutex_lock(&memory->lock);
    hunze_block **at = &blocks->first;
    for (; *at; at = &(*at)->next)
        if ((*at)->bytes == bytes && (*at)->context == scope->context &&
            (!pinned || hunze_cu->cuEventQuery((*at)->event) == CUDA_SUCCESS))
            break;
    *taken = *at;
    if (*at && !pinned)
        status = hunze_driver_check(hunze_cu->cuStreamWaitEvent(scope->stream, (*at)->event, 0), "memory on cuda:%d",
                                    scope->gpu->device.id);
    if (*at && status == HUNZE_OK) {
        *at = (*taken)->next;
        blocks->bytes -= bytes;
    }
    pthread_mutex_unlock(&memory->lock);
    hunze_unrelax(mode);
    return status;
}

static hunze_status keep_block(hunze_context *context, const hunze_scope *scope, hunze_blocks *blocks, void *pointer,
                               size_t bytes, uint64_t most, bool pinned)
{
    hunze_device_memory *memory = atomic_load(&context->device_memory);
    hunze_block *block = hunze_allocate(context, sizeof *block, _Alignof(hunze_block));
    if (!block)
        return hunze_fail(HUNZE_ERR_NOMEM, "no memory for %zu bytes to keep account of a block", sizeof *block);
    *block = (hunze_block){.pointer = pointer, .bytes = bytes, .context = scope->context};
    const char *const what = pinned ? "pinned memory" : "memory of the device";
    hunze_status status =
        hunze_driver_check(hunze_cu->cuEventCreate(&block->event, CU_EVENT_DISABLE_TIMING), "%s", what);
    if (status == HUNZE_OK) {
        status = hunze_driver_check(hunze_cu->cuEventRecord(block->event, scope->stream), "%s", what);
        if (status)
            (void)hunze_cu->cuEventDestroy(block->event);
    }
    if (status) {
        hunze_deallocate(context, block, sizeof *block);
        return status;
    }
    pthread_mutex_lock(&memory->lock);
    const bool kept = blocks->bytes + bytes <= most;
    if (kept) {
        block->next = blocks->first;
        blocks->first = block;
        blocks->bytes += bytes;
    }
    pthread_mutex_unlock(&memory->lock);
    if (!kept)
        free_block(context, block, pinned);
    return HUNZE_OK;
}

/* Where a block could not be given back behind the stream's work: after it, and OK if that went well.  Else the first status. */
static hunze_status free_at_once(const hunze_scope *scope, void *pointer, bool pinned, hunze_status status)
{
    const hunze_relaxed mode = hunze_relax();
    CUresult result = hunze_scope_wait(scope);
    if (result == CUDA_SUCCESS)
        result = pinned ? hunze_cu->cuMemFreeHost(pointer) : hunze_cu->cuMemFree((CUdeviceptr)pointer);
    hunze_unrelax(mode);
    return result == CUDA_SUCCESS ? HUNZE_OK : status;
}

/* ------------------------------------------------------------------ memory of devices */

static hunze_status too_little(const hunze_scope *scope, size_t bytes)
{
    size_t free = 0, total = 0;
    (void)hunze_cu->cuMemGetInfo(&free, &total);
    return hunze_fail(HUNZE_ERR_NOMEM, "cuda:%d has no memory for %zu bytes: %zu of its %zu bytes are free",
                      scope->gpu->device.id, bytes, free, total);
}

static hunze_status pool_of(hunze_context *context, const hunze_scope *scope, CUmemoryPool *pool)
{
    hunze_device_memory *memory = atomic_load(&context->device_memory);
    const int32_t id = scope->gpu->device.id;
    hunze_status status = HUNZE_OK;
    pthread_mutex_lock(&memory->lock);
    if (!memory->pools[id]) {
        const CUmemPoolProps properties = {
            .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
            .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = scope->gpu->handle},
        };
        cuuint64_t threshold = context->device_pool_bytes;
        CUmemoryPool made = NULL;
        status = hunze_driver_check(hunze_cu->cuMemPoolCreate(&made, &properties), "a memory pool on cuda:%d", id);
        if (status == HUNZE_OK)
            status =
                hunze_driver_check(hunze_cu->cuMemPoolSetAttribute(made, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold),
                                   "a memory pool on cuda:%d", id);
        if (status == HUNZE_OK)
            memory->pools[id] = made;
        else if (made)
            (void)hunze_cu->cuMemPoolDestroy(made);
    }
    *pool = memory->pools[id];
    pthread_mutex_unlock(&memory->lock);
    return status;
}

static hunze_status alloc_from_pool(hunze_context *context, const hunze_scope *scope, size_t bytes,
                                    CUdeviceptr *pointer)
{
    CUmemoryPool pool = NULL;
    TRY(pool_of(context, scope, &pool));
    CUresult result = hunze_cu->cuMemAllocFromPoolAsync(pointer, bytes, pool, scope->stream);
    if (result == CUDA_ERROR_OUT_OF_MEMORY && hunze_cu->cuMemPoolTrimTo(pool, 0) == CUDA_SUCCESS)
        result = hunze_cu->cuMemAllocFromPoolAsync(pointer, bytes, pool, scope->stream);
    return result == CUDA_ERROR_OUT_OF_MEMORY
               ? too_little(scope, bytes)
               : hunze_driver_check(result, "%zu bytes of memory on cuda:%d", bytes, scope->gpu->device.id);
}

static hunze_status alloc_block(hunze_context *context, const hunze_scope *scope, size_t bytes, CUdeviceptr *pointer)
{
    hunze_device_memory *memory = atomic_load(&context->device_memory);
    hunze_blocks *blocks = &memory->blocks[scope->gpu->device.id];
    hunze_block *block = NULL;
    TRY(take_block(scope, memory, blocks, rounded(bytes), false, &block));
    if (block) {
        *pointer = (CUdeviceptr)block->pointer;
        (void)hunze_cu->cuEventDestroy(block->event);
        hunze_deallocate(context, block, sizeof *block);
        return HUNZE_OK;
    }
    CUresult result = hunze_cu->cuMemAlloc(pointer, rounded(bytes));
    if (result == CUDA_ERROR_OUT_OF_MEMORY) {
        free_blocks(context, blocks, false);
        result = hunze_cu->cuMemAlloc(pointer, rounded(bytes));
    }
    return result == CUDA_ERROR_OUT_OF_MEMORY
               ? too_little(scope, bytes)
               : hunze_driver_check(result, "%zu bytes of memory on cuda:%d", bytes, scope->gpu->device.id);
}

hunze_status hunze_gpu_alloc(hunze_context *context, const hunze_scope *scope, size_t bytes, void **pointer)
{
    const hunze_device_allocator *own = &context->device_allocator;
    const int32_t id = scope->gpu->device.id;
    *pointer = NULL;
    if (own->alloc) {
        *pointer = own->alloc(own->user, id, bytes, scope->stream);
        if (!*pointer)
            return hunze_fail(HUNZE_ERR_NOMEM, "the context's device allocator gave no %zu bytes on cuda:%d", bytes,
                              id);
        if ((uintptr_t)*pointer % HUNZE_CUDA_ALIGNMENT) {
            own->free(own->user, id, *pointer, bytes, scope->stream);
            *pointer = NULL;
            return hunze_fail(HUNZE_ERR_ALIGN,
                              "the context's device allocator gave a block that is not aligned to %d bytes",
                              HUNZE_CUDA_ALIGNMENT);
        }
        return HUNZE_OK;
    }
    if (!hunze_device_memory_of(context))
        return HUNZE_ERR_NOMEM;
    CUdeviceptr address = 0;
    const hunze_relaxed mode = hunze_relax();
    const hunze_status status = scope->gpu->pools ? alloc_from_pool(context, scope, bytes, &address)
                                                  : alloc_block(context, scope, bytes, &address);
    hunze_unrelax(mode);
    if (status == HUNZE_OK)
        *pointer = (void *)address;
    return status;
}

hunze_status hunze_gpu_free(hunze_context *context, const hunze_scope *scope, void *pointer, size_t bytes)
{
    const hunze_device_allocator *own = &context->device_allocator;
    const int32_t id = scope->gpu->device.id;
    if (own->alloc) {
        own->free(own->user, id, pointer, bytes, scope->stream);
        return HUNZE_OK;
    }
    hunze_device_memory *memory = hunze_device_memory_of(context);
    hunze_status status;
    if (scope->gpu->pools)
        status = hunze_driver_check(hunze_cu->cuMemFreeAsync((CUdeviceptr)pointer, scope->stream),
                                    "memory that is given back on cuda:%d", id);
    else
        status = memory ? keep_block(context, scope, &memory->blocks[id], pointer, rounded(bytes),
                                     context->device_pool_bytes, false)
                        : HUNZE_ERR_NOMEM;
    return status ? free_at_once(scope, pointer, false, status) : HUNZE_OK;
}

/* ------------------------------------------------------------------ pinned memory */

hunze_status hunze_pinned_alloc(hunze_context *context, const hunze_scope *scope, size_t bytes, void **pointer)
{
    hunze_device_memory *memory = hunze_device_memory_of(context);
    hunze_block *block = NULL;
    *pointer = NULL;
    if (!memory)
        return HUNZE_ERR_NOMEM;
    TRY(take_block(scope, memory, &memory->pinned, rounded(bytes), true, &block));
    if (block) {
        *pointer = block->pointer;
        (void)hunze_cu->cuEventDestroy(block->event);
        hunze_deallocate(context, block, sizeof *block);
        return HUNZE_OK;
    }
    const hunze_relaxed mode = hunze_relax();
    CUresult result = hunze_cu->cuMemHostAlloc(pointer, rounded(bytes), CU_MEMHOSTALLOC_PORTABLE);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) {
        free_blocks(context, &memory->pinned, true);
        result = hunze_cu->cuMemHostAlloc(pointer, rounded(bytes), CU_MEMHOSTALLOC_PORTABLE);
    }
    hunze_unrelax(mode);
    if (result == CUDA_ERROR_OUT_OF_MEMORY)
        return hunze_fail(HUNZE_ERR_NOMEM,
                          "the operating system pins no %zu bytes: too much of its memory is in use or pinned", bytes);
    return hunze_driver_check(result, "%zu bytes of pinned memory", bytes);
}

hunze_status hunze_pinned_free(hunze_context *context, const hunze_scope *scope, void *pointer, size_t bytes)
{
    hunze_device_memory *memory = hunze_device_memory_of(context);
    const hunze_status status =
        memory ? keep_block(context, scope, &memory->pinned, pointer, rounded(bytes), PINNED_KEPT_BYTES, true)
               : HUNZE_ERR_NOMEM;
    return status ? free_at_once(scope, pointer, true, status) : HUNZE_OK;
}

/* ------------------------------------------------------------------ exported */

static hunze_status check_place(const hunze_context *context, hunze_device device, hunze_gpu **gpu)
{
    if (!context)
        return hunze_fail(HUNZE_ERR_NULL, "context is NULL");
    if (device.type != HUNZE_DEVICE_CUDA && device.type != HUNZE_DEVICE_CUDA_HOST)
        return hunze_fail(HUNZE_ERR_DEVICE, "memory of device type %d is asked for; there is %d (CUDA) and %d (pinned)",
                          device.type, HUNZE_DEVICE_CUDA, HUNZE_DEVICE_CUDA_HOST);
    return hunze_gpu_find(device.id, gpu);
}

static hunze_status refuse_captured(const hunze_scope *scope, const char *what)
{
    return scope->captured
               ? hunze_fail(HUNZE_ERR_CAPTURE, "the stream is being captured: memory is %s before or after", what)
               : HUNZE_OK;
}

hunze_status hunze_memory_alloc(hunze_context *context, hunze_device device, size_t bytes, void *stream, void **pointer)
{
    hunze_gpu *gpu = NULL;
    hunze_scope scope;
    if (!pointer)
        return hunze_fail(HUNZE_ERR_NULL, "pointer is NULL");
    *pointer = NULL;
    TRY(check_place(context, device, &gpu));
    if (bytes == 0)
        return HUNZE_OK;
    if (bytes > INT64_MAX)
        return hunze_fail(HUNZE_ERR_OVERFLOW, "%zu bytes are asked for", bytes);
    TRY(hunze_scope_enter(&scope, gpu, stream));
    hunze_status status = refuse_captured(&scope, "allocated");
    if (status == HUNZE_OK)
        status = device.type == HUNZE_DEVICE_CUDA ? hunze_gpu_alloc(context, &scope, bytes, pointer)
                                                  : hunze_pinned_alloc(context, &scope, bytes, pointer);
    hunze_scope_leave(&scope);
    return status;
}

static hunze_status wipe(const hunze_scope *scope, hunze_device device, void *pointer, size_t bytes)
{
    if (device.type == HUNZE_DEVICE_CUDA)
        return hunze_driver_check(hunze_cu->cuMemsetD8Async((CUdeviceptr)pointer, 0, bytes, scope->stream),
                                  "memory that is wiped on cuda:%d", device.id);
    TRY(hunze_driver_check(hunze_scope_wait(scope), "pinned memory that is wiped"));
    hunze_wipe(pointer, bytes);
    return HUNZE_OK;
}

hunze_status hunze_memory_free(hunze_context *context, hunze_device device, void *pointer, size_t bytes, void *stream)
{
    hunze_gpu *gpu = NULL;
    hunze_scope scope;
    TRY(check_place(context, device, &gpu));
    if (!pointer || hunze_driver_is_over())
        return HUNZE_OK;
    TRY(hunze_scope_enter(&scope, gpu, stream));
    hunze_status status = refuse_captured(&scope, "given back");
    if (status == HUNZE_OK && context->flags & HUNZE_WIPE)
        status = wipe(&scope, device, pointer, bytes);
    if (status == HUNZE_OK)
        status = device.type == HUNZE_DEVICE_CUDA ? hunze_gpu_free(context, &scope, pointer, bytes)
                                                  : hunze_pinned_free(context, &scope, pointer, bytes);
    hunze_scope_leave(&scope);
    return status;
}

hunze_status hunze_pointer_device(hunze_context *context, const void *pointer, hunze_device *device)
{
    unsigned type = 0, managed = 0;
    int ordinal = 0;
    CUpointer_attribute attributes[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_IS_MANAGED,
                                        CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
    void *values[] = {&type, &managed, &ordinal};
    if (!context || !pointer || !device)
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL", !context ? "context" : pointer ? "device" : "pointer");
    TRY(hunze_driver_open());
    TRY(hunze_driver_check(hunze_cu->cuPointerGetAttributes(3, attributes, values, (CUdeviceptr)pointer),
                           "the pointer"));
    *device = type == 0                      ? (hunze_device){HUNZE_DEVICE_CPU, 0}
              : managed                      ? (hunze_device){HUNZE_DEVICE_CUDA_MANAGED, ordinal}
              : type == CU_MEMORYTYPE_DEVICE ? (hunze_device){HUNZE_DEVICE_CUDA, ordinal}
                                             : (hunze_device){HUNZE_DEVICE_CUDA_HOST, ordinal};
    return HUNZE_OK;
}

hunze_status hunze_memory_trim(hunze_context *context)
{
    if (!context)
        return hunze_fail(HUNZE_ERR_NULL, "context is NULL");
    hunze_device_memory *memory = atomic_load(&context->device_memory);
    if (!memory)
        return HUNZE_OK;
    TRY(hunze_driver_open());
    if (hunze_driver_is_over())
        return HUNZE_OK;
    hunze_status status = HUNZE_OK;
    for (int32_t id = 0; id < HUNZE_MAX_DEVICES; id++) {
        pthread_mutex_lock(&memory->lock);
        const CUmemoryPool pool = memory->pools[id];
        pthread_mutex_unlock(&memory->lock);
        if (pool && status == HUNZE_OK) {
            const hunze_relaxed mode = hunze_relax();
            status = hunze_driver_check(hunze_cu->cuMemPoolTrimTo(pool, 0), "the memory pool of cuda:%d", id);
            hunze_unrelax(mode);
        }
        free_blocks(context, &memory->blocks[id], false);
    }
    free_blocks(context, &memory->pinned, true);
    return status;
}

void hunze_device_release(hunze_context *context)
{
    hunze_device_memory *memory = atomic_load(&context->device_memory);
    if (!memory)
        return;
    if (hunze_driver_open() == HUNZE_OK) { /* else the process was forked: they are the parent's */
        hunze_device_settle(context);
        const hunze_relaxed mode = hunze_relax();
        for (int32_t id = 0; id < HUNZE_MAX_DEVICES; id++) {
            free_blocks(context, &memory->blocks[id], false);
            if (memory->pools[id])
                (void)hunze_cu->cuMemPoolDestroy(memory->pools[id]);
        }
        free_blocks(context, &memory->pinned, true);
        hunze_unrelax(mode);
    }
    pthread_mutex_destroy(&memory->lock);
    hunze_deallocate(context, memory, sizeof *memory);
    atomic_store(&context->device_memory, NULL);
}
