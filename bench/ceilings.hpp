/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's limits, and which of them binds a row. */
#pragma once

#include "suite.hpp"

#include <nlohmann/json.hpp>

namespace bench
{

struct Limit {
    std::string name; /* "f32 avx2", "read" */
    std::string isa, type;
    bool read = false;
};

class Ceilings
{
  public:
    /* isas: the bundles that the library may use.  Measures each for about `seconds`, for one core and for all of `threads`. */
    Ceilings(const std::vector<std::string> &isas, int threads, double seconds);

    nlohmann::json description() const; /* as in a result */
    /* The limit of a kernel for the bundle on a row; of the machine's fastest where isa is "" or has no multiply-add of this type. */
    Limit limit_of(const Row &row, const std::string &isa) const;
    /* Operations or bytes per second as measured at the start. */
    double rate(const Limit &limit, int threads) const;
    /* Measures it again, now. */
    double sample(const Limit &limit, int threads, double seconds) const;

  private:
    struct Entry {
        Limit limit;
        double one, all;
        std::string unit;
    };
    const Entry &find(const std::string &name) const;
    const Entry *fastest(const std::string &type) const;

    std::vector<Entry> entries_;
};

/* The type of multiply-add that a dtype needs. */
std::string arithmetic_of(const std::string &dtype);

/* Whether a call of the row mainly reads its weights: a large matrix that few rows are multiplied with. */
bool streams_weights(const Row &row);

/* Copies of the weights among which a row rotates for its threads, so that they come from memory: four times the last caches. */
int copies_of(const Row &row);

} // namespace bench
