/* SPDX-License-Identifier: Apache-2.0 */
/* Tiny kernels: right ones, and the same with one bug each.  test_emulator.cpp knows how each of them has to end. */
#include "ptx.cuh"
#include "test_emulator_kernels.h"

enum bug {
    NONE,
    NO_SYNC,
    NO_WAIT,
    NO_COMMIT,
    EARLY_READ,
    EARLY_REFILL,
    LEAVES_COPIES,
    OUTSIDE,
    BEFORE,
    CROSSES,
    MISALIGNED,
    MISALIGNED_SHARED,
    MISALIGNED_ZEROS,
    LEAVES_BARRIER,
    STAYS_ALONE,
    OTHER_BARRIER,
    TWO_WRITERS,
    BEYOND_SHARED,
    LANE_MISSING,
    WRONG_FRAGMENT
};

/* ------------------------------------------------------------------ through shared memory */

struct one_value_each {
    float values[TEST_THREADS];
};

template <int bug> HUNZE_INLINE void reverse(const test_floats &arguments)
{
    one_value_each &shared = SHARED(one_value_each);
    const int thread = thread_index();
    const int64_t i = block_x() * TEST_THREADS + thread, from = bug == OUTSIDE ? i + TEST_THREADS : i;
    float value = 0;
    if (bug == OUTSIDE || INSIDE(i < arguments.count))
        value = load_global(arguments.from + from - (bug == BEFORE ? arguments.count + 1 : 0));
    if (bug == MISALIGNED)
        value = load_global((const float *)((const char *)arguments.from + 2));
    if (bug == CROSSES)
        value = (float)load_global((const double *)(arguments.from + arguments.count - 1));
    store_shared(&shared.values[bug == TWO_WRITERS ? thread / 2 : thread], value);
    if ((bug == LEAVES_BARRIER && thread == 17) || (bug == STAYS_ALONE && thread != 17))
        return;
    if (bug == OTHER_BARRIER && thread >= 32)
        SYNC_BLOCK();
    else if (bug != NO_SYNC)
        SYNC_BLOCK();
    if (bug == MISALIGNED_SHARED)
        value = load_shared((const float *)((const char *)&shared.values[thread] + 1));
    value = load_shared(&shared.values[bug == BEYOND_SHARED ? TEST_THREADS + thread : TEST_THREADS - 1 - thread]);
    if (INSIDE(i < arguments.count))
        store_global(arguments.to + i, value);
}

KERNEL(test_reverse, TEST_THREADS, 1, test_floats) { reverse<NONE>(arguments); }
KERNEL(test_reverse_no_sync, TEST_THREADS, 1, test_floats) { reverse<NO_SYNC>(arguments); }
KERNEL(test_reverse_outside, TEST_THREADS, 1, test_floats) { reverse<OUTSIDE>(arguments); }
KERNEL(test_reverse_before, TEST_THREADS, 1, test_floats) { reverse<BEFORE>(arguments); }
KERNEL(test_reverse_crosses, TEST_THREADS, 1, test_floats) { reverse<CROSSES>(arguments); }
KERNEL(test_reverse_misaligned, TEST_THREADS, 1, test_floats) { reverse<MISALIGNED>(arguments); }
KERNEL(test_reverse_misaligned_shared, TEST_THREADS, 1, test_floats) { reverse<MISALIGNED_SHARED>(arguments); }
KERNEL(test_reverse_leaves_barrier, TEST_THREADS, 1, test_floats) { reverse<LEAVES_BARRIER>(arguments); }
KERNEL(test_reverse_stays_alone, TEST_THREADS, 1, test_floats) { reverse<STAYS_ALONE>(arguments); }
KERNEL(test_reverse_other_barrier, TEST_THREADS, 1, test_floats) { reverse<OTHER_BARRIER>(arguments); }
KERNEL(test_reverse_two_writers, TEST_THREADS, 1, test_floats) { reverse<TWO_WRITERS>(arguments); }
KERNEL(test_reverse_beyond_shared, TEST_THREADS, 1, test_floats) { reverse<BEYOND_SHARED>(arguments); }

/* Bytes of one word have different writers. */
struct one_byte_each {
    uint8_t bytes[TEST_THREADS];
};

