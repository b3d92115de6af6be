/* From bf16 or f16 to f32 and back (contract: hunze_widen_fn and hunze_narrow_fn in kernels.h).  Include narrow_type.h first. */
#ifndef HUNZE_SIMD_NARROW_H
#define HUNZE_SIMD_NARROW_H

#include "../kernels.h"

SIMD_INLINE void widen_rows(int64_t m, int64_t n, const narrow *from, int64_t from_row, int64_t from_col, float *to,
                            int64_t to_row)
{
    for (int64_t i = 0; i < m; i++, from += from_row, to += to_row) {
        int64_t j = 0;
        if (from_col == 1) {
            for (; j + VF_LANES <= n; j += VF_LANES)
                vf_store(to + j, vf_load_narrow(from + j));
            if (j < n)
                vf_store_first(to + j, vf_load_narrow_first(from + j, n - j), n - j);
            continue;
        }
        for (; j < n; j += VF_LANES) {
            narrow lanes[VF_LANES] = {0};
            const int64_t left = n - j < VF_LANES ? n - j : VF_LANES;
            for (int64_t l = 0; l < left; l++)
                lanes[l] = from[(j + l) * from_col];
            vf_store_first(to + j, vf_load_narrow(lanes), left);
        }
    }
}

SIMD_INLINE void narrow_rows(int64_t m, int64_t n, const float *from, int64_t from_row, narrow *to, int64_t to_row)
{
    for (int64_t i = 0; i < m; i++, from += from_row, to += to_row)
        for (int64_t j = 0; j < n; j += VF_LANES) {
            const int64_t left = n - j;
            if (left >= VF_LANES)
                vf_store_narrow(to + j, vf_load(from + j));
            else
                vf_store_narrow_first(to + j, vf_load_first(from + j, left), left);
        }
}

#endif
