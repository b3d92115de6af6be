/* SPDX-License-Identifier: Apache-2.0 */
/* Which row a plan gets: those that take the call are ranked by modelled cost, and each other one has a reason. */
#include "conv.h"
#include "device.h"

#include <stdio.h>
#include <string.h>

static bool depthwise_takes(const hunze_plan *plan, const char **why)
{
    if (plan->op != HUNZE_OP_CONV) {
        *why = "computes convolution, not its transpose";
        return false;
    }
    return hunze_depthwise_takes(&plan->conv, why);
}

/* Whether rows of this op can serve the plan's. */
static bool serves(const hunze_row *row, hunze_op op)
{
    return row->op == op || (row->op == HUNZE_OP_GEMM && (op == HUNZE_OP_CONV || op == HUNZE_OP_CONV_TRANSPOSE)) ||
           (row->op == HUNZE_OP_CONV && op == HUNZE_OP_CONV_TRANSPOSE);
}

/* u8 weights of a product on the CPU are packed as s8, 128 less. */
static hunze_type row_b(const hunze_plan *plan)
{
    const bool moved =
        plan->b_type == HUNZE_TYPE_U8 && plan->op == HUNZE_OP_GEMM && plan->device.type == HUNZE_DEVICE_CPU;
    return moved ? HUNZE_TYPE_S8 : hunze_type_of_row(plan->b_type);
}

static hunze_type row_d(const hunze_plan *plan)
{
    const bool product = plan->op == HUNZE_OP_GEMM || plan->op == HUNZE_OP_CONV || plan->op == HUNZE_OP_CONV_TRANSPOSE;
    if (product && hunze_type_is_narrow(plan->b_type))
        return HUNZE_TYPE_F32;
    return product && (plan->b_type == HUNZE_TYPE_S8 || plan->b_type == HUNZE_TYPE_U8)
               ? HUNZE_TYPE_S32
               : hunze_type_of_row(plan->d_type);
}

/* NULL if the row takes the plan's call, else why not; `text` may hold it. */
static const char *refusal(const hunze_plan *plan, const hunze_row *row, char *text, size_t size)
{
    if (row->a != hunze_type_of_row(plan->a_type) || row->b != row_b(plan) || row->d != row_d(plan)) {
        if (row->b == HUNZE_TYPE_NONE)
            snprintf(text, size, "takes %s to %s", hunze_type_name(row->a), hunze_type_name(row->d));
        else
            snprintf(text, size, "takes %s with %s", hunze_type_name(row->a), hunze_type_name(row->b));
        return text;
    }
    const bool on_cpu = plan->device.type == HUNZE_DEVICE_CPU;
    if (row->provided && on_cpu)
        return hunze_provided_refusal(plan, row, text, size);
    if (on_cpu != !row->launch)
        return on_cpu ? "computes on a device, and the operands live on the CPU"
                      : "computes on the CPU, and the operands live on a device";
    if (!(plan->bundles & 1u << row->isa)) {
        char device[HUNZE_DEVICE_TEXT];
        if (on_cpu)
            snprintf(text, size, "this CPU has no %s", hunze_isa_name(row->isa));
        else
            snprintf(text, size, "needs %s, and the operands live on %s", hunze_isa_name(row->isa),
                     hunze_device_text(plan->device, device));
        return text;
    }
    if (!(plan->allowed & 1u << row->isa)) {
        snprintf(text, size, "the context does not allow %s", hunze_isa_name(row->isa));
        return text;
    }
    if ((plan->flags & HUNZE_REPRODUCIBLE) && row->order == HUNZE_ORDER_OWN)
        return "has an order of its own, and the call is to be reproducible";
    if (!hunze_row_convolves(row) && plan->op != HUNZE_OP_GEMM)
        return "computes products, not convolutions";
    if (plan->packs && row->launch && !row->launch_pack)
        return "takes no packed weights";
    const char *why = NULL;
    if (row->op == HUNZE_OP_CONV && !row->launch && !depthwise_takes(plan, &why))
        return why;
    if (row->launch_refusal && (why = row->launch_refusal(plan)) != NULL)
        return why;
    if (plan->packed && plan->packed_layout != row->layout) {
        snprintf(text, size, "the weights are packed in layout %u, not %u", plan->packed_layout, row->layout);
        return text;
    }
    if (row->safe_weights && !(plan->packed_flags & HUNZE_PACKED_SAFE))
        return plan->packed ? "these weights could saturate it"
                            : "takes only packed weights that were proved not to saturate it";
    return NULL;
}

/* Zen 4 runs a vector of 512 bits as two halves: so much longer are the steps of these rows, loads and broadcasts included. */
static const double halved_step = 1.75;

