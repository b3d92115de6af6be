/* SPDX-License-Identifier: Apache-2.0 */
/* One good call of each operation, for tests of the runtime: operands in memory of their own, small ones to be broken in one place, large
 * ones that several threads share. */
#ifndef HUNZE_TESTS_EXAMPLE_H
#define HUNZE_TESTS_EXAMPLE_H

#include "harness.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WITH_C = 1,
    WITH_BIAS = 2,
    WITH_RESIDUAL = 4,
    WITH_SCALES = 8,
    WITH_ZEROS = 16,
    DYNAMIC = 32,
    PACKED = 64,
    WITH_OFFSETS = 128
};
enum { SMALL, LARGE };

typedef struct example_spec {
    const char *name;
    hunze_op op;
    hunze_type a, b, d;
    uint32_t with, groups;
    int ndim;
    int64_t shapes[2][3][4]; /* SMALL, LARGE: of a, b, d; with offsets b has another axis in front */
} example_spec;

static const example_spec specs[] = {
    {"gemm f32",
     HUNZE_OP_GEMM,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     WITH_C | WITH_BIAS | WITH_RESIDUAL,
     0,
     2,
     {{{5, 7}, {7, 9}, {5, 9}}, {{257, 310}, {310, 300}, {257, 300}}}},
    {"gemm f64",
     HUNZE_OP_GEMM,
     HUNZE_TYPE_F64,
     HUNZE_TYPE_F64,
     HUNZE_TYPE_F64,
     WITH_C | WITH_BIAS | WITH_RESIDUAL,
     0,
     2,
     {{{4, 3}, {3, 6}, {4, 6}}, {{150, 310}, {310, 200}, {150, 200}}}},
    {"gemm bf16",
     HUNZE_OP_GEMM,
     HUNZE_TYPE_BF16,
     HUNZE_TYPE_BF16,
     HUNZE_TYPE_BF16,
     WITH_C | WITH_BIAS | WITH_RESIDUAL,
     0,
     2,
     {{{5, 7}, {7, 9}, {5, 9}}, {{257, 310}, {310, 300}, {257, 300}}}},
    {"gemm f16 packed",
     HUNZE_OP_GEMM,
     HUNZE_TYPE_F16,
     HUNZE_TYPE_F16,
     HUNZE_TYPE_F16,
     WITH_BIAS | WITH_RESIDUAL | PACKED,
     0,
     2,
     {{{5, 7}, {7, 9}, {5, 9}}, {{257, 310}, {310, 300}, {257, 300}}}},
    {"gemm packed",
     HUNZE_OP_GEMM,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     WITH_BIAS | PACKED,
     0,
     2,
     {{{5, 7}, {7, 9}, {5, 9}}, {{257, 310}, {310, 300}, {257, 300}}}},
    {"gemm s16",
     HUNZE_OP_GEMM,
     HUNZE_TYPE_S16,
     HUNZE_TYPE_S16,
     HUNZE_TYPE_S16,
     WITH_C | WITH_BIAS | WITH_RESIDUAL,
     0,
     2,
     {{{5, 7}, {7, 9}, {5, 9}}, {{257, 310}, {310, 300}, {257, 300}}}},
    {"gemm s32",
     HUNZE_OP_GEMM,
     HUNZE_TYPE_U8,
     HUNZE_TYPE_S8,
     HUNZE_TYPE_S32,
     WITH_BIAS | WITH_ZEROS,
     0,
     2,
     {{{5, 7}, {7, 9}, {5, 9}}, {{257, 310}, {310, 300}, {257, 300}}}},
    {"gemm u8",
     HUNZE_OP_GEMM,
     HUNZE_TYPE_S8,
     HUNZE_TYPE_S8,
     HUNZE_TYPE_U8,
     WITH_BIAS | WITH_SCALES | WITH_ZEROS,
     0,
     2,
     {{{5, 7}, {7, 9}, {5, 9}}, {{257, 310}, {310, 300}, {257, 300}}}},
    {"gemm grouped",
     HUNZE_OP_GEMM,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     WITH_C | WITH_BIAS | WITH_RESIDUAL | WITH_OFFSETS,
     3,
     2,
     {{{5, 7}, {3, 7, 9}, {5, 9}}, {{257, 310}, {3, 310, 300}, {257, 300}}}},
    {"conv f32",
     HUNZE_OP_CONV,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     WITH_BIAS | WITH_RESIDUAL,
     2,
     4,
     {{{2, 4, 5, 6}, {6, 2, 3, 3}, {2, 6, 5, 6}}, {{2, 32, 60, 66}, {48, 16, 3, 3}, {2, 48, 60, 66}}}},
    {"conv packed",
     HUNZE_OP_CONV,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     WITH_BIAS | PACKED,
     2,
     4,
     {{{2, 4, 5, 6}, {6, 2, 3, 3}, {2, 6, 5, 6}}, {{2, 32, 60, 66}, {48, 16, 3, 3}, {2, 48, 60, 66}}}},
    {"conv 1-D",
     HUNZE_OP_CONV,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     WITH_BIAS,
     1,
     3,
     {{{2, 4, 9}, {5, 4, 3}, {2, 5, 9}}, {{2, 64, 600}, {64, 64, 3}, {2, 64, 600}}}},
    {"conv u8",
     HUNZE_OP_CONV,
     HUNZE_TYPE_U8,
     HUNZE_TYPE_S8,
     HUNZE_TYPE_U8,
     WITH_BIAS | WITH_SCALES | WITH_ZEROS,
     1,
     4,
     {{{1, 4, 5, 6}, {6, 4, 3, 3}, {1, 6, 5, 6}}, {{1, 16, 60, 66}, {24, 16, 3, 3}, {1, 24, 60, 66}}}},
    {"depthwise",
     HUNZE_OP_CONV,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     WITH_BIAS | WITH_RESIDUAL,
     4,
     4,
     {{{1, 4, 5, 6}, {4, 1, 3, 3}, {1, 4, 5, 6}}, {{16, 4, 120, 120}, {4, 1, 3, 3}, {16, 4, 120, 120}}}},
    {"conv_transpose",
     HUNZE_OP_CONV_TRANSPOSE,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_F32,
     WITH_BIAS,
     1,
     4,
     {{{1, 4, 5, 6}, {4, 3, 3, 3}, {1, 3, 5, 6}}, {{1, 24, 48, 50}, {24, 20, 3, 3}, {1, 20, 48, 50}}}},
    {"quantize",
     HUNZE_OP_QUANTIZE,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_NONE,
     HUNZE_TYPE_S8,
     WITH_SCALES | WITH_ZEROS,
     0,
     2,
     {{{5, 9}, {0}, {5, 9}}, {{301, 1031}, {0}, {301, 1031}}}},
    {"dynamic quantize",
     HUNZE_OP_QUANTIZE,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_NONE,
     HUNZE_TYPE_U8,
     WITH_SCALES | WITH_ZEROS | DYNAMIC,
     0,
     2,
     {{{5, 9}, {0}, {5, 9}}, {{301, 1031}, {0}, {301, 1031}}}},
    {"dequantize",
     HUNZE_OP_DEQUANTIZE,
     HUNZE_TYPE_U8,
     HUNZE_TYPE_NONE,
     HUNZE_TYPE_F32,
     WITH_SCALES | WITH_ZEROS,
     0,
     2,
     {{{5, 9}, {0}, {5, 9}}, {{301, 1031}, {0}, {301, 1031}}}},
    {"activate",
     HUNZE_OP_ACTIVATION,
     HUNZE_TYPE_F32,
     HUNZE_TYPE_NONE,
     HUNZE_TYPE_F32,
     0,
     0,
     2,
     {{{5, 9}, {0}, {5, 9}}, {{301, 1031}, {0}, {301, 1031}}}},
    {"pack gemm", HUNZE_OP_PACK, HUNZE_TYPE_F32, HUNZE_TYPE_NONE, HUNZE_TYPE_NONE, 0, 0, 2, {{{7, 9}}, {{900, 1100}}}},
    {"pack conv",
     HUNZE_OP_PACK,
     HUNZE_TYPE_S8,
     HUNZE_TYPE_NONE,
     HUNZE_TYPE_NONE,
     0,
     2,
     4,
     {{{6, 2, 3, 3}}, {{256, 128, 3, 3}}}},
};
enum { EXAMPLES = sizeof specs / sizeof specs[0] };

