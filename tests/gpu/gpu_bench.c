/* SPDX-License-Identifier: Apache-2.0 */
/* How fast the first device runs each operation, and how fast it could: gpu_bench [--small] IMAGES [warpgroups | others]
 *
 * Ceilings (copies, and chains of fma and mma in registers: gpu_peaks.fatbin in IMAGES) and rows are timed in the same interleaved rounds, each
 * over so many copies of its operands that the device's cache holds none of them.  A RESULT line per row: the median time of a run, its spread,
 * its floor (operations / peak, or bytes / copy, whichever is longer) and how much of it is reached.  Before that, a part of each result is
 * compared with the CPU's: bits, or for bf16 and f16 the difference from f32.  At last what a call costs the CPU, beside a bare launch of the
 * same kernel with the same arguments.
 *
 * "warpgroups": rows of kernels for capability 9.0 alone, which wait for barriers and may wait for ever; "others": all but those. */
#include "gpu_ceilings.h"
#include "gpu_check.h"
#include "gpu_host_time.h"
#include "gpu_image.h"
#include "gpu_operand.h"

#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_JOBS = 160, HOST_RUNS = 200 };
static hunze_context *context, *reference; /* the second: the CPU's, in the order that devices have */
static void *stream;
static bool small;
static const char *part; /* NULL: all */
static int failures;
static gpu_job jobs[MOST_JOBS];
static int job_count = GPU_CEILINGS;

/* ------------------------------------------------------------------ jobs of the library */

typedef union options {
    hunze_gemm_options gemm;
    hunze_conv_options conv;
    hunze_quantize_options quantize;
    hunze_activation_options activation;
} options;

typedef struct work {
    hunze_op op;
    const gpu_operand *a, *b, *d;
    options device, host; /* the second for the comparison: no kernel, tensors of the CPU */
    hunze_plan *plan;
} work;

static hunze_run on_stream(void) { return (hunze_run){.struct_size = sizeof(hunze_run), .stream = stream}; }

static hunze_call call_of(const work *w, const hunze_tensor *a, const hunze_tensor *b, const hunze_tensor *d,
                          const options *o)
{
    return (hunze_call){
        .struct_size = sizeof(hunze_call), .op = w->op, .a = a, .b = w->b ? b : NULL, .d = d, .options = o};
}

static void run_work(const gpu_job *job, int turn)
{
    const work *w = job->self;
    const hunze_run run = on_stream();
    hunze_tensor a = gpu_operand_at(w->a, turn), d = gpu_operand_at(w->d, turn), b = {0};
    if (w->b)
        b = gpu_operand_at(w->b, turn);
    const hunze_call call = call_of(w, &a, &b, &d, &w->device);
    CHECK(hunze_plan_run(w->plan, &call, &run));
}

/* The first `rows` entries of the leading axis. */
static hunze_tensor first_rows(hunze_tensor whole, int64_t *shape, int64_t rows)
{
    memcpy(shape, whole.shape, (size_t)whole.ndim * sizeof *shape);
    shape[0] = shape[0] < rows ? shape[0] : rows;
    whole.shape = shape;
    return whole;
}

static double value_of(const hunze_tensor *tensor, int64_t at)
{
    return tensor->dtype.bits == 64 ? ((double *)tensor->data)[at] : (double)((float *)tensor->data)[at];
}

/* The largest difference of two f32 tensors beyond what rounding to 16 bits may make of sums of `terms` products; below 0: none. */
static double beyond_rounding(const hunze_tensor *got, const hunze_tensor *want, double terms)
{
    double most = -1;
    int64_t count = 1;
    for (int i = 0; i < want->ndim; i++)
        count *= want->shape[i];
    for (int64_t i = 0; i < count; i++) {
        int64_t at = 0, rest = i;
        for (int axis = want->ndim - 1; axis >= 0; axis--) {
            at += rest % want->shape[axis] * want->strides[axis];
            rest /= want->shape[axis];
        }
        const double x = value_of(got, at), y = value_of(want, at);
        const double allowed = fabs(y) * 0x1p-7 + terms * sqrt(terms) * 0x1p-22 + 0x1p-9;
        const double difference = fabs(x - y) - allowed;
        if (!(difference <= most))
            most = isnan(difference) ? INFINITY : difference;
    }
    return most;
}

