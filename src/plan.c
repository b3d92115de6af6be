/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: making one from a request, running one, and what a plan tells about itself. */
#include "conv.h"
#include "device.h"

#include <stdio.h>
#include <string.h>

/* Below this many operations another thread has too little to do. */
static const uint64_t thread_operations = 2000000;

static const char *const op_names[] = {
    [HUNZE_OP_GEMM] = "gemm",
    [HUNZE_OP_CONV] = "conv",
    [HUNZE_OP_CONV_TRANSPOSE] = "conv_transpose",
    [HUNZE_OP_QUANTIZE] = "quantize",
    [HUNZE_OP_DEQUANTIZE] = "dequantize",
    [HUNZE_OP_PACK] = "pack",
    [HUNZE_OP_ACTIVATION] = "activation",
};

const char *hunze_op_name(hunze_op op) { return op_names[op]; }

/* The driver follows from the op, for a convolution from the kind of row, and for a gemm from its size and operands. */
static hunze_driver_fn *driver_of(const hunze_request *request, hunze_plan *plan)
{
    switch (plan->op) {
    case HUNZE_OP_GEMM:
        return plan->roles & 1u << HUNZE_ROLE_OFFSETS ? hunze_run_gemm_offsets
               : hunze_gemm_is_direct(request, plan)  ? hunze_run_gemm_direct
                                                      : hunze_run_gemm;
    case HUNZE_OP_CONV:
        return plan->row->op == HUNZE_OP_CONV                 ? hunze_run_depthwise
               : hunze_conv_in_planes(&plan->conv, plan->row) ? hunze_run_conv_planes
                                                              : hunze_run_conv;
    case HUNZE_OP_CONV_TRANSPOSE: return hunze_run_conv_transpose;
    case HUNZE_OP_QUANTIZE: return hunze_run_quantize;
    case HUNZE_OP_DEQUANTIZE: return hunze_run_dequantize;
    case HUNZE_OP_ACTIVATION: return hunze_run_activation;
    default: return NULL;
    }
}

static bool elementwise(const hunze_plan *plan)
{
    return plan->op == HUNZE_OP_QUANTIZE || plan->op == HUNZE_OP_DEQUANTIZE || plan->op == HUNZE_OP_ACTIVATION;
}

static size_t driver_workspace(const hunze_plan *plan, int32_t threads)
{
    size_t bytes = 0;
    if (!plan->writes || plan->driver == hunze_run_gemm_direct)
        return 0;
    switch (plan->op) {
    case HUNZE_OP_GEMM:
        bytes = (plan->roles & 1u << HUNZE_ROLE_OFFSETS ? hunze_gemm_offsets_workspace : hunze_gemm_workspace)(plan,
                                                                                                               threads);
        break;
    case HUNZE_OP_CONV:
    case HUNZE_OP_CONV_TRANSPOSE: bytes = hunze_conv_workspace(plan, threads); break;
    case HUNZE_OP_QUANTIZE: bytes = hunze_quantize_workspace(plan, threads); break;
    default: break;
    }
    return (bytes + 63) & ~(size_t)63;
}

static size_t device_workspace(const hunze_plan *plan)
{
    const size_t bytes = plan->writes && plan->row->launch_workspace ? plan->row->launch_workspace(plan) : 0;
    return (bytes + 255) & ~(size_t)255;
}

int32_t hunze_plan_threads(const hunze_plan *plan, int32_t threads)
{
    if (threads == 0)
        threads = hunze_context_threads(plan->context);
    return threads < plan->useful_threads ? threads : plan->useful_threads;
}

size_t hunze_plan_workspace_of(const hunze_plan *plan, int32_t threads)
{
    return threads == 1 ? plan->workspace_bytes : driver_workspace(plan, threads);
}

