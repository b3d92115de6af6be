/* SPDX-License-Identifier: Apache-2.0 */
#include "rounds.hpp"

#include "statistics.hpp"

#include <algorithm>
#include <cmath>

namespace bench
{

namespace
{

constexpr double none = std::numeric_limits<double>::quiet_NaN();

/* Seconds of one sample per call; NaN, and the reason in the series, where it failed. */
double sample(const Contender &contender, Series &series, long calls)
{
    if (!series.failed.empty())
        return none;
    try {
        return contender.time(calls) / static_cast<double>(calls);
    } catch (const std::exception &error) {
        series.failed = error.what();
        return none;
    }
}

} // namespace

std::vector<Series> measure(const std::vector<Contender> &contenders, const RoundOptions &options,
                            const std::function<bool(double)> &progress)
{
    const size_t count = contenders.size();
    std::vector<Series> all(count);
    std::vector<double> first(count);
    double ours = none, fastest = none;
    for (size_t i = 0; i < count; i++) {
        if (contenders[i].known > 0) {
            first[i] = contenders[i].known;
            continue;
        }
        first[i] = sample(contenders[i], all[i], 1);
        /* A short call is timed again in a batch: one alone tells more of the clock and of cold caches. */
        if (first[i] < 0.1 * options.sample_seconds)
            first[i] = sample(contenders[i], all[i],
                              std::max(1L, std::lround(0.1 * options.sample_seconds / std::max(first[i], 1e-9))));
        if (!(first[i] > 0)) /* it failed */
            continue;
        if (contenders[i].ours && !(ours <= first[i]))
            ours = first[i];
        if (!contenders[i].limit && !(fastest <= first[i]))
            fastest = first[i];
    }
    if (!(ours > 0))
        ours = fastest;
    std::vector<int> rounds(count);
    for (size_t i = 0; i < count; i++) {
        const long multiple = contenders[i].calls_multiple;
        all[i].calls = std::max(1L, std::lround(options.sample_seconds / std::max(first[i], 1e-9) /
                                                static_cast<double>(multiple))) *
                       multiple;
        rounds[i] = first[i] > options.slow_seconds ? std::min(options.rounds, options.slow_rounds) : options.rounds;
        if (!contenders[i].ours && !contenders[i].limit && first[i] > options.far_ratio * ours)
            rounds[i] = 1;
    }
    int most = 0;
    for (size_t i = 0; i < count; i++)
        if (!contenders[i].limit)
            most = std::max(most, rounds[i]);
    for (int round = 0; round < most; round++) {
        std::vector<double> values(count, 0);
        for (size_t turn = 0; turn < 2 * count; turn++) {
            const size_t i = turn < count ? turn : 2 * count - 1 - turn;
            if (contenders[i].known > 0)
                values[i] = round == 0 ? contenders[i].known : none;
            else
                values[i] += round < rounds[i] ? 0.5 * sample(contenders[i], all[i], all[i].calls) : none;
            if (!progress((round + static_cast<double>(turn) / static_cast<double>(2 * count)) / most))
                return all; /* an unfinished round is left out */
        }
        for (size_t i = 0; i < count; i++)
            all[i].seconds.push_back(values[i]);
    }
    return all;
}

std::vector<double> ratios(const Series &other, const Series &mine)
{
    std::vector<double> result;
    for (size_t round = 0; round < mine.seconds.size(); round++)
        if (mine.has(round) && other.has(round))
            result.push_back(other.seconds[round] / mine.seconds[round]);
    return result;
}

double seconds_of(const Series &series)
{
    std::vector<double> values;
    for (size_t round = 0; round < series.seconds.size(); round++)
        if (series.has(round))
            values.push_back(series.seconds[round]);
    return median(values);
}

} // namespace bench
