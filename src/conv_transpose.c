/* Transposed convolution as products: output (row, column) gathers the taps that meet it, k = (r, s, c) as in conv.c.
 *
 * With stride, most taps of an output meet no input.  Outputs of one residue (row % stride, column % stride) meet the same taps, so each
 * residue is a plain convolution of stride 1 over those taps alone.  Dropping taps keeps the bits where they would add +0·w with w
 * finite inside a single K block; else every tap is gathered, padding where it meets nothing.
 *
 * Where kernel and stride are equal and nothing is padded each output has one tap, and with few output channels the product is turned
 * round: outputs are columns (lanes), channels rows, and an only channel's residues of one row are rows of one product. */
#include "conv.h"

#include <string.h>

/* One residue: the outputs first + q*step, and the taps that meet them. */
typedef struct residue {
    int64_t first[2], step[2], out[2];
    int64_t tap[2], tap_step[2]; /* the first tap's index, and between taps */
    hunze_conv_gather gather;    /* of group 0 */
    bool in_place;
    const char *panels;
    int64_t panels_bytes; /* per group */
} residue;

typedef struct transpose_jobs {
    const hunze_conv_shape *shape;
    hunze_conv_operands operands;
    residue *residues;
    hunze_conv_gather *gathers; /* [residue][group] */
    int64_t *chosen;            /* the residues of the list that runs: those with its count of taps */
    int64_t n, rows;            /* output channels per group; output rows of the residue with most */
    bool turned;
    int64_t together; /* turned: column residues in one product */
    int64_t panel_columns;
} transpose_jobs;

static int64_t taps(const hunze_conv_gather *gather) { return gather->kernel[0] * gather->kernel[1]; }

static int64_t residue_count(const hunze_conv_shape *shape, int axis)
{
    return shape->stride[axis] < shape->out[axis] ? shape->stride[axis] : shape->out[axis];
}

/* Whether the sum stays one chain without the taps that meet no input; stride 1 has none. */
static bool may_drop_taps(const hunze_conv_shape *shape, hunze_type type)
{
    const int64_t kc = type == HUNZE_TYPE_F64 ? HUNZE_KC_F64 : HUNZE_KC_F32;
    const int64_t k = shape->kernel[0] * shape->kernel[1] * (shape->c / shape->groups);
    return hunze_gemm_k_blocks(k, kc) == 1 || (shape->stride[0] == 1 && shape->stride[1] == 1);
}

/* The turned form: few output channels and one tap, inside x, for each output. */
static bool is_turned(const hunze_conv_shape *shape, bool drops)
{
    bool one_tap = drops && shape->k / shape->groups <= 4;
    for (int axis = 0; axis < 2; axis++)
        one_tap = one_tap && shape->kernel[axis] == shape->stride[axis] && shape->dilation[axis] == 1 &&
                  shape->before[axis] == 0 && shape->out[axis] == shape->in[axis] * shape->stride[axis];
    return one_tap;
}

/* Column residues in one turned product: their rows of D are one stride apart where there is one channel. */
static int64_t residues_together(const hunze_conv_shape *shape)
{
    return shape->k == shape->groups ? residue_count(shape, 1) : 1;
}

static void describe_axis(const hunze_conv_shape *shape, int axis, int64_t index, bool drops, residue *out)
{
    const int64_t stride = shape->stride[axis], dilation = shape->dilation[axis];
    hunze_conv_gather *gather = &out->gather;
    gather->in[axis] = shape->in[axis];
    gather->x_axis[axis] = shape->x_axis[axis];
    if (!drops) {
        out->first[axis] = 0;
        out->step[axis] = out->tap_step[axis] = 1;
        out->tap[axis] = 0;
        out->out[axis] = gather->out[axis] = shape->out[axis];
        gather->kernel[axis] = shape->kernel[axis];
        gather->stride[axis] = stride;
        gather->dilation[axis] = dilation;
        gather->before[axis] = shape->before[axis];
        return;
    }
    out->first[axis] = index;
    out->step[axis] = stride;
    out->out[axis] = gather->out[axis] = (shape->out[axis] - index + stride - 1) / stride;
    out->tap_step[axis] = stride / hunze_common_divisor(stride, dilation);
    int64_t tap = 0;
    while (tap < out->tap_step[axis] && (index + shape->before[axis] - tap * dilation) % stride != 0)
        tap++;
    const bool meets = tap < out->tap_step[axis] && tap < shape->kernel[axis];
    out->tap[axis] = meets ? tap : 0;
    gather->kernel[axis] = meets ? (shape->kernel[axis] - tap + out->tap_step[axis] - 1) / out->tap_step[axis] : 0;
    gather->stride[axis] = 1;
    gather->dilation[axis] = -(out->tap_step[axis] * dilation / stride);
    gather->before[axis] = meets ? -((index + shape->before[axis] - tap * dilation) / stride) : 0;
}

