/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the largest error of each activation: "type kind ulp at ulp_near at_near" per line, for tools/activation_table.py.
 * Every row has the same bits (test_activation_bits), so one that this CPU can run is measured.
 *
 *   activation_errors [--all]     f32 over every 1009th input, or over all 2^32; f64 over samples
 *
 * The reference is the C library's, in the next wider type: double for f32, long double for f64. */
#include "activation_case.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 4096, STEP = 1009, F64_CHUNKS = 288, NEAR = 5 };

/* The largest error so far: over all inputs, and where |x| <= NEAR. */
typedef struct worst {
    double ulp, at, ulp_near, at_near;
} worst;

/* One text for both reference types; real is the type, R(f) its function f.
 * Errors in units in the last place of the result; of the larger of the result and half the input (hardsigmoid: a half) for those
 * that cancel near their zeros: gelu, hardswish, hardsigmoid. */
#define DEFINE_MEASURE(name, real, element, digits, lowest, R)                                                         \
    static real name##_exact(hunze_activation_kind kind, real x, const hunze_float_epilogue *e)                        \
    {                                                                                                                  \
        switch (kind) {                                                                                                \
        case HUNZE_ACT_RELU: return x < 0 ? 0 : x;                                                                     \
        case HUNZE_ACT_RELU6: return x < 0 ? 0 : x > 6 ? 6 : x;                                                        \
        case HUNZE_ACT_GELU: return x / 2 * R(erfc)(-x * (real)0.70710678118654752440084436210485L);                   \
        case HUNZE_ACT_GELU_TANH: {                                                                                    \
            const real u = (real)0.79788456080286535587989211986876L * (x + (real)0.044715L * x * x * x);              \
            return isinf(u) ? (u > 0 ? x : 0) : x / (1 + R(exp)(-2 * u));                                              \
        }                                                                                                              \
        case HUNZE_ACT_SILU: return x / (1 + R(exp)(-x));                                                              \
        case HUNZE_ACT_SIGMOID: return 1 / (1 + R(exp)(-x));                                                           \
        case HUNZE_ACT_HARDSIGMOID: {                                                                                  \
            const real y = x / 6 + (real)0.5;                                                                          \
            return y < 0 ? 0 : y > 1 ? 1 : y;                                                                          \
        }                                                                                                              \
        case HUNZE_ACT_HARDSWISH: {                                                                                    \
            const real y = x / 6 + (real)0.5;                                                                          \
            return y < 0 ? 0 : y > 1 ? x : x * y;                                                                      \
        }                                                                                                              \
        case HUNZE_ACT_TANH: return R(tanh)(x);                                                                        \
        case HUNZE_ACT_LEAKY_RELU: return x < 0 ? (real)e->alpha * x : x;                                              \
        case HUNZE_ACT_CLIP: return x < e->alpha ? e->alpha : x > e->beta ? e->beta : x;                               \
        default: return x;                                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    static void name(hunze_activation_kind kind, const hunze_float_epilogue *e, const element *x, const element *y,    \
                     worst *most)                                                                                      \
    {                                                                                                                  \
        for (int i = 0; i < CHUNK; i++) {                                                                              \
            if (!isfinite(x[i]))                                                                                       \
                continue; /* test_activation_bits holds these */                                                       \
            const real want = name##_exact(kind, x[i], e);                                                             \
            real size = R(fabs)(want);                                                                                 \
            if (kind == HUNZE_ACT_GELU || kind == HUNZE_ACT_HARDSWISH)                                                 \
                size = R(fmax)(size, R(fabs)((real)x[i]) / 2);                                                         \
            if (kind == HUNZE_ACT_HARDSIGMOID)                                                                         \
                size = R(fmax)(size, (real)0.5);                                                                       \
            const real error = R(fabs)(y[i] - want);                                                                   \
            if (error == 0)                                                                                            \
                continue;                                                                                              \
            const int exponent = size == 0 ? lowest : R(ilogb)(size) + 1 - digits;                                     \
            const double ulp = (double)(error / R(ldexp)(1, exponent < lowest ? lowest : exponent));                   \
            if (ulp > most->ulp) {                                                                                     \
                most->ulp = ulp;                                                                                       \
                most->at = x[i];                                                                                       \
            }                                                                                                          \
            if (ulp > most->ulp_near && x[i] >= -NEAR && x[i] <= NEAR) {                                               \
                most->ulp_near = ulp;                                                                                  \
                most->at_near = x[i];                                                                                  \
            }                                                                                                          \
        }                                                                                                              \
    }
#define IN_DOUBLE(f) f
#define IN_LONG_DOUBLE(f) f##l
DEFINE_MEASURE(measure_f32, double, float, FLT_MANT_DIG, -149, IN_DOUBLE)
DEFINE_MEASURE(measure_f64, long double, double, DBL_MANT_DIG, -1074, IN_LONG_DOUBLE)

/* f32: every step-th bit pattern.  f64, in turn: any bit pattern, |x| < 12, |x| < 800 (where exp leaves the normal numbers). */
static void fill(hunze_type type, uint64_t chunk, uint64_t step, void *x)
{
    for (int i = 0; i < CHUNK; i++) {
        if (type == HUNZE_TYPE_F32) {
            ((uint32_t *)x)[i] = (uint32_t)((chunk * CHUNK + (uint64_t)i) * step);
            continue;
        }
        harness_rng rng = {chunk * CHUNK + (uint64_t)i};
        const uint64_t bits = harness_u64(&rng);
        const double value = harness_uniform(&rng) * (chunk % 3 == 1 ? 12 : 800);
        memcpy((double *)x + i, chunk % 3 == 0 ? (const void *)&bits : &value, sizeof bits);
    }
}

static worst measure(const hunze_row *row, hunze_activation_kind kind, bool all)
{
    _Alignas(64) static double x[CHUNK], y[CHUNK];
    const uint64_t step = all ? 1 : STEP, inputs = (uint64_t)1 << 32;
    const uint64_t chunks = row->a == HUNZE_TYPE_F64 ? F64_CHUNKS : (inputs / step + CHUNK - 1) / CHUNK;
    const hunze_float_epilogue e = activation_case(kind);
    worst most = {0};
    for (uint64_t chunk = 0; chunk < chunks; chunk++) {
        fill(row->a, chunk, step, x);
        memcpy(y, x, sizeof y);
        row->float_epilogue(&e, 1, CHUNK, y, CHUNK);
        if (row->a == HUNZE_TYPE_F32)
            measure_f32(kind, &e, (const float *)x, (const float *)y, &most);
        else
            measure_f64(kind, &e, x, y, &most);
    }
    return most;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"none",    "relu",        "relu6",     "gelu", "gelu_tanh",  "silu",
                                        "sigmoid", "hardsigmoid", "hardswish", "tanh", "leaky_relu", "clip"};
    const bool all = argc > 1 && !strcmp(argv[1], "--all");
    for (hunze_type type = HUNZE_TYPE_F32; type <= HUNZE_TYPE_F64; type++) {
        const hunze_row *best = NULL; /* rows of wider bundles come later in the table */
        for (const hunze_row *row = hunze_rows; row->name; row++)
            if (row->op == HUNZE_OP_ACTIVATION && row->a == type && harness_bundles() & 1u << row->isa)
                best = row;
        if (!best || (all && type != HUNZE_TYPE_F32))
            continue;
        for (int kind = HUNZE_ACT_RELU; kind <= HUNZE_ACT_CLIP; kind++) {
            const worst most = measure(best, (hunze_activation_kind)kind, all);
            printf("%s %s %.3f %.8g %.3f %.8g\n", type == HUNZE_TYPE_F32 ? "f32" : "f64", names[kind], most.ulp,
                   most.at, most.ulp_near, most.at_near);
            fflush(stdout);
        }
    }
    return 0;
}
