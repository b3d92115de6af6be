/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs timed by the device's events in interleaved rounds, so that what changes with time (clocks, heat) meets all of them alike. */
#ifndef HUNZE_TESTS_GPU_ROUNDS_H
#define HUNZE_TESTS_GPU_ROUNDS_H

#include <stdbool.h>

enum { GPU_ROUNDS = 7 };

typedef struct gpu_job {
    char name[112];
    const char *kernel;                               /* NULL: not one of the library's */
    void (*run)(const struct gpu_job *job, int turn); /* gives it to the stream once */
    void *self;
    double operations, bytes; /* of a run: what it computes, and must at least read and write */
    int peak;                 /* of the operations: an index into gpu_ceilings; below 0: none */
    const char *checked;      /* how its result compares with the CPU's */

    long count; /* runs in a round */
    double rounds[GPU_ROUNDS];
    double seconds, spread; /* of a run: the median, and (largest - smallest) / median */
} gpu_job;

/* Fills in count, rounds, seconds and spread of those that have a `run`.  A round of a job takes `target` seconds, one run at least. */
void gpu_time(gpu_job *jobs, int count, double target, void *stream);

double gpu_median(double *values, int count); /* sorts them */
double gpu_now(void);                         /* seconds of the CPU's clock */

#endif
