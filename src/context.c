/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: options, the environment (read once), and what a context tells about itself. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONTEXT_FLAGS = HUNZE_REPRODUCIBLE | HUNZE_REQUIRE_FAST | HUNZE_BATCH_INVARIANT | HUNZE_WIPE |
                    HUNZE_IGNORE_ENVIRONMENT | HUNZE_TRUST_POINTERS
};

static void *default_alloc(void *user, size_t bytes, size_t alignment)
{
    (void)user;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void default_free(void *user, void *pointer, size_t bytes)
{
    (void)user;
    (void)bytes;
    free(pointer);
}

void hunze_wipe(void *memory, size_t bytes)
{
    if (bytes > 0)
        explicit_bzero(memory, bytes);
}

static hunze_status allowed_bundles(const char *isa, const char *from, uint32_t bundles, uint32_t *allowed)
{
    *allowed = bundles;
    if (!isa || !*isa)
        return HUNZE_OK;
    hunze_isa bundle;
    if (!hunze_isa_parse(isa, &bundle))
        return hunze_fail(HUNZE_ERR_OPTION,
                          "%s is \"%.32s\"; known are portable, avx2, avxvnni, avx512, avx512vnni and avx512bf16", from,
                          isa);
    if (!(bundles & 1u << bundle))
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "%s is %s, which this CPU or operating system does not have", from,
                          isa);
    *allowed = bundles & hunze_isa_implied(bundle);
    return HUNZE_OK;
}

static hunze_status environment_threads(int32_t *threads)
{
    const char *text = getenv("HUNZE_NUM_THREADS");
    if (!text || !*text)
        return HUNZE_OK;
    char *end;
    const long value = strtol(text, &end, 10);
    if (*end || value < 1 || value > HUNZE_MAX_THREADS)
        return hunze_fail(HUNZE_ERR_OPTION, "HUNZE_NUM_THREADS is \"%.32s\"; 1 to %d are taken", text,
                          HUNZE_MAX_THREADS);
    *threads = (int32_t)value;
    return HUNZE_OK;
}

static hunze_status check_options(const hunze_context_options *options)
{
    hunze_status status = hunze_struct_check(options, sizeof *options, "hunze_context_options");
    if (status)
        return status;
    if (options->flags & ~(uint32_t)CONTEXT_FLAGS)
        return hunze_fail(HUNZE_ERR_OPTION, "hunze_context_options.flags has unknown bits 0x%x",
                          options->flags & ~(uint32_t)CONTEXT_FLAGS);
    if (options->threads < 0 || options->threads > HUNZE_MAX_THREADS)
        return hunze_fail(HUNZE_ERR_OPTION, "hunze_context_options.threads is %d; 0 to %d are taken", options->threads,
                          HUNZE_MAX_THREADS);
    if (options->plan_cache < 0 || options->plan_cache > 1 << 20)
        return hunze_fail(HUNZE_ERR_OPTION, "hunze_context_options.plan_cache is %d; 0 to %d are taken",
                          options->plan_cache, 1 << 20);
    if (options->device_allocator) {
        const hunze_device_allocator *allocator = options->device_allocator;
        TRY(hunze_struct_check(allocator, sizeof *allocator, "hunze_device_allocator"));
        if (allocator->reserved)
            return hunze_fail(HUNZE_ERR_OPTION, "hunze_device_allocator.reserved is not 0");
        if (!allocator->alloc || !allocator->free)
            return hunze_fail(HUNZE_ERR_NULL, "hunze_device_allocator needs both alloc and free");
    }
    if (!options->allocator)
        return HUNZE_OK;
    status = hunze_struct_check(options->allocator, sizeof *options->allocator, "hunze_allocator");
    if (status)
        return status;
    if (options->allocator->reserved)
        return hunze_fail(HUNZE_ERR_OPTION, "hunze_allocator.reserved is not 0");
    if (!options->allocator->alloc || !options->allocator->free)
        return hunze_fail(HUNZE_ERR_NULL, "hunze_allocator needs both alloc and free");
    return HUNZE_OK;
}

