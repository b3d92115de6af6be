/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a tensor valid, and proofs that two of them overlap. */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    uint8_t code, bits;
} types[] = {
    [HUNZE_TYPE_NONE] = {"none", 255, 0},           [HUNZE_TYPE_F32] = {"f32", HUNZE_FLOAT, 32},
    [HUNZE_TYPE_F64] = {"f64", HUNZE_FLOAT, 64},    [HUNZE_TYPE_S32] = {"s32", HUNZE_INT, 32},
    [HUNZE_TYPE_S8] = {"s8", HUNZE_INT, 8},         [HUNZE_TYPE_U8] = {"u8", HUNZE_UINT, 8},
    [HUNZE_TYPE_BF16] = {"bf16", HUNZE_BFLOAT, 16}, [HUNZE_TYPE_F16] = {"f16", HUNZE_FLOAT, 16},
    [HUNZE_TYPE_S16] = {"s16", HUNZE_INT, 16},      [HUNZE_TYPE_S64] = {"s64", HUNZE_INT, 64},
    [HUNZE_TYPE_U16] = {"u16", HUNZE_UINT, 16},     [HUNZE_TYPE_U32] = {"u32", HUNZE_UINT, 32},
    [HUNZE_TYPE_U64] = {"u64", HUNZE_UINT, 64},
};

hunze_type hunze_type_of(hunze_dtype dtype)
{
    for (int i = HUNZE_TYPE_F32; i < HUNZE_TYPE_COUNT; i++)
        if (dtype.code == types[i].code && dtype.bits == types[i].bits && dtype.lanes == 1)
            return (hunze_type)i;
    return HUNZE_TYPE_NONE;
}

size_t hunze_type_bytes(hunze_type type) { return types[type].bits / 8; }

const char *hunze_type_name(hunze_type type) { return types[type].name; }

const char *hunze_dtype_text(hunze_dtype dtype, char text[24])
{
    const hunze_type type = hunze_type_of(dtype);
    if (type != HUNZE_TYPE_NONE)
        return hunze_type_name(type);
    static const char *const letters[] = {
        [HUNZE_INT] = "s", [HUNZE_UINT] = "u", [HUNZE_FLOAT] = "f", [HUNZE_BFLOAT] = "bf", [HUNZE_BOOL] = "bool",
    };
    if (dtype.code == HUNZE_OPAQUE_HANDLE)
        return "packed";
    if (dtype.code < sizeof letters / sizeof letters[0] && letters[dtype.code] && dtype.lanes == 1)
        snprintf(text, 24, "%s%u", letters[dtype.code], dtype.bits);
    else
        snprintf(text, 24, "{%u, %u, %u}", dtype.code, dtype.bits, dtype.lanes);
    return text;
}

const char *hunze_shape_text(const hunze_tensor *tensor, char text[HUNZE_SHAPE_TEXT])
{
    size_t length = 0;
    text[length++] = '(';
    for (int i = 0; i < tensor->ndim && length < HUNZE_SHAPE_TEXT - 32; i++)
        length += (size_t)snprintf(text + length, 32, i ? ", %" PRId64 : "%" PRId64, tensor->shape[i]);
    snprintf(text + length, 4, tensor->ndim == 1 ? ",)" : ")");
    return text;
}

/* A product that cannot leave 63 bits where the tensor has elements; where it has none, the extents are free and it may wrap. */
static int64_t wrapping_product(int64_t a, int64_t b) { return (int64_t)((uint64_t)a * (uint64_t)b); }

int64_t hunze_stride(const hunze_tensor *tensor, int axis)
{
    if (tensor->strides)
        return tensor->strides[axis];
    int64_t stride = 1;
    for (int i = tensor->ndim - 1; i > axis; i--)
        stride = wrapping_product(stride, tensor->shape[i]);
    return stride;
}

int64_t hunze_count(const hunze_tensor *tensor)
{
    int64_t count = 1;
    for (int i = 0; i < tensor->ndim; i++)
        count = wrapping_product(count, tensor->shape[i]);
    return count;
}

static size_t element_bytes(const hunze_tensor *tensor) { return tensor->dtype.bits / 8u * tensor->dtype.lanes; }

static hunze_status check_device(hunze_device device, const char *name)
{
    switch (device.type) {
    case HUNZE_DEVICE_CPU: return HUNZE_OK;
    case HUNZE_DEVICE_CUDA:
    case HUNZE_DEVICE_CUDA_HOST:
    case HUNZE_DEVICE_CUDA_MANAGED: break;
    default:
        return hunze_fail(HUNZE_ERR_DEVICE,
                          "%s lives on device type %d; known are %d (the CPU), %d (CUDA), %d (pinned memory) and %d "
                          "(managed memory)",
                          name, device.type, HUNZE_DEVICE_CPU, HUNZE_DEVICE_CUDA, HUNZE_DEVICE_CUDA_HOST,
                          HUNZE_DEVICE_CUDA_MANAGED);
    }
    if (device.id < 0 || device.id >= HUNZE_MAX_DEVICES)
        return hunze_fail(HUNZE_ERR_DEVICE, "%s lives on device %d; 0 to %d are taken", name, device.id,
                          HUNZE_MAX_DEVICES - 1);
#if !HUNZE_WITH_CUDA
    if (device.type != HUNZE_DEVICE_CUDA_HOST)
        return hunze_fail(
            HUNZE_ERR_DEVICE,
            "%s lives on cuda:%d; this library was built without CUDA and computes on the CPU: copy it there", name,
            device.id);
#endif
    return HUNZE_OK;
}

