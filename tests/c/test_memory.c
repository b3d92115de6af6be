/* SPDX-License-Identifier: Apache-2.0 */
/* A context's memory: all of it by the allocator that it was given, given back in full; an allocator that fails; the caller's workspace; what
 * HUNZE_WIPE leaves. */
#include "allocations.h"

#include <unistd.h>

static hunze_context *plain;
static example examples[EXAMPLES];
static answer answers[EXAMPLES];

static int make_examples(void **state)
{
    (void)state;
    plain = make_all("memory", LARGE, examples, answers);
    return 0;
}

static int drop_examples(void **state)
{
    (void)state;
    return drop_all(plain, examples, answers);
}

static void expect_answer(hunze_context *context, int kind, int32_t threads)
{
    const hunze_run run = {.struct_size = sizeof run, .threads = threads};
    poison_output(&examples[kind]);
    const hunze_status status = run_example(context, &examples[kind], &run);
    harness_check(status == HUNZE_OK, "%s", hunze_last_error());
    harness_check(outputs_are(&examples[kind], &answers[kind]), "other bits");
}

/* The C library gives nothing, not even for a moment, where a context has an allocator of its own. */
static void all_memory_is_the_allocators(void **state)
{
    (void)state;
    allocations a = {0};
    const int at_first = library_allocations;
    hunze_context *context = counted_context(&a, (hunze_context_options){.threads = 2});
    harness_check(!SEES_LIBRARY_ALLOCATIONS || library_allocations == at_first + a.calls,
                  "the context itself: %d of %d allocations by the hook", a.calls, library_allocations - at_first);
    for (int turn = 0; turn < 2; turn++)
        for (int kind = 0; kind < EXAMPLES; kind++) {
            const int library = library_allocations, own = a.calls;
            harness_case("%s, turn %d", examples[kind].spec->name, turn);
            expect_answer(context, kind, 1);
            if (SEES_LIBRARY_ALLOCATIONS) /* the hook takes its memory there too */
                harness_check(library_allocations - library == a.calls - own, "%d allocations beside the hook",
                              library_allocations - library - (a.calls - own));
            if (turn && examples[kind].spec->op != HUNZE_OP_PACK)
                harness_check(a.calls == own, "%d allocations for a call that was made before", a.calls - own);
        }
    for (int kind = 0; kind < EXAMPLES; kind++) {
        harness_case("%s, 3 threads", examples[kind].spec->name);
        expect_answer(context, kind, 3);
    }
    hunze_meter *meter;
    assert_int_equal(hunze_meter_start(context, &meter), HUNZE_OK);
    assert_int_equal(hunze_meter_stop(meter, NULL), HUNZE_OK);
    hunze_context_release(context);
    harness_check(a.live == 0 && a.live_bytes == 0, "%d blocks of %zu bytes were not given back", a.live, a.live_bytes);
    harness_check(a.wrong == 0, "%d blocks were given back with another size", a.wrong);
}

/* The n-th allocation fails, for every n: the call says so, has written nothing, and works when it is made again. */
static void an_allocator_that_fails(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads += 2)
        for (int kind = 0; kind < EXAMPLES; kind++) {
            int failures = 0;
            for (int n = 1, more = 1; more; n++) {
                allocations a = {.fail_at = n};
                harness_case("%s, %d threads: allocation %d fails", examples[kind].spec->name, threads, n);
                hunze_context *context = counted_context(&a, (hunze_context_options){0});
                if (context) {
                    const hunze_run run = {.struct_size = sizeof run, .threads = threads};
                    poison_output(&examples[kind]);
                    answer before = copy_outputs(&examples[kind]);
                    const hunze_status status = run_example(context, &examples[kind], &run);
                    more = a.calls >= n;
                    if (status == HUNZE_OK) { /* one worker fewer does not matter */
                        harness_check(!more || threads > 1, "a failure went by unseen");
                        harness_check(outputs_are(&examples[kind], &answers[kind]), "other bits");
                    } else {
                        harness_check(status == HUNZE_ERR_NOMEM, "%s", hunze_status_name(status));
                        harness_check(strstr(hunze_last_error(), "no memory"), "%s", hunze_last_error());
                        harness_check(outputs_are(&examples[kind], &before), "an output changed");
                        failures++;
                    }
                    drop_answer(&before);
                    a.fail_at = 0;
                    expect_answer(context, kind, threads);
                    hunze_context_release(context);
                }
                harness_check(a.live == 0 && a.wrong == 0, "%d blocks were not given back", a.live);
            }
            harness_check(failures > 0 || examples[kind].spec->op == HUNZE_OP_PACK, "no allocation failed");
        }
}

