/* Convolution of floats where channels lie in planes (channels-first): output channels are the rows of a tile, neighbouring positions
 * of one output row its columns.
 *
 * A unit is a block of output rows and columns.  Its input is copied once, padding and all, to where the tile reads it: row p = (r, s, c) of
 * B is the copied plane of channel c shifted by the tap, so nothing is repeated per tap as an im2col buffer would.  Columns with a
 * stride are copied apart, each phase to a row of its own.  The packed weights are A: a panel holds nr output channels [k][nr]. */
#include "conv_copy.h"

enum {
    COPY_BYTES = 256 << 10, /* of a unit's input: stays in L2 beside the weights */
    MOST_BYTES = 1 << 20,   /* above this the other driver gathers */
    LEAST_COLUMNS =
        24, /* of an output row: fewer leave too much of a tile unused (0.8 to 0.9 of the other driver at 14) */
    MOST_CHANNELS = 128, /* of a 1x1 kernel: with more the copy brings nothing (0.9 at 256) */
    UNITS_PER_LANE = 4
};

typedef struct planes_layout {
    int64_t in[2], out[2]; /* 1x1: all rows as one */
    int64_t block[2];      /* output rows and columns of a unit, at most */
    int64_t phase, row;    /* elements of a copied row's phase, and of all of them */
    int64_t channel;       /* between copied planes */
    int64_t copied[2];     /* input rows, and columns of all phases */
    int64_t blocks[2], units;
    int32_t lanes;
    size_t lane_bytes;
} planes_layout;

/* A 1x1 kernel sees one row where rows follow each other. */
static bool rows_merge(const hunze_conv_shape *shape)
{
    for (int axis = 0; axis < 2; axis++)
        if (shape->kernel[axis] != 1 || shape->stride[axis] != 1 || shape->before[axis] != 0 ||
            shape->in[axis] != shape->out[axis])
            return false;
    return shape->x_axis[0] == shape->in[1] && shape->y_axis[0] == shape->out[1];
}

static void set_copy(planes_layout *l, const hunze_conv_shape *shape, int64_t size)
{
    l->copied[0] = (l->block[0] - 1) * shape->stride[0] + (shape->kernel[0] - 1) * shape->dilation[0] + 1;
    l->copied[1] = (l->block[1] - 1) * shape->stride[1] + (shape->kernel[1] - 1) * shape->dilation[1] + 1;
    l->phase = hunze_ceil_div(l->copied[1], shape->stride[1]);
    l->row = l->phase * shape->stride[1];
    /* An odd number of lines: planes a multiple of 4 KB apart would share a set of L1. */
    const int64_t line = 64 / size;
    l->channel = (hunze_ceil_div(l->copied[0] * l->row, line) | 1) * line;
    l->lane_bytes = hunze_align64((size_t)(shape->c / shape->groups * l->channel * size));
}

/* Halves the longer way to cut: rows as far as they go, then columns in whole panels. */
static bool cut(planes_layout *l, int64_t nr)
{
    if (l->block[0] > 1)
        l->block[0] = (l->block[0] + 1) / 2;
    else if (l->block[1] > 2 * nr)
        l->block[1] = hunze_ceil_div(hunze_ceil_div(l->block[1], 2), nr) * nr;
    else
        return false;
    return true;
}

static int64_t k_of(const hunze_conv_shape *shape)
{
    return shape->kernel[0] * shape->kernel[1] * (shape->c / shape->groups);
}

