/* SPDX-License-Identifier: Apache-2.0 */
/* The names of cuda/ptx.cuh for the CPU.  Threads of a block are fibers that run until they meet others, so every access can be checked
 * against those since the last barrier, and every copy can land as late as it may. */
#ifndef HUNZE_EMULATOR_H
#define HUNZE_EMULATOR_H

#include "launch.h"

#include <string.h>

#define HUNZE_INLINE static inline __attribute__((always_inline, unused))
#define HUNZE_MEMBER inline __attribute__((always_inline, unused))
#define HUNZE_CONSTANT static const

/* ------------------------------------------------------------------ state that accesses read */

/* Who wrote and who read a word of shared memory last: (epoch << EPOCH_SHIFT) | thread, epochs being counted by barriers. */
typedef struct emulator_stamps {
    uint32_t write, read;
} emulator_stamps;
enum : uint32_t {
    EMULATOR_EPOCH_SHIFT = 11,
    EMULATOR_IN_FLIGHT = 0xFFFFF800u, /* an epoch that never ends: a copy that was not waited for */
    EMULATOR_SEVERAL = 2047,          /* in place of a thread: several threads read */
    EMULATOR_BY_BYTES = 2046,         /* in place of a thread: a table of bytes says more */
    EMULATOR_BARRIER = 2045           /* in place of a thread, in flight: a barrier lives there */
};

struct emulator_state {
    int thread;
    uint32_t stamp; /* of this thread in this epoch */
    uint32_t epoch; /* the smallest stamp of this epoch */
    uint32_t block_epoch;
    uint32_t now; /* stamps' epochs count what orders */
    uint32_t shared_bytes;
    char *shared;
    emulator_stamps *words;
    bool traces;
    uint64_t steps, most_steps; /* of the process: places reached, and threads that go on */
    bool clocks;                /* ghost.cpp: other barriers than SYNC_BLOCK order accesses too */
    uint32_t asynchronous;      /* copies of tiles and products that have not ended */
    uint32_t block[3], grid[3];
    hunze_emulator_range range; /* the one that was used last */
    hunze_emulator_counters counters;
};
extern emulator_state emulator;

struct emulator_site {
    const char *file;
    int line;
    const char *name;
    enum : int8_t { NEW, NORMAL, DROP, FLIP, EARLY, OFF_BY_ONE } action;
    bool compares; /* so it may be off by one */
    uint64_t hits;
    emulator_site *next;
};
#define EMULATOR_SITE(name)                                                                                            \
    ([]() -> emulator_site & {                                                                                         \
        static emulator_site site = {__FILE__, __LINE__, name, emulator_site::NEW, false, 0, nullptr};                 \
        return site;                                                                                                   \
    }())

__attribute__((noreturn, cold, format(printf, 1, 2))) void emulator_fail(const char *format, ...);
__attribute__((cold)) void emulator_check_steps(); /* the first time, reads how many there may be */
void emulator_register(hunze_emulator_kernel *kernel);
void emulator_resolve(emulator_site *site);
emulator_site *emulator_site_at(const char *file, int line, const char *name);
void emulator_sync_block(emulator_site &site);
void emulator_shared_slow(uint32_t offset, uint32_t bytes, bool write);
void emulator_shared_trace(uint32_t offset, uint32_t bytes, uint32_t line);
__attribute__((noreturn, cold)) void emulator_shared_outside(const void *pointer, uint32_t bytes);
intptr_t emulator_global_slow(uintptr_t address, uint32_t bytes, const char *what);
void emulator_copy(uint32_t offset, const void *global, uint32_t bytes, uint32_t from_bytes);
void emulator_copy_commit();
void emulator_copy_wait(int pending);
/* Waits until all lanes of the warp, or 128 threads of the warpgroup, are here with the same function, which then gets what each brought. */
typedef void emulator_together_fn(void *const lanes[32]);
void emulator_together(const char *name, emulator_together_fn *together, void *mine, int lanes = 32);
emulator_together_fn emulator_mma_u8s8, emulator_mma_s8s8, emulator_mma_bf16, emulator_mma_f16, emulator_ldmatrix,
    emulator_ldmatrix_transposed;

