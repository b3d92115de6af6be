/* Activations and the elementary functions under them: polynomials of explicit fma and IEEE division, no libm and no approximate
 * instruction, so that each vocabulary gives the same bits.  Include float_type.h first.
 *
 * Coefficients: minimax (Remez exchange, 50 digits) for the ranges named; largest errors of the results: docs/NUMERICS.md. */
#ifndef HUNZE_ACTIVATION_H
#define HUNZE_ACTIVATION_H

#include "../kernels.h"

#if HUNZE_FLOAT_BITS == 32
enum { EXPONENT_SHIFT = 23 };
#define ONE_BITS 0x3F800000
#define SIGN_BITS INT32_MIN
#define NAN_BITS 0x7FC00000
static const scalar round_magic = 0x1.8p23f; /* adding it leaves the nearest integer in the low bits */
static const scalar log2_e = 0x1.715476p0f;
static const scalar ln2_high = 0x1.62e400p-1f, ln2_low = 0x1.7f7d1cp-20f; /* high * integer is exact */
static const scalar exp_lowest = -104.0f, exp_highest = 89.0f;            /* beyond: 0 and Inf */
/* (exp(r) - 1 - r) / r^2,  |r| <= ln(2)/2 */
SIMD_CONSTANT scalar exp_q[] = {0x1.fffffcp-2f, 0x1.55549p-3f, 0x1.5558f4p-5f, 0x1.123a6ap-7f, 0x1.6a2384p-10f};
/* (tanh(x)/x - 1) / z,  z = x^2 <= 0.55^2 */
SIMD_CONSTANT scalar tanh_q[] = {-0x1.55554cp-2f, 0x1.110d3cp-3f, -0x1.b92bb8p-5f, 0x1.595682p-6f, -0x1.9bba5ap-8f};
/* erf(x)/x - 1,  z = x^2 <= 1 */
SIMD_CONSTANT scalar erf_q[] = {0x1.06eba8p-3f, -0x1.81273ep-2f, 0x1.ce2cf8p-4f, -0x1.b7f90cp-6f,
                                0x1.5405bp-8f,  -0x1.a3f6fp-11f, 0x1.496a02p-14f};
/* -log(erfc(x)),  1 <= x <= 4 */
SIMD_CONSTANT scalar erfc_log[] = {0x1.72e8bep-12f, 0x1.2085b2p0f, 0x1.46c586p-1f, 0x1.a60a72p-4f,
                                   -0x1.6541fap-6f, 0x1.814c8p-9f, -0x1.852cap-13f};
static const scalar erf_highest = 4.0f;
#else
enum { EXPONENT_SHIFT = 52 };
#define ONE_BITS 0x3FF0000000000000
#define SIGN_BITS INT64_MIN
#define NAN_BITS 0x7FF8000000000000
static const scalar round_magic = 0x1.8p52;
static const scalar log2_e = 0x1.71547652b82fep0;
static const scalar ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b39p-40;
static const scalar exp_lowest = -746.0, exp_highest = 710.0;
SIMD_CONSTANT scalar exp_q[] = {
    0x1.000000000000ap-1,  0x1.55555555554f9p-3,  0x1.55555555507f0p-5,  0x1.1111111127e5ep-7,  0x1.6c16c1844b1dbp-10,
    0x1.a01a0129be945p-13, 0x1.a01999ad7db59p-16, 0x1.71df26191550dp-19, 0x1.28adcebdeeb02p-22, 0x1.ad7f1d087f174p-26};
SIMD_CONSTANT scalar tanh_q[] = {-0x1.5555555555555p-2,  0x1.11111111110b4p-3,   -0x1.ba1ba1ba14728p-5,
                                 0x1.664f488085649p-6,   -0x1.226e34f626a1ep-7,  0x1.d6d3b89cb6eadp-9,
                                 -0x1.7da180b1e6048p-10, 0x1.353e535a7dd2ep-11,  -0x1.f39604c604d7fp-13,
                                 0x1.8a3102ca2b583p-14,  -0x1.14b29eebf31dfp-15, 0x1.f491fe0e3c3ecp-18};
SIMD_CONSTANT scalar erf_q[] = {0x1.06eba8214db69p-3,   -0x1.812746b0379e7p-2,  0x1.ce2f21a042bddp-4,
                                -0x1.b82ce3128899bp-6,  0x1.565bcd0e64ab7p-8,   -0x1.c02db3fed8f60p-11,
                                0x1.f9a326bfb701bp-14,  -0x1.f4d255e1445e8p-17, 0x1.b9e64d079f4f2p-20,
                                -0x1.5f6d6b4fafeb5p-23, 0x1.fc4116f96095ep-27,  -0x1.4e55cc07a0aebp-30,
                                0x1.7ecbf3f4c8e82p-34,  -0x1.2928e9b11d11cp-38};