hunze_status hunze_context_create(const hunze_context_options *given, hunze_context **out)
{
    if (!out)
        return hunze_fail(HUNZE_ERR_NULL, "context is NULL");
    hunze_status status = given ? check_options(given) : HUNZE_OK;
    if (status)
        return status;
    static const hunze_context_options defaults = {.struct_size = sizeof defaults};
    const hunze_context_options *o = given ? given : &defaults;

    const bool environment = !(o->flags & HUNZE_IGNORE_ENVIRONMENT);
    const uint32_t bundles = hunze_cpu_bundles();
    uint32_t allowed;
    if (o->isa || !environment)
        status = allowed_bundles(o->isa, "isa", bundles, &allowed);
    else
        status = allowed_bundles(getenv("HUNZE_ISA"), "HUNZE_ISA", bundles, &allowed);
    int32_t threads = o->threads;
    if (status == HUNZE_OK && threads == 0 && environment)
        status = environment_threads(&threads);
    if (status)
        return status;

    const hunze_allocator allocator =
        o->allocator ? *o->allocator : (hunze_allocator){sizeof allocator, 0, default_alloc, default_free, NULL};
    hunze_context *context = allocator.alloc(allocator.user, sizeof *context, _Alignof(hunze_context));
    if (!context)
        return hunze_fail(HUNZE_ERR_NOMEM, "no memory for a context of %zu bytes", sizeof *context);
    memset(context, 0, sizeof *context);
    atomic_store(&context->references, 1);
    context->flags = o->flags;
    context->bundles = bundles;
    context->allowed = allowed;
    context->halves_512 = hunze_cpu_halves_512();
    context->allocator = allocator;
    if (o->device_allocator)
        context->device_allocator = *o->device_allocator;
    context->device_pool_bytes = o->device_pool_bytes ? o->device_pool_bytes : UINT64_C(1) << 30;
    context->trace = o->trace;
    context->trace_user = o->trace_user;
    context->default_threads = threads ? threads : hunze_usable_cores();
    atomic_store(&context->threads, context->default_threads);
    context->powercap = "/sys/class/powercap";
    hunze_pool_create(&context->pool);
    const bool given_providers = o->providers || !environment;
    status = hunze_providers_create(context, given_providers ? o->providers : getenv("HUNZE_PROVIDERS"),
                                    given_providers ? "providers" : "HUNZE_PROVIDERS", o->measured);
    if (status == HUNZE_OK)
        status = hunze_cache_create(context, o->plan_cache ? (uint32_t)o->plan_cache : 256);
    if (status) {
        hunze_providers_destroy(context);
        allocator.free(allocator.user, context, sizeof *context);
        return status;
    }
    *out = context;
    return HUNZE_OK;
}

void hunze_context_retain(hunze_context *context) { atomic_fetch_add(&context->references, 1); }

void hunze_context_release(hunze_context *context)
{
    if (!context || atomic_fetch_sub(&context->references, 1) != 1)
        return;
    hunze_device_release(context);
    hunze_pool_destroy(&context->pool, &context->allocator);
    hunze_cache_destroy(context);
    hunze_energy_destroy(context);
    hunze_providers_destroy(context);
    for (int i = 0; i < HUNZE_FLIGHTS; i++)
        if (context->flights[i].scratch)
            hunze_deallocate(context, context->flights[i].scratch, context->flights[i].scratch_bytes);
    const hunze_allocator allocator = context->allocator;
    allocator.free(allocator.user, context, sizeof *context);
}

hunze_status hunze_context_set_threads(hunze_context *context, int32_t threads)
{
    if (!context)
        return hunze_fail(HUNZE_ERR_NULL, "context is NULL");
    if (threads < 0 || threads > HUNZE_MAX_THREADS)
        return hunze_fail(HUNZE_ERR_OPTION, "threads is %d; 0 to %d are taken", threads, HUNZE_MAX_THREADS);
    atomic_store(&context->threads, threads ? threads : context->default_threads);
    return HUNZE_OK;
}

int32_t hunze_context_threads(const hunze_context *context) { return context ? atomic_load(&context->threads) : 0; }

static void add_bundles(hunze_text *text, const char *name, uint32_t bundles)
{
    hunze_text_add(text, ", \"%s\": [", name);
    for (int i = 0, first = 1; i < HUNZE_ISA_CPU_COUNT; i++)
        if (bundles & 1u << i) {
            hunze_text_add(text, first ? "\"%s\"" : ", \"%s\"", hunze_isa_name((hunze_isa)i));
            first = 0;
        }
    hunze_text_add(text, "]");
}

hunze_status hunze_context_info(hunze_context *context, char **out)
{
    if (!context || !out)
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL", context ? "text" : "context");
    char cpu[49];
    hunze_cpu_name(cpu);
    hunze_text text;
    hunze_text_start(&text);
    hunze_text_add(&text, "{\"version\": \"%s\", \"abi\": %d, \"cpu\": ", HUNZE_VERSION, HUNZE_ABI_VERSION);
    hunze_text_add_quoted(&text, cpu);
    add_bundles(&text, "found", context->bundles);
    add_bundles(&text, "allowed", context->allowed);
    hunze_text_add(&text, ", \"cores\": %d, \"threads\": %d, \"flags\": %u, \"kernels\": [", hunze_usable_cores(),
                   hunze_context_threads(context), context->flags);
    for (int i = 0; i < hunze_row_count; i++) {
        const hunze_row *row = &hunze_rows[i];
        const bool allowed = row->launch || context->allowed & 1u << row->isa || context->providers[row->provider].file;
        hunze_text_add(&text, "%s{\"name\": \"%s\", \"isa\": \"%s\", \"allowed\": %s}", i ? ", " : "", row->name,
                       hunze_isa_name(row->isa), allowed ? "true" : "false");
    }
    hunze_text_add(&text, "], ");
    hunze_providers_info(context, &text);
    hunze_text_add(&text, ", \"device\": \"cpu\", ");
    hunze_device_info(&text);
    hunze_text_add(&text, "}");
    return hunze_text_finish(&text, out);
}
