/* SPDX-License-Identifier: Apache-2.0 */
/* hunze_gemm_grouped: a list of products of any shapes.  Each has a plan as if it were called by itself; then those with work for several
 * threads run one after the other with all of them, and the others are handed out to lanes, one product to one lane. */
#include "gemm.h"
#include "plan.h"

#include <stdio.h>
#include <string.h>

typedef struct gemm_list {
    hunze_context *context;
    const char *groups;
    size_t group_size;
    int64_t count;
    hunze_gemm_options options;
    int32_t threads;
    const hunze_plan **plans; /* one reference each */
    char *scratch;            /* of lane 0; those of the others follow */
    size_t lane_bytes;
    hunze_items items;
} gemm_list;

/* Product i as a call; its options have room in *options. */
static hunze_call call_of(const gemm_list *list, int64_t i, hunze_gemm_options *options)
{
    const hunze_gemm_group *group =
        (const hunze_gemm_group *)(const void *)(list->groups + (size_t)i * list->group_size);
    *options = list->options;
    options->bias = group->bias;
    options->residual = group->residual;
    return (hunze_call){sizeof(hunze_call), HUNZE_OP_GEMM, group->a, group->b, group->c, group->d, options};
}

static bool is_split(const gemm_list *list, const hunze_plan *plan)
{
    return list->threads > 1 && plan->useful_threads > 1;
}

static hunze_status check_list(const hunze_gemm_group *groups, size_t group_size, int64_t count,
                               const hunze_gemm_options *options)
{
    if (count < 0 || (count > 0 && !groups))
        return count < 0 ? hunze_fail(HUNZE_ERR_OPTION, "count is %lld", (long long)count)
                         : hunze_fail(HUNZE_ERR_NULL, "groups is NULL");
    if (group_size < sizeof *groups || group_size % sizeof(void *))
        return hunze_fail(HUNZE_ERR_OPTION, "group_size is %zu; set it to sizeof(hunze_gemm_group), which is %zu here",
                          group_size, sizeof *groups);
    if ((uint64_t)count > PTRDIFF_MAX / group_size)
        return hunze_fail(HUNZE_ERR_OVERFLOW, "count is %lld: so many groups leave 63 bits", (long long)count);
    for (int64_t i = 0; group_size > sizeof *groups && i < count; i++)
        for (size_t at = sizeof *groups; at < group_size; at++)
            if (((const char *)groups)[(size_t)i * group_size + at])
                return hunze_fail(
                    HUNZE_ERR_OPTION,
                    "groups[%lld] has a field at byte %zu that this library does not know: it must be zero",
                    (long long)i, at);
    if (options->struct_size != HUNZE_GEMM_OPTIONS_EARLIER)
        TRY(hunze_struct_check(options, sizeof *options, "hunze_gemm_options"));
    if (options->bias || options->residual)
        return hunze_fail(HUNZE_ERR_OPTION, "%s is given in the options; each group has its own",
                          options->bias ? "bias" : "residual");
    return hunze_gemm_offsets(options) ? hunze_fail(HUNZE_ERR_OPTION, "offsets are given with a list of products")
                                       : HUNZE_OK;
}

/* The plan of a product, with a reference, once everything that can be wrong with it was looked for. */
static hunze_status plan_product(const gemm_list *list, int64_t i, bool with_data, hunze_flight *flight,
                                 const hunze_plan **out)
{
    hunze_gemm_options options;
    const hunze_call call = call_of(list, i, &options);
    hunze_request request;
    TRY(hunze_request_build(list->context, &call, NULL, NULL, &request));
    hunze_plan *plan = flight ? (hunze_plan *)(uintptr_t)hunze_cache_find(list->context, &request, flight) : NULL;
    if (plan) {
        __atomic_fetch_add(&plan->references, 1, __ATOMIC_RELAXED);
    } else {
        TRY(hunze_plan_make(list->context, &request, &plan));
        __atomic_fetch_add(&plan->references, 1, __ATOMIC_RELAXED);
        hunze_cache_insert(list->context, plan);
    }
    *out = plan;
    if (plan->device.type != HUNZE_DEVICE_CPU)
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "the operands live on a device; call hunze_gemm for each group");
    return with_data ? hunze_check_run(plan, &request) : HUNZE_OK;
}

static void drop_plans(const gemm_list *list)
{
    for (int64_t i = 0; i < list->count && list->plans[i]; i++)
        hunze_plan_drop((hunze_plan *)(uintptr_t)list->plans[i]);
}

