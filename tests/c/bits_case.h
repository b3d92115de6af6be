/* SPDX-License-Identifier: Apache-2.0 */
/* One call of an op as data, for test_bits: operands that end at guard pages, the options of every op, and the public function that runs
 * it with the weights as they are or packed. */
#ifndef HUNZE_TESTS_BITS_CASE_H
#define HUNZE_TESTS_BITS_CASE_H

#include "harness.h"

#include <string.h>

enum { DIMS = 4 };
enum { SLOT_A, SLOT_B, SLOT_C, SLOT_D, SLOT_BIAS, SLOT_RESIDUAL, SLOT_SCALES, SLOT_ZEROS, SLOT_PACKED, SLOT_WORKSPACE };

typedef struct operand {
    hunze_tensor tensor; /* ndim 0 and no data: absent */
    hunze_type type;
    int64_t shape[DIMS], strides[DIMS];
    int slot;
} operand;

typedef struct bits_case {
    char text[256];
    hunze_op op;
    operand a, b, c, d, bias, residual;
    hunze_activation activation;
    hunze_tensor scales[3], zeros[3]; /* of a, b, d; one-dimensional */
    int64_t parameters[3];
    hunze_quant quants[3];
    double alpha, beta;
    hunze_gemm_options gemm;
    hunze_conv_options conv;
    hunze_quantize_options quantize;
    hunze_activation_options activate;
} bits_case;

/* Tensors point into their own structs: a copy of a case is bound anew. */
static inline void bind_operand(operand *o)
{
    o->tensor.shape = o->shape;
    o->tensor.strides = o->strides;
}

static inline int64_t operand_count(const operand *o)
{
    int64_t count = 1;
    for (int axis = 0; axis < o->tensor.ndim; axis++)
        count *= o->shape[axis];
    return count;
}

/* Elements of memory from the first to the last. */
static inline int64_t operand_span(const operand *o)
{
    int64_t span = 1;
    for (int axis = 0; axis < o->tensor.ndim; axis++) {
        if (!o->shape[axis])
            return 0;
        span += (o->shape[axis] - 1) * o->strides[axis];
    }
    return span;
}

/* Offset in elements of the logical row-major index. */
static inline int64_t operand_offset(const operand *o, int64_t index)
{
    int64_t offset = 0;
    for (int axis = o->tensor.ndim - 1; axis >= 0; axis--) {
        offset += index % o->shape[axis] * o->strides[axis];
        index /= o->shape[axis];
    }
    return offset;
}

static inline void *operand_at(const operand *o, int64_t index)
{
    return (char *)o->tensor.data + operand_offset(o, index) * (int64_t)harness_bytes(o->type);
}

/* Lays the shape out with `order` from the outermost axis to the innermost and a gap behind the lines of the innermost one, and places it. */
static inline void lay_out(operand *o, int slot, hunze_type type, int ndim, const int64_t *shape, const int *order,
                           int64_t gap, harness_side side)
{
    int64_t stride = 1;
    o->type = type;
    o->slot = slot;
    for (int i = ndim - 1; i >= 0; i--) {
        const int axis = order ? order[i] : i;
        o->shape[axis] = shape[axis];
        o->strides[axis] = stride;
        stride = stride * shape[axis] + (i == ndim - 1 ? gap : 0);
    }
    o->tensor = (hunze_tensor){NULL, {HUNZE_DEVICE_CPU, 0}, ndim, harness_dtype(type), o->shape, o->strides, 0};
    const size_t bytes = harness_bytes(type);
    o->tensor.data = harness_place(slot, (size_t)operand_span(o) * bytes, bytes, side);
}

static inline void fill_operand(operand *o, harness_rng *rng, harness_values values)
{
    const int64_t count = operand_count(o);
    for (int64_t i = 0; i < count; i++)
        if (harness_is_float(o->type))
            harness_fill(rng, o->type, operand_at(o, i), 1, values);
        else if (o->type == HUNZE_TYPE_S32)
            *(int32_t *)operand_at(o, i) = (int32_t)harness_between(rng, -5000, 5000);
        else
            harness_fill_int(rng, o->type, operand_at(o, i), 1, values == HARNESS_CANCEL);
    harness_snapshot(o->slot);
}

