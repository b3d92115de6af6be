/* hunze_activate: y = act(x), by the epilogue that gemm and conv use, so that fused and separate have the same bits. */
#include "runs.h"

typedef struct {
    hunze_runs runs;
    const hunze_row *row;
    hunze_float_epilogue epilogue;
    int64_t bytes;
    const char *x;
    char *y;
} activation_job;

static void activation_chunk(void *user, int64_t index)
{
    const activation_job *job = user;
    int64_t offset[HUNZE_RUNS_OPERANDS];
    int64_t n = hunze_runs_chunk(&job->runs, index, offset);
    char *y = job->y + offset[0] * job->bytes;
    const char *x = job->x + offset[1] * job->bytes;
    if (job->runs.step[0] == 1) {
        if (x != y)
            hunze_copy_strided(n, job->bytes, x, job->runs.step[1], y, 1);
        job->row->float_epilogue(&job->epilogue, 1, n, y, n);
        return;
    }
    _Alignas(64) char scratch[HUNZE_RUNS_CHUNK * sizeof(double)];
    hunze_copy_strided(n, job->bytes, x, job->runs.step[1], scratch, 1);
    job->row->float_epilogue(&job->epilogue, 1, n, scratch, n);
    hunze_copy_strided(n, job->bytes, scratch, 1, y, job->runs.step[0]);
}

hunze_status hunze_run_activation(const hunze_plan *plan, const hunze_call *call, hunze_exec *exec)
{
    const hunze_activation_options *options = call->options;
    const hunze_activation *act = options ? options->activation : NULL;
    activation_job job = {
        .row = plan->row,
        .epilogue = {.canonical_nan = (exec->flags & HUNZE_REPRODUCIBLE) != 0},
        .bytes = (int64_t)hunze_type_bytes(plan->row->d),
        .x = hunze_data(call->a),
        .y = hunze_data(call->d),
    };
    if (act) {
        job.epilogue.activation = (hunze_activation_kind)act->kind;
        job.epilogue.alpha = act->alpha;
        job.epilogue.beta = act->beta;
    }
    int64_t y_strides[HUNZE_MAX_NDIM], x_strides[HUNZE_MAX_NDIM];
    hunze_runs_strides(call->d, y_strides);
    hunze_runs_strides(call->a, x_strides);
    hunze_runs_make(&job.runs, call->d->ndim, call->d->shape, 2, (const int64_t *const[]){y_strides, x_strides});
    return hunze_runs_each(&job.runs, exec, activation_chunk, &job)
               ? HUNZE_OK
               : hunze_fail(HUNZE_ERR_CANCELLED, "the caller's cancel function ended the call");
}
