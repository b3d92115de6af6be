/* Binds the names vi, vi_…, scalar and sum to s16, s32 or s64, so that a body serves all: define HUNZE_INTEGER_BITS as 16, 32 or 64 in the
 * kernel's file before its body is included.  A sum is what holds a lane's sum of products: a vector, or more where an instruction set has no
 * product of 64 bits.  All wraps. */
#ifndef HUNZE_INTEGER_TYPE_H
#define HUNZE_INTEGER_TYPE_H

#if HUNZE_INTEGER_BITS == 16
typedef int16_t scalar;
typedef uint32_t modular; /* as C computes with them, without overflow */
typedef vi16 vi;
enum { VI_LANES = VI16_LANES };
#define vi_set1 vi16_set1
#define vi_load vi16_load
#define vi_store vi16_store
#define vi_add vi16_add
#elif HUNZE_INTEGER_BITS == 32
typedef int32_t scalar;
typedef uint32_t modular;
typedef vi32 vi;
enum { VI_LANES = VI32_LANES };
#define vi_set1 vi32_set1
#define vi_load vi32_load
#define vi_store vi32_store
#define vi_add vi32_add
#elif HUNZE_INTEGER_BITS == 64
typedef int64_t scalar;
typedef uint64_t modular;
typedef vi64 vi;
enum { VI_LANES = VI64_LANES };
#define vi_set1 vi64_set1
#define vi_load vi64_load
#define vi_store vi64_store
#define vi_add vi64_add
#else
#error "define HUNZE_INTEGER_BITS as 16, 32 or 64"
#endif

#if HUNZE_INTEGER_BITS == 64
typedef vi64_sum sum;
#define sum_of vi64_sum_of
#define sum_add_product vi64_sum_add_product
#define sum_value vi64_sum_value
#else
typedef vi sum;
SIMD_INLINE sum sum_of(vi v) { return v; }
#if HUNZE_INTEGER_BITS == 16
SIMD_INLINE sum sum_add_product(sum s, vi a, vi b) { return vi16_add(s, vi16_mul(a, b)); }
#else
SIMD_INLINE sum sum_add_product(sum s, vi a, vi b) { return vi32_add(s, vi32_mul(a, b)); }
#endif
SIMD_INLINE vi sum_value(sum s) { return s; }
#endif

#endif
