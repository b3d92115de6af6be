/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_operand.h"

#include "gpu_image.h"

#include <stdlib.h>
#include <string.h>

const hunze_dtype gpu_f32 = {HUNZE_FLOAT, 32, 1}, gpu_f64 = {HUNZE_FLOAT, 64, 1}, gpu_bf16 = {HUNZE_BFLOAT, 16, 1},
                  gpu_f16 = {HUNZE_FLOAT, 16, 1}, gpu_s8 = {HUNZE_INT, 8, 1}, gpu_u8 = {HUNZE_UINT, 8, 1},
                  gpu_s32 = {HUNZE_INT, 32, 1};
static const hunze_device cpu = {HUNZE_DEVICE_CPU, 0}, gpu = {HUNZE_DEVICE_CUDA, 0};

/* ------------------------------------------------------------------ values */

static uint64_t random_state = 1;
static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Toward zero; of values in [-1, 1). */
static uint16_t to_f16(float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    const int exponent = (int)(word >> 23 & 255) - 127;
    const uint32_t sign = word >> 16 & 0x8000, mantissa = (word & 0x7FFFFF) | 0x800000;
    if (exponent >= -14)
        return (uint16_t)(sign | (uint32_t)(exponent + 15) << 10 | (mantissa >> 13 & 0x3FF));
    return (uint16_t)(sign | (exponent < -24 ? 0 : mantissa >> (-exponent - 1)));
}

static float from_f16(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3FF;
    uint32_t word = sign | (exponent + 112) << 23 | mantissa << 13;
    float value;
    if (exponent == 31)
        word = sign | 0x7F800000 | mantissa << 13;
    memcpy(&value, &word, sizeof value);
    if (exponent == 0)
        value = (float)mantissa * 0x1p-24f * (sign ? -1.0f : 1.0f);
    return value;
}

enum { PATTERN = (8 << 20) - 101 * 64, SHIFT = 4001 * 64 };

/* Values of eight megabytes, of no round number, which operands repeat from one place or another; twice over. */
static const char *pattern_of(hunze_dtype dtype)
{
    static char *patterns[4][4]; /* code, bytes */
    const size_t size = dtype.bits / 8;
    char **at = &patterns[dtype.code == HUNZE_BFLOAT ? 3 : dtype.code][size == 1   ? 0
                                                                       : size == 2 ? 1
                                                                       : size == 4 ? 2
                                                                                   : 3];
    if (*at)
        return *at;
    char *made = *at = malloc(2 * PATTERN);
    for (size_t i = 0; i < 2 * PATTERN / size; i++) {
        const double value = (double)(random_bits() >> 11) * 0x1p-53 * 2 - 1;
        const float narrow = (float)value;
        const uint64_t bits = random_bits();
        uint32_t word;
        memcpy(&word, &narrow, sizeof word);
        const uint16_t half = dtype.code == HUNZE_BFLOAT ? (uint16_t)(word >> 16) : to_f16(narrow);
        if (size == 2)
            memcpy(made + i * size, &half, size);
        else if (dtype.code != HUNZE_FLOAT)
            memcpy(made + i * size, &bits, size);
        else if (size == 4)
            memcpy(made + i * size, &narrow, size);
        else
            memcpy(made + i * size, &value, size);
    }
    return made;
}

/* ------------------------------------------------------------------ operands */

static int made; /* operands so far: each has values of its own */

gpu_operand *gpu_operand_make(hunze_context *context, void *stream, hunze_dtype dtype, int ndim, const int64_t *shape,
                              const int64_t *strides, int copies)
{
    gpu_operand *o = calloc(1, sizeof *o);
    int64_t span = 1, dense = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        o->shape[i] = shape[i];
        o->strides[i] = strides ? strides[i] : dense;
        dense *= shape[i];
        span += (shape[i] - 1) * o->strides[i];
    }
    o->bytes = (size_t)span * (dtype.bits / 8);
    o->tensor = (hunze_tensor){NULL, gpu, ndim, dtype, o->shape, o->strides, 0};
    const char *pattern = pattern_of(dtype);
    for (; o->copies < copies && o->copies < GPU_COPIES; o->copies++) {
        void **data = &o->data[o->copies];
        if (hunze_memory_alloc(context, gpu, o->bytes, stream, data) != HUNZE_OK)
            return NULL;
        const size_t first = o->bytes < PATTERN ? o->bytes : PATTERN;
        const char *from = pattern + (size_t)(made++ % 31) * SHIFT;
        NEED(cuMemcpyAsync((CUdeviceptr)*data, (CUdeviceptr)from, first, stream));
        NEED(cuStreamSynchronize(stream));
        for (size_t at = first; at < o->bytes; at += first)
            NEED(cuMemcpyAsync((CUdeviceptr)*data + at, (CUdeviceptr)*data,
                               o->bytes - at < first ? o->bytes - at : first, stream));
    }
    o->tensor.data = o->data[0];
    return o;
}

hunze_tensor gpu_operand_at(const gpu_operand *operand, int turn)
{
    hunze_tensor tensor = operand->tensor;
    tensor.data = operand->data[turn % operand->copies];
    return tensor;
}

hunze_tensor gpu_operand_like(const gpu_operand *operand, bool widened)
{
    hunze_tensor tensor = operand->tensor;
    const bool grows = widened && tensor.dtype.bits == 16;
    tensor.device = cpu;
    if (grows)
        tensor.dtype = gpu_f32;
    tensor.data = aligned_alloc(64, (operand->bytes * (grows ? 2 : 1) + 63) / 64 * 64);
    return tensor;
}

hunze_tensor gpu_operand_on_cpu(void *stream, const gpu_operand *operand, bool widened)
{
    hunze_tensor tensor = gpu_operand_like(operand, widened);
    const bool grows = tensor.dtype.bits != operand->tensor.dtype.bits;
    char *bytes = grows ? malloc(operand->bytes) : tensor.data;
    NEED(cuMemcpyAsync((CUdeviceptr)bytes, (CUdeviceptr)operand->data[0], operand->bytes, stream));
    NEED(cuStreamSynchronize(stream));
    if (grows) {
        for (size_t i = 0; i < operand->bytes / 2; i++) {
            uint16_t half;
            memcpy(&half, bytes + 2 * i, sizeof half);
            const uint32_t word = (uint32_t)half << 16;
            float value;
            memcpy(&value, &word, sizeof value);
            ((float *)tensor.data)[i] = operand->tensor.dtype.code == HUNZE_BFLOAT ? value : from_f16(half);
        }
        free(bytes);
    }
    return tensor;
}
