/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of tiles by the tensor memory accelerator: row by row of the box, in random order, as late as it may be. */
#include "block.h"

#include <algorithm>

struct row {
    uint32_t to;         /* offset in shared memory before swizzling */
    const char *from;    /* NULL: zeros */
    uint32_t skip, many; /* bytes of zeros, then bytes that are inside; zeros follow */
};
struct tile_copy {
    std::vector<row> left;
    uint32_t bytes, swizzle; /* of a row */
    int barrier;
};
static std::vector<tile_copy> copies;

void emulator_tiles_begin() { copies.clear(); }

static const hunze_emulator_tensor_map *check_map(const hunze_tensor_map *map)
{
    const uintptr_t offset = (uintptr_t)map - (uintptr_t)emulator_launch->arguments;
    if (offset + sizeof *map > emulator_launch->kernel->argument_bytes || offset % 64)
        emulator_fail("a tensor map is not a member of the kernel's argument, aligned to 64 bytes");
    const auto *m = reinterpret_cast<const hunze_emulator_tensor_map *>(map);
    if (m->is_map != HUNZE_EMULATOR_MAP)
        emulator_fail("a tensor map was not made by cuTensorMapEncodeTiled");
    return m;
}

void prefetch_tensor_map(const hunze_tensor_map *map) { check_map(map); }

/* The chunk of 16 bytes within the swizzle's span changes places with the number of the span. */
static uint32_t swizzled(uint32_t offset, uint32_t span) { return offset ^ (offset >> 3 & (span - 1) & ~15u); }

static const char *find_source(uintptr_t address, uint32_t bytes)
{
    const char *first = emulator_global(reinterpret_cast<void *>(address), 1, "copy_tile_3d");
    if (emulator_global(reinterpret_cast<void *>(address + bytes - 1), 1, "copy_tile_3d") != first + bytes - 1)
        emulator_fail("copy_tile_3d of %u bytes at %#llx, which are not in one allocation", bytes,
                      (unsigned long long)address);
    emulator.counters.global_read_bytes += bytes;
    return first;
}

/* Coordinates are those of the row's first element. */
static row make_row(const hunze_emulator_tensor_map &m, const int64_t (&at)[3], uint32_t to)
{
    row r = {to, nullptr, 0, 0};
    for (int axis = 1; axis < 3; axis++)
        if (at[axis] < 0 || at[axis] > m.last[axis])
            return r;
    const int64_t first = std::max(at[0], (int64_t)0), end = std::min(at[0] + m.box[0], (int64_t)m.last[0] + 1);
    if (first >= end)
        return r;
    r.skip = (uint32_t)(first - at[0]) * m.element_bytes;
    r.many = (uint32_t)(end - first) * m.element_bytes;
    r.from = find_source(m.address + (uint64_t)first * m.element_bytes + (uint64_t)at[1] * m.strides[1] +
                             (uint64_t)at[2] * m.strides[2],
                         r.many);
    return r;
}

void copy_tile_3d(void *shared, const hunze_tensor_map *map, uint64_t *barrier, int32_t x, int32_t y, int32_t z)
{
    emulator_need_clocks();
    const hunze_emulator_tensor_map &m = *check_map(map);
    if (m.rank != 3)
        emulator_fail("copy_tile_3d with a map of %d dimensions", m.rank);
    const uint32_t row_bytes = (uint32_t)m.box[0] * m.element_bytes;
    if (m.swizzle_bytes && m.swizzle_bytes != row_bytes)
        emulator_fail("a box with rows of %u bytes that are swizzled by %d is not emulated", row_bytes,
                      m.swizzle_bytes);
    const uint32_t rows = (m.box[1] + m.steps[1] - 1u) / m.steps[1], planes = (m.box[2] + m.steps[2] - 1u) / m.steps[2];
    const uint32_t bytes = row_bytes * rows * planes;
    const uintptr_t offset = (uintptr_t)shared - (uintptr_t)emulator.shared;
    const uint32_t aligned = m.swizzle_bytes ? 8u * m.swizzle_bytes : 128;
    if (offset > emulator.shared_bytes || bytes > emulator.shared_bytes - offset || offset % aligned)
        emulator_fail("a copy of a tile writes %u bytes at offset %lld of shared memory, which must be inside its %u "
                      "bytes and aligned to %u",
                      bytes, (long long)offset, emulator.shared_bytes, aligned);
    tile_copy copy = {{}, row_bytes, m.swizzle_bytes, emulator_barrier_at(barrier, true)};
    for (uint32_t i = 0; i < rows * planes; i++)
        copy.left.push_back(make_row(m, {x, y + (int64_t)(i % rows) * m.steps[1], z + (int64_t)(i / rows) * m.steps[2]},
                                     (uint32_t)offset + i * row_bytes));
    emulator_tile_written((uint32_t)offset, bytes, (uint32_t)(EMULATOR_TILES + copy.barrier));
    memset(shared, 0xFF, bytes);
    emulator.counters.tile_copies++;
    emulator.asynchronous++;
    copies.push_back(std::move(copy));
}

static void land(const tile_copy &copy, const row &r)
{
    for (uint32_t at = 0; at < copy.bytes; at += 16) {
        char chunk[16] = {0};
        for (uint32_t i = 0; i < 16; i++)
            if (at + i >= r.skip && at + i < r.skip + r.many)
                chunk[i] = r.from[at + i - r.skip];
        const uint32_t to = copy.swizzle ? swizzled(r.to + at, copy.swizzle) : r.to + at;
        memcpy(emulator.shared + to, chunk, sizeof chunk);
    }
}

void emulator_tiles_progress(bool all)
{
    if (copies.empty())
        return;
    const size_t which = emulator_random_below((uint32_t)copies.size());
    tile_copy &copy = copies[which];
    const auto count = (uint32_t)copy.left.size();
    const uint32_t many = all ? count : 1 + emulator_random_below(count);
    for (uint32_t i = 0; i < many; i++) {
        std::swap(copy.left.back(), copy.left[emulator_random_below((uint32_t)copy.left.size())]);
        const row r = copy.left.back();
        copy.left.pop_back();
        land(copy, r);
        emulator_tile_landed(r.to, copy.bytes); /* swizzling moves chunks within a row */
    }
    const int barrier = copy.barrier;
    const uint32_t bytes = many * copy.bytes;
    if (copy.left.empty()) {
        std::swap(copy, copies.back());
        copies.pop_back();
        emulator.asynchronous--;
    }
    emulator_barrier_bytes(barrier, bytes);
}