typedef struct example {
    const example_spec *spec;
    hunze_call call; /* as data; not for the op pack */
    hunze_tensor tensor[HUNZE_ROLE_COUNT];
    int64_t shape[HUNZE_ROLE_COUNT][4], strides[HUNZE_ROLE_COUNT][4];
    char *memory[HUNZE_ROLE_COUNT]; /* NULL: the call has no such operand */
    size_t bytes[HUNZE_ROLE_COUNT];
    double alpha, beta;
    hunze_activation activation;
    hunze_quant quant[3]; /* of a, b, d */
    union {
        struct {
            uint32_t struct_size, flags;
        } any;
        hunze_gemm_options gemm;
        hunze_conv_options conv;
        hunze_quantize_options quantize;
        hunze_activation_options activate;
        hunze_pack_options pack;
        char room[sizeof(hunze_conv_options) + 64]; /* of a later version's struct */
    } options;
} example;

/* What messages call an operand. */
static inline const char *operand_name(const example *e, int role)
{
    static const char *const gemm[] = {"d",
                                       "a",
                                       "b",
                                       "c",
                                       "bias",
                                       "residual",
                                       "a_quant.scale",
                                       "a_quant.zero_point",
                                       "b_quant.scale",
                                       "b_quant.zero_point",
                                       "d_quant.scale",
                                       "d_quant.zero_point",
                                       "offsets"};
    static const char *const conv[] = {"y",
                                       "x",
                                       "w",
                                       "",
                                       "bias",
                                       "residual",
                                       "x_quant.scale",
                                       "x_quant.zero_point",
                                       "w_quant.scale",
                                       "w_quant.zero_point",
                                       "y_quant.scale",
                                       "y_quant.zero_point",
                                       ""};
    _Static_assert(sizeof gemm / sizeof *gemm == HUNZE_ROLE_COUNT, "every role has its name");
    _Static_assert(sizeof conv / sizeof *conv == HUNZE_ROLE_COUNT, "every role has its name");
    if (role >= HUNZE_ROLE_A_SCALE && (e->spec->op == HUNZE_OP_QUANTIZE || e->spec->op == HUNZE_OP_DEQUANTIZE))
        return (role - HUNZE_ROLE_A_SCALE) % 2 ? "quant.zero_point" : "quant.scale";
    switch (e->spec->op) {
    case HUNZE_OP_GEMM: return gemm[role];
    case HUNZE_OP_CONV:
    case HUNZE_OP_CONV_TRANSPOSE: return conv[role];
    case HUNZE_OP_QUANTIZE: return role == HUNZE_ROLE_D ? "codes" : "x";
    case HUNZE_OP_DEQUANTIZE: return role == HUNZE_ROLE_D ? "x" : "codes";
    case HUNZE_OP_PACK: return role == HUNZE_ROLE_D ? "packed" : "w";
    default: return role == HUNZE_ROLE_D ? "y" : "x";
    }
}

