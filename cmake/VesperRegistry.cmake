# Finds the Vulkan registry and headers, and decides where generated code comes from: generated/ when it was made from this
# registry, else the build folder. Sets VESPER_GENERATED_ROOT (holds generated/…).
#
# In this order: VULKAN_HEADERS_DIR; what scripts/vulkan-headers has put into the user's cache; the system's. Nothing is
# fetched here.
set(VULKAN_HEADERS_DIR "" CACHE STRING "A Vulkan-Headers folder to use (\"system\": the system's) instead of those of scripts/vulkan-headers")
set(VESPER_EXTRA_REGISTRIES "" CACHE PATH "A folder of further vk-*.xml for tests of the generator")

find_program(VESPER_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
find_program(VESPER_PYTHON NAMES python3 REQUIRED)
execute_process(COMMAND ${VESPER_PYTHON} -c "import jinja2, tomllib" RESULT_VARIABLE jinja_missing ERROR_QUIET)
if(jinja_missing)
  message(FATAL_ERROR "${VESPER_PYTHON} has no jinja2 or is older than 3.11: install python3-jinja2")
endif()

set(headers_dir ${VULKAN_HEADERS_DIR})
if(NOT headers_dir)
  execute_process(COMMAND ${CMAKE_SOURCE_DIR}/scripts/vulkan-headers --where
                  OUTPUT_VARIABLE headers_dir OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE headers_missing ERROR_QUIET)
  if(headers_missing)
    message(STATUS "scripts/vulkan-headers has not been run or got nothing: building with the system's Vulkan headers")
    set(headers_dir system)
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/scripts/vulkan-headers.pin)
endif()

if(NOT headers_dir STREQUAL "system")
  get_filename_component(headers_dir ${headers_dir} ABSOLUTE BASE_DIR ${CMAKE_SOURCE_DIR})
  foreach(candidate registry share/vulkan/registry)
    if(EXISTS ${headers_dir}/${candidate}/vk.xml)
      set(VESPER_REGISTRY_DIR ${headers_dir}/${candidate})
      break()
    endif()
  endforeach()
  if(NOT VESPER_REGISTRY_DIR)
    message(FATAL_ERROR "${headers_dir} holds neither registry/vk.xml nor share/vulkan/registry/vk.xml")
  endif()
  set(VESPER_VULKAN_INCLUDE ${headers_dir}/include)
else()
  find_package(VulkanHeaders REQUIRED CONFIG)
  set(VESPER_REGISTRY_DIR ${VULKAN_HEADERS_REGISTRY_DIRECTORY})
  get_target_property(VESPER_VULKAN_INCLUDE Vulkan::Headers INTERFACE_INCLUDE_DIRECTORIES)
endif()

file(STRINGS ${VESPER_VULKAN_INCLUDE}/vulkan/vulkan_core.h header_line REGEX "^#define VK_HEADER_VERSION [0-9]+")
string(REGEX MATCH "[0-9]+$" VESPER_HEADER_VERSION "${header_line}")
file(STRINGS ${VESPER_REGISTRY_DIR}/vk.xml registry_lines REGEX "<name>VK_HEADER_VERSION</name> [0-9]+")
set(registry_versions)
foreach(line ${registry_lines})
  string(REGEX MATCH "VK_HEADER_VERSION</name> ([0-9]+)" found "${line}")
  list(APPEND registry_versions ${CMAKE_MATCH_1})
endforeach()
if(NOT VESPER_HEADER_VERSION IN_LIST registry_versions)
  message(FATAL_ERROR "the headers in ${VESPER_VULKAN_INCLUDE} are version ${VESPER_HEADER_VERSION}, "
                      "the registry in ${VESPER_REGISTRY_DIR} is ${registry_versions}: install matching ones")
endif()

message(STATUS "Vulkan headers ${VESPER_HEADER_VERSION} of ${VESPER_VULKAN_INCLUDE}")
# Whoever includes generated headers out of the build folder needs those that they were made for, not the system's.
foreach(folder vulkan vk_video)
  if(EXISTS ${VESPER_VULKAN_INCLUDE}/${folder})
    file(CREATE_LINK ${VESPER_VULKAN_INCLUDE}/${folder} ${CMAKE_BINARY_DIR}/${folder} SYMBOLIC)
  endif()
endforeach()

file(STRINGS ${CMAKE_SOURCE_DIR}/generated/MANIFEST manifest_line REGEX "^header_version ")
string(REGEX MATCH "[0-9]+$" manifest_version "${manifest_line}")
if(manifest_version STREQUAL VESPER_HEADER_VERSION AND NOT VULKAN_HEADERS_DIR)
  set(VESPER_GENERATED_ROOT ${CMAKE_SOURCE_DIR})
else()
  set(VESPER_GENERATED_ROOT ${CMAKE_BINARY_DIR}/registry)
  message(STATUS "Generating for registry ${VESPER_HEADER_VERSION} of ${VESPER_REGISTRY_DIR}")
  execute_process(
    COMMAND ${VESPER_PYTHON} -m codegen generate --registry ${VESPER_REGISTRY_DIR} --output ${VESPER_GENERATED_ROOT}/generated
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} COMMAND_ERROR_IS_FATAL ANY)
  file(GLOB generator_inputs ${CMAKE_SOURCE_DIR}/codegen/*.py ${CMAKE_SOURCE_DIR}/codegen/policy/*.toml
       ${CMAKE_SOURCE_DIR}/templates/*/*.j2)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${generator_inputs})
endif()

include_directories(BEFORE ${VESPER_GENERATED_ROOT})
include_directories(SYSTEM ${VESPER_VULKAN_INCLUDE})
add_compile_definitions(VK_ENABLE_BETA_EXTENSIONS VK_NO_PROTOTYPES)
