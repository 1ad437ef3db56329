// Runs the tests of vesper-compute and says on which device. Ends with an error when the validation
// layer, where it is on, has said anything.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>

#include "compute/tests/compute_test.h"

namespace vesper::compute {
namespace {

std::optional<Device>& TheDevice() {
  static std::optional<Device> device;
  return device;
}

}  // namespace

DeviceOptions TestOptions() {
  DeviceOptions options;
  options.keep_pipelines = false;
  // Larger than any test needs, as machines under load are slow.
  options.timeout = std::chrono::seconds(120);
  return options;
}

Device& TestDevice() {
  if (!TheDevice()) TheDevice().emplace(TestOptions());
  return *TheDevice();
}

std::vector<uint32_t> RandomWords(size_t count, uint32_t seed) {
  std::vector<uint32_t> words(count);
  uint64_t state = uint64_t{seed} * 0x9E3779B97F4A7C15 + 1;
  for (uint32_t& word : words) {
    state = state * 6364136223846793005 + 1442695040888963407;
    word = static_cast<uint32_t>(state >> 32);
  }
  return words;
}

std::vector<float> RandomFloats(size_t count, uint32_t seed) {
  std::vector<float> floats(count);
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> distribution(-100, 100);
  for (float& value : floats) value = distribution(random);
  return floats;
}

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

size_t OpenDescriptors() {
  const std::filesystem::directory_iterator folder("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(folder), end(folder)));
}

Error ExpectError(ErrorCode code, const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(ErrorCodeName(error.code()), std::string(ErrorCodeName(code))) << error.what();
    EXPECT_NE(error.attempted(), "");
    return error;
  }
  ADD_FAILURE() << "no " << ErrorCodeName(code);
  return Error(code, "");
}

}  // namespace vesper::compute

int main(int argc, char** argv) {
  using namespace vesper::compute;  // NOLINT
  ::testing::InitGoogleTest(&argc, argv);
  if (GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();
  std::printf("device: %s\n", TestDevice().description().name.c_str());
  std::fflush(stdout);
  int status = RUN_ALL_TESTS();
  // Tests end with what they made; the layer then says what was left.
  TheDevice().reset();
  if (Instance::Shared()->validation()) {
    const uint64_t messages = Instance::Shared()->validation_messages();
    std::printf("%llu validation messages\n", static_cast<unsigned long long>(messages));
    if (messages != 0) status = 1;
  }
  Instance::ReleaseShared();
  return status;
}
