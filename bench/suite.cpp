/* SPDX-License-Identifier: Apache-2.0 */
#include "suite.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace bench
{

namespace
{

struct Field {
    std::string text;
    size_t column; /* of its first character in the line, from 1 */
};

struct Place {
    const std::string &path;
    size_t line;

    std::string text(size_t column) const { return path + ":" + std::to_string(line) + ":" + std::to_string(column); }
    [[noreturn]] void fail(size_t column, const std::string &what) const
    {
        throw SuiteError(text(column) + ": " + what);
    }
};

std::vector<Field> split(const std::string &line)
{
    std::vector<Field> fields;
    size_t start = 0;
    for (;;) {
        const size_t comma = line.find(',', start);
        fields.push_back({line.substr(start, comma - start), start + 1});
        if (comma == std::string::npos)
            return fields;
        start = comma + 1;
    }
}

/* G of "w4gG" and "w8gG"; 0 for another dtype, -1 where G is not a power of two from 16 on. */
int64_t group_size(const std::string &dtype)
{
    if (dtype.rfind("w4g", 0) != 0 && dtype.rfind("w8g", 0) != 0)
        return 0;
    char *end;
    const long group = std::strtol(dtype.c_str() + 3, &end, 10);
    return *end || end == dtype.c_str() + 3 || group < 16 || group > 65536 || (group & (group - 1)) ? -1 : group;
}

/* One line's fields by the names of their columns. */
class Line
{
  public:
    Line(Place place, const std::vector<std::string> &columns, const std::vector<Field> &fields)
        : place_(place), fields_(fields)
    {
        for (size_t i = 0; i < columns.size(); i++)
            index_[columns[i]] = i;
    }
    const Field &field(const char *name) const { return fields_[index_.at(name)]; }
    const std::string &text(const char *name) const { return field(name).text; }
    int64_t number(const char *name, int64_t least, int64_t most) const
    {
        const Field &f = field(name);
        char *end;
        errno = 0;
        const long long value = std::strtoll(f.text.c_str(), &end, 10);
        if (f.text.empty() || *end || errno || value < least || value > most)
            place_.fail(f.column, std::string(name) + " is '" + f.text + "'; a whole number from " +
                                      std::to_string(least) + " to " + std::to_string(most) + " is expected");
        return value;
    }
    std::string one_of(const char *name, std::initializer_list<const char *> choices) const
    {
        const Field &f = field(name);
        std::string list;
        for (const char *choice : choices) {
            if (f.text == choice)
                return f.text;
            list += (list.empty() ? "" : ", ") + std::string(choice);
        }
        place_.fail(f.column, std::string(name) + " is '" + f.text + "'; one of " + list + " is expected");
    }
    [[noreturn]] void fail(const char *name, const std::string &what) const { place_.fail(field(name).column, what); }

  private:
    Place place_;
    const std::vector<Field> &fields_;
    std::map<std::string, size_t> index_;
};

void read_gemm(const Line &line, Row &row)
{
    row.trans_b = line.one_of("trans_b", {"N", "T"}) == "T";
    row.packed_b = line.number("packed_b", 0, 1);
}

void read_conv(const Line &line, Row &row)
{
    row.packed_b = true;
    if (row.channels % row.groups || row.filters % row.groups)
        line.fail("groups", "groups is " + line.text("groups") + "; it does not divide C and K");
    if (row.height + 2 * row.pad < row.kernel_height)
        line.fail("R", "R is " + line.text("R") + ", larger than H and its padding");
    if (row.width + 2 * row.pad < row.kernel_width)
        line.fail("S", "S is " + line.text("S") + ", larger than W and its padding");
    row.out_height = (row.height + 2 * row.pad - row.kernel_height) / row.stride + 1;
    row.out_width = (row.width + 2 * row.pad - row.kernel_width) / row.stride + 1;
}

/* The columns of a suite of the operation. */
std::vector<std::string> columns_of(bench_op op)
{
    std::vector<std::string> columns = {"id", "op", "dtype"};
    for (const Extent &extent : extents_of(op))
        if (*extent.column)
            columns.push_back(extent.column);
    if (op == BENCH_GEMM)
        columns.insert(columns.end(), {"trans_b", "packed_b"});
    columns.push_back("source");
    return columns;
}

/* The operation of a suite, by its header; every column must be there, in any order. */
bench_op read_header(Place place, const std::vector<Field> &fields)
{
    std::set<std::string> have;
    for (const Field &field : fields)
        have.insert(field.text);
    const bench_op op = have.count("M") ? BENCH_GEMM : BENCH_CONV;
    const std::vector<std::string> wanted = columns_of(op);
    const std::set<std::string> known(wanted.begin(), wanted.end());
    for (const Field &field : fields)
        if (!known.count(field.text))
            place.fail(field.column, "column '" + field.text + "' is not known in a suite of " +
                                         (op == BENCH_GEMM ? "gemm" : "conv"));
    for (const std::string &name : wanted)
        if (!have.count(name))
            place.fail(1, "the header lacks column '" + name + "'");
    if (have.size() != fields.size())
        place.fail(1, "a column stands twice in the header");
    return op;
}

} // namespace

const std::vector<Extent> &extents_of(bench_op op)
{
    constexpr int64_t most = int64_t{1} << 31, most_step = 1 << 16;
    static const std::vector<Extent> gemm = {{"m", "M", &bench_case::m, 1, most},
                                             {"n", "N", &bench_case::n, 1, most},
                                             {"k", "K", &bench_case::k, 1, most},
                                             {"batch", "batch", &bench_case::batch, 1, most},
                                             {"group_size", "", &bench_case::group_size, 0, 0}};
    static const std::vector<Extent> conv = {{"images", "N", &bench_case::images, 1, most},
                                             {"channels", "C", &bench_case::channels, 1, most},
                                             {"height", "H", &bench_case::height, 1, most},
                                             {"width", "W", &bench_case::width, 1, most},
                                             {"filters", "K", &bench_case::filters, 1, most},
                                             {"kernel_height", "R", &bench_case::kernel_height, 1, most},
                                             {"kernel_width", "S", &bench_case::kernel_width, 1, most},
                                             {"stride", "stride", &bench_case::stride, 1, most_step},
                                             {"pad", "pad", &bench_case::pad, 0, most_step},
                                             {"groups", "groups", &bench_case::groups, 1, most},
                                             {"out_height", "", &bench_case::out_height, 0, 0},
                                             {"out_width", "", &bench_case::out_width, 0, 0}};
    return op == BENCH_GEMM ? gemm : conv;
}

std::vector<Row> parse_suite(const std::string &text, const std::string &path)
{
    std::vector<Row> rows;
    std::vector<std::string> columns; /* of the header */
    bench_op op = BENCH_GEMM;
    std::set<std::string> ids;
    std::istringstream stream(text);
    std::string line;
    for (size_t number = 1; std::getline(stream, line); number++) {
        if (!line.empty() && line.back() == '\r')
            line.pop_back();
        if (line.find_first_not_of(" \t") == std::string::npos || line[0] == '#')
            continue;
        const Place place{path, number};
        const std::vector<Field> fields = split(line);
        if (columns.empty()) {
            op = read_header(place, fields);
            for (const Field &field : fields)
                columns.push_back(field.text);
            continue;
        }
        if (fields.size() != columns.size())
            place.fail(fields.size() > columns.size() ? fields[columns.size()].column : line.size() + 1,
                       std::to_string(fields.size()) + " fields; the header has " + std::to_string(columns.size()));
        const Line values(place, columns, fields);
        Row row;
        row.suite = std::filesystem::path(path).stem();
        row.source = values.text("source");
        row.place = place.text(values.field("id").column);
        const std::string &id = values.text("id"), &dtype = values.text("dtype");
        if (id.empty() || id.size() >= sizeof row.id || id.find_first_of("/\" \\") != std::string::npos)
            values.fail("id", "id is '" + id + "'; up to 31 characters without space, / and quotes are expected");
        if (!ids.insert(id).second)
            values.fail("id", "id '" + id + "' stands twice");
        const bool gemm = op == BENCH_GEMM;
        values.one_of("op", {gemm ? "gemm" : "conv"});
        row.group_size = gemm ? group_size(dtype) : 0;
        if (row.group_size < 0)
            values.fail("dtype", "dtype is '" + dtype + "'; the group is a power of two from 16 to 65536");
        if (row.group_size == 0) {
            if (gemm)
                values.one_of("dtype", {"f32", "f64", "bf16", "u8s8", "s8s8", "w4g32", "w8g128"});
            else
                values.one_of("dtype", {"f32", "f64", "bf16", "u8s8", "s8s8"});
        }
        std::strcpy(row.id, id.c_str());
        if (dtype.size() >= sizeof row.dtype)
            values.fail("dtype", "dtype is too long");
        std::strcpy(row.dtype, dtype.c_str());
        row.op = op;
        for (const Extent &extent : extents_of(row.op))
            if (*extent.column)
                row.*extent.member = values.number(extent.column, extent.least, extent.most);
        gemm ? read_gemm(values, row) : read_conv(values, row);
        if (row.group_size && (row.batch != 1 || row.trans_b || !row.packed_b))
            values.fail("dtype", "weight-only rows have batch 1, trans_b N and packed_b 1");
        rows.push_back(row);
    }
    if (columns.empty())
        throw SuiteError(path + ":1:1: the file is empty; a header that names the columns is expected");
    return rows;
}

std::vector<Row> read_suite(const std::string &path)
{
    std::ifstream file(path);
    std::ostringstream text;
    if (file && file.peek() != std::ifstream::traits_type::eof()) /* nothing to copy would be a failure of `text` */
        text << file.rdbuf();
    if (!file.is_open() || file.bad() || !text)
        throw SuiteError(path + ": " + std::strerror(errno ? errno : EIO));
    return parse_suite(text.str(), path);
}

std::string Row::shape() const
{
    auto join = [](std::initializer_list<int64_t> extents) {
        std::string text;
        for (const int64_t extent : extents)
            text += (text.empty() ? "" : "x") + std::to_string(extent);
        return text;
    };
    if (op == BENCH_GEMM)
        return join({m, n, k}) + (trans_b ? " T" : "") + (batch > 1 ? " b" + std::to_string(batch) : "") +
               (packed_b ? " packed" : "");
    std::string text = (images > 1 ? "b" + std::to_string(images) + " " : "") + join({channels, height, width}) + " " +
                       join({kernel_height, kernel_width}) + "/" + std::to_string(stride) + " ->" +
                       std::to_string(filters);
    if (groups > 1)
        text += groups == channels && groups == filters ? " dw" : " g" + std::to_string(groups);
    return text;
}

double Row::operations() const
{
    if (op == BENCH_GEMM)
        return 2.0 * static_cast<double>(batch) * static_cast<double>(m) * static_cast<double>(n) *
               static_cast<double>(k);
    return 2.0 * static_cast<double>(d_count()) * static_cast<double>(channels / groups) *
           static_cast<double>(kernel_height * kernel_width);
}

int64_t Row::a_count() const { return op == BENCH_GEMM ? batch * m * k : images * channels * height * width; }
int64_t Row::b_count() const
{
    return op == BENCH_GEMM ? batch * n * k : filters * (channels / groups) * kernel_height * kernel_width;
}
int64_t Row::d_count() const { return op == BENCH_GEMM ? batch * m * n : images * filters * out_height * out_width; }
int64_t Row::scale_count() const { return group_size ? n * ((k + group_size - 1) / group_size) : 0; }

size_t element_bytes(const std::string &dtype, char operand)
{
    const bool weight_only = dtype[0] == 'w', integers = dtype == "u8s8" || dtype == "s8s8";
    if (dtype == "f64")
        return 8;
    if (operand == 'd')
        return dtype == "bf16" ? 2 : 4;
    if (integers || (weight_only && operand == 'b'))
        return 1;
    return dtype == "bf16" ? 2 : 4;
}

double Row::weight_bytes() const
{
    const double codes = static_cast<double>(b_count()) * static_cast<double>(element_bytes(dtype, 'b'));
    return dtype[0] != 'w' ? codes : codes * (dtype[1] == '4' ? 0.5 : 1) + 4.0 * static_cast<double>(scale_count());
}

double Row::bytes() const
{
    return weight_bytes() + static_cast<double>(a_count()) * static_cast<double>(element_bytes(dtype, 'a')) +
           static_cast<double>(d_count()) * static_cast<double>(element_bytes(dtype, 'd'));
}

} // namespace bench
