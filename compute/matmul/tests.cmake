# Matrix multiplication's tests, included by compute/CMakeLists.txt.
find_package(GTest REQUIRED)
include(GoogleTest)
include(VesperRemoteTests)
add_executable(compute_weights_tests tests/weights_test.cpp)
target_link_libraries(compute_weights_tests PRIVATE vesper-compute GTest::gtest GTest::gtest_main)
gtest_discover_tests(compute_weights_tests TEST_PREFIX compute. DISCOVERY_MODE PRE_TEST)
add_executable(compute_matmul_tests tests/matmul_test.cpp)
target_link_libraries(compute_matmul_tests PRIVATE vesper-compute GTest::gtest GTest::gtest_main)
add_test(NAME local.compute_matmul_tests COMMAND compute_matmul_tests)
foreach(transport unix tcp)
  vesper_add_remote_test(${transport}.validation.compute_matmul_tests --transport ${transport} --validation
    -- $<TARGET_FILE:compute_matmul_tests>)
endforeach()
