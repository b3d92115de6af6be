/* SPDX-License-Identifier: Apache-2.0 */
#include "reference.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <set>

namespace bench
{

namespace
{

constexpr size_t STRIP = 16; /* columns of B that are read together: neighbours share cache lines */

/* Multiply-adds that a reference may take: a fraction of a second. */
constexpr double budget_exact = 2e8, budget_extended = 5e7;

float float_of_bf16(uint16_t bits)
{
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
}

/* Elements of an operand as numbers. */
class Decoder
{
  public:
    Decoder(const Row &row, const Operands &operands, char operand)
        : data_(operand == 'a' ? operands.a.data() : operands.b.data())
    {
        const std::string dtype = row.dtype;
        if (dtype == "u8s8" || dtype == "s8s8")
            kind_ = operand == 'a' && dtype[0] == 'u' ? U8 : S8;
        else if (row.group_size && operand == 'b')
            kind_ = CODES;
        else
            kind_ = dtype == "f64" ? F64 : dtype == "bf16" ? BF16 : F32;
        k_ = row.k;
        group_ = row.group_size;
        zero_ = dtype[1] == '4' ? 8 : 128;
        scales_ = static_cast<const float *>(operands.scales.data());
    }
    double operator()(int64_t i) const
    {
        switch (kind_) {
        case F64: return static_cast<const double *>(data_)[i];
        case BF16: return float_of_bf16(static_cast<const uint16_t *>(data_)[i]);
        case U8: return static_cast<const uint8_t *>(data_)[i];
        case S8: return static_cast<const int8_t *>(data_)[i];
        case CODES: {
            const double scale = scales_[i / k_ * ((k_ + group_ - 1) / group_) + i % k_ / group_];
            return (static_cast<const uint8_t *>(data_)[i] - zero_) * scale;
        }
        case F32: break;
        }
        return static_cast<const float *>(data_)[i];
    }

