/* SPDX-License-Identifier: Apache-2.0 */
/* The meter: exact operations and bytes from shapes, seconds, and joules from counters that can be read; null and why from those that cannot. */
#include "context.h"
#include "example.h"
#include "json.h"

#include <math.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static hunze_context *context;
static char folder[] = "/tmp/hunze_test_meter_XXXXXX";

static int open_all(void **state)
{
    (void)state;
    harness_begin("meter");
    context = open_context(NULL);
    return mkdtemp(folder) == NULL;
}

static int close_all(void **state)
{
    (void)state;
    hunze_context_release(context);
    return rmdir(folder);
}

static double number(const char *text, const char *name)
{
    const char *at = json_member(text, name);
    harness_check(at && (*at == '-' || (*at >= '0' && *at <= '9')), "%s is no number in %s", name, text);
    return strtod(at, NULL);
}

static hunze_meter *start(hunze_context *of)
{
    hunze_meter *meter = NULL;
    assert_int_equal(hunze_meter_start(of, &meter), HUNZE_OK);
    return meter;
}

static char *stop(hunze_meter *meter)
{
    char *text = NULL;
    assert_int_equal(hunze_meter_stop(meter, &text), HUNZE_OK);
    harness_check(json_is_valid(text), "no JSON: %s", text);
    return text;
}

/* ------------------------------------------------------------------ operations and bytes */

/* Multiplications and additions, written out from the shapes of example.h; operands are read once, the output is written once. */
static const struct {
    const char *example;
    uint64_t operations, bytes;
} counts[] = {
    {"gemm f32", 2 * 5 * 9 * 7, 4 * (35 + 63 + 45 + 45 + 9 + 45)},
    {"gemm f64", 2 * 4 * 6 * 3, 8 * (12 + 18 + 24 + 24 + 6 + 24)},
    {"gemm s32", 2 * 5 * 9 * 7, 35 + 63 + 4 * 45 + 4 * 9 + 1 + 9},
    {"gemm u8", 2 * 5 * 9 * 7, 35 + 63 + 45 + 4 * 9 + 4 * (1 + 9 + 1) + (1 + 9 + 1)},
    {"gemm grouped", 2 * 5 * 9 * 7, 4 * (35 + 2 * 63 + 45 + 45 + 2 * 9 + 45 + 4)},
    {"conv f32", 2 * (2 * 6 * 5 * 6) * (2 * 3 * 3), 4 * (240 + 108 + 360 + 6 + 360)},
    {"conv 1-D", 2 * (2 * 5 * 9) * (4 * 3), 4 * (72 + 60 + 90 + 5)},
    {"conv u8", 2 * (6 * 5 * 6) * (4 * 3 * 3), 120 + 216 + 180 + 4 * 6 + 4 * (1 + 6 + 1) + (1 + 6 + 1)},
    {"depthwise", 2 * (4 * 5 * 6) * (3 * 3), 4 * (120 + 36 + 120 + 4 + 120)},
    {"conv_transpose", 2 * (4 * 5 * 6) * (3 * 3 * 3), 4 * (120 + 108 + 90 + 3)},
    {"quantize", 45, 4 * 45 + 45 + 4 * 9 + 9},
    {"dynamic quantize", 45, 4 * 45 + 45 + 4 + 1},
    {"dequantize", 45, 45 + 4 * 45 + 4 * 9 + 9},
    {"activate", 45, 4 * (45 + 45)},
};

static void operations_and_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        int kind = 0;
        while (strcmp(specs[kind].name, counts[i].example) != 0)
            kind++;
        example e;
        make_example(&e, kind, SMALL, context);
        harness_case("%s", e.spec->name);
        assert_int_equal(run_example(context, &e, NULL), HUNZE_OK); /* not metered */
        hunze_meter *meter = start(context);
        for (int32_t threads = 1; threads <= 3; threads++)
            assert_int_equal(
                run_example(context, &e, &(hunze_run){.struct_size = sizeof(hunze_run), .threads = threads}), HUNZE_OK);
        char *text = stop(meter);
        harness_check(number(text, "calls") == 3, "%s", text);
        harness_check(number(text, "operations") == 3.0 * (double)counts[i].operations, "%s; one call has %llu", text,
                      (unsigned long long)counts[i].operations);
        harness_check(number(text, "bytes") == 3.0 * (double)counts[i].bytes, "%s; one call has %llu", text,
                      (unsigned long long)counts[i].bytes);
        hunze_string_free(text);
        drop_example(&e);
    }
}

