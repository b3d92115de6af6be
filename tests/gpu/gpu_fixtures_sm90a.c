/* SPDX-License-Identifier: Apache-2.0 */
/* What products of warpgroups and copies of tiles answer, beside what the PTX ISA says. */
#include "gpu_fixtures.h"
#include "gpu_questions.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ wgmma: where operands and results are */

enum { ROWS_A = 64, ROWS_B = 256, STEPS = 4 };

/* The number of the element (row, k) in a tile that is swizzled by 128 bytes, plus 1. */
static uint32_t place(bool rows_contiguous, int row, int k)
{
    const int line = rows_contiguous ? k : row, along = rows_contiguous ? row % 64 : k;
    return (uint32_t)((rows_contiguous ? row / 64 * 4096 : 0) + line * 64 + (along / 8 ^ line % 8) * 8 + along % 8) + 1;
}

static int result_thread(int row, int column) { return row / 16 * 32 + row % 8 * 4 + column % 8 / 2; }
static int result_index(int row, int column) { return column / 8 * 4 + row / 8 % 2 * 2 + column % 2; }

static void wgmma(CUlibrary library, const char *type, const char *majors)
{
    enum { BLOCKS = STEPS * 2 * 2, WORDS = 128 * 128 };
    static uint32_t out[2][2][STEPS][128][128]; /* digit, operand, step */
    static uint32_t got[STEPS * (ROWS_A + ROWS_B) * 16], specified[STEPS * (ROWS_A + ROWS_B) * 16];
    char name[32], kernel[64];
    snprintf(name, sizeof name, "wgmma_%s_%s", type, majors);
    snprintf(kernel, sizeof kernel, "hunze_fixture_%s", name);
    if (!gpu_ask_block(library, kernel, (const unsigned[]){STEPS, 2, 2}, 128, HUNZE_FIXTURE_TILES_BYTES, 0, NULL, 0,
                       &out[0][0][0][0][0], BLOCKS * WORDS))
        return; /* another device */
    int beside = 0;
    uint32_t *to = got, *wanted = specified;
    for (int step = 0; step < STEPS; step++)
        for (int row = 0; row < ROWS_A + ROWS_B; row++) {
            const bool asks_b = row >= ROWS_A;
            for (int k = 0; k < 16; k++) {
                const int r = asks_b ? k : row, c = asks_b ? row - ROWS_A : k;
                const uint32_t low = out[0][asks_b][step][result_thread(r, c)][result_index(r, c)],
                               high = out[1][asks_b][step][result_thread(r, c)][result_index(r, c)];
                *to++ = low && high ? (high - 1) * 128 + low : 0;
                *wanted++ = asks_b ? place(majors[1] == 't', row - ROWS_A, 16 * step + k)
                                   : place(majors[0] == 't', row, 16 * step + k);
            }
        }
    for (int operand = 0; operand < 2; operand++) /* the rest of D is 0 */
        for (int step = 0; step < STEPS; step++)
            for (int row = 0; row < ROWS_A; row++)
                for (int column = 0; column < ROWS_B; column++)
                    beside += (operand ? row : column) >= 16 &&
                              out[0][operand][step][result_thread(row, column)][result_index(row, column)] != 0;
    if (beside)
        printf("%s: %d results are not 0\n", name, beside);
    gpu_faults += beside;
    gpu_keep(name, "rows of A, then of B, for each step of 16 in k: the elements of the tile that meet, plus 1", got,
             specified, STEPS * (ROWS_A + ROWS_B), 16);
}

/* ------------------------------------------------------------------ copies of tiles */

enum { EXTENT_X = 100, EXTENT_Y = 20, EXTENT_Z = 3, PITCH = 104 };

static uint32_t source(int64_t x, int64_t y, int64_t z)
{
    const bool inside = x >= 0 && x < EXTENT_X && y >= 0 && y < EXTENT_Y && z >= 0 && z < EXTENT_Z;
    return inside ? (uint32_t)((z * EXTENT_Y + y) * PITCH + x + 1) : 0;
}

