/* SPDX-License-Identifier: Apache-2.0 */
/* Values that a field of an option struct may not hold: those of each operation, and of the activation and the quants that they point to. */
#include "refused.h"

/* A mistake sets fields and returns false where the example has none such.  wanted, named: see refused.h. */
typedef struct mistake {
    const char *name;
    bool (*make)(example *e);
    hunze_status status;
    const char *named;
} mistake;

static struct {
    hunze_activation known;
    char tail[16];
} long_activation;

static struct {
    hunze_quant known;
    char tail[16];
} long_quant;

static bool activation_of(example *e, const hunze_activation *activation)
{
    if (is_gemm(e))
        e->options.gemm.activation = activation;
    else if (is_conv(e))
        e->options.conv.activation = activation;
    else if (e->spec->op == HUNZE_OP_ACTIVATION)
        e->options.activate.activation = activation;
    return is_gemm(e) || is_conv(e) || e->spec->op == HUNZE_OP_ACTIVATION;
}

static bool short_activation(example *e)
{
    e->activation.struct_size = sizeof e->activation - 4;
    return activation_of(e, &e->activation);
}

static bool later_activation(example *e)
{
    long_activation.known = e->activation;
    long_activation.known.struct_size = sizeof long_activation;
    long_activation.tail[15] = 1;
    return activation_of(e, &long_activation.known);
}

static bool unknown_activation(example *e)
{
    e->activation.kind = HUNZE_ACT_CLIP + 1;
    return activation_of(e, &e->activation);
}

static bool gelu_of_integers(example *e)
{
    e->activation.kind = HUNZE_ACT_GELU;
    return e->spec->d == HUNZE_TYPE_S32 && activation_of(e, &e->activation);
}

/* The first quant of the call. */
static hunze_quant *quant_of(example *e)
{
    for (int which = 0; which < 3; which++)
        if (e->quant[which].struct_size)
            return &e->quant[which];
    return NULL;
}

static bool quant_field(example *e, size_t offset, uint32_t value)
{
    hunze_quant *quant = quant_of(e);
    if (quant)
        memcpy((char *)quant + offset, &value, sizeof value);
    return quant != NULL;
}

static bool short_quant(example *e) { return quant_field(e, 0, sizeof(hunze_quant) - 8); }
static bool reserved_of_quant(example *e) { return quant_field(e, offsetof(hunze_quant, reserved), 1); }
static bool unknown_granularity(example *e) { return quant_field(e, offsetof(hunze_quant, granularity), 2); }

static bool later_quant(example *e)
{
    if (!is_quantize(e))
        return false;
    long_quant.known = *quant_of(e);
    long_quant.known.struct_size = sizeof long_quant;
    long_quant.tail[0] = 1;
    e->options.quantize.quant = &long_quant.known;
    return true;
}

static bool axis_2_of_codes(example *e)
{
    return is_quantize(e) && quant_field(e, offsetof(hunze_quant, granularity), HUNZE_PER_AXIS) &&
           quant_field(e, offsetof(hunze_quant, axis), 2);
}

static bool axis_below_codes(example *e)
{
    return is_quantize(e) && quant_field(e, offsetof(hunze_quant, granularity), HUNZE_PER_AXIS) &&
           quant_field(e, offsetof(hunze_quant, axis), (uint32_t)-3);
}

static bool weights_along_k(example *e)
{
    e->quant[1].axis = is_gemm(e) ? 0 : 1;
    return is_product(e) && e->quant[1].struct_size;
}

static bool x_per_axis(example *e)
{
    e->quant[0].granularity = HUNZE_PER_AXIS;
    return is_conv(e) && e->quant[0].struct_size;
}

static bool scale_of_a_only(example *e)
{
    e->quant[1].scale = NULL;
    return is_product(e) && (e->spec->with & WITH_SCALES);
}

static bool scale_of_d_missing(example *e)
{
    e->quant[2].scale = NULL;
    return is_product(e) && (e->spec->with & WITH_SCALES);
}

static bool no_quant(example *e)
{
    e->options.quantize.quant = NULL;
    return is_quantize(e);
}

static bool no_scale(example *e) { return is_quantize(e) && (quant_of(e)->scale = NULL, true); }

static bool dynamic_without_zero_point(example *e)
{
    return e->spec->with & DYNAMIC && (quant_of(e)->zero_point = NULL, true);
}

static bool dynamic_2(example *e)
{
    e->options.quantize.dynamic = e->spec->op == HUNZE_OP_QUANTIZE ? 2 : 1;
    return is_quantize(e);
}

