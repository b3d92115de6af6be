/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_rounds.h"

#include "gpu_image.h"

#include <stdlib.h>
#include <time.h>

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double gpu_median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return values[count / 2];
}

double gpu_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Seconds of `count` runs on the device. */
static double seconds_of(const gpu_job *job, long count, CUevent begin, CUevent end, void *stream)
{
    float milliseconds;
    NEED(cuEventRecord(begin, stream));
    for (long i = 0; i < count; i++)
        job->run(job, (int)i);
    NEED(cuEventRecord(end, stream));
    NEED(cuEventSynchronize(end));
    NEED(cuEventElapsedTime(&milliseconds, begin, end));
    return milliseconds * 1e-3;
}

void gpu_time(gpu_job *jobs, int count, double target, void *stream)
{
    CUevent begin, end;
    NEED(cuEventCreate(&begin, CU_EVENT_DEFAULT));
    NEED(cuEventCreate(&end, CU_EVENT_DEFAULT));
    for (int i = 0; i < count; i++) {
        if (!jobs[i].run)
            continue;
        seconds_of(&jobs[i], 1, begin, end, stream); /* loads what it needs */
        double took = 0;
        for (jobs[i].count = 1;; jobs[i].count *= 4) {
            took = seconds_of(&jobs[i], jobs[i].count, begin, end, stream);
            if (took > target / 8 || jobs[i].count > 1000)
                break;
        }
        jobs[i].count = took > 0 ? (long)((double)jobs[i].count * target / took) : 1;
        jobs[i].count = jobs[i].count < 1 ? 1 : jobs[i].count > 4000 ? 4000 : jobs[i].count;
    }
    for (int round = 0; round < GPU_ROUNDS; round++)
        for (int i = 0; i < count; i++)
            if (jobs[i].run)
                jobs[i].rounds[round] = seconds_of(&jobs[i], jobs[i].count, begin, end, stream) / (double)jobs[i].count;
    for (int i = 0; i < count; i++) {
        jobs[i].seconds = gpu_median(jobs[i].rounds, GPU_ROUNDS);
        jobs[i].spread =
            jobs[i].seconds > 0 ? (jobs[i].rounds[GPU_ROUNDS - 1] - jobs[i].rounds[0]) / jobs[i].seconds : 0;
    }
    NEED(cuEventDestroy(begin));
    NEED(cuEventDestroy(end));
}