static void tiles(CUlibrary library)
{
    static const struct {
        CUtensorMapDataType type;
        CUtensorMapSwizzle swizzle;
        cuuint32_t box[3];
        int64_t at[3];
    } cases[] = {
        {CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, CU_TENSOR_MAP_SWIZZLE_128B, {64, 8, 1}, {0, 0, 0}},
        {CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, CU_TENSOR_MAP_SWIZZLE_128B, {64, 16, 2}, {8, 3, 1}},
        {CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, CU_TENSOR_MAP_SWIZZLE_128B, {64, 16, 2}, {64, 12, 2}},
        {CU_TENSOR_MAP_DATA_TYPE_FLOAT16, CU_TENSOR_MAP_SWIZZLE_128B, {64, 16, 2}, {-24, -5, -1}},
        {CU_TENSOR_MAP_DATA_TYPE_FLOAT16, CU_TENSOR_MAP_SWIZZLE_128B, {64, 8, 1}, {200, 0, 0}},
        {CU_TENSOR_MAP_DATA_TYPE_FLOAT16, CU_TENSOR_MAP_SWIZZLE_128B, {64, 8, 1}, {0, 0, -7}},
        {CU_TENSOR_MAP_DATA_TYPE_UINT16, CU_TENSOR_MAP_SWIZZLE_NONE, {24, 5, 3}, {88, 17, 1}},
        {CU_TENSOR_MAP_DATA_TYPE_UINT8, CU_TENSOR_MAP_SWIZZLE_128B, {128, 8, 2}, {96, 14, 0}},
    };
    enum { CASES = sizeof cases / sizeof *cases };
    static uint16_t in[EXTENT_Z * EXTENT_Y * PITCH];
    static uint32_t got[CASES * HUNZE_FIXTURE_BOX_WORDS], specified[CASES * HUNZE_FIXTURE_BOX_WORDS];
    const CUkernel kernel = gpu_kernel(library, "hunze_fixture_tile");
    if (!kernel)
        return; /* another device */
    for (int i = 0; i < EXTENT_Z * EXTENT_Y * PITCH; i++)
        in[i] = (uint16_t)(i % PITCH < EXTENT_X ? i + 1 : 0xEEEE); /* between the rows: nobody's */
    CUdeviceptr from, to;
    NEED(cuMemAlloc(&from, sizeof in));
    NEED(cuMemAlloc(&to, HUNZE_FIXTURE_BOX_WORDS * sizeof *got));
    NEED(cuMemcpyAsync(from, (CUdeviceptr)in, sizeof in, NULL));
    for (int i = 0; i < CASES; i++) {
        const bool bytes = cases[i].type == CU_TENSOR_MAP_DATA_TYPE_UINT8;
        const cuuint64_t extents[3] = {bytes ? 2 * EXTENT_X : EXTENT_X, EXTENT_Y, EXTENT_Z},
                         strides[2] = {2 * PITCH, 2 * PITCH * EXTENT_Y};
        const cuuint32_t steps[3] = {1, 1, 1};
        hunze_fixture_tile_call call = {.out = (uint32_t *)to};
        const int64_t row_bytes = cases[i].box[0] * (bytes ? 1 : 2), rows = cases[i].box[1] * cases[i].box[2];
        NEED(cuTensorMapEncodeTiled((CUtensorMap *)&call.map, cases[i].type, 3, (void *)from, extents, strides,
                                    cases[i].box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, cases[i].swizzle,
                                    CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
        call.bytes = row_bytes * rows;
        memcpy(call.at, cases[i].at, sizeof call.at);
        gpu_launch(kernel, (const unsigned[]){1, 1, 1}, 128, HUNZE_FIXTURE_BOX_WORDS * 4 + 128, &call, NULL);
        uint32_t *mine = got + i * HUNZE_FIXTURE_BOX_WORDS;
        NEED(cuMemcpyAsync((CUdeviceptr)mine, to, (size_t)call.bytes, NULL));
        NEED(cuStreamSynchronize(NULL));
        for (int64_t row = 0; row < rows; row++)
            for (int64_t byte = 0; byte < row_bytes; byte++) {
                const int64_t x = cases[i].at[0] + (bytes ? byte : byte / 2),
                              y = cases[i].at[1] + row % cases[i].box[1], z = cases[i].at[2] + row / cases[i].box[1];
                const uint32_t value = source(bytes ? x >> 1 : x, y, z);
                int64_t at = row * row_bytes + byte;
                if (cases[i].swizzle == CU_TENSOR_MAP_SWIZZLE_128B)
                    at ^= row % 8 * 16;
                ((unsigned char *)(specified + i * HUNZE_FIXTURE_BOX_WORDS))[at] =
                    (unsigned char)(value >> ((bytes ? x : byte) % 2 ? 8 : 0));
            }
    }
    gpu_keep("tiles", "case of gpu_fixtures.c: the words of the box in shared memory", got, specified, CASES,
             HUNZE_FIXTURE_BOX_WORDS);
    NEED(cuMemFree(from));
    NEED(cuMemFree(to));
}

void gpu_fixtures_sm90a(CUlibrary library)
{
    static const char *const majors[] = {"nn", "nt", "tn", "tt"}; /* of A and B; t: rows are contiguous */
    for (int i = 0; i < 4; i++) {
        wgmma(library, "bf16", majors[i]);
        wgmma(library, "f16", majors[i]);
    }
    tiles(library);
}
