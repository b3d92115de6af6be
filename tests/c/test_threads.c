/* SPDX-License-Identifier: Apache-2.0 */
/* Threads through the public API: the context's pool and the caller's parallel_for give the bits of one thread; contexts and plans are
 * shared by threads; a pool ends with its context; a child of fork() computes. */
#include "example.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int32_t thread_counts[] = {1, 2, 3, 7};
enum { COUNTS = sizeof thread_counts / sizeof thread_counts[0] };

static hunze_context *shared;
static example examples[EXAMPLES];
static answer answers[EXAMPLES];

static void *nothing(void *argument) { return argument; }

static int make_examples(void **state)
{
    (void)state;
    pthread_t first; /* a sanitizer starts a thread of its own with the first one */
    if (pthread_create(&first, NULL, nothing, NULL) || pthread_join(first, NULL))
        return 1;
    shared = make_all("threads", LARGE, examples, answers);
    return 0;
}

static int drop_examples(void **state)
{
    (void)state;
    return drop_all(shared, examples, answers);
}

/* Threads of this process: what a pool adds and gives back. */
static int process_threads(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *task; (task = readdir(tasks));)
        count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* A thread that was joined may stand in /proc for a moment more. */
static bool process_threads_become(int wanted)
{
    const struct timespec moment = {0, 1000000};
    for (int turn = 0; turn < 5000 && process_threads() != wanted; turn++)
        nanosleep(&moment, NULL);
    return process_threads() == wanted;
}

/* Once those that were joined are gone. */
static int settled_threads(void)
{
    const struct timespec pause = {0, 20000000};
    int before = process_threads(), now;
    while (nanosleep(&pause, NULL), (now = process_threads()) != before)
        before = now;
    return now;
}

static uint32_t traced_threads;

static void note_threads(void *user, const hunze_trace_record *record)
{
    (void)user;
    traced_threads = record->threads;
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    const hunze_context_options options = {
        .struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT, .trace = note_threads};
    hunze_context *context = open_context(&options);
    const int before = settled_threads();
    for (int i = 0; i < COUNTS; i++)
        for (int kind = 0; kind < EXAMPLES; kind++) {
            example *e = &examples[kind];
            const hunze_run run = {.struct_size = sizeof run, .threads = thread_counts[i]};
            harness_case("%s, %d threads", e->spec->name, run.threads);
            poison_output(e);
            traced_threads = 0;
            const hunze_status status = run_example(context, e, &run);
            harness_check(status == HUNZE_OK, "%s", hunze_last_error());
            harness_check(outputs_are(e, &answers[kind]), "other bits than with one thread");
            if (e->spec->op != HUNZE_OP_PACK) /* packing is not traced */
                harness_check(traced_threads == (uint32_t)run.threads, "the example is too small: %u threads took part",
                              traced_threads);
            harness_check(process_threads() <= before + run.threads - 1, "more workers were started than asked for");
        }
    harness_check(process_threads() == before + thread_counts[COUNTS - 1] - 1, "the pool has %d workers",
                  process_threads() - before);
    hunze_context_release(context);
    harness_check(process_threads_become(before), "workers outlive their context");
}

/* ------------------------------------------------------------------ the caller's parallel_for */

typedef struct caller {
    int64_t tasks; /* given out by the last call */
    example *inner;
    const answer *inner_answer;
    atomic_int wrong;
} caller;

static void serially(void *user, int64_t count, void (*task)(void *, int64_t), void *task_user)
{
    ((caller *)user)->tasks = count;
    harness_serially(NULL, count, task, task_user);
}

static void reversed(void *user, int64_t count, void (*task)(void *, int64_t), void *task_user)
{
    ((caller *)user)->tasks = count;
    harness_reversed(NULL, count, task, task_user);
}

typedef struct one_task {
    pthread_t thread;
    void (*task)(void *, int64_t);
    void *task_user;
    int64_t index;
} one_task;

static void *do_task(void *argument)
{
    const one_task *one = argument;
    one->task(one->task_user, one->index);
    return NULL;
}

