/* SPDX-License-Identifier: Apache-2.0 */
/* A launch: blocks in random order, their threads in the order of a schedule; barriers, and what a warp does together. */
#include "block.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

emulator_state emulator;
emulator_thread emulator_threads[EMULATOR_THREADS];

/* ------------------------------------------------------------------ failure, chance */

const hunze_emulator_launch *emulator_launch;
static uint64_t seed, random_state;
static bool seeded;

void emulator_fail(const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (emulator_launch)
        fprintf(stderr, "hunze emulator: %s, block (%u, %u, %u), thread %d: %s (HUNZE_EMU_SEED=%llu)\n",
                emulator_launch->kernel->name, emulator.block[0], emulator.block[1], emulator.block[2], emulator.thread,
                text, (unsigned long long)emulator_seed());
    else
        fprintf(stderr, "hunze emulator: %s\n", text);
    fflush(stderr);
    _exit(HUNZE_EMULATOR_STATUS);
}

uint64_t emulator_seed()
{
    if (!seeded) {
        const char *text = getenv("HUNZE_EMU_SEED");
        hunze_emulator_set_seed(text ? strtoull(text, nullptr, 0) : 1);
    }
    return seed;
}

void hunze_emulator_set_seed(uint64_t value)
{
    seed = value;
    seeded = true;
    random_state = (value + 1) * 0x9E3779B97F4A7C15u;
}

/* splitmix64 */
uint32_t emulator_random()
{
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)(z >> 32);
}

uint32_t emulator_random_below(uint32_t n) { return (uint32_t)((uint64_t)emulator_random() * n >> 32); }

/* ------------------------------------------------------------------ who goes on */

enum { RANDOM, REVERSED, STARVED_WARP, STARVED_WARPGROUP, SCHEDULES }; /* threads */
enum { WHENEVER, EARLY, LATE, MOMENTS };                               /* copies of tiles and products go on */
static uint32_t schedule, moment;
static int starved_first, starved_end;
static struct {
    int count;
    int threads[EMULATOR_THREADS];
} ready, starved;
static int alive, at_barrier;
static const emulator_site *barrier;
static struct meeting {
    int count;
    const char *name;
    emulator_together_fn *together;
    void *lanes[EMULATOR_WARPGROUP];
} of_warps[EMULATOR_WARPS], of_warpgroups[EMULATOR_WARPGROUPS];
static fiber caller, *previous;

void emulator_ready(int thread)
{
    auto &list = thread >= starved_first && thread < starved_end ? starved : ready;
    list.threads[list.count++] = thread;
}

const char *emulator_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Somebody who waits for lanes that never come, else for something that is not SYNC_BLOCK, else somebody there. */
__attribute__((noreturn)) static void fail_deadlock()
{
    const auto rank = [](const emulator_thread &t) { return t.ended ? 0 : t.together ? 3 : t.waits ? 2 : 1; };
    int waiting = 0;
    for (int i = (int)emulator_launch->threads; i-- > 0;)
        if (rank(emulator_threads[i]) >= rank(emulator_threads[waiting]))
            waiting = i;
    const emulator_thread *t = &emulator_threads[waiting];
    const int ended = (int)emulator_launch->threads - alive;
    const int lanes = of_warps[waiting / EMULATOR_LANES].count;
    if (t->together)
        emulator_fail("deadlock: thread %d waits in %s with %d of %d lanes; %d threads have ended", waiting,
                      t->together, lanes ? lanes : of_warpgroups[waiting / EMULATOR_WARPGROUP].count,
                      lanes ? EMULATOR_LANES : EMULATOR_WARPGROUP, ended);
    if (t->waits)
        emulator_fail("deadlock: thread %d waits for %s %u; %d threads have ended", waiting, t->waits, t->waits_at,
                      ended);
    emulator_fail("deadlock: %d of %u threads wait at %s:%d %s; %d have ended", at_barrier, emulator_launch->threads,
                  emulator_base_name(barrier->file), barrier->line, barrier->name, ended);
}

static uint32_t stamp_of(int thread)
{
    const uint32_t since = emulator.clocks ? emulator_threads[thread].time << EMULATOR_EPOCH_SHIFT : emulator.epoch;
    return since | (uint32_t)thread;
}

static int choose()
{
    while (emulator.asynchronous && (moment == EARLY || (moment == WHENEVER && emulator_random() % 8 == 0) ||
                                     (!ready.count && (!starved.count || emulator_random() % 2)))) {
        emulator_tiles_progress(moment == EARLY);
        emulator_products_progress();
        if (ready.count)
            break;
    }
    auto &list = ready.count ? ready : starved;
    if (!list.count)
        fail_deadlock();
    const int at = schedule == REVERSED ? list.count - 1 : (int)emulator_random_below((uint32_t)list.count);
    const int chosen = list.threads[at];
    list.threads[at] = list.threads[--list.count];
    return chosen;
}

