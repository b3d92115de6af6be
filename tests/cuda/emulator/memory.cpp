/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory: races, copies on their way, banks.  Global memory: which bytes a kernel may touch. */
#include "block.h"

#include <algorithm>
#include <stdio.h>

/* ------------------------------------------------------------------ races */

/* For words that were accessed by single bytes in this epoch, or last written so in an earlier one. */
static emulator_stamps by_byte[HUNZE_EMULATOR_SHARED_BYTES];

__attribute__((noreturn, cold)) static void fail_race(uint32_t offset, bool write, uint32_t stamp, const char *did)
{
    char who[32];
    const uint32_t thread = stamp & ((1u << EMULATOR_EPOCH_SHIFT) - 1);
    if (thread == EMULATOR_SEVERAL)
        snprintf(who, sizeof who, "several threads");
    else
        snprintf(who, sizeof who, "thread %u", thread);
    if (stamp >= EMULATOR_IN_FLIGHT && thread == EMULATOR_BARRIER)
        emulator_fail("the thread %s shared memory at offset %u, where a barrier is", write ? "writes" : "reads",
                      offset);
    if (stamp >= EMULATOR_IN_FLIGHT && thread >= EMULATOR_TILES)
        emulator_fail("the thread %s shared memory at offset %u, where a copy of a tile has not been waited for",
                      write ? "writes" : "reads", offset);
    if (stamp >= EMULATOR_IN_FLIGHT)
        emulator_fail("the thread %s shared memory at offset %u, where a copy of %s has not been waited for",
                      write ? "writes" : "reads", offset, who);
    emulator_fail("the thread %s shared memory at offset %u, which %s %s since the last SYNC_BLOCK%s",
                  write ? "writes" : "reads", offset, who, did, emulator.clocks ? " or barrier between them" : "");
}

static void check(emulator_stamps *s, uint32_t offset, bool write)
{
    const uint32_t word = offset / 4;
    if (!emulator_ordered(s->write, word))
        fail_race(offset, write, s->write, "wrote");
    if (emulator.clocks && write)
        emulator_check_readers(word);
    else if (emulator.clocks)
        emulator_mark_read(word);
    else if (write && s->read >= emulator.epoch && s->read != emulator.stamp)
        fail_race(offset, write, s->read, "read");
    if (write)
        s->write = emulator.stamp;
    else
        s->read =
            s->read < emulator.epoch || s->read == emulator.stamp ? emulator.stamp : emulator.epoch | EMULATOR_SEVERAL;
}

static bool is_split(const emulator_stamps *word)
{
    return word->write >= emulator.block_epoch && word->write < EMULATOR_IN_FLIGHT &&
           (word->write & ((1u << EMULATOR_EPOCH_SHIFT) - 1)) == EMULATOR_BY_BYTES;
}

/* Its stamp changes as a whole, when the copy is waited for. */
static bool is_copied_by_a_thread(const emulator_stamps *word)
{
    return word->write >= EMULATOR_IN_FLIGHT && (word->write & ((1u << EMULATOR_EPOCH_SHIFT) - 1)) < EMULATOR_THREADS;
}

emulator_stamps *emulator_stamps_of_bytes(uint32_t word)
{
    return is_split(&emulator.words[word]) ? &by_byte[4 * word] : nullptr;
}

void emulator_shared_slow(uint32_t offset, uint32_t bytes, bool write)
{
    const uint32_t split = emulator.epoch | EMULATOR_BY_BYTES, end = offset + bytes;
    while (offset < end) {
        emulator_stamps *word = &emulator.words[offset / 4];
        const uint32_t next = std::min(end, offset / 4 * 4 + 4);
        const bool is_now = emulator.clocks ? is_split(word) : word->write == split;
        if (!is_now && (next - offset == 4 || is_copied_by_a_thread(word)))
            check(word, offset, write);
        else {
            if (!is_now) {
                for (uint32_t i = offset / 4 * 4; i < offset / 4 * 4 + 4; i++)
                    by_byte[i] = {is_split(word) ? by_byte[i].write : word->write, word->read};
                *word = {split, 0};
            }
            for (uint32_t i = offset; i < next; i++)
                check(&by_byte[i], i, write);
        }
        offset = next;
    }
}

