/* SPDX-License-Identifier: Apache-2.0 */
/* What the row tests share: operands between guard pages, poisoned gaps, a deterministic generator with adversarial values,
 * references, and leaf calls that check what a kernel may not change.
 *
 * A row test is written once and runs in every world: natively, under qemu, and with only the leaf call executed by an emulated
 * CPU (tests/worlds/emulated.py loads the same program as a module and sets harness_emulator). */
#ifndef HUNZE_TESTS_HARNESS_H
#define HUNZE_TESTS_HARNESS_H

#include "kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ tests over rows */

typedef struct harness_part {
    const char *name;
    bool (*applies)(const hunze_row *row);
    void (*check)(const hunze_row *row);
} harness_part;

/* Runs every part for every row that it applies to as one cmocka test; rows whose instructions this CPU lacks are skipped and printed
 * as "not run here: …".  argv[1], if given, keeps the tests whose "row/part" contains it.  Returns main()'s value. */
int harness_main(int argc, char **argv, const char *group, const harness_part *parts, int count);

/* For tests that are not about rows: makes the slots, names the test in messages and explains faults. */
void harness_begin(const char *test);

/* Names the case for messages and counts it. */
void harness_case(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Fails the running test and prints the case. */
void harness_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define harness_check(condition, ...)                                                                                  \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            harness_fail(__VA_ARGS__);                                                                                 \
    } while (0)

/* True where instructions are slow (emulated CPU, qemu): tests shrink their sweeps. */
bool harness_small(void);
/* What a sweep may cost here. */
static inline int harness_budget(int native, int small) { return harness_small() ? small : native; }
/* HUNZE_TEST_SCALE, 1 if it is not set: extents of tests that say so are so many times larger, where a device shall have enough to do. */
int64_t harness_scale(void);
uint32_t
harness_bundles(void); /* bundles that rows may use here, as hunze_cpu_bundles() but found independently of it */

/* parallel_for of callers that run all tasks themselves, one after the other: from the first on, and from the last. */
void harness_serially(void *user, int64_t count, void (*task)(void *task_user, int64_t index), void *task_user);
void harness_reversed(void *user, int64_t count, void (*task)(void *task_user, int64_t index), void *task_user);

/* ------------------------------------------------------------------ leaf calls */

typedef void harness_leaf(void);
/* Calls leaf(arguments…) with up to eight integer or pointer arguments.  Checks afterwards that callee-saved registers, the stack pointer, the
 * direction flag and MXCSR's control bits are as before and that the upper halves of the vector registers are clean. */
void harness_call(harness_leaf *leaf, int count, const uint64_t *arguments);
#define HARNESS_ARGUMENT(x) ((uint64_t)(x))
#define HARNESS_CALL(leaf, ...)                                                                                        \
    do {                                                                                                               \
        const uint64_t arguments_[] = {__VA_ARGS__};                                                                   \
        harness_call((harness_leaf *)(leaf), sizeof arguments_ / sizeof arguments_[0], arguments_);                    \
    } while (0)

/* Set by the emulated world: runs the leaf elsewhere; returns NULL or what was wrong. */
typedef const char *harness_emulator_fn(harness_leaf *leaf, int count, const uint64_t *arguments);
extern harness_emulator_fn *harness_emulator;
extern uint32_t harness_emulated_bundles; /* rows of exactly these bundles run in it, others are left out */

/* ------------------------------------------------------------------ operands
 *
 * A slot is a mapping between two inaccessible pages.  harness_place() poisons it and returns an operand that touches the guard page
 * at one end, so that one byte too many faults. */
enum { HARNESS_SLOTS = 10, HARNESS_SLOT_BYTES = 9 << 20 };
typedef enum harness_side { HARNESS_AT_END, HARNESS_AT_START } harness_side;
void *harness_place(int slot, size_t bytes, size_t alignment, harness_side side);
/* Remembers the slot's bytes; harness_unchanged() fails if one of them differs now. */
void harness_snapshot(int slot);
void harness_unchanged(int slot, const char *operand);
/* ", 4 bytes past the end of operand slot 1" for an address near a slot, else "". */
const char *harness_locate(const void *address);
/* The remembered byte behind a pointer into the slot, to overwrite with what a kernel was allowed to write there. */
void *harness_remembered(int slot, const void *pointer);

/* ------------------------------------------------------------------ values */

typedef struct harness_rng {
    uint64_t state;
} harness_rng;
uint64_t harness_u64(harness_rng *rng);
int64_t harness_between(harness_rng *rng, int64_t low, int64_t high); /* inclusive */
double harness_uniform(harness_rng *rng);                             /* in [-1, 1) */
static inline bool harness_one_in(harness_rng *rng, int64_t times) { return harness_between(rng, 1, times) == 1; }

typedef enum harness_values {
    HARNESS_UNIFORM,  /* [-1, 1) */
    HARNESS_CANCEL,   /* x, -x pairs of widely different sizes */
    HARNESS_SCALED,   /* times 2^-60 … 2^60 (f16: 2^±13) */
    HARNESS_DENORMAL, /* denormals, smallest normals, zeros */
    HARNESS_ZEROS,    /* +0 and -0 */
    HARNESS_SPECIAL,  /* uniform with one NaN or infinity in eight */
    HARNESS_CORNERS,  /* uniform with a NaN or an infinity first and last */
    HARNESS_CONSTANT, /* one value */
    HARNESS_VALUES,
    HARNESS_INTEGERS = HARNESS_VALUES /* -4 … 4, by name only: sums of some thousand products are exact in any order */
} harness_values;
const char *harness_values_name(harness_values values);
/* Of integers: their whole range, but for HARNESS_UNIFORM and HARNESS_INTEGERS its ends and what is next to them. */
void harness_fill(harness_rng *rng, hunze_type type, void *data, int64_t count, harness_values values);
/* Integers: the whole range; extremes only: the two ends and their neighbours. */
void harness_fill_int(harness_rng *rng, hunze_type type, void *data, int64_t count, bool extremes);
double harness_get(hunze_type type, const void *data, int64_t index);
void harness_set(hunze_type type, void *data, int64_t index, double value);
/* Of integers, without rounding: the value, that of u64 modulo 2^64; and a value modulo 2^bits. */
int64_t harness_get_whole(hunze_type type, const void *data, int64_t index);
void harness_set_whole(hunze_type type, void *data, int64_t index, int64_t value);
/* A product of vdpbf16ps added to s: fused, rounded to nearest; denormals count as zeros, also as results, and what is tiny is decided after rounding
 * to 24 bits. */
float harness_step_bf16(float x, float y, float s);
float harness_flush(float x);
size_t harness_bytes(hunze_type type);
hunze_dtype harness_dtype(hunze_type type);
bool harness_is_float(hunze_type type);
/* Equal bits, or NaN both. */
bool harness_same(hunze_type type, const void *a, const void *b);
/* "0x1.8p+3 (41400000)" in one of four static buffers. */
const char *harness_show(hunze_type type, const void *data);

/* Goes on with a hash of bytes: as FNV-1a over words of 64 bits, the last filled up by zeros. */
#define HARNESS_HASH_START 0xcbf29ce484222325u
uint64_t harness_hash(uint64_t hash, const void *data, size_t bytes);

/* Units in the last place between a result and the exact value, in the result's type (f32). */
double harness_ulp_f32(float got, double exact);

#endif
