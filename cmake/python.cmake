# The wheel: the library once, the header, and the CPython module (limited API, one build for 3.11 and later).
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
install(FILES $<TARGET_FILE:hunze> DESTINATION hunze/lib RENAME libhunze.so.1 COMPONENT python)
install(FILES include/hunze.h DESTINATION hunze/include COMPONENT python)

# One file per line, sorted.
set(HUNZE_PYTHON_SOURCES
  bench/bandwidth.c
  bench/peak.c
  bindings/python/arguments.c
  bindings/python/arrays.c
  bindings/python/bound.c
  bindings/python/conv.c
  bindings/python/device_array.c
  bindings/python/device_context.c
  bindings/python/device_exchange.c
  bindings/python/device_memory.c
  bindings/python/device_rates.c
  bindings/python/device_stream.c
  bindings/python/dlpack.c
  bindings/python/dlpack_export.c
  bindings/python/docs.c
  bindings/python/dtypes.c
  bindings/python/elementwise.c
  bindings/python/grouped.c
  bindings/python/grouped_list.c
  bindings/python/matmul.c
  bindings/python/module.c
  bindings/python/offload.c
  bindings/python/offload_call.c
  bindings/python/offload_run.c
  bindings/python/pack.c
  bindings/python/place.c
  bindings/python/plain.c
  bindings/python/run.c
  bindings/python/types.c
)
if(HUNZE_PYTHON_SOURCES)
  execute_process(COMMAND ${Python_EXECUTABLE} -c "import numpy; print(numpy.get_include())"
    OUTPUT_VARIABLE numpy_include OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  add_library(hunze_python MODULE ${HUNZE_PYTHON_SOURCES})
  target_compile_definitions(hunze_python PRIVATE Py_LIMITED_API=0x030B0000)
  target_include_directories(hunze_python SYSTEM PRIVATE ${numpy_include})
  target_link_libraries(hunze_python PRIVATE Python::Module hunze)
  set_target_properties(hunze_python PROPERTIES OUTPUT_NAME _hunze PREFIX "" SUFFIX ".abi3.so" C_VISIBILITY_PRESET hidden
    INSTALL_RPATH "$ORIGIN/lib" BUILD_WITH_INSTALL_RPATH ON)
  install(TARGETS hunze_python LIBRARY DESTINATION hunze COMPONENT python)
endif()