/* Bytes that are there to be read or written: an axis of stride 0 has one index. */
static uint64_t distinct_bytes(const hunze_tensor *tensor)
{
    uint64_t bytes = tensor->dtype.bits / 8u;
    for (int i = 0; i < tensor->ndim; i++)
        if (tensor->shape[i] == 0 || hunze_stride(tensor, i) != 0)
            bytes *= (uint64_t)tensor->shape[i];
    return bytes;
}

/* Where the operands live: all on the CPU, or all on one device, with pinned and managed memory beside it. */
static hunze_status find_device(const hunze_request *request, hunze_plan *plan)
{
    TRY(hunze_request_device(request, &plan->device));
    for (int role = 0; role < HUNZE_ROLE_COUNT; role++)
        if (request->operand[role])
            plan->alignment[role] = (uint8_t)hunze_operand_alignment(request->operand[role]);
    plan->bundles = plan->context->bundles;
    plan->allowed = plan->context->allowed;
    if (plan->device.type == HUNZE_DEVICE_CPU)
        return HUNZE_OK;
    TRY(hunze_device_bundles(plan->device, &plan->bundles));
    plan->allowed = plan->bundles;
    return HUNZE_OK;
}

static bool same_strides(const hunze_tensor *a, const hunze_tensor *b)
{
    if (a->ndim != b->ndim)
        return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i] || (a->shape[i] > 1 && hunze_stride(a, i) != hunze_stride(b, i)))
            return false;
    return true;
}

static void note_operands(const hunze_request *request, hunze_plan *plan)
{
    hunze_operands *operands = &plan->operands;
    for (int role = 0; role < HUNZE_ROLE_COUNT; role++) {
        const hunze_tensor *tensor = request->operand[role];
        if (!tensor)
            continue;
        plan->roles |= 1u << role;
        operands->extent[role] = hunze_tensor_extent(tensor);
        operands->misaligned[role] = (uint8_t)(role == HUNZE_ROLE_B && plan->packed ? 63 : tensor->dtype.bits / 8 - 1);
        if (operands->extent[role].low != operands->extent[role].high)
            operands->filled |= 1u << role;
        if (same_strides(tensor, request->operand[HUNZE_ROLE_D]))
            operands->like_d |= 1u << role;
        plan->bytes += distinct_bytes(tensor);
    }
}

static hunze_status check_request(const hunze_request *request, hunze_plan *plan)
{
    switch (plan->op) {
    case HUNZE_OP_GEMM: return hunze_check_gemm(request, plan);
    case HUNZE_OP_CONV:
    case HUNZE_OP_CONV_TRANSPOSE: return hunze_check_conv(request, plan);
    default: return hunze_check_map(request, plan);
    }
}

static hunze_status fill(const hunze_request *request, hunze_plan *plan)
{
    const hunze_tensor *b = request->operand[HUNZE_ROLE_B];
    TRY(find_device(request, plan));
    plan->packed = b && b->dtype.code == HUNZE_OPAQUE_HANDLE;
    if (plan->packed) {
        plan->packed_header = request->packed;
        plan->b_type = (hunze_type)request->packed.type;
        plan->packed_layout = request->packed.layout;
        plan->packed_flags = request->packed.flags;
    }
    TRY(check_request(request, plan));
    note_operands(request, plan);
    if (request->kernel)
        TRY(hunze_force_row(plan, request->kernel));
    TRY(hunze_choose_row(plan, NULL));
    if (plan->packed)
        TRY(hunze_packed_fits(&request->packed, plan->row));
    const uint32_t plain = 1u << HUNZE_ROLE_A | 1u << HUNZE_ROLE_B | 1u << HUNZE_ROLE_C | 1u << HUNZE_ROLE_D;
    const bool on_cpu = plan->device.type == HUNZE_DEVICE_CPU;
    plan->plain = on_cpu && plan->op == HUNZE_OP_GEMM && !(plan->roles & ~plain) && !plan->packed && !request->kernel &&
                  !((const hunze_gemm_options *)request->call->options)->activation;
    plan->writes =
        plan->operands.filled & 1u << HUNZE_ROLE_D || (plan->op == HUNZE_OP_QUANTIZE && plan->quantize.dynamic);
    plan->idle = !plan->writes || !on_cpu;
    if (!on_cpu) {
        plan->useful_threads = 1;
        if (plan->row->launch_choose)
            plan->row->launch_choose(plan, request->call);
        plan->workspace_bytes = device_workspace(plan);
        return HUNZE_OK;
    }
    plan->driver = driver_of(request, plan);
    if (!plan->driver)
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "this library was built without %s", op_names[plan->op]);
    const uint64_t useful = elementwise(plan) ? HUNZE_MAX_THREADS : plan->operations / thread_operations;
    plan->useful_threads = useful < 1 ? 1 : useful < HUNZE_MAX_THREADS ? (int32_t)useful : HUNZE_MAX_THREADS;
    plan->workspace_bytes = driver_workspace(plan, 1);
    return HUNZE_OK;
}

