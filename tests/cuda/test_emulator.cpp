/* SPDX-License-Identifier: Apache-2.0 */
/* The emulator: right kernels have right results whatever the order of threads and copies, and each wrong one ends with its sentence.  A kernel
 * that may end the process runs in a child: this program again, with the kernel's name. */
#include "emulator_case.h"
#include "test_emulator_kernels.h"

enum { BLOCKS = 3, COUNT = BLOCKS * TEST_THREADS - 11 };

static std::vector<float> run_floats(const char *name, uint32_t blocks, uint32_t shared_bytes,
                                     const std::vector<float> &from, size_t count)
{
    std::vector<float> to(count, -1.0f);
    alignas(64) const test_floats arguments = {from.data(), to.data(), (int64_t)count};
    ranges.clear();
    allow(from);
    allow(to);
    launch(name, blocks, shared_bytes, &arguments);
    return to;
}

static std::vector<float> some_floats(size_t count)
{
    std::vector<float> values(count);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(i * 37 % 251);
    return values;
}

static bool run_reverse(const char *name)
{
    const std::vector<float> from = some_floats(COUNT);
    const std::vector<float> to = run_floats(name, BLOCKS, TEST_THREADS * sizeof(float), from, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        const size_t mirror = i / TEST_THREADS * TEST_THREADS + TEST_THREADS - 1 - i % TEST_THREADS;
        if (to[i] != (mirror < COUNT ? from[mirror] : 0))
            return false;
    }
    return true;
}

static bool run_bytes_reverse(const char *name)
{
    const std::vector<float> from = some_floats(TEST_THREADS);
    const std::vector<float> to = run_floats(name, 1, TEST_THREADS * 4, from, TEST_THREADS);
    for (size_t i = 0; i < TEST_THREADS; i++)
        if (to[i] != from[TEST_THREADS - 1 - i])
            return false;
    return true;
}

static bool run_pipeline(const char *name)
{
    const std::vector<float> from = some_floats(TEST_STAGES * TEST_THREADS * 4);
    const std::vector<float> to = run_floats(name, 1, 2 * TEST_THREADS * 16, from, TEST_THREADS);
    for (size_t i = 0; i < TEST_THREADS; i++) {
        float sum = 0;
        for (size_t stage = 0; stage < TEST_STAGES; stage++)
            for (size_t k = 0; k < 4; k++)
                sum += from[(stage * TEST_THREADS + (i ^ 1)) * 4 + k];
        if (to[i] != sum)
            return false;
    }
    return true;
}

static bool run_warp_sum(const char *name)
{
    const std::vector<float> from = some_floats(TEST_THREADS);
    const std::vector<float> to = run_floats(name, 1, 0, from, TEST_THREADS);
    for (size_t i = 0; i < TEST_THREADS; i++) {
        float sum = 0;
        for (size_t k = 0; k < 32; k++)
            sum += from[i / 32 * 32 + k];
        if (to[i] != sum)
            return false;
    }
    return true;
}

static bool run_product(const char *name)
{
    const bool is_signed = strstr(name, "s8s8") && !strstr(name, "u8s8");
    std::vector<uint8_t> a(16 * 32);
    std::vector<int8_t> b(8 * 32);
    std::vector<int32_t> d(16 * 8, INT32_MAX - 1000), expected = d; /* the sums wrap */
    for (size_t i = 0; i < a.size(); i++)
        a[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t i = 0; i < b.size(); i++)
        b[i] = (int8_t)(i * 2246822519u >> 11);
    for (int i = 0; i < 16 * 8; i++)
        for (int k = 0; k < 32; k++) {
            const int left = is_signed ? (int8_t)a[i / 8 * 32 + k] : a[i / 8 * 32 + k];
            expected[i] = (int32_t)((uint32_t)expected[i] + (uint32_t)(left * b[i % 8 * 32 + k]));
        }
    alignas(64) const test_bytes arguments = {a.data(), b.data(), d.data()};
    ranges.clear();
    allow(a);
    allow(b);
    allow(d);
    launch(name, 1, 0, &arguments);
    return d == expected;
}

