/* SPDX-License-Identifier: Apache-2.0 */
/* A libcuda.so.1 for machines without a GPU: the driver's functions that Hunze uses, and kernels on the emulator (tests/cuda/emulator).
 *
 * It refuses what the driver refuses.  Memory of its devices cannot be touched by the CPU.  Work is late: a stream's operations run when
 * somebody waits for them, or some of them at a random moment during any later call.  Whatever would be undefined on a GPU ends the process
 * with a sentence and exit status HUNZE_EMULATOR_STATUS.
 *
 * Environment, read by the first call:
 *   HUNZE_FAKE_CUDA       "devices=2,capability=90,driver=13000,memory=512MiB,sms=4,pools=0,pageable=1": the machine; each part is optional.
 *                         pageable: devices reach all memory of the process, and copies read it when they run
 *   HUNZE_FAKE_CUDA_FAIL  "cuMemAlloc:2:CUDA_ERROR_OUT_OF_MEMORY,…": the second call of cuMemAlloc fails; `*` in place of 2: each does.  A code
 *                         that a context does not survive comes back from all its later calls; work that is given to a stream fails when it runs.
 *
 * These functions are found by dlsym in the library.  A program that asks before cuInit opens no driver. */
#ifndef HUNZE_STANDIN_H
#define HUNZE_STANDIN_H

#include "../emulator/launch.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In place of the two variables.  describe: before cuInit. */
HUNZE_EMULATOR_API void hunze_standin_describe(const char *machine);
HUNZE_EMULATOR_API void hunze_standin_fail(const char *failures);
/* How often a function was called, without its suffix _v2; NULL: calls of all functions together. */
HUNZE_EMULATOR_API uint64_t hunze_standin_calls(const char *function);
/* Operations of all streams that have not run. */
HUNZE_EMULATOR_API uint64_t hunze_standin_pending(void);
/* Depth of the calling thread's stack of contexts. */
HUNZE_EMULATOR_API int hunze_standin_contexts(void);

#ifdef __cplusplus
}
#endif

#endif
