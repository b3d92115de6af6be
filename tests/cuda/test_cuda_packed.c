/* SPDX-License-Identifier: Apache-2.0 */
/* Weights packed on a device: where each element goes, products and convolutions of them against those of the weights as they are, and what is
 * refused. */
#include "on_device.h"

#include <math.h>
#include <stdio.h>

typedef struct blob {
    hunze_tensor tensor;
    int64_t words;
    void *memory;
    size_t bytes;
} blob;

static void make_blob(blob *b, size_t bytes)
{
    *b = (blob){.words = (int64_t)bytes / 8, .bytes = bytes};
    check_status(hunze_memory_alloc(context, the_device, bytes, NULL, &b->memory), HUNZE_OK);
    b->tensor = (hunze_tensor){b->memory, the_device, 1, {HUNZE_OPAQUE_HANDLE, 64, 1}, &b->words, NULL, 0};
}

static void drop_blob(blob *b)
{
    check_status(hunze_memory_free(context, the_device, b->memory, b->bytes, NULL), HUNZE_OK);
}

/* As large as hunze_pack_size says. */
static void pack(blob *b, const hunze_tensor *w, const hunze_pack_options *options)
{
    size_t bytes = 0;
    check_status(hunze_pack_size(context, w, options, &bytes), HUNZE_OK);
    make_blob(b, bytes);
    check_status(hunze_pack(context, w, &b->tensor, options, NULL), HUNZE_OK);
}

static const hunze_type types[] = {HUNZE_TYPE_BF16, HUNZE_TYPE_F16, HUNZE_TYPE_S8,
                                   HUNZE_TYPE_S8,   HUNZE_TYPE_F32, HUNZE_TYPE_F64};
enum { TYPES = 6 };

static void make_weights(array *w, harness_rng *rng, hunze_type type, int ndim, const int64_t *shape)
{
    make(w, rng, type, ndim, shape);
    for (size_t i = 0; i < w->bytes / harness_bytes(type); i++) {
        const int64_t value = harness_between(rng, -4, 4);
        if (type == HUNZE_TYPE_S8)
            w->memory[i] = (char)(31 * value);
        else
            harness_set(type, w->memory, (int64_t)i, (double)value);
    }
}

/* A case: weights (k, n), or (n, k) if transposed, or of a convolution; x and d beside them. */
typedef struct problem {
    hunze_type a_type, w_type, d_type;
    array a, w, d, plain;
    blob packed;
} problem;

static void drop_problem(problem *p)
{
    array *const arrays[] = {&p->a, &p->w, &p->d, &p->plain};
    for (int i = 0; i < 4; i++)
        drop(arrays[i]);
    drop_blob(&p->packed);
    drop_twins();
}

static problem begin_problem(int which)
{
    const hunze_type type = types[which];
    return (problem){.a_type = which == 3 ? HUNZE_TYPE_U8 : type,
                     .w_type = type,
                     .d_type = type == HUNZE_TYPE_S8    ? HUNZE_TYPE_S32
                               : type == HUNZE_TYPE_F64 ? HUNZE_TYPE_F64
                                                        : HUNZE_TYPE_F32};
}

/* The header's fields, and each byte behind it. */
static void check_blob(const problem *p, int64_t groups, int64_t n, int64_t k,
                       const void *(*element_of)(const problem *p, int64_t group, int64_t k, int64_t n))
{
    const int64_t columns = (n + 15) / 16 * 16, rows = (k + 63) / 64 * 64, size = (int64_t)harness_bytes(p->w_type);
    char *got = malloc(p->packed.bytes);
    copy_bytes(the_device, p->packed.memory, the_cpu, got, (int64_t)p->packed.bytes);
    const hunze_packed_header *header = (const void *)got;
    harness_check(header->layout == HUNZE_LAYOUT_CUDA_KN && header->type == p->w_type && header->groups == groups &&
                      header->n == n && header->k == k && header->bytes == (int64_t)p->packed.bytes,
                  "layout %u, type %u, %u groups, n %lld, k %lld, %lld bytes", header->layout, header->type,
                  header->groups, (long long)header->n, (long long)header->k, (long long)header->bytes);
    static const char zeros[8];
    for (int64_t g = 0; g < groups; g++)
        for (int64_t i = 0; i < (size == 1 ? rows : k); i++)
            for (int64_t j = 0; j < columns; j++) {
                const int64_t at = size == 1 ? (g * columns + j) * rows + i : (g * k + i) * columns + j;
                const void *expected = i < k && j < n ? element_of(p, g, i, j) : zeros;
                harness_check(memcmp(got + sizeof *header + at * size, expected, (size_t)size) == 0,
                              "group %lld, k %lld, column %lld", (long long)g, (long long)i, (long long)j);
            }
    free(got);
}

