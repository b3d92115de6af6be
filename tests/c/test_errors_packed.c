/* SPDX-License-Identifier: Apache-2.0 */
/* Packed weights that do not belong to the call: another version, layout, type, shape or op, cut off, or not packed at all. */
#include "refused.h"

static hunze_packed_header *header_of(const example *e) { return e->tensor[HUNZE_ROLE_B].data; }

#define MISTAKE(function, statement)                                                                                   \
    static void function(example *e)                                                                                   \
    {                                                                                                                  \
        hunze_packed_header *header = header_of(e);                                                                    \
        (void)header;                                                                                                  \
        statement;                                                                                                     \
    }
MISTAKE(another_magic, header->magic ^= 1)
MISTAKE(next_version, header->version++)
MISTAKE(version_0, header->version = 0)
MISTAKE(another_layout, header->layout ^= 0x40)
MISTAKE(last_layout, header->layout = 0xffff)
MISTAKE(no_type, header->type = HUNZE_TYPE_NONE)
MISTAKE(unknown_type, header->type = HUNZE_TYPE_COUNT)
MISTAKE(of_doubles, header->type = HUNZE_TYPE_F64)
MISTAKE(for_the_other_op, header->op = header->op == HUNZE_OP_GEMM ? HUNZE_OP_CONV : HUNZE_OP_GEMM)
MISTAKE(for_conv_transpose, header->op = HUNZE_OP_CONV_TRANSPOSE)
MISTAKE(for_an_unknown_op, header->op = 99)
MISTAKE(no_groups, header->groups = 0)
MISTAKE(most_groups, header->groups = UINT32_MAX)
MISTAKE(negative_n, header->n = -1)
MISTAKE(negative_k, header->k = -1)
MISTAKE(huge_n, header->n = INT64_MAX / 2)
MISTAKE(huge_n_and_k, header->n = header->k = INT64_C(1) << 32)
MISTAKE(too_few_bytes, header->bytes = 63)
MISTAKE(fewer_bytes, header->bytes -= 64)
MISTAKE(more_bytes_than_there_are, header->bytes += 64)
MISTAKE(reserved, header->reserved = 1)
MISTAKE(less_than_a_header, e->shape[HUNZE_ROLE_B][0] = 7)
MISTAKE(cut_off, e->shape[HUNZE_ROLE_B][0]--)
MISTAKE(zeros, memset(header, 0, sizeof *header))

static const struct {
    const char *name;
    void (*make)(example *e);
    hunze_status status;
    bool about_row; /* a kernel is looked for first, and the message says "the weights" */
} mistakes[] = {
    {"another magic", another_magic, HUNZE_ERR_PACKED, false},
    {"the next version", next_version, HUNZE_ERR_PACKED, false},
    {"version 0", version_0, HUNZE_ERR_PACKED, false},
    {"another layout", another_layout, HUNZE_ERR_PACKED, true},
    {"layout 65535", last_layout, HUNZE_ERR_PACKED, true},
    {"no type", no_type, HUNZE_ERR_PACKED, false},
    {"an unknown type", unknown_type, HUNZE_ERR_PACKED, false},
    {"f64 beside f32", of_doubles, HUNZE_ERR_DTYPE, false},
    {"the other op", for_the_other_op, HUNZE_ERR_PACKED, false},
    {"conv_transpose", for_conv_transpose, HUNZE_ERR_PACKED, false},
    {"an unknown op", for_an_unknown_op, HUNZE_ERR_PACKED, false},
    {"no groups", no_groups, HUNZE_ERR_PACKED, false},
    {"2^32 - 1 groups", most_groups, HUNZE_ERR_PACKED, false},
    {"n -1", negative_n, HUNZE_ERR_PACKED, false},
    {"k -1", negative_k, HUNZE_ERR_PACKED, false},
    {"n 2^62", huge_n, HUNZE_ERR_PACKED, false},
    {"n and k 2^32", huge_n_and_k, HUNZE_ERR_PACKED, false},
    {"63 bytes", too_few_bytes, HUNZE_ERR_PACKED, false},
    {"fewer bytes", fewer_bytes, HUNZE_ERR_PACKED, true},
    {"more bytes than there are", more_bytes_than_there_are, HUNZE_ERR_PACKED, false},
    {"reserved", reserved, HUNZE_ERR_PACKED, false},
    {"less than a header", less_than_a_header, HUNZE_ERR_PACKED, false},
    {"cut off", cut_off, HUNZE_ERR_PACKED, false},
    {"zeros", zeros, HUNZE_ERR_PACKED, false},
};

