/* SPDX-License-Identifier: Apache-2.0 */
/* The block that runs: its threads, who may go on, and random choices.  Inside the emulator only. */
#ifndef HUNZE_EMULATOR_BLOCK_H
#define HUNZE_EMULATOR_BLOCK_H

#include "emulator.h"
#include "fiber.h"

#include <vector>

enum { EMULATOR_THREADS = 1024, EMULATOR_LANES = 32 };

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
    const char *together; /* the name of what its warp does together */
    std::vector<emulator_copy_in_flight> copies;
    uint32_t groups;             /* of copies, ended */
    std::vector<uint64_t> trace; /* shared accesses since the last barrier: offset | log2(bytes) << 20 | line << 32 */
};

extern emulator_thread emulator_threads[EMULATOR_THREADS];
extern const hunze_emulator_launch *emulator_launch; /* NULL: none runs */

/* Uniform bits; the same for the same seed. */
uint32_t emulator_random();
uint64_t emulator_seed();
/* The running thread goes on when somebody has made it ready and it is chosen. */
void emulator_wait();
void emulator_ready(int thread);
/* Pieces of this thread's copies land. */
void emulator_copies_progress();
void emulator_count_banks(uint32_t threads);
hunze_emulator_counters *emulator_counters_of(const hunze_emulator_kernel *kernel);

#endif
