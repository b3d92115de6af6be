/* SPDX-License-Identifier: Apache-2.0 */
/* What rows of devices name beside their `launch`: for the table alone. */
#ifndef HUNZE_LAUNCHERS_H
#define HUNZE_LAUNCHERS_H

#include "cuda.h"

/* hunze_cuda_workspace_fn and hunze_cuda_refusal_fn of all families. */

#endif
