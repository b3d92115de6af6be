/* SPDX-License-Identifier: Apache-2.0 */
/* Whether one build is slower than another: the decision, from ratios of block to block.
 *
 * A block is a fresh process of each build and five palindromic rounds with both; its ratio is the median over them of the other
 * build's seconds over this build's.  Fresh processes, because where pages and stacks happen to lie can make one process faster than another for as long as it lives.
 * The family of all comparisons and all looks at them shares one probability of a false alarm equally (Bonferroni), whatever the distribution
 * of the ratios: only their independence is assumed. */
#pragma once

#include "statistics.hpp"

#include <string>
#include <vector>

namespace bench
{

struct GateOptions {
    double false_alarms = 0.01; /* probability of any in the family */
    int looks = 5;              /* each has twice the blocks of the one before */
    double margin = 0.01;       /* a loss lies wholly beyond this */
    double width = 0.02;        /* a comparison is settled when it is a loss and the interval is narrower than this … */
    double tolerated = 0.03;    /* … or else when a loss of this size is excluded */
};

enum class GateState { PASS, LOSS, AGAIN, UNSETTLED };

class Gate
{
  public:
    Gate(int comparisons, GateOptions options = {});

    /* Blocks that a comparison has had when it is looked at for the look-th time, from 0. */
    int blocks(int look) const;
    Summary interval(const std::vector<double> &ratios) const;
    GateState decide(const std::vector<double> &ratios, int look) const;

  private:
    GateOptions options_;
    double miss_; /* of a two-sided interval, of whose sides one alone raises an alarm */
};

std::string name_of(GateState state);

} // namespace bench
