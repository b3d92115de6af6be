/* SPDX-License-Identifier: Apache-2.0
 * A call on a device for operands in the CPU's memory. */
#ifndef HUNZE_OFFLOAD_H
#define HUNZE_OFFLOAD_H

#include "binding.h"

/* What device= says: None, "cpu", "auto", and from OFFLOAD_CUDA on the device's number. */
enum { OFFLOAD_NONE, OFFLOAD_CPU, OFFLOAD_AUTO, OFFLOAD_CUDA };
bool offload_parse(PyObject *device, int *target);
/* The same of where an array lives: neither None nor "auto". */
bool offload_parse_place(PyObject *device, int *target);
/* Of this call, where device= is not None. */
bool call_offload(Call *call, PyObject *device);

/* PackedWeights are of the CPU's kernels: a device gets what they were packed from, in *w (borrowed from them). */
bool offload_weights(Call *call, PyObject **w, const char *name);

/* Where the call computes: OFFLOAD_NONE for where its operands live, or OFFLOAD_CUDA and the device's number.  False with an exception set. */
bool offload_target(Call *call, int *target);

typedef struct Offload Offload;
/* The call on this device, planned by `given` or a plan of its own; NULL with *status, or with an exception and HUNZE_OK. */
Offload *offload_make(Call *call, int target, const hunze_plan *given, hunze_status *status);
/* A device's plan of the whole call as hunze._hunze._Plan. */
PyObject *offload_plan(Offload *offload);
/* Runs it without the GIL. */
hunze_status offload_run(Offload *offload);
void offload_free(Offload *offload);

PyObject *binding_offload_register(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif
