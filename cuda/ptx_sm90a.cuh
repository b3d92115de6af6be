/* SPDX-License-Identifier: Apache-2.0 */
/* What ptx.cuh says of compute capability 9.0: barriers in shared memory, copies of tiles by the tensor memory accelerator, products of a
 * warpgroup.  Only kernels whose file's name ends in _sm90a use these names.
 *
 *   barrier_init(barrier, arrivals)     a barrier in shared memory whose phases end with that many arrivals and all bytes that were announced
 *   FENCE_BARRIER_INIT()                then SYNC_BLOCK: other threads, and copies, see initialised barriers
 *   FENCE_ASYNC()                       copies of tiles and products of warpgroups see what this thread stored in shared memory before
 *   BARRIER_ARRIVE(barrier)             what this thread did before is seen after the phase's end
 *   BARRIER_ARRIVE_EXPECT(barrier, n)   the same, and n bytes of copies are announced
 *   BARRIER_WAIT(barrier, parity)       until the phase of that parity has ended; the first phase has parity 0, and that before it, 1, is over
 *   SYNC_NAMED(id, threads)             as many threads meet, in whole warps; id: 1 … 15, threads a constant
 *   uniform(x)                          x, which is the same in all threads of a warp
 *   prefetch_tensor_map(map)            of the kernel's argument
 *   copy_tile_3d(shared, map, barrier, x, y, z)   one thread starts the copy of a box whose first element has these coordinates, x along
 *                                       contiguous elements; zeros where it leaves the operand.  Its bytes, those of the whole box, count in
 *                                       the barrier's phase.  shared: 128-byte aligned, 1024 where the map swizzles
 *   wgmma_descriptor(shared, leading, stride)   where an operand of a product lies, swizzled by 128 bytes; shared is 16-byte aligned in a tile that
 *                                       is 1024-byte aligned.  Contiguous k: stride bytes from 8 rows to the next 8.  Contiguous rows: leading
 *                                       bytes from 64 rows to the next 64, stride bytes from 8 k to the next 8
 *   wgmma_advance(descriptor, bytes)    the same, so many bytes on
 *   WGMMA_FENCE()                       before each group of products: they see what was written to d
 *   wgmma_TYPE_m64nNk16<rows contiguous in a, in b>(d, a, b, accumulate)   d = a * b + (accumulate ? d : 0) is started by a warpgroup.
 *                                       d, in f32: thread t of the warpgroup has row 16 * (t / 32) + t % 32 / 4 + 8 * (i / 2 % 2), column
 *                                       8 * (i / 4) + t % 4 * 2 + i % 2 as d[i]
 *   WGMMA_COMMIT() ends a group of products; WGMMA_WAIT(n) waits until at most n groups of this warpgroup are on their way
 *   wgmma_results(d)                    after that wait, before d is read or its registers are used otherwise
 *   registers_release<n>(), registers_take<n>()   all threads of a warpgroup have n registers from here on
 *   Pointers to barriers and tiles are pointers into SHARED. */
#ifndef HUNZE_PTX_SM90A_CUH
#define HUNZE_PTX_SM90A_CUH

#include "tensor_map.h"

HUNZE_INLINE uint32_t shared_address(const void *shared) { return (uint32_t)__cvta_generic_to_shared(shared); }

