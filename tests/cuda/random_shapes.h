/* SPDX-License-Identifier: Apache-2.0 */
/* Random shapes of products and convolutions, for the tests of each type. */
#ifndef HUNZE_TESTS_RANDOM_SHAPES_H
#define HUNZE_TESTS_RANDOM_SHAPES_H

#include "harness.h"
#include "hunze.h"

#include <string.h>

/* Leading axes of an operand: those of D, some of extent 1 or absent. */
static inline int lead(harness_rng *rng, int axes, const int64_t *batch, int64_t *shape)
{
    const int own = (int)harness_between(rng, 0, axes);
    for (int i = 0; i < own; i++)
        shape[i] = harness_between(rng, 0, 2) ? batch[axes - own + i] : 1;
    return own;
}

typedef enum convolution_kind { CONV, DEPTHWISE, TRANSPOSED } convolution_kind;
typedef struct convolution {
    hunze_conv_options options;      /* what belongs to the shape */
    int spatial;                     /* axes */
    int channel, first;              /* of x and y: the channels' axis, the first spatial one */
    int64_t groups, inputs, outputs; /* the latter two of a group */
    int64_t in[2], kernel[2];
    int64_t x[4], w[4], y[4]; /* shapes; y may be empty */
} convolution;

static inline void random_convolution(convolution *c, harness_rng *rng, int turn, convolution_kind kind)
{
    memset(c, 0, sizeof *c);
    const bool transposed = kind == TRANSPOSED;
    c->spatial = harness_between(rng, 0, 4) ? 2 : 1;
    const bool last = harness_between(rng, 0, 1);
    c->channel = last ? c->spatial + 1 : 1;
    c->first = last ? 1 : 2;
    c->groups = harness_between(rng, 0, 2) ? 1 : harness_between(rng, 2, 4);
    c->inputs = harness_between(rng, 0, 2) ? 4 * harness_between(rng, 1, 12) : harness_between(rng, 1, 40);
    c->outputs = harness_between(rng, 1, 80);
    if (kind == DEPTHWISE) {
        c->groups = harness_between(rng, 1, 40);
        c->inputs = c->outputs = 1;
    }
    hunze_conv_options *o = &c->options;
    *o = (hunze_conv_options){
        .struct_size = sizeof *o,
        .layout = last ? HUNZE_CHANNELS_LAST : HUNZE_CHANNELS_FIRST,
        .groups = (uint32_t)c->groups,
    };
    c->x[0] = c->y[0] = harness_between(rng, 1, 3);
    c->x[c->channel] = c->groups * c->inputs;
    c->y[c->channel] = c->groups * c->outputs;
    c->w[0] = transposed ? c->groups * c->inputs : c->groups * c->outputs;
    c->w[1] = transposed ? c->outputs : c->inputs;
    for (int i = 0; i < c->spatial; i++) {
        const int64_t in = c->in[i] = harness_between(rng, 1, transposed ? 6 : 13);
        c->kernel[i] = harness_between(rng, 1, 4);
        o->stride[i] = (uint32_t)harness_between(rng, 1, 3);
        o->dilation[i] = (uint32_t)harness_between(rng, 1, 3);
        if (turn % 4 == 0) {
            c->kernel[i] = o->stride[i] = 1; /* reads x in place */
        } else if (harness_between(rng, 0, 2)) {
            o->pad_before[i] = (int32_t)harness_between(rng, 0, transposed ? 1 : 4);
            o->pad_after[i] = (int32_t)harness_between(rng, 0, transposed ? 1 : 4);
        }
        const int64_t padding = o->pad_before[i] + o->pad_after[i], reach = o->dilation[i] * (c->kernel[i] - 1);
        const int64_t room = in + padding - reach - 1, back = (in - 1) * o->stride[i] + reach + 1 - padding;
        c->x[c->first + i] = in;
        c->w[2 + i] = c->kernel[i];
        c->y[c->first + i] = transposed ? (back < 0 ? 0 : back) : room < 0 ? 0 : room / o->stride[i] + 1;
    }
}

#endif