void emulator_shared_outside(const void *pointer, uint32_t bytes)
{
    const auto offset = (long long)((uintptr_t)pointer - (uintptr_t)emulator.shared);
    emulator_fail("%u bytes of shared memory are accessed at offset %lld, which is not %s; the launch has %u bytes",
                  bytes, offset, offset % bytes ? "aligned" : "inside", emulator.shared_bytes);
}

/* ------------------------------------------------------------------ copies on their way */

static void land(emulator_copy_in_flight *copy, uint32_t which)
{
    for (uint32_t i = 0; i < copy->words; i++)
        if (copy->left & which & 1u << i) {
            char *to = emulator.shared + copy->offset + 4 * i;
            const uint32_t left = copy->bytes > 4 * i ? std::min(copy->bytes - 4 * i, 4u) : 0;
            memset(to, 0, 4);
            if (left)
                memcpy(to, copy->source + 4 * i, left);
        }
    copy->left &= ~which;
}

/* The source of a copy of zeros is not read, but an address all the same. */
void emulator_copy(uint32_t offset, const void *global, uint32_t bytes, uint32_t from_bytes)
{
    emulator_thread *t = &emulator_threads[emulator.thread];
    if ((uintptr_t)global % bytes)
        emulator_fail("copy_async of %u bytes at %p, which is not aligned", bytes, global);
    const char *source = nullptr;
    if (from_bytes) {
        source = emulator_global(global, from_bytes == bytes ? bytes : 1, "copy_async");
        emulator_global((const char *)global + from_bytes - 1, 1, "copy_async");
    }
    emulator.counters.copies++;
    emulator.counters.global_read_bytes += from_bytes;
    memset(emulator.shared + offset, 0xFF, bytes);
    for (uint32_t i = 0; i < bytes / 4; i++)
        emulator.words[offset / 4 + i].write = EMULATOR_IN_FLIGHT | (uint32_t)emulator.thread;
    t->copies.push_back({offset, bytes / 4, (1u << bytes / 4) - 1, from_bytes, t->groups, source});
    land(&t->copies.back(), emulator_random() & emulator_random());
}

void emulator_copy_commit() { emulator_threads[emulator.thread].groups++; }

void emulator_copies_progress()
{
    for (emulator_copy_in_flight &copy : emulator_threads[emulator.thread].copies)
        land(&copy, emulator_random() & emulator_random());
}

void emulator_copy_wait(int pending)
{
    emulator_thread *t = &emulator_threads[emulator.thread];
    size_t count = 0; /* groups are in the order of their copies */
    while (count < t->copies.size() && t->copies[count].group + (uint32_t)pending < t->groups)
        count++;
    const size_t first = count ? emulator_random() % count : 0;
    for (size_t i = 0; i < count; i++) {
        emulator_copy_in_flight *copy = &t->copies[(first + i) % count];
        land(copy, ~0u);
        for (uint32_t word = 0; word < copy->words; word++)
            emulator.words[copy->offset / 4 + word].write = emulator.stamp;
    }
    t->copies.erase(t->copies.begin(), t->copies.begin() + (ptrdiff_t)count);
    if (emulator_random() % 4 == 0) {
        emulator_ready(emulator.thread);
        emulator_wait();
    }
}

/* ------------------------------------------------------------------ banks */

enum : uint32_t {
    TRACE_BYTES_SHIFT = 20,
    TRACE_OFFSET = (1 << TRACE_BYTES_SHIFT) - 1,
    TRACE_ORDER_SHIFT = 32,
    TRACE_LINE_SHIFT = 48
};

void emulator_shared_trace(uint32_t offset, uint32_t bytes, uint32_t line)
{
    std::vector<uint64_t> *trace = &emulator_threads[emulator.thread].trace;
    if (trace->size() < 1 << 16) /* enough of a loop without barriers */
        trace->push_back(offset | (uint32_t)__builtin_ctz(bytes) << TRACE_BYTES_SHIFT |
                         (uint64_t)trace->size() << TRACE_ORDER_SHIFT | (uint64_t)line << TRACE_LINE_SHIFT);
}

