/* Depthwise convolution: a row kernel over output rows, each followed at once by the epilogue.
 *
 * Where channels are contiguous, interior columns are read from x in place (rows above and below the image come from one shared row of
 * padding) and only the columns at the border through a patch.  Channels in planes have their own way (depthwise_planes.c).  Any other memory goes
 * through patches altogether: a block of input rows, columns and channels copied, with its padding, to where channels are contiguous. */
#include "depthwise.h"

#include <string.h>

enum {
    PATCH_CHANNELS = 64,
    PATCH_BYTES = 96 << 10,   /* a patch is cut down to this, as far as one output goes */
    SEGMENT_BYTES = 32 << 10, /* t of one segment: the epilogue finds it in cache */
    PAD_ROW_BYTES = 1 << 20   /* longer rows of padding: patches instead */
};

bool hunze_depthwise_takes(const hunze_conv_shape *shape, const char **why)
{
    if (shape->groups != shape->c || shape->c != shape->k) {
        *why = "depthwise kernels need groups == channels == output channels";
        return false;
    }
    if (shape->kernel[0] * shape->kernel[1] > HUNZE_KC_F32) {
        *why = "depthwise kernels take up to 512 taps: more make a second K block";
        return false;
    }
    return true;
}

/* Blocks of patches and segments, and the workspace. */
typedef struct depthwise_layout {
    bool planes, in_place, needs_pad_row, direct_t, direct_d;
    int64_t x_bytes, sum_bytes;
    int64_t inside[2];          /* in place: output columns whose taps all lie in the image */
    int64_t segment;            /* in place: output columns per kernel call */
    int64_t patch[2], channels; /* outputs and channels of a patch */
    size_t weights_bytes, column_bytes, pad_row_bytes, patch_bytes, t_bytes, d_bytes, rows_bytes, lane_bytes;
} depthwise_layout;

/* Input rows or columns of a patch; *spread: taps lie so far apart that it keeps each output's own taps side by side. */
static int64_t patch_extent(const hunze_conv_shape *shape, int axis, int64_t outputs, bool *spread)
{
    const int64_t span = (outputs - 1) * shape->stride[axis] + (shape->kernel[axis] - 1) * shape->dilation[axis] + 1;
    const int64_t apart = outputs * shape->kernel[axis];
    *spread = span > apart;
    return *spread ? apart : span;
}

static void set_patch(depthwise_layout *layout, const hunze_conv_shape *shape)
{
    layout->channels = hunze_least(shape->c, PATCH_CHANNELS);
    layout->patch[0] = hunze_least(shape->out[0], 8);
    layout->patch[1] = hunze_least(shape->out[1], 64);
    for (;;) {
        bool spread;
        const int64_t rows = patch_extent(shape, 0, layout->patch[0], &spread);
        const int64_t columns = patch_extent(shape, 1, layout->patch[1], &spread);
        layout->patch_bytes = hunze_align64((size_t)(rows * columns * layout->channels * layout->x_bytes));
        if (layout->patch_bytes <= PATCH_BYTES || (layout->patch[0] == 1 && layout->patch[1] == 1))
            return;
        const int longer = layout->patch[1] > 8 || layout->patch[0] == 1 ? 1 : 0;
        layout->patch[longer] = (layout->patch[longer] + 1) / 2;
    }
}

