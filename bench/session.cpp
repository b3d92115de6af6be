/* SPDX-License-Identifier: Apache-2.0 */
#include "session.hpp"

#include "../include/hunze.h"
#include "peak.h"
#include "peers/peer.h"
#include "statistics.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <utility>

namespace bench
{

using nlohmann::json;

/* One way of one library on a row. */
struct Session::Implementation {
    Worker *worker;
    int way;
    json told; /* what the worker said of it */
    Error error;
    std::string failed;
    Limit limit;
    double joules = 0;
    long metered = 0;   /* calls */
    double seconds = 0; /* per call, the last time */
    std::string no_joules;

    std::string name() const { return told.value("name", ""); }
    std::string label() const { return worker->name() + (name().empty() ? "" : " " + name()); }
    bool is_plan() const { return worker->name() == "hunze" && name().rfind("plan", 0) == 0; }
};

namespace
{

std::map<std::string, std::string> environment_of(int threads)
{
    std::map<std::string, std::string> environment = {{"KMP_BLOCKTIME", "1"}};
    for (const char *name : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"})
        environment[name] = std::to_string(threads);
    return environment;
}

/* Of each library's worker, by the library's name. */
std::vector<std::pair<std::string, std::vector<std::string>>> commands_of(const SessionOptions &options)
{
    std::vector<std::pair<std::string, std::vector<std::string>>> commands;
    for (const bench_peer *const *peer = bench_peers; *peer; peer++) {
        const std::string name = (*peer)->name;
        commands.emplace_back(name, worker_command(options.program, name, options.threads,
                                                   name == "hunze" ? options.library : "", options.environment));
    }
    const std::string python = options.environment.empty() ? "python3" : options.environment + "/bin/python";
    const std::string ending = "_peer.py";
    for (const std::string &file : names_ending_in(options.python_peers, ending)) {
        const std::string name = file.substr(0, file.size() - ending.size());
        commands.emplace_back(name, std::vector<std::string>{python, options.python_peers + "/worker.py", name,
                                                             "--threads", std::to_string(options.threads)});
    }
    return commands;
}

json summary(const Summary &s) { return {{"median", s.median}, {"low", s.low}, {"high", s.high}, {"rounds", s.count}}; }

/* Counts joules from its making on; ended also where a worker fails meanwhile. */
class Meter
{
  public:
    explicit Meter(hunze_context *context)
    {
        if (hunze_meter_start(context, &meter_) != HUNZE_OK)
            why_ = hunze_last_error();
    }
    Meter(const Meter &) = delete;
    Meter &operator=(const Meter &) = delete;
    ~Meter()
    {
        if (meter_)
            hunze_meter_stop(meter_, nullptr);
    }
    /* Joules since then, or none and why. */
    std::optional<double> stop(std::string &why)
    {
        char *text = nullptr;
        json used;
        if (hunze_meter *meter = std::exchange(meter_, nullptr)) {
            if (hunze_meter_stop(meter, &text) == HUNZE_OK)
                used = json::parse(text, nullptr, false);
            else
                why_ = hunze_last_error();
            hunze_string_free(text);
        }
        if (used.is_object() && used.value("joules", json()).is_number())
            return used["joules"].get<double>();
        if (used.is_object())
            why_ = used.value("joules_reason", "");
        why = why_.empty() ? "the meter gave no figure" : why_;
        return std::nullopt;
    }

  private:
    hunze_meter *meter_ = nullptr;
    std::string why_;
};

json against(const Summary &ratio)
{
    json text = summary(ratio);
    const std::string said = verdict(ratio);
    text["verdict"] = said.empty() ? json() : json(said);
    return text;
}

} // namespace

void check_libraries(const SessionOptions &options)
{
    std::string known;
    std::set<std::string> names;
    for (const auto &[name, command] : commands_of(options)) {
        known += (known.empty() ? "" : ", ") + name;
        names.insert(name);
    }
    for (const std::string &name : options.libraries)
        if (!names.count(name))
            throw std::runtime_error("no library is called '" + name + "'; there are " + known);
}

Session::Session(SessionOptions options, const Ceilings &ceilings, hunze_context *context)
    : options_(std::move(options)), ceilings_(ceilings), context_(context), cpus_(measuring_cpus(options_.threads))
{
    for (const auto &[name, command] : commands_of(options_)) {
        const auto &chosen = options_.libraries;
        if (!chosen.empty() && std::find(chosen.begin(), chosen.end(), name) == chosen.end())
            continue;
        auto worker = std::make_unique<Worker>(name, command, cpus_, environment_of(options_.threads));
        json entry = {{"name", name}, {"version", nullptr}, {"place", nullptr}, {"missing", nullptr}};
        try {
            const json answer = worker->ask({{"do", "hello"}}, 120);
            if (answer.contains("missing")) {
                entry["missing"] = answer["missing"];
            } else {
                entry["version"] = answer.at("version");
                entry["place"] = answer.at("place");
                workers_.push_back(std::move(worker));
            }
        } catch (const std::exception &error) {
            entry["missing"] = error.what();
        }
        libraries_.push_back(entry);
    }
}

/* Makes the worker ready for the row; its ways join the implementations. */
void Session::prepare(Worker &worker, const json &request, json &absent, std::vector<Implementation> &implementations)
{
    try {
        const json answer = worker.ask(request);
        if (answer.at("ways").empty())
            absent[worker.name()] = answer.value("why", "");
        int index = 0;
        for (const json &way : answer.at("ways")) {
            Implementation implementation = {};
            implementation.worker = &worker;
            implementation.way = index++;
            implementation.told = way;
            implementations.push_back(implementation);
        }
    } catch (const std::exception &error) {
        Implementation failed = {};
        failed.worker = &worker;
        failed.told = {{"name", ""}};
        failed.failed = error.what();
        implementations.push_back(failed);
    }
}

/* One call, whose result is judged. */
void Session::check(Implementation &implementation, const Row &row, const Operands &operands,
                    const Reference &reference)
{
    implementation.limit = ceilings_.limit_of(row, implementation.told.value("isa", ""));
    try {
        if (!implementation.worker->runs())
            throw WorkerError("its process had ended");
        const double start = hunze_bench_seconds();
        implementation.worker->ask({{"do", "check"}, {"way", implementation.way}});
        implementation.seconds = hunze_bench_seconds() - start;
        implementation.error = judge(row, reference, operands.d.data(), implementation.told.at("d_dtype"));
    } catch (const std::exception &error) {
        implementation.failed = error.what();
    }
}

/* What a result says of an implementation; `limit` took its turns in the same rounds, or is null. */
json Session::describe(const Implementation &one, const Series &series, const Series *limit)
{
    json samples = json::array();
    for (size_t round = 0; round < series.seconds.size(); round++)
        samples.push_back(series.has(round) ? json(series.seconds[round]) : json());
    const std::string failed = one.failed.empty() ? series.failed : one.failed;
    const std::string no_joules = !one.no_joules.empty() ? one.no_joules
                                  : failed.empty()       ? "its calls were not timed"
                                                         : "it failed before its calls were timed";
    json entry = {{"library", one.worker->name()},
                  {"way", one.name()},
                  {"seconds", seconds_of(series)},
                  {"samples", samples},
                  {"limit", one.limit.name},
                  {"ulp", one.error.ulp},
                  {"of_bound", one.error.of_bound},
                  {"checked", one.error.checked},
                  {"wrong", one.failed.empty() && one.error.wrong()},
                  {"prepack_seconds", one.told.value("prepack_seconds", 0.0)},
                  {"explain", one.told.value("explain", json())},
                  {"joules", one.metered ? json(one.joules / static_cast<double>(one.metered)) : json()},
                  {"joules_reason", one.metered ? json() : json(no_joules)},
                  {"failed", failed.empty() ? json() : json(failed)}};
    if (limit)
        entry["of_limit"] = summary(summarize(ratios(*limit, series)));
    if (one.is_plan())
        entry["over"] = json::object();
    return entry;
}

double Session::time(Implementation &implementation, long calls)
{
    /* Longer calls do not gain from caches that are warm. */
    constexpr double short_call = 0.02;
    const bool warm = !(implementation.seconds > short_call);
    std::optional<Meter> meter;
    if (implementation.no_joules.empty())
        meter.emplace(context_);
    const json answer =
        implementation.worker->ask({{"do", "run"}, {"way", implementation.way}, {"calls", calls}, {"warm", warm}});
    if (meter) {
        if (const std::optional<double> joules = meter->stop(implementation.no_joules)) {
            implementation.joules += *joules;
            implementation.metered += calls + warm; /* the meter ran in the call that was not timed, too */
        }
    }
    /* Of one thread, what it had of the processor: time that other programs took does not count. */
    const double cpu = answer.value("cpu", 0.0);
    const double seconds = options_.threads == 1 && cpu > 0 ? cpu : answer.at("wall").get<double>();
    implementation.seconds = seconds / static_cast<double>(calls);
    return seconds;
}

json Session::measure_row(const Row &given, const std::function<bool(const std::string &)> &wanted,
                          const std::function<bool(double)> &progress)
{
    Row row = given;
    row.threads = options_.threads;
    const Limit limit = ceilings_.limit_of(row, "");
    const bool from_memory = ceilings_.memory_bound(row);
    row.copies = from_memory ? copies_of(row) : 1;
    const Operands operands(row);
    const Reference reference = make_reference(row, operands);

    json absent = json::object();
    std::vector<Implementation> all;
    const json request = prepare_request(row, operands);
    for (const auto &worker : workers_)
        if (wanted(worker->name()))
            prepare(*worker, request, absent, all);
    for (Implementation &one : all)
        if (one.failed.empty())
            check(one, row, operands, reference);

    std::vector<Contender> contenders; /* the implementations in their order, then the limits */
    std::map<std::string, size_t> limits;
    const double amount = limit.read ? row.bytes() : row.operations();
    for (Implementation &one : all) {
        Contender contender;
        contender.ours = one.is_plan();
        contender.calls_multiple = row.copies;
        if (one.failed.empty() && one.seconds > options_.longest_call && one.worker->name() != "hunze") {
            contender.known = one.seconds; /* of the call that was checked */
            one.no_joules = "a call takes so long that only the one that was checked is timed";
        }
        contender.time = [this, &one](long calls) {
            if (!one.failed.empty())
                throw WorkerError(one.failed);
            if (!one.worker->runs())
                throw WorkerError("its process had ended");
            return time(one, calls);
        };
        contenders.push_back(contender);
    }
    for (const Implementation &one : all)
        if (one.failed.empty() && !limits.count(one.limit.name)) {
            limits[one.limit.name] = contenders.size();
            Contender contender;
            contender.limit = true;
            contender.time = [this, &one, amount](long calls) {
                return static_cast<double>(calls) * amount / ceilings_.sample(one.limit, options_.threads, 0.003);
            };
            contenders.push_back(contender);
        }
    const std::vector<Series> series = measure(contenders, options_.rounds, progress);
    for (const auto &worker : workers_)
        if (worker->runs())
            try {
                worker->ask({{"do", "release"}});
            } catch (const std::exception &) { /* the next row starts it again */
                worker->stop();
            }

    json implementations = json::array();
    for (size_t i = 0; i < all.size(); i++) {
        const auto own = limits.find(all[i].limit.name);
        json entry = describe(all[i], series[i], own == limits.end() ? nullptr : &series[own->second]);
        if (all[i].is_plan())
            for (size_t j = 0; j < all.size(); j++)
                if (const Summary ratio = summarize(ratios(series[j], series[i])); j != i && ratio.count > 0)
                    entry["over"][all[j].label()] = against(ratio);
        implementations.push_back(entry);
    }
    return {{"id", row.id},
            {"suite", row.suite},
            {"op", row.op == BENCH_GEMM ? "gemm" : "conv"},
            {"dtype", row.dtype},
            {"shape", row.shape()},
            {"source", row.source},
            {"threads", options_.threads},
            {"operations", row.operations()},
            {"bytes", row.bytes()},
            {"state", row.copies > 1 ? "weights from memory, " + std::to_string(row.copies) + " copies"
                      : from_memory  ? "weights from memory"
                                     : "warm"},
            {"limit",
             {{"name", limit.name},
              {"kind", limit.read ? "read" : "compute"},
              {"rate", ceilings_.rate(limit, options_.threads)}}},
            {"absent", absent},
            {"implementations", implementations}};
}

json Session::overhead(long calls)
{
    json list = json::array();
    for (const auto &worker : workers_) {
        try {
            const json answer = worker->ask({{"do", "overhead"}, {"calls", calls}});
            const double clock = median(answer.at("clock").get<std::vector<double>>());
            for (const json &way : answer.at("ways")) {
                auto nanoseconds = way.at("nanoseconds").get<std::vector<double>>();
                if (nanoseconds.empty())
                    continue;
                std::sort(nanoseconds.begin(), nanoseconds.end());
                const double p99 = nanoseconds[(nanoseconds.size() - 1) * 99 / 100];
                list.push_back({{"library", worker->name()},
                                {"way", way.at("name")},
                                {"p50", std::max(0.0, median(nanoseconds) - clock)},
                                {"p99", std::max(0.0, p99 - clock)}});
            }
        } catch (const std::exception &error) {
            list.push_back({{"library", worker->name()},
                            {"way", ""},
                            {"p50", nullptr},
                            {"p99", nullptr},
                            {"failed", error.what()}});
        }
    }
    return list;
}

} // namespace bench
