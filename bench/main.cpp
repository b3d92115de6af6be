/* SPDX-License-Identifier: Apache-2.0 */
/* hunze_bench: the rows of the suites, with every kernel of this library that takes them and every other library found.
 * What is measured is reported by Google Benchmark, one line per implementation, and written to a result (bench/README.md). */
#include "compare.hpp"
#include "options.hpp"
#include "repro.hpp"
#include "session.hpp"
#include "worker.hpp"

#include "../include/hunze.h"

#include <benchmark/benchmark.h>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <unistd.h>

namespace
{

using namespace bench;
using nlohmann::json;

/* What the standard set leaves out takes a large part of the time. */
bool is_standard(const Row &row) { return row.operations() <= 5e9 && row.bytes() <= 5e8; }

volatile std::sig_atomic_t interrupted = 0;

std::string own_path()
{
    char path[4096];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
    return std::string(path, length > 0 ? static_cast<size_t>(length) : 0);
}

/* The libhunze.so that this program is linked with: that of its build. */
std::string own_library()
{
    Dl_info info;
    return dladdr(reinterpret_cast<void *>(&hunze_version), &info) && info.dli_fname ? info.dli_fname : "";
}

std::vector<Row> read_rows(const Options &o)
{
    std::vector<std::string> files = o.suites;
    if (files.empty()) {
        const std::string folder = HUNZE_BENCH_FOLDER "/suites";
        for (const std::string &name : names_ending_in(folder, ".csv"))
            files.push_back(folder + "/" + name);
        std::reverse(files.begin(), files.end()); /* gemm before conv */
    }
    std::vector<Row> rows;
    std::map<std::string, std::string> ids; /* and where they stand */
    for (const std::string &file : files)
        for (const Row &row : read_suite(file)) {
            if (!ids.emplace(row.id, row.place).second)
                throw SuiteError(row.place + ": id '" + row.id + "' stands at " + ids[row.id] + ", too");
            rows.push_back(row);
        }
    std::vector<Row> chosen;
    for (const Row &row : rows) {
        const bool named = std::find(o.rows.begin(), o.rows.end(), row.id) != o.rows.end();
        if (o.rows.empty() ? o.set == "full" || is_standard(row) : named)
            chosen.push_back(row);
    }
    for (const std::string &id : o.rows)
        if (!ids.count(id))
            throw SuiteError("no row has the id '" + id + "'; --list prints them");
    if (chosen.empty())
        throw SuiteError("no row is left to measure" + std::string(rows.empty()
                                                                       ? ": the suites have none"
                                                                       : "; --set full takes the large ones, too"));
    return chosen;
}

/* On a terminal one line that changes, elsewhere a line per row. */
class Progress
{
  public:
    Progress(size_t rows) : rows_(rows), terminal_(isatty(STDERR_FILENO)) {}
    void row(const std::string &name)
    {
        name_ = name;
        done_++;
        if (!terminal_)
            std::fprintf(stderr, "[%3zu/%zu] %s\n", done_, rows_, name.c_str());
    }
    bool show(double part)
    {
        using namespace std::chrono;
        const auto now = steady_clock::now();
        if (terminal_ && now - shown_ > milliseconds(100)) {
            shown_ = now;
            const double all = (static_cast<double>(done_ - 1) + part) / static_cast<double>(rows_);
            const double seconds = duration<double>(now - start_).count();
            const int width = 30, full = static_cast<int>(all * width);
            std::fprintf(stderr, "\r\033[K[%.*s%.*s] %zu/%zu %s, %d s", full, "##############################",
                         width - full, "..............................", done_, rows_, name_.c_str(),
                         static_cast<int>(seconds));
            if (all > 0.02)
                std::fprintf(stderr, ", about %d s left", static_cast<int>(seconds * (1 - all) / all));
        }
        return !interrupted;
    }
    void end() const
    {
        if (terminal_)
            std::fprintf(stderr, "\r\033[K");
    }

