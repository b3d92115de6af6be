# hunze_bench (-DHUNZE_BUILD_BENCH=ON): C++, Google Benchmark, nlohmann/json.  The library itself needs none of them.
enable_language(CXX)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
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

file(GLOB HUNZE_BENCH_PEERS CONFIGURE_DEPENDS bench/peers/*.c bench/peers/*.cpp)
add_executable(hunze_bench
  bench/bandwidth.c
  bench/ceilings.cpp
  bench/compare.cpp
  bench/main.cpp
  bench/peak.c
  bench/session.cpp
  bench/worker.cpp
  ${HUNZE_BENCH_PEERS}
)
target_compile_definitions(hunze_bench PRIVATE HUNZE_BENCH_FOLDER="${PROJECT_SOURCE_DIR}/bench")
target_link_libraries(hunze_bench PRIVATE hunze_bench_parts benchmark::benchmark Threads::Threads ${CMAKE_DL_LIBS} m)
