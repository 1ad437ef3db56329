// The fixture of the integration tests: a fresh instance and device per test, and no validation
// message allowed.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "tests/support/vulkan_context.h"
#include "tests/support/vulkan_pipelines.h"
#include "tests/support/vulkan_resources.h"

namespace vesper::test {

class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override { Open({}); }

  void TearDown() override {
    if (context_ == nullptr) return;
    EXPECT_EQ(context_->Close(), 0u) << "messages of the validation layer";
    context_.reset();
  }

  // A context with other options, instead of the one that SetUp made.
  void Open(const ContextOptions& options) {
    context_.reset();
    context_ = std::make_unique<Context>(options);
  }
  // True after Open with the extension; false, with nothing opened, if the device lacks it.
  bool OpenWith(std::vector<const char*> extensions, void* features) {
    for (const char* extension : extensions) {
      if (!HasDeviceExtension(gpu().physical_device(), extension)) return false;
    }
    ContextOptions options;
    options.device_extensions = std::move(extensions);
    options.device_next = features;
    Open(options);
    return true;
  }

  Context& gpu() { return *context_; }
  VkDevice device() { return context_->device(); }

 private:
  std::unique_ptr<Context> context_;
};

// 0, 1, 2 ... times `factor`.
inline std::vector<uint32_t> Counting(size_t count, uint32_t factor = 1) {
  std::vector<uint32_t> numbers(count);
  for (size_t i = 0; i < count; ++i) numbers[i] = static_cast<uint32_t>(i) * factor;
  return numbers;
}

}  // namespace vesper::test