  private:
    size_t rows_, done_ = 0;
    bool terminal_;
    std::string name_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now(), shown_ = {};
};

json context_info(hunze_context *context)
{
    char *text = nullptr;
    if (hunze_context_info(context, &text) != HUNZE_OK)
        return json::object();
    const json info = json::parse(text, nullptr, false);
    hunze_string_free(text);
    return info;
}

/* Whether it can be written as JSON: an error may be infinite, a figure of calls that were never timed is not a number. */
bool is_finite(const json &value) { return value.is_number() && std::isfinite(value.get<double>()); }

/* What was measured as lines of Google Benchmark: the median as the time, the rest as counters. */
void report(const json &rows)
{
    for (const json &row : rows)
        for (const json &one : row.at("implementations")) {
            const std::string way = one.at("way");
            const std::string name = row.at("id").get<std::string>() + "/" + one.at("library").get<std::string>() +
                                     (way.empty() ? "" : "/" + way) +
                                     "/threads:" + std::to_string(row.at("threads").get<int>());
            benchmark::RegisterBenchmark(
                name.c_str(),
                [row, one](benchmark::State &state) {
                    const bool failed = !one.at("failed").is_null(), timed = is_finite(one.at("seconds"));
                    if (failed || !timed)
                        state.SkipWithError((failed ? one.at("failed").get<std::string>() : "not measured").c_str());
                    for (auto _ : state)
                        state.SetIterationTime(timed ? one.at("seconds").get<double>() : 0);
                    if (failed || !timed)
                        return;
                    if (is_finite(one.at("ulp")))
                        state.counters["error_ulp"] = one["ulp"].get<double>();
                    if (one.contains("of_limit") && is_finite(one["of_limit"].at("median")))
                        state.counters["of_limit"] = one["of_limit"]["median"].get<double>();
                    if (is_finite(one.at("joules")))
                        state.counters["joules"] = one["joules"].get<double>();
                    if (one.at("prepack_seconds").get<double>() > 0)
                        state.counters["prepack_seconds"] = one["prepack_seconds"].get<double>();
                    std::string label = "limit: " + one.at("limit").get<std::string>();
                    if (one.at("explain").is_object() && one["explain"].contains("kernel"))
                        label += ", kernel: " + one["explain"]["kernel"].get<std::string>();
                    if (one.at("wrong").get<bool>())
                        label += ", WRONG";
                    state.SetLabel(label);
                    if (one.contains("over"))
                        for (const auto &[other, ratio] : one["over"].items())
                            state.counters["over " + other] = ratio.at("median").get<double>();
                })
                ->UseManualTime()
                ->Iterations(1)
                ->Unit(benchmark::kMicrosecond);
        }
    if (std::any_of(rows.begin(), rows.end(), [](const json &row) { return !row.at("implementations").empty(); }))
        benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
}

/* How a result is wrong. */
std::string error_of(const json &one, const std::string &dtype)
{
    if (!is_finite(one.at("ulp")))
        return "not finite";
    if (is_finite(one.at("of_bound")))
        return "error of " + one["of_bound"].dump() + " bounds, " + one["ulp"].dump() + " ULP";
    if (dtype == "u8s8" || dtype == "s8s8")
        return "wrong integers, off by up to " + std::to_string(std::lround(one["ulp"].get<double>()));
    return "error of " + one["ulp"].dump() + " ULP";
}

/* Names each result that is wrong and each call that failed; how many of them are of this library, through whichever interface. */
int count_faults(const json &rows, const json &overhead)
{
    int count = 0;
    const auto tell = [&](const char *ours, const char *theirs, const std::string &where, const json &one,
                          const std::string &how) {
        const std::string library = one.at("library"), way = one.at("way");
        const bool mine = library == "hunze" || library.rfind("hunze_", 0) == 0;
        count += mine;
        std::cerr << (mine ? ours : theirs) << ": " << where << " " << library << (way.empty() ? "" : " ") << way
                  << ": " << how << "\n";
    };
    for (const json &row : rows)
        for (const json &one : row.at("implementations")) {
            if (one.at("wrong").get<bool>())
                tell("WRONG", "wrong", row.at("id"), one, error_of(one, row.at("dtype")));
            if (!one.at("failed").is_null())
                tell("FAILED", "failed", row.at("id"), one, one["failed"]);
        }
    for (const json &one : overhead)
        if (one.contains("failed"))
            tell("FAILED", "failed", "overhead", one, one["failed"]);
    return count;
}

/* JSON with a line for each member, and for each element of those that are lists: a record that can be read and compared by line. */
std::string by_lines(const json &content)
{
    const auto dump = [](const json &one) { return one.dump(-1, ' ', false, json::error_handler_t::replace); };
    std::string text = "{";
    for (const auto &[name, member] : content.items()) {
        text += (text == "{" ? "\n" : ",\n") + dump(name) + ": ";
        if (member.is_array()) {
            std::string list;
            for (const json &element : member)
                list += (list.empty() ? "\n" : ",\n") + dump(element);
            text += "[" + list + "\n]";
        } else {
            text += dump(member);
        }
    }
    return text + "\n}\n";
}

/* A file that is written whole at the end, or not at all; opened at the start, so that an unwritable folder is known before the run. */
class ResultFile
{
  public:
    explicit ResultFile(const std::string &path) : path_(path), part_(path + ".part")
    {
        if (path.empty())
            return;
        const bool folder = std::filesystem::is_directory(path);
        if (!folder)
            file_.open(part_);
        if (!file_.is_open())
            stop(path + " cannot be written: " + std::strerror(folder ? EISDIR : errno));
    }
    ~ResultFile()
    {
        if (!path_.empty())
            std::remove(part_.c_str()); /* what is written whole has another name */
    }
    void write(const json &content)
    {
        if (path_.empty())
            return;
        file_ << by_lines(content);
        file_.close();
        if (!file_ || std::rename(part_.c_str(), path_.c_str()))
            stop(path_ + " could not be written: " + std::strerror(errno));
    }

