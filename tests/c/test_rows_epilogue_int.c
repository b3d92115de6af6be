/* SPDX-License-Identifier: Apache-2.0 */
/* Integer epilogues: offsets, scales, bias, residual, activation and requantisation against scalars, rounding by rounding. */
#include "harness.h"

#include <math.h>
#include <string.h>

enum {
    T,
    D,
    ROW_OFFSET,
    COLUMN_OFFSET,
    ROW_SCALE,
    COLUMN_SCALE,
    BIAS,
    RESIDUAL,
    OUTPUT_SCALE,
    OUTPUT_ZERO
}; /* slots */

static bool has_epilogue(const hunze_row *row) { return row->int_epilogue != NULL; }

/* One element in the order of the contract.  Activations: only those without a polynomial. */
static void reference(const hunze_int_epilogue *e, int64_t i, int64_t j, int32_t t, void *d)
{
    const uint32_t offsets =
        (e->row_offset ? (uint32_t)e->row_offset[i] : 0) + (e->column_offset ? (uint32_t)e->column_offset[j] : 0);
    const int32_t v = (int32_t)((uint32_t)t + offsets);
    if (e->output == HUNZE_TYPE_S32) {
        double x = v; /* exact, as is every bound */
        if (e->activation == HUNZE_ACT_RELU && x < 0)
            x = 0;
        if (e->activation == HUNZE_ACT_CLIP)
            x = x < ceil((double)e->alpha)   ? ceil((double)e->alpha)
                : x > floor((double)e->beta) ? floor((double)e->beta)
                                             : x;
        *(int32_t *)d = (int32_t)x;
        return;
    }
    const float scale = e->row_scale[i * e->row_scale_stride] * e->column_scale[j * e->column_scale_stride];
    float f = (float)v;
    const bool codes = e->output != HUNZE_TYPE_F32,
               direct = !e->bias && !e->residual && e->activation == HUNZE_ACT_NONE;
    const float output_scale = codes ? e->output_scale[j * e->output_scale_stride] : 1;
    if (codes && direct) {
        f *= scale / output_scale;
    } else {
        f *= scale;
        f = e->bias ? f + e->bias[i * e->bias_row + j * e->bias_col] : f;
        f = e->residual ? f + e->residual[i * e->residual_row + j * e->residual_col] : f;
        if (e->activation == HUNZE_ACT_RELU)
            f = f < 0 ? 0 : f;
        if (e->activation == HUNZE_ACT_CLIP)
            f = f < e->alpha ? e->alpha : f > e->beta ? e->beta : f;
        if (e->activation == HUNZE_ACT_LEAKY_RELU)
            f = f < 0 ? e->alpha * f : f;
        if (codes)
            f /= output_scale;
    }
    if (!codes) {
        *(float *)d = f;
        return;
    }
    double zero = 0;
    if (e->output_zero_point)
        zero = harness_get(e->output, e->output_zero_point, j * e->output_scale_stride);
    const double low = e->output == HUNZE_TYPE_S8 ? -128 : 0, high = low + 255;
    double code = isnan(f) ? zero : rint((double)f) + zero; /* a NaN becomes the zero point */
    harness_set(e->output, d, 0, code < low ? low : code > high ? high : code);
}

static float *place_scales(int slot, harness_rng *rng, int64_t stride, int64_t count, bool powers)
{
    const int64_t elements = count ? (count - 1) * stride + 1 : 0;
    float *scales = harness_place(slot, (size_t)elements * 4, 4, HARNESS_AT_END);
    for (int64_t i = 0; i < elements; i++) /* powers of two make ties */
        scales[i] =
            powers ? ldexpf(1, (int)harness_between(rng, -3, 1)) : (float)(0.001 + 0.02 * fabs(harness_uniform(rng)));
    harness_snapshot(slot);
    return scales;
}

