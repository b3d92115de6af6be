/* Structures that the drivers and the runtime share.  Not installed. */
#ifndef HUNZE_INTERNAL_H
#define HUNZE_INTERNAL_H

#include "kernels.h"

/* Axes of a tensor and devices that the library takes. */
enum { HUNZE_MAX_NDIM = 16, HUNZE_MAX_DEVICES = 64 };

/* ------------------------------------------------------------------ errors (status.c)
 * Stores the message for hunze_last_error() in this thread and returns the status. */
hunze_status hunze_fail(hunze_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Returns from the function around it where the expression is no HUNZE_OK. */
#define TRY(expression)                                                                                                \
    do {                                                                                                               \
        const hunze_status status_ = (expression);                                                                     \
        if (__builtin_expect(status_ != HUNZE_OK, 0))                                                                  \
            return status_;                                                                                            \
    } while (0)

/* ------------------------------------------------------------------ tensors (tensor.c) */
hunze_type hunze_type_of(hunze_dtype dtype); /* HUNZE_TYPE_NONE if rows have no such type */
size_t hunze_type_bytes(hunze_type type);
const char *hunze_type_name(hunze_type type); /* "f32" */
static inline bool hunze_type_is_narrow(hunze_type type) { return type == HUNZE_TYPE_BF16 || type == HUNZE_TYPE_F16; }
/* Integers whose products wrap in their own type; unsigned ones are computed as signed ones. */
static inline bool hunze_type_wraps(hunze_type type)
{
    return type == HUNZE_TYPE_S16 || type == HUNZE_TYPE_S32 || type == HUNZE_TYPE_S64 || type == HUNZE_TYPE_U16 ||
           type == HUNZE_TYPE_U32 || type == HUNZE_TYPE_U64;
}
static inline hunze_type hunze_type_of_row(hunze_type type)
{
    return type == HUNZE_TYPE_U16   ? HUNZE_TYPE_S16
           : type == HUNZE_TYPE_U32 ? HUNZE_TYPE_S32
           : type == HUNZE_TYPE_U64 ? HUNZE_TYPE_S64
                                    : type;
}
/* Everything that holds without data: rank, extents, dtype, device, 63-bit products.  `name` is the operand's in messages. */
hunze_status hunze_tensor_check(const hunze_tensor *tensor, const char *name);
/* Data is there (unless an extent is 0) and aligned to its element. */
hunze_status hunze_tensor_check_data(const hunze_tensor *tensor, const char *name);
/* An output: no element twice. */
hunze_status hunze_tensor_check_output(const hunze_tensor *tensor, const char *name);
/* The bytes that a tensor touches, from its first element: [low, high); both 0 if it is empty. */
typedef struct hunze_extent {
    int64_t low, high;
} hunze_extent;
hunze_extent hunze_tensor_extent(const hunze_tensor *tensor);
/* True only if an element of one is proved to share a byte with an element of the other.  Exact for equal row strides. */
bool hunze_tensors_overlap(const hunze_tensor *a, const hunze_tensor *b);
/* "(3, 4)", for messages; returns text. */
enum { HUNZE_SHAPE_TEXT = 160 };
const char *hunze_shape_text(const hunze_tensor *tensor, char text[HUNZE_SHAPE_TEXT]);
const char *hunze_dtype_text(hunze_dtype dtype, char text[24]); /* "f32", or "code 5, 128 bits" */
/* struct_size is at least `known` bytes, and what lies beyond is zero. */
hunze_status hunze_struct_check(const void *options, size_t known, const char *name);
static inline void *hunze_data(const hunze_tensor *tensor) { return (char *)tensor->data + tensor->byte_offset; }
int64_t hunze_stride(const hunze_tensor *tensor, int axis); /* row-major where strides are NULL */
int64_t hunze_count(const hunze_tensor *tensor);            /* elements; validated tensors only */

/* ------------------------------------------------------------------ CPU (cpu.c) */
uint32_t hunze_cpu_bundles(void); /* mask of (1u << hunze_isa) that CPU and OS support; PORTABLE always */
const char *hunze_isa_name(hunze_isa isa);
bool hunze_isa_parse(const char *name, hunze_isa *isa);
uint32_t hunze_isa_implied(hunze_isa isa); /* the mask of a bundle and what it implies */
void hunze_cpu_name(char name[49]);
typedef struct hunze_cpuid { /* what the bundles are decided from; a test gives its own */
    uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_1_eax;
    uint64_t xcr0;
} hunze_cpuid;
uint32_t hunze_cpu_bundles_from(const hunze_cpuid *id);
/* Whether this CPU runs vectors of 512 bits as two halves, as Zen 4 does; others run them whole. */
bool hunze_cpu_halves_512(void);
bool hunze_cpu_halves_512_from(uint32_t vendor, uint32_t signature); /* cpuid: ebx of leaf 0, eax of leaf 1 */

/* ------------------------------------------------------------------ one run */
struct hunze_plan;
typedef struct hunze_exec {
    hunze_context *context;
    uint32_t flags;  /* of context and call together */
    int32_t threads; /* lanes that a phase may use, >= 1 */
    void *
        workspace; /* 64-byte aligned, as large as the row's workspace function said; all allocation precedes the first phase */
    size_t workspace_bytes;
    const hunze_run *run;  /* parallel_for and cancel; may be NULL */
    uintptr_t caller;      /* the calling thread: the only one that polls cancel */
    bool lost;             /* forked in the middle: lanes stayed behind with the parent */
    uint64_t unread_bytes; /* of the plan's: the driver found that this run needs less */
} hunze_exec;

/* A phase: body(user, lane, lanes) for each lane in [0, lanes), on the caller's parallel_for or the context's pool; returns when all are
 * done.  Lanes never wait for each other and may run serially in any order, so shared work is handed out by an atomic counter and
 * scratch is indexed by lane.  One lane runs in the calling thread without touching the pool. */
void hunze_parallel(hunze_exec *exec, int32_t lanes, void (*body)(void *user, int32_t lane, int32_t lanes), void *user);
/* True once the caller wants to stop; asked in the calling thread alone. */
bool hunze_cancelled(hunze_exec *exec);

/* What a phase hands out to its lanes, one item after the other.  next is set to 0 again for another phase. */
typedef struct hunze_items {
    int64_t count;
    hunze_exec *exec; /* its cancel callback is asked before each item; NULL: what must be whole */
    int64_t next;
    bool stopped; /* cancelled: stays so over phases */
} hunze_items;
/* False: there is none left, or the caller wants to stop. */
bool hunze_take_item(hunze_items *items, int64_t *index);

static inline int64_t hunze_least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t hunze_most(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t hunze_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
/* The greatest, of what is not negative; of a and 0 it is a. */
static inline int64_t hunze_common_divisor(int64_t a, int64_t b)
{
    while (b) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}
static inline size_t hunze_align64(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

/* ------------------------------------------------------------------ plans (plan.c)
 * What a plan fixed.  Extents are of the validated call. */
typedef struct hunze_gemm_shape {
    int64_t m, n, k;
    int64_t batch;     /* product of the broadcast leading extents of D */
    bool packed_b;     /* B is a packed weight */
    bool shared_b;     /* B is one matrix for the whole batch */
    bool transposed_d; /* n > 1 and D's last axis has a stride other than 1 */
    int64_t groups;    /* that offsets cut the rows into; 0: there are none */
} hunze_gemm_shape;

typedef struct hunze_conv_shape {
    int32_t spatial;         /* 1 or 2; missing axes are 1 in front: index 0 is height, 1 width */
    int64_t n, c, k, groups; /* images, input channels, output channels */
    int64_t in[2], out[2], kernel[2], stride[2], dilation[2], before[2], after[2];
    int64_t x_n, x_c, x_axis[2]; /* element strides of x */
    int64_t y_n, y_c, y_axis[2];
    int64_t w_k, w_c, w_axis[2]; /* over output channels, input channels and taps, whichever op; 0 if packed */
    bool packed;
    bool channels_last;
} hunze_conv_shape;

typedef struct hunze_quantize_shape {
    int32_t axis;       /* in [0, ndim), or -1: one parameter for the tensor */
    int64_t parameters; /* 1, or the axis' extent */
    bool dynamic;       /* the scale, and the zero point where there is one, are outputs */
} hunze_quantize_shape;

/* The tensors of a call, by role; [HUNZE_ROLE_D] is the output.  What a plan knows of them beforehand: where each touches memory, from its
 * first element, the mask of address bits that must be 0, and the masks of those that have elements, and D's shape and strides. */
enum {
    HUNZE_ROLE_D,
    HUNZE_ROLE_A,
    HUNZE_ROLE_B,
    HUNZE_ROLE_C,
    HUNZE_ROLE_BIAS,
    HUNZE_ROLE_RESIDUAL,
    HUNZE_ROLE_A_SCALE,
    HUNZE_ROLE_A_ZERO,
    HUNZE_ROLE_B_SCALE,
    HUNZE_ROLE_B_ZERO,
    HUNZE_ROLE_D_SCALE,
    HUNZE_ROLE_D_ZERO,
    HUNZE_ROLE_OFFSETS,
    HUNZE_ROLE_COUNT
};
typedef struct hunze_operands {
    hunze_extent extent[HUNZE_ROLE_COUNT];
    uint8_t misaligned[HUNZE_ROLE_COUNT];
    uint32_t filled, like_d;
} hunze_operands;

/* What a row of a device chose for a plan: rows and columns of D that a block of threads has; K blocks that have blocks of threads of their own, or
 * 0, and the workspace of their sums. */
typedef struct hunze_launch_choice {
    int32_t tile;
    uint32_t k_blocks;
    size_t partial_bytes;
} hunze_launch_choice;

/* ------------------------------------------------------------------ packed weights (pack.c) */
typedef struct hunze_packed_header {
    uint32_t magic;   /* "HZPK" */
    uint16_t version; /* 1 */
    uint16_t layout;  /* hunze_row.layout */
    uint8_t type;     /* hunze_type of the weights */
    uint8_t op;       /* hunze_op that it was packed for */
    uint8_t flags;    /* HUNZE_PACKED_… */
    uint8_t spatial;  /* conv: 1 or 2 */
    uint32_t groups;
    int64_t n, k;      /* per group: columns (output channels) and k (kernel height * width * channels) */
    int64_t kernel[2]; /* conv */
    int64_t bytes;     /* of the whole blob */
    int64_t reserved;  /* 0 */
} hunze_packed_header; /* then at 64: groups × ceil(n/nr) panels, each over all of k in KC blocks (floating point) or whole (integers) */
_Static_assert(sizeof(hunze_packed_header) == 64, "the header of a packed weight has 64 bytes");
enum {
    HUNZE_PACKED_FINITE = 1 /* no NaN or Inf: padded taps may be skipped */,
    HUNZE_PACKED_SAFE = 2 /* vpmaddubsw cannot saturate */
};

/* A driver runs a whole op; which one follows from the op and the row's op alone. */
typedef hunze_status hunze_driver_fn(const struct hunze_plan *plan, const hunze_call *call, hunze_exec *exec);

struct hunze_plan {
    int32_t references;
    hunze_context *context;
    hunze_op op;
    uint32_t flags;
    const hunze_row *row; /* conv and conv_transpose: a depthwise row, or the GEMM row that runs it by blocks */
    hunze_driver_fn *driver;
    union {
        hunze_gemm_shape gemm_shape;
        hunze_conv_shape conv;
        hunze_quantize_shape quantize; /* quantize and dequantize */
    };
    uint64_t operations, bytes; /* per run: multiplications and additions; operands read once and written once */
    hunze_device device;        /* that computes: HUNZE_DEVICE_CPU, or HUNZE_DEVICE_CUDA with its id */
    hunze_launch_choice choice; /* on a device */
    uint8_t alignment[HUNZE_ROLE_COUNT]; /* of operands, on a device: bytes that divide their addresses, at most 16 */
    /* Below: the runtime's own. */
    uint32_t bundles, allowed; /* masks of bundles: that the CPU or the device has, and that the context allows */
    bool plain;     /* a gemm of A, B, D and perhaps C, none packed, and no options but transposes and scalars */
    bool activates; /* a gemm with an activation */
    bool single;    /* hunze_run_gemm_direct computes one matrix, of operands that have elements */
    bool writes;    /* has elements to write */
    bool idle;      /* nothing for the CPU to compute */
    hunze_float_batch direct;          /* hunze_run_gemm_direct: the kernel's arguments but for pointers to data */
    int64_t direct_b_col;              /* elements between columns of B; other than 1: they are packed */
    hunze_type a_type, b_type, d_type; /* of the operands; those of rows: d is s32 for integer products */
    bool packed;                       /* b is a packed weight, of the layout and with the flags below */
    uint16_t packed_layout;
    uint8_t packed_flags;
    hunze_packed_header packed_header;
    bool packs;              /* no call: as much of a plan as choosing a row to pack weights for looks at */
    const hunze_row *forced; /* by name, or NULL */
    uint32_t roles;          /* mask of the operands that the call has */
    struct hunze_plan *next_retired;
    size_t allocated_bytes; /* of this struct with its key */
    size_t workspace_bytes; /* for one thread */
    int32_t useful_threads; /* more would have too little to do */
    hunze_operands operands;
    uint64_t hash;
    uint32_t key_words;
    uint64_t key[];
};

/* Bytes of workspace per driver; called with the plan's row. */
size_t hunze_gemm_workspace(const hunze_plan *plan, int32_t threads);
size_t hunze_gemm_offsets_workspace(const hunze_plan *plan, int32_t threads);
size_t hunze_conv_workspace(const hunze_plan *plan, int32_t threads);
size_t hunze_quantize_workspace(const hunze_plan *plan, int32_t threads);
hunze_driver_fn hunze_run_gemm, hunze_run_gemm_offsets, hunze_run_conv, hunze_run_conv_planes, hunze_run_depthwise,
    hunze_run_conv_transpose, hunze_run_quantize, hunze_run_dequantize, hunze_run_activation;

#endif