  private:
    enum { F32, F64, BF16, U8, S8, CODES } kind_;
    const void *data_;
    const float *scales_;
    int64_t k_, group_;
    double zero_;
};

/* count indices of [0, extent): the ends, and others spread evenly with a step that meets every residue of a tile. */
std::vector<int64_t> spread(int64_t extent, int64_t count)
{
    std::set<int64_t> chosen{0, extent - 1};
    if (count >= extent) {
        for (int64_t i = 0; i < extent; i++)
            chosen.insert(i);
    } else {
        for (int64_t i = 0; static_cast<int64_t>(chosen.size()) < std::max<int64_t>(count, 2); i++)
            chosen.insert(
                static_cast<int64_t>(static_cast<double>(i) * 0.6180339887498949 * static_cast<double>(extent)) %
                extent);
    }
    return {chosen.begin(), chosen.end()};
}

/* Sums of products, plain or extended. */
template <typename Sum> class Products
{
  public:
    Products(const Row &row, const Operands &operands) : row_(row), a_(row, operands, 'a'), b_(row, operands, 'b') {}

    void gemm_rows(Reference &reference, int64_t batch, const std::vector<int64_t> &rows,
                   const std::vector<int64_t> &columns)
    {
        const bool by_n = row_.trans_b || row_.group_size;
        const auto k = static_cast<size_t>(row_.k);
        std::vector<double> a(k * rows.size()), b(k * STRIP);
        for (size_t i = 0; i < rows.size(); i++)
            for (size_t l = 0; l < k; l++)
                a[i * k + l] = a_((batch * row_.m + rows[i]) * row_.k + static_cast<int64_t>(l));
        for (size_t first = 0; first < columns.size(); first += STRIP) {
            const size_t strip = std::min<size_t>(STRIP, columns.size() - first);
            for (size_t l = 0; l < k; l++)
                for (size_t j = 0; j < strip; j++) {
                    const int64_t depth = static_cast<int64_t>(l), column = columns[first + j];
                    b[j * k + l] =
                        b_(batch * row_.k * row_.n + (by_n ? column * row_.k + depth : depth * row_.n + column));
                }
            for (size_t j = 0; j < strip; j++)
                for (size_t i = 0; i < rows.size(); i++)
                    add(reference, (batch * row_.m + rows[i]) * row_.n + columns[first + j], &a[i * k], &b[j * k], k);
        }
    }

    void conv(Reference &reference, const std::vector<int64_t> &elements)
    {
        const Row &r = row_;
        const int64_t depth = r.channels / r.groups, per_group = r.filters / r.groups;
        std::vector<double> a, b;
        for (const int64_t e : elements) {
            const int64_t x = e % r.out_width, y = e / r.out_width % r.out_height,
                          f = e / (r.out_width * r.out_height) % r.filters,
                          image = e / (r.out_width * r.out_height * r.filters);
            a.clear();
            b.clear();
            for (int64_t c = 0; c < depth; c++)
                for (int64_t h = 0; h < r.kernel_height; h++)
                    for (int64_t w = 0; w < r.kernel_width; w++) {
                        const int64_t row = y * r.stride + h - r.pad, column = x * r.stride + w - r.pad;
                        if (row < 0 || row >= r.height || column < 0 || column >= r.width)
                            continue;
                        const int64_t channel = f / per_group * depth + c;
                        a.push_back(a_(((image * r.channels + channel) * r.height + row) * r.width + column));
                        b.push_back(b_(((f * depth + c) * r.kernel_height + h) * r.kernel_width + w));
                    }
            add(reference, e, a.data(), b.data(), a.size());
        }
    }

  private:
    void add(Reference &reference, int64_t index, const double *a, const double *b, size_t count)
    {
        Sum sum = 0;
        double magnitude = 0, rounding = 0;
        for (size_t l = 0; l < count; l++) {
            sum += static_cast<Sum>(a[l]) * static_cast<Sum>(b[l]);
            magnitude += std::fabs(a[l] * b[l]);
        }
        for (size_t start = 0; row_.group_size && start < count; start += static_cast<size_t>(row_.group_size)) {
            const size_t end = std::min(count, start + static_cast<size_t>(row_.group_size));
            double largest = 0, weights = 0;
            for (size_t l = start; l < end; l++) {
                largest = std::max(largest, std::fabs(a[l]));
                weights += std::fabs(b[l]);
            }
            rounding += largest / 127 / 2 * weights;
        }
        reference.index.push_back(index);
        reference.value.push_back(sum);
        reference.magnitude.push_back(magnitude);
        reference.rounding.push_back(rounding);
    }

    const Row &row_;
    const Decoder a_, b_;
};

template <typename Sum> Reference make(const Row &row, const Operands &operands, double budget)
{
    Reference reference;
    Products<Sum> products(row, operands);
    if (row.op == BENCH_CONV) {
        const double each = row.operations() / 2 / static_cast<double>(row.d_count());
        products.conv(reference, spread(row.d_count(), static_cast<int64_t>(0.1 * budget / each)));
        return reference;
    }
    const double all = row.operations() / 2, one = all / static_cast<double>(row.batch);
    const std::vector<int64_t> every_row = spread(row.m, row.m), every_column = spread(row.n, row.n);
    if (one > budget) { /* some rows whole and some columns whole, in the first and the last of a batch */
        const std::vector<int64_t> batches = spread(row.batch, 2);
        const double line = static_cast<double>(row.k) * static_cast<double>(row.m + row.n);
        const auto lines = static_cast<int64_t>(budget / line / static_cast<double>(batches.size()));
        const std::vector<int64_t> rows = spread(row.m, std::min(lines, row.m)),
                                   columns = spread(row.n, std::min(lines, row.n));
        std::vector<int64_t> other_rows; /* where they cross the columns, elements are there already */
        std::set_difference(every_row.begin(), every_row.end(), rows.begin(), rows.end(),
                            std::back_inserter(other_rows));
        for (const int64_t batch : batches) {
            products.gemm_rows(reference, batch, rows, every_column);
            products.gemm_rows(reference, batch, other_rows, columns);
        }
        return reference;
    }
    for (const int64_t batch : spread(row.batch, static_cast<int64_t>(std::max(2.0, budget / one))))
        products.gemm_rows(reference, batch, every_row, every_column);
    return reference;
}

/* Distance between neighbouring numbers with so many significant bits at the value, down to the least exponent. */
double unit_in_last_place(long double value, int significant, int least_exponent)
{
    int exponent = least_exponent;
    if (value != 0)
        std::frexp(value, &exponent);
    return std::ldexp(1.0, std::max(exponent, least_exponent) - significant);
}

long double result(const void *d, const std::string &dtype, int64_t i)
{
    if (dtype == "f64")
        return static_cast<const double *>(d)[i];
    if (dtype == "s32")
        return static_cast<const int32_t *>(d)[i];
    if (dtype == "bf16")
        return float_of_bf16(static_cast<const uint16_t *>(d)[i]);
    return static_cast<const float *>(d)[i];
}

} // namespace

Reference make_reference(const Row &row, const Operands &operands)
{
    return std::string(row.dtype) == "f64" ? make<long double>(row, operands, budget_extended)
                                           : make<double>(row, operands, budget_exact);
}

Error judge(const Row &row, const Reference &reference, const void *d, const std::string &d_dtype)
{
    constexpr double infinite = std::numeric_limits<double>::infinity();
    const std::string dtype = row.dtype;
    const bool integers = dtype == "u8s8" || dtype == "s8s8";
    const double u = dtype == "f64" ? 0x1p-53 : 0x1p-24;
    const double terms = row.op == BENCH_GEMM
                             ? static_cast<double>(row.k)
                             : static_cast<double>(row.channels / row.groups * row.kernel_height * row.kernel_width);
    /* The sharper of the bound that always holds and the one for random data. */
    const double certain = (terms + 2) * u / (1 - (terms + 2) * u), sharp = 6 * std::sqrt(terms) * u;
    const double relative = dtype == "bf16" ? certain : std::min(certain, sharp);
    const double of_output = d_dtype == "bf16" ? 0x1p-8 : 0;
    const int significant = d_dtype == "f64" ? 53 : d_dtype == "bf16" ? 8 : 24, least = d_dtype == "f64" ? -1021 : -125;
    Error error;
    error.checked = static_cast<int64_t>(reference.index.size());
    for (size_t i = 0; i < reference.index.size(); i++) {
        const long double got = result(d, d_dtype, reference.index[i]), want = reference.value[i];
        if (integers) {
            const auto wrapped = static_cast<int32_t>(static_cast<int64_t>(want));
            if (d_dtype != "s32" || got != wrapped)
                error.of_bound = infinite;
            error.ulp = std::max(error.ulp, static_cast<double>(std::fabs(got - wrapped)));
            continue;
        }
        const auto off = static_cast<double>(std::fabs(got - want));
        const double bound = relative * reference.magnitude[i] + of_output * static_cast<double>(std::fabs(want)) +
                             reference.rounding[i];
        /* Where terms cancelled, the unit is that of a result of ordinary size: such an element has no exact digits to lose. */
        const long double size = std::max<long double>(std::fabs(want), reference.magnitude[i] / std::sqrt(terms));
        error.ulp = std::max(error.ulp, off == off ? off / unit_in_last_place(size, significant, least) : infinite);
        error.of_bound = std::max(error.of_bound, off <= 0 ? 0 : off == off ? off / bound : infinite);
    }
    return error;
}

} // namespace bench