static bool unknown_kernel(example *e)
{
    if (is_gemm(e))
        e->options.gemm.kernel = "gemm_f16_abacus";
    else if (is_conv(e))
        e->options.conv.kernel = "gemm_f16_abacus";
    else if (is_quantize(e))
        e->options.quantize.kernel = "gemm_f16_abacus";
    else if (is_pack(e))
        e->options.pack.kernel = "gemm_f16_abacus";
    else
        e->options.activate.kernel = "gemm_f16_abacus";
    return true;
}

static bool endless_kernel(example *e)
{
    static const char name[] = "gemm_f16_abacus_with_a_name_of_more_than_sixty_four_letters_altogether";
    e->options.gemm.kernel = name;
    return is_gemm(e);
}

static bool beta_without_c(example *e)
{
    e->call.c = NULL;
    return e->spec->with & WITH_C;
}

static bool alpha_of_integers(example *e)
{
    e->alpha = 2;
    return is_gemm(e) && e->spec->b == HUNZE_TYPE_S8;
}

static bool transpose_2(example *e)
{
    e->options.gemm.transpose_a = 2;
    return is_gemm(e);
}

static bool transposed_blob(example *e)
{
    e->options.gemm.transpose_b = 1;
    return is_gemm(e) && (e->spec->with & PACKED);
}

#define CONV_MISTAKE(function, field, value)                                                                           \
    static bool function(example *e)                                                                                   \
    {                                                                                                                  \
        if (is_conv(e))                                                                                                \
            e->options.conv.field = value;                                                                             \
        return is_conv(e);                                                                                             \
    }
CONV_MISTAKE(layout_2, layout, 2)
CONV_MISTAKE(mirrored_padding, pad_mode, 1)
CONV_MISTAKE(reserved_of_conv, reserved, 1)
CONV_MISTAKE(negative_padding, pad_before[0], -1)
CONV_MISTAKE(negative_padding_behind, pad_after[0], -1)
CONV_MISTAKE(third_stride, stride[2], 2)
CONV_MISTAKE(third_dilation, dilation[2], 2)
CONV_MISTAKE(third_padding, pad_after[2], 1)
CONV_MISTAKE(stride_3, stride[0], 3) /* y is as large as x */
CONV_MISTAKE(most_stride, stride[0], UINT32_MAX)
CONV_MISTAKE(most_dilation, dilation[0], UINT32_MAX)
CONV_MISTAKE(most_padding, pad_before[0], INT32_MAX)

static bool groups_are(example *e, uint32_t groups)
{
    e->options.conv.groups = groups;
    return is_conv(e) && !(e->spec->with & PACKED);
}

static bool seven_groups(example *e) { return groups_are(e, 7); }
static bool most_groups(example *e) { return groups_are(e, UINT32_MAX); }

static bool output_padding_of_conv(example *e)
{
    return !is_transpose(e) && is_conv(e) && (e->options.conv.output_padding[0] = 1);
}
static bool output_padding_of_a_stride(example *e)
{
    return is_transpose(e) && (e->options.conv.output_padding[0] = 1);
}

static bool packed_for_the_map(example *e) { return is_pack(e) && (e->options.pack.op = HUNZE_OP_QUANTIZE); }
static bool unsigned_floats(example *e)
{
    return is_pack(e) && e->spec->a == HUNZE_TYPE_F32 && (e->options.pack.a_unsigned = 1);
}
static bool groups_of_a_gemm(example *e) { return is_pack(e) && e->spec->ndim == 2 && (e->options.pack.groups = 2); }
static bool transposed_conv_weights(example *e)
{
    return is_pack(e) && e->spec->ndim == 4 && (e->options.pack.transpose_b = 1);
}
static bool five_groups_of_weights(example *e)
{
    return is_pack(e) && e->spec->ndim == 4 && (e->options.pack.groups = 5);
}

