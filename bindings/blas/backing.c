/* SPDX-License-Identifier: Apache-2.0 */
/* The library behind the forwards: which one it is, and its functions.  Opened by the first call that needs it, so that a process that only
 * multiplies never loads it. */
#include "blas.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__x86_64__)
#define DEBIAN "/usr/lib/x86_64-linux-gnu/"
#elif defined(__aarch64__)
#define DEBIAN "/usr/lib/aarch64-linux-gnu/"
#endif

/* Debian's choice, its libraries from fast to plain, and where other systems have theirs. */
static const char *const known[] = {
    DEBIAN "libblas.so.3",
    DEBIAN "openblas-pthread/libblas.so.3",
    DEBIAN "openblas-openmp/libblas.so.3",
    DEBIAN "openblas-serial/libblas.so.3",
    DEBIAN "blis-pthread/libblas.so.3",
    DEBIAN "blis-openmp/libblas.so.3",
    DEBIAN "blis-serial/libblas.so.3",
    DEBIAN "atlas/libblas.so.3",
    DEBIAN "blas/libblas.so.3",
    "/usr/lib64/libblas.so.3",
    "/usr/lib64/libopenblas.so.0",
    "/usr/lib/libblas.so.3",
};

static void *backing;
static char why[PATH_MAX + 200]; /* there is none */

/* Whether a function is of this library, which may itself be what a path of BLAS leads to. */
static bool is_own(void *function)
{
    Dl_info own, other;
    return dladdr((void *)hunze_blas_resolve, &own) && dladdr(function, &other) && own.dli_fbase == other.dli_fbase;
}

static bool open_library(const char *path, int more)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | more);
    if (!library) {
        snprintf(why, sizeof why, "%s", dlerror());
        return false;
    }
    void *function = dlsym(library, "daxpy_");
    if (function && !is_own(function)) {
        backing = library;
        return true;
    }
    snprintf(why, sizeof why, "%s is %s", path, function ? "this library itself" : "no BLAS");
    dlclose(library);
    return false;
}

/* The BLAS that the program would use if this library had not been loaded before it. */
static bool open_next(void)
{
    void *function = dlsym(RTLD_NEXT, "daxpy_");
    Dl_info info;
    char path[PATH_MAX];
    return function && dladdr(function, &info) && realpath(info.dli_fname, path) && open_library(path, RTLD_NOLOAD);
}

static void open_backing(void)
{
    const char *given = secure_getenv("HUNZE_BLAS_BACKING");
    if (given && *given) {
        if (*given != '/')
            snprintf(why, sizeof why, "HUNZE_BLAS_BACKING is \"%.200s\", which is no absolute path", given);
        else
            open_library(given, 0);
        return;
    }
    if (open_next())
        return;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (open_library(known[i], 0))
            return;
    snprintf(why, sizeof why, "no other BLAS was found; HUNZE_BLAS_BACKING takes the absolute path of one");
}

void *hunze_blas_resolve(hunze_blas_forward *forward)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_backing);
    void *function = backing ? dlsym(backing, forward->name) : NULL;
    if (!function || is_own(function)) {
        fprintf(stderr, "libhunze_blas.so: %s: %s\n", forward->name,
                backing ? "the BLAS behind it has no such function" : why);
        _Exit(127);
    }
    __atomic_store_n(&forward->target, function, __ATOMIC_RELEASE);
    return function;
}
