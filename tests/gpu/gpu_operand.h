/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of the benchmarks: random values on the first device, in as many copies as it takes that its cache holds none of them. */
#ifndef HUNZE_TESTS_GPU_OPERAND_H
#define HUNZE_TESTS_GPU_OPERAND_H

#include <hunze.h>

#include <stdbool.h>

enum { GPU_AXES = 4, GPU_COPIES = 32 };
extern const hunze_dtype gpu_f32, gpu_f64, gpu_bf16, gpu_f16, gpu_s8, gpu_u8, gpu_s32;

typedef struct gpu_operand {
    hunze_tensor tensor; /* its first copy */
    int64_t shape[GPU_AXES], strides[GPU_AXES];
    size_t bytes;
    int copies;
    void *data[GPU_COPIES];
} gpu_operand;

/* strides NULL: row-major.  NULL: the device has no room for it. */
gpu_operand *gpu_operand_make(hunze_context *context, void *stream, hunze_dtype dtype, int ndim, const int64_t *shape,
                              const int64_t *strides, int copies);
/* Another operand's tensor for a run: the copy whose turn it is. */
hunze_tensor gpu_operand_at(const gpu_operand *operand, int turn);

/* The first copy on the CPU, its 16-bit elements as f32 if `widened`; the strides stay, and count elements.  Free data. */
hunze_tensor gpu_operand_on_cpu(void *stream, const gpu_operand *operand, bool widened);
/* Memory for the operand on the CPU, likewise. */
hunze_tensor gpu_operand_like(const gpu_operand *operand, bool widened);

#endif
