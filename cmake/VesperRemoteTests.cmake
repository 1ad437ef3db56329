# Tests that run a program through Vesper: server on the local driver, program with the local drivers hidden.
#   vesper_add_remote_test(NAME OPTIONS... -- PROGRAM ARGUMENTS...)   options of tests/integration/run_remote.sh
#   vesper_add_remote_suite(TARGET SOURCES...)   each TEST_F of SOURCES once over unix and once over tcp; tests in suites
#                                                called Picture* are compared with the local driver's pictures, of
#                                                DebugTest the server validates and counts errors

set(VESPER_TEST_ENVIRONMENT
  "VESPER_SERVER_BINARY=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/vesper-server"
  "VESPER_ICD_MANIFEST=${CMAKE_BINARY_DIR}/share/vulkan/icd.d/vesper_icd.${CMAKE_SYSTEM_PROCESSOR}.json"
  "VESPER_POLICY=${PROJECT_SOURCE_DIR}/codegen/policy.toml"
  "VESPER_SANITIZE=${VESPER_SANITIZE}")

function(vesper_add_remote_test name)
  add_test(NAME ${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/integration/run_remote.sh ${ARGN})
  set_tests_properties(${name} PROPERTIES TIMEOUT 600 LABELS remote ENVIRONMENT "${VESPER_TEST_ENVIRONMENT}")
endfunction()

function(vesper_add_remote_suite target)
  foreach(source IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    file(STRINGS ${source} cases REGEX "^TEST_F\\(")
    foreach(case IN LISTS cases)
      string(REGEX REPLACE "^TEST_F\\(([A-Za-z0-9]+), *([A-Za-z0-9]+)\\).*" "\\1.\\2" case "${case}")
      set(options)
      if(case MATCHES "^Picture")
        set(options --reference)
      elseif(case MATCHES "^DebugTest")
        set(options --server-validation "[1-9][0-9]* validation messages .[1-9][0-9]* errors")
      endif()
      foreach(transport unix tcp)
        vesper_add_remote_test(${transport}.${case} --transport ${transport} ${options}
          -- $<TARGET_FILE:${target}> --gtest_filter=${case})
      endforeach()
    endforeach()
  endforeach()
endfunction()
