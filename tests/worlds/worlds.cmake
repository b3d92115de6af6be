# The worlds that execute rows which this CPU cannot, the checks over sources and objects, and the table of rows and worlds.
set(HUNZE_WORLDS_PYTHON "" CACHE FILEPATH "The Python of the worlds, with requirements/check.txt; empty: that of .venv, else python3")
set(python ${HUNZE_WORLDS_PYTHON})
if(NOT python AND EXISTS ${CMAKE_SOURCE_DIR}/.venv/bin/python)
  set(python ${CMAKE_SOURCE_DIR}/.venv/bin/python)
elseif(NOT python)
  set(python python3)
endif()
set(worlds ${CMAKE_SOURCE_DIR}/tests/worlds)

add_test(NAME kernel_names COMMAND ${python} ${worlds}/names.py)
set_tests_properties(kernel_names PROPERTIES LABELS fast)
if(NOT HUNZE_TEST_WORLDS OR NOT HUNZE_X86)
  return()
endif()

# The world "own intrinsics": avx2/ and avx512/ built for the base instruction set, with tests/worlds/intrinsics in the place of the
# compiler's header.  Linked before the library, these kernels take the place of the library's, so every row runs on every CPU, and
# in the sanitizer builds of make check-long.
set(own_sources)
set(own_tests)
foreach(source IN LISTS HUNZE_AVX2_SOURCES HUNZE_AVX512_SOURCES)
  set(copy ${CMAKE_BINARY_DIR}/own_intrinsics/${source}) # by an include: the source itself has its instruction set's flags
  file(CONFIGURE OUTPUT ${copy} CONTENT "#include \"${CMAKE_SOURCE_DIR}/${source}\"\n")
  if(source MATCHES "_avxvnni\\.c$")
    set_source_files_properties(${copy} PROPERTIES COMPILE_DEFINITIONS __AVXVNNI__)
  elseif(source MATCHES "_avx512vnni\\.c$")
    set_source_files_properties(${copy} PROPERTIES COMPILE_DEFINITIONS __AVX512VNNI__)
  elseif(source MATCHES "_avx512bf16\\.c$")
    set_source_files_properties(${copy} PROPERTIES COMPILE_DEFINITIONS __AVX512BF16__)
  endif()
  list(APPEND own_sources ${copy})
endforeach()
add_library(own_intrinsics SHARED ${own_sources})
target_include_directories(own_intrinsics PRIVATE ${worlds}/intrinsics include)
# More than -O1 takes minutes to compile and gains little; wide vectors are passed in memory, within one file.
target_compile_options(own_intrinsics PRIVATE -O1 -Wno-psabi)
target_link_libraries(own_intrinsics PRIVATE m)
foreach(name IN LISTS HUNZE_ROW_TESTS)
  add_executable(own_${name} $<TARGET_OBJECTS:${name}_objects>)
  target_link_options(own_${name} PRIVATE -Wl,--no-as-needed)
  target_link_libraries(own_${name} PRIVATE hunze_harness own_intrinsics hunze_test cmocka m)
  add_test(NAME own_intrinsics_${name} COMMAND own_${name} avx)
  list(APPEND own_tests own_intrinsics_${name})
  set_tests_properties(own_intrinsics_${name} PROPERTIES LABELS slow TIMEOUT 600
    ENVIRONMENT "HUNZE_TEST_RECORD=${CMAKE_BINARY_DIR}/worlds;HUNZE_TEST_WORLD=own intrinsics;HUNZE_TEST_EVERY_ROW=1")
endforeach()
if(HUNZE_SANITIZE)
  return() # what follows runs programs on other CPUs, or reads objects as they are installed
endif()
add_test(NAME wide_instructions COMMAND ${python} ${worlds}/instructions.py ${CMAKE_BINARY_DIR})
set_tests_properties(wide_instructions PROPERTIES LABELS slow)

# What the emulated CPU's wheel wants of a C library older than glibc 2.38.
add_library(isoc23_shim MODULE tests/worlds/isoc23_shim.c)
set_target_properties(isoc23_shim PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/rows)

# add_world(NAME SCRIPT ARGUMENTS…): exit status 77 means that this machine lacks what the world needs; the script says what, and
# with HUNZE_TEST_EVERY_WORLD (make check installs what worlds need) it is a failure.
function(add_world name script)
  add_test(NAME ${name} COMMAND ${python} ${worlds}/${script} ${ARGN})
  set_tests_properties(${name} PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 600
    ENVIRONMENT "HUNZE_TEST_RECORD=${CMAKE_BINARY_DIR}/worlds")
endfunction()
set(programs)
foreach(name IN LISTS HUNZE_ROW_TESTS)
  list(APPEND programs $<TARGET_FILE:${name}>)
endforeach()
add_world(world_emulated emulated.py ${CMAKE_BINARY_DIR} --all)
add_world(world_nehalem older_cpu.py Nehalem ${programs})
add_world(world_haswell older_cpu.py Haswell ${programs})

# The portable kernels once more, for CPUs with FMA; preloaded, they take the place of the library's.
set(portable_sources ${HUNZE_SOURCES})
list(FILTER portable_sources INCLUDE REGEX "^src/portable/")
add_library(portable_fma MODULE ${portable_sources})
target_include_directories(portable_fma PRIVATE include)
target_compile_options(portable_fma PRIVATE -mavx2 -mfma)
target_link_libraries(portable_fma PRIVATE m)
set_target_properties(portable_fma PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/rows)
add_world(world_portable_fma portable_fma.py $<TARGET_FILE:portable_fma> ${programs})

add_world(world_table table.py ${CMAKE_BINARY_DIR})
set_tests_properties(world_table PROPERTIES
  DEPENDS "${HUNZE_ROW_TESTS};${own_tests};world_emulated;world_nehalem;world_haswell;world_portable_fma")
