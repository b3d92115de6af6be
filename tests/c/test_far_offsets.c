/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets beyond 32 bits: operands whose rows, images or first bytes lie more than 4 GiB apart in a sparse mapping give the bits of compact
 * ones. */
#include "bits_case.h"

#include <stdlib.h>
#include <sys/mman.h>

static const size_t region_bytes = (size_t)24 << 30; /* address space; only touched pages are memory */
static char *regions;

/* The same values with other strides, `byte_offset` into region `slot` of the mapping; a negative stride starts at the region's end. */
static void spread(const operand *from, operand *to, const int64_t *strides, uint64_t byte_offset)
{
    *to = *from;
    char *origin = regions + (size_t)to->slot * region_bytes;
    for (int axis = 0; axis < to->tensor.ndim; axis++) {
        to->strides[axis] = strides[axis];
        if (strides[axis] < 0)
            origin += -strides[axis] * (to->shape[axis] - 1) * (int64_t)harness_bytes(to->type);
    }
    to->tensor.data = origin;
    for (int64_t i = 0; i < operand_count(to); i++)
        memcpy((char *)operand_at(to, i) + byte_offset, operand_at(from, i), harness_bytes(to->type));
    to->tensor.byte_offset = byte_offset;
}

/* Strides of a, b and d for the far form. */
static void compare(bits_case *c, const int64_t *a, const int64_t *b, const int64_t *d, uint64_t byte_offset)
{
    bits_case far = *c;
    bind_case(c);
    hunze_context *context = NULL;
    assert_int_equal(hunze_context_create(NULL, &context), HUNZE_OK);
    hunze_status status = run_case(context, c, &c->b.tensor, 0, NULL, NULL);
    harness_check(status == HUNZE_OK, "compact: %s", hunze_last_error());
    spread(&c->a, &far.a, a, byte_offset);
    if (b)
        spread(&c->b, &far.b, b, byte_offset);
    spread(&c->d, &far.d, d, byte_offset);
    for (int64_t i = 0; i < operand_count(&far.d); i++) /* poison: spread() copied the answer */
        memset((char *)operand_at(&far.d, i) + byte_offset, 0x5a, harness_bytes(far.d.type));
    bind_case(&far);
    status = run_case(context, &far, &far.b.tensor, 0, NULL, NULL);
    harness_check(status == HUNZE_OK, "far: %s", hunze_last_error());
    for (int64_t i = 0; i < operand_count(&far.d); i++) {
        const char *got = (char *)operand_at(&far.d, i) + byte_offset, *want = operand_at(&c->d, i);
        harness_check(harness_same(far.d.type, got, want), "element %lld is %s, not %s", (long long)i,
                      harness_show(far.d.type, got), harness_show(far.d.type, want));
    }
    hunze_context_release(context);
    assert_int_equal(madvise(regions, 4 * region_bytes, MADV_DONTNEED), 0);
}

static void test_products(void **state)
{
    (void)state;
    harness_begin("far products");
    harness_rng rng = {71};
    const int64_t far = ((int64_t)1 << 30) + 7, a_shape[] = {5, 9}, b_shape[] = {9, 21}, d_shape[] = {5, 21};
    static const hunze_type types[][3] = {{HUNZE_TYPE_F32, HUNZE_TYPE_F32, HUNZE_TYPE_F32},
                                          {HUNZE_TYPE_U8, HUNZE_TYPE_S8, HUNZE_TYPE_S32},
                                          {HUNZE_TYPE_S8, HUNZE_TYPE_S8, HUNZE_TYPE_S32}};
    for (int t = 0; t < 3; t++)
        for (int form = 0; form < 4; form++) { /* far rows of a and d, of b, rows backwards, a far first byte */
            bits_case c = {.op = HUNZE_OP_GEMM, .alpha = 1};
            lay_out(&c.a, SLOT_A, types[t][0], 2, a_shape, NULL, 0, HARNESS_AT_END);
            lay_out(&c.b, SLOT_B, types[t][1], 2, b_shape, NULL, 0, HARNESS_AT_END);
            lay_out(&c.d, SLOT_D, types[t][2], 2, d_shape, NULL, 0, HARNESS_AT_END);
            fill_operand(&c.a, &rng, HARNESS_UNIFORM);
            fill_operand(&c.b, &rng, HARNESS_UNIFORM);
            harness_case("types %d %d %d form %d", types[t][0], types[t][1], types[t][2], form);
            const int64_t row = form == 1   ? 9
                                : form == 2 ? -far
                                : form == 3 ? 9
                                            : far,
                          b_row = form == 1 ? far / 2 : 21;
            const int64_t d_row = form == 1 ? 21 : form == 2 ? -far : form == 3 ? 21 : far;
            compare(&c, (const int64_t[]){row, 1}, (const int64_t[]){b_row, 1}, (const int64_t[]){d_row, 1},
                    form == 3 ? (uint64_t)5 << 30 : 0);
        }
}

