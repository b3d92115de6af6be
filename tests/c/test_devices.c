/* SPDX-License-Identifier: Apache-2.0 */
/* What holds with and without CUDA: copies on the CPU, pinned memory as the CPU's, plans that are prepared; and what a library without says. */
#include "example.h"
#include "json.h"

enum { ROWS = 7, COLUMNS = 300, MOST = 3 * ROWS * COLUMNS + 8 };

typedef struct layout {
    const char *name;
    int64_t strides[2], first;
} layout;
static const layout layouts[] = {
    {"row-major", {COLUMNS, 1}, 0},
    {"transposed", {1, ROWS}, 0},
    {"with gaps", {COLUMNS + 3, 1}, 2},
    {"every third", {3 * COLUMNS, 3}, 0},
    {"backwards", {-COLUMNS, -1}, ROWS *COLUMNS - 1},
};
enum { LAYOUTS = sizeof layouts / sizeof layouts[0] };

static hunze_tensor tensor_of(int32_t kind, hunze_dtype dtype, void *data, const layout *l)
{
    static int64_t shape[2] = {ROWS, COLUMNS};
    const size_t element = dtype.bits / 8u * dtype.lanes;
    return (hunze_tensor){data, {kind, 0}, 2, dtype, shape, (int64_t *)l->strides, (uint64_t)l->first * element};
}

static void copy_once(hunze_context *context, hunze_dtype dtype, const layout *in, const layout *out)
{
    static unsigned char from[MOST * 16], to[MOST * 16], expected[MOST * 16];
    const size_t element = dtype.bits / 8u * dtype.lanes;
    harness_case("%s to %s, elements of %zu bytes", in->name, out->name, element);
    for (size_t i = 0; i < sizeof from; i++) {
        from[i] = (unsigned char)(i * 2654435761u >> 13);
        to[i] = expected[i] = 0x5A;
    }
    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t j = 0; j < COLUMNS; j++)
            memcpy(expected + (size_t)(out->first + i * out->strides[0] + j * out->strides[1]) * element,
                   from + (size_t)(in->first + i * in->strides[0] + j * in->strides[1]) * element, element);
    const hunze_tensor a = tensor_of(HUNZE_DEVICE_CPU, dtype, from, in),
                       b = tensor_of(HUNZE_DEVICE_CUDA_HOST, dtype, to, out);
    harness_check(hunze_copy(context, &a, &b, NULL) == HUNZE_OK, "%s", hunze_last_error());
    harness_check(memcmp(to, expected, sizeof to) == 0, "other bytes");
}

static void copies(void **state)
{
    (void)state;
    static const hunze_dtype dtypes[] = {{HUNZE_INT, 8, 1},    {HUNZE_FLOAT, 16, 1}, {HUNZE_FLOAT, 32, 1},
                                         {HUNZE_FLOAT, 64, 1}, {HUNZE_FLOAT, 64, 2}, {HUNZE_UINT, 8, 3}};
    hunze_context *context = NULL;
    harness_begin("copies");
    assert_int_equal(hunze_context_create(NULL, &context), HUNZE_OK);
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
        for (int in = 0; in < LAYOUTS; in++)
            for (int out = 0; out < LAYOUTS; out++)
                copy_once(context, dtypes[d], &layouts[in], &layouts[out]);
    hunze_context_release(context);
}

