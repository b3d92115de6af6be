/* SPDX-License-Identifier: Apache-2.0 */
/* y = act(x), elementwise, by the activation of the fused epilogue.  The including file says HUNZE_FLOAT_BITS. */
#ifndef HUNZE_ACTIVATION_FLOAT_CUH
#define HUNZE_ACTIVATION_FLOAT_CUH

#include "arguments_float.h"
#include "runs.cuh"
#include "vocabulary.cuh"
#include "../src/simd/float_type.h"
#include "../src/simd/activation.h"

/* As many elements as an access may have. */
enum { ACTIVATION_TOGETHER = 16 / sizeof(scalar) };
struct alignas(16) activation_vector {
    scalar at[ACTIVATION_TOGETHER];
};

HUNZE_INLINE scalar activation_of(const hunze_cuda_activation &p, const vf_activation &act, scalar x)
{
    const scalar y = vf_activate(&act, x);
    return p.canonical_nan ? vf_canonical_nan(y) : y;
}

HUNZE_INLINE void activation_map(const hunze_cuda_activation &p)
{
    const hunze_cuda_runs &runs = p.runs;
    const vf_activation act = vf_activation_of((hunze_activation_kind)p.activation, p.alpha, p.beta);
    const int together = runs.fours ? ACTIVATION_TOGETHER : 1;
#pragma unroll 1
    for (int64_t index = block_x(); index < runs.chunks; index += blocks_x()) {
        int64_t offset[HUNZE_CUDA_RUNS_OPERANDS];
        const int n = runs_chunk(runs, index, offset);
        scalar *y = static_cast<scalar *>(p.y) + offset[0];
        const scalar *x = static_cast<const scalar *>(p.x) + offset[1];
#pragma unroll 1
        for (int i = thread_index() * together; i < n; i += HUNZE_CUDA_RUNS_THREADS * together) {
            if (INSIDE(runs.fours && i + ACTIVATION_TOGETHER <= n)) {
                activation_vector v = load_global(reinterpret_cast<const activation_vector *>(x + i));
#pragma unroll
                for (int j = 0; j < ACTIVATION_TOGETHER; j++)
                    v.at[j] = activation_of(p, act, v.at[j]);
                store_global(reinterpret_cast<activation_vector *>(y + i), v);
                continue;
            }
#pragma unroll 1
            for (int j = i; j < i + together; j++)
                if (INSIDE(j < n))
                    store_global(y + j * runs.step[0], activation_of(p, act, load_global(x + j * runs.step[1])));
        }
    }
}

#endif
