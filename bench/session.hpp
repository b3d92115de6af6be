/* SPDX-License-Identifier: Apache-2.0 */
/* A run: the libraries that take part, each in its process, and the measurement of a row with all of them. */
#pragma once

#include "ceilings.hpp"
#include "process.hpp"
#include "reference.hpp"
#include "rounds.hpp"

#include <memory>

struct hunze_context;

namespace bench
{

struct SessionOptions {
    std::string program;                /* hunze_bench itself: the command of workers behind a C ABI */
    std::string library;                /* the libhunze.so that is measured */
    std::string environment;            /* virtual environment with the peers; "": only what the system has */
    std::string python_peers;           /* folder of worker.py */
    std::vector<std::string> libraries; /* which take part; empty: all */
    int threads = 1;
    RoundOptions rounds;
    double longest_call =
        2; /* seconds: another library's call that takes longer is timed once, when its result is checked */
};

/* Throws std::runtime_error where options.libraries names one that is neither in peers/table.c nor in the folder. */
void check_libraries(const SessionOptions &options);

class Session
{
  public:
    Session(SessionOptions options, const Ceilings &ceilings, hunze_context *context);

    /* {"name", "version", "place", "missing"} of each library. */
    const nlohmann::json &libraries() const { return libraries_; }
    /* A row as it stands in a result (bench/README.md, Results).  `wanted` says by its name whether a library takes part in the row;
     * `progress` as in measure(). */
    nlohmann::json measure_row(const Row &row, const std::function<bool(const std::string &)> &wanted,
                               const std::function<bool(double)> &progress);
    /* [{"library", "way", "p50", "p99"}], nanoseconds of a 4 x 4 f32 product. */
    nlohmann::json overhead(long calls);
    const std::vector<int> &cpus() const { return cpus_; }

  private:
    struct Implementation;

    void prepare(Worker &worker, const nlohmann::json &request, nlohmann::json &absent,
                 std::vector<Implementation> &implementations);
    void check(Implementation &implementation, const Row &row, const Operands &operands, const Reference &reference);
    double time(Implementation &implementation, long calls);
    static nlohmann::json describe(const Implementation &implementation, const Series &series, const Series *limit);

    SessionOptions options_;
    const Ceilings &ceilings_;
    hunze_context *context_; /* whose meter reads joules */
    std::vector<int> cpus_;
    std::vector<std::unique_ptr<Worker>> workers_; /* of the libraries that were found */
    nlohmann::json libraries_ = nlohmann::json::array();
};

} // namespace bench