static bool reads_in_place(const residue *r)
{
    for (int axis = 0; axis < 2; axis++) {
        const int64_t first = -r->gather.before[axis];
        if (r->gather.kernel[axis] != 1 || first < 0 || first + r->out[axis] > r->gather.in[axis])
            return false;
    }
    return !r->gather.transposed;
}

static void describe(const hunze_conv_shape *shape, int64_t index, bool drops, residue *out)
{
    const int64_t columns = residue_count(shape, 1), c = shape->c / shape->groups;
    *out = (residue){
        .gather = {.c = c, .x_n = shape->x_n, .x_c = hunze_channel_stride(c, shape->x_c), .transposed = !drops}};
    describe_axis(shape, 0, index / columns, drops, out);
    describe_axis(shape, 1, index % columns, drops, out);
    out->in_place = reads_in_place(out);
}

static void transpose_job(const void *user, int64_t index, hunze_gemm_job *out)
{
    const transpose_jobs *list = user;
    const hunze_conv_shape *shape = list->shape;
    const hunze_conv_operands *operands = &list->operands;
    const int64_t bytes = operands->y_bytes;
    const int64_t group = index % shape->groups, row = index / shape->groups % list->rows;
    const int64_t image = index / shape->groups / list->rows % shape->n;
    const int64_t which = list->chosen[index / shape->groups / list->rows / shape->n];
    const residue *r = &list->residues[which];
    const int64_t channel = group * list->n, y_row = r->first[0] + row * r->step[0];
    const hunze_conv_gather *gather = &list->gathers[which * shape->groups + group];
    *out = (hunze_gemm_job){
        .m = row < r->out[0] ? r->out[1] : 0,
        .n = list->n,
        .packed_b = r->panels + group * r->panels_bytes,
        .d = operands->y +
             (image * shape->y_n + y_row * shape->y_axis[0] + r->first[1] * shape->y_axis[1] + channel * shape->y_c) *
                 bytes,
        .d_row = r->step[1] * shape->y_axis[1],
        .d_col = hunze_channel_stride(list->n, shape->y_c),
    };
    if (r->in_place) {
        out->a = gather->x + (image * shape->x_n + (row - gather->before[0]) * shape->x_axis[0] -
                              gather->before[1] * shape->x_axis[1]) *
                                 bytes;
        out->a_row = shape->x_axis[1];
        out->a_col = gather->x_c;
    } else {
        out->gather = hunze_conv_gather_of(bytes);
        out->gather_source = gather;
        out->gather_row = (image * r->out[0] + row) * r->out[1];
        out->gather_by_columns = !gather->transposed && gather->x_c != 1 && shape->x_axis[1] == 1;
    }
    const int64_t position =
        image * operands->residual_n + y_row * operands->residual_axis[0] + r->first[1] * operands->residual_axis[1];
    hunze_conv_float_epilogue(operands, channel, position, r->step[1] * operands->residual_axis[1],
                              &out->float_epilogue);
}

