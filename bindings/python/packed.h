/* SPDX-License-Identifier: Apache-2.0
 * hunze.PackedWeights as an operand. */
#ifndef HUNZE_PACKED_H
#define HUNZE_PACKED_H

#include "binding.h"

typedef struct Packed {
    int axes; /* of the weights before packing */
    int64_t shape[MAX_AXES];
    hunze_dtype dtype;
    char header[64]; /* of a blob on a device */
} Packed;

/* Takes the blob for this call's context as `blob` and the weights' quantisation as `quant`; `function` must be what they were packed
 * for; transposed weights are (n, k).  `packed` stays until the call has run. */
bool packed_take(Call *call, PyObject *object, const char *name, bool transposed, Operand *blob, Quant *quant,
                 Packed *packed);

#endif