template <int bug> HUNZE_INLINE void reverse_bytes(const test_floats &arguments)
{
    one_byte_each &shared = SHARED(one_byte_each);
    const int thread = thread_index();
    store_shared(&shared.bytes[thread], (uint8_t)load_global(arguments.from + thread));
    if (bug != NO_SYNC)
        SYNC_BLOCK();
    const uint32_t word = load_shared((const uint32_t *)&shared.bytes[(TEST_THREADS - 1 - thread) / 4 * 4]);
    store_global(arguments.to + thread, (float)(uint8_t)(word >> (TEST_THREADS - 1 - thread) % 4 * 8));
}

KERNEL(test_bytes_reverse, TEST_THREADS, 1, test_floats) { reverse_bytes<NONE>(arguments); }
KERNEL(test_bytes_no_sync, TEST_THREADS, 1, test_floats) { reverse_bytes<NO_SYNC>(arguments); }

/* One warp writes words whose bytes the other reads. */
KERNEL(test_bytes_of_words, TEST_THREADS, 1, test_floats)
{
    one_value_each &shared = SHARED(one_value_each);
    if (thread_index() < 32)
        store_shared(&shared.values[thread_index()], 1.0f);
    else
        store_global(arguments.to, (float)load_shared((const uint8_t *)&shared.values[thread_index() - 32]));
}

/* All lanes read a word that one of them then writes. */
KERNEL(test_bytes_and_readers, 32, 1, test_floats)
{
    one_value_each &shared = SHARED(one_value_each);
    const float sum = shuffle_xor(load_shared(&shared.values[0]), 1);
    if (thread_index() == 3)
        store_shared(&shared.values[0], sum);
}

/* ------------------------------------------------------------------ copies */

struct two_stages {
    float values[2][TEST_THREADS][4];
};

/* to[thread] = the sum over stages of the four values that the neighbouring thread copied; copies of the next stage fly meanwhile. */
template <int bug> HUNZE_INLINE void pipeline(const test_floats &arguments)
{
    two_stages &shared = SHARED(two_stages);
    const int thread = thread_index();
    const float *from = arguments.from + thread * 4;
    float sum = 0;
    copy_async<16>(shared.values[0][thread], from, true);
    if (bug == MISALIGNED_ZEROS)
        copy_async<16>(shared.values[1][thread], from + 1, false);
    if (bug != NO_COMMIT)
        copy_async_commit();
    for (int stage = 0; stage < TEST_STAGES; stage++) {
        const bool more = stage + 1 < TEST_STAGES;
        if (bug == EARLY_REFILL || bug == LEAVES_COPIES || INSIDE(more)) {
            copy_async<16>(shared.values[(stage + 1) % 2][thread], from + (stage + 1) * TEST_THREADS * 4, more);
            copy_async_commit();
            if (bug != NO_WAIT)
                copy_async_wait<1>();
        } else
            copy_async_wait<0>();
        if (bug != EARLY_READ)
            SYNC_BLOCK();
        for (int i = 0; i < 4; i++)
            sum += load_shared(&shared.values[stage % 2][thread ^ 1][i]);
        if (bug != EARLY_REFILL)
            SYNC_BLOCK();
    }
    if (bug == EARLY_REFILL)
        copy_async_wait<0>();
    store_global(arguments.to + thread, sum);
}

KERNEL(test_pipeline, TEST_THREADS, 1, test_floats) { pipeline<NONE>(arguments); }
KERNEL(test_pipeline_no_wait, TEST_THREADS, 1, test_floats) { pipeline<NO_WAIT>(arguments); }
KERNEL(test_pipeline_no_commit, TEST_THREADS, 1, test_floats) { pipeline<NO_COMMIT>(arguments); }
KERNEL(test_pipeline_misaligned_zeros, TEST_THREADS, 1, test_floats) { pipeline<MISALIGNED_ZEROS>(arguments); }
KERNEL(test_pipeline_early_read, TEST_THREADS, 1, test_floats) { pipeline<EARLY_READ>(arguments); }
KERNEL(test_pipeline_early_refill, TEST_THREADS, 1, test_floats) { pipeline<EARLY_REFILL>(arguments); }
KERNEL(test_pipeline_leaves_copies, TEST_THREADS, 1, test_floats) { pipeline<LEAVES_COPIES>(arguments); }

