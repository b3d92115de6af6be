/* SPDX-License-Identifier: Apache-2.0 */
/* Where a kernel's bounds matter by one: operands that end with their allocation, right behind a tile or a vector; small, and each for one kernel.
 * `mutants.py --kernels` tells what is missing here. */
#include "../../src/internal.h"
#include "device_case.h"
#include "device_row.h"

/* ------------------------------------------------------------------ products */

static void check_product(hunze_type a, hunze_type b, hunze_type d, int64_t m, int64_t n, int64_t k, bool with_c)
{
    hunze_context *context = new_context(NULL);
    harness_rng rng = {101};
    device_case c = {.op = HUNZE_OP_GEMM, .alpha = 1, .beta = with_c ? 0.5 : 0};
    snprintf(c.text, sizeof c.text, "%s: %lld x %lld x %lld", hunze_type_name(a), (long long)m, (long long)n,
             (long long)k);
    device_place(&c.a, context, &rng, a, 2, (const int64_t[]){m, k}, NULL, 0, HARNESS_UNIFORM);
    device_place(&c.b, context, &rng, b, 2, (const int64_t[]){k, n}, NULL, 0, HARNESS_UNIFORM);
    device_place(&c.d, context, &rng, d, 2, (const int64_t[]){m, n}, NULL, 0, HARNESS_UNIFORM);
    if (with_c)
        device_place(&c.c, context, &rng, d, 2, (const int64_t[]){m, n}, NULL, 0, HARNESS_UNIFORM);
    device_check(context, &c);
    hunze_context_release(context);
}

/* C's last row is the allocation's. */
static void what_is_added_ends(void)
{
    check_product(HUNZE_TYPE_F32, HUNZE_TYPE_F32, HUNZE_TYPE_F32, 70, 66, 5, true);
    check_product(HUNZE_TYPE_F64, HUNZE_TYPE_F64, HUNZE_TYPE_F64, 70, 66, 5, true);
}

/* Two tiles for one block of threads, so that each stage is used again, in each kernel of capability 9.0. */
static void stages_go_round(void)
{
    static const int plain[2] = {0, 1}, turned[2] = {1, 0};
    const int64_t m = 130, n = 8, k = 5 * 64;
    standin_only("rows of capability 9.0");
    for (int turn = 0; turn < 8; turn++) {
        hunze_context *context = new_context(NULL);
        harness_rng rng = {104};
        const hunze_type type = turn & 1 ? HUNZE_TYPE_F16 : HUNZE_TYPE_BF16;
        device_case c = {.op = HUNZE_OP_GEMM, .alpha = 1};
        c.kernel = device_product(type, HUNZE_ISA_CUDA_SM90A);
        snprintf(c.text, sizeof c.text, "%s, majors %d", c.kernel, turn / 2);
        device_place(&c.a, context, &rng, type, 2, (const int64_t[]){136, k}, turn & 2 ? turned : plain, 0,
                     HARNESS_INTEGERS);
        c.a.shape[0] = m;
        device_place(&c.b, context, &rng, type, 2, (const int64_t[]){k, n}, turn & 4 ? turned : plain, 0,
                     HARNESS_INTEGERS);
        device_place(&c.d, context, &rng, type, 2, (const int64_t[]){m, n}, NULL, 0, HARNESS_INTEGERS);
        device_check(context, &c);
        hunze_context_release(context);
    }
}

/* K blocks side by side, whose sums fill whole tiles of the workspace: an odd number of them. */
static void partial_sums_end(void)
{
    check_product(HUNZE_TYPE_F64, HUNZE_TYPE_F64, HUNZE_TYPE_F64, 96, 40, 3 * HUNZE_KC_F64 + 5, false);
}

static void are_integers(device_case *c, hunze_type a)
{
    c->a.tensor.dtype = (hunze_dtype){a == HUNZE_TYPE_U8 ? HUNZE_UINT : HUNZE_INT, 8, 1};
    c->b.tensor.dtype = (hunze_dtype){HUNZE_INT, 8, 1};
    c->d.tensor.dtype = (hunze_dtype){HUNZE_INT, 32, 1};
}

/* Rows of A, and columns of B, that are neighbours in memory, four to a load of which the last has three. */
static void fours_of_rows_end(void)
{
    hunze_context *context = new_context(NULL);
    for (int turn = 0; turn < 2; turn++) {
        const int64_t m = 71, n = 75, k = 9, apart = 76;
        const hunze_type type = turn ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8;
        harness_rng rng = {102};
        device_case c = {.op = HUNZE_OP_GEMM, .alpha = 1};
        snprintf(c.text, sizeof c.text, "%s, every %lld bytes", hunze_type_name(type), (long long)apart);
        device_place(&c.a, context, &rng, type, 1, (const int64_t[]){apart * (k - 1) + m}, NULL, 0, HARNESS_UNIFORM);
        device_place(&c.b, context, &rng, HUNZE_TYPE_S8, 1, (const int64_t[]){apart * (k - 1) + n}, NULL, 0,
                     HARNESS_UNIFORM);
        device_place(&c.d, context, &rng, HUNZE_TYPE_S32, 2, (const int64_t[]){m, n}, NULL, 0, HARNESS_UNIFORM);
        c.a.tensor.ndim = c.b.tensor.ndim = 2;
        c.a.shape[0] = m;
        c.a.shape[1] = c.b.shape[0] = k;
        c.b.shape[1] = n;
        c.a.strides[0] = c.b.strides[1] = 1;
        c.a.strides[1] = c.b.strides[0] = apart;
        are_integers(&c, type);
        device_check(context, &c);
    }
    hunze_context_release(context);
}