static depthwise_layout layout_of(const struct hunze_plan *plan)
{
    const hunze_conv_shape *shape = &plan->conv;
    const hunze_row *row = plan->row;
    const int64_t c = shape->c;
    const bool integers = row->int_epilogue != NULL;
    depthwise_layout layout = {.x_bytes = (int64_t)hunze_type_bytes(row->a),
                               .sum_bytes = (int64_t)hunze_type_bytes(row->d)};
    set_patch(&layout, shape);
    layout.segment = hunze_most(8, SEGMENT_BYTES / (c * layout.sum_bytes));
    layout.segment = hunze_least(layout.segment, shape->out[1]);
    const int64_t pad_columns = (layout.segment - 1) * shape->stride[1] + (shape->kernel[1] - 1) * shape->dilation[1];
    const int64_t column = shape->x_axis[1] < 0 ? -shape->x_axis[1] : shape->x_axis[1];
    layout.in_place =
        (c == 1 || shape->x_c == 1) && (pad_columns == 0 || column <= PAD_ROW_BYTES / layout.x_bytes / pad_columns);
    for (int axis = 0; axis < 2; axis++) {
        const int64_t reach = (shape->kernel[axis] - 1) * shape->dilation[axis];
        const int64_t stride = shape->stride[axis], before = shape->before[axis];
        const int64_t low = before > 0 ? (before + stride - 1) / stride : 0;
        const int64_t last = shape->in[axis] - 1 + before - reach; /* its first tap's padded index, at most */
        const int64_t high = last < 0 ? 0 : last / stride + 1;
        if (axis == 0) {
            layout.needs_pad_row = low > 0 || high < shape->out[0];
        } else {
            layout.inside[0] = hunze_least(low, shape->out[1]);
            layout.inside[1] = hunze_most(layout.inside[0], hunze_least(high, shape->out[1]));
        }
    }
    layout.direct_t = !integers && (c == 1 || shape->y_c == 1);
    layout.direct_d = c == 1 || shape->y_c == 1;
    layout.weights_bytes = hunze_align64((size_t)(shape->kernel[0] * shape->kernel[1] * c * layout.sum_bytes));
    layout.column_bytes =
        integers ? hunze_align64((size_t)c * sizeof(int32_t)) : 0; /* offsets, and scales where strided */
    /* The padding is read at the columns' own stride: forward from its start, or backward from its end. */
    layout.pad_row_bytes = layout.in_place && layout.needs_pad_row
                               ? hunze_align64((size_t)(pad_columns * column * layout.x_bytes)) +
                                     hunze_align64((size_t)(c * layout.x_bytes))
                               : 0;
    const int64_t t_elements = hunze_most(layout.in_place ? layout.segment * c : 0, layout.patch[1] * layout.channels);
    layout.t_bytes = layout.direct_t ? 0 : hunze_align64((size_t)(t_elements * layout.sum_bytes));
    layout.d_bytes = integers && !layout.direct_d ? hunze_align64((size_t)t_elements * sizeof(int32_t)) : 0;
    layout.rows_bytes = hunze_align64((size_t)shape->kernel[0] * sizeof(void *));
    layout.lane_bytes = layout.patch_bytes + layout.t_bytes + layout.d_bytes + layout.rows_bytes;
    layout.planes = hunze_depthwise_in_planes(shape);
    if (layout.planes) {
        layout.pad_row_bytes = 0;
        layout.lane_bytes = hunze_depthwise_plane_scratch(shape, row);
    }
    return layout;
}

size_t hunze_depthwise_workspace(const struct hunze_plan *plan, int32_t threads)
{
    const hunze_conv_shape *shape = &plan->conv;
    if (shape->n * shape->out[0] * shape->out[1] * shape->c == 0)
        return 0;
    const depthwise_layout layout = layout_of(plan);
    return layout.weights_bytes + 4 * layout.column_bytes + layout.pad_row_bytes + (size_t)threads * layout.lane_bytes;
}

/* ------------------------------------------------------------------ one run */

typedef struct depthwise_phase {
    const hunze_conv_shape *shape;
    const hunze_row *row;
    depthwise_layout layout;
    hunze_conv_operands operands;
    const void *w;                /* [taps][c] of the sum's type */
    const int32_t *column_offset; /* integers */
    const char *pad_row;          /* where its first column stands */
    char *lanes;
    hunze_items items;
    int64_t rows_per_item;
} depthwise_phase;

typedef struct depthwise_lane {
    const depthwise_phase *phase;
    char *patch, *t, *d;
    const void **rows;
} depthwise_lane;

