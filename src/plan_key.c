/* SPDX-License-Identifier: Apache-2.0 */
/* From a call to its key: everything that a plan depends on, as words.  This runs on every call, so it copies and hashes, and leaves the
 * checks to the plan; what it reads it checks first. */
#include "plan.h"

#include <string.h>

enum {
    CALL_FLAGS = HUNZE_REPRODUCIBLE | HUNZE_REQUIRE_FAST | HUNZE_BATCH_INVARIANT | HUNZE_WIPE | HUNZE_TRUST_POINTERS
};

static const char *const role_names[][HUNZE_ROLE_COUNT] = {
    [HUNZE_OP_GEMM] = {"d", "a", "b", "c", "bias", "residual", "a_quant.scale", "a_quant.zero_point", "b_quant.scale",
                       "b_quant.zero_point", "d_quant.scale", "d_quant.zero_point", "offsets"},
    [HUNZE_OP_CONV] = {"y", "x", "w", "c", "bias", "residual", "x_quant.scale", "x_quant.zero_point", "w_quant.scale",
                       "w_quant.zero_point", "y_quant.scale", "y_quant.zero_point"},
    [HUNZE_OP_CONV_TRANSPOSE] = {"y", "x", "w", "c", "bias", "residual", "x_quant.scale", "x_quant.zero_point",
                                 "w_quant.scale", "w_quant.zero_point", "y_quant.scale", "y_quant.zero_point"},
    [HUNZE_OP_QUANTIZE] = {"codes",
                           "x", [HUNZE_ROLE_D_SCALE] = "quant.scale", [HUNZE_ROLE_D_ZERO] = "quant.zero_point"},
    [HUNZE_OP_DEQUANTIZE] = {"x",
                             "codes", [HUNZE_ROLE_A_SCALE] = "quant.scale", [HUNZE_ROLE_A_ZERO] = "quant.zero_point"},
    [HUNZE_OP_ACTIVATION] = {"y", "x"},
};

const char *hunze_role_name(hunze_op op, int role) { return role_names[op][role]; }

static inline void put(hunze_request *request, uint64_t word) { request->key[request->words++] = word; }

/* The first word of an operand: rank, dtype (as they lie in memory, one word), its role and whether it has strides. */
static inline uint64_t operand_word(const hunze_tensor *tensor, int role)
{
    uint64_t word;
    _Static_assert(offsetof(hunze_tensor, dtype) == offsetof(hunze_tensor, ndim) + 4, "rank and dtype are neighbours");
    memcpy(&word, &tensor->ndim, sizeof word);
    return word ^ (uint64_t)role << 24 ^ (uint64_t)(tensor->strides != NULL) << 23;
}

int32_t hunze_operand_alignment(const hunze_tensor *tensor)
{
    const uintptr_t first = tensor->data ? (uintptr_t)tensor->data + tensor->byte_offset : 0;
    return 1 << __builtin_ctzll(first | 16);
}

/* The key's first word holds op and flags, of 8 bits each, in its halves; above them is room for 3 bits per role. */
static int alignment_shift(int role) { return role < 8 ? 8 + 3 * role : 40 + 3 * (role - 8); }
const uint64_t hunze_key_alignments = 0x007FFF00FFFFFF00;
_Static_assert(CALL_FLAGS < 256 && HUNZE_ROLE_COUNT <= 16, "the first word of a key has room for alignments");

/* An operand that is not simply in the CPU's memory, or wrong.  *place: its kind of memory and its device, as bits that are free in
 * operand_word and 0 for the CPU. */
static __attribute__((noinline)) hunze_status place_of(hunze_request *request, int role, const hunze_tensor *tensor,
                                                       uint64_t *place)
{
    TRY(hunze_tensor_check(tensor, hunze_role_name((hunze_op)request->call->op, role)));
    const uint64_t worse = 5 - (uint64_t)__builtin_ctz((unsigned)hunze_operand_alignment(tensor)); /* 1 to 5 */
    request->key[0] ^= worse << alignment_shift(role);
    _Static_assert(HUNZE_DEVICE_CUDA_MANAGED < 16 && HUNZE_MAX_DEVICES <= 1 << 11, "the place fits in 15 bits");
    *place = (uint64_t)tensor->device.type << 8 | (uint64_t)tensor->device.id << 12;
    return HUNZE_OK;
}

