/* SPDX-License-Identifier: Apache-2.0 */
/* Which element types a product takes together: every combination is accepted or refused as hunze.h says; and those of bf16 and f16 have the
 * bits of the same product in f32, rounded once. */
#include "harness.h"
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { M = 7, N = 21, K = 40 };
#define NONE HUNZE_TYPE_NONE

static hunze_context *context;

/* A matrix of m rows of n with its memory; type NONE: absent. */
typedef struct matrix {
    hunze_type type;
    hunze_tensor tensor;
    int64_t shape[2];
    char memory[M * K * 8 + K * N * 8];
} matrix;

typedef struct product {
    matrix a, b, c, d, bias, residual;
    double alpha, beta;
    hunze_gemm_options options;
} product;

static const hunze_tensor *given(const matrix *x) { return x->type == NONE ? NULL : &x->tensor; }

static void make(matrix *x, harness_rng *rng, hunze_type type, int64_t m, int64_t n)
{
    x->type = type;
    x->shape[0] = m;
    x->shape[1] = n;
    x->tensor = (hunze_tensor){x->memory, {HUNZE_DEVICE_CPU, 0}, 2, harness_dtype(type), x->shape, NULL, 0};
    if (harness_is_float(type))
        harness_fill(rng, type, x->memory, m * n, HARNESS_UNIFORM);
    else if (type != NONE)
        for (int64_t i = 0; i < m * n; i++)
            harness_set(type, x->memory, i, (double)harness_between(rng, 0, 100));
}

/* The values of x as f32. */
static void make_wide(matrix *x, const matrix *from)
{
    harness_rng unused = {0};
    make(x, &unused, from->type == NONE ? NONE : HUNZE_TYPE_F32, from->shape[0], from->shape[1]);
    for (int64_t i = 0; x->type != NONE && i < x->shape[0] * x->shape[1]; i++)
        harness_set(HUNZE_TYPE_F32, x->memory, i, harness_get(from->type, from->memory, i));
}

static void set_options(product *p)
{
    p->alpha = harness_is_float(p->a.type) ? 0.75 : 1;
    p->beta = -2;
    p->options = (hunze_gemm_options){.struct_size = sizeof p->options,
                                      .alpha = &p->alpha,
                                      .beta = p->c.type == NONE ? NULL : &p->beta,
                                      .bias = given(&p->bias),
                                      .residual = given(&p->residual)};
}

static hunze_status run(product *p, uint32_t flags)
{
    set_options(p);
    p->options.flags = flags;
    return hunze_gemm(context, &p->a.tensor, &p->b.tensor, given(&p->c), &p->d.tensor, &p->options, NULL);
}

static bool is_narrow(hunze_type type) { return type == HUNZE_TYPE_BF16 || type == HUNZE_TYPE_F16; }

/* What hunze.h promises of products without scales. */
static bool is_taken(const product *p)
{
    const hunze_type a = p->a.type, d = p->d.type, addends[] = {p->bias.type, p->residual.type};
    if (a == HUNZE_TYPE_U8 || a == HUNZE_TYPE_S8)
        return (p->b.type == HUNZE_TYPE_S8 || p->b.type == HUNZE_TYPE_U8) && d == HUNZE_TYPE_S32 && p->c.type == NONE &&
               p->residual.type == NONE && (p->bias.type == NONE || p->bias.type == HUNZE_TYPE_S32);
    if (p->b.type != a || (p->c.type != NONE && p->c.type != d))
        return false;
    if (d != a && !(is_narrow(a) && d == HUNZE_TYPE_F32))
        return false;
    for (int i = 0; i < 2; i++)
        if (addends[i] != NONE && addends[i] != a && !(is_narrow(a) && addends[i] == HUNZE_TYPE_F32))
            return false;
    return true;
}