hunze_status hunze_plan_make(hunze_context *context, const hunze_request *request, hunze_plan **out)
{
    const size_t bytes = sizeof(hunze_plan) + request->words * sizeof(uint64_t);
    hunze_plan *plan = hunze_allocate(context, bytes, _Alignof(hunze_plan));
    if (!plan)
        return hunze_fail(HUNZE_ERR_NOMEM, "no memory for a plan of %zu bytes", bytes);
    memset(plan, 0, bytes);
    plan->references = 1;
    plan->context = context;
    plan->op = (hunze_op)request->call->op;
    plan->flags = request->flags;
    plan->allocated_bytes = bytes;
    plan->hash = request->hash;
    plan->key_words = request->words;
    memcpy(plan->key, request->key, request->words * sizeof(uint64_t));
    const hunze_status status = fill(request, plan);
    if (status)
        hunze_plan_drop(plan);
    else
        *out = plan;
    return status;
}

static hunze_status check_call(hunze_call *call, const hunze_call *given)
{
    if (!given)
        return hunze_fail(HUNZE_ERR_NULL, "call is NULL");
    TRY(hunze_struct_check(given, sizeof *given, "hunze_call"));
    *call = *given;
    if (!hunze_default_options(call->op))
        return hunze_fail(HUNZE_ERR_OPTION, "op %u is not one that plans take", call->op);
    if (!call->options)
        call->options = hunze_default_options(call->op);
    return HUNZE_OK;
}

hunze_status hunze_plan_create(hunze_context *context, const hunze_call *given, hunze_plan **out)
{
    hunze_call call;
    hunze_request request;
    if (!context || !out)
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL", context ? "plan" : "context");
    TRY(check_call(&call, given));
    TRY(hunze_request_build(context, &call, NULL, NULL, &request));
    hunze_status status = HUNZE_OK;
    hunze_flight *flight = hunze_flight_begin(context);
    hunze_plan *cached = flight ? (hunze_plan *)hunze_cache_find(context, &request, flight) : NULL;
    if (cached) {
        __atomic_fetch_add(&cached->references, 1, __ATOMIC_RELAXED);
        *out = cached;
    } else {
        status = hunze_plan_make(context, &request, out);
    }
    hunze_flight_end(flight);
    if (status == HUNZE_OK)
        hunze_context_retain(context);
    return status;
}

void hunze_plan_release(hunze_plan *plan)
{
    if (!plan)
        return;
    hunze_context *context = plan->context;
    hunze_plan_drop(plan);
    hunze_context_release(context);
}

/* A call that differs from its plan in how operands on a device are aligned: the plan may count on what it saw. */
static hunze_status check_alignments(const hunze_plan *plan, const hunze_request *request)
{
    if (plan->device.type == HUNZE_DEVICE_CPU)
        return HUNZE_OK; /* pinned memory */
    for (int role = 0; role < HUNZE_ROLE_COUNT; role++) {
        const hunze_tensor *tensor = request->operand[role];
        if (tensor && hunze_operand_alignment(tensor) < plan->alignment[role])
            return hunze_fail(HUNZE_ERR_ALIGN,
                              "%s is aligned to %d bytes, and the plan was made for %d: make one with this pointer",
                              hunze_role_name(plan->op, role), hunze_operand_alignment(tensor), plan->alignment[role]);
    }
    return HUNZE_OK;
}

