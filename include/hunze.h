/* Hunze: tensor kernels (GEMM, convolution, quantised operations) behind one stable C ABI.
 * C99 and C++; needs no other header.  Licence: Apache-2.0.
 *
 * Five nouns.  A TENSOR is a non-owning view, laid out exactly like DLPack's DLTensor.  A CONTEXT owns what would
 * otherwise be process state: allowed CPU features, threads, allocator, plan cache, meter.  An OP is gemm, conv,
 * conv_transpose, quantize, dequantize or pack, each with one option struct.  A PLAN is an op with its shapes, dtypes and layouts
 * bound to one chosen kernel.  A KERNEL is a leaf function with a name that plans report and options can force.
 *
 * Operands may live on the CPU or, all of them, on one CUDA device (or in pinned or managed memory beside it); then the call only gives
 * work to a stream.  beta, alpha and option structs are always the CPU's.
 *
 * Option structs start with `uint32_t struct_size` (set it to sizeof) and mean their defaults where zero.  A larger
 * struct_size than this library knows is accepted if the unknown tail is all zero (HUNZE_ERR_OPTION otherwise).
 *
 * Every function that can fail returns a hunze_status; hunze_last_error() says what was wrong with which operand.  On
 * an argument error the output is untouched.  The library never aborts, exits or prints. */
#ifndef HUNZE_H
#define HUNZE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HUNZE_API __attribute__((visibility("default")))
#else
#define HUNZE_API
#endif

#define HUNZE_ABI_VERSION 1
#define HUNZE_VERSION "0.1.0"

/* ---------------------------------------------------------------- status */

typedef enum hunze_status {
    HUNZE_OK = 0,
    HUNZE_ERR_NULL = 1,        /* a required pointer is NULL, or data is NULL with a non-zero extent */
    HUNZE_ERR_SHAPE = 2,       /* ranks or extents do not fit; the message says what would */
    HUNZE_ERR_DTYPE = 3,       /* an element type, or a combination, that the op does not have */
    HUNZE_ERR_STRIDE = 4,      /* a stride that the operand may not have, such as 0 in an output */
    HUNZE_ERR_ALIAS = 5,       /* the output provably overlaps an input, or itself */
    HUNZE_ERR_OPTION = 6,      /* an unknown flag or enum value, or a non-zero tail of a newer struct */
    HUNZE_ERR_UNSUPPORTED = 7, /* well-formed, but no kernel takes it here (also: the forced kernel does not) */
    HUNZE_ERR_OVERFLOW = 8,    /* a product of extents or strides leaves 63 bits */
    HUNZE_ERR_NOMEM = 9,       /* the allocator returned NULL */
    HUNZE_ERR_WORKSPACE = 10,  /* the given workspace is smaller than hunze_plan_workspace() */
    HUNZE_ERR_PACKED = 11,     /* a packed blob of another version, layout, dtype or shape */
    HUNZE_ERR_ALIGN = 12,      /* a pointer is less aligned than the op needs */
    HUNZE_ERR_DEVICE = 13,     /* an operand lives on a device that the op cannot use */
    HUNZE_ERR_CANCELLED = 14,  /* the cancel callback asked to stop; the output is unspecified */
    HUNZE_ERR_SYSTEM = 15,     /* the operating system refused something; the message says what */
    HUNZE_ERR_SLOW = 16,       /* HUNZE_REQUIRE_FAST, and only a portable kernel would run */
    HUNZE_ERR_DRIVER = 17,     /* no CUDA driver, or one that is too old or refuses; the message says which is needed */
    HUNZE_ERR_CAPTURE = 18,    /* the stream is being captured, and the call would have to allocate or to wait */
    HUNZE_ERR_FAULT = 19       /* the device reported a fault of earlier work; its context is of no more use */
} hunze_status;