/* ------------------------------------------------------------------ kernels, indices, places */

struct emulator_registration {
    hunze_emulator_kernel kernel;
    explicit emulator_registration(const hunze_emulator_kernel &k) : kernel(k) { emulator_register(&kernel); }
};

#define KERNEL(kernel_name, kernel_threads, kernel_blocks, type)                                                       \
    static void kernel_name(const type &);                                                                             \
    static emulator_registration emulator_registration_of_##kernel_name({                                              \
        #kernel_name,                                                                                                  \
        __FILE__,                                                                                                      \
        kernel_threads,                                                                                                \
        kernel_blocks,                                                                                                 \
        sizeof(type),                                                                                                  \
        [](const void *arguments) { kernel_name(*static_cast<const type *>(arguments)); },                             \
    });                                                                                                                \
    static void kernel_name([[maybe_unused]] const type &arguments)

#define SHARED(type) (*reinterpret_cast<type *>(emulator.shared))

HUNZE_INLINE int thread_index() { return emulator.thread; }
HUNZE_INLINE int64_t block_x() { return emulator.block[0]; }
HUNZE_INLINE int64_t block_y() { return emulator.block[1]; }
HUNZE_INLINE int64_t block_z() { return emulator.block[2]; }
HUNZE_INLINE int64_t blocks_x() { return emulator.grid[0]; }
HUNZE_INLINE int anew(int x) { return x; }
HUNZE_INLINE int64_t anew(int64_t x) { return x; }

HUNZE_INLINE void emulator_step()
{
    if (__builtin_expect(++emulator.steps > emulator.most_steps, 0))
        emulator_check_steps();
}
HUNZE_INLINE emulator_site &emulator_reached(emulator_site &site)
{
    if (site.action == emulator_site::NEW)
        emulator_resolve(&site);
    site.hits++;
    emulator_step();
    return site;
}
HUNZE_INLINE bool emulator_inside(const emulator_site &site, bool condition)
{
    return site.action == emulator_site::DROP || condition != (site.action == emulator_site::FLIP);
}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-compare"
/* Takes the left side of a condition's first comparison: `start <= i < n` is i < n, and lets in one more where the mutant is off by one. */
template <typename T> struct emulator_compared {
    T value;
    emulator_site &site;
    HUNZE_MEMBER bool more() const
    {
        site.compares = true;
        return __builtin_expect(site.action == emulator_site::OFF_BY_ONE, 0);
    }
    HUNZE_MEMBER explicit operator bool() const { return (bool)value; }
    template <typename U> HUNZE_MEMBER bool operator==(U other) const { return value == other; }
    template <typename U> HUNZE_MEMBER bool operator!=(U other) const { return value != other; }
#define EMULATOR_COMPARES(sign, inwards)                                                                               \
    template <typename U> HUNZE_MEMBER bool operator sign(U bound) const                                               \
    {                                                                                                                  \
        return more() ? value inwards 1 sign bound : value sign bound;                                                 \
    }
    EMULATOR_COMPARES(<, -)
    EMULATOR_COMPARES(<=, -)
    EMULATOR_COMPARES(>, +)
    EMULATOR_COMPARES(>=, +)
#undef EMULATOR_COMPARES
};
#pragma GCC diagnostic pop
struct emulator_comparison {
    emulator_site &site;
    template <typename T> HUNZE_MEMBER emulator_compared<T> operator<=(T value) const { return {value, site}; }
};
#define SYNC_BLOCK() emulator_sync_block(EMULATOR_SITE("SYNC_BLOCK"))
#define INSIDE(condition)                                                                                              \
    ([&](emulator_site &site) __attribute__((always_inline)) {                                                         \
        return emulator_inside(site, (bool)(emulator_comparison{emulator_reached(site)} <= condition));                \
    }(EMULATOR_SITE("INSIDE")))

/* ------------------------------------------------------------------ shared memory */