/* How many values of a copy cannot be seen before the wait, read behind the emulator's back; and that zeros arrive. */
KERNEL(test_copy_is_late, 32, 1, test_floats)
{
    two_stages &shared = SHARED(two_stages);
    float *mine = shared.values[0][thread_index()];
    for (int i = 0; i < 4; i++)
        store_shared(mine + i, 0.0f);
    copy_async<16>(mine, arguments.from, true);
    copy_async<16>(shared.values[1][thread_index()], arguments.from, false);
    copy_async_commit();
    int late = 0;
    for (int i = 0; i < 4; i++)
        late += *(volatile float *)&mine[i] != *(volatile float *)&mine[i]; /* NaN */
    copy_async_wait<0>();
    store_global(arguments.to + thread_index(), (float)late + load_shared(&shared.values[1][thread_index()][3]));
}

/* The first 0 … 16 of the memory's bytes; or one behind its last. */
template <int bug> HUNZE_INLINE void copy_first(const test_floats &arguments)
{
    two_stages &shared = SHARED(two_stages);
    float *mine = shared.values[0][thread_index()];
    if (bug == OUTSIDE)
        copy_async_first<16>(mine, arguments.from + arguments.count, 1);
    else
        copy_async_first<16>(mine, arguments.from, thread_index() % 17);
    copy_async_commit();
    copy_async_wait<0>();
    for (int i = 0; i < 4; i++)
        store_global(arguments.to + 4 * thread_index() + i, load_shared(mine + i));
}

KERNEL(test_copy_first, 32, 1, test_floats) { copy_first<NONE>(arguments); }
KERNEL(test_copy_first_outside, 32, 1, test_floats) { copy_first<OUTSIDE>(arguments); }

/* ------------------------------------------------------------------ warps */

template <int bug> HUNZE_INLINE void warp_sum(const test_floats &arguments)
{
    float sum = load_global(arguments.from + thread_index());
    if (bug == LANE_MISSING && thread_index() == 40)
        return;
    for (int mask = 16; mask; mask /= 2)
        sum += shuffle_xor(sum, mask);
    store_global(arguments.to + thread_index(), sum);
}

KERNEL(test_warp_sum, TEST_THREADS, 1, test_floats) { warp_sum<NONE>(arguments); }
KERNEL(test_warp_sum_lane_missing, TEST_THREADS, 1, test_floats) { warp_sum<LANE_MISSING>(arguments); }

template <int bug> HUNZE_INLINE void product(const test_bytes &arguments, bool is_signed)
{
    const int group = thread_index() / 4, member = thread_index() % 4;
    const int column = bug == WRONG_FRAGMENT ? 4 * (member ^ 1) : 4 * member;
    uint32_t a[4], b[2];
    int32_t d[4];
    for (int i = 0; i < 4; i++)
        a[i] = load_global((const uint32_t *)&arguments.a[(group + 8 * (i & 1)) * 32 + column + 16 * (i >> 1)]);
    for (int i = 0; i < 2; i++)
        b[i] = load_global((const uint32_t *)&arguments.b[group * 32 + 4 * member + 16 * i]);
    for (int i = 0; i < 4; i++)
        d[i] = load_global(&arguments.d[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)]);
    if (is_signed)
        mma_s8s8(d, a, b);
    else
        mma_u8s8(d, a, b);
    for (int i = 0; i < 4; i++)
        store_global(&arguments.d[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)], d[i]);
}

KERNEL(test_product_u8s8, 32, 1, test_bytes) { product<NONE>(arguments, false); }
KERNEL(test_product_s8s8, 32, 1, test_bytes) { product<NONE>(arguments, true); }
KERNEL(test_product_wrong_fragment, 32, 1, test_bytes) { product<WRONG_FRAGMENT>(arguments, false); }

struct narrow_operands {
    uint16_t a[256], b[128];
};

