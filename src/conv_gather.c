/* Gathers of A for convolution: taps of output positions copied from x into a block of scratch, padded taps as the padding element.
 *
 * By rows where x's channels lie close together: a row of A is a few runs of channels (with taps side by side merged into one run).
 * By columns where positions do: a column of A is a run of positions per output row. */
#include "conv_copy.h"

#include <string.h>

static inline void fill_run(char *dst, int64_t dst_step, uint64_t pad, int64_t n, int64_t size)
{
    for (int64_t i = 0; i < n; i++)
        memcpy(dst + i * dst_step * size, &pad, (size_t)size);
}

/* The input index that output index `out` meets at this tap, or -1 where it meets padding. */
static inline int64_t input_index(const hunze_conv_gather *g, int axis, int64_t out, int64_t tap)
{
    int64_t at;
    if (g->transposed) {
        at = out + g->before[axis] - tap * g->dilation[axis];
        if (at < 0 || at % g->stride[axis] != 0)
            return -1;
        at /= g->stride[axis];
    } else {
        at = out * g->stride[axis] - g->before[axis] + tap * g->dilation[axis];
    }
    return at >= 0 && at < g->in[axis] ? at : -1;
}

typedef struct position {
    int64_t image, out[2];
} position;

static inline position position_of(const hunze_conv_gather *g, int64_t i)
{
    int64_t plane = g->out[0] * g->out[1], rest = i % plane;
    return (position){i / plane, {rest / g->out[1], rest % g->out[1]}};
}

/* `bytes` is a constant in each caller. */
static inline void copy_rows_of(char *dst, int64_t dst_step, const char *src, int64_t src_step, int64_t bytes,
                                int64_t rows)
{
    for (int64_t i = 0; i < rows; i++, dst += dst_step, src += src_step) {
#pragma GCC unroll 16
        for (int64_t at = 0; at < bytes; at += 16)
            memcpy(dst + at, src + at, 16);
    }
}

/* The same run of bytes from rows that lie src_step bytes apart. */
static void copy_rows(char *dst, int64_t dst_step, const char *src, int64_t src_step, int64_t bytes, int64_t rows)
{
    switch (bytes) {
    case 16: copy_rows_of(dst, dst_step, src, src_step, 16, rows); break;
    case 32: copy_rows_of(dst, dst_step, src, src_step, 32, rows); break;
    case 48: copy_rows_of(dst, dst_step, src, src_step, 48, rows); break;
    case 64: copy_rows_of(dst, dst_step, src, src_step, 64, rows); break;
    case 96: copy_rows_of(dst, dst_step, src, src_step, 96, rows); break;
    case 128: copy_rows_of(dst, dst_step, src, src_step, 128, rows); break;
    case 192: copy_rows_of(dst, dst_step, src, src_step, 192, rows); break;
    case 256: copy_rows_of(dst, dst_step, src, src_step, 256, rows); break;
    case 36: /* three channels of f32 under three taps */
        for (int64_t i = 0; i < rows; i++, dst += dst_step, src += src_step) {
            memcpy(dst, src, 16);
            memcpy(dst + 16, src + 16, 16);
            memcpy(dst + 32, src + 32, 4);
        }
        break;
    default:
        for (int64_t i = 0; i < rows; i++)
            hunze_copy_bytes(dst + i * dst_step, src + i * src_step, bytes);
    }
}

/* One row of A, each tap looked at alone. */
static inline void gather_row(const hunze_conv_gather *g, position at, int64_t p0, int64_t p1, char *out,
                              int64_t dst_col, int64_t size)
{
    const int64_t c = g->c;
    for (int64_t tap = p0 / c, p = p0; p < p1; tap++) {
        const int64_t tap_end = (tap + 1) * c < p1 ? (tap + 1) * c : p1;
        const int64_t y = input_index(g, 0, at.out[0], tap / g->kernel[1]);
        const int64_t x = y < 0 ? -1 : input_index(g, 1, at.out[1], tap % g->kernel[1]);
        if (x < 0) {
            fill_run(out, dst_col, g->pad, tap_end - p, size);
        } else {
            const int64_t from = at.image * g->x_n + y * g->x_axis[0] + x * g->x_axis[1] + (p - tap * c) * g->x_c;
            hunze_copy_run(out, dst_col, g->x + from * size, g->x_c, tap_end - p, size);
        }
        out += (tap_end - p) * dst_col * size;
        p = tap_end;
    }
}

