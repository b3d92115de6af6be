/* SPDX-License-Identifier: Apache-2.0 */
/* Which libraries a context may open, opening them, and how many threads they take. */
#include "providers.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const hunze_provider_file *const files[HUNZE_PROVIDER_COUNT] = {
    [HUNZE_PROVIDER_OPENBLAS] = &hunze_provider_openblas, [HUNZE_PROVIDER_ONEDNN] = &hunze_provider_onednn};

const char *hunze_provider_name(hunze_provider provider) { return files[provider]->name; }

/* ------------------------------------------------------------------ what a context allows */

static const char *const size_names[] = {"small", "skinny", "medium", "large"};

int hunze_product_size(int64_t m, int64_t n, int64_t k)
{
    enum { SMALL, SKINNY, MEDIUM, LARGE };
    const double products = (double)m * (double)n * (double)k;
    return products <= 64 * 64 * 64        ? SMALL
           : m <= 16 || n <= 16            ? SKINNY
           : products <= 512.0 * 512 * 512 ? MEDIUM
                                           : LARGE;
}

const char *hunze_product_size_name(int size) { return size_names[size]; }

/* One item of the option, between commas: "auto", or a provider with or without "=file". */
static hunze_status allow(hunze_context *context, char *item, const char *from)
{
    char *file = strchr(item, '=');
    if (file)
        *file++ = 0;
    const bool every = strcmp(item, "auto") == 0 && !file;
    bool known = every;
    for (int i = 1; i < HUNZE_PROVIDER_COUNT; i++) {
        hunze_allowed_provider *allowed = &context->providers[i];
        if (strcmp(item, files[i]->name) == 0 && (!file || *file)) {
            allowed->file = file ? file : files[i]->soname;
            known = true;
        } else if (every && !allowed->file) {
            allowed->file = files[i]->soname;
        }
    }
    return known ? HUNZE_OK
                 : hunze_fail(HUNZE_ERR_OPTION,
                              "%s has \"%.60s%s%.60s\"; known are auto, openblas and onednn, the "
                              "latter two also with =file",
                              from, item, file ? "=" : "", file ? file : "");
}

/* A line of the option `measured`; the version is all that follows the number. */
typedef struct measured_line {
    char kernel[64], size[16];
    long thousandths;
    const char *version;
    size_t version_length;
} measured_line;

static bool read_measured(const char *line, measured_line *out)
{
    int length = 0;
    if (sscanf(line, "%63[^ \n] %15[^ \n] %6ld %n", out->kernel, out->size, &out->thousandths, &length) != 3 || !length)
        return false;
    out->version = line + length;
    out->version_length = strcspn(out->version, "\n");
    return out->thousandths > 0 && out->version_length > 0 && !memchr(line, '\n', (size_t)length);
}

static const char *next_line(const char *line)
{
    line += strcspn(line, "\n");
    return line + (*line == '\n');
}

long hunze_provider_measured(const hunze_context *context, const hunze_row *row, int size, const char *version)
{
    measured_line line;
    for (const char *at = context->measured; at && *at; at = next_line(at))
        if (read_measured(at, &line) && strcmp(line.kernel, row->name) == 0 &&
            strcmp(line.size, size_names[size]) == 0 &&
            (!version ||
             (strlen(version) == line.version_length && memcmp(version, line.version, line.version_length) == 0)))
            return line.thousandths;
    return 0;
}

hunze_status hunze_providers_create(hunze_context *context, const char *providers, const char *from,
                                    const char *measured)
{
    const size_t first = providers ? strlen(providers) + 1 : 0, second = measured ? strlen(measured) + 1 : 0;
    if (first + second == 0)
        return HUNZE_OK;
    char *texts = hunze_allocate(context, first + second, 16);
    if (!texts)
        return hunze_fail(HUNZE_ERR_NOMEM, "no memory for %zu bytes of options", first + second);
    context->provider_texts = texts;
    context->provider_bytes = first + second;
    if (measured) {
        context->measured = memcpy(texts + first, measured, second);
        measured_line line;
        for (const char *at = context->measured; *at; at = next_line(at))
            if (*at != '\n' && !read_measured(at, &line))
                return hunze_fail(HUNZE_ERR_OPTION,
                                  "measured has the line \"%.*s\", which is not \"kernel size "
                                  "thousandths version\"",
                                  (int)hunze_least(80, (int64_t)strcspn(at, "\n")), at);
    }
    if (providers) {
        char *rest = memcpy(texts, providers, first);
        for (char *item; (item = strsep(&rest, ",")) != NULL;)
            if (*item)
                TRY(allow(context, item, from));
    }
    return HUNZE_OK;
}