/* Fails if another thread's access since the last barrier forbids this one.  line: of the source, where lanes do the same. */
HUNZE_INLINE void emulator_shared(const void *pointer, uint32_t bytes, bool write, uint32_t line)
{
    const uintptr_t offset = (uintptr_t)pointer - (uintptr_t)emulator.shared;
    if (__builtin_expect(offset + bytes > emulator.shared_bytes || offset > emulator.shared_bytes || offset % bytes, 0))
        emulator_shared_outside(pointer, bytes);
    if (__builtin_expect(emulator.traces, 0))
        emulator_shared_trace((uint32_t)offset, bytes, line);
    if (bytes < 4 || __builtin_expect(emulator.clocks, 0)) {
        emulator_shared_slow((uint32_t)offset, bytes, write);
        return;
    }
    emulator_stamps *words = emulator.words + offset / 4;
    const uint32_t stamp = emulator.stamp, epoch = emulator.epoch;
    bool slow = false;
    for (uint32_t i = 0; i < bytes / 4; i++) {
        slow |= words[i].write >= epoch && words[i].write != stamp;
        if (write)
            slow |= words[i].read >= epoch && words[i].read != stamp;
    }
    if (__builtin_expect(slow, 0)) {
        emulator_shared_slow((uint32_t)offset, bytes, write);
        return;
    }
    for (uint32_t i = 0; i < bytes / 4; i++)
        if (write)
            words[i].write = stamp;
        else
            words[i].read = words[i].read < epoch || words[i].read == stamp ? stamp : epoch | EMULATOR_SEVERAL;
}

template <typename T> HUNZE_INLINE T load_shared(const T *p, uint32_t line = __builtin_LINE())
{
    static_assert(sizeof(T) <= 16 && (sizeof(T) & (sizeof(T) - 1)) == 0, "elements of 1, 2, 4, 8 or 16 bytes");
    emulator_shared(p, sizeof(T), false, line);
    T value;
    memcpy(&value, p, sizeof value);
    return value;
}
template <typename T> HUNZE_INLINE void store_shared(T *p, T value, uint32_t line = __builtin_LINE())
{
    static_assert(sizeof(T) <= 16 && (sizeof(T) & (sizeof(T) - 1)) == 0, "elements of 1, 2, 4, 8 or 16 bytes");
    emulator_shared(p, sizeof(T), true, line);
    memcpy(p, &value, sizeof value);
}

/* ------------------------------------------------------------------ global memory */

/* Where the CPU finds these bytes. */
HUNZE_INLINE char *emulator_global(const void *pointer, uint32_t bytes, const char *what)
{
    const uintptr_t address = (uintptr_t)pointer;
    const hunze_emulator_range *range = &emulator.range;
    if (__builtin_expect(address >= range->begin && address < range->end && bytes <= range->end - address &&
                             address % bytes == 0,
                         1))
        return (char *)(address + range->shift);
    return (char *)(address + emulator_global_slow(address, bytes, what));
}

template <typename T> HUNZE_INLINE T load_global(const T *p)
{
    static_assert(sizeof(T) <= 16 && (sizeof(T) & (sizeof(T) - 1)) == 0, "elements of 1, 2, 4, 8 or 16 bytes");
    emulator.counters.global_read_bytes += sizeof(T);
    T value;
    memcpy(&value, emulator_global(p, sizeof(T), "load_global"), sizeof value);
    return value;
}
template <typename T> HUNZE_INLINE void store_global(T *p, T value)
{
    static_assert(sizeof(T) <= 16 && (sizeof(T) & (sizeof(T) - 1)) == 0, "elements of 1, 2, 4, 8 or 16 bytes");
    emulator.counters.global_write_bytes += sizeof(T);
    memcpy(emulator_global(p, sizeof(T), "store_global"), &value, sizeof value);
}

