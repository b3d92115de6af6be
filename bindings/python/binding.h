/* SPDX-License-Identifier: Apache-2.0
 * What the files of the CPython module share.  One call flows: arguments.c (keywords) -> matmul.c, grouped.c, grouped_list.c, conv.c or elementwise.c
 * (operands by arrays.c, shapes, result) -> run.c (plan, GIL, Ctrl-C, status) -> libhunze. */
#ifndef HUNZE_BINDING_H
#define HUNZE_BINDING_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_1_23_API_VERSION
#define NPY_TARGET_VERSION NPY_1_23_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL hunze_numpy_api
#ifndef HUNZE_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include "hunze.h"

#include <stdbool.h>

enum { MAX_AXES = 64 }; /* NumPy's own limit */

/* ------------------------------------------------------------------ module state */

/* Keywords of the module's functions, interned once. */
#define KEYWORDS(X)                                                                                                    \
    X(bias)                                                                                                            \
    X(residual)                                                                                                        \
    X(activation)                                                                                                      \
    X(out) X(dtype) X(threads) X(reproducible) X(out_scale) X(out_zero_point) X(out_dtype) X(kernel) X(device) X(stream)
typedef enum Keyword {
#define ENUM(name) KEYWORD_##name,
    KEYWORDS(ENUM)
#undef ENUM
        KEYWORD_COUNT
} Keyword;

/* Attributes that the module reads. */
#define ATTRIBUTES(X)                                                                                                  \
    X(codes)                                                                                                           \
    X(scale)                                                                                                           \
    X(zero_point)                                                                                                      \
    X(axis)                                                                                                            \
    X(__dlpack__)                                                                                                      \
    X(__dlpack_device__)                                                                                               \
    X(max_version)                                                                                                     \
    X(requires_grad)                                                                                                   \
    X(__array_namespace__) X(from_dlpack) X(stream) X(__cuda_array_interface__) X(__cuda_stream__) X(cuda_stream) X(ptr)
typedef enum Attribute {
#define ENUM(name) ATTRIBUTE_##name,
    ATTRIBUTES(ENUM)
#undef ENUM
        ATTRIBUTE_COUNT
} Attribute;

typedef struct State {
    hunze_context *context; /* the default one, made by the first call that needs it */
    bool settings_used;     /* an options block has been entered: before that, calls do not ask for one */
    PyObject *settings_get; /* ContextVar.get of hunze.options */
    PyTypeObject *context_type, *settings_type, *plan_type, *request_type, *bound_type, *meter_type, *export_type;
    PyTypeObject *stream_type, *memory_type, *array_type; /* of devices */
    PyObject *quantized_type, *packed_type, *device_type; /* hunze.QArray, hunze.PackedWeights, hunze.DeviceArray */
    struct DeviceHooks *device_hooks;                     /* the user's allocator; NULL: the library's own pool */
    PyObject *choose;                                     /* hunze._offload: whether a device is sooner; or NULL */
    char *measured;                                       /* of providers, for the default context, or NULL */
    int64_t slice_bytes;                                  /* of what goes over to a device at a time */
    PyObject *keywords[KEYWORD_COUNT];
    PyObject *attributes[ATTRIBUTE_COUNT];
    PyObject *dlpack_version; /* (1, 3) */
    PyObject *dlpack_keyword; /* ("max_version",) */
} State;

State *state_of(PyObject *module);
/* NULL for a type that is none of this module's and made of none. */
State *type_state(PyTypeObject *type);
/* The context of this call: that of the innermost options block, else the default.  NULL with an exception set. */
typedef struct Active {
    hunze_context *context;
    uint32_t flags;
    int32_t threads;  /* 0: the context's */
    int offload;      /* what device= says (offload.h) */
    PyObject *stream; /* of the innermost hunze.stream block, borrowed; or NULL */
} Active;
bool active_settings(State *state, Active *active);
/* The default context, which holds the memory of devices; NULL with an exception set. */
hunze_context *default_context(State *state);

/* Returns from the function around it where the expression is no HUNZE_OK. */
#define TRY(expression)                                                                                                \
    do {                                                                                                               \
        const hunze_status status_ = (expression);                                                                     \
        if (status_)                                                                                                   \
            return status_;                                                                                            \
    } while (0)