static hunze_status put_operand(hunze_request *request, int role, const hunze_tensor *tensor)
{
    uint64_t place = 0;
    if (__builtin_expect((uint32_t)tensor->ndim > HUNZE_MAX_NDIM || tensor->device.type != HUNZE_DEVICE_CPU ||
                             (tensor->ndim > 0 && !tensor->shape),
                         0))
        TRY(place_of(request, role, tensor, &place));
    request->operand[role] = tensor;
    put(request, operand_word(tensor, role) ^ place);
    for (int32_t i = 0; i < tensor->ndim; i++)
        put(request, (uint64_t)tensor->shape[i]);
    for (int32_t i = 0; tensor->strides && i < tensor->ndim; i++)
        put(request, (uint64_t)tensor->strides[i]);
    return HUNZE_OK;
}

static hunze_status put_required(hunze_request *request, int role, const hunze_tensor *tensor)
{
    return tensor ? put_operand(request, role, tensor)
                  : hunze_fail(HUNZE_ERR_NULL, "%s is NULL", hunze_role_name((hunze_op)request->call->op, role));
}

hunze_status hunze_request_device(const hunze_request *request, hunze_device *device)
{
    const hunze_op op = (hunze_op)request->call->op;
    int cpu = -1, cuda = -1, managed = -1;
    for (int role = 0; role < HUNZE_ROLE_COUNT; role++) {
        const hunze_tensor *tensor = request->operand[role];
        if (!tensor)
            continue;
        if (tensor->device.type == HUNZE_DEVICE_CUDA && cuda >= 0 &&
            tensor->device.id != request->operand[cuda]->device.id)
            return hunze_fail(HUNZE_ERR_DEVICE, "%s lives on cuda:%d and %s on cuda:%d: copy one to the other's device",
                              hunze_role_name(op, cuda), request->operand[cuda]->device.id, hunze_role_name(op, role),
                              tensor->device.id);
        switch (tensor->device.type) {
        case HUNZE_DEVICE_CPU: cpu = role; break;
        case HUNZE_DEVICE_CUDA: cuda = role; break;
        case HUNZE_DEVICE_CUDA_MANAGED: managed = role; break;
        default: break;
        }
    }
    const int there = cuda >= 0 ? cuda : managed;
    *device = (hunze_device){HUNZE_DEVICE_CPU, 0};
    if (there < 0)
        return HUNZE_OK;
    *device = (hunze_device){HUNZE_DEVICE_CUDA, request->operand[there]->device.id};
    if (cpu >= 0)
        return hunze_fail(HUNZE_ERR_DEVICE, "%s lives on the CPU and %s on cuda:%d: copy one to the other (hunze_copy)",
                          hunze_role_name(op, cpu), hunze_role_name(op, there), device->id);
    return HUNZE_OK;
}

/* The header of a packed weight belongs to the key: its layout and shape choose the row. */
static hunze_status put_weights(hunze_request *request, hunze_context *context, const hunze_plan *plan,
                                const hunze_tensor *tensor)
{
    TRY(put_required(request, HUNZE_ROLE_B, tensor));
    if (__builtin_expect(tensor->dtype.code != HUNZE_OPAQUE_HANDLE, 1))
        return HUNZE_OK;
    if (plan && plan->packed && plan->device.type != HUNZE_DEVICE_CPU) {
        request->packed = plan->packed_header;
    } else {
        hunze_device device;
        /* No device is asked for a header that no kernel here could use. */
        if (tensor->device.type != HUNZE_DEVICE_CPU) {
            TRY(hunze_request_device(request, &device));
            TRY(request->run ? hunze_run_check(request->run, device) : HUNZE_OK);
        }
        TRY(hunze_packed_read(context, tensor, hunze_role_name((hunze_op)request->call->op, HUNZE_ROLE_B),
                              tensor->device.type != HUNZE_DEVICE_CPU ? request->run : NULL, &request->packed));
    }
    uint64_t words[sizeof(hunze_packed_header) / sizeof(uint64_t)];
    memcpy(words, &request->packed, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        put(request, words[i]);
    return HUNZE_OK;
}

/* What follows the operands may be there or not, so each part starts with a word that tells it from the others. */
static hunze_status put_optional(hunze_request *request, int role, const hunze_tensor *tensor)
{
    return tensor ? put_operand(request, role, tensor) : HUNZE_OK;
}

static hunze_status put_quant(hunze_request *request, const hunze_quant *quant, int scale_role)
{
    if (!quant)
        return HUNZE_OK;
    TRY(hunze_struct_check(quant, sizeof *quant, "hunze_quant"));
    if (quant->reserved)
        return hunze_fail(HUNZE_ERR_OPTION, "hunze_quant.reserved is not 0");
    put(request, (uint64_t)scale_role << 32);
    put(request, (uint64_t)quant->granularity << 32 | (uint32_t)quant->axis);
    TRY(put_optional(request, scale_role, quant->scale));
    return put_optional(request, scale_role + 1, quant->zero_point);
}

static hunze_status put_activation(hunze_request *request, const hunze_activation *activation)
{
    if (!activation)
        return HUNZE_OK;
    TRY(hunze_struct_check(activation, sizeof *activation, "hunze_activation"));
    put(request, UINT64_C(1) << 32 | activation->kind);
    return HUNZE_OK;
}

/* A kernel's name is forced rarely: its text goes into the key. */
static hunze_status put_kernel(hunze_request *request, const char *kernel)
{
    uint64_t words[8] = {0};
    if (!kernel)
        return HUNZE_OK;
    const size_t length = strnlen(kernel, sizeof words);
    if (length == sizeof words)
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "no kernel is called \"%.60s…\"", kernel);
    memcpy(words, kernel, length);
    request->kernel = kernel;
    put(request, UINT64_C(2) << 32 | length);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        put(request, words[i]);
    return HUNZE_OK;
}

