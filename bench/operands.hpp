/* SPDX-License-Identifier: Apache-2.0 */
/* The operands of a row, in memory that the workers map: all of them multiply the same numbers at the same addresses' contents. */
#pragma once

#include "suite.hpp"

#include <nlohmann/json.hpp>

namespace bench
{

/* Anonymous memory that another process can open by its name in /proc while this object lives. */
class SharedMemory
{
  public:
    explicit SharedMemory(size_t bytes);
    SharedMemory(const SharedMemory &) = delete;
    SharedMemory &operator=(const SharedMemory &) = delete;
    ~SharedMemory();
    void *data() const { return data_; }
    size_t bytes() const { return bytes_; }
    nlohmann::json description() const;

  private:
    int descriptor_ = -1;
    void *data_ = nullptr;
    size_t bytes_ = 0;
};

/* Random on the whole range of the dtype: floats uniform in [-1, 1), integers uniform over all their codes, scales in [1, 2) / 64. */
struct Operands {
    SharedMemory a, b, scales, d;

    explicit Operands(const Row &row); /* row.copies of b */
    nlohmann::json description(const Row &row) const;
};

/* Bytes from one copy of b to the next. */
size_t weight_stride(const Row &row);

/* The row as a worker is told, and back. */
nlohmann::json description(const Row &row);
Row row_of(const nlohmann::json &description);
/* The request that makes a worker ready for the row. */
nlohmann::json prepare_request(const Row &row, const Operands &operands);

} // namespace bench
