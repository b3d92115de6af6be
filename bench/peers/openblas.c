/* SPDX-License-Identifier: Apache-2.0 */
/* OpenBLAS, from the wheel scipy-openblas32 or from the system.  The wheel's names begin with scipy_, but for the batched ones. */
#include "cblas.h"

#include <stdio.h>

static bool f32(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);
static bool f64(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY]);

static const bench_entry entries[] = {
    {BENCH_GEMM, "f32", "", "f32", f32, CBLAS_LOOP},
    {BENCH_GEMM, "f32", "batch_strided", "f32", f32, CBLAS_BATCH},
    {BENCH_GEMM, "f64", "", "f64", f64, CBLAS_LOOP},
    {BENCH_GEMM, "f64", "batch_strided", "f64", f64, CBLAS_BATCH},
};

static cblas_functions functions;
static bool batch_crashes;
static char *(*get_config)(void);
static void (*set_num_threads)(int threads);

/* 0.3.34 ends in a fault in batches whose products it counts as small; later versions do not. */
static bool faults(const bench_entry *entry, const bench_case *row)
{
    return entry->form == CBLAS_BATCH && batch_crashes && row->m * row->n * row->k <= 100 * 100 * 100;
}

static bool f32(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    return !faults(entry, row) && cblas_make_f32(&functions, entry->form, row, way, why);
}

static bool f64(const bench_entry *entry, const bench_case *row, bench_way *way, char why[BENCH_WHY])
{
    return !faults(entry, row) && cblas_make_f64(&functions, entry->form, row, way, why);
}

static bool open_openblas(const char *path, const char *environment, int threads, char version[BENCH_VERSION],
                          char place[BENCH_PLACE], char why[BENCH_WHY])
{
    static const char *const patterns[] = {"lib/python3*/site-packages/scipy_openblas32/lib/libscipy_openblas.so",
                                           NULL};
    static const char *const sonames[] = {"libopenblas.so.0", NULL};
    static const bench_function needed[] = {
        {"openblas_get_config", &get_config},
        {"openblas_set_num_threads", &set_num_threads},
        {"cblas_sgemm", &functions.sgemm},
        {"cblas_dgemm", &functions.dgemm},
    };
    static const bench_function batched[] = {
        {"cblas_sgemm_batch_strided", &functions.sgemm_batch_strided},
        {"cblas_dgemm_batch_strided", &functions.dgemm_batch_strided},
    };
    const bench_library library = {"OpenBLAS", patterns, sonames};
    void *opened = bench_library_open(&library, path, environment, place, why);
    if (!opened || !bench_library_functions(opened, "scipy_", needed, sizeof needed / sizeof *needed, why))
        return false;
    const char *config = get_config();
    int major = 0, minor = 0, patch = 0;
    sscanf(config, "OpenBLAS %d.%d.%d", &major, &minor, &patch);
    const int number = major * 10000 + minor * 100 + patch;
    if (number < 334) {
        snprintf(why, BENCH_WHY, "0.3.34 or later is needed, found %.100s", config);
        return false;
    }
    batch_crashes = number == 334;
    if (!bench_library_functions(opened, "scipy_", batched, sizeof batched / sizeof *batched, why))
        return false;
    snprintf(version, BENCH_VERSION, "%s", config);
    set_num_threads(threads);
    return true;
}

static int prepare(const bench_case *row, bench_way ways[BENCH_MOST_WAYS], char why[BENCH_WHY])
{
    set_num_threads(row->threads);
    return bench_entries_prepare(entries, sizeof entries / sizeof *entries, row, ways, why);
}

extern const bench_peer bench_peer_openblas;
const bench_peer bench_peer_openblas = {"openblas", open_openblas, prepare};
