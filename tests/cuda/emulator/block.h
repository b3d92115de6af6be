/* SPDX-License-Identifier: Apache-2.0 */
/* The block that runs: its threads, who may go on, and random choices.  Inside the emulator only. */
#ifndef HUNZE_EMULATOR_BLOCK_H
#define HUNZE_EMULATOR_BLOCK_H

#include "emulator.h"
#include "fiber.h"

#include <vector>

enum { EMULATOR_THREADS = 1024, EMULATOR_LANES = 32, EMULATOR_WARPGROUP = 128 };
enum {
    EMULATOR_WARPS = EMULATOR_THREADS / EMULATOR_LANES,
    EMULATOR_WARPGROUPS = EMULATOR_THREADS / EMULATOR_WARPGROUP
};

/* ------------------------------------------------------------------ who did what before what */

/* Agents access shared memory: threads, then the products of each warpgroup, then the copies that each barrier counts. */
enum {
    EMULATOR_BARRIERS = 64,
    EMULATOR_PRODUCTS = EMULATOR_THREADS,
    EMULATOR_TILES = EMULATOR_PRODUCTS + EMULATOR_WARPGROUPS,
    EMULATOR_AGENTS = EMULATOR_TILES + EMULATOR_BARRIERS
};
/* For each agent, until when its accesses are before what follows; and those stores of a thread that the asynchronous proxy sees. */
struct emulator_clock {
    uint32_t seen[EMULATOR_AGENTS], fenced[EMULATOR_THREADS];
};
/* Clocks are kept from the first of these calls on, and from the beginning in later blocks of the kernel. */
void emulator_need_clocks();
/* Counts what orders: stamps after it are larger. */
uint32_t emulator_tick();
/* What this thread did so far is before what acquires the clock. */
void emulator_release(emulator_clock *to);
void emulator_acquire(const emulator_clock *from);
void emulator_clocks_meet(); /* of all threads, for SYNC_BLOCK */
void emulator_clocks_begin();
void emulator_clocks_end();
/* Whether an access with this stamp to a word is before what this thread does now. */
bool emulator_ordered(uint32_t stamp, uint32_t word);
/* An access of this thread by ordinary instructions: marks it, or fails because of somebody who reads the word. */
void emulator_mark_read(uint32_t word);
void emulator_check_readers(uint32_t word);
/* An access of `count` threads from `first` on through the asynchronous proxy, which becomes that of the agent. */
void emulator_tile_written(uint32_t offset, uint32_t bytes, uint32_t agent);
void emulator_tile_landed(uint32_t offset, uint32_t bytes);
void emulator_operand_read(uint32_t offset, int warpgroup);
emulator_stamps *emulator_stamps_of_bytes(uint32_t word); /* NULL: its bytes have no stamps of their own */

/* ------------------------------------------------------------------ threads */

struct emulator_copy_in_flight {
    uint32_t offset;
    uint32_t words, left; /* how many; a bit for each that has not landed */
    uint32_t bytes;       /* of the source; zeros follow */
    uint32_t group;
    const char *source;
};

struct emulator_thread {
    fiber own;
    bool ended;
    const emulator_site *at_barrier;
    const char *together; /* the name of what its warp or warpgroup does together */
    const char *waits;    /* for what, otherwise, and where */
    uint32_t waits_at;
    uint32_t time; /* since when it ordered nothing */
    emulator_clock clock;
    std::vector<emulator_copy_in_flight> copies;
    uint32_t groups;             /* of copies, ended */
    std::vector<uint64_t> trace; /* shared accesses since the last SYNC_BLOCK: memory.cpp says how */
};

extern emulator_thread emulator_threads[EMULATOR_THREADS];
extern const hunze_emulator_launch *emulator_launch; /* NULL: none runs */

/* Uniform bits; the same for the same seed. */
uint32_t emulator_random();
uint64_t emulator_seed();
uint32_t emulator_random_below(uint32_t n);
/* The running thread goes on when somebody has made it ready and it is chosen. */
void emulator_wait();
void emulator_wait_for(const char *what, uint32_t at);
void emulator_ready(int thread);
/* Pieces of this thread's copies land. */
void emulator_copies_progress();
void emulator_count_banks(uint32_t threads);
const char *emulator_base_name(const char *path);

/* ------------------------------------------------------------------ barriers, copies of tiles, products */

void emulator_barriers_begin();
int emulator_barrier_at(const uint64_t *barrier, bool asynchronous);
void emulator_barrier_bytes(int index, uint32_t bytes); /* of a copy have landed */
bool emulator_barrier_unobserved();                     /* bytes landed that no thread waited for */
void emulator_tiles_begin();
void emulator_tiles_progress(bool all);
void emulator_products_begin();
void emulator_products_progress();
void emulator_products_end(); /* of a thread */

void emulator_launch_begins();
void emulator_launch_ends();
hunze_emulator_counters *emulator_counters_of(const hunze_emulator_kernel *kernel);

#endif
