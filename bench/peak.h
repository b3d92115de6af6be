/* SPDX-License-Identifier: Apache-2.0 */
/* The ceiling that kernels are judged against, measured in the same run: multiply-add instructions on registers alone. */
#ifndef HUNZE_BENCH_PEAK_H
#define HUNZE_BENCH_PEAK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Operations (multiplications and additions) per CPU second of one thread, the median over chunks of about a millisecond that
 * fill `seconds`.
 *   isa   "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"
 *   type  "f32", "f64"
 *         "u8s8": vpdpbusd (avxvnni, avx512vnni) or vpmaddwd and vpaddd on widened bytes (avx2, avx512)
 *         "u8s8_safe": vpmaddubsw, vpmaddwd and vpaddd (avx2), for weights that do not saturate it
 *         "bf16": vdpbf16ps (avx512bf16), else the f32 multiply-add of the bundle's vectors
 * 0 where this CPU lacks the instructions or the pair means nothing. */
double hunze_peak_flops(const char *isa, const char *type, double seconds);
/* The same of `threads` threads together (0: one per CPU of the affinity mask), per second on the wall: they share passes of about
 * a millisecond, the median counts. */
double hunze_peak_flops_all(const char *isa, const char *type, int threads, double seconds);

double hunze_bench_seconds(void);        /* on the wall */
double hunze_bench_thread_seconds(void); /* that this thread had the CPU: other programs' time slices do not count */
double hunze_bench_median(double *values, int count); /* sorts them */
int hunze_bench_cpus(void);                           /* of the affinity mask */

/* Runs body(user, 0) … body(user, threads - 1) at the same time, again and again until `seconds` are over: the median of a pass's
 * seconds on the wall, from the start until the last has ended (of one thread: those that it had the CPU).  begin(user) comes before
 * each pass, not timed; NULL: nothing does.  body(user, i) is on the same thread each time, 0 on the caller's.  0 where threads
 * cannot be started. */
double hunze_bench_pass_seconds(int threads, double seconds, void (*begin)(void *user),
                                void (*body)(void *user, int thread), void *user);

#ifdef __cplusplus
}
#endif

#endif
