/* SPDX-License-Identifier: Apache-2.0 */
/* How a call becomes a plan: its key, the cache, the checks and the choice.  For the runtime; drivers need internal.h only. */
#ifndef HUNZE_PLAN_H
#define HUNZE_PLAN_H

#include "context.h"

/* A call on its way to a plan: its tensors by role (NULL: absent) and its key, the words that everything but data depends on. */
enum { HUNZE_KEY_WORDS = 41 + HUNZE_ROLE_COUNT * (1 + 2 * HUNZE_MAX_NDIM) };
typedef struct hunze_request {
    const hunze_call *call;
    uint32_t flags; /* of context and call */
    const hunze_tensor *operand[HUNZE_ROLE_COUNT];
    const hunze_run *run; /* NULL: none; of packed weights on a device it has the header, or the stream to read it on */
    const char *kernel;   /* forced, or NULL */
    hunze_packed_header packed; /* of b, if that is a packed weight */
    uint64_t hash;
    uint32_t words;
    uint64_t key[HUNZE_KEY_WORDS];
} hunze_request;

/* ------------------------------------------------------------------ plan_key.c
 * call->options is not NULL: hunze_default_options(op) stands in. */
/* plan: NULL, or the one that the call is to be a run of.  Of packed weights on a device it knows the header: reading it takes a copy that waits. */
hunze_status hunze_request_build(hunze_context *context, const hunze_call *call, const hunze_plan *plan,
                                 const hunze_run *run, hunze_request *request);
/* The one place where the operands that the request has so far live, pinned memory being everywhere; else HUNZE_ERR_DEVICE. */
hunze_status hunze_request_device(const hunze_request *request, hunze_device *device);
/* Whether the call is a gemm of a plain plan's operands and nothing else whose key is the plan's: compared in place, nothing stored or hashed.  Of the
 * request it fills what hunze_execute reads.  False says nothing about errors. */
bool hunze_request_matches(hunze_context *context, const hunze_call *call, const hunze_plan *plan,
                           hunze_request *request);
const void *hunze_default_options(uint32_t op);     /* only struct_size set; NULL if plans do not take the op */
const char *hunze_role_name(hunze_op op, int role); /* what messages call an operand */
/* Bytes that divide the address of an operand, at most 16; 16 where data is NULL. */
int32_t hunze_operand_alignment(const hunze_tensor *tensor);
/* The bits of a key's first word that say how operands on a device are aligned. */
extern const uint64_t hunze_key_alignments;
/* An operand of a product, from D to the residual, as the plan knows it: without data, and with shape and strides in the plan.  False: there is
 * none. */
bool hunze_plan_operand(const hunze_plan *plan, int role, hunze_tensor *tensor);
/* Whether a gemm transposes A or B. */
bool hunze_plan_transposes(const hunze_plan *plan, int role);

/* Options of a program that was compiled before they had offsets end there. */
enum { HUNZE_GEMM_OPTIONS_EARLIER = offsetof(hunze_gemm_options, offsets) };
static inline const hunze_tensor *hunze_gemm_offsets(const hunze_gemm_options *options)
{
    return options->struct_size > HUNZE_GEMM_OPTIONS_EARLIER ? options->offsets : NULL;
}

/* ------------------------------------------------------------------ plan_gemm.c, plan_conv.c, plan_map.c
 * Everything that can be said without data.  They fill the plan's types, shape, operations and bytes. */
hunze_status hunze_check_gemm(const hunze_request *request, hunze_plan *plan);
hunze_status hunze_check_conv(const hunze_request *request, hunze_plan *plan); /* and conv_transpose */
hunze_status hunze_check_map(const hunze_request *request, hunze_plan *plan);  /* quantize, dequantize, activation */
/* plan_types.c: the element types of a product, what stands in its epilogue and the zero points and scales. */
hunze_status hunze_check_product_types(const hunze_request *request, hunze_plan *plan);
hunze_status hunze_check_activation(const hunze_activation *activation, hunze_type d);
/* A scale or zero point: one element, or `extent` contiguous ones along `axis` of a tensor with ndim axes. */
hunze_status hunze_check_quant(const hunze_request *request, const hunze_quant *quant, int scale_role, int axis,
                               int ndim, int64_t extent, hunze_type codes);