/* Raises the exception that belongs to a status, with the library's message; returns NULL. */
PyObject *raise_status(hunze_status status, const char *function);

/* ------------------------------------------------------------------ operands (arrays.c) */

typedef enum Library { LIBRARY_ANY, LIBRARY_NUMPY, LIBRARY_DEVICE, LIBRARY_OTHER } Library;

/* A stream of a device as the library takes it, and what keeps it alive, if anything does. */
typedef struct Stream {
    void *handle;
    PyObject *owner;
} Stream;

/* Where a call computes.  Its first operand on a device decides, and then all must live there. */
typedef struct Place {
    State *state;
    hunze_device device; /* HUNZE_DEVICE_CPU, or HUNZE_DEVICE_CUDA and which */
    const char *name;    /* of that operand */
    PyObject *given;     /* the stream of the call or its block, borrowed; or NULL */
    Stream stream;       /* with a reference; known once there is a device */
    PyTypeObject *chose; /* what the library has that works on this stream now, borrowed; or NULL */
    int taken;           /* operands so far */
    bool brings;         /* device= brings operands over and the result back, if the first operand lives on the CPU */
    bool first;          /* the first operand lives on the device */
} Place;

/* One array as the library sees it.  `owner` keeps the memory alive: an ndarray, or NULL with `managed` from DLPack.  On a device `memory`
 * does, and `owner` is a DeviceArray or NULL. */
typedef struct Operand {
    hunze_tensor tensor; /* shape and strides point into this struct, or shape into the ndarray */
    PyObject *owner;
    void *managed;
    struct DeviceMemory *memory;
    bool versioned, read_only;
    bool copied;      /* the memory is a copy of what was given */
    bool output;      /* the call writes it */
    const char *name; /* as errors call it */
    Library library;
    PyObject *space; /* LIBRARY_OTHER: the module or namespace with from_dlpack */
    int64_t shape[MAX_AXES], strides[MAX_AXES];
} Operand;

/* A quantised operand's parameters as hunze_quant; present says whether there are any. */
typedef struct Quant {
    hunze_quant quant;
    Operand scale, zero_point;
    bool present;
} Quant;

#define DTYPE(code_, bits_) ((hunze_dtype){.code = (code_), .bits = (bits_), .lanes = 1})
#define DTYPE_F32 DTYPE(HUNZE_FLOAT, 32)
#define DTYPE_F64 DTYPE(HUNZE_FLOAT, 64)
#define DTYPE_F16 DTYPE(HUNZE_FLOAT, 16)
#define DTYPE_BF16 DTYPE(HUNZE_BFLOAT, 16)
#define DTYPE_S8 DTYPE(HUNZE_INT, 8)
#define DTYPE_U8 DTYPE(HUNZE_UINT, 8)
#define DTYPE_S32 DTYPE(HUNZE_INT, 32)
static inline bool dtype_is(hunze_dtype a, hunze_dtype b) { return a.code == b.code && a.bits == b.bits; }
bool dtype_is_integer(hunze_dtype dtype);
/* "float32"; a static string. */
const char *dtype_name(hunze_dtype dtype);
bool dtype_is_known(hunze_dtype dtype);
/* NumPy's type number, or -1; and back, false for a type that has no name here.  bfloat16 is the package ml_dtypes'. */
int dtype_number(hunze_dtype dtype);
bool dtype_of_number(int number, hunze_dtype *dtype); /* NumPy's own */
bool dtype_of_descr(PyArray_Descr *descr, hunze_dtype *dtype);
/* A dtype given by name, NumPy dtype or scalar type; false with TypeError. */
bool dtype_parse(PyObject *object, const char *name, hunze_dtype *dtype);

/* NumPy's bfloat16 is ml_dtypes'; raises where that is not there. */
PyObject *refuse_bfloat16(void);

/* Takes an input: ndarray, DeviceArray, DLPack exporter, buffer, or what np.asarray understands.  `name` is how errors call it. */
bool operand_take(Place *place, PyObject *object, const char *name, Operand *operand);
/* Takes an `out=`: writable, of this dtype and shape. */
bool operand_take_output(Place *place, PyObject *object, const char *name, hunze_dtype dtype, int axes,
                         const int64_t *shape, Operand *operand);