/* Modelled cycles: tiles times steps of k.  0 where rows have no model: then the later bundle wins. */
static double cost(const hunze_plan *plan, const hunze_row *row)
{
    double m = 0, n = 0, k = 0, times = 1;
    if (row->launch)
        return row->launch_cost ? row->launch_cost(plan) : 0;
    switch (plan->op) {
    case HUNZE_OP_GEMM:
        m = (double)plan->gemm_shape.m;
        n = (double)plan->gemm_shape.n;
        k = (double)plan->gemm_shape.k;
        times = (double)plan->gemm_shape.batch;
        if (plan->gemm_shape.groups > 0) {
            times = (double)plan->gemm_shape.groups;
            m = (double)hunze_ceil_div(plan->gemm_shape.m, plan->gemm_shape.groups);
        }
        break;
    case HUNZE_OP_CONV:
    case HUNZE_OP_CONV_TRANSPOSE:
        m = (double)(plan->conv.out[0] * plan->conv.out[1]);
        n = (double)(plan->conv.k / plan->conv.groups);
        k = (double)(plan->conv.c / plan->conv.groups * plan->conv.kernel[0] * plan->conv.kernel[1]);
        times = (double)(plan->conv.n * plan->conv.groups);
        if (plan->op == HUNZE_OP_CONV && hunze_conv_in_planes(&plan->conv, row)) {
            const double positions = m;
            m = n;
            n = positions;
        }
        break;
    default: return 0;
    }
    if (row->op == HUNZE_OP_CONV || row->mr == 0 || row->nr == 0 || row->kr == 0)
        return 0;
    double columns = (double)(int64_t)((n + row->nr - 1) / row->nr);
    if (row->float_tile && !hunze_row_wraps(row)) /* has a body for half of nr, too */
        columns = (double)(int64_t)((n + row->nr / 2 - 1) / (row->nr / 2)) / 2;
    const bool halved = row->isa >= HUNZE_ISA_AVX512 && plan->context->halves_512;
    if (halved && row->float_batch && m * n * k <= HUNZE_GEMM_DIRECT_PRODUCTS) /* and half a vector in half the time */
        columns = (double)(int64_t)((n + row->nr / 4 - 1) / (row->nr / 4)) / 4;
    return times * m / row->mr * columns * (double)(int64_t)((k + row->kr - 1) / row->kr) * (double)row->step_cycles *
           (halved ? halved_step : 1);
}

/* A depthwise row before any other; of rows whose sums have another order the later bundle, so that no shape decides about bits; then the lower cost; then the later bundle. */
static bool better(const hunze_row *row, double row_cost, const hunze_row *best, double best_cost)
{
    if (!best || (row->op == HUNZE_OP_CONV) != (best->op == HUNZE_OP_CONV))
        return !best || row->op == HUNZE_OP_CONV;
    return row->order == best->order && row_cost > 0 && best_cost > 0 && row_cost != best_cost ? row_cost < best_cost
                                                                                               : row->isa > best->isa;
}

void hunze_explain_choice(const hunze_plan *plan, hunze_text *text)
{
    char reason[320];
    const hunze_row *row = plan->row, *next = NULL;
    const double row_cost = cost(plan, row);
    if (plan->forced) {
        hunze_text_add(text, "forced by name");
    } else if (row->provided) {
        hunze_text_add(text, "%s", hunze_provided_rank(plan, row, reason, sizeof reason));
    } else if (row->launch) {
        hunze_text_add(text, "the kernel of the operands' device that takes the call");
    } else if (row->op == HUNZE_OP_CONV) {
        hunze_text_add(text, "a depthwise convolution, on the widest bundle allowed");
    } else if (row_cost == 0) {
        hunze_text_add(text, "the widest bundle allowed");
    } else {
        for (int i = 0; i < hunze_row_count; i++) {
            const hunze_row *other = &hunze_rows[i];
            if (other != row && !other->provided && other->order == row->order && serves(other, plan->op) &&
                !refusal(plan, other, reason, sizeof reason) && (!next || cost(plan, other) < cost(plan, next)))
                next = other;
        }
        hunze_text_add(text, "fewest modelled cycles of the kernels that take the call");
        if (next)
            hunze_text_add(text, "; the next is %s with %.2f times as many", next->name, cost(plan, next) / row_cost);
    }
}

double hunze_modelled_cycles(const hunze_plan *plan) { return cost(plan, plan->row); }

static const hunze_row *row_named(const hunze_plan *plan, const char *name)
{
    for (int i = 0; i < hunze_row_count; i++)
        if (serves(&hunze_rows[i], plan->op) && strcmp(hunze_rows[i].name, name) == 0)
            return &hunze_rows[i];
    return NULL;
}

hunze_status hunze_force_row(hunze_plan *plan, const char *name)
{
    plan->forced = row_named(plan, name);
    if (plan->forced)
        return HUNZE_OK;
    char names[400];
    size_t length = 0;
    names[0] = 0;
    for (int i = 0; i < hunze_row_count && length < sizeof names - 1; i++)
        if (serves(&hunze_rows[i], plan->op) && hunze_rows[i].a == hunze_type_of_row(plan->a_type) &&
            hunze_rows[i].d == row_d(plan))
            length +=
                (size_t)snprintf(names + length, sizeof names - length, "%s%s", length ? ", " : "", hunze_rows[i].name);
    return hunze_fail(HUNZE_ERR_UNSUPPORTED, "no kernel of this op is called \"%s\"; for these types there are %s",
                      name, names);
}

