/* SPDX-License-Identifier: Apache-2.0 */
/* hunze_copy: every pair of places, any strides, elements of any size, large operands in slices; what it refuses. */
#include "cuda_test.h"
#include "internal.h"

enum { MOST = 6000 };

/* A rectangle of elements with gaps: strides in either direction, axes in either order. */
typedef struct layout {
    const char *name;
    int64_t strides[3];
    int64_t first; /* of data, elements from the lowest address */
} layout;
enum { A = 3, B = 5, C = 7 };
static const int64_t shape[3] = {A, B, C};
static const layout layouts[] = {
    {"row-major", {B * C, C, 1}, 0},
    {"column-major", {1, A, A *B}, 0},
    {"axes exchanged", {C, A *C, 1}, 0},
    {"rows with gaps", {B * (C + 4), C + 4, 1}, 0},
    {"every other element", {2 * B * C, 2 * C, 2}, 0},
    {"backwards", {-B * C, -C, -1}, A *B *C - 1},
    {"one axis backwards", {B * C, -C, 1}, (B - 1) * C},
    {"far apart", {600, 100, 3}, 0},
};
enum { LAYOUTS = sizeof layouts / sizeof layouts[0] };

/* Bytes of memory that holds elements of 16 bytes at most, on the CPU. */
static unsigned char source[MOST * 16], target[MOST * 16], expected[MOST * 16];

static void *place(hunze_context *context, hunze_device device, size_t bytes)
{
    void *pointer = NULL;
    if (device.type == HUNZE_DEVICE_CPU)
        return malloc(bytes);
    OK(hunze_memory_alloc(context, device, bytes, NULL, &pointer));
    return pointer;
}

static void give_back(hunze_context *context, hunze_device device, void *pointer, size_t bytes)
{
    if (device.type == HUNZE_DEVICE_CPU)
        free(pointer);
    else
        OK(hunze_memory_free(context, device, pointer, bytes, NULL));
}

static void move_bytes(hunze_context *context, hunze_device from, const void *a, hunze_device to, void *b, size_t bytes)
{
    array x, y;
    const int64_t n = (int64_t)bytes;
    const hunze_dtype byte = {HUNZE_UINT, 8, 1};
    OK(hunze_copy(context, view(&x, from, byte, (void *)a, 1, &n, NULL), view(&y, to, byte, b, 1, &n, NULL), NULL));
    OK(hunze_stream_synchronize(context, cuda0, NULL));
}

static void copy_once(hunze_context *context, hunze_device from, hunze_device to, const layout *in, const layout *out,
                      hunze_dtype dtype)
{
    const size_t element = dtype.bits / 8u * dtype.lanes, bytes = MOST * element;
    char *a = place(context, from, bytes), *b = place(context, to, bytes);
    move_bytes(context, cpu, source, from, a, bytes);
    memset(expected, 0x5A, bytes);
    move_bytes(context, cpu, expected, to, b, bytes);
    for (int64_t i = 0; i < A; i++)
        for (int64_t j = 0; j < B; j++)
            for (int64_t k = 0; k < C; k++) {
                const int64_t at = out->first + i * out->strides[0] + j * out->strides[1] + k * out->strides[2];
                const int64_t is = in->first + i * in->strides[0] + j * in->strides[1] + k * in->strides[2];
                memcpy(expected + at * (int64_t)element, source + is * (int64_t)element, element);
            }
    array x, y;
    view(&x, from, dtype, a, 3, shape, in->strides);
    view(&y, to, dtype, b, 3, shape, out->strides);
    x.tensor.byte_offset = (uint64_t)in->first * element;
    y.tensor.byte_offset = (uint64_t)out->first * element;
    OK(hunze_copy(context, &x.tensor, &y.tensor, NULL));
    if (to.type == HUNZE_DEVICE_CUDA_HOST) /* is there when the stream is */
        OK(hunze_stream_synchronize(context, cuda0, NULL));
    if (to.type == HUNZE_DEVICE_CUDA)
        move_bytes(context, to, b, cpu, target, bytes);
    else
        memcpy(target, b, bytes);
    for (size_t i = 0; i < bytes; i++)
        check(target[i] == expected[i], "%s to %s, elements of %zu bytes, device %d to %d: byte %zu is %02x, not %02x",
              in->name, out->name, element, from.type, to.type, i, target[i], expected[i]);
    give_back(context, from, a, bytes);
    give_back(context, to, b, bytes);
}