/* Whole numbers, whose sums are the same in any order; and a denormal, of which both types' have the factor 2^-24. */
static bool run_narrow(const char *name)
{
    static const uint16_t f16[] = {0, 0x3C00, 0x4000, 0x4200, 0xC400}, bf16[] = {0, 0x3F80, 0x4000, 0x4040, 0xC080};
    static const float values[] = {0, 1, 2, 3, -4};
    const bool is_f16 = strstr(name, "_f16"), transposed = strstr(name, "transposed");
    std::vector<uint16_t> a(16 * 16), b(8 * 16);
    std::vector<float> d(16 * 8, 0.5f), expected = d, a_value(a.size()), b_value(b.size());
    for (size_t i = 0; i < a.size(); i++) {
        const size_t which = (i * 2654435761u >> 13) % 5, at = transposed ? i % 16 * 16 + i / 16 : i;
        a[at] = is_f16 ? f16[which] : bf16[which];
        a_value[i] = values[which];
    }
    a[0] = is_f16 ? 1 : 0x3380;
    a_value[0] = 0x1p-24f;
    for (size_t i = 0; i < b.size(); i++) {
        const size_t which = (i * 2246822519u >> 11) % 5, at = transposed ? i % 16 * 8 + i / 16 : i;
        b[at] = is_f16 ? f16[which] : bf16[which];
        b_value[i] = values[which];
    }
    for (size_t i = 0; i < 16 * 8; i++)
        for (size_t k = 0; k < 16; k++)
            expected[i] += a_value[i / 8 * 16 + k] * b_value[i % 8 * 16 + k];
    alignas(64) const test_narrow arguments = {a.data(), b.data(), d.data()};
    ranges.clear();
    allow(a);
    allow(b);
    allow(d);
    launch(name, 1, (256 + 128) * 2, &arguments);
    return d == expected;
}

static bool run(const char *name)
{
    return begins(name, "test_reverse")      ? run_reverse(name)
           : begins(name, "test_bytes")      ? run_bytes_reverse(name)
           : begins(name, "test_pipeline")   ? run_pipeline(name)
           : begins(name, "test_warp_sum")   ? run_warp_sum(name)
           : begins(name, "test_copy_first") ? !run_floats(name, 1, 32 * 16, some_floats(128), 128).empty()
           : begins(name, "test_narrow")     ? run_narrow(name)
           : begins(name, "test_product") || begins(name, "test_dot4") ? run_product(name)
                                                                       : false;
}

/* ------------------------------------------------------------------ tests */

static void right_kernels_are_right(void **)
{
    expect_right({"test_reverse", "test_bytes_reverse", "test_pipeline", "test_warp_sum", "test_product_u8s8",
                  "test_product_s8s8", "test_dot4", "test_narrow_bf16", "test_narrow_bf16_transposed",
                  "test_narrow_f16", "test_narrow_f16_transposed"},
                 run);
}

static void each_bug_ends_with_its_sentence(void **)
{
    static const struct {
        const char *kernel, *sentence;
    } bugs[] = {
        {"test_reverse_no_sync", "read since the last SYNC_BLOCK"},
        {"test_reverse_two_writers", "wrote since the last SYNC_BLOCK"},
        {"test_reverse_outside", "of the nearest allocation, which has 724 bytes"},
        {"test_reverse_before", "byte -"},
        {"test_reverse_crosses", "byte 720 of the nearest allocation, which has 724 bytes"},
        {"test_reverse_misaligned", "which is not aligned"},
        {"test_reverse_beyond_shared", "which is not inside; the launch has 256 bytes"},
        {"test_reverse_misaligned_shared", "which is not aligned; the launch has 256 bytes"},
        {"test_reverse_leaves_barrier", "the thread ends while"},
        {"test_reverse_stays_alone", "threads of the block have ended"},
        {"test_reverse_other_barrier", "of 64 wait at test_emulator_kernels.cu:"},
        {"test_bytes_no_sync", "read since the last SYNC_BLOCK"},
        {"test_bytes_and_readers", "several threads read since the last SYNC_BLOCK"},
        {"test_pipeline_no_wait", "has not been waited for"},
        {"test_pipeline_no_commit", "has not been waited for"},
        {"test_pipeline_early_read", "shared memory at offset"},
        {"test_pipeline_early_refill", "shared memory at offset"},
        {"test_pipeline_leaves_copies", "a copy_async_wait is missing"},
        {"test_pipeline_misaligned_zeros", "copy_async of 16 bytes at"},
        {"test_warp_sum_lane_missing", "lanes of its warp wait in shuffle_xor"},
    };
    for (const auto &bug : bugs)
        for (const char *seed : {"HUNZE_EMU_SEED=1", "HUNZE_EMU_SEED=2"})
            expect_end(bug.kernel, bug.sentence, {seed});
}

