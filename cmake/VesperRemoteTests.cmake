# Tests that run a program through Vesper: server on the local driver, program with the local drivers hidden.
#   vesper_add_remote_test(NAME OPTIONS... -- PROGRAM ARGUMENTS...)   options of tests/integration/run_remote.sh
#   vesper_add_remote_suite(TARGET SOURCES...)   each suite with a TEST_F in SOURCES once over unix and once over tcp, in a
#                                                process and with a server of its own (starting both and compiling the
#                                                shaders takes longer than most tests). Suites called Picture* are
#                                                compared with the local driver's pictures, of DebugTest the server
#                                                validates and counts errors

set(VESPER_TEST_ENVIRONMENT
  "VESPER_SERVER_BINARY=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/vesper-server"
  "VESPER_ICD_MANIFEST=${CMAKE_BINARY_DIR}/share/vulkan/icd.d/vesper_icd.${CMAKE_SYSTEM_PROCESSOR}.json"
  "VESPER_POLICY=${PROJECT_SOURCE_DIR}/codegen/policy/extensions.toml"
  "VESPER_VENUS_DRIVER=${CMAKE_BINARY_DIR}/venus-driver"
  "VESPER_SANITIZE=${VESPER_SANITIZE}")

function(vesper_add_remote_test name)
  add_test(NAME ${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/integration/run_remote.sh ${ARGN})
  set_tests_properties(${name} PROPERTIES TIMEOUT 600 LABELS remote ENVIRONMENT "${VESPER_TEST_ENVIRONMENT}")
endfunction()

function(vesper_add_remote_suite target)
  foreach(source IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    file(STRINGS ${source} suites REGEX "^TEST_F\\(")
    list(TRANSFORM suites REPLACE "^TEST_F\\(([A-Za-z0-9]+),.*" "\\1")
    list(REMOVE_DUPLICATES suites)
    foreach(suite IN LISTS suites)
      set(options)
      if(suite MATCHES "^Picture")
        set(options --reference)
      elseif(suite MATCHES "^DebugTest")
        set(options --server-validation "[1-9][0-9]* validation messages .[1-9][0-9]* errors")
      endif()
      foreach(transport unix tcp)
        vesper_add_remote_test(${transport}.${suite} --transport ${transport} ${options}
          -- $<TARGET_FILE:${target}> --gtest_filter=${suite}.*)
      endforeach()
    endforeach()
  endforeach()
endfunction()
