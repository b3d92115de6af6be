/* SPDX-License-Identifier: Apache-2.0 */
/* Traces and meters of calls on a device, whose seconds are known late. */
#include "json.h"
#include "relu_case.h"

static struct {
    int records;
    hunze_trace_record last;
    char line[1024];
} traced;

static void trace(void *user, const hunze_trace_record *record)
{
    (void)user;
    traced.records++;
    traced.last = *record;
    snprintf(traced.line, sizeof traced.line, "%s", record->line);
}

static void traces(void)
{
    const hunze_context_options options = {.struct_size = sizeof options, .trace = trace};
    hunze_context *context = new_context(&options);
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N);
    OK(relu(context, cuda0, x, y, N, NULL));
    check(traced.records == 1 && traced.last.nanoseconds > 0 && traced.last.operations == N &&
              traced.last.bytes == 2 * BYTES && strstr(traced.line, "activation y=f32:100 x=f32:100"),
          "%d records, %llu ns: %s", traced.records, (unsigned long long)traced.last.nanoseconds, traced.line);
    standin_check(standin_count("cuEventCreate") == 2 && standin_count("cuEventDestroy") == 2, "events stay");
    hunze_context_release(context);
}

/* Seconds come late: the call does not wait, the meter's end does. */
static void meters(void)
{
    hunze_context *context = new_context(NULL);
    hunze_meter *meter = NULL;
    char *text = NULL;
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N);
    OK(relu(context, cuda0, x, y, N, NULL));
    standin_check(standin_count("cuEventCreate") == 0, "a call that nobody asked about is timed");
    OK(hunze_meter_start(context, &meter));
    const uint64_t waits = standin_count("cuEventSynchronize") + standin_count("cuStreamSynchronize"); /* of copies */
    for (int i = 0; i < 5; i++)
        OK(relu(context, cuda0, x, y, N, NULL));
    standin_check(standin_count("cuEventSynchronize") + standin_count("cuStreamSynchronize") == waits,
                  "a metered call waits: %llu events, %llu streams of %llu",
                  (unsigned long long)standin_count("cuEventSynchronize"),
                  (unsigned long long)standin_count("cuStreamSynchronize"), (unsigned long long)waits);
    OK(hunze_meter_stop(meter, &text));
    check(json_is_valid(text) && atoi(json_member(text, "calls")) == 5 &&
              atoi(json_member(text, "operations")) == 5 * N && atof(json_member(text, "seconds_in_calls")) > 0,
          "%s", text);
    hunze_string_free(text);
    standin_check(standin_count("cuEventCreate") == 10 && standin_count("cuEventDestroy") == 10, "events stay");
    hunze_context_release(context);
}

static const cuda_case cases[] = {
    {"traces", traces, NULL, NULL},
    {"meters", meters, NULL, NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]); }
