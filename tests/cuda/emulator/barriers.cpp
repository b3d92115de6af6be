/* SPDX-License-Identifier: Apache-2.0 */
/* Barriers in shared memory (mbarrier), and those with a number (bar.sync): who waits goes on when others have come. */
#include "block.h"

#include <algorithm>

/* ------------------------------------------------------------------ in shared memory */

enum : int64_t { MOST_BYTES = (1 << 20) - 1 }; /* that a phase may expect (PTX ISA, "mbarrier") */

static struct barrier {
    uint32_t offset, arrivals, pending;
    int64_t bytes;        /* expected and not landed */
    int32_t phase;        /* the one that goes on; -1 was over before the first */
    int32_t last_landed;  /* phase in which bytes landed */
    int32_t last_waited;  /* phase whose end some thread has seen */
    uint32_t initialized; /* stamp */
    bool fenced;
    emulator_clock coming, over; /* of this phase's arrivals; of all phases before */
    std::vector<int> waiting;
    std::vector<int32_t> seen; /* by each thread: the last phase of which it knows that it is over */
} barriers[EMULATOR_BARRIERS];
static int barrier_count;

void emulator_barriers_begin() { barrier_count = 0; }

static int find_barrier(uint32_t offset)
{
    for (int i = 0; i < barrier_count; i++)
        if (barriers[i].offset == offset)
            return i;
    return -1;
}

void barrier_init(uint64_t *at, uint32_t arrivals)
{
    emulator_need_clocks();
    const auto offset = (uint32_t)((char *)at - emulator.shared);
    if (find_barrier(offset) >= 0 || barrier_count == EMULATOR_BARRIERS)
        emulator_fail("the barrier at offset %u %s", offset,
                      barrier_count == EMULATOR_BARRIERS ? "is one more than can be emulated" : "is initialised twice");
    if (arrivals < 1 || arrivals > MOST_BYTES)
        emulator_fail("the barrier at offset %u is initialised with %u arrivals", offset, arrivals);
    emulator_shared(at, 8, true, __LINE__);
    barrier &b = barriers[barrier_count++];
    b = {};
    b.offset = offset;
    b.arrivals = b.pending = arrivals;
    b.last_landed = b.last_waited = -1;
    b.initialized = emulator.stamp;
    b.seen.assign(emulator_launch->threads, -2);
    for (uint32_t word = offset / 4; word < offset / 4 + 2; word++)
        emulator.words[word].write = EMULATOR_IN_FLIGHT | EMULATOR_BARRIER;
}

void emulator_fence_barrier_init(emulator_site &site)
{
    if (emulator_reached(site).action != emulator_site::NORMAL)
        return;
    for (int i = 0; i < barrier_count; i++)
        if ((barriers[i].initialized & ((1u << EMULATOR_EPOCH_SHIFT) - 1)) == (uint32_t)emulator.thread)
            barriers[i].fenced = true;
}

int emulator_barrier_at(const uint64_t *at, bool asynchronous)
{
    const uintptr_t offset = (uintptr_t)at - (uintptr_t)emulator.shared;
    const int index = offset < emulator.shared_bytes && emulator.clocks ? find_barrier((uint32_t)offset) : -1;
    if (index < 0)
        emulator_fail("there is no barrier at offset %lld of shared memory: barrier_init is missing",
                      (long long)offset);
    const barrier &b = barriers[index];
    if (!emulator_ordered(b.initialized, b.offset / 4))
        emulator_fail("the barrier at offset %u is used, which thread %u initialised: no SYNC_BLOCK is between them",
                      b.offset, b.initialized & ((1u << EMULATOR_EPOCH_SHIFT) - 1));
    if (asynchronous && !b.fenced)
        emulator_fail("a copy uses the barrier at offset %u, which was initialised without a FENCE_BARRIER_INIT",
                      b.offset);
    return index;
}

static void end_phase_if_complete(int index)
{
    barrier &b = barriers[index];
    if (b.pending)
        return;
    if (b.bytes < 0)
        emulator_fail("phase %d of the barrier at offset %u gets %lld bytes more than it expects", b.phase, b.offset,
                      (long long)-b.bytes);
    if (b.bytes)
        return;
    const int agent = EMULATOR_TILES + index;
    b.coming.seen[agent] = emulator.now;
    emulator_tick();
    for (int i = 0; i < EMULATOR_AGENTS; i++)
        b.over.seen[i] = std::max(b.over.seen[i], b.coming.seen[i]);
    for (int i = 0; i < EMULATOR_THREADS; i++)
        b.over.fenced[i] = std::max(b.over.fenced[i], b.coming.fenced[i]);
    b.coming = {};
    b.phase++;
    b.pending = b.arrivals;
    for (int thread : b.waiting)
        emulator_ready(thread);
    b.waiting.clear();
}

