/* SPDX-License-Identifier: Apache-2.0 */
/* The name of a device's row, from the table. */
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

#endif
