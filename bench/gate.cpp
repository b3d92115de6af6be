/* SPDX-License-Identifier: Apache-2.0 */
#include "gate.hpp"

#include <algorithm>

namespace bench
{

Gate::Gate(int comparisons, GateOptions options)
    : options_(options), miss_(2 * options.false_alarms / std::max(1, comparisons) / options.looks)
{
}

int Gate::blocks(int look) const { return least_count(miss_) << look; }

Summary Gate::interval(const std::vector<double> &ratios) const { return summarize(ratios, miss_); }

GateState Gate::decide(const std::vector<double> &ratios, int look) const
{
    const Summary ratio = interval(ratios);
    const bool enough = ratio.count >= least_count(miss_), loss = enough && ratio.high < 1 - options_.margin;
    if (loss && (ratio.width() < options_.width || look + 1 >= options_.looks))
        return GateState::LOSS;
    if (enough && ratio.low > 1 - options_.tolerated)
        return GateState::PASS;
    return look + 1 < options_.looks ? GateState::AGAIN : GateState::UNSETTLED;
}

std::string name_of(GateState state)
{
    switch (state) {
    case GateState::PASS: return "no loss";
    case GateState::LOSS: return "LOSS";
    case GateState::AGAIN: return "again";
    case GateState::UNSETTLED: break;
    }
    return "not settled";
}

} // namespace bench
