/* SPDX-License-Identifier: Apache-2.0 */
/* hunze_quantize and hunze_dequantize on the device against the CPU, bit by bit: shapes, strides and alignments of every kind, per tensor and
 * per axis, given and dynamic parameters; what has no scale; how often memory is read. */
#include "device_row.h"
#include "on_device.h"

#include <float.h>
#include <math.h>

enum { PARAMETERS = 5000 };

typedef struct problem {
    hunze_type codes;
    int axis;
    int64_t parameters;
    array x, code;
    float scale[PARAMETERS];
    int32_t zero[PARAMETERS]; /* of any codes, from the first byte on */
    hunze_tensor scale_tensor, zero_tensor;
    hunze_quant quant;
    hunze_quantize_options options;
} problem;

/* axis -1: one parameter */
static void make_problem(problem *p, harness_rng *rng, hunze_type codes, int ndim, const int64_t *shape, int axis)
{
    memset(p, 0, sizeof *p);
    p->codes = codes;
    p->axis = axis;
    make(&p->x, rng, HUNZE_TYPE_F32, ndim, shape);
    make(&p->code, rng, codes, ndim, shape);
    for (size_t i = 0; i < p->x.bytes / 4; i++)
        ((float *)(void *)p->x.memory)[i] = (float)harness_uniform(rng) * 9;
    p->parameters = axis < 0 ? 1 : shape[axis];
    harness_check(p->parameters <= PARAMETERS, "a case has %lld parameters", (long long)p->parameters);
    for (int64_t i = 0; i < p->parameters; i++) {
        p->scale[i] = harness_between(rng, 0, 1) ? 0.5f : (float)fabs(harness_uniform(rng)) / 16 + FLT_MIN;
        p->zero[i] = (int32_t)harness_u64(rng);
    }
    p->scale_tensor = (hunze_tensor){p->scale, the_cpu, axis >= 0, {HUNZE_FLOAT, 32, 1}, &p->parameters, NULL, 0};
    p->zero_tensor = (hunze_tensor){p->zero, the_cpu, axis >= 0, harness_dtype(codes), &p->parameters, NULL, 0};
    p->quant = (hunze_quant){.struct_size = sizeof p->quant,
                             .granularity = axis < 0 ? HUNZE_PER_TENSOR : HUNZE_PER_AXIS,
                             .axis = axis,
                             .scale = &p->scale_tensor,
                             .zero_point = harness_between(rng, 0, 1) ? &p->zero_tensor : NULL};
    p->options = (hunze_quantize_options){.struct_size = sizeof p->options, .quant = &p->quant};
}

static void random_problem(problem *p, harness_rng *rng, hunze_type codes, int turn)
{
    const int ndim = (int)harness_between(rng, 0, 4);
    int64_t shape[4];
    for (int i = 0; i < ndim; i++)
        shape[i] = harness_between(rng, 0, 19) == 0 ? 0
                   : i == ndim - 1                  ? harness_between(rng, 1, turn % 8 ? 70 : 4500)
                                                    : harness_between(rng, 1, 5);
    make_problem(p, rng, codes, ndim, shape, ndim ? (int)harness_between(rng, -1, ndim - 1) : -1);
    harness_case("turn %d: %s, %d axes, the last of %lld, parameters along %d", turn, hunze_type_name(codes), ndim,
                 (long long)(ndim ? shape[ndim - 1] : 1), p->axis);
}

static void drop_problem(problem *p)
{
    drop(&p->x);
    drop(&p->code);
    drop_twins();
}

/* On the device; the outputs are then those of `device`. */
typedef struct device_call {
    const hunze_tensor *x, *code;
    hunze_quant quant;
    hunze_quantize_options options;
} device_call;
static device_call on_device(const problem *p, harness_rng *rng)
{
    static const int shifts[] = {0, 0, 4, 8};
    device_call d = {.options = p->options};
    d.x = to_device(&p->x.tensor, shifts[harness_between(rng, 0, 3)]);
    d.code = to_device(&p->code.tensor, p->codes == HUNZE_TYPE_S32 ? 0 : harness_between(rng, 0, 1));
    quant_to_device(&p->quant, &d.quant);
    return d;
}