/* Says what differs between a call and the plan that it was brought to: the first word of the key that does. */
static hunze_status mismatch(const hunze_plan *plan, const hunze_request *request)
{
    if (plan->op != (hunze_op)request->call->op)
        return hunze_fail(HUNZE_ERR_OPTION, "the plan is of op %s, the call of op %s", op_names[plan->op],
                          op_names[request->call->op]);
    for (int role = 0; role < HUNZE_ROLE_COUNT; role++)
        if (!(plan->roles & 1u << role) != !request->operand[role])
            return hunze_fail(HUNZE_ERR_OPTION, "%s is %s, unlike when the plan was made",
                              hunze_role_name(plan->op, role), request->operand[role] ? "given" : "missing");
    uint32_t at = ((plan->key[0] ^ request->key[0]) & ~hunze_key_alignments) == 0 ? 1 : 0;
    const uint32_t words = plan->key_words < request->words ? plan->key_words : request->words;
    while (at > 0 && at < words && plan->key[at] == request->key[at])
        at++;
    if (at == words && plan->key_words == request->words)
        return check_alignments(plan, request);
    for (uint32_t start = 2; at >= 2 && start < request->words;) { /* the operand whose words the difference is in */
        const uint64_t head = request->key[start];
        const uint32_t role = head >> 24 & 0xff, ndim = head & 0xff;
        const bool strides = head >> 23 & 1;
        if (role >= HUNZE_ROLE_COUNT || !request->operand[role] || ndim != (uint32_t)request->operand[role]->ndim ||
            head >> 32 == 0)
            break;
        const uint32_t end = start + 1 + ndim * (strides ? 2 : 1);
        if (at < end) {
            const char *name = hunze_role_name(plan->op, (int)role);
            if (at == start && (head ^ plan->key[at]) >> 32)
                return hunze_fail(HUNZE_ERR_DTYPE, "%s has another dtype than when the plan was made", name);
            if (at == start && (head ^ plan->key[at]) & 0x7FFF00)
                return hunze_fail(HUNZE_ERR_DEVICE, "%s lives on another device than when the plan was made", name);
            if (at > start + ndim || (at == start && (head ^ plan->key[at]) >> 23 & 1))
                return hunze_fail(HUNZE_ERR_STRIDE, "%s has other strides than when the plan was made", name);
            return hunze_fail(HUNZE_ERR_SHAPE, "%s has another shape than when the plan was made", name);
        }
        start = end;
    }
    return hunze_fail(HUNZE_ERR_OPTION,
                      "the call's options, bias, residual, scales or packed weights differ from those of the plan");
}

static hunze_status run_request(const hunze_plan *plan, const hunze_request *request, const hunze_run *run)
{
    if (plan->workspace_bytes == 0 && plan->useful_threads <= 1) /* a flight is for its scratch */
        return hunze_execute(plan, request, run, NULL);
    hunze_flight *flight = hunze_flight_begin(plan->context);
    const hunze_status status = hunze_execute(plan, request, run, flight);
    hunze_flight_end(flight);
    return status;
}

hunze_status hunze_plan_run(const hunze_plan *plan, const hunze_call *given, const hunze_run *run)
{
    hunze_call call;
    hunze_request request;
    if (!plan)
        return hunze_fail(HUNZE_ERR_NULL, "plan is NULL");
    /* Small products spend most of their time here: what is as it was needs no copy. */
    if (plan->plain && given && given->struct_size == sizeof *given && given->op == HUNZE_OP_GEMM && given->options &&
        hunze_request_matches(plan->context, given, plan, &request))
        return run_request(plan, &request, run);
    TRY(check_call(&call, given));
    if (!plan->plain || call.op != HUNZE_OP_GEMM || !hunze_request_matches(plan->context, &call, plan, &request)) {
        TRY(hunze_request_build(plan->context, &call, plan, run, &request));
        if (request.words != plan->key_words || memcmp(request.key, plan->key, request.words * sizeof(uint64_t)) != 0)
            TRY(mismatch(plan, &request));
    }
    return run_request(plan, &request, run);
}