static planes_layout layout_of(const hunze_conv_shape *shape, const hunze_row *row, bool merged, int32_t threads)
{
    const int64_t size = (int64_t)hunze_type_bytes(row->a);
    planes_layout l = {.in = {shape->in[0], shape->in[1]}, .out = {shape->out[0], shape->out[1]}};
    if (merged) {
        l.in[1] *= l.in[0];
        l.out[1] *= l.out[0];
        l.in[0] = l.out[0] = 1;
    }
    const double operations = 2.0 * (double)(shape->n * l.out[0] * l.out[1] * shape->k) * (double)(k_of(shape) + 1);
    l.lanes = hunze_gemm_lanes(operations, threads);
    l.block[0] = l.out[0];
    l.block[1] = l.out[1];
    set_copy(&l, shape, size);
    for (;;) {
        for (int axis = 0; axis < 2; axis++)
            l.blocks[axis] = hunze_ceil_div(l.out[axis], l.block[axis]);
        l.units = shape->n * shape->groups * l.blocks[0] * l.blocks[1];
        if ((l.lane_bytes <= COPY_BYTES && (l.lanes == 1 || l.units >= l.lanes * UNITS_PER_LANE)) || !cut(&l, row->nr))
            break;
        set_copy(&l, shape, size);
    }
    l.lanes = (int32_t)hunze_least(l.lanes, l.units);
    return l;
}

bool hunze_conv_in_planes(const hunze_conv_shape *shape, const hunze_row *row)
{
    if (!row->float_tile || shape->k == shape->groups || shape->y_c == 1 || shape->x_c == 1 || shape->y_axis[1] != 1 ||
        shape->x_axis[1] != 1 || shape->n * shape->out[0] * shape->out[1] == 0 || shape->c == 0)
        return false;
    const bool merged = rows_merge(shape), one_tap = shape->kernel[0] * shape->kernel[1] == 1;
    if (one_tap && shape->c / shape->groups > MOST_CHANNELS)
        return false;
    return shape->out[1] * (merged ? shape->out[0] : 1) >= LEAST_COLUMNS &&
           layout_of(shape, row, false, 1).lane_bytes <= MOST_BYTES;
}

static size_t offsets_bytes(const hunze_conv_shape *shape)
{
    return hunze_align64((size_t)k_of(shape) * sizeof(int32_t));
}

/* The panels, the offsets, and lanes: the residual, which the plan does not know, may keep rows apart, so the larger of both layouts. */
size_t hunze_conv_planes_workspace(const struct hunze_plan *plan, int32_t threads)
{
    const hunze_conv_shape *shape = &plan->conv;
    size_t most = 0;
    for (int merged = 0; merged <= rows_merge(shape); merged++) {
        const planes_layout l = layout_of(shape, plan->row, merged, threads);
        const size_t lanes = (size_t)l.lanes * l.lane_bytes;
        most = lanes > most ? lanes : most;
    }
    return hunze_conv_panels_bytes(plan) + offsets_bytes(shape) + most;
}

/* ------------------------------------------------------------------ one run */

typedef struct planes_phase {
    const hunze_conv_shape *shape;
    const hunze_row *row;
    planes_layout layout;
    hunze_conv_operands operands;
    const char *panels;
    size_t panel_bytes, group_bytes;
    int32_t *offsets; /* of B's rows in the copied planes */
    char *lanes;
    int64_t channels, k, k_blocks, kc, tile_m;
    hunze_items items;
} planes_phase;

/* One block of outputs. */
typedef struct planes_unit {
    const planes_phase *phase;
    int64_t image, group, y, x, rows, columns;
    char *planes;
} planes_unit;

static void set_offsets(planes_phase *phase)
{
    const hunze_conv_shape *shape = phase->shape;
    const planes_layout *l = &phase->layout;
    int32_t *to = phase->offsets;
    for (int64_t r = 0; r < shape->kernel[0]; r++)
        for (int64_t s = 0; s < shape->kernel[1]; s++)
            for (int64_t c = 0; c < shape->c / shape->groups; c++) {
                const int64_t column = s * shape->dilation[1], stride = shape->stride[1];
                *to++ = (int32_t)(c * l->channel + r * shape->dilation[0] * l->row + column % stride * l->phase +
                                  column / stride);
            }
}

/* Elements of one phase: to[i] = from[first + i * stride] for columns within [0, width), else 0; size is a constant in each caller. */
static inline void copy_phase(char *to, const char *from, int64_t first, int64_t stride, int64_t n, int64_t width,
                              int64_t size)
{
    const int64_t low = first >= 0 ? 0 : hunze_least(n, hunze_ceil_div(-first, stride));
    const int64_t end = width <= first ? 0 : hunze_least(n, hunze_ceil_div(width - first, stride));
    const int64_t high = hunze_most(low, end);
    memset(to, 0, (size_t)(low * size));
    hunze_copy_run(to + low * size, 1, from + (first + low * stride) * size, stride, high - low, size);
    memset(to + high * size, 0, (size_t)((n - high) * size));
}

