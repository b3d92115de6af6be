/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ------------------------------------------------------------------ cases and failures */

static char case_text[512];
static const char *row_text = "";
static int case_count;

void harness_case(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(case_text, sizeof case_text, format, list);
    va_end(list);
    case_count++;
}

void harness_fail(const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    fail_msg("%s, case %d: %s: %s", row_text, case_count, case_text, text);
    abort(); /* not reached: fail_msg leaves the test */
}

bool harness_small(void) { return getenv("HUNZE_TEST_SMALL") != NULL; }

int64_t harness_scale(void)
{
    const char *scale = getenv("HUNZE_TEST_SCALE");
    return scale && atoi(scale) > 1 ? atoi(scale) : 1;
}

uint32_t harness_bundles(void)
{
    if (getenv("HUNZE_TEST_EVERY_ROW")) /* their kernels are built for any CPU: the world "own intrinsics" */
        return ~0u;
    uint32_t found = 1u << HUNZE_ISA_PORTABLE;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        unsigned a = 7, b, c = 1, d;
        found |= 1u << HUNZE_ISA_AVX2;
        __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d)); /* leaf 7, subleaf 1: eax 4 AVX-VNNI, 5 AVX512-BF16 */
        if (a & 1u << 4)
            found |= 1u << HUNZE_ISA_AVXVNNI;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
            found |= 1u << HUNZE_ISA_AVX512;
            if (__builtin_cpu_supports("avx512vnni"))
                found |= 1u << HUNZE_ISA_AVX512VNNI;
            if (a & 1u << 5)
                found |= 1u << HUNZE_ISA_AVX512BF16;
        }
    }
#endif
    return found;
}

void harness_serially(void *user, int64_t count, void (*task)(void *task_user, int64_t index), void *task_user)
{
    (void)user;
    for (int64_t i = 0; i < count; i++)
        task(task_user, i);
}

void harness_reversed(void *user, int64_t count, void (*task)(void *task_user, int64_t index), void *task_user)
{
    (void)user;
    for (int64_t i = count; i-- > 0;)
        task(task_user, i);
}

/* ------------------------------------------------------------------ slots */

static unsigned char *slots[HARNESS_SLOTS], *remembered[HARNESS_SLOTS];
static struct {
    size_t first, last;
} windows[HARNESS_SLOTS]; /* what is poisoned and compared: the operand and a margin */
enum { MARGIN = 1024, PAGE = 4096 };

static void make_slots(void)
{
    for (int slot = 0; slot < HARNESS_SLOTS && !slots[slot]; slot++) {
        unsigned char *map = mmap(NULL, HARNESS_SLOT_BYTES + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(map, MAP_FAILED);
        assert_int_equal(mprotect(map + PAGE, HARNESS_SLOT_BYTES, PROT_READ | PROT_WRITE), 0);
        slots[slot] = map + PAGE;
        remembered[slot] = malloc(HARNESS_SLOT_BYTES);
        assert_non_null(remembered[slot]);
    }
}

void *harness_place(int slot, size_t bytes, size_t alignment, harness_side side)
{
    static const unsigned char poison[4] = {0xad, 0xde, 0xa5,
                                            0x7f}; /* as f32 a NaN, as f64 a NaN in every second half */
    harness_check(bytes + MARGIN <= HARNESS_SLOT_BYTES, "the test asks for %zu bytes in one slot", bytes);
    /* qemu reads the whole vector of a masked load (7.2 does), so its world asks for room around an operand. */
    const size_t room = getenv("HUNZE_TEST_NO_GUARDS") ? 256 : 0;
    size_t first = side == HARNESS_AT_START ? room : (HARNESS_SLOT_BYTES - room - bytes) / alignment * alignment;
    windows[slot].first = first < MARGIN ? 0 : (first - MARGIN) & ~(size_t)7;
    windows[slot].last = first + bytes + MARGIN > HARNESS_SLOT_BYTES ? HARNESS_SLOT_BYTES : first + bytes + MARGIN;
    for (size_t i = windows[slot].first; i < windows[slot].last; i++)
        slots[slot][i] = poison[i & 3];
    return slots[slot] + first;
}

void harness_snapshot(int slot)
{
    size_t first = windows[slot].first;
    memcpy(remembered[slot] + first, slots[slot] + first, windows[slot].last - first);
}

void *harness_remembered(int slot, const void *pointer)
{
    return remembered[slot] + ((const unsigned char *)pointer - slots[slot]);
}

void harness_unchanged(int slot, const char *operand)
{
    size_t first = windows[slot].first, last = windows[slot].last;
    if (!memcmp(slots[slot] + first, remembered[slot] + first, last - first))
        return;
    while (slots[slot][first] == remembered[slot][first])
        first++;
    harness_fail("%s: byte %zu before the slot's end changed from %02x to %02x", operand, HARNESS_SLOT_BYTES - first,
                 remembered[slot][first], slots[slot][first]);
}

const char *harness_locate(const void *address)
{
    static char text[128];
    text[0] = 0;
    for (int slot = 0; slot < HARNESS_SLOTS; slot++) {
        const ptrdiff_t offset = (const unsigned char *)address - slots[slot];
        if (slots[slot] && offset >= -PAGE && offset < HARNESS_SLOT_BYTES + PAGE)
            snprintf(text, sizeof text, ", %td bytes %s operand slot %d",
                     offset < 0 ? -offset : offset - HARNESS_SLOT_BYTES, offset < 0 ? "before" : "past the end of",
                     slot);
    }
    return text;
}

/* A fault at a guard page: say which operand before cmocka ends the test. */
static void (*previous_handler)(int);

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    fprintf(stderr, "%s, case %d: %s: signal %d at %p%s\n", row_text, case_count, case_text, number, info->si_addr,
            harness_locate(info->si_addr));
    if (previous_handler && previous_handler != SIG_DFL && previous_handler != SIG_IGN)
        previous_handler(number);
    _Exit(1);
}

