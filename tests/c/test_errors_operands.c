/* SPDX-License-Identifier: Apache-2.0 */
/* Operands that no call may have: each operand of each operation, broken in one place at a time. */
#include "refused.h"

/* A mistake changes the operand `role` and returns false where it is none.  in_plan: hunze_plan_create sees it, which reads no data. */
typedef struct mistake {
    const char *name;
    bool (*make)(example *e, int role);
    hunze_status status;
    bool in_plan;
} mistake;

static bool no_data(example *e, int role)
{
    e->tensor[role].data = NULL;
    return true;
}

static bool no_shape(example *e, int role)
{
    e->tensor[role].shape = NULL;
    return true;
}

static bool on_a_gpu(example *e, int role)
{
    e->tensor[role].device.type = 2;
    return true;
}

static bool on_another_kind_of_device(example *e, int role)
{
    e->tensor[role].device.type = 10;
    return true;
}

static bool on_device_minus_1(example *e, int role)
{
    e->tensor[role].device = (hunze_device){HUNZE_DEVICE_CUDA, -1};
    return true;
}

static bool negative_rank(example *e, int role)
{
    e->tensor[role].ndim = -1;
    return true;
}

static bool rank_17(example *e, int role)
{
    static int64_t ones[17] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    e->tensor[role].ndim = 17;
    e->tensor[role].shape = e->tensor[role].strides = ones;
    return true;
}

static bool negative_extent(example *e, int role)
{
    e->shape[role][0] = -1;
    return true;
}

static bool float8(example *e, int role)
{
    e->tensor[role].dtype = (hunze_dtype){10, 8, 1}; /* DLPack's float8_e4m3fn */
    return true;
}

static bool two_lanes(example *e, int role)
{
    e->tensor[role].dtype.lanes = 2;
    return true;
}

static bool int4(example *e, int role)
{
    e->tensor[role].dtype = (hunze_dtype){HUNZE_INT, 4, 1};
    return true;
}

static bool huge_extents(example *e, int role)
{
    e->tensor[role].strides = NULL;
    e->shape[role][0] = INT64_MAX / 2;
    e->shape[role][1] = 4;
    return e->tensor[role].ndim > 1;
}

static bool huge_broadcast(example *e, int role)
{
    huge_extents(e, role);
    e->tensor[role].strides = e->strides[role];
    e->strides[role][0] = e->strides[role][1] = 0;
    return e->tensor[role].ndim > 1;
}

static bool huge_bytes(example *e, int role)
{
    e->shape[role][0] = INT64_MAX / 2;
    return e->tensor[role].ndim == 1 && e->tensor[role].dtype.bits >= 32;
}

static bool huge_stride(example *e, int role)
{
    e->strides[role][0] = INT64_MAX / 2;
    return e->tensor[role].ndim > 0 && e->shape[role][0] > 4;
}

static bool most_negative_stride(example *e, int role)
{
    e->strides[role][0] = INT64_MIN;
    return e->shape[role][0] > 1;
}

static bool odd_address(example *e, int role)
{
    e->tensor[role].data = (char *)e->tensor[role].data + 1;
    return e->tensor[role].dtype.bits > 8;
}

static bool odd_offset(example *e, int role)
{
    e->tensor[role].byte_offset = 2;
    return e->tensor[role].dtype.bits > 16;
}

static bool output_stride_0(example *e, int role)
{
    e->strides[role][e->tensor[role].ndim - 1] = 0;
    return role == HUNZE_ROLE_D && !is_blob(e, role);
}

static bool output_on_itself(example *e, int role)
{
    const int last = e->tensor[role].ndim - 1;
    e->strides[role][last - (last > 0)] = e->strides[role][last] = 1;
    return role == HUNZE_ROLE_D && !is_blob(e, role);
}

static bool parameters_apart(example *e, int role)
{
    e->strides[role][0] = 2;
    return role >= HUNZE_ROLE_A_SCALE && e->shape[role][0] > 1;
}

static bool blob_with_two_axes(example *e, int role)
{
    e->tensor[role].ndim = 2;
    e->shape[role][1] = e->strides[role][1] = 1;
    return is_blob(e, role);
}