/* Output columns [x, x + width) of row y, channels [c, c + channels): sums as `args` says, then the epilogue to where y lies. */
static void finish_outputs(const depthwise_lane *lane, hunze_depthwise_row *args, int64_t image, int64_t y, int64_t x,
                           int64_t c)
{
    const depthwise_phase *phase = lane->phase;
    const hunze_conv_shape *shape = phase->shape;
    const hunze_conv_operands *operands = &phase->operands;
    const int64_t width = args->width, channels = args->channels;
    char *out = operands->y +
                (image * shape->y_n + y * shape->y_axis[0] + x * shape->y_axis[1] + c * shape->y_c) * operands->y_bytes;
    args->w = (const char *)phase->w + c * phase->layout.sum_bytes;
    args->w_row = shape->c;
    args->t = phase->layout.direct_t ? out : lane->t;
    args->t_column = phase->layout.direct_t ? shape->y_axis[1] : channels;
    phase->row->depthwise(args);

    const int64_t position =
        image * operands->residual_n + y * operands->residual_axis[0] + x * operands->residual_axis[1];
    const char *finished = args->t;
    if (phase->row->int_epilogue) {
        hunze_int_epilogue epilogue;
        hunze_conv_int_epilogue(operands, c, position, operands->residual_axis[1], &epilogue);
        epilogue.column_offset = phase->column_offset + c;
        finished = phase->layout.direct_d ? out : lane->d;
        phase->row->int_epilogue(&epilogue, width, channels, args->t, channels, (void *)finished,
                                 phase->layout.direct_d ? shape->y_axis[1] : channels);
    } else {
        hunze_float_epilogue epilogue;
        hunze_conv_float_epilogue(operands, c, position, operands->residual_axis[1], &epilogue);
        if (hunze_float_epilogue_is_needed(&epilogue))
            phase->row->float_epilogue(&epilogue, width, channels, args->t, args->t_column);
    }
    if (finished == out)
        return;
    for (int64_t j = 0; j < channels; j++)
        for (int64_t i = 0; i < width; i++)
            memcpy(out + (i * shape->y_axis[1] + j * shape->y_c) * operands->y_bytes,
                   finished + (i * channels + j) * operands->y_bytes, (size_t)operands->y_bytes);
}

static inline void copy_element(char *to, const char *from, int64_t bytes)
{
    if (bytes == 4)
        memcpy(to, from, 4);
    else
        *to = *from;
}

/* One input row of a patch: columns of the image at stride x_axis[1], or padding where the row or column lies outside. */
static void fill_patch_row(const depthwise_phase *phase, const char *from, int64_t first_column, int64_t outputs,
                           int64_t channels, char *to)
{
    const hunze_conv_shape *shape = phase->shape;
    const int64_t bytes = phase->layout.x_bytes, x_c = shape->x_c;
    bool spread;
    const int64_t columns = patch_extent(shape, 1, outputs, &spread);
    const int pad = (uint8_t)phase->operands.x_zero_point; /* 0 for floats */
    if (!from) {
        memset(to, pad, (size_t)(columns * channels * bytes));
        return;
    }
    if (spread || x_c == 1 || channels == 1) {
        for (int64_t q = 0; q < columns; q++, to += channels * bytes) {
            const int64_t column =
                first_column +
                (spread ? q / shape->kernel[1] * shape->stride[1] + q % shape->kernel[1] * shape->dilation[1] : q);
            if (column < 0 || column >= shape->in[1])
                memset(to, pad, (size_t)(channels * bytes));
            else if (x_c == 1)
                memcpy(to, from + column * shape->x_axis[1] * bytes, (size_t)(channels * bytes));
            else
                for (int64_t c = 0; c < channels; c++)
                    copy_element(to + c * bytes, from + (column * shape->x_axis[1] + c * x_c) * bytes, bytes);
        }
        return;
    }
    const int64_t begin = hunze_least(hunze_most(-first_column, 0), columns);
    const int64_t end = hunze_most(begin, hunze_least(columns, shape->in[1] - first_column));
    memset(to, pad, (size_t)(begin * channels * bytes));
    memset(to + end * channels * bytes, pad, (size_t)((columns - end) * channels * bytes));
    for (int64_t c = 0; c < channels; c++) {
        const char *source = from + (first_column * shape->x_axis[1] + c * x_c) * bytes;
        for (int64_t q = begin; q < end; q++)
            copy_element(to + (q * channels + c) * bytes, source + q * shape->x_axis[1] * bytes, bytes);
    }
}

