/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks that take turns on one thread. */
#ifndef HUNZE_EMULATOR_FIBER_H
#define HUNZE_EMULATOR_FIBER_H

#include <stddef.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

struct fiber {
#if defined(__x86_64__)
    void *stack_pointer;
#else
    ucontext_t context;
#endif
    const void *stack; /* NULL: the thread's own, not known yet */
    size_t bytes;
    void *fake_stack; /* AddressSanitizer's */
};

/* `entry` begins when the fiber is switched to first, and never returns. */
void fiber_make(fiber *f, char *stack, size_t bytes, void (*entry)());
/* First in `entry`. */
void fiber_entered(fiber *from);
/* ends: `from` is never switched to again. */
void fiber_switch(fiber *from, fiber *to, bool ends);

#endif
