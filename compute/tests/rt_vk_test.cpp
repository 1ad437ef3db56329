// The C ABI: it computes, and no number that is handed to it does harm.
#include "rt_vk.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "compute/tests/compute_test.h"
#include "shaders/increment_comp.h"

namespace vesper::compute {
namespace {

class RtVkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(rt_vk_is_available(), 1);
    device_ = rt_vk_device_create();
    ASSERT_NE(device_, 0u) << rt_vk_last_error();
  }
  void TearDown() override { rt_vk_device_free(device_); }

  uint64_t Compile() const { return rt_vk_kernel_compile(device_, increment_comp, sizeof increment_comp); }

  uint64_t device_ = 0;
};

TEST_F(RtVkTest, Computes) {
  const uint64_t buffer = rt_vk_buffer_alloc(device_, 16 + 1000 * 4);
  const uint64_t kernel = Compile();
  ASSERT_NE(buffer, 0u) << rt_vk_last_error();
  ASSERT_NE(kernel, 0u) << rt_vk_last_error();
  std::vector<uint32_t> words = RandomWords(1004, 1);
  words[0] = 10, words[1] = 10, words[2] = 10;
  ASSERT_EQ(rt_vk_buffer_upload(buffer, words.data(), words.size() * 4), 0) << rt_vk_last_error();
  ASSERT_EQ(rt_vk_kernel_launch(kernel, &buffer, 1, 10, 10, 10, nullptr, 0), 0);
  ASSERT_EQ(rt_vk_kernel_launch_1d(kernel, &buffer, 1, 10, nullptr, 0), 0);
  ASSERT_EQ(rt_vk_device_sync(device_), 0);
  std::vector<uint32_t> result(words.size());
  ASSERT_EQ(rt_vk_buffer_download(buffer, result.data(), result.size() * 4), 0);
  for (size_t i = 0; i < 1000; ++i) {
    // The second launch is one work-group high and deep, which is four and two threads.
    const bool twice = i / 10 % 10 < 4 && i / 100 < 2;
    ASSERT_EQ(result[4 + i], words[4 + i] + (twice ? 2 : 1)) << i;
  }
  rt_vk_kernel_free(kernel);
  rt_vk_buffer_free(buffer);
}

TEST_F(RtVkTest, StaleAndWrongHandles) {
  const uint64_t buffer = rt_vk_buffer_alloc(device_, 64);
  const uint64_t kernel = Compile();
  uint32_t word = 0;
  EXPECT_EQ(rt_vk_buffer_upload(kernel, &word, 4), RT_VK_INVALID_HANDLE);
  EXPECT_NE(std::string(rt_vk_last_error()).find("kernel as a buffer"), std::string::npos) << rt_vk_last_error();
  EXPECT_EQ(rt_vk_buffer_download(device_, &word, 4), RT_VK_INVALID_HANDLE);
  EXPECT_EQ(rt_vk_device_sync(buffer), RT_VK_INVALID_HANDLE);
  EXPECT_EQ(rt_vk_kernel_launch_1d(buffer, &buffer, 1, 1, nullptr, 0), RT_VK_INVALID_HANDLE);
  EXPECT_EQ(rt_vk_kernel_launch_1d(kernel, &kernel, 1, 1, nullptr, 0), RT_VK_INVALID_HANDLE);
  EXPECT_EQ(rt_vk_buffer_alloc(buffer, 4), 0u);
  EXPECT_EQ(rt_vk_kernel_compile(0, increment_comp, sizeof increment_comp), 0u);
  EXPECT_EQ(rt_vk_device_sync(0), RT_VK_INVALID_HANDLE);
  rt_vk_buffer_free(kernel);  // frees nothing
  rt_vk_kernel_free(buffer);
  EXPECT_EQ(rt_vk_buffer_upload(buffer, &word, 4), 0) << rt_vk_last_error();
  rt_vk_buffer_free(buffer);
  EXPECT_EQ(rt_vk_buffer_upload(buffer, &word, 4), RT_VK_INVALID_HANDLE);
  rt_vk_buffer_free(buffer);
  EXPECT_NE(std::string(rt_vk_last_error()), "");
  // The slot is used again, the handle is not.
  const uint64_t next = rt_vk_buffer_alloc(device_, 64);
  EXPECT_NE(next, buffer);
  EXPECT_EQ(rt_vk_buffer_upload(buffer, &word, 4), RT_VK_INVALID_HANDLE);
  EXPECT_EQ(rt_vk_buffer_upload(next, &word, 4), 0);
  for (int bit = 0; bit < 64; ++bit) {
    EXPECT_EQ(rt_vk_buffer_upload(next ^ uint64_t{1} << bit, &word, 4), RT_VK_INVALID_HANDLE);
  }
  EXPECT_EQ(rt_vk_buffer_upload(UINT64_MAX, &word, 4), RT_VK_INVALID_HANDLE);
  rt_vk_buffer_free(next);
  rt_vk_kernel_free(kernel);
}