/* The status's name, such as "HUNZE_ERR_SHAPE"; never NULL.  Thread-safe. */
HUNZE_API const char *hunze_status_name(hunze_status status);
/* What was wrong in this thread's last failed call, in words; "" if none failed.  Valid until the thread's next call. */
HUNZE_API const char *hunze_last_error(void);
/* HUNZE_ABI_VERSION and HUNZE_VERSION of the library that is loaded. */
HUNZE_API uint32_t hunze_abi_version(void);
HUNZE_API const char *hunze_version(void);

/* ---------------------------------------------------------------- tensor */

/* Codes are DLPack's. */
enum { HUNZE_INT = 0, HUNZE_UINT = 1, HUNZE_FLOAT = 2, HUNZE_OPAQUE_HANDLE = 3, HUNZE_BFLOAT = 4, HUNZE_BOOL = 6 };
/* CUDA_HOST: pinned memory, read and written by the CPU and by devices.  CUDA_MANAGED: migrates by itself. */
enum { HUNZE_DEVICE_CPU = 1, HUNZE_DEVICE_CUDA = 2, HUNZE_DEVICE_CUDA_HOST = 3, HUNZE_DEVICE_CUDA_MANAGED = 13 };

typedef struct hunze_device {
    int32_t type; /* HUNZE_DEVICE_… */
    int32_t id;
} hunze_device;

typedef struct hunze_dtype {
    uint8_t code;   /* HUNZE_INT, … */
    uint8_t bits;   /* per element */
    uint16_t lanes; /* 1 */
} hunze_dtype;

/* Same layout as DLTensor (48 bytes): a `DLTensor *` may be passed as it is.  strides count elements; NULL means
 * row-major.  The first element is at data + byte_offset. */
typedef struct hunze_tensor {
    void *data;
    hunze_device device;
    int32_t ndim;
    hunze_dtype dtype;
    int64_t *shape;
    int64_t *strides;
    uint64_t byte_offset;
} hunze_tensor;

/* ---------------------------------------------------------------- context */

typedef struct hunze_context hunze_context;

/* Flags of a context or of a call (a call's flags are added to its context's). */
enum {
    HUNZE_REPRODUCIBLE = 1u << 0,    /* the same bits on every ISA (bf16, f16: every CPU); NaN stored as 0x7FC00000 */
    HUNZE_REQUIRE_FAST = 1u << 1,    /* a portable fallback is HUNZE_ERR_SLOW */
    HUNZE_BATCH_INVARIANT = 1u << 2, /* bits do not depend on the batch (no kernel of this version lets them) */
    HUNZE_WIPE = 1u << 3,            /* scratch that held operands is zeroed before it is released */
    HUNZE_IGNORE_ENVIRONMENT =
        1u << 4, /* contexts only: HUNZE_ISA, HUNZE_NUM_THREADS and HUNZE_PROVIDERS are not read */
    /* On a device: an op does not ask the driver whose memory its operands and workspace are.  A pointer that the device cannot reach is then no
     * HUNZE_ERR_DEVICE but a fault of the device: a later call returns HUNZE_ERR_FAULT, and the process has to restart to use the device again. */
    HUNZE_TRUST_POINTERS = 1u << 5
};

typedef struct hunze_allocator {
    uint32_t struct_size;
    uint32_t reserved;                                          /* 0 */
    void *(*alloc)(void *user, size_t bytes, size_t alignment); /* NULL result: HUNZE_ERR_NOMEM */
    void (*free)(void *user, void *pointer, size_t bytes);
    void *user;
} hunze_allocator;

/* Memory of devices.  alloc's block is aligned to 256 bytes and may be used by work given to the stream from then on; NULL: HUNZE_ERR_NOMEM.
 * free is called when the last work that uses the block was given to the stream; it may still run. */
typedef struct hunze_device_allocator {
    uint32_t struct_size;
    uint32_t reserved; /* 0 */
    void *(*alloc)(void *user, int32_t device, size_t bytes, void *stream);
    void (*free)(void *user, int32_t device, void *pointer, size_t bytes, void *stream);
    void *user;
} hunze_device_allocator;

