/* Clipping an s32 by the bounds of an activation, which are f32. */
#ifndef HUNZE_SIMD_INTEGER_BOUND_H
#define HUNZE_SIMD_INTEGER_BOUND_H

#include <stdbool.h>
#include <stdint.h>

/* The s32 bound that clips like the float: the nearest integer inside. */
static inline int32_t integer_bound(float bound, bool is_lower)
{
    if (!(bound >= -2147483648.0f))
        return bound < 0 || is_lower ? INT32_MIN : INT32_MAX; /* NaN bounds nothing */
    if (bound >= 2147483648.0f)
        return INT32_MAX;
    int32_t whole = (int32_t)bound;
    if (is_lower)
        return (float)whole < bound ? whole + 1 : whole;
    return (float)whole > bound ? whole - 1 : whole;
}

#endif
