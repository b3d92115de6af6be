/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions, transposed convolutions and depthwise convolutions of floats on a device: the CPU's bits, whatever the shape, layout
 * and epilogue. */
#include "device_case.h"
#include "device_row.h"

static const hunze_type types[] = {HUNZE_TYPE_F32, HUNZE_TYPE_F64};

typedef struct convolution {
    hunze_op op;
    hunze_type type;
    int spatial;
    int64_t images, channels, outputs, groups; /* channels and outputs: of a group */
    int64_t in[2], kernel[2], stride[2], dilation[2], before[2], after[2], output_padding[2];
    bool channels_last;            /* the names of the axes */
    int x_order, w_order, y_order; /* 0: as the shape, 1: channels move to the other end */
    unsigned lies;
    harness_values values, weights;
    bool with_bias, with_residual;
    hunze_activation activation;
    const char *row;
} convolution;

static int64_t output_extent(const convolution *v, int axis)
{
    const int64_t reach = (v->kernel[axis] - 1) * v->dilation[axis], pads = v->before[axis] + v->after[axis];
    int64_t out;
    if (v->op == HUNZE_OP_CONV_TRANSPOSE)
        out = v->in[axis] == 0 ? 0 : (v->in[axis] - 1) * v->stride[axis] + reach + 1 - pads + v->output_padding[axis];
    else
        out = v->in[axis] + pads < reach + 1 ? 0 : (v->in[axis] + pads - reach - 1) / v->stride[axis] + 1;
    return out < 0 ? 0 : out;
}

/* (images, channels, axes) in the case's order of axes. */
static void place_image(device_operand *o, hunze_context *context, harness_rng *rng, const convolution *v,
                        int64_t channels, const int64_t *extent, int order, unsigned lies, harness_values values)
{
    static const int from_first[4] = {0, 2, 3, 1}, from_last[4] = {0, 3, 1, 2}, of_three[3] = {0, 2, 1};
    const int ndim = v->spatial + 2;
    int64_t shape[4] = {v->images};
    shape[v->channels_last ? ndim - 1 : 1] = channels;
    for (int i = 0; i < v->spatial; i++)
        shape[(v->channels_last ? 1 : 2) + i] = extent[i];
    const int *other = v->spatial == 1 ? of_three : v->channels_last ? from_last : from_first;
    device_place(o, context, rng, v->type, ndim, shape, order ? other : NULL, lies, values);
}

static device_case make_convolution(hunze_context *context, harness_rng *rng, const convolution *v)
{
    const bool transposed = v->op == HUNZE_OP_CONV_TRANSPOSE;
    const int64_t channels = v->channels * v->groups, outputs = v->outputs * v->groups;
    device_case c = {.op = v->op, .activation = v->activation, .kernel = v->row};
    int64_t out[2] = {1, 1};
    c.conv.groups = (uint32_t)v->groups;
    c.conv.layout = v->channels_last ? HUNZE_CHANNELS_LAST : HUNZE_CHANNELS_FIRST;
    for (int i = 0; i < v->spatial; i++) {
        out[i] = output_extent(v, i);
        c.conv.stride[i] = (uint32_t)v->stride[i];
        c.conv.dilation[i] = (uint32_t)v->dilation[i];
        c.conv.pad_before[i] = (int32_t)v->before[i];
        c.conv.pad_after[i] = (int32_t)v->after[i];
        c.conv.output_padding[i] = (uint32_t)v->output_padding[i];
    }
    snprintf(
        c.text, sizeof c.text,
        "%s%s %d-D n %lld c %lld k %lld groups %lld in %lld,%lld kernel %lld,%lld stride %lld,%lld dilation %lld,%lld "
        "before %lld,%lld after %lld,%lld layout %d orders %d%d%d lies %u values %s weights %s",
        v->type == HUNZE_TYPE_F64 ? "f64" : "f32", transposed ? " transposed" : "", v->spatial, (long long)v->images,
        (long long)v->channels, (long long)v->outputs, (long long)v->groups, (long long)v->in[0], (long long)v->in[1],
        (long long)v->kernel[0], (long long)v->kernel[1], (long long)v->stride[0], (long long)v->stride[1],
        (long long)v->dilation[0], (long long)v->dilation[1], (long long)v->before[0], (long long)v->before[1],
        (long long)v->after[0], (long long)v->after[1], v->channels_last, v->x_order, v->w_order, v->y_order, v->lies,
        harness_values_name(v->values), harness_values_name(v->weights));
    place_image(&c.a, context, rng, v, channels, v->in, v->x_order, v->lies, v->values);
    place_image(&c.d, context, rng, v, outputs, out, v->y_order, v->lies & ~(unsigned)LIES_REPEATED, HARNESS_SPECIAL);
    const int64_t w[4] = {transposed ? channels : outputs, transposed ? v->outputs : v->channels, v->kernel[0],
                          v->kernel[1]};
    static const int orders[3][4] = {{0, 1, 2, 3}, {0, 2, 3, 1}, {2, 3, 1, 0}},
                     orders_1d[3][3] = {{0, 1, 2}, {0, 2, 1}, {2, 1, 0}};
    device_place(&c.b, context, rng, v->type, v->spatial + 2, w,
                 v->spatial == 2 ? orders[v->w_order] : orders_1d[v->w_order], v->lies, v->weights);
    if (v->with_bias)
        device_place(&c.bias, context, rng, v->type, 1, &outputs, NULL, v->lies, v->values);
    if (v->with_residual)
        place_image(&c.residual, context, rng, v, outputs, out, (int)harness_between(rng, 0, 1), v->lies, v->values);
    return c;
}

