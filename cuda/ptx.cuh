/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel says to the machine: each access to shared and global memory, each synchronisation, and each instruction that C++ has no
 * word for.  Kernels use these names and no others, so that the same sources also compile for the emulator (tests/cuda/emulator/), which
 * sees every access and may delay, reorder or leave out any of them.
 *
 *   KERNEL(name, threads, blocks, type)  begins a kernel of one argument, `arguments`; blocks: that shall fit on a multiprocessor
 *   SHARED(type)                         the block's dynamic shared memory as a type, 1024-byte aligned
 *   thread_index(), block_x() …          int; a block has one dimension of threads
 *   SYNC_BLOCK()                         all threads of the block meet; shared memory written before is seen after
 *   INSIDE(condition)                    a condition that keeps an access inside its operand
 *   load_global, store_global, load_shared, store_shared: elements of 1, 2, 4, 8 or 16 bytes, naturally aligned
 *   copy_async<bytes>(shared, global, inside): 4, 8 or 16 bytes, or as many zeros; lands at copy_async_wait, then SYNC_BLOCK shows it to others.
 *                                        Both pointers are aligned to `bytes`, even where nothing is read
 *   copy_async_first<bytes>(shared, global, count): the same of the first `count` bytes, and zeros behind them
 *   copy_async_commit() ends a group; copy_async_wait<n>() waits until at most n groups of this thread are on their way
 *   fma_rn(a, b, c) = a*b + c, add_rn, sub_rn, mul_rn, div_rn: f32 or f64, rounded once; round_even: to an integer
 *   widen_f16(bits), exactly; round_bf16_pair(low, high), round_f16_pair(low, high): f32 to nearest, ties to even, as the halves of a word; a
 *                                        NaN becomes 0x7FFF, what is too large Inf
 *   ptx_sm90a.cuh                        says what there is on compute capability 9.0 only
 * A macro with a condition or a meeting stands for one place in the source: the emulator breaks them one at a time, and a test must notice. */
#ifndef HUNZE_PTX_CUH
#define HUNZE_PTX_CUH

#include <stdint.h>

#if defined(HUNZE_CUDA_EMULATED)
#include "emulator.h"
#else

#define HUNZE_INLINE static __device__ __forceinline__
#define HUNZE_MEMBER __device__ __forceinline__ /* before a function inside a struct */
#define HUNZE_CONSTANT static __device__ __constant__ const

#define KERNEL(name, threads, blocks, type)                                                                            \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ type arguments)

extern __shared__ __align__(1024) unsigned char hunze_shared_bytes[];
/* A note in the PTX says how much it is, for the table of tests/cuda/static_kernels.py. */
template <typename T> HUNZE_INLINE T &hunze_shared_memory()
{
    asm volatile("// hunze_shared %0" : : "n"(sizeof(T)));
    return *reinterpret_cast<T *>(hunze_shared_bytes);
}
#define SHARED(type) hunze_shared_memory<type>()

HUNZE_INLINE int thread_index() { return (int)threadIdx.x; }
HUNZE_INLINE int64_t block_x() { return blockIdx.x; }
HUNZE_INLINE int64_t block_y() { return blockIdx.y; }
HUNZE_INLINE int64_t block_z() { return blockIdx.z; }
HUNZE_INLINE int64_t blocks_x() { return gridDim.x; }

/* x, of which the compiler knows nothing: what follows from it in a loop is computed again and not kept in registers. */
HUNZE_INLINE int anew(int x)
{
    asm volatile("" : "+r"(x));
    return x;
}
HUNZE_INLINE int64_t anew(int64_t x)
{
    asm volatile("" : "+l"(x));
    return x;
}

#define SYNC_BLOCK() __syncthreads()
#define INSIDE(condition) (condition)

template <typename T> HUNZE_INLINE T load_global(const T *p) { return *p; }
template <typename T> HUNZE_INLINE void store_global(T *p, T value) { *p = value; }
template <typename T> HUNZE_INLINE T load_shared(const T *p) { return *p; }
template <typename T> HUNZE_INLINE void store_shared(T *p, T value) { *p = value; }

