/* What the drivers of convolution share: the operands of a call, gathers of A, and the packing of weights.
 *
 * A convolution is a list of products, one per image (or run of images) and group: row i of A is an output position, column p a tap,
 * p = (kernel row, kernel column, channel within the group) whatever the layout; B holds the weights, D the output. */
#ifndef HUNZE_CONV_H
#define HUNZE_CONV_H

#include "gemm.h"

/* ------------------------------------------------------------------ operands of a call (conv_operands.c) */
typedef struct hunze_conv_operands {
    const char *x, *w; /* w: the blob's header if packed */
    char *y;
    int64_t x_bytes, w_bytes, y_bytes; /* per element */
    hunze_type x_type, y_type;
    bool quantised;   /* integers in, f32 or codes out */
    const char *bias; /* of bias_type: t's type, or s32 before scaling, or f32 after it */
    hunze_type bias_type;
    int64_t bias_stride;
    const char *residual;
    int64_t residual_n, residual_c, residual_axis[2];
    hunze_activation_kind activation;
    float alpha, beta;
    bool canonical_nan;
    const float *x_scale, *w_scale, *y_scale;
    int64_t w_scale_stride, y_scale_stride; /* over output channels: 0 or 1 step of the tensor */
    int32_t x_zero_point;
    const void *w_zero_point, *y_zero_point; /* NULL: 0 */
    int64_t w_zero_point_stride;
} hunze_conv_operands;

void hunze_conv_operands_of(const struct hunze_plan *plan, const hunze_call *call, uint32_t flags,
                            hunze_conv_operands *out);
/* Epilogues of output channels from `channel` on, for rows of positions `position` residual elements after the tensor's start, whose rows
 * are residual_row apart.  An s32 bias is not in them: the GEMM driver and the depthwise driver make it an offset. */
void hunze_conv_float_epilogue(const hunze_conv_operands *operands, int64_t channel, int64_t position,
                               int64_t residual_row, hunze_float_epilogue *out);
void hunze_conv_int_epilogue(const hunze_conv_operands *operands, int64_t channel, int64_t position,
                             int64_t residual_row, hunze_int_epilogue *out);

/* ------------------------------------------------------------------ gathers (conv_gather.c) */
/* The virtual A of one group: row i = (image, output row, output column), column p = (r, s, c). */
typedef struct hunze_conv_gather {
    const char *x; /* the group's first channel in the first image */
    int64_t c;     /* channels in the group */
    int64_t in[2], out[2], kernel[2], stride[2], dilation[2], before[2]; /* dilation may be negative */
    int64_t x_n, x_c, x_axis[2];                                         /* elements */
    bool
        transposed; /* of a transposed convolution: a tap meets x where (out + before - tap*dilation) is a multiple of stride */
    uint64_t pad;      /* the padding element's bytes, in its low end */
    int64_t bytes;     /* of an element */
    const void *zeros; /* as many zeros as a segment has columns; NULL: no segments */
} hunze_conv_gather;

/* The gather for elements of this many bytes (1, 4 or 8); source: hunze_conv_gather. */
hunze_gather_fn *hunze_conv_gather_of(int64_t element_bytes);
/* Columns of A that lie together in x: the taps of a kernel row where they touch, else one tap's channels.  0: too few, or too many
 * segments, for reading A in place to pay. */
int64_t hunze_conv_segment_columns(const hunze_conv_gather *gather);
hunze_segments_fn hunze_conv_segments;

/* ------------------------------------------------------------------ weights (conv_weights.c) */
/* B of one convolution, element (p, j) of group g: p = (r, s, c) of the given taps. */
typedef struct hunze_conv_weights {
    const hunze_row *row;
    const char *w;
    int64_t w_group, w_n, w_c, w_axis[2]; /* elements; w_n over output channels of a group, w_c over k's channels */
    int64_t groups, n, c, kernel[2];
    char *panels; /* groups × hunze_packed_panels_bytes(row, n, k) */
} hunze_conv_weights;

/* Packs every panel, in one phase; scratch: hunze_conv_weights_scratch() bytes. */
void hunze_conv_pack_weights(const hunze_conv_weights *weights, void *scratch, hunze_exec *exec);
size_t hunze_conv_weights_scratch(const hunze_row *row, int64_t k, int32_t threads);

/* The plan's weights as panels, group after group: those of the blob w, or packed into `panels` (of so many bytes; `scratch` as above). */
size_t hunze_conv_panels_bytes(const struct hunze_plan *plan);
const char *hunze_conv_panels_of(const struct hunze_plan *plan, const char *w, char *panels, void *scratch,
                                 hunze_exec *exec);

/* ------------------------------------------------------------------ channels-first floats (conv_planes.c) */
bool hunze_conv_in_planes(const hunze_conv_shape *shape, const hunze_row *row);
size_t hunze_conv_planes_workspace(const struct hunze_plan *plan, int32_t threads);

/* ------------------------------------------------------------------ depthwise (depthwise.c) */
/* Whether the depthwise kernels take this convolution; else *why says what they need. */
bool hunze_depthwise_takes(const hunze_conv_shape *shape, const char **why);

/* Each driver's workspace; hunze_conv_workspace picks one. */
size_t hunze_depthwise_workspace(const struct hunze_plan *plan, int32_t threads);
size_t hunze_conv_transpose_workspace(const struct hunze_plan *plan, int32_t threads);

/* Channels that have no second one have no stride either. */
static inline int64_t hunze_channel_stride(int64_t channels, int64_t stride) { return channels == 1 ? 1 : stride; }
/* How many of the axes (image, row, column), from the last on, one stride spans; *stride: that stride. */
static inline int hunze_axes_of_one_stride(const int64_t extent[3], const int64_t strides[3], int64_t *stride)
{
    int merged = 0;
    int64_t span = 1; /* positions so far */
    *stride = 0;
    for (int axis = 2; axis >= 0; axis--, merged++) {
        if (extent[axis] == 1)
            continue;
        if (span == 1)
            *stride = strides[axis];
        else if (strides[axis] != span * *stride)
            break;
        span *= extent[axis];
    }
    return merged;
}

#endif
