/* SPDX-License-Identifier: Apache-2.0 */
#include "peak.h"

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
#define DOT2_YMM(n) "vpmaddwd %%ymm14, %%ymm15, %%ymm13\nvpaddd %%ymm13, %%ymm" #n ", %%ymm" #n "\n"
#define DOT2_ZMM(n) "vpmaddwd %%zmm14, %%zmm15, %%zmm13\nvpaddd %%zmm13, %%zmm" #n ", %%zmm" #n "\n"

static void f32_ymm(int64_t count) { LOOP(F32_YMM); }
static void f64_ymm(int64_t count) { LOOP(F64_YMM); }
static void f32_zmm(int64_t count) { LOOP(F32_ZMM); }
static void f64_zmm(int64_t count) { LOOP(F64_ZMM); }
static void dot4_ymm(int64_t count) { LOOP(DOT4_YMM); }
static void dot4_zmm(int64_t count) { LOOP(DOT4_ZMM); }
static void dot2_ymm(int64_t count) { LOOP(DOT2_YMM); }
static void dot2_zmm(int64_t count) { LOOP(DOT2_ZMM); }

static int has(const char *isa)
{
    __builtin_cpu_init();
    if (!strcmp(isa, "avx2"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(isa, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    if (!strcmp(isa, "avx512vnni"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni");
    if (!strcmp(isa, "avxvnni")) {
        uint32_t a = 7, b, c = 1, d;
        __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        return __builtin_cpu_supports("avx2") && (a & 1u << 4);
    }
    return 0;
}

static const struct {
    const char *isa, *type;
    void (*loop)(int64_t count);
    double operations; /* of one instruction (pair) */
} loops[] = {
    {"avx2", "f32", f32_ymm, 16},      {"avx2", "f64", f64_ymm, 8},           {"avx2", "u8s8", dot2_ymm, 32},
    {"avxvnni", "u8s8", dot4_ymm, 64}, {"avx512", "f32", f32_zmm, 32},        {"avx512", "f64", f64_zmm, 16},
    {"avx512", "u8s8", dot2_zmm, 64},  {"avx512vnni", "u8s8", dot4_zmm, 128},
};

double hunze_peak_flops(const char *isa, const char *type, double seconds)
{
    enum { CHUNKS = 1024, COUNT = 1 << 17 };
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
        if (strcmp(loops[i].isa, isa) || strcmp(loops[i].type, type) || !has(isa))
            continue;
        double rates[CHUNKS];
        int chunks = 0;
        loops[i].loop(COUNT);
        const double start = hunze_bench_thread_seconds();
        for (double before = start, now; chunks < CHUNKS && (chunks == 0 || before - start < seconds); before = now) {
            loops[i].loop(COUNT);
            now = hunze_bench_thread_seconds();
            rates[chunks++] = 24.0 * COUNT * loops[i].operations / (now - before);
        }
        return hunze_bench_median(rates, chunks);
    }
    return 0;
}

#else

double hunze_peak_flops(const char *isa, const char *type, double seconds)
{
    (void)isa, (void)type, (void)seconds;
    return 0;
}

#endif