/* One record per call, for hunze_context_options.trace. */
typedef struct hunze_trace_record {
    uint32_t struct_size;
    uint32_t threads;
    const char *kernel;
    const char *line;     /* the call as text that hunze_bench --repro runs again; cut at 1023 letters */
    uint64_t nanoseconds; /* 0 if a stream captured the call */
    uint64_t operations;
    uint64_t bytes;
} hunze_trace_record;

typedef struct hunze_context_options {
    uint32_t struct_size;
    uint32_t flags;
    /* Highest bundle allowed: "portable", "avx2", "avxvnni", "avx512", "avx512vnni"; NULL: all, or HUNZE_ISA. */
    const char *isa;
    int32_t threads;                  /* per call; 0: HUNZE_NUM_THREADS, else what affinity and cgroup allow */
    int32_t plan_cache;               /* plans kept; 0: 256 */
    const hunze_allocator *allocator; /* NULL: the C library's */
    /* NULL: off, and no clock is read.  With a trace, a call on a device waits until it is over. */
    void (*trace)(void *user, const hunze_trace_record *record);
    void *trace_user;
    const hunze_device_allocator *device_allocator; /* NULL: a pool of the library's own per device */
    uint64_t device_pool_bytes;                     /* free bytes that such a pool keeps; 0: 1 GiB */
    /* Other libraries that products may use, separated by commas: "openblas" (libopenblas.so.0), "onednn" (libdnnl.so.3), each also with "=file",
     * a path or a soname without a comma; "auto": both.  NULL: HUNZE_PROVIDERS, else none; "": none.  One that is not allowed is never opened, one that
     * is when a plan could choose it.  Their bits are their own (docs/NUMERICS.md): HUNZE_REPRODUCIBLE, HUNZE_BATCH_INVARIANT and HUNZE_WIPE leave
     * them out.  They compute in the call's own threads; meanwhile OpenBLAS' own number of threads is 1 in the whole process. */
    const char *providers;
    /* What `python -m hunze tune` measured of them: lines "kernel size thousandths version".  Their kernel is chosen for products of that size
     * ("small", "skinny", "medium" or "large", as explain says) if it took less than 1000 thousandths of the seconds of the library's own, and the
     * version is that of the library that is opened.  NULL: they are chosen only by name. */
    const char *measured;
} hunze_context_options;

/* options may be NULL.  The environment is read here, once.  No thread starts before work needs one.
 * HUNZE_ERR_OPTION for an ISA or a provider that is not known and for a wrong line in `measured`, _UNSUPPORTED for one that this CPU or OS does not have.  A context may be shared between threads. */
HUNZE_API hunze_status hunze_context_create(const hunze_context_options *options, hunze_context **context);
/* Gives the caller's reference back; plans keep their context alive.  NULL is ignored. */
HUNZE_API void hunze_context_release(hunze_context *context);
/* Threads per call from now on; 0 restores the default. */
HUNZE_API hunze_status hunze_context_set_threads(hunze_context *context, int32_t threads);
HUNZE_API int32_t hunze_context_threads(const hunze_context *context);
/* JSON: version, CPU, bundles found and allowed, threads, kernels, providers (allowed, file, version or why there is none: it opens those that
 * are allowed).  *text is freed with hunze_string_free. */
HUNZE_API hunze_status hunze_context_info(hunze_context *context, char **text);
HUNZE_API void hunze_string_free(char *text);

/* The meter counts between start and stop: exact operations and bytes from shapes, seconds, and joules where the
 * machine lets RAPL be read.  JSON; what cannot be read is null and says why.  Off, no clock is read.  Meters nest per context.
 * A call on a device is counted at once and adds its seconds when it is over; hunze_meter_stop waits for that.  What a stream captures is not
 * counted. */
typedef struct hunze_meter hunze_meter;
HUNZE_API hunze_status hunze_meter_start(hunze_context *context, hunze_meter **meter);
/* Ends the meter; *text (freed with hunze_string_free) may be NULL to drop the figures. */
HUNZE_API hunze_status hunze_meter_stop(hunze_meter *meter, char **text);

