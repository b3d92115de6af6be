/* SPDX-License-Identifier: Apache-2.0 */
/* Activations give the same bits on every ISA: a hash of the results over a strided sample of all f32 inputs (with --all: over all 2^32) equals
 * the one recorded in activation_hashes.h.  activation_errors.c measures how far from the exact values they are.
 * --record prints new lines for that file. */
#include "activation_case.h"

#include <stdio.h>
#include <string.h>

#include "activation_hashes.h"

/* A prime step meets every exponent and every low bit; the larger one is for emulators. */
enum { CHUNK = 4096, STEP = 4099, STEP_SMALL = 104729 };

static bool all_inputs, recording;

static const recorded *find_record(hunze_type type, hunze_activation_kind kind)
{
    for (size_t i = 0; i < sizeof recorded_hashes / sizeof recorded_hashes[0]; i++)
        if (recorded_hashes[i].type == type && recorded_hashes[i].kind == kind)
            return &recorded_hashes[i];
    return NULL;
}

/* Inputs [first, first + CHUNK) of a sweep: bit patterns for f32; for f64 random ones, and values of ordinary size. */
static void fill_chunk(hunze_type type, uint64_t first, uint64_t step, void *x)
{
    for (int i = 0; i < CHUNK; i++)
        if (type == HUNZE_TYPE_F32) {
            ((uint32_t *)x)[i] = (uint32_t)((first + (uint64_t)i) * step);
        } else {
            harness_rng rng = {first + (uint64_t)i};
            uint64_t bits = harness_u64(&rng);
            double value = harness_uniform(&rng) * 12;
            memcpy((uint64_t *)x + i, first & CHUNK ? (void *)&bits : (void *)&value, 8);
        }
}

static void check_kind(const hunze_row *row, hunze_activation_kind kind)
{
    const hunze_type type = row->a;
    const size_t bytes = harness_bytes(type);
    const bool all = all_inputs && type == HUNZE_TYPE_F32;
    const uint64_t step = all ? 1 : harness_small() ? STEP_SMALL : STEP;
    const uint64_t f64_count = harness_budget(40, 4) * CHUNK;
    const uint64_t count =
        type == HUNZE_TYPE_F64 ? f64_count : ((uint64_t)1 << 32) / step / CHUNK * CHUNK + (all ? 0 : CHUNK);
    hunze_float_epilogue e = activation_case(kind);
    e.canonical_nan = true;
    const recorded *record = find_record(type, kind);
    harness_case("activation %d over %llu inputs", kind, (unsigned long long)count);
    _Alignas(64) static unsigned char x[CHUNK * 8], y[CHUNK * 8];
    uint64_t hash = HARNESS_HASH_START;
    for (uint64_t first = 0; first < count; first += CHUNK) {
        fill_chunk(type, first, step, x);
        memcpy(y, x, CHUNK * bytes);
        HARNESS_CALL(row->float_epilogue, HARNESS_ARGUMENT(&e), 1, CHUNK, HARNESS_ARGUMENT(y), CHUNK);
        hash = harness_hash(hash, y, CHUNK * bytes);
    }
    if (recording) {
        printf("record %d %d %s 0x%016llx\n", type, kind,
               all               ? "all"
               : harness_small() ? "small"
                                 : "sample",
               (unsigned long long)hash);
        return;
    }
    harness_check(record, "no hash is recorded");
    const uint64_t want = all ? record->all : harness_small() ? record->small : record->sample;
    harness_check(hash == want, "the hash is %016llx, recorded %016llx", (unsigned long long)hash,
                  (unsigned long long)want);
}

static bool has_activation(const hunze_row *row)
{
    return row->op == HUNZE_OP_ACTIVATION && (!all_inputs || row->a == HUNZE_TYPE_F32);
}

static void check_activations(const hunze_row *row)
{
    for (int kind = HUNZE_ACT_NONE; kind <= HUNZE_ACT_CLIP; kind++)
        check_kind(row, (hunze_activation_kind)kind);
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"activation bits", has_activation, check_activations}};
    int kept = 1;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--all"))
            all_inputs = true;
        else if (!strcmp(argv[i], "--record"))
            recording = true;
        else
            argv[kept++] = argv[i];
    return harness_main(kept, argv, "rows: activation bits", parts, 1);
}
