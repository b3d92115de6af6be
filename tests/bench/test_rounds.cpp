/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler of rounds on a clock of our own: a machine whose speed changes as we say. */
#include "../../bench/rounds.hpp"
#include "../../bench/statistics.hpp"

#include <functional>
#include <stdexcept>

#include "cmocka.hpp"

using namespace bench;

namespace
{

struct Machine {
    double now = 0;
    std::function<double(double)> slowness = [](double) { return 1.0; };
    std::vector<size_t> order; /* which contender was timed */
    std::vector<long> calls;

    Contender contender(size_t number, double seconds)
    {
        Contender c;
        c.time = [this, number, seconds](long count) {
            order.push_back(number);
            calls.push_back(count);
            const double spent = seconds * static_cast<double>(count) * slowness(now);
            now += spent;
            return spent;
        };
        return c;
    }
};

bool go_on(double) { return true; }

int took_part(const Series &series)
{
    int count = 0;
    for (size_t round = 0; round < series.seconds.size(); round++)
        count += series.has(round);
    return count;
}

} // namespace

static void the_order_is_a_palindrome(void **)
{
    Machine machine;
    std::vector<Contender> all = {machine.contender(0, 1e-3), machine.contender(1, 1e-3), machine.contender(2, 1e-3)};
    all[0].ours = true;
    RoundOptions options;
    options.rounds = 2;
    measure(all, options, go_on);
    const std::vector<size_t> want = {0, 1, 2, /* how long a call takes */ 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0};
    assert_true(machine.order == want);
}

/* A machine that becomes slower at a steady rate, by a tenth within the first round and to half its speed within all, leaves the ratio
 * where it is. */
static void drift_cancels(void **)
{
    Machine machine;
    std::vector<Contender> all = {machine.contender(0, 1.0e-3), machine.contender(1, 1.1e-3),
                                  machine.contender(2, 0.7e-3)};
    all[0].ours = true;
    machine.slowness = [&](double) { return 1 + 0.02 * static_cast<double>(machine.order.size()); };
    const std::vector<Series> series = measure(all, {}, go_on);
    for (const double ratio : ratios(series[1], series[0]))
        assert_close(ratio, 1.1, 1e-12);
    for (const double ratio : ratios(series[2], series[0]))
        assert_close(ratio, 0.7, 1e-12);
    assert_int_equal(ratios(series[1], series[0]).size(), 9);
}

/* Half of the rounds on a machine 1.6 times as slow: seconds spread, ratios do not. */
static void a_neighbour_comes_and_goes(void **)
{
    Machine machine;
    std::vector<Contender> all = {machine.contender(0, 1e-3), machine.contender(1, 2e-3)};
    all[0].ours = true;
    /* Two turns say how long a call takes, then each round has four. */
    machine.slowness = [&](double) { return (machine.order.size() + 1) / 4 % 2 ? 1.6 : 1.0; };
    const std::vector<Series> series = measure(all, {}, go_on);
    for (size_t round = 0; round < 9; round++)
        assert_close(series[0].seconds[round], round % 2 ? 1e-3 : 1.6e-3, 1e-12);
    const Summary ratio = summarize(ratios(series[1], series[0]));
    assert_int_equal(ratio.count, 9);
    assert_close(ratio.low, 2, 1e-12);
    assert_close(ratio.high, 2, 1e-12);
    assert_string_equal(verdict(ratio).c_str(), "faster");
}

static void samples_fill_the_time(void **)
{
    Machine machine;
    std::vector<Contender> all = {machine.contender(0, 1e-4), machine.contender(1, 3e-2)};
    all[0].ours = all[1].ours = true;
    all[1].calls_multiple = 4;
    RoundOptions options;
    options.sample_seconds = 0.01;
    const std::vector<Series> series = measure(all, options, go_on);
    assert_int_equal(series[0].calls, 100);
    assert_int_equal(series[1].calls, 4); /* one is too long already, but each copy has its turn */
    assert_close(seconds_of(series[0]), 1e-4, 1e-15);
}

static void a_far_slower_one_takes_two_samples(void **)
{
    Machine machine;
    std::vector<Contender> all = {machine.contender(0, 1e-3), machine.contender(1, 5.1e-3),
                                  machine.contender(2, 4.9e-3), machine.contender(3, 9e-3)};
    all[0].ours = true;
    all[3].limit = true;
    const std::vector<Series> series = measure(all, {}, go_on);
    assert_int_equal(took_part(series[0]), 9);
    assert_int_equal(took_part(series[1]), 1);
    assert_int_equal(took_part(series[2]), 9);
    assert_int_equal(took_part(series[3]), 9);
    long timed = -1; /* the first one says how long a call takes */
    for (const size_t number : machine.order)
        timed += number == 1;
    assert_int_equal(timed, 2);
}

