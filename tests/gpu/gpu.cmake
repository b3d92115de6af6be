# What goes to a machine with a GPU: `cmake --install BUILD --component gpu` makes the folder that verify.sh proves (tools/gpu_folder.py).
if(NOT HUNZE_WITH_CUDA OR HUNZE_SANITIZE)
  return()
endif()
# Programs of tests/cuda that also run on a device; one per line, sorted.
set(HUNZE_GPU_TESTS
)

# Programs of the folder alone.  gpu_fixtures calls the driver as the library does.
add_executable(gpu_fixtures tests/gpu/gpu_fixtures.c)
target_include_directories(gpu_fixtures SYSTEM PRIVATE ${HUNZE_CUDA_INCLUDE})
target_link_libraries(gpu_fixtures PRIVATE hunze_test m)

set(programs gpu_fixtures)
set_target_properties(${programs} ${HUNZE_GPU_TESTS} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
install(TARGETS ${programs} RUNTIME DESTINATION bin COMPONENT gpu)
install(TARGETS ${HUNZE_GPU_TESTS} RUNTIME DESTINATION tests COMPONENT gpu)
install(FILES $<TARGET_FILE:hunze> DESTINATION lib RENAME libhunze.so.1 COMPONENT gpu)
install(FILES $<TARGET_FILE:hunze_test> DESTINATION lib COMPONENT gpu)
# Debian has no static cmocka; that machine may have none at all.
find_library(HUNZE_CMOCKA NAMES libcmocka.so.0 cmocka REQUIRED)
file(REAL_PATH ${HUNZE_CMOCKA} cmocka)
install(FILES ${cmocka} DESTINATION lib RENAME libcmocka.so.0 COMPONENT gpu)
install(PROGRAMS tests/gpu/verify.sh DESTINATION . COMPONENT gpu)
install(DIRECTORY tests/gpu/fixtures DESTINATION . COMPONENT gpu)

# Questions to single instructions: machine code where there is nvcc, and a stand-in driver that can be asked too.
if(HUNZE_CUDA_COMPILES)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/gpu)
  set(images)
  foreach(name gpu_fixtures gpu_sums)
    set(parts)
    foreach(arch IN LISTS HUNZE_CUDA_ARCHITECTURES)
      hunze_compile_cuda(part ${CMAKE_SOURCE_DIR}/tests/gpu/${name}.cu ${CMAKE_BINARY_DIR}/gpu cubin ${arch})
      list(APPEND parts ${part})
    endforeach()
    hunze_fatbin(${CMAKE_BINARY_DIR}/gpu/${name}.fatbin ${parts})
    list(APPEND images ${CMAKE_BINARY_DIR}/gpu/${name}.fatbin)
  endforeach()
  add_custom_target(gpu_images ALL DEPENDS ${images})
  add_dependencies(hunze_device_code gpu_images)
  install(FILES ${images} DESTINATION bin COMPONENT gpu)
endif()
hunze_emulated_kernels(gpu_fixtures_emulated tests/gpu/gpu_fixtures.cu)
hunze_standin(gpu_standin ${CMAKE_BINARY_DIR}/gpu_standin $<TARGET_NAME_IF_EXISTS:hunze_kernels_emulated> gpu_fixtures_emulated)

if(HUNZE_CUDA_COMPILES)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/gpu/fixtures)
  add_test(NAME gpu_fixtures COMMAND gpu_fixtures ${CMAKE_BINARY_DIR}/gpu ${CMAKE_BINARY_DIR}/gpu/fixtures ${CMAKE_SOURCE_DIR}/tests/gpu/fixtures)
  set_tests_properties(gpu_fixtures PROPERTIES LABELS fast TIMEOUT 60 ENVIRONMENT LD_LIBRARY_PATH=${CMAKE_BINARY_DIR}/gpu_standin)
endif()
