# vesper_add_shaders(TARGET FILE...): compiles GLSL at build time and gives TARGET the header shaders/NAME_STAGE.h for
# each NAME.STAGE, which defines `const uint32_t NAME_STAGE[]`.
find_program(GLSLANG_VALIDATOR glslangValidator REQUIRED)

function(vesper_add_shaders target)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/${target}_shaders)
  foreach(source IN LISTS ARGN)
    get_filename_component(name ${source} NAME)
    string(REPLACE "." "_" name ${name})
    set(words ${folder}/shaders/${name}.inc)
    file(CONFIGURE OUTPUT ${folder}/shaders/${name}.h
         CONTENT "#pragma once\n#include <cstdint>\n#include \"shaders/${name}.inc\"\n")
    add_custom_command(
      OUTPUT ${words}
      COMMAND ${GLSLANG_VALIDATOR} --quiet -V --target-env vulkan1.2 --vn ${name} -o ${words}
              ${CMAKE_CURRENT_SOURCE_DIR}/${source}
      DEPENDS ${source}
      COMMENT "Compiling shader ${source}"
      VERBATIM)
    target_sources(${target} PRIVATE ${words})
  endforeach()
  target_include_directories(${target} PRIVATE ${folder})
endfunction()