static void check_convolution(hunze_context *context, harness_rng *rng, const convolution *v)
{
    device_case c = make_convolution(context, rng, v);
    device_check(context, &c);
}

static void any_layout(harness_rng *rng, convolution *v)
{
    static const uint32_t kinds[] = {HUNZE_ACT_NONE, HUNZE_ACT_NONE, HUNZE_ACT_RELU, HUNZE_ACT_GELU, HUNZE_ACT_CLIP};
    v->channels_last = harness_one_in(rng, 2);
    v->x_order = harness_one_in(rng, 2);
    v->w_order = (int)harness_between(rng, 0, 2);
    v->y_order = harness_one_in(rng, 2);
    v->lies = harness_one_in(rng, 2) ? 0 : (unsigned)harness_between(rng, 0, LIES_ANYHOW);
    v->values = (harness_values)harness_between(rng, 0, HARNESS_VALUES - 1);
    v->weights = harness_one_in(rng, 2) ? HARNESS_UNIFORM : (harness_values)harness_between(rng, 0, HARNESS_VALUES - 1);
    v->with_bias = harness_one_in(rng, 2);
    v->with_residual = harness_one_in(rng, 3);
    v->activation = (hunze_activation){0, kinds[harness_between(rng, 0, 4)], -0.25F, 0.75F};
}

static int64_t one_of(harness_rng *rng, const int64_t *values, int count)
{
    return values[harness_between(rng, 0, count - 1)];
}

static convolution any_convolution(harness_rng *rng, hunze_op op, hunze_type type)
{
    static const int64_t channels[] = {0, 1, 2, 3, 7, 16, 17}, outputs[] = {1, 2, 3, 7, 16, 17, 33},
                         extents[] = {1, 1, 2, 3, 5, 9}, kernels[] = {1, 1, 2, 3, 3, 5}, strides[] = {1, 1, 2, 3, 4},
                         dilations[] = {1, 1, 1, 2, 3, 7}, groups[] = {1, 1, 1, 2, 3}, images[] = {0, 1, 1, 2, 3};
    convolution v = {.op = op, .type = type, .spatial = (int)harness_between(rng, 1, 2)};
    v.images = one_of(rng, images, 5);
    v.groups = one_of(rng, groups, 5);
    v.channels = one_of(rng, channels, 7);
    v.outputs = one_of(rng, outputs, 7);
    for (int axis = 0; axis < 2; axis++) {
        const bool present = axis < v.spatial;
        v.in[axis] = present ? one_of(rng, extents, 6) : 1;
        v.kernel[axis] = present ? one_of(rng, kernels, 6) : 1;
        v.stride[axis] = present ? one_of(rng, strides, 5) : 1;
        v.dilation[axis] = present ? one_of(rng, dilations, 6) : 1;
        if (present && harness_one_in(rng, 2)) {
            v.before[axis] = harness_between(rng, 0, 4);
            v.after[axis] = harness_between(rng, 0, 4);
        }
        if (present && op == HUNZE_OP_CONV_TRANSPOSE)
            v.output_padding[axis] = harness_between(rng, 0, v.stride[axis] - 1);
    }
    any_layout(rng, &v);
    return v;
}

/* ------------------------------------------------------------------ tests */

