/* SPDX-License-Identifier: Apache-2.0
 * The module's own types: handles of the library's contexts, plans and meters, and what an options block sets. */
#include "offload.h"

#include <structmember.h>

#include <stddef.h>

static void free_self(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* Of a type of this module, or of a class that is made of one. */
State *type_state(PyTypeObject *type)
{
    for (; type; type = PyType_GetSlot(type, Py_tp_base)) {
        State *state = PyType_GetModuleState(type);
        if (state)
            return state;
        PyErr_Clear();
    }
    return NULL;
}

static PyObject *text_result(hunze_status status, char **text, const char *function)
{
    if (status)
        return raise_status(status, function);
    PyObject *result = PyUnicode_FromString(*text);
    hunze_string_free(*text);
    return result;
}

/* ------------------------------------------------------------------ context */

typedef struct ContextObject {
    PyObject ob_base;
    hunze_context *context;
} ContextObject;

static PyObject *allocate(PyTypeObject *type)
{
    allocfunc make = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    return make(type, 0);
}

static PyObject *context_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    const char *isa = NULL, *providers = NULL, *measured = NULL;
    (void)keywords;
    if (!PyArg_ParseTuple(arguments, "|zzz:_Context", &isa, &providers, &measured))
        return NULL;
    ContextObject *self = (ContextObject *)allocate(type);
    if (!self)
        return NULL;
    hunze_device_allocator allocator;
    hunze_context_options options = {.struct_size = sizeof options,
                                     .isa = isa,
                                     .providers = providers,
                                     .measured = measured,
                                     .device_allocator = device_allocator(PyType_GetModuleState(type), &allocator)};
    hunze_status status = hunze_context_create(&options, &self->context);
    if (status) {
        Py_DECREF(self);
        return raise_status(status, "options");
    }
    return (PyObject *)self;
}

static void context_dealloc(PyObject *self)
{
    hunze_context_release(((ContextObject *)self)->context);
    free_self(self);
}

static PyObject *context_set_threads(PyObject *self, PyObject *value)
{
    int64_t threads;
    if (!parse_int(value, "n", 0, 4096, &threads))
        return NULL;
    hunze_status status = hunze_context_set_threads(((ContextObject *)self)->context, (int32_t)threads);
    return status ? raise_status(status, "set_num_threads") : Py_NewRef(Py_None);
}

static PyObject *context_info(PyObject *self, PyObject *nothing)
{
    char *text = NULL;
    (void)nothing;
    const hunze_status status = hunze_context_info(((ContextObject *)self)->context, &text);
    return text_result(status, &text, "info");
}

static PyObject *context_trim(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    hunze_status status = hunze_memory_trim(((ContextObject *)self)->context);
    return status ? raise_status(status, "empty_cache") : Py_NewRef(Py_None);
}

static PyMethodDef context_methods[] = {{"set_threads", context_set_threads, METH_O, NULL},
                                        {"info", context_info, METH_NOARGS, NULL},
                                        {"trim", context_trim, METH_NOARGS, NULL},
                                        {0}};
static PyType_Slot context_slots[] = {
    {Py_tp_new, context_new}, {Py_tp_dealloc, context_dealloc}, {Py_tp_methods, context_methods}, {0, NULL}};
PyType_Spec context_spec = {"hunze._hunze._Context", sizeof(ContextObject), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, context_slots};

/* ------------------------------------------------------------------ settings: one options block, resolved */

typedef struct SettingsObject {
    PyObject ob_base;
    PyObject *context;   /* a _Context, or None: the default */
    PyObject *isa;       /* its name, or None */
    PyObject *providers; /* as _Context takes them, or None */
    PyObject *stream;    /* a hunze.stream, or None */
    unsigned flags;
    int threads;
    PyObject *device; /* as device= has it, or None */
    int offload;      /* that, understood */
} SettingsObject;

static PyObject *settings_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *context, *isa, *device = Py_None, *stream = Py_None, *providers = Py_None;
    unsigned flags;
    int threads, offload;
    (void)keywords;
    if (!PyArg_ParseTuple(arguments, "OOIi|OOO:_Settings", &context, &isa, &flags, &threads, &device, &stream,
                          &providers) ||
        !offload_parse(device, &offload))
        return NULL;
    SettingsObject *self = (SettingsObject *)allocate(type);
    if (!self)
        return NULL;
    self->context = Py_NewRef(context);
    self->isa = Py_NewRef(isa);
    self->stream = Py_NewRef(stream);
    self->providers = Py_NewRef(providers);
    self->flags = flags;
    self->threads = threads;
    self->device = Py_NewRef(device);
    self->offload = offload;
    return (PyObject *)self;
}

