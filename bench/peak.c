/* SPDX-License-Identifier: Apache-2.0 */
#include "peak.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
double hunze_bench_seconds(void) { return seconds_of(CLOCK_MONOTONIC); }
double hunze_bench_thread_seconds(void) { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double hunze_bench_median(double *values, int count)
{
    if (count == 0)
        return 0;
    qsort(values, (size_t)count, sizeof *values, ascending);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

int hunze_bench_cpus(void)
{
    cpu_set_t mask;
    return sched_getaffinity(0, sizeof mask, &mask) ? 1 : CPU_COUNT(&mask);
}

/* ------------------------------------------------------------------ threads together */

/* Workers wait for `round` to change, run the body and count `busy` down.  A stop is a round with `stop` set. */
typedef struct {
    void (*body)(void *user, int thread);
    void *user;
    atomic_int round, busy;
    bool stop;
    cpu_set_t mask;
    bool pinned;
} team;
typedef struct {
    team *team;
    int index;
    pthread_t thread;
} worker;

/* The index-th CPU of the mask. */
static void pin(const cpu_set_t *mask, int index)
{
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, mask) && index-- == 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(pthread_self(), sizeof one, &one); /* if it fails it runs elsewhere */
            return;
        }
}

/* Spins for a while, then lets others run. */
static void wait_while(atomic_int *value, int old, int *spins)
{
    while (atomic_load_explicit(value, memory_order_acquire) == old)
        if (++*spins > 2000)
            sched_yield();
#if defined(__x86_64__)
        else
            __builtin_ia32_pause();
#endif
}

static void *work(void *argument)
{
    worker *me = argument;
    team *team = me->team;
    if (team->pinned)
        pin(&team->mask, me->index);
    for (int round = 0;; round++) {
        int spins = 0;
        wait_while(&team->round, round, &spins);
        if (team->stop)
            return NULL;
        team->body(team->user, me->index);
        atomic_fetch_sub_explicit(&team->busy, 1, memory_order_release);
    }
}

/* One round of all; the caller takes part.  The seconds it took: alone, those that it had the CPU. */
static double run_round(team *team, int threads)
{
    double (*const clock)(void) = threads == 1 ? hunze_bench_thread_seconds : hunze_bench_seconds;
    atomic_store_explicit(&team->busy, threads - 1, memory_order_relaxed);
    const double start = clock();
    atomic_fetch_add_explicit(&team->round, 1, memory_order_release);
    team->body(team->user, 0);
    int spins = 0;
    for (int left; (left = atomic_load_explicit(&team->busy, memory_order_acquire)) > 0;)
        wait_while(&team->busy, left, &spins);
    return clock() - start;
}

double hunze_bench_pass_seconds(int threads, double seconds, void (*begin)(void *user),
                                void (*body)(void *user, int thread), void *user)
{
    enum { MOST = 4096 };
    team team = {.body = body, .user = user};
    worker *workers = calloc((size_t)threads, sizeof *workers);
    double *passes = malloc(MOST * sizeof *passes), median = 0;
    int started = 1;
    if (workers && passes) {
        team.pinned = sched_getaffinity(0, sizeof team.mask, &team.mask) == 0 && CPU_COUNT(&team.mask) == threads;
        for (; started < threads; started++) {
            workers[started] = (worker){.team = &team, .index = started};
            if (pthread_create(&workers[started].thread, NULL, work, &workers[started]))
                break;
        }
        if (started == threads) {
            if (team.pinned)
                pin(&team.mask, 0);
            int count = -1; /* the first pass wakes the threads and warms what there is to warm */
            for (const double start = hunze_bench_seconds();
                 count < 1 || (count < MOST && hunze_bench_seconds() - start < seconds); count++) {
                if (begin)
                    begin(user);
                const double pass = run_round(&team, threads);
                if (count >= 0)
                    passes[count] = pass;
            }
            median = hunze_bench_median(passes, count);
            if (team.pinned)
                pthread_setaffinity_np(pthread_self(), sizeof team.mask, &team.mask);
        }
        team.stop = true;
        atomic_fetch_add_explicit(&team.round, 1, memory_order_release);
        for (int i = 1; i < started; i++)
            pthread_join(workers[i].thread, NULL);
    }
    free(workers);
    free(passes);
    return median;
}

