/* t = act(t + bias + residual) in place, each step rounded once (contract: hunze_float_epilogue_fn in kernels.h).
 * Include float_type.h and activation.h first. */
#include "../kernels.h"

/* Lanes [0, n) of an operand's row, whose elements stand `stride` apart. */
SIMD_INLINE vf float_epilogue_operand(const scalar *p, int64_t stride, int64_t n)
{
    if (stride == 1)
        return n >= VF_LANES ? vf_load(p) : vf_load_first(p, n);
    if (stride == 0)
        return vf_set1(*p);
    scalar lanes[VF_LANES];
    for (int i = 0; i < VF_LANES; i++)
        lanes[i] = i < n ? p[i * stride] : 0;
    return vf_load(lanes);
}

/* So many rows of one vector column.  All are loaded before the first is stored: a masked store delays loads from near it, such as that of the
 * next row where rows are short. */
SIMD_INLINE void float_epilogue_rows(const vf_activation *act, vf bias, bool has_bias, const scalar *residual,
                                     int64_t residual_row, const int rows, int64_t left, scalar *t, int64_t t_row)
{
    vf v[8];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        v[i] = left >= VF_LANES ? vf_load(t + i * t_row) : vf_load_first(t + i * t_row, left);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        if (has_bias)
            v[i] = vf_add(v[i], bias);
        if (residual)
            v[i] = vf_add(v[i], left >= VF_LANES ? vf_load(residual + i * residual_row)
                                                 : vf_load_first(residual + i * residual_row, left));
        v[i] = vf_activate(act, v[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        if (left >= VF_LANES)
            vf_store(t + i * t_row, v[i]);
        else
            vf_store_first(t + i * t_row, v[i], left);
    }
}

/* The frequent case, column by column with the bias in a register: contiguous operands and a cheap activation.  kind and the two flags are
 * constants after inlining. */
SIMD_INLINE void float_epilogue_columns(const hunze_float_epilogue *epilogue, hunze_activation_kind kind, bool has_bias,
                                        bool has_residual, int64_t m, int64_t n, scalar *t, int64_t t_row)
{
    const vf_activation act = vf_activation_of(kind, 0, 0);
    for (int64_t j = 0; j < n; j += VF_LANES) {
        const int64_t left = n - j;
        const scalar *residual = (const scalar *)epilogue->residual + (has_residual ? j : 0);
        const vf bias = has_bias ? float_epilogue_operand((const scalar *)epilogue->bias + j * epilogue->bias_col,
                                                          epilogue->bias_col, left)
                                 : vf_set1(0);
        scalar *row = t + j;
        int64_t i = 0;
        for (; i + 8 <= m; i += 8, row += 8 * t_row, residual += has_residual ? 8 * epilogue->residual_row : 0)
            float_epilogue_rows(&act, bias, has_bias, has_residual ? residual : NULL, epilogue->residual_row, 8, left,
                                row, t_row);
        for (; i < m; i++, row += t_row, residual += has_residual ? epilogue->residual_row : 0)
            float_epilogue_rows(&act, bias, has_bias, has_residual ? residual : NULL, epilogue->residual_row, 1, left,
                                row, t_row);
    }
}

SIMD_INLINE bool float_epilogue_is_frequent(const hunze_float_epilogue *epilogue, int64_t m, int64_t n)
{
    const hunze_activation_kind kind = epilogue->activation;
    return m > 0 && (kind == HUNZE_ACT_NONE || kind == HUNZE_ACT_RELU) && !epilogue->canonical_nan &&
           (!epilogue->bias || (epilogue->bias_row == 0 && (epilogue->bias_col == 1 || epilogue->bias_col == 0))) &&
           (!epilogue->residual || epilogue->residual_col == 1 || n == 1);
}

/* Any operands, row by row.  A kind that is a constant after inlining keeps the coefficients of its polynomials in registers. */
SIMD_INLINE void float_epilogue_general(const hunze_float_epilogue *epilogue, hunze_activation_kind kind, int64_t m,
                                        int64_t n, void *t, int64_t t_row)
{
    const vf_activation act = vf_activation_of(kind, epilogue->alpha, epilogue->beta);
    const scalar *bias = epilogue->bias, *residual = epilogue->residual;
    for (int64_t i = 0; i < m; i++) {
        scalar *row = (scalar *)t + i * t_row;
        for (int64_t j = 0; j < n; j += VF_LANES) {
            int64_t left = n - j;
            vf v = left >= VF_LANES ? vf_load(row + j) : vf_load_first(row + j, left);
            if (bias)
                v = vf_add(v, float_epilogue_operand(bias + i * epilogue->bias_row + j * epilogue->bias_col,
                                                     epilogue->bias_col, left));
            if (residual)
                v = vf_add(v, float_epilogue_operand(residual + i * epilogue->residual_row + j * epilogue->residual_col,
                                                     epilogue->residual_col, left));
            v = vf_activate(&act, v);
            if (epilogue->canonical_nan)
                v = vf_canonical_nan(v);
            if (left >= VF_LANES)
                vf_store(row + j, v);
            else
                vf_store_first(row + j, v, left);
        }
    }
}

SIMD_INLINE void float_epilogue(const hunze_float_epilogue *epilogue, int64_t m, int64_t n, void *t, int64_t t_row)
{
    if (float_epilogue_is_frequent(epilogue, m, n)) {
#define COLUMNS(kind, has_bias, has_residual)                                                                          \
    float_epilogue_columns(epilogue, kind, has_bias, has_residual, m, n, t, t_row)
#define WITH_KIND(kind)                                                                                                \
    do {                                                                                                               \
        if (epilogue->bias && epilogue->residual)                                                                      \
            COLUMNS(kind, true, true);                                                                                 \
        else if (epilogue->bias)                                                                                       \
            COLUMNS(kind, true, false);                                                                                \
        else if (epilogue->residual)                                                                                   \
            COLUMNS(kind, false, true);                                                                                \
        else                                                                                                           \
            COLUMNS(kind, false, false);                                                                               \
    } while (0)
        if (epilogue->activation == HUNZE_ACT_RELU)
            WITH_KIND(HUNZE_ACT_RELU);
        else
            WITH_KIND(HUNZE_ACT_NONE);
#undef WITH_KIND
#undef COLUMNS
        return;
    }
    switch (epilogue->activation) {
    case HUNZE_ACT_GELU: float_epilogue_general(epilogue, HUNZE_ACT_GELU, m, n, t, t_row); break;
    case HUNZE_ACT_SILU: float_epilogue_general(epilogue, HUNZE_ACT_SILU, m, n, t, t_row); break;
    case HUNZE_ACT_HARDSWISH: float_epilogue_general(epilogue, HUNZE_ACT_HARDSWISH, m, n, t, t_row); break;
    default: float_epilogue_general(epilogue, epilogue->activation, m, n, t, t_row);
    }
}