static void every_layout(void)
{
    hunze_context *context = new_context(NULL);
    const hunze_device places[3] = {cpu, pinned, cuda0};
    const hunze_dtype dtypes[] = {{HUNZE_UINT, 8, 1}, {HUNZE_FLOAT, 16, 1}, {HUNZE_FLOAT, 32, 1},
                                  {HUNZE_INT, 64, 1}, {HUNZE_FLOAT, 64, 2}, {HUNZE_UINT, 8, 3}};
    for (size_t i = 0; i < sizeof source; i++)
        source[i] = (unsigned char)(i * 2654435761u >> 13);
    for (int from = 0; from < 3; from++)
        for (int to = 0; to < 3; to++)
            for (int in = 0; in < LAYOUTS; in++)
                for (int out = 0; out < LAYOUTS; out++)
                    copy_once(context, places[from], places[to], &layouts[in], &layouts[out],
                              dtypes[(in + 3 * out + from) % (int)(sizeof dtypes / sizeof dtypes[0])]);
    OK(hunze_memory_trim(context));
    standin_check(standin_count("cuEventCreate") == standin_count("cuEventDestroy"), "events stay");
    standin_check(standin_depth() == 0, "a context stays");
    hunze_context_release(context);
}

/* Much pageable memory goes through pinned slices too, which several threads move. */
static void much(void)
{
    enum { COUNT = (20 << 20) / sizeof(float) + 5 };
    const hunze_context_options options = {.struct_size = sizeof options, .threads = 3};
    hunze_context *context = new_context(&options);
    float *x = malloc(sizeof(float) * COUNT), *y = calloc(COUNT, sizeof(float));
    array from, to;
    for (size_t i = 0; i < COUNT; i++)
        x[i] = (float)(i * 2654435761u >> 9);
    void *d = NULL;
    OK(hunze_memory_alloc(context, cuda0, sizeof(float) * COUNT, NULL, &d));
    for (int turn = 0; turn < 2; turn++) {
        const uint64_t before = standin_count("cuMemcpyAsync");
        OK(hunze_copy(context, floats(&from, cpu, x, COUNT), floats(&to, cuda0, d, COUNT), NULL));
        OK(hunze_copy(context, floats(&from, cuda0, d, COUNT), floats(&to, cpu, y, COUNT), NULL));
        standin_check(standin_count("cuMemcpyAsync") - before == 12, "slices of 4 MiB");
        check(memcmp(x, y, sizeof(float) * COUNT) == 0, "other bytes");
        memset(y, 0, sizeof(float) * COUNT);
        standin_failures("cuMemcpyAsync:3:CUDA_ERROR_INVALID_VALUE");
        REFUSED(DRIVER, hunze_copy(context, floats(&from, cpu, x, COUNT), floats(&to, cuda0, d, COUNT), NULL),
                "copy of 4194304 bytes");
        standin_failures("");
    }
    OK(hunze_memory_free(context, cuda0, d, sizeof(float) * COUNT, NULL));
    OK(hunze_memory_trim(context));
    standin_check(standin_count("cuEventCreate") == standin_count("cuEventDestroy"), "events stay");
    hunze_context_release(context);
    free(x);
    free(y);
}

/* Larger than the slices in pinned memory, and of a size that they do not divide. */
static void in_slices(void)
{
    enum { ROWS = 1500, COLUMNS = 1001 };
    hunze_context *context = new_context(NULL);
    float *x = malloc(sizeof(float) * ROWS * COLUMNS), *y = calloc(ROWS * COLUMNS, sizeof(float));
    const int64_t extents[2] = {COLUMNS, ROWS}, transposed[2] = {1, COLUMNS};
    void *d = NULL, *stream = NULL;
    array a, b;
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    for (int i = 0; i < ROWS * COLUMNS; i++)
        x[i] = (float)i;
    OK(hunze_stream_create(context, cuda0, &stream));
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    OK(hunze_memory_alloc(context, cuda0, sizeof(float) * ROWS * COLUMNS, stream, &d));
    OK(hunze_copy(context, view(&a, cpu, f32, x, 2, extents, transposed), view(&b, cuda0, f32, d, 2, extents, NULL),
                  &run));
    OK(hunze_stream_synchronize(context, cuda0, stream));
    OK(hunze_copy(context, view(&b, cuda0, f32, d, 2, extents, NULL), view(&a, cpu, f32, y, 2, extents, transposed),
                  &run));
    for (int i = 0; i < ROWS * COLUMNS; i++)
        check(y[i] == (float)i, "element %d came back as %g", i, (double)y[i]);
    standin_check(standin_count("cuMemcpy2DAsync") == 0 && standin_count("cuMemcpyAsync") == 4, "%llu copies",
                  (unsigned long long)standin_count("cuMemcpyAsync"));
    standin_check(standin_count("cuMemHostAlloc") == 1, "slices are pinned anew");
    OK(hunze_memory_free(context, cuda0, d, sizeof(float) * ROWS * COLUMNS, stream));
    free(x);
    free(y);
    hunze_context_release(context);
}

