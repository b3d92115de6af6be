/* SPDX-License-Identifier: Apache-2.0 */
/* The gate on ratios that were drawn: how often it cries wolf, and whether it finds a loss of 5 %. */
#include "../../bench/gate.hpp"

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "cmocka.hpp"

using namespace bench;

namespace
{

/* Block to block ratios of two builds on a shared machine: mostly within 1 %, one in ten far off in either direction. */
class Noise
{
  public:
    explicit Noise(uint64_t seed) : random_(seed) {}
    double operator()(double ratio)
    {
        const double spread = tail_(random_) < 0.1 ? 0.15 : 0.01;
        return ratio * std::exp(spread * normal_(random_));
    }

  private:
    std::mt19937_64 random_;
    std::normal_distribution<double> normal_;
    std::uniform_real_distribution<double> tail_;
};

GateState settle(const Gate &gate, const GateOptions &options, Noise &noise, double ratio)
{
    std::vector<double> ratios;
    for (int look = 0; look < options.looks; look++) {
        while (static_cast<int>(ratios.size()) < gate.blocks(look))
            ratios.push_back(noise(ratio));
        const GateState state = gate.decide(ratios, look);
        if (state != GateState::AGAIN)
            return state;
    }
    fail_msg("the last look decides nothing");
    return GateState::AGAIN;
}

} // namespace

static void no_false_alarms(void **)
{
    constexpr int comparisons = 60, families = 200;
    GateOptions options;
    options.margin = 0; /* the hardest case: equal builds, and no margin */
    const Gate gate(comparisons, options);
    Noise noise(11);
    int alarms = 0;
    for (int family = 0; family < families; family++) {
        bool alarm = false;
        for (int i = 0; i < comparisons; i++)
            alarm |= settle(gate, options, noise, 1.0) == GateState::LOSS;
        alarms += alarm;
    }
    assert_true(alarms <= 5); /* 2 of 200 are expected at most */
}

static void a_loss_of_five_percent_is_found(void **)
{
    const GateOptions options;
    const Gate gate(60, options);
    Noise noise(12);
    for (int i = 0; i < 300; i++)
        assert_true(settle(gate, options, noise, 0.95) == GateState::LOSS);
}

/* A loss that is proven is one, also where it is smaller than the one that a pass excludes. */
static void a_loss_of_two_percent_is_found_where_it_is_proven(void **)
{
    const Gate gate(60);
    const auto between = [&](double low, double high) {
        std::vector<double> ratios;
        for (int block = 0; block < gate.blocks(1); block++)
            ratios.push_back(low + (high - low) * block / (gate.blocks(1) - 1));
        return gate.decide(ratios, 1);
    };
    assert_true(between(0.972, 0.985) == GateState::LOSS);
    assert_true(between(0.975, 0.998) == GateState::PASS); /* it may be none */
    Noise noise(15);
    int losses = 0;
    for (int i = 0; i < 300; i++)
        losses += settle(gate, {}, noise, 0.98) == GateState::LOSS;
    assert_true(losses > 150);
}

static void a_gain_passes(void **)
{
    const GateOptions options;
    const Gate gate(60, options);
    Noise noise(13);
    for (int i = 0; i < 100; i++)
        assert_true(settle(gate, options, noise, 1.2) == GateState::PASS);
}

/* Where noise never ends the last look says so instead of passing. */
static void what_cannot_be_settled_is_said(void **)
{
    const GateOptions options;
    const Gate gate(60, options);
    std::mt19937_64 random(14);
    std::normal_distribution<double> wide(0, 0.5);
    std::vector<double> ratios;
    while (static_cast<int>(ratios.size()) < gate.blocks(options.looks - 1))
        ratios.push_back(std::exp(wide(random)));
    assert_true(gate.decide(ratios, 0) == GateState::AGAIN);
    assert_true(gate.decide(ratios, options.looks - 1) == GateState::UNSETTLED);
}

static void too_few_blocks_decide_nothing(void **)
{
    const Gate gate(60);
    assert_true(gate.decide({0.5, 0.5, 0.5}, 0) == GateState::AGAIN);
    assert_true(gate.blocks(1) == 2 * gate.blocks(0));
}

/* Ratios recorded on a real machine (bench/results/README.md): two runs of one build, and a build in which one kernel had been made slower; on a
 * quiet machine, and with another program on the same processor. */
static std::vector<std::pair<std::string, GateState>> replay(const std::string &name)
{
    std::ifstream file(HUNZE_BENCH_FOLDER "/results/amd-epyc-avx2/" + name);
    const nlohmann::json recorded = nlohmann::json::parse(file);
    const GateOptions options;
    const Gate gate(static_cast<int>(recorded.at("comparisons").size()), options);
    std::vector<std::pair<std::string, GateState>> states;
    for (const nlohmann::json &one : recorded.at("comparisons")) {
        const auto ratios = one.at("ratios").get<std::vector<double>>();
        GateState state = GateState::AGAIN;
        for (int look = 0; look < options.looks && state == GateState::AGAIN; look++) {
            const auto blocks = std::min<size_t>(ratios.size(), static_cast<size_t>(gate.blocks(look)));
            state = gate.decide({ratios.begin(), ratios.begin() + static_cast<long>(blocks)}, look);
        }
        states.emplace_back(one.at("id").get<std::string>() + " " + one.at("way").get<std::string>(), state);
    }
    return states;
}

static void recorded_runs_of_one_build(void **)
{
    for (const char *name : {"gate-same-quiet.json", "gate-same-busy.json"}) {
        const auto states = replay(name);
        assert_true(states.size() >= 10);
        for (const auto &[comparison, state] : states)
            if (state == GateState::LOSS)
                fail_msg("%s: %s", name, comparison.c_str());
    }
}

static void recorded_runs_with_a_planted_loss(void **)
{
    for (const char *name : {"gate-planted-quiet.json", "gate-planted-busy.json"})
        for (const auto &[comparison, state] : replay(name)) {
            const bool product = comparison == "g7 plan" || comparison == "g8 plan" || comparison == "g9 plan" ||
                                 comparison == "g12 plan";
            const bool other = comparison.find("portable") != std::string::npos || comparison.rfind("g23", 0) == 0;
            if (product ? state != GateState::LOSS : other && state == GateState::LOSS)
                fail_msg("%s: %s is %s", name, comparison.c_str(), name_of(state).c_str());
        }
}

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(no_false_alarms),
                                cmocka_unit_test(a_loss_of_five_percent_is_found),
                                cmocka_unit_test(a_loss_of_two_percent_is_found_where_it_is_proven),
                                cmocka_unit_test(a_gain_passes),
                                cmocka_unit_test(what_cannot_be_settled_is_said),
                                cmocka_unit_test(too_few_blocks_decide_nothing),
                                cmocka_unit_test(recorded_runs_of_one_build),
                                cmocka_unit_test(recorded_runs_with_a_planted_loss)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
