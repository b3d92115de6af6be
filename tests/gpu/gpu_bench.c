/* SPDX-License-Identifier: Apache-2.0 */
/* How fast the first device runs each operation, a RESULT line per case: `gpu_bench [--small]`.
 *
 * A case runs on a stream of its own until it takes a tenth of a second; the time of a run is the median of five such rounds.  The ceiling of
 * memory is the library's own copy on the device, measured likewise.  Before it is timed, a slice of the result is compared with the CPU's,
 * bit by bit.  `host` is what a call costs the CPU: runs of a small product, given to the stream and not waited for. */
#include <hunze.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 5, AXES = 4 };
static const hunze_device cpu = {HUNZE_DEVICE_CPU, 0}, gpu = {HUNZE_DEVICE_CUDA, 0};
static const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1}, f64 = {HUNZE_FLOAT, 64, 1}, s8 = {HUNZE_INT, 8, 1},
                         u8 = {HUNZE_UINT, 8, 1}, s32 = {HUNZE_INT, 32, 1};
static hunze_context *context;
static void *stream;
static int failures;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if ((call) != HUNZE_OK) {                                                                                      \
            printf("%s: %s\n", #call, hunze_last_error());                                                             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* ------------------------------------------------------------------ operands */

typedef struct operand {
    hunze_tensor host, device;
    int64_t shape[AXES];
    size_t bytes;
} operand;

static uint64_t random_state = 1;
static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Values of a megabyte, repeated: what is timed does not depend on them, and large operands are filled in no time. */
static void fill(void *memory, size_t bytes, hunze_dtype dtype)
{
    const size_t part = bytes < 1 << 20 ? bytes : 1 << 20;
    for (size_t i = 0; i < part / (dtype.bits / 8); i++) {
        const double value = (double)(random_bits() >> 11) * 0x1p-53 * 2 - 1;
        if (dtype.code == HUNZE_FLOAT && dtype.bits == 32)
            ((float *)memory)[i] = (float)value;
        else if (dtype.code == HUNZE_FLOAT)
            ((double *)memory)[i] = value;
        else
            ((uint8_t *)memory)[i] = (uint8_t)random_bits();
    }
    for (size_t at = part; at < bytes; at += part)
        memcpy((char *)memory + at, memory, bytes - at < part ? bytes - at : part);
}

static hunze_run on_stream(void) { return (hunze_run){.struct_size = sizeof(hunze_run), .stream = stream}; }

/* An operand on both sides with the same random values. */
static operand *make(hunze_dtype dtype, int ndim, const int64_t *shape)
{
    operand *o = calloc(1, sizeof *o);
    o->bytes = dtype.bits / 8;
    for (int i = 0; i < ndim; i++)
        o->bytes *= (size_t)(o->shape[i] = shape[i]);
    o->host = (hunze_tensor){.device = cpu, .ndim = ndim, .dtype = dtype, .shape = o->shape};
    o->device = o->host;
    o->device.device = gpu;
    o->host.data = aligned_alloc(64, (o->bytes + 63) / 64 * 64);
    fill(o->host.data, o->bytes, dtype);
    CHECK(hunze_memory_alloc(context, gpu, o->bytes, stream, &o->device.data));
    const hunze_run run = on_stream();
    CHECK(hunze_copy(context, &o->host, &o->device, &run));
    CHECK(hunze_stream_synchronize(context, gpu, stream));
    return o;
}
#define MAKE(dtype, ...)                                                                                               \
    make(dtype, (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})

static void drop(operand *o)
{
    if (o) {
        CHECK(hunze_memory_free(context, gpu, o->device.data, o->bytes, stream));
        free(o->host.data);
        free(o);
    }
}

/* ------------------------------------------------------------------ time */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool small;

/* Seconds of one run; `given`: of giving it to the stream. */
static double seconds_of(const hunze_plan *plan, const hunze_call *call, double *given)
{
    const hunze_run run = on_stream();
    double rounds[ROUNDS], giving[ROUNDS];
    long count = 1;
    for (int round = -1; round < ROUNDS;) {
        const double begin = now();
        for (long i = 0; i < count; i++)
            CHECK(hunze_plan_run(plan, call, &run));
        const double gave = now() - begin;
        CHECK(hunze_stream_synchronize(context, gpu, stream));
        const double took = now() - begin;
        if (round < 0 && took < 0.1 && !small) { /* as many as take a tenth of a second */
            count = took < 0.01 ? count * 10 : (long)((double)count * 0.12 / took) + 1;
            continue;
        }
        if (round >= 0) {
            rounds[round] = took / (double)count;
            giving[round] = gave / (double)count;
        }
        round++;
    }
    qsort(rounds, ROUNDS, sizeof *rounds, ascending);
    qsort(giving, ROUNDS, sizeof *giving, ascending);
    if (given)
        *given = giving[ROUNDS / 2];
    return rounds[ROUNDS / 2];
}

static double copy_rate; /* bytes per second, read and written */

/* ------------------------------------------------------------------ cases */

/* The first `rows` entries of the leading axis. */
static hunze_tensor slice(const hunze_tensor *whole, int64_t *shape, int64_t rows)
{
    hunze_tensor part = *whole;
    memcpy(shape, whole->shape, (size_t)whole->ndim * sizeof *shape);
    shape[0] = shape[0] < rows ? shape[0] : rows;
    part.shape = shape;
    return part;
}

/* Runs, compares with the CPU, times, prints.  `bytes`: what the operation must at least read and write. */
static void measure(const char *name, uint32_t op, operand *a, operand *b, operand *d, const void *device_options,
                    const void *host_options, double operations, double bytes)
{
    const hunze_call call = {.struct_size = sizeof call,
                             .op = op,
                             .a = &a->device,
                             .b = b ? &b->device : NULL,
                             .d = &d->device,
                             .options = device_options};
    hunze_plan *plan;
    if (hunze_plan_create(context, &call, &plan) != HUNZE_OK) {
        printf("%s: %s\n", name, hunze_last_error());
        failures++;
        return;
    }
    const hunze_run run = on_stream();
    CHECK(hunze_plan_run(plan, &call, &run));

    int64_t a_shape[AXES], d_shape[AXES];
    const int64_t rows = d->host.ndim == 4 ? 1 : 3;
    hunze_tensor a_part = slice(&a->host, a_shape, rows), d_part = slice(&d->host, d_shape, rows);
    const hunze_call on_cpu = {.struct_size = sizeof call,
                               .op = op,
                               .a = &a_part,
                               .b = b ? &b->host : NULL,
                               .d = &d_part,
                               .options = host_options};
    hunze_plan *cpu_plan;
    CHECK(hunze_plan_create(context, &on_cpu, &cpu_plan));
    CHECK(hunze_plan_run(cpu_plan, &on_cpu, NULL));
    hunze_plan_release(cpu_plan);
    size_t part = d->bytes / (size_t)d->shape[0] * (size_t)d_shape[0];
    char *got = aligned_alloc(64, (part + 63) / 64 * 64);
    int64_t got_shape[AXES];
    hunze_tensor device_part = slice(&d->device, got_shape, rows), got_tensor = d_part;
    got_tensor.data = got;
    CHECK(hunze_copy(context, &device_part, &got_tensor, &run));
    CHECK(hunze_stream_synchronize(context, gpu, stream));
    const bool same = memcmp(got, d_part.data, part) == 0;
    failures += !same;
    free(got);

    double given;
    const double seconds = seconds_of(plan, &call, &given);
    printf("RESULT {\"case\": \"%s\", \"kernel\": \"%s\", \"same_bits\": %s, \"microseconds\": %.3f, "
           "\"host_microseconds\": %.3f, \"tera_operations\": %.3f, \"gigabytes\": %.1f, \"of_copy\": %.3f}\n",
           name, hunze_plan_kernel(plan), same ? "true" : "false", seconds * 1e6, given * 1e6,
           operations / seconds * 1e-12, bytes / seconds * 1e-9, bytes / seconds / copy_rate);
    fflush(stdout);
    hunze_plan_release(plan);
}

static void copy(int64_t megabytes)
{
    operand *from = MAKE(f32, megabytes << 18), *to = MAKE(f32, megabytes << 18);
    const hunze_run run = on_stream();
    double best = INFINITY;
    for (int i = 0; i < 8; i++) {
        const double begin = now();
        CHECK(hunze_copy(context, &from->device, &to->device, &run));
        CHECK(hunze_stream_synchronize(context, gpu, stream));
        const double took = now() - begin;
        best = took < best ? took : best;
    }
    copy_rate = 2 * (double)from->bytes / best;
    printf("RESULT {\"case\": \"copy %d MiB\", \"gigabytes\": %.1f}\n", (int)megabytes, copy_rate * 1e-9);
    drop(from);
    drop(to);
}

static void gemm(const char *type, int64_t m, int64_t n, int64_t k)
{
    const bool integer = type[0] != 'f';
    const hunze_dtype in = integer ? (type[0] == 'u' ? u8 : s8) : type[1] == '6' ? f64 : f32;
    operand *a = MAKE(in, m, k), *b = MAKE(integer ? s8 : in, k, n), *d = MAKE(integer ? s32 : in, m, n);
    char name[96];
    snprintf(name, sizeof name, "gemm %s %dx%dx%d", type, (int)m, (int)n, (int)k);
    measure(name, HUNZE_OP_GEMM, a, b, d, NULL, NULL, 2.0 * (double)m * (double)n * (double)k,
            (double)(a->bytes + b->bytes + d->bytes));
    drop(a);
    drop(b);
    drop(d);
}

/* 3x3, stride 1, padding 1; groups: 1, or as many as channels. */
static void conv(const char *type, int64_t batch, int64_t channels, int64_t size, int64_t outputs, int64_t groups)
{
    const bool integer = type[0] != 'f';
    operand *x = MAKE(integer ? u8 : f32, batch, channels, size, size);
    operand *w = MAKE(integer ? s8 : f32, outputs, channels / groups, 3, 3);
    operand *y = MAKE(integer ? s32 : f32, batch, outputs, size, size);
    const hunze_conv_options options = {
        .struct_size = sizeof options, .groups = (uint32_t)groups, .pad_before = {1, 1}, .pad_after = {1, 1}};
    char name[96];
    snprintf(name, sizeof name, "conv %s %dx%dx%dx%d 3x3 ->%d%s", type, (int)batch, (int)channels, (int)size, (int)size,
             (int)outputs, groups > 1 ? " depthwise" : "");
    measure(name, HUNZE_OP_CONV, x, w, y, &options, &options,
            2.0 * 9 * (double)(batch * outputs * size * size) * (double)(channels / groups),
            (double)(x->bytes + w->bytes + y->bytes));
    drop(x);
    drop(w);
    drop(y);
}

static void elementwise(int64_t rows)
{
    operand *x = MAKE(f32, rows, 1024), *codes = MAKE(s8, rows, 1024), *y = MAKE(f32, rows, 1024),
            *scale = MAKE(f32, 1);
    *(float *)scale->host.data = 0.01f;
    const hunze_run run = on_stream();
    scale->host.ndim = scale->device.ndim = 0;
    CHECK(hunze_copy(context, &scale->host, &scale->device, &run));
    const hunze_quant on_host = {.struct_size = sizeof on_host, .scale = &scale->host};
    const hunze_quant on_device = {.struct_size = sizeof on_device, .scale = &scale->device};
    const hunze_quantize_options host = {.struct_size = sizeof host, .quant = &on_host};
    const hunze_quantize_options device = {.struct_size = sizeof device, .quant = &on_device};
    const double count = (double)rows * 1024;
    measure("quantize f32 s8", HUNZE_OP_QUANTIZE, x, NULL, codes, &device, &host, count, 5 * count);
    measure("dequantize s8 f32", HUNZE_OP_DEQUANTIZE, codes, NULL, y, &device, &host, count, 5 * count);
    const hunze_activation kind = {.struct_size = sizeof kind, .kind = HUNZE_ACT_SILU};
    const hunze_activation_options act = {.struct_size = sizeof act, .activation = &kind};
    measure("activate f32 silu", HUNZE_OP_ACTIVATION, x, NULL, y, &act, &act, count, 8 * count);
    scale->host.ndim = scale->device.ndim = 1;
    drop(x);
    drop(codes);
    drop(y);
    drop(scale);
}

int main(int argc, char **argv)
{
    small = argc > 1 && strcmp(argv[1], "--small") == 0;
    CHECK(hunze_context_create(
        &(hunze_context_options){.struct_size = sizeof(hunze_context_options), .flags = HUNZE_REPRODUCIBLE}, &context));
    CHECK(hunze_stream_create(context, gpu, &stream));
    copy(small ? 1 : 1024);
    static const char *const types[] = {"f32", "f64", "u8s8", "s8s8"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (small) {
            gemm(types[i], 37, 41, 70);
            continue;
        }
        gemm(types[i], 64, 64, 64); /* what a call costs the CPU */
        gemm(types[i], 1000, 1000, 1000);
        gemm(types[i], 4096, 4096, 4096);
        if (types[i][1] != '6') /* f64 would take a second a run where it is slow */
            gemm(types[i], 8192, 8192, 8192);
    }
    if (small) {
        conv("f32", 2, 5, 9, 7, 1);
        conv("u8s8", 1, 8, 9, 16, 1);
        conv("f32", 1, 8, 9, 8, 8);
        elementwise(3);
    } else {
        conv("f32", 32, 64, 56, 64, 1);
        conv("f32", 32, 256, 14, 256, 1);
        conv("u8s8", 32, 64, 56, 64, 1);
        conv("u8s8", 32, 256, 14, 256, 1);
        conv("f32", 32, 512, 56, 512, 512);
        conv("u8s8", 32, 512, 56, 512, 512);
        elementwise(256 * 1024);
    }
    CHECK(hunze_stream_destroy(context, gpu, stream));
    hunze_context_release(context);
    printf("%d cases are wrong\n", failures);
    return failures != 0;
}
