/* SPDX-License-Identifier: Apache-2.0 */
#include "fiber.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

/* A few instructions; libc's swapcontext saves the signal mask too, by a system call. */
extern "C" void emulator_fiber_switch(void **save, void *stack_pointer);
asm(".text\n"
    ".hidden emulator_fiber_switch\n"
    ".type emulator_fiber_switch, @function\n"
    "emulator_fiber_switch:\n"
    "push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
    "mov %rsp, (%rdi)\n"
    "mov %rsi, %rsp\n"
    "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n"
    "ret\n"
    ".size emulator_fiber_switch, . - emulator_fiber_switch\n");

void fiber_make(fiber *f, char *stack, size_t bytes, void (*entry)())
{
    /* Six registers, then what `ret` takes; a function begins with the stack 8 bytes off a multiple of 16. */
    auto *top = reinterpret_cast<uintptr_t *>(stack + bytes) - 8;
    memset(top, 0, 8 * sizeof *top);
    top[6] = reinterpret_cast<uintptr_t>(entry);
    *f = {top, stack, bytes, nullptr};
}

static void jump(fiber *from, fiber *to) { emulator_fiber_switch(&from->stack_pointer, to->stack_pointer); }

#else

void fiber_make(fiber *f, char *stack, size_t bytes, void (*entry)())
{
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = stack;
    f->context.uc_stack.ss_size = bytes;
    f->context.uc_link = nullptr;
    f->stack = stack;
    f->bytes = bytes;
    f->fake_stack = nullptr;
    makecontext(&f->context, entry, 0);
}

static void jump(fiber *from, fiber *to) { swapcontext(&from->context, &to->context); }

#endif

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif
#if defined(ADDRESS_SANITIZER)
#include <sanitizer/common_interface_defs.h>
#else
static void __sanitizer_start_switch_fiber(void **, const void *, size_t) {}
static void __sanitizer_finish_switch_fiber(void *, const void **, size_t *) {}
#endif

/* The bounds of the thread's own stack come from the first switch that leaves it. */
void fiber_entered(fiber *from)
{
    const void *bottom = from->stack;
    size_t bytes = from->bytes;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
    if (!from->stack) {
        from->stack = bottom;
        from->bytes = bytes;
    }
}

void fiber_switch(fiber *from, fiber *to, bool ends)
{
    __sanitizer_start_switch_fiber(ends ? nullptr : &from->fake_stack, to->stack, to->bytes);
    jump(from, to);
    __sanitizer_finish_switch_fiber(from->fake_stack, nullptr, nullptr);
}