/* Plans of all products, in list->plans; of none, if one is refused. */
static hunze_status plan_list(gemm_list *list, bool with_data)
{
    hunze_status status = HUNZE_OK;
    hunze_flight *flight = hunze_flight_begin(list->context);
    memset(list->plans, 0, (size_t)list->count * sizeof *list->plans);
    for (int64_t i = 0; i < list->count && !status; i++) {
        status = plan_product(list, i, with_data, flight, &list->plans[i]);
        if (status) {
            char message[400];
            snprintf(message, sizeof message, "%s", hunze_last_error());
            hunze_fail(status, "groups[%lld]: %s", (long long)i, message);
        }
    }
    hunze_flight_end(flight);
    if (status)
        drop_plans(list);
    return status;
}

static size_t plans_bytes(int64_t count) { return hunze_align64((size_t)count * sizeof(const hunze_plan *)); }

/* Lanes for the products that are not split, and scratch for both kinds. */
static size_t scratch_bytes(gemm_list *list, int32_t *lanes)
{
    size_t split = 0;
    double operations = 0;
    list->lane_bytes = 0;
    for (int64_t i = 0; i < list->count; i++) {
        const hunze_plan *plan = list->plans[i];
        if (plan->idle)
            continue;
        if (is_split(list, plan)) {
            const size_t bytes = hunze_plan_workspace_of(plan, hunze_plan_threads(plan, list->threads));
            split = bytes > split ? bytes : split;
        } else {
            operations += (double)plan->operations;
            list->lane_bytes = plan->workspace_bytes > list->lane_bytes ? plan->workspace_bytes : list->lane_bytes;
        }
    }
    *lanes = hunze_gemm_lanes(operations, list->threads);
    const size_t together = (size_t)*lanes * list->lane_bytes;
    return together > split ? together : split;
}

static void products_of_lane(void *user, int32_t lane, int32_t lanes)
{
    (void)lanes;
    gemm_list *list = user;
    hunze_exec exec = {
        .context = list->context, .threads = 1, .workspace = list->scratch + (size_t)lane * list->lane_bytes};
    for (int64_t i; hunze_take_item(&list->items, &i);) {
        const hunze_plan *plan = list->plans[i];
        if (plan->idle || is_split(list, plan))
            continue;
        hunze_gemm_options options;
        const hunze_call call = call_of(list, i, &options);
        exec.flags = plan->flags;
        exec.workspace_bytes = plan->workspace_bytes;
        plan->driver(plan, &call, &exec);
    }
}

static hunze_status run_products(gemm_list *list, hunze_exec *exec, int32_t lanes)
{
    for (int64_t i = 0; i < list->count; i++) {
        const hunze_plan *plan = list->plans[i];
        if (plan->idle || !is_split(list, plan))
            continue;
        hunze_gemm_options options;
        const hunze_call call = call_of(list, i, &options);
        exec->threads = hunze_plan_threads(plan, list->threads);
        TRY(plan->driver(plan, &call, exec));
    }
    list->items = (hunze_items){.count = list->count, .exec = exec};
    hunze_parallel(exec, lanes, products_of_lane, list);
    return list->items.stopped ? hunze_fail(HUNZE_ERR_CANCELLED, "the cancel callback ended gemm") : HUNZE_OK;
}

/* Each by itself, for a trace, which gets a record of each. */
static hunze_status run_traced(const gemm_list *list, const hunze_run *run)
{
    hunze_run each = {.struct_size = sizeof each};
    if (run)
        each = *run;
    each.workspace = NULL;
    for (int64_t i = 0; i < list->count; i++) {
        hunze_gemm_options options;
        const hunze_call call = call_of(list, i, &options);
        TRY(hunze_gemm(list->context, call.a, call.b, call.c, call.d, &options, &each));
    }
    return HUNZE_OK;
}

static void count_products(const gemm_list *list, uint64_t nanoseconds)
{
    uint64_t operations = 0, bytes = 0;
    for (int64_t i = 0; i < list->count; i++) {
        operations += list->plans[i]->idle ? 0 : list->plans[i]->operations;
        bytes += list->plans[i]->idle ? 0 : list->plans[i]->bytes;
    }
    hunze_meter_count(list->context, operations, bytes, nanoseconds);
}

