/* SPDX-License-Identifier: Apache-2.0 */
#include "statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bench
{

double median(std::vector<double> values)
{
    if (values.empty())
        return std::numeric_limits<double>::quiet_NaN();
    std::sort(values.begin(), values.end());
    const size_t half = values.size() / 2;
    return values.size() % 2 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

double binomial_half(int n, int r)
{
    double sum = 0;
    for (int i = 0; i <= r; i++)
        sum += std::exp(std::lgamma(n + 1) - std::lgamma(i + 1) - std::lgamma(n - i + 1) - n * std::log(2.0));
    return sum;
}

Summary summarize(std::vector<double> values, double miss)
{
    Summary summary;
    summary.count = static_cast<int>(values.size());
    summary.median = median(values);
    if (values.empty()) {
        summary.low = summary.high = summary.median;
        return summary;
    }
    std::sort(values.begin(), values.end());
    int rank = 1;
    while (2 * rank < summary.count && 2 * binomial_half(summary.count, rank) <= miss)
        rank++;
    summary.low = values[static_cast<size_t>(rank - 1)];
    summary.high = values[static_cast<size_t>(summary.count - rank)];
    return summary;
}

int least_count(double miss)
{
    int count = 1;
    while (std::ldexp(1.0, 1 - count) > miss)
        count++;
    return count;
}

std::string verdict(const Summary &ratio)
{
    if (ratio.count < least_count(usual_miss))
        return "";
    return ratio.low > 1 ? "faster" : ratio.high < 1 ? "slower" : "no difference";
}

} // namespace bench
