/* SPDX-License-Identifier: Apache-2.0 */
/* The context as the runtime sees it: thread pool, calls in flight, plan cache, meters.  Drivers do not include this. */
#ifndef HUNZE_CONTEXT_H
#define HUNZE_CONTEXT_H

#include "internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { HUNZE_MAX_THREADS = 512, HUNZE_FLIGHTS = 256, HUNZE_CACHE_WAYS = 4, HUNZE_KEPT_SCRATCH_BYTES = 128 << 20 };

/* ------------------------------------------------------------------ threads.c */

typedef struct hunze_worker hunze_worker;
typedef struct hunze_pool {
    _Atomic pid_t process;     /* whose workers these are: after fork() the child has none.  0 while it starts over */
    _Atomic uint32_t starting; /* one thread at a time starts workers; the others go on with those that are there */
    _Atomic int32_t count;
    hunze_worker *workers[HUNZE_MAX_THREADS];
} hunze_pool;
void hunze_pool_create(hunze_pool *pool);
void hunze_pool_destroy(hunze_pool *pool, const hunze_allocator *allocator);

/* ------------------------------------------------------------------ cores.c */
int32_t hunze_usable_cores(void); /* affinity mask and cgroup quota, at least 1 */
/* CPUs that the quota of this cgroup and of those above it allows, rounded up; 0: no quota.  self: text of /proc/self/cgroup;
 * root: where cgroups are mounted. */
int32_t hunze_cgroup_cores(const char *self, const char *root);

/* ------------------------------------------------------------------ floating-point environment of a call
 * Denormals, round to nearest, no traps; written only if the caller's differs.  The sticky flags are not compared. */
#if defined(__x86_64__)
#include <xmmintrin.h>
enum { HUNZE_MXCSR = 0x1F80, HUNZE_MXCSR_CONTROL = 0xFFC0 };
typedef uint32_t hunze_float_state;
static inline hunze_float_state hunze_float_read(void) { return _mm_getcsr(); }
static inline void hunze_float_set(hunze_float_state saved)
{
    if (__builtin_expect((saved & HUNZE_MXCSR_CONTROL) != HUNZE_MXCSR, 0))
        _mm_setcsr(HUNZE_MXCSR);
}
static inline void hunze_float_leave(hunze_float_state saved)
{
    if (__builtin_expect((saved & HUNZE_MXCSR_CONTROL) != HUNZE_MXCSR, 0))
        _mm_setcsr(saved);
}
#elif defined(__aarch64__)
typedef uint64_t hunze_float_state;
static inline hunze_float_state hunze_float_read(void)
{
    hunze_float_state saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    return saved;
}
static inline void hunze_float_set(hunze_float_state saved)
{
    if (saved)
        __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
}
static inline void hunze_float_leave(hunze_float_state saved)
{
    if (saved)
        __asm__ volatile("msr fpcr, %0" : : "r"(saved));
}
#else
typedef int hunze_float_state;
static inline hunze_float_state hunze_float_read(void) { return 0; }
static inline void hunze_float_set(hunze_float_state saved) { (void)saved; }
static inline void hunze_float_leave(hunze_float_state saved) { (void)saved; }
#endif
static inline hunze_float_state hunze_float_enter(void)
{
    const hunze_float_state saved = hunze_float_read();
    hunze_float_set(saved);
    return saved;
}

/* ------------------------------------------------------------------ meter.c */

typedef struct hunze_totals {
    _Atomic uint64_t calls, operations, bytes, nanoseconds;
} hunze_totals;
/* Adds one call to the totals; only while a meter runs. */
void hunze_meter_count(hunze_context *context, uint64_t operations, uint64_t bytes, uint64_t nanoseconds);
/* Seconds of a call that was counted before it was over. */
void hunze_meter_add_time(hunze_context *context, uint64_t nanoseconds);
uint64_t hunze_nanoseconds(void); /* monotonic */
typedef struct hunze_energy hunze_energy;
void hunze_energy_destroy(hunze_context *context);

/* ------------------------------------------------------------------ context.c */

