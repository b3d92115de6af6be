/* SPDX-License-Identifier: Apache-2.0 */
/* The activation that is hashed (test_activation_bits.c) and measured (activation_errors.c): each kind with one pair of parameters. */
#ifndef HUNZE_TESTS_ACTIVATION_CASE_H
#define HUNZE_TESTS_ACTIVATION_CASE_H

#include "harness.h"

static inline hunze_float_epilogue activation_case(hunze_activation_kind kind)
{
    hunze_float_epilogue e = {.activation = kind};
    if (kind == HUNZE_ACT_LEAKY_RELU)
        e.alpha = 0.01f;
    if (kind == HUNZE_ACT_CLIP) {
        e.alpha = -1;
        e.beta = 1.5f;
    }
    return e;
}

#endif