/* ---------------------------------------------------------------- devices
 *
 * The CUDA driver is opened by the first call that needs it, and never before.  Its contexts: the stream's, else the calling thread's
 * current one, else the device's primary one; they are never reset.  Once the driver is open, forked children cannot use devices.
 * A `stream` is a CUstream of the device; NULL is its legacy default stream.  All functions are thread-safe. */

/* JSON: {"driver": CUDA's version or null, "reason": why it is null, "note": what follows from its being open, "devices": [{"id", "name",
 * "capability", "bytes", "multiprocessors", "kernels"}, …]}.  Opens the driver and makes no CUDA context.  *text is freed with hunze_string_free. */
HUNZE_API hunze_status hunze_devices(hunze_context *context, char **text);
/* bytes on a device (256-byte aligned) or of pinned memory (HUNZE_DEVICE_CUDA_HOST), usable by work given to the stream from now on.  The
 * context's device allocator gives device memory.  HUNZE_ERR_NOMEM says how much was asked and is free. */
HUNZE_API hunze_status hunze_memory_alloc(hunze_context *context, hunze_device device, size_t bytes, void *stream,
                                          void **pointer);
/* Once what was given to the stream so far has run. */
HUNZE_API hunze_status hunze_memory_free(hunze_context *context, hunze_device device, void *pointer, size_t bytes,
                                         void *stream);
/* Where the memory lives: a device, pinned or managed memory, or the CPU for what is not the driver's. */
HUNZE_API hunze_status hunze_pointer_device(hunze_context *context, const void *pointer, hunze_device *device);
/* Gives back to the driver what the pools hold and nobody uses. */
HUNZE_API hunze_status hunze_memory_trim(hunze_context *context);

/* A stream that the legacy default stream waits for, and that waits for it. */
HUNZE_API hunze_status hunze_stream_create(hunze_context *context, hunze_device device, void **stream);
HUNZE_API hunze_status hunze_stream_destroy(hunze_context *context, hunze_device device, void *stream);
/* Waits for all work given to the stream; reports its faults. */
HUNZE_API hunze_status hunze_stream_synchronize(hunze_context *context, hunze_device device, void *stream);
/* Work given to `stream` from now on starts after all that `before` has now; the CPU does not wait.  HUNZE_ERR_CAPTURE, and nothing is
 * done, if `stream` is being captured and `before` is not. */
HUNZE_API hunze_status hunze_stream_wait(hunze_context *context, hunze_device device, void *stream, void *before);

/* An event behind what was given to the stream so far, to be asked and destroyed by the caller; HUNZE_ERR_CAPTURE if the stream is being
 * captured. */
HUNZE_API hunze_status hunze_event_record(hunze_context *context, hunze_device device, void *stream, void **event);
/* *over: 1 once all that has run, else 0; does not wait.  Reports the device's faults. */
HUNZE_API hunze_status hunze_event_query(hunze_context *context, hunze_device device, void *event, int32_t *over);
HUNZE_API hunze_status hunze_event_destroy(hunze_context *context, hunze_device device, void *event);

/* ---------------------------------------------------------------- run-time arguments, common to all ops */

typedef struct hunze_run {
    uint32_t struct_size;
    int32_t threads; /* 0: the context's */
    /* At least hunze_plan_workspace() bytes, 64-byte aligned (on a device 256); then nothing is allocated. */
    void *workspace;
    size_t workspace_bytes;
    void *stream; /* of the device that computes; NULL: its legacy default stream.  NULL on CPUs */
    /* Runs task(task_user, i) for every i in [0, count), in any order, on any threads; returns when all are done.
     * Tasks never wait for each other.  NULL: the context's own pool. */
    void (*parallel_for)(void *user, int64_t count, void (*task)(void *task_user, int64_t index), void *task_user);
    void *parallel_user;
    /* Polled by the calling thread only; non-zero ends the call with HUNZE_ERR_CANCELLED. */
    int (*cancel)(void *user);
    void *cancel_user;
    /* Of a call with packed weights on a device: the first 64 bytes of the blob, in the CPU's memory, as copied from it once.  NULL: a call
     * without a plan reads them from the device, and waits for that. */
    const void *packed_header;
} hunze_run;

