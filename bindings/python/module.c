/* SPDX-License-Identifier: Apache-2.0
 * hunze._hunze: the module's state, its functions and its start. */
#define HUNZE_IMPORTS_NUMPY
#include "offload.h"

#include "../../bench/bandwidth.h"
#include "../../bench/peak.h"

#include <string.h>

State *state_of(PyObject *module) { return PyModule_GetState(module); }

/* _register(QArray, PackedWeights, DeviceArray, settings_get): the package's classes, which C takes as operands. */
static PyObject *binding_register(PyObject *module, PyObject *const *v, Py_ssize_t count)
{
    State *state = state_of(module);
    if (count != 4 || !PyType_Check(v[0]) || !PyType_Check(v[1]) || !PyType_Check(v[2])) {
        PyErr_SetString(PyExc_TypeError, "_register() takes three types and a function");
        return NULL;
    }
    Py_XDECREF(state->quantized_type);
    Py_XDECREF(state->packed_type);
    Py_XDECREF(state->device_type);
    Py_XDECREF(state->settings_get);
    state->quantized_type = Py_NewRef(v[0]);
    state->packed_type = Py_NewRef(v[1]);
    state->device_type = Py_NewRef(v[2]);
    state->settings_get = Py_NewRef(v[3]);
    Py_RETURN_NONE;
}

/* From the first options block on, calls ask for the innermost one. */
static PyObject *binding_use_settings(PyObject *module, PyObject *nothing)
{
    (void)nothing;
    state_of(module)->settings_used = true;
    Py_RETURN_NONE;
}

/* _set_measured(text): what was measured of providers, for the default context, which is still to be made. */
static PyObject *binding_set_measured(PyObject *module, PyObject *text)
{
    State *state = state_of(module);
    const char *bytes = PyUnicode_AsUTF8AndSize(text, NULL);
    char *copy = bytes ? PyMem_Malloc(strlen(bytes) + 1) : NULL;
    if (!copy)
        return bytes ? PyErr_NoMemory() : NULL;
    strcpy(copy, bytes);
    PyMem_Free(state->measured);
    state->measured = copy;
    Py_RETURN_NONE;
}

static PyObject *binding_info(PyObject *module, PyObject *nothing)
{
    Active active;
    char *text = NULL;
    (void)nothing;
    if (!active_settings(state_of(module), &active))
        return NULL;
    hunze_status status = hunze_context_info(active.context, &text);
    if (status)
        return raise_status(status, "info");
    PyObject *result = PyUnicode_FromString(text);
    hunze_string_free(text);
    return result;
}

static PyObject *binding_get_threads(PyObject *module, PyObject *nothing)
{
    Active active;
    (void)nothing;
    if (!active_settings(state_of(module), &active))
        return NULL;
    return PyLong_FromLong(active.threads ? active.threads : hunze_context_threads(active.context));
}

/* _context_threads(): those of the context, which plans are explained with. */
static PyObject *binding_context_threads(PyObject *module, PyObject *nothing)
{
    Active active;
    (void)nothing;
    return active_settings(state_of(module), &active) ? PyLong_FromLong(hunze_context_threads(active.context)) : NULL;
}

static PyObject *binding_set_threads(PyObject *module, PyObject *value)
{
    State *state = state_of(module);
    Active active;
    int64_t threads;
    if (!parse_int(value, "n", 0, 4096, &threads) || !active_settings(state, &active))
        return NULL;
    /* active_settings made the default context; blocks with their own are told by the package. */
    hunze_context *context = state->context ? state->context : active.context;
    hunze_status status = hunze_context_set_threads(context, (int32_t)threads);
    return status ? raise_status(status, "set_num_threads") : Py_NewRef(Py_None);
}

/* _peak(isa, type, seconds): the ceiling of multiply-adds on registers, for hunze.bench. */
static PyObject *binding_peak(PyObject *module, PyObject *arguments)
{
    const char *isa, *type;
    double seconds;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "ssd:_peak", &isa, &type, &seconds))
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    double rate = hunze_peak_flops(isa, type, seconds);
    PyEval_RestoreThread(thread);
    return PyFloat_FromDouble(rate);
}