/* Reproducible: then bf16 and f16 have f32's bits on every CPU. */
static void compare_with_f32(product *p, const char *before)
{
    static product wide;
    const char *d = p->d.memory;
    memcpy(p->d.memory, before, sizeof p->d.memory);
    harness_check(run(p, HUNZE_REPRODUCIBLE) == HUNZE_OK, "reproducible: %s", hunze_last_error());
    make_wide(&wide.a, &p->a);
    make_wide(&wide.b, &p->b);
    make_wide(&wide.c, &p->c);
    make_wide(&wide.d, &p->d);
    make_wide(&wide.bias, &p->bias);
    make_wide(&wide.residual, &p->residual);
    harness_check(run(&wide, HUNZE_REPRODUCIBLE) == HUNZE_OK, "in f32: %s", hunze_last_error());
    for (int64_t i = 0; i < M * N; i++) {
        char want[4];
        harness_set(p->d.type, want, 0, harness_get(HUNZE_TYPE_F32, wide.d.memory, i));
        harness_check(harness_same(p->d.type, d + i * (int64_t)harness_bytes(p->d.type), want),
                      "element %lld is %s, f32's rounded %s", (long long)i,
                      harness_show(p->d.type, d + i * (int64_t)harness_bytes(p->d.type)),
                      harness_show(p->d.type, want));
    }
}

static int taken, narrow;

static void check(harness_rng *rng, const hunze_type types[6])
{
    static product p;
    make(&p.a, rng, types[0], M, K);
    make(&p.b, rng, types[1], K, N);
    make(&p.d, rng, types[2], M, N);
    make(&p.c, rng, types[3], M, N);
    make(&p.bias, rng, types[4], 1, N);
    make(&p.residual, rng, types[5], M, N);
    static char before[sizeof p.d.memory];
    memcpy(before, p.d.memory, sizeof before);
    harness_case("types a %d b %d d %d c %d bias %d residual %d", types[0], types[1], types[2], types[3], types[4],
                 types[5]);
    const hunze_status status = run(&p, 0);
    if (is_taken(&p)) {
        harness_check(status == HUNZE_OK, "refused: %s", hunze_last_error());
        taken++;
        if (is_narrow(types[0])) {
            narrow++;
            compare_with_f32(&p, before);
        }
        return;
    }
    harness_check(status == HUNZE_ERR_DTYPE || status == HUNZE_ERR_UNSUPPORTED || status == HUNZE_ERR_OPTION, "%s",
                  hunze_status_name(status));
    harness_check(status == HUNZE_ERR_DTYPE || !harness_is_float(types[0]) || !harness_is_float(types[1]), "%s: %s",
                  hunze_status_name(status), hunze_last_error());
    harness_check(hunze_last_error()[0] && !memcmp(before, p.d.memory, sizeof before), "d changed");
}

static void types_together(void **state)
{
    (void)state;
    harness_begin("types");
    harness_rng rng = {81};
    for (hunze_type a = HUNZE_TYPE_F32; a < HUNZE_TYPE_COUNT; a++)
        for (hunze_type b = HUNZE_TYPE_F32; b < HUNZE_TYPE_COUNT; b++)
            for (hunze_type d = HUNZE_TYPE_F32; d < HUNZE_TYPE_COUNT; d++)
                for (hunze_type other = NONE; other < HUNZE_TYPE_COUNT; other++)
                    for (int role = 3; role < 6; role++) {
                        hunze_type types[6] = {a, b, d, NONE, NONE, NONE};
                        types[role] = other;
                        check(&rng, types);
                    }
    /* Both addends at once, of every mixture. */
    for (hunze_type a = HUNZE_TYPE_BF16; a <= HUNZE_TYPE_F16; a++)
        for (int mixture = 0; mixture < 8; mixture++)
            check(&rng, (hunze_type[]){a, a, mixture & 1 ? a : HUNZE_TYPE_F32, mixture & 1 ? a : HUNZE_TYPE_F32,
                                       mixture & 2 ? a : HUNZE_TYPE_F32, mixture & 4 ? a : HUNZE_TYPE_F32});
    harness_check(taken > 40 && narrow > 30, "only %d combinations were taken, %d of them with 16 bits", taken, narrow);
}

