/* SPDX-License-Identifier: Apache-2.0 */
#include "library.h"

#include "../peak.h"

#include <dlfcn.h>
#include <glob.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool bench_refuse(char why[BENCH_WHY], const char *reason)
{
    snprintf(why, BENCH_WHY, "%s", reason);
    return false;
}

static void *open_one(const char *file, int flags, char place[BENCH_PLACE], char why[BENCH_WHY])
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL | flags);
    if (!library) {
        bench_refuse(why, dlerror());
        return NULL;
    }
    struct link_map *map = NULL;
    const bool known = dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map->l_name && *map->l_name;
    snprintf(place, BENCH_PLACE, "%s", known ? map->l_name : file);
    return library;
}

/* The first file of the pattern that opens. */
static void *open_pattern(const char *environment, const char *pattern, char place[BENCH_PLACE], char why[BENCH_WHY])
{
    char whole[BENCH_PLACE];
    const int length = snprintf(whole, sizeof whole, "%s/%s", environment, pattern);
    glob_t found;
    if (length < 0 || (size_t)length >= sizeof whole || glob(whole, 0, NULL, &found) != 0)
        return NULL;
    void *library = NULL;
    for (size_t i = 0; i < found.gl_pathc && !library; i++) {
        /* dlopen searches the system for a name without a slash: the whole path has one, also for a relative environment. */
        library = open_one(found.gl_pathv[i], 0, place, why);
    }
    globfree(&found);
    return library;
}

void *bench_library_open(const bench_library *library, const char *path, const char *environment,
                         char place[BENCH_PLACE], char why[BENCH_WHY])
{
    if (path) /* another build of libhunze: its calls of itself must not come to the one that hunze_bench is linked with */
        return open_one(path, RTLD_DEEPBIND, place, why);
    char reason[BENCH_WHY] = "";
    void *opened = NULL;
    for (const char *const *pattern = library->patterns; environment && *pattern && !opened; pattern++)
        opened = open_pattern(environment, *pattern, place, reason);
    char ignored[BENCH_WHY];
    for (const char *const *soname = library->sonames; *soname && !opened; soname++)
        opened = open_one(*soname, 0, place, ignored);
    if (!opened && *reason)
        bench_refuse(why, reason); /* it is in the environment, and does not load */
    else if (!opened)
        snprintf(why, BENCH_WHY, "%s is neither in the environment of the peers nor on the system", library->name);
    return opened;
}

bool bench_library_functions(void *library, const char *prefix, const bench_function *functions, size_t count,
                             char why[BENCH_WHY])
{
    for (size_t i = 0; i < count; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", prefix, functions[i].name);
        void *address = dlsym(library, name);
        if (!address)
            address = dlsym(library, functions[i].name);
        if (!address) {
            snprintf(why, BENCH_WHY, "it has no %s", name);
            return false;
        }
        memcpy(functions[i].pointer, &address, sizeof address);
    }
    return true;
}

int bench_entries_prepare(const bench_entry *entries, size_t count, const bench_case *row,
                          bench_way ways[BENCH_MOST_WAYS], char why[BENCH_WHY])
{
    int made = 0;
    snprintf(why, BENCH_WHY, "no %s of %s", row->op == BENCH_GEMM ? "product" : "convolution", row->dtype);
    for (size_t i = 0; i < count && made < BENCH_MOST_WAYS; i++) {
        const bench_entry *entry = &entries[i];
        if (entry->op != row->op || strcmp(entry->dtype, row->dtype) != 0)
            continue;
        bench_way *way = &ways[made];
        memset(way, 0, sizeof *way);
        snprintf(way->name, sizeof way->name, "%s", entry->way);
        snprintf(way->d_dtype, sizeof way->d_dtype, "%s", entry->d_dtype);
        made += entry->make(entry, row, way, why);
    }
    return made;
}

void *bench_pack_copies(const bench_case *row, size_t bytes, size_t *stride,
                        bool (*pack)(void *state, const void *from, void *to), void *state, double *seconds)
{
    *stride = (bytes + 63) / 64 * 64;
    char *packed = aligned_alloc(64, *stride * (size_t)row->copies);
    for (int i = 0; packed && i <= row->copies; i++) {
        const size_t copy = (size_t)(i % row->copies);
        const double start = hunze_bench_seconds();
        const bool done = pack(state, (const char *)row->b + copy * row->b_stride, packed + copy * *stride);
        const double took = hunze_bench_seconds() - start;
        if (!done) {
            free(packed);
            return NULL;
        }
        *seconds = i == 0 || took < *seconds ? took : *seconds;
    }
    return packed;
}