typedef enum hunze_activation_kind {
    HUNZE_ACT_NONE = 0,
    HUNZE_ACT_RELU = 1, /* x < 0 ? 0 : x: keeps NaN and -0 */
    HUNZE_ACT_RELU6 = 2,
    HUNZE_ACT_GELU = 3, /* x/2 (1 + erf(x/sqrt 2)) */
    HUNZE_ACT_GELU_TANH = 4,
    HUNZE_ACT_SILU = 5,
    HUNZE_ACT_SIGMOID = 6,
    HUNZE_ACT_HARDSIGMOID = 7, /* clip(alpha x + beta, 0, 1); alpha = beta = 0 mean 1/6 and 1/2 */
    HUNZE_ACT_HARDSWISH = 8,   /* x clip(x/6 + 1/2, 0, 1) */
    HUNZE_ACT_TANH = 9,
    HUNZE_ACT_LEAKY_RELU = 10, /* x < 0 ? alpha x : x */
    HUNZE_ACT_CLIP = 11        /* min(max(x, alpha), beta), NaN kept */
} hunze_activation_kind;

typedef struct hunze_activation {
    uint32_t struct_size;
    uint32_t kind; /* hunze_activation_kind */
    float alpha;
    float beta;
} hunze_activation;

enum { HUNZE_PER_TENSOR = 0, HUNZE_PER_AXIS = 1 };

/* real = (code - zero_point) * scale.  Presence and shapes are fixed by the plan, values are read when it runs.
 * scale is f32: one element per tensor, or one per index of `axis` of the tensor that this describes.  zero_point has
 * the codes' dtype and scale's shape; NULL means 0. */
typedef struct hunze_quant {
    uint32_t struct_size;
    uint32_t granularity; /* HUNZE_PER_… */
    int32_t axis;
    uint32_t reserved; /* 0 */
    const hunze_tensor *scale;
    const hunze_tensor *zero_point;
} hunze_quant;

/* ---------------------------------------------------------------- ops */

typedef enum hunze_op {
    HUNZE_OP_GEMM = 1,
    HUNZE_OP_CONV = 2,
    HUNZE_OP_CONV_TRANSPOSE = 3,
    HUNZE_OP_QUANTIZE = 4,
    HUNZE_OP_DEQUANTIZE = 5,
    HUNZE_OP_PACK = 6,
    HUNZE_OP_ACTIVATION = 7
} hunze_op;

typedef struct hunze_gemm_options {
    uint32_t struct_size;
    uint32_t flags;
    const double *alpha;          /* NULL: 1 */
    const double *beta;           /* NULL: 0 */
    uint32_t transpose_a;         /* 1: the last two axes of A are (k, m) */
    uint32_t transpose_b;         /* 1: the last two axes of B are (n, k) */
    const hunze_tensor *bias;     /* (n,) or (1, n): per column; (m, 1): per row */
    const hunze_tensor *residual; /* D's shape, or one that broadcasts to it */
    const hunze_activation *activation;
    const hunze_quant *a_quant;
    const hunze_quant *b_quant;
    const hunze_quant *d_quant;
    const char *kernel; /* forces a row by its name; HUNZE_ERR_UNSUPPORTED says why it cannot run */
    /* Grouped: int32 (g + 1,), contiguous, ascending from 0 to m; NULL: none.  A struct_size that ends before it is taken. */
    const hunze_tensor *offsets;
} hunze_gemm_options;

