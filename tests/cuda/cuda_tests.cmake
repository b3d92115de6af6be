# The CUDA backend without a GPU: kernels compiled for the CPU over an emulator, and a libcuda.so.1 that runs them (tests/cuda/driver).
enable_language(CXX)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_EXTENSIONS ON)
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
if(HUNZE_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELEASE "-O1")
endif()
find_path(HUNZE_CUDA_INCLUDE cudaTypedefs.h DOC "The folder of CUDA's cuda.h and cudaTypedefs.h"
  HINTS $ENV{CUDA_PATH}/include /usr/local/cuda/include)

# One fma is one instruction where the CPU that builds has it, else libm's function.
include(CheckCXXSourceRuns)
check_cxx_source_runs("int main() { return __builtin_cpu_supports(\"fma\") ? 0 : 1; }" HUNZE_FMA_RUNS)
add_library(hunze_emulated INTERFACE)
target_include_directories(hunze_emulated INTERFACE cuda tests/cuda/emulator)
target_compile_definitions(hunze_emulated INTERFACE HUNZE_CUDA_EMULATED)
# Kernels read registers and memory as whatever type they like, as the GPU's compiler lets them.
target_compile_options(hunze_emulated INTERFACE -fvisibility=hidden -fno-strict-aliasing
  -Wno-unknown-pragmas $<$<BOOL:${HUNZE_FMA_RUNS}>:-mfma>)

add_library(hunze_emulator OBJECT
  tests/cuda/emulator/block.cpp
  tests/cuda/emulator/fiber.cpp
  tests/cuda/emulator/memory.cpp
  tests/cuda/emulator/registry.cpp
  tests/cuda/emulator/warp.cpp
)
target_link_libraries(hunze_emulator PUBLIC hunze_emulated)

# An object library of kernels for the emulator.
function(hunze_emulated_kernels target)
  add_library(${target} OBJECT ${ARGN})
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
  target_link_libraries(${target} PUBLIC hunze_emulated)
endfunction()
