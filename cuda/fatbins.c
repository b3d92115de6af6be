/* SPDX-License-Identifier: Apache-2.0 */
/* The images that cuda.cmake compiled into HUNZE_FATBIN_FOLDER, in a section of their own, and what fatbins.h says of each.  The
 * assembler writes both: so one list is enough, and no tool turns bytes into C. */
#include "fatbins.h"

#if HUNZE_CUDA_EMULATED_ONLY
#define IMAGE(file) ".ascii \"kernels of " file " are on the emulator only\"\n"
#else
#define IMAGE(file) ".incbin \"" HUNZE_FATBIN_FOLDER "/" file ".fatbin\"\n"
#endif

_Static_assert(sizeof(hunze_fatbin) == 24 && sizeof(void *) == 8, "a hunze_fatbin is three words of 8 bytes");

__asm__(".pushsection .data.rel.ro.hunze_fatbins,\"aw\",@progbits\n"
        ".balign 8\n"
        ".globl hunze_fatbins\n"
        ".type hunze_fatbins, @object\n"
        "hunze_fatbins:\n"
#define HUNZE_FATBIN(symbol, file)                                                                                     \
    ".globl " #symbol "\n"                                                                                             \
    ".type " #symbol ", @object\n"                                                                                     \
    ".size " #symbol ", 24\n" #symbol ":\n"                                                                            \
    ".pushsection .hunze_fatbin,\"a\",@progbits\n"                                                                     \
    ".balign 64\n"                                                                                                     \
    "1: " IMAGE(file) "2: .byte 0\n"                                                                                   \
                      "3: .asciz \"" file "\"\n"                                                                       \
                      ".popsection\n"                                                                                  \
                      ".quad 1b, 2b-1b, 3b\n"
#include "fatbins.def"
#undef HUNZE_FATBIN
        ".size hunze_fatbins, . - hunze_fatbins\n"
        ".popsection\n");