/* A call that is refused counts for nothing; a meter starts at nothing; meters nest; another context's calls are not seen. */
static void what_is_counted(void **state)
{
    (void)state;
    example e;
    hunze_context *other = open_context(NULL);
    make_example(&e, 0, SMALL, context);
    harness_case("nested meters");
    hunze_meter *outer = start(context);
    assert_int_equal(run_example(context, &e, NULL), HUNZE_OK);
    hunze_meter *inner = start(context);
    assert_int_equal(run_example(context, &e, NULL), HUNZE_OK);
    assert_int_equal(run_example(other, &e, NULL), HUNZE_OK);
    e.shape[HUNZE_ROLE_A][1]++;
    assert_int_equal(run_example(context, &e, NULL), HUNZE_ERR_SHAPE);
    e.shape[HUNZE_ROLE_A][1]--;
    char *text = stop(inner);
    harness_check(number(text, "calls") == 1, "the inner meter: %s", text);
    hunze_string_free(text);
    assert_int_equal(run_example(context, &e, NULL), HUNZE_OK);
    text = stop(outer);
    harness_check(number(text, "calls") == 3, "the outer meter: %s", text);
    hunze_string_free(text);
    text = stop(start(context));
    harness_check(number(text, "calls") == 0 && number(text, "operations") == 0 && number(text, "bytes") == 0 &&
                      number(text, "seconds_in_calls") == 0,
                  "a new meter: %s", text);
    hunze_string_free(text);
    harness_case("the meter keeps its context");
    hunze_meter *last = start(other);
    hunze_context_release(other);
    hunze_string_free(stop(last));
    drop_example(&e);
}

static void seconds(void **state)
{
    (void)state;
    const struct timespec pause = {0, 30000000};
    example e;
    make_example(&e, 0, LARGE, context);
    harness_case("30 ms and a call");
    const uint64_t before = hunze_nanoseconds();
    hunze_meter *meter = start(context);
    nanosleep(&pause, NULL);
    assert_int_equal(run_example(context, &e, NULL), HUNZE_OK);
    char *text = stop(meter);
    const double all = (double)(hunze_nanoseconds() - before) * 1e-9, in_calls = number(text, "seconds_in_calls");
    harness_check(number(text, "seconds") >= 0.03 && number(text, "seconds") <= all, "%s; %.9f passed", text, all);
    harness_check(in_calls > 0 && in_calls <= number(text, "seconds") - 0.03, "%s", text);
    hunze_string_free(text);
    drop_example(&e);
}

/* ------------------------------------------------------------------ joules, from counters of our own */

static void write_counter(int zone, const char *file, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/intel-rapl:%d", folder, zone);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/intel-rapl:%d/%s", folder, zone, file);
    if (!text) {
        unlink(path);
        return;
    }
    FILE *stream = fopen(path, "w");
    assert_non_null(stream);
    fprintf(stream, "%s\n", text);
    fclose(stream);
}

static void remove_counters(void)
{
    static const char *const files[] = {"name", "energy_uj", "max_energy_range_uj"};
    for (int zone = 0; zone < 2; zone++) {
        char path[256];
        for (int i = 0; i < 3; i++)
            write_counter(zone, files[i], NULL);
        snprintf(path, sizeof path, "%s/intel-rapl:%d", folder, zone);
        rmdir(path);
    }
}

static hunze_context *context_with_counters(void)
{
    hunze_context *with = open_context(NULL);
    with->powercap = folder; /* before its first meter */
    return with;
}

static void expect_no_joules(char *text, const char *reason)
{
    const char *joules = json_member(text, "joules"), *why = json_member(text, "joules_reason");
    harness_check(joules && strncmp(joules, "null", 4) == 0, "joules are not null: %s", text);
    harness_check(why && *why == '"' && strstr(why, reason), "the reason is not %s: %s", reason, text);
    hunze_string_free(text);
}

static void joules(void **state)
{
    (void)state;
    hunze_context *none = context_with_counters();
    harness_case("no counters");
    expect_no_joules(stop(start(none)), "no energy counter");
    hunze_context_release(none);

    static const char *const ranges[] = {"1000000000000", "4000000000000"};
    for (int zone = 0; zone < 2; zone++) {
        write_counter(zone, "name", zone ? "package-1" : "package-0");
        write_counter(zone, "max_energy_range_uj", ranges[zone]);
        write_counter(zone, "energy_uj", zone ? "500" : "999999000000");
    }
    harness_case("two packages, one of whose counters comes round");
    hunze_context *two = context_with_counters();
    hunze_meter *meter = start(two);
    write_counter(0, "energy_uj", "2000000");
    write_counter(1, "energy_uj", "5000500");
    char *text = stop(meter);
    harness_check(fabs(number(text, "joules") - 8) < 1e-6, "3 and 5 joules: %s", text);
    harness_check(strstr(text, "package-0") && strstr(text, "package-1"), "whose joules: %s", text);
    hunze_string_free(text);
    harness_case("a meter starts at nothing");
    text = stop(start(two));
    harness_check(number(text, "joules") == 0, "%s", text);
    hunze_string_free(text);
    harness_case("a counter that goes away");
    meter = start(two);
    write_counter(1, "energy_uj", NULL);
    expect_no_joules(stop(meter), "could not be read");
    hunze_context_release(two);

    harness_case("a counter that may not be read");
    hunze_context *without = context_with_counters();
    expect_no_joules(stop(start(without)), "energy_uj");
    hunze_context_release(without);
    remove_counters();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(operations_and_bytes), cmocka_unit_test(what_is_counted),
                                       cmocka_unit_test(seconds), cmocka_unit_test(joules)};
    return cmocka_run_group_tests_name("meter", tests, open_all, close_all);
}