static const void *gemm_element(const problem *p, int64_t group, int64_t k, int64_t n)
{
    (void)group;
    return element(&p->w, p->w.memory, k * p->w.shape[1] + n);
}

static void gemm(void **unused)
{
    (void)unused;
    static const int64_t sizes[][3] = {{5, 7, 3}, {70, 33, 65}, {130, 96, 128}, {3, 1, 40}, {64, 16, 64}};
    harness_rng rng = {91};
    for (int turn = 0; turn < 10 * TYPES; turn++) {
        problem p = begin_problem(turn % TYPES);
        const int64_t m = sizes[turn % 5][0], n = sizes[turn % 5][1], k = sizes[turn % 5][2];
        const bool transposed = turn / TYPES % 2;
        harness_case("turn %d: %s, %lld x %lld x %lld", turn, hunze_type_name(p.w_type), (long long)m, (long long)n,
                     (long long)k);
        make_weights(&p.w, &rng, p.w_type, 2, (int64_t[]){k, n});
        make_weights(&p.a, &rng, p.a_type == HUNZE_TYPE_U8 ? HUNZE_TYPE_S8 : p.a_type, 3, (int64_t[]){2, m, k});
        p.a.tensor.dtype = harness_dtype(p.a_type);
        make(&p.d, &rng, p.d_type, 3, (int64_t[]){2, m, n});
        hunze_tensor given = p.w.tensor; /* the same elements as (n, k) */
        const int64_t shape[2] = {n, k}, strides[2] = {p.w.strides[1], p.w.strides[0]};
        if (transposed) {
            given.shape = (int64_t *)shape;
            given.strides = (int64_t *)strides;
        }
        const hunze_pack_options how = {
            .struct_size = sizeof how, .transpose_b = transposed, .a_unsigned = p.a_type == HUNZE_TYPE_U8};
        pack(&p.packed, to_device(&given, 0), &how);
        check_blob(&p, 1, n, k, gemm_element);
        const hunze_tensor *a = to_device(&p.a.tensor, 0), *d = to_device(&p.d.tensor, 0);
        const hunze_gemm_options options = {.struct_size = sizeof options};
        check_status(hunze_gemm(context, a, &p.packed.tensor, NULL, d, &options, NULL), HUNZE_OK);
        check_status(hunze_gemm(context, &p.a.tensor, &p.w.tensor, NULL, &p.d.tensor, &options, NULL), HUNZE_OK);
        check_same(d, &p.d.tensor, "gemm");
        drop_problem(&p);
    }
}

/* k = (kernel row, kernel column, channel of the group). */
static const void *conv_element(const problem *p, int64_t group, int64_t k, int64_t n)
{
    const int64_t *shape = p->w.shape, c = shape[1], at = k / c, outputs = p->plain.shape[0];
    return element(&p->w, p->w.memory,
                   (group * outputs + n) * c * shape[2] * shape[3] + k % c * shape[2] * shape[3] + at);
}
static const void *transposed_element(const problem *p, int64_t group, int64_t k, int64_t n)
{
    const int64_t *shape = p->w.shape, c = p->plain.shape[0], at = k / c;
    return element(&p->w, p->w.memory, ((group * c + k % c) * shape[1] + n) * shape[2] * shape[3] + at);
}

