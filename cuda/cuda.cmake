# The CUDA backend: kernels in cuda/*.cu become one compressed fatbin per file, which cuda/fatbins.c embeds; nothing of CUDA is linked.
#
#   HUNZE_CUDA  AUTO: with nvcc 13; a build with tests goes on without nvcc where cuda.h is, since tests run on a stand-in driver
#               ON: nvcc 13 must be there    OFF: a library without CUDA
#   HUNZE_NVCC                 nvcc; empty: that of .venv (tools/bootstrap.py puts it there), else the first on PATH
#   HUNZE_CUDA_ARCHITECTURES   of the machine code; the PTX for later devices is compute_80's
#   HUNZE_CUDA_FATBINS         a folder of fatbins made from these sources by another build, not to compile them twice
#   HUNZE_CUDA_EMULATED_ONLY   ON: no machine code in the library; it runs on the stand-in driver only
#
# Sets HUNZE_WITH_CUDA, HUNZE_CUDA_INCLUDE (where cuda.h is), HUNZE_CUDA_COMPILES (nvcc is there and used), HUNZE_CUDA_SOURCES.
set(HUNZE_CUDA AUTO CACHE STRING "The CUDA backend: AUTO (with nvcc), ON or OFF")
set_property(CACHE HUNZE_CUDA PROPERTY STRINGS AUTO ON OFF)
set(HUNZE_CUDA_ARCHITECTURES 80 90a 100 120 CACHE STRING "Architectures that get machine code")
set(HUNZE_CUDA_FATBINS "" CACHE PATH "Fatbins made from these sources by another build")
option(HUNZE_CUDA_EMULATED_ONLY "No machine code: for tests on the stand-in driver" OFF)

# One file per line, sorted.
set(HUNZE_CUDA_SOURCES
  cuda/activation.c
  cuda/convolution_float.c
  cuda/convolution_half.c
  cuda/copy.c
  cuda/copy_strided.c
  cuda/depthwise_float.c
  cuda/depthwise_integer.c
  cuda/depthwise_weights.c
  cuda/device.c
  cuda/driver.c
  cuda/execute.c
  cuda/fatbins.c
  cuda/image_strides.c
  cuda/launch.c
  cuda/matrices.c
  cuda/memory.c
  cuda/operands_float.c
  cuda/operands_half.c
  cuda/operands_integer.c
  cuda/operands_runs.c
  cuda/product_float.c
  cuda/product_half.c
  cuda/product_integer.c
  cuda/product_wgmma.c
  cuda/quantize.c
  cuda/stream.c
  cuda/tiles_float.c
  cuda/timing.c
)

set(HUNZE_WITH_CUDA OFF)
set(HUNZE_CUDA_COMPILES OFF)
if(NOT HUNZE_CUDA)
  set(HUNZE_CUDA_SOURCES)
  return()
endif()

# nvcc says itself where its programs and headers are: what is on PATH may be a link or a script, and wheels have another layout.
file(GLOB pinned ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/nvidia/cu13)
if(HUNZE_NVCC AND NOT EXISTS ${HUNZE_NVCC})
  unset(HUNZE_NVCC CACHE)
endif()
find_program(HUNZE_NVCC nvcc HINTS ${pinned} PATH_SUFFIXES bin DOC "The CUDA compiler")
set(nvcc_version none)
if(HUNZE_NVCC)
  execute_process(COMMAND ${HUNZE_NVCC} --version OUTPUT_VARIABLE said ERROR_QUIET)
  if(said MATCHES "release [0-9.]+, V([0-9.]+)")
    set(nvcc_version ${CMAKE_MATCH_1})
  endif()
  execute_process(COMMAND ${HUNZE_NVCC} --dryrun -E -x cu /dev/null OUTPUT_VARIABLE said ERROR_VARIABLE said)
  string(REGEX MATCH "_HERE_=([^\n]*)" said_programs "${said}")
  set(nvcc_programs ${CMAKE_MATCH_1})
  string(REGEX MATCH "INCLUDES=\"-I([^\"]*)\"" said_headers "${said}")
  get_filename_component(nvcc_headers "${CMAKE_MATCH_1}" ABSOLUTE)
