/* SPDX-License-Identifier: Apache-2.0 */
/* What every peer with a C ABI needs: finding and opening a library, its functions by name, and the table of what it can do. */
#ifndef HUNZE_BENCH_LIBRARY_H
#define HUNZE_BENCH_LIBRARY_H

#include "peer.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BENCH_PLACE = 512, BENCH_WHY = 256, BENCH_VERSION = 128 };

/* Where a library may be: `patterns` of glob(7) below an environment's folder, `sonames` on the system.  Both end with NULL. */
typedef struct bench_library {
    const char *name;
    const char *const *patterns, *const *sonames;
} bench_library;

/* `path` if given, else the environment, else the system; NULL and why.  place: the file that was opened. */
void *bench_library_open(const bench_library *library, const char *path, const char *environment,
                         char place[BENCH_PLACE], char why[BENCH_WHY]);

/* One function; `pointer` is the address of a pointer to a function of its type. */
typedef struct bench_function {
    const char *name;
    void *pointer;
} bench_function;

/* Looks up each name, with `prefix` before it or, where that is not there, as it stands; false and why if one is missing. */
bool bench_library_functions(void *library, const char *prefix, const bench_function *functions, size_t count,
                             char why[BENCH_WHY]);

/* One line of a library's table.  make() fills call, state and whatever else of the way differs from zero; false where the way does
 * not apply to this row, with why where that is for want of something in the library. */
typedef struct bench_entry bench_entry;
struct bench_entry {
    bench_op op;
    const char *dtype, *way, *d_dtype;
    bool (*make)(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);
    int form; /* which of its forms, where one make() serves several ways */
};

/* prepare() of peer.h over a table. */
int bench_entries_prepare(const bench_entry *entries, size_t count, const bench_case *row,
                          bench_way ways[BENCH_MOST_WAYS], char why[BENCH_WHY]);

bool bench_refuse(char why[BENCH_WHY], const char *reason); /* false */

/* Copies of the weights in the library's own form: `bytes` each, 64-byte aligned, one behind the other at *stride.  pack() makes one;
 * the shortest of its times, over all copies and the first one again, goes to *seconds.  NULL: no memory, or pack() failed. */
void *bench_pack_copies(const bench_case *row, size_t bytes, size_t *stride,
                        bool (*pack)(void *state, const void *from, void *to), void *state, double *seconds);

#ifdef __cplusplus
}
#endif

#endif