static bool taps_touch(const hunze_conv_gather *g)
{
    return g->kernel[1] == 1 || g->dilation[1] * g->x_axis[1] == g->c;
}

/* Rows of positions next to each other on one output row, none of whose taps leaves the image to the left or right. */
static inline void gather_inside(const hunze_conv_gather *g, position at, int64_t rows, int64_t p0, int64_t p1,
                                 char *dst, int64_t dst_row, int64_t size)
{
    const int64_t row_taps = g->kernel[1] * g->c; /* columns of A per kernel row */
    const bool merged = taps_touch(g);
    const int64_t run = merged ? row_taps : g->c; /* columns of A that lie together in x */
    const char *image = g->x + (at.image * g->x_n + (at.out[1] * g->stride[1] - g->before[1]) * g->x_axis[1]) * size;
    for (int64_t p = p0, index = p0 / run; p < p1; index++) {
        const int64_t end = (index + 1) * run < p1 ? (index + 1) * run : p1;
        const int64_t y = input_index(g, 0, at.out[0], p / row_taps);
        char *out = dst + (p - p0) * size;
        if (y < 0) {
            for (int64_t i = 0; i < rows; i++)
                fill_run(out + i * dst_row * size, 1, g->pad, end - p, size);
        } else {
            const int64_t s = merged ? 0 : index % g->kernel[1];
            const int64_t from = y * g->x_axis[0] + s * g->dilation[1] * g->x_axis[1] + p - index * run;
            copy_rows(out, dst_row * size, image + from * size, g->stride[1] * g->x_axis[1] * size, (end - p) * size,
                      rows);
        }
        p = end;
    }
}

static inline void gather_rows(const hunze_conv_gather *g, int64_t i0, int64_t i1, int64_t p0, int64_t p1, char *dst,
                               int64_t dst_row, int64_t dst_col, int64_t size)
{
    /* Output columns [low, high): every tap inside. */
    const int64_t reach = (g->kernel[1] - 1) * g->dilation[1], stride = g->stride[1];
    int64_t low = 0, high = 0;
    if (!g->transposed && dst_col == 1 && g->x_c == 1 && reach >= 0 && g->in[1] > reach) {
        low = g->before[1] > 0 ? (g->before[1] + stride - 1) / stride : 0;
        high = g->in[1] - 1 - reach + g->before[1] < 0 ? 0 : (g->in[1] - 1 - reach + g->before[1]) / stride + 1;
        high = high < g->out[1] ? high : g->out[1];
    }
    position at = position_of(g, i0);
    for (int64_t i = i0; i < i1;) {
        char *out = dst + (i - i0) * dst_row * size;
        int64_t rows = 1;
        if (at.out[1] >= low && at.out[1] < high) {
            rows = high - at.out[1] < i1 - i ? high - at.out[1] : i1 - i;
            rows = rows < 32 ? rows : 32; /* so many stay in L1 from one run to the next */
            gather_inside(g, at, rows, p0, p1, out, dst_row, size);
        } else {
            gather_row(g, at, p0, p1, out, dst_col, size);
        }
        i += rows;
        at.out[1] += rows;
        if (at.out[1] == g->out[1]) {
            at.out[1] = 0;
            if (++at.out[0] == g->out[0]) {
                at.out[0] = 0;
                at.image++;
            }
        }
    }
}

int64_t hunze_conv_segment_columns(const hunze_conv_gather *g)
{
    const int64_t columns = taps_touch(g) ? g->kernel[1] * g->c : g->c;
    const int64_t segments = g->kernel[0] * (taps_touch(g) ? 1 : g->kernel[1]);
    return !g->transposed && g->x_c == 1 && g->dilation[1] > 0 && columns >= 16 && segments <= HUNZE_GEMM_SEGMENTS
               ? columns
               : 0;
}

int hunze_conv_segments(const void *source, int64_t i0, int64_t i1, hunze_gemm_segment segments[HUNZE_GEMM_SEGMENTS])
{
    const hunze_conv_gather *g = source;
    const position at = position_of(g, i0);
    const int64_t left = at.out[1] * g->stride[1] - g->before[1], rows = i1 - i0;
    const int64_t right = left + (rows - 1) * g->stride[1] + (g->kernel[1] - 1) * g->dilation[1];
    if (at.out[1] + rows > g->out[1] || left < 0 || right >= g->in[1])
        return 0;
    const bool touch = taps_touch(g);
    const int64_t columns = touch ? g->kernel[1] * g->c : g->c, taps = touch ? 1 : g->kernel[1];
    int count = 0;
    for (int64_t r = 0; r < g->kernel[0]; r++) {
        const int64_t y = input_index(g, 0, at.out[0], r);
        for (int64_t s = 0; s < taps; s++, count++) {
            const int64_t from = at.image * g->x_n + y * g->x_axis[0] + (left + s * g->dilation[1]) * g->x_axis[1];
            segments[count] = y < 0
                                  ? (hunze_gemm_segment){g->zeros, 0, columns}
                                  : (hunze_gemm_segment){g->x + from * g->bytes, g->stride[1] * g->x_axis[1], columns};
        }
    }
    return count;
}

