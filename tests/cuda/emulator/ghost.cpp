/* SPDX-License-Identifier: Apache-2.0 */
/* What is before what, where more than SYNC_BLOCK orders: a clock for each thread, carried by barriers; and for each word of shared memory, who
 * reads it.  A missing fence changes no value here, nor always on a GPU: only this notices it. */
#include "block.h"

#include <set>

enum : uint32_t { WORDS = HUNZE_EMULATOR_SHARED_BYTES / 4, AGENT = (1u << EMULATOR_EPOCH_SHIFT) - 1, NEVER = ~0u };

/* Stamps: of each warp's last reader of a word; of the last product that reads it.  0: none. */
static uint32_t warp_reads[EMULATOR_WARPS][WORDS], product_reads[EMULATOR_WARPGROUPS][WORDS];
static uint32_t landed[WORDS]; /* when the copy of a tile ended */

static emulator_thread &self() { return emulator_threads[emulator.thread]; }
static uint32_t warps() { return emulator_launch->threads / EMULATOR_LANES; }
static uint32_t warpgroups() { return (warps() + 3) / 4; }

/* ------------------------------------------------------------------ clocks */

uint32_t emulator_tick()
{
    emulator.now++;
    if (emulator.now >= EMULATOR_IN_FLIGHT >> EMULATOR_EPOCH_SHIFT)
        emulator_fail("a block with more than a million barriers cannot be checked");
    return emulator.now;
}

static void raise(uint32_t *to, const uint32_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] = to[i] < from[i] ? from[i] : to[i];
}

static void join(emulator_clock *to, const emulator_clock *from)
{
    raise(to->seen, from->seen, emulator_launch->threads);
    raise(to->seen + EMULATOR_THREADS, from->seen + EMULATOR_THREADS, EMULATOR_AGENTS - EMULATOR_THREADS);
    raise(to->fenced, from->fenced, emulator_launch->threads);
}

static void order_later_accesses()
{
    self().time = emulator_tick();
    emulator.stamp = self().time << EMULATOR_EPOCH_SHIFT | (uint32_t)emulator.thread;
}

void emulator_release(emulator_clock *to)
{
    self().clock.seen[emulator.thread] = self().time;
    join(to, &self().clock);
    order_later_accesses();
}

void emulator_acquire(const emulator_clock *from) { join(&self().clock, from); }

void emulator_clocks_meet()
{
    static emulator_clock all;
    all = {};
    for (uint32_t i = 0; i < emulator_launch->threads; i++) {
        emulator_threads[i].clock.seen[i] = emulator_threads[i].time;
        join(&all, &emulator_threads[i].clock);
    }
    for (uint32_t i = 0; i < emulator_launch->threads; i++)
        emulator_threads[i].clock = all;
}

void emulator_fence_async(emulator_site &site)
{
    if (emulator_reached(site).action != emulator_site::NORMAL)
        return;
    emulator_need_clocks();
    emulator_clock *clock = &self().clock;
    clock->seen[emulator.thread] = self().time;
    raise(clock->fenced, clock->seen, emulator_launch->threads);
    order_later_accesses();
}

/* ------------------------------------------------------------------ blocks */

static std::set<const hunze_emulator_kernel *> with_clocks;

/* Before the last SYNC_BLOCK everything was before everything. */
static void start_clocks()
{
    emulator.clocks = true;
    for (uint32_t i = 0; i < emulator_launch->threads; i++) {
        emulator_threads[i].clock = {};
        emulator_threads[i].time = emulator.epoch >> EMULATOR_EPOCH_SHIFT;
        for (uint32_t other = 0; other < emulator_launch->threads; other++)
            emulator_threads[i].clock.seen[other] = emulator_threads[i].time - 1;
    }
    const size_t bytes = emulator_launch->shared_bytes;
    for (uint32_t warp = 0; warp < warps(); warp++)
        memset(warp_reads[warp], 0, bytes);
    for (uint32_t warpgroup = 0; warpgroup < warpgroups(); warpgroup++)
        memset(product_reads[warpgroup], 0, bytes);
    emulator_barriers_begin();
    emulator_tiles_begin();
    emulator_products_begin();
}

void emulator_need_clocks()
{
    if (!emulator.clocks) {
        with_clocks.insert(emulator_launch->kernel);
        start_clocks();
    }
}

void emulator_clocks_begin()
{
    emulator.asynchronous = 0;
    if (with_clocks.count(emulator_launch->kernel))
        start_clocks();
}

void emulator_clocks_end()
{
    if (emulator.clocks)
        memset(static_cast<void *>(emulator.words), 0, emulator.shared_bytes / 4 * sizeof *emulator.words);
    emulator.clocks = false;
}

/* ------------------------------------------------------------------ ordinary accesses */

static bool ordered(int thread, uint32_t stamp, uint32_t word)
{
    const uint32_t agent = stamp & AGENT;
    if (stamp < emulator.epoch)
        return true;
    const emulator_clock &clock = emulator_threads[thread].clock;
    if (stamp >= EMULATOR_IN_FLIGHT)
        return agent >= EMULATOR_TILES && agent < EMULATOR_AGENTS && landed[word] <= clock.seen[agent];
    return agent == (uint32_t)thread ||
           (emulator.clocks && agent < EMULATOR_AGENTS && stamp >> EMULATOR_EPOCH_SHIFT <= clock.seen[agent]);
}

