/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution against the scalar definition, bit by bit: every depthwise row through its driver, and GEMM rows on the same shapes, so
 * that the choice between them never shows in the result. */
#include "conv_case.h"

static bool is_depthwise(const hunze_row *row) { return row->depthwise; }
static bool is_gemm(const hunze_row *row) { return (row->float_tile || row->int_tile) && hunze_row_convolves(row); }

static int64_t one_of(harness_rng *rng, const int64_t *values, int count)
{
    return values[harness_between(rng, 0, count - 1)];
}

static void random_case(const hunze_row *row, harness_rng *rng)
{
    static const int64_t channels[] = {1, 2, 4, 7, 8, 15, 16, 17, 32, 40}, extents[] = {0, 1, 2, 3, 5, 9, 14, 21},
                         kernels[] = {1, 2, 3, 3, 3, 5, 5, 7}, small[] = {1, 1, 1, 2, 3},
                         dilations[] = {1, 1, 1, 2, 30}, images[] = {0, 1, 1, 1, 2, 3, 3};
    conv_case c = {.row = row, .op = HUNZE_OP_CONV, .layout = (uint32_t)harness_between(rng, 0, 1)};
    hunze_conv_shape *s = &c.shape;
    s->spatial = (int32_t)harness_between(rng, 1, 2);
    s->n = one_of(rng, images, 7);
    s->groups = s->c = s->k = one_of(rng, channels, 10);
    for (int axis = 0; axis < 2; axis++) {
        const bool present = axis >= 2 - s->spatial;
        s->in[axis] = present ? one_of(rng, extents, 8) : 1;
        s->kernel[axis] = present ? one_of(rng, kernels, 8) : 1;
        s->stride[axis] = present ? one_of(rng, small, 5) : 1;
        s->dilation[axis] = present ? one_of(rng, dilations, 5) : 1;
        s->before[axis] = present && harness_between(rng, 0, 2) ? harness_between(rng, 0, 8) : 0;
        s->after[axis] = present && harness_between(rng, 0, 2) ? harness_between(rng, 0, 8) : 0;
        if (present && s->dilation[axis] > 2 && harness_between(rng, 0, 1))
            s->before[axis] += s->dilation[axis] * (s->kernel[axis] - 1) / 2,
                s->after[axis] += s->dilation[axis] * (s->kernel[axis] - 1) / 2;
    }
    output_extents(s, false, NULL);
    const char *why = NULL;
    harness_check(hunze_depthwise_takes(s, &why), "refused: %s", why);
    random_epilogue(&c, rng);
    run_case(&c, rng);
}

static void check_random(const hunze_row *row)
{
    harness_rng rng = {0xA4093822299F31D0};
    for (int i = 0; i < harness_budget(row->isa == HUNZE_ISA_PORTABLE ? 150 : row->depthwise ? 400 : 40, 4); i++)
        random_case(row, &rng);
}