/* Rows are output channels, or the only channel's residues; columns are outputs.  The panel of so few channels, [k][nr], is A transposed. */
static void turned_job(const void *user, int64_t index, hunze_gemm_job *out)
{
    const transpose_jobs *list = user;
    const hunze_conv_shape *shape = list->shape;
    const hunze_conv_operands *operands = &list->operands;
    const int64_t bytes = operands->y_bytes;
    const int64_t group = index % shape->groups, row = index / shape->groups % list->rows;
    const int64_t image = index / shape->groups / list->rows % shape->n;
    const residue *r = &list->residues[list->chosen[index / shape->groups / list->rows / shape->n]];
    const int64_t channel = group * list->n, y_row = r->first[0] + row * r->step[0];
    const int64_t position =
        image * operands->residual_n + y_row * operands->residual_axis[0] + r->first[1] * operands->residual_axis[1];
    const bool together = list->together > 1;
    *out = (hunze_gemm_job){
        .m = together ? list->together : list->n,
        .n = r->out[1],
        .a = r->panels + group * r->panels_bytes,
        .a_row = together ? shape->groups * r->panels_bytes / bytes : 1,
        .a_col = list->panel_columns,
        .b = operands->x + (image * shape->x_n + row * shape->x_axis[0] + group * r->gather.c * shape->x_c) * bytes,
        .b_row = shape->x_c,
        .b_col = shape->x_axis[1],
        .d = operands->y +
             (image * shape->y_n + y_row * shape->y_axis[0] + r->first[1] * shape->y_axis[1] + channel * shape->y_c) *
                 bytes,
        .d_row = together ? shape->y_axis[1] : shape->y_c,
        .d_col = r->step[1] * shape->y_axis[1],
    };
    hunze_conv_float_epilogue(operands, channel, position, together ? operands->residual_axis[1] : operands->residual_c,
                              &out->float_epilogue);
    out->float_epilogue.bias_row = together ? 0 : out->float_epilogue.bias_col;
    out->float_epilogue.bias_col = 0;
    out->float_epilogue.residual_col = r->step[1] * operands->residual_axis[1];
}

/* ------------------------------------------------------------------ lists: residues with one count of taps run together */

typedef struct axis_class {
    int64_t taps, residues, longest; /* taps that meet, residues that have so many, the most outputs of one */
} axis_class;

/* At most three: none, and two neighbouring counts. */
static int axis_classes(const hunze_conv_shape *shape, int axis, bool drops, axis_class out[3])
{
    const int64_t residues = drops ? residue_count(shape, axis) : 1;
    int count = 0;
    for (int64_t index = 0; index < residues; index++) {
        residue r = {0};
        describe_axis(shape, axis, index, drops, &r);
        int which = 0;
        while (which < count && out[which].taps != r.gather.kernel[axis])
            which++;
        if (which == count)
            out[count++] = (axis_class){.taps = r.gather.kernel[axis]};
        out[which].residues++;
        if (r.out[axis] > out[which].longest)
            out[which].longest = r.out[axis];
    }
    return count;
}

typedef struct transpose_list {
    int64_t taps[2], residues, rows, columns;
} transpose_list;

static int lists_of(const hunze_conv_shape *shape, bool drops, transpose_list lists[9])
{
    axis_class rows[3], columns[3];
    const int row_classes = axis_classes(shape, 0, drops, rows),
              column_classes = axis_classes(shape, 1, drops, columns);
    int count = 0;
    for (int i = 0; i < row_classes; i++)
        for (int j = 0; j < column_classes; j++)
            lists[count++] = (transpose_list){.taps = {rows[i].taps, columns[j].taps},
                                              .residues = rows[i].residues * columns[j].residues,
                                              .rows = rows[i].longest,
                                              .columns = columns[j].longest};
    return count;
}

static hunze_gemm_jobs jobs_of(const struct hunze_plan *plan, const transpose_list *list, bool turned)
{
    const hunze_conv_shape *shape = &plan->conv;
    if (turned)
        return (hunze_gemm_jobs){
            .row = plan->row,
            .count = list->residues / residues_together(shape) * shape->n * list->rows * shape->groups,
            .job = turned_job,
            .m = residues_together(shape) * (shape->k / shape->groups),
            .n = list->columns,
            .k = shape->c / shape->groups,
            .alpha = 1,
            .beta = 0,
            .transposed_d = shape->stride[1] * shape->y_axis[1] != 1 && list->columns > 1,
        };
    return (hunze_gemm_jobs){
        .row = plan->row,
        .count = list->residues * shape->n * list->rows * shape->groups,
        .job = transpose_job,
        .m = list->columns,
        .n = shape->k / shape->groups,
        .k = list->taps[0] * list->taps[1] * (shape->c / shape->groups),
        .alpha = 1,
        .beta = 0,
        .packed_b = true,
        .gathers = true,
        .transposed_d = hunze_channel_stride(shape->k / shape->groups, shape->y_c) != 1,
    };
}