static float *place_operand(int slot, harness_rng *rng, int64_t m, int64_t n, int64_t *row, int64_t *col,
                            harness_values values)
{
    static const int patterns = 4;
    const int pattern = (int)(harness_u64(rng) % patterns);
    const int64_t gap = harness_between(rng, 0, 3);
    *row = (const int64_t[]){0, 1, n + gap, 1}[pattern];
    *col = (const int64_t[]){1, 0, 1, m + gap}[pattern];
    const int64_t count = m && n ? (m - 1) * *row + (n - 1) * *col + 1 : 0;
    float *data = harness_place(slot, (size_t)count * 4, 4, HARNESS_AT_END);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            harness_fill(rng, HUNZE_TYPE_F32, data + i * *row + j * *col, 1, values);
    harness_snapshot(slot);
    return data;
}

static void check_case(const hunze_row *row, harness_rng *rng, hunze_type output, int64_t m, int64_t n, bool ties,
                       harness_values values)
{
    const uint32_t choice = (uint32_t)harness_u64(rng);
    static const hunze_activation_kind kinds[] = {HUNZE_ACT_NONE, HUNZE_ACT_RELU, HUNZE_ACT_CLIP, HUNZE_ACT_LEAKY_RELU};
    hunze_int_epilogue e = {.output = output,
                            .activation = kinds[choice % (output == HUNZE_TYPE_S32 ? 3 : 4)],
                            .canonical_nan = choice & 4};
    if (e.activation == HUNZE_ACT_CLIP) {
        e.alpha = output == HUNZE_TYPE_S32 ? -1000.5f : -3.25f;
        e.beta = output == HUNZE_TYPE_S32 ? 3e9f : 7.5f;
        if (output == HUNZE_TYPE_S32 && choice & 8)
            e.beta = 123456.75f;
        if (output == HUNZE_TYPE_S32 &&
            choice & 32) /* either bound on either side of 0: towards the inside is not always towards 0 */
            e.alpha = choice & 8 ? 2.5f : -4e9f, e.beta = choice & 8 ? 6e4f : -7.5f;
    }
    if (e.activation == HUNZE_ACT_LEAKY_RELU)
        e.alpha = 0.125f;
    const size_t bytes = harness_bytes(output);
    const bool in_place = bytes == 4 && choice & 16;
    const harness_side side = choice & 32 ? HARNESS_AT_END : HARNESS_AT_START;
    harness_case("to %d m %lld n %lld activation %d%s%s %s, operands %s", output, (long long)m, (long long)n,
                 e.activation, ties ? " ties" : "", in_place ? " in place" : "", harness_values_name(values),
                 side == HARNESS_AT_END ? "at the end" : "at the start");
    const int64_t t_row = n + harness_between(rng, 0, 3), d_row = in_place ? t_row : n + harness_between(rng, 0, 5);
    int32_t *t = harness_place(T, (size_t)(m && n ? (m - 1) * t_row + n : 0) * 4, 4, side);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            t[i * t_row + j] =
                values == HARNESS_SCALED ? (int32_t)harness_u64(rng) : (int32_t)harness_between(rng, -2000, 2000);
    char *d = in_place ? (char *)t : harness_place(D, (size_t)(m && n ? (m - 1) * d_row + n : 0) * bytes, bytes, side);
    if (choice & 64) {
        int32_t *offset = harness_place(ROW_OFFSET, (size_t)m * 4, 4, HARNESS_AT_END);
        for (int64_t i = 0; i < m; i++)
            offset[i] = values == HARNESS_SCALED ? (int32_t)harness_u64(rng) : (int32_t)harness_between(rng, -99, 99);
        e.row_offset = offset;
        harness_snapshot(ROW_OFFSET);
    }
    if (choice & 128) {
        int32_t *offset = harness_place(COLUMN_OFFSET, (size_t)n * 4, 4, HARNESS_AT_END);
        for (int64_t j = 0; j < n; j++)
            offset[j] = values == HARNESS_SCALED ? (int32_t)harness_u64(rng) : (int32_t)harness_between(rng, -99, 99);
        e.column_offset = offset;
        harness_snapshot(COLUMN_OFFSET);
    }
    if (output != HUNZE_TYPE_S32) {
        e.row_scale_stride = choice >> 8 & 1;
        e.column_scale_stride = choice >> 9 & 1;
        e.row_scale = place_scales(ROW_SCALE, rng, e.row_scale_stride, m, ties);
        e.column_scale = place_scales(COLUMN_SCALE, rng, e.column_scale_stride, n, ties);
        if (choice >> 10 & 1)
            e.bias = place_operand(BIAS, rng, m, n, &e.bias_row, &e.bias_col, values);
        if (choice >> 11 & 1)
            e.residual = place_operand(RESIDUAL, rng, m, n, &e.residual_row, &e.residual_col, values);
        if (output != HUNZE_TYPE_F32) {
            e.output_scale_stride = choice >> 12 & 1;
            e.output_scale = place_scales(OUTPUT_SCALE, rng, e.output_scale_stride, n, ties);
            if (choice >> 13 & 1) { /* odd zero points: a tie rounded after adding one comes out differently */
                const int64_t count = n ? (n - 1) * e.output_scale_stride + 1 : 0;
                unsigned char *zero = harness_place(OUTPUT_ZERO, (size_t)count, 1, HARNESS_AT_END);
                for (int64_t j = 0; j < count; j++)
                    zero[j] = (unsigned char)(harness_u64(rng) | 1);
                e.output_zero_point = zero;
                harness_snapshot(OUTPUT_ZERO);
            }
        }
    }
    const int out_slot = in_place ? T : D;
    harness_snapshot(T);
    if (!in_place)
        harness_snapshot(D);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            reference(&e, i, j, t[i * t_row + j], harness_remembered(out_slot, d + (size_t)(i * d_row + j) * bytes));
    HARNESS_CALL(row->int_epilogue, HARNESS_ARGUMENT(&e), HARNESS_ARGUMENT(m), HARNESS_ARGUMENT(n), HARNESS_ARGUMENT(t),
                 HARNESS_ARGUMENT(t_row), HARNESS_ARGUMENT(d), HARNESS_ARGUMENT(d_row));
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            char *got = d + (size_t)(i * d_row + j) * bytes, *want = harness_remembered(out_slot, got);
            harness_check(harness_same(output, got, want), "d[%lld,%lld] is %s, not %s", (long long)i, (long long)j,
                          harness_show(output, got), harness_show(output, want));
            if (output == HUNZE_TYPE_F32 && e.canonical_nan && isnan(*(float *)(void *)got))
                harness_check(*(uint32_t *)(void *)got == 0x7fc00000, "d[%lld,%lld] is NaN %s, not the canonical one",
                              (long long)i, (long long)j, harness_show(output, got));
            memcpy(want, got, bytes);
        }
    harness_unchanged(out_slot, "d outside the rows");
    if (!in_place)
        harness_unchanged(T, "t");
    const void *const inputs[] = {e.row_offset, e.column_offset, e.row_scale,    e.column_scale,
                                  e.bias,       e.residual,      e.output_scale, e.output_zero_point};
    for (int input = 0; input < 8; input++)
        if (inputs[input])
            harness_unchanged(ROW_OFFSET + input, "an input");
}

static void check_epilogue(const hunze_row *row)
{
    static const hunze_type outputs[] = {HUNZE_TYPE_S32, HUNZE_TYPE_F32, HUNZE_TYPE_S8, HUNZE_TYPE_U8};
    static const int64_t ms[] = {0, 1, 3}, ns[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 47, 64, 67};
    static const harness_values values[] = {HARNESS_UNIFORM, HARNESS_SCALED, HARNESS_SPECIAL, HARNESS_ZEROS,
                                            HARNESS_DENORMAL};
    harness_rng rng = {31};
    for (int output = 0; output < 4; output++)
        for (size_t n = 0; n < sizeof ns / sizeof ns[0]; n++)
            for (size_t m = 0; m < sizeof ms / sizeof ms[0]; m++)
                for (int v = 0; v < 5; v++)
                    for (int turn = 0; turn < harness_budget(8, 1); turn++)
                        check_case(row, &rng, outputs[output], ms[m], ns[n], turn & 1, values[v]);
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"int epilogue", has_epilogue, check_epilogue}};
    return harness_main(argc, argv, "rows: integer epilogues", parts, 1);
}
