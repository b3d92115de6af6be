/* SPDX-License-Identifier: Apache-2.0 */
/* Values for operands, plain and adversarial, and how results are compared and shown. */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

uint64_t harness_u64(harness_rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int64_t harness_between(harness_rng *rng, int64_t low, int64_t high)
{
    return low + (int64_t)(harness_u64(rng) % (uint64_t)(high - low + 1));
}

double harness_uniform(harness_rng *rng) { return (double)(harness_u64(rng) >> 11) * 0x1p-52 - 1; }

const char *harness_values_name(harness_values values)
{
    static const char *const names[] = {"uniform",
                                        "cancelling",
                                        "scaled by 2^±60",
                                        "denormal",
                                        "signed zeros",
                                        "NaN and Inf inside",
                                        "NaN and Inf in the corners",
                                        "constant",
                                        "small integers"};
    return names[values];
}

size_t harness_bytes(hunze_type type)
{
    static const size_t bytes[HUNZE_TYPE_COUNT] = {0, 4, 8, 4, 1, 1, 2, 2, 2, 8, 2, 4, 8};
    return bytes[type];
}

bool harness_is_float(hunze_type type)
{
    return type == HUNZE_TYPE_F32 || type == HUNZE_TYPE_F64 || type == HUNZE_TYPE_BF16 || type == HUNZE_TYPE_F16;
}

static bool is_unsigned(hunze_type type)
{
    return type == HUNZE_TYPE_U8 || type == HUNZE_TYPE_U16 || type == HUNZE_TYPE_U32 || type == HUNZE_TYPE_U64;
}

int64_t harness_get_whole(hunze_type type, const void *data, int64_t index)
{
    const size_t bytes = harness_bytes(type);
    const int unused = 64 - 8 * (int)bytes;
    uint64_t bits = 0;
    memcpy(&bits, (const char *)data + index * (int64_t)bytes, bytes);
    return is_unsigned(type) ? (int64_t)bits : (int64_t)(bits << unused) >> unused;
}

void harness_set_whole(hunze_type type, void *data, int64_t index, int64_t value)
{
    const size_t bytes = harness_bytes(type);
    memcpy((char *)data + index * (int64_t)bytes, &value, bytes);
}

hunze_dtype harness_dtype(hunze_type type)
{
    const uint8_t code = type == HUNZE_TYPE_BF16  ? HUNZE_BFLOAT
                         : harness_is_float(type) ? HUNZE_FLOAT
                         : is_unsigned(type)      ? HUNZE_UINT
                                                  : HUNZE_INT;
    return type == HUNZE_TYPE_NONE ? (hunze_dtype){0} : (hunze_dtype){code, (uint8_t)(8 * harness_bytes(type)), 1};
}

/* 16-bit floats by the definition of their format: digits behind the point, and the least exponent of a normal number. */
typedef struct narrow_format {
    int digits, least;
} narrow_format;

static narrow_format format_of(hunze_type type)
{
    return type == HUNZE_TYPE_BF16 ? (narrow_format){7, -126} : (narrow_format){10, -14};
}

static double narrow_get(hunze_type type, uint16_t bits)
{
    const narrow_format format = format_of(type);
    const int exponent = (bits & 0x7FFF) >> format.digits, fraction = bits & ((1 << format.digits) - 1);
    const double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == 0x7FFF >> format.digits)
        return fraction ? NAN : sign * INFINITY;
    const int leading = exponent ? 1 << format.digits : 0;
    return sign * ldexp(leading + fraction, (exponent ? exponent - 1 : 0) + format.least - format.digits);
}

/* The nearest, ties to even. */
static uint16_t narrow_of(hunze_type type, double value)
{
    const narrow_format format = format_of(type);
    const uint16_t sign = signbit(value) ? 0x8000 : 0, infinity = (uint16_t)(0x7FFF >> format.digits << format.digits);
    int exponent;
    if (isnan(value))
        return (uint16_t)(sign | infinity | 1 << (format.digits - 1));
    if (value == 0 || isinf(value))
        return value == 0 ? sign : sign | infinity;
    frexp(value, &exponent); /* |value| in [2^(exponent - 1), 2^exponent) */
    const int place = exponent - 1 < format.least ? format.least : exponent - 1;
    const double fraction = nearbyint(ldexp(fabs(value), format.digits - place)); /* up to 2^(digits + 1): carries */
    const double code = ldexp(place - format.least, format.digits) + fraction;
    return sign | (code > infinity ? infinity : (uint16_t)code);
}

double harness_get(hunze_type type, const void *data, int64_t index)
{
    switch (type) {
    case HUNZE_TYPE_F32: return ((const float *)data)[index];
    case HUNZE_TYPE_F64: return ((const double *)data)[index];
    case HUNZE_TYPE_BF16:
    case HUNZE_TYPE_F16: return narrow_get(type, ((const uint16_t *)data)[index]);
    default: return (double)harness_get_whole(type, data, index);
    }
}

float harness_flush(float x) { return fabsf(x) < 0x1p-126F ? copysignf(0, x) : x; }

float harness_step_bf16(float x, float y, float s)
{
    x = harness_flush(x);
    y = harness_flush(y);
    s = harness_flush(s);
    const float sum = fmaf(x, y, s);
    /* The least normal number may be one that was tiny, rounded up for want of bits: the same sum, 80 powers larger, has them. */
    const bool rounded_up = fabsf(sum) == 0x1p-126F && fabsf(fmaf(x, y * 0x1p80F, s * 0x1p80F)) < 0x1p-46F;
    return rounded_up ? copysignf(0, sum) : harness_flush(sum);
}