typedef struct transpose_workspace {
    size_t residues, gathers, chosen, panels, jobs;
} transpose_workspace;

static transpose_workspace workspace_of(const struct hunze_plan *plan, bool drops, int32_t threads)
{
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t count = drops ? residue_count(shape, 0) * residue_count(shape, 1) : 1;
    const int64_t n = shape->k / shape->groups, c = shape->c / shape->groups;
    transpose_workspace size = {
        .residues = hunze_align64((size_t)count * sizeof(residue)),
        .gathers = hunze_align64((size_t)(count * shape->groups) * sizeof(hunze_conv_gather)),
        .chosen = hunze_align64((size_t)count * sizeof(int64_t)),
    };
    transpose_list lists[9];
    const int list_count = lists_of(shape, drops, lists);
    for (int i = 0; i < list_count; i++) {
        const hunze_gemm_jobs jobs = jobs_of(plan, &lists[i], is_turned(shape, drops));
        const size_t bytes = hunze_gemm_jobs_workspace(&jobs, threads);
        size.jobs = bytes > size.jobs ? bytes : size.jobs;
        size.panels += (size_t)(lists[i].residues * shape->groups) *
                       hunze_packed_panels_bytes(plan->row, n, lists[i].taps[0] * lists[i].taps[1] * c);
    }
    return size;
}

static bool is_empty(const hunze_conv_shape *shape) { return shape->n * shape->out[0] * shape->out[1] * shape->k == 0; }

