/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's limits, and which of them binds a row. */
#pragma once

#include "suite.hpp"

#include <map>
#include <nlohmann/json.hpp>

namespace bench
{

struct Limit {
    std::string name; /* "f32 avx2", "read" */
    std::string isa, type;
    bool read = false;
};

/* A limit as measured at the start of a run. */
struct Ceiling {
    Limit limit;
    std::map<int, double> rates; /* operations or bytes per second by number of threads, one among them */
};

/* isas: the bundles that the library may use.  Measures each for about `seconds`, for one thread and for every number in `threads`. */
std::vector<Ceiling> measure_ceilings(const std::vector<std::string> &isas, const std::vector<int> &threads,
                                      double seconds);

class Ceilings
{
  public:
    explicit Ceilings(std::vector<Ceiling> ceilings) : ceilings_(std::move(ceilings)) {}

    nlohmann::json description() const; /* as in a result */
    /* Whether memory limits the row with its threads: a call takes longer to read its weights than to multiply them. */
    bool memory_bound(const Row &row) const;
    /* The limit of a kernel for the bundle on a row; of the machine's fastest where isa is "" or has no multiply-add of this type. */
    Limit limit_of(const Row &row, const std::string &isa) const;
    double rate(const Limit &limit, int threads) const;
    /* Measures it again, now. */
    double sample(const Limit &limit, int threads, double seconds) const;

  private:
    const Ceiling &find(const std::string &name) const;
    const Ceiling *fastest(const Row &row) const;

    std::vector<Ceiling> ceilings_;
};

/* The type of multiply-add that a dtype needs. */
std::string arithmetic_of(const std::string &dtype);

/* Whether a call of the row mainly reads its weights: a large matrix that few rows are multiplied with. */
bool streams_weights(const Row &row);

/* Copies of the weights among which a row rotates for its threads, so that they come from memory: four times the last caches (and at
 * most a quarter of the memory). */
int copies_of(const Row &row);

} // namespace bench