/* ------------------------------------------------------------------ multiply-adds */

#if defined(__x86_64__)

/* Each instruction depends on its own register only: twelve in flight hide four cycles of latency on two or three ports. */
#define TWELVE(line) line(0) line(1) line(2) line(3) line(4) line(5) line(6) line(7) line(8) line(9) line(10) line(11)
#define CLOBBERS                                                                                                       \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",         \
        "xmm13", "xmm14", "xmm15"
#define CLEAR(n) "vpxor %%xmm" #n ", %%xmm" #n ", %%xmm" #n "\n"
#define LOOP(body)                                                                                                     \
    for (int64_t left = count; left > 0;)                                                                              \
    __asm__ volatile(TWELVE(CLEAR) CLEAR(14) CLEAR(15) "1:\n" TWELVE(body) TWELVE(body) "dec %0\njnz 1b\nvzeroupper\n" \
                     : "+r"(left)                                                                                      \
                     :                                                                                                 \
                     : CLOBBERS, "cc")

#define F32_YMM(n) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #n "\n"
#define F64_YMM(n) "vfmadd231pd %%ymm14, %%ymm15, %%ymm" #n "\n"
#define F32_ZMM(n) "vfmadd231ps %%zmm14, %%zmm15, %%zmm" #n "\n"
#define F64_ZMM(n) "vfmadd231pd %%zmm14, %%zmm15, %%zmm" #n "\n"
#define DOT4_YMM(n) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #n "\n"
#define DOT4_ZMM(n) "vpdpbusd %%zmm14, %%zmm15, %%zmm" #n "\n"
#define BF16_ZMM(n) "vdpbf16ps %%zmm14, %%zmm15, %%zmm" #n "\n"
#define DOT2_YMM(n) "vpmaddwd %%ymm14, %%ymm15, %%ymm13\nvpaddd %%ymm13, %%ymm" #n ", %%ymm" #n "\n"
#define DOT2_ZMM(n) "vpmaddwd %%zmm14, %%zmm15, %%zmm13\nvpaddd %%zmm13, %%zmm" #n ", %%zmm" #n "\n"
#define SAFE_YMM(n)                                                                                                    \
    "vpmaddubsw %%ymm14, %%ymm15, %%ymm13\nvpmaddwd %%ymm12, %%ymm13, %%ymm13\nvpaddd %%ymm13, %%ymm" #n ", %%ymm" #n  \
    "\n"

static void f32_ymm(int64_t count) { LOOP(F32_YMM); }
static void f64_ymm(int64_t count) { LOOP(F64_YMM); }
static void f32_zmm(int64_t count) { LOOP(F32_ZMM); }
static void f64_zmm(int64_t count) { LOOP(F64_ZMM); }
static void dot4_ymm(int64_t count) { LOOP(DOT4_YMM); }
static void dot4_zmm(int64_t count) { LOOP(DOT4_ZMM); }
static void bf16_zmm(int64_t count) { LOOP(BF16_ZMM); }
static void dot2_ymm(int64_t count) { LOOP(DOT2_YMM); }
static void safe_ymm(int64_t count) { LOOP(SAFE_YMM); }
static void dot2_zmm(int64_t count) { LOOP(DOT2_ZMM); }

/* A bit of cpuid's leaf 7, subleaf 1. */
static bool leaf7_1(int bit)
{
    uint32_t a = 7, b, c = 1, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return a >> bit & 1;
}

