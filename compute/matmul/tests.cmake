# Matrix multiplication's tests, included by compute/CMakeLists.txt.
find_package(GTest REQUIRED)
include(GoogleTest)
include(VesperRemoteTests)
add_executable(compute_weights_tests tests/weights_test.cpp)
target_link_libraries(compute_weights_tests PRIVATE vesper-compute GTest::gtest GTest::gtest_main)
gtest_discover_tests(compute_weights_tests TEST_PREFIX compute. DISCOVERY_MODE PRE_TEST)
add_executable(compute_matmul_tests tests/main.cpp tests/matmul_test.cpp)
target_link_libraries(compute_matmul_tests PRIVATE vesper-compute GTest::gtest)
add_test(NAME local.compute_matmul_tests COMMAND compute_matmul_tests)
set_tests_properties(local.compute_matmul_tests PROPERTIES TIMEOUT 300 ENVIRONMENT
  "VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/lvp_icd.${CMAKE_SYSTEM_PROCESSOR}.json;LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/lsan.supp;TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/tsan.supp")
foreach(transport unix tcp)
  vesper_add_remote_test(${transport}.validation.compute_matmul_tests --transport ${transport} --validation
    -- $<TARGET_FILE:compute_matmul_tests>)
endforeach()