static void resume(bool ends)
{
    emulator_step();
    const int from = emulator.thread;
    const int to = choose();
    emulator.thread = to;
    emulator.stamp = stamp_of(to);
    if (to == from)
        return;
    previous = &emulator_threads[from].own;
    fiber_switch(previous, &emulator_threads[to].own, ends);
}

void emulator_wait() { resume(false); }

void emulator_wait_for(const char *what, uint32_t at)
{
    emulator_thread *t = &emulator_threads[emulator.thread];
    t->waits = what;
    t->waits_at = at;
    emulator_wait();
    t->waits = nullptr;
}

static void thread_main()
{
    fiber_entered(previous);
    emulator_launch->kernel->body(emulator_launch->arguments);
    emulator_thread *t = &emulator_threads[emulator.thread];
    if (!t->copies.empty())
        emulator_fail("the thread ends while %zu of its copies are on their way: a copy_async_wait is missing",
                      t->copies.size());
    if (at_barrier)
        emulator_fail("the thread ends while %d of %u wait at %s:%d %s", at_barrier, emulator_launch->threads,
                      emulator_base_name(barrier->file), barrier->line, barrier->name);
    const meeting &warp = of_warps[emulator.thread / EMULATOR_LANES],
                  &warpgroup = of_warpgroups[emulator.thread / EMULATOR_WARPGROUP];
    if (warp.count)
        emulator_fail("the thread ends while %d lanes of its warp wait in %s", warp.count, warp.name);
    if (warpgroup.count)
        emulator_fail("the thread ends while %d threads of its warpgroup wait in %s", warpgroup.count, warpgroup.name);
    if (emulator.clocks)
        emulator_products_end();
    t->ended = true;
    if (--alive)
        resume(true);
    if (emulator.asynchronous || (emulator.clocks && emulator_barrier_unobserved()))
        emulator_fail("the block ends while copies of tiles are on their way: a BARRIER_WAIT is missing");
    previous = &t->own;
    fiber_switch(&t->own, &caller, true);
    __builtin_unreachable();
}

/* ------------------------------------------------------------------ meetings */

void emulator_sync_block(emulator_site &site)
{
    if (emulator_reached(site).action != emulator_site::NORMAL)
        return;
    emulator_copies_progress();
    if ((uint32_t)alive < emulator_launch->threads)
        emulator_fail("the thread waits at %s:%d %s, but %d threads of the block have ended",
                      emulator_base_name(site.file), site.line, site.name, (int)emulator_launch->threads - alive);
    if (at_barrier && (barrier->line != site.line || strcmp(barrier->file, site.file)))
        emulator_fail("the thread waits at %s:%d %s while %d of %u wait at %s:%d", emulator_base_name(site.file),
                      site.line, site.name, at_barrier, emulator_launch->threads, emulator_base_name(barrier->file),
                      barrier->line);
    barrier = &site;
    emulator_threads[emulator.thread].at_barrier = &site;
    if (++at_barrier < alive) {
        emulator_wait();
        return;
    }
    if (emulator.traces)
        emulator_count_banks(emulator_launch->threads);
    emulator.counters.barriers++;
    if (emulator.clocks)
        emulator_clocks_meet();
    emulator.epoch = emulator_tick() << EMULATOR_EPOCH_SHIFT;
    at_barrier = 0;
    for (uint32_t i = 0; i < emulator_launch->threads; i++) {
        emulator_threads[i].at_barrier = nullptr;
        emulator_threads[i].time = emulator.epoch >> EMULATOR_EPOCH_SHIFT;
        emulator_ready((int)i);
    }
    emulator_wait();
}

void emulator_together(const char *name, emulator_together_fn *together, void *mine, int lanes)
{
    const int first = emulator.thread / lanes * lanes;
    meeting &those = lanes == EMULATOR_LANES ? of_warps[first / lanes] : of_warpgroups[first / lanes];
    if (those.count && those.together != together)
        emulator_fail("the thread is in %s while %d of %d lanes are in %s", name, those.count, lanes, those.name);
    if (first + lanes > (int)emulator_launch->threads)
        emulator_fail("the thread is in %s, for which %d threads are missing in the block", name,
                      first + lanes - (int)emulator_launch->threads);
    those.name = name;
    those.together = together;
    those.lanes[emulator.thread - first] = mine;
    emulator_threads[emulator.thread].together = name;
    if (++those.count < lanes) {
        emulator_wait();
        return;
    }
    together(those.lanes);
    those.count = 0;
    for (int lane = 0; lane < lanes; lane++) {
        emulator_threads[first + lane].together = nullptr;
        if (first + lane != emulator.thread)
            emulator_ready(first + lane);
    }
}

/* ------------------------------------------------------------------ a launch */

enum : size_t { STACK = 128 << 10, PAGE = 4096, SHARED = HUNZE_EMULATOR_SHARED_BYTES };

static char *map_memory(size_t bytes)
{
    void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        emulator_fail("no memory for the stacks of a block");
    return static_cast<char *>(at);
}

