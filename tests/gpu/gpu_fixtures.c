/* SPDX-License-Identifier: Apache-2.0 */
/* Asks single instructions of the first device where their operands come from and what they round to, and writes the answers:
 *
 *   gpu_fixtures IMAGES OUT [RECORDED]
 *
 * IMAGES holds gpu_fixtures*.fatbin and gpu_sums*.fatbin; OUT gets a text file per question.  Fails where an answer is not what the PTX ISA or
 * IEEE 754 say, or differs from the file of the same name in RECORDED, which a GPU wrote.  What the emulator does not have is left out there. */
#include "gpu_fixtures.h"
#include "gpu_questions.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPECIAL = 18, EXPONENTS = 64, CHAINS = 4096 };

/* ------------------------------------------------------------------ mma.m16n8k32: which elements meet */

/* The address (thread * registers + …) of element (row, column), as the PTX ISA has it. */
static int address_a(int row, int k) { return (row % 8 * 4 + k % 16 / 4) * 16 + (row / 8 + k / 16 * 2) * 4 + k % 4; }
static int address_b(int k, int column) { return (column * 4 + k % 16 / 4) * 8 + k / 16 * 4 + k % 4; }
static int address_d(int row, int column) { return (row % 8 * 4 + column / 2) * 4 + row / 8 * 2 + column % 2; }

static void mma(CUlibrary library, const char *type)
{
    enum { BYTES_B = 256, SUMS = 128 };
    static uint32_t digits[2][BYTES_B][SUMS];
    static uint32_t got[BYTES_B * SUMS], specified[BYTES_B * SUMS]; /* the address in A, plus 1 */
    char name[64], kernel[64];
    snprintf(name, sizeof name, "mma_%s", type);
    snprintf(kernel, sizeof kernel, "hunze_fixture_mma_%s", type);
    if (!gpu_ask(library, kernel, (const unsigned[]){BYTES_B, 2, 1}, 0, 0, NULL, 0, &digits[0][0][0],
                 2 * BYTES_B * SUMS)) {
        gpu_no_kernel(kernel);
        return;
    }
    memset(specified, 0, sizeof specified);
    for (int k = 0; k < 32; k++)
        for (int column = 0; column < 8; column++)
            for (int row = 0; row < 16; row++)
                specified[address_b(k, column) * SUMS + address_d(row, column)] = (uint32_t)address_a(row, k) + 1;
    for (int b = 0; b < BYTES_B; b++)
        for (int d = 0; d < SUMS; d++) {
            const uint32_t low = digits[0][b][d], high = digits[1][b][d];
            got[b * SUMS + d] = low ? (high - 1) * 120 + low : 0;
        }
    gpu_keep(name,
             "byte of B: for each element of D the byte of A, plus 1; an address is (thread * registers + register) * "
             "bytes + byte",
             got, specified, BYTES_B, SUMS);
}

/* ------------------------------------------------------------------ mma.m16n8k16, ldmatrix, cp.async */

static int half_a(int row, int k) { return (row % 8 * 4 + k % 8 / 2) * 8 + (row / 8 + k / 8 * 2) * 2 + k % 2; }
static int half_b(int k, int column) { return (column * 4 + k % 8 / 2) * 4 + k / 8 * 2 + k % 2; }

static void half_mma(CUlibrary library, const char *type)
{
    enum { B = 128, SUMS = 128 };
    static uint32_t got[B * SUMS], specified[B * SUMS];
    char name[64], kernel[64];
    snprintf(name, sizeof name, "mma_%s", type);
    snprintf(kernel, sizeof kernel, "hunze_fixture_mma_%s", type);
    if (!gpu_ask(library, kernel, (const unsigned[]){B, 1, 1}, 0, 0, NULL, 0, got, B * SUMS)) {
        gpu_no_kernel(kernel);
        return;
    }
    memset(specified, 0, sizeof specified);
    for (int k = 0; k < 16; k++)
        for (int column = 0; column < 8; column++)
            for (int row = 0; row < 16; row++)
                specified[half_b(k, column) * SUMS + address_d(row, column)] = (uint32_t)half_a(row, k) + 1;
    gpu_keep(
        name,
        "element of B: for each element of D the element of A, plus 1; an address is (thread * registers + register) "
        "* 2 + half",
        got, specified, B, SUMS);
}