/* Makes a fresh row-major array of this dtype and shape where the call computes: an ndarray or a DeviceArray. */
bool operand_new(Place *place, hunze_dtype dtype, int axes, const int64_t *shape, Operand *operand);
/* Describes a result of this dtype and shape without memory, for plans. */
void operand_describe(const Place *place, hunze_dtype dtype, int axes, const int64_t *shape, Operand *operand);
/* Replaces an operand by a row-major copy of another dtype. */
bool operand_cast(Operand *operand, hunze_dtype dtype);
/* A row-major copy where the operand lives, as an ndarray or a DeviceArray; new reference. */
PyObject *operand_copy(Place *place, Operand *operand);
/* u8 codes become s8 codes of the value minus 128 (the same bits but the highest). */
bool operand_to_signed(Operand *operand);
/* Inserts an axis of extent 1 at `position`. */
void operand_insert_axis(Operand *operand, int position);
void operand_release(Operand *operand);
/* `given`: a stream, or NULL for that of the block, if any. */
void place_begin(State *state, const Active *active, PyObject *given, Place *place);
/* An operand, `object` or NULL, lives on this device: false with ValueError if the call computes on another one.  Where no stream was given,
 * the call goes to `theirs`, or where the object's library works now, or to the legacy default stream. */
bool place_enter(Place *place, hunze_device device, PyObject *object, const Stream *theirs, const char *name);
/* Brings what has no place of its own (numbers, lists) to the call's device, and makes its stream wait for what changes the operands.  What
 * lives on the CPU is refused, unless `brings`: then it is left to device=. */
bool place_settle(Place *place, bool brings, Operand *const *operands, int count);
/* After the call was given to the stream: other libraries' streams wait for what it wrote for them. */
bool place_finish(const Place *place, Operand *const *operands, int count);
void place_end(Place *place);
/* Two operands of different libraries do not mix: false with TypeError. */
bool operands_mix(const Operand *a, const char *a_name, const Operand *b, const char *b_name);
/* "(2, 3)" into text; returns text. */
enum { SHAPE_TEXT = 256 };
const char *shape_text(int axes, const int64_t *shape, char text[SHAPE_TEXT]);
/* Hands a fresh result over as the first operand's library makes it: a scalar where it has no axes and NumPy's is asked for. */
PyObject *operand_result(State *state, Operand *result, const Operand *like);

bool is_quantized(State *state, PyObject *object);
bool is_packed(State *state, PyObject *object);

/* ------------------------------------------------------------------ arguments (arguments.c) */

/* values[0 … positional) from the arguments, then the keywords in the order given; NULL where absent or None. */
typedef struct Signature {
    const char *function;
    int required, positional; /* positional arguments: needed, allowed */
    int positional_keyword;   /* the last positional argument may also come by this keyword; -1: none */
    int keyword_count;
    const Keyword *keywords;
} Signature;
bool parse_arguments(State *state, const Signature *signature, PyObject *const *arguments, Py_ssize_t count,
                     PyObject *names, PyObject **values);
bool parse_activation(PyObject *object, hunze_activation *activation);
bool parse_int(PyObject *object, const char *name, int64_t minimum, int64_t maximum, int64_t *value);
bool parse_flag(PyObject *object, const char *name, bool *value);

/* ------------------------------------------------------------------ one call (run.c) */

enum { MAX_LIVE = 16 };
enum { WORK_GIL = 20000 }; /* multiply-adds, or elements, below which a call keeps the GIL */
typedef struct Call {
    State *state;
    const char *function;
    const char *names; /* how the library calls what the function calls otherwise, for its messages */
    Active active;
    Place place;
    hunze_call call;
    union {
        hunze_gemm_options gemm;
        hunze_conv_options conv;
        hunze_quantize_options quantize;
        hunze_activation_options activation;
    } options;
    hunze_activation activation;
    hunze_run run;
    double work;                    /* multiply-adds, or elements */
    PyObject *planned;              /* borrowed: a _Plan to run by */
    bool plan_only;                 /* a _PlanRequest: make the plan, run nothing */
    bool bind;                      /* a _PlanRequest for a _Bound: plan and operands, to be run later */
    PyObject *kernel_text;          /* owns options' kernel name */
    const hunze_gemm_group *groups; /* a list of products in place of call's one; NULL: none */
    int64_t group_count;
    int live_count;
    Operand **live, *few[MAX_LIVE]; /* live: few, or longer */
} Call;