/* D = act(alpha * A @ B + beta * C + bias + residual)       order of rounding: docs/NUMERICS.md
 *   A (…, m, k)   B (…, k, n), or packed by hunze_pack   C, D (…, m, n); leading axes broadcast as in NumPy.  Any strides; 0 in inputs.
 *   f32, f64: all operands alike.  bf16 or f16: A and B alike, D (with C), bias and residual each of that type or f32; sums are f32, rounded
 *   once to D: to nearest, ties to even, beyond its range to an infinity, NaN stored quiet.  Where the CPU has AVX512-BF16, denormals of bf16 count as zeros in the sum, unless
 *   HUNZE_REPRODUCIBLE.  s16, s32, s64, u16, u32 or u64: all operands alike, computed modulo 2^bits; alpha and beta are whole numbers, else HUNZE_ERR_OPTION;
 *   activation relu or clip, of unsigned ones none; on the CPU.  u8 or s8, with s8 or (on the CPU) u8: D is s32, exact, wrapping as C does beyond the int32 range; bias s32;
 *   activation relu or clip only.  With a_quant and b_quant (scales): D is f32, or u8/s8 with d_quant; bias is f32, or s32 at scale a*b; a zero
 *   point may be given without scale for an s32 result (MatMulInteger): a's per tensor or per row, b's per tensor or per column.
 * beta == 0: C is not read and may hold NaN.  alpha == 0: A and B are not read.  k == 0: A @ B counts as zeros.
 * With offsets, as for mixtures of experts:  A (m, k), B (g, k, n), C and D (m, n); rows [offsets[e], offsets[e + 1]) of A and D meet B[e], with the
 *   bits of a product of their own.  B of a group without rows is not read.  bias is (n,), or (g, n): a row per group; quantisation of B is per
 *   tensor; B is not packed.  The plan knows the shapes; values are read when it runs: HUNZE_ERR_OPTION names the first that does not ascend.
 *   On CPUs: operands on a device are HUNZE_ERR_UNSUPPORTED.
 * D may be C; else D must not overlap an input.  Returns HUNZE_OK or the status that names what is wrong.  Thread-safe. */
HUNZE_API hunze_status hunze_gemm(hunze_context *context, const hunze_tensor *a, const hunze_tensor *b,
                                  const hunze_tensor *c, const hunze_tensor *d, const hunze_gemm_options *options,
                                  const hunze_run *run);

/* One product of a list; what it lacks is NULL. */
typedef struct hunze_gemm_group {
    const hunze_tensor *a, *b, *c, *d;
    const hunze_tensor *bias, *residual; /* as in hunze_gemm_options */
} hunze_gemm_group;

/* hunze_gemm for each of `count` groups of any shapes, of which each may have types of its own, with its bits; the options hold for all, without
 * bias, residual and offsets.  group_size: sizeof(hunze_gemm_group).  Threads share the list: products with too little work for several go to one
 * each.  An error names the group (groups[3]: …), and no output is touched.  No d may overlap an operand of another group, which is not checked.
 * Run's workspace has hunze_gemm_grouped_workspace() bytes, for the same groups and threads; then nothing is allocated but plans of new shapes.
 * With a trace, products run one after the other, with a record each.  On CPUs; Thread-safe. */
HUNZE_API hunze_status hunze_gemm_grouped(hunze_context *context, const hunze_gemm_group *groups, size_t group_size,
                                          int64_t count, const hunze_gemm_options *options, const hunze_run *run);
/* data pointers may be NULL, but of packed weights. */
HUNZE_API hunze_status hunze_gemm_grouped_workspace(hunze_context *context, const hunze_gemm_group *groups,
                                                    size_t group_size, int64_t count, const hunze_gemm_options *options,
                                                    int32_t threads, size_t *bytes);

enum { HUNZE_CHANNELS_FIRST = 0, HUNZE_CHANNELS_LAST = 1 };

typedef struct hunze_conv_options {
    uint32_t struct_size;
    uint32_t flags;
    uint32_t layout;      /* names the axis order of x's and y's shape; the strides say the memory */
    uint32_t groups;      /* 0 means 1 */
    uint32_t stride[3];   /* per spatial axis; 0 means 1 */
    uint32_t dilation[3]; /* 0 means 1 */
    int32_t pad_before[3];
    int32_t pad_after[3];
    uint32_t pad_mode;            /* 0: zeros (x's zero point when quantised) */
    uint32_t output_padding[3];   /* conv_transpose only: added at the end of each axis */
    uint32_t reserved;            /* 0 */
    const hunze_tensor *bias;     /* (out channels,) */
    const hunze_tensor *residual; /* y's shape */
    const hunze_activation *activation;
    const hunze_quant *x_quant;
    const hunze_quant *w_quant; /* per axis: axis 0, the output channel */
    const hunze_quant *y_quant;
    const char *kernel;
} hunze_conv_options;