/* Runs once and compares the first rows, or the first image, with the CPU's. */
static const char *compare(const gpu_job *job, double terms)
{
    const work *w = job->self;
    const bool widened = w->a->tensor.dtype.bits == 16;
    int64_t a_shape[GPU_AXES], d_shape[GPU_AXES];
    const int64_t rows = w->d->tensor.ndim == 4 ? 1 : 3;
    hunze_tensor a_all = gpu_operand_on_cpu(stream, w->a, widened), b_all = {0};
    if (w->b)
        b_all = gpu_operand_on_cpu(stream, w->b, widened);
    hunze_tensor want_all = gpu_operand_like(w->d, widened);
    run_work(job, 0);
    hunze_tensor got_all = gpu_operand_on_cpu(stream, w->d, widened);
    memcpy(want_all.data, got_all.data, w->d->bytes * (widened ? 2 : 1)); /* what lies between the rows */
    const hunze_tensor a = first_rows(a_all, a_shape, rows), d = first_rows(want_all, d_shape, rows);
    const size_t part = w->d->bytes / (size_t)w->d->shape[0] * (size_t)d_shape[0];
    memset(want_all.data, 0xA5, widened ? 2 * part : part);
    const hunze_call call = call_of(w, &a, &b_all, &d, &w->host);
    hunze_plan *plan;
    CHECK(hunze_plan_create(reference, &call, &plan));
    CHECK(hunze_plan_run(plan, &call, NULL));
    hunze_plan_release(plan);
    const char *checked = "same bits";
    hunze_tensor got = got_all;
    got.shape = d_shape;
    if (widened)
        checked = beyond_rounding(&got, &d, terms) <= 0 ? "close" : "WRONG";
    else {
        int64_t end = 1; /* the last row may have gaps behind it */
        for (int i = 0; i < d.ndim; i++)
            end += (d_shape[i] - 1) * d.strides[i];
        const size_t size = d.dtype.bits / 8;
        for (int64_t row = 0; row < (d.ndim == 2 ? d_shape[0] : 1); row++) {
            const size_t at = (size_t)(row * d.strides[0]) * size;
            const size_t bytes = (size_t)(d.ndim == 2 ? d_shape[1] : end) * size;
            if (memcmp((char *)got.data + at, (char *)d.data + at, bytes) != 0)
                checked = "WRONG";
        }
    }
    failures += strcmp(checked, "WRONG") == 0;
    hunze_tensor *const all[] = {&a_all, &b_all, &want_all, &got_all};
    for (int i = 0; i < 4; i++)
        free(all[i]->data);
    return checked;
}

/* How many copies of operands the cache does not hold a quarter of. */
static int copies_of(double bytes)
{
    const double least = 4.0 * gpu_attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
    return small || bytes >= least ? 1 : (int)(least / bytes) + 1;
}

/* Whether this run is about a kernel. */
static bool is_wanted(const char *kernel)
{
    return !part || (strstr(kernel, "_sm90a") != NULL) == (strcmp(part, "warpgroups") == 0);
}

/* The kernel, NULL if it is refused.  terms: of each sum; 0: the result is not compared. */
static const char *add(const char *name, work made, double operations, double bytes, int peak, double terms)
{
    work *w = malloc(sizeof *w);
    *w = made;
    gpu_job *job = &jobs[job_count];
    if (!w->a || !w->d) {
        printf("RESULT {\"case\": \"%s\", \"refused\": \"the device has no room for it\"}\n", name);
        return NULL;
    }
    hunze_tensor a = w->a->tensor, b = {0}, d = w->d->tensor;
    if (w->b)
        b = w->b->tensor;
    const hunze_call call = call_of(w, &a, &b, &d, &w->device);
    if (job_count == MOST_JOBS || hunze_plan_create(context, &call, &w->plan) != HUNZE_OK) {
        char why[200];
        snprintf(why, sizeof why, "%s", job_count == MOST_JOBS ? "too many rows" : hunze_last_error());
        for (char *at = why; *at; at++)
            if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
                *at = '\'';
        printf("RESULT {\"case\": \"%s\", \"refused\": \"%s\"}\n", name, why);
        return NULL;
    }
    *job =
        (gpu_job){.run = run_work, .self = w, .operations = operations, .bytes = bytes, .peak = peak, .checked = "not"};
    snprintf(job->name, sizeof job->name, "%s", name);
    job->kernel = hunze_plan_kernel(w->plan);
    if (!is_wanted(job->kernel))
        return job->kernel;
    if (terms > 0)
        job->checked = compare(job, terms);
    job_count++;
    return job->kernel;
}

