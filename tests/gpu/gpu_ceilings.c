/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_ceilings.h"

#include "gpu_image.h"
#include "gpu_peaks.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct peak {
    CUkernel kernel;
    unsigned grid[3], shared_bytes;
    hunze_peak_call call;
    size_t bytes;
    void *stream;
} peak;

static void run_copy(const gpu_job *job, int turn)
{
    const peak *p = job->self;
    (void)turn;
    NEED(cuMemcpyAsync((CUdeviceptr)p->call.out, (CUdeviceptr)p->call.in, p->bytes, p->stream));
}

static void run_kernel(const gpu_job *job, int turn)
{
    peak *p = job->self;
    (void)turn;
    gpu_launch(p->kernel, p->grid, HUNZE_PEAK_THREADS, p->shared_bytes, &p->call, p->stream);
}

void gpu_ceilings_make(gpu_job *jobs, const char *images, long bytes, bool small, void *stream)
{
    static const struct {
        const char *name, *kernel;
        double operations; /* of a block and iteration */
    } all[GPU_CEILINGS] = {
        [GPU_COPY] = {"copy by the driver", NULL, 0},
        [GPU_COPY_KERNEL] = {"copy by a kernel", "hunze_peak_copy", 0},
        [GPU_F32] = {"peak of fma, f32", "hunze_peak_f32", 2.0 * HUNZE_PEAK_CHAINS * HUNZE_PEAK_THREADS},
        [GPU_F64] = {"peak of fma, f64", "hunze_peak_f64", 2.0 * HUNZE_PEAK_CHAINS * HUNZE_PEAK_THREADS},
        [GPU_S8] = {"peak of mma.sync, s8", "hunze_peak_s8s8",
                    2.0 * 16 * 8 * 32 * HUNZE_PEAK_PRODUCTS * HUNZE_PEAK_THREADS / 32},
        [GPU_HALF] = {"peak of mma.sync, bf16", "hunze_peak_bf16",
                      2.0 * 16 * 8 * 16 * HUNZE_PEAK_PRODUCTS * HUNZE_PEAK_THREADS / 32},
        [GPU_WGMMA] = {"peak of wgmma, bf16", "hunze_peak_wgmma_bf16", 2.0 * 2 * 64 * 256 * 64},
    };
    enum { WGMMA_BYTES = (2 * 64 + 256) * 128 };
    const CUlibrary libraries[2] = {gpu_load(images, "gpu_peaks.fatbin"), gpu_load(images, "gpu_peaks_sm90a.fatbin")};
    const unsigned blocks = 2 * (unsigned)gpu_attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    CUdeviceptr from, to;
    NEED(cuMemAlloc(&from, (size_t)bytes));
    NEED(cuMemAlloc(&to, (size_t)bytes));
    enum { PART = 1 << 16 };
    static unsigned char part[PART]; /* bytes of numbers below 1, whatever the type */
    for (int i = 0; i < PART; i++)
        part[i] = i % 2 ? (unsigned char)(0x3F - (i >> 3) % 3) : (unsigned char)((uint32_t)i * 2654435761u >> 24);
    for (long at = 0; at < bytes; at += PART)
        NEED(cuMemcpyAsync(from + (size_t)at, at ? from : (CUdeviceptr)part, PART, stream));
    NEED(cuStreamSynchronize(stream));
    for (int i = 0; i < GPU_CEILINGS; i++) {
        peak *p = calloc(1, sizeof *p);
        jobs[i] = (gpu_job){.self = p, .peak = -1};
        *p = (peak){.bytes = (size_t)bytes, .stream = stream, .grid = {blocks, 1, 1}};
        p->call = (hunze_peak_call){(const uint32_t *)from, (uint32_t *)to, small ? 2 : 2000, 0.75, 0.3};
        snprintf(jobs[i].name, sizeof jobs[i].name, "%s", all[i].name);
        p->kernel = all[i].kernel ? gpu_kernel(libraries[i == GPU_WGMMA], all[i].kernel) : NULL;
        if (i == GPU_COPY || p->kernel)
            jobs[i].run = i == GPU_COPY ? run_copy : run_kernel;
        if (i == GPU_COPY_KERNEL) {
            p->call.iterations = bytes / 16;
            p->grid[0] = 8 * blocks;
        }
        if (i == GPU_WGMMA) {
            p->grid[0] = blocks / 2;
            p->shared_bytes = WGMMA_BYTES;
        }
        if (i <= GPU_COPY_KERNEL)
            jobs[i].bytes = 2.0 * (double)bytes;
        else
            jobs[i].operations = all[i].operations * (double)p->call.iterations * p->grid[0];
    }
}

double gpu_ceiling_rate(const gpu_job *jobs, gpu_ceiling ceiling)
{
    const gpu_job *job = &jobs[ceiling];
    double rate = job->seconds > 0 ? (job->operations + job->bytes) / job->seconds : 0;
    if (ceiling == GPU_HALF) {
        const double other = gpu_ceiling_rate(jobs, GPU_WGMMA);
        rate = other > rate ? other : rate;
    }
    if (ceiling == GPU_COPY) {
        const double other = gpu_ceiling_rate(jobs, GPU_COPY_KERNEL);
        rate = other > rate ? other : rate;
    }
    return rate;
}
