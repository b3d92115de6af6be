/* SPDX-License-Identifier: Apache-2.0
 * What a device gives, for hunze.tune: copies to it, from it and on it, products, and how fast one call follows another. */
#include "binding.h"

#include <string.h>
#include <time.h>

enum { COPY_BYTES = 256 << 20, LEAST_SIDE = 128, MOST_SIDE = 8192 };

typedef struct Rate {
    hunze_context *context;
    hunze_device device;
    void *stream;
    double seconds, best; /* to measure; per second */
    void *blocks[3];      /* of the device, or pinned */
    hunze_device places[3];
    size_t bytes[3];
} Rate;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static hunze_status take(Rate *r, int index, bool pinned, size_t bytes)
{
    r->places[index] = (hunze_device){pinned ? HUNZE_DEVICE_CUDA_HOST : HUNZE_DEVICE_CUDA, r->device.id};
    r->bytes[index] = bytes;
    return hunze_memory_alloc(r->context, r->places[index], bytes, r->stream, &r->blocks[index]);
}

static void give_back(Rate *r)
{
    for (int i = 0; i < 3; i++) {
        if (r->blocks[i])
            hunze_memory_free(r->context, r->places[i], r->blocks[i], r->bytes[i], r->stream);
        r->blocks[i] = NULL;
    }
}

static hunze_status wait_for(const Rate *r) { return hunze_stream_synchronize(r->context, r->device, r->stream); }

/* `work` again and again until the time is over, each alone; `amount` is what one does. */
static hunze_status repeat(Rate *r, hunze_status (*work)(Rate *r, const void *user), const void *user, double amount)
{
    const double begin = now();
    TRY(work(r, user)); /* loads what is loaded once */
    TRY(wait_for(r));
    do {
        const double start = now();
        TRY(work(r, user));
        TRY(wait_for(r));
        const double took = now() - start;
        if (took > 0 && amount / took > r->best)
            r->best = amount / took;
    } while (now() - begin < r->seconds);
    return HUNZE_OK;
}

static hunze_status copy_once(Rate *r, const void *user)
{
    int64_t count = (int64_t)r->bytes[0];
    const hunze_run run = {.struct_size = sizeof run, .stream = r->stream};
    const hunze_tensor from = {r->blocks[0], r->places[0], 1, DTYPE_U8, &count, NULL, 0};
    const hunze_tensor to = {r->blocks[1], r->places[1], 1, DTYPE_U8, &count, NULL, 0};
    (void)user;
    return hunze_copy(r->context, &from, &to, &run);
}

/* A quarter of so many bytes where the device has no more. */
static hunze_status measure_copy(Rate *r, bool from_pinned, bool to_pinned)
{
    hunze_status status = HUNZE_ERR_NOMEM;
    for (size_t bytes = COPY_BYTES; status == HUNZE_ERR_NOMEM && bytes >= 1 << 20; bytes /= 4) {
        give_back(r);
        status = take(r, 0, from_pinned, bytes);
        if (status == HUNZE_OK)
            status = take(r, 1, to_pinned, bytes);
    }
    TRY(status);
    return repeat(r, copy_once, NULL, (from_pinned || to_pinned ? 1.0 : 2.0) * (double)r->bytes[0]);
}

typedef struct Product {
    int64_t side;
    hunze_dtype a, b, d;
} Product;

static hunze_status multiply(Rate *r, const void *user)
{
    const Product *p = user;
    int64_t shape[2] = {p->side, p->side};
    const hunze_run run = {.struct_size = sizeof run, .stream = r->stream};
    const hunze_tensor a = {r->blocks[0], r->device, 2, p->a, shape, NULL, 0};
    const hunze_tensor b = {r->blocks[1], r->device, 2, p->b, shape, NULL, 0};
    const hunze_tensor d = {r->blocks[2], r->device, 2, p->d, shape, NULL, 0};
    return hunze_gemm(r->context, &a, &b, NULL, &d, NULL, &run);
}

/* Larger and larger, until one product takes a part of the time that is to be filled. */
static hunze_status measure_product(Rate *r, hunze_dtype a, hunze_dtype b, hunze_dtype d)
{
    Product p = {LEAST_SIDE, a, b, d};
    for (;; p.side *= 2) {
        const size_t count = (size_t)p.side * (size_t)p.side;
        give_back(r);
        for (int i = 0; i < 3; i++) {
            const hunze_dtype dtype = (const hunze_dtype[]){a, b, d}[i];
            TRY(take(r, i, false, count * dtype.bits / 8));
        }
        const double begin = now();
        TRY(repeat(r, multiply, &p, 2.0 * (double)p.side * (double)p.side * (double)p.side));
        if (now() - begin > 2 * r->seconds || p.side == MOST_SIDE)
            return HUNZE_OK;
    }
}

static hunze_status activate_one(Rate *r, const void *user)
{
    int64_t one = 1;
    const hunze_run run = {.struct_size = sizeof run, .stream = r->stream};
    const hunze_tensor x = {r->blocks[0], r->device, 1, DTYPE_F32, &one, NULL, 0};
    (void)user;
    return hunze_activate(r->context, &x, &x, NULL, &run);
}

static hunze_status measure(Rate *r, const char *what)
{
    static const struct {
        const char *name;
        hunze_dtype a, b, d;
    } products[] = {
        {"f32", DTYPE_F32, DTYPE_F32, DTYPE_F32},    {"f64", DTYPE_F64, DTYPE_F64, DTYPE_F64},
        {"bf16", DTYPE_BF16, DTYPE_BF16, DTYPE_F32}, {"f16", DTYPE_F16, DTYPE_F16, DTYPE_F32},
        {"u8s8", DTYPE_U8, DTYPE_S8, DTYPE_S32},
    };
    if (strcmp(what, "to") == 0)
        return measure_copy(r, true, false);
    if (strcmp(what, "from") == 0)
        return measure_copy(r, false, true);
    if (strcmp(what, "copy") == 0)
        return measure_copy(r, false, false);
    for (size_t i = 0; i < sizeof products / sizeof products[0]; i++)
        if (strcmp(what, products[i].name) == 0)
            return measure_product(r, products[i].a, products[i].b, products[i].d);
    TRY(take(r, 0, false, sizeof(float)));
    return repeat(r, activate_one, NULL, 1);
}

/* _device_rate(device, what, seconds): bytes, operations or calls per second; 0.0 where the device has no kernel for it. */
PyObject *binding_device_rate(PyObject *module, PyObject *arguments)
{
    const char *what;
    Active active;
    Rate rate = {.device = {HUNZE_DEVICE_CUDA, 0}};
    if (!PyArg_ParseTuple(arguments, "isd:_device_rate", &rate.device.id, &what, &rate.seconds) ||
        !active_settings(state_of(module), &active))
        return NULL;
    rate.context = active.context;
    PyThreadState *thread = PyEval_SaveThread();
    hunze_status status = hunze_stream_create(rate.context, rate.device, &rate.stream);
    if (status == HUNZE_OK)
        status = measure(&rate, what);
    PyEval_RestoreThread(thread);
    PyObject *result = status == HUNZE_OK                ? PyFloat_FromDouble(rate.best)
                       : status == HUNZE_ERR_UNSUPPORTED ? PyFloat_FromDouble(0)
                                                         : raise_status(status, "tune");
    if (rate.stream) {
        give_back(&rate);
        hunze_stream_destroy(rate.context, rate.device, rate.stream);
    }
    return result;
}
