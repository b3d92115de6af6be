/* SPDX-License-Identifier: Apache-2.0 */
/* Launches copies on a device: bytes that lie together on both sides move as the largest word that all addresses allow. */
#include "copy_strided.h"
#include "arguments_copy.h"

#include <stdlib.h>

enum { TO = HUNZE_CUDA_COPY_TO, FROM = HUNZE_CUDA_COPY_FROM, MOST_BYTES = 16, TURNED_LEAST = 16 };
enum { MOST_AXES = HUNZE_CUDA_COPY_AXES + 2 }; /* a plane more, of which the bytes of an element may be one */
_Static_assert((int)MOST_AXES > (int)HUNZE_MAX_NDIM, "each axis has its place, and the bytes of an element");

#define THREADS HUNZE_CUDA_COPY_THREADS
#define SHARED_BYTES(bytes) (HUNZE_CUDA_COPY_TILE * (HUNZE_CUDA_COPY_TILE * (bytes) + ((bytes) < 4 ? 4 : (bytes))))
static const hunze_cuda_kernel copy_1 = {"hunze_copy_cuda_1", &hunze_fatbin_copy_cuda, THREADS, SHARED_BYTES(1)},
                               copy_2 = {"hunze_copy_cuda_2", &hunze_fatbin_copy_cuda, THREADS, SHARED_BYTES(2)},
                               copy_4 = {"hunze_copy_cuda_4", &hunze_fatbin_copy_cuda, THREADS, SHARED_BYTES(4)},
                               copy_8 = {"hunze_copy_cuda_8", &hunze_fatbin_copy_cuda, THREADS, SHARED_BYTES(8)},
                               copy_16 = {"hunze_copy_cuda_16", &hunze_fatbin_copy_cuda, THREADS, SHARED_BYTES(16)};

static const hunze_cuda_kernel *kernel_of(int64_t bytes)
{
    return bytes == 1 ? &copy_1 : bytes == 2 ? &copy_2 : bytes == 4 ? &copy_4 : bytes == 8 ? &copy_8 : &copy_16;
}

typedef struct axis {
    int64_t extent, stride[2];
} axis;

/* Slowest in `to` first, the last of single bytes; none runs backwards in `to`.  Moves both pointers to the lowest address of `to`. */
static int32_t byte_axes(const hunze_runs *runs, int64_t bytes, axis axes[MOST_AXES], char **to, const char **from)
{
    int32_t count = 0;
    for (int32_t i = 0; i <= runs->axes; i++) {
        const bool run = i == runs->axes;
        const int64_t *stride = run ? runs->step : runs->stride[i];
        axis a = {run ? runs->length : runs->extent[i], {stride[TO] * bytes, stride[FROM] * bytes}};
        if (a.stride[TO] < 0) {
            *to += (a.extent - 1) * a.stride[TO];
            *from += (a.extent - 1) * a.stride[FROM];
            a.stride[TO] = -a.stride[TO];
            a.stride[FROM] = -a.stride[FROM];
        }
        if (a.extent > 1)
            axes[count++] = a;
    }
    const bool together = count > 0 && axes[count - 1].stride[TO] == bytes && axes[count - 1].stride[FROM] == bytes;
    if (together)
        count--;
    axes[count] = (axis){(together ? axes[count].extent : 1) * bytes, {1, 1}};
    return count + 1;
}

/* From bytes to the largest words; returns how many bytes they have. */
static int64_t make_words(axis axes[MOST_AXES], int32_t *count, const char *to, const char *from)
{
    axis *bytes = &axes[*count - 1];
    uint64_t all = (uint64_t)(uintptr_t)to | (uint64_t)(uintptr_t)from | (uint64_t)bytes->extent | MOST_BYTES;
    for (int32_t i = 0; i < *count - 1; i++)
        all |= (uint64_t)axes[i].stride[TO] | (uint64_t)axes[i].stride[FROM];
    const int64_t word = (int64_t)(all & (~all + 1));
    for (int32_t i = 0; i < *count - 1; i++) {
        axes[i].stride[TO] /= word;
        axes[i].stride[FROM] /= word;
    }
    bytes->extent /= word;
    *count -= bytes->extent == 1;
    return word;
}

static int32_t shift_of(int64_t extent, int32_t most)
{
    int32_t shift = 0;
    while (shift < most && INT64_C(1) << shift < extent)
        shift++;
    return shift;
}

/* The axis along which neighbours of `from` lie, the last one rather than another; -1 if there is none. */
static int32_t nearest_of_from(const axis axes[MOST_AXES], int32_t count)
{
    int32_t nearest = -1;
    for (int32_t i = count - 1; i >= 0; i--)
        if (axes[i].stride[FROM] && (nearest < 0 || llabs(axes[i].stride[FROM]) < llabs(axes[nearest].stride[FROM])))
            nearest = i;
    return nearest;
}

/* Takes the plane of rows and columns out of the axes. */
static void take_plane(hunze_cuda_copy *p, axis axes[MOST_AXES], int32_t *count)
{
    const axis one = {1, {0, 0}};
    const int32_t last = *count - 1, nearest = nearest_of_from(axes, *count);
    const bool other = last >= 0 && axes[last].stride[FROM] && nearest != last;
    const int32_t row_axis = other ? nearest : last - 1;
    const axis columns = last >= 0 ? axes[last] : one, rows = row_axis >= 0 ? axes[row_axis] : one;
    p->rows = rows.extent;
    p->columns = columns.extent;
    for (int side = 0; side < 2; side++) {
        p->row_step[side] = rows.stride[side];
        p->column_step[side] = columns.stride[side];
    }
    p->turned = other && p->rows >= TURNED_LEAST && p->columns >= TURNED_LEAST;
    const int32_t tile = shift_of(HUNZE_CUDA_COPY_TILE, HUNZE_CUDA_COPY_SHIFT);
    const int32_t room = other ? HUNZE_CUDA_COPY_SHIFT - shift_of(p->rows, tile) : HUNZE_CUDA_COPY_SHIFT;
    p->columns_shift = p->turned ? tile : shift_of(p->columns, room);
    for (int32_t i = 0; i < last; i++)
        if (i != row_axis)
            axes[p->axes++] = axes[i];
}

hunze_status hunze_copy_strided_on_device(const hunze_cuda_run *run, const hunze_runs *runs, char *to, const char *from,
                                          size_t bytes)
{
    axis axes[MOST_AXES];
    int32_t count = byte_axes(runs, (int64_t)bytes, axes, &to, &from);
    const int64_t word = make_words(axes, &count, to, from);
    hunze_cuda_copy p = {.to = to, .from = from};
    take_plane(&p, axes, &count);
    p.tiles_of_columns = hunze_ceil_div(p.columns, INT64_C(1) << p.columns_shift);
    p.tiles_of_rows = hunze_ceil_div(p.rows, INT64_C(1) << (HUNZE_CUDA_COPY_SHIFT - p.columns_shift));
    p.tiles = p.tiles_of_columns * p.tiles_of_rows;
    for (int32_t i = 0; i < p.axes; i++) {
        p.extent[i] = axes[i].extent;
        p.stride[i][TO] = axes[i].stride[TO];
        p.stride[i][FROM] = axes[i].stride[FROM];
        p.tiles *= p.extent[i];
    }
    const hunze_cuda_device *device = run->device;
    const int64_t together = (int64_t)device->multiprocessors * (device->multiprocessor_threads / THREADS);
    return hunze_cuda_start(run, kernel_of(word), hunze_least(p.tiles, together), 1, 1, &p, sizeof p);
}
