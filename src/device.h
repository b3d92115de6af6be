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

/* Bytes of a tensor on a device, by a copy on the stream that waits. */
hunze_status hunze_device_read(hunze_context *context, const hunze_tensor *from, void *stream, void *to, size_t bytes);
/* Weights on the plan's device that become a blob there, in the layout of the plan's row: element (row, column, channel; n) of group g is at
 * w + g*group_step + row*axis_step[0] + column*axis_step[1] + channel*c_step + n*n_step. */
typedef struct hunze_device_weights {
    const void *w;
    void *to; /* behind the header */
    int64_t groups, n, c, kernel[2];
    int64_t group_step, n_step, c_step, axis_step[2];
} hunze_device_weights;
hunze_status hunze_device_pack(const hunze_plan *plan, const hunze_device_weights *weights,
                               const hunze_packed_header *header, void *blob, const hunze_run *run);

/* Waits for device calls whose seconds a meter has not got yet. */
void hunze_device_settle(hunze_context *context);
/* Gives back what the context holds on devices. */
void hunze_device_release(hunze_context *context);
/* What hunze_context_info says: members "cuda", the driver's CUDA version or null, and "cuda_reason", why that is null.  Opens nothing. */
void hunze_device_info(hunze_text *text);

#endif