/* The CPU's memory may be used again when the call returns, even where the driver would still read it. */
static void returns_when_read(void)
{
    enum { N = 4096 };
    hunze_context *context = new_context(NULL);
    static float ordinary[N];
    float *registered = NULL, result[N];
    void *d = NULL;
    array from, to;
    OK(hunze_memory_alloc(context, pinned, sizeof ordinary, NULL, (void **)&registered));
    OK(hunze_memory_alloc(context, cuda0, sizeof ordinary, NULL, &d));
    float *const both[2] = {ordinary, registered};
    for (int i = 0; i < 2; i++)
        for (int turn = 0; turn < 10; turn++) {
            both[i][0] = both[i][N - 1] = (float)turn + 1;
            OK(hunze_copy(context, floats(&from, cpu, both[i], N), floats(&to, cuda0, d, N), NULL));
            both[i][0] = both[i][N - 1] = -1;
            OK(hunze_copy(context, floats(&from, cuda0, d, N), floats(&to, cpu, result, N), NULL));
            check(result[0] == (float)turn + 1 && result[N - 1] == (float)turn + 1, "%g was copied", (double)result[0]);
            OK(hunze_copy(context, floats(&from, cuda0, d, N), floats(&to, cpu, both[i], N), NULL));
            check(both[i][0] == (float)turn + 1, "%g is there on return", (double)both[i][0]);
        }
    hunze_context_release(context);
}

/* So it is with the header of packed weights, which hunze_pack has on its stack. */
static void pack_returns_when_read(void)
{
    enum { K = 20, N = 16 };
    hunze_context *context = new_context(NULL);
    const int64_t shape[2] = {K, N};
    const hunze_dtype bf16 = {HUNZE_BFLOAT, 16, 1}, words = {HUNZE_OPAQUE_HANDLE, 64, 1}, byte = {HUNZE_UINT, 8, 1};
    void *w = NULL, *blob = NULL;
    size_t bytes = 0;
    array of_w, of_blob, to;
    OK(hunze_memory_alloc(context, cuda0, sizeof(uint16_t[K][N]), NULL, &w));
    const hunze_tensor *weights = view(&of_w, cuda0, bf16, w, 2, shape, NULL);
    OK(hunze_pack_size(context, weights, NULL, &bytes));
    OK(hunze_memory_alloc(context, cuda0, bytes, NULL, &blob));
    for (int turn = 0; turn < 10; turn++) {
        hunze_packed_header header = {0};
        const int64_t count = (int64_t)bytes / 8, of_header = sizeof header;
        OK(hunze_pack(context, weights, view(&of_blob, cuda0, words, blob, 1, &count, NULL), NULL, NULL));
        OK(hunze_copy(context, view(&of_blob, cuda0, byte, blob, 1, &of_header, NULL),
                      view(&to, cpu, byte, &header, 1, &of_header, NULL), NULL));
        check(header.n == N && header.k == K && header.bytes == (int64_t)bytes, "n %lld, k %lld, %lld bytes",
              (long long)header.n, (long long)header.k, (long long)header.bytes);
    }
    hunze_context_release(context);
}

