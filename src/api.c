/* SPDX-License-Identifier: Apache-2.0 */
/* The operations as exported functions.  Each makes its arguments a call; from there on all ops go the same way: key, plan, run. */
#include "plan.h"

/* No plan yet: make one, keep it in the cache, and run it while holding a reference. */
static __attribute__((noinline)) hunze_status run_new_plan(hunze_context *context, const hunze_request *request,
                                                           const hunze_run *run, hunze_flight *flight)
{
    hunze_plan *plan;
    hunze_status status = hunze_plan_make(context, request, &plan);
    if (status)
        return status;
    plan->references = 2;
    if (flight)
        atomic_store(&flight->plan, plan); /* named before anyone can replace it */
    hunze_cache_insert(context, plan);
    status = hunze_execute(plan, request, run, flight);
    hunze_plan_drop(plan);
    return status;
}

static __attribute__((noinline)) hunze_status run_by_key(hunze_context *context, const hunze_call *call,
                                                         const hunze_run *run, hunze_flight *flight)
{
    hunze_request request;
    const hunze_status status = hunze_request_build(context, call, NULL, run, &request);
    if (status)
        return status;
    const hunze_plan *plan = flight ? hunze_cache_find(context, &request, flight) : NULL;
    return plan ? hunze_execute(plan, &request, run, flight) : run_new_plan(context, &request, run, flight);
}

static hunze_status run_call(hunze_context *context, const hunze_call *call, const hunze_run *run)
{
    if (!context)
        return hunze_fail(HUNZE_ERR_NULL, "context is NULL");
    hunze_flight *flight = hunze_flight_begin(context);
    const hunze_status status = run_by_key(context, call, run, flight);
    hunze_flight_end(flight);
    return status;
}

static const void *or_default(const void *options, hunze_op op)
{
    return options ? options : hunze_default_options(op);
}

hunze_status hunze_gemm(hunze_context *context, const hunze_tensor *a, const hunze_tensor *b, const hunze_tensor *c,
                        const hunze_tensor *d, const hunze_gemm_options *options, const hunze_run *run)
{
    static const hunze_gemm_options defaults = {.struct_size = sizeof defaults};
    const hunze_call call = {sizeof call, HUNZE_OP_GEMM, a, b, c, d, options ? options : &defaults};
    if (!context)
        return hunze_fail(HUNZE_ERR_NULL, "context is NULL");
    hunze_status status;
    hunze_request request;
    hunze_flight *flight = hunze_flight_begin(context);
    /* Small products come in series of one shape: the plan that this thread ran last is tried before its key is made and looked up. */
    const hunze_plan *last = flight ? atomic_load_explicit(&flight->plan, memory_order_relaxed) : NULL;
    if (last && hunze_request_matches(context, &call, last, &request))
        status = hunze_execute(last, &request, run, flight);
    else
        status = run_by_key(context, &call, run, flight);
    hunze_flight_end(flight);
    return status;
}

hunze_status hunze_conv(hunze_context *context, const hunze_tensor *x, const hunze_tensor *w, const hunze_tensor *y,
                        const hunze_conv_options *options, const hunze_run *run)
{
    const hunze_call call = {sizeof call, HUNZE_OP_CONV, x, w, NULL, y, or_default(options, HUNZE_OP_CONV)};
    return run_call(context, &call, run);
}

hunze_status hunze_conv_transpose(hunze_context *context, const hunze_tensor *x, const hunze_tensor *w,
                                  const hunze_tensor *y, const hunze_conv_options *options, const hunze_run *run)
{
    const hunze_call call = {
        sizeof call, HUNZE_OP_CONV_TRANSPOSE, x, w, NULL, y, or_default(options, HUNZE_OP_CONV_TRANSPOSE)};
    return run_call(context, &call, run);
}

hunze_status hunze_quantize(hunze_context *context, const hunze_tensor *x, const hunze_tensor *codes,
                            const hunze_quantize_options *options, const hunze_run *run)
{
    const hunze_call call = {
        sizeof call, HUNZE_OP_QUANTIZE, x, NULL, NULL, codes, or_default(options, HUNZE_OP_QUANTIZE)};
    return run_call(context, &call, run);
}

hunze_status hunze_dequantize(hunze_context *context, const hunze_tensor *codes, const hunze_tensor *x,
                              const hunze_quantize_options *options, const hunze_run *run)
{
    const hunze_call call = {
        sizeof call, HUNZE_OP_DEQUANTIZE, codes, NULL, NULL, x, or_default(options, HUNZE_OP_DEQUANTIZE)};
    return run_call(context, &call, run);
}

hunze_status hunze_activate(hunze_context *context, const hunze_tensor *x, const hunze_tensor *y,
                            const hunze_activation_options *options, const hunze_run *run)
{
    const hunze_call call = {
        sizeof call, HUNZE_OP_ACTIVATION, x, NULL, NULL, y, or_default(options, HUNZE_OP_ACTIVATION)};
    return run_call(context, &call, run);
}
