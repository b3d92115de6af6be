/* SPDX-License-Identifier: Apache-2.0 */
/* The meter: exact operations and bytes of the calls between start and stop, seconds, and joules from RAPL through powercap.
 * What cannot be read is null and says why. */
#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DOMAINS = 16 };
static const uint64_t sample_nanoseconds = 60000000000u;

/* The counters of one context, shared by its meters and sampled without a lock. */
struct hunze_energy {
    const char *root;
    int count;
    struct {
        char name[32];
        uint64_t range;        /* microjoules; the counter starts over there */
        _Atomic uint64_t last; /* as read */
        _Atomic int64_t used;
    } domain[DOMAINS];
    char reason[160];         /* why there are none; "" if there are */
    _Atomic uint64_t sampled; /* when */
    _Atomic uint32_t gaps;    /* times that too long passed between two samples, or one failed */
};

struct hunze_meter {
    hunze_context *context;
    uint64_t start;
    uint64_t calls, operations, bytes, nanoseconds; /* the context's totals at the start */
    int64_t used[DOMAINS];
    uint32_t gaps;
};

uint64_t hunze_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The first word of a file below a powercap zone; false with errno set if it cannot be read. */
static bool read_word(const char *root, int zone, const char *file, char *word, size_t size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/intel-rapl:%d/%s", root, zone, file);
    FILE *stream = fopen(path, "re");
    if (!stream)
        return false;
    const bool read = fgets(word, (int)size, stream) != NULL;
    fclose(stream);
    word[read ? strcspn(word, "\n") : 0] = 0;
    return read;
}

static bool read_number(const char *root, int zone, const char *file, uint64_t *number)
{
    char word[32];
    if (!read_word(root, zone, file, word, sizeof word))
        return false;
    *number = strtoull(word, NULL, 10);
    return true;
}

/* Package zones (intel-rapl:N; AMD's have the same names): those below them are parts of these. */
static void find_domains(hunze_energy *energy)
{
    for (int zone = 0; zone < DOMAINS; zone++) {
        uint64_t now;
        if (!read_word(energy->root, zone, "name", energy->domain[zone].name, sizeof energy->domain[zone].name))
            break;
        if (!read_number(energy->root, zone, "energy_uj", &now) ||
            !read_number(energy->root, zone, "max_energy_range_uj", &energy->domain[zone].range)) {
            snprintf(energy->reason, sizeof energy->reason, "%s/intel-rapl:%d/energy_uj: %s", energy->root, zone,
                     strerror(errno));
            energy->count = 0;
            return;
        }
        atomic_store(&energy->domain[zone].last, now);
        energy->count++;
    }
    if (energy->count == 0)
        snprintf(energy->reason, sizeof energy->reason,
                 "%s has no intel-rapl zone: this machine shows no energy counter", energy->root);
}

/* Adds what the counters gained since the last sample.  Differences are signed and modulo the range, so two samples that cross add up
 * all the same; a sample that comes too late for that is a gap. */
static void sample(hunze_energy *energy, bool first)
{
    const uint64_t now = hunze_nanoseconds(), before = atomic_exchange(&energy->sampled, now);
    const double most_microjoules = (double)(int64_t)(now - before) * 1e-9 * 1e9; /* at 1 kW */
    for (int zone = 0; zone < energy->count; zone++) {
        const int64_t range = (int64_t)energy->domain[zone].range;
        uint64_t counter;
        if (!read_number(energy->root, zone, "energy_uj", &counter)) {
            atomic_fetch_add(&energy->gaps, 1);
            return;
        }
        int64_t gained = (int64_t)(counter - atomic_exchange(&energy->domain[zone].last, counter));
        if (gained > range / 2)
            gained -= range;
        else if (gained < -range / 2)
            gained += range;
        if (!first)
            atomic_fetch_add(&energy->domain[zone].used, gained);
        if (!first && most_microjoules > (double)range / 2)
            atomic_fetch_add(&energy->gaps, 1);
    }
}

void hunze_meter_count(hunze_context *context, uint64_t operations, uint64_t bytes, uint64_t nanoseconds)
{
    atomic_fetch_add_explicit(&context->totals.calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&context->totals.operations, operations, memory_order_relaxed);
    atomic_fetch_add_explicit(&context->totals.bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&context->totals.nanoseconds, nanoseconds, memory_order_relaxed);
    hunze_energy *energy = atomic_load_explicit(&context->energy, memory_order_acquire);
    if (energy && energy->count > 0 && hunze_nanoseconds() - atomic_load(&energy->sampled) > sample_nanoseconds)
        sample(energy, false);
}