static void plans_and_meters_without_memory(void **state)
{
    (void)state;
    for (int n = 1; n <= 3; n++) {
        allocations a = {0};
        hunze_context *context = counted_context(&a, (hunze_context_options){0});
        hunze_plan *plan = NULL;
        hunze_meter *meter = NULL;
        harness_case("allocation %d fails", n);
        a.fail_at = a.calls + n;
        const hunze_status plan_status = hunze_plan_create(context, &examples[0].call, &plan),
                           meter_status = hunze_meter_start(context, &meter);
        harness_check(plan_status == (n == 1 ? HUNZE_ERR_NOMEM : HUNZE_OK) && !plan == (n == 1), "plan: %s",
                      hunze_status_name(plan_status));
        harness_check(meter_status == (n > 1 ? HUNZE_ERR_NOMEM : HUNZE_OK) && !meter == (n > 1), "meter: %s",
                      hunze_status_name(meter_status));
        if (meter)
            hunze_meter_stop(meter, NULL);
        hunze_plan_release(plan);
        hunze_context_release(context);
        harness_check(a.live == 0 && a.wrong == 0, "%d blocks were not given back", a.live);
    }
}

/* ------------------------------------------------------------------ the caller's workspace */

static void workspaces(void **state)
{
    (void)state;
    static const int32_t thread_counts[] = {1, 2, 3, 7};
    allocations a = {0};
    hunze_context *context = counted_context(&a, (hunze_context_options){0});
    for (int kind = 0; kind < EXAMPLES; kind++)
        for (int i = 0; i < 4 && specs[kind].op != HUNZE_OP_PACK; i++) {
            example *e = &examples[kind];
            hunze_plan *plan;
            assert_int_equal(hunze_plan_create(context, &e->call, &plan), HUNZE_OK);
            const size_t bytes = hunze_plan_workspace(plan, thread_counts[i]);
            hunze_run run = {.struct_size = sizeof run, .threads = thread_counts[i], .workspace_bytes = bytes};
            harness_case("%s: workspace of %zu bytes for %d threads", e->spec->name, bytes, run.threads);
            harness_check(bytes % 64 == 0, "no multiple of 64");
            char *memory = aligned_alloc(64, bytes + 128);
            memset(memory, 0x77, bytes + 128);
            run.workspace = memory + 64;
            poison_output(e);
            assert_int_equal(hunze_plan_run(plan, &e->call, &run), HUNZE_OK); /* starts the workers */
            const int calls = a.calls;
            poison_output(e);
            assert_int_equal(hunze_plan_run(plan, &e->call, &run), HUNZE_OK);
            harness_check(outputs_are(e, &answers[kind]), "other bits");
            harness_check(a.calls == calls, "%d allocations in spite of the workspace", a.calls - calls);
            for (size_t at = 0; at < 64; at++)
                harness_check(memory[at] == 0x77 && memory[64 + bytes + at] == 0x77, "written beside the workspace");
            if (bytes > 0) {
                run.workspace_bytes = bytes - 1;
                poison_output(e);
                answer before = copy_outputs(e);
                const hunze_status status = hunze_plan_run(plan, &e->call, &run);
                harness_check(status == HUNZE_ERR_WORKSPACE && outputs_are(e, &before), "a byte less: %s",
                              hunze_status_name(status));
                drop_answer(&before);
            }
            harness_check(hunze_plan_workspace(plan, -1) == 0 && hunze_plan_workspace(plan, 513) == 0,
                          "a size for threads that there cannot be");
            free(memory);
            hunze_plan_release(plan);
        }
    hunze_context_release(context);
    harness_check(a.live == 0 && a.wrong == 0, "%d blocks were not given back", a.live);
}

