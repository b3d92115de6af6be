/* SPDX-License-Identifier: Apache-2.0 */
/* The line of a trace says everything that a repeat needs: calls made by hand, their lines, and the lines of the calls made from those. */
#include "../../bench/repro.hpp"

#include "../../include/hunze.h"

#include "cmocka.hpp"

#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

using bench::LineError;
using bench::repro_once;

/* ------------------------------------------------------------------ calls by hand */

using Extents = std::vector<int64_t>;

/* Ones (so that scales are positive), in memory that the strides reach. */
class Tensor
{
  public:
    Tensor(hunze_dtype dtype, Extents shape, Extents strides = {})
        : shape_(std::move(shape)), strides_(std::move(strides)), memory_(1 << 16)
    {
        const bool wide = dtype.bits == 64;
        for (size_t i = 0; dtype.code == HUNZE_FLOAT && i < memory_.size(); i++)
            memory_[i] = 0x3F8000003F800000u;
        for (size_t i = 0; dtype.bits == 16 && i < memory_.size(); i++)
            memory_[i] = dtype.code == HUNZE_FLOAT ? 0x3C003C003C003C00u : 0x3F803F803F803F80u;
        for (size_t i = 0; wide && i < memory_.size(); i++)
            memory_[i] = 0x3FF0000000000000u;
        view_ = {memory_.data() + memory_.size() / 2,
                 {HUNZE_DEVICE_CPU, 0},
                 static_cast<int32_t>(shape_.size()),
                 dtype,
                 shape_.data(),
                 strides_.empty() ? nullptr : strides_.data(),
                 0};
    }
    Tensor(const Tensor &) = delete;
    operator const hunze_tensor *() const { return &view_; }
    void set_s32(const std::vector<int32_t> &values)
    {
        std::memcpy(view_.data, values.data(), values.size() * sizeof values[0]);
    }

  private:
    Extents shape_, strides_;
    std::vector<uint64_t> memory_;
    hunze_tensor view_;
};

constexpr hunze_dtype f32 = {HUNZE_FLOAT, 32, 1}, f64 = {HUNZE_FLOAT, 64, 1}, s32 = {HUNZE_INT, 32, 1},
                      s8 = {HUNZE_INT, 8, 1}, u8 = {HUNZE_UINT, 8, 1}, bf16 = {HUNZE_BFLOAT, 16, 1},
                      f16 = {HUNZE_FLOAT, 16, 1};

/* Weights packed for a context. */
class Packed
{
  public:
    Packed(hunze_context *context, const Tensor &w, hunze_op op, uint32_t groups = 1, bool a_unsigned = false)
    {
        hunze_pack_options options{};
        options.struct_size = sizeof options;
        options.op = op;
        options.groups = groups;
        options.a_unsigned = a_unsigned;
        size_t bytes;
        assert_int_equal(hunze_pack_size(context, w, &options, &bytes), HUNZE_OK);
        memory_.reset(std::aligned_alloc(64, bytes));
        words_ = static_cast<int64_t>(bytes / 8);
        view_ = {memory_.get(), {HUNZE_DEVICE_CPU, 0}, 1, {HUNZE_OPAQUE_HANDLE, 64, 1}, &words_, nullptr, 0};
        assert_int_equal(hunze_pack(context, w, &view_, &options, nullptr), HUNZE_OK);
    }
    operator const hunze_tensor *() const { return &view_; }

  private:
    int64_t words_;
    std::unique_ptr<void, decltype(&std::free)> memory_{nullptr, std::free};
    hunze_tensor view_;
};

struct Traced {
    std::string line, kernel;
};

static void remember(void *user, const hunze_trace_record *record)
{
    *static_cast<Traced *>(user) = {record->line, record->kernel};
}

static Traced traced;