/* Against the same call with the weights as they are. */
static void conv(void **unused)
{
    (void)unused;
    harness_rng rng = {92};
    for (int turn = 0; turn < 12 * TYPES; turn++) {
        problem p = begin_problem(turn % TYPES);
        const bool transposed = p.w_type != HUNZE_TYPE_S8 && turn / TYPES % 3 == 2, pointwise = turn / TYPES % 4 == 3;
        const int64_t groups = 1 + turn / TYPES % 2 * 2, c = harness_between(&rng, 1, 20),
                      n = harness_between(&rng, 2, 40);
        const int64_t kernel[2] = {pointwise ? 1 : 3, pointwise ? 1 : 2}, in = 7;
        const uint32_t stride = pointwise ? 1 : 2;
        int64_t out[2];
        for (int i = 0; i < 2; i++)
            out[i] = transposed ? (in - 1) * stride + kernel[i] : (in - kernel[i]) / stride + 1;
        harness_case("turn %d: %s, %lld groups of %lld to %lld, %s, kernel %lld", turn, hunze_type_name(p.w_type),
                     (long long)groups, (long long)c, (long long)n, transposed ? "transposed" : "conv",
                     (long long)kernel[0]);
        make_weights(&p.w, &rng, p.w_type, 4,
                     (int64_t[]){groups * (transposed ? c : n), transposed ? n : c, kernel[0], kernel[1]});
        p.plain.shape[0] = transposed ? c : n;
        make_weights(&p.a, &rng, p.a_type == HUNZE_TYPE_U8 ? HUNZE_TYPE_S8 : p.a_type, 4,
                     (int64_t[]){2, groups * c, in, in});
        p.a.tensor.dtype = harness_dtype(p.a_type);
        make(&p.d, &rng, p.d_type, 4, (int64_t[]){2, groups * n, out[0], out[1]});
        const hunze_pack_options how = {.struct_size = sizeof how,
                                        .op = transposed ? HUNZE_OP_CONV_TRANSPOSE : HUNZE_OP_CONV,
                                        .groups = (uint32_t)groups,
                                        .a_unsigned = p.a_type == HUNZE_TYPE_U8};
        const hunze_tensor *w = to_device(&p.w.tensor, 0), *x = to_device(&p.a.tensor, 0),
                           *y = to_device(&p.d.tensor, 0);
        pack(&p.packed, w, &how);
        check_blob(&p, groups, n, kernel[0] * kernel[1] * c, transposed ? transposed_element : conv_element);
        const hunze_conv_options options = {
            .struct_size = sizeof options, .groups = (uint32_t)groups, .stride = {stride, stride}};
        const hunze_tensor *expected = to_device(&p.d.tensor, 0);
        if (transposed) {
            check_status(hunze_conv_transpose(context, x, &p.packed.tensor, y, &options, NULL), HUNZE_OK);
            check_status(hunze_conv_transpose(context, x, w, expected, &options, NULL), HUNZE_OK);
        } else {
            check_status(hunze_conv(context, x, &p.packed.tensor, y, &options, NULL), HUNZE_OK);
            check_status(hunze_conv(context, x, w, expected, &options, NULL), HUNZE_OK);
        }
        char *bytes = from_device(expected);
        memcpy(p.d.memory, bytes, p.d.bytes);
        free(bytes);
        check_same(y, &p.d.tensor, "conv");
        drop_problem(&p);
    }
}

/* One input and one output channel per group: as the CPU packs them, and read by the kernel that reads such weights as they are. */
static void depthwise(void **unused)
{
    (void)unused;
    enum { C = 37, ROWS = 3, COLUMNS = 2, IN = 6 };
    harness_rng rng = {98};
    for (int which = 0; which < TYPES; which++) {
        problem p = begin_problem(which);
        if (p.w_type == HUNZE_TYPE_F64)
            continue; /* has no such kernel */
        harness_case("%s with %s", hunze_type_name(p.a_type), hunze_type_name(p.w_type));
        make_weights(&p.w, &rng, p.w_type, 4, (int64_t[]){C, 1, ROWS, COLUMNS});
        make_weights(&p.a, &rng, p.a_type == HUNZE_TYPE_U8 ? HUNZE_TYPE_S8 : p.a_type, 4, (int64_t[]){2, C, IN, IN});
        p.a.tensor.dtype = harness_dtype(p.a_type);
        make(&p.d, &rng, p.d_type, 4, (int64_t[]){2, C, IN - ROWS + 1, IN - COLUMNS + 1});
        const hunze_pack_options how = {
            .struct_size = sizeof how, .op = HUNZE_OP_CONV, .groups = C, .a_unsigned = p.a_type == HUNZE_TYPE_U8};
        const hunze_tensor *w = to_device(&p.w.tensor, 0), *x = to_device(&p.a.tensor, 0),
                           *y = to_device(&p.d.tensor, 0), *expected = to_device(&p.d.tensor, 0);
        pack(&p.packed, w, &how);
        const size_t size = harness_bytes(p.w_type);
        char *got = malloc(p.packed.bytes);
        copy_bytes(the_device, p.packed.memory, the_cpu, got, (int64_t)p.packed.bytes);
        for (int64_t tap = 0; tap < ROWS * COLUMNS; tap++)
            for (int64_t c = 0; c < C; c++)
                harness_check(memcmp(got + sizeof(hunze_packed_header) + (size_t)(tap * C + c) * size,
                                     element(&p.w, p.w.memory, c * ROWS * COLUMNS + tap), size) == 0,
                              "tap %lld of channel %lld", (long long)tap, (long long)c);
        free(got);
        const hunze_conv_options options = {.struct_size = sizeof options, .groups = C};
        const hunze_call call = {.struct_size = sizeof call,
                                 .op = HUNZE_OP_CONV,
                                 .a = x,
                                 .b = &p.packed.tensor,
                                 .d = y,
                                 .options = &options};
        hunze_plan *plan = NULL;
        char *text = NULL;
        check_status(hunze_plan_create(context, &call, &plan), HUNZE_OK);
        check_status(hunze_plan_explain(plan, &text), HUNZE_OK);
        harness_check(strstr(text, "\"kernel\": \"depthwise_"), "%s", text);
        hunze_string_free(text);
        hunze_plan_release(plan);
        check_status(hunze_conv(context, x, &p.packed.tensor, y, &options, NULL), HUNZE_OK);
        check_status(hunze_conv(context, x, w, expected, &options, NULL), HUNZE_OK);
        char *bytes = from_device(expected);
        memcpy(p.d.memory, bytes, p.d.bytes);
        free(bytes);
        check_same(y, &p.d.tensor, "conv");
        drop_problem(&p);
    }
}

