/* SPDX-License-Identifier: Apache-2.0 */
/* The checked leaf call: what the ABI says a function keeps is filled with patterns before and compared after. */
#include "harness.h"

#include <stdio.h>

harness_emulator_fn *harness_emulator;
uint32_t harness_emulated_bundles;

#if defined(__x86_64__)

/* uint64_t harness_leaf_call(leaf, const uint64_t arguments[8], uint64_t before_after[3], uint64_t clean)
 *   before_after[0], [1]: MXCSR before and after; [2]: flags after; clean: execute vzeroupper before the call.
 *   Returns a mask of what changed: bits 0-5 rbx rbp r12 r13 r14 r15, bit 6 rsp. */
uint64_t harness_leaf_call(harness_leaf *leaf, const uint64_t *arguments, uint64_t *before_after, uint64_t clean);
__asm__(".text\n"
        ".p2align 4\n"
        ".globl harness_leaf_call\n"
        ".hidden harness_leaf_call\n"
        ".type harness_leaf_call,@function\n"
        "harness_leaf_call:\n"
        "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "  push %rdx\n" /* rsp is now a multiple of 16 */
        "  stmxcsr (%rdx)\n"
        "  mov %rdi, %r11\n"
        "  mov %rsi, %r10\n"
        "  test %ecx, %ecx\n"
        "  jz 1f\n"
        "  .byte 0xc5, 0xf8, 0x77\n" /* vzeroupper */
        "1:\n"
        "  push 56(%r10); push 48(%r10)\n"
        "  mov %rsp, harness_saved_rsp(%rip)\n"
        "  mov (%r10), %rdi; mov 8(%r10), %rsi; mov 16(%r10), %rdx\n"
        "  mov 24(%r10), %rcx; mov 32(%r10), %r8; mov 40(%r10), %r9\n"
        "  movabs $0x5b5b5b5b00000001, %rbx; movabs $0x5b5b5b5b00000002, %rbp\n"
        "  movabs $0x5b5b5b5b00000003, %r12; movabs $0x5b5b5b5b00000004, %r13\n"
        "  movabs $0x5b5b5b5b00000005, %r14; movabs $0x5b5b5b5b00000006, %r15\n"
        "  movabs $0x7f7f7f7f7f7f7f7f, %rax; mov %rax, %r10\n"
        "  call *%r11\n"
        "  xor %eax, %eax\n"
        "  movabs $0x5b5b5b5b00000001, %rcx; cmp %rcx, %rbx; je 2f; or $1, %eax; 2:\n"
        "  movabs $0x5b5b5b5b00000002, %rcx; cmp %rcx, %rbp; je 2f; or $2, %eax; 2:\n"
        "  movabs $0x5b5b5b5b00000003, %rcx; cmp %rcx, %r12; je 2f; or $4, %eax; 2:\n"
        "  movabs $0x5b5b5b5b00000004, %rcx; cmp %rcx, %r13; je 2f; or $8, %eax; 2:\n"
        "  movabs $0x5b5b5b5b00000005, %rcx; cmp %rcx, %r14; je 2f; or $16, %eax; 2:\n"
        "  movabs $0x5b5b5b5b00000006, %rcx; cmp %rcx, %r15; je 2f; or $32, %eax; 2:\n"
        "  cmp harness_saved_rsp(%rip), %rsp; je 2f; or $64, %eax; 2:\n"
        "  mov harness_saved_rsp(%rip), %rsp\n"
        "  mov 16(%rsp), %rdx\n"
        "  stmxcsr 8(%rdx)\n"
        "  pushfq; pop %rcx; mov %rcx, 16(%rdx); cld\n"
        "  add $24, %rsp\n"
        "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "  ret\n"
        ".size harness_leaf_call, . - harness_leaf_call\n"
        ".local harness_saved_rsp\n"
        ".comm harness_saved_rsp,8,8\n");

static uint32_t in_use(void) /* XINUSE: bit 2 is set while an upper half of ymm0-15 is not zero */
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
    return low;
}

/* Whether this CPU has AVX, and whether it tells that upper halves are dirty. */
static void find_upper_halves(bool *have_avx, bool *can_tell)
{
    __builtin_cpu_init();
    *have_avx = __builtin_cpu_supports("avx") != 0;
    *can_tell = false;
    unsigned a = 13, b, c = 1, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (!*have_avx || !(a & 4))
        return;
    __asm__ volatile(".byte 0xc5, 0xfd, 0x76, 0xc0" ::: "xmm0"); /* vpcmpeqd ymm0, ymm0, ymm0 (needs AVX2) */
    bool dirty = in_use() & 4;
    __asm__ volatile(".byte 0xc5, 0xf8, 0x77");
    *can_tell = dirty && !(in_use() & 4);
}

void harness_call(harness_leaf *leaf, int count, const uint64_t *arguments)
{
    static int known;
    static bool have_avx, can_tell;
    uint64_t all[8] = {0}, state[3] = {0};
    for (int i = 0; i < count; i++)
        all[i] = arguments[i];
    if (harness_emulator) {
        const char *wrong = harness_emulator(leaf, count, all);
        harness_check(!wrong, "on the emulated CPU: %s", wrong);
        return;
    }
    if (!known) {
        known = 1;
        if (__builtin_cpu_supports("avx2"))
            find_upper_halves(&have_avx, &can_tell);
        if (have_avx && !can_tell)
            print_message("not run here: clean upper halves (this CPU does not tell)\n");
    }
    uint64_t changed = harness_leaf_call(leaf, all, state, have_avx);
    uint32_t used = can_tell ? in_use() : 0;
    if (used & 4)
        __asm__ volatile(".byte 0xc5, 0xf8, 0x77");
    harness_check(!changed, "the leaf changed callee-saved registers (mask %llx of rbx rbp r12 r13 r14 r15 rsp)",
                  (unsigned long long)changed);
    harness_check(!((state[0] ^ state[1]) & 0xffc0), "the leaf changed MXCSR from %llx to %llx",
                  (unsigned long long)state[0], (unsigned long long)state[1]);
    harness_check(!(state[2] & 0x400), "the leaf left the direction flag set");
    harness_check(!(used & 4), "the leaf left upper halves of vector registers dirty (no vzeroupper)");
}

#else

void harness_call(harness_leaf *leaf, int count, const uint64_t *arguments)
{
    uint64_t a[8] = {0};
    for (int i = 0; i < count; i++)
        a[i] = arguments[i];
    ((void (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t))leaf)(
        a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
}

#endif
