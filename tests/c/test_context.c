/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: their options and what is refused, the environment, references, and what a context says about itself. */
#include "example.h"

static void expect_no_context(const hunze_context_options *options, hunze_status wanted, const char *named)
{
    hunze_context *context = NULL;
    const hunze_status status = hunze_context_create(options, &context);
    harness_check(status == wanted, "%s (%s), not %s", hunze_status_name(status), hunze_last_error(),
                  hunze_status_name(wanted));
    harness_check(!context, "a context came out");
    harness_check(strstr(hunze_last_error(), named), "the message does not name %s: %s", named, hunze_last_error());
}

static void options_that_are_refused(void **state)
{
    (void)state;
    const uint32_t known = sizeof(hunze_context_options);
    const hunze_context_options plain = {.struct_size = known, .flags = HUNZE_IGNORE_ENVIRONMENT};
    hunze_context_options options[12];
    for (int i = 0; i < 12; i++)
        options[i] = plain;
    options[0].struct_size = 0;
    options[1].struct_size = known - 8;
    options[2].flags |= 1u << 6;
    options[3].flags |= 1u << 31;
    options[4].threads = -1;
    options[5].threads = 513;
    options[6].plan_cache = -1;
    options[7].plan_cache = (1 << 20) + 1;
    options[8].isa = "sse9";
    options[9].isa = "AVX2";
    options[10].isa = "a name that is much longer than any instruction set has ever had until today";
    options[11].isa = "avx";
    static const char *const named[] = {"hunze_context_options",
                                        "hunze_context_options",
                                        "flags",
                                        "flags",
                                        "threads",
                                        "threads",
                                        "plan_cache",
                                        "plan_cache",
                                        "sse9",
                                        "AVX2",
                                        "a name that is",
                                        "avx"};
    for (int i = 0; i < 12; i++) {
        harness_case("options %d, about %s", i, named[i]);
        expect_no_context(&options[i], HUNZE_ERR_OPTION, named[i]);
    }
    harness_case("nowhere to put it");
    harness_check(hunze_context_create(&plain, NULL) == HUNZE_ERR_NULL, "not refused");
}

