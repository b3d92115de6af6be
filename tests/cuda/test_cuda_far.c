/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets beyond 32 bits, and more matrices than 16 bits count.  The first halves of operands lie in a device's memory, the second ones in pinned
 * memory, which is far from it.  The bits are those of compact operands. */
#include "device_case.h"

enum { HALF = 4096 }; /* elements of memory for half an operand */

typedef struct far_operand {
    float values[2 * HALF];
    char *near, *away;
    hunze_tensor compact, spread;
    int64_t shape[4], strides[4], far_strides[4];
} far_operand;

static void move_floats(hunze_context *context, hunze_device device, char *there, float *here, int64_t n, bool to_gpu)
{
    array on_cpu, on_gpu;
    floats(&on_cpu, cpu, here, n);
    floats(&on_gpu, device, there, n);
    OK(hunze_copy(context, to_gpu ? &on_cpu.tensor : &on_gpu.tensor, to_gpu ? &on_gpu.tensor : &on_cpu.tensor, NULL));
    OK(hunze_stream_synchronize(context, cuda0, NULL));
}

/* Row-major, of two indices along `axis`, before which all extents are 1. */
static void place(hunze_context *context, harness_rng *rng, far_operand *o, int ndim, const int64_t *shape, int axis)
{
    int64_t stride = 1;
    harness_fill(rng, HUNZE_TYPE_F32, o->values, 2 * HALF, HARNESS_UNIFORM);
    OK(hunze_memory_alloc(context, cuda0, HALF * sizeof(float), NULL, (void **)&o->near));
    OK(hunze_memory_alloc(context, pinned, HALF * sizeof(float), NULL, (void **)&o->away));
    for (int i = ndim - 1; i >= 0; i--) {
        o->shape[i] = shape[i];
        o->strides[i] = o->far_strides[i] = stride;
        stride *= shape[i];
    }
    check(shape[axis] == 2 && stride == 2 * o->strides[axis] && o->strides[axis] <= HALF, "halves of %lld elements",
          (long long)o->strides[axis]);
    o->far_strides[axis] = (o->away - o->near) / (int64_t)sizeof(float);
    if (!(llabs(o->far_strides[axis]) >> 31))
        standin_only("pinned memory that is far from the device's");
    check(llabs(o->far_strides[axis]) >> 31, "the halves are %lld elements apart", (long long)o->far_strides[axis]);
    move_floats(context, cuda0, o->near, o->values, o->strides[axis], true);
    move_floats(context, pinned, o->away, o->values + o->strides[axis], o->strides[axis], true);
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    o->compact = (hunze_tensor){o->values, cpu, ndim, f32, o->shape, o->strides, 0};
    o->spread = (hunze_tensor){o->near, cuda0, ndim, f32, o->shape, o->far_strides, 0};
}

static void free_halves(hunze_context *context, far_operand *o)
{
    OK(hunze_memory_free(context, cuda0, o->near, HALF * sizeof(float), NULL));
    OK(hunze_memory_free(context, pinned, o->away, HALF * sizeof(float), NULL));
}

static void compare(hunze_context *context, far_operand *d, int64_t half, const char *what)
{
    static float got[2 * HALF];
    move_floats(context, cuda0, d->near, got, half, false);
    move_floats(context, pinned, d->away, got + half, half, false);
    for (int64_t i = 0; i < 2 * half; i++)
        check(harness_same(HUNZE_TYPE_F32, &got[i], &d->values[i]), "%s: element %lld is %s, not %s", what,
              (long long)i, harness_show(HUNZE_TYPE_F32, &got[i]), harness_show(HUNZE_TYPE_F32, &d->values[i]));
}

static far_operand a, b, c, d, residual;

/* Two rows of A, C, D and the residual; then two rows of B, whose product is of k = 2. */
static void products(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {101};
    const double beta = 0.5;
    const int64_t by[2] = {2, 70}, rows[2] = {2, 2}, ds[2] = {2, 70};
    place(context, &rng, &a, 2, rows, 0);
    place(context, &rng, &b, 2, by, 0);
    place(context, &rng, &c, 2, ds, 0);
    place(context, &rng, &d, 2, ds, 0);
    place(context, &rng, &residual, 2, ds, 0);
    hunze_gemm_options options = {.struct_size = sizeof options, .beta = &beta, .residual = &residual.compact};
    OK(hunze_gemm(context, &a.compact, &b.compact, &c.compact, &d.compact, &options, NULL));
    options.residual = &residual.spread;
    OK(hunze_gemm(context, &a.spread, &b.spread, &c.spread, &d.spread, &options, NULL));
    compare(context, &d, 70, "gemm");
    options = (hunze_gemm_options){.struct_size = sizeof options, .transpose_a = 1, .transpose_b = 1};
    b.shape[0] = b.shape[1] = b.strides[0] = 2; /* the first elements of the same rows */
    move_floats(context, pinned, b.away, b.values + 2, 2, true);
    d.shape[1] = d.strides[0] = 2;
    OK(hunze_gemm(context, &a.compact, &b.compact, NULL, &d.compact, &options, NULL));
    OK(hunze_gemm(context, &a.spread, &b.spread, NULL, &d.spread, &options, NULL));
    compare(context, &d, 2, "gemm, transposed");
    far_operand *const all[] = {&a, &b, &c, &d, &residual};
    for (int i = 0; i < 5; i++)
        free_halves(context, all[i]);
    hunze_context_release(context);
}

