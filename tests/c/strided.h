/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays with strides of every kind, and a context per bundle of this CPU, for tests that go through the API. */
#ifndef HUNZE_TESTS_STRIDED_H
#define HUNZE_TESTS_STRIDED_H

#include "harness.h"
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { DIMS = 4, CONTEXTS = 6 };

typedef struct array {
    hunze_tensor tensor;
    int64_t shape[DIMS], strides[DIMS];
    char *memory, *before;
    size_t bytes;
} array;

/* Axes in a random order, with gaps, some backwards. */
static inline void make(array *x, harness_rng *rng, hunze_type type, int ndim, const int64_t *shape)
{
    int order[DIMS];
    const bool plain = harness_between(rng, 0, 1);
    for (int i = 0; i < ndim; i++)
        order[i] = ndim - 1 - i;
    for (int i = ndim - 1; i > 0 && !plain; i--) {
        const int j = (int)harness_between(rng, 0, i), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    int64_t span = plain ? 1 : harness_between(rng, 1, 2), first = 0, last = 0;
    for (int i = 0; i < ndim; i++) {
        const int axis = order[i];
        const int64_t extent = shape[axis] > 0 ? shape[axis] : 1;
        x->shape[axis] = shape[axis];
        x->strides[axis] = span;
        span = span * extent + (plain ? 0 : harness_between(rng, 0, 2));
        if (!plain && harness_between(rng, 0, 3) == 0) {
            first += x->strides[axis] * (extent - 1);
            x->strides[axis] = -x->strides[axis];
        } else {
            last += x->strides[axis] * (extent - 1);
        }
    }
    const size_t size = harness_bytes(type);
    x->bytes = (size_t)(first + last + 1) * size;
    x->memory = malloc(x->bytes);
    x->before = malloc(x->bytes);
    for (size_t i = 0; i < x->bytes; i++)
        x->memory[i] = (char)harness_u64(rng);
    memcpy(x->before, x->memory, x->bytes);
    x->tensor = (hunze_tensor){x->memory,  {HUNZE_DEVICE_CPU, 0}, ndim, harness_dtype(type), x->shape,
                               x->strides, (uint64_t)first * size};
}

static inline void drop(array *x)
{
    free(x->memory);
    free(x->before);
}

/* Element `index` in row-major order. */
static inline void *element(const array *x, char *memory, int64_t index)
{
    int64_t offset = 0;
    for (int axis = x->tensor.ndim - 1; axis >= 0; axis--) {
        offset += index % x->shape[axis] * x->strides[axis];
        index /= x->shape[axis];
    }
    return memory + x->tensor.byte_offset + offset * (x->tensor.dtype.bits / 8);
}

static inline void check_status(hunze_status status, hunze_status expected)
{
    harness_check(status == expected, "status %s (%s), not %s", hunze_status_name(status), hunze_last_error(),
                  hunze_status_name(expected));
}

/* ------------------------------------------------------------------ contexts, lowest bundle first */
static hunze_context *contexts[CONTEXTS];
static int context_count;

static inline int make_contexts(void **unused)
{
    (void)unused;
    static const char *const isas[] = {"portable", "avx2", "avxvnni", "avx512", "avx512vnni", NULL};
    for (int i = 0; i < CONTEXTS; i++) {
        const hunze_context_options options = {
            .struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT, .isa = isas[i]};
        context_count += hunze_context_create(&options, &contexts[context_count]) == HUNZE_OK;
    }
    return context_count < 2;
}

static inline int release_contexts(void **unused)
{
    (void)unused;
    for (int i = 0; i < context_count; i++)
        hunze_context_release(contexts[i]);
    return 0;
}

#endif
