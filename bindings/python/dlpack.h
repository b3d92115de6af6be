/* SPDX-License-Identifier: Apache-2.0
 * DLPack's exchange structures, as its specification gives them, and how an operand takes one. */
#ifndef HUNZE_DLPACK_H
#define HUNZE_DLPACK_H

#include "binding.h"

/* Takes obj.__dlpack__(), versioned where the exporter knows how, else legacy. */
bool dlpack_take(State *state, PyObject *object, const char *name, Operand *operand);
/* Gives the exporter's memory back. */
void dlpack_release(Operand *operand);

#endif
