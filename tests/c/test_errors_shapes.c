/* SPDX-License-Identifier: Apache-2.0 */
/* Extents and ranks that do not fit each other, products of extents that leave 63 bits, and tensors of huge extents without an element. */
#include "refused.h"

/* ------------------------------------------------------------------ extents and ranks that do not fit */

static const struct {
    const char *example;
    int role, axis;
    int64_t add;
    const char *named; /* the operand that the message is about */
} extents[] = {
    {"gemm f32", HUNZE_ROLE_A, 0, 1, "d"},
    {"gemm f32", HUNZE_ROLE_A, 1, 1, "b"},
    {"gemm f32", HUNZE_ROLE_B, 0, -1, "b"},
    {"gemm f32", HUNZE_ROLE_B, 1, 1, "d"},
    {"gemm f32", HUNZE_ROLE_D, 0, 1, "d"},
    {"gemm f32", HUNZE_ROLE_D, 1, -1, "d"},
    {"gemm f32", HUNZE_ROLE_C, 0, -1, "c"},
    {"gemm f32", HUNZE_ROLE_C, 1, 1, "c"},
    {"gemm f32", HUNZE_ROLE_BIAS, 0, 1, "bias"},
    {"gemm f32", HUNZE_ROLE_RESIDUAL, 0, -1, "residual"},
    {"gemm f32", HUNZE_ROLE_RESIDUAL, 1, 1, "residual"},
    {"gemm f64", HUNZE_ROLE_A, 1, 1, "b"},
    {"gemm packed", HUNZE_ROLE_A, 1, 1, "b"},
    {"gemm packed", HUNZE_ROLE_D, 1, 1, "d"},
    {"gemm s32", HUNZE_ROLE_BIAS, 0, -1, "bias"},
    {"gemm s32", HUNZE_ROLE_A_ZERO, 0, 1, "a_quant.zero_point"},
    {"gemm s32", HUNZE_ROLE_B_ZERO, 0, 1, "b_quant.zero_point"},
    {"gemm u8", HUNZE_ROLE_B_SCALE, 0, -1, "b_quant.scale"},
    {"gemm u8", HUNZE_ROLE_D_SCALE, 0, 1, "d_quant.scale"},
    {"gemm u8", HUNZE_ROLE_D_ZERO, 0, -1, "d_quant.zero_point"},
    {"conv f32", HUNZE_ROLE_A, 0, 1, "y"},
    {"conv f32", HUNZE_ROLE_A, 1, 1, "w"},
    {"conv f32", HUNZE_ROLE_A, 2, 1, "y"},
    {"conv f32", HUNZE_ROLE_B, 0, 1, "w"}, /* groups do not divide it */
    {"conv f32", HUNZE_ROLE_B, 0, 2, "y"},
    {"conv f32", HUNZE_ROLE_B, 1, 1, "w"},
    {"conv f32", HUNZE_ROLE_B, 2, -3, "w"},
    {"conv f32", HUNZE_ROLE_D, 3, 1, "y"},
    {"conv f32", HUNZE_ROLE_BIAS, 0, 1, "bias"},
    {"conv f32", HUNZE_ROLE_RESIDUAL, 3, -1, "residual"},
    {"conv packed", HUNZE_ROLE_A, 1, 2, "w"},
    {"conv 1-D", HUNZE_ROLE_D, 2, -1, "y"},
    {"conv 1-D", HUNZE_ROLE_B, 1, -1, "w"},
    {"conv u8", HUNZE_ROLE_B_SCALE, 0, 1, "w_quant.scale"},
    {"conv u8", HUNZE_ROLE_A_ZERO, 0, 1, "x_quant.zero_point"},
    {"depthwise", HUNZE_ROLE_A, 1, 1, "w"},
    {"conv_transpose", HUNZE_ROLE_B, 0, 1, "w"},
    {"conv_transpose", HUNZE_ROLE_D, 1, 1, "y"},
    {"conv_transpose", HUNZE_ROLE_D, 2, 1, "y"},
    {"quantize", HUNZE_ROLE_D, 0, 1, "codes"},
    {"quantize", HUNZE_ROLE_D_SCALE, 0, 1, "quant.scale"},
    {"quantize", HUNZE_ROLE_D_ZERO, 0, -1, "quant.zero_point"},
    {"dynamic quantize", HUNZE_ROLE_A, 1, 1, "codes"},
    {"dynamic quantize", HUNZE_ROLE_D_SCALE, 0, 1, "quant.scale"},
    {"dequantize", HUNZE_ROLE_D, 1, -1, "x"},
    {"dequantize", HUNZE_ROLE_A_SCALE, 0, -1, "quant.scale"},
    {"activate", HUNZE_ROLE_D, 1, 1, "y"},
    {"pack gemm", HUNZE_ROLE_D, 0, -16, "packed"},
    {"pack conv", HUNZE_ROLE_D, 0, -1, "packed"},
    {"pack conv", HUNZE_ROLE_A, 0, 1, "w"},
    {"pack conv", HUNZE_ROLE_A, 3, -3, "w"},
};

