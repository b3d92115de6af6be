/* SPDX-License-Identifier: Apache-2.0
 * DLPack's exchange structures, as its specification gives them, and how an operand takes one. */
#ifndef HUNZE_DLPACK_H
#define HUNZE_DLPACK_H

#include "binding.h"

typedef struct Managed {
    hunze_tensor tensor; /* DLTensor */
    void *manager;
    void (*deleter)(struct Managed *self);
} Managed;

typedef struct ManagedVersioned {
    uint32_t major, minor;
    void *manager;
    void (*deleter)(struct ManagedVersioned *self);
    uint64_t flags;
    hunze_tensor tensor;
} ManagedVersioned;

/* Flags of the versioned structure. */
enum { DLPACK_READ_ONLY = 1, DLPACK_COPIED = 2 };

/* Takes obj.__dlpack__(), versioned where the exporter knows how, else legacy. */
bool dlpack_take(Place *place, PyObject *object, const char *name, Operand *operand);
/* Gives the exporter's memory back. */
void dlpack_release(Operand *operand);
/* The module or namespace that makes arrays of the exporter's kind; new reference, or NULL without an error for one that has none. */
PyObject *library_space(State *state, PyObject *object);
/* A capsule of memory that `owner` keeps; strides NULL: row-major. */
PyObject *dlpack_capsule(const hunze_tensor *tensor, PyObject *owner, bool versioned, uint64_t flags);
/* An object whose __dlpack__ gives the row-major ndarray's memory as bfloat16; new reference. */
PyObject *dlpack_export(State *state, PyObject *array);

#endif