static inline hunze_dtype dtype_of(hunze_type type)
{
    return type == HUNZE_TYPE_NONE ? (hunze_dtype){HUNZE_OPAQUE_HANDLE, 64, 1} : harness_dtype(type);
}

/* Row-major, between 64 bytes that belong to nobody; the same role has the same values in every example of its size. */
static inline const hunze_tensor *add_operand(example *e, int role, hunze_type type, int ndim, const int64_t *shape)
{
    int64_t count = 1;
    for (int axis = ndim - 1; axis >= 0; axis--) {
        e->shape[role][axis] = shape[axis];
        e->strides[role][axis] = count;
        count *= shape[axis];
    }
    const size_t bytes = (size_t)count * (type == HUNZE_TYPE_NONE ? 8 : harness_bytes(type));
    e->bytes[role] = (bytes + 64 + 63) / 64 * 64 + 64;
    e->memory[role] = aligned_alloc(64, e->bytes[role]);
    memset(e->memory[role], 0xa5, e->bytes[role]);
    e->tensor[role] = (hunze_tensor){e->memory[role] + 64, {HUNZE_DEVICE_CPU, 0}, ndim, dtype_of(type),
                                     e->shape[role],       e->strides[role],      0};
    harness_rng rng = {(uint64_t)role + 1};
    if (harness_is_float(type))
        harness_fill(&rng, type, e->tensor[role].data, count, HARNESS_UNIFORM);
    else if (type != HUNZE_TYPE_NONE)
        for (int64_t i = 0; i < count; i++)
            harness_set(type, e->tensor[role].data, i,
                        (double)harness_between(&rng, type == HUNZE_TYPE_U8 ? 0 : -90, 90));
    return &e->tensor[role];
}