static void extents_that_do_not_fit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof extents / sizeof extents[0]; i++) {
        example e;
        make_example(&e, example_named(extents[i].example), SMALL, context);
        harness_case("%s: axis %d of %s by %lld", e.spec->name, extents[i].axis, operand_name(&e, extents[i].role),
                     (long long)extents[i].add);
        e.shape[extents[i].role][extents[i].axis] += extents[i].add;
        expect_refused(&e, NULL, HUNZE_ERR_SHAPE, extents[i].named);
        expect_no_plan(&e, HUNZE_ERR_SHAPE, extents[i].named);
        drop_example(&e);
    }
}

/* One axis more, of one index: only where leading axes broadcast is that nothing. */
static void ranks_that_do_not_fit(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLES; kind++)
        for (int role = 0; role < HUNZE_ROLE_COUNT; role++) {
            example e;
            make_example(&e, kind, SMALL, context);
            const int ndim = e.tensor[role].ndim;
            const bool broadcasts = e.spec->op == HUNZE_OP_GEMM && role <= HUNZE_ROLE_BIAS;
            const bool one_parameter = role >= HUNZE_ROLE_A_SCALE && e.shape[role][0] == 1;
            if (e.memory[role] && ndim < 4 && !broadcasts && !one_parameter && !is_blob(&e, role)) {
                memmove(&e.shape[role][1], e.shape[role], (size_t)ndim * sizeof(int64_t));
                e.shape[role][0] = 1;
                e.tensor[role].strides = NULL;
                e.tensor[role].ndim++;
                harness_case("%s: another axis before %s", e.spec->name, operand_name(&e, role));
                poison_output(&e);
                const hunze_status status = run_example(context, &e, NULL);
                harness_check(status == HUNZE_ERR_SHAPE, "%s", hunze_status_name(status));
            }
            drop_example(&e);
        }
}

/* ------------------------------------------------------------------ products of extents */

/* A product without bias and scales, a convolution that keeps the extents, one scale elsewhere. */
static void plain_options(example *e)
{
    const hunze_op op = e->spec->op;
    if (op == HUNZE_OP_GEMM || op == HUNZE_OP_CONV || op == HUNZE_OP_CONV_TRANSPOSE)
        memset((char *)&e->options + 8, 0, sizeof e->options - 8);
    for (int i = 0; i < e->spec->ndim - 2 && op != HUNZE_OP_PACK; i++)
        e->options.conv.pad_before[i] = e->options.conv.pad_after[i] = 1;
    for (int which = 0; which < 3; which++) {
        e->quant[which].granularity = HUNZE_PER_TENSOR;
        e->shape[HUNZE_ROLE_A_SCALE + 2 * which][0] = e->shape[HUNZE_ROLE_A_ZERO + 2 * which][0] = 1;
    }
}

/* An example with other shapes for a, b and d; inputs have stride 0, so they need no memory. */
typedef struct reshaped {
    const char *example;
    int ndim;
    int64_t shapes[3][4];
} reshaped;

