/* Depthwise convolution where channels lie in planes: lanes are output columns.  A block of outputs is summed, small enough that the epilogue
 * finds it in L1; x is read where it is, the taps outside the plane are the kernel's own matter. */
#include "depthwise.h"

enum { BLOCK_COLUMNS = 512, BLOCK_BYTES = 16 << 10 };

bool hunze_depthwise_in_planes(const hunze_conv_shape *shape)
{
    return (shape->c == 1 || (shape->x_c != 1 && shape->y_c != 1)) && (shape->x_axis[1] == 1 || shape->in[1] == 1) &&
           (shape->y_axis[1] == 1 || shape->out[1] == 1);
}

typedef struct plane_blocks {
    int64_t rows, columns; /* outputs */
    size_t t_bytes, offset_bytes;
} plane_blocks;

static plane_blocks blocks_of(const hunze_conv_shape *shape, const hunze_row *row)
{
    plane_blocks b = {.columns = hunze_least(shape->out[1], BLOCK_COLUMNS)};
    b.rows = hunze_least(shape->out[0], BLOCK_BYTES / 4 / b.columns);
    if (row->int_epilogue) {
        b.t_bytes = hunze_align64((size_t)(b.rows * b.columns) * sizeof(int32_t));
        b.offset_bytes = hunze_align64((size_t)b.rows * sizeof(int32_t));
    }
    return b;
}

size_t hunze_depthwise_plane_scratch(const hunze_conv_shape *shape, const hunze_row *row)
{
    const plane_blocks b = blocks_of(shape, row);
    return b.t_bytes + b.offset_bytes;
}

/* What outputs of this channel from (y0, x0) on add to the sums and where they go. */
typedef struct plane_position {
    int64_t channel, residual;
    char *out;
} plane_position;

static void float_block(const hunze_depthwise_planes *p, hunze_depthwise_plane *plane, const plane_position *at)
{
    hunze_float_epilogue epilogue;
    hunze_conv_float_epilogue(p->operands, at->channel, at->residual, p->operands->residual_axis[0], &epilogue);
    plane->bias = epilogue.bias;
    plane->t = at->out;
    plane->t_row = p->shape->y_axis[0];
    p->row->depthwise_plane(plane);
    epilogue.bias = NULL;
    epilogue.residual_col = p->operands->residual_axis[1];
    if (hunze_float_epilogue_is_needed(&epilogue))
        p->row->float_epilogue(&epilogue, plane->height, plane->width, plane->t, plane->t_row);
}

static void int_block(const hunze_depthwise_planes *p, hunze_depthwise_plane *plane, const plane_position *at,
                      int32_t *t, int32_t *row_offset)
{
    hunze_int_epilogue epilogue;
    hunze_conv_int_epilogue(p->operands, at->channel, at->residual, p->operands->residual_axis[0], &epilogue);
    plane->t = t;
    plane->t_row = plane->width;
    p->row->depthwise_plane(plane);
    for (int64_t i = 0; i < plane->height; i++)
        row_offset[i] = p->column_offset[at->channel];
    epilogue.row_offset = row_offset;
    epilogue.column_scale_stride = epilogue.output_scale_stride = 0;
    epilogue.bias_col = 0;
    epilogue.residual_col = p->operands->residual_axis[1];
    p->row->int_epilogue(&epilogue, plane->height, plane->width, t, plane->t_row, at->out, p->shape->y_axis[0]);
}

void hunze_depthwise_run_plane(const hunze_depthwise_planes *p, int64_t image, int64_t channel, char *scratch)
{
    const hunze_conv_shape *shape = p->shape;
    const hunze_conv_operands *operands = p->operands;
    const plane_blocks b = blocks_of(shape, p->row);
    hunze_depthwise_plane plane = {
        .x = operands->x + (image * shape->x_n + channel * shape->x_c) * operands->x_bytes,
        .x_row = shape->x_axis[0],
        .pad = operands->x_zero_point, /* 0 for floats */
        .w = (const char *)p->w + channel * 4,
        .w_step = shape->c,
    };
    for (int axis = 0; axis < 2; axis++) {
        plane.in[axis] = shape->in[axis];
        plane.kernel[axis] = shape->kernel[axis];
        plane.stride[axis] = shape->stride[axis];
        plane.dilation[axis] = shape->dilation[axis];
    }
    for (int64_t y = 0; y < shape->out[0]; y += b.rows) {
        for (int64_t x = 0; x < shape->out[1]; x += b.columns) {
            const plane_position at = {
                channel, image * operands->residual_n + y * operands->residual_axis[0] + x * operands->residual_axis[1],
                operands->y +
                    (image * shape->y_n + channel * shape->y_c + y * shape->y_axis[0] + x * shape->y_axis[1]) *
                        operands->y_bytes};
            plane.height = hunze_least(b.rows, shape->out[0] - y);
            plane.width = hunze_least(b.columns, shape->out[1] - x);
            plane.before[0] = shape->before[0] - y * shape->stride[0];
            plane.before[1] = shape->before[1] - x * shape->stride[1];
            if (p->row->int_epilogue)
                int_block(p, &plane, &at, (int32_t *)scratch, (int32_t *)(scratch + b.t_bytes));
            else
                float_block(p, &plane, &at);
        }
    }
}
