/* SPDX-License-Identifier: Apache-2.0 */
/* hunze_copy: every pair of places, any strides, elements of any size, large operands in slices; what it refuses. */
#include "cuda_test.h"

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

/* Rows on the device go one by one where the driver takes no such pitch. */
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
    standin_check(standin_count("cuMemcpy2DAsync") > 0, "no copy of rows");
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
    {"gathered_in_order", gathered_in_order, NULL, NULL},
    {"pitches_of_the_driver", pitches_of_the_driver, NULL, NULL},
    {"scalars_and_empty", scalars_and_empty, NULL, NULL},
    {"refused", refused, "devices=2", NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]); }
