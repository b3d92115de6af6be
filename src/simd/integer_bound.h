/* Clipping an integer by the bounds of an activation, which are f32. */
#ifndef HUNZE_SIMD_INTEGER_BOUND_H
#define HUNZE_SIMD_INTEGER_BOUND_H

#include <stdbool.h>
#include <stdint.h>

/* The bound among [least, greatest] that clips like the float: the nearest integer inside.  NaN bounds nothing. */
static inline int64_t integer_bound_within(float bound, bool is_lower, int64_t least, int64_t greatest)
{
    if (bound != bound)
        return is_lower ? least : greatest;
    if (!(bound >= -0x1p63f))
        return least;
    if (bound >= 0x1p63f)
        return greatest;
    int64_t whole = (int64_t)bound;
    if (is_lower && (float)whole < bound)
        whole++;
    if (!is_lower && (float)whole > bound)
        whole--;
    return whole < least ? least : whole > greatest ? greatest : whole;
}

static inline int32_t integer_bound(float bound, bool is_lower)
{
    return (int32_t)integer_bound_within(bound, is_lower, INT32_MIN, INT32_MAX);
}

#endif
