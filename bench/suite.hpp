/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of bench/suites/ and of any other file of that form: a header that names the columns, then one row per line.
 *   gemm: id,op,dtype,M,N,K,batch,trans_b,packed_b,source       conv: id,op,dtype,N,C,H,W,K,R,S,stride,pad,groups,source
 * Empty lines and lines that start with # do not count.  trans_b: N, or T for B given as (n, k). */
#pragma once

#include "peers/peer.h"

#include <stdexcept>
#include <string>
#include <vector>

namespace bench
{

struct Row : bench_case {
    std::string suite, source;
    std::string place; /* of its id: "file:line:column" */

    Row() : bench_case{} {}
    std::string shape() const; /* "1024x1024x1024 T b12 packed", "64x56x56 3x3/2 ->128 dw" */
    double operations() const; /* multiplications and additions */
    double bytes() const;      /* each operand once, weights as small as their dtype allows */
    double weight_bytes() const;
    int64_t a_count() const, b_count() const, d_count() const, scale_count() const; /* elements */
};

/* An extent of a row: its name in bench_case and in the protocol, its column in a suite ("" for what follows from others), its range there. */
struct Extent {
    const char *name, *column;
    int64_t bench_case::*member;
    int64_t least, most;
};
const std::vector<Extent> &extents_of(bench_op op);

/* What is wrong with a suite, as "file:line:column: what". */
struct SuiteError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

std::vector<Row> read_suite(const std::string &path);
std::vector<Row> parse_suite(const std::string &text, const std::string &path);

/* Bytes of one element of a, b or d ('a', 'b', 'd') of a dtype; codes of 4 bits stand one per byte. */
size_t element_bytes(const std::string &dtype, char operand);

} // namespace bench