/* What the stream still writes to pinned memory is there before the CPU gathers it for the next copy. */
static void gathered_in_order(void)
{
    enum { ROWS = 60, COLUMNS = 50, N = ROWS * COLUMNS };
    hunze_context *context = new_context(NULL);
    static float values[N], result[N];
    const int64_t extents[2] = {COLUMNS, ROWS}, transposed[2] = {1, COLUMNS};
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    void *d = NULL, *block = NULL, *stream = NULL;
    array from, to;
    OK(hunze_stream_create(context, cuda0, &stream));
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    OK(hunze_memory_alloc(context, cuda0, sizeof values, stream, &d));
    OK(hunze_memory_alloc(context, pinned, sizeof values, stream, &block));
    for (int turn = 1; turn < 10; turn++) {
        for (int i = 0; i < N; i++)
            values[i] = (float)(turn * i);
        OK(hunze_copy(context, floats(&from, cpu, values, N), floats(&to, cuda0, d, N), &run));
        OK(hunze_copy(context, floats(&from, cuda0, d, N), floats(&to, pinned, block, N), &run));
        OK(hunze_copy(context, view(&from, pinned, f32, block, 2, extents, transposed),
                      view(&to, cuda0, f32, d, 2, extents, NULL), &run));
        OK(hunze_copy(context, floats(&from, cuda0, d, N), floats(&to, cpu, result, N), &run));
        for (int i = 0; i < N; i++) {
            const float wanted = values[i % ROWS * COLUMNS + i / ROWS];
            check(result[i] == wanted, "turn %d: element %d is %g, not %g", turn, i, (double)result[i], (double)wanted);
        }
    }
    hunze_context_release(context);
}