/* ------------------------------------------------------------------ rows */

static const struct type {
    const char *name;
    const hunze_dtype *a, *b, *d;
    hunze_type type;
    int peak;
} types[] = {
    {"f32", &gpu_f32, &gpu_f32, &gpu_f32, HUNZE_TYPE_F32, GPU_F32},
    {"f64", &gpu_f64, &gpu_f64, &gpu_f64, HUNZE_TYPE_F64, GPU_F64},
    {"bf16", &gpu_bf16, &gpu_bf16, &gpu_bf16, HUNZE_TYPE_BF16, GPU_HALF},
    {"f16", &gpu_f16, &gpu_f16, &gpu_f16, HUNZE_TYPE_F16, GPU_HALF},
    {"u8s8", &gpu_u8, &gpu_s8, &gpu_s32, HUNZE_TYPE_U8, GPU_S8},
    {"s8s8", &gpu_s8, &gpu_s8, &gpu_s32, HUNZE_TYPE_S8, GPU_S8},
};

static const struct type *type_of(const char *name)
{
    size_t i = 0;
    while (strcmp(types[i].name, name) != 0)
        i++;
    return &types[i];
}

/* Whether a row of devices takes it. */
static bool is_there(const struct type *t)
{
    for (const hunze_row *row = hunze_rows; row->name; row++)
        if (row->launch && row->op == HUNZE_OP_GEMM && row->a == t->type)
            return true;
    return false;
}

/* majors: "nn", or 't' where columns are contiguous; ld_more: elements between rows beyond the row.  each_row: also by every other kernel. */
static void gemm(const char *type, int64_t m, int64_t n, int64_t k, const char *majors, int64_t ld_more, bool each_row)
{
    const struct type *t = type_of(type);
    const int64_t a[2] = {m, k}, b[2] = {k, n}, d[2] = {m, n}, d_strides[2] = {n + ld_more, 1};
    const int64_t a_strides[2] = {majors[0] == 't' ? 1 : k + ld_more, majors[0] == 't' ? m + ld_more : 1};
    const int64_t b_strides[2] = {majors[1] == 't' ? 1 : n + ld_more, majors[1] == 't' ? k + ld_more : 1};
    const double bytes = (double)(m * k * t->a->bits + k * n * t->b->bits + m * n * t->d->bits) / 8;
    char name[96];
    if (!is_there(t))
        return;
    const int copies = copies_of(bytes);
    work w = {.op = HUNZE_OP_GEMM,
              .a = gpu_operand_make(context, stream, *t->a, 2, a, a_strides, copies),
              .b = gpu_operand_make(context, stream, *t->b, 2, b, b_strides, copies),
              .d = gpu_operand_make(context, stream, *t->d, 2, d, d_strides, copies)};
    w.device.gemm = w.host.gemm = (hunze_gemm_options){.struct_size = sizeof w.host.gemm};
    const int length = snprintf(name, sizeof name, "gemm %s %lldx%lldx%lld %s%s", type, (long long)m, (long long)n,
                                (long long)k, majors, ld_more ? " odd ld" : "");
    const char *chosen = add(name, w, 2.0 * (double)m * (double)n * (double)k, bytes, t->peak, (double)k);
    if (!each_row || !chosen)
        return;
    for (const hunze_row *row = hunze_rows; row->name; row++)
        if (row->launch && row->op == HUNZE_OP_GEMM && row->a == t->type && strcmp(row->name, chosen) != 0) {
            w.device.gemm.kernel = row->name;
            snprintf(name + length, sizeof name - (size_t)length, " by %s", row->name);
            add(name, w, 2.0 * (double)m * (double)n * (double)k, bytes, t->peak, (double)k);
        }
}

