/* SPDX-License-Identifier: Apache-2.0 */
#include "process.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace bench
{

using nlohmann::json;

void pin(const std::vector<int> &cpus)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int cpu : cpus)
        CPU_SET(static_cast<size_t>(cpu), &set);
    sched_setaffinity(0, sizeof set, &set);
}

std::vector<int> allowed_cpus()
{
    cpu_set_t set;
    std::vector<int> cpus;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET(static_cast<size_t>(cpu), &set))
                cpus.push_back(cpu);
    return cpus;
}

std::vector<int> measuring_cpus(int threads)
{
    std::vector<int> cpus = allowed_cpus();
    if (static_cast<int>(cpus.size()) > threads)
        cpus.erase(cpus.begin(), cpus.end() - threads);
    return cpus;
}

std::vector<std::string> worker_command(const std::string &program, const std::string &name, int threads,
                                        const std::string &library, const std::string &environment)
{
    std::vector<std::string> command = {program, "--worker", name, "--threads", std::to_string(threads)};
    if (!library.empty())
        command.insert(command.end(), {"--library", library});
    if (!environment.empty())
        command.insert(command.end(), {"--environment", environment});
    return command;
}

std::vector<std::string> names_ending_in(const std::string &folder, const std::string &ending)
{
    std::vector<std::string> names;
    std::error_code unreadable;
    for (const auto &entry : std::filesystem::directory_iterator(folder, unreadable)) {
        const std::string name = entry.path().filename();
        if (name.size() > ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0)
            names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

/* What tells other libraries which kernels and how many threads to take: a figure of theirs shall be that of their own choice.  torch
 * has ATEN_CPU_CAPABILITY, FBGEMM_ENABLE_INSTRUCTIONS, TORCH_MKLDNN_MATMUL_MIN_DIM and more.  The list is that of
 * bindings/python/hunze/_environment.py. */
static void forget_tuning()
{
    static const char *const prefixes[] = {"OPENBLAS_",  "GOTO_",    "MKL_", "BLIS_", "ONEDNN_", "DNNL_",  "MKLDNN_",
                                           "OMP_",       "GOMP_",    "KMP_", "NPY_",  "ATEN_",   "TORCH_", "FBGEMM_",
                                           "LRU_CACHE_", "THP_MEM_", "ORT_", "MLAS_", "GGML_"};
    std::vector<std::string> names;
    for (char **variable = environ; *variable; variable++)
        for (const char *prefix : prefixes)
            if (std::strncmp(*variable, prefix, std::strlen(prefix)) == 0)
                names.emplace_back(*variable, std::strcspn(*variable, "="));
    for (const std::string &name : names)
        unsetenv(name.c_str());
}

Worker::Worker(std::string name, std::vector<std::string> command, std::vector<int> cpus,
               std::map<std::string, std::string> environment)
    : name_(std::move(name)), command_(std::move(command)), cpus_(std::move(cpus)), environment_(std::move(environment))
{
}

Worker::~Worker() { stop(); }

void Worker::start()
{
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC))
        throw WorkerError(std::string("no pipe: ") + std::strerror(errno));
    if (pipe2(from, O_CLOEXEC)) {
        close(to[0]);
        close(to[1]);
        throw WorkerError(std::string("no pipe: ") + std::strerror(errno));
    }
    std::vector<char *> arguments;
    for (std::string &word : command_)
        arguments.push_back(word.data());
    arguments.push_back(nullptr);
    /* A worker may end before it reads a request: write() shall say so, not end this process. */
    std::signal(SIGPIPE, SIG_IGN);
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* no worker outlives an interrupted run */
        if (getppid() != parent)
            _exit(1);
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        std::signal(SIGINT, SIG_IGN); /* the coordinator decides */
        std::signal(SIGPIPE, SIG_DFL);
        pin(cpus_);
        forget_tuning();
        for (const auto &[key, value] : environment_)
            setenv(key.c_str(), value.c_str(), 1);
        execvp(arguments[0], arguments.data());
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    to_ = to[1];
    from_ = from[0];
    pending_.clear();
    if (pid_ < 0) {
        stop();
        throw WorkerError(std::string("no process: ") + std::strerror(errno));
    }
}

std::string Worker::end()
{
    int status = 0;
    const pid_t pid = pid_;
    pid_ = -1;
    close(to_);
    close(from_);
    to_ = from_ = -1;
    if (pid > 0 && waitpid(pid, &status, 0) == pid) {
        if (WIFSIGNALED(status))
            return "ended by signal " + std::to_string(WTERMSIG(status));
        if (WEXITSTATUS(status) == 127)
            return "could not be started: " + command_[0];
        return "ended with status " + std::to_string(WEXITSTATUS(status));
    }
    return "ended";
}

void Worker::stop()
{
    if (to_ < 0)
        return;
    if (pid_ > 0)
        kill(pid_, SIGKILL);
    end();
}

json Worker::ask(const json &request, double seconds)
{
    using clock = std::chrono::steady_clock;
    const std::string what = request.value("do", ""), text = request.dump() + "\n";
    if (!runs())
        start();
    for (size_t done = 0; done < text.size();) {
        const ssize_t count = write(to_, text.data() + done, text.size() - done);
        if (count < 0 && errno != EINTR)
            throw WorkerError(end() + " before " + what);
        done += count > 0 ? static_cast<size_t>(count) : 0;
    }
    const auto deadline = clock::now() + std::chrono::duration<double>(seconds);
    for (size_t line; (line = pending_.find('\n')) == std::string::npos;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock::now()).count();
        pollfd waiting = {from_, POLLIN, 0};
        const int ready = poll(&waiting, 1, left > 0 ? static_cast<int>(left) : 0);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0) {
            stop();
            throw WorkerError("gave no answer to " + what + " within " + std::to_string(static_cast<int>(seconds)) +
                              " s");
        }
        char buffer[1 << 16];
        const ssize_t count = read(from_, buffer, sizeof buffer);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            throw WorkerError(end() + " in " + what);
        pending_.append(buffer, static_cast<size_t>(count));
    }
    const size_t line = pending_.find('\n');
    const std::string answer = pending_.substr(0, line);
    pending_.erase(0, line + 1);
    json parsed = json::parse(answer, nullptr, false);
    if (!parsed.is_object()) {
        stop();
        throw WorkerError("answered no JSON object to " + what);
    }
    if (parsed.contains("error"))
        throw WorkerError(parsed["error"].is_string() ? parsed["error"].get<std::string>() : parsed["error"].dump());
    return parsed;
}

} // namespace bench