/* Output rows [y0, y1), columns [x0, x1), channels [c, c + channels): within the layout's patch. */
static void run_patch(const depthwise_lane *lane, int64_t image, int64_t y0, int64_t y1, int64_t x0, int64_t x1,
                      int64_t c, int64_t channels)
{
    const depthwise_phase *phase = lane->phase;
    const hunze_conv_shape *shape = phase->shape;
    bool spread_rows, spread_columns;
    const int64_t rows = patch_extent(shape, 0, y1 - y0, &spread_rows);
    const int64_t columns = patch_extent(shape, 1, x1 - x0, &spread_columns);
    const int64_t row_bytes = columns * channels * phase->layout.x_bytes;
    const int64_t first_row = y0 * shape->stride[0] - shape->before[0],
                  first_column = x0 * shape->stride[1] - shape->before[1];
    const char *x = phase->operands.x + (image * shape->x_n + c * shape->x_c) * phase->layout.x_bytes;
    for (int64_t q = 0; q < rows; q++) {
        const int64_t row =
            first_row +
            (spread_rows ? q / shape->kernel[0] * shape->stride[0] + q % shape->kernel[0] * shape->dilation[0] : q);
        const bool outside = row < 0 || row >= shape->in[0];
        fill_patch_row(phase, outside ? NULL : x + row * shape->x_axis[0] * phase->layout.x_bytes, first_column,
                       x1 - x0, channels, lane->patch + q * row_bytes);
    }
    for (int64_t y = y0; y < y1; y++) {
        for (int64_t r = 0; r < shape->kernel[0]; r++) {
            const int64_t q =
                spread_rows ? (y - y0) * shape->kernel[0] + r : (y - y0) * shape->stride[0] + r * shape->dilation[0];
            lane->rows[r] = lane->patch + q * row_bytes;
        }
        hunze_depthwise_row args = {
            .kernel_h = (int32_t)shape->kernel[0],
            .kernel_w = (int32_t)shape->kernel[1],
            .width = x1 - x0,
            .channels = channels,
            .row = lane->rows,
            .column = channels,
            .stride_x = spread_columns ? shape->kernel[1] : shape->stride[1],
            .dilation_x = spread_columns ? 1 : shape->dilation[1],
        };
        finish_outputs(lane, &args, image, y, x0, c);
    }
}

static void run_patches(const depthwise_lane *lane, int64_t image, int64_t y0, int64_t y1, int64_t x0, int64_t x1)
{
    const depthwise_layout *layout = &lane->phase->layout;
    const int64_t channels = lane->phase->shape->c;
    for (int64_t y = y0; y < y1; y += layout->patch[0])
        for (int64_t x = x0; x < x1; x += layout->patch[1])
            for (int64_t c = 0; c < channels; c += layout->channels)
                run_patch(lane, image, y, hunze_least(y + layout->patch[0], y1), x,
                          hunze_least(x + layout->patch[1], x1), c, hunze_least(layout->channels, channels - c));
}

/* Columns [x0, x1) of output row y, whose taps lie inside or above and below the image. */
static void run_in_place(const depthwise_lane *lane, int64_t image, int64_t y, int64_t x0, int64_t x1)
{
    const depthwise_phase *phase = lane->phase;
    const hunze_conv_shape *shape = phase->shape;
    const int64_t bytes = phase->layout.x_bytes;
    for (int64_t r = 0; r < shape->kernel[0]; r++) {
        const int64_t row = y * shape->stride[0] - shape->before[0] + r * shape->dilation[0];
        const int64_t column = x0 * shape->stride[1] - shape->before[1];
        lane->rows[r] =
            row < 0 || row >= shape->in[0]
                ? phase->pad_row
                : phase->operands.x + (image * shape->x_n + row * shape->x_axis[0] + column * shape->x_axis[1]) * bytes;
    }
    hunze_depthwise_row args = {
        .kernel_h = (int32_t)shape->kernel[0],
        .kernel_w = (int32_t)shape->kernel[1],
        .width = x1 - x0,
        .channels = shape->c,
        .row = lane->rows,
        .column = shape->x_axis[1],
        .stride_x = shape->stride[1],
        .dilation_x = shape->dilation[1],
    };
    finish_outputs(lane, &args, image, y, x0, 0);
}

