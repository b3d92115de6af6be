/* SPDX-License-Identifier: Apache-2.0 */
/* The line of a trace, read: its words by the op's grammar, with the column of what does not fit.  Whether the words fit each other the
 * library says.  For repro.cpp alone. */
#pragma once

#include "repro.hpp"

#include "../include/hunze.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <vector>

namespace bench
{

constexpr size_t cut_line = 1023; /* letters that a trace has room for */
constexpr int most_axes = 16;

/* Which words an op has: operands in the order of roles, what stands before ".scale", and the other ones. */
struct Grammar {
    const char *name;
    hunze_op op;
    std::vector<std::string> operands; /* d, a, b, c, bias, residual, offsets; "" where there is none */
    std::vector<std::string> quants;   /* of a, b, d */
    std::vector<std::string> options;
};

inline const Grammar &grammar_of(const std::string &name)
{
    static const std::vector<std::string> conv = {"layout", "groups", "stride",    "dilation",
                                                  "before", "after",  "activation"},
                                          transposed = {"layout", "groups", "stride",         "dilation",
                                                        "before", "after",  "output_padding", "activation"};
    static const std::vector<Grammar> ops = {
        {"gemm",
         HUNZE_OP_GEMM,
         {"d", "a", "b", "c", "bias", "residual", "offsets"},
         {"a_quant", "b_quant", "d_quant"},
         {"alpha", "beta", "transpose_a", "transpose_b", "rows", "activation", "in_place"}},
        {"conv", HUNZE_OP_CONV, {"y", "x", "w", "", "bias", "residual", ""}, {"x_quant", "w_quant", "y_quant"}, conv},
        {"conv_transpose",
         HUNZE_OP_CONV_TRANSPOSE,
         {"y", "x", "w", "", "bias", "residual", ""},
         {"x_quant", "w_quant", "y_quant"},
         transposed},
        {"quantize", HUNZE_OP_QUANTIZE, {"codes", "x", "", "", "", "", ""}, {"", "", "quant"}, {"dynamic"}},
        {"dequantize", HUNZE_OP_DEQUANTIZE, {"x", "codes", "", "", "", "", ""}, {"quant", "", ""}, {}},
        {"activation", HUNZE_OP_ACTIVATION, {"y", "x", "", "", "", "", ""}, {"", "", ""}, {"activation", "in_place"}},
    };
    for (const Grammar &grammar : ops)
        if (name == grammar.name)
            return grammar;
    throw LineError(
        1,
        "'" + name + "' is no operation; gemm, conv, conv_transpose, quantize, dequantize or activation is expected");
}

struct Word {
    size_t column; /* of the value */
    std::string value;
};

/* One value, read from left to right. */
class Reader
{
  public:
    explicit Reader(const Word &word) : word_(word) {}
    bool ended() const { return at_ == word_.value.size(); }
    bool take(char letter)
    {
        if (ended() || word_.value[at_] != letter)
            return false;
        at_++;
        return true;
    }
    bool take(const std::string &text)
    {
        if (word_.value.compare(at_, text.size(), text) != 0)
            return false;
        at_ += text.size();
        return true;
    }
    template <typename T> T number(const std::string &expected)
    {
        T value{};
        const char *first = word_.value.data() + at_, *end = word_.value.data() + word_.value.size();
        const auto [rest, error] = std::from_chars(first, end, value);
        if (error != std::errc())
            fail(expected);
        at_ += static_cast<size_t>(rest - first);
        return value;
    }
    int64_t between(int64_t least, int64_t most)
    {
        const std::string expected = "a number from " + std::to_string(least) + " to " + std::to_string(most);
        const size_t start = at_;
        const int64_t value = number<int64_t>(expected);
        if (value < least || value > most) {
            at_ = start;
            fail(expected);
        }
        return value;
    }
    void end(const std::string &expected) const
    {
        if (!ended())
            fail(expected);
    }
    [[noreturn]] void fail(const std::string &expected) const
    {
        throw LineError(word_.column + at_, (ended() ? "the word ends" : "'" + word_.value.substr(at_) + "'") + "; " +
                                                expected + " is expected");
    }

