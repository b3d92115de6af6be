/* Integer epilogues: the body is src/simd/epilogue_int.h. */
#include "simd.h"
#define HUNZE_FLOAT_BITS 32
#include "../src/simd/float_type.h"
#include "../src/simd/activation.h"
#include "../src/simd/epilogue_int.h"

void hunze_epilogue_int_avx512(const hunze_int_epilogue *epilogue, int64_t m, int64_t n, const int32_t *t,
                               int64_t t_row, void *d, int64_t d_row)
{
    epilogue_int(epilogue, m, n, t, t_row, d, d_row);
}
