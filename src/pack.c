/* SPDX-License-Identifier: Apache-2.0 */
/* Packed weights: what a blob holds, which row it is made for, and making it. */
#include "conv.h"
#include "device.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MAGIC = 0x4B505A48 /* "HZPK" */,
    VERSION = 1,
    PACK_FLAGS = HUNZE_REPRODUCIBLE | HUNZE_REQUIRE_FAST | HUNZE_BATCH_INVARIANT | HUNZE_WIPE | HUNZE_TRUST_POINTERS
};

/* ------------------------------------------------------------------ blobs that come in */

static hunze_status check_blob_tensor(const hunze_tensor *tensor, const char *name)
{
    char text[24];
    TRY(hunze_tensor_check(tensor, name));
    if (tensor->dtype.code != HUNZE_OPAQUE_HANDLE || tensor->dtype.bits != 64 || tensor->dtype.lanes != 1)
        return hunze_fail(HUNZE_ERR_DTYPE, "%s is %s; a packed weight has dtype {%d, 64, 1}", name,
                          hunze_dtype_text(tensor->dtype, text), HUNZE_OPAQUE_HANDLE);
    if (tensor->ndim != 1 || (tensor->shape[0] > 1 && hunze_stride(tensor, 0) != 1))
        return hunze_fail(HUNZE_ERR_SHAPE, "%s has %d axes%s; a packed weight is one contiguous axis", name,
                          tensor->ndim, tensor->ndim == 1 ? " with a stride" : "");
    return HUNZE_OK;
}

static bool is_on_cpu(const hunze_tensor *tensor)
{
    return tensor->device.type == HUNZE_DEVICE_CPU || tensor->device.type == HUNZE_DEVICE_CUDA_HOST;
}

static hunze_status check_blob_data(const hunze_tensor *tensor, const char *name)
{
    if (!tensor->data)
        return hunze_fail(HUNZE_ERR_NULL, "%s is a packed weight and its data is NULL: its header is needed", name);
    if ((uintptr_t)hunze_data(tensor) % 64)
        return hunze_fail(HUNZE_ERR_ALIGN, "packed %s is not aligned to 64 bytes", name);
    return HUNZE_OK;
}

/* The stream has packed it, or waits for who did. */
static hunze_status read_from_device(hunze_context *context, const hunze_tensor *tensor, const char *name, void *stream,
                                     hunze_packed_header *header)
{
    const hunze_status status = hunze_device_read(context, tensor, stream, header, sizeof *header);
    if (status != HUNZE_ERR_CAPTURE)
        return status;
    return hunze_fail(
        HUNZE_ERR_CAPTURE,
        "the header of packed %s is on the device and cannot be read while a stream is being captured: "
        "make a plan before the capture begins (hunze_plan_create), and run that, or give hunze_run.packed_header",
        name);
}

hunze_status hunze_packed_read(hunze_context *context, const hunze_tensor *tensor, const char *name,
                               const hunze_run *run, hunze_packed_header *header)
{
    const void *known = run ? run->packed_header : NULL;
    TRY(check_blob_tensor(tensor, name));
    TRY(check_blob_data(tensor, name));
    const int64_t given = tensor->shape[0] * 8;
    if (given < (int64_t)sizeof(hunze_packed_header))
        return hunze_fail(HUNZE_ERR_PACKED, "packed %s has %" PRId64 " bytes, less than a header", name, given);
    if (is_on_cpu(tensor))
        known = hunze_data(tensor);
    if (known)
        memcpy(header, known, sizeof *header);
    else
        TRY(read_from_device(context, tensor, name, run ? run->stream : NULL, header));
    if (header->magic != MAGIC)
        return hunze_fail(HUNZE_ERR_PACKED, "%s does not start as a packed weight does", name);
    if (header->version != VERSION)
        return hunze_fail(HUNZE_ERR_PACKED, "%s was packed in version %u; this library reads %d: pack it again", name,
                          header->version, VERSION);
    if (header->bytes < (int64_t)sizeof *header || header->bytes > given)
        return hunze_fail(HUNZE_ERR_PACKED, "packed %s says %" PRId64 " bytes and has %" PRId64, name, header->bytes,
                          given);
    int64_t weights;
    const bool conv = header->op == HUNZE_OP_CONV || header->op == HUNZE_OP_CONV_TRANSPOSE;
    if (header->type == HUNZE_TYPE_NONE || header->type >= HUNZE_TYPE_COUNT || (!conv && header->op != HUNZE_OP_GEMM) ||
        header->groups < 1 || header->n < 0 || header->k < 0 ||
        __builtin_mul_overflow(header->n, header->k, &weights) ||
        __builtin_mul_overflow(weights, (int64_t)header->groups, &weights) || weights > header->bytes ||
        header->n > INT32_MAX * 64LL || header->k > INT32_MAX * 64LL || header->reserved)
        return hunze_fail(HUNZE_ERR_PACKED, "packed %s has a header that no packing makes", name);
    if (conv && (header->kernel[0] < 1 || header->kernel[1] < 1 || header->kernel[0] > header->bytes ||
                 header->kernel[1] > header->bytes || header->spatial < 1 || header->spatial > 2 ||
                 __builtin_mul_overflow(header->kernel[0], header->kernel[1], &weights) || header->k % weights))
        return hunze_fail(HUNZE_ERR_PACKED, "packed %s has a header whose kernel does not fit its k", name);
    return HUNZE_OK;
}

