/* SPDX-License-Identifier: Apache-2.0 */
/* The emulator as its caller sees it: the stand-in for libcuda.so.1, and tests.
 *
 * A launch runs a kernel's blocks one after the other in random order.  What a GPU would leave undefined ends the process: one sentence on
 * stderr that names kernel, block, thread and seed, and exit status HUNZE_EMULATOR_STATUS.  Not thread-safe: the caller holds a lock.
 *
 * Environment:
 *   HUNZE_EMU_SEED     the order of blocks and threads and the moments when copies land; default 1
 *   HUNZE_EMU_MUTATE   "file:line:drop", or flip, early, off_by_one: breaks one place, after "@" only in that kernel (tests/cuda/mutants.py)
 *   HUNZE_EMU_STEPS    how often all places may be reached, and threads go on, until the process is taken for one that hangs
 *   HUNZE_EMU_SITES    a file that gets lines "file:line name kernel hits" of the places reached (",compares" after a name whose condition
 *                      does) and "steps count", when the process ends */
#ifndef HUNZE_EMULATOR_LAUNCH_H
#define HUNZE_EMULATOR_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HUNZE_EMULATOR_STATUS = 70 };

/* [begin, end): addresses that a kernel may use; their bytes are readable for the CPU at address + shift. */
typedef struct hunze_emulator_range {
    uintptr_t begin, end;
    intptr_t shift;
} hunze_emulator_range;
/* Whether address lies in a range; else `range` becomes the nearest one (begin == end: there is none). */
typedef bool hunze_emulator_find_fn(void *user, uintptr_t address, hunze_emulator_range *range);

typedef struct hunze_emulator_kernel {
    const char *name, *file;
    uint32_t threads, blocks; /* as KERNEL says them */
    uint32_t argument_bytes;
    void (*body)(const void *arguments);
} hunze_emulator_kernel;

typedef struct hunze_emulator_launch {
    const hunze_emulator_kernel *kernel;
    uint32_t grid[3];
    uint32_t threads;      /* a multiple of 32, at most 1024 */
    uint32_t shared_bytes; /* at most HUNZE_EMULATOR_SHARED_BYTES */
    const void *arguments; /* aligned to 64 bytes */
    hunze_emulator_find_fn *find;
    void *user;
} hunze_emulator_launch;

enum { HUNZE_EMULATOR_SHARED_BYTES = 232448 };

/* What the stand-in's cuTensorMapEncodeTiled writes into a CUtensorMap, and the emulator reads. */
enum { HUNZE_EMULATOR_MAP = 0x4d455554 };
typedef struct hunze_emulator_tensor_map {
    uint32_t is_map; /* HUNZE_EMULATOR_MAP */
    uint8_t rank, element_bytes, swizzle_bytes /* 0: none */, steps[5];
    uint64_t address, strides[5]; /* in bytes; strides[0] is an element's */
    uint32_t last[5];             /* the largest coordinate inside */
    uint16_t box[5];
} hunze_emulator_tensor_map;

/* Sums over all launches of a kernel. */
typedef struct hunze_emulator_counters {
    uint64_t launches, blocks;
    uint64_t global_read_bytes, global_write_bytes; /* asked for by threads, copies included */
    uint64_t copies, tile_copies;
    uint64_t fma, mma, dot4; /* instructions of threads; mma: of warps */
    uint64_t wgmma;          /* of warpgroups */
    uint64_t barriers;       /* of blocks */
    uint64_t shared_requests,
        bank_conflicts; /* of warps, if counted: load_shared and store_shared, and the passes beyond one each */
} hunze_emulator_counters;

#define HUNZE_EMULATOR_API __attribute__((visibility("default")))

/* NULL: no KERNEL has this name. */
HUNZE_EMULATOR_API const hunze_emulator_kernel *hunze_emulator_find_kernel(const char *name);
HUNZE_EMULATOR_API void hunze_emulator_run(const hunze_emulator_launch *launch);
HUNZE_EMULATOR_API bool hunze_emulator_get_counters(const char *kernel, hunze_emulator_counters *counters);
HUNZE_EMULATOR_API void hunze_emulator_reset_counters(void);
/* From the next launch on. */
HUNZE_EMULATOR_API void hunze_emulator_set_seed(uint64_t seed);
/* Whether shared_requests and bank_conflicts are counted (slow). */
HUNZE_EMULATOR_API void hunze_emulator_set_banks(bool counted);

#ifdef __cplusplus
}
#endif

#endif