/* Scales and zero points of operand `which` (0 a, 1 b, 2 d) at their places in two shared slots. */
static inline void add_quant(bits_case *c, int which, hunze_type type, int32_t axis, int64_t count, bool with_scale,
                             bool with_zero)
{
    enum { ROOM = 512 };
    float *scales = harness_place(SLOT_SCALES, 3 * ROOM * 4, 4, HARNESS_AT_END);
    char *zeros = harness_place(SLOT_ZEROS, 3 * ROOM, 1, HARNESS_AT_END);
    for (int64_t i = 0; i < 3 * ROOM; i++) { /* the slots are shared, so all of them are filled each time, alike */
        harness_rng own = {(uint64_t)i};
        scales[i] = (float)(0.01 + 0.01 * (1 + harness_uniform(&own)));
        zeros[i] = (char)harness_between(&own, 1, 9);
    }
    c->parameters[which] = count;
    c->quants[which] = (hunze_quant){.struct_size = sizeof(hunze_quant),
                                     .granularity = count > 1 || axis >= 0 ? HUNZE_PER_AXIS : HUNZE_PER_TENSOR,
                                     .axis = axis < 0 ? 0 : axis};
    const hunze_device cpu = {HUNZE_DEVICE_CPU, 0};
    c->scales[which] = (hunze_tensor){scales + which * ROOM, cpu, 1, harness_dtype(HUNZE_TYPE_F32), NULL, NULL, 0};
    c->zeros[which] = (hunze_tensor){zeros + which * ROOM, cpu, 1, harness_dtype(type), NULL, NULL, 0};
    c->quants[which].scale = with_scale ? &c->scales[which] : NULL;
    c->quants[which].zero_point = with_zero ? &c->zeros[which] : NULL;
    harness_snapshot(SLOT_SCALES);
    harness_snapshot(SLOT_ZEROS);
}

/* Points the options at the case's own members. */
static inline void bind_case(bits_case *c)
{
    operand *const operands[] = {&c->a, &c->b, &c->c, &c->d, &c->bias, &c->residual};
    for (int i = 0; i < 6; i++)
        bind_operand(operands[i]);
    const hunze_quant *quants[3];
    for (int i = 0; i < 3; i++) {
        c->scales[i].shape = c->zeros[i].shape = &c->parameters[i];
        c->quants[i].scale = c->quants[i].scale ? &c->scales[i] : NULL;
        c->quants[i].zero_point = c->quants[i].zero_point ? &c->zeros[i] : NULL;
        quants[i] = c->quants[i].scale || c->quants[i].zero_point ? &c->quants[i] : NULL;
    }
    const hunze_tensor *bias = c->bias.tensor.data ? &c->bias.tensor : NULL,
                       *residual = c->residual.tensor.data ? &c->residual.tensor : NULL;
    c->activation.struct_size = sizeof c->activation;
    const hunze_activation *activation = c->activation.kind ? &c->activation : NULL;
    c->gemm.struct_size = sizeof c->gemm;
    c->gemm.alpha = &c->alpha;
    c->gemm.beta = c->c.tensor.data ? &c->beta : NULL;
    c->conv.struct_size = sizeof c->conv;
    c->gemm.bias = c->conv.bias = bias;
    c->gemm.residual = c->conv.residual = residual;
    c->gemm.activation = c->conv.activation = c->activate.activation = activation;
    c->gemm.a_quant = c->conv.x_quant = quants[0];
    c->gemm.b_quant = c->conv.w_quant = quants[1];
    c->gemm.d_quant = c->conv.y_quant = quants[2];
    c->quantize.struct_size = sizeof c->quantize;
    c->quantize.quant = quants[0];
    c->activate.struct_size = sizeof c->activate;
}

/* Runs the case by its public function.  b: the weights, as they are or packed. */
static inline hunze_status run_case(hunze_context *context, bits_case *c, const hunze_tensor *b, uint32_t flags,
                                    const char *kernel, const hunze_run *run)
{
    c->gemm.flags = c->conv.flags = c->quantize.flags = c->activate.flags = flags;
    c->gemm.kernel = c->conv.kernel = c->quantize.kernel = c->activate.kernel = kernel;
    const hunze_tensor *input = c->c.tensor.data ? &c->c.tensor : NULL;
    switch (c->op) {
    case HUNZE_OP_GEMM: return hunze_gemm(context, &c->a.tensor, b, input, &c->d.tensor, &c->gemm, run);
    case HUNZE_OP_CONV: return hunze_conv(context, &c->a.tensor, b, &c->d.tensor, &c->conv, run);
    case HUNZE_OP_CONV_TRANSPOSE: return hunze_conv_transpose(context, &c->a.tensor, b, &c->d.tensor, &c->conv, run);
    case HUNZE_OP_QUANTIZE: return hunze_quantize(context, &c->a.tensor, &c->d.tensor, &c->quantize, run);
    case HUNZE_OP_DEQUANTIZE: return hunze_dequantize(context, &c->a.tensor, &c->d.tensor, &c->quantize, run);
    default: return hunze_activate(context, &c->a.tensor, &c->d.tensor, &c->activate, run);
    }
}

#endif
