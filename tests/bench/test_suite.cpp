/* SPDX-License-Identifier: Apache-2.0 */
#include "../../bench/suite.hpp"

#include <cstring>
#include <fstream>

#include "cmocka.hpp"

using namespace bench;

namespace
{

const std::string gemm = "id,op,dtype,M,N,K,batch,trans_b,packed_b,source\n";
const std::string conv = "id,op,dtype,N,C,H,W,K,R,S,stride,pad,groups,source\n";

void refused(const std::string &text, const char *message)
{
    try {
        parse_suite(text, "some.csv");
    } catch (const SuiteError &error) {
        if (std::strncmp(error.what(), message, std::strlen(message)) != 0)
            fail_msg("\"%s\" does not begin with \"%s\"", error.what(), message);
        return;
    }
    fail_msg("taken, though: %s", message);
}

} // namespace

static void rows_of_products(void **)
{
    const std::vector<Row> rows = parse_suite(
        "# why\n\n" + gemm + "g1,gemm,f32,4,6,5,3,T,0,here\r\ng2,gemm,w4g32,2,3,40,1,N,1,there\n", "dir/mine.csv");
    assert_int_equal(rows.size(), 2);
    const Row &row = rows[0];
    assert_string_equal(row.id, "g1");
    assert_string_equal(row.suite.c_str(), "mine");
    assert_string_equal(row.source.c_str(), "here");
    assert_string_equal(row.place.c_str(), "dir/mine.csv:4:1");
    assert_true(row.trans_b && !row.packed_b);
    assert_string_equal(row.shape().c_str(), "4x6x5 T b3");
    assert_close(row.operations(), 2 * 4 * 6 * 5 * 3, 0);
    assert_close(row.bytes(), 4 * 3 * (4 * 5 + 6 * 5 + 4 * 6), 0);
    assert_int_equal(rows[1].group_size, 32);
    assert_int_equal(rows[1].scale_count(), 3 * 2);
    assert_close(rows[1].weight_bytes(), 3 * 40 / 2 + 4 * 3 * 2, 0);
}

static void rows_of_convolutions(void **)
{
    const Row row = parse_suite(conv + "c1,conv,f32,2,8,7,9,8,3,3,2,1,8,here\n", "x.csv")[0];
    assert_int_equal(row.out_height, 4);
    assert_int_equal(row.out_width, 5);
    assert_string_equal(row.shape().c_str(), "b2 8x7x9 3x3/2 ->8 dw");
    assert_close(row.operations(), 2.0 * 2 * 8 * 4 * 5 * 9, 0);
}

static void mistakes_name_file_line_and_column(void **)
{
    refused(gemm + "g1,gemm,f32,4,x,5,1,N,0,s\n", "some.csv:2:15: N is 'x'; a whole number from 1 to");
    refused(gemm + "g1,gemm,f32,4,0,5,1,N,0,s\n", "some.csv:2:15: N is '0'");
    refused(gemm + "g1,gemm,f32,4,99999999999999999999,5,1,N,0,s\n", "some.csv:2:15: N is");
    refused(gemm + "g1,gemm,f32,4,4,5,1,Q,0,s\n", "some.csv:2:21: trans_b is 'Q'; one of N, T is expected");
    refused(gemm + "g1,gemm,f31,4,4,5,1,N,0,s\n", "some.csv:2:9: dtype is 'f31'; one of f32, f64");
    refused(gemm + "g1,gemm,w4g20,4,4,5,1,N,1,s\n", "some.csv:2:9: dtype is 'w4g20'; the group is a power of two");
    refused(gemm + "g1,gemm,w4g32,4,4,5,1,N,0,s\n", "some.csv:2:9: weight-only rows");
    refused(gemm + "g1,conv,f32,4,4,5,1,N,0,s\n", "some.csv:2:4: op is 'conv'; one of gemm is expected");
    refused(gemm + "g1,gemm,f32,4,4,5,1,N,0\n", "some.csv:2:24: 9 fields; the header has 10");
    refused(gemm + "g1,gemm,f32,4,4,5,1,N,0,s,t\n", "some.csv:2:27: 11 fields");
    refused(gemm + "g1,gemm,f32,4,4,5,1,N,0,s\n\ng1,gemm,f32,4,4,5,1,N,0,s\n", "some.csv:4:1: id 'g1' stands twice");
    refused(gemm + "g/1,gemm,f32,4,4,5,1,N,0,s\n", "some.csv:2:1: id is 'g/1'");
    refused(conv + "c1,conv,f32,1,6,7,9,8,3,3,2,1,4,s\n", "some.csv:2:31: groups is 4; it does not divide");
    refused(conv + "c1,conv,f32,1,8,7,9,8,9,3,2,0,1,s\n", "some.csv:2:23: R is 9, larger than H");
    refused("id,op,dtype,M,N,K,batch,trans_b,source\n", "some.csv:1:1: the header lacks column 'packed_b'");
    refused("id,op,dtype,M,N,K,batch,trans_b,packed_b,source,color\n", "some.csv:1:49: column 'color' is not known");
    refused("\n", "some.csv:1:1: the file is empty");
}

static void a_file_that_is_not_there(void **)
{
    try {
        read_suite("/nowhere/suite.csv");
        fail_msg("read");
    } catch (const SuiteError &error) {
        assert_string_equal(error.what(), "/nowhere/suite.csv: No such file or directory");
    }
    try {
        read_suite(HUNZE_BENCH_FOLDER);
        fail_msg("a folder was read");
    } catch (const SuiteError &error) {
        assert_string_equal(error.what(), HUNZE_BENCH_FOLDER ": Is a directory");
    }
}

/* Every suite of the project can be read. */
static void the_suites_of_the_project(void **)
{
    assert_int_equal(read_suite(HUNZE_BENCH_FOLDER "/suites/gemm.csv").size(), 29);
    assert_int_equal(read_suite(HUNZE_BENCH_FOLDER "/suites/conv.csv").size(), 20);
}

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(rows_of_products), cmocka_unit_test(rows_of_convolutions),
                                cmocka_unit_test(mistakes_name_file_line_and_column),
                                cmocka_unit_test(a_file_that_is_not_there),
                                cmocka_unit_test(the_suites_of_the_project)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
