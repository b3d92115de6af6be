/* SPDX-License-Identifier: Apache-2.0 */
/* What packing finds out about weights, in the order of memory: whether all are finite, and whether pairs of s8 cannot saturate a kernel. */
#include "gemm.h"
#include "runs.h"

/* ------------------------------------------------------------------ finite */

/* One added to an exponent of ones carries into the sign's place. */
#define ALL_FINITE(name, word, exponent)                                                                               \
    static inline __attribute__((always_inline)) bool name##_by(const word *x, int64_t n, int64_t step)                \
    {                                                                                                                  \
        word seen = 0;                                                                                                 \
        for (int64_t i = 0; i < n; i++)                                                                                \
            seen |= (word)((x[i * step] & (exponent)) + ((exponent) & -(exponent)));                                   \
        return !(seen >> (8 * sizeof seen - 1));                                                                       \
    }                                                                                                                  \
    static bool name(const void *x, int64_t n, int64_t step)                                                           \
    {                                                                                                                  \
        return step == 1 ? name##_by(x, n, 1) : name##_by(x, n, step);                                                 \
    }
ALL_FINITE(bf16_are_finite, uint16_t, (uint16_t)0x7F80)
ALL_FINITE(f16_are_finite, uint16_t, (uint16_t)0x7C00)
ALL_FINITE(f32_are_finite, uint32_t, 0x7F800000u)
ALL_FINITE(f64_are_finite, uint64_t, (uint64_t)0x7FF << 52)

typedef struct search {
    hunze_runs runs;
    const char *data;
    int64_t bytes; /* of an element */
    bool (*are_finite)(const void *x, int64_t n, int64_t step);
    int found;
} search;

static void search_lane(void *user, int32_t lane, int32_t lanes)
{
    search *s = user;
    const int64_t end = s->runs.chunks * (lane + 1) / lanes;
    for (int64_t index = s->runs.chunks * lane / lanes; index < end; index++) {
        int64_t offset[HUNZE_RUNS_OPERANDS];
        const int64_t n = hunze_runs_chunk(&s->runs, index, offset);
        if (!s->are_finite(s->data + offset[0] * s->bytes, n, s->runs.step[0])) {
            __atomic_store_n(&s->found, 1, __ATOMIC_RELAXED);
            return;
        }
    }
}

bool hunze_weights_are_finite(const hunze_tensor *w, int32_t lanes, hunze_exec *exec)
{
    int64_t strides[HUNZE_MAX_NDIM];
    const int64_t *const operands[] = {strides};
    const hunze_type type = hunze_type_of(w->dtype);
    search s = {.data = hunze_data(w), .bytes = (int64_t)hunze_type_bytes(type)};
    s.are_finite = type == HUNZE_TYPE_BF16  ? bf16_are_finite
                   : type == HUNZE_TYPE_F16 ? f16_are_finite
                   : type == HUNZE_TYPE_F32 ? f32_are_finite
                                            : f64_are_finite;
    hunze_runs_strides(w, strides);
    hunze_runs_make(&s.runs, w->ndim, w->shape, 1, operands);
    hunze_parallel(exec, lanes, search_lane, &s);
    return !s.found;
}

/* ------------------------------------------------------------------ pairs */

static inline __attribute__((always_inline)) bool sums_fit(const int8_t *first, const int8_t *second, int64_t n,
                                                           int64_t step)
{
    int16_t room = 0; /* negative once a sum was over 128 */
    for (int64_t i = 0; i < n; i++) {
        const int16_t x = first[i * step], y = second[i * step];
        room |= (int16_t)(128 - (x < 0 ? -x : x) - (y < 0 ? -y : y));
    }
    return room >= 0;
}

static bool run_fits(const int8_t *first, const int8_t *second, int64_t n, int64_t step)
{
    return step == 1   ? sums_fit(first, second, n, 1)
           : step == 2 ? sums_fit(first, second, n, 2)
                       : sums_fit(first, second, n, step);
}

bool hunze_pairs_are_safe(const int8_t *w, int64_t k, int64_t n, int64_t k_stride, int64_t n_stride)
{
    /* A last one has no partner: |-128| fits by itself. */
    if (k_stride == 1) {
        for (int64_t j = 0; j < n; j++)
            if (!run_fits(w + j * n_stride, w + j * n_stride + 1, k / 2, 2))
                return false;
        return true;
    }
    for (int64_t p = 0; p + 1 < k; p += 2)
        if (!run_fits(w + p * k_stride, w + (p + 1) * k_stride, n, n_stride))
            return false;
    return true;
}
