/* SPDX-License-Identifier: Apache-2.0 */
/* The emulator's barriers, copies of tiles, products of warpgroups and clocks: as test_emulator.cpp. */
#include "emulator_case.h"
#include "test_emulator_sm90a.h"

static const uint32_t TILES_BYTES = 2 * (TEST_M + TEST_N) * 128 + 32;

/* A map as the stand-in's cuTensorMapEncodeTiled makes it: of a matrix in rows of `stride` elements. */
static hunze_tensor_map map_of(const void *data, uint32_t element_bytes, uint32_t columns, uint32_t rows,
                               uint32_t stride, uint16_t box_columns, uint16_t box_rows)
{
    hunze_emulator_tensor_map m = {};
    m.is_map = HUNZE_EMULATOR_MAP;
    m.rank = 3;
    m.element_bytes = (uint8_t)element_bytes;
    m.swizzle_bytes = 128;
    m.address = (uintptr_t)data;
    m.steps[0] = m.steps[1] = m.steps[2] = 1;
    m.strides[0] = element_bytes;
    m.strides[1] = m.strides[2] = stride * element_bytes;
    m.last[0] = columns - 1;
    m.last[1] = rows - 1;
    m.box[0] = box_columns;
    m.box[1] = box_rows;
    m.box[2] = 1;
    hunze_tensor_map map = {};
    memcpy(map.bytes, &m, sizeof m);
    return map;
}

/* ------------------------------------------------------------------ products */

struct operand {
    std::vector<uint16_t> bits;
    std::vector<float> values; /* [row][k], zero where it ends */
    hunze_tensor_map map;
};

/* `rows` of `padded`, k < 200 of 256.  Values are small integers, so their bits in bf16 and f16 are easily told and sums are exact. */
static operand make_operand(uint32_t rows, uint32_t padded, bool transposed, bool f16, uint32_t seed)
{
    static const uint16_t bf16[] = {0, 0x3F80, 0x4000, 0x4040, 0x4080, 0x40A0},
                          half[] = {0, 0x3C00, 0x4000, 0x4200, 0x4400, 0x4500};
    const uint32_t K = 200, PADDED_K = 256;
    operand o = {};
    const uint32_t stride = transposed ? padded : PADDED_K;
    o.bits.assign((size_t)(transposed ? K : rows) * stride, 0xFFFF);
    o.values.assign((size_t)padded * PADDED_K, 0.0f);
    for (uint32_t row = 0; row < rows; row++)
        for (uint32_t k = 0; k < K; k++) {
            seed = seed * 1664525 + 1013904223;
            const uint32_t magnitude = (seed >> 16) % 6;
            const bool negative = seed >> 31;
            o.bits[transposed ? k * stride + row : row * stride + k] =
                (uint16_t)((f16 ? half : bf16)[magnitude] | (negative ? 0x8000 : 0));
            o.values[row * PADDED_K + k] = negative ? -(float)magnitude : (float)magnitude;
        }
    o.map = transposed ? map_of(o.bits.data(), 2, rows, K, stride, 64, 64)
                       : map_of(o.bits.data(), 2, K, rows, stride, 64, (uint16_t)padded);
    return o;
}

static bool run_tiles(const char *name)
{
    const bool f16 = strstr(name, "_f16");
    const char *majors = strchr(strstr(name, "f16"), '_') + 1;
    const operand a = make_operand(TEST_M - 4, TEST_M, majors[0] == 'm', f16, 1),
                  b = make_operand(TEST_N - 6, TEST_N, majors[1] == 'm', f16, 2);
    std::vector<float> d((size_t)TEST_M * TEST_N, -1.0f);
    alignas(64) test_tiles arguments = {a.map, b.map, d.data(), 4};
    if (strstr(name, "not_a_map"))
        memset(arguments.b.bytes, 0, 4);
    ranges.clear();
    allow(a.bits);
    allow(b.bits);
    allow(d);
    launch(name, 1, TILES_BYTES, &arguments);
    for (size_t row = 0; row < TEST_M; row++)
        for (size_t column = 0; column < TEST_N; column++) {
            float sum = 0;
            for (size_t k = 0; k < 256; k++)
                sum += a.values[row * 256 + k] * b.values[column * 256 + k];
            if (d[row * TEST_N + column] != sum)
                return false;
        }
    return true;
}

static bool run_stored(const char *name)
{
    std::vector<float> d((size_t)TEST_M * 128, -1.0f);
    alignas(64) test_tiles arguments = {{}, {}, d.data(), 1};
    ranges.clear();
    allow(d);
    launch(name, 1, TILES_BYTES, &arguments);
    return d == std::vector<float>((size_t)TEST_M * 128, 1.0f + 16 * 2);
}

