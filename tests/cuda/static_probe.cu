/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of known content: static_kernels.py counts in them what they are named after, and must find fault with the last three.  Not
 * for running. */
#include "../../cuda/ptx.cuh"

struct probe {
    float *f;
    double *d;
    uint32_t *u;
    int n;
};
struct probe_shared {
    float f[256];
};
#define PROBE(name) KERNEL(name, 256, 1, probe)
#define REPEAT(count) _Pragma("unroll") for (int i = 0; i < (count); i++)

PROBE(hunze_probe_ffma_37)
{
    float sum = load_global(arguments.f);
    REPEAT(37) sum = fma_rn(sum, sum, 3.0f);
    store_global(arguments.f, sum);
}

PROBE(hunze_probe_dfma_37)
{
    double sum = load_global(arguments.d);
    REPEAT(37) sum = fma_rn(sum, sum, 3.0);
    store_global(arguments.d, sum);
}

PROBE(hunze_probe_idp_13)
{
    int32_t sum = 0;
    REPEAT(13) sum = dot4_u8s8(load_global(arguments.u + i), load_global(arguments.u + 20 + i), sum);
    store_global(arguments.u, (uint32_t)sum);
}

PROBE(hunze_probe_imma_12)
{
    const uint32_t a[4] = {1, 2, 3, load_global(arguments.u)}, b[2] = {5, 6};
    int32_t sums[4] = {0, 0, 0, 0};
    REPEAT(7) mma_u8s8(sums, a, b);
    REPEAT(5) mma_s8s8(sums, a, b);
    store_global(arguments.u, (uint32_t)(sums[0] + sums[1] + sums[2] + sums[3]));
}

PROBE(hunze_probe_hmma_6)
{
    const uint32_t a = load_global(arguments.u);
    float sums[4] = {0, 0, 0, 0};
    REPEAT(6)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%4,%4,%4}, {%4,%4}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a));
    store_global(arguments.f, sums[0] + sums[1] + sums[2] + sums[3]);
}

PROBE(hunze_probe_dmma_9)
{
    const double a = load_global(arguments.d);
    double sums[2] = {0, 0};
    REPEAT(9)
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%2}, {%0,%1};"
                 : "+d"(sums[0]), "+d"(sums[1])
                 : "d"(a));
    store_global(arguments.d, sums[0] + sums[1]);
}

PROBE(hunze_probe_ldgsts_11)
{
    probe_shared &shared = SHARED(probe_shared);
    REPEAT(11) copy_async<16>(&shared.f[i * 4], arguments.f + i * 4, i < arguments.n);
    copy_async_commit();
    copy_async_wait<0>();
    SYNC_BLOCK();
    store_global(arguments.f + thread_index(), load_shared(&shared.f[thread_index()]));
}

PROBE(hunze_probe_ldsm_5)
{
    probe_shared &shared = SHARED(probe_shared);
    uint32_t word, sum = 0;
    REPEAT(5)
    {
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                     : "=r"(word)
                     : "r"((uint32_t)__cvta_generic_to_shared(&shared.f[i * 32])));
        sum ^= word;
    }
    store_global(arguments.u, sum);
}

/* More values at once than a thread has registers: it must not read them twice. */
PROBE(hunze_probe_spills)
{
    const volatile float *from = arguments.f;
    float values[320];
    REPEAT(320) values[i] = from[i * 256 + thread_index()];
    SYNC_BLOCK();
    REPEAT(320) store_global(arguments.f + i * 512 + thread_index(), values[i] * values[(7 * i + 3) % 320]);
}

/* An array whose index is known at run time only. */
PROBE(hunze_probe_local)
{
    float values[512];
    REPEAT(512) values[i] = 0.0f;
    for (int i = 0; i < arguments.n; i++)
        values[load_global(arguments.u + i)] += load_global(arguments.f + i);
    store_global(arguments.f, values[arguments.n]);
}

struct probe_large {
    float f[30000];
};
/* More shared memory than a block may have on every device. */
PROBE(hunze_probe_large)
{
    probe_large &shared = SHARED(probe_large);
    store_shared(&shared.f[arguments.n], 1.0f);
    SYNC_BLOCK();
    store_global(arguments.f, load_shared(&shared.f[thread_index()]));
}
