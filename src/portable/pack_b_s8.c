/* Packs B of integers (contract: hunze_int_packing in kernels.h) into panels [k][8] (layout KN8). */
#include "../kernels.h"

#include <string.h>

void hunze_pack_b_s8_kn8(const hunze_int_packing *s)
{
    enum { NR = 8 };
    for (int64_t j0 = 0; j0 < s->n; j0 += NR) {
        const int64_t n = s->n - j0 < NR ? s->n - j0 : NR;
        int8_t *out = (int8_t *)s->panels + j0 / NR * s->panel_bytes;
        uint32_t sums[NR] = {0};
        for (int64_t p = 0; p < s->k; p++, out += NR) {
            const uint8_t *row = (const uint8_t *)s->b + p * s->b_row + j0 * s->b_col;
            memset(out, 0, NR);
            for (int64_t j = 0; j < n; j++) {
                out[j] = (int8_t)(row[j * s->b_col] ^ s->flip);
                sums[j] += (uint32_t)(int32_t)out[j];
            }
        }
        int32_t *to = s->column_sums ? s->column_sums + j0 / NR * s->column_sums_step : NULL;
        for (int j = 0; to && j < NR; j++)
            to[j] = (int32_t)((uint32_t)to[j] + sums[j]);
    }
}