/* One output, which is less than the stride: one phase, and it has not all taps. */
static void conv_transpose_of_one_output(void **unused)
{
    (void)unused;
    harness_rng rng = {95};
    for (int turn = 0; turn < 8; turn++) {
        static const int which[] = {0, 1, 4, 5};
        problem p = begin_problem(which[turn % 4]);
        const int64_t c = 5 + 3 * turn, n = 20;
        harness_case("turn %d: %s, %lld channels", turn, hunze_type_name(p.w_type), (long long)c);
        make_weights(&p.w, &rng, p.w_type, 4, (int64_t[]){c, n, 3, 2});
        make_weights(&p.a, &rng, p.a_type, 4, (int64_t[]){2, c, 2, 2});
        make(&p.d, &rng, p.d_type, 4, (int64_t[]){2, n, 1, 1});
        const hunze_pack_options how = {.struct_size = sizeof how, .op = HUNZE_OP_CONV_TRANSPOSE};
        const hunze_conv_options options = {
            .struct_size = sizeof options, .stride = {2, 2}, .pad_before = {2, 1}, .pad_after = {2, 2}};
        const hunze_tensor *w = to_device(&p.w.tensor, 0), *x = to_device(&p.a.tensor, 0),
                           *y = to_device(&p.d.tensor, 0), *expected = to_device(&p.d.tensor, 0);
        pack(&p.packed, w, &how);
        check_status(hunze_conv_transpose(context, x, &p.packed.tensor, y, &options, NULL), HUNZE_OK);
        check_status(hunze_conv_transpose(context, x, w, expected, &options, NULL), HUNZE_OK);
        char *bytes = from_device(expected);
        memcpy(p.d.memory, bytes, p.d.bytes);
        free(bytes);
        check_same(y, &p.d.tensor, "conv_transpose");
        drop_problem(&p);
    }
}

/* A weight that is no finite number meets the zeros between inputs, as on the CPU. */
static void conv_transpose_of_infinite_weights(void **unused)
{
    (void)unused;
    harness_rng rng = {96};
    for (int which = 4; which < TYPES; which++) {
        problem p = begin_problem(which);
        harness_case("%s", hunze_type_name(p.w_type));
        make_weights(&p.w, &rng, p.w_type, 4, (int64_t[]){3, 5, 3, 3});
        harness_set(p.w_type, p.w.memory, 50, INFINITY);
        make_weights(&p.a, &rng, p.a_type, 4, (int64_t[]){1, 3, 4, 4});
        make(&p.d, &rng, p.d_type, 4, (int64_t[]){1, 5, 9, 9});
        const hunze_pack_options how = {.struct_size = sizeof how, .op = HUNZE_OP_CONV_TRANSPOSE};
        const hunze_conv_options options = {
            .struct_size = sizeof options, .flags = HUNZE_REPRODUCIBLE, .stride = {2, 2}};
        const hunze_tensor *x = to_device(&p.a.tensor, 0), *y = to_device(&p.d.tensor, 0);
        pack(&p.packed, to_device(&p.w.tensor, 0), &how);
        const hunze_call call = {.struct_size = sizeof call,
                                 .op = HUNZE_OP_CONV_TRANSPOSE,
                                 .a = x,
                                 .b = &p.packed.tensor,
                                 .d = y,
                                 .options = &options};
        hunze_plan *plan = NULL;
        check_status(hunze_plan_create(context, &call, &plan), HUNZE_OK);
        harness_check(hunze_plan_workspace(plan, 0) == 0, "workspace for weights that are packed");
        check_status(hunze_plan_run(plan, &call, NULL), HUNZE_OK);
        hunze_plan_release(plan);
        check_status(hunze_conv_transpose(context, &p.a.tensor, &p.w.tensor, &p.d.tensor, &options, NULL), HUNZE_OK);
        check_same(y, &p.d.tensor, "conv_transpose");
        drop_problem(&p);
    }
}