static int64_t blob_bytes(const hunze_row *row, int64_t groups, int64_t n, int64_t k)
{
    const int64_t columns = hunze_cuda_kn_columns(n), bytes = (int64_t)hunze_type_bytes(row->b);
    const size_t flag = row->b == HUNZE_TYPE_F32 || row->b == HUNZE_TYPE_F64 ? 64 : 0; /* kernels.h */
    const size_t weights =
        row->layout == HUNZE_LAYOUT_CUDA_KN
            ? (size_t)(groups * columns * (bytes == 1 ? hunze_ceil_div(k, 64) * 64 : k * bytes)) + flag
        : row->layout == HUNZE_LAYOUT_DEPTHWISE ? (size_t)(groups * n * k * bytes)
                                                : (size_t)groups * hunze_packed_panels_bytes(row, n, k);
    return (int64_t)((sizeof(hunze_packed_header) + weights + 63) & ~(size_t)63);
}

hunze_status hunze_packed_fits(const hunze_packed_header *header, const hunze_row *row)
{
    const int64_t bytes = blob_bytes(row, header->groups, header->n, header->k);
    return header->bytes == bytes
               ? HUNZE_OK
               : hunze_fail(HUNZE_ERR_PACKED, "the packed weights have %" PRId64 " bytes; kernel %s needs %" PRId64,
                            header->bytes, row->name, bytes);
}

/* ------------------------------------------------------------------ weights that come in */

typedef struct weights {
    const hunze_tensor *w;
    hunze_packed_header header; /* but layout and bytes */
    int64_t groups, n, c, kernel[2];
    int64_t group_stride, n_stride, c_stride, axis_stride[2]; /* elements */
    hunze_plan plan; /* as much of a plan as choosing a row looks at; last: it ends in its key */
} weights;

/* Both on the CPU, or both on one device. */
static hunze_status check_together(const hunze_tensor *w, const hunze_tensor *packed)
{
    const bool cpu = is_on_cpu(w);
    if (cpu == is_on_cpu(packed) && (cpu || w->device.id == packed->device.id))
        return HUNZE_OK;
    char text[2][32] = {"on the CPU", "on the CPU"};
    for (int i = 0; i < 2; i++)
        if (!is_on_cpu(i ? packed : w))
            snprintf(text[i], sizeof text[i], "on cuda:%d", (i ? packed : w)->device.id);
    return hunze_fail(HUNZE_ERR_DEVICE,
                      "w lives %s and packed %s: weights are packed on the CPU, or on the device where both live",
                      text[0], text[1]);
}

