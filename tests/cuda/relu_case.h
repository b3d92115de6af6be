/* SPDX-License-Identifier: Apache-2.0 */
/* max(x, 0) of a hundred floats, the smallest call that does something: for tests of what surrounds a call on a device. */
#ifndef HUNZE_TESTS_RELU_CASE_H
#define HUNZE_TESTS_RELU_CASE_H

#include "cuda_test.h"
#include "plan.h"

enum { N = 100, BYTES = N * (int)sizeof(float) };
static float values[N], old[N];

static inline void make_values(void)
{
    for (int i = 0; i < N; i++) {
        values[i] = (float)(i % 7) - 3;
        old[i] = 1000 + (float)i;
    }
}

static inline void expect_floats(hunze_context *context, hunze_device device, void *stream, void *pointer,
                                 bool computed)
{
    float result[N];
    from_gpu(context, device, stream, pointer, result, N);
    for (int i = 0; i < N; i++) {
        const float wanted = !computed ? old[i] : values[i] < 0 ? 0 : values[i];
        check(result[i] == wanted, "element %d is %g, not %g", i, (double)result[i], (double)wanted);
    }
}

/* y = max(x, 0) on cuda:0. */
typedef struct relu_call {
    array x, y;
    hunze_call call;
} relu_call;
static inline const hunze_call *make_relu_call(relu_call *c, const void *x, const void *y)
{
    static const hunze_activation activation = {.struct_size = sizeof activation, .kind = HUNZE_ACT_RELU};
    static const hunze_activation_options options = {.struct_size = sizeof options, .activation = &activation};
    c->call = (hunze_call){.struct_size = sizeof c->call,
                           .op = HUNZE_OP_ACTIVATION,
                           .a = floats(&c->x, cuda0, (void *)x, N),
                           .d = floats(&c->y, cuda0, (void *)y, N),
                           .options = &options};
    return &c->call;
}

static inline hunze_plan *make_plan(hunze_context *context, const void *x, const void *y)
{
    relu_call c;
    hunze_plan *plan = NULL;
    OK(hunze_plan_create(context, make_relu_call(&c, x, y), &plan));
    return plan;
}

static inline hunze_status run_plan(const hunze_plan *plan, void *x, void *y, const hunze_run *run)
{
    relu_call c;
    return hunze_plan_run(plan, make_relu_call(&c, x, y), run);
}

#endif
