/* SPDX-License-Identifier: Apache-2.0 */
/* What must come out of a row: exact for integers, in double precision for f32 and narrower types, in long double for f64.  Large
 * results are checked on whole rows and columns, the first, the last and some between, so that each kind of tile and edge is met; of a batch
 * of such products in the first and the last. */
#pragma once

#include "operands.hpp"

namespace bench
{

struct Reference {
    std::vector<int64_t> index;     /* elements of d */
    std::vector<long double> value; /* what stands there */
    std::vector<double> magnitude;  /* |A| |B| of the element */
    std::vector<double>
        rounding; /* weight-only: sum over groups of |activation|max/254 * sum |w|: what 8-bit activations may add */
};

Reference make_reference(const Row &row, const Operands &operands);

struct Error {
    double ulp = 0; /* largest, in units in the last place of the result, or of |A| |B| / sqrt(K) where that is more */
    double of_bound = 0; /* largest, as a part of the bound of docs/NUMERICS.md; integers: 0 or infinite */
    int64_t checked = 0; /* elements, each counted once */

    bool wrong() const { return !(of_bound <= 1); }
};

/* d holds elements of d_dtype: "f32", "f64", "s32" or "bf16". */
Error judge(const Row &row, const Reference &reference, const void *d, const std::string &d_dtype);

} // namespace bench