static void on_fresh_threads(void *user, int64_t count, void (*task)(void *, int64_t), void *task_user)
{
    one_task all[64];
    assert_true(count <= 64);
    ((caller *)user)->tasks = count;
    for (int64_t i = 0; i < count; i++) {
        all[i] = (one_task){.task = task, .task_user = task_user, .index = i};
        assert_int_equal(pthread_create(&all[i].thread, NULL, do_task, &all[i]), 0);
    }
    for (int64_t i = 0; i < count; i++)
        pthread_join(all[i].thread, NULL);
}

/* Before each task another call on the same context and its pool. */
static void with_calls_inside(void *user, int64_t count, void (*task)(void *, int64_t), void *task_user)
{
    caller *c = user;
    c->tasks = count;
    for (int64_t i = 0; i < count; i++) {
        const hunze_run run = {.struct_size = sizeof run, .threads = 3};
        poison_output(c->inner);
        if (run_example(shared, c->inner, &run) || !outputs_are(c->inner, c->inner_answer))
            atomic_fetch_add(&c->wrong, 1);
        task(task_user, i);
    }
}

static void the_callers_parallel_for_gives_the_same_bits(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*parallel_for)(void *, int64_t, void (*)(void *, int64_t), void *);
    } ways[] = {{"serially", serially},
                {"reversed", reversed},
                {"on fresh threads", on_fresh_threads},
                {"with calls inside", with_calls_inside}};
    example inner;
    make_example(&inner, 0, LARGE, shared);
    answer inner_answer = answer_of(&inner, shared);
    hunze_context *context = open_context(NULL);
    for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++)
        for (int kind = 0; kind < EXAMPLES; kind++) {
            example *e = &examples[kind];
            caller c = {.inner = &inner, .inner_answer = &inner_answer};
            const hunze_run run = {
                .struct_size = sizeof run, .threads = 7, .parallel_for = ways[way].parallel_for, .parallel_user = &c};
            harness_case("%s, %s", e->spec->name, ways[way].name);
            poison_output(e);
            const hunze_status status =
                run_example(ways[way].parallel_for == with_calls_inside ? shared : context, e, &run);
            harness_check(status == HUNZE_OK, "%s", hunze_last_error());
            harness_check(outputs_are(e, &answers[kind]), "other bits than with one thread");
            harness_check(c.tasks > 1 && c.tasks <= 7, "%lld tasks were given out", (long long)c.tasks);
            harness_check(!c.wrong, "%d calls inside went wrong", c.wrong);
        }
    const int before = settled_threads();
    hunze_context_release(context);
    harness_check(process_threads() == before, "a context whose calls bring their own threads started some");
    drop_example(&inner);
    drop_answer(&inner_answer);
}

typedef struct canceller {
    pthread_t caller;
    atomic_int polls, elsewhere;
} canceller;

static int stop(void *user)
{
    canceller *c = user;
    atomic_fetch_add(&c->polls, 1);
    if (!pthread_equal(c->caller, pthread_self()))
        atomic_fetch_add(&c->elsewhere, 1);
    return 1;
}

/* Where the workers have done all before the calling thread comes to it, it is not asked, and the call is whole. */
static void cancelling_is_asked_of_the_calling_thread_only(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLES; kind++) {
        example *e = &examples[kind];
        if (e->spec->op == HUNZE_OP_PACK)
            continue;
        int cancelled = 0;
        for (int turn = 0; turn < 1000 && !cancelled; turn++) {
            canceller c = {.caller = pthread_self()};
            const hunze_run run = {.struct_size = sizeof run, .threads = 3, .cancel = stop, .cancel_user = &c};
            harness_case("%s, turn %d", e->spec->name, turn);
            poison_output(e);
            const hunze_status status = run_example(shared, e, &run);
            cancelled = c.polls > 0;
            harness_check(c.elsewhere == 0, "another thread was asked");
            harness_check(status == (cancelled ? HUNZE_ERR_CANCELLED : HUNZE_OK), "asked %d times: %s", c.polls,
                          hunze_status_name(status));
            harness_check(cancelled || outputs_are(e, &answers[kind]), "not asked, and other bits");
        }
        harness_check(cancelled, "never asked");
    }
}

/* ------------------------------------------------------------------ contexts and plans shared by threads */

