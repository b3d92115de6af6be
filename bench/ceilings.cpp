/* SPDX-License-Identifier: Apache-2.0 */
#include "ceilings.hpp"

#include "bandwidth.h"
#include "peak.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace bench
{

using nlohmann::json;

std::string arithmetic_of(const std::string &dtype)
{
    if (dtype == "s8s8" || dtype[0] == 'w')
        return "u8s8";
    return dtype;
}

std::vector<Ceiling> measure_ceilings(const std::vector<std::string> &isas, const std::vector<int> &threads,
                                      double seconds)
{
    std::vector<Ceiling> measured;
    const auto add = [&](const Limit &limit, const std::function<double(int)> &rate) {
        const double one = rate(1);
        if (!(one > 0)) /* the bundle has no such instruction */
            return;
        measured.push_back({limit, {{1, one}}});
        for (const int count : threads)
            if (count > 1)
                measured.back().rates[count] = rate(count);
    };
    for (const char *type : {"f32", "f64", "bf16", "u8s8"})
        for (const std::string &isa : isas)
            add({type + (" " + isa), isa, type, false}, [&](int count) {
                return count > 1 ? hunze_peak_flops_all(isa.c_str(), type, count, seconds)
                                 : hunze_peak_flops(isa.c_str(), type, seconds);
            });
    add({"read", "", "", true}, [&](int count) { return hunze_read_bandwidth(count, seconds); });
    add({"copy", "", "", true}, [&](int count) { return hunze_copy_bandwidth(count, seconds); });
    return measured;
}

json Ceilings::description() const
{
    json list = json::array();
    for (const Ceiling &ceiling : ceilings_) {
        json rates = json::object();
        for (const auto &[threads, rate] : ceiling.rates)
            rates[std::to_string(threads)] = rate;
        list.push_back({{"name", ceiling.limit.name},
                        {"unit", ceiling.limit.read ? "bytes/s" : "operations/s"},
                        {"one", ceiling.rates.at(1)},
                        {"all", ceiling.rates.rbegin()->second},
                        {"rates", rates}});
    }
    return list;
}

const Ceiling &Ceilings::find(const std::string &name) const
{
    return *std::find_if(ceilings_.begin(), ceilings_.end(),
                         [&](const Ceiling &ceiling) { return ceiling.limit.name == name; });
}

/* Of the multiply-adds that the row needs; null on a CPU without vector instructions that are known here. */
const Ceiling *Ceilings::fastest(const Row &row) const
{
    const Ceiling *best = nullptr;
    for (const Ceiling &ceiling : ceilings_)
        if (ceiling.limit.type == arithmetic_of(row.dtype) &&
            (!best || ceiling.rates.at(row.threads) > best->rates.at(row.threads)))
            best = &ceiling;
    return best;
}

bool Ceilings::memory_bound(const Row &row) const
{
    const Ceiling *arithmetic = fastest(row);
    return arithmetic && streams_weights(row) &&
           row.weight_bytes() / find("read").rates.at(row.threads) >
               row.operations() / arithmetic->rates.at(row.threads);
}

Limit Ceilings::limit_of(const Row &row, const std::string &isa) const
{
    const Ceiling *arithmetic = fastest(row);
    if (!arithmetic || memory_bound(row))
        return find("read").limit;
    for (const Ceiling &other : ceilings_)
        if (other.limit.type == arithmetic->limit.type && other.limit.isa == isa)
            return other.limit;
    return arithmetic->limit;
}

double Ceilings::rate(const Limit &limit, int threads) const { return find(limit.name).rates.at(threads); }

double Ceilings::sample(const Limit &limit, int threads, double seconds) const
{
    if (limit.name == "copy")
        return hunze_copy_bandwidth(threads, seconds);
    if (limit.read)
        return hunze_read_bandwidth(threads, seconds);
    return threads > 1 ? hunze_peak_flops_all(limit.isa.c_str(), limit.type.c_str(), threads, seconds)
                       : hunze_peak_flops(limit.isa.c_str(), limit.type.c_str(), seconds);
}

bool streams_weights(const Row &row)
{
    return row.op == BENCH_GEMM && row.batch == 1 && row.m <= 8 && row.weight_bytes() >= 1 << 20;
}

int copies_of(const Row &row)
{
    const auto wanted = static_cast<double>(hunze_bandwidth_bytes(row.threads));
    return static_cast<int>(std::max(1.0, std::ceil(wanted / row.weight_bytes())));
}

} // namespace bench
