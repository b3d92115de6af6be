# SPDX-License-Identifier: Apache-2.0
"""The environment of a process in which other libraries are measured."""

import os

# bench/process.cpp has the same list.
_PREFIXES = ("OPENBLAS_", "GOTO_", "MKL_", "BLIS_", "ONEDNN_", "DNNL_", "MKLDNN_", "OMP_", "GOMP_", "KMP_", "NPY_",
             "ATEN_", "TORCH_", "FBGEMM_", "LRU_CACHE_", "THP_MEM_", "ORT_", "MLAS_", "GGML_")  # fmt: skip
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS")


def untuned(threads: int = 1) -> dict[str, str]:
    """This process's environment with the number of threads that libraries shall take, and without what else tunes
    them (OPENBLAS_CORETYPE and the like): a figure of theirs shall be that of their own choice."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES)}
    return {**kept, **dict.fromkeys(_THREADS, str(threads))}