endif()
find_path(HUNZE_CUDA_INCLUDE cudaTypedefs.h HINTS ${nvcc_headers} ${pinned}/include PATHS /usr/local/cuda/include DOC "The folder of cuda.h")
find_program(HUNZE_CUDA_HOST_COMPILER NAMES g++ clang++ DOC "What nvcc preprocesses with")

set(missing "")
if(nvcc_version STREQUAL "none")
  set(missing "there is no nvcc (make CUDA=1 installs it)")
elseif(nvcc_version VERSION_LESS 13 OR nvcc_version VERSION_GREATER_EQUAL 14)
  set(missing "${HUNZE_NVCC} is ${nvcc_version}, and 13 is needed")
elseif(NOT HUNZE_CUDA_HOST_COMPILER)
  set(missing "nvcc needs g++")
endif()
if(NOT HUNZE_CUDA_INCLUDE)
  set(without "cuda.h is not here")
elseif(NOT missing OR HUNZE_CUDA_EMULATED_ONLY OR HUNZE_CUDA_FATBINS)
  set(without "")
elseif(HUNZE_CUDA STREQUAL "AUTO" AND HUNZE_BUILD_TESTS)
  set(without "")
  set(HUNZE_CUDA_EMULATED_ONLY ON)
else()
  set(without "${missing}")
endif()
if(without AND NOT HUNZE_CUDA STREQUAL "AUTO")
  message(FATAL_ERROR "HUNZE_CUDA=${HUNZE_CUDA}, but ${without}")
elseif(without)
  message(STATUS "Without CUDA: ${without}")
  set(HUNZE_CUDA_SOURCES)
  return()
endif()
set(HUNZE_WITH_CUDA ON)
add_compile_definitions(HUNZE_WITH_CUDA=1)

file(STRINGS cuda/fatbins.def HUNZE_CUDA_FILES REGEX "^HUNZE_FATBIN\\(")
list(TRANSFORM HUNZE_CUDA_FILES REPLACE ".*\"(.*)\".*" "\\1")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cuda/fatbins.def)

# What the contract of the sums (docs/NUMERICS.md) asks of the compiler; kernels call fma_rn where they mean it.
set(HUNZE_NVCC_FLAGS -std=c++17 -O3 --fmad=false --ftz=false --prec-div=true --prec-sqrt=true -Werror all-warnings -Xptxas -v
  --compiler-bindir ${HUNZE_CUDA_HOST_COMPILER} -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/include)

# One file for one architecture: OUTPUT is DIRECTORY/NAME.sm_ARCH.cubin, or NAME.compute_ARCH.ptx, beside it what ptxas said (.log).
function(hunze_compile_cuda output source directory kind arch)
  get_filename_component(name ${source} NAME_WE)
  if(kind STREQUAL "ptx")
    set(file ${directory}/${name}.compute_${arch}.ptx)
    set(code compute_${arch})
  else()
    set(file ${directory}/${name}.sm_${arch}.cubin)
    set(code sm_${arch})
  endif()
  add_custom_command(
    OUTPUT ${file}
    COMMAND ${CMAKE_COMMAND} -DLOG=${file}.log -P ${CMAKE_SOURCE_DIR}/cuda/logged.cmake -- ${HUNZE_NVCC} ${HUNZE_NVCC_FLAGS}
      --generate-code=arch=compute_${arch},code=${code} --${kind} -MMD -MF ${file}.d -MT ${file} -o ${file} ${source}
    DEPENDS ${source} ${HUNZE_NVCC} ${CMAKE_SOURCE_DIR}/cuda/logged.cmake
    DEPFILE ${file}.d
    BYPRODUCTS ${file}.log
    COMMENT "nvcc ${code} ${name}"
    VERBATIM)
  set(${output} ${file} PARENT_SCOPE)
endfunction()