static hunze_status check_options(const hunze_pack_options *options)
{
    TRY(hunze_struct_check(options, sizeof *options, "hunze_pack_options"));
    if (options->flags & ~(uint32_t)PACK_FLAGS)
        return hunze_fail(HUNZE_ERR_OPTION, "hunze_pack_options.flags has unknown bits 0x%x",
                          options->flags & ~(uint32_t)PACK_FLAGS);
    if (options->op != 0 && options->op != HUNZE_OP_GEMM && options->op != HUNZE_OP_CONV &&
        options->op != HUNZE_OP_CONV_TRANSPOSE)
        return hunze_fail(HUNZE_ERR_OPTION, "hunze_pack_options.op is %u; gemm, conv and conv_transpose have weights",
                          options->op);
    const bool gemm = options->op == 0 || options->op == HUNZE_OP_GEMM;
    if (options->transpose_b > 1 || options->a_unsigned > 1)
        return hunze_fail(HUNZE_ERR_OPTION, "transpose_b is %u and a_unsigned %u; 0 and 1 are known",
                          options->transpose_b, options->a_unsigned);
    if (gemm ? options->groups > 1 : options->transpose_b)
        return hunze_fail(HUNZE_ERR_OPTION, gemm ? "groups is given to pack a gemm's weights"
                                                 : "transpose_b is given to pack a convolution's weights");
    return HUNZE_OK;
}

static hunze_status read_gemm(weights *v, const hunze_pack_options *options)
{
    char text[HUNZE_SHAPE_TEXT];
    if (v->w->ndim != 2)
        return hunze_fail(HUNZE_ERR_SHAPE, "w has shape %s; weights of a gemm have two axes",
                          hunze_shape_text(v->w, text));
    const int n_axis = options->transpose_b ? 0 : 1;
    v->n = v->w->shape[n_axis];
    v->c = v->w->shape[1 - n_axis];
    v->n_stride = hunze_stride(v->w, n_axis);
    v->c_stride = hunze_stride(v->w, 1 - n_axis);
    v->plan.gemm_shape = (hunze_gemm_shape){.m = 4096, .n = v->n, .k = v->c, .batch = 1};
    return HUNZE_OK;
}

static hunze_status read_conv(weights *v, bool transposed)
{
    char text[HUNZE_SHAPE_TEXT];
    const hunze_tensor *w = v->w;
    if (w->ndim != 3 && w->ndim != 4)
        return hunze_fail(HUNZE_ERR_SHAPE, "w has shape %s; weights of a convolution have three or four axes",
                          hunze_shape_text(w, text));
    const int pad = 4 - w->ndim;
    v->header.spatial = (uint8_t)(w->ndim - 2);
    for (int i = 0; i < w->ndim - 2; i++) {
        v->kernel[pad + i] = w->shape[2 + i];
        v->axis_stride[pad + i] = hunze_stride(w, 2 + i);
        if (w->shape[2 + i] < 1)
            return hunze_fail(HUNZE_ERR_SHAPE, "w has shape %s; a kernel has extents of 1 or more",
                              hunze_shape_text(w, text));
    }
    if (w->shape[0] % v->groups)
        return hunze_fail(HUNZE_ERR_SHAPE, "w has shape %s; %" PRId64 " groups do not divide %" PRId64,
                          hunze_shape_text(w, text), v->groups, w->shape[0]);
    const int64_t per_group = w->shape[0] / v->groups;
    v->group_stride = per_group * hunze_stride(w, 0);
    v->n = transposed ? w->shape[1] : per_group;
    v->c = transposed ? per_group : w->shape[1];
    v->n_stride = hunze_stride(w, transposed ? 1 : 0);
    v->c_stride = hunze_stride(w, transposed ? 0 : 1);
    int64_t channels, out_channels;
    if (__builtin_mul_overflow(v->c, v->groups, &channels) || __builtin_mul_overflow(v->n, v->groups, &out_channels))
        return hunze_fail(HUNZE_ERR_OVERFLOW, "w: its channels times %" PRId64 " groups leave 63 bits", v->groups);
    hunze_conv_shape *shape = &v->plan.conv;
    *shape = (hunze_conv_shape){.spatial = w->ndim - 2,
                                .n = 1,
                                .c = channels,
                                .k = out_channels,
                                .groups = v->groups,
                                .in = {64, 64},
                                .out = {64, 64},
                                .kernel = {v->kernel[0], v->kernel[1]},
                                .stride = {1, 1},
                                .dilation = {1, 1}};
    return HUNZE_OK;
}