/* _peak_all(isa, type, threads, seconds): the same of several threads together, for hunze.tune. */
static PyObject *binding_peak_all(PyObject *module, PyObject *arguments)
{
    const char *isa, *type;
    int threads;
    double seconds;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "ssid:_peak_all", &isa, &type, &threads, &seconds))
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    double rate = hunze_peak_flops_all(isa, type, threads, seconds);
    PyEval_RestoreThread(thread);
    return PyFloat_FromDouble(rate);
}

/* _bandwidth(copy, threads, seconds): bytes per second that memory gives, for hunze.tune. */
static PyObject *binding_bandwidth(PyObject *module, PyObject *arguments)
{
    int copy, threads;
    double seconds;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "pid:_bandwidth", &copy, &threads, &seconds))
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    double rate = (copy ? hunze_copy_bandwidth : hunze_read_bandwidth)(threads, seconds);
    hunze_bandwidth_release();
    PyEval_RestoreThread(thread);
    return PyFloat_FromDouble(rate);
}

#define FAST(function) ((PyCFunction)(void (*)(void))function)

static PyMethodDef methods[] = {{"matmul", FAST(binding_matmul), METH_FASTCALL | METH_KEYWORDS, matmul_doc},
                                {"linear", FAST(binding_linear), METH_FASTCALL | METH_KEYWORDS, linear_doc},
                                {"grouped_matmul", FAST(binding_grouped), METH_FASTCALL | METH_KEYWORDS, grouped_doc},
                                {"activate", FAST(binding_activate), METH_FASTCALL | METH_KEYWORDS, activate_doc},
                                {"_conv", FAST(binding_conv), METH_FASTCALL, NULL},
                                {"_quantize", FAST(binding_quantize), METH_FASTCALL, NULL},
                                {"_dequantize", FAST(binding_dequantize), METH_FASTCALL, NULL},
                                {"_pack", FAST(binding_pack), METH_FASTCALL, NULL},
                                {"_as_array", binding_as_array, METH_O, NULL},
                                {"_to_device", FAST(binding_to_device), METH_FASTCALL, NULL},
                                {"_device_empty", FAST(binding_device_empty), METH_FASTCALL, NULL},
                                {"_devices", binding_devices, METH_NOARGS, NULL},
                                {"_empty_cache", binding_empty_cache, METH_NOARGS, NULL},
                                {"_set_device_allocator", FAST(binding_set_device_allocator), METH_FASTCALL, NULL},
                                {"_register", FAST(binding_register), METH_FASTCALL, NULL},
                                {"_offload", FAST(binding_offload_register), METH_FASTCALL, NULL},
                                {"_use_settings", binding_use_settings, METH_NOARGS, NULL},
                                {"_set_measured", binding_set_measured, METH_O, NULL},
                                {"_info", binding_info, METH_NOARGS, NULL},
                                {"_get_threads", binding_get_threads, METH_NOARGS, NULL},
                                {"_context_threads", binding_context_threads, METH_NOARGS, NULL},
                                {"_set_threads", binding_set_threads, METH_O, NULL},
                                {"_peak", binding_peak, METH_VARARGS, NULL},
                                {"_peak_all", binding_peak_all, METH_VARARGS, NULL},
                                {"_bandwidth", binding_bandwidth, METH_VARARGS, NULL},
                                {"_device_rate", binding_device_rate, METH_VARARGS, NULL},
                                {0}};

static bool add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type && PyModule_AddType(module, *type) == 0;
}

static bool intern_names(State *state)
{
    static const char *const keywords[] = {
#define TEXT(name) #name,
        KEYWORDS(TEXT)};
    static const char *const attributes[] = {ATTRIBUTES(TEXT)
#undef TEXT
    };
    for (int i = 0; i < KEYWORD_COUNT; i++)
        if (!(state->keywords[i] = PyUnicode_InternFromString(keywords[i])))
            return false;
    for (int i = 0; i < ATTRIBUTE_COUNT; i++)
        if (!(state->attributes[i] = PyUnicode_InternFromString(attributes[i])))
            return false;
    return (state->dlpack_version = Py_BuildValue("(ii)", 1, 3)) != NULL;
}

static int import_numpy(void)
{
    import_array1(-1);
    return 0;
}