static void settings_dealloc(PyObject *self)
{
    Py_XDECREF(((SettingsObject *)self)->context);
    Py_XDECREF(((SettingsObject *)self)->isa);
    Py_XDECREF(((SettingsObject *)self)->device);
    Py_XDECREF(((SettingsObject *)self)->stream);
    Py_XDECREF(((SettingsObject *)self)->providers);
    free_self(self);
}

static PyMemberDef settings_members[] = {
    {"context", T_OBJECT_EX, offsetof(SettingsObject, context), READONLY, NULL},
    {"stream", T_OBJECT_EX, offsetof(SettingsObject, stream), READONLY, NULL},
    {"providers", T_OBJECT_EX, offsetof(SettingsObject, providers), READONLY, NULL},
    {"device", T_OBJECT_EX, offsetof(SettingsObject, device), READONLY, NULL},
    {"isa", T_OBJECT_EX, offsetof(SettingsObject, isa), READONLY, NULL},
    {"flags", T_UINT, offsetof(SettingsObject, flags), READONLY, NULL},
    {"threads", T_INT, offsetof(SettingsObject, threads), READONLY, NULL},
    {0}};

static PyType_Slot settings_slots[] = {
    {Py_tp_new, settings_new}, {Py_tp_dealloc, settings_dealloc}, {Py_tp_members, settings_members}, {0, NULL}};