/* What the last call's trace says, and what a repeat's says. */
static void expect(hunze_status status, const std::string &wanted)
{
    if (status != HUNZE_OK)
        fail_msg("%s: %s", wanted.c_str(), hunze_last_error());
    const std::string line = traced.line, whole = wanted + " kernel=" + traced.kernel;
    traced = {};
    assert_string_equal(line.c_str(), whole.c_str());
    try {
        std::string note;
        assert_string_equal(repro_once(line, 1, &note).c_str(), line.c_str());
        assert_string_equal(note.c_str(), "");
    } catch (const std::exception &error) {
        fail_msg("%s: %s", line.c_str(), error.what());
    }
}

static hunze_quant quant(const hunze_tensor *scale, const hunze_tensor *zero_point = nullptr)
{
    return {sizeof(hunze_quant), HUNZE_PER_TENSOR, 0, 0, scale, zero_point};
}

static hunze_quant per_axis(int32_t axis, const hunze_tensor *scale, const hunze_tensor *zero_point = nullptr)
{
    return {sizeof(hunze_quant), HUNZE_PER_AXIS, axis, 0, scale, zero_point};
}

static hunze_activation activation(uint32_t kind, float alpha = 0, float beta = 0)
{
    return {sizeof(hunze_activation), kind, alpha, beta};
}

template <typename Options> static Options options_of()
{
    Options options{};
    options.struct_size = sizeof options;
    return options;
}

/* ------------------------------------------------------------------ each op, in a context of each instruction set */

static void products(hunze_context *context)
{
    const auto gemm = [&](const hunze_tensor *a, const hunze_tensor *b, const hunze_tensor *c, const hunze_tensor *d,
                          const hunze_gemm_options &o) { return hunze_gemm(context, a, b, c, d, &o, nullptr); };
    auto o = options_of<hunze_gemm_options>();
    const Tensor a(f32, {3, 7}), b(f32, {7, 5}), d(f32, {3, 5});
    expect(gemm(a, b, nullptr, d, o), "gemm d=f32:3x5 a=f32:3x7 b=f32:7x5");
    expect(hunze_gemm(context, a, b, nullptr, d, nullptr, nullptr), "gemm d=f32:3x5 a=f32:3x7 b=f32:7x5");
    o.flags = HUNZE_REPRODUCIBLE;
    expect(gemm(a, b, nullptr, d, o), "gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 flags=1");

    o = options_of<hunze_gemm_options>();
    const Tensor batch(f64, {2, 1, 3, 4}), matrices(f64, {6, 4, 5}), both(f64, {2, 6, 3, 5}, {90, 15, 1, 3});
    expect(gemm(batch, matrices, nullptr, both, o), "gemm d=f64:2x6x3x5@90,15,1,3 a=f64:2x1x3x4 b=f64:6x4x5");

    const double alpha = 0.1, beta = 1 / 3.0;
    o.alpha = &alpha;
    o.beta = &beta;
    expect(gemm(a, b, d, d, o),
           "gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 c=f32:3x5 alpha=0.1 beta=0.33333333333333331 in_place=1");
    const Tensor c(f32, {3, 5}, {0, 1});
    expect(gemm(a, b, c, d, o), "gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 c=f32:3x5@0,1 alpha=0.1 beta=0.33333333333333331");

    o = options_of<hunze_gemm_options>();
    o.transpose_a = o.transpose_b = 1;
    const Tensor across(f32, {7, 3}, {-8, -2}), down(f32, {5, 7}), bias(f32, {3, 1}), residual(f32, {5});
    hunze_activation act = activation(HUNZE_ACT_LEAKY_RELU, 0.01f);
    o.bias = bias;
    o.residual = residual;
    o.activation = &act;
    expect(gemm(across, down, nullptr, d, o),
           "gemm d=f32:3x5 a=f32:7x3@-8,-2 b=f32:5x7 bias=f32:3x1 residual=f32:5 transpose_a=1 "
           "transpose_b=1 activation=10:0.01,0");

    o = options_of<hunze_gemm_options>();
    Tensor offsets(s32, {4});
    const Tensor three(f32, {3, 7, 5}), biases(f32, {3, 5});
    offsets.set_s32({0, 2, 2, 3});
    o.offsets = offsets;
    o.bias = biases;
    expect(gemm(a, three, nullptr, d, o), "gemm d=f32:3x5 a=f32:3x7 b=f32:3x7x5 bias=f32:3x5 offsets=s32:4 rows=2,0,1");

    o = options_of<hunze_gemm_options>();
    act = activation(HUNZE_ACT_CLIP, -std::numeric_limits<float>::infinity(), 16777217.0f / 3);
    o.activation = &act;
    const Packed packed(context, b, HUNZE_OP_GEMM);
    expect(gemm(a, packed, nullptr, d, o), "gemm d=f32:3x5 a=f32:3x7 b=packed-f32:7x5 activation=11:-inf,5592405.5");

    o = options_of<hunze_gemm_options>();
    const Tensor a_bf16(bf16, {3, 7}), b_bf16(bf16, {7, 5}), d_bf16(bf16, {3, 5}), bias_bf16(bf16, {5}),
        wide(f32, {3, 5});
    o.bias = bias_bf16;
    o.residual = wide;
    expect(gemm(a_bf16, b_bf16, nullptr, d_bf16, o),
           "gemm d=bf16:3x5 a=bf16:3x7 b=bf16:7x5 bias=bf16:5 residual=f32:3x5");
    o = options_of<hunze_gemm_options>();
    const Tensor a_f16(f16, {3, 7}), b_f16(f16, {7, 5});
    const Packed packed_f16(context, b_f16, HUNZE_OP_GEMM);
    expect(gemm(a_f16, packed_f16, nullptr, d, o), "gemm d=f32:3x5 a=f16:3x7 b=packed-f16:7x5");
}