static void matrices(CUlibrary library, bool transposed)
{
    enum { BLOCKS = 2, WORDS = 128 };
    const char *name = transposed ? "ldmatrix_transposed" : "ldmatrix";
    uint32_t got[BLOCKS * WORDS], specified[BLOCKS * WORDS];
    char kernel[64];
    snprintf(kernel, sizeof kernel, "hunze_fixture_%s", name);
    if (!gpu_ask(library, kernel, (const unsigned[]){BLOCKS, 1, 1}, 512, 0, NULL, 0, got, BLOCKS * WORDS)) {
        gpu_no_kernel(kernel);
        return;
    }
    for (int block = 0; block < BLOCKS; block++)
        for (int lane = 0; lane < 32; lane++)
            for (int i = 0; i < 4; i++) {
                uint32_t word = 0;
                for (int half = 0; half < 2; half++) {
                    const int row = transposed ? lane % 4 * 2 + half : lane / 4,
                              column = transposed ? lane / 4 : lane % 4 * 2 + half, asked = 8 * i + row;
                    word |= (uint32_t)((block ? (5 * asked + 3) % 32 : asked) * 8 + column) << (16 * half);
                }
                specified[block * WORDS + lane * 4 + i] = word;
            }
    gpu_keep(name, "block: the words of each thread, two elements each, which are row * 8 + column", got, specified,
             BLOCKS, WORDS);
}

static void first_bytes(CUlibrary library)
{
    enum { COUNTS = 17, WORDS = 128 };
    static uint32_t in[WORDS], got[COUNTS * WORDS], specified[COUNTS * WORDS];
    for (int i = 0; i < WORDS; i++)
        in[i] = 0x01010101u * (uint32_t)(i + 1) ^ 0x00081018u;
    if (!gpu_ask(library, "hunze_fixture_copy_first", (const unsigned[]){COUNTS, 1, 1}, 512, 0, in, WORDS, got,
                 COUNTS * WORDS)) {
        gpu_no_kernel("hunze_fixture_copy_first");
        return;
    }
    for (int count = 0; count < COUNTS; count++)
        for (int i = 0; i < WORDS; i++)
            memcpy((char *)&specified[count * WORDS + i], &in[i],
                   (size_t)(count - i % 4 * 4 < 0   ? 0
                            : count - i % 4 * 4 > 4 ? 4
                                                    : count - i % 4 * 4));
    gpu_keep("copy_first", "bytes copied: the words of 32 times 16 bytes", got, specified, COUNTS, WORDS);
}

/* ------------------------------------------------------------------ arithmetic: what instructions round to */

