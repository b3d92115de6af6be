/* SPDX-License-Identifier: Apache-2.0 */
/* One run of a plan: the checks that need data, workspace, the floating-point environment, and who is told about the call. */
#include "device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an output may be besides itself: gemm's C, and the input of an activation. */
static bool may_be_output(const hunze_plan *plan, int role)
{
    return role == HUNZE_ROLE_C || (role == HUNZE_ROLE_A && plan->op == HUNZE_OP_ACTIVATION);
}

/* As hunze_data, of tensors that may have no data. */
static inline uintptr_t address_of(const hunze_tensor *tensor) { return (uintptr_t)tensor->data + tensor->byte_offset; }

/* Whether the operand is D, element by element. */
static bool is_d(const hunze_plan *plan, const hunze_request *request, int role)
{
    return plan->operands.like_d >> role & 1 &&
           hunze_data(request->operand[role]) == hunze_data(request->operand[HUNZE_ROLE_D]);
}

/* The bytes between the ends of an operand that has elements, and whether those of two meet: one comparison. */
typedef struct span {
    uintptr_t start, bytes;
} span;

static inline span span_of(const hunze_tensor *tensor, const hunze_extent *extent)
{
    return (span){address_of(tensor) + (uintptr_t)extent->low, (uintptr_t)(extent->high - extent->low)};
}

static inline bool meet(span a, span b) { return b.start + b.bytes - 1 - a.start < b.bytes - 1 + a.bytes; }

static hunze_status check_overlap(const hunze_plan *plan, const hunze_request *request, int output, int role)
{
    const hunze_tensor *d = request->operand[output], *tensor = request->operand[role];
    if ((output == HUNZE_ROLE_D && may_be_output(plan, role) && is_d(plan, request, role)) ||
        !hunze_tensors_overlap(tensor, d))
        return HUNZE_OK;
    const char *name = hunze_role_name(plan->op, output), *other = hunze_role_name(plan->op, role);
    return hunze_fail(HUNZE_ERR_ALIAS, "%s overlaps %s%s", name, other,
                      may_be_output(plan, role) ? ": it may only be exactly the same view"
                                                : ": give it memory of its own");
}

/* Dynamic quantisation writes its scale and zero point too. */
static hunze_status check_parameters(const hunze_plan *plan, const hunze_request *request)
{
    const hunze_operands *operands = &plan->operands;
    for (int output = HUNZE_ROLE_D_SCALE; output <= HUNZE_ROLE_D_ZERO; output++)
        for (int role = 0; role < HUNZE_ROLE_COUNT; role++)
            if (role != output && operands->filled >> output & operands->filled >> role & 1 &&
                meet(span_of(request->operand[output], &operands->extent[output]),
                     span_of(request->operand[role], &operands->extent[role])))
                TRY(check_overlap(plan, request, output, role));
    return HUNZE_OK;
}

static __attribute__((noinline)) hunze_status refuse_data(const hunze_plan *plan, const hunze_tensor *tensor, int role)
{
    const char *name = hunze_role_name(plan->op, role);
    if (role == HUNZE_ROLE_B && plan->packed)
        return hunze_fail(HUNZE_ERR_ALIGN, "packed %s is not aligned to 64 bytes", name);
    return hunze_tensor_check_data(tensor, name);
}

/* d: that of D, if it has elements. */
static inline __attribute__((always_inline)) hunze_status check_operand(const hunze_plan *plan,
                                                                        const hunze_request *request, int role, span d)
{
    const hunze_operands *operands = &plan->operands;
    const hunze_tensor *tensor = request->operand[role];
    if (__builtin_expect(!tensor->data || address_of(tensor) & operands->misaligned[role], 0))
        return refuse_data(plan, tensor, role);
    if (role != HUNZE_ROLE_D && __builtin_expect(meet(span_of(tensor, &operands->extent[role]), d), 0) &&
        operands->filled & 1u << HUNZE_ROLE_D)
        return check_overlap(plan, request, HUNZE_ROLE_D, role);
    return HUNZE_OK;
}

static hunze_status check_operands(const hunze_plan *plan, const hunze_request *request)
{
    const span d = span_of(request->operand[HUNZE_ROLE_D], &plan->operands.extent[HUNZE_ROLE_D]);
    for (uint32_t left = plan->operands.filled; left; left &= left - 1)
        TRY(check_operand(plan, request, __builtin_ctz(left), d));
    if (plan->op == HUNZE_OP_QUANTIZE && plan->quantize.dynamic)
        return check_parameters(plan, request);
    return HUNZE_OK;
}