/* Stride 1, padding that keeps the size; groups: 1, or as many as channels. */
static void conv(const char *type, int64_t images, int64_t channels, int64_t size, int64_t outputs, int64_t taps,
                 int64_t groups, bool last)
{
    const struct type *t = type_of(type);
    const int64_t x[4] = {images, last ? size : channels, size, last ? channels : size},
                  y[4] = {images, last ? size : outputs, size, last ? outputs : size},
                  kernel[4] = {outputs, channels / groups, taps, taps};
    const int64_t w_last[4] = {taps * taps * channels / groups, 1, taps * channels / groups, channels / groups};
    const double x_count = (double)(images * channels * size * size),
                 y_count = (double)(images * outputs * size * size), terms = (double)(taps * taps * channels / groups);
    const double bytes = (x_count * t->a->bits + y_count * t->d->bits + (double)outputs * terms * t->b->bits) / 8;
    char name[96];
    if (!is_there(t))
        return;
    const int copies = copies_of(bytes);
    work w = {.op = HUNZE_OP_CONV,
              .a = gpu_operand_make(context, stream, *t->a, 4, x, NULL, copies),
              .b = gpu_operand_make(context, stream, *t->b, 4, kernel, last ? w_last : NULL, copies),
              .d = gpu_operand_make(context, stream, *t->d, 4, y, NULL, copies)};
    const int32_t pad = (int32_t)(taps / 2);
    w.device.conv = w.host.conv = (hunze_conv_options){.struct_size = sizeof w.host.conv,
                                                       .layout = last ? HUNZE_CHANNELS_LAST : HUNZE_CHANNELS_FIRST,
                                                       .groups = (uint32_t)groups,
                                                       .pad_before = {pad, pad},
                                                       .pad_after = {pad, pad}};
    snprintf(name, sizeof name, "%s %s %lldx%lldx%lldx%lld %lldx%lld ->%lld %s", groups > 1 ? "depthwise" : "conv",
             type, (long long)images, (long long)channels, (long long)size, (long long)size, (long long)taps,
             (long long)taps, (long long)outputs, last ? "last" : "first");
    add(name, w, 2 * terms * y_count, bytes, t->peak, terms);
}

static void elementwise(int64_t rows)
{
    static hunze_quant quants[3]; /* the CPU's, the device's, and one that is written */
    static hunze_activation silu = {.struct_size = sizeof silu, .kind = HUNZE_ACT_SILU};
    static float scale = 0.01f;
    const int64_t shape[2] = {rows, 1024};
    const double count = (double)rows * 1024;
    gpu_operand *x = gpu_operand_make(context, stream, gpu_f32, 2, shape, NULL, 1),
                *codes[2] = {gpu_operand_make(context, stream, gpu_s8, 2, shape, NULL, 1),
                             gpu_operand_make(context, stream, gpu_u8, 2, shape, NULL, 1)},
                *y = gpu_operand_make(context, stream, gpu_f32, 2, shape, NULL, 1),
                *scale_device = gpu_operand_make(context, stream, gpu_f32, 0, NULL, NULL, 1),
                *written = gpu_operand_make(context, stream, gpu_f32, 0, NULL, NULL, 1),
                *zero_device = gpu_operand_make(context, stream, gpu_u8, 0, NULL, NULL, 1);
    const hunze_device cpu = {HUNZE_DEVICE_CPU, 0};
    static hunze_tensor scale_host;
    scale_host = (hunze_tensor){&scale, cpu, 0, gpu_f32, NULL, NULL, 0};
    if (!x || !codes[0] || !codes[1] || !y || !scale_device || !written || !zero_device) {
        puts("RESULT {\"case\": \"elementwise\", \"refused\": \"the device has no room for it\"}");
        return;
    }
    const hunze_run run = on_stream();
    CHECK(hunze_copy(context, &scale_host, &scale_device->tensor, &run));
    for (int i = 0; i < 2; i++)
        quants[i] = (hunze_quant){.struct_size = sizeof quants[i], .scale = i ? &scale_device->tensor : &scale_host};
    quants[2] =
        (hunze_quant){.struct_size = sizeof quants[2], .scale = &written->tensor, .zero_point = &zero_device->tensor};
    work w = {.op = HUNZE_OP_QUANTIZE, .a = x, .d = codes[0]};
    w.host.quantize = (hunze_quantize_options){.struct_size = sizeof w.host.quantize, .quant = &quants[0]};
    w.device.quantize = (hunze_quantize_options){.struct_size = sizeof w.host.quantize, .quant = &quants[1]};
    add("quantize f32 s8", w, count, 5 * count, -1, 1);
    w.d = codes[1];
    add("quantize f32 u8", w, count, 5 * count, -1, 1);
    w.op = HUNZE_OP_DEQUANTIZE;
    w.a = codes[0];
    w.d = y;
    add("dequantize s8 f32", w, count, 5 * count, -1, 1);
    w.a = codes[1];
    add("dequantize u8 f32", w, count, 5 * count, -1, 1);
    w = (work){.op = HUNZE_OP_QUANTIZE, .a = x, .d = codes[1]};
    w.device.quantize =
        (hunze_quantize_options){.struct_size = sizeof w.host.quantize, .quant = &quants[2], .dynamic = 1};
    add("quantize f32 u8 dynamic", w, count, 9 * count, -1, 0);
    w = (work){.op = HUNZE_OP_ACTIVATION, .a = x, .d = y};
    w.host.activation = (hunze_activation_options){.struct_size = sizeof w.host.activation, .activation = &silu};
    w.device.activation = w.host.activation;
    add("activate f32 silu", w, count, 8 * count, -1, 1);
}