HUNZE_INLINE float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }
HUNZE_INLINE double fma_rn(double a, double b, double c) { return __fma_rn(a, b, c); }
HUNZE_INLINE float add_rn(float a, float b) { return __fadd_rn(a, b); }
HUNZE_INLINE double add_rn(double a, double b) { return __dadd_rn(a, b); }
HUNZE_INLINE float sub_rn(float a, float b) { return __fsub_rn(a, b); }
HUNZE_INLINE double sub_rn(double a, double b) { return __dsub_rn(a, b); }
HUNZE_INLINE float mul_rn(float a, float b) { return __fmul_rn(a, b); }
HUNZE_INLINE double mul_rn(double a, double b) { return __dmul_rn(a, b); }
HUNZE_INLINE float div_rn(float a, float b) { return __fdiv_rn(a, b); }
HUNZE_INLINE double div_rn(double a, double b) { return __ddiv_rn(a, b); }
HUNZE_INLINE float round_even(float a) { return rintf(a); }

HUNZE_INLINE float widen_f16(uint16_t bits)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(bits));
    return f;
}
HUNZE_INLINE uint32_t round_bf16_pair(float low, float high)
{
    uint32_t word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}
HUNZE_INLINE uint32_t round_f16_pair(float low, float high)
{
    uint32_t word;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}

template <int bytes> HUNZE_INLINE void copy_async_first(void *shared, const void *global, int from_bytes)
{
    const uint32_t to = (uint32_t)__cvta_generic_to_shared(shared);
    if (bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                     :
                     : "r"(to), "l"(global), "r"(from_bytes)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                     :
                     : "r"(to), "l"(global), "n"(bytes), "r"(from_bytes)
                     : "memory");
}
template <int bytes> HUNZE_INLINE void copy_async(void *shared, const void *global, bool inside)
{
    copy_async_first<bytes>(shared, global, inside ? bytes : 0);
}
HUNZE_INLINE void copy_async_commit() { asm volatile("cp.async.commit_group;" : : : "memory"); }
template <int pending> HUNZE_INLINE void copy_async_wait()
{
    asm volatile("cp.async.wait_group %0;" : : "n"(pending) : "memory");
}

/* Of all 32 threads of a warp. */
template <typename T> HUNZE_INLINE T shuffle_xor(T value, int mask)
{
    return __shfl_xor_sync(0xFFFFFFFFu, value, mask);
}

HUNZE_INLINE uint32_t atomic_max_global(uint32_t *p, uint32_t value) { return atomicMax(p, value); }
HUNZE_INLINE uint32_t atomic_or_global(uint32_t *p, uint32_t value) { return atomicOr(p, value); }

/* d += a * b over a warp, m16n8k32: bytes of a (row-major), then of b (column-major), four to a word; PTX ISA, "mma.m16n8k32". */
HUNZE_INLINE void mma_u8s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
HUNZE_INLINE void mma_s8s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/* Four matrices of 8 x 8 elements of 2 bytes: lane 8*i + j gives the address of row j of matrix i, 16-byte aligned.  Of matrix i, d[i] gets
 * elements (lane / 4, lane % 4 * 2) and the next one of that row, or of the matrix's transpose. */
template <bool TRANSPOSED> HUNZE_INLINE void ldmatrix(uint32_t (&d)[4], const void *row)
{
    const uint32_t from = (uint32_t)__cvta_generic_to_shared(row);
    if (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                     : "r"(from)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                     : "r"(from)
                     : "memory");
}

/* d += a * b over a warp, m16n8k16: products are exact, their sum with d is rounded as the device does it; two elements to a word, a
 * row-major, b column-major; PTX ISA, "mma.m16n8k16". */
HUNZE_INLINE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
HUNZE_INLINE void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Byte i is the one of a (0 … 3) or b (4 … 7) that selector's i-th hexadecimal digit from the right names. */
HUNZE_INLINE uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) { return __byte_perm(a, b, selector); }

/* c + the sum of four products of bytes. */
HUNZE_INLINE int32_t dot4_u8s8(uint32_t a, uint32_t b, int32_t c)
{
    int32_t d;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}
HUNZE_INLINE int32_t dot4_s8s8(uint32_t a, uint32_t b, int32_t c)
{
    int32_t d;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

#include "ptx_sm90a.cuh"

#endif

#endif