/* Of integers, by large tiles: several of K, and rows and columns that end in the second one. */
static void convolutions_by_large_tiles(void)
{
    hunze_context *context = new_context(NULL);
    for (int turn = 0; turn < 4; turn++) {
        const hunze_type type = turn & 1 ? HUNZE_TYPE_S8 : HUNZE_TYPE_U8;
        const bool last = turn & 2;
        harness_rng rng = {103};
        device_case c = {.op = HUNZE_OP_CONV, .alpha = 1};
        snprintf(c.text, sizeof c.text, "%s, channels %s", hunze_type_name(type), last ? "last" : "first");
        c.conv = (hunze_conv_options){.layout = last,
                                      .stride = {1, 1},
                                      .dilation = {1, 1},
                                      .pad_before = {1, 1},
                                      .pad_after = {1, 1},
                                      .groups = 1};
        const int64_t x[] = {1, last ? 9 : 20, last ? 8 : 9, last ? 20 : 8}, w[] = {70, 20, 3, 3},
                      y[] = {1, last ? 9 : 70, last ? 8 : 9, last ? 70 : 8};
        device_place(&c.a, context, &rng, type, 4, x, NULL, 0, HARNESS_UNIFORM);
        device_place(&c.b, context, &rng, HUNZE_TYPE_S8, 4, w, NULL, 0, HARNESS_UNIFORM);
        device_place(&c.d, context, &rng, HUNZE_TYPE_S32, 4, y, NULL, 0, HARNESS_UNIFORM);
        are_integers(&c, type);
        device_check(context, &c);
    }
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ codes */

/* Seven of them, in fours. */
static void codes_end(void)
{
    static const hunze_dtype dtypes[] = {{HUNZE_UINT, 8, 1}, {HUNZE_INT, 8, 1}, {HUNZE_INT, 32, 1}};
    enum { COUNT = 7 };
    hunze_context *context = new_context(NULL);
    const float scale = 0.5F;
    const int64_t one = 1;
    array scales;
    void *const scale_at = to_gpu(context, cuda0, NULL, &scale, 1);
    const hunze_quant quant = {.struct_size = sizeof quant, .scale = floats(&scales, cuda0, scale_at, one), .axis = -1};
    const hunze_quantize_options options = {.struct_size = sizeof options, .quant = &quant};
    for (int t = 0; t < 3; t++) {
        const float x[COUNT] = {1, 2, 3, 4, 5, 6, 7};
        float got[COUNT];
        array from, codes, to;
        void *const x_at = to_gpu(context, cuda0, NULL, x, COUNT), *const y_at = to_gpu(context, cuda0, NULL, x, COUNT);
        void *codes_at = NULL;
        const int64_t count = COUNT;
        OK(hunze_memory_alloc(context, cuda0, COUNT * dtypes[t].bits / 8, NULL, &codes_at));
        const hunze_tensor *code = view(&codes, cuda0, dtypes[t], codes_at, 1, &count, NULL);
        if (t < 2)
            OK(hunze_quantize(context, floats(&from, cuda0, x_at, COUNT), code, &options, NULL));
        OK(hunze_dequantize(context, code, floats(&to, cuda0, y_at, COUNT), &options, NULL));
        from_gpu(context, cuda0, NULL, y_at, got, COUNT);
        check(t == 2 || !memcmp(got, x, sizeof x), "the codes of 1, 2, … are of %g, %g, …", got[0], got[1]);
        OK(hunze_memory_free(context, cuda0, codes_at, COUNT * dtypes[t].bits / 8, NULL));
        OK(hunze_memory_free(context, cuda0, x_at, sizeof x, NULL));
        OK(hunze_memory_free(context, cuda0, y_at, sizeof x, NULL));
    }
    OK(hunze_memory_free(context, cuda0, scale_at, sizeof scale, NULL));
    hunze_context_release(context);
}

static const cuda_case cases[] = {
    {"what_is_added_ends", what_is_added_ends, "sms=1", NULL},
    {"stages_go_round", stages_go_round, "sms=1", NULL},
    {"partial_sums_end", partial_sums_end, "sms=132", NULL},
    {"fours_of_rows_end", fours_of_rows_end, "sms=1", NULL},
    {"fours_of_rows_end_in_small_tiles", fours_of_rows_end, "sms=132", NULL},
    {"convolutions_by_large_tiles", convolutions_by_large_tiles, "sms=1", NULL},
    {"codes_end", codes_end, NULL, NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof *cases); }