static void integer_products(hunze_context *context)
{
    const auto gemm = [&](const hunze_tensor *a, const hunze_tensor *b, const hunze_tensor *d,
                          const hunze_gemm_options &o) { return hunze_gemm(context, a, b, nullptr, d, &o, nullptr); };
    auto o = options_of<hunze_gemm_options>();
    const Tensor a(u8, {6, 70}), signed_a(s8, {6, 70}), b(s8, {70, 5}), sums(s32, {6, 5}), d(f32, {6, 5}),
        codes(u8, {6, 5}), one(f32, {}), one_u8(u8, {1}), rows(f32, {6}), row_zeros(s8, {6}), columns(f32, {5}),
        column_zeros(s8, {5}), bias(s32, {5});
    const Packed packed(context, b, HUNZE_OP_GEMM, 1, true), packed_signed(context, b, HUNZE_OP_GEMM);
    expect(gemm(a, packed, sums, o), "gemm d=s32:6x5 a=u8:6x70 b=packed-s8:70x5");
    expect(gemm(signed_a, packed_signed, sums, o), "gemm d=s32:6x5 a=s8:6x70 b=packed-s8:70x5");
    hunze_quant qa = per_axis(0, nullptr, row_zeros), qb = per_axis(-1, nullptr, column_zeros), qd;
    o.a_quant = &qa;
    o.b_quant = &qb;
    o.bias = bias;
    expect(gemm(signed_a, b, sums, o),
           "gemm d=s32:6x5 a=s8:6x70 b=s8:70x5 bias=s32:5 a_quant.zero_point=s8:6 b_quant.zero_point=s8:5 "
           "a_quant.axis=0 b_quant.axis=-1");
    qa = per_axis(0, rows, row_zeros);
    qb = per_axis(1, columns);
    expect(gemm(signed_a, packed_signed, d, o),
           "gemm d=f32:6x5 a=s8:6x70 b=packed-s8:70x5 bias=s32:5 a_quant.scale=f32:6 "
           "a_quant.zero_point=s8:6 b_quant.scale=f32:5 a_quant.axis=0 b_quant.axis=1");
    qa = quant(one, one_u8);
    qd = quant(one, one_u8);
    o.d_quant = &qd;
    o.flags = HUNZE_REPRODUCIBLE | HUNZE_BATCH_INVARIANT;
    expect(gemm(a, packed, codes, o),
           "gemm d=u8:6x5 a=u8:6x70 b=packed-s8:70x5 bias=s32:5 a_quant.scale=f32: a_quant.zero_point=u8:1 "
           "b_quant.scale=f32:5 d_quant.scale=f32: d_quant.zero_point=u8:1 b_quant.axis=1 flags=5");
}

