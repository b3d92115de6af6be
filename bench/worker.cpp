/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.hpp"

#include "operands.hpp"
#include "peak.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <sys/mman.h>
#include <unistd.h>

namespace bench
{

using nlohmann::json;

namespace
{

/* An operand that the coordinator made: where it made it if written, else a copy in memory of huge pages, as NumPy's large arrays have. */
class Mapping
{
  public:
    Mapping(const json &place, bool write) : bytes_(place.at("bytes"))
    {
        const std::string file = place.at("file");
        const int descriptor = open(file.c_str(), write ? O_RDWR : O_RDONLY);
        data_ = mmap(nullptr, bytes_, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, descriptor,
                     place.at("offset").get<off_t>());
        if (descriptor >= 0)
            close(descriptor);
        if (data_ == MAP_FAILED)
            throw std::runtime_error("operand " + file + " cannot be mapped");
        if (!write && bytes_ >= HUGE_PAGE)
            copy();
    }
    Mapping(const Mapping &) = delete;
    Mapping &operator=(const Mapping &) = delete;
    ~Mapping() { munmap(data_, bytes_); }
    void *data() const { return data_; }
    size_t bytes() const { return bytes_; }

  private:
    static constexpr size_t HUGE_PAGE = 2 << 20;
    void copy()
    {
        void *to = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (to == MAP_FAILED)
            return; /* it is measured where it is */
        madvise(to, bytes_, MADV_HUGEPAGE);
        std::memcpy(to, data_, bytes_);
        munmap(data_, bytes_);
        data_ = to;
    }
    void *data_;
    size_t bytes_;
};

/* A row made ready: its operands and the ways of the library. */
class Prepared
{
  public:
    Prepared(const bench_peer &peer, const Row &row, const json &operands)
        : row_(row), a_(operands.at("a"), false), b_(operands.at("b"), false), d_(operands.at("d"), true)
    {
        row_.a = a_.data();
        row_.b = b_.data();
        row_.b_stride = operands.at("b").at("stride");
        if (operands.contains("scales") && !operands.at("scales").is_null()) {
            scales_ = std::make_unique<Mapping>(operands.at("scales"), false);
            row_.scales = static_cast<const float *>(scales_->data());
        }
        row_.d = d_.data();
        char why[256] = "";
        count_ = peer.prepare(&row_, ways_, why);
        why_ = why;
    }
    Prepared(const Prepared &) = delete;
    Prepared &operator=(const Prepared &) = delete;
    ~Prepared()
    {
        for (int i = 0; i < count_; i++) {
            free(ways_[i].explain);
            if (ways_[i].release)
                ways_[i].release(ways_[i].state);
        }
    }
    json description() const
    {
        json ways = json::array();
        for (int i = 0; i < count_; i++) {
            const bench_way &way = ways_[i];
            json explain = way.explain ? json::parse(way.explain, nullptr, false) : json();
            ways.push_back({{"name", way.name},
                            {"isa", way.isa},
                            {"d_dtype", way.d_dtype},
                            {"prepack_seconds", way.prepack_seconds},
                            {"explain", explain.is_discarded() ? json() : explain}});
        }
        return {{"ways", ways}, {"why", why_}};
    }
    int count() const { return count_; }
    int copies() const { return row_.copies; }
    const bench_way &way(int index) const
    {
        if (index < 0 || index >= count_)
            throw std::runtime_error("way " + std::to_string(index) + " of " + std::to_string(count_));
        return ways_[index];
    }
    void call(const bench_way &way, long number) const
    {
        if (!way.call(way.state, static_cast<int>(number % row_.copies)))
            throw std::runtime_error("the call failed");
    }
    void check(const bench_way &way) const
    {
        std::memset(d_.data(), 0xFF, d_.bytes());
        call(way, 0);
        if (way.finish)
            way.finish(way.state);
    }

