/* SPDX-License-Identifier: Apache-2.0 */
/* A call that is to be refused: with its exact status, a message that names the operand or field, outputs untouched, and the good call after
 * it as before. */
#ifndef HUNZE_TESTS_REFUSED_H
#define HUNZE_TESTS_REFUSED_H

#include "example.h"

#include <ctype.h>

static hunze_context *context;
static example good[EXAMPLES];
static answer answers[EXAMPLES];

static inline int make_good(void **state)
{
    (void)state;
    context = make_all("refused", SMALL, good, answers);
    return 0;
}

static inline int drop_good(void **state)
{
    (void)state;
    return drop_all(context, good, answers);
}

static inline bool is_blob(const example *e, int role) { return e->tensor[role].dtype.code == HUNZE_OPAQUE_HANDLE; }

static inline bool is_product(const example *e) { return e->spec->op == HUNZE_OP_GEMM || e->spec->op == HUNZE_OP_CONV; }
static inline bool is_gemm(const example *e) { return e->spec->op == HUNZE_OP_GEMM; }
static inline bool is_conv(const example *e)
{
    return e->spec->op == HUNZE_OP_CONV || e->spec->op == HUNZE_OP_CONV_TRANSPOSE;
}
static inline bool is_transpose(const example *e) { return e->spec->op == HUNZE_OP_CONV_TRANSPOSE; }
static inline bool is_quantize(const example *e)
{
    return e->spec->op == HUNZE_OP_QUANTIZE || e->spec->op == HUNZE_OP_DEQUANTIZE;
}
static inline bool is_pack(const example *e) { return e->spec->op == HUNZE_OP_PACK; }

static inline int example_named(const char *name)
{
    int kind = 0;
    while (strcmp(specs[kind].name, name) != 0)
        kind++;
    return kind;
}

/* The name stands in the text as a word of its own. */
static inline bool names(const char *text, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = text; (at = strstr(at, name)); at++) {
        const char after = at[length];
        if ((at == text || !(isalnum((unsigned char)at[-1]) || at[-1] == '_')) &&
            !(isalnum((unsigned char)after) || after == '_'))
            return true;
    }
    return false;
}

static inline void expect_status(hunze_status status, hunze_status wanted, const char *name)
{
    harness_check(status == wanted, "%s (%s), not %s", hunze_status_name(status), status ? hunze_last_error() : "",
                  hunze_status_name(wanted));
    harness_check(names(hunze_last_error(), name), "the message does not name %s: %s", name, hunze_last_error());
}

/* Runs the broken example, then the good one of its kind. */
static inline void expect_refused(example *broken, const hunze_run *run, hunze_status wanted, const char *name)
{
    const int kind = (int)(broken->spec - specs);
    poison_output(broken);
    answer before = copy_outputs(broken);
    expect_status(run_example(context, broken, run), wanted, name);
    harness_check(outputs_are(broken, &before), "an output changed");
    drop_answer(&before);
    poison_output(&good[kind]);
    const hunze_status status = run_example(context, &good[kind], NULL);
    harness_check(status == HUNZE_OK && outputs_are(&good[kind], &answers[kind]), "the good call after it: %s",
                  hunze_status_name(status));
}

/* What the call's own function refuses, a plan refuses too. */
static inline void expect_no_plan(example *broken, hunze_status wanted, const char *name)
{
    hunze_plan *plan = NULL;
    if (broken->spec->op == HUNZE_OP_PACK)
        return;
    expect_status(hunze_plan_create(context, &broken->call, &plan), wanted, name);
    harness_check(!plan, "a plan came out");
}

#endif
