/* SPDX-License-Identifier: Apache-2.0 */
/* What is said about a list of ratios, one per round: their median, and an interval that holds the true median whatever the
 * distribution.  With n independent values in order x1 … xn, [x_r, x_(n+1-r)] misses it with probability 2 P(Binomial(n, 1/2) < r)
 * (H. A. David, H. N. Nagaraja, Order Statistics, 2003, section 7.1). */
#pragma once

#include <string>
#include <vector>

namespace bench
{

/* Probability with which an interval of a result may miss. */
constexpr double usual_miss = 0.05;

double median(std::vector<double> values);

struct Summary {
    double median = 0, low = 0, high = 0; /* low and high: the interval of the median */
    int count = 0;

    double width() const { return high - low; }
};

/* The narrowest interval that misses with at most probability `miss`; from the least to the greatest value where there are too few. */
Summary summarize(std::vector<double> values, double miss = usual_miss);

/* The least number of values with which such an interval exists: 2^(1-n) <= miss. */
int least_count(double miss);

/* "faster" where the interval lies above 1, "slower" below, else "no difference"; "" where there are too few values for an interval. */
std::string verdict(const Summary &ratio);

/* Probability that a binomial variable with n trials of 1/2 is at most r. */
double binomial_half(int n, int r);

} // namespace bench