static inline void poison_output(example *e)
{
    const int outputs[] = {HUNZE_ROLE_D, HUNZE_ROLE_D_SCALE, HUNZE_ROLE_D_ZERO};
    for (int i = 0; i < (e->spec->with & DYNAMIC ? 3 : 1); i++)
        memset(e->memory[outputs[i]], 0xa5, e->bytes[outputs[i]]);
}

/* Scales and zero points of operand `which` (0 a, 1 b, 2 d): per axis where axis >= 0, else one. */
static inline const hunze_quant *add_quant(example *e, int which, hunze_type codes, int axis, int64_t count)
{
    const int role = HUNZE_ROLE_A_SCALE + 2 * which;
    e->quant[which] = (hunze_quant){.struct_size = sizeof(hunze_quant),
                                    .granularity = axis >= 0 ? HUNZE_PER_AXIS : HUNZE_PER_TENSOR,
                                    .axis = axis >= 0 ? axis : 0};
    if (e->spec->with & WITH_SCALES) {
        e->quant[which].scale = add_operand(e, role, HUNZE_TYPE_F32, 1, &count);
        for (int64_t i = 0; i < count; i++)
            ((float *)e->tensor[role].data)[i] = 0.01f + 0.001f * (float)(i % 7);
    }
    if (e->spec->with & WITH_ZEROS) {
        e->quant[which].zero_point = add_operand(e, role + 1, codes, 1, &count);
        for (int64_t i = 0; i < count; i++)
            ((char *)e->tensor[role + 1].data)[i] = (char)(i % 5);
    }
    return &e->quant[which];
}

static inline void add_gemm_options(example *e)
{
    const example_spec *s = e->spec;
    const int64_t *d = e->shape[HUNZE_ROLE_D];
    hunze_gemm_options *o = &e->options.gemm;
    *o = (hunze_gemm_options){.struct_size = sizeof *o, .alpha = &e->alpha, .activation = &e->activation};
    if (s->with & WITH_C) {
        e->call.c = add_operand(e, HUNZE_ROLE_C, s->d, 2, d);
        o->beta = &e->beta;
    }
    if (s->with & WITH_OFFSETS) {
        const int64_t groups = s->groups, count = groups + 1;
        o->offsets = add_operand(e, HUNZE_ROLE_OFFSETS, HUNZE_TYPE_S32, 1, &count);
        int32_t *offsets = e->tensor[HUNZE_ROLE_OFFSETS].data; /* all but the second group have rows */
        for (int64_t i = 0; i < count; i++)
            offsets[i] = (int32_t)(d[0] * (i == 2 ? 1 : i) / groups) + (i == 1 || i == 2);
        o->bias = add_operand(e, HUNZE_ROLE_BIAS, s->d, 2, (const int64_t[]){groups, d[1]});
    } else if (s->with & WITH_BIAS) {
        o->bias = add_operand(e, HUNZE_ROLE_BIAS, s->b == HUNZE_TYPE_S8 ? HUNZE_TYPE_S32 : s->d, 1, &d[1]);
    }
    if (s->with & WITH_RESIDUAL)
        o->residual = add_operand(e, HUNZE_ROLE_RESIDUAL, s->d, 2, d);
    if (s->with & (WITH_SCALES | WITH_ZEROS)) {
        o->a_quant = add_quant(e, 0, s->a, -1, 1);
        o->b_quant = add_quant(e, 1, s->b, 1, d[1]);
        o->d_quant = s->with & WITH_SCALES ? add_quant(e, 2, s->d, -1, 1) : NULL;
    }
}

