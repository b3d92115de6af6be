/* SPDX-License-Identifier: Apache-2.0 */
/* The context's plan cache: bounded, set-associative, read and written without a lock.
 *
 * A reader names the plan that it is about to use in its flight, and then looks whether the plan still stands in the cache: from there on it
 * cannot be freed.  A writer that replaces a plan puts it on the list of retired ones and frees those of the list that no flight names.
 * Nobody waits, so a fork at any moment leaves the child a cache that works. */
#include "plan.h"

#include <string.h>

hunze_status hunze_cache_create(hunze_context *context, uint32_t plans)
{
    uint32_t sets = 1;
    while (sets * HUNZE_CACHE_WAYS < plans)
        sets *= 2;
    const size_t bytes = sets * HUNZE_CACHE_WAYS * sizeof(hunze_cache_entry);
    context->cache = hunze_allocate(context, bytes, 64);
    if (!context->cache)
        return hunze_fail(HUNZE_ERR_NOMEM, "no memory for a cache of %u plans", sets * HUNZE_CACHE_WAYS);
    memset(context->cache, 0, bytes);
    context->cache_sets = sets;
    return HUNZE_OK;
}

void hunze_plan_drop(hunze_plan *plan)
{
    if (__atomic_fetch_sub(&plan->references, 1, __ATOMIC_ACQ_REL) != 1)
        return;
    hunze_deallocate(plan->context, plan, plan->allocated_bytes);
}

void hunze_cache_destroy(hunze_context *context)
{
    const uint32_t entries = context->cache_sets * HUNZE_CACHE_WAYS;
    for (uint32_t i = 0; i < entries; i++) {
        hunze_plan *plan = atomic_load(&context->cache[i].plan);
        if (plan)
            hunze_plan_drop(plan);
    }
    for (hunze_plan *plan = atomic_load(&context->retired), *next; plan; plan = next) {
        next = plan->next_retired;
        hunze_plan_drop(plan);
    }
    hunze_deallocate(context, context->cache, entries * sizeof(hunze_cache_entry));
}

/* A thread tends to find the flight that it used before: the address of its stack picks where to look first. */
hunze_flight *hunze_flight_begin(hunze_context *context)
{
    const uint64_t stack = (uintptr_t)__builtin_frame_address(0) >> 16;
    const uint32_t start = (uint32_t)(stack * 0x9E3779B97F4A7C15u >> 56);
    _Static_assert(HUNZE_FLIGHTS == 1 << 8, "the hash above gives 8 bits");
    for (uint32_t i = 0; i < HUNZE_FLIGHTS; i++) {
        hunze_flight *flight = &context->flights[(start + i) % HUNZE_FLIGHTS];
        if (!atomic_load_explicit(&flight->taken, memory_order_relaxed) &&
            !atomic_exchange_explicit(&flight->taken, 1, memory_order_acquire))
            return flight;
    }
    return NULL;
}

/* By the upper half of the hash: its lowest bit is always set. */
static hunze_cache_entry *set_of(hunze_context *context, uint64_t hash)
{
    return &context->cache[(hash >> 32 & (context->cache_sets - 1)) * HUNZE_CACHE_WAYS];
}

const hunze_plan *hunze_cache_find(hunze_context *context, const hunze_request *request, hunze_flight *flight)
{
    hunze_cache_entry *set = set_of(context, request->hash);
    for (int way = 0; way < HUNZE_CACHE_WAYS; way++) {
        if (atomic_load_explicit(&set[way].hash, memory_order_relaxed) != request->hash)
            continue;
        const hunze_plan *plan = atomic_load_explicit(&set[way].plan, memory_order_acquire);
        if (!plan)
            continue;
        atomic_store(&flight->plan, plan);
        if (atomic_load(&set[way].plan) != plan) { /* replaced in between: it may be gone */
            atomic_store(&flight->plan, NULL);
            continue;
        }
        if (plan->hash == request->hash && plan->key_words == request->words &&
            memcmp(plan->key, request->key, request->words * sizeof(uint64_t)) == 0)
            return plan;
    }
    return NULL;
}

static void retire(hunze_context *context, hunze_plan *plan)
{
    plan->next_retired = atomic_load(&context->retired);
    while (!atomic_compare_exchange_weak(&context->retired, &plan->next_retired, plan))
        ;
}

static bool in_flight(hunze_context *context, const hunze_plan *plan)
{
    for (int i = 0; i < HUNZE_FLIGHTS; i++)
        if (atomic_load(&context->flights[i].plan) == plan)
            return true;
    return false;
}

void hunze_cache_insert(hunze_context *context, hunze_plan *plan)
{
    hunze_cache_entry *set = set_of(context, plan->hash);
    int way = 0;
    while (way < HUNZE_CACHE_WAYS && atomic_load_explicit(&set[way].plan, memory_order_relaxed))
        way++;
    if (way == HUNZE_CACHE_WAYS)
        way = (int)(atomic_fetch_add_explicit(&context->cache_turn, 1, memory_order_relaxed) % HUNZE_CACHE_WAYS);
    hunze_plan *replaced = atomic_exchange(&set[way].plan, plan);
    atomic_store_explicit(&set[way].hash, plan->hash, memory_order_relaxed);
    if (!replaced)
        return;
    retire(context, replaced);
    for (hunze_plan *each = atomic_exchange(&context->retired, NULL), *next; each; each = next) {
        next = each->next_retired;
        if (in_flight(context, each))
            retire(context, each);
        else
            hunze_plan_drop(each);
    }
}
