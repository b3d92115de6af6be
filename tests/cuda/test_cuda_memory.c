/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of devices and pinned memory: pools, the cache where there are none, the allocator hook, wiping, too little of it; streams. */
#include "cuda_test.h"

enum { N = 1000, BYTES = N * (int)sizeof(float) };
static float values[N];

static void make_values(void)
{
    for (int i = 0; i < N; i++)
        values[i] = (float)(i % 97) - 48;
}

static void check_relu(hunze_context *context, void *x, void *y, void *stream)
{
    float result[N];
    OK(relu(context, cuda0, x, y, N, stream));
    from_gpu(context, cuda0, stream, y, result, N);
    for (int i = 0; i < N; i++)
        check(result[i] == (values[i] < 0 ? 0 : values[i]), "element %d is %g", i, (double)result[i]);
}

/* The thread keeps the device's primary context current, so that free_bytes works. */
static void stay_on_device_0(hunze_context *context)
{
    void *pointer = NULL;
    CUcontext primary = NULL;
    OK(hunze_memory_alloc(context, cuda0, 1, NULL, &pointer));
    OK(hunze_memory_free(context, cuda0, pointer, 1, NULL));
    OK(hunze_stream_synchronize(context, cuda0, NULL));
    OK(hunze_memory_trim(context));
    DRIVER_OK(DRIVER(cuDevicePrimaryCtxRetain, 7000)(&primary, 0));
    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));
}

static void synchronize(hunze_context *context) { OK(hunze_stream_synchronize(context, cuda0, NULL)); }

/* Given back, taken again, trimmed: by the driver's pool or by blocks that the library keeps. */
static void freed_and_taken_again(void)
{
    hunze_context *context = new_context(NULL);
    void *x, *y, *again = NULL;
    make_values();
    standin_only("memory that nobody else uses");
    stay_on_device_0(context);
    const size_t all = free_bytes();
    x = to_gpu(context, cuda0, NULL, values, N);
    y = to_gpu(context, cuda0, NULL, values, N);
    check((uintptr_t)x % 256 == 0 && (uintptr_t)y % 256 == 0, "alignment");
    check(free_bytes() < all, "no memory was taken");
    check_relu(context, x, y, NULL);
    OK(hunze_memory_free(context, cuda0, x, BYTES, NULL));
    OK(hunze_memory_alloc(context, cuda0, BYTES, NULL, &again));
    check(again == x, "a block of the same size is not taken again");
    OK(hunze_memory_free(context, cuda0, again, BYTES, NULL));
    OK(hunze_memory_free(context, cuda0, y, BYTES, NULL));
    synchronize(context);
    check(free_bytes() < all, "nothing is kept");
    OK(hunze_memory_trim(context));
    check(free_bytes() == all, "%zu bytes are held after a trim", all - free_bytes());
    hunze_context_release(context);
}

static void on_another_stream(void)
{
    hunze_context *context = new_context(NULL);
    void *streams[2], *again = NULL;
    make_values();
    for (int i = 0; i < 2; i++)
        OK(hunze_stream_create(context, cuda0, &streams[i]));
    for (int turn = 0; turn < 20; turn++) { /* work is late: a block that came too early would be written by both */
        void *x = to_gpu(context, cuda0, streams[0], values, N), *y = NULL;
        OK(hunze_memory_alloc(context, cuda0, BYTES, streams[0], &y));
        OK(relu(context, cuda0, x, y, N, streams[0]));
        OK(hunze_memory_free(context, cuda0, x, BYTES, streams[0]));
        OK(hunze_memory_alloc(context, cuda0, BYTES, streams[1], &again));
        array to, zero;
        const float zeros[N] = {0};
        const hunze_run run = {.struct_size = sizeof run, .stream = streams[1]};
        OK(hunze_copy(context, floats(&zero, cpu, (void *)zeros, N), floats(&to, cuda0, again, N), &run));
        float result[N];
        from_gpu(context, cuda0, streams[0], y, result, N);
        check(result[96] == 48 && result[48 + 97] == 0, "relu read what came later");
        OK(hunze_memory_free(context, cuda0, again, BYTES, streams[1]));
        OK(hunze_memory_free(context, cuda0, y, BYTES, streams[0]));
    }
    hunze_context_release(context);
}

