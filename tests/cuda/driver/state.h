/* SPDX-License-Identifier: Apache-2.0 */
/* What the stand-in knows.  One lock covers all of it. */
#ifndef HUNZE_STANDIN_STATE_H
#define HUNZE_STANDIN_STATE_H

#include "standin.h"

#include <cuda.h>

#include <algorithm>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

/* ------------------------------------------------------------------ work */

struct operation {
    std::function<void()> run;
    std::vector<std::shared_ptr<operation>> after;
    CUstream_st *stream;
    bool done;
};
typedef std::shared_ptr<operation> operation_ref;

/* For each stream of a capture, how much of its work is known to be before something. */
typedef std::map<CUstream_st *, size_t> captured_before;

struct capture {
    CUstream_st *origin;
    CUstreamCaptureMode mode;
    std::thread::id thread;
    bool invalid;
    std::vector<std::function<void()>> work;
    std::map<CUstream_st *, captured_before> streams;
};
typedef std::shared_ptr<capture> capture_ref;

struct CUctx_st {
    int device;
    int retained; /* of a primary one; -1: made by cuCtxCreate */
    CUresult fault;
    CUstream_st *legacy;
    std::map<std::thread::id, CUstream_st *> per_thread;
};

struct CUgreenCtx_st {
    CUctx_st *primary;
    CUdevResource multiprocessors;
};

struct CUstream_st {
    CUctx_st *context;
    bool blocking; /* waits for the legacy stream, and it for this one */
    std::deque<operation_ref> queue;
    operation_ref last;
    capture_ref captured;
    CUgreenCtx green; /* NULL: none */
};

struct CUevent_st {
    CUctx_st *context;
    bool timed;
    std::shared_ptr<double> milliseconds; /* when its operation ran */
    operation_ref last;
    capture_ref captured;
    captured_before before;
};

struct CUgraph_st {
    CUctx_st *context;
    std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
    CUctx_st *context;
    std::vector<std::function<void()>> work;
};

/* ------------------------------------------------------------------ memory */

enum memory_kind { MEMORY_DEVICE, MEMORY_POOL, MEMORY_PINNED, MEMORY_MANAGED };

struct allocation {
    uintptr_t begin;
    size_t bytes;
    memory_kind kind;
    int device;
    CUctx_st *context;
    CUmemoryPool pool;
    bool given;   /* the host may use it in calls */
    bool visible; /* to work that runs now */
    uint64_t id;
    CUstream_st *freed_on;
    operation_ref freed_by;
};

struct CUmemPoolHandle_st {
    int device;
    uint64_t threshold, used, used_high, kept, reserved_high;
};

/* ------------------------------------------------------------------ kernels */

struct CUkern_st {
    const hunze_emulator_kernel *kernel;
    CUlibrary library;
    std::map<int, int> shared_limit; /* per device */
};
struct CUlib_st {
    std::string file; /* the only one whose kernels it has; empty: any */
    std::map<std::string, CUkern_st *> kernels;
};
struct CUfunc_st {
    CUkern_st *kernel;
    CUctx_st *context;
};

/* ------------------------------------------------------------------ all */

struct machine {
    int devices = 1, capability = 90, driver = 13000, multiprocessors = 4, pools = 1, pageable = 0;
    size_t memory = (size_t)512 << 20;
};

struct standin_state {
    std::recursive_mutex lock;
    machine the_machine;
    bool described, initialized, deinitialized;
    int process; /* that called cuInit */
    CUresult deferred_fault;
    std::map<std::string, uint64_t> calls;
    uint64_t all_calls;

    std::deque<std::vector<CUctx_st *>> stacks; /* of contexts, a thread's each */
    std::set<CUctx_st *> contexts;
    std::map<int, CUctx_st *> primary;
    std::set<CUgreenCtx> green_contexts;
    std::set<CUstream_st *> streams; /* made by cuStreamCreate and alive */
    std::set<CUstream_st *> queues;  /* every stream that ever was */
    std::set<CUevent_st *> events;
    std::set<CUevent_st *> destroyed_events; /* with their context */
    std::set<capture_ref> captures;
    std::set<CUgraph_st *> graphs;
    std::set<CUgraphExec_st *> graph_execs;
    std::map<uintptr_t, allocation> allocations;
    std::set<CUmemoryPool> pools;
    std::vector<CUmemoryPool> destroyed_pools; /* what they still give out names them */
    std::set<CUlib_st *> libraries;
    std::set<CUkern_st *> kernels;
    std::set<CUfunc_st *> functions;
};
/* Lives until the process ends. */
standin_state &standin();

__attribute__((noreturn, format(printf, 1, 2))) void standin_fail(const char *format, ...);
uint32_t standin_random();

/* ------------------------------------------------------------------ a call */

enum call_rules : unsigned {
    CALL_ANY_TIME = 1, /* before cuInit, too */
    CALL_CONTEXT = 2,  /* needs a current one */
    CALL_UNSAFE = 4,   /* may wait or allocate: not while a stream is being captured */
    CALL_ENQUEUES = 8  /* gives work to a stream, so a fault comes later */
};
/* The first line of each function: counts, locks, lets some work run, finds out whether the call is refused at once. */
class call
{
  public:
    call(const char *function, unsigned rules);
    ~call();
    CUresult refused;

  private:
    std::unique_lock<std::recursive_mutex> hold;
    bool enqueues;
};
#define CALL(rules)                                                                                                    \
    call this_call(__func__, rules);                                                                                   \
    if (this_call.refused != CUDA_SUCCESS)                                                                             \
    return this_call.refused

/* NULL: none.  Of the calling thread. */
CUctx_st *current_context();
int current_device();

/* The stream behind a handle, in the current context. */
CUresult find_stream(CUstream handle, CUstream_st **stream);
CUstream_st *make_stream(CUctx_st *context, bool blocking);
CUresult enqueue(CUstream_st *stream, std::function<void()> work);
void complete(const operation_ref &op);
/* Everything that was given to the context's streams. */
void complete_all(CUctx_st *context);
void run_some();
/* What a call that may wait or allocate is told while streams are being captured; it ends those captures. */
CUresult refuse_under_capture();

/* The allocation that covers an address and that the host may use (at_call), or that work may use now; NULL: none. */
allocation *find_allocation(uintptr_t address, bool at_call);
/* Where the CPU finds a byte of it. */
char *bytes_at(const allocation &a, uintptr_t address);
bool is_device_address(uintptr_t address);
hunze_emulator_find_fn find_range; /* user: the device */
void free_memory_of(CUctx_st *context);
int shared_memory_limit();

#endif