static hunze_status read_weights(hunze_context *context, const hunze_tensor *w, const hunze_pack_options *options,
                                 weights *v)
{
    static const hunze_pack_options defaults = {.struct_size = sizeof defaults};
    char text[24];
    if (!context)
        return hunze_fail(HUNZE_ERR_NULL, "context is NULL");
    options = options ? options : &defaults;
    TRY(check_options(options));
    TRY(hunze_tensor_check(w, "w"));
    const hunze_type type = hunze_type_of(w->dtype);
    const bool gemm = options->op == 0 || options->op == HUNZE_OP_GEMM;
    const bool bytes = type == HUNZE_TYPE_S8 || (gemm && type == HUNZE_TYPE_U8), wraps = gemm && hunze_type_wraps(type);
    if (type != HUNZE_TYPE_F32 && type != HUNZE_TYPE_F64 && !bytes && !hunze_type_is_narrow(type) && !wraps)
        return hunze_fail(
            HUNZE_ERR_DTYPE,
            "w is %s; weights are f32, f64, bf16, f16 or s8, those of a gemm also integers of 8 to 64 bits",
            hunze_dtype_text(w->dtype, text));
    if (!bytes && options->a_unsigned)
        return hunze_fail(HUNZE_ERR_OPTION, "a_unsigned is given and w is %s", hunze_type_name(type));
    memset(v, 0, sizeof *v);
    v->w = w;
    v->groups = options->groups ? options->groups : 1;
    v->kernel[0] = v->kernel[1] = 1;
    v->plan.context = context;
    v->plan.packs = true;
    v->plan.device.type = HUNZE_DEVICE_CPU;
    v->plan.bundles = context->bundles;
    v->plan.allowed = context->allowed;
    if (!is_on_cpu(w)) {
        v->plan.device = (hunze_device){HUNZE_DEVICE_CUDA, w->device.id};
        TRY(hunze_device_bundles(v->plan.device, &v->plan.bundles));
        v->plan.allowed = v->plan.bundles;
    }
    v->plan.op = options->op ? (hunze_op)options->op : HUNZE_OP_GEMM;
    v->plan.flags = context->flags | options->flags;
    v->plan.b_type = type;
    v->plan.a_type = !bytes ? type : options->a_unsigned ? HUNZE_TYPE_U8 : HUNZE_TYPE_S8;
    v->plan.d_type = bytes ? HUNZE_TYPE_S32 : type;
    TRY(v->plan.op == HUNZE_OP_GEMM ? read_gemm(v, options) : read_conv(v, v->plan.op == HUNZE_OP_CONV_TRANSPOSE));
    int64_t k; /* of weights without elements it may be anything */
    if (__builtin_mul_overflow(v->kernel[0], v->kernel[1], &k) || __builtin_mul_overflow(k, v->c, &k))
        return hunze_fail(HUNZE_ERR_OVERFLOW, "w: its kernel and channels leave 63 bits");
    v->header = (hunze_packed_header){
        .magic = MAGIC,
        .version = VERSION,
        .type = (uint8_t)type,
        .op = (uint8_t)v->plan.op,
        .spatial = v->header.spatial,
        .groups = (uint32_t)v->groups,
        .n = v->n,
        .k = k,
        .kernel = {v->kernel[0], v->kernel[1]},
    };
    if (v->header.n > INT32_MAX * 64LL || v->header.k > INT32_MAX * 64LL)
        return hunze_fail(HUNZE_ERR_OVERFLOW,
                          "w has n %" PRId64 " and k %" PRId64 "; packed weights have up to 2^37 of each", v->n,
                          v->header.k);
    return options->kernel ? hunze_force_row(&v->plan, options->kernel) : HUNZE_OK;
}

/* Element (p, j) of B in a group runs over c fastest, then kernel columns, then kernel rows. */
static int64_t tap_offset(const weights *v, int64_t tap)
{
    return tap / v->kernel[1] * v->axis_stride[0] + tap % v->kernel[1] * v->axis_stride[1];
}

