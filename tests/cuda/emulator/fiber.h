/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks that take turns on one thread. */
#ifndef HUNZE_EMULATOR_FIBER_H
#define HUNZE_EMULATOR_FIBER_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ADDRESS_SANITIZER 1
#endif
#endif
/* The switch of a few instructions is for plain x86-64 only; libc's saves the signal mask too, by a system call. */
#if defined(__x86_64__) && !defined(FIBER_ADDRESS_SANITIZER)
#define FIBER_OWN_SWITCH 1
#else
#include <ucontext.h>
#endif

struct fiber {
#if defined(FIBER_OWN_SWITCH)
    void *stack_pointer;
#else
    ucontext_t context;
    void *fake_stack;
#endif
    char *stack; /* NULL: the thread's own */
    size_t bytes;
};

/* `entry` begins when the fiber is switched to first, and never returns. */
void fiber_make(fiber *f, char *stack, size_t bytes, void (*entry)());
/* First in `entry`. */
void fiber_entered(fiber *from);
/* ends: `from` is never switched to again. */
void fiber_switch(fiber *from, fiber *to, bool ends);

#endif