static void convolutions(hunze_context *context)
{
    const auto conv = [&](const hunze_tensor *x, const hunze_tensor *w, const hunze_tensor *y,
                          const hunze_conv_options &o) { return hunze_conv(context, x, w, y, &o, nullptr); };
    auto o = options_of<hunze_conv_options>();
    const Tensor x(f32, {2, 4, 9, 8}), w(f32, {6, 4, 3, 3}), y(f32, {2, 6, 7, 6});
    expect(conv(x, w, y, o), "conv y=f32:2x6x7x6 x=f32:2x4x9x8 w=f32:6x4x3x3");
    const Packed packed(context, w, HUNZE_OP_CONV);
    expect(conv(x, packed, y, o), "conv y=f32:2x6x7x6 x=f32:2x4x9x8 w=packed-f32:6x4x3x3");

    const Tensor last(f32, {2, 9, 8, 4}), w2(f32, {6, 2, 3, 2}), y_last(f32, {2, 5, 9, 6}), bias(f32, {6}),
        residual(f32, {2, 5, 9, 6});
    hunze_activation act = activation(HUNZE_ACT_HARDSWISH);
    o.layout = HUNZE_CHANNELS_LAST;
    o.groups = 2;
    o.stride[0] = 2;
    o.dilation[1] = 2;
    o.pad_before[0] = o.pad_after[0] = 1;
    o.pad_after[1] = 3;
    o.bias = bias;
    o.residual = residual;
    o.activation = &act;
    const std::string rest =
        " bias=f32:6 residual=f32:2x5x9x6 layout=1 groups=2 stride=2,1 dilation=1,2 before=1,0 after=1,3 activation=8";
    expect(conv(last, w2, y_last, o), "conv y=f32:2x5x9x6 x=f32:2x9x8x4 w=f32:6x2x3x2" + rest);
    const Packed packed2(context, w2, HUNZE_OP_CONV, 2);
    expect(conv(last, packed2, y_last, o), "conv y=f32:2x5x9x6 x=f32:2x9x8x4 w=packed-f32:6x2x3x2" + rest);

    o = options_of<hunze_conv_options>();
    const Tensor signal(f64, {1, 3, 20}), taps(f64, {4, 3, 5}), out(f64, {1, 4, 11});
    o.stride[0] = 2;
    o.pad_before[0] = 3;
    o.pad_after[0] = 2;
    expect(conv(signal, taps, out, o), "conv y=f64:1x4x11 x=f64:1x3x20 w=f64:4x3x5 stride=2 before=3 after=2");
    const Packed packed_taps(context, taps, HUNZE_OP_CONV);
    expect(conv(signal, packed_taps, out, o),
           "conv y=f64:1x4x11 x=f64:1x3x20 w=packed-f64:4x3x5 stride=2 before=3 after=2");

    o = options_of<hunze_conv_options>();
    o.groups = 4;
    const Tensor each(f32, {4, 1, 3, 3}), y_each(f32, {2, 4, 7, 6});
    const Packed packed_each(context, each, HUNZE_OP_CONV, 4);
    expect(conv(x, packed_each, y_each, o), "conv y=f32:2x4x7x6 x=f32:2x4x9x8 w=packed-f32:4x1x3x3 groups=4");

    o = options_of<hunze_conv_options>();
    const Tensor codes(u8, {1, 4, 9, 8}), w8(s8, {6, 4, 3, 3}), y8(s8, {1, 6, 7, 6}), one(f32, {}), zero(u8, {}),
        scales(f32, {6}), zero8(s8, {1});
    const Packed packed8(context, w8, HUNZE_OP_CONV, 1, true);
    const hunze_quant qx = quant(one, zero), qw = per_axis(0, scales), qy = quant(one, zero8);
    o.x_quant = &qx;
    o.w_quant = &qw;
    o.y_quant = &qy;
    const std::string quants =
        " x_quant.scale=f32: x_quant.zero_point=u8: w_quant.scale=f32:6 y_quant.scale=f32: y_quant.zero_point=s8:1 "
        "w_quant.axis=0";
    expect(conv(codes, w8, y8, o), "conv y=s8:1x6x7x6 x=u8:1x4x9x8 w=s8:6x4x3x3" + quants);
    expect(conv(codes, packed8, y8, o), "conv y=s8:1x6x7x6 x=u8:1x4x9x8 w=packed-s8:6x4x3x3" + quants);
}

