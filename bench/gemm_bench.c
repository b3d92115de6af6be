/* SPDX-License-Identifier: Apache-2.0 */
/* How near hunze_gemm comes to what this machine can do.  In each repetition, one after the other:
 *   peak       multiply-add instructions on registers (peak.h), one thread
 *   one        hunze_gemm with one thread; with peak, in seconds that the thread had the CPU
 *   two        hunze_gemm with two threads, on the wall
 *   processes  two processes that each run hunze_gemm with one thread at the same time: the ceiling of `two`
 * A table of medians goes to stdout, and with --json FILE all figures to a file.
 *
 *   gemm_bench [--isa NAME] [--repetitions N] [--json FILE] [TYPE:MxNxK[:t] …]      TYPE f32, f64, u8s8, s8s8; t: B is (n, k) */
#include "../include/hunze.h"
#include "peak.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_REPETITIONS = 101 };

typedef struct problem {
    char type[8];
    int64_t m, n, k;
    uint32_t transpose_b;
    hunze_tensor a, b, d;
    int64_t shapes[3][2];
    hunze_gemm_options options;
} problem;

static void fail(const char *what)
{
    fprintf(stderr, "gemm_bench: %s: %s\n", what, hunze_last_error());
    exit(1);
}

static hunze_tensor make(int64_t *shape, int64_t rows, int64_t columns, hunze_dtype dtype)
{
    const int64_t count = rows * columns;
    shape[0] = rows;
    shape[1] = columns;
    hunze_tensor tensor = {.device = {HUNZE_DEVICE_CPU, 0}, .ndim = 2, .dtype = dtype, .shape = shape};
    tensor.data = aligned_alloc(64, ((size_t)count * dtype.bits / 8 + 127) / 64 * 64);
    uint32_t state = 12345;
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        if (dtype.code == HUNZE_FLOAT && dtype.bits == 32)
            ((float *)tensor.data)[i] = (float)(state >> 8) * 0x1p-23F - 1;
        else if (dtype.code == HUNZE_FLOAT)
            ((double *)tensor.data)[i] = (double)(state >> 8) * 0x1p-23 - 1;
        else if (dtype.bits == 8)
            ((uint8_t *)tensor.data)[i] = (uint8_t)(state >> 24);
    }
    return tensor;
}

static bool parse(const char *text, problem *p)
{
    char end = 0;
    *p = (problem){0};
    int fields = sscanf(text, "%7[^:]:%ldx%ldx%ld:%c", p->type, &p->m, &p->n, &p->k, &end);
    p->transpose_b = end == 't';
    return fields >= 4 && (fields == 4 || end == 't') &&
           (!strcmp(p->type, "f32") || !strcmp(p->type, "f64") || !strcmp(p->type, "u8s8") || !strcmp(p->type, "s8s8"));
}

static void fill(problem *p)
{
    const bool integers = strlen(p->type) == 4;
    const uint8_t bits = !strcmp(p->type, "f64") ? 64 : 32;
    const hunze_dtype a_type = integers ? (hunze_dtype){p->type[0] == 'u' ? HUNZE_UINT : HUNZE_INT, 8, 1}
                                        : (hunze_dtype){HUNZE_FLOAT, bits, 1};
    p->a = make(p->shapes[0], p->m, p->k, a_type);
    p->b = make(p->shapes[1], p->transpose_b ? p->n : p->k, p->transpose_b ? p->k : p->n,
                integers ? (hunze_dtype){HUNZE_INT, 8, 1} : a_type);
    p->d = make(p->shapes[2], p->m, p->n, integers ? (hunze_dtype){HUNZE_INT, 32, 1} : a_type);
    p->options = (hunze_gemm_options){.struct_size = sizeof p->options, .transpose_b = p->transpose_b};
}

/* Runs calls for about `seconds`; operations per second by the clock. */
static double rate(hunze_context *context, const problem *p, int32_t threads, double seconds, double (*clock)(void))
{
    const hunze_run run = {.struct_size = sizeof run, .threads = threads};
    const double operations = 2.0 * (double)p->m * (double)p->n * (double)p->k;
    int64_t calls = 0, chunk = 1;
    const double start = clock(), wall = hunze_bench_seconds();
    do {
        for (int64_t i = 0; i < chunk; i++)
            if (hunze_gemm(context, &p->a, &p->b, NULL, &p->d, &p->options, &run))
                fail("hunze_gemm");
        calls += chunk;
        chunk = chunk < 4096 && operations * (double)chunk < 1e7 ? chunk * 2 : chunk;
    } while (hunze_bench_seconds() - wall < seconds);
    return operations * (double)calls / (clock() - start);
}

/* The sum of two processes' rates over the same span of time. */
static double rate_of_processes(const hunze_context_options *options, const problem *p, double seconds)
{
    struct shared {
        int ready;
        double rates[2];
    } *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[2];
    if (shared == MAP_FAILED)
        return 0;
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            hunze_context *context;
            if (hunze_context_create(options, &context))
                fail("hunze_context_create");
            problem own = *p;
            fill(&own);
            rate(context, &own, 1, 0.005, hunze_bench_seconds);
            __atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
            while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) < 2)
                ;
            shared->rates[i] = rate(context, &own, 1, seconds, hunze_bench_seconds);
            _exit(0);
        }
    }
    for (int i = 0; i < 2; i++)
        waitpid(children[i], NULL, 0);
    const double sum = shared->rates[0] + shared->rates[1];
    munmap(shared, 4096);
    return sum;
}

/* The bundle that stands in a kernel's name. */
static const char *isa_of(const char *kernel)
{
    static const char *const names[] = {"avx512vnni", "avxvnni", "avx512", "avx2", "portable"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strstr(kernel, names[i]))
            return names[i];
    return "portable";
}