/* y = act(conv(x, w) + bias + residual): cross-correlation, as in ONNX and PyTorch; 1 or 2 spatial axes.
 *   x (n, c, *in) or (n, *in, c)   w (out, c/groups, *kernel) with any strides, or packed   y (n, out, *out) or (n, *out, out)
 *   out = floor((in + pad_before + pad_after - dilation * (kernel - 1) - 1) / stride) + 1
 * dtypes as hunze_gemm; bf16 and f16 on devices only.  The sum runs over (kernel row, kernel column, channel) in the order of docs/NUMERICS.md, whatever the
 * layout.  Scratch: bounded per thread, never an im2col buffer of the input.  Thread-safe. */
HUNZE_API hunze_status hunze_conv(hunze_context *context, const hunze_tensor *x, const hunze_tensor *w,
                                  const hunze_tensor *y, const hunze_conv_options *options, const hunze_run *run);

/* Transposed convolution (the data gradient of hunze_conv): w (c, out/groups, *kernel);
 *   out = (in - 1) * stride - pad_before - pad_after + dilation * (kernel - 1) + 1 + output_padding.  f32 and f64; bf16 and f16 on devices. */
HUNZE_API hunze_status hunze_conv_transpose(hunze_context *context, const hunze_tensor *x, const hunze_tensor *w,
                                            const hunze_tensor *y, const hunze_conv_options *options,
                                            const hunze_run *run);

typedef struct hunze_quantize_options {
    uint32_t struct_size;
    uint32_t flags;
    const hunze_quant *quant; /* scale and zero point: read by quantize and dequantize; written where `dynamic` */
    /* quantize: 1 computes quant's tensors first: u8 as ONNX DynamicQuantizeLinear, s8 symmetric amax/127. */
    uint32_t dynamic;
    uint32_t reserved; /* 0 */
    const char *kernel;
} hunze_quantize_options;

/* codes = saturate(round_half_even(x / scale) + zero_point)      ONNX QuantizeLinear; x f32, codes u8 or s8, same shape.
 * Dynamic: NaN or an infinity in x is HUNZE_ERR_UNSUPPORTED before anything is written; all zeros give scale 1.  On a device, where nobody
 * waits for x, each scale becomes NaN instead, and codes and zero points stay as they were.  Thread-safe. */
HUNZE_API hunze_status hunze_quantize(hunze_context *context, const hunze_tensor *x, const hunze_tensor *codes,
                                      const hunze_quantize_options *options, const hunze_run *run);
/* x = (codes - zero_point) * scale      ONNX DequantizeLinear; codes u8, s8 or s32, x f32.  Thread-safe. */
HUNZE_API hunze_status hunze_dequantize(hunze_context *context, const hunze_tensor *codes, const hunze_tensor *x,
                                        const hunze_quantize_options *options, const hunze_run *run);

typedef struct hunze_activation_options {
    uint32_t struct_size;
    uint32_t flags;
    const hunze_activation *activation; /* NULL: copies */
    const char *kernel;
} hunze_activation_options;

/* y = act(x), elementwise, with the same bits as the fused form; f32 or f64, any strides; y may be x.  Thread-safe. */
HUNZE_API hunze_status hunze_activate(hunze_context *context, const hunze_tensor *x, const hunze_tensor *y,
                                      const hunze_activation_options *options, const hunze_run *run);

/* to = from, between the CPU and devices in either direction, or on one; same shape and dtype, any strides.  On run's stream; returns when
 * memory of the CPU that is not pinned may be used again.  Between memories of the CPU, pinned or not, with run's threads.  Thread-safe. */