static void quantize_on_both(problem *p, harness_rng *rng)
{
    device_call d = on_device(p, rng);
    d.options.quant = &d.quant;
    d.options.kernel = device_row(HUNZE_OP_QUANTIZE, HUNZE_TYPE_F32, p->codes);
    check_status(hunze_quantize(context, d.x, d.code, &d.options, NULL), HUNZE_OK);
    check_status(hunze_quantize(context, &p->x.tensor, &p->code.tensor, &p->options, NULL), HUNZE_OK);
    check_same(d.code, &p->code.tensor, "codes");
    check_same(d.quant.scale, p->quant.scale, "scale");
    if (d.quant.zero_point)
        check_same(d.quant.zero_point, p->quant.zero_point, "zero point");
}

static void quantize_given(void **unused)
{
    (void)unused;
    harness_rng rng = {71};
    for (int turn = 0; turn < 400; turn++) {
        static problem p;
        random_problem(&p, &rng, turn & 1 ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8, turn / 2);
        if (turn % 10 == 3 && p.x.bytes)
            ((float *)(void *)p.x.memory)[harness_between(&rng, 0, (int64_t)p.x.bytes / 4 - 1)] =
                turn % 20 == 3 ? NAN : INFINITY;
        quantize_on_both(&p, &rng);
        drop_problem(&p);
    }
}

/* Ranges down to denormals and up to where their width overflows, all zeros, one sign only. */
static void quantize_dynamic(void **unused)
{
    (void)unused;
    static const float factors[] = {0x1p-148f, 0x1p-130f, FLT_MAX / 9, 0, 1, 1};
    harness_rng rng = {72};
    for (int turn = 0; turn < 400; turn++) {
        static problem p;
        random_problem(&p, &rng, turn & 1 ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8, turn / 2);
        p.options.dynamic = 1;
        if (p.codes == HUNZE_TYPE_U8)
            p.quant.zero_point = &p.zero_tensor;
        for (size_t i = 0; i < p.x.bytes / 4; i++) {
            float *x = (float *)(void *)p.x.memory + i;
            *x *= factors[turn / 2 % 6];
            if (turn % 12 == 11)
                *x = turn % 24 == 11 ? fabsf(*x) : -fabsf(*x);
        }
        quantize_on_both(&p, &rng);
        drop_problem(&p);
    }
}

/* The CPU refuses; a device tells by the scale. */
static void dynamic_of_what_is_not_finite(void **unused)
{
    (void)unused;
    harness_rng rng = {73};
    for (int turn = 0; turn < 60; turn++) {
        static problem p;
        static const float values[] = {NAN, INFINITY, -INFINITY};
        random_problem(&p, &rng, turn & 1 ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8, turn / 2);
        const int64_t count = hunze_count(&p.x.tensor);
        p.options.dynamic = 1;
        p.quant.zero_point = &p.zero_tensor;
        if (count > 0) {
            *(float *)element(&p.x, p.x.memory, harness_between(&rng, 0, count - 1)) = values[turn % 3];
            device_call d = on_device(&p, &rng);
            d.options.quant = &d.quant;
            check_status(hunze_quantize(context, d.x, d.code, &d.options, NULL), HUNZE_OK);
            for (int64_t i = 0; i < p.parameters; i++)
                p.scale[i] = NAN;
            check_same(d.code, &p.code.tensor, "codes, which stay as they were");
            check_same(d.quant.scale, p.quant.scale, "scale");
            check_same(d.quant.zero_point, p.quant.zero_point, "zero point, which stays as it was");
        }
        drop_problem(&p);
    }
}

static void dequantize(void **unused)
{
    (void)unused;
    static const hunze_type types[] = {HUNZE_TYPE_U8, HUNZE_TYPE_S8, HUNZE_TYPE_S32};
    harness_rng rng = {74};
    for (int turn = 0; turn < 450; turn++) {
        static problem p;
        random_problem(&p, &rng, types[turn % 3], turn / 3);
        device_call d = on_device(&p, &rng);
        d.options.quant = &d.quant;
        d.options.kernel = device_row(HUNZE_OP_DEQUANTIZE, types[turn % 3], HUNZE_TYPE_F32);
        check_status(hunze_dequantize(context, d.code, d.x, &d.options, NULL), HUNZE_OK);
        check_status(hunze_dequantize(context, &p.code.tensor, &p.x.tensor, &p.options, NULL), HUNZE_OK);
        check_same(d.x, &p.x.tensor, "x");
        drop_problem(&p);
    }
}