/* Several segments per row, several patches, rows of padding longer than the driver keeps, several lanes. */
static void check_large(const hunze_row *row)
{
    harness_rng rng = {0x082EFA98EC4E6C89};
    static const hunze_conv_shape shapes[] = {
        {.spatial = 2,
         .n = 2,
         .c = 32,
         .in = {20, 300},
         .kernel = {3, 3},
         .stride = {1, 1},
         .dilation = {1, 1},
         .before = {1, 1},
         .after = {1, 1}},
        {.spatial = 2,
         .n = 1,
         .c = 37,
         .in = {31, 33},
         .kernel = {5, 5},
         .stride = {2, 2},
         .dilation = {1, 1},
         .before = {2, 2},
         .after = {2, 2}},
        {.spatial = 2,
         .n = 1,
         .c = 1100,
         .in = {5, 6},
         .kernel = {3, 3},
         .stride = {1, 1},
         .dilation = {1, 1},
         .before = {1, 1},
         .after = {1, 1}},
        {.spatial = 1,
         .n = 1,
         .c = 300,
         .in = {1, 1000},
         .kernel = {1, 2},
         .stride = {1, 1},
         .dilation = {1, 990},
         .before = {0, 3},
         .after = {0, 9}},
        {.spatial = 2,
         .n = 1,
         .c = 5,
         .in = {6, 1000},
         .kernel = {3, 3},
         .stride = {1, 1},
         .dilation = {1, 1},
         .before = {1, 1},
         .after = {1, 1}},
        {.spatial = 2,
         .n = 1,
         .c = 8,
         .in = {26, 27},
         .kernel = {20, 25},
         .stride = {1, 1},
         .dilation = {1, 1},
         .before = {0, 4},
         .after = {2, 0}},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int repeat = 0; repeat < (row->isa == HUNZE_ISA_PORTABLE ? 2 : 3); repeat++) {
            conv_case c = {
                .row = row, .op = HUNZE_OP_CONV, .layout = (uint32_t)harness_between(&rng, 0, 1), .shape = shapes[i]};
            c.shape.groups = c.shape.k = c.shape.c;
            output_extents(&c.shape, false, NULL);
            random_epilogue(&c, &rng);
            if (c.shape.c > 64 && c.w_parameters > 1)
                c.w_parameters = 1;                                /* as many as the case holds */
            const memory_order plain = (memory_order)(repeat % 2); /* as shape, or the other way; then at random */
            if (repeat < 2)
                run_case_in(&c, &rng, plain, AS_SHAPE, plain);
            else
                run_case(&c, &rng);
        }
}

static void check_refusals(const hunze_row *row)
{
    (void)row;
    const char *why = NULL;
    hunze_conv_shape s = {.groups = 4, .c = 4, .k = 8, .kernel = {3, 3}};
    harness_case("refusals");
    harness_check(!hunze_depthwise_takes(&s, &why) && why, "a multiplier of 2 is taken");
    s = (hunze_conv_shape){.groups = 2, .c = 4, .k = 4, .kernel = {3, 3}};
    harness_check(!hunze_depthwise_takes(&s, &why), "two channels per group are taken");
    s = (hunze_conv_shape){.groups = 4, .c = 4, .k = 4, .kernel = {32, 17}};
    harness_check(!hunze_depthwise_takes(&s, &why), "544 taps are taken");
    s.kernel[1] = 16;
    harness_check(hunze_depthwise_takes(&s, &why), "512 taps are refused");
}

/* However far apart taps lie and however wide x is, a lane's scratch stays small. */
static void check_workspace(const hunze_row *row)
{
    harness_case("workspace");
    const int64_t c = 64, far = 1 << 20;
    const hunze_conv_shape shape = {.spatial = 2,
                                    .n = 1,
                                    .c = c,
                                    .k = c,
                                    .groups = c,
                                    .in = {9, far},
                                    .out = {9, far},
                                    .kernel = {3, 3},
                                    .stride = {1, 1},
                                    .dilation = {far / 4, far / 4},
                                    .before = {far / 4, far / 4},
                                    .x_n = 9 * far * c,
                                    .x_c = 1,
                                    .x_axis = {far * c, c},
                                    .y_n = 9 * far * c,
                                    .y_c = 1,
                                    .y_axis = {far * c, c}};
    struct hunze_plan plan = {.context = context, .op = HUNZE_OP_CONV, .row = row, .conv = shape};
    const size_t bytes = hunze_conv_workspace(&plan, 4);
    harness_check(bytes < 4 << 20, "workspace of %zu bytes for 4 threads", bytes);
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"random", is_depthwise, check_random},
                                         {"large", is_depthwise, check_large},
                                         {"workspace", is_depthwise, check_workspace},
                                         {"refusals", is_depthwise, check_refusals},
                                         {"by blocks", is_gemm, check_random}};
    return conv_main(argc, argv, "depthwise convolution", parts, sizeof parts / sizeof *parts);
}
