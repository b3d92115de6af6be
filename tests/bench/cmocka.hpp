/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka as C++ reads it, and checks of numbers.  Included after the standard library, whose methods have names of its macros. */
#pragma once

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

#include <cmath>

#define assert_close(got, want, tolerance)                                                                             \
    do {                                                                                                               \
        const double got_ = (got), want_ = (want);                                                                     \
        if (!(std::fabs(got_ - want_) <= (tolerance)))                                                                 \
            fail_msg("%s is %.17g, not %.17g", #got, got_, want_);                                                     \
    } while (0)