HUNZE_INLINE void barrier_init(uint64_t *barrier, uint32_t arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" : : "r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
HUNZE_INLINE void barrier_arrive(uint64_t *barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" : : "r"(shared_address(barrier)) : "memory");
}
HUNZE_INLINE void barrier_arrive_expect(uint64_t *barrier, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 :
                 : "r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}
HUNZE_INLINE void barrier_wait(uint64_t *barrier, uint32_t parity)
{
    uint32_t over;
    do
        asm volatile("{\n"
                     ".reg .pred over;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, over;\n"
                     "}"
                     : "=r"(over)
                     : "r"(shared_address(barrier)), "r"(parity)
                     : "memory");
    while (!over);
}
#define FENCE_BARRIER_INIT() asm volatile("fence.mbarrier_init.release.cluster;" : : : "memory")
#define FENCE_ASYNC() asm volatile("fence.proxy.async.shared::cta;" : : : "memory")
#define BARRIER_ARRIVE(barrier) barrier_arrive(barrier)
#define BARRIER_ARRIVE_EXPECT(barrier, bytes) barrier_arrive_expect(barrier, bytes)
#define BARRIER_WAIT(barrier, parity) barrier_wait(barrier, parity)
#define SYNC_NAMED(id, threads) asm volatile("bar.sync %0, %1;" : : "r"(id), "n"((int)(threads)) : "memory")

HUNZE_INLINE int uniform(int x) { return __shfl_sync(0xFFFFFFFFu, x, 0); }

HUNZE_INLINE void prefetch_tensor_map(const hunze_tensor_map *map)
{
    asm volatile("prefetch.tensormap [%0];" : : "l"(map) : "memory");
}
HUNZE_INLINE void copy_tile_3d(void *shared, const hunze_tensor_map *map, uint64_t *barrier, int32_t x, int32_t y,
                               int32_t z)
{
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
        :
        : "r"(shared_address(shared)), "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
        : "memory");
}

HUNZE_INLINE uint64_t wgmma_descriptor(const void *shared, uint32_t leading_bytes, uint32_t stride_bytes)
{
    return (uint64_t)((shared_address(shared) & 0x3FFFFu) >> 4) | (uint64_t)(leading_bytes >> 4) << 16 |
           (uint64_t)(stride_bytes >> 4) << 32 | (uint64_t)1 << 62;
}
HUNZE_INLINE uint64_t wgmma_advance(uint64_t descriptor, int bytes) { return descriptor + (uint64_t)(bytes >> 4); }

#define WGMMA_FENCE() asm volatile("wgmma.fence.sync.aligned;" : : : "memory")
#define WGMMA_COMMIT() asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory")
#define WGMMA_WAIT(pending) asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(pending) : "memory")
template <int count> HUNZE_INLINE void wgmma_results(float (&d)[count])
{
#pragma unroll
    for (int i = 0; i < count; i++)
        asm volatile("" : "+f"(d[i]) : : "memory");
}

/* clang-format off */
#define HUNZE_8_OPERANDS(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define HUNZE_64_OPERANDS(i) HUNZE_8_OPERANDS(i), HUNZE_8_OPERANDS(i + 8), HUNZE_8_OPERANDS(i + 16), HUNZE_8_OPERANDS(i + 24), \
                             HUNZE_8_OPERANDS(i + 32), HUNZE_8_OPERANDS(i + 40), HUNZE_8_OPERANDS(i + 48), HUNZE_8_OPERANDS(i + 56)
#define HUNZE_WGMMA_N256(name, types) \
    template <bool TRANSPOSE_A, bool TRANSPOSE_B> \
    HUNZE_INLINE void name(float (&d)[128], uint64_t a, uint64_t b, bool accumulate) \
    { \
        asm volatile("{\n" \
                     ".reg .pred accumulates;\n" \
                     "setp.ne.b32 accumulates, %130, 0;\n" \
                     "wgmma.mma_async.sync.aligned.m64n256k16.f32." types " {" \
                     "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
                     "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
                     "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
                     "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
                     "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
                     "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
                     "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, " \
                     "%128, %129, accumulates, 1, 1, %131, %132;\n" \
                     "}" \
                     : HUNZE_64_OPERANDS(0), HUNZE_64_OPERANDS(64) \
                     : "l"(a), "l"(b), "r"((int)accumulate), "n"(TRANSPOSE_A), "n"(TRANSPOSE_B)); \
    }
HUNZE_WGMMA_N256(wgmma_bf16_m64n256k16, "bf16.bf16")
HUNZE_WGMMA_N256(wgmma_f16_m64n256k16, "f16.f16")
/* clang-format on */

template <int count> HUNZE_INLINE void registers_release()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" : : "n"(count));
}
template <int count> HUNZE_INLINE void registers_take()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" : : "n"(count));
}

#endif
