/* SPDX-License-Identifier: Apache-2.0 */
/* CPU feature bundles: what cpuid reports and the operating system saves (xgetbv), and their names. */
#include "internal.h"

#include <string.h>

enum { BIT_PORTABLE = 1u << HUNZE_ISA_PORTABLE };

static const char *const isa_names[HUNZE_ISA_COUNT] = {
    [HUNZE_ISA_PORTABLE] = "portable",     [HUNZE_ISA_AVX2] = "avx2",
    [HUNZE_ISA_AVXVNNI] = "avxvnni",       [HUNZE_ISA_AVX512] = "avx512",
    [HUNZE_ISA_AVX512VNNI] = "avx512vnni", [HUNZE_ISA_AVX512BF16] = "avx512bf16",
    [HUNZE_ISA_CUDA_SM80] = "cuda_sm80",   [HUNZE_ISA_CUDA_SM90A] = "cuda_sm90a",
    [HUNZE_ISA_PROVIDER] = "provider",
};

const char *hunze_isa_name(hunze_isa isa) { return isa_names[isa]; }

bool hunze_isa_parse(const char *name, hunze_isa *isa)
{
    for (int i = 0; i < HUNZE_ISA_CPU_COUNT; i++)
        if (strcmp(name, isa_names[i]) == 0) {
            *isa = (hunze_isa)i;
            return true;
        }
    return false;
}

uint32_t hunze_isa_implied(hunze_isa isa)
{
    static const uint32_t implied[HUNZE_ISA_CPU_COUNT] = {
        [HUNZE_ISA_AVXVNNI] = 1u << HUNZE_ISA_AVX2,
        [HUNZE_ISA_AVX512] = 1u << HUNZE_ISA_AVX2,
        [HUNZE_ISA_AVX512VNNI] = 1u << HUNZE_ISA_AVX2 | 1u << HUNZE_ISA_AVX512,
        [HUNZE_ISA_AVX512BF16] = 1u << HUNZE_ISA_AVX2 | 1u << HUNZE_ISA_AVX512 | 1u << HUNZE_ISA_AVX512VNNI,
    };
    return BIT_PORTABLE | 1u << isa | implied[isa];
}

#if defined(__x86_64__)
#include <cpuid.h>

/* xgetbv by its bytes: the intrinsic would need -mxsave, and this file has no flags of its own. */
static uint64_t extended_control_register(void)
{
    uint32_t low, high;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

uint32_t hunze_cpu_bundles_from(const hunze_cpuid *id)
{
    enum { SAVES_YMM = 0x6, SAVES_ZMM = 0xe6 };
    uint32_t bundles = BIT_PORTABLE;
    if (!(id->leaf1_ecx & bit_OSXSAVE) || (id->xcr0 & SAVES_YMM) != SAVES_YMM)
        return bundles;
    const uint32_t leaf1 = bit_AVX | bit_FMA | bit_F16C;
    if ((id->leaf1_ecx & leaf1) != leaf1 || !(id->leaf7_ebx & bit_AVX2))
        return bundles;
    bundles |= 1u << HUNZE_ISA_AVX2;
    if (id->leaf7_1_eax & 1u << 4)
        bundles |= 1u << HUNZE_ISA_AVXVNNI;
    const uint32_t avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((id->xcr0 & SAVES_ZMM) != SAVES_ZMM || (id->leaf7_ebx & avx512) != avx512)
        return bundles;
    bundles |= 1u << HUNZE_ISA_AVX512;
    if (id->leaf7_ecx & bit_AVX512VNNI)
        bundles |= 1u << HUNZE_ISA_AVX512VNNI;
    if (id->leaf7_1_eax & 1u << 5)
        bundles |= 1u << HUNZE_ISA_AVX512BF16;
    return bundles;
}

uint32_t hunze_cpu_bundles(void)
{
    hunze_cpuid id = {0};
    uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d))
        id.leaf1_ecx = c;
    if (id.leaf1_ecx & bit_OSXSAVE)
        id.xcr0 = extended_control_register();
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        id.leaf7_ebx = b;
        id.leaf7_ecx = c;
        if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
            id.leaf7_1_eax = a;
    }
    return hunze_cpu_bundles_from(&id);
}

bool hunze_cpu_halves_512_from(uint32_t vendor, uint32_t signature)
{
    enum { AUTH = 0x68747541, ZEN_3_AND_4 = 0x19 }; /* "AuthenticAMD"; Zen 3 has no AVX-512, Zen 5 is family 0x1a */
    const uint32_t base = signature >> 8 & 0xf, extended = signature >> 20 & 0xff;
    return vendor == AUTH && base == 0xf && base + extended == ZEN_3_AND_4;
}

bool hunze_cpu_halves_512(void)
{
    uint32_t unused, vendor, signature, b, c, d;
    return __get_cpuid(0, &unused, &vendor, &c, &d) && __get_cpuid(1, &signature, &b, &c, &d) &&
           hunze_cpu_halves_512_from(vendor, signature);
}

void hunze_cpu_name(char name[49])
{
    uint32_t words[12];
    memset(name, 0, 49);
    if (__get_cpuid_max(0x80000000u, NULL) < 0x80000004u) {
        strcpy(name, "x86-64");
        return;
    }
    for (uint32_t i = 0; i < 3; i++)
        __cpuid(0x80000002u + i, words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]);
    memcpy(name, words, 48);
    for (size_t length = strlen(name); length > 0 && name[length - 1] == ' '; length--)
        name[length - 1] = 0;
}

#else

uint32_t hunze_cpu_bundles(void) { return BIT_PORTABLE; }

bool hunze_cpu_halves_512(void) { return false; }

void hunze_cpu_name(char name[49]) { strcpy(name, "unknown"); }

#endif
