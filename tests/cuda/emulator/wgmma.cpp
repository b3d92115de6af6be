/* SPDX-License-Identifier: Apache-2.0 */
/* Products of a warpgroup (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions"): started by 128 threads, computed at some moment until
 * they are waited for; and how many registers each warpgroup has. */
#include "block.h"

#include <algorithm>
#include <deque>
#include <memory>

enum { ROWS = 64, DEEP = 16, MOST_COLUMNS = 256 };

/* D of products that follow each other without a wait: nowhere else until the last of them is waited for. */
struct accumulators {
    int columns;
    float *registers[EMULATOR_WARPGROUP];
    float sums[ROWS][MOST_COLUMNS];
};
struct product {
    std::shared_ptr<accumulators> to;
    emulator_product what;
    uint32_t group, started;
    bool computed;
};
static struct warpgroup {
    std::deque<product> products;
    uint32_t groups; /* ended by WGMMA_COMMIT */
    bool fenced;     /* since registers came back */
    int registers, wanted;
    std::vector<int> waiting; /* for registers */
} warpgroups[EMULATOR_WARPGROUPS];
static int free_registers; /* of a thread of each warpgroup */

static int own_warpgroup() { return emulator.thread / EMULATOR_WARPGROUP; }

void emulator_products_begin()
{
    const uint32_t threads = emulator_launch->threads, share = 65536 / (threads * emulator_launch->kernel->blocks);
    for (warpgroup &w : warpgroups) {
        w = {};
        w.registers = (int)std::min(share / 8 * 8, 256u);
    }
    free_registers = 0;
}

/* ------------------------------------------------------------------ operands */

enum { DESCRIPTOR_MASK = 0x3FFF };

/* Where 16 bytes of an operand lie, eight elements that follow each other along k, or along the rows if it is transposed: with a swizzle of 128
 * bytes, a pattern of eight lines of 128 bytes repeats every `stride` bytes along lines, and every `leading` bytes along what is contiguous. */
static uint32_t find_chunk(uint64_t descriptor, int row, int k, bool transposed)
{
    const auto start = (uint32_t)(descriptor & DESCRIPTOR_MASK) << 4;
    const auto leading = (uint32_t)(descriptor >> 16 & DESCRIPTOR_MASK) << 4;
    const auto stride = (uint32_t)(descriptor >> 32 & DESCRIPTOR_MASK) << 4;
    const auto line = (uint32_t)(transposed ? k : row), along = (uint32_t)(transposed ? row : k);
    const uint32_t at =
        start + line / 8 * stride + line % 8 * 128 + (transposed ? along / 64 * leading : 0) + along % 64 * 2;
    return at ^ (at >> 3 & 0x70);
}

template <typename F> static void for_each_chunk(uint64_t descriptor, int rows, bool transposed, F what)
{
    for (int row = 0; row < rows; row += transposed ? 8 : 1)
        for (int k = 0; k < DEEP; k += transposed ? 1 : 8)
            what(find_chunk(descriptor, row, k, transposed), row, k);
}

static void check_operand(uint64_t descriptor, int rows, bool transposed)
{
    if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) || (descriptor & 0x38))
        emulator_fail("the descriptor %#llx is not of a tile that begins at a multiple of 1024 and is swizzled by 128 "
                      "bytes",
                      (unsigned long long)descriptor);
    for_each_chunk(descriptor, rows, transposed, [](uint32_t offset, int, int) {
        if (offset + 16 > emulator.shared_bytes)
            emulator_fail("a product reads shared memory at offset %u; the launch has %u bytes", offset,
                          emulator.shared_bytes);
        emulator_operand_read(offset, own_warpgroup());
    });
}

