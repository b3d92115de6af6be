/* SPDX-License-Identifier: Apache-2.0 */
/* Devices as the runtime sees them: by the CUDA backend (cuda/), or by without_cuda.c in a library that has none. */
#ifndef HUNZE_DEVICE_H
#define HUNZE_DEVICE_H

#include "plan.h"

/* The bundles that a device runs.  Opens the driver and makes no context. */
hunze_status hunze_device_bundles(hunze_device device, uint32_t *bundles);
/* "cuda:0 (NVIDIA H100, capability 9.0)"; returns text. */
enum { HUNZE_DEVICE_TEXT = 160 };
const char *hunze_device_text(hunze_device device, char text[HUNZE_DEVICE_TEXT]);
/* Whether the device has to compile kernels from PTX, since none of the machine code in the library is its own. */
bool hunze_device_compiles(hunze_device device);

/* A run of a plan whose operands live on a device, after the checks that hold for all. */
hunze_status hunze_device_execute(const hunze_plan *plan, const hunze_request *request, const hunze_run *run);
hunze_status hunze_device_prepare(const hunze_plan *plan);
/* n elements of `bytes` each, from one stride to another; in copy.c. */
void hunze_copy_elements(int64_t n, size_t bytes, const char *from, int64_t from_step, char *to, int64_t to_step);
/* Checked tensors of the same shape and type, at least one of them on a device. */
hunze_status hunze_device_copy(hunze_context *context, const hunze_tensor *from, const hunze_tensor *to,
                               hunze_device device, void *stream);

/* Waits for device calls whose seconds a meter has not got yet. */
void hunze_device_settle(hunze_context *context);
/* Gives back what the context holds on devices. */
void hunze_device_release(hunze_context *context);
/* What hunze_context_info says: members "cuda", the driver's CUDA version or null, and "cuda_reason", why that is null.  Opens nothing. */
void hunze_device_info(hunze_text *text);

#endif