/* What every op takes by keyword. */
bool call_begin(State *state, Call *call, const char *function, hunze_op op, PyObject *threads, PyObject *reproducible,
                PyObject *kernel, PyObject *stream);
/* Registers an operand for call_end. */
void call_keep(Call *call, Operand *operand);
/* Before the library gets the operands: they all live where the call computes, and its stream is in order. */
bool call_settle(Call *call);
/* Runs, or returns the plan or the bound call in *plan.  False with an exception set. */
bool call_run(Call *call, PyObject **plan);
/* Runs what call_run has prepared, by this plan or at once (NULL). */
bool call_execute(Call *call, const hunze_plan *plan);
void call_end(Call *call);
/* Takes a QArray's codes, scale and zero point; `axes` bounds its axis (-1: the codes' own number of axes). */
bool call_take_quantized(Call *call, PyObject *object, const char *name, Operand *codes, int axes, Quant *quant);
/* Takes a requantised result's scale and zero point (keywords out_scale, out_zero_point, out_dtype); `codes` is its dtype. */
bool call_take_output_quant(Call *call, PyObject *scale, PyObject *zero_point, PyObject *dtype, int axis, Quant *quant,
                            hunze_dtype *codes);
/* `out`, or the fresh result as the library of `like` makes it; a QArray of it where `quant` is present, along `axis`. */
PyObject *call_result(Call *call, PyObject *out, Operand *result, const Operand *like, const Quant *quant, int axis);
/* bias or residual beside `operands` for a result of `dtype`: of a type that the library has there, or brought to it where nothing is lost. */
bool call_take_addend(Call *call, PyObject *object, const char *name, hunze_dtype operands, hunze_dtype dtype,
                      Operand *operand);
/* Operand dtypes of a product: promotes, or raises with the astype to type.  `d` is the result's dtype. */
bool call_product_dtypes(Call *call, Operand *a, Quant *a_quant, const char *a_name, Operand *b, Quant *b_quant,
                         const char *b_name, bool b_packed, hunze_dtype b_type, PyObject *dtype, hunze_dtype *d);

/* matmul of small plain matrices without options (plain.c).  False: it is none, or the library refuses it; nothing is done.  True: done, with
 * *result NULL where an exception is set. */
bool plain_matmul(State *state, PyObject *a, PyObject *b, PyObject *out, PyObject **result);

PyObject *request_kernel(State *state, PyObject *object); /* borrowed: the name in a _PlanRequest, or NULL */
bool request_binds(PyObject *object);
/* Takes the plan over; the call's operands are kept. */
PyObject *bound_make(const Call *call, hunze_plan *plan);
hunze_plan *plan_of(PyObject *plan);
/* forced: the kernel name that the plan was made with, as bytes, or NULL. */
PyObject *plan_wrap(State *state, hunze_plan *plan, PyObject *forced);
PyObject *plan_forced(PyObject *plan); /* borrowed */
/* What a plan of a call that is brought to a device moves: (device, bytes once, over in slices, back, slices); taken over. */
void plan_set_moves(PyObject *plan, PyObject *moves);
/* Where to: OFFLOAD_NONE, or OFFLOAD_CUDA and the device's number. */
int plan_moves_to(PyObject *plan);

/* ------------------------------------------------------------------ functions by file */

PyObject *binding_matmul(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
PyObject *binding_linear(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
PyObject *binding_grouped(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
PyObject *binding_conv(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *binding_activate(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
PyObject *binding_quantize(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *binding_dequantize(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *binding_pack(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *binding_device_rate(PyObject *module, PyObject *arguments);
PyObject *binding_as_array(PyObject *module, PyObject *object);
PyObject *binding_to_device(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *binding_device_empty(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *binding_devices(PyObject *module, PyObject *nothing);
PyObject *binding_empty_cache(PyObject *module, PyObject *nothing);
PyObject *binding_set_device_allocator(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
/* Context options with the user's allocator, if there is one. */
const hunze_device_allocator *device_allocator(State *state, hunze_device_allocator *allocator);
extern PyType_Spec context_spec, settings_spec, plan_spec, request_spec, bound_spec, meter_spec, export_spec;
extern PyType_Spec stream_spec, memory_spec, device_array_spec;
extern const char matmul_doc[], linear_doc[], grouped_doc[], activate_doc[];

#endif
