/* SPDX-License-Identifier: Apache-2.0 */
/* Hunze itself, as one library among the others: the plan that a call gets, and each other row of the kernel table that takes the call. */
#include "../../include/hunze.h"
#include "../peak.h"
#include "../suite.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <nlohmann/json.hpp>

namespace
{

using nlohmann::json;

#define HUNZE_BENCH_FUNCTIONS(_)                                                                                       \
    _(hunze_context_create)                                                                                            \
    _(hunze_context_info)                                                                                              \
    _(hunze_last_error)                                                                                                \
    _(hunze_pack)                                                                                                      \
    _(hunze_pack_size)                                                                                                 \
    _(hunze_plan_create)                                                                                               \
    _(hunze_plan_explain)                                                                                              \
    _(hunze_plan_kernel)                                                                                               \
    _(hunze_plan_release)                                                                                              \
    _(hunze_plan_run)                                                                                                  \
    _(hunze_string_free)                                                                                               \
    _(hunze_version)

struct Library {
#define MEMBER(name) decltype(&::name) name;
    HUNZE_BENCH_FUNCTIONS(MEMBER)
#undef MEMBER
    hunze_context *context;
    std::vector<std::string> kernels; /* allowed here */
} library;

std::string text_of(hunze_status status, char *text)
{
    if (status != HUNZE_OK)
        return "";
    std::string copy = text;
    library.hunze_string_free(text);
    return copy;
}

bool open(const char *path, const char *, int threads, char version[128], char place[512], char why[256])
{
    if (!path) {
        std::snprintf(why, 256, "no library was named");
        return false;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        std::snprintf(why, 256, "%s", dlerror());
        return false;
    }
#define FIND(name)                                                                                                     \
    library.name = reinterpret_cast<decltype(&::name)>(dlsym(handle, #name));                                          \
    if (!library.name) {                                                                                               \
        std::snprintf(why, 256, "%s has no " #name, path);                                                             \
        return false;                                                                                                  \
    }
    HUNZE_BENCH_FUNCTIONS(FIND)
#undef FIND
    hunze_context_options options = {};
    options.struct_size = sizeof options;
    options.threads = threads;
    if (library.hunze_context_create(&options, &library.context)) {
        std::snprintf(why, 256, "%s", library.hunze_last_error());
        return false;
    }
    char *text = nullptr;
    const hunze_status status = library.hunze_context_info(library.context, &text);
    const json info = json::parse(text_of(status, text), nullptr, false);
    for (const json &kernel : info.value("kernels", json::array()))
        if (kernel.value("allowed", false))
            library.kernels.push_back(kernel.at("name"));
    std::snprintf(version, 128, "%s", library.hunze_version());
    std::snprintf(place, 512, "%s", path);
    return true;
}

hunze_dtype dtype_of(const std::string &dtype, char operand)
{
    if (dtype == "f32" || dtype == "f64")
        return {HUNZE_FLOAT, static_cast<uint8_t>(dtype == "f32" ? 32 : 64), 1};
    if (operand == 'd')
        return {HUNZE_INT, 32, 1};
    return {static_cast<uint8_t>(operand == 'a' && dtype[0] == 'u' ? HUNZE_UINT : HUNZE_INT), 8, 1};
}

/* A tensor with its own shape and strides. */
struct View {
    int64_t shape[4], strides[4];
    hunze_tensor tensor;

    View() : tensor{} {}
    View(const View &) = delete;
    View &operator=(const View &) = delete;
    void set(void *data, hunze_dtype dtype, std::initializer_list<int64_t> extents)
    {
        int64_t step = 1;
        tensor = {data, {HUNZE_DEVICE_CPU, 0}, static_cast<int32_t>(extents.size()), dtype, shape, strides, 0};
        std::copy(extents.begin(), extents.end(), shape);
        for (int i = tensor.ndim - 1; i >= 0; i--) {
            strides[i] = step;
            step *= shape[i];
        }
    }
};

struct Free {
    void operator()(void *pointer) const { std::free(pointer); }
};
using Block = std::unique_ptr<void, Free>;

Block block(size_t bytes) { return Block(std::aligned_alloc(64, (bytes + 63) / 64 * 64)); }

/* One way: the call, its plan, and weights packed for it. */
struct Way {
    View a, d;
    std::vector<View> b = std::vector<View>(1);
    std::vector<Block> packed;
    Block last_a, last_d; /* channels last */
    const bench_case *row = nullptr;
    hunze_gemm_options gemm{};
    hunze_conv_options conv{};
    hunze_call call{};
    hunze_plan *plan = nullptr;
    double prepack_seconds = 0;

    ~Way() { library.hunze_plan_release(plan); }
    const void *options() const { return call.op == HUNZE_OP_GEMM ? static_cast<const void *>(&gemm) : &conv; }
};

/* (images, channels, pixels) to (images, pixels, channels), or back. */
void swap_layout(const bench_case &row, const void *from, void *to, int64_t channels, int64_t pixels, size_t bytes,
                 bool to_last)
{
    for (int64_t image = 0; image < row.images; image++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = 0; p < pixels; p++) {
                const int64_t first = (image * channels + c) * pixels + p, last = (image * pixels + p) * channels + c;
                std::memcpy(static_cast<char *>(to) + static_cast<size_t>(to_last ? last : first) * bytes,
                            static_cast<const char *>(from) + static_cast<size_t>(to_last ? first : last) * bytes,
                            bytes);
            }
}

void describe(Way &way, bool channels_last)
{
    const bench_case &r = *way.row;
    const hunze_dtype a = dtype_of(r.dtype, 'a'), b = dtype_of(r.dtype, 'b'), d = dtype_of(r.dtype, 'd');
    void *x = const_cast<void *>(r.a), *w = const_cast<void *>(r.b);
    way.call = {sizeof way.call, HUNZE_OP_GEMM, &way.a.tensor, &way.b[0].tensor, nullptr, &way.d.tensor, &way.gemm};
    if (r.op == BENCH_GEMM) {
        const int64_t rows = r.trans_b ? r.n : r.k, columns = r.trans_b ? r.k : r.n;
        if (r.batch > 1) {
            way.a.set(x, a, {r.batch, r.m, r.k});
            way.b[0].set(w, b, {r.batch, rows, columns});
            way.d.set(r.d, d, {r.batch, r.m, r.n});
        } else {
            way.a.set(x, a, {r.m, r.k});
            way.b[0].set(w, b, {rows, columns});
            way.d.set(r.d, d, {r.m, r.n});
        }
        way.gemm.struct_size = sizeof way.gemm;
        way.gemm.transpose_b = r.trans_b;
        return;
    }
    way.call.op = HUNZE_OP_CONV;
    way.call.options = &way.conv;
    way.b[0].set(w, b, {r.filters, r.channels / r.groups, r.kernel_height, r.kernel_width});
    if (channels_last) {
        const int64_t in = r.height * r.width, out = r.out_height * r.out_width;
        const size_t bytes = a.bits / 8;
        way.last_a = block(static_cast<size_t>(r.images * r.channels * in) * bytes);
        way.last_d = block(static_cast<size_t>(r.images * r.filters * out) * d.bits / 8);
        swap_layout(r, x, way.last_a.get(), r.channels, in, bytes, true);
        way.a.set(way.last_a.get(), a, {r.images, r.height, r.width, r.channels});
        way.d.set(way.last_d.get(), d, {r.images, r.out_height, r.out_width, r.filters});
    } else {
        way.a.set(x, a, {r.images, r.channels, r.height, r.width});
        way.d.set(r.d, d, {r.images, r.filters, r.out_height, r.out_width});
    }
    way.conv.struct_size = sizeof way.conv;
    way.conv.layout = channels_last ? HUNZE_CHANNELS_LAST : HUNZE_CHANNELS_FIRST;
    way.conv.groups = static_cast<uint32_t>(r.groups);
    for (int axis = 0; axis < 2; axis++) {
        way.conv.stride[axis] = static_cast<uint32_t>(r.stride);
        way.conv.pad_before[axis] = way.conv.pad_after[axis] = static_cast<int32_t>(r.pad);
    }
}

/* Packs every copy of the weights; false where the row takes none packed. */
bool pack(Way &way, const char *kernel)
{
    const bench_case &r = *way.row;
    hunze_pack_options options = {};
    options.struct_size = sizeof options;
    options.op = way.call.op;
    options.transpose_b = r.op == BENCH_GEMM && r.trans_b;
    options.groups = static_cast<uint32_t>(r.groups);
    options.a_unsigned = r.dtype[0] == 'u';
    options.kernel = kernel;
    size_t bytes;
    hunze_tensor weights = way.b[0].tensor;
    if (library.hunze_pack_size(library.context, &weights, &options, &bytes))
        return false;
    std::vector<View> packed(static_cast<size_t>(r.copies));
    for (View &view : packed) {
        way.packed.push_back(block(bytes));
        view.set(way.packed.back().get(), {HUNZE_OPAQUE_HANDLE, 64, 1}, {static_cast<int64_t>(bytes / 8)});
        const double start = hunze_bench_seconds();
        if (library.hunze_pack(library.context, &weights, &view.tensor, &options, nullptr))
            return false;
        way.prepack_seconds = hunze_bench_seconds() - start; /* the last one: its code and tables are warm */
    }
    way.b.swap(packed);
    way.call.b = &way.b[0].tensor;
    return true;
}

bool call(void *state, int copy)
{
    Way &way = *static_cast<Way *>(state);
    way.call.b = &way.b[static_cast<size_t>(copy)].tensor;
    return library.hunze_plan_run(way.plan, &way.call, nullptr) == HUNZE_OK;
}

void finish(void *state)
{
    Way &way = *static_cast<Way *>(state);
    const bench_case &r = *way.row;
    if (way.last_d)
        swap_layout(r, way.last_d.get(), r.d, r.filters, r.out_height * r.out_width, way.d.tensor.dtype.bits / 8,
                    false);
}

void release(void *state) { delete static_cast<Way *>(state); }

/* A way with its plan, or null and the reason in hunze_last_error. */
std::unique_ptr<Way> make(const bench_case &row, const char *kernel, bool channels_last)
{
    auto way = std::make_unique<Way>();
    way->row = &row;
    describe(*way, channels_last);
    way->gemm.kernel = way->conv.kernel = kernel;
    if (row.packed_b)
        pack(*way, kernel);
    if (way->packed.empty()) { /* as they are */
        std::vector<View> copies(static_cast<size_t>(row.copies));
        const hunze_tensor &b = way->b[0].tensor;
        for (size_t i = 0; i < copies.size(); i++) {
            copies[i].tensor = b;
            std::copy(b.shape, b.shape + b.ndim, copies[i].shape);
            copies[i].tensor.shape = copies[i].shape;
            copies[i].tensor.strides = nullptr;
            copies[i].tensor.data = static_cast<char *>(b.data) + i * row.b_stride;
        }
        way->b.swap(copies);
        way->call.b = &way->b[0].tensor;
    }
    return library.hunze_plan_create(library.context, &way->call, &way->plan) ? nullptr : std::move(way);
}

void add(bench_way *ways, int &count, const std::string &name, std::unique_ptr<Way> made)
{
    bench_way &way = ways[count++];
    char *text = nullptr;
    const hunze_status status = library.hunze_plan_explain(made->plan, &text);
    const std::string explained = text_of(status, text);
    const json parsed = json::parse(explained, nullptr, false);
    std::snprintf(way.name, sizeof way.name, "%s", name.c_str());
    std::snprintf(way.isa, sizeof way.isa, "%s", parsed.value("isa", "").c_str());
    std::snprintf(way.d_dtype, sizeof way.d_dtype, "%s",
                  made->d.tensor.dtype.code == HUNZE_INT ? "s32"
                  : made->d.tensor.dtype.bits == 64      ? "f64"
                                                         : "f32");
    way.prepack_seconds = made->prepack_seconds;
    way.explain = name.rfind("plan", 0) == 0 ? strdup(explained.c_str())
                                             : nullptr; /* of others it says only that they were forced */
    way.state = made.release();
    way.call = call;
    way.finish = finish;
    way.release = release;
}

/* A portable kernel needs minutes for what others do in a second: its rows stop here. */
constexpr double portable_operations = 2e8;

int prepare(const bench_case *row, bench_way ways[BENCH_MOST_WAYS], char why[256])
{
    const std::string dtype = row->dtype;
    if (dtype != "f32" && dtype != "f64" && dtype != "u8s8" && dtype != "s8s8") {
        std::snprintf(why, 256, "no kernel for %s yet", row->dtype);
        return 0;
    }
    int count = 0;
    std::vector<std::string> planned;
    for (const bool last : {false, true}) {
        if (last && row->op != BENCH_CONV)
            break;
        std::unique_ptr<Way> way = make(*row, nullptr, last);
        if (!way) {
            std::snprintf(why, 256, "%s", library.hunze_last_error());
            continue;
        }
        planned.push_back(library.hunze_plan_kernel(way->plan));
        add(ways, count, last ? "plan, channels last" : "plan", std::move(way));
    }
    bench::Row whole;
    static_cast<bench_case &>(whole) = *row;
    for (const std::string &kernel : library.kernels) {
        const bool portable = kernel.find("portable") != std::string::npos;
        if (count == BENCH_MOST_WAYS || (portable && whole.operations() > portable_operations) ||
            std::find(planned.begin(), planned.end(), kernel) != planned.end())
            continue;
        if (std::unique_ptr<Way> way = make(*row, kernel.c_str(), false))
            add(ways, count, kernel, std::move(way));
    }
    return count;
}

} // namespace

extern "C" const bench_peer bench_peer_hunze;
const bench_peer bench_peer_hunze = {"hunze", open, prepare};