static void run_rows(const depthwise_lane *lane, int64_t image, int64_t y0, int64_t y1)
{
    const depthwise_layout *layout = &lane->phase->layout;
    const int64_t width = lane->phase->shape->out[1];
    if (!layout->in_place) {
        run_patches(lane, image, y0, y1, 0, width);
        return;
    }
    run_patches(lane, image, y0, y1, 0, layout->inside[0]);
    for (int64_t y = y0; y < y1; y++)
        for (int64_t x = layout->inside[0]; x < layout->inside[1]; x += layout->segment)
            run_in_place(lane, image, y, x, hunze_least(x + layout->segment, layout->inside[1]));
    run_patches(lane, image, y0, y1, layout->inside[1], width);
}

static void depthwise_lane_body(void *user, int32_t lane_index, int32_t lanes)
{
    depthwise_phase *phase = user;
    const depthwise_layout *layout = &phase->layout;
    char *scratch = phase->lanes + (size_t)lane_index * layout->lane_bytes;
    const int64_t height = phase->shape->out[0],
                  items_per_image = (height + phase->rows_per_item - 1) / phase->rows_per_item;
    depthwise_lane lane = {
        .phase = phase,
        .rows = (const void **)scratch,
        .patch = scratch + layout->rows_bytes,
        .t = scratch + layout->rows_bytes + layout->patch_bytes,
        .d = scratch + layout->rows_bytes + layout->patch_bytes + layout->t_bytes,
    };
    (void)lanes;
    for (int64_t item; hunze_take_item(&phase->items, &item);) {
        if (layout->planes) {
            const hunze_depthwise_planes planes = {phase->shape, phase->row, &phase->operands, phase->w,
                                                   phase->column_offset};
            hunze_depthwise_run_plane(&planes, item / phase->shape->c, item % phase->shape->c, scratch);
            continue;
        }
        const int64_t y0 = item % items_per_image * phase->rows_per_item;
        run_rows(&lane, item / items_per_image, y0, hunze_least(y0 + phase->rows_per_item, height));
    }
}

/* ------------------------------------------------------------------ weights and parameters */

static const void *float_weights(const hunze_conv_shape *shape, const char *w, float *to)
{
    if (shape->packed)
        return w + sizeof(hunze_packed_header);
    const int64_t c = shape->c;
    for (int64_t r = 0; r < shape->kernel[0]; r++)
        for (int64_t s = 0; s < shape->kernel[1]; s++, to += c)
            for (int64_t j = 0; j < c; j++)
                to[j] = ((const float *)w)[j * shape->w_k + r * shape->w_axis[0] + s * shape->w_axis[1]];
    return to - shape->kernel[0] * shape->kernel[1] * c;
}

/* Widened, the weights' zero point taken off; offset: bias less x's zero point times the sum of the weights, wrapping. */
static void int_weights(const hunze_conv_shape *shape, const hunze_conv_operands *operands, int32_t *to,
                        int32_t *offset)
{
    const int64_t c = shape->c, width = shape->kernel[1];
    const int8_t *w = (const int8_t *)operands->w + (shape->packed ? sizeof(hunze_packed_header) : 0);
    const int8_t *zero_point = operands->w_zero_point;
    for (int64_t j = 0; j < c; j++) {
        const int32_t zero = zero_point ? zero_point[j * operands->w_zero_point_stride] : 0;
        uint32_t sum = 0;
        for (int64_t tap = 0; tap < shape->kernel[0] * width; tap++) {
            const int64_t at = shape->packed
                                   ? tap * c + j
                                   : j * shape->w_k + tap / width * shape->w_axis[0] + tap % width * shape->w_axis[1];
            to[tap * c + j] = w[at] - zero;
            sum += (uint32_t)to[tap * c + j];
        }
        uint32_t bias = 0;
        if (operands->bias && operands->bias_type == HUNZE_TYPE_S32)
            bias = (uint32_t)((const int32_t *)operands->bias)[j * operands->bias_stride];
        offset[j] = (int32_t)(bias - (uint32_t)operands->x_zero_point * sum);
    }
}