# FATBIN out of such cubins, and of PTX that devices of later architectures can compile.
function(hunze_fatbin fatbin)
  set(images)
  foreach(part IN LISTS ARGN)
    if(part MATCHES "\\.compute_([0-9]+)\\.ptx$")
      list(APPEND images --image3=kind=ptx,sm=${CMAKE_MATCH_1},file=${part})
    elseif(part MATCHES "\\.sm_([0-9a-z]+)\\.cubin$")
      list(APPEND images --image3=kind=elf,sm=${CMAKE_MATCH_1},file=${part})
    endif()
  endforeach()
  get_filename_component(name ${fatbin} NAME_WE)
  add_custom_command(
    OUTPUT ${fatbin}
    COMMAND ${nvcc_programs}/fatbinary --create=${fatbin} --64 --compress-all --compress-mode=size ${images}
    DEPENDS ${ARGN}
    COMMENT "fatbinary ${name}"
    VERBATIM)
endfunction()

if(HUNZE_CUDA_EMULATED_ONLY)
  set(fatbins)
  set(HUNZE_CUDA_FOLDER "")
elseif(HUNZE_CUDA_FATBINS)
  set(HUNZE_CUDA_FOLDER ${HUNZE_CUDA_FATBINS})
  list(TRANSFORM HUNZE_CUDA_FILES REPLACE "(.+)" "${HUNZE_CUDA_FOLDER}/\\1.fatbin" OUTPUT_VARIABLE fatbins)
else()
  set(HUNZE_CUDA_COMPILES ON)
  set(HUNZE_CUDA_FOLDER ${CMAKE_BINARY_DIR}/fatbins)
  file(MAKE_DIRECTORY ${HUNZE_CUDA_FOLDER})
  set(fatbins)
  foreach(name IN LISTS HUNZE_CUDA_FILES)
    set(source ${CMAKE_SOURCE_DIR}/cuda/${name}.cu)
    set(parts)
    if(name MATCHES "_sm90a$") # instructions that no other architecture has; the PTX is for the tests' figures only
      set(architectures 90a)
      hunze_compile_cuda(part ${source} ${HUNZE_CUDA_FOLDER} ptx 90a)
      list(APPEND parts ${part})
    else()
      set(architectures ${HUNZE_CUDA_ARCHITECTURES})
      hunze_compile_cuda(part ${source} ${HUNZE_CUDA_FOLDER} ptx 80)
      list(APPEND parts ${part})
    endif()
    foreach(arch IN LISTS architectures)
      hunze_compile_cuda(part ${source} ${HUNZE_CUDA_FOLDER} cubin ${arch})
      list(APPEND parts ${part})
    endforeach()
    hunze_fatbin(${HUNZE_CUDA_FOLDER}/${name}.fatbin ${parts})
    list(APPEND fatbins ${HUNZE_CUDA_FOLDER}/${name}.fatbin)
  endforeach()
endif()
# All that nvcc compiles, for who wants to see how long that takes.
add_custom_target(hunze_device_code DEPENDS ${fatbins})
list(JOIN HUNZE_CUDA_ARCHITECTURES " " architectures)
set_source_files_properties(cuda/device.c PROPERTIES COMPILE_DEFINITIONS HUNZE_CUDA_ARCHITECTURES="${architectures}")
# The folder's name alone would not make the object anew when an image changes.
set_source_files_properties(cuda/fatbins.c PROPERTIES OBJECT_DEPENDS "${fatbins}")
if(HUNZE_CUDA_EMULATED_ONLY)
  set_source_files_properties(cuda/fatbins.c PROPERTIES COMPILE_DEFINITIONS HUNZE_CUDA_EMULATED_ONLY=1)
  message(STATUS "CUDA: no machine code, for the stand-in driver; headers in ${HUNZE_CUDA_INCLUDE}")
else()
  set_source_files_properties(cuda/fatbins.c PROPERTIES COMPILE_DEFINITIONS HUNZE_FATBIN_FOLDER="${HUNZE_CUDA_FOLDER}")
  if(HUNZE_CUDA_COMPILES)
    message(STATUS "CUDA: nvcc ${nvcc_version} in ${nvcc_programs}")
  else()
    message(STATUS "CUDA: fatbins of ${HUNZE_CUDA_FATBINS}")
  endif()
endif()