/* The output columns [*low, *high) that meet the image at kernel column s. */
static inline void columns_inside(const hunze_conv_gather *g, int64_t s, int64_t *low, int64_t *high)
{
    const int64_t shift = g->before[1] - s * g->dilation[1], stride = g->stride[1];
    int64_t first = shift > 0 ? (shift + stride - 1) / stride : 0;
    int64_t last = g->in[1] + shift > 0 ? (g->in[1] + shift + stride - 1) / stride : 0;
    *high = last < g->out[1] ? last : g->out[1];
    *low = first < *high ? first : *high;
}

static inline void gather_columns(const hunze_conv_gather *g, int64_t i0, int64_t i1, int64_t p0, int64_t p1, char *dst,
                                  int64_t dst_row, int64_t dst_col, int64_t size)
{
    const int64_t c = g->c;
    for (int64_t p = p0; p < p1; p++) {
        const int64_t tap = p / c, channel = p % c, r = tap / g->kernel[1], s = tap % g->kernel[1];
        char *out = dst + (p - p0) * dst_col * size;
        position at = position_of(g, i0);
        int64_t low, high;
        columns_inside(g, s, &low, &high);
        for (int64_t i = i0; i < i1;) {
            const int64_t begin = at.out[1], end = begin + (i1 - i) < g->out[1] ? begin + (i1 - i) : g->out[1];
            const int64_t y = input_index(g, 0, at.out[0], r);
            int64_t from = begin > low ? begin : low, to = end < high ? end : high;
            if (y < 0 || from >= to)
                from = to = end;
            fill_run(out, dst_row, g->pad, from - begin, size);
            if (to > from) {
                const int64_t x = from * g->stride[1] - g->before[1] + s * g->dilation[1];
                const char *source =
                    g->x + (at.image * g->x_n + y * g->x_axis[0] + channel * g->x_c + x * g->x_axis[1]) * size;
                hunze_copy_run(out + (from - begin) * dst_row * size, dst_row, source, g->stride[1] * g->x_axis[1],
                               to - from, size);
            }
            fill_run(out + (to - begin) * dst_row * size, dst_row, g->pad, end - to, size);
            out += (end - begin) * dst_row * size;
            i += end - begin;
            at.out[1] = 0;
            if (++at.out[0] == g->out[0]) {
                at.out[0] = 0;
                at.image++;
            }
        }
    }
}

static inline void gather(const void *source, int64_t i0, int64_t i1, int64_t p0, int64_t p1, void *dst,
                          int64_t dst_row, int64_t dst_col, int64_t size)
{
    const hunze_conv_gather *g = source;
    if (dst_col == 1 || g->transposed)
        gather_rows(g, i0, i1, p0, p1, dst, dst_row, dst_col, size);
    else
        gather_columns(g, i0, i1, p0, p1, dst, dst_row, dst_col, size);
}

static void gather_1(const void *source, int64_t i0, int64_t i1, int64_t p0, int64_t p1, void *dst, int64_t dst_row,
                     int64_t dst_col)
{
    gather(source, i0, i1, p0, p1, dst, dst_row, dst_col, 1);
}

static void gather_4(const void *source, int64_t i0, int64_t i1, int64_t p0, int64_t p1, void *dst, int64_t dst_row,
                     int64_t dst_col)
{
    gather(source, i0, i1, p0, p1, dst, dst_row, dst_col, 4);
}

static void gather_8(const void *source, int64_t i0, int64_t i1, int64_t p0, int64_t p1, void *dst, int64_t dst_row,
                     int64_t dst_col)
{
    gather(source, i0, i1, p0, p1, dst, dst_row, dst_col, 8);
}

hunze_gather_fn *hunze_conv_gather_of(int64_t element_bytes)
{
    return element_bytes == 1 ? gather_1 : element_bytes == 4 ? gather_4 : gather_8;
}