static void transposed_convolutions(hunze_context *context)
{
    auto o = options_of<hunze_conv_options>();
    const Tensor x(f32, {1, 4, 5, 6}), w(f32, {4, 3, 3, 2}), y(f32, {1, 6, 11, 12}), bias(f32, {6});
    o.groups = 2;
    o.stride[0] = o.stride[1] = 2;
    o.pad_before[0] = 1;
    o.output_padding[0] = 1;
    o.bias = bias;
    const std::string rest = " bias=f32:6 groups=2 stride=2,2 before=1,0 output_padding=1,0";
    expect(hunze_conv_transpose(context, x, w, y, &o, nullptr),
           "conv_transpose y=f32:1x6x11x12 x=f32:1x4x5x6 w=f32:4x3x3x2" + rest);
    const Packed packed(context, w, HUNZE_OP_CONV_TRANSPOSE, 2);
    expect(hunze_conv_transpose(context, x, packed, y, &o, nullptr),
           "conv_transpose y=f32:1x6x11x12 x=f32:1x4x5x6 w=packed-f32:4x3x3x2" + rest);
    o = options_of<hunze_conv_options>();
    o.stride[0] = 3;
    o.output_padding[0] = 2;
    const Tensor signal(f64, {2, 4, 5}), taps(f64, {4, 3, 3}), out(f64, {2, 3, 17});
    const Packed packed_taps(context, taps, HUNZE_OP_CONV_TRANSPOSE);
    expect(hunze_conv_transpose(context, signal, packed_taps, out, &o, nullptr),
           "conv_transpose y=f64:2x3x17 x=f64:2x4x5 w=packed-f64:4x3x3 stride=3 output_padding=2");
}