enum { CALLERS = 4 };
typedef struct user {
    pthread_t thread;
    hunze_context *context; /* NULL: makes its own */
    hunze_plan *const *plans;
    int rounds, wrong;
    int32_t threads;
    int size;
} user;

/* Every example in this thread's own memory, by call or by plan. */
static void *use(void *argument)
{
    user *u = argument;
    const hunze_context_options options = {.struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT};
    hunze_context *context = u->context;
    if (!context && hunze_context_create(&options, &context)) {
        u->wrong = -1;
        return NULL;
    }
    for (int kind = 0; kind < EXAMPLES; kind++) {
        example e;
        make_example(&e, kind, u->size, context);
        const hunze_run one = {.struct_size = sizeof one, .threads = 1},
                        several = {.struct_size = sizeof several, .threads = u->threads};
        u->wrong += run_example(context, &e, &one) != HUNZE_OK;
        answer expected = copy_outputs(&e);
        if (u->size == LARGE)
            u->wrong += !outputs_are(&e, &answers[kind]);
        for (int round = 0; round < u->rounds; round++) {
            poison_output(&e);
            u->wrong += (u->plans && u->plans[kind] ? hunze_plan_run(u->plans[kind], &e.call, &several)
                                                    : run_example(context, &e, &several)) != HUNZE_OK;
            u->wrong += !outputs_are(&e, &expected);
        }
        drop_answer(&expected);
        drop_example(&e);
    }
    if (!u->context)
        hunze_context_release(context);
    return NULL;
}

