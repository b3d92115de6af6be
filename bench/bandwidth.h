/* SPDX-License-Identifier: Apache-2.0 */
/* What memory gives: the other ceiling, beside multiply-adds (peak.h).  Linux.  One measurement at a time in a process. */
#ifndef HUNZE_BENCH_BANDWIDTH_H
#define HUNZE_BENCH_BANDWIDTH_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes per second on the wall (of one thread: of the time that it had the CPU), the median over passes that fill `seconds` (at
 * least one), of `threads` threads together; 0: one per CPU of the affinity mask.  The calling thread is one of them.  Where there
 * is a thread for each CPU of the mask each stays on its own, else they run where the system puts them.  0 where memory or threads
 * are not to be had.
 *   read  256-bit loads, several streams per thread
 *   copy  256-bit loads and non-temporal stores, from one half of the buffer to the other; counts bytes read + bytes written
 * On a CPU without AVX2 plain C, with ordinary stores.
 * The buffer is hunze_bandwidth_bytes(threads) large, in huge pages where the system gives them, each part written first by the
 * thread that will read it.  It is kept for the next call with as many threads. */
double hunze_read_bandwidth(int threads, double seconds);
double hunze_copy_bandwidth(int threads, double seconds);

/* Bytes of the buffer for so many threads: four times the last cache, and as many of these as the threads can reach; at most a
 * quarter of the memory. */
size_t hunze_bandwidth_bytes(int threads);
/* Gives the buffer back. */
void hunze_bandwidth_release(void);

#ifdef __cplusplus
}
#endif

#endif