static bool has(const char *isa)
{
    __builtin_cpu_init();
    if (!strcmp(isa, "avx2"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(isa, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    if (!strcmp(isa, "avx512vnni"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni");
    if (!strcmp(isa, "avx512bf16"))
        return __builtin_cpu_supports("avx512f") && leaf7_1(5);
    if (!strcmp(isa, "avxvnni"))
        return __builtin_cpu_supports("avx2") && leaf7_1(4);
    return false;
}

typedef struct {
    const char *isa, *type;
    void (*loop)(int64_t count);
    double operations; /* of one instruction, or the two or three that belong together */
} multiply_add;
static const multiply_add loops[] = {
    {"avx2", "f32", f32_ymm, 16},         {"avx2", "f64", f64_ymm, 8},           {"avx2", "u8s8", dot2_ymm, 32},
    {"avx2", "bf16", f32_ymm, 16},        {"avxvnni", "u8s8", dot4_ymm, 64},     {"avxvnni", "bf16", f32_ymm, 16},
    {"avx512", "f32", f32_zmm, 32},       {"avx512", "f64", f64_zmm, 16},        {"avx512", "u8s8", dot2_zmm, 64},
    {"avx512", "bf16", f32_zmm, 32},      {"avx512vnni", "u8s8", dot4_zmm, 128}, {"avx512vnni", "bf16", f32_zmm, 32},
    {"avx512bf16", "bf16", bf16_zmm, 64}, {"avx2", "u8s8_safe", safe_ymm, 64},
};
enum { PER_COUNT = 24 }; /* of these in a loop */

static const multiply_add *find(const char *isa, const char *type)
{
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        if (!strcmp(loops[i].isa, isa) && !strcmp(loops[i].type, type))
            return has(isa) ? &loops[i] : NULL;
    return NULL;
}

double hunze_peak_flops(const char *isa, const char *type, double seconds)
{
    enum { CHUNKS = 1024, COUNT = 1 << 17 };
    const multiply_add *found = find(isa, type);
    if (!found)
        return 0;
    double rates[CHUNKS];
    int chunks = 0;
    found->loop(COUNT);
    const double start = hunze_bench_thread_seconds();
    for (double before = start, now; chunks < CHUNKS && (chunks == 0 || before - start < seconds); before = now) {
        found->loop(COUNT);
        now = hunze_bench_thread_seconds();
        rates[chunks++] = (double)PER_COUNT * COUNT * found->operations / (now - before);
    }
    return hunze_bench_median(rates, chunks);
}

/* A pass's chunks are taken by whoever is free: a thread that lost its CPU for a moment does not hold up the others. */
enum { PASS_CHUNKS = 128, PASS_COUNT = 1 << 12 };
typedef struct {
    const multiply_add *found;
    atomic_int left;
    int chunks;
} shared_pass;

static void shared_begin(void *user)
{
    shared_pass *pass = user;
    atomic_store(&pass->left, pass->chunks);
}

static void shared_body(void *user, int thread)
{
    shared_pass *pass = user;
    (void)thread;
    while (atomic_fetch_sub_explicit(&pass->left, 1, memory_order_relaxed) > 0)
        pass->found->loop(PASS_COUNT);
}

double hunze_peak_flops_all(const char *isa, const char *type, int threads, double seconds)
{
    if (threads <= 0)
        threads = hunze_bench_cpus();
    shared_pass pass = {.found = find(isa, type), .chunks = PASS_CHUNKS * threads};
    if (!pass.found)
        return 0;
    const double each = hunze_bench_pass_seconds(threads, seconds, shared_begin, shared_body, &pass);
    return each > 0 ? (double)PER_COUNT * PASS_COUNT * pass.chunks * pass.found->operations / each : 0;
}

#else

double hunze_peak_flops(const char *isa, const char *type, double seconds)
{
    (void)isa, (void)type, (void)seconds;
    return 0;
}

double hunze_peak_flops_all(const char *isa, const char *type, int threads, double seconds)
{
    (void)threads;
    return hunze_peak_flops(isa, type, seconds);
}

#endif