/* A scale of NaN, and of infinity times 0; with HUNZE_REPRODUCIBLE the bits are one NaN's, by fours and one by one. */
static void dequantize_to_nan(void **unused)
{
    (void)unused;
    static const hunze_type types[] = {HUNZE_TYPE_U8, HUNZE_TYPE_S8, HUNZE_TYPE_S32};
    static const uint32_t nans[] = {0x7FFFFFFF, 0xFFC00000, 0x7FC01234, 0x7F800000};
    harness_rng rng = {76};
    int seen = 0;
    for (int turn = 0; turn < 60; turn++) {
        static problem p;
        random_problem(&p, &rng, types[turn % 3], turn / 3);
        for (int64_t i = 0; i < p.parameters; i++)
            memcpy(&p.scale[i], &nans[(turn + i) % 4], 4);
        p.quant.zero_point = NULL;
        device_call d = on_device(&p, &rng);
        d.options.quant = &d.quant;
        p.options.flags = d.options.flags = HUNZE_REPRODUCIBLE;
        check_status(hunze_dequantize(context, d.code, d.x, &d.options, NULL), HUNZE_OK);
        check_status(hunze_dequantize(context, &p.code.tensor, &p.x.tensor, &p.options, NULL), HUNZE_OK);
        check_same(d.x, &p.x.tensor, "x");
        char *got = from_device(d.x);
        const hunze_extent extent = hunze_tensor_extent(&p.x.tensor);
        for (int64_t at = 0; at < (extent.high - extent.low) / 4; at++) { /* gaps hold numbers */
            uint32_t bits;
            memcpy(&bits, got + 4 * at, 4);
            if ((bits & 0x7FFFFFFF) <= 0x7F800000)
                continue;
            seen++;
            harness_check(bits == 0x7FC00000, "word %lld is NaN %08x", (long long)at, bits);
        }
        free(got);
        drop_problem(&p);
    }
    harness_check(seen > 1000, "%d are NaN", seen);
}

/* Each element is read once for its code and once for the range; what else is read is small.  With an odd count the last element is alone. */
static void each_element_is_read_once(void **unused)
{
    (void)unused;
    for (int turn = 0; turn < 2; turn++) {
        const int64_t shape[] = {48, turn ? 4097 : 4096}, count = shape[0] * shape[1], chunks = (count + 2047) / 2048;
        harness_rng rng = {75};
        static problem p;
        for (;;) {
            make_problem(&p, &rng, HUNZE_TYPE_U8, 2, shape, -1);
            if ((int64_t)p.x.bytes == 4 * count && (int64_t)p.code.bytes == count && p.x.strides[1] == 1 &&
                p.code.strides[1] == 1)
                break;
            drop_problem(&p);
        }
        p.options.dynamic = 1;
        p.quant.zero_point = &p.zero_tensor;
        harness_case("%lld x %lld", (long long)shape[0], (long long)shape[1]);
        const hunze_tensor *x = to_device(&p.x.tensor, 0), *code = to_device(&p.code.tensor, 0);
        hunze_quant quant;
        hunze_quantize_options options = p.options;
        options.quant = quant_to_device(&p.quant, &quant);
        if (turn == 0) { /* opens the driver */
            check_status(hunze_quantize(context, x, code, &options, NULL), HUNZE_OK);
            free(from_device(code)); /* and is over */
        }
        reset_counters();
        check_status(hunze_quantize(context, x, code, &options, NULL), HUNZE_OK);
        free(from_device(code));
        const hunze_emulator_counters codes = counters_of("hunze_quantize_u8_cuda"),
                                      range = counters_of("hunze_quantize_u8_cuda_range");
        const uint64_t asked =
            codes.blocks * 256 * 4 + (uint64_t)chunks * 256 * 5; /* whether x is finite; the parameters */
        harness_check(codes.global_read_bytes == (uint64_t)count * 4 + asked &&
                          codes.global_write_bytes == (uint64_t)count,
                      "codes: %llu bytes read, %llu written", (unsigned long long)codes.global_read_bytes,
                      (unsigned long long)codes.global_write_bytes);
        /* A look and an update of each side per warp, however many chunks it has. */
        const uint64_t atomics = range.global_read_bytes - (uint64_t)count * 4;
        harness_check(atomics <= range.blocks * 8 * 2 * 8, "range: %llu bytes read beyond x by %llu blocks",
                      (unsigned long long)atomics, (unsigned long long)range.blocks);
        drop_problem(&p);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_given),
        cmocka_unit_test(quantize_dynamic),
        cmocka_unit_test(dynamic_of_what_is_not_finite),
        cmocka_unit_test(dequantize),
        cmocka_unit_test(dequantize_to_nan),
        cmocka_unit_test(each_element_is_read_once),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    harness_begin("test_cuda_quantize");
    return cmocka_run_group_tests(tests, make_context, release_context);
}
