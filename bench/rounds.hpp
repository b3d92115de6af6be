/* SPDX-License-Identifier: Apache-2.0 */
/* Palindromic rounds: everything that is compared takes its turn twice in a round, A B C C B A, and its value for the round is the mean
 * of the two.  So a machine that becomes slower or faster at a steady rate leaves the ratios within a round as they are. */
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace bench
{

/* Something that can be timed. */
struct Contender {
    bool ours = false;  /* the fastest of these is what others are compared with; without any, the fastest of all */
    bool limit = false; /* takes part in every round */
    long calls_multiple =
        1; /* calls of a sample are a multiple of it: each of the copies of the weights has its turn */
    double known =
        0; /* seconds of a call that was timed already and is too long to be repeated; then it takes no turns */
    /* Seconds for so many calls; throws std::exception where it cannot (a worker that died). */
    std::function<double(long calls)> time;
};

struct RoundOptions {
    int rounds = 9;
    int slow_rounds = 6; /* where a call takes longer than slow_seconds: the least with an interval that holds 95 % */
    double slow_seconds = 0.5;
    double far_ratio = 5; /* one that takes so many times our time takes part in the first round alone: two samples */
    double sample_seconds = 0.01; /* calls per sample fill these */
};

struct Series {
    std::vector<double> seconds; /* per call, one value per round; NaN where it took no part */
    long calls = 0;              /* per sample */
    std::string failed;          /* why it ended early; "" if it did not */

    bool has(size_t round) const { return round < seconds.size() && seconds[round] == seconds[round]; }
};

/* Measures; `progress` is told the part that is done, 0 to 1, and answers false to end early (what was measured stays). */
std::vector<Series> measure(const std::vector<Contender> &contenders, const RoundOptions &options,
                            const std::function<bool(double)> &progress);

/* other's seconds over mine, for each round in which both took part. */
std::vector<double> ratios(const Series &other, const Series &mine);

/* Median of its seconds per call. */
double seconds_of(const Series &series);

} // namespace bench
