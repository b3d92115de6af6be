/* SPDX-License-Identifier: Apache-2.0 */
/* A libhunze that fails as its name in the environment says: HUNZE_BROKEN=crash ends the process in a call, HUNZE_BROKEN=die in its
 * thirtieth, HUNZE_BROKEN=wrong damages an element of its result, HUNZE_BROKEN=nan writes one that is no number, HUNZE_BROKEN=refuse
 * returns an error, HUNZE_BROKEN=pack does so when it packs, HUNZE_BROKEN=slow takes 0.1 s for each call, HUNZE_BROKEN=cold for the first, and
 * HUNZE_BROKEN=choose plans the kernel that HUNZE_CHOICE names for f32 products and for convolutions with their channels last.  HUNZE_LOG
 * names a file that gets a line for each call and each start and end of a meter; then, preloaded, a meter reads one joule for each call, or
 * fails with HUNZE_BROKEN=meter.  Everything else is the real library, which this one is linked with. */
#include "../../include/hunze.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool is(const char *how)
{
    const char *given = getenv("HUNZE_BROKEN");
    return given && !strcmp(given, how);
}

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* One line of the log; false where there is none. */
static bool note(const char *line)
{
    const char *path = getenv("HUNZE_LOG");
    const int file = path ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (file < 0)
        return false;
    const bool written = write(file, line, strlen(line)) == (ssize_t)strlen(line);
    close(file);
    return written;
}

static void spend(double seconds)
{
    for (const clock_t start = clock(); (double)(clock() - start) < seconds * CLOCKS_PER_SEC;)
        ;
}

/* The kernel that HUNZE_BROKEN=choose takes. */
static const char *choice(void) { return getenv("HUNZE_CHOICE"); }

/* The call as HUNZE_BROKEN=choose has it planned. */
static const hunze_call *chosen(const hunze_call *call)
{
    static hunze_call changed;
    static hunze_gemm_options gemm;
    static hunze_conv_options conv;
    changed = *call;
    if (is("choose") && call->op == HUNZE_OP_GEMM && call->a->dtype.bits == 32) {
        gemm = *(const hunze_gemm_options *)call->options;
        if (!gemm.kernel)
            gemm.kernel = choice();
        changed.options = &gemm;
    } else if (is("choose") && call->op == HUNZE_OP_CONV) {
        conv = *(const hunze_conv_options *)call->options;
        if (!conv.kernel && conv.layout == HUNZE_CHANNELS_LAST)
            conv.kernel = choice();
        changed.options = &conv;
    }
    return &changed;
}

hunze_status hunze_plan_create(hunze_context *context, const hunze_call *call, hunze_plan **plan)
{
    hunze_status (*function)(hunze_context *, const hunze_call *, hunze_plan **);
    *(void **)&function = real("hunze_plan_create");
    return function(context, chosen(call), plan);
}

/* Of the weights of a convolution, which hunze_bench packs for channels first and then for channels last. */
static const char *kernel_of_weights;

hunze_status hunze_pack_size(hunze_context *context, const hunze_tensor *w, const hunze_pack_options *options,
                             size_t *bytes)
{
    hunze_status (*function)(hunze_context *, const hunze_tensor *, const hunze_pack_options *, size_t *);
    *(void **)&function = real("hunze_pack_size");
    hunze_pack_options changed = *options;
    static int plans;
    kernel_of_weights = options->kernel;
    if (is("choose") && options->op == HUNZE_OP_CONV && !options->kernel)
        kernel_of_weights = plans++ % 2 ? choice() : NULL;
    changed.kernel = kernel_of_weights;
    return function(context, w, &changed, bytes);
}

hunze_status hunze_pack(hunze_context *context, const hunze_tensor *w, const hunze_tensor *packed,
                        const hunze_pack_options *options, const hunze_run *run)
{
    hunze_status (*function)(hunze_context *, const hunze_tensor *, const hunze_tensor *, const hunze_pack_options *,
                             const hunze_run *);
    *(void **)&function = real("hunze_pack");
    hunze_pack_options changed = *options;
    changed.kernel = kernel_of_weights;
    return is("pack") ? HUNZE_ERR_SYSTEM : function(context, w, packed, &changed, run);
}

hunze_status hunze_plan_run(const hunze_plan *plan, const hunze_call *call, const hunze_run *run)
{
    hunze_status (*function)(const hunze_plan *, const hunze_call *, const hunze_run *);
    *(void **)&function = real("hunze_plan_run");
    static int calls;
    char line[64];
    snprintf(line, sizeof line, "call %d %p\n", (int)getpid(), call->b->data);
    note(line);
    if (is("crash") || (is("die") && ++calls == 30))
        raise(SIGSEGV);
    static bool warm;
    if (is("slow") || (is("cold") && !warm))
        spend(0.1);
    warm = true;
    if (is("refuse"))
        return HUNZE_ERR_UNSUPPORTED;
    const hunze_status status = function(plan, chosen(call), run);
    if (is("wrong"))
        ((unsigned char *)call->d->data)[2] ^= 0x40;
    if (is("nan"))
        memset(call->d->data, 0xFF, 4);
    return status;
}

hunze_status hunze_meter_start(hunze_context *context, hunze_meter **meter)
{
    static int it;
    hunze_status (*function)(hunze_context *, hunze_meter **);
    *(void **)&function = real("hunze_meter_start");
    if (!note("start\n"))
        return function(context, meter);
    *meter = (hunze_meter *)&it;
    return HUNZE_OK;
}

hunze_status hunze_meter_stop(hunze_meter *meter, char **text)
{
    hunze_status (*function)(hunze_meter *, char **);
    *(void **)&function = real("hunze_meter_stop");
    FILE *log = getenv("HUNZE_LOG") ? fopen(getenv("HUNZE_LOG"), "r") : NULL;
    if (!log)
        return function(meter, text);
    int calls = 0;
    for (char line[64]; fgets(line, sizeof line, log);)
        calls = !strcmp(line, "start\n") ? 0 : calls + !strncmp(line, "call", 4);
    fclose(log);
    note("stop\n");
    if (is("meter"))
        return HUNZE_ERR_SYSTEM;
    if (text && (*text = malloc(64)))
        snprintf(*text, 64, "{\"joules\": %d}", calls);
    return HUNZE_OK;
}