/* 1 <= x <= 6 */
SIMD_CONSTANT scalar erfc_log[] = {0x1.1391770e1d6dep-21,  0x1.20dd1e2e339a3p+0,   0x1.45f635b86e138p-1,
                                   0x1.a4ab268a7504ep-4,   -0x1.371993c042081p-6,  -0x1.b1a3c7fcf8affp-12,
                                   0x1.f70b4c3c91679p-10,  -0x1.954dca8725f1ap-11, 0x1.1e645dba941aap-13,
                                   0x1.477c4a59ccc29p-16,  -0x1.7a047b08b2880p-16, 0x1.1fd7ba06ea867p-17,
                                   -0x1.1bd49a037ec4ep-19, 0x1.8ccc5dc406f09p-22,  -0x1.8a8abf66697e0p-25,
                                   0x1.0b4dbd98e146ap-28,  -0x1.bc3f9fe095f6fp-33, 0x1.5653681e5e74ap-38};
static const scalar erf_highest = 6.0;
#endif

/* q[0] + q[1] x + …, Horner. */
#define POLYNOMIAL(x, q) polynomial(x, q, sizeof(q) / sizeof((q)[0]))
SIMD_INLINE vf polynomial(vf x, const scalar *q, int count)
{
    vf sum = vf_set1(q[count - 1]);
    SIMD_UNROLL(32)
    for (int i = count - 2; i >= 0; i--)
        sum = vf_fma(sum, x, vf_set1(q[i]));
    return sum;
}

SIMD_INLINE vf vf_negate(vf x) { return vf_from_bits(vbits_xor(vf_bits(x), vbits_set1(SIGN_BITS))); }
SIMD_INLINE vf vf_negative_magnitude(vf x) { return vf_from_bits(vbits_or(vf_bits(x), vbits_set1(SIGN_BITS))); }
SIMD_INLINE vf vf_magnitude(vf x) { return vf_negate(vf_negative_magnitude(x)); }
SIMD_INLINE vf vf_copy_sign(vf magnitude, vf sign)
{
    return vf_from_bits(vbits_or(vf_bits(magnitude), vbits_and(vf_bits(sign), vbits_set1(SIGN_BITS))));
}
/* 2^k; shifted = k + round_magic. */
SIMD_INLINE vf vf_power_of_two(vf shifted)
{
    return vf_from_bits(vbits_add(vbits_shift_left(vf_bits(shifted), EXPONENT_SHIFT), vbits_set1(ONE_BITS)));
}
/* NaN stays NaN in both: a comparison with it is false. */
SIMD_INLINE vf vf_at_least(vf x, vf lowest) { return vf_select_lt(x, lowest, lowest, x); }
SIMD_INLINE vf vf_at_most(vf x, vf highest) { return vf_select_lt(highest, x, highest, x); }

/* exp(x) = p 2^n: returns p, in about [0.7, 1.42]. */
SIMD_INLINE vf vf_exp_parts(vf x, vf *n)
{
    const vf magic = vf_set1(round_magic);
    *n = vf_sub(vf_fma(x, vf_set1(log2_e), magic), magic);
    vf r = vf_fma(*n, vf_set1(-ln2_low), vf_fma(*n, vf_set1(-ln2_high), x));
    return vf_add(vf_fma(vf_mul(r, r), POLYNOMIAL(r, exp_q), r), vf_set1(1));
}

SIMD_INLINE vf vf_exp(vf x)
{
    const vf magic = vf_set1(round_magic);
    vf n, p = vf_exp_parts(vf_at_most(vf_at_least(x, vf_set1(exp_lowest)), vf_set1(exp_highest)), &n);
    /* 2^n in two exact halves, so that only the last product rounds where the result is denormal. */
    vf half_shifted = vf_fma(n, vf_set1((scalar)0.5), magic);
    vf rest = vf_sub(n, vf_sub(half_shifted, magic));
    return vf_mul(vf_mul(p, vf_power_of_two(half_shifted)), vf_power_of_two(vf_add(rest, magic)));
}