/* A context keeps device_pool_bytes and no more. */
static void threshold(void)
{
    const hunze_context_options options = {.struct_size = sizeof options, .device_pool_bytes = 3 << 20};
    hunze_context *context = new_context(&options);
    void *blocks[8];
    stay_on_device_0(context);
    const size_t all = free_bytes();
    for (int i = 0; i < 8; i++)
        OK(hunze_memory_alloc(context, cuda0, 1 << 20, NULL, &blocks[i]));
    for (int i = 0; i < 8; i++)
        OK(hunze_memory_free(context, cuda0, blocks[i], 1 << 20, NULL));
    synchronize(context);
    check(all - free_bytes() == 3 << 20, "%zu bytes are kept", all - free_bytes());
    hunze_context_release(context);
    check(all == free_bytes(), "%zu bytes are kept after the context", all - free_bytes());
}

static void too_little(void)
{
    hunze_context *context = new_context(NULL);
    void *pointer = context, *half = NULL;
    stay_on_device_0(context);
    REFUSED(NOMEM, hunze_memory_alloc(context, cuda0, (size_t)100 << 20, NULL, &pointer), "cuda:0", "104857600",
            "67108864 of its 67108864");
    check(pointer == NULL, "a refused call gave something");
    OK(hunze_memory_alloc(context, cuda0, (size_t)40 << 20, NULL, &half));
    REFUSED(NOMEM, hunze_memory_alloc(context, cuda0, (size_t)40 << 20, NULL, &pointer), "41943040",
            "25165824 of its 67108864");
    OK(hunze_memory_free(context, cuda0, half, (size_t)40 << 20, NULL));
    synchronize(context);
    OK(hunze_memory_alloc(context, cuda0, (size_t)50 << 20, NULL, &pointer)); /* what the pool kept makes room */
    OK(hunze_memory_free(context, cuda0, pointer, (size_t)50 << 20, NULL));
    REFUSED(OVERFLOW, hunze_memory_alloc(context, cuda0, SIZE_MAX, NULL, &pointer), "bytes");
    hunze_context_release(context);
}