/* A request of 8 or 16 bytes per lane is served for half or a quarter of the warp at a time, in one pass if no two different words lie in one
 * of the 32 banks. */
static uint32_t passes_beyond_one(const uint32_t *accesses, uint32_t bytes)
{
    const uint32_t together = bytes == 16 ? 8 : bytes == 8 ? 16 : 32;
    uint32_t beyond = 0;
    for (uint32_t first = 0; first < EMULATOR_LANES; first += together) {
        uint32_t seen[32][32], count[32] = {0}, most = 1;
        for (uint32_t lane = first; lane < first + together; lane++) {
            if (accesses[lane] == UINT32_MAX)
                continue;
            for (uint32_t i = 0; i < std::max(bytes / 4, 1u); i++) {
                const uint32_t word = (accesses[lane] & TRACE_OFFSET) / 4 + i, bank = word % 32;
                if (std::find(seen[bank], seen[bank] + count[bank], word) == seen[bank] + count[bank])
                    seen[bank][count[bank]++] = word;
                most = std::max(most, count[bank]);
            }
        }
        beyond += most - 1;
    }
    return beyond;
}

/* The n-th accesses of a warp's lanes on one line of the source are one request, whatever some of them did in between. */
void emulator_count_banks(uint32_t threads)
{
    for (uint32_t first = 0; first < threads; first += EMULATOR_LANES) {
        emulator_thread *lanes = &emulator_threads[first];
        size_t at[EMULATOR_LANES] = {0};
        for (int lane = 0; lane < EMULATOR_LANES; lane++)
            std::sort(lanes[lane].trace.begin(), lanes[lane].trace.end());
        for (;;) {
            uint32_t request[EMULATOR_LANES], one = UINT32_MAX;
            uint64_t line = UINT64_MAX;
            for (int lane = 0; lane < EMULATOR_LANES; lane++)
                if (at[lane] < lanes[lane].trace.size())
                    line = std::min(line, lanes[lane].trace[at[lane]] >> TRACE_LINE_SHIFT);
            if (line == UINT64_MAX)
                break;
            for (int lane = 0; lane < EMULATOR_LANES; lane++) {
                const auto &trace = lanes[lane].trace;
                const bool here = at[lane] < trace.size() && trace[at[lane]] >> TRACE_LINE_SHIFT == line;
                request[lane] = here ? (uint32_t)trace[at[lane]++] : UINT32_MAX;
                one = std::min(one, request[lane]);
            }
            emulator.counters.shared_requests++;
            emulator.counters.bank_conflicts += passes_beyond_one(request, 1u << (one >> TRACE_BYTES_SHIFT));
        }
        for (int lane = 0; lane < EMULATOR_LANES; lane++)
            lanes[lane].trace.clear();
    }
}

/* ------------------------------------------------------------------ global memory */

intptr_t emulator_global_slow(uintptr_t address, uint32_t bytes, const char *what)
{
    static hunze_emulator_range recent[8];
    if (address % bytes)
        emulator_fail("%s of %u bytes at %#llx, which is not aligned", what, bytes, (unsigned long long)address);
    if (emulator.range.begin == emulator.range.end) /* a new launch */
        std::fill_n(recent, 8, hunze_emulator_range{});
    for (hunze_emulator_range &range : recent)
        if (address >= range.begin && address < range.end && bytes <= range.end - address) {
            std::swap(range, emulator.range);
            return emulator.range.shift;
        }
    hunze_emulator_range found = {};
    if (!emulator_launch->find(emulator_launch->user, address, &found) || bytes > found.end - address)
        emulator_fail("%s of %u bytes at %#llx: byte %lld of the nearest allocation, which has %lld bytes", what, bytes,
                      (unsigned long long)address, (long long)(address - found.begin),
                      (long long)(found.end - found.begin));
    recent[emulator_random() % 8] = emulator.range;
    emulator.range = found;
    return found.shift;
}
