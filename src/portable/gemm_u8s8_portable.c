/* u8 times s8, exact, for any CPU: the tile of gemm_int_tile.h. */
#include "../kernels.h"

enum { A_SIGNED = 0 };
#include "gemm_int_tile.h"

void hunze_gemm_u8s8_portable(const hunze_int_tile *tile) { gemm_int_tile(tile); }