/* earlier: the struct_size of a header before this one, or known. */
static inline hunze_status check_options(const void *options, size_t known, size_t earlier, const char *name,
                                         uint32_t flags)
{
    const uint32_t size = *(const uint32_t *)options;
    if (__builtin_expect(size != known, 0) && size != earlier) {
        const hunze_status status = hunze_struct_check(options, known, name);
        if (status)
            return status;
    }
    if (__builtin_expect(flags & ~(uint32_t)CALL_FLAGS, 0))
        return hunze_fail(HUNZE_ERR_OPTION, "%s.flags has bits 0x%x that are unknown or belong to contexts", name,
                          flags & ~(uint32_t)CALL_FLAGS);
    return HUNZE_OK;
}

/* The first word of every key: the op, and the flags of context and call. */
static void put_head(hunze_request *request, uint32_t flags)
{
    request->flags |= flags;
    put(request, (uint64_t)request->flags << 32 | request->call->op);
}

static hunze_status put_gemm(hunze_request *request, hunze_context *context, const hunze_plan *plan)
{
    const hunze_call *call = request->call;
    const hunze_gemm_options *options = call->options;
    TRY(check_options(options, sizeof *options, HUNZE_GEMM_OPTIONS_EARLIER, "hunze_gemm_options", options->flags));
    put_head(request, options->flags);
    put(request, (uint64_t)options->transpose_a << 32 | options->transpose_b);
    TRY(put_required(request, HUNZE_ROLE_D, call->d));
    TRY(put_required(request, HUNZE_ROLE_A, call->a));
    TRY(put_weights(request, context, plan, call->b));
    TRY(put_optional(request, HUNZE_ROLE_C, call->c));
    TRY(put_optional(request, HUNZE_ROLE_BIAS, options->bias));
    TRY(put_optional(request, HUNZE_ROLE_RESIDUAL, options->residual));
    TRY(put_activation(request, options->activation));
    TRY(put_quant(request, options->a_quant, HUNZE_ROLE_A_SCALE));
    TRY(put_quant(request, options->b_quant, HUNZE_ROLE_B_SCALE));
    TRY(put_quant(request, options->d_quant, HUNZE_ROLE_D_SCALE));
    TRY(put_optional(request, HUNZE_ROLE_OFFSETS, hunze_gemm_offsets(options)));
    return put_kernel(request, options->kernel);
}

/* The part of a convolution's options that is plain numbers. */
enum {
    CONV_FIRST = offsetof(hunze_conv_options, layout),
    CONV_BYTES = offsetof(hunze_conv_options, reserved) + 4 - CONV_FIRST,
    CONV_WORDS = (CONV_BYTES + 7) / 8
};

static hunze_status put_conv(hunze_request *request, hunze_context *context, const hunze_plan *plan)
{
    const hunze_call *call = request->call;
    const hunze_conv_options *options = call->options;
    uint64_t words[CONV_WORDS] = {0};
    TRY(check_options(options, sizeof *options, sizeof *options, "hunze_conv_options", options->flags));
    put_head(request, options->flags);
    put(request, 0);
    TRY(put_required(request, HUNZE_ROLE_D, call->d));
    TRY(put_required(request, HUNZE_ROLE_A, call->a));
    TRY(put_weights(request, context, plan, call->b));
    memcpy(words, (const char *)options + CONV_FIRST, CONV_BYTES);
    for (size_t i = 0; i < CONV_WORDS; i++)
        put(request, words[i]);
    TRY(put_optional(request, HUNZE_ROLE_BIAS, options->bias));
    TRY(put_optional(request, HUNZE_ROLE_RESIDUAL, options->residual));
    TRY(put_activation(request, options->activation));
    TRY(put_quant(request, options->x_quant, HUNZE_ROLE_A_SCALE));
    TRY(put_quant(request, options->w_quant, HUNZE_ROLE_B_SCALE));
    TRY(put_quant(request, options->y_quant, HUNZE_ROLE_D_SCALE));
    return put_kernel(request, options->kernel);
}