hunze_status hunze_tensor_check(const hunze_tensor *tensor, const char *name)
{
    if (!tensor)
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL", name);
    if (tensor->ndim < 0 || tensor->ndim > HUNZE_MAX_NDIM)
        return hunze_fail(HUNZE_ERR_SHAPE, "%s has ndim %d; 0 to %d are taken", name, tensor->ndim, HUNZE_MAX_NDIM);
    if (tensor->ndim > 0 && !tensor->shape)
        return hunze_fail(HUNZE_ERR_NULL, "%s has ndim %d and its shape is NULL", name, tensor->ndim);
    TRY(check_device(tensor->device, name));
    if (element_bytes(tensor) == 0) {
        char dtype[24];
        return hunze_fail(HUNZE_ERR_DTYPE, "%s has dtype %s, which has no whole bytes", name,
                          hunze_dtype_text(tensor->dtype, dtype));
    }
    bool empty = false;
    for (int i = 0; i < tensor->ndim; i++) {
        if (tensor->shape[i] < 0)
            return hunze_fail(HUNZE_ERR_SHAPE, "%s has extent %" PRId64 " in axis %d; extents are 0 or more", name,
                              tensor->shape[i], i);
        empty |= tensor->shape[i] == 0;
    }
    if (empty)
        return HUNZE_OK;
    int64_t count = 1, reach = 0, row_major = 1;
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        const int64_t stride = tensor->strides ? tensor->strides[i] : row_major;
        int64_t step;
        if (__builtin_mul_overflow(count, tensor->shape[i], &count) || stride == INT64_MIN ||
            __builtin_mul_overflow(tensor->shape[i] - 1, stride < 0 ? -stride : stride, &step) ||
            __builtin_add_overflow(reach, step, &reach))
            return hunze_fail(HUNZE_ERR_OVERFLOW, "%s: extents and strides reach beyond 63 bits at axis %d", name, i);
        row_major = count;
    }
    int64_t bytes;
    if (__builtin_add_overflow(reach, 1, &reach) ||
        __builtin_mul_overflow(reach > count ? reach : count, (int64_t)element_bytes(tensor), &bytes))
        return hunze_fail(HUNZE_ERR_OVERFLOW, "%s: its size in bytes leaves 63 bits", name);
    return HUNZE_OK;
}

hunze_status hunze_tensor_check_data(const hunze_tensor *tensor, const char *name)
{
    for (int i = 0; i < tensor->ndim; i++)
        if (tensor->shape[i] == 0)
            return HUNZE_OK;
    if (!tensor->data)
        return hunze_fail(HUNZE_ERR_NULL, "%s has elements and its data is NULL", name);
    const size_t bytes = tensor->dtype.bits / 8u;
    if (((uintptr_t)tensor->data + tensor->byte_offset) % bytes)
        return hunze_fail(HUNZE_ERR_ALIGN, "%s is not aligned to its element of %zu bytes: copy it", name, bytes);
    return HUNZE_OK;
}

static int64_t magnitude(int64_t stride) { return stride < 0 ? -stride : stride; }

hunze_status hunze_tensor_check_output(const hunze_tensor *tensor, const char *name)
{
    for (int i = 0; i < tensor->ndim; i++)
        if (tensor->shape[i] == 0)
            return HUNZE_OK;
    for (int i = 0; i < tensor->ndim; i++) {
        if (tensor->shape[i] < 2)
            continue;
        const int64_t stride = magnitude(hunze_stride(tensor, i));
        if (stride == 0)
            return hunze_fail(HUNZE_ERR_STRIDE,
                              "%s has stride 0 in axis %d of extent %" PRId64
                              ": an output needs an element of its own for each index",
                              name, i, tensor->shape[i]);
        /* Two axes meet where x steps of one are y steps of the other, at the smallest such x and y. */
        for (int j = 0; j < i; j++) {
            if (tensor->shape[j] < 2)
                continue;
            const int64_t other = magnitude(hunze_stride(tensor, j)), common = hunze_common_divisor(stride, other);
            if (other / common < tensor->shape[i] && stride / common < tensor->shape[j])
                return hunze_fail(HUNZE_ERR_ALIAS,
                                  "%s overlaps itself: axes %d and %d have strides %" PRId64 " and %" PRId64, name, j,
                                  i, hunze_stride(tensor, j), hunze_stride(tensor, i));
        }
    }
    return HUNZE_OK;
}