static float widen_bf16(uint16_t bits)
{
    const uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* to[row * row_step + k * k_step] */
static void decode(uint64_t descriptor, int rows, bool transposed, bool is_f16, float *to, int row_step, int k_step)
{
    for_each_chunk(descriptor, rows, transposed, [&](uint32_t offset, int row, int k) {
        uint16_t bits[8];
        memcpy(bits, emulator.shared + offset, sizeof bits);
        for (int i = 0; i < 8; i++)
            to[(transposed ? row + i : row) * row_step + (transposed ? k : k + i) * k_step] =
                is_f16 ? widen_f16(bits[i]) : widen_bf16(bits[i]);
    });
}

/* ------------------------------------------------------------------ computing */

template <int columns> static void multiply(accumulators *d, const float (*a)[DEEP], const float (*b)[MOST_COLUMNS])
{
    for (int row = 0; row < ROWS; row++)
        for (int k = 0; k < DEEP; k++)
            for (int column = 0; column < columns; column++)
                d->sums[row][column] = __builtin_fmaf(a[row][k], b[k][column], d->sums[row][column]);
}

static void compute(product *p)
{
    static float a[ROWS][DEEP], b[DEEP][MOST_COLUMNS];
    const emulator_product &what = p->what;
    decode(what.a, ROWS, what.transpose_a, what.is_f16, a[0], DEEP, 1);
    decode(what.b, what.n, what.transpose_b, what.is_f16, b[0], 1, MOST_COLUMNS);
    if (!what.accumulate)
        memset(p->to->sums, 0, sizeof p->to->sums);
    (what.n == 256 ? multiply<256> : multiply<128>)(p->to.get(), a, b);
    p->computed = true;
    emulator.asynchronous--;
}

void emulator_products_progress()
{
    warpgroup &w = warpgroups[emulator_random_below((emulator_launch->threads + 127) / EMULATOR_WARPGROUP)];
    const auto next = std::find_if(w.products.begin(), w.products.end(), [](const product &p) { return !p.computed; });
    if (next != w.products.end())
        compute(&*next);
}

static float *place(accumulators *d, int thread, int i)
{
    return &d->sums[16 * (thread / 32) + thread % 32 / 4 + i / 2 % 2 * 8][i / 4 * 8 + thread % 4 * 2 + i % 2];
}

static void to_registers(accumulators *d)
{
    const uint32_t unknown = ~0u;
    for (int thread = 0; thread < EMULATOR_WARPGROUP; thread++)
        for (int i = 0; i < d->columns / 2; i++) {
            if (memcmp(&d->registers[thread][i], &unknown, sizeof unknown))
                emulator_fail("accumulator %d of thread %d was written while a product was on its way to it", i,
                              own_warpgroup() * EMULATOR_WARPGROUP + thread);
            d->registers[thread][i] = *place(d, thread, i);
        }
}

/* ------------------------------------------------------------------ what a warpgroup does together */

void emulator_of_first_lane(void *const lanes[32])
{
    for (int lane = 1; lane < 32; lane++)
        *static_cast<int *>(lanes[lane]) = *static_cast<int *>(lanes[0]);
}

void emulator_start_product(void *const lanes[32])
{
    emulator_need_clocks();
    warpgroup &w = warpgroups[own_warpgroup()];
    const auto brought = [lanes](int thread) { return static_cast<const emulator_product *>(lanes[thread]); };
    const emulator_product &what = *brought(0);
    for (int thread = 1; thread < EMULATOR_WARPGROUP; thread++)
        if (brought(thread)->a != what.a || brought(thread)->b != what.b ||
            brought(thread)->accumulate != what.accumulate)
            emulator_fail("threads of a warpgroup start a product with different operands");
    emulator_tick();
    check_operand(what.a, ROWS, what.transpose_a);
    check_operand(what.b, what.n, what.transpose_b);

    product p = {nullptr, what, w.groups, emulator.now, false};
    for (const product &before : w.products)
        if (before.to->registers[0] == what.d)
            p.to = before.to;
    if (!p.to) {
        if (!w.fenced)
            emulator_fail("a product begins with registers that other instructions may use: a WGMMA_FENCE is missing");
        p.to = std::make_shared<accumulators>();
        p.to->columns = what.n;
        for (int thread = 0; thread < EMULATOR_WARPGROUP; thread++) {
            p.to->registers[thread] = brought(thread)->d;
            for (int i = 0; i < what.n / 2; i++)
                *place(p.to.get(), thread, i) = brought(thread)->d[i];
            memset(brought(thread)->d, 0xFF, sizeof(float) * (size_t)what.n / 2);
        }
    }
    w.products.push_back(std::move(p));
    emulator.asynchronous++;
    emulator.counters.wgmma++;
}

static void fence(void *const *) { warpgroups[own_warpgroup()].fenced = true; }
static void commit(void *const *) { warpgroups[own_warpgroup()].groups++; }
static void wait(void *const lanes[32])
{
    const int index = own_warpgroup(), pending = *static_cast<const int *>(lanes[0]);
    warpgroup &w = warpgroups[index];
    while (!w.products.empty() && w.products.front().group + (uint32_t)pending < w.groups) {
        product p = std::move(w.products.front());
        w.products.pop_front();
        if (!p.computed)
            compute(&p);
        for (int thread = index * EMULATOR_WARPGROUP; thread < (index + 1) * EMULATOR_WARPGROUP; thread++)
            emulator_threads[thread].clock.seen[EMULATOR_PRODUCTS + index] = p.started;
        if (p.to.use_count() == 1) {
            to_registers(p.to.get());
            w.fenced = false;
        }
    }
}

void emulator_wgmma_fence(emulator_site &site)
{
    if (emulator_reached(site).action == emulator_site::NORMAL)
        emulator_together(site.name, fence, nullptr, EMULATOR_WARPGROUP);
}

void emulator_wgmma_commit(emulator_site &site)
{
    if (emulator_reached(site).action == emulator_site::NORMAL)
        emulator_together(site.name, commit, nullptr, EMULATOR_WARPGROUP);
}

void emulator_wgmma_wait(emulator_site &site, int pending)
{
    const auto action = emulator_reached(site).action;
    if (action == emulator_site::EARLY)
        pending++;
    if (action == emulator_site::NORMAL || action == emulator_site::EARLY)
        emulator_together(site.name, wait, &pending, EMULATOR_WARPGROUP);
}

void emulator_wgmma_results(const float *d)
{
    for (const product &p : warpgroups[own_warpgroup()].products)
        if (p.to->registers[emulator.thread % EMULATOR_WARPGROUP] == d)
            emulator_fail("the results of a product are read that has not been waited for");
}

void emulator_products_end()
{
    const warpgroup &w = warpgroups[own_warpgroup()];
    if (!w.products.empty())
        emulator_fail("the thread ends while %zu products of its warpgroup are on their way: a WGMMA_WAIT is missing",
                      w.products.size());
}

/* ------------------------------------------------------------------ registers */

static void give_registers()
{
    for (int i = 0; i < EMULATOR_WARPGROUPS; i++) {
        warpgroup &w = warpgroups[i];
        if (!w.wanted || w.wanted - w.registers > free_registers)
            continue;
        free_registers -= w.wanted - w.registers;
        w.registers = w.wanted;
        w.wanted = 0;
        for (int thread : w.waiting)
            emulator_ready(thread);
        w.waiting.clear();
    }
}

static void change_registers(void *const lanes[32])
{
    emulator_need_clocks();
    warpgroup &w = warpgroups[own_warpgroup()];
    const int count = *static_cast<const int *>(lanes[0]);
    if (count > w.registers)
        w.wanted = count;
    else {
        free_registers += w.registers - count;
        w.registers = count;
    }
    give_registers();
}

void emulator_registers(int count, bool take)
{
    emulator_need_clocks();
    const int index = own_warpgroup(), now = warpgroups[index].registers;
    if (count < 24 || count > 256 || count % 8 || (take ? count < now : count > now))
        emulator_fail("registers_%s<%d> in a warpgroup that has %d", take ? "take" : "release", count, now);
    emulator_together(take ? "registers_take" : "registers_release", change_registers, &count, EMULATOR_WARPGROUP);
    if (warpgroups[index].wanted) {
        warpgroups[index].waiting.push_back(emulator.thread);
        emulator_wait_for("registers, which the block has not got; each of its threads may have",
                          (uint32_t)warpgroups[index].wanted);
    }
}
