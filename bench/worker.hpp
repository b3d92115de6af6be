/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's side of the protocol, for a library behind bench_peer. */
#pragma once

#include "peers/peer.h"

#include <string>

namespace bench
{

/* Answers requests on standard input until it ends; the exit status. */
int serve(const bench_peer &peer, const std::string &library, const std::string &environment, int threads);

} // namespace bench