HUNZE_API hunze_status hunze_copy(hunze_context *context, const hunze_tensor *from, const hunze_tensor *to,
                                  const hunze_run *run);

typedef struct hunze_pack_options {
    uint32_t struct_size;
    uint32_t flags;
    uint32_t op;          /* the op that will use it: HUNZE_OP_GEMM (0 means it), _CONV or _CONV_TRANSPOSE */
    uint32_t transpose_b; /* gemm: w is (n, k) */
    uint32_t groups;      /* conv; 0 means 1 */
    uint32_t a_unsigned;  /* integers: 1 for u8 activations, 0 for s8 */
    const char *kernel;   /* pack for the row of this name; NULL: the row a plan would choose in this context */
} hunze_pack_options;

/* A packed weight is a caller-owned, 64-byte aligned blob, passed as a one-dimensional tensor of dtype
 * {HUNZE_OPAQUE_HANDLE, 64, 1}; its 64-byte header holds magic, version, layout, dtype and shape.  It is position-independent: it
 * may be mapped and shared.  *bytes is a multiple of 64.  Packing asks the kernel for huge pages there (madvise): it writes and products read them faster.
 * On a device, where w and packed live together, on run's stream; a blob of the CPU is none of a device's.  Plans read its header when
 * they are made, by a copy that waits (packing must have run), and their runs trust it; a call without a plan reads it each time, on run's stream, which
 * must not be captured then, unless it is given as hunze_run.packed_header. */
HUNZE_API hunze_status hunze_pack_size(hunze_context *context, const hunze_tensor *w, const hunze_pack_options *options,
                                       size_t *bytes);
HUNZE_API hunze_status hunze_pack(hunze_context *context, const hunze_tensor *w, const hunze_tensor *packed,
                                  const hunze_pack_options *options, const hunze_run *run);

/* ---------------------------------------------------------------- plan */

/* Any op as data.  a: first input (x, codes), b: weights, c: gemm's C or NULL, d: output; options: the op's struct or NULL. */
typedef struct hunze_call {
    uint32_t struct_size;
    uint32_t op; /* hunze_op */
    const hunze_tensor *a;
    const hunze_tensor *b;
    const hunze_tensor *c;
    const hunze_tensor *d;
    const void *options;
} hunze_call;

typedef struct hunze_plan hunze_plan;

/* The support query: HUNZE_OK, or why not.  Data pointers may be NULL here.  Plans are immutable, hold their context, and run
 * concurrently when each run has its own workspace (or none is given). */
HUNZE_API hunze_status hunze_plan_create(hunze_context *context, const hunze_call *call, hunze_plan **plan);
HUNZE_API void hunze_plan_release(hunze_plan *plan);
/* The call's shapes, dtypes, strides, device and options must be those of the plan: HUNZE_ERR_SHAPE, _DTYPE, _STRIDE, _DEVICE or _OPTION
 * otherwise.  On a device its pointers must be aligned as those of the plan, up to 16 bytes and so much where they were NULL: else HUNZE_ERR_ALIGN. */
HUNZE_API hunze_status hunze_plan_run(const hunze_plan *plan, const hunze_call *call, const hunze_run *run);
/* Loads what the first run would load (on a device: the kernel), so that the plan can run while a stream is captured.  Nothing on CPUs. */
HUNZE_API hunze_status hunze_plan_prepare(const hunze_plan *plan);
/* Bytes of workspace for `threads` threads (0: the context's); on a device, of its memory. */
HUNZE_API size_t hunze_plan_workspace(const hunze_plan *plan, int32_t threads);
/* The chosen row's name; lives as long as the plan. */
HUNZE_API const char *hunze_plan_kernel(const hunze_plan *plan);
/* JSON: kernel, isa, why it won, the driver around it and how that cuts a product, modelled cycles (null where there is no model), operations, bytes,
 * threads, workspace for these, each refused row and why.  Runs nothing and reads no clock.  Freed with hunze_string_free. */
HUNZE_API hunze_status hunze_plan_explain(const hunze_plan *plan, char **text);

#ifdef __cplusplus
}
#endif
#endif