/* Kernels read parameters of stride 0 or 1; others are copied. */
static void make_contiguous(hunze_conv_operands *operands, int64_t channels, float *w_scale, float *y_scale,
                            char *y_zero_point)
{
    if (operands->w_scale && operands->w_scale_stride > 1) {
        for (int64_t j = 0; j < channels; j++)
            w_scale[j] = operands->w_scale[j * operands->w_scale_stride];
        operands->w_scale = w_scale;
        operands->w_scale_stride = 1;
    }
    if (operands->y_scale && operands->y_scale_stride > 1) {
        for (int64_t j = 0; j < channels; j++) {
            y_scale[j] = operands->y_scale[j * operands->y_scale_stride];
            if (operands->y_zero_point)
                y_zero_point[j] = ((const char *)operands->y_zero_point)[j * operands->y_scale_stride];
        }
        operands->y_scale = y_scale;
        operands->y_scale_stride = 1;
        if (operands->y_zero_point)
            operands->y_zero_point = y_zero_point;
    }
}

hunze_status hunze_run_depthwise(const struct hunze_plan *plan, const hunze_call *call, hunze_exec *exec)
{
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t positions = shape->n * shape->out[0] * shape->out[1];
    if (positions * shape->c == 0)
        return HUNZE_OK;
    depthwise_phase phase = {.shape = shape, .row = plan->row, .layout = layout_of(plan), .items = {.exec = exec}};
    const depthwise_layout *layout = &phase.layout;
    hunze_conv_operands_of(plan, call, plan->flags | exec->flags, &phase.operands);
    char *weights = exec->workspace;
    char *columns = weights + layout->weights_bytes;
    char *pad_row = columns + 4 * layout->column_bytes;
    phase.lanes = pad_row + layout->pad_row_bytes;
    phase.w = weights;
    if (plan->row->int_epilogue) {
        int_weights(shape, &phase.operands, (int32_t *)weights, (int32_t *)columns);
        phase.column_offset = (const int32_t *)columns;
        make_contiguous(&phase.operands, shape->c, (float *)(columns + layout->column_bytes),
                        (float *)(columns + 2 * layout->column_bytes), columns + 3 * layout->column_bytes);
    } else {
        phase.w = float_weights(shape, phase.operands.w, (float *)weights);
    }
    if (layout->pad_row_bytes) {
        memset(pad_row, (uint8_t)phase.operands.x_zero_point, layout->pad_row_bytes);
        phase.pad_row = pad_row;
        if (shape->x_axis[1] < 0)
            phase.pad_row += layout->pad_row_bytes - hunze_align64((size_t)(shape->c * layout->x_bytes));
    }
    const double operations = 2.0 * (double)(positions * shape->c) * (double)(shape->kernel[0] * shape->kernel[1]);
    int32_t lanes = operations < 1e6 ? 1 : (int32_t)hunze_least(exec->threads, 1 + (int64_t)(operations / 5e5));
    const int64_t rows = shape->n * shape->out[0];
    phase.rows_per_item =
        lanes == 1
            ? shape->out[0]
            : hunze_most(1, hunze_least(layout->in_place ? shape->out[0] : layout->patch[0], rows / (4 * lanes)));
    phase.items.count = shape->n * ((shape->out[0] + phase.rows_per_item - 1) / phase.rows_per_item);
    if (layout->planes)
        phase.items.count = shape->n * shape->c;
    lanes = (int32_t)hunze_least(lanes, phase.items.count);
    hunze_parallel(exec, lanes, depthwise_lane_body, &phase);
    if (phase.items.stopped)
        return hunze_fail(HUNZE_ERR_CANCELLED, "the cancel callback ended conv");
    return HUNZE_OK;
}
