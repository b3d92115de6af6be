# hunze_bench (-DHUNZE_BUILD_BENCH=ON): C++, Google Benchmark, nlohmann/json.  The library itself needs none of them.
enable_language(CXX)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_FLAGS_RELEASE "-O1")
find_package(benchmark REQUIRED)
find_package(nlohmann_json REQUIRED)

# What can be tested without a clock and without other libraries.
add_library(hunze_bench_parts STATIC
  bench/gate.cpp
  bench/operands.cpp
  bench/process.cpp
  bench/reference.cpp
  bench/repro.cpp
  bench/rounds.cpp
  bench/statistics.cpp
  bench/suite.cpp
)
target_link_libraries(hunze_bench_parts PUBLIC hunze nlohmann_json::nlohmann_json)

# The machine's limits, and one file per library; hunze.cpp is this one.
add_library(hunze_bench_peers STATIC
  bench/bandwidth.c
  bench/ceilings.cpp
  bench/peak.c
  bench/peers/blis.c
  bench/peers/cblas.c
  bench/peers/hunze.cpp
  bench/peers/library.c
  bench/peers/mkl.c
  bench/peers/onednn.c
  bench/peers/openblas.c
  bench/peers/table.c
)
target_link_libraries(hunze_bench_peers PUBLIC hunze_bench_parts Threads::Threads ${CMAKE_DL_LIBS} m)

add_executable(hunze_bench
  bench/compare.cpp
  bench/main.cpp
  bench/options.cpp
  bench/session.cpp
  bench/worker.cpp
)
target_link_libraries(hunze_bench PRIVATE hunze_bench_peers benchmark::benchmark)

foreach(target hunze_bench_parts hunze_bench_peers hunze_bench)
  target_compile_definitions(${target} PRIVATE HUNZE_BENCH_FOLDER="${PROJECT_SOURCE_DIR}/bench")
  # Its header takes longer to read than all our own.
  target_precompile_headers(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:<nlohmann/json.hpp$<ANGLE-R>>)
endforeach()

if(HUNZE_BUILD_TESTS)
  foreach(name gate process reference repro rounds statistics suite)
    add_executable(test_bench_${name} tests/bench/test_${name}.cpp)
    target_link_libraries(test_bench_${name} PRIVATE hunze_bench_parts cmocka)
    target_compile_definitions(test_bench_${name} PRIVATE HUNZE_BENCH_FOLDER="${PROJECT_SOURCE_DIR}/bench")
  endforeach()
  add_executable(test_bench_c_peers tests/bench/test_c_peers.c)
  target_link_libraries(test_bench_c_peers PRIVATE hunze_bench_peers cmocka)
  add_executable(test_bench_ceilings tests/bench/test_ceilings.cpp)
  target_link_libraries(test_bench_ceilings PRIVATE hunze_bench_peers cmocka)
  foreach(name gate process reference repro rounds statistics suite c_peers ceilings)
    add_test(NAME bench_${name} COMMAND test_bench_${name})
    set_tests_properties(bench_${name} PROPERTIES LABELS fast TIMEOUT 300)
  endforeach()
endif()