TEST_F(RtVkTest, BadArguments) {
  const uint64_t buffer = rt_vk_buffer_alloc(device_, 64);
  const uint64_t kernel = Compile();
  std::vector<uint8_t> bytes(65);
  EXPECT_EQ(rt_vk_buffer_upload(buffer, bytes.data(), 65), RT_VK_BUFFER_TOO_SMALL);
  EXPECT_EQ(rt_vk_buffer_download(buffer, bytes.data(), 65), RT_VK_BUFFER_TOO_SMALL);
  EXPECT_EQ(rt_vk_buffer_upload(buffer, nullptr, 4), RT_VK_INVALID_ARGUMENT);
  EXPECT_EQ(rt_vk_buffer_download(buffer, nullptr, 4), RT_VK_INVALID_ARGUMENT);
  EXPECT_EQ(rt_vk_buffer_alloc(device_, 0), 0u);
  EXPECT_EQ(rt_vk_buffer_alloc(device_, uint64_t{1} << 60), 0u);
  EXPECT_EQ(rt_vk_kernel_compile(device_, nullptr, 4), 0u);
  EXPECT_EQ(rt_vk_kernel_compile(device_, increment_comp, 0), 0u);
  EXPECT_EQ(rt_vk_kernel_compile(device_, increment_comp, 7), 0u);
  EXPECT_EQ(rt_vk_kernel_compile(device_, increment_comp, 40), 0u);
  EXPECT_NE(std::string(rt_vk_last_error()).find("SpirvCompilationFailed"), std::string::npos);
  EXPECT_EQ(rt_vk_kernel_launch_1d(kernel, nullptr, 1, 1, nullptr, 0), RT_VK_INVALID_ARGUMENT);
  EXPECT_EQ(rt_vk_kernel_launch_1d(kernel, &buffer, 0, 1, nullptr, 0), RT_VK_EXECUTION_FAILED);
  EXPECT_EQ(rt_vk_kernel_launch_1d(kernel, &buffer, UINT32_MAX, 1, nullptr, 0), RT_VK_EXECUTION_FAILED);
  EXPECT_EQ(rt_vk_kernel_launch_1d(kernel, &buffer, 1, 1, bytes.data(), 4), RT_VK_EXECUTION_FAILED);
  EXPECT_EQ(rt_vk_kernel_launch_1d(kernel, &buffer, 1, 1, nullptr, 4), RT_VK_INVALID_ARGUMENT);
  rt_vk_kernel_free(kernel);
  rt_vk_buffer_free(buffer);
}

// The device may be freed first: what was made from it goes on.
TEST_F(RtVkTest, AnyOrderOfEnds) {
  const uint64_t device = rt_vk_device_create();
  const uint64_t buffer = rt_vk_buffer_alloc(device, 4);
  rt_vk_device_free(device);
  uint32_t sent = 42, received = 0;
  EXPECT_EQ(rt_vk_buffer_upload(buffer, &sent, 4), 0);
  EXPECT_EQ(rt_vk_buffer_download(buffer, &received, 4), 0);
  EXPECT_EQ(received, 42u);
  EXPECT_EQ(rt_vk_buffer_alloc(device, 4), 0u);
  rt_vk_buffer_free(buffer);
}

TEST_F(RtVkTest, ErrorsAreEachThreadsOwn) {
  EXPECT_EQ(rt_vk_device_sync(0), RT_VK_INVALID_HANDLE);
  const std::string mine = rt_vk_last_error();
  std::thread([&] {
    EXPECT_STREQ(rt_vk_last_error(), "");
    EXPECT_EQ(rt_vk_buffer_alloc(device_, 0), 0u);
    EXPECT_NE(std::string(rt_vk_last_error()), mine);
  }).join();
  EXPECT_EQ(rt_vk_last_error(), mine);
}

// One thread frees what others use: every call succeeds or says that the handle is not valid.
TEST_F(RtVkTest, ThreadsRace) {
  std::atomic<uint64_t> shared = rt_vk_buffer_alloc(device_, 64);
  std::atomic<bool> over = false;
  std::atomic<int> odd = 0;
  std::thread user([&] {
    uint32_t word = 1;
    while (!over) {
      const int result = rt_vk_buffer_upload(shared, &word, 4);
      if (result != 0 && result != RT_VK_INVALID_HANDLE) ++odd;
    }
  });
  for (int i = 0; i < 300; ++i) {
    const uint64_t next = rt_vk_buffer_alloc(device_, 64);
    rt_vk_buffer_free(shared.exchange(next));
  }
  over = true;
  user.join();
  EXPECT_EQ(odd, 0);
  rt_vk_buffer_free(shared);
}

}  // namespace
}  // namespace vesper::compute