/* Offsets ascend from 0 to the rows of a. */
static __attribute__((noinline)) hunze_status check_offsets(const hunze_plan *plan, const hunze_tensor *tensor)
{
    const int32_t *offsets = hunze_data(tensor);
    const int64_t groups = plan->gemm_shape.groups, m = plan->gemm_shape.m;
    if (offsets[0] != 0)
        return hunze_fail(HUNZE_ERR_OPTION, "offsets[0] is %d; the first group starts with row 0", offsets[0]);
    for (int64_t i = 1; i <= groups; i++) {
        if (offsets[i] < offsets[i - 1])
            return hunze_fail(HUNZE_ERR_OPTION, "offsets[%lld] is %d after %d; they ascend", (long long)i, offsets[i],
                              offsets[i - 1]);
        if (offsets[i] > m)
            return hunze_fail(HUNZE_ERR_OPTION, "offsets[%lld] is %d; a has %lld rows", (long long)i, offsets[i],
                              (long long)m);
    }
    return offsets[groups] == m ? HUNZE_OK
                                : hunze_fail(HUNZE_ERR_OPTION, "offsets[%lld], the last, is %d; a has %lld rows",
                                             (long long)groups, offsets[groups], (long long)m);
}

static bool is_whole(double x) { return x >= -0x1p63 && x < 0x1p63 && (double)(int64_t)x == x; }

static hunze_status check_exact_scalars(const hunze_plan *plan, const hunze_gemm_options *options)
{
    const double alpha = options->alpha ? *options->alpha : 1, beta = options->beta ? *options->beta : 0;
    if (!hunze_row_wraps(plan->row) && (alpha != 1 || beta != 0))
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "alpha is %g and beta %g; integer products take 1 and 0", alpha, beta);
    if (!is_whole(alpha) || !is_whole(beta))
        return hunze_fail(HUNZE_ERR_OPTION, "alpha is %g and beta %g; with %s they are whole numbers below 2^63", alpha,
                          beta, hunze_type_name(plan->d_type));
    return HUNZE_OK;
}

/* alpha and beta are read when the plan runs. */
static inline hunze_status check_beta(const hunze_plan *plan, const hunze_gemm_options *options)
{
    if (__builtin_expect(options->beta && *options->beta != 0, 0) && !(plan->roles & 1u << HUNZE_ROLE_C))
        return hunze_fail(HUNZE_ERR_NULL, "c is NULL and beta is %g", *options->beta);
    return HUNZE_OK;
}

hunze_status hunze_run_check(const hunze_run *run, hunze_device device)
{
    TRY(hunze_struct_check(run, sizeof *run, "hunze_run"));
    if (run->threads < 0 || run->threads > HUNZE_MAX_THREADS)
        return hunze_fail(HUNZE_ERR_OPTION, "hunze_run.threads is %d; 0 to %d are taken", run->threads,
                          HUNZE_MAX_THREADS);
    if (run->stream && device.type == HUNZE_DEVICE_CPU)
        return hunze_fail(HUNZE_ERR_OPTION, "hunze_run.stream is given; the CPU has none");
    if ((uintptr_t)run->workspace % 64)
        return hunze_fail(HUNZE_ERR_ALIGN, "hunze_run.workspace is not aligned to 64 bytes");
    return HUNZE_OK;
}

/* Scratch for a call: that of its flight if it is large enough, else a new block, which the flight keeps while the context's sum allows. */
static hunze_status borrow(hunze_context *context, hunze_flight *flight, size_t bytes, void **workspace)
{
    if (flight && flight->scratch_bytes >= bytes) {
        *workspace = flight->scratch;
        return HUNZE_OK;
    }
    if (flight && flight->scratch) { /* too small: a larger one takes its place */
        hunze_deallocate(context, flight->scratch, flight->scratch_bytes);
        atomic_fetch_sub(&context->kept_bytes, flight->scratch_bytes);
        flight->scratch = NULL;
        flight->scratch_bytes = 0;
    }
    *workspace = hunze_allocate(context, bytes, 64);
    if (!*workspace)
        return hunze_fail(HUNZE_ERR_NOMEM, "no memory for a workspace of %zu bytes", bytes);
    if (flight) {
        if (atomic_fetch_add(&context->kept_bytes, bytes) + bytes <= HUNZE_KEPT_SCRATCH_BYTES) {
            flight->scratch = *workspace;
            flight->scratch_bytes = bytes;
        } else {
            atomic_fetch_sub(&context->kept_bytes, bytes);
        }
    }
    return HUNZE_OK;
}