hunze_extent hunze_tensor_extent(const hunze_tensor *tensor)
{
    hunze_extent extent = {0, 1};
    int64_t row_major = 1;
    if (hunze_count(tensor) == 0)
        return (hunze_extent){0, 0};
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        const int64_t step = (tensor->shape[i] - 1) * (tensor->strides ? tensor->strides[i] : row_major);
        row_major *= tensor->shape[i];
        *(step < 0 ? &extent.low : &extent.high) += step;
    }
    const int64_t bytes = (int64_t)element_bytes(tensor);
    return (hunze_extent){extent.low * bytes, extent.high * bytes};
}

/* A tensor as rows of bytes: `rows` runs of `run` bytes, `step` > 0 bytes apart, from `first`. */
typedef struct rows {
    int64_t first, rows, step, run;
} rows;

/* True if the tensor is such rows: after merging what is contiguous, at most one axis is left. */
static bool as_rows(const hunze_tensor *tensor, rows *out)
{
    int64_t shape[HUNZE_MAX_NDIM], strides[HUNZE_MAX_NDIM];
    int count = 0;
    const int64_t bytes = (int64_t)element_bytes(tensor);
    *out = (rows){0, 1, 0, bytes};
    for (int i = 0; i < tensor->ndim; i++) {
        if (tensor->shape[i] == 1)
            continue;
        int64_t stride = hunze_stride(tensor, i) * bytes;
        if (stride == 0)
            continue; /* the same bytes again */
        if (stride < 0) {
            out->first += stride * (tensor->shape[i] - 1);
            stride = -stride;
        }
        int at = count++;
        for (; at > 0 && strides[at - 1] > stride; at--) {
            strides[at] = strides[at - 1];
            shape[at] = shape[at - 1];
        }
        strides[at] = stride;
        shape[at] = tensor->shape[i];
    }
    int i = 0;
    for (; i < count && strides[i] <= out->run; i++)
        out->run += strides[i] * (shape[i] - 1);
    if (i < count) {
        out->step = strides[i];
        out->rows = shape[i];
        for (i++; i < count; i++) {
            if (strides[i] != out->step * out->rows)
                return false;
            out->rows *= shape[i];
        }
    }
    return true;
}

bool hunze_tensors_overlap(const hunze_tensor *a, const hunze_tensor *b)
{
    const hunze_extent extent_a = hunze_tensor_extent(a), extent_b = hunze_tensor_extent(b);
    const int64_t distance = (int64_t)((uintptr_t)hunze_data(b) - (uintptr_t)hunze_data(a)); /* of first elements */
    if (extent_a.low == extent_a.high || extent_b.low == extent_b.high || extent_a.high <= distance + extent_b.low ||
        distance + extent_b.high <= extent_a.low)
        return false;
    if (distance == 0)
        return true;
    rows x, y;
    if (!as_rows(a, &x) || !as_rows(b, &y))
        return false;
    int64_t offset = distance + y.first - x.first; /* y's first byte from x's */
    if (x.rows == 1 && y.rows == 1)
        return offset < x.run && offset + y.run > 0;
    if (x.rows == 1 || y.rows == 1) { /* one run against rows: does a row meet it? */
        const rows many = x.rows == 1 ? y : x;
        const int64_t run = x.rows == 1 ? x.run : y.run, at = x.rows == 1 ? -offset : offset;
        /* row i covers [i * step, i * step + many.run); the run covers [at, at + run) */
        int64_t i = at >= 0 ? at / many.step : 0;
        for (int64_t end = i + 2; i < end; i++)
            if (i < many.rows && i * many.step < at + run && i * many.step + many.run > at)
                return true;
        return false;
    }
    if (x.step != y.step)
        return false;
    /* Equal steps: row i of x meets row j of y when (i - j) * step lies in (offset - x.run, offset + y.run). */
    for (int64_t i = (offset - x.run) / x.step - 1; i * x.step < offset + y.run; i++)
        if (i * x.step > offset - x.run && i < x.rows && -i < y.rows)
            return true;
    return false;
}

hunze_status hunze_struct_check(const void *options, size_t known, const char *name)
{
    const uint32_t size = *(const uint32_t *)options;
    if (size < known)
        return hunze_fail(HUNZE_ERR_OPTION, "%s has struct_size %u; set it to sizeof, which is %zu here", name, size,
                          known);
    for (size_t i = known; i < size; i++)
        if (((const unsigned char *)options)[i])
            return hunze_fail(HUNZE_ERR_OPTION,
                              "%s has a field at byte %zu that this library (ABI %d) does not know: "
                              "it must be zero",
                              name, i, HUNZE_ABI_VERSION);
    return HUNZE_OK;
}
