/* Binds narrow, vf_load_narrow, … to bf16 or f16, whose arithmetic is f32's: define HUNZE_NARROW_BF16 or HUNZE_NARROW_F16 in the kernel's file before
 * this header, which stands behind float_type.h. */
#ifndef HUNZE_NARROW_TYPE_H
#define HUNZE_NARROW_TYPE_H

typedef uint16_t narrow;
#if defined(HUNZE_NARROW_BF16)
#define vf_load_narrow vf32_load_bf16
#define vf_load_narrow_first vf32_load_bf16_first
#define vf_store_narrow vf32_store_bf16
#define vf_store_narrow_first vf32_store_bf16_first
#elif defined(HUNZE_NARROW_F16)
#define vf_load_narrow vf32_load_f16
#define vf_load_narrow_first vf32_load_f16_first
#define vf_store_narrow vf32_store_f16
#define vf_store_narrow_first vf32_store_f16_first
#else
#error "define HUNZE_NARROW_BF16 or HUNZE_NARROW_F16"
#endif

#endif
