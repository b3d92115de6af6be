/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs that share memory with inputs: refused where that is proved, taken where views only lie between each other. */
#include "refused.h"

/* The output moved onto an input: the same first byte, a part of it, one byte of it. */
static void outputs_on_inputs(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLES; kind++)
        for (int role = HUNZE_ROLE_A; role < HUNZE_ROLE_COUNT; role++)
            for (int form = 0; form < 3; form++) {
                example e;
                make_example(&e, kind, SMALL, context);
                const bool is_input = e.memory[role] && !(e.spec->with & DYNAMIC && role >= HUNZE_ROLE_D_SCALE);
                const bool may_be = role == HUNZE_ROLE_C || e.spec->op == HUNZE_OP_ACTIVATION;
                if (!is_input || (form == 0 && may_be)) {
                    drop_example(&e);
                    continue;
                }
                harness_case("%s: %s on %s, form %d", e.spec->name, operand_name(&e, HUNZE_ROLE_D),
                             operand_name(&e, role), form);
                /* Input and output in one block: the input in its middle, the output before it, on it or at its last element. */
                const hunze_extent d = hunze_tensor_extent(&e.tensor[HUNZE_ROLE_D]),
                                   x = hunze_tensor_extent(&e.tensor[role]);
                char *block = aligned_alloc(64, 16384), *input = block + 8192;
                const int64_t element = e.tensor[HUNZE_ROLE_D].dtype.bits / 8,
                              move[] = {0, element - d.high, x.high - 1};
                assert_true(d.high < 8192 && x.high + d.high < 8192);
                memset(block, 0xa5, 16384);
                memcpy(input, e.tensor[role].data, (size_t)x.high);
                const uintptr_t grain = e.spec->op == HUNZE_OP_PACK ? 64 : (uintptr_t)element;
                const uintptr_t address = (uintptr_t)input + (uintptr_t)move[form] + (form == 1 ? grain - 1 : 0);
                char *output = (char *)(address - address % grain);
                e.tensor[role].data = input;
                e.tensor[HUNZE_ROLE_D].data = output;
                char before[16384];
                memcpy(before, block, sizeof before);
                expect_refused(&e, NULL, HUNZE_ERR_ALIAS, operand_name(&e, role));
                harness_check(memcmp(before, block, sizeof before) == 0, "the block changed");
                free(block);
                drop_example(&e);
            }
}

/* C, or the input of an activation, may be the output, but only as the same view. */
static void the_same_view(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLES; kind++) {
        example e;
        make_example(&e, kind, SMALL, context);
        const int role = e.spec->op == HUNZE_OP_ACTIVATION ? HUNZE_ROLE_A : HUNZE_ROLE_C;
        if (e.memory[role]) {
            const size_t bytes = (size_t)hunze_tensor_extent(&e.tensor[role]).high;
            harness_case("%s: in place", e.spec->name);
            e.tensor[HUNZE_ROLE_D].data = e.tensor[role].data;
            const hunze_status status = run_example(context, &e, NULL);
            harness_check(status == HUNZE_OK, "%s", hunze_last_error());
            harness_check(memcmp(e.tensor[role].data, good[kind].tensor[HUNZE_ROLE_D].data, bytes) == 0, "other bits");
            harness_case("%s: in place, transposed", e.spec->name);
            if (e.shape[role][0] != e.shape[role][1]) { /* the same elements would need another shape */
                e.strides[role][0] = 1;
                e.strides[role][1] = e.shape[role][0];
                expect_refused(&e, NULL, HUNZE_ERR_ALIAS, operand_name(&e, role));
            }
        }
        drop_example(&e);
    }
}

/* What a dynamic quantisation writes: codes, scale and zero point. */
static void outputs_on_outputs(void **state)
{
    (void)state;
    static const int roles[] = {HUNZE_ROLE_A, HUNZE_ROLE_D, HUNZE_ROLE_D_SCALE, HUNZE_ROLE_D_ZERO};
    for (int i = 0; i < 4; i++)
        for (int j = 2; j < 4; j++) {
            if (i == j)
                continue;
            example e;
            make_example(&e, example_named("dynamic quantize"), SMALL, context);
            harness_case("dynamic quantize: %s on %s", operand_name(&e, roles[j]), operand_name(&e, roles[i]));
            e.tensor[roles[j]].data = e.tensor[roles[i]].data;
            answer before = copy_outputs(&e);
            const hunze_status status = run_example(context, &e, NULL);
            harness_check(status == HUNZE_ERR_ALIAS, "%s", hunze_status_name(status));
            harness_check(names(hunze_last_error(), operand_name(&e, roles[j])), "the message is: %s",
                          hunze_last_error());
            harness_check(outputs_are(&e, &before), "an output changed");
            drop_answer(&before);
            drop_example(&e);
        }
}

/* Columns of one matrix: a, b, c and d side by side, as the trailing update of a factorisation has them.  Rows of equal strides are compared
 * exactly, so this is taken, and one column less apart is refused. */
static void columns_of_one_matrix(void **state)
{
    (void)state;
    enum { M = 6, K = 4, N = 5, LD = 20 };
    float matrix[M * LD], want[M * N];
    harness_rng rng = {9};
    harness_fill(&rng, HUNZE_TYPE_F32, matrix, M * LD, HARNESS_UNIFORM);
    int64_t a_shape[] = {M, K}, b_shape[] = {K, N}, d_shape[] = {M, N}, ld[] = {LD, 1};
    const hunze_tensor a = {matrix, {HUNZE_DEVICE_CPU, 0}, 2, dtype_of(HUNZE_TYPE_F32), a_shape, ld, 0};
    hunze_tensor b = a, d = a, apart = a;
    b.data = matrix + K;
    b.shape = b_shape;
    d.shape = d_shape;
    for (int at = 0; at + N <= LD; at++) {
        const bool meets = at < K + N;
        harness_case("d from column %d on", at);
        d.data = matrix + at;
        apart = d;
        apart.data = want;
        apart.strides = NULL;
        assert_int_equal(hunze_gemm(context, &a, &b, NULL, &apart, NULL, NULL), HUNZE_OK);
        float before[M * LD];
        memcpy(before, matrix, sizeof before);
        const hunze_status status = hunze_gemm(context, &a, &b, NULL, &d, NULL, NULL);
        harness_check(status == (meets ? HUNZE_ERR_ALIAS : HUNZE_OK), "%s", hunze_status_name(status));
        for (int i = 0; i < M && !meets; i++)
            memcpy(&before[i * LD + at], &want[i * N], sizeof want / M);
        harness_check(memcmp(before, matrix, sizeof before) == 0, "the matrix is not what it should be");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(outputs_on_inputs), cmocka_unit_test(the_same_view),
                                       cmocka_unit_test(outputs_on_outputs), cmocka_unit_test(columns_of_one_matrix)};
    return cmocka_run_group_tests_name("refused overlap", tests, make_good, drop_good);
}