static inline void add_conv_options(example *e)
{
    const example_spec *s = e->spec;
    const int64_t *d = e->shape[HUNZE_ROLE_D];
    hunze_conv_options *o = &e->options.conv;
    *o = (hunze_conv_options){.struct_size = sizeof *o,
                              .groups = s->groups,
                              .pad_before = {1},
                              .pad_after = {1},
                              .activation = &e->activation};
    if (s->ndim == 4)
        o->pad_before[1] = o->pad_after[1] = 1;
    if (s->with & WITH_BIAS)
        o->bias = add_operand(e, HUNZE_ROLE_BIAS, s->b == HUNZE_TYPE_S8 ? HUNZE_TYPE_S32 : s->d, 1, &d[1]);
    if (s->with & WITH_RESIDUAL)
        o->residual = add_operand(e, HUNZE_ROLE_RESIDUAL, s->d, s->ndim, d);
    if (s->with & WITH_SCALES) {
        o->x_quant = add_quant(e, 0, s->a, -1, 1);
        o->w_quant = add_quant(e, 1, s->b, 0, d[1]);
        o->y_quant = add_quant(e, 2, s->d, -1, 1);
    }
}

/* A blob of the size that the library asks for, as the operand `role`. */
static inline void add_blob(example *e, hunze_context *context, int role, const hunze_tensor *w,
                            const hunze_pack_options *options)
{
    size_t bytes = 0;
    assert_int_equal(hunze_pack_size(context, w, options, &bytes), HUNZE_OK);
    add_operand(e, role, HUNZE_TYPE_NONE, 1, (int64_t[]){(int64_t)(bytes / 8)});
}

/* context: for which weights are packed. */
static inline void make_example(example *e, int kind, int size, hunze_context *context)
{
    const example_spec *s = &specs[kind];
    memset(e, 0, sizeof *e);
    e->spec = s;
    e->alpha = harness_is_float(s->d) ? 0.5 : 1;
    e->beta = -2;
    e->activation = (hunze_activation){.struct_size = sizeof e->activation, .kind = HUNZE_ACT_RELU};
    e->call = (hunze_call){.struct_size = sizeof e->call, .op = s->op, .options = &e->options};
    e->call.a = add_operand(e, HUNZE_ROLE_A, s->a, s->ndim, s->shapes[size][0]);
    if (s->op == HUNZE_OP_PACK) {
        e->options.pack = (hunze_pack_options){.struct_size = sizeof e->options.pack,
                                               .op = s->ndim == 2 ? HUNZE_OP_GEMM : HUNZE_OP_CONV,
                                               .groups = s->groups};
        add_blob(e, context, HUNZE_ROLE_D, e->call.a, &e->options.pack);
        e->call.d = &e->tensor[HUNZE_ROLE_D];
        return;
    }
    if (s->b != HUNZE_TYPE_NONE)
        e->call.b = add_operand(e, HUNZE_ROLE_B, s->b, s->ndim + (s->with & WITH_OFFSETS ? 1 : 0), s->shapes[size][1]);
    e->call.d = add_operand(e, HUNZE_ROLE_D, s->d, s->ndim, s->shapes[size][2]);
    if (s->op == HUNZE_OP_GEMM) {
        add_gemm_options(e);
    } else if (s->op == HUNZE_OP_CONV || s->op == HUNZE_OP_CONV_TRANSPOSE) {
        add_conv_options(e);
    } else if (s->op == HUNZE_OP_ACTIVATION) {
        e->activation.kind = HUNZE_ACT_GELU;
        e->options.activate =
            (hunze_activation_options){.struct_size = sizeof e->options.activate, .activation = &e->activation};
    } else {
        const bool quantize = s->op == HUNZE_OP_QUANTIZE, dynamic = s->with & DYNAMIC;
        e->options.quantize = (hunze_quantize_options){
            .struct_size = sizeof e->options.quantize,
            .quant = add_quant(e, quantize ? 2 : 0, quantize ? s->d : s->a, dynamic ? -1 : 1,
                               dynamic ? 1 : s->shapes[size][2][1]),
            .dynamic = dynamic,
        };
    }
    if (s->with & PACKED) {
        const hunze_pack_options options = {.struct_size = sizeof options, .op = s->op, .groups = s->groups};
        const hunze_tensor w = e->tensor[HUNZE_ROLE_B];
        char *source = e->memory[HUNZE_ROLE_B];
        int64_t shape[4], strides[4];
        memcpy(shape, e->shape[HUNZE_ROLE_B], sizeof shape);
        memcpy(strides, e->strides[HUNZE_ROLE_B], sizeof strides);
        hunze_tensor from = w;
        from.shape = shape;
        from.strides = strides;
        add_blob(e, context, HUNZE_ROLE_B, &from, &options);
        assert_int_equal(hunze_pack(context, &from, &e->tensor[HUNZE_ROLE_B], &options, NULL), HUNZE_OK);
        free(source);
    }
    poison_output(e);
}