/* ------------------------------------------------------------------ order */

static bool run_order(const char *name, size_t threads, uint32_t shared_bytes, float (*expected)(size_t thread))
{
    std::vector<float> from(66 * 32), to(threads, -1.0f);
    for (size_t i = 0; i < from.size(); i++)
        from[i] = (float)i;
    alignas(64) test_order arguments = {map_of(from.data(), 4, 32, 66, 32, 32, 64), to.data()};
    ranges.clear();
    allow(from);
    allow(to);
    launch(name, 1, shared_bytes, &arguments);
    for (size_t i = 0; i < threads; i++)
        if (to[i] != expected(i))
            return false;
    return true;
}

/* Line 0 of a tile is not moved by its swizzle, line 1 changes chunk 1 for chunk 0, and so on; column -1 is outside. */
static float reused(size_t thread)
{
    const size_t column = (1 ^ thread % 8) * 4;
    float sum = 0;
    for (size_t turn = 0; turn < 3; turn++)
        sum += column ? (float)((thread + turn) * 32 + column - 1) : 0;
    return sum;
}
static float exchanged(size_t thread) { return (float)(thread ^ 63); }
static float first_of_warp(size_t thread) { return (float)(thread / 32 * 32); }

/* Of 5 x 3 x 2 elements, which are numbered from 1: planes 1 and 2, rows -1 and 1, columns -2 to 5. */
static bool run_box(const char *name)
{
    std::vector<float> from(2 * 3 * 8, -1.0f), to(32, -1.0f), expected(32, 0.0f);
    for (size_t i = 0; i < from.size(); i++)
        from[i] = (float)i;
    hunze_tensor_map map = map_of(from.data(), 4, 5, 3, 8, 8, 4);
    auto *m = reinterpret_cast<hunze_emulator_tensor_map *>(map.bytes);
    m->swizzle_bytes = 0;
    m->steps[1] = 2;
    m->strides[2] = 3 * 8 * 4;
    m->last[2] = 1;
    m->box[2] = 2;
    for (size_t column = 0; column < 5; column++)
        expected[8 + 2 + column] = (float)(3 * 8 + 8 + column);
    alignas(64) test_order arguments = {map, to.data()};
    ranges.clear();
    allow(from);
    allow(to);
    launch(name, 1, 32 * 4 + 8, &arguments);
    return to == expected;
}

static bool run(const char *name)
{
    return begins(name, "test_tiles")       ? run_tiles(name)
           : begins(name, "test_stored")    ? run_stored(name)
           : begins(name, "test_reuse")     ? run_order(name, 64, 64 * 128 + 16, reused)
           : begins(name, "test_box")       ? run_box(name)
           : begins(name, "test_exchange")  ? run_order(name, 128, 128 * 4, exchanged)
           : begins(name, "test_registers") ? run_order(name, 384, 0, first_of_warp)
                                            : false;
}

/* ------------------------------------------------------------------ tests */

static void right_kernels_are_right(void **)
{
    expect_right({"test_tiles_bf16_kk", "test_tiles_bf16_km", "test_tiles_bf16_mk", "test_tiles_bf16_mm",
                  "test_tiles_f16_km", "test_tiles_f16_mk", "test_stored", "test_stored_halves",
                  "test_stored_halves_in_turn", "test_box", "test_reuse", "test_exchange", "test_registers"},
                 run);
}

