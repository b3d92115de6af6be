#include "runs.h"

#include <stdlib.h>
#include <string.h>

/* A lane is worth waking for this many elements. */
enum { ELEMENTS_PER_LANE = 32768 };

void hunze_runs_strides(const hunze_tensor *tensor, int64_t strides[HUNZE_MAX_NDIM])
{
    for (int32_t axis = 0; axis < tensor->ndim; axis++)
        strides[axis] = hunze_stride(tensor, axis);
}

void hunze_runs_make(hunze_runs *runs, int32_t ndim, const int64_t *shape, int32_t operands,
                     const int64_t *const strides[])
{
    *runs = (hunze_runs){.operands = operands, .length = 1};
    int32_t order[HUNZE_MAX_NDIM], count = 0;
    bool empty = false;
    for (int32_t axis = 0; axis < ndim; axis++) {
        empty |= shape[axis] == 0;
        if (shape[axis] == 1)
            continue;
        int32_t at = count++;
        for (; at > 0 && llabs(strides[0][order[at - 1]]) < llabs(strides[0][axis]); at--)
            order[at] = order[at - 1];
        order[at] = axis;
    }
    if (empty)
        return;

    /* An axis that continues the one inside it in every operand joins it. */
    for (int32_t i = 0; i < count; i++) {
        int32_t axis = order[i], last = runs->axes - 1;
        bool joins = last >= 0;
        for (int32_t o = 0; joins && o < operands; o++)
            joins = runs->stride[last][o] == strides[o][axis] * shape[axis];
        if (!joins)
            runs->extent[last = runs->axes++] = 1;
        runs->extent[last] *= shape[axis];
        for (int32_t o = 0; o < operands; o++)
            runs->stride[last][o] = strides[o][axis];
    }
    if (runs->axes > 0) {
        runs->axes--;
        runs->length = runs->extent[runs->axes];
        memcpy(runs->step, runs->stride[runs->axes], sizeof runs->step);
    }
    runs->chunks_per_run = (runs->length + HUNZE_RUNS_CHUNK - 1) / HUNZE_RUNS_CHUNK;
    runs->chunks = runs->chunks_per_run;
    for (int32_t axis = 0; axis < runs->axes; axis++)
        runs->chunks *= runs->extent[axis];
}

int64_t hunze_runs_chunk(const hunze_runs *runs, int64_t index, int64_t offset[HUNZE_RUNS_OPERANDS])
{
    int64_t run = index / runs->chunks_per_run, start = index % runs->chunks_per_run * HUNZE_RUNS_CHUNK;
    for (int32_t o = 0; o < runs->operands; o++)
        offset[o] = start * runs->step[o];
    for (int32_t axis = runs->axes - 1; axis >= 0; axis--) {
        int64_t at = run % runs->extent[axis];
        run /= runs->extent[axis];
        for (int32_t o = 0; o < runs->operands; o++)
            offset[o] += at * runs->stride[axis][o];
    }
    int64_t left = runs->length - start;
    return left < HUNZE_RUNS_CHUNK ? left : HUNZE_RUNS_CHUNK;
}

typedef struct {
    const hunze_runs *runs;
    void (*chunk)(void *user, int64_t index);
    void *user;
    int64_t grain; /* chunks of an item */
    hunze_items items;
} each_state;

static void each_lane(void *user, int32_t lane, int32_t lanes)
{
    each_state *state = user;
    const int64_t chunks = state->runs->chunks;
    (void)lane, (void)lanes;
    for (int64_t item; hunze_take_item(&state->items, &item);) {
        const int64_t from = item * state->grain, end = hunze_least(chunks, from + state->grain);
        for (int64_t index = from; index < end; index++)
            state->chunk(state->user, index);
    }
}

bool hunze_runs_each(const hunze_runs *runs, hunze_exec *exec, void (*chunk)(void *user, int64_t index), void *user)
{
    each_state state = {.runs = runs, .chunk = chunk, .user = user, .items = {.exec = exec}};
    int64_t elements_at_most = runs->chunks * (runs->length < HUNZE_RUNS_CHUNK ? runs->length : HUNZE_RUNS_CHUNK);
    const int64_t lanes = hunze_least(1 + elements_at_most / ELEMENTS_PER_LANE, exec->threads);
    state.grain = 1 + runs->chunks / (8 * hunze_most(lanes, 1));
    state.items.count = hunze_ceil_div(runs->chunks, state.grain);
    hunze_parallel(exec, (int32_t)lanes, each_lane, &state);
    return !state.items.stopped;
}

#define COPY_ELEMENTS(type)                                                                                            \
    for (int64_t i = 0; i < n; i++)                                                                                    \
    ((type *)to)[i * to_step] = ((const type *)from)[i * from_step]

void hunze_copy_strided(int64_t n, int64_t bytes, const void *from, int64_t from_step, void *to, int64_t to_step)
{
    if (from_step == 1 && to_step == 1)
        memcpy(to, from, (size_t)(n * bytes));
    else if (bytes == 1)
        COPY_ELEMENTS(uint8_t);
    else if (bytes == 4)
        COPY_ELEMENTS(uint32_t);
    else
        COPY_ELEMENTS(uint64_t);
}