/* Pinned memory is the CPU's where no device takes part, in a plan of its own or of the CPU's. */
static void pinned(void **state)
{
    (void)state;
    hunze_context *context = NULL;
    hunze_plan *plan = NULL;
    float x[8] = {-1, 2, -3, 4, -5, 6, -7, 8}, y[8] = {0}, z[8] = {0};
    int64_t shape[1] = {8};
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    const hunze_tensor a = {x, {HUNZE_DEVICE_CUDA_HOST, 0}, 1, f32, shape, NULL, 0},
                       b = {y, {HUNZE_DEVICE_CPU, 0}, 1, f32, shape, NULL, 0};
    const hunze_activation relu = {.struct_size = sizeof relu, .kind = HUNZE_ACT_RELU};
    const hunze_activation_options options = {.struct_size = sizeof options, .activation = &relu};
    hunze_call call = {sizeof call, HUNZE_OP_ACTIVATION, &a, NULL, NULL, &b, &options};
    harness_begin("pinned");
    harness_case("pinned to ordinary memory");
    assert_int_equal(hunze_context_create(NULL, &context), HUNZE_OK);
    harness_check(hunze_activate(context, &a, &b, &options, NULL) == HUNZE_OK, "%s", hunze_last_error());
    harness_check(y[0] == 0 && y[7] == 8, "%g, %g", (double)y[0], (double)y[7]);
    harness_case("its plan");
    harness_check(hunze_plan_create(context, &call, &plan) == HUNZE_OK, "%s", hunze_last_error());
    harness_check(plan->device.type == HUNZE_DEVICE_CPU && hunze_plan_prepare(plan) == HUNZE_OK, "%s",
                  hunze_last_error());
    memset(y, 0, sizeof y);
    harness_check(hunze_plan_run(plan, &call, NULL) == HUNZE_OK, "%s", hunze_last_error());
    harness_check(y[0] == 0 && y[7] == 8, "%g, %g", (double)y[0], (double)y[7]);
    harness_case("less aligned than when the plan was made");
    hunze_tensor less = a;
    _Alignas(16) float shifted[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    less.data = shifted + 1;
    call.a = &less;
    harness_check(hunze_plan_run(plan, &call, NULL) == HUNZE_OK && y[7] == 8 && y[0] == 1, "%s", hunze_last_error());
    harness_case("memory of another kind than the plan's");
    const hunze_tensor ordinary = {z, {HUNZE_DEVICE_CPU, 0}, 1, f32, shape, NULL, 0};
    call.a = &ordinary;
    harness_check(hunze_plan_run(plan, &call, NULL) == HUNZE_ERR_DEVICE && strstr(hunze_last_error(), "x lives on"),
                  "%s", hunze_last_error());
    hunze_plan_release(plan);
    hunze_context_release(context);
}

#if !HUNZE_WITH_CUDA
static void refused(hunze_status status)
{
    harness_check(status == HUNZE_ERR_DEVICE && strstr(hunze_last_error(), "built without CUDA"), "%s (%s)",
                  hunze_status_name(status), hunze_last_error());
}

static void without_cuda(void **state)
{
    (void)state;
    hunze_context *context = NULL;
    void *pointer;
    char *text = NULL;
    const hunze_device cuda = {HUNZE_DEVICE_CUDA, 0};
    hunze_device place;
    int32_t over;
    int64_t shape[1] = {8};
    float x[8] = {0};
    const hunze_tensor a = {x, {HUNZE_DEVICE_CPU, 0}, 1, {HUNZE_FLOAT, 32, 1}, shape, NULL, 0},
                       b = {x, cuda, 1, {HUNZE_FLOAT, 32, 1}, shape, NULL, 0};
    harness_begin("without_cuda");
    harness_case("each function of devices");
    assert_int_equal(hunze_context_create(NULL, &context), HUNZE_OK);
    pointer = x;
    refused(hunze_memory_alloc(context, cuda, 64, NULL, &pointer));
    harness_check(!pointer, "a refused call gave something");
    pointer = x;
    refused(hunze_memory_free(context, cuda, x, 64, NULL));
    refused(hunze_stream_create(context, cuda, &pointer));
    harness_check(!pointer, "a refused call gave something");
    refused(hunze_stream_destroy(context, cuda, x));
    refused(hunze_stream_synchronize(context, cuda, NULL));
    refused(hunze_stream_wait(context, cuda, NULL, NULL));
    refused(hunze_event_record(context, cuda, NULL, &pointer));
    refused(hunze_event_query(context, cuda, x, &over));
    refused(hunze_event_destroy(context, cuda, x));
    refused(hunze_pointer_device(context, x, &place));
    refused(hunze_copy(context, &a, &b, NULL));
    refused(hunze_copy(context, &b, &a, NULL));
    refused(hunze_activate(context, &b, &b, NULL, NULL));
    harness_check(hunze_memory_trim(context) == HUNZE_OK, "%s", hunze_last_error());
    harness_case("what it tells");
    assert_int_equal(hunze_devices(context, &text), HUNZE_OK);
    harness_check(json_is_valid(text) && json_says(text, "reason", "built without CUDA") &&
                      strncmp(json_member(text, "note"), "null", 4) == 0,
                  "%s", text);
    hunze_string_free(text);
    assert_int_equal(hunze_context_info(context, &text), HUNZE_OK);
    harness_check(json_is_valid(text) && json_says(text, "cuda_reason", "built without CUDA"), "%s", text);
    hunze_string_free(text);
    hunze_context_release(context);
}
#endif

static int stop(void *user)
{
    ++*(int *)user;
    return 1;
}

/* So large that several threads share it. */
static void large_copies(void **state)
{
    (void)state;
    enum { SIDE = 1500 };
    uint16_t *from = malloc(SIDE * SIDE * sizeof *from), *to = calloc(SIDE * SIDE, sizeof *to);
    int64_t shape[2] = {SIDE, SIDE}, transposed[2] = {1, SIDE};
    const hunze_dtype dtype = {HUNZE_FLOAT, 16, 1};
    const hunze_tensor a = {from, {HUNZE_DEVICE_CPU, 0}, 2, dtype, shape, transposed, 0},
                       b = {to, {HUNZE_DEVICE_CUDA_HOST, 0}, 2, dtype, shape, NULL, 0};
    hunze_context *context = NULL;
    int asked = 0;
    harness_begin("large copies");
    assert_int_equal(hunze_context_create(NULL, &context), HUNZE_OK);
    for (size_t i = 0; i < SIDE * SIDE; i++)
        from[i] = (uint16_t)(i * 40503u >> 3);
    for (int threads = 1; threads <= 4; threads++) {
        const hunze_run run = {.struct_size = sizeof run, .threads = threads};
        memset(to, 0, SIDE * SIDE * sizeof *to);
        harness_case("%d threads", threads);
        harness_check(hunze_copy(context, &a, &b, &run) == HUNZE_OK, "%s", hunze_last_error());
        for (size_t i = 0; i < SIDE; i++)
            for (size_t j = 0; j < SIDE; j++)
                harness_check(to[i * SIDE + j] == from[j * SIDE + i], "%zu, %zu", i, j);
    }
    const hunze_run run = {.struct_size = sizeof run, .threads = 2, .cancel = stop, .cancel_user = &asked};
    hunze_status status;
    do /* until the calling thread, which alone asks, comes in before the other one has copied all */
        status = hunze_copy(context, &a, &b, &run);
    while (status == HUNZE_OK && asked == 0);
    harness_check(status == HUNZE_ERR_CANCELLED && asked > 0, "%s", hunze_last_error());
    hunze_context_release(context);
    free(from);
    free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies),
        cmocka_unit_test(large_copies),
        cmocka_unit_test(pinned),
#if !HUNZE_WITH_CUDA
        cmocka_unit_test(without_cuda),
#endif
    };
    return cmocka_run_group_tests_name("devices", tests, NULL, NULL);
}
