/* SPDX-License-Identifier: Apache-2.0 */
/* Products by other libraries: opened at run time, only where the context allows it, and ranked by what was measured. */
#ifndef HUNZE_PROVIDERS_H
#define HUNZE_PROVIDERS_H

#include "../plan.h"

/* An opened library; there is one per provider, file and process, and it is never closed: its threads may be inside. */
struct hunze_library {
    hunze_provider provider;
    void *handle;
    char version[128];
    void (*function[2])(void); /* what its rows call */
    bool wide;                 /* their integers have 64 bits, of OpenBLAS */
    /* Its own threads.  NULL: it starts none.  per_thread: the number belongs to the thread that asks (OpenMP), else to the process. */
    int (*get_threads)(void);
    void (*set_threads)(int threads);
    bool per_thread;
    int32_t inside, threads; /* calls of ours that are in it, and the process's number meanwhile */
};
typedef struct hunze_library hunze_library;

/* What a file here says of its library. */
typedef struct hunze_provider_file {
    const char *name, *soname;
    /* Fills everything but the handle; false, with the reason, if the library lacks something. */
    bool (*bind)(hunze_library *library, char why[HUNZE_PROVIDER_TEXT]);
} hunze_provider_file;
extern const hunze_provider_file hunze_provider_openblas, hunze_provider_onednn;

/* ------------------------------------------------------------------ library.c */
/* The function of this name as `function` points to it; false if there is none. */
bool hunze_library_function(const hunze_library *library, const char *name, void *function);
/* Its threads are OpenMP's; false, with the reason, if their number cannot be set. */
bool hunze_library_runs_openmp(hunze_library *library, char why[HUNZE_PROVIDER_TEXT]);
const char *hunze_provider_name(hunze_provider provider);
/* The sizes of products that `measured` tells apart, and their names. */
int hunze_product_size(int64_t m, int64_t n, int64_t k);
const char *hunze_product_size_name(int size);
/* Thousandths of `measured` for the row and size, of any version if that is NULL; 0: there is no such line. */
long hunze_provider_measured(const hunze_context *context, const hunze_row *row, int size, const char *version);
/* The provider's library, opened by the first that asks; NULL: *why says why not, as long as the context lives. */
hunze_library *hunze_provider_open(hunze_context *context, hunze_provider provider, const char **why);
/* From enter to leave the library computes in the calling thread alone.  Lanes are the threads. */
int32_t hunze_library_enter(hunze_library *library);
void hunze_library_leave(hunze_library *library, int32_t before);

#endif