static void each_bug_ends_with_its_sentence(void **)
{
    static const struct {
        const char *kernel, *sentence;
    } bugs[] = {
        {"test_tiles_bf16_kk_no_fence_init", "initialised without a FENCE_BARRIER_INIT"},
        {"test_tiles_bf16_kk_no_sync_init", "barrier_init is missing"},
        {"test_tiles_bf16_kk_no_init", "there is no barrier at offset"},
        {"test_tiles_bf16_kk_init_twice", "is initialised twice"},
        {"test_tiles_bf16_kk_init_none", "is initialised with 0 arrivals"},
        {"test_tiles_bf16_kk_no_expect", "where a copy has not been waited for by thread"},
        {"test_tiles_bf16_kk_expects_too_much", "waits for the barrier in shared memory at offset"},
        {"test_tiles_bf16_kk_expects_too_little", "gets 1 bytes more than it expects"},
        {"test_tiles_bf16_kk_expects_huge", "expects 1048576 bytes; 1048575 are the most"},
        {"test_tiles_bf16_kk_other_parity", "BARRIER_WAIT for parity 2"},
        {"test_tiles_bf16_kk_not_a_map", "was not made by cuTensorMapEncodeTiled"},
        {"test_tiles_bf16_kk_arrives_twice", "one arrival too many"},
        {"test_tiles_bf16_kk_no_empty_wait", "one arrival too many"},
        {"test_tiles_bf16_kk_no_full_wait", "a product reads shared memory at offset"},
        {"test_tiles_bf16_kk_no_wgmma_fence", "a WGMMA_FENCE is missing"},
        {"test_tiles_bf16_kk_no_commit", "which a product of warpgroup 1 reads that nobody waited for before"},
        {"test_tiles_bf16_kk_no_wgmma_wait", "results of a product are read that has not been waited for"},
        {"test_tiles_bf16_kk_early_release", "which a product of warpgroup 1 reads that nobody waited for before"},
        {"test_tiles_bf16_kk_writes_accumulator", "accumulator 3 of thread 200 was written"},
        {"test_tiles_bf16_kk_other_descriptor", "start a product with different operands"},
        {"test_tiles_bf16_kk_moved_tile", "begins at a multiple of 1024"},
        {"test_tiles_bf16_kk_lane_missing", "of 128 lanes are in"},
        {"test_tiles_bf16_kk_leaves_copies", "the block ends while copies of tiles are on their way"},
        {"test_tiles_bf16_kk_leaves_products", "products of its warpgroup are on their way"},
        {"test_tiles_bf16_kk_misplaced_copy", "aligned to 1024"},
        {"test_tiles_bf16_kk_no_map", "is not a member of the kernel's argument"},
        {"test_stored_no_fence_async", "wrote without a FENCE_ASYNC after it"},
        {"test_stored_no_sync", "which a thread wrote: no barrier is between"},
        {"test_stored_reads_beyond", "the launch has 81952 bytes"},
        {"test_stored_half_a_warpgroup", "for which 64 threads are missing in the block"},
        {"test_stored_reads_nothing", "which nobody wrote"},
        {"test_stored_halves_no_fence_async", "wrote without a FENCE_ASYNC after it"},
        {"test_reuse_no_fence_async", "wrote without a FENCE_ASYNC after it"},
        {"test_reuse_overtaken", "a parity does not tell them apart"},
        {"test_reuse_unheard_reader", "read since the last SYNC_BLOCK or barrier between them"},
        {"test_reuse_reads_barrier", "where a barrier is"},
        {"test_exchange_no_sync", "since the last SYNC_BLOCK"},
        {"test_exchange_part_of_a_warp", "is reached by a part of warp"},
        {"test_exchange_barrier_16", "of barriers 1 to 15"},
        {"test_exchange_other_count", "threads wait for"},
        {"test_registers_too_many",
         "waits for registers, which the block has not got; each of its threads may have 240"},
        {"test_registers_takes_less", "registers_take<160> in a warpgroup that has 168"},
    };
    for (const auto &bug : bugs)
        for (const char *seed : {"HUNZE_EMU_SEED=1", "HUNZE_EMU_SEED=2", "HUNZE_EMU_SEED=3"})
            expect_end(bug.kernel, bug.sentence, {seed});
}

/* Whether the thread that initialises a barrier comes before the one that uses it is chance without SYNC_BLOCK. */
static void who_comes_first_is_chance(void **)
{
    static const char *const sentences[] = {"barrier_init is missing", "no SYNC_BLOCK is between them"};
    bool seen[2] = {false, false};
    for (int seed = 0; seed < 100 && !(seen[0] && seen[1]); seed++) {
        const std::string variable = "HUNZE_EMU_SEED=" + std::to_string(seed);
        const outcome o = run_child("test_tiles_bf16_kk_no_sync_init", {variable.c_str()});
        assert_true(exited(o, HUNZE_EMULATOR_STATUS));
        for (int i = 0; i < 2; i++)
            seen[i] |= o.text.find(sentences[i]) != std::string::npos;
    }
    assert_true(seen[0] && seen[1]);
}

static void counters_count(void **)
{
    hunze_emulator_counters c;
    hunze_emulator_reset_counters();
    assert_true(run("test_tiles_bf16_km"));
    assert_true(hunze_emulator_get_counters("test_tiles_bf16_km", &c));
    assert_int_equal(c.tile_copies, 4 * (1 + 4));
    assert_int_equal(c.wgmma, 4 * 4);
    assert_int_equal(c.global_read_bytes, (60 + 250) * 200 * 2);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return run(argv[1]) ? 0 : 1;
    const CMUnitTest tests[] = {
        cmocka_unit_test(right_kernels_are_right),
        cmocka_unit_test(each_bug_ends_with_its_sentence),
        cmocka_unit_test(who_comes_first_is_chance),
        cmocka_unit_test(counters_count),
    };
    return cmocka_run_group_tests_name("emulator_sm90a", tests, nullptr, nullptr);
}
