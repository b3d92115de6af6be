/* SPDX-License-Identifier: Apache-2.0 */
/* Activations of f32 and f64 on a device: the CPU's bits, for any strides, and in place. */
#include "device_case.h"

static const hunze_type types[] = {HUNZE_TYPE_F32, HUNZE_TYPE_F64};

static void check_map(hunze_context *context, harness_rng *rng, hunze_type type, int ndim, const int64_t *shape,
                      uint32_t kind, unsigned x_lies, unsigned y_lies, harness_values values, bool in_place)
{
    device_case c = {.op = HUNZE_OP_ACTIVATION, .activation = {0, kind, -0.25F, 0.75F}};
    static const int plain[4] = {0, 1, 2, 3}, turned[4] = {2, 0, 1, 3};
    snprintf(c.text, sizeof c.text, "%s %d axes, first %lld, activation %u lies %u, %u values %s%s",
             type == HUNZE_TYPE_F64 ? "f64" : "f32", ndim, (long long)(ndim ? shape[0] : 1), kind, x_lies, y_lies,
             harness_values_name(values), in_place ? " in place" : "");
    device_place(&c.d, context, rng, type, ndim, shape, ndim == 3 && harness_between(rng, 0, 1) ? turned : plain,
                 y_lies & ~(unsigned)LIES_REPEATED, values);
    if (in_place)
        c.a = c.d;
    else
        device_place(&c.a, context, rng, type, ndim, shape, ndim == 3 && harness_between(rng, 0, 1) ? turned : plain,
                     x_lies, values);
    c.activation.kind = kind;
    if (harness_between(rng, 0, 3) == 0)
        c.flags = HUNZE_REPRODUCIBLE;
    device_check(context, &c);
}

/* Each kind over values of every sort, contiguous: whole chunks and one that is not. */
static void kinds(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {91};
    for (int t = 0; t < 2; t++)
        for (uint32_t kind = 0; kind <= HUNZE_ACT_CLIP; kind++)
            for (int values = 0; values < HARNESS_VALUES; values++)
                check_map(context, &rng, types[t], 1, (const int64_t[]){2048 + 1 + 37 * values}, kind, 0, 0,
                          (harness_values)values, values % 2);
    hunze_context_release(context);
}

static void strides(void)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {92};
    for (int turn = 0; turn < 120; turn++) {
        const int64_t shape[3] = {harness_between(&rng, 0, 5), harness_between(&rng, 1, 40),
                                  harness_between(&rng, 1, 90)};
        check_map(context, &rng, types[turn % 2], turn % 40 == 7 ? 0 : 3, shape,
                  turn % 3 ? HUNZE_ACT_RELU : HUNZE_ACT_TANH, (unsigned)harness_between(&rng, 0, LIES_ANYHOW),
                  (unsigned)harness_between(&rng, 0, LIES_ANYHOW), HARNESS_SPECIAL, turn % 4 == 0);
    }
    hunze_context_release(context);
}

static const cuda_case cases[] = {{"kinds", kinds, NULL, NULL}, {"strides", strides, NULL, NULL}};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof *cases); }