/* ------------------------------------------------------------------ all of it */

static void print_job(const gpu_job *job)
{
    const double copy = gpu_ceiling_rate(jobs, GPU_COPY),
                 peak = job->peak < 0 ? 0 : gpu_ceiling_rate(jobs, (gpu_ceiling)job->peak);
    const double moved = copy > 0 ? job->bytes / copy : 0, computed = peak > 0 ? job->operations / peak : 0;
    const double floor = moved > computed ? moved : computed, seconds = job->seconds;
    if (!job->run)
        return;
    printf("RESULT {\"case\": \"%s\", \"microseconds\": %.3f, \"spread\": %.4f, \"runs\": %ld", job->name,
           seconds * 1e6, job->spread, job->count);
    if (seconds > 0 && job->operations > 0)
        printf(", \"tera_operations\": %.3f", job->operations / seconds * 1e-12);
    if (seconds > 0 && job->bytes > 0)
        printf(", \"gigabytes\": %.1f", job->bytes / seconds * 1e-9);
    if (seconds > 0 && job->kernel)
        printf(", \"kernel\": \"%s\", \"checked\": \"%s\", \"floor_microseconds\": %.3f, \"floor\": \"%s\", "
               "\"of_floor\": %.4f",
               job->kernel, job->checked, floor * 1e6, moved > computed ? "copy" : "peak", floor / seconds);
    puts("}");
}

static void small_rows(void)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        gemm(types[i].name, 37, 41, 70, "nt", i % 2, true);
    gemm("bf16", 72, 264, 80, "nn", 0, true); /* what tensor maps take */
    gemm("f16", 72, 264, 80, "tt", 0, true);
    for (int last = 0; last < 2; last++) {
        conv("f32", 2, 5, 9, 7, 3, 1, last);
        conv("u8s8", 1, 8, 9, 16, 3, 1, last);
        conv("bf16", 1, 8, 9, 16, 3, 1, last);
        conv("f32", 1, 8, 9, 8, 3, 8, last);
    }
    elementwise(3);
}

