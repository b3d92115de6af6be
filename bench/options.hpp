/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of hunze_bench. */
#pragma once

#include <string>
#include <vector>

namespace bench
{

struct Options {
    std::vector<std::string> suites, rows, libraries;
    std::vector<int> threads = {1};
    std::string set = "standard", environment, library, result, about, gate, repro, worker;
    int rounds = 9;
    double sample_seconds = 0;
    bool list = false;
};

const char *usage();

/* Stops where an argument is wrong. */
Options parse_options(int argc, char **argv);

/* Throws what main says before it ends the program with status 2: on the way there what was opened is closed, what was begun removed. */
[[noreturn]] void stop(const std::string &what);

} // namespace bench