static void random_convolutions(hunze_op op, uint64_t seed, int count)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {seed};
    for (int i = 0; i < count; i++) {
        const convolution v = any_convolution(&rng, op, types[i % 3 == 2]);
        check_convolution(context, &rng, &v);
    }
    hunze_context_release(context);
}

static void convolutions(void) { random_convolutions(HUNZE_OP_CONV, 81, 150); }
static void transposed(void) { random_convolutions(HUNZE_OP_CONV_TRANSPOSE, 82, 150); }

/* Several K blocks, whose borders fall within taps and at their edges; with stride, taps between inputs in sums of -0. */
static void blocks_of_k(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {83};
    static const struct {
        int64_t channels, kernel[2];
    } shapes[] = {{64, {3, 4}},  {57, {3, 3}},  {171, {2, 3}}, {16, {6, 11}},
                  {3, {15, 17}}, {128, {2, 2}}, {260, {1, 3}}};
    for (int op = HUNZE_OP_CONV; op <= HUNZE_OP_CONV_TRANSPOSE; op++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int turn = 0; turn < 4; turn++) {
                convolution v = {.op = (hunze_op)op, .type = types[turn % 2], .spatial = 2, .images = 1, .groups = 1};
                v.channels = shapes[i].channels;
                v.outputs = harness_between(&rng, 1, 5);
                for (int axis = 0; axis < 2; axis++) {
                    v.kernel[axis] = shapes[i].kernel[axis];
                    v.stride[axis] = harness_between(&rng, 1, 3);
                    v.dilation[axis] = harness_between(&rng, 1, 2);
                    v.in[axis] = 1 + (op == HUNZE_OP_CONV ? (v.kernel[axis] - 1) * v.dilation[axis] : 0) +
                                 harness_between(&rng, 0, 2);
                    v.before[axis] = v.after[axis] = harness_between(&rng, 0, 1);
                }
                any_layout(&rng, &v);
                if (turn > 1)
                    v.values = v.weights = HARNESS_DENORMAL;
                check_convolution(context, &rng, &v);
            }
    hunze_context_release(context);
}

/* K blocks side by side, of several tiles, phases and groups. */
static void k_blocks_apart(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {88};
    for (int turn = 0; turn < 8; turn++) {
        convolution v = {.op = turn & 2 ? HUNZE_OP_CONV_TRANSPOSE : HUNZE_OP_CONV,
                         .type = types[turn % 2],
                         .spatial = 2,
                         .images = 2,
                         .groups = 1 + (turn >> 2),
                         .channels = turn % 2 ? 60 : 120,
                         .outputs = harness_between(&rng, 30, 70)};
        for (int axis = 0; axis < 2; axis++) {
            v.in[axis] = harness_between(&rng, 6, 7);
            v.kernel[axis] = 3;
            v.stride[axis] = v.op == HUNZE_OP_CONV ? 1 : harness_between(&rng, 1, 2);
            v.dilation[axis] = v.before[axis] = 1;
        }
        any_layout(&rng, &v);
        check_convolution(context, &rng, &v);
    }
    for (int t = 0; t < 2 && on_standin(); t++)
        check(device_counters(t ? "hunze_fold_f64_cuda" : "hunze_fold_f32_cuda").launches == 4,
              "K blocks do not go side by side");
    hunze_context_release(context);
}

/* One after another, where the device's memory is too full for their sums: packed weights are workspace all the same. */
static void memory_is_full(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {91};
    standin_only("failures on demand");
    for (int kernel = 1; kernel <= 3; kernel += 2) {
        convolution v = {.op = HUNZE_OP_CONV,
                         .type = HUNZE_TYPE_F32,
                         .spatial = 2,
                         .images = 1,
                         .groups = 1,
                         .channels = kernel == 1 ? 1000 : 120,
                         .outputs = 40};
        for (int axis = 0; axis < 2; axis++) {
            v.in[axis] = 6;
            v.kernel[axis] = kernel;
            v.stride[axis] = v.dilation[axis] = 1;
        }
        v.values = v.weights = HARNESS_UNIFORM;
        v.with_bias = true;
        device_case c = make_convolution(context, &rng, &v);
        const uint64_t asked = standin_count("cuMemAllocFromPoolAsync");
        standin_failures("cuMemAllocFromPoolAsync:1:CUDA_ERROR_OUT_OF_MEMORY,"
                         "cuMemAllocFromPoolAsync:2:CUDA_ERROR_OUT_OF_MEMORY");
        device_check(context, &c);
        check(standin_count("cuMemAllocFromPoolAsync") - asked == (kernel == 1 ? 2 : 3),
              "%d x %d: memory is asked for %llu times", kernel, kernel,
              (unsigned long long)(standin_count("cuMemAllocFromPoolAsync") - asked));
        check(device_counters("hunze_fold_f32_cuda").launches == 0, "K blocks go side by side");

        c = make_convolution(context, &rng, &v);
        standin_failures("cuMemAllocFromPoolAsync:*:CUDA_ERROR_OUT_OF_MEMORY");
        if (kernel == 3)
            REFUSED(NOMEM, device_try(context, &c), "has no memory for");
        else
            OK(device_try(context, &c));
        standin_failures("");
        device_drop(context, &c);
    }
    hunze_context_release(context);
}

