/* SPDX-License-Identifier: Apache-2.0 */
/* oneDNN 3 with threads of libgomp, from the wheel onednn-cpu-gomp or from the system.
 * Weights of a convolution, and of a product whose row allows it, are in the form that the library asks for; so are inputs and outputs
 * in the way "any layout".  Bringing them there is not timed: a network stays in that form from layer to layer. */
#include "library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool product(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);
static bool convolution(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);

enum { PLAIN, PACKED };                             /* forms of a product: of its weights */
enum { CHANNELS_FIRST, CHANNELS_LAST, ANY_LAYOUT }; /* forms of a convolution: of its input and output */

static const bench_entry entries[] = {
    {BENCH_GEMM, "f32", "", "f32", product, PLAIN},
    {BENCH_GEMM, "f32", "packed", "f32", product, PACKED},
    {BENCH_GEMM, "f64", "", "f64", product, PLAIN},
    {BENCH_GEMM, "bf16", "", "bf16", product, PLAIN},
    {BENCH_GEMM, "bf16", "packed", "bf16", product, PACKED},
    {BENCH_GEMM, "u8s8", "", "s32", product, PLAIN},
    {BENCH_GEMM, "u8s8", "packed", "s32", product, PACKED},
    {BENCH_GEMM, "s8s8", "", "s32", product, PLAIN},
    {BENCH_GEMM, "s8s8", "packed", "s32", product, PACKED},
    {BENCH_CONV, "f32", "channels first", "f32", convolution, CHANNELS_FIRST},
    {BENCH_CONV, "f32", "channels last", "f32", convolution, CHANNELS_LAST},
    {BENCH_CONV, "f32", "any layout", "f32", convolution, ANY_LAYOUT},
    {BENCH_CONV, "bf16", "channels first", "bf16", convolution, CHANNELS_FIRST},
    {BENCH_CONV, "bf16", "channels last", "bf16", convolution, CHANNELS_LAST},
    {BENCH_CONV, "bf16", "any layout", "bf16", convolution, ANY_LAYOUT},
    {BENCH_CONV, "u8s8", "channels first", "s32", convolution, CHANNELS_FIRST},
    {BENCH_CONV, "u8s8", "channels last", "s32", convolution, CHANNELS_LAST},
    {BENCH_CONV, "u8s8", "any layout", "s32", convolution, ANY_LAYOUT},
    {BENCH_CONV, "s8s8", "channels first", "s32", convolution, CHANNELS_FIRST},
    {BENCH_CONV, "s8s8", "channels last", "s32", convolution, CHANNELS_LAST},
    {BENCH_CONV, "s8s8", "any layout", "s32", convolution, ANY_LAYOUT},
};

/* Constants of its C interface. */
enum { CPU = 1, DEFAULT_STREAM = 1, FORMAT_ANY = 1, FORWARD_INFERENCE = 96, CONVOLUTION_DIRECT = 1 };
enum { BF16 = 2, F32 = 3, S32 = 4, S8 = 5, U8 = 6, F64 = 7 };
enum { QUERY_IMPLEMENTATION = 8, QUERY_SRC = 129, QUERY_WEIGHTS = 131, QUERY_DST = 133 };
enum { ARG_SRC = 1, ARG_DST = 17, ARG_WEIGHTS = 33, ARG_REORDER_FROM = 1, ARG_REORDER_TO = 17 };
enum { UNIMPLEMENTED = 3, MOST_DIMS = 5 };

typedef struct argument {
    int which;
    void *memory;
} argument;

typedef struct version_info {
    int major, minor, patch;
    const char *hash;
    unsigned cpu_runtime, gpu_runtime;
} version_info;

