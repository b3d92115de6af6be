/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatch: bundles from made-up CPUs, HUNZE_ISA, rows forced by name, HUNZE_REQUIRE_FAST. */
#include "context.h"
#include "example.h"
#include "json.h"

enum { NAMES = HUNZE_ISA_CPU_COUNT };
static const char *const names[NAMES] = {"portable", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"};

static int begin(void **state)
{
    (void)state;
    harness_begin("cpu");
    unsetenv("HUNZE_ISA");
    unsetenv("HUNZE_NUM_THREADS");
    return 0;
}

/* ------------------------------------------------------------------ bundles */

#if defined(__x86_64__)
/* Bits as Intel's and AMD's manuals number them. */
enum {
    FMA = 1 << 12,
    OSXSAVE = 1 << 27,
    AVX = 1 << 28,
    F16C = 1 << 29,
    LEAF1 = FMA | OSXSAVE | AVX | F16C,
    AVX2 = 1 << 5,
    F = 1 << 16,
    DQ = 1 << 17,
    BW = 1 << 30,
    LEAF7_AVX512 = F | DQ | BW,
    VNNI = 1 << 11,
    AVXVNNI = 1 << 4,
    BF16 = 1 << 5,
    XMM = 2,
    YMM = 4,
    ZMM = 0xe0
};
static const uint32_t VL = 1u << 31;
enum {
    P = 1 << HUNZE_ISA_PORTABLE,
    A2 = P | 1 << HUNZE_ISA_AVX2,
    AV = 1 << HUNZE_ISA_AVXVNNI,
    A5 = A2 | 1 << HUNZE_ISA_AVX512,
    V5 = 1 << HUNZE_ISA_AVX512VNNI,
    B5 = 1 << HUNZE_ISA_AVX512BF16
};

static void vectors_in_halves(void **state)
{
    (void)state;
    const uint32_t amd = 0x68747541, intel = 0x756e6547;
    const struct {
        const char *name;
        uint32_t vendor, signature;
        bool halves;
    } cpus[] = {
        {"Zen 2", amd, 0x00830f10, false},
        {"Zen 4", amd, 0x00a10f11, true},
        {"Zen 5", amd, 0x00b00f21, false},
        {"Sapphire Rapids", intel, 0x000806f8, false},
        {"another vendor's", intel, 0x00a10f11, false},
    };
    for (size_t i = 0; i < sizeof cpus / sizeof cpus[0]; i++)
        harness_check(hunze_cpu_halves_512_from(cpus[i].vendor, cpus[i].signature) == cpus[i].halves, "%s",
                      cpus[i].name);
}

static void made_up_cpus(void **state)
{
    (void)state;
    const uint32_t all = AVX2 | LEAF7_AVX512 | VL, older = AVX2;
    const struct {
        const char *name;
        hunze_cpuid id;
        uint32_t bundles;
    } cpus[] = {
        {"nothing", {0, 0, 0, 0, 0}, P},
        {"Haswell", {LEAF1, older, 0, 0, XMM | YMM}, A2},
        {"Haswell, ymm not saved", {LEAF1, older, 0, 0, XMM}, P},
        {"Haswell, xmm not saved", {LEAF1, older, 0, 0, YMM}, P},
        {"Haswell, xgetbv not enabled", {LEAF1 & ~OSXSAVE, older, 0, 0, XMM | YMM}, P},
        {"without FMA", {LEAF1 & ~FMA, older, 0, 0, XMM | YMM}, P},
        {"without F16C", {LEAF1 & ~F16C, older, 0, 0, XMM | YMM}, P},
        {"without AVX", {LEAF1 & ~AVX, older, 0, 0, XMM | YMM}, P},
        {"Sandy Bridge", {LEAF1, 0, 0, 0, XMM | YMM}, P},
        {"Alder Lake", {LEAF1, older, 0, AVXVNNI, XMM | YMM}, A2 | AV},
        {"Skylake-X", {LEAF1, all, 0, 0, XMM | YMM | ZMM}, A5},
        {"Skylake-X, zmm not saved", {LEAF1, all, 0, 0, XMM | YMM}, A2},
        {"Skylake-X, masks not saved", {LEAF1, all, 0, 0, XMM | YMM | 0xc0}, A2},
        {"Skylake-X, upper halves not saved", {LEAF1, all, 0, 0, XMM | YMM | 0xa0}, A2},
        {"Skylake-X, zmm16 to 31 not saved", {LEAF1, all, 0, 0, XMM | YMM | 0x60}, A2},
        {"Knights Landing", {LEAF1, AVX2 | F, 0, 0, XMM | YMM | ZMM}, A2},
        {"AVX-512 without BW", {LEAF1, all & ~(uint32_t)BW, VNNI, BF16, XMM | YMM | ZMM}, A2},
        {"AVX-512 without DQ", {LEAF1, all & ~(uint32_t)DQ, VNNI, BF16, XMM | YMM | ZMM}, A2},
        {"AVX-512 without VL", {LEAF1, all & ~VL, VNNI, BF16, XMM | YMM | ZMM}, A2},
        {"AVX-512 without AVX2", {LEAF1, all & ~(uint32_t)AVX2, VNNI, BF16, XMM | YMM | ZMM}, P},
        {"Cascade Lake", {LEAF1, all, VNNI, 0, XMM | YMM | ZMM}, A5 | V5},
        {"Sapphire Rapids", {LEAF1, all, VNNI, AVXVNNI | BF16, XMM | YMM | ZMM}, A5 | V5 | B5 | AV},
        {"Sapphire Rapids, zmm not saved", {LEAF1, all, VNNI, AVXVNNI | BF16, XMM | YMM}, A2 | AV},
    };
    for (size_t i = 0; i < sizeof cpus / sizeof cpus[0]; i++) {
        harness_case("%s", cpus[i].name);
        const uint32_t bundles = hunze_cpu_bundles_from(&cpus[i].id);
        harness_check(bundles == cpus[i].bundles, "bundles %x, not %x", bundles, cpus[i].bundles);
    }
}
#endif

static void this_cpu(void **state)
{
    (void)state;
    harness_case("this CPU");
    harness_check(hunze_cpu_bundles() == harness_bundles(), "bundles %x; the compiler's runtime finds %x",
                  hunze_cpu_bundles(), harness_bundles());
    char name[49];
    memset(name, 'x', sizeof name);
    hunze_cpu_name(name);
    harness_check(memchr(name, 0, sizeof name) && *name, "no name");
}

/* ------------------------------------------------------------------ HUNZE_ISA, and what a context may use */

/* Whether the array member lists the bundle. */
static bool lists(const char *info, const char *member, const char *bundle)
{
    const char *at = json_member(info, member), *end = strchr(at, ']');
    char quoted[32];
    snprintf(quoted, sizeof quoted, "\"%s\"", bundle);
    const char *found = strstr(at, quoted);
    return found && found < end;
}

static void expect_isa(hunze_isa isa, const char *environment, const char *option, uint32_t flags)
{
    const hunze_context_options options = {.struct_size = sizeof options, .isa = option, .flags = flags};
    hunze_context *context = NULL;
    if (environment)
        setenv("HUNZE_ISA", environment, 1);
    const hunze_status status = hunze_context_create(&options, &context);
    unsetenv("HUNZE_ISA");
    const char *from = option ? "isa" : "HUNZE_ISA";
    if (isa == HUNZE_ISA_CPU_COUNT) { /* not known */
        harness_check(status == HUNZE_ERR_OPTION && strstr(hunze_last_error(), from), "%s: %s",
                      hunze_status_name(status), hunze_last_error());
        harness_check(strstr(hunze_last_error(), "portable, avx2"), "those known are not named: %s",
                      hunze_last_error());
    } else if (!(hunze_cpu_bundles() & 1u << isa)) {
        harness_check(status == HUNZE_ERR_UNSUPPORTED && strstr(hunze_last_error(), from) &&
                          strstr(hunze_last_error(), names[isa]),
                      "%s: %s", hunze_status_name(status), hunze_last_error());
    } else {
        char *info = NULL;
        harness_check(status == HUNZE_OK, "%s", hunze_last_error());
        assert_int_equal(hunze_context_info(context, &info), HUNZE_OK);
        for (int i = 0; i < NAMES; i++) {
            const bool found = hunze_cpu_bundles() & 1u << i, implied = hunze_isa_implied(isa) & 1u << i;
            harness_check(lists(info, "found", names[i]) == found, "found %s", names[i]);
            harness_check(lists(info, "allowed", names[i]) == (found && implied), "allowed %s: %s", names[i], info);
        }
        hunze_string_free(info);
        hunze_context_release(context);
    }
}

static void environment_and_option(void **state)
{
    (void)state;
    static const char *const unknown[] = {"sse2", "AVX2", "avx512 ", " avx2", "avx2,avx512", "none", "0"};
    static const uint32_t implied[NAMES] = {0x01, 0x03, 0x07, 0x0b, 0x1b, 0x3b}; /* avxvnni is not part of avx512vnni */
    for (int i = 0; i < NAMES; i++) {
        hunze_isa isa;
        harness_case("%s and what it implies", names[i]);
        harness_check(hunze_isa_parse(names[i], &isa) && (int)isa == i && strcmp(hunze_isa_name(isa), names[i]) == 0,
                      "the name");
        harness_check(hunze_isa_implied(isa) == implied[i], "%x, not %x", hunze_isa_implied(isa), implied[i]);
    }
    for (int i = 0; i < NAMES; i++) {
        harness_case("HUNZE_ISA=%s", names[i]);
        expect_isa((hunze_isa)i, names[i], NULL, 0);
        harness_case("isa %s", names[i]);
        expect_isa((hunze_isa)i, NULL, names[i], 0);
        harness_case("isa %s against the environment", names[i]);
        expect_isa((hunze_isa)i, "no such thing", names[i], 0);
    }
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        harness_case("\"%s\"", unknown[i]);
        expect_isa(HUNZE_ISA_CPU_COUNT, unknown[i], NULL, 0);
        expect_isa(HUNZE_ISA_CPU_COUNT, NULL, unknown[i], 0);
    }
    const char *const free_choice[][2] = {{"", NULL}, {NULL, NULL}, {"sse2", NULL}, {"sse2", ""}};
    for (int i = 0; i < 4; i++) { /* all that is found */
        hunze_context *context;
        harness_case("free choice %d", i);
        if (free_choice[i][0])
            setenv("HUNZE_ISA", free_choice[i][0], 1);
        const hunze_context_options options = {
            .struct_size = sizeof options, .isa = free_choice[i][1], .flags = i == 2 ? HUNZE_IGNORE_ENVIRONMENT : 0};
        context = open_context(&options);
        unsetenv("HUNZE_ISA");
        harness_check(context->allowed == hunze_cpu_bundles(), "allowed are %x", context->allowed);
        hunze_context_release(context);
    }
}

