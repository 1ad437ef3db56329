# vesper_add_shaders(TARGET FILE...): compiles GLSL at build time and gives TARGET the header shaders/NAME_STAGE.h for
# each NAME.STAGE, which defines `const uint32_t NAME_STAGE[]`.
# vesper_add_shader(TARGET NAME FILE [DEFINITION...]): the same for one of several ways to compile a file.
find_program(GLSLANG_VALIDATOR glslangValidator REQUIRED)

function(vesper_add_shader target name source)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/${target}_shaders)
  set(words ${folder}/shaders/${name}.inc)
  list(TRANSFORM ARGN PREPEND -D OUTPUT_VARIABLE definitions)
  get_filename_component(sources ${source} DIRECTORY)
  file(GLOB included CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${sources}/*.glsl)
  file(CONFIGURE OUTPUT ${folder}/shaders/${name}.h
       CONTENT "#pragma once\n#include <cstdint>\n#include \"shaders/${name}.inc\"\n")
  add_custom_command(
    OUTPUT ${words}
    COMMAND ${GLSLANG_VALIDATOR} --quiet -V --target-env vulkan1.2 ${definitions} --vn ${name} -o ${words}
            ${CMAKE_CURRENT_SOURCE_DIR}/${source}
    DEPENDS ${source} ${included}
    COMMENT "Compiling shader ${name}"
    VERBATIM)
  target_sources(${target} PRIVATE ${words})
  target_include_directories(${target} PRIVATE ${folder})
endfunction()

function(vesper_add_shaders target)
  foreach(source IN LISTS ARGN)
    get_filename_component(name ${source} NAME)
    string(REPLACE "." "_" name ${name})
    vesper_add_shader(${target} ${name} ${source})
  endforeach()
endfunction()