/* Every handle is a pointer to something of its own; functions return 0 or a status. */
static struct {
    const version_info *(*version)(void);
    int (*engine_create)(void **engine, int kind, size_t index);
    int (*stream_create)(void **stream, void *engine, unsigned flags);
    int (*stream_wait)(void *stream);
    int (*md_with_strides)(void **md, int ndim, const int64_t *dims, int type, const int64_t *strides);
    int (*md_with_tag)(void **md, int ndim, const int64_t *dims, int type, int tag);
    int (*md_destroy)(void *md);
    int (*md_equal)(const void *x, const void *y);
    size_t (*md_bytes)(const void *md);
    int (*memory_create)(void **memory, const void *md, void *engine, void *data);
    int (*memory_destroy)(void *memory);
    int (*product)(void **pd, void *engine, const void *src, const void *weights, const void *bias, const void *dst,
                   const void *attributes);
    int (*convolution)(void **pd, void *engine, int propagation, int algorithm, const void *src, const void *weights,
                       const void *bias, const void *dst, const int64_t *strides, const int64_t *dilations,
                       const int64_t *pad_before, const int64_t *pad_after, const void *attributes);
    int (*reorder)(void **pd, const void *from, void *from_engine, const void *to, void *to_engine,
                   const void *attributes);
    const void *(*pd_md)(const void *pd, int what, int index);
    int (*pd_query)(const void *pd, int what, int index, void *result);
    int (*pd_destroy)(void *pd);
    int (*primitive_create)(void **primitive, const void *pd);
    int (*primitive_destroy)(void *primitive);
    int (*execute)(const void *primitive, void *stream, int count, const argument *arguments);
    void (*set_threads)(int threads);
} dnnl;

static const bench_function functions[] = {
    {"dnnl_version", &dnnl.version},
    {"dnnl_engine_create", &dnnl.engine_create},
    {"dnnl_stream_create", &dnnl.stream_create},
    {"dnnl_stream_wait", &dnnl.stream_wait},
    {"dnnl_memory_desc_create_with_strides", &dnnl.md_with_strides},
    {"dnnl_memory_desc_create_with_tag", &dnnl.md_with_tag},
    {"dnnl_memory_desc_destroy", &dnnl.md_destroy},
    {"dnnl_memory_desc_equal", &dnnl.md_equal},
    {"dnnl_memory_desc_get_size", &dnnl.md_bytes},
    {"dnnl_memory_create", &dnnl.memory_create},
    {"dnnl_memory_destroy", &dnnl.memory_destroy},
    {"dnnl_matmul_primitive_desc_create", &dnnl.product},
    {"dnnl_convolution_forward_primitive_desc_create", &dnnl.convolution},
    {"dnnl_reorder_primitive_desc_create", &dnnl.reorder},
    {"dnnl_primitive_desc_query_md", &dnnl.pd_md},
    {"dnnl_primitive_desc_query", &dnnl.pd_query},
    {"dnnl_primitive_desc_destroy", &dnnl.pd_destroy},
    {"dnnl_primitive_create", &dnnl.primitive_create},
    {"dnnl_primitive_destroy", &dnnl.primitive_destroy},
    {"dnnl_primitive_execute", &dnnl.execute},
    {"omp_set_num_threads", &dnnl.set_threads}, /* of the libgomp that it is linked to */
};

static void *engine, *stream;

/* One operand: in the row's memory, and in the primitive's. */
typedef struct operand {
    int ndim, type;
    int64_t dims[MOST_DIMS], strides[MOST_DIMS]; /* strides: in the row's memory */
    void *plain_md;
    const void *md; /* belongs to pd */
    void *own;      /* memory in the form of md; NULL: the row's serves */
} operand;

typedef struct state {
    operand src, weights, dst;
    void *pd, *primitive, *src_memory, *dst_memory;
    void **weight_memories; /* of each copy */
    int copies;
    argument (*arguments)[3]; /* of each copy */
    void *d;
} state;

static void release(void *opaque)
{
    state *s = opaque;
    for (int i = 0; s->weight_memories && i < s->copies; i++)
        dnnl.memory_destroy(s->weight_memories[i]);
    dnnl.memory_destroy(s->src_memory);
    dnnl.memory_destroy(s->dst_memory);
    dnnl.primitive_destroy(s->primitive);
    dnnl.pd_destroy(s->pd);
    operand *const operands[] = {&s->src, &s->weights, &s->dst};
    for (int i = 0; i < 3; i++) {
        dnnl.md_destroy(operands[i]->plain_md);
        free(operands[i]->own);
    }
    free(s->weight_memories);
    free(s->arguments);
    free(s);
}