/* ------------------------------------------------------------------ the line of a trace
 * An op, its operands as name=type:shape@strides, then what is not the default, flags and kernel; hunze_bench --repro reads it.  Strides stand
 * where they are not row-major. */

typedef struct line {
    char *text;
    size_t length, size; /* length < size */
} line;

__attribute__((format(printf, 2, 3))) static void add(line *to, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int more = vsnprintf(to->text + to->length, to->size - to->length, format, arguments);
    va_end(arguments);
    if (more > 0)
        to->length = (size_t)more < to->size - to->length ? to->length + (size_t)more : to->size - 1;
}

/* With the digits that it takes to read the same number, and a point in any locale. */
static void add_number(line *to, double value, bool single)
{
    static const int digits[] = {6, 9, 17};
    char text[40];
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "%.*g", digits[i], value);
        const double read = strtod(text, NULL);
        if (single ? (float)read == (float)value : read == value)
            break;
    }
    for (char *at = text; *at; at++)
        if (*at == ',')
            *at = '.';
    add(to, "%s", text);
}

static void add_extents(line *to, const int64_t *extents, int count, char between)
{
    for (int i = 0; i < count; i++) {
        if (i)
            add(to, "%c", between);
        add(to, "%lld", (long long)extents[i]);
    }
}

static bool is_row_major(const hunze_tensor *tensor)
{
    uint64_t stride = 1;
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        if ((uint64_t)tensor->strides[i] != stride)
            return false;
        stride *= (uint64_t)tensor->shape[i];
    }
    return true;
}

/* The weights that a blob was made from: (k, n), or a convolution's with their groups together. */
static void add_packed(line *to, const hunze_packed_header *header)
{
    int64_t shape[4] = {header->k, header->n};
    int ndim = 2;
    if (header->op != HUNZE_OP_GEMM) {
        const uint64_t groups = header->groups,
                       channels = (uint64_t)(header->k / (header->kernel[0] * header->kernel[1]));
        const bool transposed = header->op == HUNZE_OP_CONV_TRANSPOSE;
        shape[0] = (int64_t)((transposed ? channels : (uint64_t)header->n) * groups);
        shape[1] = transposed ? header->n : (int64_t)channels;
        for (int i = 2 - header->spatial; i < 2; i++)
            shape[ndim++] = header->kernel[i];
    }
    add(to, "packed-%s:", hunze_type_name((hunze_type)header->type));
    add_extents(to, shape, ndim, 'x');
}

static void add_operand(line *to, const hunze_plan *plan, int role, const hunze_tensor *tensor)
{
    char dtype[24];
    add(to, " %s=", hunze_role_name(plan->op, role));
    if (role == HUNZE_ROLE_B && plan->packed) {
        add_packed(to, &plan->packed_header);
        return;
    }
    add(to, "%s:", hunze_dtype_text(tensor->dtype, dtype));
    add_extents(to, tensor->shape, tensor->ndim, 'x');
    if (tensor->ndim > 0 && tensor->strides && !is_row_major(tensor)) {
        add(to, "@");
        add_extents(to, tensor->strides, tensor->ndim, ',');
    }
}

/* What holds for scale and zero point together: the axis, without which there is one for the tensor. */
static void add_quant(line *to, const hunze_plan *plan, int scale_role, const hunze_quant *quant)
{
    const char *name = hunze_role_name(plan->op, scale_role);
    if (plan->roles & 3u << scale_role && quant->granularity == HUNZE_PER_AXIS)
        add(to, " %.*s.axis=%d", (int)strcspn(name, "."), name, quant->axis);
}

static void add_activation(line *to, const hunze_activation *activation)
{
    if (!activation || activation->kind == HUNZE_ACT_NONE)
        return;
    add(to, " activation=%u", activation->kind);
    if (activation->kind == HUNZE_ACT_HARDSIGMOID || activation->kind == HUNZE_ACT_LEAKY_RELU ||
        activation->kind == HUNZE_ACT_CLIP) {
        add(to, ":");
        add_number(to, (double)activation->alpha, true);
        add(to, ",");
        add_number(to, (double)activation->beta, true);
    }
}

/* One number per spatial axis, if any is not the default. */
static void add_axes(line *to, const char *name, const int64_t *values, int spatial, int64_t usual)
{
    values += 2 - spatial;
    if (values[0] == usual && values[spatial - 1] == usual)
        return;
    add(to, " %s=", name);
    add_extents(to, values, spatial, ',');
}

