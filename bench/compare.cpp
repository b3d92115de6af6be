/* SPDX-License-Identifier: Apache-2.0 */
#include "compare.hpp"

#include "operands.hpp"
#include "process.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <memory>

namespace bench
{

using nlohmann::json;

namespace
{

/* Short samples that often take turns meet the same neighbours. */
constexpr int rounds_of_a_block = 5;

struct Comparison {
    const Row *row;
    std::string way;
    std::vector<double> ratios; /* other's seconds over this build's */
    GateState state = GateState::AGAIN;
};

/* Two workers, this build's and the other's, with a row made ready. */
class Pair
{
  public:
    /* other_first: its process is started and made ready before this build's, so that neither always gets the better memory. */
    Pair(const CompareOptions &options, const std::vector<int> &cpus, const json &request, bool other_first = false)
    {
        workers_.resize(2);
        ways_.resize(2);
        for (const size_t build : {size_t{other_first}, size_t{!other_first}}) {
            const std::string &library = build ? options.other : options.library;
            const auto command = worker_command(options.program, "hunze", options.threads, library, "");
            workers_[build] = std::make_unique<Worker>("hunze", command, cpus, std::map<std::string, std::string>());
            const json answer = workers_[build]->ask(request);
            for (const json &way : answer.at("ways"))
                ways_[build].emplace(way.at("name"), static_cast<int>(ways_[build].size()));
        }
    }
    const std::map<std::string, int> &ways(size_t build) const { return ways_[build]; }
    /* Seconds of a call of the build that is faster; the second one, as the first finds what is cold in a new process, too. */
    double call(const std::string &way, bool one_thread)
    {
        double least = std::numeric_limits<double>::infinity();
        for (size_t build = 0; build < 2; build++) {
            time(build, way, 1, one_thread);
            least = std::min(least, time(build, way, 1, one_thread));
        }
        return least;
    }
    double time(size_t build, const std::string &way, long calls, bool one_thread)
    {
        const bool warm = calls > 1; /* one that fills a sample alone does not gain from warm caches */
        const json answer =
            workers_[build]->ask({{"do", "run"}, {"way", ways_[build].at(way)}, {"calls", calls}, {"warm", warm}});
        return answer.at(one_thread ? "cpu" : "wall");
    }

  private:
    std::vector<std::unique_ptr<Worker>> workers_;
    std::vector<std::map<std::string, int>> ways_;
};

std::string milliseconds(double seconds)
{
    char buffer[40];
    std::snprintf(buffer, sizeof buffer, "%.3g", 1e3 * seconds);
    return buffer;
}

std::string text(const Summary &ratio)
{
    char buffer[80];
    std::snprintf(buffer, sizeof buffer, "%.3f (%.3f to %.3f, %d blocks)", ratio.median, ratio.low, ratio.high,
                  ratio.count);
    return buffer;
}

} // namespace

json compare(const std::vector<Row> &rows, const CompareOptions &options,
             const std::function<bool(const std::string &)> &progress)
{
    const std::vector<int> cpus = measuring_cpus(options.threads);
    json left_out = json::array();
    std::vector<Comparison> all;
    for (const Row &row : rows) { /* what both builds have */
        if (!progress(row.id))
            break;
        Pair pair(options, cpus, prepare_request(row, Operands(row)));
        const auto leave_out = [&](const std::string &way, const std::string &why) {
            left_out.push_back({{"id", row.id}, {"way", way}, {"why", why}});
        };
        if (pair.ways(0).empty() && pair.ways(1).empty())
            leave_out("", "neither build does it");
        for (const auto &[way, index] : pair.ways(1))
            if (!pair.ways(0).count(way))
                leave_out(way, "only the other build has it");
        for (const auto &[way, index] : pair.ways(0)) {
            if (!pair.ways(1).count(way))
                leave_out(way, "only this build has it");
            else if (const double seconds = pair.call(way, options.threads == 1); seconds > options.longest_call)
                leave_out(way,
                          "a call takes " + milliseconds(seconds) + " ms, over " + milliseconds(options.longest_call));
            else
                all.push_back({&row, way, {}, GateState::AGAIN});
        }
    }
    const Gate gate(static_cast<int>(all.size()), options.gate);
    bool going = true;
    for (int look = 0; look < options.gate.looks && going; look++)
        for (const Row &row : rows) {
            const auto open = [&](const Comparison &c) { return c.row == &row && c.state == GateState::AGAIN; };
            if (!going || std::none_of(all.begin(), all.end(), open))
                continue;
            const Operands operands(row);
            for (int block = look ? gate.blocks(look - 1) : 0; block < gate.blocks(look) && going; block++) {
                Pair pair(options, cpus, prepare_request(row, operands), block / 2 % 2);
                for (Comparison &comparison : all) {
                    if (!open(comparison))
                        continue;
                    RoundOptions once = options.rounds;
                    once.rounds = once.slow_rounds = rounds_of_a_block;
                    std::vector<Contender> contenders(2);
                    for (size_t build = 0; build < 2; build++) { /* which comes first changes from block to block */
                        const size_t place = block % 2 ? 1 - build : build;
                        contenders[place].ours = true;
                        contenders[place].calls_multiple = row.copies;
                        contenders[place].time = [&, build](long calls) {
                            return pair.time(build, comparison.way, calls, options.threads == 1);
                        };
                    }
                    const std::vector<Series> series = measure(contenders, once, [](double) { return true; });
                    for (const Series &one : series)
                        if (!one.failed.empty())
                            throw WorkerError(std::string(row.id) + " " + comparison.way + ": " + one.failed);
                    comparison.ratios.push_back(median(ratios(series[block % 2 ? 0 : 1], series[block % 2 ? 1 : 0])));
                }
                going = progress("look " + std::to_string(look + 1) + ", " + row.id + ", block " +
                                 std::to_string(block + 1) + " of " + std::to_string(gate.blocks(look)));
            }
            for (Comparison &comparison : all)
                if (going && open(comparison))
                    comparison.state = gate.decide(comparison.ratios, look);
        }
    json comparisons = json::array();
    int losses = 0;
    for (const Comparison &comparison : all) {
        const Summary ratio = gate.interval(comparison.ratios);
        losses += comparison.state == GateState::LOSS;
        comparisons.push_back({{"id", comparison.row->id},
                               {"way", comparison.way},
                               {"ratio", {{"median", ratio.median}, {"low", ratio.low}, {"high", ratio.high}}},
                               {"ratios", comparison.ratios},
                               {"state", name_of(comparison.state)},
                               {"text", text(ratio)}});
    }
    return {{"comparisons", comparisons}, {"left_out", left_out}, {"losses", losses}};
}

} // namespace bench