static inline void drop_example(example *e)
{
    for (int role = 0; role < HUNZE_ROLE_COUNT; role++)
        free(e->memory[role]);
}

/* By the operation's own function. */
static inline hunze_status run_example(hunze_context *context, const example *e, const hunze_run *run)
{
    const hunze_call *c = &e->call;
    switch (e->spec->op) {
    case HUNZE_OP_GEMM: return hunze_gemm(context, c->a, c->b, c->c, c->d, c->options, run);
    case HUNZE_OP_CONV: return hunze_conv(context, c->a, c->b, c->d, c->options, run);
    case HUNZE_OP_CONV_TRANSPOSE: return hunze_conv_transpose(context, c->a, c->b, c->d, c->options, run);
    case HUNZE_OP_QUANTIZE: return hunze_quantize(context, c->a, c->d, c->options, run);
    case HUNZE_OP_DEQUANTIZE: return hunze_dequantize(context, c->a, c->d, c->options, run);
    case HUNZE_OP_PACK: return hunze_pack(context, c->a, c->d, c->options, run);
    default: return hunze_activate(context, c->a, c->d, c->options, run);
    }
}

/* The outputs, poisoned before, after a run in one thread, in a copy of their memory; what the same call gives again has the same bytes. */
typedef struct answer {
    char *memory[3];
} answer;

enum { OUTPUTS = 3 };
static const int output_roles[OUTPUTS] = {HUNZE_ROLE_D, HUNZE_ROLE_D_SCALE, HUNZE_ROLE_D_ZERO};

static inline answer copy_outputs(const example *e)
{
    answer answer = {{NULL}};
    for (int i = 0; i < OUTPUTS; i++) {
        const int role = output_roles[i];
        if (!e->memory[role])
            continue;
        answer.memory[i] = malloc(e->bytes[role]);
        memcpy(answer.memory[i], e->memory[role], e->bytes[role]);
    }
    return answer;
}

/* Not by cmocka's asserts: also for threads and children. */
static inline bool outputs_are(const example *e, const answer *answer)
{
    for (int i = 0; i < OUTPUTS; i++)
        if (answer->memory[i] && memcmp(answer->memory[i], e->memory[output_roles[i]], e->bytes[output_roles[i]]) != 0)
            return false;
    return true;
}

static inline void drop_answer(answer *answer)
{
    for (int i = 0; i < OUTPUTS; i++)
        free(answer->memory[i]);
}

static inline hunze_context *open_context(const hunze_context_options *options)
{
    static const hunze_context_options plain = {.struct_size = sizeof plain, .flags = HUNZE_IGNORE_ENVIRONMENT};
    hunze_context *context = NULL;
    const hunze_status status = hunze_context_create(options ? options : &plain, &context);
    harness_check(status == HUNZE_OK, "no context: %s", hunze_last_error());
    return context;
}

static inline answer answer_of(example *e, hunze_context *context)
{
    const hunze_run run = {.struct_size = sizeof run, .threads = 1};
    poison_output(e);
    const hunze_status status = run_example(context, e, &run);
    harness_check(status == HUNZE_OK, "%s: %s", e->spec->name, hunze_last_error());
    return copy_outputs(e);
}

/* One example of each kind with its answer, for a group of tests: made in a context that is released with them. */
static inline hunze_context *make_all(const char *group, int size, example examples[EXAMPLES], answer answers[EXAMPLES])
{
    harness_begin(group);
    hunze_context *context = open_context(NULL);
    for (int kind = 0; kind < EXAMPLES; kind++) {
        make_example(&examples[kind], kind, size, context);
        answers[kind] = answer_of(&examples[kind], context);
    }
    return context;
}

static inline int drop_all(hunze_context *context, example examples[EXAMPLES], answer answers[EXAMPLES])
{
    for (int kind = 0; kind < EXAMPLES; kind++) {
        drop_example(&examples[kind]);
        drop_answer(&answers[kind]);
    }
    hunze_context_release(context);
    return 0;
}

#endif