static void add_gemm_options(line *to, const hunze_plan *plan, const hunze_request *request)
{
    const hunze_gemm_options *o = request->call->options;
    add_quant(to, plan, HUNZE_ROLE_A_SCALE, o->a_quant);
    add_quant(to, plan, HUNZE_ROLE_B_SCALE, o->b_quant);
    add_quant(to, plan, HUNZE_ROLE_D_SCALE, o->d_quant);
    if (o->alpha && *o->alpha != 1) {
        add(to, " alpha=");
        add_number(to, *o->alpha, false);
    }
    if (o->beta && *o->beta != 0) {
        add(to, " beta=");
        add_number(to, *o->beta, false);
    }
    if (o->transpose_a)
        add(to, " transpose_a=1");
    if (o->transpose_b)
        add(to, " transpose_b=1");
    if (plan->roles & 1u << HUNZE_ROLE_OFFSETS) {
        const int32_t *offsets = hunze_data(request->operand[HUNZE_ROLE_OFFSETS]);
        for (int64_t i = 0; i < plan->gemm_shape.groups; i++)
            add(to, "%s%d", i ? "," : " rows=", offsets[i + 1] - offsets[i]);
    }
    add_activation(to, o->activation);
}

static void add_conv_options(line *to, const hunze_plan *plan, const hunze_request *request)
{
    const hunze_conv_options *o = request->call->options;
    const hunze_conv_shape *shape = &plan->conv;
    const int spatial = shape->spatial;
    int64_t output_padding[2];
    for (int i = 0; i < 2; i++)
        output_padding[i] = i < 2 - spatial ? 0 : o->output_padding[i - (2 - spatial)];
    add_quant(to, plan, HUNZE_ROLE_A_SCALE, o->x_quant);
    add_quant(to, plan, HUNZE_ROLE_B_SCALE, o->w_quant);
    add_quant(to, plan, HUNZE_ROLE_D_SCALE, o->y_quant);
    if (o->layout)
        add(to, " layout=%u", o->layout);
    if (shape->groups != 1)
        add(to, " groups=%lld", (long long)shape->groups);
    add_axes(to, "stride", shape->stride, spatial, 1);
    add_axes(to, "dilation", shape->dilation, spatial, 1);
    add_axes(to, "before", shape->before, spatial, 0);
    add_axes(to, "after", shape->after, spatial, 0);
    add_axes(to, "output_padding", output_padding, spatial, 0);
    add_activation(to, o->activation);
}

static void add_options(line *to, const hunze_plan *plan, const hunze_request *request)
{
    switch (plan->op) {
    case HUNZE_OP_GEMM: add_gemm_options(to, plan, request); break;
    case HUNZE_OP_CONV:
    case HUNZE_OP_CONV_TRANSPOSE: add_conv_options(to, plan, request); break;
    case HUNZE_OP_QUANTIZE:
    case HUNZE_OP_DEQUANTIZE: {
        const hunze_quantize_options *o = request->call->options;
        add_quant(to, plan, plan->op == HUNZE_OP_QUANTIZE ? HUNZE_ROLE_D_SCALE : HUNZE_ROLE_A_SCALE, o->quant);
        if (o->dynamic)
            add(to, " dynamic=1");
        break;
    }
    case HUNZE_OP_ACTIVATION:
        add_activation(to, ((const hunze_activation_options *)request->call->options)->activation);
        break;
    default: break;
    }
}

static void call_line(const hunze_plan *plan, const hunze_request *request, char *text, size_t size)
{
    line to = {text, 0, size};
    bool in_place = false;
    add(&to, "%s", hunze_op_name(plan->op));
    for (int role = 0; role < HUNZE_ROLE_COUNT; role++)
        if (plan->roles & 1u << role) {
            const hunze_tensor *tensor = request->operand[role];
            add_operand(&to, plan, role, tensor);
            in_place |= may_be_output(plan, role) && is_d(plan, request, role);
        }
    add_options(&to, plan, request);
    if (in_place)
        add(&to, " in_place=1");
    if (plan->flags)
        add(&to, " flags=%u", plan->flags);
    add(&to, " kernel=%s", plan->row->name);
}

void hunze_trace_call(const hunze_plan *plan, const hunze_request *request, int32_t threads, uint64_t bytes,
                      uint64_t nanoseconds)
{
    char line[1024];
    call_line(plan, request, line, sizeof line);
    const hunze_trace_record record = {
        sizeof record, (uint32_t)threads, plan->row->name, line, nanoseconds, plan->operations, bytes};
    plan->context->trace(plan->context->trace_user, &record);
}