/* Copies between two forms. */
static bool reorder(const void *from_md, const void *from, const void *to_md, void *to)
{
    void *pd = NULL, *primitive = NULL, *source = NULL, *target = NULL;
    bool done = dnnl.reorder(&pd, from_md, engine, to_md, engine, NULL) == 0 &&
                dnnl.primitive_create(&primitive, pd) == 0 &&
                dnnl.memory_create(&source, from_md, engine, (void *)(uintptr_t)from) == 0 &&
                dnnl.memory_create(&target, to_md, engine, to) == 0;
    if (done) {
        const argument arguments[] = {{ARG_REORDER_FROM, source}, {ARG_REORDER_TO, target}};
        done = dnnl.execute(primitive, stream, 2, arguments) == 0 && dnnl.stream_wait(stream) == 0;
    }
    dnnl.memory_destroy(source);
    dnnl.memory_destroy(target);
    dnnl.primitive_destroy(primitive);
    dnnl.pd_destroy(pd);
    return done;
}

static bool pack(void *opaque, const void *from, void *to)
{
    const state *s = opaque;
    return reorder(s->weights.plain_md, from, s->weights.md, to);
}

static bool call(void *opaque, int copy)
{
    const state *s = opaque;
    return dnnl.execute(s->primitive, stream, 3, s->arguments[copy]) == 0 && dnnl.stream_wait(stream) == 0;
}

static void finish(void *opaque)
{
    const state *s = opaque;
    reorder(s->dst.md, s->dst.own, s->dst.plain_md, s->d);
}

static void *aligned(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }

/* Brings src, weights and dst into the primitive's form and makes what a call takes; false: out of memory, or a reorder is missing. */
static bool place(state *s, const bench_case *row, bench_way *way)
{
    operand *const operands[] = {&s->src, &s->weights, &s->dst};
    const int queries[] = {QUERY_SRC, QUERY_WEIGHTS, QUERY_DST};
    bool same[3];
    for (int i = 0; i < 3; i++) {
        operand *x = operands[i];
        x->md = dnnl.pd_md(s->pd, queries[i], 0);
        if (dnnl.md_with_strides(&x->plain_md, x->ndim, x->dims, x->type, x->strides) != 0)
            return false;
        same[i] = dnnl.md_equal(x->plain_md, x->md);
    }
    void *src = (void *)(uintptr_t)row->a, *dst = row->d;
    if (!same[0]) {
        src = s->src.own = aligned(dnnl.md_bytes(s->src.md));
        if (!src || !reorder(s->src.plain_md, row->a, s->src.md, src))
            return false;
    }
    char *weights = (char *)(uintptr_t)row->b;
    size_t stride = row->b_stride;
    if (!same[1]) {
        weights = s->weights.own =
            bench_pack_copies(row, dnnl.md_bytes(s->weights.md), &stride, pack, s, &way->prepack_seconds);
        if (!weights)
            return false;
    }
    if (!same[2]) {
        dst = s->dst.own = aligned(dnnl.md_bytes(s->dst.md));
        if (!dst)
            return false;
        way->finish = finish;
    }
    s->copies = row->copies;
    s->weight_memories = calloc((size_t)row->copies, sizeof *s->weight_memories);
    s->arguments = calloc((size_t)row->copies, sizeof *s->arguments);
    if (!s->weight_memories || !s->arguments || dnnl.memory_create(&s->src_memory, s->src.md, engine, src) != 0 ||
        dnnl.memory_create(&s->dst_memory, s->dst.md, engine, dst) != 0)
        return false;
    for (int i = 0; i < row->copies; i++) {
        if (dnnl.memory_create(&s->weight_memories[i], s->weights.md, engine, weights + (size_t)i * stride) != 0)
            return false;
        s->arguments[i][0] = (argument){ARG_SRC, s->src_memory};
        s->arguments[i][1] = (argument){ARG_WEIGHTS, s->weight_memories[i]};
        s->arguments[i][2] = (argument){ARG_DST, s->dst_memory};
    }
    return true;
}

