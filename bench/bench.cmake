# Benchmark programs: -DHUNZE_BUILD_BENCH=ON.  bench/peak.c also serves the CPython module.
add_executable(gemm_bench bench/gemm_bench.c bench/peak.c)
target_link_libraries(gemm_bench PRIVATE hunze)
