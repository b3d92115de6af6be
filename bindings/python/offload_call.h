/* SPDX-License-Identifier: Apache-2.0
 * A call as tensors, and what of them is cut into slices: inside offload*.c. */
#ifndef HUNZE_OFFLOAD_CALL_H
#define HUNZE_OFFLOAD_CALL_H

#include "offload.h"

enum { LANES = 3, NDIM = 16, ALIGNMENT = 256 };

/* The tensors of a call.  Scale and zero point of a, b and d follow each other. */
enum {
    SLOT_A,
    SLOT_B,
    SLOT_C,
    SLOT_D,
    SLOT_BIAS,
    SLOT_RESIDUAL,
    SLOT_QUANT,
    SLOT_D_SCALE = SLOT_QUANT + 4,
    SLOTS = SLOT_QUANT + 6
};

typedef struct View {
    hunze_tensor tensor;
    int64_t shape[NDIM], strides[NDIM];
} View;

/* A hunze_call whose tensors are its own.  Its pointers lead into this struct. */
typedef struct Replica {
    hunze_call call;
    __typeof__(((Call *)0)->options) options;
    hunze_quant quants[3];
    const hunze_tensor **slot[SLOTS]; /* where the call points to a tensor; NULL: it has none */
    View views[SLOTS];
} Replica;

typedef struct Slot {
    const hunze_tensor *tensor; /* the caller's; NULL: the call has none */
    int axis;                   /* cut along it; -1: one for all slices */
    bool output, here;          /* here: lives on the device */
    size_t offset;              /* in a lane's memory or in the shared one */
} Slot;

typedef struct Lane {
    Replica replica;
    void *stream;
    void *device, *pinned;
    int64_t first, rows; /* the slice that is on its way; no rows: none is */
} Lane;

struct Offload {
    Call *call;
    hunze_device device;
    void *stream; /* of the whole call */
    bool meets;   /* an operand lives on the device already */
    const hunze_plan *plan;
    hunze_plan *own, *slice_plans[2]; /* of whole slices, and of the last one */
    Slot slots[SLOTS];
    int64_t extent, rows, slices; /* of the axis that is cut; slices == 1: nothing is */
    size_t shared_bytes, lane_bytes, pinned_bytes, lane_workspace;
    double once, over, back; /* bytes that move: of whole operands, in slices, and of the result */
    Replica whole;
    void *shared, *pinned; /* pinned: of the result, where nothing is cut */
    int lane_count;
    Lane *lanes;
    PyThreadState *thread;
    const char *message; /* in place of the library's */
};

/* ------------------------------------------------------------------ offload_call.c */

void offload_replicate(const Call *call, Replica *replica);
void offload_force_kernel(Replica *replica, const char *kernel);
/* Indices [first, first + rows) of an axis (-1: all).  What a stride of 0 repeats is there once. */
void offload_look_at(const hunze_tensor *tensor, int axis, int64_t first, int64_t rows, View *view);
/* The same elements without gaps, in the order of axes that memory has; their bytes. */
size_t offload_pack(const View *view, hunze_device device, void *data, View *packed);
/* The operand as the device's kernel gets it: `rows` of the axis, at data; its bytes. */
size_t offload_stage(const Slot *slot, int64_t first, int64_t rows, hunze_device device, void *data, View *view);
bool offload_on_device(const hunze_tensor *tensor);
/* Chooses the axis that is cut, how many slices there are, and counts what moves. */
void offload_find_slices(Offload *offload);
/* Nothing is cut after all. */
void offload_keep_whole(Offload *offload);

#endif
