# The CUDA backend without a GPU: kernels compiled for the CPU over an emulator, and a libcuda.so.1 that runs them (tests/cuda/driver).
enable_language(CXX)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_EXTENSIONS ON)
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
if(HUNZE_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELEASE "-O1")
endif()

# One fma is one instruction where the CPU that builds has it, else libm's function.
include(CheckCXXSourceRuns)
check_cxx_source_runs("int main() { return __builtin_cpu_supports(\"fma\") ? 0 : 1; }" HUNZE_FMA_RUNS)
add_library(hunze_emulated INTERFACE)
target_include_directories(hunze_emulated INTERFACE cuda src include tests/cuda/emulator)
target_compile_definitions(hunze_emulated INTERFACE HUNZE_CUDA_EMULATED)
# Kernels read registers and memory as whatever type they like, as the GPU's compiler lets them.
target_compile_options(hunze_emulated INTERFACE -fvisibility=hidden -fno-strict-aliasing
  -Wno-unknown-pragmas $<$<BOOL:${HUNZE_FMA_RUNS}>:-mfma>)

add_library(hunze_emulator OBJECT
  tests/cuda/emulator/barriers.cpp
  tests/cuda/emulator/block.cpp
  tests/cuda/emulator/fiber.cpp
  tests/cuda/emulator/ghost.cpp
  tests/cuda/emulator/memory.cpp
  tests/cuda/emulator/registry.cpp
  tests/cuda/emulator/tensor_copies.cpp
  tests/cuda/emulator/warp.cpp
  tests/cuda/emulator/wgmma.cpp
)
target_link_libraries(hunze_emulator PUBLIC hunze_emulated)

# An object library of kernels for the emulator.
function(hunze_emulated_kernels target)
  add_library(${target} OBJECT ${ARGN})
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
  target_link_libraries(${target} PUBLIC hunze_emulated)
endfunction()

list(TRANSFORM HUNZE_CUDA_FILES REPLACE "(.+)" "cuda/\\1.cu" OUTPUT_VARIABLE kernels)
if(kernels)
  hunze_emulated_kernels(hunze_kernels_emulated ${kernels})
endif()

# libcuda.so.1 in a folder of its own, for LD_LIBRARY_PATH.  hunze_standin(target folder kernels…): one that runs those kernels.
add_library(hunze_standin_objects OBJECT
  tests/cuda/driver/calls.cpp
  tests/cuda/driver/capture.cpp
  tests/cuda/driver/contexts.cpp
  tests/cuda/driver/copies.cpp
  tests/cuda/driver/entry_points.cpp
  tests/cuda/driver/green.cpp
  tests/cuda/driver/kernels.cpp
  tests/cuda/driver/memory.cpp
  tests/cuda/driver/streams.cpp
  tests/cuda/driver/tensor_maps.cpp
)
target_include_directories(hunze_standin_objects SYSTEM PUBLIC ${HUNZE_CUDA_INCLUDE})
target_compile_options(hunze_standin_objects PRIVATE -fvisibility=hidden)
function(hunze_standin target folder)
  add_library(${target} SHARED)
  target_link_libraries(${target} PRIVATE hunze_standin_objects hunze_emulator ${ARGN} Threads::Threads)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME cuda SOVERSION 1 LIBRARY_OUTPUT_DIRECTORY ${folder})
endfunction()
set(HUNZE_STANDIN_FOLDER ${CMAKE_BINARY_DIR}/standin)
hunze_standin(hunze_standin ${HUNZE_STANDIN_FOLDER} $<TARGET_NAME_IF_EXISTS:hunze_kernels_emulated>)

hunze_emulated_kernels(test_emulator_kernels tests/cuda/test_emulator_kernels.cu)
hunze_emulated_kernels(test_emulator_sm90a_kernels tests/cuda/test_emulator_sm90a.cu)
foreach(name test_emulator test_emulator_sm90a)
  add_executable(${name} tests/cuda/${name}.cpp)
  target_link_libraries(${name} PRIVATE ${name}_kernels hunze_emulator cmocka)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS fast TIMEOUT 120)
endforeach()

