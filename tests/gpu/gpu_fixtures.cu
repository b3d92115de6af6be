/* SPDX-License-Identifier: Apache-2.0 */
/* What single instructions do with operands that tell where they came from (gpu_fixtures.c): on a GPU a record of the hardware, on the stand-in
 * driver the emulator's answer to the same questions. */
#include "../../cuda/ptx.cuh"
#include "gpu_fixtures.h"

/* An element's address, in digits that fit a signed byte and are never 0: 0 in the result means that nothing came. */
HUNZE_INLINE uint32_t digit(int address, int which) { return (uint32_t)(which ? address / 120 : address % 120) + 1; }

/* A block is a warp and a byte of B's registers: that byte is 1, all others 0, so each element of D is the one element of A that meets it. */
template <bool is_signed> HUNZE_INLINE void map_of_mma(const hunze_fixture_call &call)
{
    const int thread = thread_index(), at = (int)block_x(), which = (int)block_y();
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; i++) {
        a[i] = 0;
        for (int byte = 0; byte < 4; byte++)
            a[i] |= digit(thread * 16 + i * 4 + byte, which) << (8 * byte);
    }
    for (int i = 0; i < 2; i++) {
        b[i] = 0;
        for (int byte = 0; byte < 4; byte++)
            b[i] |= (uint32_t)(thread * 8 + i * 4 + byte == at) << (8 * byte);
    }
    int32_t d[4] = {0, 0, 0, 0};
    if (is_signed)
        mma_s8s8(d, a, b);
    else
        mma_u8s8(d, a, b);
    for (int i = 0; i < 4; i++)
        store_global(call.out + ((which * 256 + at) * 128 + thread * 4 + i), (uint32_t)d[i]);
}

KERNEL(hunze_fixture_mma_u8s8, 32, 1, hunze_fixture_call) { map_of_mma<false>(arguments); }
KERNEL(hunze_fixture_mma_s8s8, 32, 1, hunze_fixture_call) { map_of_mma<true>(arguments); }

/* The same of two elements to a register, whose numbers up to 256 are exact: 1 and an address in A, of which there are 256. */
template <bool is_bf16> HUNZE_INLINE void map_of_half_mma(const hunze_fixture_call &call)
{
    const int thread = thread_index(), at = (int)block_x();
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; i++) {
        const float address = (float)(thread * 8 + i * 2 + 1);
        a[i] = is_bf16 ? round_bf16_pair(address, address + 1) : round_f16_pair(address, address + 1);
    }
    for (int i = 0; i < 2; i++) {
        const float low = thread * 4 + i * 2 == at, high = thread * 4 + i * 2 + 1 == at;
        b[i] = is_bf16 ? round_bf16_pair(low, high) : round_f16_pair(low, high);
    }
    float d[4] = {0, 0, 0, 0};
    if (is_bf16)
        mma_bf16(d, a, b);
    else
        mma_f16(d, a, b);
    for (int i = 0; i < 4; i++)
        store_global(call.out + (at * 128 + thread * 4 + i), (uint32_t)d[i]);
}

KERNEL(hunze_fixture_mma_bf16, 32, 1, hunze_fixture_call) { map_of_half_mma<true>(arguments); }
KERNEL(hunze_fixture_mma_f16, 32, 1, hunze_fixture_call) { map_of_half_mma<false>(arguments); }

/* Rows of 16 bytes whose elements are their addresses; lane i asks for row i, or in the second block for row 5 * i + 3. */
struct fixture_rows {
    alignas(128) uint16_t elements[32][8];
};
template <bool TRANSPOSED> HUNZE_INLINE void map_of_ldmatrix(const hunze_fixture_call &call)
{
    fixture_rows &rows = SHARED(fixture_rows);
    const int thread = thread_index(), row = block_x() ? (5 * thread + 3) % 32 : thread;
    for (int i = 0; i < 8; i++)
        store_shared(&rows.elements[thread][i], (uint16_t)(thread * 8 + i));
    SYNC_BLOCK();
    uint32_t d[4];
    ldmatrix<TRANSPOSED>(d, rows.elements[row]);
    for (int i = 0; i < 4; i++)
        store_global(call.out + (block_x() * 128 + thread * 4 + i), d[i]);
}
KERNEL(hunze_fixture_ldmatrix, 32, 1, hunze_fixture_call) { map_of_ldmatrix<false>(arguments); }
KERNEL(hunze_fixture_ldmatrix_transposed, 32, 1, hunze_fixture_call) { map_of_ldmatrix<true>(arguments); }

