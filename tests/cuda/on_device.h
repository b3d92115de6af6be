/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of the CPU and the same on a device, for tests that compare what both compute bit by bit. */
#ifndef HUNZE_TESTS_ON_DEVICE_H
#define HUNZE_TESTS_ON_DEVICE_H

#include "../c/strided.h"
#include "emulator/launch.h"

#include <dlfcn.h>
#include <stdio.h>

static const hunze_device the_cpu = {HUNZE_DEVICE_CPU, 0}, the_device = {HUNZE_DEVICE_CUDA, 0};
static hunze_context *context; /* of both */

static inline int make_context(void **unused)
{
    (void)unused;
    return hunze_context_create(NULL, &context) != HUNZE_OK;
}

static inline int release_context(void **unused)
{
    (void)unused;
    hunze_context_release(context);
    return 0;
}

static inline hunze_tensor bytes_at(hunze_device device, void *data, int64_t *count)
{
    return (hunze_tensor){data, device, 1, {HUNZE_UINT, 8, 1}, count, NULL, 0};
}

static inline void copy_bytes(hunze_device from_device, void *from, hunze_device to_device, void *to, int64_t count)
{
    const hunze_tensor a = bytes_at(from_device, from, &count), b = bytes_at(to_device, to, &count);
    check_status(hunze_copy(context, &a, &b, NULL), HUNZE_OK);
}

/* A tensor's memory on the device: the bytes that it touches, `shift` bytes behind where an allocation begins and up to its end. */
enum { TWINS = 16 };
typedef struct twin {
    hunze_tensor tensor;
    const hunze_tensor *of;
    char *first; /* of the CPU's bytes */
    void *memory;
    int64_t shift, bytes, allocated;
} twin;
static twin twins[TWINS];
static int twin_count;

static inline const hunze_tensor *to_device(const hunze_tensor *of, int64_t shift)
{
    if (!of)
        return NULL;
    harness_check(twin_count < TWINS, "a case has more than %d operands", TWINS);
    twin *t = &twins[twin_count++];
    const hunze_extent extent = hunze_tensor_extent(of);
    *t = (twin){.tensor = *of, .of = of, .shift = shift, .bytes = extent.high - extent.low};
    t->first = (char *)hunze_data(of) + extent.low;
    t->allocated = shift + (t->bytes ? t->bytes : 1);
    check_status(hunze_memory_alloc(context, the_device, (size_t)t->allocated, NULL, &t->memory), HUNZE_OK);
    copy_bytes(the_cpu, t->first, the_device, (char *)t->memory + shift, t->bytes);
    t->tensor.device = the_device;
    t->tensor.data = t->memory;
    t->tensor.byte_offset = (uint64_t)(shift - extent.low);
    return &t->tensor;
}

/* The bytes of a tensor's memory, freed by the caller. */
static inline char *from_device(const hunze_tensor *tensor)
{
    for (int i = 0; i < twin_count; i++)
        if (tensor == &twins[i].tensor) {
            char *bytes = malloc((size_t)twins[i].bytes + 1);
            copy_bytes(the_device, (char *)twins[i].memory + twins[i].shift, the_cpu, bytes, twins[i].bytes);
            return bytes;
        }
    harness_fail("this tensor is not on the device");
}

static inline void drop_twins(void)
{
    for (int i = 0; i < twin_count; i++)
        check_status(hunze_memory_free(context, the_device, twins[i].memory, (size_t)twins[i].allocated, NULL),
                     HUNZE_OK);
    twin_count = 0;
}

/* A quant whose tensors are on the device; NULL stays NULL. */
static inline const hunze_quant *quant_to_device(const hunze_quant *of, hunze_quant *to)
{
    if (!of)
        return NULL;
    *to = *of;
    to->scale = to_device(of->scale, 0);
    to->zero_point = to_device(of->zero_point, 0);
    return to;
}

/* The device's bytes of a tensor are those that the CPU's tensor has by now, gaps too; any NaN is any NaN. */
static inline void check_same(const hunze_tensor *device, const hunze_tensor *cpu, const char *what)
{
    char *got = from_device(device);
    const hunze_extent extent = hunze_tensor_extent(cpu);
    char *first = (char *)hunze_data(cpu) + extent.low;
    const hunze_type type = hunze_type_of(cpu->dtype);
    const int64_t size = cpu->dtype.bits / 8, count = hunze_count(cpu);
    for (int64_t i = 0; i < count && memcmp(got, first, (size_t)(extent.high - extent.low)); i++) {
        int64_t at = 0, rest = i;
        for (int axis = cpu->ndim - 1; axis >= 0; axis--) {
            at += rest % cpu->shape[axis] * hunze_stride(cpu, axis) * size;
            rest /= cpu->shape[axis];
        }
        char *device_at = got - extent.low + at, *cpu_at = first - extent.low + at;
        harness_check(harness_same(type, device_at, cpu_at), "%s: element %lld is %s on the device, %s on the CPU",
                      what, (long long)i, harness_show(type, device_at), harness_show(type, cpu_at));
        memcpy(device_at, cpu_at, (size_t)size);
    }
    harness_check(!memcmp(got, first, (size_t)(extent.high - extent.low)), "%s: bytes between the elements changed",
                  what);
    free(got);
}

/* ------------------------------------------------------------------ what kernels did */

/* A real driver has none of these: there the test is skipped from here on. */
static inline void *standin_symbol(const char *name)
{
    static void *library;
    if (!library)
        library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    harness_check(library, "%s", dlerror());
    void *symbol = dlsym(library, name);
    if (!symbol && !dlsym(library, "hunze_standin_calls")) {
        printf("not run here from this point on, for a real driver has no %s\n", name);
        drop_twins();
        skip();
    }
    harness_check(symbol, "no %s in the driver", name);
    return symbol;
}

/* All but NULL after the kernel's name: since the last reset. */
static inline hunze_emulator_counters counters_of(const char *kernel)
{
    hunze_emulator_counters counters = {0};
    __typeof__(&hunze_emulator_get_counters) get;
    *(void **)&get = standin_symbol("hunze_emulator_get_counters");
    harness_check(get(kernel, &counters), "no kernel %s", kernel);
    return counters;
}

static inline void reset_counters(void)
{
    __typeof__(&hunze_emulator_reset_counters) reset;
    *(void **)&reset = standin_symbol("hunze_emulator_reset_counters");
    reset();
}

static inline void count_banks(bool counted)
{
    __typeof__(&hunze_emulator_set_banks) set;
    *(void **)&set = standin_symbol("hunze_emulator_set_banks");
    set(counted);
}

#endif
