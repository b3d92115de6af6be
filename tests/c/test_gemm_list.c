/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of products (hunze_gemm_grouped): products of several shapes and types at once, with the bits of each alone; what a run allocates and counts, and
 * which lists are refused.  The same list as groups of rows: test_gemm_grouped.c. */
#include "allocations.h"
#include "json.h"
#include "refused.h"

enum { PRODUCTS = 6 };

/* Small and large products of three types; the large ones have work for several threads. */
typedef struct product_list {
    example examples[PRODUCTS];
    answer answers[PRODUCTS];
    hunze_gemm_group groups[PRODUCTS];
    hunze_gemm_options options;
} product_list;

static void make_list(product_list *l, hunze_context *in)
{
    static const char *const names[] = {"gemm f32", "gemm f64", "gemm bf16"};
    for (int i = 0; i < PRODUCTS; i++) {
        example *e = &l->examples[i];
        make_example(e, example_named(names[i % 3]), i < 3 ? SMALL : LARGE, in);
        l->answers[i] = answer_of(e, in);
        poison_output(e);
        l->groups[i] = (hunze_gemm_group){
            e->call.a, e->call.b, e->call.c, e->call.d, e->options.gemm.bias, e->options.gemm.residual};
    }
    l->options = l->examples[0].options.gemm;
    l->options.bias = l->options.residual = NULL;
}

static void drop_list(product_list *l)
{
    for (int i = 0; i < PRODUCTS; i++) {
        drop_example(&l->examples[i]);
        drop_answer(&l->answers[i]);
    }
}

static void expect_answers(product_list *l)
{
    for (int i = 0; i < PRODUCTS; i++) {
        harness_check(outputs_are(&l->examples[i], &l->answers[i]), "other bits of group %d", i);
        poison_output(&l->examples[i]);
    }
}

/* Of any shapes and types; with a workspace of the size that the library asks for, nothing is allocated. */
static void products_of_different_shapes(void **state)
{
    (void)state;
    static product_list l;
    allocations a = {0};
    hunze_context *counted = counted_context(&a, (hunze_context_options){0});
    make_list(&l, counted);
    for (int32_t threads = 1; threads <= 3; threads++) {
        size_t bytes;
        hunze_run run = {.struct_size = sizeof run, .threads = threads};
        harness_case("%d threads", threads);
        assert_int_equal(hunze_gemm_grouped(counted, l.groups, sizeof l.groups[0], PRODUCTS, &l.options, &run),
                         HUNZE_OK);
        expect_answers(&l);
        assert_int_equal(
            hunze_gemm_grouped_workspace(counted, l.groups, sizeof l.groups[0], PRODUCTS, &l.options, threads, &bytes),
            HUNZE_OK);
        harness_check(bytes > 0 && bytes % 64 == 0, "%zu bytes", bytes);
        char *memory = aligned_alloc(64, bytes + 64);
        memset(memory + bytes, 0x77, 64);
        run.workspace = memory;
        run.workspace_bytes = bytes;
        const int calls = a.calls;
        assert_int_equal(hunze_gemm_grouped(counted, l.groups, sizeof l.groups[0], PRODUCTS, &l.options, &run),
                         HUNZE_OK);
        harness_check(a.calls == calls, "%d allocations in spite of the workspace", a.calls - calls);
        expect_answers(&l);
        for (int i = 0; i < 64; i++)
            harness_check(memory[bytes + (size_t)i] == 0x77, "written beside the workspace");
        run.workspace_bytes = bytes - 64;
        expect_status(hunze_gemm_grouped(counted, l.groups, sizeof l.groups[0], PRODUCTS, &l.options, &run),
                      HUNZE_ERR_WORKSPACE, "workspace");
        run.workspace_bytes = 0;
        expect_status(hunze_gemm_grouped(counted, l.groups, sizeof l.groups[0], PRODUCTS, &l.options, &run),
                      HUNZE_ERR_WORKSPACE, "workspace");
        free(memory);
    }
    drop_list(&l);
    hunze_context_release(counted);
    harness_check(a.live == 0 && a.wrong == 0, "%d blocks were not given back", a.live);
}

/* Later versions' elements are longer. */
static void elements_of_another_size(void **state)
{
    (void)state;
    static product_list l;
    struct {
        hunze_gemm_group group;
        const void *later;
    } longer[PRODUCTS] = {0};
    make_list(&l, context);
    for (int i = 0; i < PRODUCTS; i++)
        longer[i].group = l.groups[i];
    harness_case("longer elements");
    assert_int_equal(hunze_gemm_grouped(context, &longer[0].group, sizeof longer[0], PRODUCTS, &l.options, NULL),
                     HUNZE_OK);
    expect_answers(&l);
    longer[2].later = &l;
    expect_status(hunze_gemm_grouped(context, &longer[0].group, sizeof longer[0], PRODUCTS, &l.options, NULL),
                  HUNZE_ERR_OPTION, "groups[2]");
    harness_case("shorter elements");
    expect_status(hunze_gemm_grouped(context, l.groups, sizeof l.groups[0] - 8, PRODUCTS, &l.options, NULL),
                  HUNZE_ERR_OPTION, "group_size");
    drop_list(&l);
}

static int stop(void *user)
{
    (void)user;
    return 1;
}