static void headers_of_another_kind(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLES; kind++)
        for (size_t i = 0; specs[kind].with & PACKED && i < sizeof mistakes / sizeof mistakes[0]; i++) {
            example e;
            make_example(&e, kind, SMALL, context);
            harness_case("%s: %s", e.spec->name, mistakes[i].name);
            mistakes[i].make(&e);
            const char *name = mistakes[i].about_row ? "weights" : operand_name(&e, HUNZE_ROLE_B);
            expect_refused(&e, NULL, mistakes[i].status, name);
            expect_no_plan(&e, mistakes[i].status, name);
            drop_example(&e);
        }
}

/* The call that the weights were packed for has other groups, another kernel's rank or other channels. */
static void calls_of_another_shape(void **state)
{
    (void)state;
    example e;
    make_example(&e, example_named("conv packed"), SMALL, context);
    harness_case("conv packed: one group");
    e.options.conv.groups = 1;
    expect_refused(&e, NULL, HUNZE_ERR_PACKED, "w");
    drop_example(&e);
    make_example(&e, example_named("conv packed"), SMALL, context);
    harness_case("conv packed: one spatial axis");
    e.tensor[HUNZE_ROLE_A].ndim = e.tensor[HUNZE_ROLE_D].ndim = 3;
    e.options.conv.pad_before[1] = e.options.conv.pad_after[1] = 0;
    expect_refused(&e, NULL, HUNZE_ERR_PACKED, "w");
    drop_example(&e);
}

/* Weights of the widest rows, brought to a context that is not allowed them. */
static void weights_for_kernels_that_are_not_allowed(void **state)
{
    (void)state;
    const hunze_context_options options = {
        .struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT, .isa = "portable"};
    hunze_context *portable = open_context(&options);
    for (int kind = 0; kind < EXAMPLES; kind++) {
        if (!(specs[kind].with & PACKED) || hunze_cpu_bundles() == 1)
            continue;
        harness_case("%s", specs[kind].name);
        poison_output(&good[kind]);
        answer before = copy_outputs(&good[kind]);
        expect_status(run_example(portable, &good[kind], NULL), HUNZE_ERR_PACKED, "layout");
        harness_check(outputs_are(&good[kind], &before), "an output changed");
        drop_answer(&before);
    }
    hunze_context_release(portable);
}

/* Whatever bits of the header change, the call is refused or computes within its memory: a sanitizer watches. */
static void headers_with_changed_bits(void **state)
{
    (void)state;
    harness_rng rng = {5};
    for (int turn = 0; turn < 4000; turn++) {
        const int kind = example_named(turn % 2 ? "gemm packed" : "conv packed");
        example e;
        make_example(&e, kind, SMALL, context);
        harness_case("turn %d", turn);
        unsigned char *bytes = e.tensor[HUNZE_ROLE_B].data;
        for (int64_t left = harness_between(&rng, 1, 3); left > 0; left--)
            bytes[harness_between(&rng, 0, 63)] ^= (unsigned char)(1 << harness_between(&rng, 0, 7));
        answer before = copy_outputs(&e);
        if (run_example(context, &e, NULL) != HUNZE_OK)
            harness_check(outputs_are(&e, &before), "an output changed");
        drop_answer(&before);
        drop_example(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_of_another_kind), cmocka_unit_test(calls_of_another_shape),
        cmocka_unit_test(weights_for_kernels_that_are_not_allowed), cmocka_unit_test(headers_with_changed_bits)};
    return cmocka_run_group_tests_name("refused packed weights", tests, make_good, drop_good);
}
