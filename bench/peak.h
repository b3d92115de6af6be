/* SPDX-License-Identifier: Apache-2.0 */
/* The ceiling that kernels are judged against, measured in the same run: multiply-add instructions on registers alone. */
#ifndef HUNZE_BENCH_PEAK_H
#define HUNZE_BENCH_PEAK_H

#include <stdint.h>

/* Operations (multiplications and additions) per CPU second of one thread, the median over chunks of about a millisecond that
 * fill `seconds`.
 *   isa   "avx2", "avxvnni", "avx512", "avx512vnni"
 *   type  "f32", "f64"; "u8s8": vpdpbusd (avxvnni, avx512vnni) or vpmaddwd and vpaddd on widened bytes (avx2, avx512)
 * 0 where this CPU lacks the instructions or the pair means nothing. */
double hunze_peak_flops(const char *isa, const char *type, double seconds);

double hunze_bench_seconds(void);        /* on the wall */
double hunze_bench_thread_seconds(void); /* that this thread had the CPU: other programs' time slices do not count */
double hunze_bench_median(double *values, int count); /* sorts them */

#endif