static void lists_that_are_refused(void **state)
{
    (void)state;
    static product_list l;
    const size_t size = sizeof l.groups[0];
    make_list(&l, context);
    answer before[PRODUCTS];
    for (int i = 0; i < PRODUCTS; i++)
        before[i] = copy_outputs(&l.examples[i]);
    hunze_gemm_options o = l.options;
    harness_case("lists");
    expect_status(hunze_gemm_grouped(NULL, l.groups, size, 1, &o, NULL), HUNZE_ERR_NULL, "context");
    expect_status(hunze_gemm_grouped(context, NULL, size, 1, &o, NULL), HUNZE_ERR_NULL, "groups");
    expect_status(hunze_gemm_grouped(context, l.groups, size, -1, &o, NULL), HUNZE_ERR_OPTION, "count");
    expect_status(hunze_gemm_grouped(context, l.groups, size, INT64_MAX, &o, NULL), HUNZE_ERR_OVERFLOW, "count");
    expect_status(hunze_gemm_grouped_workspace(context, l.groups, size, 1, &o, 1, NULL), HUNZE_ERR_NULL, "bytes");
    assert_int_equal(hunze_gemm_grouped(context, NULL, size, 0, NULL, NULL), HUNZE_OK);
    o.bias = l.groups[0].bias;
    expect_status(hunze_gemm_grouped(context, l.groups, size, 1, &o, NULL), HUNZE_ERR_OPTION, "bias");
    o = l.options;
    o.residual = l.groups[0].residual;
    expect_status(hunze_gemm_grouped(context, l.groups, size, 1, &o, NULL), HUNZE_ERR_OPTION, "residual");
    o = l.options;
    o.offsets = l.groups[0].bias;
    expect_status(hunze_gemm_grouped(context, l.groups, size, 1, &o, NULL), HUNZE_ERR_OPTION, "offsets");
    o = l.options;
    o.struct_size = 4;
    expect_status(hunze_gemm_grouped(context, l.groups, size, 1, &o, NULL), HUNZE_ERR_OPTION, "hunze_gemm_options");
    o = l.options;
    l.groups[4].b = NULL;
    expect_status(hunze_gemm_grouped(context, l.groups, size, PRODUCTS, &o, NULL), HUNZE_ERR_NULL, "groups[4]: b");
    l.groups[4].b = l.groups[3].b; /* f32 beside f64 */
    expect_status(hunze_gemm_grouped(context, l.groups, size, PRODUCTS, &o, NULL), HUNZE_ERR_DTYPE, "groups[4]: b");
    l.groups[4].b = l.examples[4].call.b;
    l.groups[5].c = NULL;
    expect_status(hunze_gemm_grouped(context, l.groups, size, PRODUCTS, &o, NULL), HUNZE_ERR_NULL, "groups[5]: c");
    l.groups[5].c = l.examples[5].call.c;
    l.groups[3].d = l.groups[3].residual;
    expect_status(hunze_gemm_grouped(context, l.groups, size, PRODUCTS, &o, NULL), HUNZE_ERR_ALIAS, "groups[3]: d");
    l.groups[3].d = l.examples[3].call.d;
    for (int i = 0; i < PRODUCTS; i++) {
        harness_check(outputs_are(&l.examples[i], &before[i]), "output %d changed", i);
        drop_answer(&before[i]);
    }
    harness_case("cancelled");
    const hunze_run run = {.struct_size = sizeof run, .threads = 2, .cancel = stop};
    assert_int_equal(hunze_gemm_grouped(context, l.groups, size, PRODUCTS, &o, &run), HUNZE_ERR_CANCELLED);
    assert_int_equal(hunze_gemm_grouped(context, l.groups, size, 3, &o, &run), HUNZE_ERR_CANCELLED);
    drop_list(&l);
}

static int records;
static void count_record(void *user, const hunze_trace_record *record)
{
    (void)user;
    records += strncmp(record->line, "gemm d=", 7) == 0;
}

/* One call of the sum of all operations; a trace's record of each product. */
static void lists_are_counted(void **state)
{
    (void)state;
    static product_list l;
    char *text;
    const hunze_context_options options = {
        .struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT, .trace = count_record};
    hunze_context *traced = open_context(&options);
    hunze_meter *meter;
    make_list(&l, context);
    harness_case("meter");
    assert_int_equal(hunze_meter_start(context, &meter), HUNZE_OK);
    assert_int_equal(hunze_gemm_grouped(context, l.groups, sizeof l.groups[0], 2, &l.options, NULL), HUNZE_OK);
    assert_int_equal(hunze_meter_stop(meter, &text), HUNZE_OK);
    harness_check(strtol(json_member(text, "calls"), NULL, 10) == 1 &&
                      strtol(json_member(text, "operations"), NULL, 10) == 2 * (5 * 9 * 7 + 4 * 6 * 3) &&
                      strtol(json_member(text, "bytes"), NULL, 10) ==
                          4 * (35 + 63 + 45 + 45 + 9 + 45) + 8 * (12 + 18 + 24 + 24 + 6 + 24),
                  "%s", text);
    hunze_string_free(text);
    harness_case("trace");
    for (int i = 0; i < PRODUCTS; i++)
        poison_output(&l.examples[i]);
    assert_int_equal(hunze_gemm_grouped(traced, l.groups, sizeof l.groups[0], PRODUCTS, &l.options, NULL), HUNZE_OK);
    harness_check(records == PRODUCTS, "%d records", records);
    expect_answers(&l);
    drop_list(&l);
    hunze_context_release(traced);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_different_shapes),
        cmocka_unit_test(elements_of_another_size),
        cmocka_unit_test(lists_that_are_refused),
        cmocka_unit_test(lists_are_counted),
    };
    return cmocka_run_group_tests_name("lists of products", tests, make_good, drop_good);
}
