# libhunze.so: what it exports the version script says, and it is never unloaded (threads may still be inside).  It calls its own functions even
# where another version of it was loaded before: the structures inside differ from version to version.
set(map ${PROJECT_SOURCE_DIR}/cmake/hunze.map)
add_library(hunze SHARED $<TARGET_OBJECTS:hunze_objects>)
target_link_options(hunze PRIVATE -Wl,--version-script=${map} -Wl,-Bsymbolic-functions -Wl,-z,nodelete -Wl,-z,now)
if(NOT HUNZE_SANITIZE)
  target_link_options(hunze PRIVATE -Wl,-z,defs)
endif()
set_target_properties(hunze PROPERTIES SOVERSION 1 VERSION ${PROJECT_VERSION} LINK_DEPENDS ${map})

# libhunze.a: one object in which everything that the version script does not export is local, so that two libraries in one program never meet.
file(STRINGS ${map} exports REGEX "^    hunze_[a-z_0-9]+;")
list(TRANSFORM exports REPLACE "^ +(hunze_[a-z_0-9]+);.*" "\\1")
list(JOIN exports "\n" exports)
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/exports.txt CONTENT "${exports}\n" @ONLY)
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${map})
set(object ${PROJECT_BINARY_DIR}/hunze.o)
add_custom_command(
  OUTPUT ${object}
  COMMAND ${CMAKE_LINKER} -r -o ${object} $<TARGET_OBJECTS:hunze_objects>
  COMMAND ${CMAKE_OBJCOPY} --keep-global-symbols=${PROJECT_BINARY_DIR}/exports.txt ${object}
  DEPENDS hunze_objects $<TARGET_OBJECTS:hunze_objects> ${PROJECT_BINARY_DIR}/exports.txt
  COMMAND_EXPAND_LISTS VERBATIM)
set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
add_library(hunze_static STATIC ${object})
set_target_properties(hunze_static PROPERTIES OUTPUT_NAME hunze LINKER_LANGUAGE C)

foreach(library hunze hunze_static)
  target_include_directories(${library} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
  target_link_libraries(${library} PRIVATE Threads::Threads ${CMAKE_DL_LIBS} m)
endforeach()

install(TARGETS hunze hunze_static EXPORT hunze COMPONENT development)
install(FILES include/hunze.h TYPE INCLUDE COMPONENT development)
install(EXPORT hunze NAMESPACE hunze:: FILE hunze-targets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hunze COMPONENT development)

include(CMakePackageConfigHelpers)
set(package ${PROJECT_BINARY_DIR}/package)
file(CONFIGURE OUTPUT ${package}/hunze-config.cmake @ONLY CONTENT [[include(CMakeFindDependencyMacro)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_dependency(Threads)
include("${CMAKE_CURRENT_LIST_DIR}/hunze-targets.cmake")
]])
write_basic_package_version_file(${package}/hunze-config-version.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${package}/hunze-config.cmake ${package}/hunze-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hunze COMPONENT development)
# Relative to the file, so that an installed tree may be moved.
file(RELATIVE_PATH prefix_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" prefix_from_pc "${prefix_from_pc}")
configure_file(cmake/hunze.pc.in ${package}/hunze.pc @ONLY)
install(FILES ${package}/hunze.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