static void copy_input(const planes_unit *unit)
{
    const planes_phase *phase = unit->phase;
    const hunze_conv_shape *shape = phase->shape;
    const planes_layout *l = &phase->layout;
    const int64_t size = phase->operands.x_bytes, c = shape->c / shape->groups, stride = shape->stride[1];
    const int64_t top = unit->y * shape->stride[0] - shape->before[0];
    const int64_t left = unit->x * stride - shape->before[1];
    const int64_t rows = (unit->rows - 1) * shape->stride[0] + (shape->kernel[0] - 1) * shape->dilation[0] + 1;
    const char *x = phase->operands.x + (unit->image * shape->x_n + unit->group * c * shape->x_c) * size;
    for (int64_t channel = 0; channel < c; channel++)
        for (int64_t row = 0; row < rows; row++) {
            char *to = unit->planes + (channel * l->channel + row * l->row) * size;
            const int64_t from = top + row;
            if (from < 0 || from >= l->in[0]) {
                memset(to, 0, (size_t)(l->row * size));
                continue;
            }
            const char *line = x + (channel * shape->x_c + from * shape->x_axis[0]) * size;
            for (int64_t f = 0; f < stride; f++)
                if (size == 4)
                    copy_phase(to + f * l->phase * 4, line, left + f, stride, l->phase, l->in[1], 4);
                else
                    copy_phase(to + f * l->phase * 8, line, left + f, stride, l->phase, l->in[1], 8);
        }
}

/* bias by channels, which are rows here; the residual likewise. */
static void finish_tile(const planes_unit *unit, const hunze_float_tile *tile, int64_t i, int64_t y, int64_t x)
{
    const planes_phase *phase = unit->phase;
    const hunze_conv_operands *operands = &phase->operands;
    const int64_t position =
        unit->image * operands->residual_n + y * operands->residual_axis[0] + x * operands->residual_axis[1];
    hunze_float_epilogue epilogue;
    hunze_conv_float_epilogue(operands, unit->group * phase->channels + i, position, 0, &epilogue);
    epilogue.bias_row = epilogue.bias_col;
    epilogue.bias_col = 0;
    epilogue.residual_row = operands->residual_c;
    epilogue.residual_col = operands->residual_axis[1];
    if (hunze_float_epilogue_is_needed(&epilogue))
        phase->row->float_epilogue(&epilogue, tile->m, tile->n, tile->t, tile->t_row);
}

/* Output channels [i, i + tile.m) of the unit over one K block. */
static void run_rows(const planes_unit *unit, hunze_float_tile *tile, int64_t i, bool last)
{
    const planes_phase *phase = unit->phase;
    const hunze_conv_shape *shape = phase->shape;
    const planes_layout *l = &phase->layout;
    const int64_t size = phase->operands.x_bytes, nr = phase->row->nr;
    char *y = phase->operands.y + (unit->image * shape->y_n + (unit->group * phase->channels + i) * shape->y_c +
                                   unit->y * shape->y_axis[0] + unit->x) *
                                      size;
    for (int64_t row = 0; row < unit->rows; row++)
        for (int64_t column = 0; column < unit->columns; column += nr) {
            tile->n = (int32_t)hunze_least(nr, unit->columns - column);
            tile->b = unit->planes + (row * shape->stride[0] * l->row + column) * size;
            tile->t = y + (row * shape->y_axis[0] + column) * size;
            phase->row->float_tile(tile);
            if (last)
                finish_tile(unit, tile, i, unit->y + row, unit->x + column);
        }
}

