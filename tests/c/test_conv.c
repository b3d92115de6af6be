/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution by blocks against the scalar definition, bit by bit: every GEMM row, random shapes around the corners of padding, dilation,
 * stride and groups, both layouts, any strides. */
#include "conv_case.h"

static bool is_gemm(const hunze_row *row) { return (row->float_tile || row->int_tile) && hunze_row_convolves(row); }

static int64_t one_of(harness_rng *rng, const int64_t *values, int count)
{
    return values[harness_between(rng, 0, count - 1)];
}

static void random_case(const hunze_row *row, harness_rng *rng)
{
    static const int64_t channels[] = {1, 2, 3, 4, 7, 16, 17}, extents[] = {0, 1, 2, 3, 5, 9, 14},
                         kernels[] = {1, 1, 2, 3, 3, 4}, small[] = {1, 1, 1, 2, 3}, dilations[] = {1, 1, 1, 2, 11},
                         groups[] = {1, 1, 1, 2, 3}, images[] = {0, 1, 1, 1, 2, 3, 3};
    conv_case c = {.row = row, .op = HUNZE_OP_CONV, .layout = (uint32_t)harness_between(rng, 0, 1)};
    hunze_conv_shape *s = &c.shape;
    s->spatial = (int32_t)harness_between(rng, 1, 2);
    s->groups = one_of(rng, groups, 5);
    s->n = one_of(rng, images, 7);
    s->c = s->groups * one_of(rng, channels, 7);
    s->k = s->groups * one_of(rng, channels, 7);
    if (harness_between(rng, 0, 9) == 0)
        s->c = 0;
    for (int axis = 0; axis < 2; axis++) {
        const bool present = axis >= 2 - s->spatial;
        s->in[axis] = present ? one_of(rng, extents, 7) : 1;
        s->kernel[axis] = present ? one_of(rng, kernels, 6) : 1;
        s->stride[axis] = present ? one_of(rng, small, 5) : 1;
        s->dilation[axis] = present ? one_of(rng, dilations, 5) : 1;
        s->before[axis] = present && harness_between(rng, 0, 1) ? harness_between(rng, 0, 5) : 0;
        s->after[axis] = present && harness_between(rng, 0, 1) ? harness_between(rng, 0, 5) : 0;
    }
    output_extents(s, false, NULL);
    random_epilogue(&c, rng);
    run_case(&c, rng);
}

/* Channels first and rows long enough for the driver of planes: blocks of rows and columns, phases of strides, taps beyond the image. */
static void check_planes(const hunze_row *row)
{
    static const int64_t channels[] = {1, 2, 3, 8, 15, 16, 17, 33, 50}, widths[] = {24, 27, 31, 32, 33, 47, 64, 70},
                         kernels[] = {1, 2, 3, 5};
    harness_rng rng = {0xA4093822299F31D0};
    int in_planes = 0;
    const int cases = harness_budget(row->isa == HUNZE_ISA_PORTABLE ? 20 : 64, 4);
    for (int i = 0; i < cases; i++) {
        conv_case c = {.row = row, .op = HUNZE_OP_CONV, .layout = HUNZE_CHANNELS_FIRST};
        hunze_conv_shape *s = &c.shape;
        s->spatial = 2;
        s->n = harness_between(&rng, 1, 2);
        s->groups = harness_between(&rng, 0, 3) ? 1 : 2;
        s->c = s->groups * one_of(&rng, channels, row->isa == HUNZE_ISA_PORTABLE ? 7 : 9);
        s->k = s->groups * one_of(&rng, channels + 1, row->isa == HUNZE_ISA_PORTABLE ? 6 : 8);
        if (s->k > 64) /* a case has room for so many zero points */
            s->k = 64;
        for (int axis = 0; axis < 2; axis++) {
            s->kernel[axis] = one_of(&rng, kernels, 4);
            s->stride[axis] = harness_between(&rng, 0, 2) ? 1 : harness_between(&rng, 2, 3);
            s->dilation[axis] = harness_between(&rng, 0, 3) ? 1 : harness_between(&rng, 2, 5);
            s->before[axis] = harness_between(&rng, 0, 1) ? s->kernel[axis] / 2 : harness_between(&rng, 0, 6);
            s->after[axis] = harness_between(&rng, 0, 1) ? s->kernel[axis] / 2 : harness_between(&rng, 0, 6);
        }
        if (i % 16 == 0) { /* several K blocks */
            s->c = s->groups * 50;
            s->kernel[0] = s->kernel[1] = 5;
        }
        s->in[0] = harness_between(&rng, 1, 8);
        s->in[1] = one_of(&rng, widths, 8) * s->stride[1];
        output_extents(s, false, NULL);
        random_epilogue(&c, &rng);
        run_case(&c, &rng);
        in_planes += hunze_conv_in_planes(&c.shape, row);
    }
    harness_check(!row->float_tile || in_planes > 0, "none of %d cases runs by planes", cases);
}

static void check_random(const hunze_row *row)
{
    harness_rng rng = {0x243F6A8885A308D3};
    for (int i = 0; i < harness_budget(row->isa == HUNZE_ISA_PORTABLE ? 120 : 300, 4); i++)
        random_case(row, &rng);
}

/* Several K blocks whose borders fall between padded taps, several units and lanes. */
static void check_large(const hunze_row *row)
{
    harness_rng rng = {0x13198A2E03707344};
    static const hunze_conv_shape shapes[] = {
        {.spatial = 2,
         .n = 1,
         .c = 100,
         .k = 37,
         .groups = 1,
         .in = {5, 30},
         .kernel = {3, 3},
         .stride = {1, 1},
         .dilation = {1, 1},
         .before = {1, 1},
         .after = {1, 1}},
        {.spatial = 2,
         .n = 2,
         .c = 3,
         .k = 18,
         .groups = 1,
         .in = {33, 41},
         .kernel = {3, 3},
         .stride = {2, 2},
         .dilation = {1, 1},
         .before = {1, 1},
         .after = {1, 1}},
        {.spatial = 2,
         .n = 3,
         .c = 40,
         .k = 24,
         .groups = 1,
         .in = {8, 13},
         .kernel = {1, 1},
         .stride = {1, 1},
         .dilation = {1, 1}},
        {.spatial = 1,
         .n = 2,
         .c = 130,
         .k = 20,
         .groups = 2,
         .in = {1, 60},
         .kernel = {1, 9},
         .stride = {1, 2},
         .dilation = {1, 1},
         .before = {0, 4},
         .after = {0, 3}},
        {.spatial = 1,
         .n = 1,
         .c = 60,
         .k = 20,
         .groups = 1,
         .in = {1, 90},
         .kernel = {1, 5},
         .stride = {1, 1},
         .dilation = {1, 1}},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int repeat = 0; repeat < (row->isa == HUNZE_ISA_PORTABLE ? 1 : 3); repeat++) {
            conv_case c = {
                .row = row, .op = HUNZE_OP_CONV, .layout = (uint32_t)(repeat + (int)i) % 2, .shape = shapes[i]};
            output_extents(&c.shape, false, NULL);
            random_epilogue(&c, &rng);
            run_case(&c, &rng);
        }
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {
        {"random", is_gemm, check_random}, {"large", is_gemm, check_large}, {"planes", is_gemm, check_planes}};
    return conv_main(argc, argv, "convolution by blocks", parts, sizeof parts / sizeof *parts);
}