/* What a context on a smaller CPU chooses, it may use; forced by name, a row runs or says why not. */
static void rows_on_smaller_cpus(void **state)
{
    (void)state;
    hunze_context *native = open_context(NULL);
    for (int isa = 0; isa < NAMES; isa++)
        for (int how = 0; how < 2; how++) { /* the context does not allow more; the CPU has no more */
            const uint32_t allowed = hunze_isa_implied((hunze_isa)isa) & hunze_cpu_bundles();
            hunze_context *context = open_context(NULL);
            context->allowed = allowed;
            if (how)
                context->bundles = allowed;
            for (int kind = 0; kind < EXAMPLES; kind++) {
                if (specs[kind].op == HUNZE_OP_PACK || specs[kind].with & PACKED)
                    continue;
                example e;
                hunze_plan *plan = NULL;
                make_example(&e, kind, SMALL, native);
                harness_case("%s on %s", e.spec->name, names[isa]);
                assert_int_equal(hunze_plan_create(context, &e.call, &plan), HUNZE_OK);
                const char *chosen = hunze_plan_kernel(plan);
                int forced = 0, refused = 0;
                for (const hunze_row *row = hunze_rows; row->name; row++) {
                    harness_check(strcmp(row->name, chosen) != 0 || allowed & 1u << row->isa, "%s was chosen", chosen);
                    const char **const field = e.spec->op == HUNZE_OP_GEMM         ? &e.options.gemm.kernel
                                               : e.spec->op == HUNZE_OP_ACTIVATION ? &e.options.activate.kernel
                                               : e.call.b                          ? &e.options.conv.kernel
                                                                                   : &e.options.quantize.kernel;
                    hunze_plan *one = NULL;
                    *field = row->name;
                    const hunze_status status = hunze_plan_create(context, &e.call, &one);
                    *field = NULL;
                    if (status == HUNZE_OK) {
                        harness_check(strcmp(hunze_plan_kernel(one), row->name) == 0, "%s was forced, %s chosen",
                                      row->name, hunze_plan_kernel(one));
                        harness_check(allowed & 1u << row->isa, "%s was forced where it cannot run", row->name);
                        hunze_plan_release(one);
                        forced++;
                    } else {
                        harness_check(status == HUNZE_ERR_UNSUPPORTED && strstr(hunze_last_error(), row->name),
                                      "%s: %s: %s", row->name, hunze_status_name(status), hunze_last_error());
                        refused++;
                    }
                }
                harness_check(forced > 0 && refused > 0, "%d rows ran, %d were refused", forced, refused);
                hunze_plan_release(plan);
                drop_example(&e);
            }
            hunze_context_release(context);
        }
    hunze_context_release(native);
}