static void bad_arguments(void)
{
    hunze_context *context = new_context(NULL);
    void *pointer = context, *stream = NULL, *event = NULL;
    int32_t over;
    hunze_device place;
    char *text;
    REFUSED(NULL, hunze_memory_alloc(NULL, cuda0, 1, NULL, &pointer), "context");
    REFUSED(NULL, hunze_memory_alloc(context, cuda0, 1, NULL, NULL), "pointer");
    REFUSED(NULL, hunze_memory_free(NULL, cuda0, pointer, 1, NULL), "context");
    REFUSED(NULL, hunze_memory_trim(NULL), "context");
    REFUSED(NULL, hunze_stream_create(NULL, cuda0, &stream), "context");
    REFUSED(NULL, hunze_stream_create(context, cuda0, NULL), "stream");
    REFUSED(NULL, hunze_stream_synchronize(NULL, cuda0, NULL), "context");
    REFUSED(NULL, hunze_stream_wait(NULL, cuda0, NULL, NULL), "context");
    REFUSED(NULL, hunze_event_record(NULL, cuda0, NULL, &event), "context");
    REFUSED(NULL, hunze_event_record(context, cuda0, NULL, NULL), "event");
    REFUSED(NULL, hunze_event_query(context, cuda0, NULL, &over), "event");
    REFUSED(NULL, hunze_event_query(context, cuda0, context, NULL), "over");
    REFUSED(NULL, hunze_event_destroy(context, cuda0, NULL), "event");
    REFUSED(NULL, hunze_pointer_device(context, NULL, &place), "pointer");
    REFUSED(NULL, hunze_pointer_device(context, context, NULL), "device");
    REFUSED(NULL, hunze_devices(NULL, &text), "context");
    REFUSED(NULL, hunze_devices(context, NULL), "text");
    REFUSED(NULL, hunze_plan_prepare(NULL), "plan");
    const hunze_device managed = {HUNZE_DEVICE_CUDA_MANAGED, 0};
    REFUSED(DEVICE, hunze_memory_alloc(context, managed, 1, NULL, &pointer), "device type 13");
    REFUSED(DEVICE, hunze_stream_synchronize(context, pinned, NULL), "device type 3");
    for (uintptr_t i = 0; i < 3; i++)
        REFUSED(OPTION, hunze_stream_destroy(context, cuda0, (void *)i), "default");
    OK(hunze_memory_alloc(context, cuda0, 0, NULL, &pointer));
    check(pointer == NULL, "no bytes lie somewhere");
    OK(hunze_memory_free(context, cuda0, NULL, 0, NULL));
    OK(hunze_stream_create(context, cuda0, &stream));
    OK(hunze_stream_destroy(context, cuda0, stream));
    if (on_standin()) { /* a real driver may look where nothing is */
        REFUSED(DEVICE, hunze_stream_synchronize(context, cuda0, stream), "destroyed");
        REFUSED(DEVICE, hunze_stream_destroy(context, cuda0, stream), "destroyed");
    }

    hunze_device_allocator allocator = {.struct_size = sizeof allocator};
    const hunze_context_options options = {.struct_size = sizeof options, .device_allocator = &allocator};
    hunze_context *none;
    REFUSED(NULL, hunze_context_create(&options, &none), "hunze_device_allocator");
    allocator.struct_size = 8;
    REFUSED(OPTION, hunze_context_create(&options, &none), "hunze_device_allocator");
    allocator.struct_size = sizeof allocator;
    allocator.reserved = 1;
    REFUSED(OPTION, hunze_context_create(&options, &none), "reserved");
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ the caller's allocator */

static struct hook {
    int allocs, frees;
    size_t bytes;
    void *stream;
    hunze_context *from; /* that really allocates */
    size_t shift;
} hook;

static void *hook_alloc(void *user, int32_t device, size_t bytes, void *stream)
{
    struct hook *h = user;
    void *pointer = NULL;
    const hunze_device where = {HUNZE_DEVICE_CUDA, device};
    h->allocs++;
    h->bytes += bytes;
    h->stream = stream;
    if (bytes > 1 << 20)
        return NULL;
    OK(hunze_memory_alloc(h->from, where, bytes + 256, stream, &pointer));
    return (char *)pointer + h->shift;
}

static void hook_free(void *user, int32_t device, void *pointer, size_t bytes, void *stream)
{
    struct hook *h = user;
    const hunze_device where = {HUNZE_DEVICE_CUDA, device};
    h->frees++;
    h->bytes -= bytes;
    h->stream = stream;
    OK(hunze_memory_free(h->from, where, (char *)pointer - h->shift, bytes + 256, stream));
}

static void allocator_of_the_caller(void)
{
    const hunze_device_allocator allocator = {
        .struct_size = sizeof allocator, .alloc = hook_alloc, .free = hook_free, .user = &hook};
    const hunze_context_options options = {.struct_size = sizeof options, .device_allocator = &allocator};
    const hunze_device of_device_1 = {HUNZE_DEVICE_CUDA_HOST, 1};
    hunze_context *context = new_context(&options);
    void *x, *y, *stream = NULL, *pointer = context;
    make_values();
    hook.from = new_context(NULL);
    OK(hunze_stream_create(context, cuda1, &stream));
    x = to_gpu(context, cuda1, stream, values, N);
    check(hook.allocs == 1 && hook.bytes == BYTES && hook.stream == stream, "%d allocations", hook.allocs);
    y = to_gpu(context, cuda1, stream, values, N);
    OK(relu(context, cuda1, x, y, N, stream));
    OK(hunze_memory_free(context, cuda1, x, BYTES, NULL));
    check(hook.frees == 1 && hook.bytes == BYTES && hook.stream == NULL, "%d frees", hook.frees);
    OK(hunze_memory_free(context, cuda1, y, BYTES, stream));
    REFUSED(NOMEM, hunze_memory_alloc(context, cuda1, 2 << 20, stream, &pointer), "device allocator", "2097152");
    hook.shift = 128;
    REFUSED(ALIGN, hunze_memory_alloc(context, cuda1, 64, stream, &pointer), "device allocator", "256");
    check(hook.allocs == hook.frees + 1 && hook.bytes == 2 << 20 && pointer == NULL,
          "a refused block is not given back");
    OK(hunze_memory_alloc(context, of_device_1, 64, stream, &pointer)); /* is not of a device */
    OK(hunze_memory_free(context, of_device_1, pointer, 64, stream));
    check(hook.allocs == 4, "pinned memory of the device's allocator");
    hunze_context_release(context);
    hunze_context_release(hook.from);
}

/* ------------------------------------------------------------------ pinned memory */

static void pinned_memory(void)
{
    hunze_context *context = new_context(NULL);
    float *x = NULL, *y = NULL, *again = NULL;
    void *stream = NULL;
    make_values();
    OK(hunze_stream_create(context, cuda0, &stream));
    OK(hunze_memory_alloc(context, pinned, BYTES, stream, (void **)&x));
    OK(hunze_memory_alloc(context, pinned, BYTES, stream, (void **)&y));
    memcpy(x, values, BYTES);
    void *d = to_gpu(context, cuda0, stream, values, N);

    /* Kernels read it in place, and a copy to it is over when the stream is. */
    array from, to;
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    const hunze_activation activation = {.struct_size = sizeof activation, .kind = HUNZE_ACT_RELU};
    const hunze_activation_options options = {.struct_size = sizeof options, .activation = &activation};
    OK(hunze_activate(context, floats(&from, pinned, x, N), floats(&to, cuda0, d, N), &options, &run));
    OK(hunze_copy(context, floats(&from, cuda0, d, N), floats(&to, pinned, y, N), &run));
    OK(hunze_stream_synchronize(context, cuda0, stream));
    for (int i = 0; i < N; i++)
        check(y[i] == (values[i] < 0 ? 0 : values[i]), "element %d is %g", i, (double)y[i]);

    /* Alone it is the CPU's. */
    memset(y, 0, BYTES);
    OK(hunze_activate(context, floats(&from, pinned, x, N), floats(&to, pinned, y, N), &options, NULL));
    check(y[96] == 48 && y[0] == 0, "the CPU computes %g", (double)y[96]);
    OK(hunze_activate(context, floats(&from, pinned, x, N), floats(&to, cpu, values, N), &options, NULL));
    check(values[96] == 48 && values[0] == 0, "the CPU computes %g", (double)values[96]);
    REFUSED(OPTION, hunze_activate(context, floats(&from, pinned, x, N), floats(&to, pinned, y, N), &options, &run),
            "stream");

    /* Given back, it is taken again when nothing uses it. */
    const uint64_t allocations = standin_count("cuMemHostAlloc");
    OK(hunze_memory_free(context, pinned, x, BYTES, stream));
    OK(hunze_stream_synchronize(context, cuda0, stream));
    OK(hunze_memory_alloc(context, pinned, BYTES - 100, stream, (void **)&again));
    standin_check(again == x && standin_count("cuMemHostAlloc") == allocations, "pinned memory is not taken again");
    OK(hunze_memory_free(context, pinned, again, BYTES - 100, stream));
    OK(hunze_memory_free(context, pinned, y, BYTES, stream));
    OK(hunze_memory_free(context, cuda0, d, BYTES, stream));
    const uint64_t frees = standin_count("cuMemFreeHost");
    OK(hunze_memory_trim(context));
    standin_check(standin_count("cuMemFreeHost") == frees + 2, "%llu blocks went back",
                  (unsigned long long)(standin_count("cuMemFreeHost") - frees));
    hunze_context_release(context);
}

static void managed_memory(void)
{
    hunze_context *context = new_context(NULL);
    const hunze_device managed = {HUNZE_DEVICE_CUDA_MANAGED, 0};
    CUdeviceptr x = 0, y = 0;
    array from, to;
    make_values();
    stay_on_device_0(context);
    DRIVER_OK(DRIVER(cuMemAllocManaged, 6000)(&x, BYTES, CU_MEM_ATTACH_GLOBAL));
    DRIVER_OK(DRIVER(cuMemAllocManaged, 6000)(&y, BYTES, CU_MEM_ATTACH_GLOBAL));
    memcpy((void *)x, values, BYTES);
    const hunze_activation activation = {.struct_size = sizeof activation, .kind = HUNZE_ACT_RELU};
    const hunze_activation_options options = {.struct_size = sizeof options, .activation = &activation};
    OK(hunze_activate(context, floats(&from, managed, (void *)x, N), floats(&to, managed, (void *)y, N), &options,
                      NULL));
    synchronize(context);
    check(((float *)y)[96] == 48 && ((float *)y)[0] == 0, "the device computes %g", (double)((float *)y)[96]);
    float result[N];
    OK(hunze_copy(context, floats(&from, managed, (void *)y, N), floats(&to, cpu, result, N), NULL));
    check(result[96] == 48, "%g is copied", (double)result[96]);
    REFUSED(DEVICE,
            hunze_activate(context, floats(&from, managed, (void *)x, N), floats(&to, cpu, result, N), &options, NULL),
            "y lives on the CPU", "x on cuda:0");
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ wiped memory */

/* The stand-in gives a stream's block again with what is in it. */
static bool keeps_contents(uint32_t flags, hunze_device device)
{
    const hunze_context_options options = {.struct_size = sizeof options, .flags = flags};
    hunze_context *context = new_context(&options);
    void *again = NULL, *pointer = NULL;
    float result[N], sum = 0;
    make_values();
    OK(hunze_memory_alloc(context, device, BYTES, NULL, &pointer));
    array from, to;
    OK(hunze_copy(context, floats(&from, cpu, values, N), floats(&to, device, pointer, N), NULL));
    OK(hunze_memory_free(context, device, pointer, BYTES, NULL));
    OK(hunze_stream_synchronize(context, cuda0, NULL));
    OK(hunze_memory_alloc(context, device, BYTES, NULL, &again));
    check(again == pointer, "another block came");
    OK(hunze_copy(context, floats(&from, device, again, N), floats(&to, cpu, result, N), NULL));
    for (int i = 0; i < N; i++)
        sum += result[i] < 0 ? -result[i] : result[i];
    OK(hunze_memory_free(context, device, again, BYTES, NULL));
    hunze_context_release(context);
    return sum != 0;
}

static void wiped(void)
{
    standin_only("memory that nobody else uses");
    check(keeps_contents(0, cuda0) && keeps_contents(0, pinned), "blocks come with nothing in them anyway");
    check(!keeps_contents(HUNZE_WIPE, cuda0), "HUNZE_WIPE leaves a device's block as it is");
    check(!keeps_contents(HUNZE_WIPE, pinned), "HUNZE_WIPE leaves pinned memory as it is");
}

/* ------------------------------------------------------------------ streams */

static void streams_in_order(void)
{
    hunze_context *context = new_context(NULL);
    void *first, *second, *x;
    float result[N];
    const float zeros[N] = {0};
    make_values();
    OK(hunze_stream_create(context, cuda0, &first));
    OK(hunze_stream_create(context, cuda0, &second));
    x = to_gpu(context, cuda0, first, zeros, N);
    void *y = to_gpu(context, cuda0, first, values, N);
    OK(hunze_stream_synchronize(context, cuda0, first));
    for (int turn = 0; turn < 10; turn++) {
        OK(relu(context, cuda0, y, x, N, first));
        OK(hunze_stream_wait(context, cuda0, second, first));
        from_gpu(context, cuda0, second, x, result, N);
        check(result[96] == 48, "the second stream did not wait: %g", (double)result[96]);
        OK(hunze_stream_wait(context, cuda0, first, second));
        array from, to;
        const hunze_run run = {.struct_size = sizeof run, .stream = first};
        OK(hunze_copy(context, floats(&from, cpu, (void *)zeros, N), floats(&to, cuda0, x, N), &run));
        OK(hunze_stream_wait(context, cuda0, second, first));
    }
    standin_check(standin_count("cuEventCreate") == standin_count("cuEventDestroy"), "events stay");
    OK(hunze_stream_destroy(context, cuda0, first));
    OK(hunze_stream_destroy(context, cuda0, second));
    hunze_context_release(context);
}

/* An event is over when what was given to the stream before it has run, and asking does not make it run. */
static void events(void)
{
    hunze_context *context = new_context(NULL);
    void *stream, *event;
    int32_t over = 1;
    make_values();
    OK(hunze_stream_create(context, cuda0, &stream));
    void *x = to_gpu(context, cuda0, stream, values, N);
    OK(relu(context, cuda0, x, x, N, stream));
    OK(hunze_event_record(context, cuda0, stream, &event));
    const uint64_t waits = standin_count("cuEventSynchronize") + standin_count("cuStreamSynchronize");
    int asked = 0;
    for (; asked == 0 || (!over && asked < 1000000); asked++)
        OK(hunze_event_query(context, cuda0, event, &over));
    check(over, "it never ends");
    standin_check(waits == standin_count("cuEventSynchronize") + standin_count("cuStreamSynchronize"),
                  "the query waits");
    OK(hunze_event_destroy(context, cuda0, event));
    standin_check(standin_count("cuEventCreate") == standin_count("cuEventDestroy"), "events stay");
    standin_only("work that is late now and then for sure");
    for (int turn = 0, late = 0; !late; turn++) { /* the work is late in some of them */
        check(turn < 1000, "no event is ever late");
        OK(relu(context, cuda0, x, x, N, stream));
        OK(hunze_event_record(context, cuda0, stream, &event));
        OK(hunze_event_query(context, cuda0, event, &over));
        late = !over;
        OK(hunze_stream_synchronize(context, cuda0, stream));
        OK(hunze_event_query(context, cuda0, event, &over));
        check(over == 1, "all has run, and the event is not over");
        OK(hunze_event_destroy(context, cuda0, event));
    }
    OK(hunze_stream_destroy(context, cuda0, stream));
    REFUSED(DEVICE, hunze_event_record(context, cuda0, stream, &event), "destroyed");
    check(event == NULL, "an event comes of it");
    hunze_context_release(context);
}

static void pointers(void)
{
    hunze_context *context = new_context(NULL);
    void *block = NULL;
    hunze_device place = cpu;
    float host[N];
    make_values();
    void *x = to_gpu(context, cuda1, NULL, values, N);
    OK(hunze_pointer_device(context, (char *)x + 8, &place));
    check(place.type == HUNZE_DEVICE_CUDA && place.id == 1, "type %d, device %d", place.type, place.id);
    OK(hunze_memory_alloc(context, pinned, BYTES, NULL, &block));
    OK(hunze_pointer_device(context, block, &place));
    check(place.type == HUNZE_DEVICE_CUDA_HOST, "type %d", place.type);
    OK(hunze_pointer_device(context, host, &place));
    check(place.type == HUNZE_DEVICE_CPU && place.id == 0, "type %d, device %d", place.type, place.id);
    CUcontext primary = NULL, popped;
    CUdeviceptr managed = 0;
    DRIVER_OK(DRIVER(cuDevicePrimaryCtxRetain, 7000)(&primary, 0));
    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));
    DRIVER_OK(DRIVER(cuMemAllocManaged, 6000)(&managed, BYTES, CU_MEM_ATTACH_GLOBAL));
    DRIVER_OK(DRIVER(cuCtxPopCurrent, 4000)(&popped));
    OK(hunze_pointer_device(context, (void *)managed, &place));
    check(place.type == HUNZE_DEVICE_CUDA_MANAGED && place.id == 0, "type %d, device %d", place.type, place.id);
    hunze_context_release(context);
}

static const cuda_case cases[] = {
    {"freed_and_taken_again", freed_and_taken_again, NULL, NULL},
    {"freed_and_taken_again_without_pools", freed_and_taken_again, "pools=0", NULL},
    {"on_another_stream", on_another_stream, NULL, NULL},
    {"on_another_stream_without_pools", on_another_stream, "pools=0", NULL},
    {"threshold_without_pools", threshold, "pools=0", NULL},
    {"too_little", too_little, "memory=64MiB", NULL},
    {"too_little_without_pools", too_little, "memory=64MiB,pools=0", NULL},
    {"bad_arguments", bad_arguments, NULL, NULL},
    {"allocator_of_the_caller", allocator_of_the_caller, "devices=2", NULL},
    {"pinned_memory", pinned_memory, NULL, NULL},
    {"managed_memory", managed_memory, NULL, NULL},
    {"wiped", wiped, NULL, NULL},
    {"wiped_without_pools", wiped, "pools=0", NULL},
    {"streams_in_order", streams_in_order, NULL, NULL},
    {"events", events, NULL, NULL},
    {"pointers", pointers, "devices=2", NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]); }