void hunze_providers_destroy(hunze_context *context)
{
    if (context->provider_texts)
        hunze_deallocate(context, context->provider_texts, context->provider_bytes);
}

/* ------------------------------------------------------------------ opening */

/* One for all libraries, held for moments; no child of fork() finds it locked. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void lock(void) { pthread_mutex_lock(&mutex); }
static void unlock(void) { pthread_mutex_unlock(&mutex); }
static void register_fork(void) { pthread_atfork(lock, unlock, unlock); }

enum { MOST_LIBRARIES = 16 };
static hunze_library libraries[MOST_LIBRARIES];
static int library_count;

bool hunze_library_function(const hunze_library *library, const char *name, void *function)
{
    void *found = dlsym(library->handle, name);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

bool hunze_library_runs_openmp(hunze_library *library, char why[HUNZE_PROVIDER_TEXT])
{
    library->per_thread = true;
    if (hunze_library_function(library, "omp_get_max_threads", &library->get_threads) &&
        hunze_library_function(library, "omp_set_num_threads", &library->set_threads))
        return true;
    snprintf(why, HUNZE_PROVIDER_TEXT, "runs on an OpenMP that has no omp_set_num_threads");
    return false;
}

/* With the mutex held.  NULL: `why` says why not. */
static hunze_library *open_library(hunze_provider provider, const char *file, char why[HUNZE_PROVIDER_TEXT])
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *error = dlerror();
        snprintf(why, HUNZE_PROVIDER_TEXT, "cannot be opened: %s", error ? error : file);
        return NULL;
    }
    for (int i = 0; i < library_count; i++)
        if (libraries[i].handle == handle && libraries[i].provider == provider) {
            dlclose(handle); /* the first reference stays */
            return &libraries[i];
        }
    hunze_library opened = {.provider = provider, .handle = handle};
    if (library_count == MOST_LIBRARIES) {
        snprintf(why, HUNZE_PROVIDER_TEXT, "%d other libraries are open in this process", MOST_LIBRARIES);
    } else if (files[provider]->bind(&opened, why)) {
        libraries[library_count] = opened;
        return &libraries[library_count++];
    }
    dlclose(handle);
    return NULL;
}

hunze_library *hunze_provider_open(hunze_context *context, hunze_provider provider, const char **why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    hunze_allowed_provider *allowed = &context->providers[provider];
    if (!atomic_load_explicit(&allowed->tried, memory_order_acquire)) {
        pthread_once(&once, register_fork);
        lock();
        if (!atomic_load_explicit(&allowed->tried, memory_order_relaxed)) {
            allowed->library = open_library(provider, allowed->file, allowed->why);
            atomic_store_explicit(&allowed->tried, true, memory_order_release);
        }
        unlock();
    }
    *why = allowed->why;
    return allowed->library;
}

/* ------------------------------------------------------------------ threads */

int32_t hunze_library_enter(hunze_library *library)
{
    if (!library->set_threads)
        return 0;
    if (library->per_thread) {
        const int32_t before = library->get_threads();
        library->set_threads(1);
        return before;
    }
    lock();
    if (library->inside++ == 0) {
        library->threads = library->get_threads();
        library->set_threads(1);
    }
    unlock();
    return 0;
}

void hunze_library_leave(hunze_library *library, int32_t before)
{
    if (!library->set_threads)
        return;
    if (library->per_thread) {
        library->set_threads(before);
        return;
    }
    lock();
    if (--library->inside == 0)
        library->set_threads(library->threads);
    unlock();
}

/* ------------------------------------------------------------------ what a context tells */

void hunze_providers_info(hunze_context *context, hunze_text *text)
{
    hunze_text_add(text, "\"providers\": [");
    for (int i = 1; i < HUNZE_PROVIDER_COUNT; i++) {
        const hunze_allowed_provider *allowed = &context->providers[i];
        const char *why = "the context does not allow it";
        const hunze_library *library = allowed->file ? hunze_provider_open(context, (hunze_provider)i, &why) : NULL;
        hunze_text_add(text, "%s{\"name\": \"%s\", \"allowed\": %s, \"file\": ", i > 1 ? ", " : "", files[i]->name,
                       allowed->file ? "true" : "false");
        hunze_text_add_quoted(text, allowed->file);
        hunze_text_add(text, ", \"version\": ");
        hunze_text_add_quoted(text, library ? library->version : NULL);
        hunze_text_add(text, ", \"reason\": ");
        hunze_text_add_quoted(text, library ? NULL : why);
        hunze_text_add(text, "}");
    }
    hunze_text_add(text, "]");
}