static void fast_is_required(void **state)
{
    (void)state;
    hunze_context *native = open_context(NULL);
    for (int portable = 0; portable < 2; portable++)
        for (int by_call = 0; by_call < 2; by_call++) {
            const hunze_context_options options = {.struct_size = sizeof options,
                                                   .flags =
                                                       HUNZE_IGNORE_ENVIRONMENT | (by_call ? 0 : HUNZE_REQUIRE_FAST),
                                                   .isa = portable ? "portable" : NULL};
            hunze_context *context = open_context(&options);
            const bool slow = portable || hunze_cpu_bundles() == 1;
            for (int kind = 0; kind < EXAMPLES; kind++) {
                if (specs[kind].with & PACKED)
                    continue;
                example e;
                make_example(&e, kind, SMALL, native);
                e.options.any.flags = by_call ? HUNZE_REQUIRE_FAST : 0;
                poison_output(&e);
                answer before = copy_outputs(&e);
                harness_case("%s, %s, by %s", e.spec->name, portable ? "portable" : "all",
                             by_call ? "call" : "context");
                const hunze_status status = run_example(context, &e, NULL);
                harness_check(status == (slow ? HUNZE_ERR_SLOW : HUNZE_OK), "%s", hunze_status_name(status));
                harness_check(!slow || (outputs_are(&e, &before) && strstr(hunze_last_error(), "portable")),
                              "an output changed, or the message: %s", hunze_last_error());
                drop_answer(&before);
                drop_example(&e);
            }
            hunze_context_release(context);
        }
    hunze_context_release(native);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
        cmocka_unit_test(made_up_cpus),
        cmocka_unit_test(vectors_in_halves),
#endif
        cmocka_unit_test(this_cpu),
        cmocka_unit_test(environment_and_option),
        cmocka_unit_test(rows_on_smaller_cpus),
        cmocka_unit_test(fast_is_required)};
    return cmocka_run_group_tests_name("dispatch", tests, begin, NULL);
}
