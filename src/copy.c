/* SPDX-License-Identifier: Apache-2.0 */
/* hunze_copy: what it takes, and copies within memory that the CPU reads. */
#include "device.h"
#include "runs.h"

#include <pthread.h>
#include <string.h>

static bool is_cpu(const hunze_tensor *tensor)
{
    return tensor->device.type == HUNZE_DEVICE_CPU || tensor->device.type == HUNZE_DEVICE_CUDA_HOST;
}

/* The device whose stream does the copy; HUNZE_DEVICE_CPU if there is none. */
static hunze_status find_device(const hunze_tensor *from, const hunze_tensor *to, hunze_device *device)
{
    const hunze_tensor *either = is_cpu(from) ? to : from;
    *device = (hunze_device){HUNZE_DEVICE_CPU, 0};
    if (is_cpu(either))
        return HUNZE_OK;
    *device = (hunze_device){HUNZE_DEVICE_CUDA, either->device.id};
    if (is_cpu(from) || is_cpu(to) || from->device.id == to->device.id)
        return HUNZE_OK;
    if (from->device.type == HUNZE_DEVICE_CUDA_MANAGED || to->device.type == HUNZE_DEVICE_CUDA_MANAGED) {
        device->id = from->device.type == HUNZE_DEVICE_CUDA ? from->device.id : to->device.id;
        return HUNZE_OK;
    }
    return hunze_fail(HUNZE_ERR_DEVICE, "from lives on cuda:%d and to on cuda:%d: copy through the CPU",
                      from->device.id, to->device.id);
}

static bool same_view(const hunze_tensor *a, const hunze_tensor *b)
{
    bool same = hunze_data(a) == hunze_data(b);
    for (int i = 0; same && i < a->ndim; i++)
        same = a->shape[i] <= 1 || hunze_stride(a, i) == hunze_stride(b, i);
    return same;
}

static hunze_status check(const hunze_tensor *from, const hunze_tensor *to)
{
    char text[HUNZE_SHAPE_TEXT], other[HUNZE_SHAPE_TEXT], dtype[24], other_dtype[24];
    TRY(hunze_tensor_check(from, "from"));
    TRY(hunze_tensor_check(to, "to"));
    if (from->dtype.code != to->dtype.code || from->dtype.bits != to->dtype.bits ||
        from->dtype.lanes != to->dtype.lanes)
        return hunze_fail(HUNZE_ERR_DTYPE, "from is %s and to is %s; a copy changes no type",
                          hunze_dtype_text(from->dtype, dtype), hunze_dtype_text(to->dtype, other_dtype));
    bool fits = from->ndim == to->ndim;
    for (int i = 0; fits && i < to->ndim; i++)
        fits = from->shape[i] == to->shape[i];
    if (!fits)
        return hunze_fail(HUNZE_ERR_SHAPE, "to has shape %s; it needs that of from, %s", hunze_shape_text(to, text),
                          hunze_shape_text(from, other));
    TRY(hunze_tensor_check_output(to, "to"));
    TRY(hunze_tensor_check_data(from, "from"));
    return hunze_tensor_check_data(to, "to");
}

void hunze_copy_elements(int64_t n, size_t bytes, const char *from, int64_t from_step, char *to, int64_t to_step)
{
    if (from_step == 1 && to_step == 1)
        memcpy(to, from, (size_t)n * bytes);
    else if (bytes == 1 || bytes == 4 || bytes == 8)
        hunze_copy_strided(n, (int64_t)bytes, from, from_step, to, to_step);
    else
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * to_step * (int64_t)bytes, from + i * from_step * (int64_t)bytes, bytes);
}

typedef struct copy_job {
    hunze_runs runs;
    size_t bytes;
    const char *from;
    char *to;
} copy_job;

static void copy_chunk(void *user, int64_t index)
{
    const copy_job *job = user;
    const int64_t bytes = (int64_t)job->bytes;
    int64_t offset[HUNZE_RUNS_OPERANDS];
    const int64_t n = hunze_runs_chunk(&job->runs, index, offset);
    hunze_copy_elements(n, job->bytes, job->from + offset[1] * bytes, job->runs.step[1], job->to + offset[0] * bytes,
                        job->runs.step[0]);
}

static hunze_status copy_on_cpu(hunze_context *context, const hunze_tensor *from, const hunze_tensor *to,
                                const hunze_run *run)
{
    int64_t from_strides[HUNZE_MAX_NDIM], to_strides[HUNZE_MAX_NDIM];
    copy_job job = {.bytes = to->dtype.bits / 8u * to->dtype.lanes, .from = hunze_data(from), .to = hunze_data(to)};
    hunze_exec exec = {
        .context = context,
        .threads = run && run->threads ? run->threads : hunze_context_threads(context),
        .run = run,
        .caller = (uintptr_t)pthread_self(),
    };
    hunze_runs_strides(from, from_strides);
    hunze_runs_strides(to, to_strides);
    hunze_runs_make(&job.runs, to->ndim, to->shape, 2, (const int64_t *const[]){to_strides, from_strides});
    if (!hunze_runs_each(&job.runs, &exec, copy_chunk, &job))
        return hunze_fail(HUNZE_ERR_CANCELLED, "the caller's cancel function ended the copy");
    return exec.lost ? hunze_fail(HUNZE_ERR_SYSTEM, "the process was forked in the middle of the copy") : HUNZE_OK;
}

hunze_status hunze_copy(hunze_context *context, const hunze_tensor *from, const hunze_tensor *to, const hunze_run *run)
{
    hunze_device device;
    if (!context)
        return hunze_fail(HUNZE_ERR_NULL, "context is NULL");
    TRY(check(from, to));
    TRY(find_device(from, to, &device));
    if (run)
        TRY(hunze_run_check(run, device));
    if (hunze_count(to) == 0 || same_view(from, to))
        return HUNZE_OK;
    if (hunze_tensors_overlap(from, to))
        return hunze_fail(HUNZE_ERR_ALIAS, "to overlaps from: give it memory of its own");
    if (device.type != HUNZE_DEVICE_CPU)
        return hunze_device_copy(context, from, to, device, run ? run->stream : NULL);
    return copy_on_cpu(context, from, to, run);
}
