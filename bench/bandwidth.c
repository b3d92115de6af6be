/* SPDX-License-Identifier: Apache-2.0 */
#include "bandwidth.h"

#include "peak.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ------------------------------------------------------------------ how large */

/* The text of a file of sysfs, without its newline; "" where there is none. */
static void read_line(char *line, int size, const char *path, int cpu, const char *name)
{
    char file[160];
    snprintf(file, sizeof file, path, cpu, name);
    FILE *stream = fopen(file, "re");
    if (!stream || !fgets(line, size, stream))
        line[0] = 0;
    if (stream)
        fclose(stream);
    line[strcspn(line, "\n")] = 0;
}

/* Bytes of the last cache of one CPU.  sysfs before sysconf: glibc may count all that a processor's package has. */
static size_t last_cache(int cpu)
{
    char line[256];
    read_line(line, sizeof line, "/sys/devices/system/cpu/cpu%d/cache/index3/%s", cpu, "size");
    char *unit;
    const unsigned long size = strtoul(line, &unit, 10);
    if (size)
        return size << (*unit == 'K' ? 10 : *unit == 'M' ? 20 : 0);
    const long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return l3 > 0 ? (size_t)l3 : l2 > 0 ? 8 * (size_t)l2 : 32 << 20;
}

/* Bytes of the last caches that so many threads can reach: CPUs of the affinity mask that share one count once. */
static size_t last_caches(int threads)
{
    cpu_set_t mask, seen;
    int groups = 0;
    size_t largest = 0;
    CPU_ZERO(&seen);
    if (sched_getaffinity(0, sizeof mask, &mask))
        return last_cache(0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        char line[256];
        if (!CPU_ISSET(cpu, &mask))
            continue;
        read_line(line, sizeof line, "/sys/devices/system/cpu/cpu%d/cache/index3/%s", cpu, "shared_cpu_list");
        const int first = line[0] ? atoi(line) : 0; /* names the group */
        if (first >= 0 && first < CPU_SETSIZE && !CPU_ISSET(first, &seen)) {
            CPU_SET(first, &seen);
            groups++;
            const size_t bytes = last_cache(cpu);
            largest = bytes > largest ? bytes : largest;
        }
    }
    return largest * (size_t)(groups < threads ? groups : threads);
}

enum { HUGE_PAGE = 2 << 20 };

size_t hunze_bandwidth_bytes(int threads)
{
    if (threads <= 0)
        threads = hunze_bench_cpus();
    size_t bytes = 4 * last_caches(threads);
    const size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    if (bytes > memory / 4)
        bytes = memory / 4;
    /* Whole huge pages for each thread, and at least one for each half of a copy. */
    const size_t each = bytes / (size_t)threads / (2 * HUGE_PAGE);
    return (each ? each : 1) * (2 * HUGE_PAGE) * (size_t)threads;
}

/* ------------------------------------------------------------------ the loops */

/* A thread's part is cut into streams that are read line by line in turn: that keeps more lines on their way than one does.  They
 * are 5 lines longer than whole pages, so that lines that are read together do not fall in one set of the cache. */
enum { PAGE = 4096, LINE = 64, SKEW = 5 * LINE, READ_STREAMS = 8, COPY_STREAMS = 4, COPY_RUN = 4 * LINE };

static size_t stream_bytes(size_t bytes, int streams) { return (bytes / (size_t)streams / PAGE - 1) * PAGE + SKEW; }

#if defined(__x86_64__)

static bool has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
}

/* The instructions are written out, as in peak.c: this file is compiled for the base instruction set. */
static void read_avx2(const char *from, size_t stream)
{
    for (const char *line = from, *end = from + stream; line < end; line += LINE)
        for (int s = 0; s < READ_STREAMS; s++)
            __asm__ volatile("prefetcht0 256(%0)\nvmovdqa (%0), %%ymm0\nvmovdqa 32(%0), %%ymm1"
                             :
                             : "r"(line + (size_t)s * stream)
                             : "xmm0", "xmm1");
    __asm__ volatile("vzeroupper");
}

