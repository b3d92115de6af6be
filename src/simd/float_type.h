/* Binds the names vf, vf_…, scalar and vbits to f32 or f64, so that a body serves both: define HUNZE_FLOAT_BITS as 32 or 64 in
 * the kernel's file before its body is included.  One binding per file. */
#ifndef HUNZE_FLOAT_TYPE_H
#define HUNZE_FLOAT_TYPE_H

#if HUNZE_FLOAT_BITS == 32
typedef float scalar;
typedef vf32 vf;
typedef vi32 vbits;
enum { VF_LANES = VF32_LANES };
#define vf_set1 vf32_set1
#define vf_load vf32_load
#define vf_store vf32_store
#define vf_load_first vf32_load_first
#define vf_store_first vf32_store_first
#define vf_store_parts vf32_store_parts
#define vf_half_load_first vf32_half_load_first
#define vf_half_store_first vf32_half_store_first
#define vf_half_fma vf32_half_fma
#define vf_half_set1 vf32_half_set1
#define vf_add vf32_add
#define vf_sub vf32_sub
#define vf_mul vf32_mul
#define vf_div vf32_div
#define vf_fma vf32_fma
#define vf_select_lt vf32_select_lt
#define vf_select_nan vf32_select_nan
#define vf_transpose vf32_transpose
#define vf_bits vf32_bits
#define vf_from_bits vf32_from_bits
#define vbits_set1 vi32_set1
#define vbits_add vi32_add
#define vbits_sub vi32_sub
#define vbits_and vi32_and
#define vbits_or vi32_or
#define vbits_xor vi32_xor
#define vbits_shift_left vi32_shift_left
#elif HUNZE_FLOAT_BITS == 64
typedef double scalar;
typedef vf64 vf;
typedef vi64 vbits;
enum { VF_LANES = VF64_LANES };
#define vf_set1 vf64_set1
#define vf_load vf64_load
#define vf_store vf64_store
#define vf_load_first vf64_load_first
#define vf_store_first vf64_store_first
#define vf_store_parts vf64_store_parts
#define vf_half_load_first vf64_half_load_first
#define vf_half_store_first vf64_half_store_first
#define vf_half_fma vf64_half_fma
#define vf_half_set1 vf64_half_set1
#define vf_add vf64_add
#define vf_sub vf64_sub
#define vf_mul vf64_mul
#define vf_div vf64_div
#define vf_fma vf64_fma
#define vf_select_lt vf64_select_lt
#define vf_select_nan vf64_select_nan
#define vf_transpose vf64_transpose
#define vf_bits vf64_bits
#define vf_from_bits vf64_from_bits
#define vbits_set1 vi64_set1
#define vbits_add vi64_add
#define vbits_sub vi64_sub
#define vbits_and vi64_and
#define vbits_or vi64_or
#define vbits_xor vi64_xor
#define vbits_shift_left vi64_shift_left
#else
#error "define HUNZE_FLOAT_BITS as 32 or 64"
#endif

#endif
