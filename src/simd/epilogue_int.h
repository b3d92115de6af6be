/* Integer epilogues over the vector vocabulary: s32 sums to s32, f32, s8 or u8 exactly as kernels.h says, in its order of roundings.
 * Include float_type.h (32 bits) and activation.h first. */
#ifndef HUNZE_EPILOGUE_INT_H
#define HUNZE_EPILOGUE_INT_H

#include "../kernels.h"
#include "integer_bound.h"
#include "quantize.h"

static __attribute__((noinline)) vf32 load_far_apart(const float *p, int64_t stride, int64_t n)
{
    float lanes[VF32_LANES] = {0};
    for (int64_t j = 0; j < VF32_LANES && j < n; j++)
        lanes[j] = p[j * stride];
    return vf32_load(lanes);
}

/* Element j at p + j*stride, n of them; whole: n is the number of lanes, and nothing is masked. */
SIMD_INLINE vf32 load_strided(const float *p, int64_t stride, int64_t n, const bool whole)
{
    if (stride == 1)
        return whole ? vf32_load(p) : vf32_load_first(p, n);
    return stride == 0 ? vf32_set1(*p) : load_far_apart(p, stride, n);
}

/* One row's sums with their offsets. */
SIMD_INLINE vi32 offset_sums(const hunze_int_epilogue *e, const int32_t *t, vi32 row_offset, int64_t j, int64_t n,
                             const bool whole)
{
    vi32 v = vi32_add(whole ? vi32_load(t + j) : vi32_load_first(t + j, n), row_offset);
    if (e->column_offset)
        v = vi32_add(v, whole ? vi32_load(e->column_offset + j) : vi32_load_first(e->column_offset + j, n));
    return v;
}

SIMD_INLINE void epilogue_int_s32(const hunze_int_epilogue *e, int64_t m, int64_t n, const int32_t *t, int64_t t_row,
                                  int32_t *d, int64_t d_row)
{
    int32_t low = INT32_MIN, high = INT32_MAX;
    if (e->activation == HUNZE_ACT_RELU)
        low = 0;
    if (e->activation == HUNZE_ACT_CLIP) {
        low = integer_bound(e->alpha, true);
        high = integer_bound(e->beta, false);
    }
    const vi32 lowest = vi32_set1(low), highest = vi32_set1(high);
    for (int64_t i = 0; i < m; i++, t += t_row, d += d_row) {
        const vi32 row_offset = vi32_set1(e->row_offset ? e->row_offset[i] : 0);
        int64_t j = 0;
        for (; j + VI32_LANES <= n; j += VI32_LANES) {
            vi32 v = offset_sums(e, t, row_offset, j, VI32_LANES, true);
            v = vi32_select_lt(v, lowest, lowest, v);
            vi32_store(d + j, vi32_select_lt(highest, v, highest, v));
        }
        if (j < n) {
            vi32 v = offset_sums(e, t, row_offset, j, n - j, false);
            v = vi32_select_lt(v, lowest, lowest, v);
            vi32_store_first(d + j, vi32_select_lt(highest, v, highest, v), n - j);
        }
    }
}

/* What belongs to columns [j, j + n): read once for ROWS_AT_ONCE rows, so few that their lines stay in L1 whatever d_row is. */
enum { ROWS_AT_ONCE = 8 };
typedef struct epilogue_columns {
    vi32 offset, zero_point;
    vf32 scale, output_scale, bias;
} epilogue_columns;

SIMD_INLINE epilogue_columns epilogue_columns_at(const hunze_int_epilogue *e, hunze_type output, int64_t j, int64_t n,
                                                 const bool whole)
{
    /* Without a bias -0: adding it changes nothing. */
    epilogue_columns c = {
        .offset = vi32_set1(0), .zero_point = vi32_set1(0), .bias = vf32_set1(-0.0f), .output_scale = vf32_set1(1.0f)};
    if (e->column_offset)
        c.offset = whole ? vi32_load(e->column_offset + j) : vi32_load_first(e->column_offset + j, n);
    c.scale = load_strided(e->column_scale + j * e->column_scale_stride, e->column_scale_stride, n, whole);
    if (e->bias && e->bias_row == 0)
        c.bias = load_strided(e->bias + j * e->bias_col, e->bias_col, n, whole);
    if (output == HUNZE_TYPE_F32)
        return c;
    c.output_scale = load_strided(e->output_scale + j * e->output_scale_stride, e->output_scale_stride, n, whole);
    if (e->output_zero_point && e->output_scale_stride == 0)
        c.zero_point = codes_set1(output, e->output_zero_point);
    else if (e->output_zero_point)
        c.zero_point = codes_load_first(output, (const char *)e->output_zero_point + j, n);
    return c;
}

SIMD_INLINE void store_scaled(hunze_type output, const epilogue_columns *c, vf32 f, void *d, int64_t n,
                              const bool whole)
{
    if (output == HUNZE_TYPE_S8)
        vi32_store_s8_first(d, round_to_codes(f, c->zero_point, -128, 127), n);
    else if (output == HUNZE_TYPE_U8)
        vi32_store_u8_first(d, round_to_codes(f, c->zero_point, 0, 255), n);
    else if (whole)
        vf32_store(d, f);
    else
        vf32_store_first(d, f, n);
}

/* One copy of all the activations for the six places that call it. */
static __attribute__((noinline)) vf32 epilogue_activate(const vf_activation *act, vf32 x)
{
    return vf_activate(act, x);
}

