/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the CUDA runtime on the stand-in driver, and on a real one: there a case is skipped from where it needs the stand-in, and says so.
 * Each case is a process of its own, since a process opens the driver once. */
#ifndef HUNZE_TESTS_CUDA_TEST_H
#define HUNZE_TESTS_CUDA_TEST_H

#include "driver/standin.h"
#include "hunze.h"

#include <cudaTypedefs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct cuda_case {
    const char *name;
    void (*run)(void);
    const char *machine;  /* HUNZE_FAKE_CUDA; NULL: one device; "sms=N" is no hindrance on a real driver */
    const char *failures; /* HUNZE_FAKE_CUDA_FAIL */
} cuda_case;
/* Runs each case in a child as one cmocka test; argv[1], if given, keeps those whose name contains it. */
int cuda_test_main(int argc, char **argv, const cuda_case *cases, int count);

/* Ends the case with a sentence. */
__attribute__((format(printf, 3, 4), noreturn)) void cuda_test_fail(const char *file, int line, const char *format,
                                                                    ...);
#define check(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            cuda_test_fail(__FILE__, __LINE__, __VA_ARGS__);                                                           \
    } while (0)
/* The status is that one, and the sentence has each of the words (NULL after the last). */
void expect_status(const char *file, int line, const char *what, hunze_status got, hunze_status wanted, ...);
#define OK(expression) expect_status(__FILE__, __LINE__, #expression, expression, HUNZE_OK, NULL)
#define REFUSED(status, expression, ...)                                                                               \
    expect_status(__FILE__, __LINE__, #expression, expression, HUNZE_ERR_##status, __VA_ARGS__, NULL)

/* ------------------------------------------------------------------ the stand-in */

bool on_standin(void);
/* The case ends as one that is not for this machine. */
__attribute__((noreturn)) void end_here(const char *why);
/* The case ends here where the driver is a real one. */
void standin_only(const char *what);
void *standin_symbol(const char *name);      /* ends it likewise */
void standin_failures(const char *failures); /* "cuMemAlloc:1:CUDA_ERROR_…", counted from now on */
/* Calls of a function, and contexts on this thread's stack.  A real driver does not tell, so both are 0 there; judge by standin_check. */
uint64_t standin_count(const char *function);
int standin_depth(void);
#define standin_check(condition, ...)                                                                                  \
    do {                                                                                                               \
        if (on_standin())                                                                                              \
            check(condition, __VA_ARGS__);                                                                             \
        else                                                                                                           \
            printf("%s:%d: not checked here, for only the stand-in driver tells\n", __FILE__, __LINE__);               \
    } while (0)
void *driver_function(const char *name, int version);
/* A function of the driver as a program beside Hunze calls it. */
#define DRIVER(name, version) ((PFN_##name##_v##version)driver_function(#name, version))
#define DRIVER_OK(expression) check((expression) == CUDA_SUCCESS, "%s", #expression)
/* Bytes of device memory that nobody holds; with a current context. */
size_t free_bytes(void);

/* ------------------------------------------------------------------ operands */

extern const hunze_device cpu, cuda0, cuda1, pinned;

typedef struct array {
    hunze_tensor tensor;
    int64_t shape[4], strides[4];
} array;
/* A view; strides NULL: row-major.  Returns &a->tensor. */
const hunze_tensor *view(array *a, hunze_device device, hunze_dtype dtype, void *data, int ndim, const int64_t *shape,
                         const int64_t *strides);
const hunze_tensor *floats(array *a, hunze_device device, void *data, int64_t n);

hunze_context *new_context(const hunze_context_options *options);
/* Device memory with these floats, through hunze_memory_alloc and hunze_copy. */
void *to_gpu(hunze_context *context, hunze_device device, void *stream, const float *values, int64_t n);
void from_gpu(hunze_context *context, hunze_device device, void *stream, void *pointer, float *values, int64_t n);

/* max(x, 0) of n floats on a device. */
hunze_status relu(hunze_context *context, hunze_device device, void *x, void *y, int64_t n, void *stream);

#endif