/* Each stack ends at a page that must not be touched.  Stacks begin at different places of their pages, or they would all fall into the same
 * lines of the caches. */
static void make_thread(uint32_t i)
{
    static char *stacks;
    static uint32_t made;
    if (!stacks)
        stacks = map_memory(EMULATOR_THREADS * STACK);
    for (; made <= i; made++)
        mprotect(stacks + made * STACK, PAGE, PROT_NONE);
    emulator_thread *t = &emulator_threads[i];
    fiber_make(&t->own, stacks + i * STACK + PAGE, STACK - PAGE - i % 64 * 320, thread_main);
    t->ended = false;
    t->at_barrier = nullptr;
    t->together = nullptr;
    t->waits = nullptr;
    t->groups = 0;
    t->time = emulator.epoch >> EMULATOR_EPOCH_SHIFT;
}

static void run_block()
{
    static char *shared_end;
    if (!shared_end) {
        char *map = map_memory((SHARED + PAGE - 1) / PAGE * PAGE + PAGE);
        shared_end = map + (SHARED + PAGE - 1) / PAGE * PAGE;
        mprotect(shared_end, PAGE, PROT_NONE);
        emulator.words = reinterpret_cast<emulator_stamps *>(map_memory(SHARED / 4 * sizeof(emulator_stamps)));
    }
    emulator.shared_bytes = emulator_launch->shared_bytes;
    emulator.shared = shared_end - (emulator_launch->shared_bytes + 1023) / 1024 * 1024;
    memset(emulator.shared, 0xFF, static_cast<size_t>(shared_end - emulator.shared));
    if (emulator.now >= EMULATOR_IN_FLIGHT >> EMULATOR_EPOCH_SHIFT >> 1) {
        memset(static_cast<void *>(emulator.words), 0, SHARED / 4 * sizeof *emulator.words);
        emulator.now = 0;
    }
    emulator.epoch = emulator.block_epoch = emulator_tick() << EMULATOR_EPOCH_SHIFT;
    emulator_clocks_begin();
    emulator.counters.blocks++;

    schedule = emulator_random_below(SCHEDULES);
    moment = emulator_random_below(MOMENTS);
    const int together = schedule == STARVED_WARPGROUP ? EMULATOR_WARPGROUP : EMULATOR_LANES;
    starved_first = (int)emulator_random_below(emulator_launch->threads) / together * together;
    starved_end = schedule == STARVED_WARP || schedule == STARVED_WARPGROUP ? starved_first + together : 0;
    alive = (int)emulator_launch->threads;
    for (uint32_t i = 0; i < emulator_launch->threads; i++) {
        make_thread(i);
        emulator_ready((int)i);
    }
    caller.stack = nullptr;
    previous = &caller;
    emulator.thread = choose();
    emulator.stamp = stamp_of(emulator.thread);
    fiber_switch(&caller, &emulator_threads[emulator.thread].own, false);
    if (emulator.traces)
        emulator_count_banks(emulator_launch->threads);
    emulator_clocks_end();
}

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b) { return b ? greatest_common_divisor(b, a % b) : a; }

void hunze_emulator_run(const hunze_emulator_launch *launch)
{
    if (!launch->threads || launch->threads % EMULATOR_LANES || launch->threads > EMULATOR_THREADS ||
        launch->shared_bytes > SHARED)
        emulator_fail("%s: a block of %u threads, which must be whole warps, and %u bytes of shared memory",
                      launch->kernel->name, launch->threads, launch->shared_bytes);
    emulator_seed();
    emulator_launch = launch;
    emulator.range = {};
    emulator.counters = {};
    emulator.counters.launches = 1;
    memcpy(emulator.grid, launch->grid, sizeof emulator.grid);
    emulator_launch_begins();

    /* A step without a common divisor visits each block once. */
    const uint64_t blocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
    uint64_t step = 1, block = blocks ? emulator_random() % blocks : 0;
    if (blocks > 2)
        do
            step = 1 + emulator_random() % (blocks - 1);
        while (greatest_common_divisor(step, blocks) != 1);
    for (uint64_t i = 0; i < blocks; i++) {
        emulator.block[0] = (uint32_t)(block % launch->grid[0]);
        emulator.block[1] = (uint32_t)(block / launch->grid[0] % launch->grid[1]);
        emulator.block[2] = (uint32_t)(block / launch->grid[0] / launch->grid[1]);
        run_block();
        block = (block + step) % blocks;
    }
    emulator_launch_ends();
    emulator_launch = nullptr;

    auto *sums = reinterpret_cast<uint64_t *>(emulator_counters_of(launch->kernel));
    const auto *now = reinterpret_cast<const uint64_t *>(&emulator.counters);
    for (size_t i = 0; i < sizeof emulator.counters / sizeof *now; i++)
        sums[i] += now[i];
}

void hunze_emulator_set_banks(bool counted) { emulator.traces = counted; }
