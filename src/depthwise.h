/* What the two drivers of depthwise convolution share: depthwise.c, and depthwise_planes.c for channels that lie in planes. */
#ifndef HUNZE_DEPTHWISE_DRIVER_H
#define HUNZE_DEPTHWISE_DRIVER_H

#include "conv.h"

typedef struct hunze_depthwise_planes {
    const hunze_conv_shape *shape;
    const hunze_row *row;
    const hunze_conv_operands *operands;
    const void *w;                /* [taps][c], of the sum's type */
    const int32_t *column_offset; /* integers: one per channel */
} hunze_depthwise_planes;

/* Whether x and y both hold rows of contiguous columns. */
bool hunze_depthwise_in_planes(const hunze_conv_shape *shape);
size_t hunze_depthwise_plane_scratch(const hunze_conv_shape *shape, const hunze_row *row);
/* One channel of one image. */
void hunze_depthwise_run_plane(const hunze_depthwise_planes *planes, int64_t image, int64_t channel, char *scratch);

#endif