static void run_unit(const planes_unit *unit)
{
    static const float one_f32 = 1;
    static const double one_f64 = 1;
    const planes_phase *phase = unit->phase;
    const int64_t size = phase->operands.x_bytes, nr = phase->row->nr;
    copy_input(unit);
    for (int64_t block = 0; block < phase->k_blocks; block++) {
        const int64_t p0 = hunze_gemm_k_block_start(phase->k, phase->kc, block);
        hunze_float_tile tile = {
            .k = hunze_gemm_k_block_start(phase->k, phase->kc, block + 1) - p0,
            .flags = block == 0 ? HUNZE_TILE_FIRST : 0,
            .a_row = 1,
            .a_col = nr,
            .b_offset = phase->offsets + p0,
            .t_row = phase->shape->y_c,
            .alpha = size == 4 ? (const void *)&one_f32 : &one_f64,
        };
        for (int64_t i = 0; i < phase->channels; i += tile.m) {
            tile.m = (int32_t)hunze_least(hunze_least(phase->tile_m, nr - i % nr), phase->channels - i);
            tile.a = phase->panels + (size_t)unit->group * phase->group_bytes + (size_t)(i / nr) * phase->panel_bytes +
                     (size_t)((p0 * nr + i % nr) * size);
            run_rows(unit, &tile, i, block + 1 == phase->k_blocks);
        }
    }
}

static void planes_lane(void *user, int32_t lane, int32_t lanes)
{
    planes_phase *phase = user;
    const planes_layout *l = &phase->layout;
    (void)lanes;
    for (int64_t index; hunze_take_item(&phase->items, &index);) {
        const int64_t plane = index / (l->blocks[0] * l->blocks[1]), block = index % (l->blocks[0] * l->blocks[1]);
        planes_unit unit = {.phase = phase,
                            .image = plane / phase->shape->groups,
                            .group = plane % phase->shape->groups,
                            .y = block / l->blocks[1] * l->block[0],
                            .x = block % l->blocks[1] * l->block[1],
                            .planes = phase->lanes + (size_t)lane * l->lane_bytes};
        unit.rows = hunze_least(l->block[0], l->out[0] - unit.y);
        unit.columns = hunze_least(l->block[1], l->out[1] - unit.x);
        run_unit(&unit);
    }
}

hunze_status hunze_run_conv_planes(const struct hunze_plan *plan, const hunze_call *call, hunze_exec *exec)
{
    const hunze_conv_shape *shape = &plan->conv;
    const hunze_row *row = plan->row;
    planes_phase phase = {.shape = shape, .row = row, .channels = shape->k / shape->groups};
    hunze_conv_operands_of(plan, call, plan->flags | exec->flags, &phase.operands);
    const hunze_conv_operands *operands = &phase.operands;
    const bool merged = rows_merge(shape) && (!operands->residual ||
                                              operands->residual_axis[0] == shape->out[1] * operands->residual_axis[1]);
    phase.layout = layout_of(shape, row, merged, exec->threads);
    phase.items = (hunze_items){.count = phase.layout.units, .exec = exec};
    phase.k = k_of(shape);
    phase.kc = hunze_gemm_kc(row);
    phase.k_blocks = hunze_gemm_k_blocks(phase.k, phase.kc);
    phase.panel_bytes = hunze_packed_panel_bytes(row, phase.k);
    phase.group_bytes = hunze_packed_panels_bytes(row, phase.channels, phase.k);
    const int64_t in_panel = hunze_least(phase.channels, row->nr); /* rows of a panel, in tiles of like height */
    phase.tile_m = hunze_ceil_div(in_panel, hunze_ceil_div(in_panel, row->mr));
    char *panels = exec->workspace;
    phase.panels = hunze_conv_panels_of(plan, operands->w, panels, NULL, exec);
    phase.offsets = (int32_t *)(void *)(panels + hunze_conv_panels_bytes(plan));
    phase.lanes = (char *)phase.offsets + offsets_bytes(shape);
    set_offsets(&phase);
    hunze_parallel(exec, phase.layout.lanes, planes_lane, &phase);
    if (phase.items.stopped)
        return hunze_fail(HUNZE_ERR_CANCELLED, "the cancel callback ended conv");
    return HUNZE_OK;
}
