/* SPDX-License-Identifier: Apache-2.0 */
#include "repro.hpp"

#include "trace_line.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unistd.h>
#include <vector>

namespace bench
{

namespace
{

/* ------------------------------------------------------------------ operands */

/* SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, Fast Splittable Pseudorandom Number Generators, 2014). */
uint64_t random_bits(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* bf16 or f16, rounded to zero; not for numbers beyond f16's. */
uint16_t cut_to_16_bits(hunze_dtype dtype, float value)
{
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF, least = 113u << 23; /* f16's 2^-14 */
    if (dtype.code == HUNZE_BFLOAT)
        return static_cast<uint16_t>(bits >> 16);
    return static_cast<uint16_t>(sign | (magnitude < least ? 0 : (magnitude - (112u << 23)) >> 13));
}

struct Range {
    double low, high; /* integers reach high too */
};

/* Memory of a tensor from its first element's lowest to its highest, filled at random, gaps too. */
class Values
{
  public:
    Values() = default;
    Values(const Operand &operand, Range range, uint64_t *state) : Values(operand)
    {
        char *at = static_cast<char *>(memory_.get());
        for (size_t i = 0; i < elements_; i++) {
            const double unit = static_cast<double>(random_bits(state) >> 11) * 0x1p-53;
            const double real = range.low + (range.high - range.low) * unit;
            const int64_t whole = static_cast<int64_t>(range.low + (range.high - range.low + 1) * unit + 1e6) - 1000000;
            if (operand.dtype.code == HUNZE_FLOAT && operand.dtype.bits == 64)
                store(at, i, real);
            else if (operand.dtype.bits == 16)
                store(at, i, cut_to_16_bits(operand.dtype, static_cast<float>(real)));
            else if (operand.dtype.code == HUNZE_FLOAT)
                store(at, i, static_cast<float>(real));
            else if (operand.dtype.bits == 32)
                store(at, i, static_cast<int32_t>(whole));
            else
                store(at, i, static_cast<uint8_t>(whole));
        }
    }
    /* Bytes alone, aligned to 64. */
    explicit Values(size_t bytes)
        : bytes_((bytes + 63) / 64 * 64), memory_(std::aligned_alloc(64, std::max<size_t>(bytes_, 64)), std::free)
    {
        if (!memory_)
            throw std::bad_alloc();
    }
    void *data() const { return static_cast<char *>(memory_.get()) + first_; }
    /* What was there in the beginning comes back. */
    void keep() { kept_.assign(static_cast<char *>(memory_.get()), static_cast<char *>(memory_.get()) + bytes_); }
    void restore() { std::memcpy(memory_.get(), kept_.data(), bytes_); }

  private:
    template <typename T> static void store(char *at, size_t i, T value)
    {
        std::memcpy(at + i * sizeof value, &value, sizeof value);
    }
    explicit Values(const Operand &operand)
    {
        const size_t element = operand.dtype.bits / 8u;
        static const double room =
            static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
        double low = 0, high = 0, step = 1;
        bool empty = false;
        for (size_t i = operand.shape.size(); i-- > 0;) {
            const double reach = static_cast<double>(operand.shape[i] - 1) *
                                 (operand.strides.empty() ? step : static_cast<double>(operand.strides[i]));
            (reach < 0 ? low : high) += operand.shape[i] > 1 ? reach : 0;
            step *= static_cast<double>(operand.shape[i]);
            empty |= operand.shape[i] == 0;
        }
        if (!empty && (high - low + 1) * static_cast<double>(element) > room / 2)
            throw LineError(operand.column,
                            "this operand spans more than half of this machine's memory; a smaller one is expected");
        elements_ = empty ? 0 : static_cast<size_t>(high - low) + 1;
        *this = Values(elements_, element, static_cast<size_t>(-low) * element * !empty);
    }
    Values(size_t elements, size_t element, size_t first) : Values(elements * element)
    {
        elements_ = elements;
        first_ = first;
    }

    size_t elements_ = 0, bytes_ = 0, first_ = 0;
    std::unique_ptr<void, decltype(&std::free)> memory_{nullptr, std::free};
    std::vector<char> kept_;
};

hunze_tensor tensor_of(Operand &operand, const Values &values)
{
    return {values.data(),
            {HUNZE_DEVICE_CPU, 0},
            static_cast<int32_t>(operand.shape.size()),
            operand.dtype,
            operand.shape.data(),
            operand.strides.empty() ? nullptr : operand.strides.data(),
            0};
}

/* ------------------------------------------------------------------ the call */

struct Traced {
    std::string line;
    uint32_t threads = 0;
    uint64_t operations = 0, bytes = 0;
};

void remember(void *user, const hunze_trace_record *record)
{
    *static_cast<Traced *>(user) = {record->line, record->threads, record->operations, record->bytes};
}

void must(hunze_status status)
{
    if (status != HUNZE_OK)
        throw std::runtime_error(std::string(hunze_status_name(status)) + ": " + hunze_last_error());
}

class Context
{
  public:
    explicit Context(Traced *traced)
    {
        hunze_context_options options{};
        options.struct_size = sizeof options;
        options.trace = traced ? remember : nullptr;
        options.trace_user = traced;
        must(hunze_context_create(&options, &context_));
    }
    Context(const Context &) = delete;
    ~Context() { hunze_context_release(context_); }
    hunze_context *get() const { return context_; }

  private:
    hunze_context *context_ = nullptr;
};

/* The operands and options of a line, and its plan in a context. */
class Call
{
  public:
    Call(Line line, const Context &context, int threads) : line_(std::move(line))
    {
        make_operands();
        make_options();
        const char *kernel = line_.kernel.empty() ? nullptr : line_.kernel.c_str();
        hunze_status status = plan(context, kernel);
        if (status != HUNZE_OK && kernel) {
            note_ = "kernel " + line_.kernel + " cannot run this call here (" + hunze_last_error() +
                    "); what the plan chooses runs instead";
            status = plan(context, nullptr);
        }
        must(status);
        run_.struct_size = sizeof run_;
        run_.threads = threads;
        workspace_ = Values(hunze_plan_workspace(plan_.get(), threads));
        run_.workspace = workspace_.data();
        run_.workspace_bytes = hunze_plan_workspace(plan_.get(), threads);
    }
    Call(const Call &) = delete;
    const std::string &note() const { return note_; }
    std::string kernel() const { return hunze_plan_kernel(plan_.get()); }
    bool in_place() const { return line_.in_place; }
    void restore() { values_[D].restore(); }
    void run() { must(hunze_plan_run(plan_.get(), &call_, &run_)); }
    /* A plan of the same call for another context. */
    void move_to(const Context &context)
    {
        line_.kernel = kernel(); /* the options keep a pointer to it */
        must(plan(context, line_.kernel.c_str()));
    }

  private:
    void make_operands()
    {
        uint64_t state = 1;
        const bool product = line_.operand[B].given;
        const auto range = [](const Operand &operand) {
            const bool floating = operand.dtype.code == HUNZE_FLOAT || operand.dtype.code == HUNZE_BFLOAT;
            return floating                           ? Range{-1, 1}
                   : operand.dtype.code == HUNZE_UINT ? Range{0, 255}
                   : operand.dtype.bits == 8          ? Range{-128, 127}
                                                      : Range{-1000, 1000};
        };
        for (int i = 0; i < OPERANDS; i++) {
            Operand &operand = line_.operand[i];
            if (!operand.given)
                continue;
            const bool weights = i == B && operand.dtype.bits == 8; /* small enough for kernels that need it */
            const bool replaced = line_.in_place && i == (product ? C : A);
            values_[i] = replaced ? Values() : Values(operand, weights ? Range{-64, 64} : range(operand), &state);
            tensor_[i] = tensor_of(operand, values_[replaced ? D : i]);
        }
        int32_t *offsets = static_cast<int32_t *>(values_[OFFSETS].data());
        for (size_t i = 0; i <= line_.rows.size() && line_.operand[OFFSETS].given; i++)
            offsets[i] = i == 0 ? 0 : offsets[i - 1] + line_.rows[i - 1];
        if (line_.in_place)
            values_[D].keep();
        for (int i = 0; i < QUANTS; i++) {
            Quant &quant = line_.quant[i];
            quant_[i] = {sizeof quant_[i], quant.per_axis ? HUNZE_PER_AXIS : HUNZE_PER_TENSOR, quant.axis, 0, nullptr,
                         nullptr};
            /* x in [-1, 1) fills the codes; the sums of a product spread further. */
            const double scale = product && i == OF_D ? 0.25 : 0x1p-7;
            if (quant.scale.given) {
                scale_[i] = Values(quant.scale, {scale, 2 * scale}, &state);
                scale_tensor_[i] = tensor_of(quant.scale, scale_[i]);
                quant_[i].scale = &scale_tensor_[i];
            }
            if (quant.zero_point.given) {
                zero_[i] = Values(quant.zero_point,
                                  quant.zero_point.dtype.code == HUNZE_UINT ? Range{120, 136} : Range{-8, 8}, &state);
                zero_tensor_[i] = tensor_of(quant.zero_point, zero_[i]);
                quant_[i].zero_point = &zero_tensor_[i];
            }
        }
    }

    const hunze_quant *quant(int i) const { return quant_[i].scale || quant_[i].zero_point ? &quant_[i] : nullptr; }
    const hunze_tensor *tensor(int i) const { return line_.operand[i].given ? &tensor_[i] : nullptr; }

    void make_options()
    {
        const hunze_activation *activation = line_.activation.kind ? &line_.activation : nullptr;
        gemm_ = {sizeof gemm_,      line_.flags,  &line_.alpha,     &line_.beta,    line_.transpose_a,
                 line_.transpose_b, tensor(BIAS), tensor(RESIDUAL), activation,     quant(OF_A),
                 quant(OF_B),       quant(OF_D),  nullptr,          tensor(OFFSETS)};
        conv_.struct_size = sizeof conv_;
        conv_.flags = line_.flags;
        conv_.layout = line_.layout;
        conv_.groups = line_.groups;
        std::copy(line_.stride.begin(), line_.stride.end(), conv_.stride);
        std::copy(line_.dilation.begin(), line_.dilation.end(), conv_.dilation);
        std::copy(line_.before.begin(), line_.before.end(), conv_.pad_before);
        std::copy(line_.after.begin(), line_.after.end(), conv_.pad_after);
        std::copy(line_.output_padding.begin(), line_.output_padding.end(), conv_.output_padding);
        conv_.bias = tensor(BIAS);
        conv_.residual = tensor(RESIDUAL);
        conv_.activation = activation;
        conv_.x_quant = quant(OF_A);
        conv_.w_quant = quant(OF_B);
        conv_.y_quant = quant(OF_D);
        const hunze_op op = line_.grammar->op;
        quantize_ = {sizeof quantize_, line_.flags, quant(op == HUNZE_OP_QUANTIZE ? OF_D : OF_A),
                     line_.dynamic,    0,           nullptr};
        activation_ = {sizeof activation_, line_.flags, activation, nullptr};
        const void *options = op == HUNZE_OP_GEMM                                    ? static_cast<const void *>(&gemm_)
                              : op == HUNZE_OP_CONV || op == HUNZE_OP_CONV_TRANSPOSE ? static_cast<const void *>(&conv_)
                              : op == HUNZE_OP_ACTIVATION ? static_cast<const void *>(&activation_)
                                                          : static_cast<const void *>(&quantize_);
        call_ = {sizeof call_, static_cast<uint32_t>(op), tensor(A), tensor(B), tensor(C), tensor(D), options};
    }

    hunze_status plan(const Context &context, const char *kernel)
    {
        gemm_.kernel = conv_.kernel = quantize_.kernel = activation_.kernel = kernel;
        if (line_.operand[B].packed) {
            const hunze_status status = pack(context, kernel);
            if (status != HUNZE_OK)
                return status;
        }
        hunze_plan *made = nullptr;
        const hunze_status status = hunze_plan_create(context.get(), &call_, &made);
        plan_.reset(made);
        return status;
    }

    hunze_status pack(const Context &context, const char *kernel)
    {
        hunze_pack_options options{};
        options.struct_size = sizeof options;
        options.flags = line_.flags;
        options.op = line_.grammar->op;
        options.groups = line_.groups;
        options.a_unsigned = line_.operand[A].dtype.code == HUNZE_UINT;
        options.kernel = kernel;
        const hunze_tensor source = tensor_of(line_.operand[B], values_[B]);
        size_t bytes;
        hunze_status status = hunze_pack_size(context.get(), &source, &options, &bytes);
        if (status != HUNZE_OK)
            return status;
        packed_ = Values(bytes);
        packed_shape_ = static_cast<int64_t>(bytes / 8);
        tensor_[B] = {
            packed_.data(), {HUNZE_DEVICE_CPU, 0}, 1, {HUNZE_OPAQUE_HANDLE, 64, 1}, &packed_shape_, nullptr, 0};
        return hunze_pack(context.get(), &source, &tensor_[B], &options, nullptr);
    }

    Line line_;
    Values values_[OPERANDS], scale_[QUANTS], zero_[QUANTS], packed_, workspace_;
    hunze_tensor tensor_[OPERANDS]{}, scale_tensor_[QUANTS]{}, zero_tensor_[QUANTS]{};
    int64_t packed_shape_ = 0;
    hunze_quant quant_[QUANTS]{};
    hunze_gemm_options gemm_{};
    hunze_conv_options conv_{};
    hunze_quantize_options quantize_{};
    hunze_activation_options activation_{};
    hunze_call call_{};
    hunze_run run_{};
    std::unique_ptr<hunze_plan, decltype(&hunze_plan_release)> plan_{nullptr, hunze_plan_release};
    std::string note_;
};

/* Seconds of some calls; what is replaced in place is put back before each, outside the clock. */
double seconds_of(Call &call, long calls)
{
    using clock = std::chrono::steady_clock;
    std::chrono::duration<double> sum{};
    for (long i = 0; i < calls;) {
        if (call.in_place())
            call.restore();
        const long together = call.in_place() ? 1 : calls;
        const clock::time_point start = clock::now();
        for (long j = 0; j < together; j++)
            call.run();
        sum += clock::now() - start;
        i += together;
    }
    return sum.count();
}

/* "12.3 G" and the unit. */
std::string rate(double per_second)
{
    char text[32];
    const char *prefix = "";
    for (const char *larger : {"k", "M", "G", "T"})
        if (per_second >= 1000) {
            per_second /= 1000;
            prefix = larger;
        }
    std::snprintf(text, sizeof text, "%.4g %s", per_second, prefix);
    return text;
}

} // namespace

std::string repro_once(const std::string &line, int threads, std::string *note)
{
    Traced traced;
    const Context context(&traced);
    Call call(parse_line(line), context, threads);
    call.run();
    if (note)
        *note = call.note();
    return traced.line;
}

int repro(const std::string &line, int threads)
{
    constexpr int samples = 9;
    constexpr double sample_seconds = 0.02;
    try {
        Traced traced;
        const Context tracing(&traced), plain(nullptr);
        Call call(parse_line(line), tracing, threads);
        call.run();
        if (traced.line.empty())
            throw std::runtime_error("this call has nothing to write, so nothing runs");
        if (!call.note().empty())
            std::fprintf(stderr, "hunze_bench: %s\n", call.note().c_str());
        call.move_to(plain); /* where no clock is read */
        long calls = 1;
        double seconds = seconds_of(call, calls);
        while (seconds < sample_seconds / 4) {
            calls *= 2;
            seconds = seconds_of(call, calls);
        }
        calls = std::max(1L, static_cast<long>(sample_seconds / seconds * static_cast<double>(calls)));
        std::vector<double> each;
        for (int sample = 0; sample < samples; sample++)
            each.push_back(seconds_of(call, calls) / static_cast<double>(calls));
        std::sort(each.begin(), each.end());
        const double median = each[samples / 2];
        std::printf("%s\nkernel       %s\nthreads      %u\nns per call  %.1f (least %.1f, greatest %.1f; %d samples of "
                    "%ld calls)\n",
                    traced.line.c_str(), call.kernel().c_str(), traced.threads, median * 1e9, each.front() * 1e9,
                    each.back() * 1e9, samples, calls);
        std::printf("rate         %soperations/s, %sbytes/s\n",
                    rate(static_cast<double>(traced.operations) / median).c_str(),
                    rate(static_cast<double>(traced.bytes) / median).c_str());
        return 0;
    } catch (const std::bad_alloc &) {
        std::fprintf(stderr, "hunze_bench: --repro: no memory for this call's operands\n");
    } catch (const std::exception &error) {
        std::fprintf(stderr, "hunze_bench: --repro: %s\n", error.what());
    }
    return 2;
}

} // namespace bench