/* Convolutions have no kernel of these types on CPUs yet: each op says so before it writes. */
static void convolutions_are_refused(void **state)
{
    (void)state;
    harness_begin("convolutions");
    static char x[512], w[512], y[512], blob[4096] __attribute__((aligned(64)));
    int64_t shape[4] = {1, 2, 5, 5}, kernel[4] = {2, 2, 1, 1}, count = sizeof blob / 8;
    for (hunze_type type = HUNZE_TYPE_BF16; type <= HUNZE_TYPE_F16; type++) {
        const hunze_tensor tx = {x, {HUNZE_DEVICE_CPU, 0}, 4, harness_dtype(type), shape, NULL, 0},
                           tw = {w, {HUNZE_DEVICE_CPU, 0}, 4, harness_dtype(type), kernel, NULL, 0},
                           ty = {y, {HUNZE_DEVICE_CPU, 0}, 4, harness_dtype(type), shape, NULL, 0},
                           packed = {blob, {HUNZE_DEVICE_CPU, 0}, 1, {HUNZE_OPAQUE_HANDLE, 64, 1}, &count, NULL, 0};
        memset(y, 0x5A, sizeof y);
        harness_check(hunze_conv(context, &tx, &tw, &ty, NULL, NULL) == HUNZE_ERR_UNSUPPORTED &&
                          strstr(hunze_last_error(), "not convolutions"),
                      "conv: %s", hunze_last_error());
        harness_check(hunze_conv_transpose(context, &tx, &tw, &ty, NULL, NULL) == HUNZE_ERR_DTYPE, "conv_transpose: %s",
                      hunze_last_error());
        const hunze_pack_options options = {.struct_size = sizeof options, .op = HUNZE_OP_CONV};
        harness_check(hunze_pack(context, &tw, &packed, &options, NULL) == HUNZE_ERR_UNSUPPORTED &&
                          strstr(hunze_last_error(), "not convolutions"),
                      "pack: %s", hunze_last_error());
        for (size_t i = 0; i < sizeof y; i++)
            harness_check(y[i] == 0x5A, "y changed");
    }
}

/* What a blob says of its weights: all finite, or not. */
static void packing_looks_for_infinities(void **state)
{
    (void)state;
    harness_begin("packing");
    static char blob[4096] __attribute__((aligned(64)));
    int64_t shape[2] = {5, 3}, count = sizeof blob / 8;
    for (hunze_type type = HUNZE_TYPE_F32; type <= HUNZE_TYPE_F16; type++)
        for (int bad = -1; bad < 15 && harness_is_float(type); bad++)
            for (int infinite = 0; infinite < 2; infinite++) {
                char w[15 * 8];
                for (int i = 0; i < 15; i++)
                    harness_set(type, w, i, i == bad ? infinite ? INFINITY : NAN : i % 2 ? -60000 : 0x1p-20);
                const hunze_tensor tw = {w, {HUNZE_DEVICE_CPU, 0}, 2, harness_dtype(type), shape, NULL, 0},
                                   packed = {blob, {HUNZE_DEVICE_CPU, 0}, 1, {HUNZE_OPAQUE_HANDLE, 64, 1}, &count, NULL,
                                             0};
                harness_case("type %d, element %d", type, bad);
                harness_check(hunze_pack(context, &tw, &packed, NULL, NULL) == HUNZE_OK, "%s", hunze_last_error());
                hunze_packed_header header;
                memcpy(&header, blob, sizeof header);
                harness_check(header.type == type && header.flags == (bad < 0 ? HUNZE_PACKED_FINITE : 0),
                              "type %d, flags %d", header.type, header.flags);
            }
}

int main(void)
{
    const hunze_context_options options = {.struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT};
    if (hunze_context_create(&options, &context) != HUNZE_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(types_together), cmocka_unit_test(convolutions_are_refused),
                                       cmocka_unit_test(packing_looks_for_infinities)};
    const int failed = cmocka_run_group_tests_name("types", tests, NULL, NULL);
    hunze_context_release(context);
    return failed;
}
