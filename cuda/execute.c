/* SPDX-License-Identifier: Apache-2.0 */
/* One run of a plan on a device: the checks that need the driver, workspace, the launch, and who is told about the call. */
#include "runtime.h"

/* ------------------------------------------------------------------ pointers */

hunze_status hunze_pointer_check(const hunze_scope *scope, const char *name, const void *pointer)
{
    const int32_t id = scope->gpu->device.id;
    const CUdeviceptr address = (CUdeviceptr)pointer;
    CUcontext context = NULL;
    CUdeviceptr on_device = 0;
    unsigned type = 0, managed = 0;
    int ordinal = CU_DEVICE_INVALID;
    CUpointer_attribute attributes[] = {CU_POINTER_ATTRIBUTE_CONTEXT, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                        CU_POINTER_ATTRIBUTE_DEVICE_POINTER, CU_POINTER_ATTRIBUTE_IS_MANAGED,
                                        CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
    void *values[] = {&context, &type, &on_device, &managed, &ordinal};
    TRY(hunze_driver_check(hunze_cu->cuPointerGetAttributes(5, attributes, values, address), "the pointer of %s",
                           name));
    if (type == 0) /* not of the driver's; unless kernels may read any memory, they cannot */
        return scope->gpu->reaches_host
                   ? HUNZE_OK
                   : hunze_fail(HUNZE_ERR_DEVICE,
                                "%s is said to live on cuda:%d, and its pointer is of the CPU's memory: copy it there "
                                "(hunze_copy)",
                                name, id);
    if (managed)
        return HUNZE_OK;
    if (type == CU_MEMORYTYPE_HOST)
        return on_device == address ? HUNZE_OK
                                    : hunze_fail(HUNZE_ERR_DEVICE,
                                                 "%s is pinned memory that cuda:%d knows by another address", name, id);
    if (ordinal != scope->gpu->handle)
        return hunze_fail(HUNZE_ERR_DEVICE, "%s lives on cuda:%d, and not on cuda:%d as its tensor says", name, ordinal,
                          id);
    if (!context || context == scope->context) /* memory of pools has no context */
        return HUNZE_OK;
    CUcontext regular = NULL;
    CUgreenCtx green = NULL; /* works in the memory of the primary context */
    if (hunze_cu->cuStreamGetCtx(scope->stream, &regular, &green) == CUDA_SUCCESS && green && regular == context)
        return HUNZE_OK;
    return hunze_fail(
        HUNZE_ERR_DEVICE,
        "%s was allocated in another CUDA context of cuda:%d than that of the stream, which cannot reach it", name, id);
}

static hunze_status check_pointers(const hunze_plan *plan, const hunze_request *request, const hunze_scope *scope)
{
    if (plan->flags & HUNZE_TRUST_POINTERS)
        return HUNZE_OK;
    for (uint32_t left = plan->operands.filled; left; left &= left - 1) {
        const int role = __builtin_ctz(left);
        TRY(hunze_pointer_check(scope, hunze_role_name(plan->op, role), hunze_data(request->operand[role])));
    }
    return HUNZE_OK;
}

/* ------------------------------------------------------------------ workspace */

/* Without memory for the sums of K blocks that would go side by side, they go one after another, to the same bits. */
static hunze_status find_workspace(const hunze_plan *plan, const hunze_run *run, const hunze_scope *scope,
                                   hunze_cuda_run *to)
{
    const size_t bytes = plan->workspace_bytes, without_sums = bytes - plan->choice.partial_bytes;
    if (run && run->workspace) {
        if (run->workspace_bytes < bytes)
            return hunze_fail(HUNZE_ERR_WORKSPACE, "hunze_run.workspace has %zu bytes; the plan needs %zu on cuda:%d",
                              run->workspace_bytes, bytes, plan->device.id);
        if ((uintptr_t)run->workspace % HUNZE_CUDA_ALIGNMENT)
            return hunze_fail(HUNZE_ERR_ALIGN, "hunze_run.workspace is not aligned to %d bytes, as cuda:%d needs it",
                              HUNZE_CUDA_ALIGNMENT, plan->device.id);
        if (bytes > 0 && !(plan->flags & HUNZE_TRUST_POINTERS))
            TRY(hunze_pointer_check(scope, "hunze_run.workspace", run->workspace));
        to->workspace = run->workspace;
        to->workspace_bytes = bytes;
        return HUNZE_OK;
    }
    if (scope->captured && without_sums > 0)
        return hunze_fail(HUNZE_ERR_CAPTURE,
                          "the stream is being captured, so nothing is allocated: give %zu bytes as "
                          "hunze_run.workspace",
                          bytes);
    if (scope->captured || bytes == 0)
        return HUNZE_OK;
    hunze_status status = hunze_gpu_alloc(plan->context, scope, bytes, &to->workspace);
    to->workspace_bytes = bytes;
    if (status == HUNZE_ERR_NOMEM && without_sums < bytes) {
        to->workspace_bytes = without_sums;
        status = without_sums > 0 ? hunze_gpu_alloc(plan->context, scope, without_sums, &to->workspace) : HUNZE_OK;
    }
    return status;
}

/* The first failure counts; memory goes back all the same. */
static hunze_status leave_workspace(const hunze_plan *plan, const hunze_run *run, const hunze_scope *scope,
                                    const hunze_cuda_run *from, hunze_status status)
{
    if (!from->workspace || from->workspace_bytes == 0)
        return status;
    if (plan->flags & HUNZE_WIPE) {
        const hunze_status wiped = hunze_cuda_clear(from, from->workspace, 0, from->workspace_bytes);
        status = status ? status : wiped;
    }
    if (!run || !run->workspace) {
        const hunze_status freed = hunze_gpu_free(plan->context, scope, from->workspace, from->workspace_bytes);
        status = status ? status : freed;
    }
    return status;
}

/* ------------------------------------------------------------------ the run */

static hunze_status run_in_scope(const hunze_plan *plan, const hunze_request *request, const hunze_run *run,
                                 const hunze_scope *scope)
{
    hunze_context *context = plan->context;
    const bool metered = !scope->captured && atomic_load_explicit(&context->meters, memory_order_relaxed) > 0;
    const bool timed = metered || (context->trace && !scope->captured);
    hunze_gpu slice;
    hunze_cuda_run to = {
        .plan = plan,
        .context = context,
        .device = &scope->gpu->device,
        .stream = scope->stream,
        .flags = plan->flags,
    };
    if (scope->multiprocessors != to.device->multiprocessors) {
        slice = *scope->gpu;
        slice.device.multiprocessors = scope->multiprocessors;
        to.device = &slice.device;
    }
    hunze_timed events = {0};
    uint64_t nanoseconds = 0;
    TRY(check_pointers(plan, request, scope));
    TRY(find_workspace(plan, run, scope, &to));
    hunze_status status = timed ? hunze_timed_start(scope, &events) : HUNZE_OK;
    if (status == HUNZE_OK)
        status = plan->row->launch(plan, request->call, &to);
    if (status == HUNZE_OK && timed)
        status = hunze_timed_end(scope, &events);
    status = leave_workspace(plan, run, scope, &to, status);
    if (status == HUNZE_OK && timed && context->trace)
        status = hunze_timed_read(&events, &nanoseconds);
    if (status == HUNZE_OK && metered) {
        hunze_meter_count(context, plan->operations, plan->bytes, nanoseconds);
        if (events.end)
            hunze_timed_keep(context, scope, &events);
    }
    hunze_timed_drop(&events);
    if (status == HUNZE_OK && context->trace)
        hunze_trace_call(plan, request, 1, plan->bytes, nanoseconds);
    return status;
}

hunze_status hunze_device_execute(const hunze_plan *plan, const hunze_request *request, const hunze_run *run)
{
    hunze_gpu *gpu = NULL;
    hunze_scope scope;
    TRY(hunze_gpu_find(plan->device.id, &gpu));
    TRY(hunze_scope_enter(&scope, gpu, run ? run->stream : NULL));
    const hunze_status status = run_in_scope(plan, request, run, &scope);
    hunze_scope_leave(&scope);
    return status;
}

hunze_status hunze_device_read(hunze_context *context, const hunze_tensor *from, void *stream, void *to, size_t bytes)
{
    int64_t count = (int64_t)bytes;
    const hunze_dtype byte = {HUNZE_UINT, 8, 1};
    const hunze_tensor there = {hunze_data(from), from->device, 1, byte, &count, NULL, 0},
                       here = {to, {HUNZE_DEVICE_CPU, 0}, 1, byte, &count, NULL, 0};
    return hunze_device_copy(context, &there, &here, from->device, stream);
}

static hunze_status pack_in_scope(const hunze_plan *plan, const hunze_device_weights *weights,
                                  const hunze_packed_header *header, void *blob, const hunze_scope *scope)
{
    const hunze_cuda_run to = {
        .plan = plan,
        .context = plan->context,
        .device = &scope->gpu->device,
        .stream = scope->stream,
        .flags = plan->flags,
    };
    if (scope->captured)
        return hunze_fail(HUNZE_ERR_CAPTURE, "the stream is being captured, and packing is no part of a graph: pack "
                                             "before");
    const bool asks = !(plan->flags & HUNZE_TRUST_POINTERS);
    if (asks && header->n > 0 && header->k > 0)
        TRY(hunze_pointer_check(scope, "w", weights->w));
    if (asks)
        TRY(hunze_pointer_check(scope, "packed", blob));
    TRY(plan->row->launch_pack(weights, &to));
    const hunze_relaxed mode = hunze_relax(); /* as for any copy from memory that is not pinned */
    CUresult result = hunze_cu->cuMemcpyAsync((CUdeviceptr)blob, (CUdeviceptr)header, sizeof *header, scope->stream);
    hunze_unrelax(mode);
    /* Such a device reads the caller's memory when the stream comes there; others' drivers have read it by now. */
    if (result == CUDA_SUCCESS && scope->gpu->reaches_host)
        result = hunze_scope_wait(scope);
    return hunze_driver_check(result, "the header of packed weights on cuda:%d", scope->gpu->device.id);
}

hunze_status hunze_device_pack(const hunze_plan *plan, const hunze_device_weights *weights,
                               const hunze_packed_header *header, void *blob, const hunze_run *run)
{
    hunze_gpu *gpu = NULL;
    hunze_scope scope;
    TRY(hunze_gpu_find(plan->device.id, &gpu));
    TRY(hunze_scope_enter(&scope, gpu, run ? run->stream : NULL));
    const hunze_status status = pack_in_scope(plan, weights, header, blob, &scope);
    hunze_scope_leave(&scope);
    return status;
}

hunze_status hunze_device_prepare(const hunze_plan *plan)
{
    hunze_gpu *gpu = NULL;
    hunze_scope scope;
    hunze_status status = HUNZE_OK;
    TRY(hunze_gpu_find(plan->device.id, &gpu));
    TRY(hunze_scope_enter_device(&scope, gpu));
    const hunze_cuda_kernel *const *kernel = plan->row->launch_kernels;
    for (; kernel && *kernel && status == HUNZE_OK; kernel++)
        status = hunze_kernel_prepare(*kernel, &scope);
    hunze_scope_leave(&scope);
    return status;
}
