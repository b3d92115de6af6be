/* SPDX-License-Identifier: Apache-2.0 */
/* What the convolution tests share: a case with operands of any layout and strides, the scalar reference written from the definition
 * (docs/NUMERICS.md), and the driver run with several thread counts, weights packed or not.  Included by one test each. */
#ifndef HUNZE_TESTS_CONV_CASE_H
#define HUNZE_TESTS_CONV_CASE_H

#include "conv.h"
#include "harness.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIMS = 4 };

typedef struct operand {
    hunze_tensor tensor;
    int64_t shape[DIMS], strides[DIMS];
    char *memory;
    size_t bytes;
} operand;

/* How an operand lies in memory. */
typedef enum memory_order {
    AS_SHAPE,  /* row-major */
    OTHER_WAY, /* channels last under a channels-first shape, or the reverse */
    GAPS,      /* any order, with gaps, backwards; inputs also with stride 0 */
    MEMORY_ORDERS
} memory_order;

typedef struct conv_case {
    const hunze_row *row;
    hunze_op op;
    hunze_conv_shape shape; /* strides are filled from the operands */
    uint32_t layout;
    hunze_type y_type;
    operand x, w, y, bias, residual;
    hunze_type bias_type;
    bool has_bias, has_residual;
    hunze_activation activation;
    bool quantised; /* scales present */
    float x_scale, w_scales[128], y_scale;
    int32_t x_zero_point, w_zero_points[128], y_zero_point;
    int64_t w_parameters; /* 0: none, 1, or one per output channel, two elements apart */
} conv_case;

static hunze_context *context;

static bool is_float_type(hunze_type type) { return type == HUNZE_TYPE_F32 || type == HUNZE_TYPE_F64; }

static void make(operand *x, harness_rng *rng, hunze_type type, int ndim, const int64_t *shape, const int *order,
                 bool gaps, bool output, harness_values values)
{
    int64_t span = 1, first = 0;
    for (int i = ndim - 1; i >= 0; i--) {
        const int axis = order[i];
        const int64_t extent = shape[axis] > 0 ? shape[axis] : 1;
        x->shape[axis] = shape[axis];
        if (gaps && harness_between(rng, 0, 1) == 0)
            span += harness_between(rng, 1, 5);
        x->strides[axis] = span;
        if (gaps && !output && harness_between(rng, 0, 11) == 0)
            x->strides[axis] = 0;
        else
            span *= extent;
        if (gaps && harness_between(rng, 0, 9) == 0) {
            x->strides[axis] = -x->strides[axis];
            first += -x->strides[axis] * (extent - 1);
        }
    }
    int64_t count = 1 + first;
    for (int axis = 0; axis < ndim; axis++)
        if (x->strides[axis] > 0 && shape[axis] > 0)
            count += x->strides[axis] * (shape[axis] - 1);
    const size_t size = hunze_type_bytes(type);
    x->bytes = (size_t)count * size;
    x->memory = malloc(x->bytes);
    if (is_float_type(type))
        harness_fill(rng, type, x->memory, count, values);
    else
        harness_fill_int(rng, type, x->memory, count, values == HARNESS_SPECIAL);
    x->tensor = (hunze_tensor){
        x->memory + (size_t)first * size, {HUNZE_DEVICE_CPU, 0}, ndim, harness_dtype(type), x->shape, x->strides, 0};
}