hunze_status hunze_plan_prepare(const hunze_plan *plan)
{
    if (!plan)
        return hunze_fail(HUNZE_ERR_NULL, "plan is NULL");
    return plan->device.type == HUNZE_DEVICE_CPU ? HUNZE_OK : hunze_device_prepare(plan);
}

size_t hunze_plan_workspace(const hunze_plan *plan, int32_t threads)
{
    if (!plan || threads < 0 || threads > HUNZE_MAX_THREADS)
        return 0;
    return hunze_plan_workspace_of(plan, hunze_plan_threads(plan, threads));
}

const char *hunze_plan_kernel(const hunze_plan *plan) { return plan ? plan->row->name : ""; }

static void add_shape(hunze_text *text, const hunze_plan *plan)
{
    hunze_text_add(text, "\"shape\": ");
    if (plan->op == HUNZE_OP_GEMM) {
        const hunze_gemm_shape *s = &plan->gemm_shape;
        hunze_text_add(text, "{\"m\": %lld, \"n\": %lld, \"k\": %lld, \"batch\": %lld", (long long)s->m,
                       (long long)s->n, (long long)s->k, (long long)s->batch);
        if (plan->roles & 1u << HUNZE_ROLE_OFFSETS)
            hunze_text_add(text, ", \"groups\": %lld", (long long)s->groups);
        hunze_text_add(text, "}");
    } else if (elementwise(plan)) {
        hunze_text_add(text, "{\"elements\": %llu}", (unsigned long long)plan->operations);
    } else {
        const hunze_conv_shape *s = &plan->conv;
        hunze_text_add(
            text,
            "{\"n\": %lld, \"channels\": %lld, \"out_channels\": %lld, \"groups\": %lld, \"in\": [%lld, %lld], "
            "\"out\": [%lld, %lld], \"kernel\": [%lld, %lld], \"stride\": [%lld, %lld], \"dilation\": [%lld, %lld]}",
            (long long)s->n, (long long)s->c, (long long)s->k, (long long)s->groups, (long long)s->in[0],
            (long long)s->in[1], (long long)s->out[0], (long long)s->out[1], (long long)s->kernel[0],
            (long long)s->kernel[1], (long long)s->stride[0], (long long)s->stride[1], (long long)s->dilation[0],
            (long long)s->dilation[1]);
    }
}

/* The loops around the kernel, and for a product how they cut it. */
static void add_driver(hunze_text *text, const hunze_plan *plan, int32_t threads)
{
    hunze_driver_fn *const driver = plan->driver;
    if (plan->op == HUNZE_OP_GEMM && driver) {
        const hunze_gemm_cut cut = hunze_gemm_cut_of(plan, threads);
        const hunze_row *row = plan->row;
        hunze_text_add(text, "\"driver\": \"%s\", ", cut.driver);
        if (!row->provided)
            hunze_text_add(text,
                           "\"blocks\": {\"tile\": [%d, %d], \"unit\": [%lld, %lld], \"k\": %lld, \"lanes\": %d, "
                           "\"b\": \"%s\"}, ",
                           row->mr, row->nr, (long long)cut.unit_m, (long long)cut.unit_n, (long long)cut.kc, cut.lanes,
                           cut.b);
        return;
    }
    hunze_text_add(text, "\"driver\": \"%s\", ",
                   !driver                              ? "device"
                   : driver == hunze_run_depthwise      ? "depthwise"
                   : driver == hunze_run_conv_planes    ? "planes"
                   : driver == hunze_run_conv           ? "gathered rows"
                   : driver == hunze_run_conv_transpose ? "residues"
                                                        : "elementwise");
}