static void maps(hunze_context *context)
{
    auto o = options_of<hunze_quantize_options>();
    const Tensor x(f32, {3, 4, 5}, {40, 1, 4}), codes(u8, {3, 4, 5}), sums(s32, {3, 4, 5}), scale(f32, {1}),
        zero(u8, {}), scales(f32, {4}), zeros(u8, {4}), last(f32, {5}), number(f32, {}), code(s8, {}),
        y(f32, {3, 4, 5});
    hunze_quant q = quant(scale, zero);
    o.quant = &q;
    o.dynamic = 1;
    expect(hunze_quantize(context, x, codes, &o, nullptr),
           "quantize codes=u8:3x4x5 x=f32:3x4x5@40,1,4 quant.scale=f32:1 quant.zero_point=u8: dynamic=1");
    o.dynamic = 0;
    q = per_axis(1, scales, zeros);
    expect(hunze_quantize(context, x, codes, &o, nullptr),
           "quantize codes=u8:3x4x5 x=f32:3x4x5@40,1,4 quant.scale=f32:4 quant.zero_point=u8:4 quant.axis=1");
    expect(hunze_dequantize(context, codes, y, &o, nullptr),
           "dequantize x=f32:3x4x5 codes=u8:3x4x5 quant.scale=f32:4 quant.zero_point=u8:4 quant.axis=1");
    q = per_axis(-1, last);
    o.flags = HUNZE_REPRODUCIBLE;
    expect(hunze_dequantize(context, sums, y, &o, nullptr),
           "dequantize x=f32:3x4x5 codes=s32:3x4x5 quant.scale=f32:5 quant.axis=-1 flags=1");
    q = quant(scale);
    o.flags = 0;
    expect(hunze_quantize(context, number, code, &o, nullptr), "quantize codes=s8: x=f32: quant.scale=f32:1");

    auto a = options_of<hunze_activation_options>();
    hunze_activation act = activation(HUNZE_ACT_HARDSIGMOID, 0.2f, 0.5f);
    expect(hunze_activate(context, x, y, nullptr, nullptr), "activation y=f32:3x4x5 x=f32:3x4x5@40,1,4");
    a.activation = &act;
    expect(hunze_activate(context, x, y, &a, nullptr),
           "activation y=f32:3x4x5 x=f32:3x4x5@40,1,4 activation=7:0.2,0.5");
    const Tensor z(f64, {60});
    act = activation(HUNZE_ACT_GELU, 3, 4); /* which it does not look at */
    expect(hunze_activate(context, z, z, &a, nullptr), "activation y=f64:60 x=f64:60 activation=3 in_place=1");
}

static void lines_run_again(void **)
{
    int contexts = 0;
    for (const char *isa : {"portable", "avx2", "avxvnni", "avx512", "avx512vnni"}) {
        auto options = options_of<hunze_context_options>();
        options.flags = HUNZE_IGNORE_ENVIRONMENT;
        options.isa = isa;
        options.trace = remember;
        options.trace_user = &traced;
        hunze_context *context;
        if (hunze_context_create(&options, &context) != HUNZE_OK)
            continue; /* not on this CPU */
        contexts++;
        for (const auto part : {products, integer_products, convolutions, transposed_convolutions, maps})
            part(context);
        hunze_context_release(context);
    }
    assert_true(contexts > 0);
}

/* ------------------------------------------------------------------ lines that are not */

static void another_kernel_says_so(void **)
{
    std::string note;
    const std::string line = "gemm d=f32:3x5 a=f32:3x7 b=packed-f32:7x5 kernel=";
    const std::string again = repro_once(line + "gemm_f32_abacus", 1, &note);
    assert_int_equal(again.compare(0, line.size(), line), 0);
    assert_non_null(std::strstr(note.c_str(), "kernel gemm_f32_abacus cannot run this call here"));
}