static hunze_status put_quantize(hunze_request *request)
{
    const hunze_call *call = request->call;
    const hunze_quantize_options *options = call->options;
    TRY(check_options(options, sizeof *options, sizeof *options, "hunze_quantize_options", options->flags));
    put_head(request, options->flags);
    put(request, (uint64_t)options->reserved << 32 | options->dynamic);
    TRY(put_required(request, HUNZE_ROLE_D, call->d));
    TRY(put_required(request, HUNZE_ROLE_A, call->a));
    TRY(put_quant(request, options->quant, call->op == HUNZE_OP_QUANTIZE ? HUNZE_ROLE_D_SCALE : HUNZE_ROLE_A_SCALE));
    return put_kernel(request, options->kernel);
}

static hunze_status put_activate(hunze_request *request)
{
    const hunze_call *call = request->call;
    const hunze_activation_options *options = call->options;
    TRY(check_options(options, sizeof *options, sizeof *options, "hunze_activation_options", options->flags));
    put_head(request, options->flags);
    put(request, 0);
    TRY(put_required(request, HUNZE_ROLE_D, call->d));
    TRY(put_required(request, HUNZE_ROLE_A, call->a));
    TRY(put_activation(request, options->activation));
    return put_kernel(request, options->kernel);
}

const void *hunze_default_options(uint32_t op)
{
    static const hunze_gemm_options gemm = {.struct_size = sizeof gemm};
    static const hunze_conv_options conv = {.struct_size = sizeof conv};
    static const hunze_quantize_options quantize = {.struct_size = sizeof quantize};
    static const hunze_activation_options activation = {.struct_size = sizeof activation};
    switch (op) {
    case HUNZE_OP_GEMM: return &gemm;
    case HUNZE_OP_CONV:
    case HUNZE_OP_CONV_TRANSPOSE: return &conv;
    case HUNZE_OP_QUANTIZE:
    case HUNZE_OP_DEQUANTIZE: return &quantize;
    case HUNZE_OP_ACTIVATION: return &activation;
    default: return NULL;
    }
}

/* Products of two words each, with secrets that depend on the place: they do not wait for each other. */
static inline uint64_t hash_words(const uint64_t *words, uint32_t count)
{
    uint64_t hash = count, secret = 0x9E3779B97F4A7C15u;
    for (uint32_t i = 0; i < count; i += 2) {
        const unsigned __int128 product =
            (unsigned __int128)(words[i] ^ secret) * (words[i + 1] ^ (secret + 0xE7037ED1A0B428DBu));
        hash += (uint64_t)product ^ (uint64_t)(product >> 64);
        secret += 0xD1B54A32D192ED03u;
    }
    hash = (hash ^ hash >> 29) * 0xBF58476D1CE4E5B9u;
    return (hash ^ hash >> 32) | 1; /* never 0, which marks an empty entry */
}

/* Whether `count` words stand at key: that behind them, else NULL. */
static const uint64_t *match_words(const uint64_t *key, const int64_t *words, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        if (key[i] != (uint64_t)words[i])
            return NULL;
    return key + count;
}

static __attribute__((noinline)) const uint64_t *match_any(const uint64_t *key, const hunze_tensor *tensor, int role)
{
    if (*key++ != operand_word(tensor, role) || (uint32_t)tensor->ndim > HUNZE_MAX_NDIM ||
        tensor->device.type != HUNZE_DEVICE_CPU || !tensor->shape)
        return NULL;
    key = match_words(key, tensor->shape, tensor->ndim);
    return key && tensor->strides ? match_words(key, tensor->strides, tensor->ndim) : key;
}

/* Whether an operand's words stand at key: that behind them, else NULL.  Of a matrix with strides by two branches: the first word says that four follow. */
static inline const uint64_t *match_operand(const uint64_t *key, const hunze_tensor *tensor, int role)
{
    const int64_t *shape = tensor->shape, *strides = tensor->strides;
    if (__builtin_expect(tensor->ndim != 2 || !shape || !strides, 0))
        return match_any(key, tensor, role);
    if (key[0] != operand_word(tensor, role))
        return NULL;
    const uint64_t difference = (key[1] ^ (uint64_t)shape[0]) | (key[2] ^ (uint64_t)shape[1]) |
                                (key[3] ^ (uint64_t)strides[0]) | (key[4] ^ (uint64_t)strides[1]) |
                                (uint64_t)(tensor->device.type ^ HUNZE_DEVICE_CPU);
    return difference ? NULL : key + 5;
}