static void arrive(const uint64_t *at, int64_t bytes)
{
    const int index = emulator_barrier_at(at, false);
    barrier &b = barriers[index];
    if (!b.pending)
        emulator_fail("phase %d of the barrier at offset %u has all its %u arrivals, and %lld bytes are on their way: "
                      "one arrival too many",
                      b.phase, b.offset, b.arrivals, (long long)b.bytes);
    b.bytes += bytes;
    if (b.bytes > MOST_BYTES)
        emulator_fail("phase %d of the barrier at offset %u expects %lld bytes; %lld are the most", b.phase, b.offset,
                      (long long)b.bytes, (long long)MOST_BYTES);
    int32_t *seen = &b.seen[(size_t)emulator.thread];
    *seen = std::max(*seen, b.phase - 1);
    emulator_release(&b.coming);
    b.pending--;
    end_phase_if_complete(index);
}

void emulator_barrier_arrive(emulator_site &site, uint64_t *at)
{
    if (emulator_reached(site).action == emulator_site::NORMAL)
        arrive(at, 0);
}

void emulator_barrier_arrive_expect(emulator_site &site, uint64_t *at, uint32_t bytes)
{
    const auto action = emulator_reached(site).action;
    if (action == emulator_site::NORMAL || action == emulator_site::OFF_BY_ONE)
        arrive(at, action == emulator_site::NORMAL ? (int64_t)bytes : (int64_t)bytes + 16);
}

void emulator_barrier_bytes(int index, uint32_t bytes)
{
    barriers[index].bytes -= bytes;
    barriers[index].last_landed = barriers[index].phase;
    end_phase_if_complete(index);
}

bool emulator_barrier_unobserved()
{
    return std::any_of(barriers, barriers + barrier_count,
                       [](const barrier &b) { return b.last_landed > b.last_waited; });
}

/* A parity tells only the phase that goes on from the last one: a thread that is late by two takes one for the other. */
static void check_phase(const barrier &b, int32_t wanted)
{
    if (b.phase >= wanted + 2)
        emulator_fail("the thread waits for phase %d of the barrier at offset %u, which is in phase %d: a parity does "
                      "not tell them apart",
                      wanted, b.offset, b.phase);
}

void emulator_barrier_wait(emulator_site &site, uint64_t *at, uint32_t parity)
{
    const auto action = emulator_reached(site).action;
    if (action == emulator_site::DROP)
        return;
    if (parity > 1)
        emulator_fail("BARRIER_WAIT for parity %u", parity);
    if (action == emulator_site::FLIP)
        parity ^= 1;
    barrier &b = barriers[emulator_barrier_at(at, false)];
    int32_t *seen = &b.seen[(size_t)emulator.thread];
    const bool next_has_it = ((uint32_t)(*seen + 1) & 1) == parity;
    check_phase(b, *seen + (next_has_it ? 1 : 2));
    if (emulator_random() % 4 == 0) {
        emulator_ready(emulator.thread);
        emulator_wait();
    }
    const int32_t wanted = ((uint32_t)b.phase & 1) == parity ? b.phase : b.phase - 1;
    if (wanted == b.phase) {
        b.waiting.push_back(emulator.thread);
        emulator_wait_for("the barrier in shared memory at offset", b.offset);
    }
    check_phase(b, wanted);
    *seen = wanted;
    b.last_waited = std::max(b.last_waited, wanted);
    emulator_acquire(&b.over);
}

/* ------------------------------------------------------------------ with a number */

enum { NUMBERED = 16 };
static struct {
    uint32_t count, threads;
    int come[EMULATOR_THREADS];
    emulator_clock clock;
} numbered[NUMBERED]; /* empty between blocks */

void emulator_sync_named(emulator_site &site, int id, int threads)
{
    if (emulator_reached(site).action != emulator_site::NORMAL)
        return;
    emulator_need_clocks();
    emulator_copies_progress();
    if (id < 1 || id >= NUMBERED || threads < 1 || threads % EMULATOR_LANES || threads > (int)emulator_launch->threads)
        emulator_fail("SYNC_NAMED(%d, %d): of barriers 1 to 15, and whole warps of a block of %u threads", id, threads,
                      emulator_launch->threads);
    auto &n = numbered[id];
    if (n.count && n.threads != (uint32_t)threads)
        emulator_fail("SYNC_NAMED(%d, %d), where %u threads wait for %u", id, threads, n.count, n.threads);
    n.threads = (uint32_t)threads;
    n.come[n.count++] = emulator.thread;
    emulator_release(&n.clock);
    if (n.count < n.threads) {
        emulator_wait_for("others at SYNC_NAMED", (uint32_t)id);
        return;
    }
    std::sort(n.come, n.come + threads);
    for (int i = 0; i < threads; i += EMULATOR_LANES)
        if (n.come[i] % EMULATOR_LANES || n.come[i + EMULATOR_LANES - 1] != n.come[i] + EMULATOR_LANES - 1)
            emulator_fail("SYNC_NAMED(%d, %d) is reached by a part of warp %d", id, threads,
                          n.come[i] / EMULATOR_LANES);
    for (int i = 0; i < threads; i++) {
        emulator_thread *t = &emulator_threads[n.come[i]];
        t->clock = n.clock; /* each of them released into it */
        if (n.come[i] != emulator.thread)
            emulator_ready(n.come[i]);
    }
    n.clock = {};
    n.count = 0;
}