/* 1 - exp(x) where exp(x) is no denormal and does not overflow: 2^n is one factor. */
SIMD_INLINE vf vf_one_minus_exp(vf x)
{
    vf n, p = vf_exp_parts(x, &n);
    return vf_sub(vf_set1(1), vf_mul(p, vf_power_of_two(vf_add(n, vf_set1(round_magic)))));
}

/* 1 / (1 + exp(-x)) by exp(-|x|), which cannot overflow. */
SIMD_INLINE vf vf_sigmoid(vf x)
{
    vf e = vf_exp(vf_negative_magnitude(x));
    return vf_div(vf_select_lt(x, vf_set1(0), e, vf_set1(1)), vf_add(vf_set1(1), e));
}

SIMD_INLINE vf vf_tanh(vf x)
{
    vf z = vf_mul(x, x), e = vf_exp(vf_mul(vf_set1(-2), vf_magnitude(x)));
    vf small = vf_fma(vf_mul(z, x), POLYNOMIAL(z, tanh_q), x);
    vf large = vf_div(vf_sub(vf_set1(1), e), vf_add(vf_set1(1), e));
    /* Also where small is +0 for x = -0. */
    return vf_copy_sign(vf_select_lt(vf_magnitude(x), vf_set1((scalar)0.55), small, large), x);
}

SIMD_INLINE vf vf_erf(vf x)
{
    vf magnitude = vf_magnitude(x), z = vf_mul(x, x), bounded = vf_at_most(magnitude, vf_set1(erf_highest));
    vf small = vf_fma(x, POLYNOMIAL(z, erf_q), x);
    vf large = vf_copy_sign(vf_one_minus_exp(vf_negate(POLYNOMIAL(bounded, erfc_log))), x);
    return vf_select_lt(magnitude, vf_set1(1), small, large);
}

typedef struct vf_activation {
    hunze_activation_kind kind;
    vf alpha, beta;
} vf_activation;

SIMD_INLINE vf_activation vf_activation_of(hunze_activation_kind kind, float alpha, float beta)
{
    vf_activation act = {kind, vf_set1((scalar)alpha), vf_set1((scalar)beta)};
    if (kind == HUNZE_ACT_HARDSIGMOID && alpha == 0 && beta == 0) {
        act.alpha = vf_set1((scalar)1 / 6);
        act.beta = vf_set1((scalar)0.5);
    }
    return act;
}

/* The kind is the same for a whole call, so where it is no constant the branch is always predicted. */
SIMD_INLINE vf vf_activate(const vf_activation *act, vf x)
{
    const vf zero = vf_set1(0), one = vf_set1(1), half = vf_set1((scalar)0.5);
    switch (act->kind) {
    case HUNZE_ACT_NONE: return x;
    case HUNZE_ACT_RELU: return vf_at_least(x, zero);
    case HUNZE_ACT_RELU6: return vf_at_most(vf_at_least(x, zero), vf_set1(6));
    case HUNZE_ACT_GELU:
        return vf_mul(vf_mul(x, half), vf_add(one, vf_erf(vf_mul(x, vf_set1((scalar)0.70710678118654752440)))));
    case HUNZE_ACT_GELU_TANH: {
        /* x/2 (1 + tanh u) = x sigmoid(2u), which keeps its digits for negative x */
        vf twice_u = vf_mul(vf_mul(x, vf_set1((scalar)1.5957691216057307)),
                            vf_fma(vf_mul(x, x), vf_set1((scalar)0.044715), one));
        return vf_mul(x, vf_sigmoid(twice_u));
    }
    case HUNZE_ACT_SILU: return vf_mul(x, vf_sigmoid(x));
    case HUNZE_ACT_SIGMOID: return vf_sigmoid(x);
    case HUNZE_ACT_HARDSIGMOID: return vf_at_most(vf_at_least(vf_fma(act->alpha, x, act->beta), zero), one);
    case HUNZE_ACT_HARDSWISH:
        return vf_mul(x, vf_at_most(vf_at_least(vf_fma(x, vf_set1((scalar)1 / 6), half), zero), one));
    case HUNZE_ACT_TANH: return vf_tanh(x);
    case HUNZE_ACT_LEAKY_RELU: return vf_select_lt(x, zero, vf_mul(act->alpha, x), x);
    case HUNZE_ACT_CLIP: return vf_at_most(vf_at_least(x, act->alpha), act->beta);
    }
    return x;
}

SIMD_INLINE vf vf_canonical_nan(vf x) { return vf_select_nan(x, vf_from_bits(vbits_set1(NAN_BITS)), x); }

#endif