static void malformed_lines(void **)
{
    const struct {
        const char *line;
        size_t column;
        const char *says;
    } cases[] = {
        {"", 1, "gemm, conv, conv_transpose, quantize, dequantize or activation is expected"},
        {"gemv d=f32:3 a=f32:3x7", 1, "'gemv' is no operation"},
        {"gemm", 5, "the line ends without d="},
        {"gemm d=f32:3x5 a=f32:3x7 kernel=gemm_f32_portable", 50, "the line ends without b="},
        {"gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 stride=1", 36,
         "'stride' is nothing that gemm has; one of these is expected: alpha"},
        {"gemm d=f32:3x5 d=f32:3x5", 16, "'d' is given twice"},
        {"gemm d", 6, "NAME=VALUE is expected"},
        {"gemm d=f8:3x5", 8, "'f8:3x5'; f32, f64, bf16, f16, s32, s8 or u8 is expected"},
        {"gemm d=f32", 11, "the word ends; ':' and the shape is expected"},
        {"gemm d=f32:3xx5", 14, "'x5'; a number from 0 to 9223372036854775807 is expected"},
        {"gemm d=f32:3x-5", 14, "'-5'; a number from 0"},
        {"gemm d=f32:3x5@5", 17, "the next axis' stride is expected"},
        {"gemm d=f32:3x5@5,1,1", 20, "one stride per axis is expected"},
        {"gemm d=f32:3x5@5,1;", 19, "a space is expected"},
        {"gemm d=f32:1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1", 44, "up to 16 axes is expected"},
        {"gemm d=packed-f32:3x5 a=f32:3x7 b=f32:7x5", 8, "d is packed; weights alone can be"},
        {"gemm d=f32:99999999999x99999999999 a=f32:3x7 b=f32:7x5", 8, "more than half of this machine's memory"},
        {"gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 alpha=one", 42, "'one'; a number is expected"},
        {"gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 alpha=0,1", 43, "',1'; a space is expected"},
        {"gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 transpose_b=2", 48, "'2'; a number from 0 to 1 is expected"},
        {"gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 activation=12", 47, "'12'; a number from 0 to 11 is expected"},
        {"gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 activation=10:0.01", 54, "the word ends; ',' and beta is expected"},
        {"gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 a_quant.axis=0", 49, "a_quant.scale or a_quant.zero_point beside it"},
        {"gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 in_place=1", 45, "the output and what it replaces"},
        {"gemm d=f32:3x5 a=f32:3x7 b=f32:7x5 kernel=", 43, "a kernel's name is expected"},
        {"conv y=f32:1x1x1x1 x=f32:1x1x1x1 w=f32:1x1x1x1 stride=1", 56,
         "the word ends; ',' and a number for each of 2 axes"},
        {"conv y=f32:1x1x1x1 x=f32:1x1x1x1 w=f32:1x1x1x1 stride=0,1", 55, "'0,1'; a number from 1"},
        {"conv y=f32:1x1x1x1 x=f32:1x1x1x1x1 w=f32:1x1x1x1", 22, "x has 5 axes; 3 or 4 are expected"},
    };
    for (const auto &one : cases)
        try {
            repro_once(one.line, 1);
            fail_msg("no error: %s", one.line);
        } catch (const LineError &error) {
            if (error.column != one.column || !std::strstr(error.what(), one.says))
                fail_msg("%s: %s; expected: column %zu, %s", one.line, error.what(), one.column, one.says);
        }
    /* What the words say one by one, but not together, the library refuses. */
    try {
        repro_once("gemm d=f32:3x5 a=f32:3x7 b=f32:8x5", 1);
        fail_msg("no error");
    } catch (const std::runtime_error &error) {
        assert_string_equal(error.what(), "HUNZE_ERR_SHAPE: b has shape (8, 5); a (3, 7) needs b (7, n)");
    }
    assert_int_equal(bench::repro("gemm", 1), 2);
}

/* The timed runs, with packed weights and with an output that is replaced in place. */
static void repeats_are_timed(void **)
{
    assert_int_equal(bench::repro("gemm d=f32:3x5 a=f32:3x7 b=packed-f32:7x5 kernel=gemm_f32_portable\n", 1), 0);
    assert_int_equal(
        bench::repro("activation y=f32:60 x=f32:60 activation=3 in_place=1 kernel=activation_f32_portable", 1), 0);
}

/* A trace cuts what it has no room for; that is said, not run. */
static void cut_lines(void **)
{
    const std::string start = "gemm d=f32:3x5 a=f32:3x7 b=f32:7x5";
    repro_once(start + std::string(1022 - start.size(), ' '), 1);
    try {
        repro_once(start + std::string(1023 - start.size(), ' '), 1);
        fail_msg("no error");
    } catch (const LineError &error) {
        assert_int_equal(error.column, 1024);
    }
}

int main()
{
    unsetenv("HUNZE_ISA"); /* the repeats read it */
    const CMUnitTest tests[] = {cmocka_unit_test(lines_run_again), cmocka_unit_test(another_kernel_says_so),
                                cmocka_unit_test(malformed_lines), cmocka_unit_test(cut_lines),
                                cmocka_unit_test(repeats_are_timed)};
    return cmocka_run_group_tests_name("repro", tests, nullptr, nullptr);
}