/* Where we have no kernel the fastest of the others stands in. */
static void without_ours_the_fastest_counts(void **)
{
    Machine machine;
    const std::vector<Contender> all = {machine.contender(0, 9e-3), machine.contender(1, 1e-3)};
    const std::vector<Series> series = measure(all, {}, go_on);
    assert_int_equal(took_part(series[0]), 1);
    assert_int_equal(took_part(series[1]), 9);
}

/* One that fails when it is timed first, as where its check failed, sets no time to compare with. */
static void one_that_never_ran_is_not_compared_with(void **)
{
    for (const bool ours : {false, true}) {
        Machine machine;
        std::vector<Contender> all = {machine.contender(0, 1e-3), machine.contender(1, 9e-3),
                                      machine.contender(2, 1e-3)};
        all[0].ours = all[2].ours = ours;
        all[2].time = [](long) -> double { throw std::runtime_error("its process had ended"); };
        const std::vector<Series> series = measure(all, {}, go_on);
        assert_string_equal(series[2].failed.c_str(), "its process had ended");
        assert_int_equal(took_part(series[2]), 0);
        assert_int_equal(took_part(series[0]), 9);
        assert_int_equal(took_part(series[1]), 1);
    }
}

static void what_is_known_takes_no_turn(void **)
{
    Machine machine;
    std::vector<Contender> all = {machine.contender(0, 1e-3), machine.contender(1, 30)};
    all[0].ours = true;
    all[1].known = 30;
    const std::vector<Series> series = measure(all, {}, go_on);
    for (const size_t number : machine.order)
        assert_int_equal(number, 0);
    assert_int_equal(took_part(series[1]), 1);
    assert_close(ratios(series[1], series[0])[0], 30000, 1e-6);
}

/* As many as an interval needs. */
static void long_calls_take_six_rounds(void **)
{
    Machine machine;
    std::vector<Contender> all = {machine.contender(0, 0.6), machine.contender(1, 0.4)};
    all[0].ours = all[1].ours = true;
    const std::vector<Series> series = measure(all, {}, go_on);
    assert_int_equal(took_part(series[0]), 6);
    assert_int_equal(took_part(series[0]), least_count(usual_miss));
    assert_int_equal(took_part(series[1]), 9);
}

static void one_that_fails_ends_alone(void **)
{
    Machine machine;
    std::vector<Contender> all = {machine.contender(0, 1e-3), machine.contender(1, 1e-3)};
    all[0].ours = true;
    int left = 6;
    const auto time = all[1].time;
    all[1].time = [&](long calls) {
        if (left-- == 0)
            throw std::runtime_error("ended by signal 11");
        return time(calls);
    };
    const std::vector<Series> series = measure(all, {}, go_on);
    assert_string_equal(series[1].failed.c_str(), "ended by signal 11");
    assert_int_equal(took_part(series[1]), 2);
    assert_int_equal(took_part(series[0]), 9);
    assert_string_equal(series[0].failed.c_str(), "");
}

static void an_interrupt_keeps_whole_rounds(void **)
{
    Machine machine;
    std::vector<Contender> all = {machine.contender(0, 1e-3), machine.contender(1, 1e-3)};
    all[0].ours = true;
    int asked = 0;
    double last = -1;
    const std::vector<Series> series = measure(all, {}, [&](double part) {
        assert_true(part >= last && part <= 1);
        last = part;
        return ++asked < 4 * 3 + 2;
    });
    assert_int_equal(took_part(series[0]), 3);
    assert_int_equal(took_part(series[1]), 3);
}

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(the_order_is_a_palindrome),
                                cmocka_unit_test(drift_cancels),
                                cmocka_unit_test(a_neighbour_comes_and_goes),
                                cmocka_unit_test(samples_fill_the_time),
                                cmocka_unit_test(a_far_slower_one_takes_two_samples),
                                cmocka_unit_test(without_ours_the_fastest_counts),
                                cmocka_unit_test(one_that_never_ran_is_not_compared_with),
                                cmocka_unit_test(what_is_known_takes_no_turn),
                                cmocka_unit_test(long_calls_take_six_rounds),
                                cmocka_unit_test(one_that_fails_ends_alone),
                                cmocka_unit_test(an_interrupt_keeps_whole_rounds)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