bool emulator_ordered(uint32_t stamp, uint32_t word) { return ordered(emulator.thread, stamp, word); }

void emulator_mark_read(uint32_t word) { warp_reads[emulator.thread / EMULATOR_LANES][word] = emulator.stamp; }

/* The first reader that nothing orders before this thread; 0: none. */
static uint32_t unordered_reader(uint32_t word)
{
    for (uint32_t warp = 0; warp < warps(); warp++)
        if (!emulator_ordered(warp_reads[warp][word], word))
            return warp_reads[warp][word];
    for (uint32_t warpgroup = 0; warpgroup < warpgroups(); warpgroup++) {
        const uint32_t stamp = product_reads[warpgroup][word];
        if (stamp >> EMULATOR_EPOCH_SHIFT > self().clock.seen[EMULATOR_PRODUCTS + warpgroup])
            return stamp;
    }
    return 0;
}

__attribute__((noreturn, cold)) static void fail_written(uint32_t word, uint32_t reader)
{
    const uint32_t agent = reader & AGENT;
    if (agent >= EMULATOR_PRODUCTS)
        emulator_fail("shared memory at offset %u is written, which a product of warpgroup %u reads that nobody waited "
                      "for before",
                      4 * word, agent - EMULATOR_PRODUCTS);
    emulator_fail("shared memory at offset %u is written, which thread %u read since the last SYNC_BLOCK or barrier "
                  "between them",
                  4 * word, agent);
}

void emulator_check_readers(uint32_t word)
{
    if (const uint32_t reader = unordered_reader(word))
        fail_written(word, reader);
}

/* ------------------------------------------------------------------ the asynchronous proxy */

/* One that only SYNC_BLOCK and other barriers order: it must also be fenced, for it went another way to memory. */
static void check_writer(int thread, uint32_t stamp, uint32_t word, bool reads)
{
    const uint32_t agent = stamp & AGENT;
    if (stamp < emulator.block_epoch && reads)
        emulator_fail("a product reads shared memory at offset %u, which nobody wrote", 4 * word);
    if (stamp < emulator.block_epoch)
        return;
    const char *does = reads ? "a product reads" : "a copy of a tile writes";
    if (!ordered(thread, stamp, word))
        emulator_fail(stamp >= EMULATOR_IN_FLIGHT
                          ? "%s shared memory at offset %u, where a copy has not been waited for by thread %d"
                          : "%s shared memory at offset %u, which a thread wrote: no barrier is between that and "
                            "thread %d",
                      does, 4 * word, thread);
    const uint32_t fenced = agent < EMULATOR_THREADS ? emulator_threads[thread].clock.fenced[agent] : 0;
    if (stamp < EMULATOR_IN_FLIGHT && stamp >> EMULATOR_EPOCH_SHIFT > fenced)
        emulator_fail("%s shared memory at offset %u, which thread %u wrote without a FENCE_ASYNC after it", does,
                      4 * word, agent);
}

static void check_writers(int first, int count, uint32_t word, bool reads)
{
    static uint32_t last[3]; /* the last that was right, as neighbours are often alike */
    const emulator_stamps *bytes = emulator_stamps_of_bytes(word);
    for (int byte = 0; byte < (bytes ? 4 : 1); byte++) {
        const uint32_t stamp = bytes ? bytes[byte].write : emulator.words[word].write;
        if (stamp == last[0] && landed[word] == last[1] && emulator.now == last[2])
            continue;
        for (int thread = first; thread < first + count; thread++)
            check_writer(thread, stamp, word, reads);
        last[0] = stamp;
        last[1] = landed[word];
        last[2] = emulator.now;
    }
}

/* Who reads it from now on is after the copy, and so after earlier readers. */
static void forget_readers(uint32_t word)
{
    for (uint32_t warp = 0; warp < warps(); warp++)
        warp_reads[warp][word] = 0;
    for (uint32_t warpgroup = 0; warpgroup < warpgroups(); warpgroup++)
        product_reads[warpgroup][word] = 0;
}

void emulator_tile_written(uint32_t offset, uint32_t bytes, uint32_t agent)
{
    emulator_tick();
    for (uint32_t word = offset / 4; word < (offset + bytes) / 4; word++) {
        check_writers(emulator.thread, 1, word, false);
        emulator_check_readers(word);
        forget_readers(word);
        emulator.words[word].write = EMULATOR_IN_FLIGHT | agent;
        landed[word] = NEVER;
    }
}

void emulator_tile_landed(uint32_t offset, uint32_t bytes)
{
    for (uint32_t word = offset / 4; word < (offset + bytes) / 4; word++)
        landed[word] = emulator.now;
}

void emulator_operand_read(uint32_t offset, int warpgroup)
{
    for (uint32_t word = offset / 4; word < offset / 4 + 4; word++) {
        check_writers(warpgroup * EMULATOR_WARPGROUP, EMULATOR_WARPGROUP, word, true);
        product_reads[warpgroup][word] =
            emulator.now << EMULATOR_EPOCH_SHIFT | (EMULATOR_PRODUCTS + (uint32_t)warpgroup);
    }
}