/* Block i copies the first i bytes of 16; the rest becomes 0. */
KERNEL(hunze_fixture_copy_first, 32, 1, hunze_fixture_call)
{
    fixture_rows &rows = SHARED(fixture_rows);
    const int thread = thread_index();
    for (int i = 0; i < 8; i++)
        store_shared(&rows.elements[thread][i], (uint16_t)0xFFFF);
    copy_async_first<16>(rows.elements[thread], arguments.in + 4 * thread, (int)block_x());
    copy_async_commit();
    copy_async_wait<0>();
    SYNC_BLOCK();
    for (int i = 0; i < 4; i++)
        store_global(arguments.out + (block_x() * 128 + thread * 4 + i),
                     load_shared(reinterpret_cast<const uint32_t *>(rows.elements[thread]) + i));
}

HUNZE_INLINE float as_f32(uint32_t word)
{
    union {
        uint32_t word;
        float value;
    } u = {word};
    return u.value;
}
HUNZE_INLINE uint32_t as_word(float value)
{
    union {
        float value;
        uint32_t word;
    } u = {value};
    return u.word;
}

/* Three words of input per thread, one of output. */
KERNEL(hunze_fixture_arithmetic, 32, 1, hunze_fixture_call)
{
    const int64_t i = block_x() * 32 + thread_index();
    const uint32_t x = load_global(arguments.in + 3 * i), y = load_global(arguments.in + 3 * i + 1),
                   z = load_global(arguments.in + 3 * i + 2);
    uint32_t result = 0;
    switch (arguments.operation) {
    case HUNZE_FIXTURE_FMA: result = as_word(fma_rn(as_f32(x), as_f32(y), as_f32(z))); break;
    case HUNZE_FIXTURE_MULTIPLY: result = as_word(as_f32(x) * as_f32(y)); break;
    case HUNZE_FIXTURE_ADD: result = as_word(as_f32(x) + as_f32(y)); break;
    case HUNZE_FIXTURE_MULTIPLY_ADD: /* two roundings: the compiler may not join them */
        result = as_word(as_f32(x) * as_f32(y) + as_f32(z));
        break;
    case HUNZE_FIXTURE_DIVIDE: result = as_word(as_f32(x) / as_f32(y)); break;
    case HUNZE_FIXTURE_DOT4_U8S8: result = (uint32_t)dot4_u8s8(x, y, (int32_t)z); break;
    case HUNZE_FIXTURE_DOT4_S8S8: result = (uint32_t)dot4_s8s8(x, y, (int32_t)z); break;
    case HUNZE_FIXTURE_PERMUTE: result = permute_bytes(x, y, z & 0x7777); break;
    case HUNZE_FIXTURE_ROUND_BF16: result = round_bf16_pair(as_f32(x ^ y), as_f32(x + z)); break;
    case HUNZE_FIXTURE_ROUND_F16: result = round_f16_pair(as_f32(x ^ y), as_f32(x + z)); break;
    case HUNZE_FIXTURE_WIDEN_F16: result = as_word(widen_f16((uint16_t)(x ^ y >> 16 ^ z >> 11))); break;
    default: /* HUNZE_FIXTURE_SHUFFLE */
        for (int mask = 1; mask < 32; mask++)
            result = 31 * result + shuffle_xor(x, mask);
    }
    store_global(arguments.out + i, result);
}