/* f32, and codes from it, rows [from, to), columns [j, j + n).  output, form and whole are constants after inlining. */
typedef enum epilogue_form {
    DIRECT, /* to codes by one factor: no bias, no residual, no activation */
    PLAIN,  /* at most a bias per column and relu: nothing in the loop to decide */
    GENERAL
} epilogue_form;

SIMD_INLINE void epilogue_int_block(const hunze_int_epilogue *e, hunze_type output, const epilogue_form form,
                                    const int32_t *t, int64_t t_row, char *d, int64_t d_bytes, int64_t from, int64_t to,
                                    int64_t j, int64_t n, const bool whole)
{
    static const int32_t no_offset = 0;
    const int32_t *row_offset = e->row_offset ? e->row_offset : &no_offset;
    const float *row_scale = e->row_scale;
    const int64_t offset_stride = e->row_offset != NULL, scale_stride = e->row_scale_stride;
    const epilogue_columns c = epilogue_columns_at(e, output, j, n, whole);
    const vf_activation act = vf_activation_of(e->activation, e->alpha, e->beta);
    const vf32 lowest = vf32_set1(e->activation == HUNZE_ACT_RELU ? 0.0f : -__builtin_inff());
    const vf32 first_factor = vf32_div(vf32_mul(vf32_set1(row_scale[from * scale_stride]), c.scale), c.output_scale);
    for (int64_t i = from; i < to; i++) {
        vi32 v = vi32_add(whole ? vi32_load(t + i * t_row + j) : vi32_load_first(t + i * t_row + j, n), c.offset);
        vf32 f = vf32_from_vi32(vi32_add(v, vi32_set1(row_offset[i * offset_stride])));
        vf32 scale = vf32_mul(vf32_set1(row_scale[i * scale_stride]), c.scale);
        if (form == DIRECT) {
            f = vf32_mul(f, scale_stride == 0 ? first_factor : vf32_div(scale, c.output_scale));
        } else if (form == PLAIN) {
            f = vf_at_least(vf32_add(vf32_mul(f, scale), c.bias), lowest);
        } else {
            f = vf32_mul(f, scale);
            if (e->bias)
                f = vf32_add(f, load_strided(e->bias + i * e->bias_row + j * e->bias_col, e->bias_col, n, whole));
            if (e->residual)
                f = vf32_add(f, load_strided(e->residual + i * e->residual_row + j * e->residual_col, e->residual_col,
                                             n, whole));
            f = epilogue_activate(&act, f);
            if (output == HUNZE_TYPE_F32 && e->canonical_nan)
                f = vf_canonical_nan(f);
        }
        if (form != DIRECT && output != HUNZE_TYPE_F32)
            f = vf32_div(f, c.output_scale);
        store_scaled(output, &c, f, d + i * d_bytes + j * (output == HUNZE_TYPE_F32 ? 4 : 1), n, whole);
    }
}

SIMD_INLINE void epilogue_int_rows(const hunze_int_epilogue *e, hunze_type output, const epilogue_form form, int64_t m,
                                   int64_t n, const int32_t *t, int64_t t_row, char *d, int64_t d_bytes)
{
    for (int64_t from = 0; from < m; from += ROWS_AT_ONCE) {
        const int64_t to = from + ROWS_AT_ONCE < m ? from + ROWS_AT_ONCE : m;
        int64_t j = 0;
        for (; j + VF32_LANES <= n; j += VF32_LANES)
            epilogue_int_block(e, output, form, t, t_row, d, d_bytes, from, to, j, VF32_LANES, true);
        if (j < n)
            epilogue_int_block(e, output, form, t, t_row, d, d_bytes, from, to, j, n - j, false);
    }
}

SIMD_INLINE void epilogue_int_scaled(const hunze_int_epilogue *e, hunze_type output, int64_t m, int64_t n,
                                     const int32_t *t, int64_t t_row, void *d, int64_t d_row)
{
    const int64_t d_bytes = d_row * (output == HUNZE_TYPE_F32 ? 4 : 1);
    const bool plain =
        (!e->bias || e->bias_row == 0) && !e->residual && (!e->canonical_nan || output != HUNZE_TYPE_F32);
    if (output != HUNZE_TYPE_F32 && plain && !e->bias && e->activation == HUNZE_ACT_NONE)
        epilogue_int_rows(e, output, DIRECT, m, n, t, t_row, d, d_bytes);
    else if (plain && (e->activation == HUNZE_ACT_NONE || e->activation == HUNZE_ACT_RELU))
        epilogue_int_rows(e, output, PLAIN, m, n, t, t_row, d, d_bytes);
    else
        epilogue_int_rows(e, output, GENERAL, m, n, t, t_row, d, d_bytes);
}

SIMD_INLINE void epilogue_int(const hunze_int_epilogue *epilogue, int64_t m, int64_t n, const int32_t *t, int64_t t_row,
                              void *d, int64_t d_row)
{
    const hunze_int_epilogue e = *epilogue; /* a copy does not change under stores to d */
    switch (e.output) {
    case HUNZE_TYPE_S32: epilogue_int_s32(&e, m, n, t, t_row, d, d_row); break;
    case HUNZE_TYPE_F32: epilogue_int_scaled(&e, HUNZE_TYPE_F32, m, n, t, t_row, d, d_row); break;
    case HUNZE_TYPE_S8: epilogue_int_scaled(&e, HUNZE_TYPE_S8, m, n, t, t_row, d, d_row); break;
    default: epilogue_int_scaled(&e, HUNZE_TYPE_U8, m, n, t, t_row, d, d_row); break;
    }
}

#endif
