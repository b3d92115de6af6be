/* SPDX-License-Identifier: Apache-2.0 */
/* Device code inside the library: a compressed fatbin per file of kernels, for the driver to load on first use. */
#ifndef HUNZE_FATBINS_H
#define HUNZE_FATBINS_H

#include <stddef.h>

typedef struct hunze_fatbin {
    const void
        *image; /* for cuLibraryLoadData; a short text where the library was built for the stand-in driver only */
    size_t bytes;
    const char *name; /* of the file, without ".cu" */
} hunze_fatbin;

/* All of them, in the order of fatbins.def. */
enum {
    HUNZE_FATBIN_COUNT = 0
#define HUNZE_FATBIN(symbol, file) +1
#include "fatbins.def"
#undef HUNZE_FATBIN
};
extern const hunze_fatbin hunze_fatbins[];

/* Each by its own name. */
#define HUNZE_FATBIN(symbol, file) extern const hunze_fatbin symbol;
#include "fatbins.def"
#undef HUNZE_FATBIN

#endif