static int module_exec(PyObject *module)
{
    State *state = state_of(module);
    if (import_numpy() || !intern_names(state))
        return -1;
    bool good =
        add_type(module, &context_spec, &state->context_type) &&
        add_type(module, &settings_spec, &state->settings_type) && add_type(module, &plan_spec, &state->plan_type) &&
        add_type(module, &request_spec, &state->request_type) && add_type(module, &bound_spec, &state->bound_type) &&
        add_type(module, &meter_spec, &state->meter_type) && add_type(module, &export_spec, &state->export_type) &&
        add_type(module, &stream_spec, &state->stream_type) && add_type(module, &memory_spec, &state->memory_type) &&
        add_type(module, &device_array_spec, &state->array_type);
    if (!good || PyModule_AddStringConstant(module, "version", hunze_version()) ||
        PyModule_AddIntConstant(module, "REPRODUCIBLE", HUNZE_REPRODUCIBLE) ||
        PyModule_AddIntConstant(module, "REQUIRE_FAST", HUNZE_REQUIRE_FAST) ||
        PyModule_AddIntConstant(module, "TRUST_POINTERS", HUNZE_TRUST_POINTERS) ||
        PyModule_AddIntConstant(module, "OP_GEMM", HUNZE_OP_GEMM) ||
        PyModule_AddIntConstant(module, "OP_CONV", HUNZE_OP_CONV) ||
        PyModule_AddIntConstant(module, "OP_CONV_TRANSPOSE", HUNZE_OP_CONV_TRANSPOSE))
        return -1;
    return 0;
}

/* What the state holds and a cycle may lead through. */
static PyObject **held_by(State *state, int index)
{
    PyObject **const held[] = {&state->settings_get,
                               &state->choose,
                               &state->quantized_type,
                               &state->packed_type,
                               &state->device_type,
                               (PyObject **)&state->context_type,
                               (PyObject **)&state->settings_type,
                               (PyObject **)&state->plan_type,
                               (PyObject **)&state->request_type,
                               (PyObject **)&state->bound_type,
                               (PyObject **)&state->meter_type,
                               (PyObject **)&state->export_type,
                               (PyObject **)&state->stream_type,
                               (PyObject **)&state->memory_type,
                               (PyObject **)&state->array_type};
    return index < (int)(sizeof held / sizeof held[0]) ? held[index] : NULL;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    PyObject **held;
    for (int i = 0; (held = held_by(state_of(module), i)) != NULL; i++)
        Py_VISIT(*held);
    return 0;
}

static int module_clear(PyObject *module)
{
    PyObject **held;
    for (int i = 0; (held = held_by(state_of(module), i)) != NULL; i++)
        Py_CLEAR(*held);
    return 0;
}

static void module_free(void *module)
{
    State *state = state_of(module);
    module_clear(module);
    for (int i = 0; i < KEYWORD_COUNT; i++)
        Py_CLEAR(state->keywords[i]);
    for (int i = 0; i < ATTRIBUTE_COUNT; i++)
        Py_CLEAR(state->attributes[i]);
    Py_CLEAR(state->dlpack_version);
    hunze_context_release(state->context);
    state->context = NULL;
    PyMem_Free(state->measured);
    state->measured = NULL;
}

/* Filled in PyInit: CPython 3.11 and 3.12 refuse a slot that they do not know, so Py_mod_gil (4) joins from 3.13 on. */
static PyModuleDef_Slot slots[3];
enum { SLOT_GIL = 4 };

static struct PyModuleDef definition = {.m_base = PyModuleDef_HEAD_INIT,
                                        .m_name = "hunze._hunze",
                                        .m_size = sizeof(State),
                                        .m_methods = methods,
                                        .m_slots = slots,
                                        .m_traverse = module_traverse,
                                        .m_clear = module_clear,
                                        .m_free = module_free};

PyMODINIT_FUNC PyInit__hunze(void)
{
    int used = 0;
    slots[used++] = (PyModuleDef_Slot){Py_mod_exec, (void *)module_exec};
    if (Py_Version >= 0x030D0000)
        slots[used++] = (PyModuleDef_Slot){SLOT_GIL, (void *)1}; /* Py_MOD_GIL_NOT_USED */
    slots[used] = (PyModuleDef_Slot){0, NULL};
    return PyModuleDef_Init(&definition);
}