static void *wanted(const operand *x, bool any, const int64_t *strides)
{
    void *md = NULL;
    const int status = any ? dnnl.md_with_tag(&md, x->ndim, x->dims, x->type, FORMAT_ANY)
                           : dnnl.md_with_strides(&md, x->ndim, x->dims, x->type, strides);
    return status == 0 ? md : NULL;
}

/* Its reference code serves to check the others: a call can take seconds. */
static bool reference(const char *implementation) { return strncmp(implementation, "ref", 3) == 0; }

/* After the primitive's description was made with `status`: the rest of the way; false and why. */
static bool complete(state *s, int status, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    const char *implementation = "";
    if (status == 0 && dnnl.pd_query(s->pd, QUERY_IMPLEMENTATION, 0, &implementation) == 0 && reference(implementation))
        status = UNIMPLEMENTED;
    if (status != 0 || dnnl.primitive_create(&s->primitive, s->pd) != 0 || !place(s, row, way)) {
        if (status == UNIMPLEMENTED)
            snprintf(why, BENCH_WHY, "it implements no %s of %s on this CPU",
                     row->op == BENCH_GEMM ? "product" : "convolution", row->dtype);
        else
            bench_refuse(why, "it makes no primitive of this row");
        release(s);
        return false;
    }
    const size_t bytes = strlen(implementation) + 32;
    way->explain = malloc(bytes);
    if (way->explain)
        snprintf(way->explain, bytes, "{\"implementation\": \"%s\"}", implementation);
    s->d = row->d;
    way->state = s;
    way->call = call;
    way->release = release;
    return true;
}

typedef struct types {
    int a, b, d;
} types;

static types types_of(const bench_case *row)
{
    return strcmp(row->dtype, "f32") == 0    ? (types){F32, F32, F32}
           : strcmp(row->dtype, "f64") == 0  ? (types){F64, F64, F64}
           : strcmp(row->dtype, "bf16") == 0 ? (types){BF16, BF16, BF16}
           : strcmp(row->dtype, "u8s8") == 0 ? (types){U8, S8, S32}
                                             : (types){S8, S8, S32};
}

static bool product(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    if (entry->form == PACKED && !row->packed_b)
        return false;
    state *s = calloc(1, sizeof *s);
    if (!s)
        return bench_refuse(why, "no memory");
    const int64_t m = row->m, n = row->n, k = row->k;
    const types t = types_of(row);
    s->src = (operand){.ndim = 3, .type = t.a, .dims = {row->batch, m, k}, .strides = {m * k, k, 1}};
    s->weights = (operand){.ndim = 3, .type = t.b, .dims = {row->batch, k, n}, .strides = {k * n, n, 1}};
    s->dst = (operand){.ndim = 3, .type = t.d, .dims = {row->batch, m, n}, .strides = {m * n, n, 1}};
    if (row->trans_b) {
        s->weights.strides[1] = 1;
        s->weights.strides[2] = k;
    }
    operand *const operands[] = {&s->src, &s->weights, &s->dst};
    for (int i = 0; i < 3 && row->batch == 1; i++) {
        operand *x = operands[i];
        x->ndim = 2;
        memmove(x->dims, x->dims + 1, 2 * sizeof *x->dims);
        memmove(x->strides, x->strides + 1, 2 * sizeof *x->strides);
    }
    void *src = wanted(&s->src, false, s->src.strides), *dst = wanted(&s->dst, false, s->dst.strides),
         *weights = wanted(&s->weights, entry->form == PACKED, s->weights.strides);
    const int status = dnnl.product(&s->pd, engine, src, weights, NULL, dst, NULL);
    dnnl.md_destroy(src);
    dnnl.md_destroy(weights);
    dnnl.md_destroy(dst);
    if (!complete(s, status, row, way, why))
        return false;
    if (entry->form == PACKED && !s->weights.own) { /* it asks for no other form: the way "" again */
        free(way->explain);
        release(s);
        return false;
    }
    return true;
}

