/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_test.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

const hunze_device cpu = {HUNZE_DEVICE_CPU, 0}, cuda0 = {HUNZE_DEVICE_CUDA, 0}, cuda1 = {HUNZE_DEVICE_CUDA, 1},
                   pinned = {HUNZE_DEVICE_CUDA_HOST, 0};

enum { NOT_HERE = 77 }; /* exit status of a case that needs the stand-in */

/* ------------------------------------------------------------------ cases */

void cuda_test_fail(const char *file, int line, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, list);
    fprintf(stderr, "\n");
    va_end(list);
    _exit(1);
}

/* Numbers of multiprocessors are a device's own: they only choose among tiles. */
static void check_machine(const cuda_case *c)
{
    if (c->machine && strncmp(c->machine, "sms=", 4) != 0)
        standin_only(c->machine);
    if (c->failures)
        standin_only(c->failures);
}

static void run_in_child(void **state)
{
    const cuda_case *c = *state;
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("HUNZE_FAKE_CUDA", c->machine ? c->machine : "", 1);
        setenv("HUNZE_FAKE_CUDA_FAIL", c->failures ? c->failures : "", 1);
        check_machine(c);
        c->run();
        exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE)
        skip();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s ended with %s %d", c->name, WIFEXITED(status) ? "status" : "signal",
                 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

int cuda_test_main(int argc, char **argv, const cuda_case *cases, int count)
{
    struct CMUnitTest *tests = calloc((size_t)count, sizeof *tests);
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (argc < 2 || strstr(cases[i].name, argv[1]))
            tests[kept++] = (struct CMUnitTest){cases[i].name, run_in_child, NULL, NULL, (void *)&cases[i]};
    const int failed = _cmocka_run_group_tests("cuda", tests, (size_t)kept, NULL, NULL);
    free(tests);
    return failed;
}

void expect_status(const char *file, int line, const char *what, hunze_status got, hunze_status wanted, ...)
{
    if (got != wanted)
        cuda_test_fail(file, line, "%s: %s (%s), not %s", what, hunze_status_name(got), got ? hunze_last_error() : "",
                       hunze_status_name(wanted));
    va_list words;
    va_start(words, wanted);
    for (const char *word; (word = va_arg(words, const char *)) != NULL;)
        if (!strstr(hunze_last_error(), word))
            cuda_test_fail(file, line, "%s: \"%s\" does not say \"%s\"", what, hunze_last_error(), word);
    va_end(words);
}

/* ------------------------------------------------------------------ the stand-in */

static void *driver_symbol(const char *name)
{
    static void *library;
    if (!library)
        library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    check(library, "%s", dlerror());
    return dlsym(library, name);
}

bool on_standin(void) { return driver_symbol("hunze_standin_calls") != NULL; }

void end_here(const char *why)
{
    printf("not run here from this point on, for %s\n", why);
    fflush(NULL);
    _exit(NOT_HERE);
}

void standin_only(const char *what)
{
    char why[160];
    if (on_standin())
        return;
    snprintf(why, sizeof why, "a real driver has no %s", what);
    end_here(why);
}

void *standin_symbol(const char *name)
{
    standin_only(name);
    void *found = driver_symbol(name);
    check(found, "no %s", name);
    return found;
}

void standin_failures(const char *failures)
{
    ((__typeof__(&hunze_standin_fail))standin_symbol("hunze_standin_fail"))(failures);
}

uint64_t standin_count(const char *function)
{
    return on_standin() ? ((__typeof__(&hunze_standin_calls))standin_symbol("hunze_standin_calls"))(function) : 0;
}

int standin_depth(void)
{
    return on_standin() ? ((__typeof__(&hunze_standin_contexts))standin_symbol("hunze_standin_contexts"))() : 0;
}

void *driver_function(const char *name, int version)
{
    void *found = NULL;
    const PFN_cuGetProcAddress_v12000 find = (PFN_cuGetProcAddress_v12000)driver_symbol("cuGetProcAddress_v2");
    check(find(name, &found, version, CU_GET_PROC_ADDRESS_LEGACY_STREAM, NULL) == CUDA_SUCCESS, "%s", name);
    return found;
}

size_t free_bytes(void)
{
    size_t free = 0, total = 0;
    DRIVER_OK(DRIVER(cuMemGetInfo, 3020)(&free, &total));
    return free;
}

/* ------------------------------------------------------------------ operands */

const hunze_tensor *view(array *a, hunze_device device, hunze_dtype dtype, void *data, int ndim, const int64_t *shape,
                         const int64_t *strides)
{
    for (int i = 0; i < ndim; i++) {
        a->shape[i] = shape[i];
        a->strides[i] = strides ? strides[i] : 0;
    }
    a->tensor = (hunze_tensor){data, device, ndim, dtype, a->shape, strides ? a->strides : NULL, 0};
    return &a->tensor;
}

const hunze_tensor *floats(array *a, hunze_device device, void *data, int64_t n)
{
    return view(a, device, (hunze_dtype){HUNZE_FLOAT, 32, 1}, data, 1, &n, NULL);
}

hunze_context *new_context(const hunze_context_options *options)
{
    hunze_context *context = NULL;
    OK(hunze_context_create(options, &context));
    return context;
}

void *to_gpu(hunze_context *context, hunze_device device, void *stream, const float *values, int64_t n)
{
    array from, to;
    void *pointer = NULL;
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    OK(hunze_memory_alloc(context, device, (size_t)n * sizeof(float), stream, &pointer));
    OK(hunze_copy(context, floats(&from, cpu, (void *)values, n), floats(&to, device, pointer, n), &run));
    return pointer;
}

void from_gpu(hunze_context *context, hunze_device device, void *stream, void *pointer, float *values, int64_t n)
{
    array from, to;
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    OK(hunze_copy(context, floats(&from, device, pointer, n), floats(&to, cpu, values, n), &run));
}

hunze_status relu(hunze_context *context, hunze_device device, void *x, void *y, int64_t n, void *stream)
{
    array from, to;
    const hunze_activation activation = {.struct_size = sizeof activation, .kind = HUNZE_ACT_RELU};
    const hunze_activation_options options = {.struct_size = sizeof options, .activation = &activation};
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    return hunze_activate(context, floats(&from, device, x, n), floats(&to, device, y, n), &options, &run);
}