HUNZE_INLINE uint32_t *emulator_atomic(uint32_t *p)
{
    emulator.counters.global_read_bytes += sizeof *p;
    emulator.counters.global_write_bytes += sizeof *p;
    return (uint32_t *)emulator_global(p, sizeof *p, "an atomic operation");
}
HUNZE_INLINE uint32_t atomic_max_global(uint32_t *p, uint32_t value)
{
    uint32_t *at = emulator_atomic(p);
    const uint32_t before = *at;
    *at = before > value ? before : value;
    return before;
}
HUNZE_INLINE uint32_t atomic_or_global(uint32_t *p, uint32_t value)
{
    uint32_t *at = emulator_atomic(p);
    const uint32_t before = *at;
    *at = before | value;
    return before;
}

/* ------------------------------------------------------------------ asynchronous copies */

template <int bytes>
HUNZE_INLINE void copy_async_first(void *shared, const void *global, int from_bytes, uint32_t line = __builtin_LINE())
{
    static_assert(bytes == 4 || bytes == 8 || bytes == 16, "4, 8 or 16 bytes");
    if ((uint32_t)from_bytes > bytes)
        emulator_fail("copy_async of the first %d bytes of %d", from_bytes, bytes);
    emulator_shared(shared, bytes, true, line);
    emulator_copy((uint32_t)((char *)shared - emulator.shared), global, bytes, (uint32_t)from_bytes);
}
template <int bytes>
HUNZE_INLINE void copy_async(void *shared, const void *global, bool inside, uint32_t line = __builtin_LINE())
{
    copy_async_first<bytes>(shared, global, inside ? bytes : 0, line);
}
HUNZE_INLINE void copy_async_commit(const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    if (emulator_reached(*emulator_site_at(file, line, "copy_async_commit")).action == emulator_site::NORMAL)
        emulator_copy_commit();
}
template <int pending>
HUNZE_INLINE void copy_async_wait(const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    const auto action = emulator_reached(*emulator_site_at(file, line, "copy_async_wait")).action;
    if (action != emulator_site::DROP)
        emulator_copy_wait(action == emulator_site::EARLY ? pending + 1 : pending);
}

/* ------------------------------------------------------------------ arithmetic */

HUNZE_INLINE float fma_rn(float a, float b, float c)
{
    emulator.counters.fma++;
    return __builtin_fmaf(a, b, c);
}
HUNZE_INLINE double fma_rn(double a, double b, double c)
{
    emulator.counters.fma++;
    return __builtin_fma(a, b, c);
}

HUNZE_INLINE float add_rn(float a, float b) { return a + b; }
HUNZE_INLINE double add_rn(double a, double b) { return a + b; }
HUNZE_INLINE float sub_rn(float a, float b) { return a - b; }
HUNZE_INLINE double sub_rn(double a, double b) { return a - b; }
HUNZE_INLINE float mul_rn(float a, float b) { return a * b; }
HUNZE_INLINE double mul_rn(double a, double b) { return a * b; }
HUNZE_INLINE float div_rn(float a, float b) { return a / b; }
HUNZE_INLINE double div_rn(double a, double b) { return a / b; }
HUNZE_INLINE float round_even(float a) { return __builtin_rintf(a); }

HUNZE_INLINE float widen_f16(uint16_t bits)
{
    const uint32_t magnitude = bits & 0x7FFFu, sign = (uint32_t)(bits & 0x8000u) << 16;
    /* A denormal is its integer times 2^-24; a NaN becomes quiet. */
    float f = (float)magnitude * 0x1p-24f;
    uint32_t word;
    memcpy(&word, &f, sizeof word);
    if (magnitude >= 0x0400u)
        word = magnitude < 0x7C00u ? (magnitude << 13) + ((127u - 15u) << 23) : 0x7F800000u | magnitude << 13;
    word |= sign | (magnitude > 0x7C00u ? 0x00400000u : 0);
    memcpy(&f, &word, sizeof f);
    return f;
}
HUNZE_INLINE uint32_t emulator_round_bf16(float f)
{
    uint32_t word;
    memcpy(&word, &f, sizeof word);
    return f != f ? 0x7FFFu : (word + 0x7FFFu + (word >> 16 & 1)) >> 16;
}
HUNZE_INLINE uint32_t emulator_round_f16(float f)
{
    uint32_t word;
    memcpy(&word, &f, sizeof word);
    const uint32_t magnitude = word & 0x7FFFFFFFu, sign = word >> 16 & 0x8000u;
    if (magnitude > 0x7F800000u)
        return 0x7FFFu;
    if (magnitude >= 0x47800000u) /* 2^16 */
        return sign | 0x7C00u;
    if (magnitude < 0x38800000u) /* 2^-14: a multiple of 2^-24 */
        return sign | (uint32_t)__builtin_rintf(__builtin_fabsf(f) * 0x1p24f);
    return sign | (magnitude + 0xFFFu + (magnitude >> 13 & 1) - ((127u - 15u) << 23)) >> 13;
}
HUNZE_INLINE uint32_t round_bf16_pair(float low, float high)
{
    return emulator_round_bf16(low) | emulator_round_bf16(high) << 16;
}
HUNZE_INLINE uint32_t round_f16_pair(float low, float high)
{
    return emulator_round_f16(low) | emulator_round_f16(high) << 16;
}