static const mistake mistakes[] = {
    {"a short activation", short_activation, HUNZE_ERR_OPTION, "hunze_activation"},
    {"a later activation", later_activation, HUNZE_ERR_OPTION, "hunze_activation"},
    {"an unknown activation", unknown_activation, HUNZE_ERR_OPTION, "activation"},
    {"gelu of s32", gelu_of_integers, HUNZE_ERR_UNSUPPORTED, "activation"},
    {"a short quant", short_quant, HUNZE_ERR_OPTION, "hunze_quant"},
    {"a later quant", later_quant, HUNZE_ERR_OPTION, "hunze_quant"},
    {"quant.reserved", reserved_of_quant, HUNZE_ERR_OPTION, "hunze_quant.reserved"},
    {"granularity 2", unknown_granularity, HUNZE_ERR_OPTION, "granularity"},
    {"axis 2 of 2", axis_2_of_codes, HUNZE_ERR_OPTION, "axis"},
    {"axis -3 of 2", axis_below_codes, HUNZE_ERR_OPTION, "axis"},
    {"scales of weights along k", weights_along_k, HUNZE_ERR_OPTION, "axis"},
    {"scales of x per axis", x_per_axis, HUNZE_ERR_UNSUPPORTED, "per axis"},
    {"one scale of two", scale_of_a_only, HUNZE_ERR_OPTION, "scale"},
    {"no scale for d", scale_of_d_missing, HUNZE_ERR_NULL, "scale"},
    {"no quant", no_quant, HUNZE_ERR_NULL, "quant"},
    {"no scale", no_scale, HUNZE_ERR_NULL, "quant.scale"},
    {"dynamic without zero point", dynamic_without_zero_point, HUNZE_ERR_NULL, "quant.zero_point"},
    {"dynamic 2", dynamic_2, HUNZE_ERR_OPTION, "dynamic"},
    {"an unknown kernel", unknown_kernel, HUNZE_ERR_UNSUPPORTED, "gemm_f16_abacus"},
    {"a kernel's name without end", endless_kernel, HUNZE_ERR_UNSUPPORTED, "kernel"},
    {"transpose_a 2", transpose_2, HUNZE_ERR_OPTION, "transpose_a"},
    {"transpose_b of a blob", transposed_blob, HUNZE_ERR_OPTION, "transpose_b"},
    {"layout 2", layout_2, HUNZE_ERR_OPTION, "layout"},
    {"pad_mode 1", mirrored_padding, HUNZE_ERR_OPTION, "pad_mode"},
    {"conv's reserved", reserved_of_conv, HUNZE_ERR_OPTION, "hunze_conv_options.reserved"},
    {"padding -1", negative_padding, HUNZE_ERR_OPTION, "padding"},
    {"padding -1 behind", negative_padding_behind, HUNZE_ERR_OPTION, "padding"},
    {"a third stride", third_stride, HUNZE_ERR_OPTION, "stride"},
    {"a third dilation", third_dilation, HUNZE_ERR_OPTION, "dilation"},
    {"a third padding", third_padding, HUNZE_ERR_OPTION, "padding"},
    {"7 groups", seven_groups, HUNZE_ERR_SHAPE, "groups"},
    {"2^32 - 1 groups", most_groups, HUNZE_ERR_SHAPE, "groups"},
    {"stride 3", stride_3, HUNZE_ERR_SHAPE, "y"},
    {"stride 2^32 - 1", most_stride, HUNZE_ERR_SHAPE, "y"},
    {"dilation 2^32 - 1", most_dilation, HUNZE_ERR_SHAPE, "y"},
    {"padding 2^31 - 1", most_padding, HUNZE_ERR_SHAPE, "y"},
    {"output_padding of conv", output_padding_of_conv, HUNZE_ERR_OPTION, "output_padding"},
    {"output_padding as large as the stride", output_padding_of_a_stride, HUNZE_ERR_OPTION, "output_padding"},
    {"packed for quantize", packed_for_the_map, HUNZE_ERR_OPTION, "op"},
    {"a_unsigned beside f32", unsigned_floats, HUNZE_ERR_OPTION, "a_unsigned"},
    {"groups of a gemm", groups_of_a_gemm, HUNZE_ERR_OPTION, "groups"},
    {"transpose_b of conv", transposed_conv_weights, HUNZE_ERR_OPTION, "transpose_b"},
    {"5 groups of 6", five_groups_of_weights, HUNZE_ERR_SHAPE, "groups"},
};

static void every_mistake_in_every_operation(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        int made = 0;
        for (int kind = 0; kind < EXAMPLES; kind++) {
            example e;
            make_example(&e, kind, SMALL, context);
            harness_case("%s: %s", e.spec->name, mistakes[i].name);
            if (mistakes[i].make(&e)) {
                expect_refused(&e, NULL, mistakes[i].status, mistakes[i].named);
                expect_no_plan(&e, mistakes[i].status, mistakes[i].named);
                made++;
            }
            drop_example(&e);
        }
        harness_check(made > 0, "%s: no operation has it", mistakes[i].name);
    }
}

/* What is read only when the call runs: a plan may be made. */
static void scalars(void **state)
{
    (void)state;
    static const mistake late[] = {{"beta without c", beta_without_c, HUNZE_ERR_NULL, "c"},
                                   {"alpha of integers", alpha_of_integers, HUNZE_ERR_UNSUPPORTED, "alpha"}};
    for (size_t i = 0; i < 2; i++)
        for (int kind = 0; kind < EXAMPLES; kind++) {
            example e;
            make_example(&e, kind, SMALL, context);
            harness_case("%s: %s", e.spec->name, late[i].name);
            if (late[i].make(&e))
                expect_refused(&e, NULL, late[i].status, late[i].named);
            drop_example(&e);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_mistake_in_every_operation), cmocka_unit_test(scalars)};
    return cmocka_run_group_tests_name("refused fields", tests, make_good, drop_good);
}
