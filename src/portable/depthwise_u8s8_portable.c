/* t[x, c] = sum over taps of x[x, tap, c] * w[tap, c]    u8 by s8, exact in s32, any CPU: 8 outputs of 4 channels at a time. */
#include "simd.h"
#define DEPTHWISE_X uint8_t
#define LOAD_X vi32_load_u8_first
#include "../simd/depthwise_int.h"

void hunze_depthwise_u8s8_portable(const hunze_depthwise_row *args) { depthwise_row(args); }
void hunze_depthwise_plane_u8s8_portable(const hunze_depthwise_plane *plane) { depthwise_plane(plane); }
