/* SPDX-License-Identifier: Apache-2.0 */
/* The context's thread pool.
 *
 * Each worker has one word of state.  A caller claims idle workers one by one, posts its job to them, works through the lanes
 * itself, takes back the posts that nobody has picked up, and waits for the rest.  So callers share the workers without a lock,
 * a phase is never slower than serial by more than the posts, and no worker starts before a phase with two lanes.  After fork() the child
 * finds that the workers are another process's and starts over. */
#include "context.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A worker's state is a ticket times TICKET plus one of these; each claim takes the next ticket, so that a post is taken back by its own
 * caller only. */
enum { IDLE, CLAIMED, POSTED, RUNNING, LEAVING, TICKET = 8 };
enum { SPINS = 1000 }; /* some 20 µs: longer than the gap between two phases of a call */

typedef struct job {
    void (*body)(void *user, int32_t lane, int32_t lanes);
    void *user;
    int32_t lanes;
    _Atomic int32_t next;   /* lane to hand out */
    _Atomic uint32_t posts; /* twice the workers that hold a post, picked up or not; + 1: the caller sleeps on it */
} job;

struct hunze_worker {
    _Alignas(64) _Atomic uint32_t state;
    _Atomic uint32_t sleeping;
    job *job;
    pthread_t thread;
};

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *limit)
{
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, value, limit, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void run_lanes(job *job)
{
    for (int32_t lane; (lane = atomic_fetch_add(&job->next, 1)) < job->lanes;)
        job->body(job->user, lane, job->lanes);
}

static void *worker_main(void *argument)
{
    hunze_worker *worker = argument;
    (void)hunze_float_enter(); /* a new thread has its creator's MXCSR */
    for (;;) {
        uint32_t state = atomic_load_explicit(&worker->state, memory_order_acquire);
        for (int spin = 0; state % TICKET != POSTED && state != LEAVING && spin < SPINS; spin++) {
            pause_cpu();
            state = atomic_load_explicit(&worker->state, memory_order_acquire);
        }
        if (state % TICKET != POSTED && state != LEAVING) {
            atomic_store(&worker->sleeping, 1);
            while ((state = atomic_load(&worker->state)) % TICKET != POSTED && state != LEAVING)
                futex_wait(&worker->state, state, NULL);
            atomic_store(&worker->sleeping, 0);
        }
        if (state == LEAVING)
            return NULL;
        if (!atomic_compare_exchange_strong(&worker->state, &state, state - POSTED + RUNNING))
            continue; /* taken back */
        job *job = worker->job;
        run_lanes(job);
        atomic_store_explicit(&worker->state, state - POSTED + IDLE, memory_order_release);
        /* The job may be gone as soon as posts is 0: its address alone is used then, and a stray wake harms nobody. */
        _Atomic uint32_t *posts = &job->posts;
        if (atomic_fetch_sub(posts, 2) == 3)
            futex_wake(posts);
    }
}

static void start_workers(hunze_context *context, int32_t wanted)
{
    hunze_pool *pool = &context->pool;
    if (atomic_exchange(&pool->starting, 1))
        return;
    sigset_t all, before; /* signals are for the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int32_t count = atomic_load(&pool->count);
    for (; count < wanted && count < HUNZE_MAX_THREADS; count++) {
        hunze_worker *worker = hunze_allocate(context, sizeof *worker, _Alignof(hunze_worker));
        if (!worker)
            break;
        memset(worker, 0, sizeof *worker);
        if (pthread_create(&worker->thread, NULL, worker_main, worker)) {
            hunze_deallocate(context, worker, sizeof *worker);
            break; /* fewer threads do the same work */
        }
        pool->workers[count] = worker;
        atomic_store_explicit(&pool->count, count + 1, memory_order_release);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    atomic_store(&pool->starting, 0);
}

/* Whether the pool is this process's; a child of fork() makes it so, once. */
static bool own_pool(hunze_pool *pool, pid_t self)
{
    pid_t process = atomic_load(&pool->process);
    if (process == self)
        return true;
    if (process == 0 || !atomic_compare_exchange_strong(&pool->process, &process, 0))
        return false;
    atomic_store(&pool->count, 0);
    atomic_store(&pool->starting, 0);
    atomic_store(&pool->process, self);
    return true;
}