/* Two images, or two channels, far apart. */
static void convolutions(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {102};
    static const struct {
        const char *what;
        hunze_op op;
        int64_t x[4], w[4], y[4];
        int axis; /* of x and y that is far */
        uint32_t stride, groups;
    } cases[] = {
        {"conv", HUNZE_OP_CONV, {2, 3, 7, 8}, {2, 3, 3, 3}, {2, 2, 5, 6}, 0, 1, 1},
        {"conv, one tap", HUNZE_OP_CONV, {2, 3, 7, 8}, {2, 3, 1, 1}, {2, 2, 7, 8}, 0, 1, 1},
        {"conv, channels", HUNZE_OP_CONV, {1, 2, 7, 8}, {2, 2, 3, 3}, {1, 2, 5, 6}, 1, 1, 1},
        {"conv, weights", HUNZE_OP_CONV, {2, 2, 5, 5}, {2, 2, 3, 3}, {2, 2, 3, 3}, 0, 1, 1},
        {"depthwise", HUNZE_OP_CONV, {1, 2, 7, 8}, {2, 1, 3, 3}, {1, 2, 5, 6}, 1, 1, 2},
        {"transposed", HUNZE_OP_CONV_TRANSPOSE, {2, 3, 5, 4}, {3, 2, 3, 3}, {2, 2, 11, 9}, 0, 2, 1},
        {"transposed, channels", HUNZE_OP_CONV_TRANSPOSE, {1, 2, 5, 4}, {2, 2, 3, 3}, {1, 2, 11, 9}, 1, 2, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hunze_conv_options options = {
            .struct_size = sizeof options, .stride = {cases[i].stride, cases[i].stride}, .groups = cases[i].groups};
        const bool weights_far = cases[i].w[0] == 2;
        device_operand w;
        place(context, &rng, &a, 4, cases[i].x, cases[i].axis);
        place(context, &rng, &d, 4, cases[i].y, cases[i].axis);
        device_place(&w, context, &rng, HUNZE_TYPE_F32, 4, cases[i].w, NULL, 0, HARNESS_UNIFORM);
        if (weights_far)
            place(context, &rng, &b, 4, cases[i].w, 0);
        const bool transposed = cases[i].op == HUNZE_OP_CONV_TRANSPOSE;
        hunze_tensor w_gpu = w.tensor;
        w_gpu.data = w.gpu;
        w_gpu.device = cuda0;
        OK((transposed ? hunze_conv_transpose : hunze_conv)(context, &a.compact, weights_far ? &b.compact : &w.tensor,
                                                            &d.compact, &options, NULL));
        OK((transposed ? hunze_conv_transpose : hunze_conv)(context, &a.spread, weights_far ? &b.spread : &w_gpu,
                                                            &d.spread, &options, NULL));
        compare(context, &d, d.strides[cases[i].axis], cases[i].what);
        free_halves(context, &a);
        free_halves(context, &d);
        if (weights_far)
            free_halves(context, &b);
        device_free(context, &w);
    }
    hunze_context_release(context);
}

static void activations(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {103};
    const int64_t shape[2] = {2, 3000};
    const hunze_activation activation = {.struct_size = sizeof activation, .kind = HUNZE_ACT_SILU};
    const hunze_activation_options options = {.struct_size = sizeof options, .activation = &activation};
    place(context, &rng, &a, 2, shape, 0);
    place(context, &rng, &d, 2, shape, 0);
    OK(hunze_activate(context, &a.compact, &d.compact, &options, NULL));
    OK(hunze_activate(context, &a.spread, &d.spread, &options, NULL));
    compare(context, &d, 3000, "activation");
    free_halves(context, &a);
    free_halves(context, &d);
    hunze_context_release(context);
}

/* More matrices than a grid has blocks in y or z: D = C / 2. */
static void many_matrices(void)
{
    enum { MATRICES = 65537 };
    static float c_values[2 * MATRICES], got[2 * MATRICES];
    hunze_context *context = new_context(NULL);
    harness_rng rng = {104};
    harness_fill(&rng, HUNZE_TYPE_F32, c_values, 2 * MATRICES, HARNESS_UNIFORM);
    void *c_gpu = to_gpu(context, cuda0, NULL, c_values, 2 * MATRICES),
         *d_gpu = to_gpu(context, cuda0, NULL, got, 2 * MATRICES);
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    const int64_t a_shape[3] = {MATRICES, 1, 0}, b_shape[3] = {MATRICES, 0, 2}, d_shape[3] = {MATRICES, 1, 2};
    const double half = 0.5;
    const hunze_gemm_options options = {.struct_size = sizeof options, .beta = &half};
    array of_a, of_b, of_c, of_d;
    OK(hunze_gemm(context, view(&of_a, cuda0, f32, NULL, 3, a_shape, NULL),
                  view(&of_b, cuda0, f32, NULL, 3, b_shape, NULL), view(&of_c, cuda0, f32, c_gpu, 3, d_shape, NULL),
                  view(&of_d, cuda0, f32, d_gpu, 3, d_shape, NULL), &options, NULL));
    from_gpu(context, cuda0, NULL, d_gpu, got, 2 * MATRICES);
    OK(hunze_stream_synchronize(context, cuda0, NULL));
    for (int i = 0; i < 2 * MATRICES; i++)
        check(got[i] == c_values[i] / 2, "element %d is %g, not %g", i, (double)got[i], (double)c_values[i] / 2);
    hunze_context_release(context);
}

static const cuda_case cases[] = {{"products", products, NULL, NULL},
                                  {"convolutions", convolutions, NULL, NULL},
                                  {"activations", activations, NULL, NULL},
                                  {"many_matrices", many_matrices, NULL, NULL}};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof *cases); }
