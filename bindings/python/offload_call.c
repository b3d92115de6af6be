/* SPDX-License-Identifier: Apache-2.0
 * A call as tensors, whatever its op: copies of it with tensors elsewhere, and the axis along which a large one is cut. */
#include "offload_call.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILE_ROWS = 128 }; /* that kernels of products take at a time */

/* ------------------------------------------------------------------ tensors */

static const hunze_quant *keep_quant(Replica *r, int index, const hunze_quant *quant)
{
    if (!quant)
        return NULL;
    r->quants[index] = *quant;
    if (quant->scale)
        r->slot[SLOT_QUANT + 2 * index] = &r->quants[index].scale;
    if (quant->zero_point)
        r->slot[SLOT_QUANT + 2 * index + 1] = &r->quants[index].zero_point;
    return &r->quants[index];
}

void offload_replicate(const Call *call, Replica *r)
{
    r->call = call->call;
    r->options = call->options;
    r->call.options = &r->options;
    memset(r->slot, 0, sizeof r->slot);
    r->slot[SLOT_A] = &r->call.a;
    r->slot[SLOT_B] = r->call.b ? &r->call.b : NULL;
    r->slot[SLOT_C] = r->call.c ? &r->call.c : NULL;
    r->slot[SLOT_D] = &r->call.d;
    switch (r->call.op) {
    case HUNZE_OP_GEMM: {
        hunze_gemm_options *o = &r->options.gemm;
        r->slot[SLOT_BIAS] = o->bias ? &o->bias : NULL;
        r->slot[SLOT_RESIDUAL] = o->residual ? &o->residual : NULL;
        o->a_quant = keep_quant(r, 0, o->a_quant);
        o->b_quant = keep_quant(r, 1, o->b_quant);
        o->d_quant = keep_quant(r, 2, o->d_quant);
        break;
    }
    case HUNZE_OP_CONV:
    case HUNZE_OP_CONV_TRANSPOSE: {
        hunze_conv_options *o = &r->options.conv;
        r->slot[SLOT_BIAS] = o->bias ? &o->bias : NULL;
        r->slot[SLOT_RESIDUAL] = o->residual ? &o->residual : NULL;
        o->x_quant = keep_quant(r, 0, o->x_quant);
        o->w_quant = keep_quant(r, 1, o->w_quant);
        o->y_quant = keep_quant(r, 2, o->y_quant);
        break;
    }
    case HUNZE_OP_QUANTIZE: r->options.quantize.quant = keep_quant(r, 2, r->options.quantize.quant); break;
    case HUNZE_OP_DEQUANTIZE: r->options.quantize.quant = keep_quant(r, 0, r->options.quantize.quant); break;
    default: break;
    }
}

void offload_force_kernel(Replica *r, const char *kernel)
{
    switch (r->call.op) {
    case HUNZE_OP_GEMM: r->options.gemm.kernel = kernel; break;
    case HUNZE_OP_CONV:
    case HUNZE_OP_CONV_TRANSPOSE: r->options.conv.kernel = kernel; break;
    case HUNZE_OP_ACTIVATION: r->options.activation.kernel = kernel; break;
    default: r->options.quantize.kernel = kernel;
    }
}

void offload_look_at(const hunze_tensor *tensor, int axis, int64_t first, int64_t rows, View *view)
{
    int64_t dense = 1, offset = 0;
    const int64_t bytes = tensor->dtype.bits / 8;
    view->tensor = *tensor;
    view->tensor.shape = view->shape;
    view->tensor.strides = view->strides;
    for (int i = tensor->ndim; i-- > 0; dense *= tensor->shape[i]) {
        view->strides[i] = tensor->strides ? tensor->strides[i] : dense;
        view->shape[i] = i == axis ? rows : tensor->shape[i];
        if (i == axis)
            offset = first * view->strides[i] * bytes;
        if (view->strides[i] == 0 && view->shape[i] > 1)
            view->shape[i] = 1;
    }
    if (tensor->data)
        view->tensor.data = (char *)tensor->data + offset;
}

size_t offload_pack(const View *view, hunze_device device, void *data, View *packed)
{
    const hunze_tensor *tensor = &view->tensor;
    int64_t count = 1;
    bool placed[NDIM] = {false};
    packed->tensor = *tensor;
    packed->tensor.data = data;
    packed->tensor.byte_offset = 0;
    packed->tensor.device = device;
    packed->tensor.shape = packed->shape;
    packed->tensor.strides = packed->strides;
    memcpy(packed->shape, view->shape, sizeof packed->shape);
    for (int n = 0; n < tensor->ndim; n++) { /* from the shortest distance up; of equals the last axis first */
        int next = -1;
        for (int i = tensor->ndim; i-- > 0;)
            if (!placed[i] && (next < 0 || llabs(view->strides[i]) < llabs(view->strides[next])))
                next = i;
        placed[next] = true;
        packed->strides[next] = count;
        count *= view->shape[next];
    }
    return (size_t)count * tensor->dtype.bits / 8;
}

size_t offload_stage(const Slot *slot, int64_t first, int64_t rows, hunze_device device, void *data, View *view)
{
    View host;
    offload_look_at(slot->tensor, slot->axis, first, rows, &host);
    const size_t bytes = offload_pack(&host, device, data, view);
    for (int i = 0; i < slot->tensor->ndim; i++) {
        const int64_t extent = i == slot->axis ? rows : slot->tensor->shape[i];
        if (view->shape[i] != extent) {
            view->shape[i] = extent;
            view->strides[i] = 0;
        }
    }
    return bytes;
}

