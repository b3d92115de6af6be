/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

extern const bench_peer bench_peer_hunze, bench_peer_openblas, bench_peer_blis, bench_peer_mkl, bench_peer_onednn;

const bench_peer *const bench_peers[] = {
    &bench_peer_hunze, &bench_peer_openblas, &bench_peer_blis, &bench_peer_mkl, &bench_peer_onednn, NULL,
};