/* Products that nobody could compute in a test: their plans say what they would take. */
static void scratch_is_bounded(void **state)
{
    (void)state;
    enum { MOST = 16 << 20 }; /* for each thread */
    static const struct {
        hunze_type a, b, d;
    } types[] = {
        {HUNZE_TYPE_F32, HUNZE_TYPE_F32, HUNZE_TYPE_F32},   {HUNZE_TYPE_F64, HUNZE_TYPE_F64, HUNZE_TYPE_F64},
        {HUNZE_TYPE_BF16, HUNZE_TYPE_BF16, HUNZE_TYPE_F32}, {HUNZE_TYPE_BF16, HUNZE_TYPE_BF16, HUNZE_TYPE_BF16},
        {HUNZE_TYPE_F16, HUNZE_TYPE_F16, HUNZE_TYPE_F16},   {HUNZE_TYPE_U8, HUNZE_TYPE_S8, HUNZE_TYPE_S32},
        {HUNZE_TYPE_U8, HUNZE_TYPE_U8, HUNZE_TYPE_S32},     {HUNZE_TYPE_S16, HUNZE_TYPE_S16, HUNZE_TYPE_S16},
        {HUNZE_TYPE_S64, HUNZE_TYPE_S64, HUNZE_TYPE_S64}};
    static const int64_t ms[] = {1, 7, 16, 100, 700, 5000, 300000}, ns[] = {1, 33, 2000, 100000},
                         ks[] = {1, 64, 2000, 20000, 130000, 3000000};
    static const int32_t thread_counts[] = {1, 2, 5};
    for (size_t type = 0; type < sizeof types / sizeof *types; type++)
        for (int shape = 0; shape < 7 * 4 * 6; shape++)
            for (int form = 0; form < 4; form++) { /* B and D by columns, or not */
                const int64_t m = ms[shape % 7], n = ns[shape / 7 % 4], k = ks[shape / 28];
                const hunze_type of[] = {types[type].a, types[type].b, types[type].d};
                const int64_t extents[][2] = {{m, k}, {k, n}, {m, n}};
                const int64_t strides[][2] = {
                    {k, 1}, {form & 1 ? 1 : n, form & 1 ? k : 1}, {form & 2 ? 1 : n, form & 2 ? m : 1}};
                hunze_tensor tensors[3];
                for (int i = 0; i < 3; i++)
                    tensors[i] = (hunze_tensor){.data = (void *)((uintptr_t)(i + 1) << 44),
                                                .device = {HUNZE_DEVICE_CPU, 0},
                                                .ndim = 2,
                                                .dtype = harness_dtype(of[i]),
                                                .shape = (int64_t *)extents[i],
                                                .strides = (int64_t *)strides[i]};
                const hunze_gemm_options options = {.struct_size = sizeof options};
                const hunze_call call = {.struct_size = sizeof call,
                                         .op = HUNZE_OP_GEMM,
                                         .a = &tensors[0],
                                         .b = &tensors[1],
                                         .d = &tensors[2],
                                         .options = &options};
                hunze_plan *plan;
                const hunze_status status = hunze_plan_create(plain, &call, &plan);
                if (status == HUNZE_ERR_OVERFLOW)
                    continue; /* k beyond what sums of 8-bit products hold */
                harness_case("%lld x %lld x %lld, %s, form %d", (long long)m, (long long)n, (long long)k,
                             hunze_plan_kernel(plan), form);
                for (int i = 0; i < 3; i++) {
                    const size_t bytes = hunze_plan_workspace(plan, thread_counts[i]);
                    harness_check(bytes <= (size_t)MOST * (size_t)thread_counts[i],
                                  "%zu bytes of scratch for %d threads", bytes, thread_counts[i]);
                }
                hunze_plan_release(plan);
            }
}

/* ------------------------------------------------------------------ HUNZE_WIPE */

static const uint32_t secret = 0x3f5ec4e7;
static int secrets;

static void look_for_secrets(const void *memory, size_t bytes)
{
    for (size_t at = 0; at + 4 <= bytes; at += 4)
        secrets += memcmp((const char *)memory + at, &secret, 4) == 0;
}

/* Operands full of one value: without the flag it is found in the scratch that is given back, with it not. */
static void scratch_is_wiped(void **state)
{
    (void)state;
    int without = 0;
    for (int wipe = 0; wipe < 2; wipe++)
        for (int kind = 0; kind < EXAMPLES; kind++) {
            if (specs[kind].a != HUNZE_TYPE_F32)
                continue;
            allocations a = {.watch = look_for_secrets};
            example e;
            make_example(&e, kind, LARGE, plain);
            for (size_t at = 64; at + 64 < e.bytes[HUNZE_ROLE_A]; at += 4)
                memcpy(e.memory[HUNZE_ROLE_A] + at, &secret, 4);
            hunze_context *context = counted_context(&a, (hunze_context_options){.flags = wipe ? HUNZE_WIPE : 0});
            secrets = 0;
            harness_case("%s, %s", e.spec->name, wipe ? "wiped" : "not wiped");
            assert_int_equal(run_example(context, &e, &(hunze_run){.struct_size = sizeof(hunze_run), .threads = 2}),
                             HUNZE_OK);
            hunze_context_release(context);
            harness_check(!wipe || secrets == 0, "%d elements of an operand are left in scratch", secrets);
            without += secrets;
            drop_example(&e);
        }
    harness_check(without > 0, "no scratch ever held an operand: this test sees nothing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_memory_is_the_allocators),
                                       cmocka_unit_test(an_allocator_that_fails),
                                       cmocka_unit_test(plans_and_meters_without_memory),
                                       cmocka_unit_test(workspaces),
                                       cmocka_unit_test(scratch_is_bounded),
                                       cmocka_unit_test(scratch_is_wiped)};
    return cmocka_run_group_tests_name("memory", tests, make_examples, drop_examples);
}
