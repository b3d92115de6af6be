/* SPDX-License-Identifier: Apache-2.0 */
/* An allocator that counts, checks what it is given back, and fails on demand; and a count of the C library's allocations of this thread.
 * For one program that includes it once. */
#ifndef HUNZE_TESTS_ALLOCATIONS_H
#define HUNZE_TESTS_ALLOCATIONS_H

#include "example.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct allocations {
    atomic_int calls, live, wrong; /* wrong: freed with another size, or not aligned */
    atomic_int fail_at;            /* the call that gets NULL, from 1; 0: none */
    atomic_size_t live_bytes, most_bytes;
    void (*watch)(const void *memory, size_t bytes); /* sees memory before it goes */
    hunze_allocator hooks;
} allocations;

/* In front of each block. */
typedef struct block_head {
    void *from;
    size_t bytes, alignment;
} block_head;

static void *counted_alloc(void *user, size_t bytes, size_t alignment)
{
    allocations *a = user;
    if (atomic_fetch_add(&a->calls, 1) + 1 == a->fail_at)
        return NULL;
    char *from = malloc(sizeof(block_head) + alignment + bytes);
    char *memory = from + sizeof(block_head);
    memory += (alignment - (uintptr_t)memory % alignment) % alignment;
    memcpy(memory - sizeof(block_head), &(block_head){from, bytes, alignment}, sizeof(block_head));
    memset(memory, 0x5a, bytes);
    atomic_fetch_add(&a->live, 1);
    const size_t now = atomic_fetch_add(&a->live_bytes, bytes) + bytes;
    if (now > a->most_bytes)
        a->most_bytes = now;
    return memory;
}

static void counted_free(void *user, void *memory, size_t bytes)
{
    allocations *a = user;
    block_head head;
    memcpy(&head, (char *)memory - sizeof head, sizeof head);
    if (head.bytes != bytes || (uintptr_t)memory % head.alignment)
        atomic_fetch_add(&a->wrong, 1);
    if (a->watch)
        a->watch(memory, bytes);
    atomic_fetch_sub(&a->live, 1);
    atomic_fetch_sub(&a->live_bytes, bytes);
    free(head.from);
}

/* A context with its own counting allocator; NULL where that failed as it was told to. */
static inline hunze_context *counted_context(allocations *a, hunze_context_options options)
{
    hunze_context *context = NULL;
    a->hooks = (hunze_allocator){sizeof a->hooks, 0, counted_alloc, counted_free, a};
    options.struct_size = sizeof options;
    options.flags |= HUNZE_IGNORE_ENVIRONMENT;
    options.allocator = &a->hooks;
    const hunze_status status = hunze_context_create(&options, &context);
    harness_check(status == (context ? HUNZE_OK : HUNZE_ERR_NOMEM), "%s", hunze_status_name(status));
    return context;
}

/* ------------------------------------------------------------------ the C library's: these definitions take the place of its own */

static _Thread_local int library_allocations __attribute__((unused));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { SEES_LIBRARY_ALLOCATIONS = 1 };
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_memalign(size_t, size_t);

void *malloc(size_t bytes)
{
    library_allocations++;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    library_allocations++;
    return __libc_calloc(count, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    library_allocations++;
    return __libc_memalign(alignment, bytes);
}
#else
enum { SEES_LIBRARY_ALLOCATIONS = 0 };
#endif

#endif
