/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: a process that measures for the coordinator, one JSON object per line there and back (bench/README.md, Protocol). */
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <sys/types.h>
#include <vector>

namespace bench
{

/* The worker ended, did not answer in time, or answered {"error": …}. */
struct WorkerError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Worker
{
  public:
    /* cpus: the processors that it may use, set before it starts.  environment: added to this process's, of which it gets all but what
     * tunes other libraries (OPENBLAS_CORETYPE and the like). */
    Worker(std::string name, std::vector<std::string> command, std::vector<int> cpus,
           std::map<std::string, std::string> environment);
    Worker(const Worker &) = delete;
    Worker &operator=(const Worker &) = delete;
    ~Worker();

    const std::string &name() const { return name_; }
    /* Starts the process where it does not run, sends the request and waits for the answer. */
    nlohmann::json ask(const nlohmann::json &request, double seconds = 600);
    bool runs() const { return pid_ > 0; }
    /* Ends the process; the next request starts a new one. */
    void stop();

  private:
    void start();
    std::string end(); /* "ended by signal 11" */

    std::string name_, pending_;
    std::vector<std::string> command_;
    std::vector<int> cpus_;
    std::map<std::string, std::string> environment_;
    pid_t pid_ = -1;
    int to_ = -1, from_ = -1;
};

/* Restricts this process to the processors. */
void pin(const std::vector<int> &cpus);
/* The processors that this process may use. */
std::vector<int> allowed_cpus();
/* So many of them, the last: the system's own work prefers the first. */
std::vector<int> measuring_cpus(int threads);

/* The command of a worker behind a C ABI: `program` is hunze_bench; library and environment may be "". */
std::vector<std::string> worker_command(const std::string &program, const std::string &name, int threads,
                                        const std::string &library, const std::string &environment);

/* Names in a folder that end so, with something before it, in order; none where the folder cannot be read. */
std::vector<std::string> names_ending_in(const std::string &folder, const std::string &ending);

} // namespace bench