  private:
    std::string path_, part_;
    std::ofstream file_;
};

int run_gate(const Options &o, const std::vector<Row> &given)
{
    ResultFile file(o.result);
    CompareOptions options;
    options.program = own_path();
    options.library = o.library;
    options.other = o.gate;
    options.threads = o.threads[0];
    options.rounds.sample_seconds = o.sample_seconds;
    if (access(o.gate.c_str(), R_OK))
        stop("--gate " + o.gate + ": " + std::strerror(errno));
    std::vector<Row> rows = given;
    for (Row &row : rows) {
        row.threads = options.threads;
        row.copies = streams_weights(row) ? copies_of(row) : 1;
        row.every_kernel = true; /* the other build's plan may choose another one */
    }
    const bool terminal = isatty(STDERR_FILENO);
    std::string last;
    const json result = compare(rows, options, [&](const std::string &text) {
        if (terminal)
            std::fprintf(stderr, "\r\033[K%s", text.c_str());
        else if (const std::string row = text.substr(0, text.rfind(',')); row != last)
            std::fprintf(stderr, "%s\n", (last = row).c_str());
        return !interrupted;
    });
    if (terminal)
        std::fprintf(stderr, "\r\033[K");
    std::printf("other build's time over this build's, median and interval; family-wise 1 %% false alarms\n");
    for (const json &one : result.at("comparisons"))
        std::printf("%-6s %-28s %-44s %s\n", one["id"].get<std::string>().c_str(),
                    one["way"].get<std::string>().c_str(), one["text"].get<std::string>().c_str(),
                    one["state"].get<std::string>().c_str());
    for (const json &one : result.at("left_out"))
        std::printf("%-6s %-28s left out: %s\n", one["id"].get<std::string>().c_str(),
                    one["way"].get<std::string>().c_str(), one["why"].get<std::string>().c_str());
    const int losses = result.at("losses");
    std::printf("%d loss%s in %zu comparisons%s\n", losses, losses == 1 ? "" : "es", result.at("comparisons").size(),
                interrupted ? ", interrupted" : "");
    file.write(result);
    if (result.at("comparisons").empty() && !interrupted)
        stop("nothing was compared: no row has a kernel that both builds have and whose calls take at most " +
             std::to_string(std::lround(1e3 * options.longest_call)) + " ms");
    return interrupted ? 2 : losses ? 1 : 0;
}

std::regex filter_of(const std::string &pattern)
{
    try {
        return std::regex(pattern.empty() || pattern == "all" ? "." : pattern);
    } catch (const std::regex_error &error) {
        stop("--benchmark_filter is '" + pattern + "': " + error.what());
    }
}

int run_suites(const Options &o, const std::vector<Row> &rows)
{
    json about = json::object();
    if (!o.about.empty()) {
        std::ifstream file(o.about);
        about = json::parse(file, nullptr, false);
        if (!about.is_object())
            stop("--about " + o.about + " holds no JSON object");
    }
    const int most = *std::max_element(o.threads.begin(), o.threads.end());
    if (most > static_cast<int>(allowed_cpus().size()))
        stop("--threads is " + std::to_string(most) + "; this process may use " +
             std::to_string(allowed_cpus().size()) + " processors");
    SessionOptions options;
    options.program = own_path();
    options.library = o.library;
    options.environment = o.environment;
    options.python_peers = HUNZE_BENCH_FOLDER "/peers";
    options.libraries = o.libraries;
    options.rounds.rounds = o.rounds;
    options.rounds.sample_seconds = o.sample_seconds;
    check_libraries(options);
    const std::regex filter = filter_of(benchmark::GetBenchmarkFilter());
    ResultFile file(o.result);
    hunze_context *created;
    if (hunze_context_create(nullptr, &created) != HUNZE_OK)
        stop(hunze_last_error());
    const std::unique_ptr<hunze_context, decltype(&hunze_context_release)> owned(created, hunze_context_release);
    hunze_context *const context = owned.get();
    std::fprintf(stderr, "ceilings of this machine\n");
    const auto found = context_info(context).value("found", std::vector<std::string>());
    const Ceilings ceilings(measure_ceilings(found, o.threads, 0.05));
    json results = json::array(), libraries, overhead = json::array(), cpus;
    Progress progress(rows.size() * o.threads.size());
    const std::vector<int> everywhere = allowed_cpus();
    for (const int threads : o.threads) {
        pin(everywhere);
        options.threads = threads;
        Session session(options, ceilings, context);
        pin(session.cpus());
        libraries = session.libraries();
        cpus = session.cpus();
        for (const json &library : libraries)
            if (library["name"] == "hunze" && !library["missing"].is_null())
                stop(o.library + ": " + library["missing"].get<std::string>());
        if (threads == o.threads[0]) {
            for (const json &library : libraries)
                std::fprintf(stderr, "%-14s %s\n", library["name"].get<std::string>().c_str(),
                             library["missing"].is_null()
                                 ? library["version"].get<std::string>().c_str()
                                 : ("missing: " + library["missing"].get<std::string>()).c_str());
            overhead = session.overhead(2000);
        }
        for (const Row &row : rows) {
            if (interrupted)
                break;
            progress.row(std::string(row.id) + " " + row.dtype + " " + row.shape() +
                         (threads > 1 ? ", threads " + std::to_string(threads) : ""));
            const auto wanted = [&](const std::string &library) {
                return std::regex_search(row.id + ("/" + library), filter);
            };
            const json result = session.measure_row(row, wanted, [&](double part) { return progress.show(part); });
            results.push_back(result);
        }
    }
    progress.end();
    pin(everywhere);
    report(results);
    std::set<std::string> suites;
    for (const Row &row : rows)
        suites.insert(row.suite);
    json whole = {{"schema", 1},
                  {"version", hunze_version()},
                  {"settings",
                   {{"threads", o.threads},
                    {"rounds", o.rounds},
                    {"sample_seconds", o.sample_seconds},
                    {"cpus", cpus},
                    {"suites", suites},
                    {"set", o.set},
                    {"interrupted", interrupted != 0}}},
                  {"ceilings", ceilings.description()},
                  {"libraries", libraries},
                  {"overhead", overhead},
                  {"rows", results}};
    whole.update(about);
    file.write(whole);
    return count_faults(results, overhead) ? 1 : interrupted ? 2 : 0;
}

/* The exit status. */
int run(Options o)
{
    if (o.library.empty() && (o.worker.empty() || o.worker == "hunze"))
        o.library = own_library();
    if (!o.worker.empty()) {
        for (const bench_peer *const *peer = bench_peers; *peer; peer++)
            if (o.worker == (*peer)->name)
                return serve(**peer, o.library, o.environment, o.threads[0]);
        stop("no library is called '" + o.worker + "'");
    }
    if (!o.repro.empty())
        return repro(o.repro, o.threads[0]);
    std::signal(SIGINT, [](int) { interrupted = 1; });
    const std::vector<Row> rows = read_rows(o);
    if (o.list) {
        for (const Row &row : rows)
            std::printf("%-6s %-5s %-6s %-32s %s\n", row.id, row.op == BENCH_GEMM ? "gemm" : "conv", row.dtype,
                        row.shape().c_str(), row.source.c_str());
        return 0;
    }
    return o.gate.empty() ? run_suites(o, rows) : run_gate(o, rows);
}

} // namespace

int main(int argc, char **argv)
{
    /* Google Benchmark would print its own options and end. */
    if (std::any_of(argv, argv + argc, [](const char *word) { return !std::strcmp(word, "--help"); })) {
        std::cout << usage();
        return 0;
    }
    benchmark::Initialize(&argc, argv);
    try {
        return run(parse_options(argc, argv));
    } catch (const std::exception &error) {
        std::cerr << "hunze_bench: " << error.what() << "\n";
        return 2;
    }
}
