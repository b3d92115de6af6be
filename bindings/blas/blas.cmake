# libhunze_blas.so: the library and doors for BLAS in one file, so that LD_PRELOAD of it is enough.  It exports the names of BLAS and nothing else;
# not bound to itself, so that a program's own xerbla_ is called.
set(folder ${PROJECT_SOURCE_DIR}/bindings/blas)
set(objects $<TARGET_OBJECTS:hunze_objects>)
if(HUNZE_WITH_CUDA) # no operand of BLAS lives on a device: its code stays out
  set(objects $<FILTER:${objects},EXCLUDE,/fatbins\\.c\\.o$> cuda/fatbins.c)
endif()
add_library(hunze_blas SHARED
  bindings/blas/backing.c
  bindings/blas/doors.c
  bindings/blas/forwards.c
  bindings/blas/product.c
  bindings/blas/xerbla.c
  ${objects})
target_compile_definitions(hunze_blas PRIVATE HUNZE_CUDA_EMULATED_ONLY=1)
target_include_directories(hunze_blas PRIVATE include)
target_link_libraries(hunze_blas PRIVATE Threads::Threads ${CMAKE_DL_LIBS} m)

file(STRINGS ${folder}/doors.def doors REGEX "^HUNZE_BLAS_[A-Z]+\\(")
file(STRINGS ${folder}/forwards.def forwards REGEX "^HUNZE_BLAS_[A-Z]+\\(")
list(TRANSFORM doors REPLACE "^[A-Z_]+\\(([a-z0-9_]+).*" "\\1")
list(TRANSFORM forwards REPLACE "^[A-Z_]+\\(([a-z0-9_]+).*" "\\1")
list(JOIN doors ";\n    " doors)
list(JOIN forwards ";\n    " forwards)
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/hunze_blas.map @ONLY CONTENT
"{
  global:
    xerbla_;
    cblas_xerbla;
    RowMajorStrg;
    CBLAS_CallFromC;
    @doors@;
    @forwards@;
  local:
    *;
};
")
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${folder}/doors.def ${folder}/forwards.def)
target_link_options(hunze_blas PRIVATE -Wl,--version-script=${PROJECT_BINARY_DIR}/hunze_blas.map -Wl,-z,defs -Wl,-z,nodelete -Wl,-z,now)
set_target_properties(hunze_blas PROPERTIES LINK_DEPENDS ${PROJECT_BINARY_DIR}/hunze_blas.map)
install(TARGETS hunze_blas LIBRARY COMPONENT development)