static void copy_avx2(char *to, const char *from, size_t stream)
{
    for (size_t i = 0; i < stream; i += COPY_RUN)
        for (int s = 0; s < COPY_STREAMS; s++)
            for (size_t at = i + (size_t)s * stream, end = at + COPY_RUN; at < end; at += LINE)
                __asm__ volatile("vmovdqa (%0), %%ymm0\nvmovdqa 32(%0), %%ymm1\n"
                                 "vmovntdq %%ymm0, (%1)\nvmovntdq %%ymm1, 32(%1)"
                                 :
                                 : "r"(from + at), "r"(to + at)
                                 : "xmm0", "xmm1", "memory");
    __asm__ volatile("sfence\nvzeroupper" ::: "memory");
}

#else

static bool has_avx2(void) { return false; }
static void read_avx2(const char *from, size_t stream) { (void)from, (void)stream; }
static void copy_avx2(char *to, const char *from, size_t stream) { (void)to, (void)from, (void)stream; }

#endif

static void read_plain(const char *from, size_t stream)
{
    uint64_t sums[READ_STREAMS] = {0};
    for (size_t i = 0; i < stream; i += sizeof(uint64_t))
        for (int s = 0; s < READ_STREAMS; s++)
            sums[s] += *(const uint64_t *)(const void *)(from + (size_t)s * stream + i);
    for (int s = 0; s < READ_STREAMS; s++)
        __asm__ volatile("" : : "r"(sums[s])); /* they are wanted */
}

/* ------------------------------------------------------------------ the buffer and the passes */

static char *buffer;
static size_t buffer_bytes;
static int buffer_threads;

typedef struct {
    size_t part; /* bytes of a thread */
    bool copy, avx2;
} run;

static void touch(void *user, int thread)
{
    const run *run = user;
    memset(buffer + (size_t)thread * run->part, 1, run->part);
}

static void pass(void *user, int thread)
{
    const run *run = user;
    char *part = buffer + (size_t)thread * run->part, *half = part + run->part / 2;
    if (!run->copy)
        (run->avx2 ? read_avx2 : read_plain)(part, stream_bytes(run->part, READ_STREAMS));
    else if (run->avx2)
        copy_avx2(half, part, stream_bytes(run->part / 2, COPY_STREAMS));
    else
        memcpy(half, part, run->part / 2);
}

/* What pass goes over, in bytes. */
static size_t traffic(const run *run)
{
    if (!run->copy)
        return READ_STREAMS * stream_bytes(run->part, READ_STREAMS);
    return run->avx2 ? 2 * COPY_STREAMS * stream_bytes(run->part / 2, COPY_STREAMS) : run->part;
}

void hunze_bandwidth_release(void)
{
    if (buffer)
        munmap(buffer, buffer_bytes);
    buffer = NULL;
}

/* Parts are on the memory of the CPU that touched them first, so another number of threads gets another buffer. */
static bool prepare(run *run, int threads)
{
    const size_t bytes = hunze_bandwidth_bytes(threads);
    run->part = bytes / (size_t)threads;
    if (buffer && buffer_threads == threads && buffer_bytes == bytes)
        return true;
    hunze_bandwidth_release();
    char *memory =
        mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    const size_t before = (HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE) % HUGE_PAGE;
    if (before)
        munmap(memory, before);
    buffer = memory + before;
    munmap(buffer + bytes, HUGE_PAGE - before);
    madvise(buffer, bytes, MADV_HUGEPAGE); /* without, it is measured with small pages */
    buffer_bytes = bytes;
    buffer_threads = threads;
    return hunze_bench_pass_seconds(threads, 0, NULL, touch, run) > 0;
}

static double bandwidth(bool copy, int threads, double seconds)
{
    run run = {.copy = copy, .avx2 = has_avx2()};
    if (threads <= 0)
        threads = hunze_bench_cpus();
    if (!prepare(&run, threads))
        return 0;
    const double each = hunze_bench_pass_seconds(threads, seconds, NULL, pass, &run);
    return each > 0 ? (double)traffic(&run) * threads / each : 0;
}

double hunze_read_bandwidth(int threads, double seconds) { return bandwidth(false, threads, seconds); }
double hunze_copy_bandwidth(int threads, double seconds) { return bandwidth(true, threads, seconds); }