static bool blob_with_a_stride(example *e, int role)
{
    e->strides[role][0] = 2;
    return is_blob(e, role);
}

static const mistake mistakes[] = {
    {"no data", no_data, HUNZE_ERR_NULL, false},
    {"no shape", no_shape, HUNZE_ERR_NULL, true},
    {"another device", on_a_gpu, HUNZE_ERR_DEVICE, true},
    {"another kind of device", on_another_kind_of_device, HUNZE_ERR_DEVICE, true},
    {"device -1", on_device_minus_1, HUNZE_ERR_DEVICE, true},
    {"rank -1", negative_rank, HUNZE_ERR_SHAPE, true},
    {"rank 17", rank_17, HUNZE_ERR_SHAPE, true},
    {"extent -1", negative_extent, HUNZE_ERR_SHAPE, true},
    {"float8", float8, HUNZE_ERR_DTYPE, true},
    {"two lanes", two_lanes, HUNZE_ERR_DTYPE, true},
    {"int4", int4, HUNZE_ERR_DTYPE, true},
    {"extents beyond 63 bits", huge_extents, HUNZE_ERR_OVERFLOW, true},
    {"extents beyond 63 bits at stride 0", huge_broadcast, HUNZE_ERR_OVERFLOW, true},
    {"bytes beyond 63 bits", huge_bytes, HUNZE_ERR_OVERFLOW, true},
    {"a stride beyond 63 bits", huge_stride, HUNZE_ERR_OVERFLOW, true},
    {"the most negative stride", most_negative_stride, HUNZE_ERR_OVERFLOW, true},
    {"an odd address", odd_address, HUNZE_ERR_ALIGN, false},
    {"an odd byte_offset", odd_offset, HUNZE_ERR_ALIGN, false},
    {"output stride 0", output_stride_0, HUNZE_ERR_STRIDE, true},
    {"an output on itself", output_on_itself, HUNZE_ERR_ALIAS, true},
    {"parameters apart", parameters_apart, HUNZE_ERR_STRIDE, true},
    {"a blob with two axes", blob_with_two_axes, HUNZE_ERR_SHAPE, true},
    {"a blob with a stride", blob_with_a_stride, HUNZE_ERR_SHAPE, true},
};

static void every_operand_of_every_operation(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLES; kind++)
        for (int role = 0; role < HUNZE_ROLE_COUNT; role++)
            for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
                const mistake *m = &mistakes[i];
                example e;
                make_example(&e, kind, SMALL, context);
                harness_case("%s, %s: %s", e.spec->name, operand_name(&e, role), m->name);
                if (e.memory[role] && m->make(&e, role)) {
                    expect_refused(&e, NULL, m->status, operand_name(&e, role));
                    if (m->in_plan || (is_blob(&e, role) && role == HUNZE_ROLE_B)) /* a blob's header is read */
                        expect_no_plan(&e, m->status, operand_name(&e, role));
                }
                drop_example(&e);
            }
}

static void operands_that_are_missing(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLES; kind++)
        for (int role = HUNZE_ROLE_D; role <= HUNZE_ROLE_B; role++) {
            example e;
            make_example(&e, kind, SMALL, context);
            harness_case("%s without %s", e.spec->name, operand_name(&e, role));
            const hunze_tensor **const fields[] = {&e.call.d, &e.call.a, &e.call.b};
            if (*fields[role]) {
                *fields[role] = NULL;
                expect_refused(&e, NULL, HUNZE_ERR_NULL, operand_name(&e, role));
                expect_no_plan(&e, HUNZE_ERR_NULL, operand_name(&e, role));
            }
            drop_example(&e);
            make_example(&e, kind, SMALL, context);
            expect_status(run_example(NULL, &e, NULL), HUNZE_ERR_NULL, "context");
            drop_example(&e);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_operand_of_every_operation),
                                       cmocka_unit_test(operands_that_are_missing)};
    return cmocka_run_group_tests_name("refused operands", tests, make_good, drop_good);
}