template <bool F16, bool TRANSPOSED, int bug> HUNZE_INLINE void narrow_product(const test_narrow &arguments)
{
    narrow_operands &shared = SHARED(narrow_operands);
    const int lane = thread_index(), row = lane % 8, which = lane / 8;
    for (int i = lane; i < 256; i += 32)
        store_shared(&shared.a[i], load_global(&arguments.a[i]));
    for (int i = lane; i < 128; i += 32)
        store_shared(&shared.b[i], load_global(&arguments.b[i]));
    SYNC_BLOCK();
    /* Matrices of a: rows 0 and 8 of columns 0, then of columns 8.  Of b: columns 0, then 8, both twice. */
    const int a_row = which % 2 * 8, a_k = which / 2 * 8, b_k = (bug == WRONG_FRAGMENT ? 1 - which % 2 : which % 2) * 8;
    uint32_t a[4], b[4];
    ldmatrix<TRANSPOSED>(a, &shared.a[TRANSPOSED ? (a_k + row) * 16 + a_row : (a_row + row) * 16 + a_k]);
    ldmatrix<TRANSPOSED>(b, &shared.b[TRANSPOSED ? (b_k + row) * 8 : row * 16 + b_k]);
    const uint32_t b_fragment[2] = {b[2], b[3]};
    float d[4];
    for (int i = 0; i < 4; i++)
        d[i] = load_global(&arguments.d[(lane / 4 + 8 * (i >> 1)) * 8 + 2 * (lane % 4) + (i & 1)]);
    if (F16)
        mma_f16(d, a, b_fragment);
    else
        mma_bf16(d, a, b_fragment);
    for (int i = 0; i < 4; i++)
        store_global(&arguments.d[(lane / 4 + 8 * (i >> 1)) * 8 + 2 * (lane % 4) + (i & 1)], d[i]);
}

KERNEL(test_narrow_bf16, 32, 1, test_narrow) { narrow_product<false, false, NONE>(arguments); }
KERNEL(test_narrow_bf16_transposed, 32, 1, test_narrow) { narrow_product<false, true, NONE>(arguments); }
KERNEL(test_narrow_f16, 32, 1, test_narrow) { narrow_product<true, false, NONE>(arguments); }
KERNEL(test_narrow_f16_transposed, 32, 1, test_narrow) { narrow_product<true, true, NONE>(arguments); }
KERNEL(test_narrow_bf16_wrong_fragment, 32, 1, test_narrow) { narrow_product<false, false, WRONG_FRAGMENT>(arguments); }

/* The same sums, four products at a time. */
KERNEL(test_dot4, 32, 1, test_bytes)
{
    for (int i = thread_index(); i < 128; i += 32) {
        int32_t sum = load_global(&arguments.d[i]);
        for (int k = 0; k < 32; k += 4)
            sum = dot4_u8s8(load_global((const uint32_t *)&arguments.a[i / 8 * 32 + k]),
                            load_global((const uint32_t *)&arguments.b[i % 8 * 32 + k]), sum);
        store_global(&arguments.d[i], sum);
    }
}

/* ------------------------------------------------------------------ counting */

struct banks {
    float words[32 * 1024];
};

/* Each lane writes 4096 bytes after its neighbour, then next to it, half of them one word more; then it reads 16 bytes in order. */
KERNEL(test_banks, 32, 1, test_floats)
{
    banks &shared = SHARED(banks);
    store_shared(&shared.words[thread_index() * 1024], 1.0f);
    if (thread_index() % 2)
        store_shared(&shared.words[16384 + thread_index()], 1.0f);
    for (int i = 0; i < 4; i++)
        store_shared(&shared.words[1024 * i + 32 + thread_index()], 1.0f);
    SYNC_BLOCK();
    struct alignas(16) four {
        float values[4];
    };
    const four value = load_shared((const four *)&shared.words[8192 + thread_index() * 4]);
    store_global(arguments.to + thread_index(), value.values[0]);
}

/* A chain of fma as long as count. */
KERNEL(test_fma, 32, 1, test_floats)
{
    float sum = 0;
    for (int64_t i = 0; i < arguments.count; i++)
        sum = fma_rn(load_global(arguments.from + i), load_global(arguments.from + i), sum);
    store_global(arguments.to + thread_index(), sum);
}
