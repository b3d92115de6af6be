/* Convolution by blocks: one product per group and run of output positions, A gathered block by block into the GEMM driver's scratch
 * (or read in place where its rows lie in x as they are), weights as packed panels.
 *
 * Output positions (image, row, column) are rows of one product as far as y, the residual and an x read in place have one stride
 * over them; else there is a product per image, or per output row. */
#include "conv.h"

#include <stdlib.h>
#include <string.h>

typedef struct conv_job_list {
    const hunze_conv_shape *shape;
    hunze_conv_operands operands;
    hunze_conv_gather *group_gathers; /* one per group */
    bool in_place, by_columns;
    int64_t a_row, a_col;
    int merged; /* axes of (image, row, column) that are one product's rows: 1, 2 or 3 */
    int64_t y_row, residual_row;
    int64_t n; /* per group */
    const char *panels;
    int64_t panels_bytes; /* per group */
    bool integers;
} conv_job_list;

typedef struct conv_workspace {
    size_t panels, pack_scratch, gathers, zeros, jobs;
} conv_workspace;

static int64_t taps(const hunze_conv_shape *shape)
{
    return shape->kernel[0] * shape->kernel[1] * (shape->c / shape->groups);
}

/* Whether no tap leaves the image and all taps of a position are one stride apart, *a_col. */
static bool reads_in_place(const hunze_conv_shape *shape, int64_t *a_col)
{
    for (int axis = 0; axis < 2; axis++) {
        const int64_t last =
            (shape->out[axis] - 1) * shape->stride[axis] + (shape->kernel[axis] - 1) * shape->dilation[axis];
        if (shape->before[axis] != 0 || last >= shape->in[axis])
            return false;
    }
    const int64_t c = shape->c / shape->groups, x_c = hunze_channel_stride(c, shape->x_c);
    if (shape->kernel[0] != 1)
        return false;
    const int64_t step = shape->dilation[1] * shape->x_axis[1];
    *a_col = c == 1 && shape->kernel[1] > 1 ? step : x_c;
    return shape->kernel[1] == 1 || c == 1 || step == c * x_c;
}

static void conv_job(const void *user, int64_t index, hunze_gemm_job *out)
{
    const conv_job_list *list = user;
    const hunze_conv_shape *shape = list->shape;
    const hunze_conv_operands *operands = &list->operands;
    const int64_t group = index % shape->groups, part = index / shape->groups;
    const int64_t image = list->merged == 3 ? 0 : list->merged == 2 ? part : part / shape->out[0];
    const int64_t row = list->merged == 1 ? part % shape->out[0] : 0;
    const int64_t channel = group * list->n;
    *out = (hunze_gemm_job){
        .m = shape->out[1] * (list->merged > 1 ? shape->out[0] : 1) * (list->merged > 2 ? shape->n : 1),
        .n = list->n,
        .packed_b = list->panels + group * list->panels_bytes,
        .d = operands->y + (image * shape->y_n + row * shape->y_axis[0] + channel * shape->y_c) * operands->y_bytes,
        .d_row = list->y_row,
        .d_col = hunze_channel_stride(list->n, shape->y_c),
        .a_zero_point_scalar = operands->x_zero_point,
    };
    if (list->in_place) {
        out->a = list->group_gathers[group].x +
                 (image * shape->x_n + row * shape->stride[0] * shape->x_axis[0]) * operands->x_bytes;
        out->a_row = list->a_row;
        out->a_col = list->a_col;
    } else {
        out->gather = hunze_conv_gather_of(operands->x_bytes);
        out->gather_source = &list->group_gathers[group];
        out->gather_row = (image * shape->out[0] + row) * shape->out[1];
        out->gather_by_columns = list->by_columns;
        out->segments = list->group_gathers[group].zeros ? hunze_conv_segments : NULL;
    }
    if (operands->w_zero_point) {
        out->b_zero_point = (const char *)operands->w_zero_point + channel * operands->w_zero_point_stride;
        out->b_zero_point_stride = operands->w_zero_point_stride;
    }
    const int64_t position = image * operands->residual_n + row * operands->residual_axis[0];
    if (list->integers)
        hunze_conv_int_epilogue(operands, channel, position, list->residual_row, &out->int_epilogue);
    else
        hunze_conv_float_epilogue(operands, channel, position, list->residual_row, &out->float_epilogue);
    if (list->integers && operands->bias && operands->bias_type == HUNZE_TYPE_S32) {
        out->int_bias = (const int32_t *)operands->bias + channel * operands->bias_stride;
        out->int_bias_col = operands->bias_stride;
    }
}

/* The job list where so many axes of (image, row, column) are one product's rows. */
static hunze_gemm_jobs jobs_of_plan(const struct hunze_plan *plan, int merged)
{
    const hunze_conv_shape *shape = &plan->conv;
    int64_t a_col;
    return (hunze_gemm_jobs){
        .row = plan->row,
        .count = shape->groups * (merged < 3 ? shape->n : 1) * (merged < 2 ? shape->out[0] : 1),
        .job = conv_job,
        .m = shape->out[1] * (merged > 1 ? shape->out[0] : 1) * (merged > 2 ? shape->n : 1),
        .n = shape->k / shape->groups,
        .k = taps(shape),
        .alpha = 1,
        .beta = 0,
        .packed_b = true,
        .shared_b = shape->groups == 1,
        .gathers = !reads_in_place(shape, &a_col),
        .transposed_d = hunze_channel_stride(shape->k / shape->groups, shape->y_c) != 1,
    };
}

