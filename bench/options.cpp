/* SPDX-License-Identifier: Apache-2.0 */
#include "options.hpp"

#include <cstdio>
#include <cstdlib>
#include <getopt.h>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

namespace bench
{

namespace
{

using nlohmann::json;

constexpr const char *text = R"(hunze_bench [options] [--benchmark_… of Google Benchmark]
  --suite FILE           rows to measure; may be given again              (default: those of bench/suites)
  --rows ID,ID           only these rows
  --set standard|full    standard leaves out rows of over 5e9 operations or 5e8 bytes, and takes shorter samples
  --libraries NAME,NAME  only these libraries; hunze is one of them       (default: all that are found)
  --threads N,N          threads per call; a run for each                 (default: 1)
  --rounds N             rounds per row                                   (default: 9)
  --sample-seconds S     what the calls of one sample fill    (default: 0.005, full 0.02, gate 0.002)
  --environment DIR      virtual environment with other libraries
  --library FILE         the libhunze.so to measure                       (default: the one of this build)
  --result FILE          write the result there, as JSON
  --about FILE           JSON object whose members are put into the result (date, revision, compiler, device …)
  --gate FILE            compare with another build's libhunze.so, but for calls over 60 ms: exit status 1 where this build is slower
  --repro LINE           run one call as a trace's line tells it
  --list                 print the rows and end
A row is measured where the filter of --benchmark_filter matches ID/LIBRARY.
Exit status: 0, 1 where a result of this library is wrong, a call of it fails or a gate finds a loss, 2 for wrong arguments or files, an
interrupt, or a gate that compared nothing.
)";

/* At least one part, be it empty. */
std::vector<std::string> split(const std::string &text)
{
    std::vector<std::string> parts;
    std::istringstream stream(text + ",");
    for (std::string part; std::getline(stream, part, ',');)
        parts.push_back(part);
    return parts;
}

double number(const char *text, const std::string &option, double least, double most)
{
    char *end;
    const double value = std::strtod(text, &end);
    if (*end || end == text || !(value >= least && value <= most))
        stop(option + " is '" + text + "'; a number from " + json(least).dump() + " to " + json(most).dump() +
             " is expected");
    return value;
}

int whole_number(const char *text, const std::string &option, long least, long most)
{
    char *end;
    const long value = std::strtol(text, &end, 10);
    if (*end || end == text || value < least || value > most)
        stop(option + " is '" + text + "'; a whole number from " + std::to_string(least) + " to " +
             std::to_string(most) + " is expected");
    return static_cast<int>(value);
}

} // namespace

const char *usage() { return text; }

void stop(const std::string &what) { throw std::runtime_error(what); }

Options parse_options(int argc, char **argv)
{
    enum {
        SUITE = 256,
        ROWS,
        SET,
        LIBRARIES,
        THREADS,
        ROUNDS,
        SAMPLE,
        ENVIRONMENT,
        LIBRARY,
        RESULT,
        ABOUT,
        GATE,
        REPRO,
        WORKER,
        LIST
    };
    static const option known[] = {{"suite", 1, nullptr, SUITE},
                                   {"rows", 1, nullptr, ROWS},
                                   {"set", 1, nullptr, SET},
                                   {"libraries", 1, nullptr, LIBRARIES},
                                   {"threads", 1, nullptr, THREADS},
                                   {"rounds", 1, nullptr, ROUNDS},
                                   {"sample-seconds", 1, nullptr, SAMPLE},
                                   {"environment", 1, nullptr, ENVIRONMENT},
                                   {"library", 1, nullptr, LIBRARY},
                                   {"result", 1, nullptr, RESULT},
                                   {"about", 1, nullptr, ABOUT},
                                   {"gate", 1, nullptr, GATE},
                                   {"repro", 1, nullptr, REPRO},
                                   {"worker", 1, nullptr, WORKER},
                                   {"list", 0, nullptr, LIST},
                                   {nullptr, 0, nullptr, 0}};
    Options o;
    for (int code; (code = getopt_long(argc, argv, "", known, nullptr)) != -1;)
        switch (code) {
        case SUITE: o.suites.push_back(optarg); break;
        case ROWS: o.rows = split(optarg); break;
        case SET:
            o.set = optarg;
            if (o.set != "standard" && o.set != "full")
                stop("--set is '" + o.set + "'; standard or full is expected");
            break;
        case LIBRARIES: o.libraries = split(optarg); break;
        case THREADS:
            o.threads.clear();
            for (const std::string &count : split(optarg))
                o.threads.push_back(whole_number(count.c_str(), "--threads", 1, 1024));
            break;
        case ROUNDS: o.rounds = whole_number(optarg, "--rounds", 1, 1000); break;
        case SAMPLE: o.sample_seconds = number(optarg, "--sample-seconds", 1e-6, 10); break;
        case ENVIRONMENT: o.environment = optarg; break;
        case LIBRARY: o.library = optarg; break;
        case RESULT: o.result = optarg; break;
        case ABOUT: o.about = optarg; break;
        case GATE: o.gate = optarg; break;
        case REPRO: o.repro = optarg; break;
        case WORKER: o.worker = optarg; break;
        case LIST: o.list = true; break;
        default: stop("--help lists the options");
        }
    if (optind < argc)
        stop(std::string("'") + argv[optind] + "' is no option; --help lists them");
    if (o.sample_seconds == 0)
        o.sample_seconds = !o.gate.empty() ? 0.002 : o.set == "full" ? 0.02 : 0.005;
    return o;
}

} // namespace bench
