/* SPDX-License-Identifier: Apache-2.0 */
/* How tensor cores add, for records of a GPU alone: nobody knows before, so no emulator has these.  A block is (exponent e, position j, way), B is
 * 1, so each element of D is the sum of A's row: 1 + 2^-e; 1 - 2^-e; 1 + 2^-e - 1, whose -1 comes last; -1 + 2^-e to 1 that was in D.  The
 * small one is at k = j.  The bits tell in which order and how wide they are added. */
#include "../../cuda/ptx.cuh"
#include "gpu_fixtures.h"

/* A's element (row, k) of depth, any row. */
static __device__ float element(int k, int depth)
{
    const float small = ldexpf(block_z() == 1 ? -1.0f : 1.0f, -(int)block_x());
    if (k == (int)block_y() + 1)
        return small;
    return k == 0 ? (block_z() == 3 ? -1.0f : 1.0f) : k == depth - 1 && block_z() == 2 ? -1.0f : 0.0f;
}
static __device__ float before() { return block_z() == 3 ? 1.0f : 0.0f; }
static __device__ uint32_t two(bool bfloat, float low, float high)
{
    uint32_t word;
    if (bfloat)
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    else
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}
static __device__ void keep(const hunze_fixture_call &call, float value)
{
    const int64_t at = (block_z() * gridDim.y + block_y()) * gridDim.x + block_x();
    if (thread_index() == 0)
        store_global(call.out + at, __float_as_uint(value));
}

/* m16n8k16; a register holds columns 2t and 2t + 1 of the thread t of four, then those + 8. */
KERNEL(hunze_sums_bf16, 32, 1, hunze_fixture_call)
{
    const int k = thread_index() % 4 * 2;
    const uint32_t left = two(true, element(k, 16), element(k + 1, 16)),
                   right = two(true, element(k + 8, 16), element(k + 9, 16));
    const uint32_t ones = two(true, 1.0f, 1.0f);
    float d[4] = {before(), before(), before(), before()};
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%4,%5,%5}, {%6,%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(left), "r"(right), "r"(ones));
    keep(arguments, d[0]);
}
KERNEL(hunze_sums_f16, 32, 1, hunze_fixture_call)
{
    const int k = thread_index() % 4 * 2;
    const uint32_t left = two(false, element(k, 16), element(k + 1, 16)),
                   right = two(false, element(k + 8, 16), element(k + 9, 16));
    const uint32_t ones = two(false, 1.0f, 1.0f);
    float d[4] = {before(), before(), before(), before()};
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%4,%5,%5}, {%6,%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(left), "r"(right), "r"(ones));
    keep(arguments, d[0]);
}
/* m16n8k8; columns t, then t + 4. */
KERNEL(hunze_sums_tf32, 32, 1, hunze_fixture_call)
{
    const int k = thread_index() % 4;
    const uint32_t left = __float_as_uint(element(k, 8)), right = __float_as_uint(element(k + 4, 8)),
                   one = __float_as_uint(1.0f);
    float d[4] = {before(), before(), before(), before()};
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%4,%5,%5}, {%6,%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(left), "r"(right), "r"(one));
    keep(arguments, d[0]);
}

/* m8n8k4 in f64 beside the chain of fma in ascending k, over values of any size: 0 where they have the same bits.  Each block has its
 * own values, made from its index. */
static __device__ double value(uint32_t seed)
{
    for (int i = 0; i < 4; i++)
        seed = seed * 747796405u + 2891336453u;
    return ldexp((double)(int32_t)seed, (int)(seed >> 7 & 31) - 16);
}
KERNEL(hunze_sums_f64, 32, 1, hunze_fixture_call)
{
    const uint32_t seed = (uint32_t)block_x() * 16;
    const int k = thread_index() % 4;
    const double a = value(seed + k), b = value(seed + 4 + k), c = value(seed + 8);
    double d[2] = {c, c}, chain = c;
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
                 : "+d"(d[0]), "+d"(d[1])
                 : "d"(a), "d"(b));
    for (int i = 0; i < 4; i++)
        chain = fma_rn(value(seed + i), value(seed + 4 + i), chain);
    if (thread_index() == 0)
        store_global(arguments.out + block_x(), (uint32_t)(__double_as_longlong(chain) != __double_as_longlong(d[0])));
}