size_t hunze_conv_transpose_workspace(const struct hunze_plan *plan, int32_t threads)
{
    size_t most = 0;
    if (is_empty(&plan->conv))
        return 0;
    for (int drops = 0; drops <= may_drop_taps(&plan->conv, plan->row->a); drops++) {
        const transpose_workspace size = workspace_of(plan, drops, threads);
        const size_t bytes = size.residues + size.gathers + size.chosen + size.panels + size.jobs;
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* ------------------------------------------------------------------ weights */

static bool is_finite(const void *values, int64_t at, hunze_type type)
{
    return type == HUNZE_TYPE_F64 ? __builtin_isfinite(((const double *)values)[at])
                                  : __builtin_isfinite(((const float *)values)[at]);
}

static bool weights_are_finite(const hunze_conv_shape *shape, const void *w, hunze_type type)
{
    if (shape->packed)
        return ((const hunze_packed_header *)w)->flags & HUNZE_PACKED_FINITE;
    for (int64_t c = 0; c < shape->c; c++)
        for (int64_t j = 0; j < shape->k / shape->groups; j++)
            for (int64_t r = 0; r < shape->kernel[0]; r++)
                for (int64_t s = 0; s < shape->kernel[1]; s++)
                    if (!is_finite(w, c * shape->w_c + j * shape->w_k + r * shape->w_axis[0] + s * shape->w_axis[1],
                                   type))
                        return false;
    return true;
}

/* The taps of one residue out of a packed blob's panels, each tap c rows of nr. */
static void copy_panels(const hunze_conv_shape *shape, const hunze_row *row, const residue *r, const char *blob,
                        char *panels)
{
    const int64_t c = shape->c / shape->groups, n = shape->k / shape->groups;
    const int64_t tap_bytes = c * row->nr * (int64_t)hunze_type_bytes(row->b);
    const int64_t from_bytes = (int64_t)hunze_packed_panel_bytes(row, shape->kernel[0] * shape->kernel[1] * c);
    const int64_t to_bytes = (int64_t)hunze_packed_panel_bytes(row, taps(&r->gather) * c);
    for (int64_t panel = 0; panel < shape->groups * ((n + row->nr - 1) / row->nr); panel++) {
        char *to = panels + panel * to_bytes;
        for (int64_t i = 0; i < r->gather.kernel[0]; i++)
            for (int64_t j = 0; j < r->gather.kernel[1]; j++, to += tap_bytes) {
                const int64_t tap =
                    (r->tap[0] + i * r->tap_step[0]) * shape->kernel[1] + r->tap[1] + j * r->tap_step[1];
                memcpy(to, blob + panel * from_bytes + tap * tap_bytes, (size_t)tap_bytes);
            }
    }
}

static void prepare_panels(const struct hunze_plan *plan, const hunze_conv_operands *operands, const residue *r,
                           char *panels, hunze_exec *exec)
{
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t c = shape->c / shape->groups;
    if (shape->packed) {
        copy_panels(shape, plan->row, r, operands->w + sizeof(hunze_packed_header), panels);
        return;
    }
    const hunze_conv_weights weights = {
        .row = plan->row,
        .w = operands->w + (r->tap[0] * shape->w_axis[0] + r->tap[1] * shape->w_axis[1]) * operands->w_bytes,
        .w_group = c * shape->w_c,
        .w_n = shape->w_k,
        .w_c = shape->w_c,
        .w_axis = {r->tap_step[0] * shape->w_axis[0], r->tap_step[1] * shape->w_axis[1]},
        .groups = shape->groups,
        .n = shape->k / shape->groups,
        .c = c,
        .kernel = {r->gather.kernel[0], r->gather.kernel[1]},
        .panels = panels,
    };
    hunze_conv_pack_weights(&weights, NULL, exec);
}

hunze_status hunze_run_conv_transpose(const struct hunze_plan *plan, const hunze_call *call, hunze_exec *exec)
{
    const hunze_conv_shape *shape = &plan->conv;
    if (is_empty(shape))
        return HUNZE_OK;
    transpose_jobs list = {.shape = shape, .n = shape->k / shape->groups, .panel_columns = plan->row->nr};
    hunze_conv_operands_of(plan, call, plan->flags | exec->flags, &list.operands);
    const bool drops = may_drop_taps(shape, plan->row->a) && ((shape->stride[0] == 1 && shape->stride[1] == 1) ||
                                                              weights_are_finite(shape, list.operands.w, plan->row->a));
    const transpose_workspace size = workspace_of(plan, drops, exec->threads);
    list.residues = exec->workspace;
    list.gathers = (hunze_conv_gather *)((char *)list.residues + size.residues);
    list.chosen = (int64_t *)((char *)list.gathers + size.gathers);
    char *panels = (char *)list.chosen + size.chosen;
    hunze_exec inner = *exec;
    inner.workspace = panels + size.panels;
    inner.workspace_bytes = exec->workspace_bytes - (size_t)((char *)inner.workspace - (char *)exec->workspace);

    const int64_t count = drops ? residue_count(shape, 0) * residue_count(shape, 1) : 1;
    for (int64_t index = 0; index < count; index++) {
        residue *r = &list.residues[index];
        describe(shape, index, drops, r);
        r->panels = panels;
        r->panels_bytes = (int64_t)hunze_packed_panels_bytes(plan->row, list.n, taps(&r->gather) * r->gather.c);
        prepare_panels(plan, &list.operands, r, panels, exec);
        panels += shape->groups * r->panels_bytes;
        for (int64_t group = 0; group < shape->groups; group++) {
            hunze_conv_gather *gather = &list.gathers[index * shape->groups + group];
            *gather = r->gather;
            gather->x = list.operands.x + group * r->gather.c * shape->x_c * list.operands.x_bytes;
        }
    }
    list.turned = is_turned(shape, drops);
    list.together = residues_together(shape);
    transpose_list lists[9];
    const int list_count = lists_of(shape, drops, lists);
    for (int i = 0; i < list_count; i++) {
        int64_t chosen = 0;
        for (int64_t index = 0; index < count; index++) {
            const int64_t *kernel = list.residues[index].gather.kernel;
            const bool leads = !list.turned || index % residue_count(shape, 1) % list.together == 0;
            if (leads && kernel[0] == lists[i].taps[0] && kernel[1] == lists[i].taps[1])
                list.chosen[chosen++] = index;
        }
        list.rows = lists[i].rows;
        hunze_gemm_jobs jobs = jobs_of(plan, &lists[i], list.turned);
        jobs.user = &list;
        const hunze_status status = hunze_gemm_run_jobs(&jobs, &inner);
        if (status != HUNZE_OK)
            return status;
    }
    return HUNZE_OK;
}
