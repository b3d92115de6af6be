/* SPDX-License-Identifier: Apache-2.0 */
/* Bias, residual, relu and clip of s16, s32 and s64, in place, wrapping; for all instruction sets, since memory is what it waits for. */
#include "../kernels.h"
#include "../simd/integer_bound.h"

/* t[i, j] += x[i*row + j*col]; modular: as C adds them without overflow. */
#define ADD(type, modular, x, row, col)                                                                                \
    for (int64_t i = 0; x && i < m; i++) {                                                                             \
        type *to = (type *)t + i * t_row;                                                                              \
        const type *from = (const type *)x + i * (row);                                                                \
        if ((col) == 1)                                                                                                \
            for (int64_t j = 0; j < n; j++)                                                                            \
                to[j] = (type)((modular)to[j] + (modular)from[j]);                                                     \
        else                                                                                                           \
            for (int64_t j = 0; j < n; j++)                                                                            \
                to[j] = (type)((modular)to[j] + (modular)from[j * (col)]);                                             \
    }
#define EPILOGUE(type, modular, least, greatest)                                                                       \
    do {                                                                                                               \
        ADD(type, modular, e->bias, e->bias_row, e->bias_col)                                                          \
        ADD(type, modular, e->residual, e->residual_row, e->residual_col)                                              \
        if (e->activation == HUNZE_ACT_NONE)                                                                           \
            return;                                                                                                    \
        const bool clip = e->activation == HUNZE_ACT_CLIP;                                                             \
        const type low = clip ? (type)integer_bound_within(e->alpha, true, least, greatest) : 0;                       \
        const type high = clip ? (type)integer_bound_within(e->beta, false, least, greatest) : greatest;               \
        for (int64_t i = 0; i < m; i++) {                                                                              \
            type *row = (type *)t + i * t_row;                                                                         \
            for (int64_t j = 0; j < n; j++) {                                                                          \
                const type x = row[j] < low ? low : row[j];                                                            \
                row[j] = x > high ? high : x;                                                                          \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

void hunze_epilogue_s16_portable(const hunze_float_epilogue *e, int64_t m, int64_t n, void *t, int64_t t_row)
{
    EPILOGUE(int16_t, uint32_t, INT16_MIN, INT16_MAX);
}

void hunze_epilogue_s32_portable(const hunze_float_epilogue *e, int64_t m, int64_t n, void *t, int64_t t_row)
{
    EPILOGUE(int32_t, uint32_t, INT32_MIN, INT32_MAX);
}

void hunze_epilogue_s64_portable(const hunze_float_epilogue *e, int64_t m, int64_t n, void *t, int64_t t_row)
{
    EPILOGUE(int64_t, uint64_t, INT64_MIN, INT64_MAX);
}