static hunze_status run_list(gemm_list *list, const hunze_run *run)
{
    int32_t lanes;
    hunze_context *context = list->context;
    hunze_exec exec = {.context = context, .flags = context->flags | list->options.flags, .run = run};
    exec.workspace_bytes = scratch_bytes(list, &lanes);
    const bool given = run && run->workspace,
               metered = atomic_load_explicit(&context->meters, memory_order_relaxed) > 0;
    if (given) {
        const size_t needed = plans_bytes(list->count) + exec.workspace_bytes;
        if (run->workspace_bytes < needed)
            return hunze_fail(HUNZE_ERR_WORKSPACE, "hunze_run.workspace has %zu bytes; these products need %zu",
                              run->workspace_bytes, needed);
        exec.workspace = (char *)run->workspace + plans_bytes(list->count);
    } else if (exec.workspace_bytes > 0) {
        exec.workspace = hunze_allocate(context, exec.workspace_bytes, 64);
        if (!exec.workspace)
            return hunze_fail(HUNZE_ERR_NOMEM, "no memory for a workspace of %zu bytes", exec.workspace_bytes);
    }
    list->scratch = exec.workspace;
    if (run && run->cancel)
        exec.caller = (uintptr_t)pthread_self();
    const uint64_t start = metered ? hunze_nanoseconds() : 0;
    const hunze_float_state saved = hunze_float_enter();
    hunze_status status = run_products(list, &exec, lanes);
    hunze_float_leave(saved);
    if (exec.lost)
        status =
            hunze_fail(HUNZE_ERR_SYSTEM, "the process was forked in the middle of the call: its output is incomplete");
    if (metered && status == HUNZE_OK)
        count_products(list, hunze_nanoseconds() - start);
    if (exec.flags & HUNZE_WIPE && exec.workspace)
        hunze_wipe(exec.workspace, exec.workspace_bytes);
    if (!given && exec.workspace)
        hunze_deallocate(context, exec.workspace, exec.workspace_bytes);
    return status;
}

static hunze_status open_list(hunze_context *context, const hunze_gemm_group *groups, size_t group_size, int64_t count,
                              const hunze_gemm_options *options, int32_t threads, gemm_list *list)
{
    static const hunze_gemm_options defaults = {.struct_size = sizeof defaults};
    if (!context)
        return hunze_fail(HUNZE_ERR_NULL, "context is NULL");
    options = options ? options : &defaults;
    TRY(check_list(groups, group_size, count, options));
    memset(list, 0, sizeof *list);
    list->context = context;
    list->groups = (const char *)groups;
    list->group_size = group_size;
    list->count = count;
    memcpy(&list->options, options, HUNZE_GEMM_OPTIONS_EARLIER);
    list->options.struct_size = sizeof list->options;
    list->threads = threads ? threads : hunze_context_threads(context);
    return HUNZE_OK;
}

hunze_status hunze_gemm_grouped_workspace(hunze_context *context, const hunze_gemm_group *groups, size_t group_size,
                                          int64_t count, const hunze_gemm_options *options, int32_t threads,
                                          size_t *bytes)
{
    gemm_list list;
    int32_t lanes;
    if (!bytes)
        return hunze_fail(HUNZE_ERR_NULL, "bytes is NULL");
    if (threads < 0 || threads > HUNZE_MAX_THREADS)
        return hunze_fail(HUNZE_ERR_OPTION, "threads is %d; 0 to %d are taken", threads, HUNZE_MAX_THREADS);
    TRY(open_list(context, groups, group_size, count, options, threads, &list));
    *bytes = 0;
    if (count == 0)
        return HUNZE_OK;
    list.plans = hunze_allocate(context, plans_bytes(count), 64);
    if (!list.plans)
        return hunze_fail(HUNZE_ERR_NOMEM, "no memory for %lld plans", (long long)count);
    const hunze_status status = plan_list(&list, false);
    if (status == HUNZE_OK) {
        *bytes = plans_bytes(count) + hunze_align64(scratch_bytes(&list, &lanes));
        drop_plans(&list);
    }
    hunze_deallocate(context, list.plans, plans_bytes(count));
    return status;
}

hunze_status hunze_gemm_grouped(hunze_context *context, const hunze_gemm_group *groups, size_t group_size,
                                int64_t count, const hunze_gemm_options *options, const hunze_run *run)
{
    gemm_list list;
    TRY(open_list(context, groups, group_size, count, options, run ? run->threads : 0, &list));
    if (run)
        TRY(hunze_run_check(run, (hunze_device){HUNZE_DEVICE_CPU, 0}));
    if (count == 0)
        return HUNZE_OK;
    const bool given = run && run->workspace;
    if (given && run->workspace_bytes < plans_bytes(count))
        return hunze_fail(HUNZE_ERR_WORKSPACE, "hunze_run.workspace has %zu bytes; %lld products need %zu and scratch",
                          run->workspace_bytes, (long long)count, plans_bytes(count));
    list.plans = given ? run->workspace : hunze_allocate(context, plans_bytes(count), 64);
    if (!list.plans)
        return hunze_fail(HUNZE_ERR_NOMEM, "no memory for %lld plans", (long long)count);
    hunze_status status = plan_list(&list, true);
    if (status == HUNZE_OK) {
        status = context->trace ? run_traced(&list, run) : run_list(&list, run);
        drop_plans(&list);
    }
    if (!given)
        hunze_deallocate(context, list.plans, plans_bytes(count));
    return status;
}