static void all_rows(void)
{
    static const char *const majors[] = {"nn", "nt", "tn", "tt"};
    for (int half = 0; half < 2; half++) {
        const char *type = half ? "f16" : "bf16";
        for (int i = 0; i < 4; i++)
            gemm(type, 4096, 4096, 4096, majors[i], 0, true);
        gemm(type, 8192, 8192, 8192, "nn", 0, true);
        gemm(type, 1000, 1000, 1000, "nn", 0, false);
        gemm(type, 4096, 4096, 4096, "nn", 1, false);
    }
    for (int i = 0; i < 4; i++)
        gemm("f32", 4096, 4096, 4096, majors[i], 0, false);
    gemm("f32", 8192, 8192, 8192, "nn", 0, false);
    gemm("f32", 1000, 1000, 1000, "nn", 0, false);
    gemm("f64", 4096, 4096, 4096, "nn", 0, false);
    gemm("f64", 1000, 1000, 1000, "nn", 0, false);
    gemm("u8s8", 8192, 8192, 8192, "nt", 0, false);
    gemm("u8s8", 4096, 4096, 4096, "nt", 0, false);
    gemm("u8s8", 4096, 4096, 4096, "nn", 0, false);
    gemm("s8s8", 4096, 4096, 4096, "nt", 0, false);
    static const char *const convolved[] = {"f32", "bf16", "u8s8"};
    for (int i = 0; i < 3; i++)
        for (int last = 0; last < 2; last++) {
            conv(convolved[i], 32, 64, 56, 64, 3, 1, last);
            conv(convolved[i], 32, 256, 14, 256, 3, 1, last);
            conv(convolved[i], 32, 512, 28, 128, 1, 1, last);
        }
    for (int last = 0; last < 2; last++) {
        conv("f32", 32, 512, 56, 512, 3, 512, last);
        conv("u8s8", 32, 512, 56, 512, 3, 512, last);
    }
    elementwise(256 * 1024);
}

/* Of a square product. */
static const char *kernel_of(const hunze_dtype dtypes[3], int64_t size)
{
    const hunze_device gpu = {HUNZE_DEVICE_CUDA, 0};
    int64_t shape[2] = {size, size};
    hunze_tensor tensors[3];
    for (int i = 0; i < 3; i++)
        tensors[i] = (hunze_tensor){NULL, gpu, 2, dtypes[i], shape, NULL, 0};
    const hunze_call call = {
        .struct_size = sizeof call, .op = HUNZE_OP_GEMM, .a = &tensors[0], .b = &tensors[1], .d = &tensors[2]};
    hunze_plan *plan;
    return hunze_plan_create(context, &call, &plan) == HUNZE_OK ? hunze_plan_kernel(plan) : NULL;
}

int main(int argc, char **argv)
{
    small = argc > 1 && strcmp(argv[1], "--small") == 0;
    if (argc < 2 + small || argc > 3 + small) {
        puts("usage: gpu_bench [--small] IMAGES [warpgroups | others]");
        return 1;
    }
    part = argv[2 + small];
    const hunze_device gpu = {HUNZE_DEVICE_CUDA, 0};
    const hunze_context_options like_devices = {.struct_size = sizeof like_devices, .flags = HUNZE_REPRODUCIBLE};
    gpu_open();
    CHECK(hunze_context_create(NULL, &context));
    CHECK(hunze_context_create(&like_devices, &reference));
    CHECK(hunze_stream_create(context, gpu, &stream));
    gpu_ceilings_make(jobs, argv[1 + small], small ? 1 << 16 : 1 << 30, small, stream);
    if (part && strcmp(part, "warpgroups") != 0)
        jobs[GPU_WGMMA].run = NULL;
    double begin = gpu_now();
    (small ? small_rows : all_rows)();
    printf("made and compared in %.1f s\n", gpu_now() - begin);
    if (job_count == GPU_CEILINGS) {
        puts("no kernel of this part takes anything here");
        return 77;
    }
    begin = gpu_now();
    gpu_time(jobs, job_count, small ? 0 : 0.02, stream);
    for (int i = 0; i < job_count; i++)
        print_job(&jobs[i]);
    printf("timed in %.1f s\n", gpu_now() - begin);
    static const char *const called[] = {"f32", "bf16", "u8s8"};
    for (int i = 0; i < 3; i++) {
        const struct type *t = type_of(called[i]);
        const hunze_dtype dtypes[3] = {*t->a, *t->b, *t->d};
        const char *kernel = is_there(t) ? kernel_of(dtypes, 64) : NULL;
        if (kernel && is_wanted(kernel))
            failures += !gpu_host_time(context, stream, t->name, dtypes, 64, small ? 2 : HOST_RUNS);
    }
    printf("%d results are wrong\n", failures);
    return failures != 0;
}