/* The row of another library that was measured to take least of our own kernel's seconds, if that is less than all of them; else `own`. */
static const hunze_row *least_measured(const hunze_plan *plan, const hunze_row *own)
{
    char reason[256];
    const hunze_row *best = own;
    long least = 1000;
    for (int i = 0; i < hunze_row_count; i++) {
        const hunze_row *row = &hunze_rows[i];
        if (!row->provided || !serves(row, plan->op) || refusal(plan, row, reason, sizeof reason))
            continue;
        const long thousandths = hunze_provided_thousandths(plan, row);
        if (thousandths > 0 && thousandths < least) {
            least = thousandths;
            best = row;
        }
    }
    return best;
}

hunze_status hunze_choose_row(hunze_plan *plan, hunze_text *text)
{
    char reason[320];
    const hunze_row *best = NULL;
    double best_cost = 0;
    for (int i = 0; i < hunze_row_count; i++) {
        const hunze_row *row = &hunze_rows[i];
        if (!serves(row, plan->op) || (row->provided && plan->forced != row) ||
            refusal(plan, row, reason, sizeof reason) || (plan->forced && plan->forced != row))
            continue;
        const double row_cost = cost(plan, row);
        if (better(row, row_cost, best, best_cost)) {
            best = row;
            best_cost = row_cost;
        }
    }
    if (best && !plan->forced && plan->context->measured)
        best = least_measured(plan, best);
    if (text) {
        hunze_text_add(text, "[");
        for (int i = 0, first = 1; i < hunze_row_count; i++) {
            const hunze_row *row = &hunze_rows[i];
            if (!serves(row, plan->op) || row == best)
                continue;
            const char *why = refusal(plan, row, reason, sizeof reason);
            if (!why && plan->forced) {
                why = "another kernel is forced by name";
            } else if (!why && row->provided) {
                why = hunze_provided_rank(plan, row, reason, sizeof reason);
            } else if (!why) {
                if (best->op != row->op)
                    why = "a depthwise kernel takes the call";
                else if (best->provided)
                    snprintf(reason, sizeof reason, "%s was measured to be faster", best->name);
                else if (best->order == row->order && best_cost > 0 && cost(plan, row) > 0)
                    snprintf(reason, sizeof reason, "modelled at %.2f times the cycles", cost(plan, row) / best_cost);
                else if (best->isa == row->isa)
                    snprintf(reason, sizeof reason, "%s stands before it", best->name);
                else
                    snprintf(reason, sizeof reason, "%s is there", hunze_isa_name(best->isa));
                why = why ? why : reason;
            }
            hunze_text_add(text, "%s{\"kernel\": \"%s\", \"isa\": \"%s\", \"why\": ", first ? "" : ", ", row->name,
                           hunze_isa_name(row->isa));
            hunze_text_add_quoted(text, why);
            hunze_text_add(text, "}");
            first = 0;
        }
        hunze_text_add(text, "]");
    }
    if (!best && plan->forced)
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "kernel %s: %s", plan->forced->name,
                          refusal(plan, plan->forced, reason, sizeof reason));
    if (!best) {
        char nearest[320] = "";
        for (int i = 0; i < hunze_row_count; i++) /* the first row of these types says what is missing */
            if (serves(&hunze_rows[i], plan->op) && hunze_rows[i].a == hunze_type_of_row(plan->a_type) &&
                hunze_rows[i].b == row_b(plan) && !hunze_rows[i].launch == (plan->device.type == HUNZE_DEVICE_CPU) &&
                !nearest[0])
                snprintf(nearest, sizeof nearest, ": %s %s", hunze_rows[i].name,
                         refusal(plan, &hunze_rows[i], reason, sizeof reason));
        if (plan->packed)
            return hunze_fail(HUNZE_ERR_PACKED, "no kernel allowed here reads the weights' layout %u%s",
                              plan->packed_layout, nearest);
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "no kernel takes %s and %s to %s here%s",
                          hunze_type_name(plan->a_type), hunze_type_name(plan->b_type), hunze_type_name(plan->d_type),
                          nearest);
    }
    if ((plan->flags & HUNZE_REQUIRE_FAST) && best->isa == HUNZE_ISA_PORTABLE)
        return hunze_fail(HUNZE_ERR_SLOW,
                          "only the portable kernel %s takes this call here, and HUNZE_REQUIRE_FAST is set",
                          best->name);
    if ((plan->flags & HUNZE_REQUIRE_FAST) && best->launch && hunze_device_compiles(plan->device)) {
        char device[HUNZE_DEVICE_TEXT];
        return hunze_fail(HUNZE_ERR_SLOW,
                          "this library has no machine code for %s, so its driver would compile %s, and "
                          "HUNZE_REQUIRE_FAST is set",
                          hunze_device_text(plan->device, device), best->name);
    }
    plan->row = best;
    return HUNZE_OK;
}
