/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the library that the benchmarks cannot do without. */
#ifndef HUNZE_TESTS_GPU_CHECK_H
#define HUNZE_TESTS_GPU_CHECK_H

#include <hunze.h>

#include <stdio.h>
#include <stdlib.h>

/* Ends the program with the call's error. */
#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if ((call) != HUNZE_OK) {                                                                                      \
            printf("%s: %s\n", #call, hunze_last_error());                                                             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
