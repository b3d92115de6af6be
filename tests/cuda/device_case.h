/* SPDX-License-Identifier: Apache-2.0 */
/* One call of an op on the CPU and on a device: the bits of all of D's memory, gaps included, must be the same. */
#ifndef HUNZE_TESTS_DEVICE_CASE_H
#define HUNZE_TESTS_DEVICE_CASE_H

#include "cuda_test.h"
#include "harness.h"

/* How an operand lies in memory: flags, taken up at random places. */
enum {
    LIES_WITH_GAPS = 1,
    LIES_BACKWARDS = 2,
    LIES_LATE = 4,     /* an element after what is aligned */
    LIES_REPEATED = 8, /* stride 0, in inputs */
    LIES_ANYHOW = 15
};

enum { DEVICE_DIMS = 16 };
typedef struct device_operand {
    hunze_tensor tensor; /* on the CPU; data NULL: absent */
    hunze_type type;
    int64_t shape[DEVICE_DIMS], strides[DEVICE_DIMS];
    char *memory;
    size_t bytes;
    void *gpu; /* where memory's copy is */
} device_operand;

/* order: axes from the outermost to the innermost, NULL: as they are. */
void device_place(device_operand *operand, hunze_context *context, harness_rng *rng, hunze_type type, int ndim,
                  const int64_t *shape, const int *order, unsigned lies, harness_values values);
void device_free(hunze_context *context, device_operand *operand);

typedef struct device_case {
    char text[256]; /* for messages */
    hunze_op op;
    device_operand a, b, c, d, bias, residual;
    hunze_activation activation; /* struct_size is set by the run */
    double alpha, beta;
    hunze_gemm_options gemm;
    hunze_conv_options conv;
    hunze_activation_options activate;
    uint32_t flags;
    const char *kernel; /* on the device */
} device_case;

/* Runs it on both; frees the operands. */
void device_check(hunze_context *context, device_case *c);
/* Runs it on the device. */
hunze_status device_try(hunze_context *context, device_case *c);
/* The same, which goes well; memory: all that D has there.  Frees nothing. */
void device_run(hunze_context *context, device_case *c, char *memory);
void device_drop(hunze_context *context, device_case *c);

/* Counters of a kernel since the last reset. */
hunze_emulator_counters device_counters(const char *kernel);
void device_reset_counters(void);
void device_count_banks(bool counted);

#endif