static void make_reshaped(example *e, const reshaped *to)
{
    static const int roles[] = {HUNZE_ROLE_A, HUNZE_ROLE_B, HUNZE_ROLE_D};
    make_example(e, example_named(to->example), SMALL, context);
    plain_options(e);
    for (int i = 0; i < 3; i++) {
        if (!e->memory[roles[i]])
            continue;
        if (!is_blob(e, roles[i]))
            e->tensor[roles[i]].ndim = to->ndim;
        memcpy(e->shape[roles[i]], to->shapes[i], sizeof to->shapes[i]);
        if (roles[i] == HUNZE_ROLE_D)
            e->tensor[roles[i]].strides = NULL;
        else
            memset(e->strides[roles[i]], 0, sizeof e->strides[roles[i]]);
    }
}

static const int64_t big = (int64_t)1 << 21, huge = (int64_t)1 << 40;

static void operations_beyond_63_bits(void **state)
{
    (void)state;
    const reshaped cases[] = {{"gemm s32", 2, {{big, huge}, {huge, big}, {big, big}}},
                              {"gemm s32", 3, {{big, 2, huge}, {big, huge, big}, {big, 2, big}}},
                              {"conv 1-D", 3, {{big, huge, 9}, {4, huge, 3}, {big, 4, 9}}},
                              {"conv_transpose", 4, {{big, big, 9, 9}, {big, big, 3, 3}, {big, big, 9, 9}}},
                              {"pack conv", 4, {{0, huge, huge, huge}, {0}, {64}}},
                              {"pack gemm", 2, {{0, huge}, {0}, {64}}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        example e;
        make_reshaped(&e, &cases[i]);
        harness_case("%s, case %zu", e.spec->name, i);
        expect_refused(&e, NULL, HUNZE_ERR_OVERFLOW, e.spec->op == HUNZE_OP_PACK ? "w" : "63");
        expect_no_plan(&e, HUNZE_ERR_OVERFLOW, "63");
        drop_example(&e);
    }
}

/* No elements, whatever the other extents: nothing is done, and nothing overflows on the way (a sanitizer sees it). */
static void nothing_of_huge_extents(void **state)
{
    (void)state;
    const reshaped cases[] = {{"gemm s32", 4, {{huge, huge, 0, 7}, {1, 1, 7, 9}, {huge, huge, 0, 9}}},
                              {"gemm s32", 3, {{0, huge, 7}, {1, 7, huge}, {0, huge, huge}}},
                              {"gemm s32", 3, {{huge, 1 << 19, 7}, {1, 7, 0}, {huge, 1 << 19, 0}}},
                              {"conv 1-D", 3, {{huge, 1 << 29, 0}, {1 << 29, 1 << 29, 3}, {huge, 1 << 29, 0}}},
                              {"conv 1-D", 3, {{huge, 4, 1 << 18}, {0, 4, 3}, {huge, 0, 1 << 18}}},
                              {"conv_transpose", 4, {{huge, 4, huge, 0}, {4, huge, 3, 3}, {huge, huge, huge, 0}}},
                              {"quantize", 3, {{huge, 0, huge}, {0}, {huge, 0, huge}}},
                              {"quantize", 3, {{huge, huge, 0}, {0}, {huge, huge, 0}}},
                              {"dynamic quantize", 3, {{huge, huge, 0}, {0}, {huge, huge, 0}}},
                              {"dequantize", 4, {{0, huge, huge, huge}, {0}, {0, huge, huge, huge}}},
                              {"activate", 4, {{0, huge, huge, huge}, {0}, {0, huge, huge, huge}}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        example e;
        make_reshaped(&e, &cases[i]);
        harness_case("%s, case %zu", e.spec->name, i);
        poison_output(&e);
        answer before = copy_outputs(&e);
        for (int turn = 0; turn < 2; turn++) {
            const hunze_status status = run_example(context, &e, NULL);
            harness_check(status == HUNZE_OK, "%s", hunze_last_error());
            harness_check((e.spec->with & DYNAMIC) || outputs_are(&e, &before), "something was written");
        }
        drop_answer(&before);
        drop_example(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extents_that_do_not_fit), cmocka_unit_test(ranks_that_do_not_fit),
        cmocka_unit_test(operations_beyond_63_bits), cmocka_unit_test(nothing_of_huge_extents)};
    return cmocka_run_group_tests_name("refused shapes", tests, make_good, drop_good);
}