/* Outputs and channels about tiles of 64 and 128; kernels of one tap, whose x may be read where it is. */
static void tiles(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {84};
    for (int turn = 0; turn < 24; turn++) {
        convolution v = {.op = turn % 4 == 3 ? HUNZE_OP_CONV_TRANSPOSE : HUNZE_OP_CONV,
                         .type = types[turn % 5 == 4],
                         .spatial = 2,
                         .images = harness_between(&rng, 1, 2),
                         .groups = 1 + (turn % 6 == 5),
                         .channels = harness_between(&rng, 1, 20),
                         .outputs = harness_between(&rng, 60, 70) + (turn % 8 == 1 ? 64 : 0)};
        for (int axis = 0; axis < 2; axis++) {
            v.in[axis] = harness_between(&rng, 7, 12);
            v.kernel[axis] = turn % 2 ? 1 : harness_between(&rng, 1, 3);
            v.stride[axis] = turn % 3 == 2 ? 2 : 1;
            v.dilation[axis] = 1;
            v.before[axis] = turn % 2 ? 0 : harness_between(&rng, 0, 1);
        }
        any_layout(&rng, &v);
        check_convolution(context, &rng, &v);
    }
    hunze_context_release(context);
}

/* Images by HUNZE_TEST_SCALE so large that a device takes its large tiles. */
static void large_images(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {86};
    const int64_t scale = harness_scale();
    for (int turn = 0; turn < 6; turn++) {
        convolution v = {.op = turn % 3 == 2 ? HUNZE_OP_CONV_TRANSPOSE : HUNZE_OP_CONV,
                         .type = types[turn / 3],
                         .spatial = 2,
                         .images = 2,
                         .groups = 1,
                         .channels = 24,
                         .outputs = 134,
                         .in = {7 * scale, 6 * scale + 1},
                         .kernel = {3, 3},
                         .stride = {1 + turn % 2, 1},
                         .dilation = {1, 1},
                         .before = {1, 1},
                         .after = {1, 1}};
        any_layout(&rng, &v);
        check_convolution(context, &rng, &v);
    }
    hunze_context_release(context);
}

/* The depthwise kernel, by name, and what it leaves to products. */
static void depthwise(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {85};
    for (int i = 0; i < 100; i++) {
        convolution v = any_convolution(&rng, HUNZE_OP_CONV, HUNZE_TYPE_F32);
        v.channels = v.outputs = 1;
        v.groups = harness_between(&rng, 1, 40);
        v.kernel[0] += i % 5 == 0 ? 3 : 0;
        v.row = device_row(HUNZE_OP_CONV, HUNZE_TYPE_F32, HUNZE_TYPE_F32);
        check_convolution(context, &rng, &v);
    }
    hunze_context_release(context);
}

static const char *kernel_of(hunze_type type, bool large)
{
    return type == HUNZE_TYPE_F64 ? "hunze_conv_f64_cuda"
           : large                ? "hunze_conv_f32_cuda_128"
                                  : "hunze_conv_f32_cuda_64";
}

/* Each input that a tap meets is read once for each column of tiles, padding never; w is read once and written packed, which is read once for each
 * row of tiles. */