  private:
    const Word &word_;
    size_t at_ = 0;
};

struct Operand {
    bool given = false, packed = false;
    hunze_dtype dtype{};
    std::vector<int64_t> shape, strides;
    size_t column = 0;
};

inline Operand read_operand(const Word &word)
{
    static const std::map<std::string, hunze_dtype> dtypes = {
        {"f32", {HUNZE_FLOAT, 32, 1}}, {"f64", {HUNZE_FLOAT, 64, 1}}, {"bf16", {HUNZE_BFLOAT, 16, 1}},
        {"f16", {HUNZE_FLOAT, 16, 1}}, {"s32", {HUNZE_INT, 32, 1}},   {"s8", {HUNZE_INT, 8, 1}},
        {"u8", {HUNZE_UINT, 8, 1}}};
    Operand operand;
    Reader reader(word);
    operand.given = true;
    operand.column = word.column;
    operand.packed = reader.take("packed-");
    const auto dtype =
        std::find_if(dtypes.begin(), dtypes.end(), [&](const auto &known) { return reader.take(known.first); });
    if (dtype == dtypes.end())
        reader.fail("f32, f64, bf16, f16, s32, s8 or u8");
    operand.dtype = dtype->second;
    if (!reader.take(':'))
        reader.fail("':' and the shape");
    const std::string axes = "up to 16 axes";
    if (!reader.ended())
        do {
            if (operand.shape.size() == most_axes)
                reader.fail(axes);
            operand.shape.push_back(reader.between(0, INT64_MAX));
        } while (reader.take('x'));
    if (!operand.packed && reader.take('@'))
        do {
            if (operand.strides.size() == operand.shape.size())
                reader.fail("one stride per axis");
            operand.strides.push_back(reader.number<int64_t>("a stride"));
        } while (reader.take(','));
    if (!operand.strides.empty() && operand.strides.size() != operand.shape.size())
        reader.fail("',' and the next axis' stride");
    reader.end(operand.packed            ? "'x' and an extent, or a space"
               : operand.strides.empty() ? "'x' and an extent, '@' and strides, or a space"
                                         : "a space");
    return operand;
}

enum { D, A, B, C, BIAS, RESIDUAL, OFFSETS, OPERANDS };
enum { OF_A, OF_B, OF_D, QUANTS };

struct Quant {
    Operand scale, zero_point;
    bool per_axis = false;
    int32_t axis = 0;
};

struct Line {
    const Grammar *grammar = nullptr;
    Operand operand[OPERANDS];
    Quant quant[QUANTS];
    double alpha = 1, beta = 0;
    bool transpose_a = false, transpose_b = false, in_place = false;
    uint32_t layout = 0, groups = 1, dynamic = 0, flags = 0;
    std::vector<uint32_t> stride, dilation, before, after, output_padding; /* empty: the default */
    std::vector<int32_t> rows;                                             /* of each group, with offsets */
    hunze_activation activation{sizeof(hunze_activation), 0, 0, 0};
    std::string kernel;
};

inline bool read_flag(Reader reader)
{
    const bool value = reader.between(0, 1) == 1;
    reader.end("a space");
    return value;
}

inline uint32_t read_count(Reader reader, uint32_t least = 0)
{
    const int64_t value = reader.between(least, UINT32_MAX);
    reader.end("a space");
    return static_cast<uint32_t>(value);
}

inline double read_real(Reader reader)
{
    const double value = reader.number<double>("a number");
    reader.end("a space");
    return value;
}

/* One number per spatial axis of x. */
inline std::vector<uint32_t> read_axes(Reader reader, size_t spatial, int64_t least)
{
    std::vector<uint32_t> values;
    for (size_t i = 0; i < spatial; i++) {
        if (i && !reader.take(','))
            reader.fail("',' and a number for each of " + std::to_string(spatial) + " axes");
        values.push_back(static_cast<uint32_t>(reader.between(least, INT32_MAX)));
    }
    reader.end("a space");
    return values;
}

/* The rows of each group that offsets of this shape tell apart. */
inline std::vector<int32_t> read_rows(Reader reader, const Operand &offsets)
{
    if (!offsets.given || offsets.shape.size() != 1 || offsets.shape[0] < 2)
        reader.fail("offsets of two elements or more beside it");
    std::vector<int32_t> rows;
    do
        rows.push_back(static_cast<int32_t>(reader.between(0, INT32_MAX)));
    while (reader.take(','));
    reader.end("',' and a number, or a space");
    if (static_cast<int64_t>(rows.size()) != offsets.shape[0] - 1)
        reader.fail("',' and a number for each of " + std::to_string(offsets.shape[0] - 1) + " groups");
    return rows;
}

inline hunze_activation read_activation(Reader reader)
{
    hunze_activation activation{sizeof activation, 0, 0, 0};
    activation.kind = static_cast<uint32_t>(reader.between(0, HUNZE_ACT_CLIP));
    if (reader.take(':')) {
        activation.alpha = reader.number<float>("alpha");
        if (!reader.take(','))
            reader.fail("',' and beta");
        activation.beta = reader.number<float>("beta");
    }
    reader.end("':' with alpha and beta, or a space");
    return activation;
}

/* The words behind the op, by their names; each is one that the op has. */
inline std::map<std::string, Word> split(const std::string &line, const Grammar &grammar, size_t at)
{
    std::vector<std::string> known = grammar.options;
    for (const std::string &name : grammar.operands)
        known.push_back(name);
    for (const std::string &name : grammar.quants)
        if (!name.empty())
            for (const char *part : {".scale", ".zero_point", ".axis"})
                known.push_back(name + part);
    known.insert(known.end(), {"flags", "kernel"});
    std::map<std::string, Word> words;
    while ((at = line.find_first_not_of(' ', at)) != std::string::npos) {
        const size_t end = std::min(line.find(' ', at), line.size()), equals = std::min(line.find('=', at), end);
        const std::string name = line.substr(at, equals - at);
        if (equals == end)
            throw LineError(at + 1, "'" + name + "'; NAME=VALUE is expected");
        if (name.empty() || std::find(known.begin(), known.end(), name) == known.end()) {
            std::string list;
            for (const std::string &one : known)
                list += one.empty() ? "" : (list.empty() ? "" : ", ") + one;
            throw LineError(at + 1, "'" + name + "' is nothing that " + grammar.name +
                                        " has; one of these is expected: " + list);
        }
        if (!words.insert({name, {equals + 2, line.substr(equals + 1, end - equals - 1)}}).second)
            throw LineError(at + 1, "'" + name + "' is given twice; once is expected");
        at = end;
    }
    return words;
}

inline Line parse_line(std::string line)
{
    if (line.size() >= cut_line)
        throw LineError(line.size() + 1, "a trace cuts lines here; a whole line of less than " +
                                             std::to_string(cut_line) + " letters is expected");
    line.erase(line.find_last_not_of(" \r\n") + 1);
    Line parsed;
    const size_t first = std::min(line.find(' '), line.size());
    const Grammar &grammar = grammar_of(line.substr(0, first));
    parsed.grammar = &grammar;
    std::map<std::string, Word> words = split(line, grammar, first);
    const auto with = [&](const std::string &name, const auto &use) {
        const auto word = words.find(name);
        if (word != words.end())
            use(Reader(word->second));
    };
    for (int i = 0; i < OPERANDS; i++) {
        const std::string &name = grammar.operands[static_cast<size_t>(i)];
        const auto word = words.find(name);
        if (word != words.end()) {
            parsed.operand[i] = read_operand(word->second);
            if (parsed.operand[i].packed && i != B)
                throw LineError(word->second.column, name + " is packed; weights alone can be");
        } else if (!name.empty() && i <= B) {
            throw LineError(line.size() + 1, "the line ends without " + name + "=…, which is expected");
        }
    }
    for (int i = 0; i < QUANTS; i++) {
        const std::string &name = grammar.quants[static_cast<size_t>(i)];
        Quant &quant = parsed.quant[i];
        for (const auto &[part, operand] :
             {std::pair(".scale", &quant.scale), std::pair(".zero_point", &quant.zero_point)}) {
            const auto word = words.find(name + part);
            if (word == words.end())
                continue;
            *operand = read_operand(word->second);
            if (operand->packed)
                throw LineError(word->second.column, name + part + " is packed; weights alone can be");
        }
        with(name + ".axis", [&](Reader reader) {
            if (!quant.scale.given && !quant.zero_point.given)
                reader.fail(name + ".scale or " + name + ".zero_point beside it");
            quant.per_axis = true;
            quant.axis = static_cast<int32_t>(reader.between(-most_axes, most_axes));
            reader.end("a space");
        });
    }
    with("alpha", [&](Reader reader) { parsed.alpha = read_real(reader); });
    with("beta", [&](Reader reader) { parsed.beta = read_real(reader); });
    with("transpose_a", [&](Reader reader) { parsed.transpose_a = read_flag(reader); });
    with("transpose_b", [&](Reader reader) { parsed.transpose_b = read_flag(reader); });
    with("in_place", [&](Reader reader) {
        parsed.in_place = read_flag(reader);
        const Operand &other = parsed.operand[grammar.op == HUNZE_OP_GEMM ? C : A], &d = parsed.operand[D];
        if (parsed.in_place && (!other.given || other.shape != d.shape || other.strides != d.strides ||
                                other.dtype.code != d.dtype.code || other.dtype.bits != d.dtype.bits))
            reader.fail("0, or the output and what it replaces of one type, shape and strides,");
    });
    const size_t axes = parsed.operand[A].shape.size(), spatial = axes > 2 ? axes - 2 : 1;
    if (spatial > 2 && (grammar.op == HUNZE_OP_CONV || grammar.op == HUNZE_OP_CONV_TRANSPOSE))
        throw LineError(parsed.operand[A].column, "x has " + std::to_string(axes) + " axes; 3 or 4 are expected");
    with("layout", [&](Reader reader) { parsed.layout = read_flag(reader); });
    with("groups", [&](Reader reader) { parsed.groups = read_count(reader, 1); });
    with("stride", [&](Reader reader) { parsed.stride = read_axes(reader, spatial, 1); });
    with("dilation", [&](Reader reader) { parsed.dilation = read_axes(reader, spatial, 1); });
    with("before", [&](Reader reader) { parsed.before = read_axes(reader, spatial, 0); });
    with("after", [&](Reader reader) { parsed.after = read_axes(reader, spatial, 0); });
    with("output_padding", [&](Reader reader) { parsed.output_padding = read_axes(reader, spatial, 0); });
    with("rows", [&](Reader reader) { parsed.rows = read_rows(reader, parsed.operand[OFFSETS]); });
    if (parsed.operand[OFFSETS].given && parsed.rows.empty() &&
        parsed.operand[OFFSETS].shape != std::vector<int64_t>{1})
        throw LineError(line.size() + 1, "the line has offsets and ends without rows=…, which is expected");
    with("dynamic", [&](Reader reader) { parsed.dynamic = read_flag(reader); });
    with("activation", [&](Reader reader) { parsed.activation = read_activation(reader); });
    with("flags", [&](Reader reader) { parsed.flags = read_count(reader); });
    const auto kernel = words.find("kernel");
    if (kernel != words.end())
        parsed.kernel = kernel->second.value;
    if (kernel != words.end() && parsed.kernel.empty())
        throw LineError(kernel->second.column, "the word ends; a kernel's name is expected");
    return parsed;
}

} // namespace bench