typedef struct figures {
    double values[MOST_REPETITIONS], median, low, high; /* low and high: quartiles */
} figures;

static void summarize(figures *f, int count)
{
    f->median = hunze_bench_median(f->values, count);
    f->low = f->values[count / 4];
    f->high = f->values[count - 1 - count / 4];
}

static void write_figures(FILE *json, const char *name, const figures *f)
{
    fprintf(json, ", \"%s\": {\"median\": %.4g, \"quartiles\": [%.4g, %.4g]}", name, f->median, f->low, f->high);
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"f32:1024x1024x1024",  "f64:1024x1024x1024", "u8s8:1024x1024x1024",
                                        "s8s8:1024x1024x1024", "f32:256x256x256",    "f32:64x64x64",
                                        "f32:16x16x16",        "f32:4x4x4",          "f32:1x4096x4096",
                                        "f32:1x4096x4096:t",   "f32:16x4096x4096",   "f32:4096x16x256"};
    hunze_context_options options = {.struct_size = sizeof options, .threads = 2};
    const char *json_path = NULL, *cases[256];
    int repetitions = 9, count = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--isa") && i + 1 < argc)
            options.isa = argv[++i];
        else if (!strcmp(argv[i], "--json") && i + 1 < argc)
            json_path = argv[++i];
        else if (!strcmp(argv[i], "--repetitions") && i + 1 < argc)
            repetitions = atoi(argv[++i]);
        else if (count < 256)
            cases[count++] = argv[i];
    }
    if (repetitions < 1 || repetitions > MOST_REPETITIONS) {
        fprintf(stderr, "gemm_bench: --repetitions takes 1 to %d\n", MOST_REPETITIONS);
        return 2;
    }
    if (count == 0)
        for (; count < (int)(sizeof usual / sizeof *usual); count++)
            cases[count] = usual[count];
    hunze_context *context;
    if (hunze_context_create(&options, &context))
        fail("hunze_context_create");
    FILE *json = json_path ? fopen(json_path, "w") : NULL;
    if (json_path && !json) {
        perror(json_path);
        return 1;
    }
    char *info;
    if (json && hunze_context_info(context, &info) == HUNZE_OK) {
        fprintf(json, "{\"hunze\": %s,\n\"repetitions\": %d, \"unit\": \"operations per second\", \"results\": [", info,
                repetitions);
        hunze_string_free(info);
    }
    printf("%-22s %-24s %9s %9s %7s %9s %9s %7s\n", "case", "kernel", "one", "peak", "of peak", "two", "processes",
           "of them");
    for (int c = 0; c < count; c++) {
        static problem p;
        static figures peak, one, two, processes, of_peak, of_processes;
        if (!parse(cases[c], &p)) {
            fprintf(stderr, "gemm_bench: %s is not TYPE:MxNxK with TYPE f32, f64, u8s8 or s8s8\n", cases[c]);
            return 2;
        }
        fill(&p);
        const hunze_call call = {sizeof call, HUNZE_OP_GEMM, &p.a, &p.b, NULL, &p.d, &p.options};
        hunze_plan *plan;
        if (hunze_plan_create(context, &call, &plan))
            fail("hunze_plan_create");
        const char *isa = isa_of(hunze_plan_kernel(plan)), *peak_type = strlen(p.type) == 4 ? "u8s8" : p.type;
        const double span = 0.03;
        rate(context, &p, 2, 0.01, hunze_bench_seconds);
        for (int r = 0; r < repetitions; r++) {
            peak.values[r] = hunze_peak_flops(isa, peak_type, 0.01);
            one.values[r] = rate(context, &p, 1, span, hunze_bench_thread_seconds);
            two.values[r] = rate(context, &p, 2, span, hunze_bench_seconds);
            processes.values[r] = rate_of_processes(&options, &p, span);
            of_peak.values[r] = peak.values[r] > 0 ? one.values[r] / peak.values[r] : 0;
            of_processes.values[r] = two.values[r] / processes.values[r];
        }
        figures *all[] = {&peak, &one, &two, &processes, &of_peak, &of_processes};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            summarize(all[i], repetitions);
        printf("%-22s %-24s %7.1f G %7.1f G %6.1f%% %7.1f G %7.1f G  %5.2f   (quartiles: of peak %.1f to %.1f%%, of "
               "them %.2f to %.2f)\n",
               cases[c], hunze_plan_kernel(plan), one.median * 1e-9, peak.median * 1e-9, 100 * of_peak.median,
               two.median * 1e-9, processes.median * 1e-9, of_processes.median, 100 * of_peak.low, 100 * of_peak.high,
               of_processes.low, of_processes.high);
        fflush(stdout);
        if (json) {
            fprintf(json, "%s\n{\"case\": \"%s\", \"kernel\": \"%s\", \"nanoseconds_one\": %.5g", c ? "," : "",
                    cases[c], hunze_plan_kernel(plan), 2e9 * (double)p.m * (double)p.n * (double)p.k / one.median);
            write_figures(json, "one", &one);
            write_figures(json, "peak", &peak);
            write_figures(json, "of_peak", &of_peak);
            write_figures(json, "two", &two);
            write_figures(json, "processes", &processes);
            write_figures(json, "of_processes", &of_processes);
            fprintf(json, "}");
        }
        hunze_plan_release(plan);
        free(p.a.data);
        free(p.b.data);
        free(p.d.data);
    }
    if (json) {
        fprintf(json, "\n]}\n");
        fclose(json);
        printf("%s\n", json_path);
    }
    hunze_context_release(context);
    return 0;
}