static void tell(const hunze_plan *plan, const hunze_request *request, const hunze_exec *exec, uint64_t nanoseconds)
{
    hunze_context *context = plan->context;
    const uint64_t bytes = plan->bytes - exec->unread_bytes;
    if (atomic_load_explicit(&context->meters, memory_order_relaxed) > 0)
        hunze_meter_count(context, plan->operations, bytes, nanoseconds);
    if (context->trace)
        hunze_trace_call(plan, request, exec->threads, bytes, nanoseconds);
}

/* Whether anybody wants to know of calls. */
static bool is_told(hunze_context *context)
{
    return context->trace || atomic_load_explicit(&context->meters, memory_order_relaxed) > 0;
}

hunze_status hunze_check_run(const hunze_plan *plan, const hunze_request *request)
{
    TRY(check_operands(plan, request));
    if (plan->op == HUNZE_OP_GEMM) {
        TRY(check_beta(plan, request->call->options));
        if (plan->row->order == HUNZE_ORDER_EXACT)
            TRY(check_exact_scalars(plan, request->call->options));
        if (plan->roles & 1u << HUNZE_ROLE_OFFSETS)
            TRY(check_offsets(plan, request->operand[HUNZE_ROLE_OFFSETS]));
    }
    return HUNZE_OK;
}

static __attribute__((noinline)) hunze_status execute(const hunze_plan *plan, const hunze_request *request,
                                                      const hunze_run *run, hunze_flight *flight,
                                                      hunze_float_state saved)
{
    hunze_context *context = plan->context;
    if (run)
        TRY(hunze_run_check(run, plan->device));
    TRY(hunze_check_run(plan, request));
    if (plan->idle)
        return plan->writes ? hunze_device_execute(plan, request, run) : HUNZE_OK;
    hunze_exec exec = {
        .context = context,
        .flags = plan->flags,
        .threads = 1,
        .run = run,
        .workspace_bytes = plan->workspace_bytes,
    };
    if (plan->useful_threads > 1) {
        exec.threads = hunze_plan_threads(plan, run ? run->threads : 0);
        exec.workspace_bytes = hunze_plan_workspace_of(plan, exec.threads);
    }
    bool keep = true;
    if (run && run->workspace) {
        if (run->workspace_bytes < exec.workspace_bytes)
            return hunze_fail(HUNZE_ERR_WORKSPACE,
                              "hunze_run.workspace has %zu bytes; the plan needs %zu with %d threads",
                              run->workspace_bytes, exec.workspace_bytes, exec.threads);
        exec.workspace = run->workspace;
    } else if (exec.workspace_bytes > 0) {
        TRY(borrow(context, flight, exec.workspace_bytes, &exec.workspace));
        keep = flight && exec.workspace == flight->scratch;
    }
    if (run && run->cancel)
        exec.caller = (uintptr_t)pthread_self();
    const bool told = is_told(context);
    const uint64_t start = told ? hunze_nanoseconds() : 0;
    hunze_float_set(saved);
    hunze_status status = plan->driver(plan, request->call, &exec);
    hunze_float_leave(saved);
    if (__builtin_expect(exec.lost, 0))
        status =
            hunze_fail(HUNZE_ERR_SYSTEM, "the process was forked in the middle of the call: its output is incomplete");
    if (told && status == HUNZE_OK)
        tell(plan, request, &exec, hunze_nanoseconds() - start);
    if (plan->flags & HUNZE_WIPE && exec.workspace)
        hunze_wipe(exec.workspace, exec.workspace_bytes);
    if (!keep)
        hunze_deallocate(context, exec.workspace, exec.workspace_bytes);
    return status;
}

hunze_status hunze_execute(const hunze_plan *plan, const hunze_request *request, const hunze_run *run,
                           hunze_flight *flight)
{
    const hunze_float_state saved = hunze_float_read(); /* long before it is looked at: reading it takes a while */
    if (!plan->single || run || is_told(plan->context))
        return execute(plan, request, run, flight, saved);
    /* One small product: the call may take no longer than what is left out here. */
    const span d = span_of(request->operand[HUNZE_ROLE_D], &plan->operands.extent[HUNZE_ROLE_D]);
    TRY(check_operand(plan, request, HUNZE_ROLE_D, d));
    TRY(check_operand(plan, request, HUNZE_ROLE_A, d));
    TRY(check_operand(plan, request, HUNZE_ROLE_B, d));
    if (plan->roles & 1u << HUNZE_ROLE_C)
        TRY(check_operand(plan, request, HUNZE_ROLE_C, d));
    else
        TRY(check_beta(plan, request->call->options));
    hunze_float_set(saved);
    const hunze_status status = hunze_run_gemm_direct(plan, request->call, NULL);
    hunze_float_leave(saved);
    return status;
}