template <typename T> struct emulator_shuffled {
    T value, result;
    int mask;
};
template <typename T> void emulator_shuffle_xor(void *const lanes[32])
{
    for (int lane = 0; lane < 32; lane++) {
        auto *mine = static_cast<emulator_shuffled<T> *>(lanes[lane]);
        mine->result = static_cast<emulator_shuffled<T> *>(lanes[(lane ^ mine->mask) & 31])->value;
    }
}
template <typename T> HUNZE_INLINE T shuffle_xor(T value, int mask)
{
    emulator_shuffled<T> mine = {value, value, mask};
    emulator_together("shuffle_xor", emulator_shuffle_xor<T>, &mine);
    return mine.result;
}

/* One lane's registers. */
struct emulator_mma {
    int32_t *d;
    const uint32_t *a, *b;
};
HUNZE_INLINE void mma_u8s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    emulator_mma mine = {d, a, b};
    emulator_together("mma_u8s8", emulator_mma_u8s8, &mine);
}
HUNZE_INLINE void mma_s8s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    emulator_mma mine = {d, a, b};
    emulator_together("mma_s8s8", emulator_mma_s8s8, &mine);
}

struct emulator_mma_float {
    float *d;
    const uint32_t *a, *b;
};
HUNZE_INLINE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    emulator_mma_float mine = {d, a, b};
    emulator_together("mma_bf16", emulator_mma_bf16, &mine);
}
HUNZE_INLINE void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    emulator_mma_float mine = {d, a, b};
    emulator_together("mma_f16", emulator_mma_f16, &mine);
}

struct emulator_matrix_row {
    uint32_t *d;
    const void *row;
};
template <bool TRANSPOSED>
HUNZE_INLINE void ldmatrix(uint32_t (&d)[4], const void *row, uint32_t line = __builtin_LINE())
{
    emulator_matrix_row mine = {d, row};
    emulator_shared(row, 16, false, line);
    emulator_together("ldmatrix", TRANSPOSED ? emulator_ldmatrix_transposed : emulator_ldmatrix, &mine);
}

HUNZE_INLINE uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector)
{
    const uint64_t bytes = (uint64_t)b << 32 | a;
    uint32_t result = 0;
    for (int shift = 0; shift < 32; shift += 8)
        result |= (uint32_t)(uint8_t)(bytes >> 8 * (selector >> shift / 2 & 7)) << shift;
    return result;
}

template <typename A> HUNZE_INLINE int32_t emulator_dot4(uint32_t a, uint32_t b, int32_t c)
{
    emulator.counters.dot4++;
    uint32_t sum = (uint32_t)c;
    for (int shift = 0; shift < 32; shift += 8)
        sum += (uint32_t)((A)(a >> shift) * (int8_t)(b >> shift));
    return (int32_t)sum;
}
HUNZE_INLINE int32_t dot4_u8s8(uint32_t a, uint32_t b, int32_t c) { return emulator_dot4<uint8_t>(a, b, c); }
HUNZE_INLINE int32_t dot4_s8s8(uint32_t a, uint32_t b, int32_t c) { return emulator_dot4<int8_t>(a, b, c); }

#include "emulator_sm90a.h"

#endif