/* Structs of later versions: taken where the tail is zero. */
static void sizes_and_tails(void **state)
{
    (void)state;
    static struct {
        hunze_context_options known;
        char tail[24];
    } options;
    static struct {
        hunze_allocator known;
        char tail[24];
    } allocator;
    for (int dirty = -1; dirty < 24; dirty++) {
        memset(options.tail, 0, sizeof options.tail);
        options.known = (hunze_context_options){.struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT};
        harness_case("byte %d behind the options", dirty);
        if (dirty < 0) {
            hunze_context_release(open_context(&options.known));
        } else {
            options.tail[dirty] = 1;
            expect_no_context(&options.known, HUNZE_ERR_OPTION, "hunze_context_options");
        }
    }
    memset(options.tail, 0, sizeof options.tail);
    options.known.allocator = &allocator.known;
    const struct {
        hunze_allocator allocator;
        hunze_status status;
        char tail;
    } cases[] = {
        {{sizeof allocator.known - 8, 0, NULL, NULL, NULL}, HUNZE_ERR_OPTION, 0},
        {{sizeof allocator, 0, NULL, NULL, NULL}, HUNZE_ERR_OPTION, 1},
        {{sizeof allocator, 1, NULL, NULL, NULL}, HUNZE_ERR_OPTION, 0},
        {{sizeof allocator, 0, NULL, NULL, NULL}, HUNZE_ERR_NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        harness_case("allocator %zu", i);
        allocator.known = cases[i].allocator;
        allocator.tail[0] = cases[i].tail;
        expect_no_context(&options.known, cases[i].status, "hunze_allocator");
    }
}

/* ------------------------------------------------------------------ threads and the environment */

static void threads_of_a_context(void **state)
{
    (void)state;
    static const struct {
        const char *environment;
        int32_t option, threads; /* threads: 0 for as many as there are cores, -1 for an error */
        uint32_t flags;
    } cases[] = {
        {NULL, 0, 0, 0},   {NULL, 5, 5, 0},    {"", 0, 0, 0},      {"7", 0, 7, 0},
        {"7", 5, 5, 0},    {"512", 0, 512, 0}, {"513", 0, -1, 0},  {"0", 0, -1, 0},
        {"-1", 0, -1, 0},  {"2x", 0, -1, 0},   {"many", 0, -1, 0}, {"many", 0, 0, HUNZE_IGNORE_ENVIRONMENT},
        {"many", 3, 3, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const hunze_context_options options = {
            .struct_size = sizeof options, .flags = cases[i].flags, .threads = cases[i].option};
        harness_case("HUNZE_NUM_THREADS=%s, option %d", cases[i].environment ? cases[i].environment : "(unset)",
                     cases[i].option);
        if (cases[i].environment)
            setenv("HUNZE_NUM_THREADS", cases[i].environment, 1);
        if (cases[i].threads < 0) {
            expect_no_context(&options, HUNZE_ERR_OPTION, "HUNZE_NUM_THREADS");
        } else {
            hunze_context *context = open_context(&options);
            setenv("HUNZE_NUM_THREADS", "9", 1); /* read once */
            const int32_t threads = hunze_context_threads(context);
            harness_check(cases[i].threads ? threads == cases[i].threads : threads >= 1 && threads <= 512, "%d threads",
                          threads);
            harness_check(hunze_context_set_threads(context, 4) == HUNZE_OK && hunze_context_threads(context) == 4,
                          "4 were not taken");
            harness_check(hunze_context_set_threads(context, -1) == HUNZE_ERR_OPTION &&
                              hunze_context_set_threads(context, 513) == HUNZE_ERR_OPTION &&
                              hunze_context_threads(context) == 4,
                          "-1 or 513 were taken");
            harness_check(hunze_context_set_threads(context, 0) == HUNZE_OK &&
                              hunze_context_threads(context) == threads,
                          "0 does not restore the default");
            hunze_context_release(context);
        }
        unsetenv("HUNZE_NUM_THREADS");
    }
}

static void null_contexts(void **state)
{
    (void)state;
    char *text = NULL;
    hunze_meter *meter = NULL;
    hunze_plan *plan = NULL;
    size_t bytes = 0;
    const hunze_call call = {.struct_size = sizeof call, .op = HUNZE_OP_GEMM};
    hunze_context *context = open_context(NULL);
    hunze_context_release(NULL);
    hunze_plan_release(NULL);
    hunze_string_free(NULL);
    harness_case("NULL");
    harness_check(hunze_context_threads(NULL) == 0, "threads");
    harness_check(hunze_context_set_threads(NULL, 1) == HUNZE_ERR_NULL, "set_threads");
    harness_check(hunze_context_info(NULL, &text) == HUNZE_ERR_NULL, "info");
    harness_check(hunze_context_info(context, NULL) == HUNZE_ERR_NULL, "info to nowhere");
    harness_check(hunze_meter_start(NULL, &meter) == HUNZE_ERR_NULL, "meter");
    harness_check(hunze_meter_start(context, NULL) == HUNZE_ERR_NULL, "meter to nowhere");
    harness_check(hunze_meter_stop(NULL, &text) == HUNZE_ERR_NULL, "meter_stop");
    harness_check(hunze_plan_create(NULL, &call, &plan) == HUNZE_ERR_NULL, "plan");
    harness_check(hunze_plan_create(context, NULL, &plan) == HUNZE_ERR_NULL, "plan of no call");
    harness_check(hunze_plan_create(context, &call, NULL) == HUNZE_ERR_NULL, "plan to nowhere");
    harness_check(hunze_plan_run(NULL, &call, NULL) == HUNZE_ERR_NULL, "plan_run");
    harness_check(hunze_plan_explain(NULL, &text) == HUNZE_ERR_NULL, "explain");
    harness_check(hunze_plan_workspace(NULL, 1) == 0 && !*hunze_plan_kernel(NULL), "workspace and kernel");
    harness_check(hunze_pack_size(NULL, NULL, NULL, &bytes) == HUNZE_ERR_NULL, "pack_size");
    harness_check(hunze_pack_size(context, NULL, NULL, &bytes) == HUNZE_ERR_NULL, "pack_size of nothing");
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ status and versions */

static void every_status_has_its_name(void **state)
{
    (void)state;
    for (int i = 0; i <= HUNZE_ERR_SLOW; i++) {
        const char *name = hunze_status_name((hunze_status)i);
        harness_case("status %d", i);
        harness_check(i ? strncmp(name, "HUNZE_ERR_", 10) == 0 && strcmp(name, "HUNZE_ERR_UNKNOWN") != 0
                        : strcmp(name, "HUNZE_OK") == 0,
                      "%s", name);
        for (int j = 0; j < i; j++)
            harness_check(strcmp(name, hunze_status_name((hunze_status)j)) != 0, "%s twice", name);
    }
    harness_check(strcmp(hunze_status_name((hunze_status)99), "HUNZE_ERR_UNKNOWN") == 0, "99");
    harness_check(hunze_abi_version() == HUNZE_ABI_VERSION && strcmp(hunze_version(), HUNZE_VERSION) == 0, "versions");
}

static int begin(void **state)
{
    (void)state;
    harness_begin("context");
    unsetenv("HUNZE_NUM_THREADS");
    unsetenv("HUNZE_ISA");
    return *hunze_last_error() != 0; /* "" if none failed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(options_that_are_refused), cmocka_unit_test(sizes_and_tails),
                                       cmocka_unit_test(threads_of_a_context), cmocka_unit_test(null_contexts),
                                       cmocka_unit_test(every_status_has_its_name)};
    return cmocka_run_group_tests_name("contexts", tests, begin, NULL);
}
