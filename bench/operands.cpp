/* SPDX-License-Identifier: Apache-2.0 */
#include "operands.hpp"

#include <cstring>
#include <stdexcept>
#include <sys/mman.h>
#include <unistd.h>

namespace bench
{

using nlohmann::json;

SharedMemory::SharedMemory(size_t bytes) : bytes_(bytes ? bytes : 1)
{
    descriptor_ = memfd_create("hunze_bench", MFD_CLOEXEC);
    if (descriptor_ >= 0 && ftruncate(descriptor_, static_cast<off_t>(bytes_)) == 0) {
        void *data = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
        data_ = data == MAP_FAILED ? nullptr : data;
    }
    if (!data_) {
        if (descriptor_ >= 0)
            close(descriptor_);
        throw std::runtime_error("no shared memory of " + std::to_string(bytes_) + " bytes");
    }
}

SharedMemory::~SharedMemory()
{
    if (data_)
        munmap(data_, bytes_);
    if (descriptor_ >= 0)
        close(descriptor_);
}

json SharedMemory::description() const
{
    return {{"file", "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(descriptor_)},
            {"offset", 0},
            {"bytes", bytes_}};
}

namespace
{

/* SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, Fast Splittable Pseudorandom Number Generators, 2014). */
class Random
{
  public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next()
    {
        uint64_t z = state_ += 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    float unit() { return static_cast<float>(next() >> 40) * 0x1p-23f - 1; } /* [-1, 1) */

  private:
    uint64_t state_;
};

uint16_t bf16_of(float value)
{
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

void fill(void *data, int64_t count, const std::string &dtype, char operand, Random &random)
{
    const bool weight = operand == 'b';
    if (dtype == "f64") {
        for (int64_t i = 0; i < count; i++)
            static_cast<double *>(data)[i] = static_cast<double>(random.next() >> 11) * 0x1p-52 - 1;
    } else if (dtype == "bf16") {
        for (int64_t i = 0; i < count; i++)
            static_cast<uint16_t *>(data)[i] = bf16_of(random.unit());
    } else if (dtype == "u8s8" || dtype == "s8s8" || (dtype[0] == 'w' && weight)) {
        const int shift = dtype[0] == 'w' && dtype[1] == '4' ? 60 : 56;
        for (int64_t i = 0; i < count; i++)
            static_cast<uint8_t *>(data)[i] = static_cast<uint8_t>(random.next() >> shift);
    } else {
        for (int64_t i = 0; i < count; i++)
            static_cast<float *>(data)[i] = random.unit();
    }
}

size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

} // namespace

size_t weight_stride(const Row &row)
{
    return whole_lines(static_cast<size_t>(row.b_count()) * element_bytes(row.dtype, 'b'));
}

Operands::Operands(const Row &row)
    : a(static_cast<size_t>(row.a_count()) * element_bytes(row.dtype, 'a')),
      b(weight_stride(row) * static_cast<size_t>(row.copies)), scales(static_cast<size_t>(row.scale_count()) * 4),
      d(static_cast<size_t>(row.d_count()) * std::max<size_t>(4, element_bytes(row.dtype, 'd')))
{
    Random random(1);
    fill(a.data(), row.a_count(), row.dtype, 'a', random);
    fill(b.data(), row.b_count(), row.dtype, 'b', random);
    for (int copy = 1; copy < row.copies; copy++)
        std::memcpy(static_cast<char *>(b.data()) + weight_stride(row) * static_cast<size_t>(copy), b.data(),
                    weight_stride(row));
    for (int64_t i = 0; i < row.scale_count(); i++)
        static_cast<float *>(scales.data())[i] = (random.unit() + 3) / 128;
}

json Operands::description(const Row &row) const
{
    json weights = b.description();
    weights["stride"] = weight_stride(row);
    return {{"a", a.description()},
            {"b", weights},
            {"scales", row.group_size ? scales.description() : json()},
            {"d", d.description()}};
}

json description(const Row &row)
{
    json text = {{"op", row.op == BENCH_GEMM ? "gemm" : "conv"},
                 {"id", row.id},
                 {"dtype", row.dtype},
                 {"threads", row.threads},
                 {"copies", row.copies},
                 {"trans_b", row.trans_b},
                 {"packed_b", row.packed_b},
                 {"every_kernel", row.every_kernel}};
    for (const Extent &extent : extents_of(row.op))
        text[extent.name] = row.*extent.member;
    return text;
}

Row row_of(const json &description)
{
    Row row;
    const std::string id = description.at("id"), dtype = description.at("dtype");
    if (id.size() >= sizeof row.id || dtype.size() >= sizeof row.dtype)
        throw std::runtime_error("id or dtype is too long");
    std::strcpy(row.id, id.c_str());
    std::strcpy(row.dtype, dtype.c_str());
    row.op = description.at("op") == "gemm" ? BENCH_GEMM : BENCH_CONV;
    row.threads = description.at("threads");
    row.copies = description.at("copies");
    row.trans_b = description.at("trans_b");
    row.packed_b = description.at("packed_b");
    row.every_kernel = description.at("every_kernel");
    for (const Extent &extent : extents_of(row.op))
        row.*extent.member = description.at(extent.name);
    return row;
}

json prepare_request(const Row &row, const Operands &operands)
{
    return {{"do", "prepare"}, {"row", description(row)}, {"operands", operands.description(row)}};
}

} // namespace bench