bool offload_on_device(const hunze_tensor *tensor)
{
    return tensor->device.type == HUNZE_DEVICE_CUDA || tensor->device.type == HUNZE_DEVICE_CUDA_MANAGED;
}

/* ------------------------------------------------------------------ what is cut */

/* Axes are counted from the last one of the result, as broadcasting does. */
static int axis_from_right(const hunze_tensor *tensor, int from_right)
{
    const int axis = tensor->ndim - from_right;
    return axis >= 0 && tensor->shape[axis] > 1 ? axis : -1;
}

static int longest_axis(const hunze_tensor *tensor)
{
    for (int i = 0; i < tensor->ndim; i++)
        if (tensor->shape[i] > 1)
            return i;
    return -1;
}

/* Parameters that run along the axis that is cut are cut with it. */
static void cut_quant(Offload *o, int index, const hunze_quant *quant, int axis)
{
    for (int i = 0; quant && i < 2; i++) {
        Slot *slot = &o->slots[SLOT_QUANT + 2 * index + i];
        if (slot->tensor && quant->granularity == HUNZE_PER_AXIS && axis >= 0 && quant->axis == axis)
            slot->axis = longest_axis(slot->tensor);
    }
}

static void cut_product(Offload *o, const hunze_gemm_options *options, int axis)
{
    Slot *s = o->slots;
    const int from_right = s[SLOT_D].tensor->ndim - axis;
    const bool rows = from_right == 2;
    s[SLOT_A].axis =
        axis_from_right(s[SLOT_A].tensor, rows && options->transpose_a ? 1 : from_right); /* (k, m) as (m, k) */
    if (!rows)
        s[SLOT_B].axis = axis_from_right(s[SLOT_B].tensor, from_right);
    for (int i = 0; i < 3; i++) {
        Slot *slot = &s[(const int[]){SLOT_C, SLOT_BIAS, SLOT_RESIDUAL}[i]];
        if (slot->tensor)
            slot->axis = axis_from_right(slot->tensor, from_right);
    }
    cut_quant(o, 0, options->a_quant, s[SLOT_A].axis);
    cut_quant(o, 2, options->d_quant, axis);
}

static void cut_others(Offload *o, int axis)
{
    Slot *s = o->slots;
    const hunze_call *call = &o->call->call;
    s[SLOT_A].axis = axis;
    if (s[SLOT_RESIDUAL].tensor)
        s[SLOT_RESIDUAL].axis = axis;
    if (call->op == HUNZE_OP_QUANTIZE || call->op == HUNZE_OP_DEQUANTIZE)
        cut_quant(o, call->op == HUNZE_OP_QUANTIZE ? 2 : 0, o->call->options.quantize.quant, axis);
}

/* The axis of the result to cut: the first that is long, else the longest; the columns of a product and a convolution's own axes stay whole. */
static int choose_axis(const Call *call)
{
    const hunze_tensor *d = call->call.d;
    int axes = d->ndim, longest = -1;
    if (call->call.op == HUNZE_OP_GEMM)
        axes = d->ndim - 1;
    else if (call->call.op == HUNZE_OP_CONV || call->call.op == HUNZE_OP_CONV_TRANSPOSE)
        axes = 1;
    else if (call->call.op == HUNZE_OP_QUANTIZE && call->options.quantize.dynamic)
        axes = 0; /* its scale depends on all of x */
    for (int i = 0; i < axes; i++) {
        if (d->shape[i] >= 4 * LANES)
            return i;
        if (longest < 0 || d->shape[i] > d->shape[longest])
            longest = i;
    }
    return longest;
}

static double moved(const Slot *slot)
{
    View host, dense;
    offload_look_at(slot->tensor, -1, 0, 0, &host);
    return (double)offload_pack(&host, host.tensor.device, NULL, &dense);
}

static void count_moves(Offload *o)
{
    o->once = o->over = o->back = 0;
    for (int i = 0; i < SLOTS; i++) {
        const Slot *slot = &o->slots[i];
        if (slot->tensor && !slot->here)
            *(slot->output ? &o->back : slot->axis >= 0 ? &o->over : &o->once) += moved(slot);
    }
}

void offload_keep_whole(Offload *o)
{
    o->slices = 1;
    for (int i = 0; i < SLOTS; i++)
        o->slots[i].axis = -1;
    count_moves(o);
}

void offload_find_slices(Offload *o)
{
    Call *call = o->call;
    const double wanted = (double)call->state->slice_bytes;
    double cut = 0;
    bool whole = false;
    o->slices = 1;
    for (int i = 0; i < SLOTS; i++)
        whole |= o->slots[i].here;
    const int axis = whole ? -1 : choose_axis(call);
    if (axis >= 0) {
        o->slots[SLOT_D].axis = axis;
        if (call->call.op == HUNZE_OP_GEMM)
            cut_product(o, &call->options.gemm, axis);
        else
            cut_others(o, axis);
        o->extent = o->rows = call->call.d->shape[axis];
        for (int i = 0; i < SLOTS; i++)
            if (o->slots[i].tensor && o->slots[i].axis >= 0)
                cut += moved(&o->slots[i]);
        if (cut >= 2 * wanted) {
            o->rows = (int64_t)fmax(1, floor((double)o->extent * wanted / cut));
            if (call->call.op == HUNZE_OP_GEMM && o->rows > TILE_ROWS)
                o->rows -= o->rows % TILE_ROWS;
            o->slices = (o->extent + o->rows - 1) / o->rows;
        }
    }
    if (o->slices == 1)
        offload_keep_whole(o);
    else
        count_moves(o);
}