/* (n, channels, *extent) in the case's layout. */
static void make_image(conv_case *c, operand *x, harness_rng *rng, hunze_type type, int64_t channels,
                       const int64_t *extent, memory_order memory, bool output, harness_values values)
{
    const int spatial = c->shape.spatial, ndim = spatial + 2;
    const bool last = c->layout == HUNZE_CHANNELS_LAST;
    int64_t shape[DIMS] = {c->shape.n};
    shape[last ? ndim - 1 : 1] = channels;
    for (int i = 0; i < spatial; i++)
        shape[(last ? 1 : 2) + i] = extent[2 - spatial + i];
    int order[DIMS];
    for (int i = 0; i < ndim; i++)
        order[i] = i;
    if (memory == OTHER_WAY) { /* the channel axis moves */
        if (last) {
            order[1] = ndim - 1;
            for (int i = 2; i < ndim; i++)
                order[i] = i - 1;
        } else {
            for (int i = 1; i < ndim - 1; i++)
                order[i] = i + 1;
            order[ndim - 1] = 1;
        }
    }
    if (memory == GAPS)
        for (int i = ndim - 1; i > 0; i--) {
            const int j = (int)harness_between(rng, 0, i), swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
    make(x, rng, type, ndim, shape, order, memory == GAPS, output, values);
}

static void output_extents(hunze_conv_shape *shape, bool transposed, const int64_t *output_padding)
{
    for (int axis = 0; axis < 2; axis++) {
        const int64_t reach = (shape->kernel[axis] - 1) * shape->dilation[axis];
        if (transposed) {
            shape->out[axis] = (shape->in[axis] - 1) * shape->stride[axis] - shape->before[axis] - shape->after[axis] +
                               reach + 1 + output_padding[axis];
        } else {
            const int64_t room = shape->in[axis] + shape->before[axis] + shape->after[axis] - reach - 1;
            shape->out[axis] = room < 0 ? 0 : room / shape->stride[axis] + 1;
        }
        if (shape->out[axis] < 0)
            shape->out[axis] = 0;
    }
}

static int64_t channel_axis(const conv_case *c) { return c->layout == HUNZE_CHANNELS_LAST ? c->shape.spatial + 1 : 1; }
static int64_t first_spatial_axis(const conv_case *c) { return c->layout == HUNZE_CHANNELS_LAST ? 1 : 2; }

static void strides_of(const conv_case *c, const operand *x, int64_t *n, int64_t *channel, int64_t axes[2])
{
    *n = x->strides[0];
    *channel = x->strides[channel_axis(c)];
    axes[0] = 0;
    for (int i = 0; i < c->shape.spatial; i++)
        axes[2 - c->shape.spatial + i] = x->strides[first_spatial_axis(c) + i];
}

/* Operands for the case's row and shape; the shape's strides are read off them. */
static void make_operands(conv_case *c, harness_rng *rng, memory_order x_memory, memory_order w_memory,
                          memory_order y_memory, harness_values values)
{
    hunze_conv_shape *shape = &c->shape;
    const bool transposed = c->op == HUNZE_OP_CONV_TRANSPOSE, floats = is_float_type(c->row->a);
    make_image(c, &c->x, rng, c->row->a, shape->c, shape->in, x_memory, false, values);
    make_image(c, &c->y, rng, c->y_type, shape->k, shape->out, y_memory, true, HARNESS_SPECIAL);
    if (c->has_residual)
        make_image(c, &c->residual, rng, floats ? c->row->a : HUNZE_TYPE_F32, shape->k, shape->out,
                   (memory_order)harness_between(rng, 0, MEMORY_ORDERS - 1), false, values);
    const int64_t inner = transposed ? shape->k / shape->groups : shape->c / shape->groups;
    const int64_t w_shape[DIMS] = {transposed ? shape->c : shape->k, inner, shape->kernel[2 - shape->spatial],
                                   shape->kernel[1]};
    int order[DIMS] = {0, 1, 2, 3};
    if (w_memory == OTHER_WAY) {
        order[1] = 2;
        order[2] = shape->spatial == 2 ? 3 : 1;
        order[3] = 1;
    } else if (w_memory == GAPS) {
        order[0] = 1;
        order[1] = 0;
    }
    make(&c->w, rng, floats ? c->row->a : HUNZE_TYPE_S8, shape->spatial + 2, w_shape, order, w_memory == GAPS, false,
         values);
    for (size_t i = 0; c->row->safe_weights && i < c->w.bytes; i++)
        ((int8_t *)c->w.memory)[i] /= 2;
    if (c->has_bias)
        make(&c->bias, rng, c->bias_type, 1, &shape->k, (int[]){0}, harness_between(rng, 0, 1), false, values);
    strides_of(c, &c->x, &shape->x_n, &shape->x_c, shape->x_axis);
    strides_of(c, &c->y, &shape->y_n, &shape->y_c, shape->y_axis);
    shape->w_k = c->w.strides[transposed ? 1 : 0];
    shape->w_c = c->w.strides[transposed ? 0 : 1];
    shape->w_axis[0] = 0;
    for (int i = 0; i < shape->spatial; i++)
        shape->w_axis[2 - shape->spatial + i] = c->w.strides[2 + i];
}

static void destroy(conv_case *c)
{
    operand *all[] = {&c->x, &c->w, &c->y, &c->bias, &c->residual};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->memory);
}

/* ------------------------------------------------------------------ the reference */

