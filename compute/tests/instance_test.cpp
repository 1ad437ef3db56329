// Which device is chosen, what it says of itself, and what of it is kept on disk.
#include "vesper/compute/instance.h"

#include <stdlib.h>

#include <cctype>
#include <filesystem>
#include <fstream>

#include "compute/tests/compute_test.h"
#include "shaders/increment_comp.h"

namespace vesper::compute {
namespace {

TEST(ErrorTest, SaysWhatWasAttempted) {
  const Error error(ErrorCode::SyncError, "waiting for Godot", VK_TIMEOUT);
  EXPECT_STREQ(error.what(), "SyncError: waiting for Godot (VK_TIMEOUT)");
  EXPECT_EQ(error.attempted(), "waiting for Godot");
  EXPECT_STREQ(Error(ErrorCode::NotMapped, "it").what(), "NotMapped: it");
}

TEST(InstanceTest, IsSharedAndAvailable) {
  EXPECT_TRUE(Instance::IsAvailable());
  const auto shared = Instance::Shared();
  EXPECT_EQ(shared, Instance::Shared());
  EXPECT_EQ(TestDevice().instance(), shared);
  Instance::ReleaseShared();
  EXPECT_NE(shared, Instance::Shared());
}

TEST(InstanceTest, DevicesHaveScores) {
  for (const DeviceDescription& device : Instance::Shared()->devices()) {
    uint64_t expected = device.device_memory >> 30;
    if (device.type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU) expected += 1000;
    if (device.type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU) expected += 100;
    EXPECT_EQ(device.score, expected) << device.name;
    const DeviceDescription& best = Instance::Shared()->Select();
    EXPECT_TRUE(best.usable());
    if (device.usable() && getenv("VESPER_COMPUTE_DEVICE") == nullptr) {
      EXPECT_GE(best.score, device.score);
    }
  }
}

TEST(InstanceTest, DevicesAreNamed) {
  const auto instance = Instance::Shared();
  const DeviceDescription& best = instance->Select();
  EXPECT_EQ(instance->Select(std::to_string(best.index)).index, best.index);
  std::string upper = best.name.substr(0, 6);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  EXPECT_TRUE(instance->Select(upper).usable());
  ExpectError(ErrorCode::NoDeviceFound, [&] { instance->Select("999"); });
  ExpectError(ErrorCode::NoDeviceFound, [&] { instance->Select("no such device"); });
  DeviceOptions options = TestOptions();
  options.selector = "no such device";
  ExpectError(ErrorCode::NoDeviceFound, [&] { Device{options}; });

  const char* const chosen = getenv("VESPER_COMPUTE_DEVICE");
  const std::string before = chosen != nullptr ? chosen : "";
  setenv("VESPER_COMPUTE_DEVICE", "no such device", 1);
  ExpectError(ErrorCode::NoDeviceFound, [&] { instance->Select(); });
  EXPECT_EQ(instance->Select(std::to_string(best.index)).index, best.index);
  if (chosen != nullptr) {
    setenv("VESPER_COMPUTE_DEVICE", before.c_str(), 1);
  } else {
    unsetenv("VESPER_COMPUTE_DEVICE");
  }
}

class PipelineCacheTest : public ::testing::Test {
 protected:
  PipelineCacheTest() {
    std::string name = std::filesystem::temp_directory_path() / "vesper-compute-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder_ = name;
    options_.cache_folder = folder_ / "cache";
  }
  ~PipelineCacheTest() override { std::filesystem::remove_all(folder_); }

  // Makes a device and a kernel, and returns the file's name.
  std::filesystem::path Run() {
    const Device device(options_);
    const Kernel kernel(device, increment_comp);
    return device.CacheFile("pipelines", ".bin");
  }
  static std::string Contents(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  }

  std::filesystem::path folder_;
  DeviceOptions options_;
};

TEST_F(PipelineCacheTest, IsKeptForTheNextTime) {
  const std::filesystem::path file = Run();
  EXPECT_EQ(file.parent_path(), folder_ / "cache");
  ASSERT_TRUE(std::filesystem::exists(file));
  EXPECT_EQ(std::filesystem::status(file).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const std::string contents = Contents(file);
  EXPECT_GE(contents.size(), 24u + 32u);
  EXPECT_EQ(Run(), file);
  // Nothing but the file is left behind.
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_ / "cache")) {
    ++files;
  }
  EXPECT_EQ(files, 1u);
}

TEST_F(PipelineCacheTest, BrokenFilesAreIgnoredAndReplaced) {
  const std::filesystem::path file = Run();
  const std::string good = Contents(file);
  std::vector<std::string> broken = {"", "short", std::string(4096, '\xFF'), good.substr(0, 30),
                                     good.substr(0, good.size() - 1)};
  for (const size_t at : {size_t{0}, size_t{9}, size_t{17}, size_t{30}, good.size() - 1}) {
    broken.push_back(good);
    broken.back()[at] = static_cast<char>(broken.back()[at] ^ 0x40);
  }
  for (const std::string& contents : broken) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << contents;
    EXPECT_EQ(Run(), file);
    EXPECT_NE(Contents(file), contents);
    EXPECT_EQ(Contents(file).substr(0, 8), good.substr(0, 8));
  }
}

TEST_F(PipelineCacheTest, NothingIsKeptUnlessWanted) {
  options_.keep_pipelines = false;
  EXPECT_EQ(Run(), "");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "cache"));
}

TEST_F(PipelineCacheTest, AFolderThatCannotBeIsAWarning) {
  std::ofstream(folder_ / "file") << "x";
  options_.cache_folder = folder_ / "file" / "cache";
  std::string warned;
  SetLogFunction([&](LogLevel level, const std::string& message) {
    if (level == LogLevel::kWarning) warned = message;
  });
  Run();
  SetLogFunction(nullptr);
  EXPECT_NE(warned.find("cannot write"), std::string::npos) << warned;
}

}  // namespace
}  // namespace vesper::compute