static void use_from_threads(hunze_context *context, hunze_plan *const *plans, int size, int rounds)
{
    user users[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        users[i] = (user){.context = context, .plans = plans, .rounds = rounds, .threads = 1 + i % 3, .size = size};
        assert_int_equal(pthread_create(&users[i].thread, NULL, use, &users[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(users[i].thread, NULL);
        harness_check(users[i].wrong == 0, "thread %d: %d calls went wrong", i, users[i].wrong);
    }
}

static void contexts_of_their_own_in_several_threads(void **state)
{
    (void)state;
    harness_case("large");
    use_from_threads(NULL, NULL, LARGE, 1);
}

static void one_context_in_several_threads(void **state)
{
    (void)state;
    harness_case("large");
    use_from_threads(shared, NULL, LARGE, 2);
    /* A cache for fewer plans than there are examples: they replace each other's plans while those run. */
    const hunze_context_options options = {
        .struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT, .plan_cache = 4};
    hunze_context *context = open_context(&options);
    harness_case("small, four plans kept");
    for (int turn = 0; turn < 20; turn++)
        use_from_threads(context, NULL, SMALL, 5);
    hunze_context_release(context);
}

static void one_plan_in_several_threads(void **state)
{
    (void)state;
    hunze_plan *plans[EXAMPLES] = {NULL};
    for (int kind = 0; kind < EXAMPLES; kind++)
        if (specs[kind].op != HUNZE_OP_PACK)
            assert_int_equal(hunze_plan_create(shared, &examples[kind].call, &plans[kind]), HUNZE_OK);
    harness_case("plans");
    use_from_threads(shared, plans, LARGE, 2);
    for (int kind = 0; kind < EXAMPLES; kind++)
        hunze_plan_release(plans[kind]);
}

/* ------------------------------------------------------------------ the end of a pool, and fork */

/* Released at once after work, and when its workers have long been asleep. */
static void a_pool_ends_with_its_context(void **state)
{
    (void)state;
    const int before = settled_threads();
    for (int turn = 0; turn < 6; turn++) {
        hunze_context *context = open_context(NULL);
        const hunze_run run = {.struct_size = sizeof run, .threads = 4};
        hunze_plan *plan = NULL;
        harness_case("turn %d", turn);
        assert_int_equal(hunze_plan_create(context, &examples[0].call, &plan), HUNZE_OK);
        harness_check(process_threads() == before, "a thread started before work needed one");
        hunze_context_release(context); /* the plan keeps it */
        poison_output(&examples[0]);
        assert_int_equal(hunze_plan_run(plan, &examples[0].call, &run), HUNZE_OK);
        harness_check(outputs_are(&examples[0], &answers[0]), "other bits");
        harness_check(process_threads() == before + 3, "%d workers", process_threads() - before);
        const struct timespec pause = {0, turn % 2 * 20000000};
        nanosleep(&pause, NULL);
        hunze_plan_release(plan);
        harness_check(process_threads_become(before), "workers outlive their context");
    }
}

/* ThreadSanitizer knows no threads in a child of a process with threads. */
static void skip_if_fork_is_not_watched(void)
{
#if defined(__SANITIZE_THREAD__)
    print_message("not run here: fork under ThreadSanitizer\n");
    skip();
#endif
}

/* In the child: the parent's workers are not there, and it starts its own. */
static int compute_in_child(hunze_context *context)
{
    int wrong = 0;
    for (int kind = 0; kind < EXAMPLES; kind++) {
        const hunze_run run = {.struct_size = sizeof run, .threads = 3};
        poison_output(&examples[kind]);
        wrong += run_example(context, &examples[kind], &run) != HUNZE_OK;
        wrong += !outputs_are(&examples[kind], &answers[kind]);
    }
    wrong += process_threads() < 3;
    hunze_context_release(context);
    return wrong;
}

static void check_child(pid_t child)
{
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    harness_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %s %d",
                  WIFEXITED(status) ? "status" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static void a_child_computes_after_fork(void **state)
{
    (void)state;
    skip_if_fork_is_not_watched();
    hunze_context *context = open_context(NULL);
    for (int used = 0; used < 2; used++) {
        const hunze_run run = {.struct_size = sizeof run, .threads = 4};
        harness_case(used ? "after use" : "before use");
        if (used)
            assert_int_equal(run_example(context, &examples[0], &run), HUNZE_OK);
        const pid_t child = fork();
        if (child == 0) {
            alarm(60);
            _exit(compute_in_child(context));
        }
        check_child(child);
        poison_output(&examples[0]);
        assert_int_equal(run_example(context, &examples[0], &run), HUNZE_OK);
        harness_check(outputs_are(&examples[0], &answers[0]), "other bits in the parent");
    }
    hunze_context_release(context);
}

static pid_t forked;

static int fork_once(void *user)
{
    if (!(*(int *)user)++)
        forked = fork();
    return 0;
}

/* The calling thread forks while workers are at it: the child's call is whole or says that it is not, and the next one works. */
static void fork_in_the_middle_of_a_call(void **state)
{
    (void)state;
    skip_if_fork_is_not_watched();
    int children = 0;
    for (int turn = 0; turn < 1000 && children < 8; turn++) {
        hunze_context *context = open_context(NULL);
        int polls = 0;
        const hunze_run run = {.struct_size = sizeof run, .threads = 4, .cancel = fork_once, .cancel_user = &polls};
        harness_case("turn %d", turn);
        forked = -1;
        poison_output(&examples[0]);
        const hunze_status status = run_example(context, &examples[0], &run);
        const bool same = outputs_are(&examples[0], &answers[0]);
        if (forked == 0) {
            alarm(60);
            if (status == HUNZE_OK ? !same : status != HUNZE_ERR_SYSTEM)
                _exit(100);
            _exit(compute_in_child(context));
        }
        if (forked > 0) { /* else the workers were done before the calling thread came to it */
            check_child(forked);
            children++;
        }
        harness_check(status == HUNZE_OK && same, "the parent's call: %s", hunze_status_name(status));
        hunze_context_release(context);
    }
    harness_check(children == 8, "the calling thread was asked %d times", children);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(the_callers_parallel_for_gives_the_same_bits),
        cmocka_unit_test(cancelling_is_asked_of_the_calling_thread_only),
        cmocka_unit_test(contexts_of_their_own_in_several_threads),
        cmocka_unit_test(one_context_in_several_threads),
        cmocka_unit_test(one_plan_in_several_threads),
        cmocka_unit_test(a_pool_ends_with_its_context),
        cmocka_unit_test(a_child_computes_after_fork),
        cmocka_unit_test(fork_in_the_middle_of_a_call),
    };
    return cmocka_run_group_tests_name("threads", tests, make_examples, drop_examples);
}
