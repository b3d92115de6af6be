# What stands in the inner loops of the kernels' objects, and what a model of the CPU says of them.  Figures of a release build only.
if(HUNZE_SANITIZE OR NOT HUNZE_X86)
  return()
endif()
if(NOT CMAKE_BUILD_TYPE STREQUAL "Release" OR NOT HUNZE_OPTIMIZE STREQUAL "-O3" OR CMAKE_C_FLAGS)
  message(STATUS "No static figures: they are of a release build, -O3 without further flags")
  return()
endif()
# Exit status 77: the record is of another compiler or another llvm-mca, or (unless HUNZE_TEST_EVERY_WORLD) there is no llvm-mca.
foreach(check bars ratchet)
  add_test(NAME static_${check} COMMAND ${python} ${CMAKE_SOURCE_DIR}/tests/static/inner_loops.py ${CMAKE_BINARY_DIR} --check ${check})
  set_tests_properties(static_${check} PROPERTIES LABELS "static;fast" SKIP_RETURN_CODE 77 TIMEOUT 300)
endforeach()