  private:
    Row row_;
    Mapping a_, b_, d_;
    std::unique_ptr<Mapping> scales_;
    bench_way ways_[BENCH_MOST_WAYS] = {};
    int count_ = 0;
    std::string why_;
};

json run(const Prepared &prepared, int index, long calls, bool warm)
{
    const bench_way &way = prepared.way(index);
    if (warm) /* not with copy 0: the first timed call shall find that in the caches as it finds the others */
        prepared.call(way, prepared.copies() - 1);
    const double cpu = hunze_bench_thread_seconds(), wall = hunze_bench_seconds();
    for (long i = 0; i < calls; i++)
        prepared.call(way, i);
    return {{"wall", hunze_bench_seconds() - wall}, {"cpu", hunze_bench_thread_seconds() - cpu}};
}

/* Nanoseconds of each of so many calls alone. */
template <typename Call> std::vector<double> each(long calls, Call call)
{
    std::vector<double> nanoseconds(static_cast<size_t>(calls));
    for (double &one : nanoseconds) {
        const double start = hunze_bench_seconds();
        call();
        one = (hunze_bench_seconds() - start) * 1e9;
    }
    return nanoseconds;
}

json overhead(const bench_peer &peer, int threads, long calls)
{
    Row row;
    std::strcpy(row.id, "overhead");
    std::strcpy(row.dtype, "f32");
    row.m = row.n = row.k = 4;
    row.batch = row.copies = 1;
    row.threads = threads;
    const Operands operands(row);
    const Prepared prepared(peer, row, operands.description(row));
    json ways = json::array();
    for (int i = 0; i < prepared.count(); i++) {
        const bench_way &way = prepared.way(i);
        each(calls / 10 + 1, [&] { prepared.call(way, 0); });
        ways.push_back({{"name", way.name}, {"nanoseconds", each(calls, [&] { prepared.call(way, 0); })}});
    }
    return {{"ways", ways}, {"clock", each(calls, [] { __asm__ volatile("" ::: "memory"); })}};
}

} // namespace

int serve(const bench_peer &peer, const std::string &library, const std::string &environment, int threads)
{
    const int answers = dup(STDOUT_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* what the library prints */
    char version[128] = "", place[512] = "", why[256] = "";
    const bool found = peer.open(library.empty() ? nullptr : library.c_str(),
                                 environment.empty() ? nullptr : environment.c_str(), threads, version, place, why);
    std::unique_ptr<Prepared> prepared;
    for (std::string line; std::getline(std::cin, line);) {
        json answer = json::object();
        try {
            const json request = json::parse(line);
            const std::string what = request.at("do");
            if (what == "hello") {
                if (found)
                    answer = {{"name", peer.name}, {"version", version}, {"place", place}};
                else
                    answer = {{"missing", why}};
            } else if (!found) {
                throw std::runtime_error(std::string(peer.name) + " is missing: " + why);
            } else if (what == "prepare") {
                prepared.reset();
                prepared = std::make_unique<Prepared>(peer, row_of(request.at("row")), request.at("operands"));
                answer = prepared->description();
            } else if (what == "release") {
                prepared.reset();
            } else if (what == "overhead") {
                answer = overhead(peer, threads, request.at("calls"));
            } else if (what != "check" && what != "run") {
                throw std::runtime_error("unknown request '" + what + "'");
            } else if (!prepared) {
                throw std::runtime_error("no row is prepared");
            } else if (what == "check") {
                prepared->check(prepared->way(request.at("way")));
            } else {
                answer = run(*prepared, request.at("way"), request.at("calls"), request.value("warm", true));
            }
        } catch (const std::exception &error) {
            answer = {{"error", error.what()}};
        }
        const std::string text = answer.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
        for (size_t done = 0; done < text.size();) {
            const ssize_t count = write(answers, text.data() + done, text.size() - done);
            if (count <= 0)
                return 1;
            done += static_cast<size_t>(count);
        }
    }
    return 0;
}

} // namespace bench