static void run_on_pool(hunze_exec *exec, job *job)
{
    struct {
        hunze_worker *worker;
        uint32_t state;
    } posted[HUNZE_MAX_THREADS];
    hunze_pool *pool = &exec->context->pool;
    const pid_t self = getpid();
    const int32_t wanted = job->lanes - 1 < HUNZE_MAX_THREADS ? job->lanes - 1 : HUNZE_MAX_THREADS;
    int32_t posts = 0, count = 0;
    if (own_pool(pool, self)) {
        if (atomic_load_explicit(&pool->count, memory_order_acquire) < wanted)
            start_workers(exec->context, wanted);
        count = atomic_load_explicit(&pool->count, memory_order_acquire);
    }
    for (int32_t i = 0; i < count && posts < wanted; i++) {
        hunze_worker *worker = pool->workers[i];
        uint32_t state = atomic_load_explicit(&worker->state, memory_order_relaxed);
        if (state % TICKET != IDLE || !atomic_compare_exchange_strong(&worker->state, &state, state + TICKET + CLAIMED))
            continue;
        state += TICKET + POSTED;
        worker->job = job;
        atomic_fetch_add(&job->posts, 2);
        atomic_store(&worker->state, state);
        if (atomic_load(&worker->sleeping))
            futex_wake(&worker->state);
        posted[posts].worker = worker;
        posted[posts++].state = state;
    }
    job->body(job->user, 0, job->lanes);
    run_lanes(job);
    for (int32_t i = 0; i < posts; i++) {
        uint32_t state = posted[i].state;
        if (atomic_compare_exchange_strong(&posted[i].worker->state, &state, state - POSTED + IDLE))
            atomic_fetch_sub(&job->posts, 2);
    }
    for (int spin = 0; spin < SPINS && atomic_load_explicit(&job->posts, memory_order_acquire) > 0; spin++)
        pause_cpu();
    if (atomic_load_explicit(&job->posts, memory_order_acquire) == 0)
        return;
    const struct timespec tenth = {0, 100000000};
    atomic_fetch_add(&job->posts, 1);
    for (uint32_t left; (left = atomic_load(&job->posts)) > 1;) {
        futex_wait(&job->posts, left, &tenth);
        if (getpid() != self) { /* forked in the middle of the call: the workers stayed behind */
            exec->lost = true;
            return;
        }
    }
}

typedef struct caller_job {
    void (*body)(void *user, int32_t lane, int32_t lanes);
    void *user;
    int32_t lanes;
} caller_job;

static void caller_task(void *user, int64_t lane)
{
    const caller_job *job = user;
    const hunze_float_state saved = hunze_float_enter();
    job->body(job->user, (int32_t)lane, job->lanes);
    hunze_float_leave(saved);
}

void hunze_parallel(hunze_exec *exec, int32_t lanes, void (*body)(void *user, int32_t lane, int32_t lanes), void *user)
{
    if (lanes <= 1) {
        body(user, 0, 1);
    } else if (exec->run && exec->run->parallel_for) {
        caller_job job = {body, user, lanes};
        exec->run->parallel_for(exec->run->parallel_user, lanes, caller_task, &job);
    } else {
        job job = {.body = body, .user = user, .lanes = lanes, .next = 1};
        run_on_pool(exec, &job);
    }
}

bool hunze_cancelled(hunze_exec *exec)
{
    return exec->run && exec->run->cancel && exec->caller == (uintptr_t)pthread_self() &&
           exec->run->cancel(exec->run->cancel_user) != 0;
}

bool hunze_take_item(hunze_items *items, int64_t *index)
{
    *index = __atomic_fetch_add(&items->next, 1, __ATOMIC_RELAXED);
    if (*index >= items->count)
        return false;
    if (items->exec && hunze_cancelled(items->exec))
        __atomic_store_n(&items->stopped, true, __ATOMIC_RELAXED);
    return !__atomic_load_n(&items->stopped, __ATOMIC_RELAXED);
}

void hunze_pool_create(hunze_pool *pool) { atomic_store(&pool->process, getpid()); }

void hunze_pool_destroy(hunze_pool *pool, const hunze_allocator *allocator)
{
    if (atomic_load(&pool->process) != getpid())
        return; /* the parent's workers, and the parent's memory */
    for (int32_t i = 0; i < atomic_load(&pool->count); i++) {
        hunze_worker *worker = pool->workers[i];
        for (uint32_t state;
             state = atomic_load(&worker->state),
             state % TICKET != IDLE || !atomic_compare_exchange_strong(&worker->state, &state, LEAVING);)
            sched_yield();
        futex_wake(&worker->state);
        pthread_join(worker->thread, NULL);
        allocator->free(allocator->user, worker, sizeof *worker);
    }
}