static void count(bool large)
{
    enum { CHANNELS = 5, OUTPUTS = 70, IN = 11, KERNEL = 3, OUT = 11, PACKED = 80 };
    hunze_context *context = new_context(NULL);
    harness_rng rng = {86};
    uint64_t met = 0; /* taps that meet an input, of all outputs */
    for (int y = 0; y < OUT; y++)
        for (int x = 0; x < OUT; x++)
            for (int tap = 0; tap < KERNEL * KERNEL; tap++) {
                const int in_y = y + tap / KERNEL - 1, in_x = x + tap % KERNEL - 1;
                met += in_y >= 0 && in_y < IN && in_x >= 0 && in_x < IN;
            }
    for (int i = 0; i < 8; i++) {
        const bool f64 = i >> 2;
        convolution v = {.op = HUNZE_OP_CONV,
                         .type = types[f64],
                         .spatial = 2,
                         .images = 1,
                         .channels = CHANNELS,
                         .outputs = OUTPUTS,
                         .groups = 1,
                         .in = {IN, IN},
                         .kernel = {KERNEL, KERNEL},
                         .stride = {1, 1},
                         .dilation = {1, 1},
                         .before = {1, 1},
                         .after = {1, 1},
                         .x_order = i & 1,
                         .w_order = i >> 1 & 1};
        device_reset_counters();
        check_convolution(context, &rng, &v);
        const uint64_t tile = large && !f64 ? 128 : 64, size = f64 ? 8 : 4, k = KERNEL * KERNEL * CHANNELS;
        const uint64_t rows = (OUT * OUT + tile - 1) / tile, columns = (OUTPUTS + tile - 1) / tile;
        const hunze_emulator_counters pack = device_counters(f64 ? "hunze_pack_f64_cuda" : "hunze_pack_f32_cuda"),
                                      product = device_counters(kernel_of(v.type, large));
        check(pack.global_read_bytes == k * OUTPUTS * size && pack.global_write_bytes == k * PACKED * size,
              "case %d: packing reads %llu bytes and writes %llu", i, (unsigned long long)pack.global_read_bytes,
              (unsigned long long)pack.global_write_bytes);
        check(product.blocks == rows * columns, "case %d: %llu blocks", i, (unsigned long long)product.blocks);
        check(product.global_read_bytes == (met * CHANNELS * columns + k * PACKED * rows) * size,
              "case %d: %llu bytes are read", i, (unsigned long long)product.global_read_bytes);
        check(product.global_write_bytes == OUT * OUT * OUTPUTS * size, "case %d: %llu bytes are written", i,
              (unsigned long long)product.global_write_bytes);
        check(product.fma == rows * columns * tile * tile * (48 + 1), "case %d: %llu fma", i,
              (unsigned long long)product.fma);
    }
    hunze_context_release(context);
}
static void count_small(void) { count(false); }
static void count_large(void) { count(true); }

/* Whole tiles of outputs and channels: no access to shared memory takes more than one pass. */
static void banks(bool large)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {87};
    device_count_banks(true);
    for (int i = 0; i < 64; i++) {
        convolution v = {.op = i & 1 ? HUNZE_OP_CONV_TRANSPOSE : HUNZE_OP_CONV,
                         .type = types[i >> 1 & 1],
                         .spatial = 2,
                         .images = 1,
                         .channels = i >> 2 & 1 ? 16 : 5,
                         .outputs = large ? 128 : 64,
                         .groups = 1,
                         .in = {8, 16},
                         .kernel = {3, 3},
                         .stride = {1, 1},
                         .dilation = {1, 1},
                         .before = {1, 1},
                         .after = {1, 1},
                         .x_order = i >> 3 & 1,
                         .w_order = i >> 4 & 1,
                         .y_order = i >> 5};
        device_reset_counters();
        check_convolution(context, &rng, &v);
        const char *kernel = kernel_of(v.type, large);
        const hunze_emulator_counters found = device_counters(kernel);
        check(found.shared_requests > 0 && found.bank_conflicts == 0,
              "case %d: %llu bank conflicts in %llu requests of %s", i, (unsigned long long)found.bank_conflicts,
              (unsigned long long)found.shared_requests, kernel);
    }
    hunze_context_release(context);
}
static void banks_small(void) { banks(false); }
static void banks_large(void) { banks(true); }

static const cuda_case cases[] = {
    {"convolutions", convolutions, NULL, NULL},
    {"transposed", transposed, NULL, NULL},
    {"blocks_of_k", blocks_of_k, "sms=1", NULL},
    {"blocks_of_k_apart", blocks_of_k, "sms=16", NULL},
    {"k_blocks_apart", k_blocks_apart, "sms=132", NULL},
    {"memory_is_full", memory_is_full, "sms=132", NULL},
    {"tiles", tiles, "sms=16", NULL},
    {"large_tiles", tiles, "sms=1", NULL},
    {"depthwise", depthwise, NULL, NULL},
    {"count_small", count_small, "sms=16", NULL},
    {"count_large", count_large, "sms=1", NULL},
    {"banks_small", banks_small, "sms=16", NULL},
    {"banks_large", banks_large, "sms=1", NULL},
    {"large_images", large_images, "sms=1", NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof *cases); }
