# Language, warnings, sanitizers and where artifacts go. Included first.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(THREADS_PREFER_PTHREAD_FLAG ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_package(Threads REQUIRED)
include(GNUInstallDirs)
# Artifacts are usable in place, laid out as `cmake --install` lays them out.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

set(VESPER_SANITIZE "" CACHE STRING "Sanitizers for everything: address;undefined or thread")
option(VESPER_FUZZ "Instrument everything for libFuzzer and build tests/fuzz instead of the other tests (needs clang)" OFF)

add_compile_options(-Wall -Wextra -Wconversion -Werror)
if(CMAKE_SIZEOF_VOID_P EQUAL 4)
  add_compile_definitions(_FILE_OFFSET_BITS=64)  # memory lies anywhere in a file
endif()
if(VESPER_SANITIZE)
  list(JOIN VESPER_SANITIZE "," sanitizers)
  add_compile_options(-fsanitize=${sanitizers} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 sees uninitialised variables in the standard library (std::regex) once it is instrumented.
    add_compile_options(-Wno-maybe-uninitialized)
  endif()
  # A peer or a newer driver may send enumerators that the headers do not have: they pass through, as in every C driver.
  add_compile_options(-fno-sanitize=enum)
  # It opens a pipe to look at an object for the first time, and takes having no descriptor left for a broken object.
  add_compile_options(-fno-sanitize=vptr)
  add_link_options(-fsanitize=${sanitizers})
endif()
if(VESPER_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "VESPER_FUZZ needs clang: cmake --preset fuzz")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-O2)
  set(CMAKE_CXX_FLAGS_RELEASE "-DNDEBUG")
endif()

include_directories(${CMAKE_CURRENT_SOURCE_DIR})

# vesper_precompile(TARGET HEADER...): headers that nearly every source of the target includes, parsed once, with those of the
# standard library. Sources include what they use all the same: -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON builds too.
function(vesper_precompile target)
  target_precompile_headers(${target} PRIVATE
    <algorithm> <atomic> <chrono> <condition_variable> <cstdint> <functional> <memory> <mutex> <span> <string> <thread>
    <vector> ${ARGN})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -fpch-preprocess)  # for ccache
  endif()
endfunction()

# vesper_compile_fast(SOURCE...): not optimized, since all it does is to read the command line, which takes CLI11 long to compile.
function(vesper_compile_fast)
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS -O0)
endfunction()
