/* SPDX-License-Identifier: Apache-2.0 */
/* Transposed convolution against the scalar definition, bit by bit: every floating-point GEMM row. */
#include "conv_case.h"

static bool is_float(const hunze_row *row) { return row->float_tile && hunze_row_convolves(row); }

static int64_t one_of(harness_rng *rng, const int64_t *values, int count)
{
    return values[harness_between(rng, 0, count - 1)];
}

static void random_case(const hunze_row *row, harness_rng *rng)
{
    static const int64_t channels[] = {1, 2, 3, 7, 16, 17}, extents[] = {1, 1, 2, 3, 5, 9},
                         kernels[] = {1, 2, 2, 3, 3, 4, 5}, strides[] = {1, 2, 2, 2, 3, 4},
                         dilations[] = {1, 1, 1, 2, 3, 7}, groups[] = {1, 1, 1, 2, 3}, images[] = {0, 1, 1, 1, 2};
    conv_case c = {.row = row, .op = HUNZE_OP_CONV_TRANSPOSE, .layout = (uint32_t)harness_between(rng, 0, 1)};
    hunze_conv_shape *s = &c.shape;
    int64_t output_padding[2];
    s->spatial = (int32_t)harness_between(rng, 1, 2);
    s->groups = one_of(rng, groups, 5);
    s->n = one_of(rng, images, 5);
    s->c = s->groups * one_of(rng, channels, 6);
    s->k = s->groups * one_of(rng, channels, 6);
    if (harness_between(rng, 0, 15) == 0)
        s->c = s->groups * (row->a == HUNZE_TYPE_F64 ? 50 : 100); /* several K blocks */
    if (harness_between(rng, 0, 15) == 0)
        s->c = 0;
    for (int axis = 0; axis < 2; axis++) {
        const bool present = axis >= 2 - s->spatial;
        s->in[axis] = present ? one_of(rng, extents, 6) : 1;
        s->kernel[axis] = present ? one_of(rng, kernels, 7) : 1;
        s->stride[axis] = present ? one_of(rng, strides, 6) : 1;
        s->dilation[axis] = present ? one_of(rng, dilations, 6) : 1;
        s->before[axis] = present && harness_between(rng, 0, 1) ? harness_between(rng, 0, 4) : 0;
        s->after[axis] = present && harness_between(rng, 0, 1) ? harness_between(rng, 0, 4) : 0;
        output_padding[axis] = present ? harness_between(rng, 0, s->stride[axis] - 1) : 0;
    }
    output_extents(s, true, output_padding);
    random_epilogue(&c, rng);
    run_case(&c, rng);
}

static void check_random(const hunze_row *row)
{
    harness_rng rng = {0x452821E638D01377};
    for (int i = 0; i < harness_budget(row->isa == HUNZE_ISA_PORTABLE ? 150 : 500, 4); i++)
        random_case(row, &rng);
}

/* The common doubling of a feature map, and one with overlap and several K blocks. */
static void check_large(const hunze_row *row)
{
    harness_rng rng = {0xBE5466CF34E90C6C};
    static const hunze_conv_shape shapes[] = {
        {.spatial = 2,
         .n = 2,
         .c = 24,
         .k = 24,
         .groups = 1,
         .in = {12, 40},
         .kernel = {2, 2},
         .stride = {2, 2},
         .dilation = {1, 1}},
        {.spatial = 2,
         .n = 1,
         .c = 24,
         .k = 1,
         .groups = 1,
         .in = {24, 30},
         .kernel = {2, 2},
         .stride = {2, 2},
         .dilation = {1, 1}},
        {.spatial = 2,
         .n = 2,
         .c = 15,
         .k = 3,
         .groups = 3,
         .in = {4, 40},
         .kernel = {2, 3},
         .stride = {2, 3},
         .dilation = {1, 1}},
        {.spatial = 1,
         .n = 2,
         .c = 9,
         .k = 4,
         .groups = 1,
         .in = {1, 70},
         .kernel = {1, 4},
         .stride = {1, 4},
         .dilation = {1, 1}},
        {.spatial = 2,
         .n = 1,
         .c = 80,
         .k = 33,
         .groups = 1,
         .in = {6, 7},
         .kernel = {4, 4},
         .stride = {2, 2},
         .dilation = {1, 1},
         .before = {1, 1},
         .after = {1, 1}},
        {.spatial = 2,
         .n = 1,
         .c = 70,
         .k = 9,
         .groups = 1,
         .in = {6, 7},
         .kernel = {3, 3},
         .stride = {1, 1},
         .dilation = {1, 1},
         .before = {1, 1},
         .after = {1, 1}},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int repeat = 0; repeat < (row->isa == HUNZE_ISA_PORTABLE ? 1 : 4); repeat++) {
            conv_case c = {.row = row,
                           .op = HUNZE_OP_CONV_TRANSPOSE,
                           .layout = (uint32_t)harness_between(&rng, 0, 1),
                           .shape = shapes[i]};
            output_extents(&c.shape, true, (int64_t[]){0, 0});
            random_epilogue(&c, &rng);
            run_case(&c, &rng);
        }
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"random", is_float, check_random}, {"large", is_float, check_large}};
    return conv_main(argc, argv, "transposed convolution", parts, sizeof parts / sizeof *parts);
}