/* Who comes first decides which of two sentences it is; among some seeds there are both. */
static void who_comes_first_is_chance(void **)
{
    static const struct {
        const char *kernel, *sentences[2];
    } bugs[] = {
        {"test_bytes_of_words", {"read since the last SYNC_BLOCK", "wrote since the last SYNC_BLOCK"}},
        {"test_warp_sum_lane_missing", {"lanes of its warp wait in shuffle_xor", "waits in shuffle_xor with 31 of 32"}},
    };
    for (const auto &bug : bugs) {
        bool seen[2] = {false, false};
        for (int seed = 0; seed < 100 && !(seen[0] && seen[1]); seed++) {
            const std::string variable = "HUNZE_EMU_SEED=" + std::to_string(seed);
            const outcome o = run_child(bug.kernel, {variable.c_str()});
            assert_true(exited(o, HUNZE_EMULATOR_STATUS));
            for (int i = 0; i < 2; i++)
                seen[i] |= o.text.find(bug.sentences[i]) != std::string::npos;
        }
        assert_true(seen[0] && seen[1]);
    }
}

static void failures_name_the_seed(void **)
{
    expect_end("test_reverse_no_sync", "(HUNZE_EMU_SEED=12345)", {"HUNZE_EMU_SEED=12345"});
}

static void a_wrong_fragment_is_a_wrong_result(void **)
{
    assert_false(run("test_product_wrong_fragment"));
    assert_false(run("test_narrow_bf16_wrong_fragment"));
}

/* Each word behind its first bytes is 0. */
static void a_copy_of_the_first_bytes_ends_in_zeros(void **)
{
    const std::vector<float> ones(32 * 4, 0x1.0101p0f); /* 0x3F808080 */
    const std::vector<float> to = run_floats("test_copy_first", 1, 32 * 16, ones, 32 * 4);
    for (uint32_t thread = 0; thread < 32; thread++)
        for (uint32_t i = 0; i < 16; i++)
            assert_int_equal(reinterpret_cast<const uint8_t *>(&to[4 * thread])[i],
                             i < thread % 17 ? reinterpret_cast<const uint8_t *>(ones.data())[i] : 0);
    expect_end("test_copy_first_outside", "byte 512 of the nearest allocation, which has 512 bytes", {});
}

static void a_copy_lands_late(void **)
{
    int late = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        hunze_emulator_set_seed(seed);
        const std::vector<float> values = run_floats("test_copy_is_late", 1, 2 * TEST_THREADS * 16, some_floats(4), 32);
        for (float value : values) {
            assert_true(value >= 0 && value <= 4);
            late += (int)value;
        }
    }
    const int all = SEEDS * 32 * 4; /* three quarters, in the mean */
    assert_in_range(late, all / 2, all * 9 / 10);
    hunze_emulator_set_seed(1);
}

static void counters_count(void **)
{
    hunze_emulator_counters c;
    hunze_emulator_reset_counters();
    hunze_emulator_set_banks(true);
    run_floats("test_banks", 1, 32 * 4096, some_floats(4), 32);
    hunze_emulator_set_banks(false);
    assert_true(hunze_emulator_get_counters("test_banks", &c));
    assert_int_equal(c.shared_requests, 7);
    assert_int_equal(c.bank_conflicts, 31);
    assert_int_equal(c.global_read_bytes, 0);
    assert_int_equal(c.global_write_bytes, 32 * 4);

    run_floats("test_fma", 2, 0, some_floats(100), 100);
    assert_true(hunze_emulator_get_counters("test_fma", &c));
    assert_int_equal(c.blocks, 2);
    assert_int_equal(c.fma, 2 * 32 * 100);
    assert_int_equal(c.global_read_bytes, 2 * 32 * 100 * 2 * 4);

    assert_true(run("test_pipeline"));
    assert_true(hunze_emulator_get_counters("test_pipeline", &c));
    assert_int_equal(c.copies, TEST_STAGES * TEST_THREADS);
    assert_int_equal(c.barriers, 2 * TEST_STAGES);
    assert_int_equal(c.global_read_bytes, TEST_STAGES * TEST_THREADS * 16);

    assert_true(run("test_product_u8s8"));
    assert_true(run("test_product_u8s8"));
    assert_true(hunze_emulator_get_counters("test_product_u8s8", &c));
    assert_int_equal(c.mma, 2);
    assert_int_equal(c.launches, 2);
    assert_false(hunze_emulator_get_counters("test_nothing", &c));
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return run(argv[1]) ? 0 : 1;
    const CMUnitTest tests[] = {
        cmocka_unit_test(right_kernels_are_right),
        cmocka_unit_test(each_bug_ends_with_its_sentence),
        cmocka_unit_test(who_comes_first_is_chance),
        cmocka_unit_test(failures_name_the_seed),
        cmocka_unit_test(a_wrong_fragment_is_a_wrong_result),
        cmocka_unit_test(a_copy_lands_late),
        cmocka_unit_test(a_copy_of_the_first_bytes_ends_in_zeros),
        cmocka_unit_test(counters_count),
    };
    return cmocka_run_group_tests_name("emulator", tests, nullptr, nullptr);
}