static void add_device(hunze_text *text, const hunze_plan *plan)
{
    if (plan->device.type == HUNZE_DEVICE_CPU) {
        hunze_text_add(text, "\"device\": \"cpu\", ");
        return;
    }
    char name[HUNZE_DEVICE_TEXT];
    hunze_text_add(text, "\"device\": \"cuda:%d\", \"device_name\": ", plan->device.id);
    hunze_text_add_quoted(text, hunze_device_text(plan->device, name));
    hunze_text_add(text, ", \"compiled_by_driver\": ");
    hunze_text_add_quoted(text,
                          hunze_device_compiles(plan->device)
                              ? "the library has PTX but no machine code for this device: its driver compiles each "
                                "kernel when it is first used, and keeps it in ~/.nv/ComputeCache (CUDA_CACHE_PATH)"
                              : NULL);
    hunze_text_add(text, ", ");
    if (plan->choice.tile)
        hunze_text_add(text, "\"tile\": %d, \"parallel_k_blocks\": %u, ", plan->choice.tile,
                       plan->choice.k_blocks ? plan->choice.k_blocks : 1);
}

hunze_status hunze_plan_explain(const hunze_plan *plan, char **out)
{
    static const char *const orders[] = {"exact", "chain", "own"};
    if (!plan || !out)
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL", plan ? "text" : "plan");
    hunze_text text;
    hunze_text_start(&text);
    const hunze_row *row = plan->row;
    hunze_text_add(&text,
                   "{\"op\": \"%s\", \"kernel\": \"%s\", \"isa\": \"%s\", \"order\": \"%s\", \"dtypes\": [\"%s\", "
                   "\"%s\", \"%s\"], ",
                   op_names[plan->op], row->name, hunze_isa_name(row->isa), orders[row->order],
                   hunze_type_name(plan->a_type), hunze_type_name(plan->b_type), hunze_type_name(plan->d_type));
    hunze_text_add(&text, "\"why\": \"");
    hunze_explain_choice(plan, &text);
    hunze_text_add(&text, "\", ");
    const int32_t threads = hunze_plan_threads(plan, 0);
    add_driver(&text, plan, threads);
    add_device(&text, plan);
    add_shape(&text, plan);
    const double cycles = hunze_modelled_cycles(plan);
    hunze_text_add(&text, ", \"cycles\": ");
    hunze_text_add(&text, cycles > 0 ? "%.0f" : "null", cycles);
    hunze_text_add(&text,
                   ", \"packed\": %s, \"reproducible\": %s, \"operations\": %llu, \"bytes\": %llu, \"threads\": %d, "
                   "\"workspace_bytes\": %zu, \"refused\": ",
                   plan->packed ? "true" : "false", plan->flags & HUNZE_REPRODUCIBLE ? "true" : "false",
                   (unsigned long long)plan->operations, (unsigned long long)plan->bytes, threads,
                   hunze_plan_workspace_of(plan, threads));
    /* With its key, which rows read. */
    hunze_plan *copy = hunze_allocate(plan->context, plan->allocated_bytes, _Alignof(hunze_plan));
    hunze_status status = HUNZE_OK;
    if (copy) {
        memcpy(copy, plan, plan->allocated_bytes);
        status = hunze_choose_row(copy, &text);
        hunze_deallocate(plan->context, copy, plan->allocated_bytes);
    }
    hunze_text_add(&text, "}");
    TRY(hunze_text_finish(&text, out));
    if (copy && status == HUNZE_OK)
        return HUNZE_OK;
    hunze_string_free(*out);
    *out = NULL;
    return copy ? status : hunze_fail(HUNZE_ERR_NOMEM, "no memory for a plan of %zu bytes", plan->allocated_bytes);
}
