/* SPDX-License-Identifier: Apache-2.0 */
#include "ceilings.hpp"

#include "bandwidth.h"
#include "peak.h"

#include <algorithm>
#include <cmath>

namespace bench
{

using nlohmann::json;

std::string arithmetic_of(const std::string &dtype)
{
    if (dtype == "s8s8" || dtype[0] == 'w')
        return "u8s8";
    return dtype;
}

Ceilings::Ceilings(const std::vector<std::string> &isas, int threads, double seconds)
{
    for (const char *type : {"f32", "f64", "bf16", "u8s8"})
        for (const std::string &isa : isas) {
            const double one = hunze_peak_flops(isa.c_str(), type, seconds);
            if (one > 0)
                entries_.push_back({{type + (" " + isa), isa, type, false},
                                    one,
                                    threads > 1 ? hunze_peak_flops_all(isa.c_str(), type, threads, seconds) : one,
                                    "operations/s"});
        }
    for (const char *name : {"read", "copy"}) {
        const auto measure = *name == 'r' ? hunze_read_bandwidth : hunze_copy_bandwidth;
        const double one = measure(1, seconds);
        entries_.push_back({{name, "", "", true}, one, threads > 1 ? measure(threads, seconds) : one, "bytes/s"});
    }
}

json Ceilings::description() const
{
    json list = json::array();
    for (const Entry &entry : entries_)
        list.push_back({{"name", entry.limit.name}, {"unit", entry.unit}, {"one", entry.one}, {"all", entry.all}});
    return list;
}

const Ceilings::Entry &Ceilings::find(const std::string &name) const
{
    return *std::find_if(entries_.begin(), entries_.end(),
                         [&](const Entry &entry) { return entry.limit.name == name; });
}

const Ceilings::Entry *Ceilings::fastest(const std::string &type) const
{
    const Entry *best = nullptr;
    for (const Entry &entry : entries_)
        if (entry.limit.type == type && (!best || entry.one > best->one))
            best = &entry;
    return best;
}

Limit Ceilings::limit_of(const Row &row, const std::string &isa) const
{
    const std::string type = arithmetic_of(row.dtype);
    const Entry *entry = fastest(type);
    if (!entry) /* a CPU without vector instructions that are known here */
        return find("read").limit;
    /* What the memory gives, if that is less than the arithmetic takes. */
    if (streams_weights(row) && row.weight_bytes() / find("read").one > row.operations() / entry->one)
        return find("read").limit;
    for (const Entry &other : entries_)
        if (other.limit.type == type && other.limit.isa == isa)
            return other.limit;
    return entry->limit;
}

double Ceilings::rate(const Limit &limit, int threads) const
{
    const Entry &entry = find(limit.name);
    return threads > 1 ? entry.all : entry.one;
}

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
    return static_cast<int>(std::clamp(std::ceil(wanted / row.weight_bytes()), 1.0, 64.0));
}

} // namespace bench
