/* SPDX-License-Identifier: Apache-2.0 */
/* What rows of devices name beside their `launch`: for the table alone. */
#ifndef HUNZE_LAUNCHERS_H
#define HUNZE_LAUNCHERS_H

#include "cuda.h"

/* Each family's hunze_cuda_workspace_fn, hunze_cuda_refusal_fn and list of kernels. */

#endif
