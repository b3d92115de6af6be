/* Packs s8 weights into panels [k][8] (layout KN8), zero-filled to 8 columns, and sums each column. */
#include "../kernels.h"

#include <string.h>

void hunze_pack_b_s8_kn8(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel,
                         int32_t *column_sums)
{
    enum { NR = 8 };
    int8_t *out = panel;
    uint32_t sums[NR] = {0};
    for (int64_t p = 0; p < k; p++, out += NR) {
        const int8_t *row = (const int8_t *)b + p * b_row;
        memset(out, 0, NR);
        for (int64_t j = 0; j < n; j++) {
            out[j] = row[j * b_col];
            sums[j] += (uint32_t)(int32_t)out[j];
        }
    }
    for (int j = 0; j < NR; j++)
        column_sums[j] = (int32_t)sums[j];
}