hunze_standin(test_standin_driver ${CMAKE_BINARY_DIR}/test_standin_driver test_emulator_kernels)
add_library(hunze_standin_case STATIC tests/cuda/standin_case.cpp)
target_include_directories(hunze_standin_case SYSTEM PUBLIC ${HUNZE_CUDA_INCLUDE})
target_link_libraries(hunze_standin_case PUBLIC cmocka ${CMAKE_DL_LIBS})
foreach(name test_standin test_standin_streams)
  add_executable(${name} tests/cuda/${name}.cpp)
  target_link_libraries(${name} PRIVATE hunze_standin_case)
  add_dependencies(${name} test_standin_driver)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS fast TIMEOUT 120 ENVIRONMENT "LD_LIBRARY_PATH=${CMAKE_BINARY_DIR}/test_standin_driver")
endforeach()

# The runtime, on the stand-in with the library's own kernels.
add_library(hunze_cuda_test STATIC tests/cuda/cuda_test.c)
target_include_directories(hunze_cuda_test PUBLIC tests/c tests/cuda)
target_include_directories(hunze_cuda_test SYSTEM PUBLIC ${HUNZE_CUDA_INCLUDE})
target_link_libraries(hunze_cuda_test PUBLIC hunze_test cmocka ${CMAKE_DL_LIBS})
foreach(name test_cuda_capture test_cuda_copy test_cuda_driver test_cuda_errors test_cuda_failures test_cuda_memory test_cuda_meter)
  add_executable(${name} tests/cuda/${name}.c)
  target_link_libraries(${name} PRIVATE hunze_cuda_test)
  add_dependencies(${name} hunze_standin)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS fast TIMEOUT 120 ENVIRONMENT "LD_LIBRARY_PATH=${HUNZE_STANDIN_FOLDER}")
endforeach()

# Kernels on the stand-in's device against the CPU's rows.
add_library(hunze_device_case STATIC tests/cuda/device_case.c)
target_link_libraries(hunze_device_case PUBLIC hunze_harness hunze_cuda_test)
set(HUNZE_DEVICE_TESTS test_cuda_activation test_cuda_conv test_cuda_edges test_cuda_far test_cuda_flagship test_cuda_gemm test_cuda_half test_cuda_integer test_cuda_packed test_cuda_quantize)
foreach(name IN LISTS HUNZE_DEVICE_TESTS)
  add_executable(${name} tests/cuda/${name}.c)
  target_link_libraries(${name} PRIVATE hunze_device_case m)
  add_dependencies(${name} hunze_standin)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS fast TIMEOUT 300 ENVIRONMENT "LD_LIBRARY_PATH=${HUNZE_STANDIN_FOLDER}")
endforeach()

# Each barrier, wait, fence and bound, broken: by gcc's build alone, for the time it takes.  First those of test kernels; then what is told of a
# test that notices nothing; then the library's kernels.
set(mutants python3 ${CMAKE_SOURCE_DIR}/tests/cuda/mutants.py)
set(emulator $<TARGET_FILE:test_emulator>)
set(sm90a $<TARGET_FILE:test_emulator_sm90a>)
add_test(NAME mutants_are_found COMMAND ${mutants} "${emulator} test_pipeline" "${emulator} test_reverse" "${sm90a} test_tiles_bf16_km"
  "${sm90a} test_stored" "${sm90a} test_reuse" "${sm90a} test_box" "${sm90a} test_exchange")
add_test(NAME living_mutants_are_told COMMAND ${mutants} --only INSIDE "sh -c '${emulator} test_pipeline; true'")
set_tests_properties(mutants_are_found living_mutants_are_told PROPERTIES LABELS fast TIMEOUT 120 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(living_mutants_are_told PROPERTIES PASS_REGULAR_EXPRESSION "1 places, 2 mutants: 0 die, 2 live")
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  set(programs)
  foreach(name IN LISTS HUNZE_DEVICE_TESTS ITEMS test_cuda_copy)
    list(APPEND programs --tests $<TARGET_FILE:${name}>)
  endforeach()
  add_test(NAME mutants COMMAND ${mutants} --listed ${CMAKE_SOURCE_DIR}/tests/cuda/mutants.json ${programs})
  set_tests_properties(mutants PROPERTIES LABELS fast TIMEOUT 900 PROCESSORS 2 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    ENVIRONMENT "LD_LIBRARY_PATH=${HUNZE_STANDIN_FOLDER}")
endif()