/* The residual's strides, which the plan does not know, also decide how many axes are merged: the largest of three. */
static conv_workspace workspace_of(const struct hunze_plan *plan, int32_t threads)
{
    const hunze_conv_shape *shape = &plan->conv;
    const bool packs = !shape->packed;
    size_t most = 0;
    hunze_gemm_jobs jobs;
    for (int merged = 1; merged <= 3; merged++) {
        jobs = jobs_of_plan(plan, merged);
        const size_t bytes = hunze_gemm_jobs_workspace(&jobs, threads);
        most = bytes > most ? bytes : most;
    }
    return (conv_workspace){
        .panels = hunze_conv_panels_bytes(plan),
        .pack_scratch = packs ? hunze_conv_weights_scratch(plan->row, jobs.k, threads) : 0,
        .gathers = hunze_align64((size_t)shape->groups * sizeof(hunze_conv_gather)),
        .zeros = jobs.gathers && plan->row->float_tile
                     ? hunze_align64((size_t)(shape->kernel[1] * (shape->c / shape->groups)) * 8)
                     : 0,
        .jobs = most,
    };
}

size_t hunze_conv_workspace(const struct hunze_plan *plan, int32_t threads)
{
    if (plan->op == HUNZE_OP_CONV_TRANSPOSE)
        return hunze_conv_transpose_workspace(plan, threads);
    if (plan->row->depthwise)
        return hunze_depthwise_workspace(plan, threads);
    if (hunze_conv_in_planes(&plan->conv, plan->row))
        return hunze_conv_planes_workspace(plan, threads);
    const conv_workspace size = workspace_of(plan, threads);
    return size.panels + size.pack_scratch + size.gathers + size.zeros + size.jobs;
}

static void merge_rows(conv_job_list *list)
{
    const hunze_conv_shape *shape = list->shape;
    const hunze_conv_operands *operands = &list->operands;
    const int64_t extent[3] = {shape->n, shape->out[0], shape->out[1]};
    const int64_t y[3] = {shape->y_n, shape->y_axis[0], shape->y_axis[1]};
    const int64_t x[3] = {shape->x_n, shape->stride[0] * shape->x_axis[0], shape->stride[1] * shape->x_axis[1]};
    const int64_t residual[3] = {operands->residual_n, operands->residual_axis[0], operands->residual_axis[1]};
    list->merged = hunze_axes_of_one_stride(extent, y, &list->y_row);
    if (list->in_place) {
        const int x_axes = hunze_axes_of_one_stride(extent, x, &list->a_row);
        list->merged = x_axes < list->merged ? x_axes : list->merged;
    }
    if (operands->residual) {
        const int residual_axes = hunze_axes_of_one_stride(extent, residual, &list->residual_row);
        list->merged = residual_axes < list->merged ? residual_axes : list->merged;
    }
}

static void set_gathers(conv_job_list *list, const void *zeros)
{
    const hunze_conv_shape *shape = list->shape;
    const int64_t c = shape->c / shape->groups;
    const uint8_t zero_point = (uint8_t)list->operands.x_zero_point;
    for (int64_t group = 0; group < shape->groups; group++) {
        hunze_conv_gather *gather = &list->group_gathers[group];
        *gather = (hunze_conv_gather){
            .x = list->operands.x + group * c * shape->x_c * list->operands.x_bytes,
            .c = c,
            .x_n = shape->x_n,
            .x_c = hunze_channel_stride(c, shape->x_c),
            .pad = zero_point,
            .bytes = list->operands.x_bytes,
        };
        for (int axis = 0; axis < 2; axis++) {
            gather->in[axis] = shape->in[axis];
            gather->out[axis] = shape->out[axis];
            gather->kernel[axis] = shape->kernel[axis];
            gather->stride[axis] = shape->stride[axis];
            gather->dilation[axis] = shape->dilation[axis];
            gather->before[axis] = shape->before[axis];
            gather->x_axis[axis] = shape->x_axis[axis];
        }
        if (zeros && hunze_conv_segment_columns(gather))
            gather->zeros = zeros;
    }
    const int64_t x_c = hunze_channel_stride(c, shape->x_c);
    list->by_columns = x_c != 1 && llabs(shape->x_axis[1]) < llabs(x_c);
}

hunze_status hunze_run_conv(const struct hunze_plan *plan, const hunze_call *call, hunze_exec *exec)
{
    const hunze_conv_shape *shape = &plan->conv;
    conv_job_list list = {.shape = shape, .integers = plan->row->int_tile != NULL};
    list.in_place = reads_in_place(shape, &list.a_col);
    hunze_conv_operands_of(plan, call, plan->flags | exec->flags, &list.operands);
    merge_rows(&list);
    hunze_gemm_jobs jobs = jobs_of_plan(plan, list.merged);
    if (jobs.m == 0 || jobs.n == 0 || jobs.count == 0)
        return HUNZE_OK;
    const conv_workspace size = workspace_of(plan, exec->threads);
    char *workspace = exec->workspace;
    char *panels = workspace;
    char *pack_scratch = panels + size.panels;
    list.group_gathers = (hunze_conv_gather *)(pack_scratch + size.pack_scratch);
    list.n = jobs.n;
    list.panels_bytes = (int64_t)hunze_packed_panels_bytes(plan->row, list.n, jobs.k);
    list.panels = hunze_conv_panels_of(plan, list.operands.w, panels, pack_scratch, exec);
    char *zeros = (char *)list.group_gathers + size.gathers;
    memset(zeros, 0, size.zeros);
    set_gathers(&list, size.zeros ? zeros : NULL);
    jobs.user = &list;
    hunze_exec inner = *exec;
    inner.workspace = zeros + size.zeros;
    inner.workspace_bytes = exec->workspace_bytes - (size_t)((char *)inner.workspace - workspace);
    return hunze_gemm_run_jobs(&jobs, &inner);
}
