/* Packs a convolution's weights into the panels of a GEMM row: B's element (p, j) is output channel j at tap p = (r, s, c). */
#include "conv.h"

#include <string.h>

static bool is_integer_row(const hunze_row *row) { return row->int_tile != NULL; }

/* Integer panels interleave taps that lie apart in w, so they are laid out as plain (k, nr) bytes first. */
size_t hunze_conv_weights_scratch(const hunze_row *row, int64_t k, int32_t threads)
{
    return is_integer_row(row) ? (size_t)threads * hunze_align64((size_t)(k * row->nr)) : 0;
}

static void pack_float_panel(const hunze_conv_weights *v, const char *w, int64_t n, char *panel)
{
    const int64_t bytes = (int64_t)hunze_type_bytes(v->row->b);
    for (int64_t r = 0; r < v->kernel[0]; r++)
        for (int64_t s = 0; s < v->kernel[1]; s++) {
            const int64_t tap = r * v->kernel[1] + s;
            v->row->pack_b(v->c, n, w + (r * v->w_axis[0] + s * v->w_axis[1]) * bytes, v->w_c, v->w_n,
                           panel + tap * v->c * v->row->nr * bytes);
        }
}

static void pack_int_panel(const hunze_conv_weights *v, const char *w, int64_t n, char *panel, char *plain)
{
    const int64_t k = v->kernel[0] * v->kernel[1] * v->c, nr = v->row->nr;
    for (int64_t j = 0; j < n; j++)
        for (int64_t c = 0; c < v->c; c++)
            for (int64_t r = 0; r < v->kernel[0]; r++)
                for (int64_t s = 0; s < v->kernel[1]; s++)
                    plain[((r * v->kernel[1] + s) * v->c + c) * nr + j] =
                        w[j * v->w_n + c * v->w_c + r * v->w_axis[0] + s * v->w_axis[1]];
    hunze_pack_panels(v->row, n, k, &(hunze_gemm_b){plain, nr, 1, false}, 0, 1, panel);
}

typedef struct pack_phase {
    const hunze_conv_weights *weights;
    int64_t panels_per_group, panel_bytes, group_bytes, scratch_bytes;
    char *scratch;
    hunze_items items;
} pack_phase;

static void pack_lane(void *user, int32_t lane, int32_t lanes)
{
    pack_phase *phase = user;
    const hunze_conv_weights *v = phase->weights;
    const int64_t bytes = is_integer_row(v->row) ? 1 : (int64_t)hunze_type_bytes(v->row->b);
    (void)lanes;
    for (int64_t index; hunze_take_item(&phase->items, &index);) {
        const int64_t group = index / phase->panels_per_group, panel = index % phase->panels_per_group;
        const int64_t j = panel * v->row->nr, n = v->n - j < v->row->nr ? v->n - j : v->row->nr;
        const char *w = v->w + (group * v->w_group + j * v->w_n) * bytes;
        char *to = v->panels + group * phase->group_bytes + panel * phase->panel_bytes;
        if (is_integer_row(v->row))
            pack_int_panel(v, w, n, to, phase->scratch + lane * phase->scratch_bytes);
        else
            pack_float_panel(v, w, n, to);
    }
}

void hunze_conv_pack_weights(const hunze_conv_weights *weights, void *scratch, hunze_exec *exec)
{
    const hunze_row *row = weights->row;
    const int64_t k = weights->kernel[0] * weights->kernel[1] * weights->c;
    pack_phase phase = {
        .weights = weights,
        .panels_per_group = hunze_ceil_div(weights->n, row->nr),
        .panel_bytes = (int64_t)hunze_packed_panel_bytes(row, k),
        .group_bytes = (int64_t)hunze_packed_panels_bytes(row, weights->n, k),
        .scratch_bytes = (int64_t)hunze_conv_weights_scratch(row, k, 1),
        .scratch = scratch,
    };
    const int64_t panels = weights->groups * phase.panels_per_group;
    phase.items.count = panels;
    const bool small = weights->groups * phase.group_bytes < 1 << 18; /* a second thread would wake up for nothing */
    const int32_t lanes = small || exec->threads < 1 ? 1 : exec->threads < panels ? exec->threads : (int32_t)panels;
    hunze_parallel(exec, lanes, pack_lane, &phase);
}

size_t hunze_conv_panels_bytes(const struct hunze_plan *plan)
{
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t k = shape->kernel[0] * shape->kernel[1] * (shape->c / shape->groups);
    return shape->packed ? 0
                         : hunze_align64((size_t)shape->groups *
                                         hunze_packed_panels_bytes(plan->row, shape->k / shape->groups, k));
}

const char *hunze_conv_panels_of(const struct hunze_plan *plan, const char *w, char *panels, void *scratch,
                                 hunze_exec *exec)
{
    const hunze_conv_shape *shape = &plan->conv;
    if (shape->packed)
        return w + sizeof(hunze_packed_header);
    const int64_t n = shape->k / shape->groups;
    const hunze_conv_weights weights = {
        .row = plan->row,
        .w = w,
        .w_group = n * shape->w_k,
        .w_n = shape->w_k,
        .w_c = shape->w_c,
        .w_axis = {shape->w_axis[0], shape->w_axis[1]},
        .groups = shape->groups,
        .n = n,
        .c = shape->c / shape->groups,
        .kernel = {shape->kernel[0], shape->kernel[1]},
        .panels = panels,
    };
    hunze_conv_pack_weights(&weights, scratch, exec);
    return panels;
}
