/* SPDX-License-Identifier: Apache-2.0 */
/* hunze_bench --gate: every row and kernel that two builds have in common, measured with both. */
#pragma once

#include "gate.hpp"
#include "rounds.hpp"
#include "suite.hpp"

#include <functional>
#include <nlohmann/json.hpp>

namespace bench
{

struct CompareOptions {
    std::string program, library, other; /* hunze_bench; the libhunze.so of this build and of the other */
    int threads = 1;
    RoundOptions rounds;
    GateOptions gate;
    double longest_call = 0.06; /* seconds: what takes longer is left out, and said */
};

/* {"comparisons": [{"id", "way", "ratio", "ratios", "state"}], "left_out": [{"id", "way", "why"}], "losses": count}.
 * `progress` gets a line for people and answers false to end early. */
nlohmann::json compare(const std::vector<Row> &rows, const CompareOptions &options,
                       const std::function<bool(const std::string &)> &progress);

} // namespace bench
