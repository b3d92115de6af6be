/* SPDX-License-Identifier: Apache-2.0 */
/* Which limit binds a row, and how many copies of its weights come from memory. */
#include "../../bench/bandwidth.h"
#include "../../bench/ceilings.hpp"

#include "cmocka.hpp"

using namespace bench;

namespace
{

Row parsed(const std::string &line, int threads)
{
    Row row = parse_suite("id,op,dtype,M,N,K,batch,trans_b,packed_b,source\n" + line + "\n", "test.csv")[0];
    row.threads = threads;
    return row;
}

/* Reading gains nothing from a second thread, arithmetic all of it; AVX2 gains more than the wider bundle. */
Ceilings invented()
{
    return Ceilings({{{"f32 avx2", "avx2", "f32", false}, {{1, 50e9}, {2, 150e9}, {4, 200e9}}},
                     {{"f32 avx512", "avx512", "f32", false}, {{1, 60e9}, {2, 120e9}, {4, 200e9}}},
                     {{"read", "", "", true}, {{1, 20e9}, {2, 20e9}, {4, 25e9}}}});
}

} // namespace

/* Eight rows: 4 operations per byte of the weights, 0.067 ns on one thread, where reading takes 0.05; on two 0.027. */
static void the_rates_of_its_threads_decide(void **)
{
    const Ceilings ceilings = invented();
    const Row one = parsed("g,gemm,f32,8,4096,1024,1,N,0,s", 1), two = parsed("g,gemm,f32,8,4096,1024,1,N,0,s", 2);
    assert_false(ceilings.memory_bound(one));
    assert_true(ceilings.memory_bound(two));
    assert_string_equal(ceilings.limit_of(one, "").name.c_str(), "f32 avx512");
    assert_string_equal(ceilings.limit_of(one, "avx2").name.c_str(), "f32 avx2");
    assert_string_equal(ceilings.limit_of(two, "").name.c_str(), "read");
    assert_string_equal(ceilings.limit_of(parsed("g,gemm,f32,64,4096,1024,1,N,0,s", 2), "").name.c_str(), "f32 avx2");
}

static void each_number_of_threads_has_its_rate(void **)
{
    const Ceilings ceilings = invented();
    const Limit read = ceilings.limit_of(parsed("g,gemm,f32,1,4096,1024,1,N,0,s", 1), "");
    assert_string_equal(read.name.c_str(), "read");
    assert_close(ceilings.rate(read, 2), 20e9, 0);
    assert_close(ceilings.rate(read, 4), 25e9, 0);
    const nlohmann::json told = ceilings.description();
    assert_true(told[0] == nlohmann::json({{"name", "f32 avx2"},
                                           {"unit", "operations/s"},
                                           {"one", 50e9},
                                           {"all", 200e9},
                                           {"rates", {{"1", 50e9}, {"2", 150e9}, {"4", 200e9}}}}));
    assert_string_equal(told[2]["unit"].get<std::string>().c_str(), "bytes/s");
}

/* Whatever is compared there, nobody knows that its weights come from memory. */
static void without_a_known_bundle_nothing_is_bound_by_memory(void **)
{
    const Ceilings ceilings(measure_ceilings({}, {1, 2}, 0.001));
    const Row row = parsed("g,gemm,f32,1,4096,1024,1,N,0,s", 2);
    assert_false(ceilings.memory_bound(row));
    const Limit limit = ceilings.limit_of(row, "portable");
    assert_string_equal(limit.name.c_str(), "read");
    assert_true(ceilings.rate(limit, 1) > 0 && ceilings.rate(limit, 2) > 0);
    assert_int_equal(ceilings.description().size(), 2);
}

static void copies_are_four_times_the_last_cache(void **)
{
    for (const char *line : {"g,gemm,f32,1,512,512,1,N,0,s", "g,gemm,f32,1,2048,2048,1,N,0,s"}) {
        const Row row = parsed(line, 1);
        assert_true(streams_weights(row));
        const double bytes = copies_of(row) * row.weight_bytes();
        assert_true(bytes >= static_cast<double>(hunze_bandwidth_bytes(1)));
        assert_true(bytes < static_cast<double>(hunze_bandwidth_bytes(1)) + row.weight_bytes());
    }
    const Row large = parsed("g,gemm,f32,1,1000000000,1024,1,N,0,s", 1);
    assert_int_equal(copies_of(large), 1);
}

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(the_rates_of_its_threads_decide),
                                cmocka_unit_test(each_number_of_threads_has_its_rate),
                                cmocka_unit_test(without_a_known_bundle_nothing_is_bound_by_memory),
                                cmocka_unit_test(copies_are_four_times_the_last_cache)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