static operand image(int type, int64_t images, int64_t channels, int64_t height, int64_t width)
{
    return (operand){.ndim = 4,
                     .type = type,
                     .dims = {images, channels, height, width},
                     .strides = {channels * height * width, height * width, width, 1}};
}

static void *wanted_image(const operand *x, int form)
{
    const int64_t channels = x->dims[1], height = x->dims[2], width = x->dims[3];
    const int64_t last[] = {channels * height * width, 1, width * channels, channels};
    return wanted(x, form == ANY_LAYOUT, form == CHANNELS_LAST ? last : x->strides);
}

static bool convolution(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    state *s = calloc(1, sizeof *s);
    if (!s)
        return bench_refuse(why, "no memory");
    const int64_t groups = row->groups, filters = row->filters / groups, channels = row->channels / groups,
                  kernel = row->kernel_height * row->kernel_width;
    const types t = types_of(row);
    s->src = image(t.a, row->images, row->channels, row->height, row->width);
    s->dst = image(t.d, row->images, row->filters, row->out_height, row->out_width);
    s->weights = (operand){.ndim = 5,
                           .type = t.b,
                           .dims = {groups, filters, channels, row->kernel_height, row->kernel_width},
                           .strides = {filters * channels * kernel, channels * kernel, kernel, row->kernel_width, 1}};
    if (groups == 1) {
        s->weights.ndim = 4;
        memmove(s->weights.dims, s->weights.dims + 1, 4 * sizeof *s->weights.dims);
        memmove(s->weights.strides, s->weights.strides + 1, 4 * sizeof *s->weights.strides);
    }
    const int64_t strides[] = {row->stride, row->stride}, dilations[] = {0, 0}, pad[] = {row->pad, row->pad};
    void *src = wanted_image(&s->src, entry->form), *dst = wanted_image(&s->dst, entry->form),
         *weights = wanted(&s->weights, true, NULL);
    const int status = dnnl.convolution(&s->pd, engine, FORWARD_INFERENCE, CONVOLUTION_DIRECT, src, weights, NULL, dst,
                                        strides, dilations, pad, pad, NULL);
    dnnl.md_destroy(src);
    dnnl.md_destroy(weights);
    dnnl.md_destroy(dst);
    return complete(s, status, row, way, why);
}

static bool open_onednn(const char *path, const char *environment, int threads, char version[BENCH_VERSION],
                        char place[BENCH_PLACE], char why[BENCH_WHY])
{
    static const char *const patterns[] = {"lib/libdnnl.so*", NULL};
    static const char *const sonames[] = {"libdnnl.so.3", NULL};
    const bench_library library = {"oneDNN", patterns, sonames};
    void *opened = bench_library_open(&library, path, environment, place, why);
    if (!opened || !bench_library_functions(opened, "", functions, sizeof functions / sizeof *functions, why))
        return false;
    const version_info *v = dnnl.version();
    if (v->major != 3) {
        snprintf(why, BENCH_WHY, "version 3 is needed, found %d.%d.%d", v->major, v->minor, v->patch);
        return false;
    }
    dnnl.set_threads(threads);
    if (!engine && (dnnl.engine_create(&engine, CPU, 0) != 0 || dnnl.stream_create(&stream, engine, DEFAULT_STREAM)))
        return bench_refuse(why, "it makes no engine for the CPU");
    snprintf(version, BENCH_VERSION, "oneDNN %d.%d.%d (%.40s)", v->major, v->minor, v->patch, v->hash);
    return true;
}

static int prepare(const bench_case *row, bench_way ways[BENCH_MOST_WAYS], char why[BENCH_WHY])
{
    dnnl.set_threads(row->threads);
    return bench_entries_prepare(entries, sizeof entries / sizeof *entries, row, ways, why);
}

extern const bench_peer bench_peer_onednn;
const bench_peer bench_peer_onednn = {"onednn", open_onednn, prepare};
