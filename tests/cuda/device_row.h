/* SPDX-License-Identifier: Apache-2.0 */
/* The names of a device's rows, from the table. */
#ifndef HUNZE_TESTS_DEVICE_ROW_H
#define HUNZE_TESTS_DEVICE_ROW_H

#include "kernels.h"

static inline const char *device_row(hunze_op op, hunze_type a, hunze_type d)
{
    for (const hunze_row *row = hunze_rows; row->name; row++)
        if (row->launch && row->op == op && row->a == a && row->d == d)
            return row->name;
    return "none"; /* is refused by its name */
}

/* The row of a product for these instructions. */
static inline const char *device_product(hunze_type a, hunze_isa isa)
{
    for (const hunze_row *row = hunze_rows; row->name; row++)
        if (row->launch && row->op == HUNZE_OP_GEMM && row->a == a && row->isa == isa)
            return row->name;
    return "none";
}

#endif