/* A call in flight, or a place for one.  Who takes it owns its scratch; the plan that it names is not freed, even between calls, when it is
 * remembered as the one that this thread probably wants next. */
typedef struct hunze_flight {
    _Alignas(64) _Atomic uint32_t taken;
    _Atomic(const hunze_plan *) plan;
    void *scratch; /* kept between calls; all of them together up to HUNZE_KEPT_SCRATCH_BYTES */
    size_t scratch_bytes;
} hunze_flight;

typedef struct hunze_cache_entry {
    _Atomic uint64_t hash; /* a hint: the plan's key decides */
    _Atomic(hunze_plan *) plan;
} hunze_cache_entry;

/* A library that a context may open (providers/library.c). */
enum { HUNZE_PROVIDER_TEXT = 256 };
typedef struct hunze_allowed_provider {
    const char *file;              /* NULL: not allowed */
    _Atomic bool tried;            /* to open it; then the next two hold */
    struct hunze_library *library; /* NULL: for the reason */
    char why[HUNZE_PROVIDER_TEXT];
} hunze_allowed_provider;

struct hunze_context {
    _Atomic int32_t references;
    uint32_t flags;
    uint32_t bundles, allowed; /* masks of bundles: found, and found and allowed */
    bool halves_512;           /* hunze_cpu_halves_512() */
    int32_t default_threads;
    _Atomic int32_t threads;
    hunze_allocator allocator;
    hunze_device_allocator device_allocator; /* alloc is NULL: pools of the library's own */
    uint64_t device_pool_bytes;
    _Atomic(struct hunze_device_memory *)
        device_memory; /* cuda/: pools and what else it keeps; once a device is used */
    void (*trace)(void *user, const hunze_trace_record *record);
    void *trace_user;

    _Atomic int32_t meters; /* running */
    hunze_totals totals;
    _Atomic(hunze_energy *) energy; /* once a meter was started */
    const char *powercap;           /* where the energy counters are */

    hunze_cache_entry *cache; /* sets of HUNZE_CACHE_WAYS */
    uint32_t cache_sets;      /* a power of two */
    _Atomic uint32_t cache_turn;
    _Atomic(hunze_plan *) retired; /* replaced in the cache, perhaps still running; linked by next_retired */

    hunze_allowed_provider providers[HUNZE_PROVIDER_COUNT];
    const char *measured; /* of them, as hunze_context_options has it; or NULL */
    char *provider_texts; /* what these point into */
    size_t provider_bytes;

    _Atomic size_t kept_bytes; /* scratch in flights */
    hunze_pool pool;
    hunze_flight flights[HUNZE_FLIGHTS];
};

static inline void *hunze_allocate(const hunze_context *context, size_t bytes, size_t alignment)
{
    return context->allocator.alloc(context->allocator.user, bytes, alignment);
}
static inline void hunze_deallocate(const hunze_context *context, void *pointer, size_t bytes)
{
    context->allocator.free(context->allocator.user, pointer, bytes);
}
void hunze_context_retain(hunze_context *context);
/* providers/library.c: the options `providers`, given or from the environment as `from` says, and `measured`.  Destroy it even if it fails. */
hunze_status hunze_providers_create(hunze_context *context, const char *providers, const char *from,
                                    const char *measured);
void hunze_providers_destroy(hunze_context *context);
/* Zeroes memory in a way that the compiler keeps. */
void hunze_wipe(void *memory, size_t bytes);

/* ------------------------------------------------------------------ text.c: JSON and messages, growing */

typedef struct hunze_text {
    char *bytes; /* NULL once memory ran out */
    size_t length, capacity;
} hunze_text;
void hunze_providers_info(hunze_context *context, hunze_text *text); /* opens those that are allowed */
void hunze_text_start(hunze_text *text);
void hunze_text_add(hunze_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void hunze_text_add_quoted(hunze_text *text, const char *string); /* as a JSON string, or null */
/* Hands the string over; HUNZE_ERR_NOMEM if memory ran out on the way. */
hunze_status hunze_text_finish(hunze_text *text, char **out);

#endif
