/* SPDX-License-Identifier: Apache-2.0 */
#include "../../bench/statistics.hpp"

#include <random>

#include "cmocka.hpp"

using namespace bench;

static void medians(void **)
{
    assert_close(median({3, 1, 2}), 2, 0);
    assert_close(median({4, 1, 2, 3}), 2.5, 0);
    assert_true(std::isnan(median({})));
}

static void binomial_tails(void **)
{
    assert_close(binomial_half(10, 3), 176.0 / 1024, 1e-12);
    assert_close(binomial_half(4, 4), 1, 1e-12);
}

/* Ranks from tables of the sign test at 5 %: 9 values leave out 1 at each end, 15 leave out 3, 20 leave out 5. */
static void ranks_of_the_interval(void **)
{
    for (const auto &[count, left_out] : {std::pair{5, 0}, {6, 0}, {8, 0}, {9, 1}, {15, 3}, {20, 5}}) {
        std::vector<double> values;
        for (int i = count; i > 0; i--)
            values.push_back(i);
        const Summary summary = summarize(values);
        assert_close(summary.low, 1 + left_out, 0);
        assert_close(summary.high, count - left_out, 0);
        assert_int_equal(summary.count, count);
    }
    assert_int_equal(least_count(0.05), 6);
    assert_int_equal(least_count(0.01), 8);
}

/* The interval misses the true median as seldom as it says, also where the noise has no variance. */
static void coverage(void **)
{
    std::mt19937_64 random(7);
    std::cauchy_distribution<double> noise(1.5, 0.3);
    int missed = 0;
    const int runs = 4000;
    for (int run = 0; run < runs; run++) {
        std::vector<double> values(15);
        for (double &value : values)
            value = noise(random);
        const Summary summary = summarize(values);
        missed += summary.low > 1.5 || summary.high < 1.5;
    }
    assert_true(missed < 0.05 * runs);
    assert_true(missed > 0.02 * runs); /* and is no wider than it need be: 3.5 % with 15 values */
}

static void verdicts(void **)
{
    assert_string_equal(verdict(summarize({1.1, 1.2, 1.1, 1.3, 1.2, 1.1})).c_str(), "faster");
    assert_string_equal(verdict(summarize({0.9, 0.8, 0.9, 0.7, 0.9, 0.9})).c_str(), "slower");
    assert_string_equal(verdict(summarize({1.1, 0.9, 1.1, 1.3, 1.2, 1.1})).c_str(), "no difference");
    /* Five values have no interval of 95 %. */
    assert_string_equal(verdict(summarize({1.1, 1.2, 1.1, 1.3, 1.2})).c_str(), "");
    assert_string_equal(verdict(summarize({9})).c_str(), "");
}

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(medians), cmocka_unit_test(binomial_tails),
                                cmocka_unit_test(ranks_of_the_interval), cmocka_unit_test(coverage),
                                cmocka_unit_test(verdicts)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