/* The element of an image, or NULL where the index lies outside. */
static void *pixel(const conv_case *c, const operand *x, hunze_type type, int64_t image, int64_t channel, int64_t row,
                   int64_t column)
{
    int64_t n, channel_stride, axes[2];
    strides_of(c, x, &n, &channel_stride, axes);
    return (char *)x->tensor.data +
           (image * n + channel * channel_stride + row * axes[0] + column * axes[1]) * (int64_t)hunze_type_bytes(type);
}

/* The input index that an output meets at a tap; false: padding; *between: a transposed convolution's tap that stride skips. */
static bool meets(const conv_case *c, int axis, int64_t out, int64_t tap, int64_t *in, bool *between)
{
    const hunze_conv_shape *s = &c->shape;
    if (c->op == HUNZE_OP_CONV_TRANSPOSE) {
        const int64_t at = out + s->before[axis] - tap * s->dilation[axis];
        const int64_t rest = (at % s->stride[axis] + s->stride[axis]) % s->stride[axis];
        *between = *between || rest != 0;
        *in = (at - rest) / s->stride[axis];
        return rest == 0 && *in >= 0 && *in < s->in[axis];
    }
    *in = out * s->stride[axis] - s->before[axis] + tap * s->dilation[axis];
    return *in >= 0 && *in < s->in[axis];
}

typedef void tap_fn(void *sum, const void *x, const void *w); /* x: NULL for padding */

/* Every tap of one output in the contract's order.  skip: taps between inputs are left out. */
static void each_tap(const conv_case *c, int64_t image, int64_t channel, int64_t row, int64_t column, bool skip,
                     tap_fn *tap, void *sum)
{
    const hunze_conv_shape *s = &c->shape;
    const int64_t c_group = s->c / s->groups, k_group = s->k / s->groups, group = channel / k_group;
    const bool transposed = c->op == HUNZE_OP_CONV_TRANSPOSE;
    const int64_t w_bytes = (int64_t)hunze_type_bytes(c->row->b);
    for (int64_t r = 0; r < s->kernel[0]; r++)
        for (int64_t t = 0; t < s->kernel[1]; t++) {
            int64_t in[2];
            bool between = false;
            bool inside = meets(c, 0, row, r, &in[0], &between);
            inside = meets(c, 1, column, t, &in[1], &between) && inside;
            if (between && skip)
                continue;
            for (int64_t q = 0; q < c_group; q++) {
                const int64_t out_index = transposed ? channel % k_group : channel,
                              in_index = transposed ? group * c_group + q : q;
                const char *w =
                    (const char *)c->w.tensor.data +
                    (out_index * s->w_k + in_index * s->w_c + r * s->w_axis[0] + t * s->w_axis[1]) * w_bytes;
                tap(sum, inside ? pixel(c, &c->x, c->row->a, image, group * c_group + q, in[0], in[1]) : NULL, w);
            }
        }
}