void harness_set(hunze_type type, void *data, int64_t index, double value)
{
    switch (type) {
    case HUNZE_TYPE_F32: ((float *)data)[index] = (float)value; break;
    case HUNZE_TYPE_F64: ((double *)data)[index] = value; break;
    case HUNZE_TYPE_BF16:
    case HUNZE_TYPE_F16: ((uint16_t *)data)[index] = narrow_of(type, value); break;
    default: harness_set_whole(type, data, index, (int64_t)value);
    }
}

static double special(harness_rng *rng)
{
    switch (harness_u64(rng) % 3) {
    case 0: return NAN;
    case 1: return INFINITY;
    default: return -INFINITY;
    }
}

void harness_fill(harness_rng *rng, hunze_type type, void *data, int64_t count, harness_values values)
{
    const double tiny = type == HUNZE_TYPE_F32    ? 0x1p-149
                        : type == HUNZE_TYPE_F64  ? 0x1p-1074
                        : type == HUNZE_TYPE_BF16 ? 0x1p-133
                                                  : 0x1p-24;
    const double normal = type == HUNZE_TYPE_F64 ? 0x1p-1022 : type == HUNZE_TYPE_F16 ? 0x1p-14 : 0x1p-126;
    const int scale = type == HUNZE_TYPE_F16 ? 13 : 60;
    double constant = harness_uniform(rng), pair = 0;
    if (!harness_is_float(type) && values != HARNESS_INTEGERS) {
        harness_fill_int(rng, type, data, count, values != HARNESS_UNIFORM);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        double x = harness_uniform(rng);
        switch (values) {
        case HARNESS_CANCEL:
            pair = i & 1 ? -pair : ldexp(x, (int)harness_between(rng, -12, 12));
            x = pair;
            break;
        case HARNESS_SCALED: x = ldexp(x, (int)harness_between(rng, -scale, scale)); break;
        case HARNESS_DENORMAL:
            switch (harness_u64(rng) % 4) {
            case 0: x = tiny * (double)harness_between(rng, -9, 9); break;
            case 1: x = normal * x; break;
            case 2: x = normal * (harness_u64(rng) & 1 ? 1 : -1); break;
            default: break;
            }
            break;
        case HARNESS_ZEROS: x = harness_u64(rng) & 1 ? 0.0 : -0.0; break;
        case HARNESS_SPECIAL:
            if (harness_u64(rng) % 8 == 0)
                x = special(rng);
            break;
        case HARNESS_CORNERS:
            if (i == 0 || i == count - 1)
                x = special(rng);
            break;
        case HARNESS_CONSTANT: x = constant; break;
        case HARNESS_INTEGERS: x = (double)harness_between(rng, -4, 4); break;
        default: break;
        }
        harness_set(type, data, i, x);
    }
}

void harness_fill_int(harness_rng *rng, hunze_type type, void *data, int64_t count, bool extremes)
{
    const int bits = 8 * (int)harness_bytes(type);
    const bool wide = bits == 64;                                    /* no s64 holds the ends of u64: their bits do */
    const int64_t most = (int64_t)(((uint64_t)1 << (bits - 1)) - 1); /* of the signed type */
    const int64_t low = is_unsigned(type) ? 0 : -1 - most,
                  high = is_unsigned(type) ? (int64_t)(2 * (uint64_t)most + 1) : most;
    for (int64_t i = 0; i < count; i++) {
        int64_t value = wide ? (int64_t)harness_u64(rng) : harness_between(rng, low, high);
        const int inwards = value < (low + high) / 2;
        if (extremes)
            value = (int64_t)((uint64_t)(harness_u64(rng) & 1 ? low : high) +
                              (uint64_t)(harness_u64(rng) % 8 ? 0 : inwards));
        if (extremes && !wide && value > high)
            value = high;
        harness_set_whole(type, data, i, value);
    }
}

bool harness_same(hunze_type type, const void *a, const void *b)
{
    if (!memcmp(a, b, harness_bytes(type)))
        return true;
    if (!harness_is_float(type))
        return false;
    return isnan(harness_get(type, a, 0)) && isnan(harness_get(type, b, 0));
}

const char *harness_show(hunze_type type, const void *data)
{
    static char texts[4][64];
    static int next;
    char *text = texts[next = (next + 1) % 4];
    uint64_t bits = 0;
    memcpy(&bits, data, harness_bytes(type));
    if (harness_is_float(type))
        snprintf(text, sizeof texts[0], "%.9g (%0*llx)", harness_get(type, data, 0), (int)harness_bytes(type) * 2,
                 (unsigned long long)bits);
    else
        snprintf(text, sizeof texts[0], "%lld", (long long)harness_get_whole(type, data, 0));
    return text;
}

double harness_ulp_f32(float got, double exact)
{
    if (isnan(got) || isnan(exact))
        return isnan(got) && isnan(exact) ? 0 : INFINITY;
    if ((double)got == exact || (isinf(got) && fabs(exact) >= 0x1.ffffffp127 && (got > 0) == (exact > 0)))
        return 0;
    if (isinf(got) || isinf(exact))
        return INFINITY;
    int exponent = 0;
    frexp(exact, &exponent); /* |exact| in [2^(e-1), 2^e): f32 there is spaced 2^(e-24), at least 2^-149 */
    return fabs((double)got - exact) / ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
}

uint64_t harness_hash(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, p + i, bytes - i < 8 ? bytes - i : 8);
        hash = (hash ^ word) * 0x100000001b3u;
        hash ^= hash >> 29; /* the shift lets high bits, the signs, reach all others */
    }
    return hash;
}