void hunze_meter_add_time(hunze_context *context, uint64_t nanoseconds)
{
    atomic_fetch_add_explicit(&context->totals.nanoseconds, nanoseconds, memory_order_relaxed);
}

static hunze_energy *energy_of(hunze_context *context)
{
    hunze_energy *energy = atomic_load(&context->energy), *none = NULL;
    if (energy)
        return energy;
    energy = hunze_allocate(context, sizeof *energy, _Alignof(hunze_energy));
    if (!energy)
        return NULL;
    memset(energy, 0, sizeof *energy);
    energy->root = context->powercap;
    find_domains(energy);
    if (atomic_compare_exchange_strong(&context->energy, &none, energy))
        return energy;
    hunze_deallocate(context, energy, sizeof *energy);
    return none;
}

void hunze_energy_destroy(hunze_context *context)
{
    hunze_energy *energy = atomic_load(&context->energy);
    if (energy)
        hunze_deallocate(context, energy, sizeof *energy);
}

hunze_status hunze_meter_start(hunze_context *context, hunze_meter **out)
{
    if (!context || !out)
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL", context ? "meter" : "context");
    hunze_energy *energy = energy_of(context);
    hunze_meter *meter = energy ? hunze_allocate(context, sizeof *meter, _Alignof(hunze_meter)) : NULL;
    if (!meter)
        return hunze_fail(HUNZE_ERR_NOMEM, "no memory for a meter");
    hunze_context_retain(context);
    sample(energy, atomic_fetch_add(&context->meters, 1) == 0);
    *meter = (hunze_meter){
        .context = context,
        .calls = atomic_load(&context->totals.calls),
        .operations = atomic_load(&context->totals.operations),
        .bytes = atomic_load(&context->totals.bytes),
        .nanoseconds = atomic_load(&context->totals.nanoseconds),
        .gaps = atomic_load(&energy->gaps),
    };
    for (int i = 0; i < energy->count; i++)
        meter->used[i] = atomic_load(&energy->domain[i].used);
    meter->start = hunze_nanoseconds();
    *out = meter;
    return HUNZE_OK;
}

static void add_energy(hunze_text *text, const hunze_meter *meter, const hunze_energy *energy)
{
    const bool gap = atomic_load(&energy->gaps) != meter->gaps;
    if (energy->count == 0 || gap) {
        hunze_text_add(text, "\"joules\": null, \"joules_reason\": ");
        hunze_text_add_quoted(text, energy->count == 0
                                        ? energy->reason
                                        : "a counter could not be read, or so late that it may have come round unseen");
        return;
    }
    int64_t total = 0;
    for (int i = 0; i < energy->count; i++)
        total += atomic_load(&energy->domain[i].used) - meter->used[i];
    hunze_text_add(text, "\"joules\": %.6f, \"joules_of\": \"the whole machine: ", (double)total * 1e-6);
    for (int i = 0; i < energy->count; i++)
        hunze_text_add(text, "%s%s", i ? ", " : "", energy->domain[i].name);
    hunze_text_add(text, "\"");
}

hunze_status hunze_meter_stop(hunze_meter *meter, char **out)
{
    if (!meter)
        return hunze_fail(HUNZE_ERR_NULL, "meter is NULL");
    hunze_context *context = meter->context;
    hunze_energy *energy = atomic_load(&context->energy);
    hunze_device_settle(context);
    const double seconds = (double)(hunze_nanoseconds() - meter->start) * 1e-9;
    sample(energy, false);
    atomic_fetch_sub(&context->meters, 1);
    hunze_status status = HUNZE_OK;
    if (out) {
        hunze_text text;
        hunze_text_start(&text);
        hunze_text_add(
            &text,
            "{\"calls\": %llu, \"operations\": %llu, \"bytes\": %llu, \"seconds\": %.9f, \"seconds_in_calls\": %.9f, ",
            (unsigned long long)(atomic_load(&context->totals.calls) - meter->calls),
            (unsigned long long)(atomic_load(&context->totals.operations) - meter->operations),
            (unsigned long long)(atomic_load(&context->totals.bytes) - meter->bytes), seconds,
            (double)(atomic_load(&context->totals.nanoseconds) - meter->nanoseconds) * 1e-9);
        add_energy(&text, meter, energy);
        hunze_text_add(&text, "}");
        status = hunze_text_finish(&text, out);
    }
    hunze_deallocate(context, meter, sizeof *meter);
    hunze_context_release(context);
    return status;
}