/* ------------------------------------------------------------------ plan_choose.c
 * The row for plan's types, shape and weights among those that the context allows; with text, a JSON array of the rows refused and why. */
hunze_status hunze_choose_row(hunze_plan *plan, hunze_text *text);
hunze_status hunze_force_row(hunze_plan *plan, const char *name);

/* Why the plan's row won: words that need no quoting. */
void hunze_explain_choice(const hunze_plan *plan, hunze_text *text);
/* Of its row on one core, or a device's multiprocessor; 0: has no model. */
double hunze_modelled_cycles(const hunze_plan *plan);

/* ------------------------------------------------------------------ providers/product.c: rows that another library computes
 * NULL if the row takes the plan's call, else why not; `text` may hold it.  Opens the library only if the row could win. */
const char *hunze_provided_refusal(const hunze_plan *plan, const hunze_row *row, char *text, size_t size);
/* Of the seconds of our own kernel, as measured for products of the plan's size and this version of the library; 0: nothing was. */
long hunze_provided_thousandths(const hunze_plan *plan, const hunze_row *row);
/* The same in words; returns text. */
const char *hunze_provided_rank(const hunze_plan *plan, const hunze_row *row, char *text, size_t size);

/* ------------------------------------------------------------------ plan.c */
/* A plan with one reference, which is not in the cache. */
hunze_status hunze_plan_make(hunze_context *context, const hunze_request *request, hunze_plan **plan);
const char *hunze_op_name(hunze_op op);
int32_t hunze_plan_threads(const hunze_plan *plan,
                           int32_t threads); /* that a run with `threads` (0: the context's) takes */
size_t hunze_plan_workspace_of(const hunze_plan *plan, int32_t threads); /* for so many that a run takes */

/* ------------------------------------------------------------------ gemm_direct.c */
/* Whether hunze_run_gemm_direct takes a plan that has its row; then plan->direct is filled.  One matrix needs no exec. */
bool hunze_gemm_is_direct(const hunze_request *request, hunze_plan *plan);
hunze_driver_fn hunze_run_gemm_direct;

/* ------------------------------------------------------------------ execute.c */
hunze_status hunze_run_check(const hunze_run *run, hunze_device device);
/* What can be wrong with the data of a run: NULL, alignment, overlap, scalars and offsets. */
hunze_status hunze_check_run(const hunze_plan *plan, const hunze_request *request);
/* The context has a trace: it gets a record of the call. */
void hunze_trace_call(const hunze_plan *plan, const hunze_request *request, int32_t threads, uint64_t bytes,
                      uint64_t nanoseconds);
/* The request is the plan's.  Without a flight the workspace is allocated for this run alone. */
hunze_status hunze_execute(const hunze_plan *plan, const hunze_request *request, const hunze_run *run,
                           hunze_flight *flight);

/* ------------------------------------------------------------------ pack.c */
/* A header that is there, whole, of this version, and no larger than its tensor; from a device by a copy on
 * the run's stream that waits, unless the run, which may be NULL, has it. */
hunze_status hunze_packed_read(hunze_context *context, const hunze_tensor *tensor, const char *name,
                               const hunze_run *run, hunze_packed_header *header);
/* Its bytes are those that the row's layout has for its n and k. */
hunze_status hunze_packed_fits(const hunze_packed_header *header, const hunze_row *row);

/* ------------------------------------------------------------------ plan_cache.c */
hunze_status hunze_cache_create(hunze_context *context, uint32_t plans);
void hunze_cache_destroy(hunze_context *context);
/* A flight of one's own until hunze_flight_end; NULL if all are taken. */
hunze_flight *hunze_flight_begin(hunze_context *context);
static inline void hunze_flight_end(hunze_flight *flight)
{
    if (flight)
        atomic_store_explicit(&flight->taken, 0, memory_order_release);
}
/* The plan of a request, named by the flight and so protected; NULL if there is none. */
const hunze_plan *hunze_cache_find(hunze_context *context, const hunze_request *request, hunze_flight *flight);
/* Takes over one reference to the plan. */
void hunze_cache_insert(hunze_context *context, hunze_plan *plan);
/* Gives one reference back, the last one frees. */
void hunze_plan_drop(hunze_plan *plan);

#endif