/* A kernel takes what the driver refuses for its pitches. */
static void pitches_of_the_driver(void)
{
    const layout *with_gaps = &layouts[3], *backwards = &layouts[6];
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    hunze_context *context = new_context(NULL);
    for (size_t i = 0; i < sizeof source; i++)
        source[i] = (unsigned char)(i * 2654435761u >> 13);
    standin_failures("cuMemcpy2DAsync:*:CUDA_ERROR_INVALID_VALUE");
    copy_once(context, cuda0, cuda0, with_gaps, backwards, f32);
    copy_once(context, cuda0, cuda0, &layouts[4], with_gaps, f32);
    const int64_t pair[2] = {9, 40}, gaps[2] = {50, 1};
    void *d = NULL;
    array a, b;
    OK(hunze_memory_alloc(context, cuda0, 1000 * sizeof(float), NULL, &d));
    const uint64_t launches = standin_count("cuLaunchKernelEx");
    OK(hunze_copy(context, view(&a, cuda0, f32, d, 2, pair, gaps),
                  view(&b, cuda0, f32, (float *)d + 500, 2, pair, NULL), NULL));
    standin_check(standin_count("cuMemcpy2DAsync") == 1 && standin_count("cuLaunchKernelEx") == launches + 1,
                  "%llu copies of rows, %llu kernels", (unsigned long long)standin_count("cuMemcpy2DAsync"),
                  (unsigned long long)(standin_count("cuLaunchKernelEx") - launches));
    OK(hunze_memory_free(context, cuda0, d, 1000 * sizeof(float), NULL));
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ by a kernel */

enum { AXES = 4 };

/* `from` lies with its axes in this order, slowest first; `to` is row-major.  Bits of the masks are axes. */
typedef struct permuted {
    const char *name;
    int64_t shape[AXES];
    int order[AXES];
    unsigned backwards, to_backwards, repeated; /* from runs backwards, to does, from has one element for all indices */
    int64_t gap;                                /* elements between neighbours of from */
} permuted;
static const permuted permutations[] = {
    {"two axes exchanged, more tiles than blocks", {1, 3, 200, 130}, {0, 1, 3, 2}, 0, 0, 0, 1},
    {"channels last", {2, 9, 11, 40}, {0, 3, 1, 2}, 0, 0, 0, 1},
    {"channels first", {2, 40, 9, 11}, {0, 2, 3, 1}, 0, 0, 0, 1},
    {"three channels last", {2, 13, 30, 3}, {0, 3, 1, 2}, 0, 0, 0, 1},
    {"three channels first", {2, 3, 13, 30}, {0, 2, 3, 1}, 0, 0, 0, 1},
    {"heads", {2, 6, 5, 16}, {0, 2, 1, 3}, 0, 0, 0, 1},
    {"all axes around", {17, 5, 3, 33}, {3, 2, 1, 0}, 0, 0, 0, 1},
    {"backwards", {1, 3, 35, 40}, {0, 1, 3, 2}, 0xC, 0, 0, 1},
    {"both backwards", {1, 3, 35, 40}, {0, 1, 2, 3}, 0xF, 0xF, 0, 1},
    {"into what runs backwards", {1, 3, 35, 40}, {0, 1, 3, 2}, 0, 0x8, 0, 1},
    {"one column for all", {1, 3, 35, 40}, {0, 1, 3, 2}, 0, 0, 0x8, 1},
    {"one row for all", {1, 3, 35, 40}, {0, 1, 2, 3}, 0, 0, 0x4, 1},
    {"one element for all", {1, 3, 35, 40}, {0, 1, 2, 3}, 0, 0, 0xF, 1},
    {"every other element", {1, 1, 35, 70}, {0, 1, 2, 3}, 0, 0, 0, 2},
    {"every other element of the other axis", {1, 2, 35, 40}, {0, 1, 3, 2}, 0, 0, 0, 2},
};
enum { PERMUTATIONS = sizeof permutations / sizeof permutations[0] };

/* Strides of one side, and its first element's offset from the lowest address; returns the elements that it spans. */
static int64_t place_side(const int64_t shape[AXES], const int order[AXES], int64_t gap, unsigned backwards,
                          unsigned repeated, int64_t strides[AXES], int64_t *first)
{
    int64_t span = gap;
    *first = 0;
    for (int i = AXES - 1; i >= 0; i--) {
        const int axis = order[i];
        if (repeated >> axis & 1) {
            strides[axis] = 0;
            continue;
        }
        strides[axis] = span;
        if (backwards >> axis & 1) {
            *first += span * (shape[axis] - 1);
            strides[axis] = -span;
        }
        span *= shape[axis];
    }
    return span;
}

static const hunze_dtype sizes[] = {{HUNZE_UINT, 8, 1}, {HUNZE_FLOAT, 16, 1}, {HUNZE_FLOAT, 32, 1},
                                    {HUNZE_INT, 64, 1}, {HUNZE_FLOAT, 64, 2}, {HUNZE_UINT, 8, 3}};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static hunze_emulator_counters kernels_counted(void)
{
    static const char *const names[] = {"hunze_copy_cuda_1", "hunze_copy_cuda_2", "hunze_copy_cuda_4",
                                        "hunze_copy_cuda_8", "hunze_copy_cuda_16"};
    hunze_emulator_counters sum = {0}, one;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (((__typeof__(&hunze_emulator_get_counters))standin_symbol("hunze_emulator_get_counters"))(names[i], &one)) {
            sum.launches += one.launches;
            sum.global_read_bytes += one.global_read_bytes;
            sum.global_write_bytes += one.global_write_bytes;
            sum.shared_requests += one.shared_requests;
            sum.bank_conflicts += one.bank_conflicts;
        }
    return sum;
}

/* From and to are on the device, at `shift` elements from where an allocation begins, but where one of them is said to be elsewhere. */
static void copy_permuted(hunze_context *context, const permuted *p, hunze_dtype dtype, int64_t shift,
                          hunze_device from_device, hunze_device to_device, const hunze_run *run)
{
    static const int in_order[AXES] = {0, 1, 2, 3};
    const int64_t element = dtype.bits / 8 * dtype.lanes;
    int64_t from_strides[AXES], to_strides[AXES], from_first, to_first;
    const int64_t from_span =
                      place_side(p->shape, p->order, p->gap, p->backwards, p->repeated, from_strides, &from_first),
                  to_span = place_side(p->shape, in_order, 1, p->to_backwards, 0, to_strides, &to_first);
    const size_t from_bytes = (size_t)((from_span + shift) * element), to_bytes = (size_t)((to_span + shift) * element);
    unsigned char *const values = malloc(from_bytes), *const wanted = malloc(to_bytes), *const got = malloc(to_bytes);
    for (size_t i = 0; i < from_bytes; i++)
        values[i] = (unsigned char)(i * 2654435761u >> 13);
    memset(wanted, 0x5A, to_bytes);
    char *a = place(context, from_device, from_bytes), *b = place(context, to_device, to_bytes);
    move_bytes(context, cpu, values, from_device, a, from_bytes);
    move_bytes(context, cpu, wanted, to_device, b, to_bytes);
    const int64_t *n = p->shape;
    for (int64_t i = 0; i < n[0] * n[1] * n[2] * n[3]; i++) {
        const int64_t at[AXES] = {i / (n[1] * n[2] * n[3]), i / (n[2] * n[3]) % n[1], i / n[3] % n[2], i % n[3]};
        int64_t is = from_first + shift, to = to_first + shift;
        for (int axis = 0; axis < AXES; axis++) {
            is += at[axis] * from_strides[axis];
            to += at[axis] * to_strides[axis];
        }
        memcpy(wanted + to * element, values + is * element, (size_t)element);
    }
    array x, y;
    view(&x, from_device, dtype, a, AXES, p->shape, from_strides);
    view(&y, to_device, dtype, b, AXES, p->shape, to_strides);
    x.tensor.byte_offset = (uint64_t)((from_first + shift) * element);
    y.tensor.byte_offset = (uint64_t)((to_first + shift) * element);
    OK(hunze_copy(context, &x.tensor, &y.tensor, run));
    OK(hunze_stream_synchronize(context, cuda0, run ? run->stream : NULL));
    move_bytes(context, to_device, b, cpu, got, to_bytes);
    for (size_t i = 0; i < to_bytes; i++)
        check(got[i] == wanted[i], "%s, elements of %lld bytes, shift %lld: byte %zu is %02x, not %02x", p->name,
              (long long)element, (long long)shift, i, got[i], wanted[i]);
    give_back(context, from_device, a, from_bytes);
    give_back(context, to_device, b, to_bytes);
    free(values);
    free(wanted);
    free(got);
}

/* Each element is read once and written once, by one kernel and no copy of the driver's, and shared memory without bank conflicts. */
static void by_one_kernel(void)
{
    hunze_context *context = new_context(NULL);
    copy_permuted(context, &permutations[0], sizes[0], 0, cuda0, cuda0, NULL); /* opens the driver */
    if (on_standin())
        ((__typeof__(&hunze_emulator_set_banks))standin_symbol("hunze_emulator_set_banks"))(true);
    for (int i = 0; i < PERMUTATIONS; i++)
        for (int j = 0; j < SIZES; j++) {
            const permuted *p = &permutations[i];
            const uint64_t bytes =
                (uint64_t)(p->shape[0] * p->shape[1] * p->shape[2] * p->shape[3] * sizes[j].bits / 8 * sizes[j].lanes);
            if (on_standin())
                ((__typeof__(&hunze_emulator_reset_counters))standin_symbol("hunze_emulator_reset_counters"))();
            copy_permuted(context, p, sizes[j], (i + j) % 3, cuda0, cuda0, NULL);
            if (!on_standin())
                continue;
            const hunze_emulator_counters sum = kernels_counted();
            check(sum.launches == 1 && sum.global_read_bytes == bytes && sum.global_write_bytes == bytes,
                  "%s: %llu kernels read %llu and wrote %llu of %llu bytes", p->name, (unsigned long long)sum.launches,
                  (unsigned long long)sum.global_read_bytes, (unsigned long long)sum.global_write_bytes,
                  (unsigned long long)bytes);
            check(sum.bank_conflicts == 0, "%s, size %d: %llu bank conflicts", p->name, j,
                  (unsigned long long)sum.bank_conflicts);
            check(i > 0 || j == 5 || sum.shared_requests > 0, "%s: not through shared memory", p->name);
        }
    standin_check(standin_count("cuMemcpy2DAsync") == 0, "%llu copies of rows",
                  (unsigned long long)standin_count("cuMemcpy2DAsync"));
    const int64_t empty[2] = {0, 5}, exchanged[2] = {1, 7};
    array a, b;
    OK(hunze_copy(context, view(&a, cuda0, sizes[2], NULL, 2, empty, exchanged),
                  view(&b, cuda0, sizes[2], NULL, 2, empty, NULL), NULL));
    hunze_context_release(context);
}

/* What is scattered on the device crosses the bus in one piece, and its memory goes back. */
static void by_way_of_the_device(void)
{
    const hunze_context_options wiping = {.struct_size = sizeof wiping, .flags = HUNZE_WIPE};
    hunze_context *context = new_context(&wiping);
    static const permuted scattered = {"every other element", {1, 2, 35, 40}, {0, 1, 3, 2}, 0, 0, 0, 2};
    static const permuted scatters = {"backwards", {1, 2, 35, 40}, {0, 1, 2, 3}, 0, 0xC, 0, 1};
    static const hunze_device sides[2] = {{HUNZE_DEVICE_CPU, 0}, {HUNZE_DEVICE_CUDA_HOST, 0}};
    for (int i = 0; i < 2; i++) {
        uint64_t launches = standin_count("cuLaunchKernelEx"), copies = standin_count("cuMemcpyAsync");
        copy_permuted(context, &scattered, sizes[2], 0, cuda0, sides[i], NULL);
        copy_permuted(context, &scatters, sizes[2], 0, sides[i], cuda0, NULL);
        launches = standin_count("cuLaunchKernelEx") - launches;
        copies = standin_count("cuMemcpyAsync") - copies;
        /* Of these, four fill the operands and two look at what came of them, where that is not done by the CPU alone. */
        standin_check(launches == 2 && copies <= 8 && standin_count("cuMemcpy2DAsync") == 0,
                      "%llu kernels, %llu copies", (unsigned long long)launches, (unsigned long long)copies);
    }
    standin_failures("cuMemAllocFromPoolAsync:2:CUDA_ERROR_OUT_OF_MEMORY,cuMemAllocFromPoolAsync:3:CUDA_ERROR_OUT_OF_"
                     "MEMORY");
    copy_permuted(context, &scattered, sizes[2], 0, cuda0, cpu, NULL);
    standin_check(standin_count("cuMemcpy2DAsync") > 0, "no copy of rows");
    hunze_context_release(context);
}

/* Nodes of a graph, which copies what is there when it runs. */
static void captured(void)
{
    enum { ROWS = 50, COLUMNS = 40, N = ROWS * COLUMNS };
    hunze_context *context = new_context(NULL);
    static float values[N], result[N];
    const int64_t extents[2] = {COLUMNS, ROWS}, exchanged[2] = {1, COLUMNS};
    void *stream = NULL, *x = NULL, *y = NULL;
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    CUcontext primary = NULL;
    array a, b;
    OK(hunze_stream_create(context, cuda0, &stream));
    OK(hunze_memory_alloc(context, cuda0, sizeof values, stream, &x));
    OK(hunze_memory_alloc(context, cuda0, sizeof values, stream, &y));
    OK(hunze_stream_synchronize(context, cuda0, stream));
    DRIVER_OK(DRIVER(cuDevicePrimaryCtxRetain, 7000)(&primary, 0));
    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    DRIVER_OK(DRIVER(cuStreamBeginCapture, 10010)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(hunze_copy(context, view(&a, cuda0, sizes[2], x, 2, extents, exchanged),
                  view(&b, cuda0, sizes[2], y, 2, extents, NULL), &run));
    DRIVER_OK(DRIVER(cuStreamEndCapture, 10000)(stream, &graph));
    DRIVER_OK(DRIVER(cuGraphInstantiateWithFlags, 11040)(&exec, graph, 0));
    for (int turn = 1; turn < 3; turn++) {
        for (int i = 0; i < N; i++)
            values[i] = (float)(turn * i);
        OK(hunze_copy(context, floats(&a, cpu, values, N), floats(&b, cuda0, x, N), &run));
        DRIVER_OK(DRIVER(cuGraphLaunch, 10000)(exec, stream));
        OK(hunze_copy(context, floats(&a, cuda0, y, N), floats(&b, cpu, result, N), &run));
        for (int i = 0; i < N; i++) {
            const float wanted = values[i % ROWS * COLUMNS + i / ROWS];
            check(result[i] == wanted, "turn %d: element %d is %g, not %g", turn, i, (double)result[i], (double)wanted);
        }
    }
    hunze_context_release(context);
}

static void scalars_and_empty(void)
{
    hunze_context *context = new_context(NULL);
    array a, b;
    float x = 3, y = 0;
    void *d = NULL;
    const int64_t empty[2] = {0, 5};
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    OK(hunze_memory_alloc(context, cuda0, 4, NULL, &d));
    OK(hunze_copy(context, view(&a, cpu, f32, &x, 0, NULL, NULL), view(&b, cuda0, f32, d, 0, NULL, NULL), NULL));
    OK(hunze_copy(context, view(&b, cuda0, f32, d, 0, NULL, NULL), view(&a, cpu, f32, &y, 0, NULL, NULL), NULL));
    check(y == 3, "%g", (double)y);
    OK(hunze_copy(context, view(&a, cpu, f32, NULL, 2, empty, NULL), view(&b, cuda0, f32, NULL, 2, empty, NULL), NULL));
    OK(hunze_copy(context, &b.tensor, &b.tensor, NULL));
    /* One element for all indices of an input. */
    const int64_t three[1] = {3}, zero[1] = {0};
    float repeated[3] = {0};
    OK(hunze_copy(context, view(&a, cuda0, f32, d, 1, three, zero), view(&b, cpu, f32, repeated, 1, three, NULL),
                  NULL));
    check(repeated[0] == 3 && repeated[2] == 3, "%g", (double)repeated[2]);
    OK(hunze_memory_free(context, cuda0, d, 4, NULL));
    hunze_context_release(context);
}

static void refused(void)
{
    enum { N = 64 };
    hunze_context *context = new_context(NULL);
    float x[N] = {1, 2, 3}, y[N] = {4, 5, 6};
    array a, b;
    void *d = NULL, *other = NULL, *stream = NULL;
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1}, s32 = {HUNZE_INT, 32, 1};
    const int64_t n[1] = {N}, less[1] = {N - 1}, zero[1] = {0};
    OK(hunze_memory_alloc(context, cuda0, sizeof x, NULL, &d));
    OK(hunze_memory_alloc(context, cuda1, sizeof x, NULL, &other));
    OK(hunze_stream_create(context, cuda1, &stream));
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    REFUSED(NULL, hunze_copy(NULL, floats(&a, cpu, x, N), floats(&b, cpu, y, N), NULL), "context");
    REFUSED(NULL, hunze_copy(context, NULL, floats(&b, cpu, y, N), NULL), "from");
    REFUSED(NULL, hunze_copy(context, floats(&a, cpu, x, N), NULL, NULL), "to");
    REFUSED(NULL, hunze_copy(context, floats(&a, cpu, NULL, N), floats(&b, cpu, y, N), NULL), "from");
    REFUSED(DTYPE, hunze_copy(context, floats(&a, cpu, x, N), view(&b, cpu, s32, y, 1, n, NULL), NULL), "f32", "s32");
    REFUSED(SHAPE, hunze_copy(context, floats(&a, cpu, x, N), view(&b, cpu, f32, y, 1, less, NULL), NULL), "(63,)");
    REFUSED(STRIDE, hunze_copy(context, floats(&a, cpu, x, N), view(&b, cpu, f32, y, 1, n, zero), NULL), "stride 0");
    REFUSED(ALIGN, hunze_copy(context, floats(&a, cpu, (char *)x + 1, N - 1), floats(&b, cpu, y, N - 1), NULL), "from");
    REFUSED(ALIAS, hunze_copy(context, floats(&a, cpu, x, N - 1), floats(&b, cpu, x + 1, N - 1), NULL), "overlaps");
    REFUSED(ALIAS, hunze_copy(context, floats(&a, cuda0, d, N - 1), floats(&b, cuda0, (char *)d + 4, N - 1), NULL),
            "overlaps");
    REFUSED(OPTION, hunze_copy(context, floats(&a, cpu, x, N), floats(&b, cpu, y, N), &run), "stream");
    REFUSED(DEVICE, hunze_copy(context, floats(&a, cpu, x, N), floats(&b, cuda0, d, N), &run), "cuda:1", "cuda:0");
    REFUSED(DEVICE, hunze_copy(context, floats(&a, cuda0, d, N), floats(&b, cuda1, other, N), NULL),
            "from lives on cuda:0", "to on cuda:1");
    REFUSED(DEVICE, hunze_copy(context, floats(&a, cpu, x, N), floats(&b, cuda0, y, N), NULL), "to", "memory");
    REFUSED(DEVICE, hunze_copy(context, floats(&a, cuda0, other, N), floats(&b, cpu, y, N), NULL),
            "from lives on cuda:1");
    check(y[0] == 4 && y[N - 1] == 0, "a refused copy wrote");
    hunze_context_release(context);
}

static const cuda_case cases[] = {
    {"every_layout", every_layout, NULL, NULL},
    {"much", much, NULL, NULL},
    {"in_slices", in_slices, NULL, NULL},
    {"returns_when_read", returns_when_read, NULL, NULL},
    {"returns_when_read_by_the_device", returns_when_read, "pageable=1", NULL},
    {"pack_returns_when_read_by_the_device", pack_returns_when_read, "pageable=1", NULL},
    {"gathered_in_order", gathered_in_order, NULL, NULL},
    {"pitches_of_the_driver", pitches_of_the_driver, NULL, NULL},
    {"by_one_kernel", by_one_kernel, NULL, NULL},
    {"by_way_of_the_device", by_way_of_the_device, NULL, NULL},
    {"captured", captured, NULL, NULL},
    {"scalars_and_empty", scalars_and_empty, NULL, NULL},
    {"refused", refused, "devices=2", NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]); }