#define REFERENCE(name, type, fma_, kc_)                                                                               \
    typedef struct name##_sum {                                                                                        \
        type s, t;                                                                                                     \
        int64_t p, k, blocks, block;                                                                                   \
    } name##_sum;                                                                                                      \
    static void name##_tap(void *user, const void *x, const void *w)                                                   \
    {                                                                                                                  \
        name##_sum *sum = user;                                                                                        \
        sum->s = fma_(x ? *(const type *)x : (type)0, *(const type *)w, sum->s);                                       \
        if (++sum->p == (sum->block + 1 == sum->blocks ? sum->k : (sum->block + 1) * (kc_))) {                         \
            sum->t = sum->block == 0 ? sum->s : sum->t + sum->s;                                                       \
            sum->s = 0;                                                                                                \
            sum->block++;                                                                                              \
        }                                                                                                              \
    }                                                                                                                  \
    static void name(const conv_case *c, bool skip)                                                                    \
    {                                                                                                                  \
        const hunze_conv_shape *s = &c->shape;                                                                         \
        const int64_t k = s->kernel[0] * s->kernel[1] * (s->c / s->groups);                                            \
        /* a last block shorter than half joins its predecessor */                                                     \
        const int64_t blocks = k <= (kc_) ? 1 : k / (kc_) + (k % (kc_) * 2 >= (kc_));                                  \
        for (int64_t image = 0; image < s->n; image++)                                                                 \
            for (int64_t j = 0; j < s->k; j++)                                                                         \
                for (int64_t row = 0; row < s->out[0]; row++)                                                          \
                    for (int64_t column = 0; column < s->out[1]; column++) {                                           \
                        name##_sum sum = {.k = k, .blocks = blocks};                                                   \
                        each_tap(c, image, j, row, column, skip, name##_tap, &sum);                                    \
                        type t = skip ? sum.s : sum.t; /* skipping: one block, cut short */                            \
                        if (skip && sum.block)                                                                         \
                            t = sum.t;                                                                                 \
                        if (c->has_bias)                                                                               \
                            t += ((const type *)c->bias.tensor.data)[j * c->bias.strides[0]];                          \
                        if (c->has_residual)                                                                           \
                            t += *(const type *)pixel(c, &c->residual, c->row->a, image, j, row, column);              \
                        const type alpha = (type)c->activation.alpha, beta = (type)c->activation.beta;                 \
                        if (c->activation.kind == HUNZE_ACT_RELU)                                                      \
                            t = t < 0 ? 0 : t;                                                                         \
                        else if (c->activation.kind == HUNZE_ACT_LEAKY_RELU)                                           \
                            t = t < 0 ? alpha * t : t;                                                                 \
                        else if (c->activation.kind == HUNZE_ACT_CLIP)                                                 \
                            t = t < alpha ? alpha : t > beta ? beta : t;                                               \
                        *(type *)pixel(c, &c->y, c->row->d, image, j, row, column) = t;                                \
                    }                                                                                                  \
    }
REFERENCE(reference_f32, float, fmaf, HUNZE_KC_F32)
REFERENCE(reference_f64, double, fma, HUNZE_KC_F64)

typedef struct int_sum {
    uint32_t s;
    int32_t x_zero_point, w_zero_point;
    bool x_unsigned;
} int_sum;

static void int_tap(void *user, const void *x, const void *w)
{
    int_sum *sum = user;
    const int32_t value = !x ? sum->x_zero_point : sum->x_unsigned ? *(const uint8_t *)x : *(const int8_t *)x;
    sum->s += (uint32_t)((value - sum->x_zero_point) * (*(const int8_t *)w - sum->w_zero_point));
}

static void reference_int(const conv_case *c)
{
    const hunze_conv_shape *s = &c->shape;
    for (int64_t image = 0; image < s->n; image++)
        for (int64_t j = 0; j < s->k; j++)
            for (int64_t row = 0; row < s->out[0]; row++)
                for (int64_t column = 0; column < s->out[1]; column++) {
                    const int64_t parameter = c->w_parameters > 1 ? j : 0;
                    int_sum sum = {0, c->x_zero_point, c->w_parameters ? c->w_zero_points[2 * parameter] : 0,
                                   c->row->a == HUNZE_TYPE_U8};
                    each_tap(c, image, j, row, column, false, int_tap, &sum);
                    if (c->has_bias && c->bias_type == HUNZE_TYPE_S32)
                        sum.s += (uint32_t)((const int32_t *)c->bias.tensor.data)[j * c->bias.strides[0]];
                    const int32_t v = (int32_t)sum.s;
                    void *y = pixel(c, &c->y, c->y_type, image, j, row, column);
                    if (!c->quantised) {
                        *(int32_t *)y = c->activation.kind == HUNZE_ACT_RELU && v < 0 ? 0 : v;
                        continue;
                    }
                    const float scale = c->x_scale * c->w_scales[2 * parameter];
                    const bool has_float_bias = c->has_bias && c->bias_type == HUNZE_TYPE_F32,
                               codes = c->y_type != HUNZE_TYPE_F32;
                    float f;
                    if (codes && !has_float_bias && !c->has_residual && c->activation.kind == HUNZE_ACT_NONE) {
                        f = (float)v * (scale / c->y_scale);
                    } else {
                        f = (float)v * scale;
                        if (has_float_bias)
                            f += ((const float *)c->bias.tensor.data)[j * c->bias.strides[0]];
                        if (c->has_residual)
                            f += *(const float *)pixel(c, &c->residual, HUNZE_TYPE_F32, image, j, row, column);
                        if (c->activation.kind == HUNZE_ACT_RELU)
                            f = f < 0 ? 0 : f;
                        if (codes)
                            f /= c->y_scale;
                    }
                    if (!codes) {
                        *(float *)y = f;
                        continue;
                    }
                    const float low = c->y_type == HUNZE_TYPE_U8 ? 0 : -128, high = low + 255;
                    float code = (isnan(f) ? 0 : nearbyintf(f)) + (float)c->y_zero_point; /* NaN has the code of 0 */
                    code = code < low ? low : code > high ? high : code;
                    if (c->y_type == HUNZE_TYPE_U8)
                        *(uint8_t *)y = (uint8_t)code;
                    else
                        *(int8_t *)y = (int8_t)code;
                }
}

/* ------------------------------------------------------------------ the driver */

static bool weights_finite(const conv_case *c)
{
    if (!is_float_type(c->row->a))
        return true;
    for (size_t i = 0; i < c->w.bytes / hunze_type_bytes(c->row->b); i++)
        if (!isfinite(harness_get(c->row->b, c->w.memory, (int64_t)i)))
            return false;
    return true;
}

/* The packed blob, from the definition of B: dense (k, n) per group, then panels; depthwise rows: [tap][channel]. */
static hunze_tensor pack(const conv_case *c)
{
    const hunze_conv_shape *s = &c->shape;
    const int64_t c_group = s->c / s->groups, k_group = s->k / s->groups, k = s->kernel[0] * s->kernel[1] * c_group;
    const int64_t size = (int64_t)hunze_type_bytes(c->row->b);
    const bool transposed = c->op == HUNZE_OP_CONV_TRANSPOSE;
    const size_t group_bytes = c->row->depthwise ? (size_t)(k * size) : hunze_packed_panels_bytes(c->row, k_group, k);
    char *blob = aligned_alloc(64, hunze_align64(64 + (size_t)s->groups * group_bytes)),
         *dense = malloc((size_t)(k * k_group * size) + 1);
    memset(blob, 0, 64);
    ((hunze_packed_header *)blob)->flags = weights_finite(c) ? HUNZE_PACKED_FINITE : 0;
    for (int64_t group = 0; group < s->groups; group++) {
        for (int64_t p = 0; p < k; p++)
            for (int64_t j = 0; j < k_group; j++) {
                const int64_t tap = p / c_group, q = p % c_group, r = tap / s->kernel[1], t = tap % s->kernel[1];
                const int64_t out_index = transposed ? j : group * k_group + j,
                              in_index = transposed ? group * c_group + q : q;
                const char *w = (const char *)c->w.tensor.data +
                                (out_index * s->w_k + in_index * s->w_c + r * s->w_axis[0] + t * s->w_axis[1]) * size;
                memcpy(c->row->depthwise ? blob + 64 + (p * s->groups + group) * size
                                         : dense + (p * k_group + j) * size,
                       w, (size_t)size);
            }
        for (int64_t panel = 0; !c->row->depthwise && panel * c->row->nr < k_group; panel++)
            hunze_pack_panels(c->row, k_group, k, &(hunze_gemm_b){dense, k_group, 1, false}, panel, panel + 1,
                              blob + 64 + (size_t)group * group_bytes);
    }
    free(dense);
    return (hunze_tensor){.data = blob, .ndim = 1};
}

static hunze_status drive(const conv_case *c, const hunze_tensor *packed, int32_t threads)
{
    struct hunze_plan plan = {.context = context, .op = c->op, .row = c->row, .conv = c->shape};
    plan.conv.packed = packed;
    const bool transposed = c->op == HUNZE_OP_CONV_TRANSPOSE;
    hunze_driver_fn *driver = transposed                                 ? hunze_run_conv_transpose
                              : c->row->depthwise                        ? hunze_run_depthwise
                              : hunze_conv_in_planes(&plan.conv, c->row) ? hunze_run_conv_planes
                                                                         : hunze_run_conv;
    int64_t one = 1, channels = c->shape.k, step = 2;
    uint8_t zero_points[3][128];
    const hunze_tensor scalar = {.ndim = 0, .dtype = harness_dtype(HUNZE_TYPE_F32), .shape = &one};
    hunze_tensor x_scale = scalar, x_zero = scalar, w_scale = scalar, w_zero = scalar, y_scale = scalar,
                 y_zero = scalar;
    for (int i = 0; i < 128; i++)
        zero_points[1][i] = (uint8_t)c->w_zero_points[i];
    zero_points[0][0] = (uint8_t)c->x_zero_point;
    zero_points[2][0] = (uint8_t)c->y_zero_point;
    x_scale.data = (void *)&c->x_scale;
    w_scale.data = (void *)c->w_scales;
    y_scale.data = (void *)&c->y_scale;
    x_zero.data = zero_points[0];
    w_zero.data = zero_points[1];
    y_zero.data = zero_points[2];
    if (c->w_parameters > 1) {
        w_scale.ndim = w_zero.ndim = 1;
        w_scale.shape = w_zero.shape = &channels;
        w_scale.strides = w_zero.strides = &step;
    }
    const hunze_quant x_quant = {sizeof x_quant, 0, 0, 0, c->quantised ? &x_scale : NULL, &x_zero};
    const hunze_quant w_quant = {sizeof w_quant, c->w_parameters > 1, 0, 0, c->quantised ? &w_scale : NULL, &w_zero};
    const hunze_quant y_quant = {sizeof y_quant, 0, 0, 0, &y_scale, &y_zero};
    const bool floats = is_float_type(c->row->a);
    const hunze_conv_options options = {
        .struct_size = sizeof options,
        .layout = c->layout,
        .bias = c->has_bias ? &c->bias.tensor : NULL,
        .residual = c->has_residual ? &c->residual.tensor : NULL,
        .activation = &c->activation,
        .x_quant = floats ? NULL : &x_quant,
        .w_quant = floats || !c->w_parameters ? NULL : &w_quant,
        .y_quant = c->quantised && c->y_type != HUNZE_TYPE_F32 ? &y_quant : NULL,
    };
    const hunze_call call = {sizeof call, c->op,        &c->x.tensor, packed ? packed : &c->w.tensor,
                             NULL,        &c->y.tensor, &options};
    hunze_exec exec = {.context = context, .threads = threads, .caller = (uintptr_t)pthread_self()};
    exec.workspace_bytes = hunze_conv_workspace(&plan, threads);
    exec.workspace = aligned_alloc(64, (exec.workspace_bytes + 127) & ~(size_t)63);
    memset(exec.workspace, 0xFF, exec.workspace_bytes); /* NaN, if it were read before it is written */
    char *end = (char *)exec.workspace + exec.workspace_bytes;
    memset(end, 0x5A, 64 - exec.workspace_bytes % 64);
    const hunze_status status = driver(&plan, &call, &exec);
    harness_check(*end == 0x5A, "the driver wrote beyond its workspace of %zu bytes", exec.workspace_bytes);
    free(exec.workspace);
    return status;
}

static void check_case(conv_case *c)
{
    static const int32_t thread_counts[] = {1, 2, 3, 7};
    char *before = malloc(c->y.bytes), *expected = malloc(c->y.bytes);
    const size_t size = hunze_type_bytes(c->y_type);
    memcpy(before, c->y.memory, c->y.bytes);
    if (is_float_type(c->row->a)) {
        const int64_t k = c->shape.kernel[0] * c->shape.kernel[1] * (c->shape.c / c->shape.groups);
        const int64_t kc = c->row->a == HUNZE_TYPE_F64 ? HUNZE_KC_F64 : HUNZE_KC_F32;
        const bool skip = c->op == HUNZE_OP_CONV_TRANSPOSE && 2 * k < 3 * kc && weights_finite(c);
        (c->row->a == HUNZE_TYPE_F64 ? reference_f64 : reference_f32)(c, skip);
    } else {
        reference_int(c);
    }
    memcpy(expected, c->y.memory, c->y.bytes);
    const hunze_tensor packed = pack(c);
    for (size_t t = 0; t < sizeof thread_counts / sizeof *thread_counts; t++)
        for (int variant = 0; variant < 2; variant++) {
            memcpy(c->y.memory, before, c->y.bytes);
            const hunze_status status = drive(c, variant ? &packed : NULL, thread_counts[t]);
            harness_check(status == HUNZE_OK, "%d threads: %s", thread_counts[t], hunze_last_error());
            for (size_t at = 0; at < c->y.bytes; at += size)
                harness_check(harness_same(c->y_type, expected + at, c->y.memory + at),
                              "%d threads%s: element %zu of y's memory is %s, should be %s", thread_counts[t],
                              variant ? ", packed" : "", at / size, harness_show(c->y_type, c->y.memory + at),
                              harness_show(c->y_type, expected + at));
        }
    free(packed.data);
    free(before);
    free(expected);
}

/* ------------------------------------------------------------------ random cases */

static void random_epilogue(conv_case *c, harness_rng *rng)
{
    static const uint32_t float_kinds[] = {HUNZE_ACT_NONE, HUNZE_ACT_RELU, HUNZE_ACT_LEAKY_RELU, HUNZE_ACT_CLIP};
    c->y_type = c->row->d;
    c->has_bias = harness_between(rng, 0, 1);
    c->bias_type = c->row->d;
    c->activation = (hunze_activation){sizeof c->activation, 0, -0.5F, 0.5F};
    if (is_float_type(c->row->a)) {
        c->has_residual = harness_between(rng, 0, 2) == 0;
        c->activation.kind = float_kinds[harness_between(rng, 0, 3)];
        return;
    }
    static const hunze_type outputs[] = {HUNZE_TYPE_S32, HUNZE_TYPE_S32, HUNZE_TYPE_F32, HUNZE_TYPE_U8, HUNZE_TYPE_S8};
    c->y_type = outputs[harness_between(rng, 0, 4)];
    c->quantised = c->y_type != HUNZE_TYPE_S32;
    c->activation.kind = harness_between(rng, 0, 1) ? HUNZE_ACT_RELU : HUNZE_ACT_NONE;
    c->x_zero_point =
        (int32_t)(c->row->a == HUNZE_TYPE_U8 ? harness_between(rng, 0, 255) : harness_between(rng, -128, 127));
    c->w_parameters = harness_between(rng, c->quantised ? 1 : 0, 2);
    for (int i = 0; i < 128; i++) {
        c->w_scales[i] = 0.01F + 0.001F * (float)harness_between(rng, 0, 100);
        c->w_zero_points[i] = (int32_t)harness_between(rng, -128, 127);
    }
    if (c->quantised) {
        c->has_residual = harness_between(rng, 0, 2) == 0;
        c->bias_type = harness_between(rng, 0, 1) ? HUNZE_TYPE_S32 : HUNZE_TYPE_F32;
        c->x_scale = 0.03125F;
        c->y_scale = 0.7F * (float)(1 + c->shape.c / c->shape.groups);
        c->y_zero_point =
            (int32_t)(c->y_type == HUNZE_TYPE_U8 ? harness_between(rng, 0, 255) : harness_between(rng, -128, 127));
    }
}

static void run_case_in(conv_case *c, harness_rng *rng, memory_order x, memory_order w, memory_order y)
{
    const hunze_conv_shape *s = &c->shape;
    const harness_values values = (harness_values)harness_between(rng, 0, HARNESS_VALUES - 1);
    static const char *const orders[] = {"as shape", "other way", "gaps"};
    harness_case("%s %ldx%ldx%ldx%ld -> %ldx%ldx%ld, groups %ld, kernel %ldx%ld, stride %ldx%ld, dilation %ldx%ld, "
                 "pads %ld,%ld %ld,%ld, x %s, w %s, "
                 "y %s, %s%s%s%s, y type %d",
                 c->layout ? "nhwc" : "nchw", (long)s->n, (long)s->c, (long)s->in[0], (long)s->in[1], (long)s->k,
                 (long)s->out[0], (long)s->out[1], (long)s->groups, (long)s->kernel[0], (long)s->kernel[1],
                 (long)s->stride[0], (long)s->stride[1], (long)s->dilation[0], (long)s->dilation[1], (long)s->before[0],
                 (long)s->after[0], (long)s->before[1], (long)s->after[1], orders[x], orders[w], orders[y],
                 harness_values_name(values), c->has_bias ? " bias" : "", c->has_residual ? " residual" : "",
                 c->activation.kind ? " activation" : "", (int)c->y_type);
    make_operands(c, rng, x, w, y, values);
    check_case(c);
    destroy(c);
}

static void run_case(conv_case *c, harness_rng *rng)
{
    const memory_order x = (memory_order)harness_between(rng, 0, MEMORY_ORDERS - 1),
                       w = (memory_order)harness_between(rng, 0, MEMORY_ORDERS - 1),
                       y = (memory_order)harness_between(rng, 0, MEMORY_ORDERS - 1);
    run_case_in(c, rng, x, w, y);
}

static int conv_main(int argc, char **argv, const char *group, const harness_part *parts, int count)
{
    const hunze_context_options options = {.struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT};
    if (hunze_context_create(&options, &context) != HUNZE_OK)
        return 1;
    const int failed = harness_main(argc, argv, group, parts, count);
    hunze_context_release(context);
    return failed;
}

#endif
