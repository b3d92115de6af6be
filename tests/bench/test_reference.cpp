/* SPDX-License-Identifier: Apache-2.0 */
/* The judge of results: right ones pass, each kind of wrong one is found. */
#include "../../bench/reference.hpp"

#include <cstring>
#include <set>

#include "cmocka.hpp"

using namespace bench;

namespace
{

Row parsed(const std::string &line)
{
    const bool gemm = line.find(",gemm,") != std::string::npos;
    Row row = parse_suite(std::string(gemm ? "id,op,dtype,M,N,K,batch,trans_b,packed_b,source\n"
                                           : "id,op,dtype,N,C,H,W,K,R,S,stride,pad,groups,source\n") +
                              line + "\n",
                          "test.csv")[0];
    row.copies = 1;
    return row;
}

/* The product in f32, k ascending. */
std::vector<float> product(const Row &row, const Operands &operands)
{
    const float *a = static_cast<float *>(operands.a.data()), *b = static_cast<float *>(operands.b.data());
    std::vector<float> d(static_cast<size_t>(row.d_count()));
    for (int64_t batch = 0; batch < row.batch; batch++)
        for (int64_t i = 0; i < row.m; i++)
            for (int64_t j = 0; j < row.n; j++) {
                float sum = 0;
                for (int64_t l = 0; l < row.k; l++)
                    sum = std::fma(a[(batch * row.m + i) * row.k + l],
                                   b[batch * row.k * row.n + (row.trans_b ? j * row.k + l : l * row.n + j)], sum);
                d[static_cast<size_t>((batch * row.m + i) * row.n + j)] = sum;
            }
    return d;
}

} // namespace

static void right_products_pass(void **)
{
    for (const char *line : {"g,gemm,f32,7,9,33,3,N,0,s", "g,gemm,f32,5,12,64,1,T,0,s"}) {
        const Row row = parsed(line);
        const Operands operands(row);
        const Reference reference = make_reference(row, operands);
        const Error error = judge(row, reference, product(row, operands).data(), "f32");
        assert_int_equal(error.checked, row.d_count());
        assert_false(error.wrong());
        assert_true(error.ulp > 0 && error.of_bound > 0);
    }
}

static void wrong_elements_are_found(void **)
{
    const Row row = parsed("g,gemm,f32,7,9,33,1,N,0,s");
    const Operands operands(row);
    const Reference reference = make_reference(row, operands);
    for (const float off : {1e-4f, NAN, INFINITY}) {
        std::vector<float> d = product(row, operands);
        d[40] += off;
        assert_true(judge(row, reference, d.data(), "f32").wrong());
    }
    std::vector<float> d = product(row, operands);
    std::memset(&d[62], 0xFF, 4); /* never written */
    assert_true(judge(row, reference, d.data(), "f32").wrong());
}

/* A result too large to be checked whole: its edges and some rows and columns between are. */
static void large_results_are_sampled(void **)
{
    for (const char *line : {"g,gemm,u8s8,700,600,2048,1,N,0,s", "g,gemm,u8s8,700,600,2048,3,N,0,s"}) {
        const Row row = parsed(line);
        const Operands operands(row);
        const Reference reference = make_reference(row, operands);
        assert_true(static_cast<int64_t>(reference.index.size()) < row.d_count());
        assert_int_equal(std::set<int64_t>(reference.index.begin(), reference.index.end()).size(),
                         reference.index.size());
        std::vector<int32_t> d(static_cast<size_t>(row.d_count()));
        for (size_t i = 0; i < reference.index.size(); i++)
            d[static_cast<size_t>(reference.index[i])] = static_cast<int32_t>(reference.value[i]);
        assert_false(judge(row, reference, d.data(), "s32").wrong());
        for (const int64_t place : {int64_t{0}, row.n - 1, (row.m - 1) * row.n, row.d_count() - 1}) {
            std::vector<int32_t> damaged = d;
            damaged[static_cast<size_t>(place)]++;
            const Error error = judge(row, reference, damaged.data(), "s32");
            assert_true(error.wrong());
            assert_close(error.ulp, 1, 0);
        }
    }
}

/* A depthwise and a grouped convolution against a second, plainer sum. */
static void convolutions(void **)
{
    for (const char *line : {"c,conv,f32,2,4,6,5,8,3,2,2,1,2,s", "c,conv,f32,1,3,5,5,3,3,3,1,1,3,s"}) {
        const Row r = parsed(line);
        const Operands operands(r);
        const Reference reference = make_reference(r, operands);
        const float *x = static_cast<float *>(operands.a.data()), *w = static_cast<float *>(operands.b.data());
        std::vector<float> y(static_cast<size_t>(r.d_count()));
        const int64_t depth = r.channels / r.groups;
        for (int64_t image = 0; image < r.images; image++)
            for (int64_t in = 0; in < r.channels; in++)
                for (int64_t row = 0; row < r.height; row++)
                    for (int64_t column = 0; column < r.width; column++)
                        for (int64_t f = in / depth * (r.filters / r.groups);
                             f < (in / depth + 1) * (r.filters / r.groups); f++)
                            for (int64_t kr = 0; kr < r.kernel_height; kr++)
                                for (int64_t kc = 0; kc < r.kernel_width; kc++) {
                                    const int64_t top = row + r.pad - kr, left = column + r.pad - kc;
                                    if (top % r.stride || left % r.stride || top < 0 || left < 0 ||
                                        top / r.stride >= r.out_height || left / r.stride >= r.out_width)
                                        continue;
                                    y[static_cast<size_t>(((image * r.filters + f) * r.out_height + top / r.stride) *
                                                              r.out_width +
                                                          left / r.stride)] +=
                                        x[((image * r.channels + in) * r.height + row) * r.width + column] *
                                        w[((f * depth + in % depth) * r.kernel_height + kr) * r.kernel_width + kc];
                                }
        const Error error = judge(r, reference, y.data(), "f32");
        assert_int_equal(error.checked, r.d_count());
        assert_false(error.wrong());
        y[3] += 1e-4f;
        assert_true(judge(r, reference, y.data(), "f32").wrong());
    }
}

/* The unit in the last place is that of the result's type. */
static void units_in_the_last_place(void **)
{
    const Row row = parsed("g,gemm,f32,1,1,1,1,N,0,s");
    Reference reference;
    reference.index = {0};
    reference.value = {1.0L};
    reference.magnitude = {1};
    reference.rounding = {0};
    const float next = std::nextafterf(1, 2);
    assert_close(judge(row, reference, &next, "f32").ulp, 1, 1e-12);
    const Row wide = parsed("g,gemm,f64,1,1,1,1,N,0,s");
    const double after = std::nextafter(1.0, 2.0);
    assert_close(judge(wide, reference, &after, "f64").ulp, 1, 1e-12);
}

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(right_products_pass), cmocka_unit_test(wrong_elements_are_found),
                                cmocka_unit_test(large_results_are_sampled), cmocka_unit_test(convolutions),
                                cmocka_unit_test(units_in_the_last_place)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