static void test_convolution(void **state)
{
    (void)state;
    harness_begin("far convolution");
    harness_rng rng = {72};
    const int64_t x_shape[] = {2, 3, 5, 6}, w_shape[] = {4, 3, 3, 3}, y_shape[] = {2, 4, 5, 6}, g = (int64_t)1 << 30;
    bits_case c = {.op = HUNZE_OP_CONV, .alpha = 1};
    c.conv = (hunze_conv_options){.pad_before = {1, 1}, .pad_after = {1, 1}};
    lay_out(&c.a, SLOT_A, HUNZE_TYPE_F32, 4, x_shape, NULL, 0, HARNESS_AT_END);
    lay_out(&c.b, SLOT_B, HUNZE_TYPE_F32, 4, w_shape, NULL, 0, HARNESS_AT_END);
    lay_out(&c.d, SLOT_D, HUNZE_TYPE_F32, 4, y_shape, NULL, 0, HARNESS_AT_END);
    fill_operand(&c.a, &rng, HARNESS_UNIFORM);
    fill_operand(&c.b, &rng, HARNESS_UNIFORM);
    harness_case("far images");
    compare(&c, (const int64_t[]){3 * g, 30, 6, 1}, (const int64_t[]){27, 9, 3, 1}, (const int64_t[]){5 * g, 30, 6, 1},
            0);
    harness_case("far channels and rows");
    compare(&c, (const int64_t[]){60, 2 * g, 6, 1}, (const int64_t[]){27, 9, 3, 1}, (const int64_t[]){6, 12, g + 3, 1},
            0);
}

static void test_elementwise(void **state)
{
    (void)state;
    harness_begin("far elementwise");
    harness_rng rng = {73};
    const int64_t shape[] = {4, 37}, g = (int64_t)1 << 30;
    static const hunze_op ops[] = {HUNZE_OP_QUANTIZE, HUNZE_OP_DEQUANTIZE, HUNZE_OP_ACTIVATION};
    for (int op = 0; op < 3; op++) {
        bits_case c = {.op = ops[op], .activation = {.kind = op == 2 ? HUNZE_ACT_SILU : 0}};
        const hunze_type a = op == 1 ? HUNZE_TYPE_U8 : HUNZE_TYPE_F32, d = op == 0 ? HUNZE_TYPE_U8 : HUNZE_TYPE_F32;
        lay_out(&c.a, SLOT_A, a, 2, shape, NULL, 0, HARNESS_AT_END);
        lay_out(&c.d, SLOT_D, d, 2, shape, NULL, 0, HARNESS_AT_END);
        fill_operand(&c.a, &rng, HARNESS_UNIFORM);
        if (op < 2)
            add_quant(&c, 0, HUNZE_TYPE_U8, -1, 1, true, true);
        harness_case("op %d", ops[op]);
        compare(&c, (const int64_t[]){a == HUNZE_TYPE_U8 ? 6 * g : 3 * g / 2, 1}, NULL,
                (const int64_t[]){d == HUNZE_TYPE_U8 ? 5 * g : -g - 5, 1}, 0);
    }
}

static int map_regions(void **state)
{
    (void)state;
    regions = mmap(NULL, 4 * region_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (regions == MAP_FAILED)
        print_message("not run here: this machine maps no 96 GiB of address space\n");
    return regions == MAP_FAILED;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_convolution),
                                       cmocka_unit_test(test_elementwise)};
    return cmocka_run_group_tests_name("offsets beyond 32 bits", tests, map_regions, NULL);
}
