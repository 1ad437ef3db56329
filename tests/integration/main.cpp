// Runs the integration tests and first says on which GPU.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/support/vulkan_context.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  // A capture of a single test wants a single instance.
  if (!GTEST_FLAG_GET(list_tests) && std::getenv("VULKAN_TEST_QUIET") == nullptr) {
    try {
      const vesper::test::Context context;
      std::printf("GPU: %s\n", context.properties().deviceName);
      std::fflush(stdout);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "no usable GPU: %s\n", error.what());
      return 1;
    }
  }
  return RUN_ALL_TESTS();
}