static void catch_faults(void)
{
    struct sigaction old, action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, &old);
    if (!(old.sa_flags & SA_SIGINFO))
        previous_handler = old.sa_handler;
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

void harness_begin(const char *test)
{
    make_slots();
    row_text = test;
    case_count = 0;
    case_text[0] = 0;
    catch_faults();
}

/* ------------------------------------------------------------------ the runner */

typedef struct selected {
    const harness_part *part;
    const hunze_row *row;
    char name[128];
} selected;

/* One line per test for the table of rows and worlds (tests/worlds/table.py): HUNZE_TEST_RECORD names the folder, HUNZE_TEST_WORLD the world. */
static FILE *record_file;

static void open_record(const char *program)
{
    const char *folder = getenv("HUNZE_TEST_RECORD"), *world = getenv("HUNZE_TEST_WORLD"),
               *base = strrchr(program, '/');
    char path[1024];
    if (!folder)
        return;
    snprintf(path, sizeof path, "%s/%s %s.tsv", folder, world ? world : "native", base ? base + 1 : program);
    record_file = fopen(path, "w");
}

static void record(const char *name, const char *result)
{
    if (!record_file)
        return;
    fprintf(record_file, "%s\t%d\t%s\n", name, case_count, result);
    fflush(record_file);
}

static void run_selected(void **state)
{
    const selected *test = *state;
    if (!harness_emulator) {
        harness_begin(test->name);
        if (!(harness_bundles() & 1u << test->row->isa)) {
            static const char *const needs[] = {
                "", "AVX2 and FMA", "AVX-VNNI", "AVX-512 F BW DQ VL", "AVX-512 VNNI", "AVX-512 BF16"};
            print_message("not run here: %s needs %s\n", test->name, needs[test->row->isa]);
            record(test->name, "not run here");
            skip();
        }
    } else {
        row_text = test->name;
        case_count = 0;
        case_text[0] = 0;
    }
    record(test->name, "started");
    test->part->check(test->row);
    harness_check(case_count > 0, "the test ran no case");
    record(test->name, "passed");
}

int harness_main(int argc, char **argv, const char *group, const harness_part *parts, int count)
{
    make_slots();
    open_record(argv[0]);
    selected *chosen = calloc((size_t)count * (size_t)hunze_row_count + 1, sizeof *chosen);
    struct CMUnitTest *tests = calloc((size_t)count * (size_t)hunze_row_count + 1, sizeof *tests);
    size_t total = 0;
    if (!chosen || !tests)
        return 1;
    for (const hunze_row *row = hunze_rows; row->name; row++)
        for (int part = 0; part < count; part++) {
            selected *test = &chosen[total];
            snprintf(test->name, sizeof test->name, "%s/%s", row->name, parts[part].name);
            if (row->launch || !parts[part].applies(row) || (argc > 1 && !strstr(test->name, argv[1])))
                continue;
            if (harness_emulator && !(harness_emulated_bundles & 1u << row->isa))
                continue;
            test->part = &parts[part];
            test->row = row;
            tests[total++] = (struct CMUnitTest){.name = test->name, .test_func = run_selected, .initial_state = test};
        }
    int failed = total ? _cmocka_run_group_tests(group, tests, total, NULL, NULL) : 0;
    if (!total)
        printf("%s: no row has it\n", group);
    free(tests);
    free(chosen);
    if (record_file)
        fclose(record_file);
    return failed;
}