PyType_Spec settings_spec = {"hunze._hunze._Settings", sizeof(SettingsObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, settings_slots};

hunze_context *default_context(State *state)
{
    hunze_context *context = __atomic_load_n(&state->context, __ATOMIC_ACQUIRE);
    if (context)
        return context;
    hunze_device_allocator allocator;
    hunze_context_options options = {.struct_size = sizeof options,
                                     .measured = state->measured,
                                     .device_allocator = device_allocator(state, &allocator)};
    hunze_status status = hunze_context_create(&options, &context);
    if (status) {
        raise_status(status, "hunze");
        return NULL;
    }
    hunze_context *none = NULL;
    if (!__atomic_compare_exchange_n(&state->context, &none, context, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        hunze_context_release(context); /* another thread was first */
        context = none;
    }
    return context;
}

bool active_settings(State *state, Active *active)
{
    *active = (Active){0};
    if (state->settings_used) {
        PyObject *found = PyObject_CallNoArgs(state->settings_get);
        if (!found)
            return false;
        if (Py_TYPE(found) == state->settings_type) {
            SettingsObject *settings = (SettingsObject *)found;
            active->flags = settings->flags;
            active->threads = settings->threads;
            active->offload = settings->offload;
            active->stream = settings->stream == Py_None ? NULL : settings->stream;
            /* The block's Python object holds the settings, and those the context, until the block ends. */
            if (settings->context != Py_None)
                active->context = ((ContextObject *)settings->context)->context;
        }
        Py_DECREF(found);
    }
    if (active->context)
        return true;
    active->context = default_context(state);
    return active->context;
}

/* ------------------------------------------------------------------ plan, and the request for one */

typedef struct PlanObject {
    PyObject ob_base;
    hunze_plan *plan;
    PyObject *forced; /* the kernel's name as bytes, if the plan was made with one; or NULL */
    PyObject *moves;  /* of a call that is brought to a device (plan_set_moves); or NULL */
} PlanObject;

PyObject *plan_wrap(State *state, hunze_plan *plan, PyObject *forced)
{
    PlanObject *self = (PlanObject *)allocate(state->plan_type);
    if (!self)
        hunze_plan_release(plan);
    else {
        self->plan = plan;
        self->forced = Py_XNewRef(forced);
    }
    return (PyObject *)self;
}

hunze_plan *plan_of(PyObject *plan) { return ((PlanObject *)plan)->plan; }
PyObject *plan_forced(PyObject *plan) { return ((PlanObject *)plan)->forced; }
void plan_set_moves(PyObject *plan, PyObject *moves) { ((PlanObject *)plan)->moves = moves; }

int plan_moves_to(PyObject *plan)
{
    PyObject *moves = ((PlanObject *)plan)->moves;
    return moves ? OFFLOAD_CUDA + (int)PyLong_AsLong(PyTuple_GetItem(moves, 0)) : OFFLOAD_NONE;
}

static void plan_dealloc(PyObject *self)
{
    hunze_plan_release(plan_of(self));
    Py_XDECREF(((PlanObject *)self)->forced);
    Py_XDECREF(((PlanObject *)self)->moves);
    free_self(self);
}

static PyObject *plan_kernel(PyObject *self, void *closure)
{
    (void)closure;
    return PyUnicode_FromString(hunze_plan_kernel(plan_of(self)));
}

static PyObject *plan_workspace(PyObject *self, PyObject *value)
{
    int64_t threads;
    if (!parse_int(value, "threads", 0, 4096, &threads))
        return NULL;
    return PyLong_FromSize_t(hunze_plan_workspace(plan_of(self), (int32_t)threads));
}

static PyObject *plan_explain(PyObject *self, PyObject *nothing)
{
    char *text = NULL;
    (void)nothing;
    return text_result(hunze_plan_explain(plan_of(self), &text), &text, "explain");
}

static PyObject *plan_prepare(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    PyThreadState *thread = PyEval_SaveThread();
    hunze_status status = hunze_plan_prepare(plan_of(self));
    PyEval_RestoreThread(thread);
    return status ? raise_status(status, "prepare") : Py_NewRef(Py_None);
}

static PyObject *plan_get_moves(PyObject *self, void *closure)
{
    PyObject *moves = ((PlanObject *)self)->moves;
    (void)closure;
    return Py_NewRef(moves ? moves : Py_None);
}

static PyMethodDef plan_methods[] = {{"workspace", plan_workspace, METH_O, NULL},
                                     {"explain", plan_explain, METH_NOARGS, NULL},
                                     {"prepare", plan_prepare, METH_NOARGS, NULL},
                                     {0}};
static PyGetSetDef plan_attributes[] = {
    {"kernel", plan_kernel, NULL, NULL, NULL}, {"moves", plan_get_moves, NULL, NULL, NULL}, {0}};
static PyType_Slot plan_slots[] = {
    {Py_tp_dealloc, plan_dealloc}, {Py_tp_methods, plan_methods}, {Py_tp_getset, plan_attributes}, {0, NULL}};
PyType_Spec plan_spec = {"hunze._hunze._Plan", sizeof(PlanObject), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, plan_slots};

/* Given as kernel=, it makes a function return its plan instead of running it: hunze.plan's way in.  With bind=True it returns the call,
 * ready to be run. */
typedef struct RequestObject {
    PyObject ob_base;
    PyObject *kernel;
    bool bind;
} RequestObject;

PyObject *request_kernel(State *state, PyObject *object)
{
    (void)state;
    return ((RequestObject *)object)->kernel;
}

bool request_binds(PyObject *object) { return ((RequestObject *)object)->bind; }

static PyObject *request_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *kernel;
    int bind = 0;
    (void)keywords;
    if (!PyArg_ParseTuple(arguments, "O|p:_PlanRequest", &kernel, &bind))
        return NULL;
    RequestObject *self = (RequestObject *)allocate(type);
    if (self) {
        self->kernel = Py_NewRef(kernel);
        self->bind = bind;
    }
    return (PyObject *)self;
}

static void request_dealloc(PyObject *self)
{
    Py_XDECREF(((RequestObject *)self)->kernel);
    free_self(self);
}

static PyType_Slot request_slots[] = {{Py_tp_new, request_new}, {Py_tp_dealloc, request_dealloc}, {0, NULL}};
PyType_Spec request_spec = {"hunze._hunze._PlanRequest", sizeof(RequestObject), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, request_slots};

/* ------------------------------------------------------------------ meter */

typedef struct MeterObject {
    PyObject ob_base;
    hunze_meter *meter;
} MeterObject;

static PyObject *meter_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    Active active;
    State *state = PyType_GetModuleState(type);
    (void)keywords;
    if (!PyArg_ParseTuple(arguments, ":_Meter") || !state || !active_settings(state, &active))
        return NULL;
    MeterObject *self = (MeterObject *)allocate(type);
    if (!self)
        return NULL;
    hunze_status status = hunze_meter_start(active.context, &self->meter);
    if (status) {
        Py_DECREF(self);
        return raise_status(status, "meter");
    }
    return (PyObject *)self;
}

static PyObject *meter_stop(PyObject *self, PyObject *nothing)
{
    hunze_meter *meter = ((MeterObject *)self)->meter;
    char *text = NULL;
    (void)nothing;
    if (!meter) {
        PyErr_SetString(PyExc_ValueError, "the meter has been stopped");
        return NULL;
    }
    ((MeterObject *)self)->meter = NULL;
    return text_result(hunze_meter_stop(meter, &text), &text, "meter");
}

static void meter_dealloc(PyObject *self)
{
    if (((MeterObject *)self)->meter)
        hunze_meter_stop(((MeterObject *)self)->meter, NULL);
    free_self(self);
}

static PyMethodDef meter_methods[] = {{"stop", meter_stop, METH_NOARGS, NULL}, {0}};
static PyType_Slot meter_slots[] = {
    {Py_tp_new, meter_new}, {Py_tp_dealloc, meter_dealloc}, {Py_tp_methods, meter_methods}, {0, NULL}};
PyType_Spec meter_spec = {"hunze._hunze._Meter", sizeof(MeterObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                          meter_slots};
