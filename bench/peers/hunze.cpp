/* SPDX-License-Identifier: Apache-2.0 */
/* Hunze itself, as one library among the others: the plan that a call gets, and each other row of the kernel table that takes the call. */
#include "../../include/hunze.h"
#include "../suite.hpp"
#include "library.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

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

bool open(const char *path, const char *, int threads, char version[BENCH_VERSION], char place[BENCH_PLACE],
          char why[BENCH_WHY])
{
    if (!path)
        return bench_refuse(why, "no library was named");
    void *handle = bench_library_open(nullptr, path, nullptr, place, why);
#define FUNCTION(name) {#name, &library.name},
    const bench_function functions[] = {HUNZE_BENCH_FUNCTIONS(FUNCTION)};
#undef FUNCTION
    if (!handle || !bench_library_functions(handle, "", functions, std::size(functions), why))
        return false;
    hunze_context_options options = {};
    options.struct_size = sizeof options;
    options.threads = threads;
    if (library.hunze_context_create(&options, &library.context))
        return bench_refuse(why, library.hunze_last_error());
    char *text = nullptr;
    const hunze_status status = library.hunze_context_info(library.context, &text);
    const json info = json::parse(text_of(status, text), nullptr, false);
    for (const json &kernel : info.value("kernels", json::array()))
        if (kernel.value("allowed", false))
            library.kernels.push_back(kernel.at("name"));
    std::snprintf(version, BENCH_VERSION, "%s", library.hunze_version());
    return true;
}

hunze_dtype dtype_of(const std::string &dtype, char operand)
{
    if (dtype == "f32" || dtype == "f64")
        return {HUNZE_FLOAT, static_cast<uint8_t>(dtype == "f32" ? 32 : 64), 1};
    if (dtype == "bf16")
        return {HUNZE_BFLOAT, 16, 1};
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
    void set_packed(void *data, size_t bytes)
    {
        set(data, {HUNZE_OPAQUE_HANDLE, 64, 1}, {static_cast<int64_t>(bytes / 8)});
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
    Block packed;         /* the copies of the weights */
    Block last_a, last_d; /* channels last */
    const bench_case *row = nullptr;
    hunze_gemm_options gemm{};
    hunze_conv_options conv{};
    hunze_call call{};
    hunze_plan *plan = nullptr;
    double prepack_seconds = 0;

    ~Way() { library.hunze_plan_release(plan); }
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

struct Packing {
    hunze_tensor weights;
    hunze_pack_options options;
    size_t bytes;
    hunze_status status;
};

bool pack_one(void *state, const void *from, void *to)
{
    Packing &packing = *static_cast<Packing *>(state);
    hunze_tensor weights = packing.weights;
    weights.data = const_cast<void *>(from);
    View packed;
    packed.set_packed(to, packing.bytes);
    packing.status = library.hunze_pack(library.context, &weights, &packed.tensor, &packing.options, nullptr);
    return packing.status == HUNZE_OK;
}

/* Packs every copy of the weights.  False where the library or the kernel does not take them; whatever else goes wrong is thrown: weights
 * that are not packed would be measured as if they were. */
bool pack(Way &way, const char *kernel)
{
    const bench_case &r = *way.row;
    Packing packing = {way.b[0].tensor, {}, 0, HUNZE_OK};
    packing.options.struct_size = sizeof packing.options;
    packing.options.op = way.call.op;
    packing.options.transpose_b = r.op == BENCH_GEMM && r.trans_b;
    packing.options.groups = static_cast<uint32_t>(r.groups);
    packing.options.a_unsigned = r.dtype[0] == 'u';
    packing.options.kernel = kernel;
    packing.status = library.hunze_pack_size(library.context, &packing.weights, &packing.options, &packing.bytes);
    size_t stride = 0;
    if (packing.status == HUNZE_OK)
        way.packed.reset(bench_pack_copies(&r, packing.bytes, &stride, pack_one, &packing, &way.prepack_seconds));
    if (packing.status == HUNZE_ERR_UNSUPPORTED)
        return false;
    if (!way.packed)
        throw std::runtime_error(std::string("the weights could not be packed: ") +
                                 (packing.status == HUNZE_OK ? "no memory" : library.hunze_last_error()));
    way.b = std::vector<View>(static_cast<size_t>(r.copies));
    for (size_t copy = 0; copy < way.b.size(); copy++)
        way.b[copy].set_packed(static_cast<char *>(way.packed.get()) + copy * stride, packing.bytes);
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
    const bool packed = row.packed_b && row.batch <= 1; /* hunze packs the weights of one product */
    if (packed && !pack(*way, kernel))
        return nullptr;
    if (!packed) { /* as they are */
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
                  : made->d.tensor.dtype.bits == 16      ? "bf16"
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
    if (dtype != "f32" && dtype != "f64" && dtype != "bf16" && dtype != "u8s8" && dtype != "s8s8") {
        std::snprintf(why, 256, "no kernel for %s yet", row->dtype);
        return 0;
    }
    std::vector<std::pair<std::string, std::unique_ptr<Way>>> made;
    /* Kernel of the plan for channels first, the layout in which kernels are measured by their names. */
    std::string planned;
    for (const bool last : {false, true}) {
        if (last && row->op != BENCH_CONV)
            break;
        std::unique_ptr<Way> way = make(*row, nullptr, last);
        if (!way) {
            std::snprintf(why, 256, "%s", library.hunze_last_error());
            continue;
        }
        if (!last)
            planned = library.hunze_plan_kernel(way->plan);
        made.emplace_back(last ? "plan, channels last" : "plan", std::move(way));
    }
    bench::Row whole;
    static_cast<bench_case &>(whole) = *row;
    for (const std::string &kernel : library.kernels) {
        const bool portable = kernel.find("portable") != std::string::npos;
        if (made.size() == BENCH_MOST_WAYS || (portable && whole.operations() > portable_operations) ||
            (kernel == planned && !row->every_kernel))
            continue;
        if (std::unique_ptr<Way> way = make(*row, kernel.c_str(), false))
            made.emplace_back(kernel, std::move(way));
    }
    int count = 0;
    for (auto &[name, way] : made)
        add(ways, count, name, std::move(way));
    return count;
}

} // namespace

extern "C" const bench_peer bench_peer_hunze;
const bench_peer bench_peer_hunze = {"hunze", open, prepare};