/* |w0| + |w1| <= 128 in each pair along k: then u8 * s8 + u8 * s8 stays within 16 bits. */
static bool pairs_are_safe(const weights *v)
{
    const int8_t *data = hunze_data(v->w);
    const int64_t taps = v->kernel[0] * v->kernel[1];
    if (v->c == 0)
        return true;
    if (taps == 1 || v->c % 2 == 0) { /* no pair is of two taps */
        for (int64_t g = 0; g < v->groups; g++)
            for (int64_t tap = 0; tap < taps; tap++)
                if (!hunze_pairs_are_safe(data + g * v->group_stride + tap_offset(v, tap), v->c, v->n, v->c_stride,
                                          v->n_stride))
                    return false;
        return true;
    }
    for (int64_t g = 0; g < v->groups; g++)
        for (int64_t j = 0; j < v->n; j++) {
            int64_t p = 0;
            int first = 0;
            for (int64_t tap = 0; tap < taps; tap++) {
                const int64_t at = g * v->group_stride + j * v->n_stride + tap_offset(v, tap);
                for (int64_t c = 0; c < v->c; c++, p++) {
                    const int value = data[at + c * v->c_stride], magnitude = value < 0 ? -value : value;
                    if (p % 2 == 0)
                        first = magnitude;
                    if (first + (p % 2 ? magnitude : 0) > 128)
                        return false;
                }
            }
        }
    return true;
}

hunze_status hunze_pack_size(hunze_context *context, const hunze_tensor *w, const hunze_pack_options *options,
                             size_t *bytes)
{
    weights v;
    if (!bytes)
        return hunze_fail(HUNZE_ERR_NULL, "bytes is NULL");
    TRY(read_weights(context, w, options, &v));
    /* The values decide whether a row that needs safe weights comes in: room for either. */
    int64_t most = 0;
    for (int safe = 0; safe <= (v.plan.b_type == HUNZE_TYPE_S8); safe++) {
        v.plan.packed_flags = safe ? HUNZE_PACKED_SAFE : 0;
        const hunze_status status = hunze_choose_row(&v.plan, NULL);
        if (status && (safe || v.plan.b_type != HUNZE_TYPE_S8 || !v.plan.forced || !v.plan.forced->safe_weights))
            return status;
        const int64_t size = status ? 0 : blob_bytes(v.plan.row, v.groups, v.header.n, v.header.k);
        most = size > most ? size : most;
    }
    *bytes = (size_t)most;
    return HUNZE_OK;
}

/* Lanes that are worth it. */
static int32_t lanes_for(int64_t bytes, const hunze_exec *exec)
{
    return (int32_t)hunze_most(1, hunze_least(bytes >> 18, exec->threads));
}

static void pack_depthwise(const weights *v, char *to)
{
    const size_t bytes = hunze_type_bytes(v->plan.b_type);
    const char *data = hunze_data(v->w);
    for (int64_t tap = 0; tap < v->kernel[0] * v->kernel[1]; tap++)
        for (int64_t g = 0; g < v->groups; g++, to += bytes)
            memcpy(to, data + (g * v->group_stride + tap_offset(v, tap)) * (int64_t)bytes, bytes);
}

static hunze_status pack_into(weights *v, char *blob, hunze_exec *exec)
{
    const hunze_row *row = v->plan.row;
    const bool panels = row->layout != HUNZE_LAYOUT_DEPTHWISE, conv = v->plan.op != HUNZE_OP_GEMM;
    const size_t scratch_bytes = panels && conv ? hunze_conv_weights_scratch(row, v->header.k, exec->threads) : 0;
    void *scratch = scratch_bytes ? hunze_allocate(exec->context, scratch_bytes, 64) : NULL;
    if (scratch_bytes && !scratch)
        return hunze_fail(HUNZE_ERR_NOMEM, "no memory for %zu bytes to pack in", scratch_bytes);
    char *weights_at = blob + sizeof(hunze_packed_header);
    hunze_prefer_huge_pages(blob, (size_t)v->header.bytes);
    if (!panels || conv)
        memset(blob, 0, (size_t)v->header.bytes); /* gaps too: the same weights give the same blob */
    if (!panels) {
        pack_depthwise(v, weights_at);
    } else if (!conv) {
        const size_t used = sizeof(hunze_packed_header) + hunze_packed_panels_bytes(row, v->n, v->header.k);
        memset(blob, 0, sizeof(hunze_packed_header));
        memset(blob + used, 0, (size_t)v->header.bytes - used);
        const hunze_gemm_b b = {hunze_data(v->w), v->c_stride, v->n_stride, v->plan.b_type == HUNZE_TYPE_U8};
        hunze_gemm_pack_weights(row, v->n, v->header.k, &b, weights_at, lanes_for(v->header.bytes, exec), exec);
    } else {
        const hunze_conv_weights all = {
            .row = row,
            .w = hunze_data(v->w),
            .w_group = v->group_stride,
            .w_n = v->n_stride,
            .w_c = v->c_stride,
            .w_axis = {v->axis_stride[0], v->axis_stride[1]},
            .groups = v->groups,
            .n = v->n,
            .c = v->c,
            .kernel = {v->kernel[0], v->kernel[1]},
            .panels = weights_at,
        };
        hunze_conv_pack_weights(&all, scratch, exec);
    }
    memcpy(blob, &v->header, sizeof v->header);
    if (v->plan.flags & HUNZE_WIPE && scratch)
        hunze_wipe(scratch, scratch_bytes);
    if (scratch)
        hunze_deallocate(exec->context, scratch, scratch_bytes);
    return HUNZE_OK;
}

