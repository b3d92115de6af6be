/* SPDX-License-Identifier: Apache-2.0 */
/* Option structs that no call may have: sizes, tails and flags of each operation's struct, and the run-time arguments. */
#include "refused.h"

static const char *struct_name(const example *e)
{
    return is_gemm(e)       ? "hunze_gemm_options"
           : is_conv(e)     ? "hunze_conv_options"
           : is_quantize(e) ? "hunze_quantize_options"
           : is_pack(e)     ? "hunze_pack_options"
                            : "hunze_activation_options";
}

static uint32_t struct_bytes(const example *e)
{
    return is_gemm(e)       ? sizeof(hunze_gemm_options)
           : is_conv(e)     ? sizeof(hunze_conv_options)
           : is_quantize(e) ? sizeof(hunze_quantize_options)
           : is_pack(e)     ? sizeof(hunze_pack_options)
                            : sizeof(hunze_activation_options);
}

/* ------------------------------------------------------------------ sizes, tails and flags */

static void sizes_and_tails(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLES; kind++) {
        const uint32_t known = struct_bytes(&good[kind]);
        const struct {
            uint32_t size, dirty; /* dirty: a byte that is not zero; 0: none */
            hunze_status status;
        } cases[] = {{0, 0, HUNZE_ERR_OPTION},
                     {4, 0, HUNZE_ERR_OPTION},
                     {known - 1, 0, HUNZE_ERR_OPTION},
                     {known + 1, 0, HUNZE_OK},
                     {known + 40, 0, HUNZE_OK},
                     {known + 40, known, HUNZE_ERR_OPTION},
                     {known + 40, known + 39, HUNZE_ERR_OPTION},
                     {known + 40, known + 40, HUNZE_OK}};
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            example e;
            make_example(&e, kind, SMALL, context);
            harness_case("%s: struct_size %u of %u, byte %u", e.spec->name, cases[i].size, known, cases[i].dirty);
            e.options.any.struct_size = cases[i].size;
            memset(e.options.room + known, 0, sizeof e.options.room - known);
            if (cases[i].dirty)
                e.options.room[cases[i].dirty] = 1;
            if (cases[i].status) {
                expect_refused(&e, NULL, cases[i].status, struct_name(&e));
                expect_no_plan(&e, cases[i].status, struct_name(&e));
            } else {
                poison_output(&e);
                const hunze_status status = run_example(context, &e, NULL);
                harness_check(status == HUNZE_OK && outputs_are(&e, &answers[kind]), "%s", hunze_status_name(status));
            }
            drop_example(&e);
        }
    }
}

static void flags(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLES; kind++)
        for (int bit = 0; bit < 32; bit++) {
            example e;
            make_example(&e, kind, SMALL, context);
            harness_case("%s: flag %d", e.spec->name, bit);
            e.options.any.flags = 1u << bit;
            const bool fast_is_refused = 1u << bit == HUNZE_REQUIRE_FAST && hunze_cpu_bundles() == 1;
            if (bit > 5 || 1u << bit == HUNZE_IGNORE_ENVIRONMENT) { /* the latter belongs to contexts */
                expect_refused(&e, NULL, HUNZE_ERR_OPTION, struct_name(&e));
            } else if (!fast_is_refused) {
                poison_output(&e);
                const hunze_status status = run_example(context, &e, NULL);
                harness_check(status == HUNZE_OK && outputs_are(&e, &answers[kind]), "%s: %s",
                              hunze_status_name(status), hunze_last_error());
            }
            drop_example(&e);
        }
}

/* ------------------------------------------------------------------ hunze_run */

static void run_time_arguments(void **state)
{
    (void)state;
    static struct {
        hunze_run known;
        char tail[16];
    } later;
    _Alignas(64) static char workspace[128];
    const hunze_run plain = {.struct_size = sizeof plain};
    hunze_run size = plain, below = plain, above = plain, stream = plain, apart = plain;
    size.struct_size = sizeof size - 8;
    below.threads = -1;
    above.threads = 513;
    stream.stream = workspace;
    apart.workspace = workspace + 8;
    apart.workspace_bytes = sizeof workspace - 8;
    later.known = plain;
    later.known.struct_size = sizeof later;
    later.tail[8] = 1;
    const struct {
        const char *name;
        const hunze_run *run;
        hunze_status status;
        const char *named;
    } cases[] = {{"a short struct", &size, HUNZE_ERR_OPTION, "hunze_run"},
                 {"a later struct", &later.known, HUNZE_ERR_OPTION, "hunze_run"},
                 {"threads -1", &below, HUNZE_ERR_OPTION, "hunze_run.threads"},
                 {"threads 513", &above, HUNZE_ERR_OPTION, "hunze_run.threads"},
                 {"a stream", &stream, HUNZE_ERR_OPTION, "hunze_run.stream"},
                 {"a workspace apart", &apart, HUNZE_ERR_ALIGN, "hunze_run.workspace"}};
    for (int kind = 0; kind < EXAMPLES; kind++)
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            example e;
            make_example(&e, kind, SMALL, context);
            harness_case("%s: %s", e.spec->name, cases[i].name);
            expect_refused(&e, cases[i].run, cases[i].status, cases[i].named);
            drop_example(&e);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes_and_tails), cmocka_unit_test(flags),
                                       cmocka_unit_test(run_time_arguments)};
    return cmocka_run_group_tests_name("refused options", tests, make_good, drop_good);
}
