/* SPDX-License-Identifier: Apache-2.0 */
#include "device_case.h"

static const hunze_dtype bytes_of_memory = {HUNZE_UINT, 8, 1};

/* ------------------------------------------------------------------ operands */

static void copy_memory(hunze_context *context, const device_operand *o, bool to_gpu, void *memory)
{
    const int64_t bytes = (int64_t)o->bytes;
    array on_cpu, on_gpu;
    view(&on_cpu, cpu, bytes_of_memory, memory, 1, &bytes, NULL);
    view(&on_gpu, cuda0, bytes_of_memory, o->gpu, 1, &bytes, NULL);
    OK(hunze_copy(context, to_gpu ? &on_cpu.tensor : &on_gpu.tensor, to_gpu ? &on_gpu.tensor : &on_cpu.tensor, NULL));
    OK(hunze_stream_synchronize(context, cuda0, NULL));
}

void device_place(device_operand *o, hunze_context *context, harness_rng *rng, hunze_type type, int ndim,
                  const int64_t *shape, const int *order, unsigned lies, harness_values values)
{
    const size_t size = harness_bytes(type);
    int64_t span = 1, first = lies & LIES_LATE ? harness_between(rng, 0, 1) : 0, end = 1;
    *o = (device_operand){.type = type};
    for (int i = ndim - 1; i >= 0; i--) {
        const int axis = order ? order[i] : i;
        const int64_t extent = shape[axis] > 0 ? shape[axis] : 1;
        if (lies & LIES_WITH_GAPS && harness_between(rng, 0, 1))
            span += harness_between(rng, 1, 5);
        o->shape[axis] = shape[axis];
        o->strides[axis] = span;
        if (lies & LIES_REPEATED && harness_between(rng, 0, 3) == 0) {
            o->strides[axis] = 0;
            continue;
        }
        span *= extent;
        if (lies & LIES_BACKWARDS && harness_between(rng, 0, 3) == 0) {
            o->strides[axis] = -o->strides[axis];
            first -= o->strides[axis] * (extent - 1);
        }
    }
    end += first;
    for (int axis = 0; axis < ndim; axis++)
        end += o->strides[axis] > 0 && shape[axis] > 0 ? o->strides[axis] * (shape[axis] - 1) : 0;
    o->bytes = (size_t)end * size;
    o->memory = malloc(o->bytes);
    check(o->memory, "no memory for an operand");
    harness_fill(rng, type, o->memory, end, values);
    o->tensor =
        (hunze_tensor){o->memory + (size_t)first * size, cpu, ndim, harness_dtype(type), o->shape, o->strides, 0};
    OK(hunze_memory_alloc(context, cuda0, o->bytes, NULL, &o->gpu));
    copy_memory(context, o, true, o->memory);
}

void device_free(hunze_context *context, device_operand *o)
{
    if (!o->memory)
        return;
    OK(hunze_memory_free(context, cuda0, o->gpu, o->bytes, NULL));
    free(o->memory);
    o->memory = NULL;
}

static const hunze_tensor *place(device_operand *o, hunze_tensor *to, bool on_gpu)
{
    if (!o->memory)
        return NULL;
    *to = o->tensor;
    to->shape = o->shape; /* cases are copied */
    to->strides = o->strides;
    if (on_gpu) {
        to->data = (char *)o->gpu + ((char *)o->tensor.data - o->memory);
        to->device = cuda0;
    }
    return to;
}

/* ------------------------------------------------------------------ a case */

static hunze_status run(hunze_context *context, device_case *c, bool on_gpu)
{
    hunze_tensor a, b, c_in, d, bias, residual;
    const hunze_tensor *x = place(&c->a, &a, on_gpu), *w = place(&c->b, &b, on_gpu), *y = place(&c->d, &d, on_gpu);
    c->activation.struct_size = sizeof c->activation;
    c->gemm.struct_size = sizeof c->gemm;
    c->conv.struct_size = sizeof c->conv;
    c->activate.struct_size = sizeof c->activate;
    c->gemm.alpha = &c->alpha;
    c->gemm.beta = &c->beta;
    c->gemm.bias = c->conv.bias = place(&c->bias, &bias, on_gpu);
    c->gemm.residual = c->conv.residual = place(&c->residual, &residual, on_gpu);
    c->gemm.activation = c->conv.activation = c->activate.activation = c->activation.kind ? &c->activation : NULL;
    c->gemm.flags = c->conv.flags = c->activate.flags = c->flags;
    c->gemm.kernel = c->conv.kernel = c->activate.kernel = on_gpu ? c->kernel : NULL;
    switch (c->op) {
    case HUNZE_OP_GEMM: return hunze_gemm(context, x, w, place(&c->c, &c_in, on_gpu), y, &c->gemm, NULL);
    case HUNZE_OP_CONV: return hunze_conv(context, x, w, y, &c->conv, NULL);
    case HUNZE_OP_CONV_TRANSPOSE: return hunze_conv_transpose(context, x, w, y, &c->conv, NULL);
    default: return hunze_activate(context, x, y, &c->activate, NULL);
    }
}

hunze_status device_try(hunze_context *context, device_case *c) { return run(context, c, true); }

void device_run(hunze_context *context, device_case *c, char *memory)
{
    const hunze_status status = device_try(context, c);
    check(status == HUNZE_OK, "%s: on the device: %s: %s", c->text, hunze_status_name(status), hunze_last_error());
    copy_memory(context, &c->d, false, memory);
}

void device_drop(hunze_context *context, device_case *c)
{
    device_operand *const operands[] = {&c->a, &c->b, &c->c, &c->d, &c->bias, &c->residual};
    if (c->a.memory == c->d.memory || c->c.memory == c->d.memory) /* in place */
        c->d.memory = NULL;
    for (int i = 0; i < 6; i++)
        device_free(context, operands[i]);
}

void device_check(hunze_context *context, device_case *c)
{
    const hunze_status status = run(context, c, false);
    check(status == HUNZE_OK, "%s: on the CPU: %s: %s", c->text, hunze_status_name(status), hunze_last_error());
    char *got = malloc(c->d.bytes);
    const size_t size = harness_bytes(c->d.type);
    device_run(context, c, got);
    for (size_t at = 0; at < c->d.bytes; at += size) {
        const char *mine = got + at, *expected = c->d.memory + at;
        check(c->flags & HUNZE_REPRODUCIBLE ? !memcmp(mine, expected, size) : harness_same(c->d.type, mine, expected),
              "%s: element %zu of d's memory is %s on the device, %s on the CPU", c->text, at / size,
              harness_show(c->d.type, mine), harness_show(c->d.type, expected));
    }
    free(got);
    device_drop(context, c);
}

/* ------------------------------------------------------------------ what the emulator counted */

hunze_emulator_counters device_counters(const char *kernel)
{
    hunze_emulator_counters counters = {0};
    check(((__typeof__(&hunze_emulator_get_counters))standin_symbol("hunze_emulator_get_counters"))(kernel, &counters),
          "there is no kernel %s", kernel);
    return counters;
}

void device_reset_counters(void)
{
    ((__typeof__(&hunze_emulator_reset_counters))standin_symbol("hunze_emulator_reset_counters"))();
}

void device_count_banks(bool counted)
{
    ((__typeof__(&hunze_emulator_set_banks))standin_symbol("hunze_emulator_set_banks"))(counted);
}