bool hunze_request_matches(hunze_context *context, const hunze_call *call, const hunze_plan *plan,
                           hunze_request *request)
{
    const hunze_gemm_options *o = call->options;
    const uint64_t *key = plan->key;
    const uintptr_t extras = (uintptr_t)o->bias | (uintptr_t)o->residual | (uintptr_t)o->activation |
                             (uintptr_t)o->a_quant | (uintptr_t)o->b_quant | (uintptr_t)o->d_quant |
                             (uintptr_t)o->kernel;
    if (!plan->plain || o->struct_size != sizeof *o || extras || o->offsets || o->flags & ~(uint32_t)CALL_FLAGS ||
        !call->a || !call->b || !call->d || (call->c != NULL) != (plan->roles >> HUNZE_ROLE_C & 1) ||
        key[0] != ((uint64_t)((context->flags & CALL_FLAGS) | o->flags) << 32 | HUNZE_OP_GEMM) ||
        key[1] != ((uint64_t)o->transpose_a << 32 | o->transpose_b))
        return false;
    if (!(key = match_operand(key + 2, call->d, HUNZE_ROLE_D)) || !(key = match_operand(key, call->a, HUNZE_ROLE_A)) ||
        !(key = match_operand(key, call->b, HUNZE_ROLE_B)) || (call->c && !match_operand(key, call->c, HUNZE_ROLE_C)))
        return false;
    request->call = call;
    request->operand[HUNZE_ROLE_D] = call->d;
    request->operand[HUNZE_ROLE_A] = call->a;
    request->operand[HUNZE_ROLE_B] = call->b;
    request->operand[HUNZE_ROLE_C] = call->c;
    return true;
}

hunze_status hunze_request_build(hunze_context *context, const hunze_call *call, const hunze_plan *plan,
                                 const hunze_run *run, hunze_request *request)
{
    hunze_status status;
    request->call = call;
    request->flags = context->flags & CALL_FLAGS;
    request->run = run;
    request->kernel = NULL;
    request->words = 0;
    memset(request->operand, 0, sizeof request->operand);
    switch (call->op) {
    case HUNZE_OP_GEMM: status = put_gemm(request, context, plan); break;
    case HUNZE_OP_CONV:
    case HUNZE_OP_CONV_TRANSPOSE: status = put_conv(request, context, plan); break;
    case HUNZE_OP_QUANTIZE:
    case HUNZE_OP_DEQUANTIZE: status = put_quantize(request); break;
    case HUNZE_OP_ACTIVATION: status = put_activate(request); break;
    default: return hunze_fail(HUNZE_ERR_OPTION, "op %u is not one that plans take", call->op);
    }
    if (status)
        return status;
    request->key[request->words] = 0; /* the hash takes words in pairs */
    request->hash = hash_words(request->key, request->words);
    return HUNZE_OK;
}

bool hunze_plan_operand(const hunze_plan *plan, int role, hunze_tensor *tensor)
{
    const uint64_t *key = plan->key + 2;
    if (!(plan->roles & 1u << role))
        return false;
    for (int at = HUNZE_ROLE_D;; at++) {
        if (!(plan->roles & 1u << at))
            continue;
        const uint64_t head = *key++ ^ (uint64_t)at << 24;
        const int32_t ndim = (int32_t)(head & 0xff);
        const bool strides = head >> 23 & 1;
        if (at == role) {
            *tensor = (hunze_tensor){.device = plan->device, .ndim = ndim, .shape = (int64_t *)(uintptr_t)key};
            memcpy(&tensor->dtype, (const char *)&head + sizeof tensor->ndim, sizeof tensor->dtype);
            tensor->strides = strides ? tensor->shape + ndim : NULL;
            return true;
        }
        key += strides ? 2 * ndim : ndim;
        if (at == HUNZE_ROLE_B && plan->packed)
            key += sizeof(hunze_packed_header) / sizeof *key;
        if (at == HUNZE_ROLE_B && plan->op != HUNZE_OP_GEMM)
            key += CONV_WORDS;
    }
}

bool hunze_plan_transposes(const hunze_plan *plan, int role)
{
    return role == HUNZE_ROLE_A ? plan->key[1] >> 32 != 0 : (uint32_t)plan->key[1] != 0;
}