static float as_f32(uint32_t word)
{
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}
static uint32_t as_word(float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

static int32_t dot4(uint32_t a, bool a_signed, uint32_t b, int32_t sum)
{
    for (int i = 0; i < 32; i += 8) {
        const int32_t x = a_signed ? (int8_t)(a >> i) : (uint8_t)(a >> i);
        sum = (int32_t)((uint32_t)sum + (uint32_t)(x * (int8_t)(b >> i)));
    }
    return sum;
}

/* Sixteen bits, so many of them an exponent: to nearest, ties to even, beyond the range to an infinity, a NaN to the one that has all bits but
 * the sign. */
static uint32_t rounded_to(uint32_t word, int exponent_bits)
{
    const float value = as_f32(word);
    const int mantissa_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1, least = 1 - bias;
    const uint32_t sign = word >> 16 & 0x8000;
    int exponent = 0;
    if (isnan(value))
        return 0x7FFF;
    if (isinf(value))
        return sign | ((1u << exponent_bits) - 1) << mantissa_bits;
    const double whole = fabs((double)value);
    frexp(whole, &exponent); /* whole = [0.5, 1) * 2^exponent */
    exponent = whole == 0 || exponent - 1 < least ? least : exponent - 1;
    /* Units of the last place; as many more as a mantissa has carry into the exponent, up to an infinity. */
    const uint32_t units = (uint32_t)nearbyint(ldexp(whole, mantissa_bits - exponent));
    const uint32_t bits = units + ((uint32_t)(exponent - least) << mantissa_bits);
    const uint32_t infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
    return sign | (bits < infinity ? bits : infinity);
}

static uint32_t widened_f16(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3FF;
    if (exponent == 31)
        return sign | 0x7F800000 | mantissa << 13;
    return sign | as_word(ldexpf((float)(mantissa | (exponent ? 0x400 : 0)), (exponent ? (int)exponent : 1) - 25));
}

/* What thread i's words make; `all` are those of its block. */
static uint32_t specified_result(int operation, const uint32_t *all, int64_t i)
{
    const uint32_t x = all[3 * i], y = all[3 * i + 1], z = all[3 * i + 2];
    const uint64_t both = (uint64_t)y << 32 | x;
    uint32_t result = 0;
    switch (operation) {
    case HUNZE_FIXTURE_FMA: return as_word(fmaf(as_f32(x), as_f32(y), as_f32(z)));
    case HUNZE_FIXTURE_MULTIPLY: return as_word(as_f32(x) * as_f32(y));
    case HUNZE_FIXTURE_ADD: return as_word(as_f32(x) + as_f32(y));
    case HUNZE_FIXTURE_MULTIPLY_ADD: return as_word(as_f32(x) * as_f32(y) + as_f32(z));
    case HUNZE_FIXTURE_DIVIDE: return as_word(as_f32(x) / as_f32(y));
    case HUNZE_FIXTURE_DOT4_U8S8: return (uint32_t)dot4(x, false, y, (int32_t)z);
    case HUNZE_FIXTURE_DOT4_S8S8: return (uint32_t)dot4(x, true, y, (int32_t)z);
    case HUNZE_FIXTURE_ROUND_BF16: return rounded_to(x ^ y, 8) | rounded_to(x + z, 8) << 16;
    case HUNZE_FIXTURE_ROUND_F16: return rounded_to(x ^ y, 5) | rounded_to(x + z, 5) << 16;
    case HUNZE_FIXTURE_WIDEN_F16: return widened_f16((uint16_t)(x ^ y >> 16 ^ z >> 11));
    case HUNZE_FIXTURE_PERMUTE:
        for (int byte = 0; byte < 4; byte++)
            result |= (uint32_t)(both >> (8 * (z >> (4 * byte) & 7)) & 255) << (8 * byte);
        return result;
    default:
        for (int mask = 1; mask < 32; mask++)
            result = 31 * result + all[3 * ((i & ~31) + ((i & 31) ^ mask))];
        return result;
    }
}

static void arithmetic(CUlibrary library)
{
    static const char *const names[] = {"fma",       "multiply", "add",        "multiply_add", "divide",    "dot4_u8s8",
                                        "dot4_s8s8", "permute",  "round_bf16", "round_f16",    "widen_f16", "shuffle"};
    /* Zeros, the smallest and largest of each kind, halfway cases, infinities, a NaN, and words without meaning. */
    static const uint32_t special[SPECIAL] = {0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x00800000, 0x7F7FFFFF,
                                              0x3F800000, 0xBF800001, 0x3F7FFFFF, 0x33800000, 0x4B000001, 0x7F800000,
                                              0xFF800000, 0x7FC00000, 0x3DCCCCCD, 0xC2F6E979, 0x81FE0380, 0x5F3759DF};
    enum { COUNT = SPECIAL * SPECIAL * SPECIAL, ALL = (COUNT + 31) / 32 * 32 };
    static uint32_t in[3 * ALL], out[ALL];
    for (int i = 0; i < ALL; i++) {
        in[3 * i] = special[i % SPECIAL];
        in[3 * i + 1] = special[i / SPECIAL % SPECIAL];
        in[3 * i + 2] = special[i / SPECIAL / SPECIAL % SPECIAL];
    }
    for (int operation = 0; operation < HUNZE_FIXTURE_OPERATIONS; operation++) {
        if (!gpu_ask(library, "hunze_fixture_arithmetic", (const unsigned[]){ALL / 32, 1, 1}, 0, operation, in, 3 * ALL,
                     out, ALL)) {
            gpu_no_kernel("hunze_fixture_arithmetic");
            return;
        }
        const bool is_float = operation <= HUNZE_FIXTURE_DIVIDE || operation == HUNZE_FIXTURE_WIDEN_F16;
        uint32_t nan = 0, digest = 2166136261u;
        int wrong = 0;
        FILE *file = gpu_answer(names[operation]);
        for (int i = 0; i < ALL; i++) {
            const uint32_t want = specified_result(operation, in, i);
            if (is_float && isnan(as_f32(want)) && isnan(as_f32(out[i]))) {
                nan = nan ? nan : out[i]; /* which one is the device's own */
                continue;
            }
            digest = (digest ^ out[i]) * 16777619u;
            if (out[i] != want) {
                fprintf(file, "%08x %08x %08x gives %08x, specified is %08x\n", in[3 * i], in[3 * i + 1], in[3 * i + 2],
                        out[i], want);
                wrong++;
            }
        }
        fprintf(file, "digest of all results but NaN: %08x\n", digest);
        if (is_float)
            printf("%s: NaN is %08x\n", names[operation], nan);
        gpu_answered(file, names[operation], wrong);
    }
}

/* ------------------------------------------------------------------ sums of tensor cores */

static void sums(CUlibrary library, const char *type, unsigned depth)
{
    static const char *const ways[] = {"1 + 2^-e", "1 - 2^-e", "1 + 2^-e - 1", "-1 + 2^-e, to 1 in d"};
    enum { WAYS = sizeof ways / sizeof *ways };
    static uint32_t out[WAYS * 16 * EXPONENTS];
    char kernel[64];
    snprintf(kernel, sizeof kernel, "hunze_sums_%s", type);
    const unsigned positions = depth - 2;
    const bool warpgroup = strncmp(type, "wgmma", 5) == 0; /* all exponents in one block */
    if (!gpu_ask_block(library, kernel, (const unsigned[]){warpgroup ? 1 : EXPONENTS, positions, WAYS},
                       warpgroup ? 128 : 32, warpgroup ? HUNZE_FIXTURE_TILES_BYTES : 0, 0, NULL, 0, out,
                       WAYS * positions * EXPONENTS))
        return; /* the emulator does not know, nor do other devices */
    snprintf(kernel, sizeof kernel, "sums_%s", type);
    FILE *file = gpu_answer(kernel);
    for (unsigned way = 0; way < WAYS; way++)
        for (unsigned position = 0; position < positions; position++) {
            fprintf(file, "%s, the small one at k = %u, e = 0 …:", ways[way], position + 1);
            for (unsigned e = 0; e < EXPONENTS; e++)
                fprintf(file, " %08x", out[(way * positions + position) * EXPONENTS + e]);
            fprintf(file, "\n");
        }
    gpu_answered(file, kernel, 0);
}

static void chains(CUlibrary library)
{
    static uint32_t differ[CHAINS];
    if (!gpu_ask(library, "hunze_sums_f64", (const unsigned[]){CHAINS, 1, 1}, 0, 0, NULL, 0, differ, CHAINS))
        return;
    int count = 0;
    for (int i = 0; i < CHAINS; i++)
        count += differ[i] != 0;
    FILE *file = gpu_answer("sums_f64");
    fprintf(file, "%d of %d sums of four differ from the ascending chain of fma\n", count, CHAINS);
    gpu_answered(file, "sums_f64", 0);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        puts("usage: gpu_fixtures IMAGES OUT [RECORDED]");
        return 1;
    }
    gpu_open();
    gpu_questions(argv[2], argv[3]);
    CUlibrary library = gpu_load(argv[1], "gpu_fixtures.fatbin");
    if (!library) {
        printf("no gpu_fixtures.fatbin in %s\n", argv[1]);
        return 1;
    }
    mma(library, "u8s8");
    mma(library, "s8s8");
    half_mma(library, "bf16");
    half_mma(library, "f16");
    matrices(library, false);
    matrices(library, true);
    first_bytes(library);
    arithmetic(library);
    library = gpu_load(argv[1], "gpu_sums.fatbin");
    sums(library, "bf16", 16);
    sums(library, "f16", 16);
    sums(library, "tf32", 8);
    chains(library);
    library = gpu_load(argv[1], "gpu_sums_sm90a.fatbin");
    sums(library, "wgmma_bf16", 16);
    sums(library, "wgmma_f16", 16);
    gpu_fixtures_sm90a(
        gpu_load(argv[1], "gpu_fixtures_sm90a.fatbin")); /* last: what waits for a copy may wait for ever */
    printf("%d faults\n", gpu_faults);
    return gpu_faults != 0;
}