/* Few tiles and a long k: its K blocks run side by side, and round as one after another. */
static void gemm_of_k_blocks(void **unused)
{
    (void)unused;
    enum { M = 5, N = 20, K = 1200 };
    harness_rng rng = {97};
    for (int which = 4; which < TYPES; which++) {
        problem p = begin_problem(which);
        harness_case("%s", hunze_type_name(p.w_type));
        make(&p.w, &rng, p.w_type, 2, (int64_t[]){K, N});
        make(&p.a, &rng, p.a_type, 2, (int64_t[]){M, K});
        make(&p.d, &rng, p.d_type, 2, (int64_t[]){M, N});
        const hunze_tensor *a = to_device(&p.a.tensor, 0), *d = to_device(&p.d.tensor, 0);
        pack(&p.packed, to_device(&p.w.tensor, 0), NULL);
        const hunze_gemm_options options = {.struct_size = sizeof options};
        const hunze_call call = {.struct_size = sizeof call,
                                 .op = HUNZE_OP_GEMM,
                                 .a = a,
                                 .b = &p.packed.tensor,
                                 .d = d,
                                 .options = &options};
        hunze_plan *plan = NULL;
        check_status(hunze_plan_create(context, &call, &plan), HUNZE_OK);
        harness_check(hunze_plan_workspace(plan, 0) > 0, "no sums of K blocks");
        check_status(hunze_plan_run(plan, &call, NULL), HUNZE_OK);
        hunze_plan_release(plan);
        check_status(hunze_gemm(context, &p.a.tensor, &p.w.tensor, NULL, &p.d.tensor, &options, NULL), HUNZE_OK);
        check_same(d, &p.d.tensor, "gemm");
        drop_problem(&p);
    }
}

/* ------------------------------------------------------------------ what is refused */

static void expect(hunze_status status, hunze_status expected, const char *sentence)
{
    check_status(status, expected);
    harness_check(strstr(hunze_last_error(), sentence), "\"%s\" does not say \"%s\"", hunze_last_error(), sentence);
}

static void refuse_blobs_of_the_other_place(int which)
{
    enum { M = 4, N = 32, K = 64 };
    harness_rng rng = {93};
    problem p = begin_problem(which);
    harness_case("a blob of the CPU on a device, and the other way");
    make_weights(&p.w, &rng, p.w_type, 2, (int64_t[]){K, N});
    make_weights(&p.a, &rng, p.a_type, 2, (int64_t[]){M, K});
    make(&p.d, &rng, p.d_type, 2, (int64_t[]){M, N});
    const hunze_tensor *w = to_device(&p.w.tensor, 0), *a = to_device(&p.a.tensor, 0), *d = to_device(&p.d.tensor, 0);
    pack(&p.packed, w, NULL);
    const hunze_gemm_options options = {.struct_size = sizeof options};

    size_t bytes = 0;
    check_status(hunze_pack_size(context, &p.w.tensor, NULL, &bytes), HUNZE_OK);
    char *on_cpu = aligned_alloc(64, bytes > p.packed.bytes ? bytes : p.packed.bytes);
    int64_t words = (int64_t)bytes / 8;
    hunze_tensor cpu_blob = {on_cpu, the_cpu, 1, {HUNZE_OPAQUE_HANDLE, 64, 1}, &words, NULL, 0};
    check_status(hunze_pack(context, &p.w.tensor, &cpu_blob, NULL, NULL), HUNZE_OK);
    blob moved;
    make_blob(&moved, bytes);
    copy_bytes(the_cpu, on_cpu, the_device, moved.memory, (int64_t)bytes);
    expect(hunze_gemm(context, a, &moved.tensor, NULL, d, &options, NULL), HUNZE_ERR_PACKED, ", not 17");

    copy_bytes(the_device, p.packed.memory, the_cpu, on_cpu, (int64_t)p.packed.bytes);
    words = (int64_t)p.packed.bytes / 8;
    expect(hunze_gemm(context, &p.a.tensor, &cpu_blob, NULL, &p.d.tensor, &options, NULL), HUNZE_ERR_PACKED,
           "packed in layout 17");

    expect(hunze_pack(context, &p.w.tensor, &p.packed.tensor, NULL, NULL), HUNZE_ERR_DEVICE,
           "w lives on the CPU and packed on cuda:0");
    expect(hunze_pack(context, w, &cpu_blob, NULL, NULL), HUNZE_ERR_DEVICE, "w lives on cuda:0 and packed on the CPU");
    expect(hunze_gemm(context, a, &cpu_blob, NULL, d, &options, NULL), HUNZE_ERR_DEVICE, "copy one to the other");
    p.packed.words -= 8;
    expect(hunze_pack(context, w, &p.packed.tensor, NULL, NULL), HUNZE_ERR_SHAPE, "ask hunze_pack_size");
    p.packed.words += 8;

    free(on_cpu);
    drop_blob(&moved);
    drop_problem(&p);
}