static hunze_status pack_on_device(const weights *v, void *blob, const hunze_run *run)
{
    const hunze_device_weights there = {
        .w = hunze_data(v->w),
        .to = (char *)blob + sizeof v->header,
        .groups = v->groups,
        .n = v->n,
        .c = v->c,
        .kernel = {v->kernel[0], v->kernel[1]},
        .group_step = v->group_stride,
        .n_step = v->n_stride,
        .c_step = v->c_stride,
        .axis_step = {v->axis_stride[0], v->axis_stride[1]},
    };
    return hunze_device_pack(&v->plan, &there, &v->header, blob, run);
}

hunze_status hunze_pack(hunze_context *context, const hunze_tensor *w, const hunze_tensor *packed,
                        const hunze_pack_options *options, const hunze_run *run)
{
    weights v;
    if (w && packed)
        TRY(check_together(w, packed));
    TRY(read_weights(context, w, options, &v));
    TRY(hunze_tensor_check_data(w, "w"));
    TRY(check_blob_tensor(packed, "packed"));
    TRY(check_blob_data(packed, "packed"));
    if (run)
        TRY(hunze_run_check(run, v.plan.device));
    const bool on_cpu = v.plan.device.type == HUNZE_DEVICE_CPU;
    if (!on_cpu) {
        v.header.flags = v.plan.b_type == HUNZE_TYPE_S8 ? HUNZE_PACKED_FINITE : 0; /* nobody has looked */
    } else if (v.plan.b_type == HUNZE_TYPE_S8) {
        v.header.flags = HUNZE_PACKED_FINITE | (pairs_are_safe(&v) ? HUNZE_PACKED_SAFE : 0);
        v.plan.packed_flags = v.header.flags;
    }
    TRY(hunze_choose_row(&v.plan, NULL));
    v.header.layout = v.plan.row->layout;
    v.header.bytes = blob_bytes(v.plan.row, v.groups, v.header.n, v.header.k);
    if (packed->shape[0] * 8 < v.header.bytes)
        return hunze_fail(HUNZE_ERR_SHAPE,
                          "packed has %" PRId64 " bytes; these weights need %" PRId64 ": ask hunze_pack_size",
                          packed->shape[0] * 8, v.header.bytes);
    if (hunze_tensors_overlap(w, packed))
        return hunze_fail(HUNZE_ERR_ALIAS, "packed overlaps w: give it memory of its own");
    if (!on_cpu)
        return pack_on_device(&v, hunze_data(packed), run);
    hunze_exec exec = {.context = context,
                       .flags = v.plan.flags,
                       .run = run,
                       .threads = run && run->threads ? run->threads : hunze_context_threads(context)};
    const hunze_float_state saved = hunze_float_enter();
    const bool integers = hunze_type_wraps(v.plan.b_type) || v.plan.b_type == HUNZE_TYPE_U8;
    if (integers ||
        (v.plan.b_type != HUNZE_TYPE_S8 && hunze_weights_are_finite(w, lanes_for(v.header.bytes, &exec), &exec)))
        v.header.flags = HUNZE_PACKED_FINITE;
    hunze_status status = pack_into(&v, hunze_data(packed), &exec);
    hunze_float_leave(saved);
    if (exec.lost)
        status =
            hunze_fail(HUNZE_ERR_SYSTEM, "the process was forked in the middle of packing: the blob is incomplete");
    return status;
}
