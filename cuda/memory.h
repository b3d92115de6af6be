/* SPDX-License-Identifier: Apache-2.0 */
/* What a context holds on devices. */
#ifndef HUNZE_CUDA_MEMORY_H
#define HUNZE_CUDA_MEMORY_H

#include "runtime.h"

/* A freed block, and an event behind its last use. */
typedef struct hunze_block {
    struct hunze_block *next;
    void *pointer;
    size_t bytes;
    CUcontext context;
    CUevent event;
} hunze_block;
typedef struct hunze_blocks {
    hunze_block *first;
    size_t bytes;
} hunze_blocks;

/* A call whose seconds the meter still waits for. */
typedef struct hunze_timing {
    struct hunze_timing *next;
    CUcontext context;
    hunze_timed timed;
} hunze_timing;

typedef struct hunze_device_memory {
    pthread_mutex_t lock;
    CUmemoryPool pools[HUNZE_MAX_DEVICES];
    hunze_blocks blocks[HUNZE_MAX_DEVICES]; /* of devices without pools */
    hunze_blocks pinned;
    hunze_timing *first_timing, *last_timing; /* in the order of the calls */
} hunze_device_memory;

/* The context's, made by the first call that needs it; NULL with the message of HUNZE_ERR_NOMEM. */
hunze_device_memory *hunze_device_memory_of(hunze_context *context);

#endif
