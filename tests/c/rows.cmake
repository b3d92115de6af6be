# Programs that test kernels through the table.  Each is also a module that the emulated CPU's world loads (tests/worlds).
add_library(hunze_harness OBJECT tests/c/harness.c tests/c/harness_call.c tests/c/harness_values.c)
target_include_directories(hunze_harness PUBLIC include src tests/c)

set(HUNZE_ROW_TESTS
  test_activation_bits
  test_rows_depthwise
  test_rows_epilogue
  test_rows_epilogue_int
  test_rows_gemm_batch
  test_rows_gemm_float
  test_rows_gemm_int
  test_rows_gemm_strip
  test_rows_narrow
  test_rows_quantize
)
foreach(name IN LISTS HUNZE_ROW_TESTS)
  add_library(${name}_objects OBJECT tests/c/${name}.c)
  target_link_libraries(${name}_objects PUBLIC hunze_harness)
  add_executable(${name} $<TARGET_OBJECTS:${name}_objects>)
  target_link_libraries(${name} PRIVATE hunze_harness hunze_test cmocka m)
  if(name MATCHES "^test_rows_")
    add_library(${name}_module MODULE $<TARGET_OBJECTS:${name}_objects>)
    target_link_libraries(${name}_module PRIVATE hunze_harness hunze_test cmocka m)
    set_target_properties(${name}_module PROPERTIES PREFIX "" OUTPUT_NAME ${name} LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/rows)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS fast TIMEOUT 600
    ENVIRONMENT "HUNZE_TEST_RECORD=${CMAKE_BINARY_DIR}/worlds")
endforeach()
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/worlds)
add_test(NAME activation_bits_of_all_inputs COMMAND test_activation_bits --all)
set_tests_properties(activation_bits_of_all_inputs PROPERTIES LABELS long)

# How far from the exact values: docs/NUMERICS.md has the numbers.
add_executable(activation_errors tests/c/activation_errors.c)
target_link_libraries(activation_errors PRIVATE hunze_harness hunze_test cmocka m)
add_test(NAME activation_errors COMMAND python3 ${CMAKE_SOURCE_DIR}/tools/activation_table.py ${CMAKE_BINARY_DIR})
set_tests_properties(activation_errors PROPERTIES LABELS fast)
add_test(NAME activation_errors_of_all_inputs COMMAND python3 ${CMAKE_SOURCE_DIR}/tools/activation_table.py ${CMAKE_BINARY_DIR} --all)
set_tests_properties(activation_errors_of_all_inputs PROPERTIES LABELS long)

add_executable(test_bits tests/c/test_bits.c)
target_link_libraries(test_bits PRIVATE hunze_harness hunze_test cmocka m)
add_test(NAME test_bits COMMAND test_bits)
set_tests_properties(test_bits PROPERTIES LABELS slow TIMEOUT 600)
add_test(NAME test_bits_small COMMAND test_bits)
set_tests_properties(test_bits_small PROPERTIES LABELS fast TIMEOUT 600 ENVIRONMENT HUNZE_TEST_SMALL=1)

add_executable(test_far_offsets tests/c/test_far_offsets.c)
target_link_libraries(test_far_offsets PRIVATE hunze_harness hunze_test cmocka m)
add_test(NAME test_far_offsets COMMAND test_far_offsets)
set_tests_properties(test_far_offsets PROPERTIES LABELS fast TIMEOUT 600)
