/* SPDX-License-Identifier: Apache-2.0 */
/* BLIS, from the system.  Its batched functions are a loop of their own, so batches are one here. */
#include "cblas.h"

#include <stdio.h>

static bool f32(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);
static bool f64(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);

static const bench_entry entries[] = {
    {BENCH_GEMM, "f32", "", "f32", f32, CBLAS_LOOP},
    {BENCH_GEMM, "f64", "", "f64", f64, CBLAS_LOOP},
};

static cblas_functions functions;
static const char *(*version_string)(void);
static void (*set_num_threads)(int64_t threads);

static bool f32(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    return cblas_make_f32(&functions, entry->form, row, way, why);
}

static bool f64(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    return cblas_make_f64(&functions, entry->form, row, way, why);
}

static bool open_blis(const char *path, const char *environment, int threads, char version[BENCH_VERSION],
                      char place[BENCH_PLACE], char why[BENCH_WHY])
{
    static const char *const patterns[] = {"lib/libblis.so*", NULL};
    static const char *const sonames[] = {"libblis.so.4", NULL};
    static const bench_function needed[] = {
        {"bli_info_get_version_str", &version_string},
        {"bli_thread_set_num_threads", &set_num_threads},
        {"cblas_sgemm", &functions.sgemm},
        {"cblas_dgemm", &functions.dgemm},
    };
    const bench_library library = {"BLIS", patterns, sonames};
    void *opened = bench_library_open(&library, path, environment, place, why);
    if (!opened || !bench_library_functions(opened, "", needed, sizeof needed / sizeof *needed, why))
        return false;
    snprintf(version, BENCH_VERSION, "BLIS %s", version_string());
    set_num_threads(threads);
    return true;
}

static int prepare(const bench_case *row, bench_way ways[BENCH_MOST_WAYS], char why[BENCH_WHY])
{
    set_num_threads(row->threads);
    return bench_entries_prepare(entries, sizeof entries / sizeof *entries, row, ways, why);
}

extern const bench_peer bench_peer_blis;
const bench_peer bench_peer_blis = {"blis", open_blis, prepare};
