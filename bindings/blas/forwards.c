/* SPDX-License-Identifier: Apache-2.0 */
/* A jump for each function of forwards.def.  In assembler, because a function that only jumps on serves every list of arguments and every result. */
#include "blas.h"

_Static_assert(sizeof(hunze_blas_forward) == 16, "a forward is two words of 8 bytes");

#if defined(__x86_64__)
/* r11 belongs to nobody between caller and function. */
#define HUNZE_BLAS_JUMP(name)                                                                                          \
    "jmp *.Lforward_" name "(%rip)\n"                                                                                  \
    ".Lfirst_" name ":\n"                                                                                              \
    "leaq .Lforward_" name "(%rip), %r11\n"                                                                            \
    "jmp .Lresolve\n"
/* Registers that carry arguments are kept over the call of C. */
#define HUNZE_BLAS_RESOLVE                                                                                             \
    ".cfi_startproc\n"                                                                                                 \
    "subq $184, %rsp\n"                                                                                                \
    ".cfi_adjust_cfa_offset 184\n"                                                                                     \
    "movq %rdi, (%rsp)\n"                                                                                              \
    "movq %rsi, 8(%rsp)\n"                                                                                             \
    "movq %rdx, 16(%rsp)\n"                                                                                            \
    "movq %rcx, 24(%rsp)\n"                                                                                            \
    "movq %r8, 32(%rsp)\n"                                                                                             \
    "movq %r9, 40(%rsp)\n"                                                                                             \
    "movups %xmm0, 48(%rsp)\n"                                                                                         \
    "movups %xmm1, 64(%rsp)\n"                                                                                         \
    "movups %xmm2, 80(%rsp)\n"                                                                                         \
    "movups %xmm3, 96(%rsp)\n"                                                                                         \
    "movups %xmm4, 112(%rsp)\n"                                                                                        \
    "movups %xmm5, 128(%rsp)\n"                                                                                        \
    "movups %xmm6, 144(%rsp)\n"                                                                                        \
    "movups %xmm7, 160(%rsp)\n"                                                                                        \
    "movq %r11, %rdi\n"                                                                                                \
    "call hunze_blas_resolve\n"                                                                                        \
    "movq %rax, %r11\n"                                                                                                \
    "movq (%rsp), %rdi\n"                                                                                              \
    "movq 8(%rsp), %rsi\n"                                                                                             \
    "movq 16(%rsp), %rdx\n"                                                                                            \
    "movq 24(%rsp), %rcx\n"                                                                                            \
    "movq 32(%rsp), %r8\n"                                                                                             \
    "movq 40(%rsp), %r9\n"                                                                                             \
    "movups 48(%rsp), %xmm0\n"                                                                                         \
    "movups 64(%rsp), %xmm1\n"                                                                                         \
    "movups 80(%rsp), %xmm2\n"                                                                                         \
    "movups 96(%rsp), %xmm3\n"                                                                                         \
    "movups 112(%rsp), %xmm4\n"                                                                                        \
    "movups 128(%rsp), %xmm5\n"                                                                                        \
    "movups 144(%rsp), %xmm6\n"                                                                                        \
    "movups 160(%rsp), %xmm7\n"                                                                                        \
    "addq $184, %rsp\n"                                                                                                \
    ".cfi_adjust_cfa_offset -184\n"                                                                                    \
    "jmp *%r11\n"                                                                                                      \
    ".cfi_endproc\n"
#elif defined(__aarch64__)
/* x16 and x17 belong to nobody between caller and function. */
#define HUNZE_BLAS_JUMP(name)                                                                                          \
    "adrp x16, .Lforward_" name "\n"                                                                                   \
    "ldr x17, [x16, :lo12:.Lforward_" name "]\n"                                                                       \
    "br x17\n"                                                                                                         \
    ".Lfirst_" name ":\n"                                                                                              \
    "adrp x16, .Lforward_" name "\n"                                                                                   \
    "add x16, x16, :lo12:.Lforward_" name "\n"                                                                         \
    "b .Lresolve\n"
#define HUNZE_BLAS_RESOLVE                                                                                             \
    ".cfi_startproc\n"                                                                                                 \
    "stp x29, x30, [sp, #-224]!\n"                                                                                     \
    ".cfi_def_cfa_offset 224\n"                                                                                        \
    ".cfi_offset x29, -224\n"                                                                                          \
    ".cfi_offset x30, -216\n"                                                                                          \
    "stp x0, x1, [sp, #16]\n"                                                                                          \
    "stp x2, x3, [sp, #32]\n"                                                                                          \
    "stp x4, x5, [sp, #48]\n"                                                                                          \
    "stp x6, x7, [sp, #64]\n"                                                                                          \
    "str x8, [sp, #80]\n"                                                                                              \
    "stp q0, q1, [sp, #96]\n"                                                                                          \
    "stp q2, q3, [sp, #128]\n"                                                                                         \
    "stp q4, q5, [sp, #160]\n"                                                                                         \
    "stp q6, q7, [sp, #192]\n"                                                                                         \
    "mov x0, x16\n"                                                                                                    \
    "bl hunze_blas_resolve\n"                                                                                          \
    "mov x16, x0\n"                                                                                                    \
    "ldp x0, x1, [sp, #16]\n"                                                                                          \
    "ldp x2, x3, [sp, #32]\n"                                                                                          \
    "ldp x4, x5, [sp, #48]\n"                                                                                          \
    "ldp x6, x7, [sp, #64]\n"                                                                                          \
    "ldr x8, [sp, #80]\n"                                                                                              \
    "ldp q0, q1, [sp, #96]\n"                                                                                          \
    "ldp q2, q3, [sp, #128]\n"                                                                                         \
    "ldp q4, q5, [sp, #160]\n"                                                                                         \
    "ldp q6, q7, [sp, #192]\n"                                                                                         \
    "ldp x29, x30, [sp], #224\n"                                                                                       \
    ".cfi_def_cfa_offset 0\n"                                                                                          \
    "br x16\n"                                                                                                         \
    ".cfi_endproc\n"
#else
#error "the jumps of libhunze_blas.so are written for x86-64 and aarch64"
#endif

/* A hunze_blas_forward, which the jump reads, and behind the jump what its target is at first. */
#define HUNZE_BLAS_FORWARD(function)                                                                                   \
    ".globl " #function "\n"                                                                                           \
    ".type " #function ", %function\n"                                                                                 \
    ".balign 16\n" #function ":\n" HUNZE_BLAS_JUMP(#function) ".size " #function ", . - " #function "\n"               \
                                                              ".pushsection .rodata.str1.1,\"aMS\",%progbits,1\n"      \
                                                              ".Lname_" #function ": .asciz \"" #function "\"\n"       \
                                                              ".popsection\n"                                          \
                                                              ".pushsection .data.rel.local,\"aw\",%progbits\n"        \
                                                              ".balign 16\n"                                           \
                                                              ".Lforward_" #function ": .quad .Lfirst_" #function      \
                                                              ", .Lname_" #function "\n"                               \
                                                              ".popsection\n"

__asm__(".pushsection .text\n"
        ".Lresolve:\n" HUNZE_BLAS_RESOLVE
#include "forwards.def"
        ".popsection\n");