static void blobs_of_the_other_place_are_refused(void **unused)
{
    (void)unused;
    refuse_blobs_of_the_other_place(0);
    refuse_blobs_of_the_other_place(4);
    refuse_blobs_of_the_other_place(5);
}

/* A plan has read the header; a call that makes one reads it, unless the caller gives it. */
static void headers_are_known(void **unused)
{
    (void)unused;
    enum { M = 4, N = 24, K = 40 };
    harness_rng rng = {94};
    problem p = begin_problem(2);
    harness_case("a header that is overwritten");
    make_weights(&p.w, &rng, p.w_type, 2, (int64_t[]){K, N});
    make_weights(&p.a, &rng, p.a_type, 2, (int64_t[]){M, K});
    make(&p.d, &rng, p.d_type, 2, (int64_t[]){M, N});
    const hunze_tensor *a = to_device(&p.a.tensor, 0), *d = to_device(&p.d.tensor, 0);
    pack(&p.packed, to_device(&p.w.tensor, 0), NULL);
    const hunze_gemm_options options = {.struct_size = sizeof options};
    const hunze_call call = {
        .struct_size = sizeof call, .op = HUNZE_OP_GEMM, .a = a, .b = &p.packed.tensor, .d = d, .options = &options};
    hunze_plan *plan = NULL;
    char *text = NULL;
    check_status(hunze_plan_create(context, &call, &plan), HUNZE_OK);
    check_status(hunze_plan_explain(plan, &text), HUNZE_OK);
    harness_check(strstr(text, "\"packed\": true"), "%s", text);
    hunze_string_free(text);
    char nothing[sizeof(hunze_packed_header)] = {0}, header[sizeof(hunze_packed_header)];
    copy_bytes(the_device, p.packed.memory, the_cpu, header, sizeof header);
    copy_bytes(the_cpu, nothing, the_device, p.packed.memory, sizeof nothing);
    check_status(hunze_plan_run(plan, &call, NULL), HUNZE_OK);
    check_status(hunze_gemm(context, &p.a.tensor, &p.w.tensor, NULL, &p.d.tensor, &options, NULL), HUNZE_OK);
    check_same(d, &p.d.tensor, "gemm");
    expect(hunze_gemm(context, a, &p.packed.tensor, NULL, d, &options, NULL), HUNZE_ERR_PACKED,
           "does not start as a packed weight does");
    hunze_plan_release(plan);
    harness_case("the caller's copy of the header, and one that is none");
    hunze_run run = {.struct_size = sizeof run, .packed_header = header};
    check_status(hunze_gemm(context, a, &p.packed.tensor, NULL, d, &options, &run), HUNZE_OK);
    check_same(d, &p.d.tensor, "gemm");
    run.packed_header = nothing;
    expect(hunze_gemm(context, a, &p.packed.tensor, NULL, d, &options, &run), HUNZE_ERR_PACKED,
           "does not start as a packed weight does");
    drop_problem(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm),
        cmocka_unit_test(conv),
        cmocka_unit_test(depthwise),
        cmocka_unit_test(conv_transpose_of_one_output),
        cmocka_unit_test(conv_transpose_of_infinite_weights),
        cmocka_unit_test(gemm_of_k_blocks),
        cmocka_unit_test(blobs_of_the_other_place_are_refused),
        cmocka_unit_test(headers_are_known),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    harness_begin("test_cuda_packed");
    return cmocka_run_group_tests(tests, make_context, release_context);
}
