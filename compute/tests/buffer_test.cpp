// Copies: what arrives is what was sent, at every size, offset and way.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "compute/tests/compute_test.h"

namespace vesper::compute {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

const HostAccess kWays[] = {HostAccess::kStaged, HostAccess::kAuto, HostAccess::kMapped};

class BufferTest : public ::testing::Test {
 protected:
  // There and back, with the throughput printed.
  static void RoundTrip(uint64_t bytes, HostAccess access) {
    const Device& device = TestDevice();
    BufferOptions options;
    options.host_access = access;
    Buffer buffer(device, bytes, options);
    const std::vector<uint32_t> sent = RandomWords(bytes / 4, 7);
    std::vector<uint32_t> received(sent.size());
    const auto start = Clock::now();
    buffer.Upload(std::span(sent)).Wait(std::chrono::seconds(120));
    const auto uploaded = Clock::now();
    buffer.Download(std::span(received));
    const auto downloaded = Clock::now();
    std::printf("%llu bytes, %s: upload %.2f GB/s, download %.2f GB/s\n", static_cast<unsigned long long>(bytes),
                buffer.is_mapped() ? "mapped" : "staged", static_cast<double>(bytes) / Seconds(uploaded - start) * 1e-9,
                static_cast<double>(bytes) / Seconds(downloaded - uploaded) * 1e-9);
    EXPECT_TRUE(sent == received);
  }
};

TEST_F(BufferTest, RoundTripOf1KiB) {
  for (const HostAccess way : kWays) RoundTrip(1024, way);
}

TEST_F(BufferTest, RoundTripOf512MiB) { RoundTrip(uint64_t{512} << 20, HostAccess::kStaged); }

TEST_F(BufferTest, RoundTripOf512MiBAsTheDeviceLikes) { RoundTrip(uint64_t{512} << 20, HostAccess::kAuto); }

// A ring much smaller than the copies: everything passes through it many times, at sizes around its
// own.
TEST_F(BufferTest, StreamsThroughASmallRing) {
  DeviceOptions small = TestOptions();
  small.staging_bytes = 64 << 10;
  const Device device(small);
  BufferOptions staged;
  staged.host_access = HostAccess::kStaged;
  Buffer buffer(device, 1 << 20, staged);
  std::mt19937 random(5);
  for (const uint64_t bytes : {1, 255, 256, 257, 8192, 16384, 65535, 65536, 65537, 1 << 20}) {
    const uint64_t offset = random() % ((1 << 20) - bytes + 1);
    std::vector<uint8_t> sent(bytes), received(bytes);
    for (uint8_t& byte : sent) byte = static_cast<uint8_t>(random());
    buffer.Upload(std::span(sent), offset);
    buffer.Download(std::span(received), offset);
    ASSERT_TRUE(sent == received) << bytes << " bytes at " << offset;
  }
}

TEST_F(BufferTest, PartialCopiesTouchNothingElse) {
  for (const HostAccess way : kWays) {
    BufferOptions options;
    options.host_access = way;
    Buffer buffer(TestDevice(), 10000, options);
    std::vector<uint8_t> expected(10000, 0x55);
    buffer.Upload(std::span(expected));
    std::mt19937 random(9);
    for (int i = 0; i < 50; ++i) {
      const uint64_t offset = random() % expected.size();
      const uint64_t bytes = random() % (expected.size() - offset + 1);
      const std::vector<uint8_t> part(bytes, static_cast<uint8_t>(i));
      std::copy(part.begin(), part.end(), expected.begin() + static_cast<ptrdiff_t>(offset));
      buffer.Upload(std::span(part), offset);
    }
    std::vector<uint8_t> received(expected.size());
    buffer.Download(std::span(received));
    EXPECT_TRUE(expected == received);
    std::vector<uint8_t> middle(100);
    buffer.Download(std::span(middle), 777);
    EXPECT_TRUE(std::equal(middle.begin(), middle.end(), expected.begin() + 777));
  }
}

TEST_F(BufferTest, RefusesWhatDoesNotFit) {
  for (const HostAccess way : kWays) {
    BufferOptions options;
    options.host_access = way;
    Buffer buffer(TestDevice(), 8, options);
    uint32_t word = 0;
    ExpectError(ErrorCode::BufferTooSmall, [&] { buffer.Upload(&word, 4, 5); });
    ExpectError(ErrorCode::BufferTooSmall, [&] { buffer.Download(&word, 4, 5); });
    ExpectError(ErrorCode::BufferTooSmall, [&] { buffer.Upload(&word, 9); });
    ExpectError(ErrorCode::BufferTooSmall, [&] { buffer.Upload(&word, 4, UINT64_MAX - 1); });
    ExpectError(ErrorCode::BufferTooSmall, [&] { buffer.Download(&word, UINT64_MAX, 1); });
    ExpectError(ErrorCode::BufferError, [&] { buffer.Upload(nullptr, 4); });
    ExpectError(ErrorCode::BufferError, [&] { buffer.Download(nullptr, 4); });
    buffer.Upload(nullptr, 0, 8);
    buffer.Download(nullptr, 0);
  }
  ExpectError(ErrorCode::BufferError, [] { Buffer(TestDevice(), 0); });
  const Error error = ExpectError(ErrorCode::AllocationFailed, [] { Buffer(TestDevice(), uint64_t{1} << 60); });
  EXPECT_NE(error.result(), VK_SUCCESS);
}

TEST_F(BufferTest, MappedMemoryIsTheBuffer) {
  BufferOptions options;
  options.host_access = HostAccess::kStaged;
  const Buffer staged(TestDevice(), 64, options);
  ExpectError(ErrorCode::NotMapped, [&] { staged.mapped(); });
  options.host_access = HostAccess::kMapped;
  Buffer mapped(TestDevice(), 64, options);
  if (!mapped.is_mapped()) GTEST_SKIP() << "no device-local memory is host-visible";
  Batch(TestDevice()).Fill(mapped, 0x01020304).Submit().Wait();
  EXPECT_EQ(static_cast<uint32_t*>(mapped.mapped())[15], 0x01020304u);
  static_cast<uint32_t*>(mapped.mapped())[3] = 99;
  Batch(TestDevice()).Copy(mapped, mapped, 4, 12, 40).Submit();
  mapped.WaitForHost();
  EXPECT_EQ(static_cast<uint32_t*>(mapped.mapped())[10], 99u);
}

// Later work sees an upload that was not waited for; a download sees work that was not waited for;
// and an upload does not overtake work that reads what it replaces.
TEST_F(BufferTest, CopiesAndWorkHappenInOrder) {
  for (const HostAccess way : {HostAccess::kStaged, HostAccess::kAuto}) {
    BufferOptions options;
    options.host_access = way;
    Buffer from(TestDevice(), 4 << 20, options), to(TestDevice(), 4 << 20, options);
    std::vector<uint32_t> received(1 << 20);
    for (uint32_t round = 1; round <= 5; ++round) {
      const std::vector<uint32_t> sent(1 << 20, round);
      const std::vector<uint32_t> garbage(1 << 20, 0xDEADBEEF);
      from.Upload(std::span(sent));
      Batch(TestDevice()).Copy(from, to, 4 << 20).Submit();
      from.Upload(std::span(garbage));
      to.Download(std::span(received));
      ASSERT_TRUE(received == sent) << "round " << round;
    }
  }
}

TEST_F(BufferTest, MemoryComesFromBlocks) {
  DeviceOptions options = TestOptions();
  options.block_bytes = 1 << 20;
  const Device device(options);
  {  // staging buffers, where there are any, are made by the first copies
    Buffer first(device, 100);
    std::vector<uint8_t> bytes(first.size());
    first.Upload(std::span(bytes));
    first.Download(std::span(bytes));
  }
  const MemoryStatistics before = device.memory_statistics();
  std::vector<Buffer> buffers;
  std::mt19937 random(3);
  uint64_t asked = 0;
  for (int i = 0; i < 500; ++i) {
    const uint64_t bytes = 1 + random() % 10000;
    asked += bytes;
    buffers.emplace_back(device, bytes);
  }
  MemoryStatistics statistics = device.memory_statistics();
  EXPECT_EQ(statistics.buffers, before.buffers + 500);
  EXPECT_GE(statistics.bytes_used, before.bytes_used + asked);
  EXPECT_GE(statistics.bytes_reserved, statistics.bytes_used);
  EXPECT_LE(statistics.blocks, before.blocks + asked / (1 << 20) + 2);
  // Every second one is freed and replaced: nothing is asked of the driver for that.
  for (size_t i = 0; i < buffers.size(); i += 2) buffers[i] = Buffer(device, 100);
  EXPECT_EQ(device.memory_statistics().driver_allocations, statistics.driver_allocations);
  // Contents are each buffer's own.
  for (size_t i = 0; i < buffers.size(); ++i) {
    const std::vector<uint8_t> bytes(buffers[i].size(), static_cast<uint8_t>(i));
    buffers[i].Upload(std::span(bytes));
  }
  for (size_t i = 0; i < buffers.size(); ++i) {
    std::vector<uint8_t> bytes(buffers[i].size());
    buffers[i].Download(std::span(bytes));
    for (const uint8_t byte : bytes) ASSERT_EQ(byte, static_cast<uint8_t>(i)) << "buffer " << i;
  }
  const Buffer large(device, 3 << 20);
  EXPECT_EQ(device.memory_statistics().driver_allocations, statistics.driver_allocations + 1);
  buffers.clear();
  statistics = device.memory_statistics();
  EXPECT_EQ(statistics.buffers, before.buffers + 1);
  EXPECT_LE(statistics.blocks, before.blocks + 2);
}

// Handles may go in any order, and while the device is at work.
TEST_F(BufferTest, AnyOrderOfEnds) {
  auto device = std::make_unique<Device>(TestOptions());
  auto a = std::make_unique<Buffer>(*device, 1 << 20);
  auto b = std::make_unique<Buffer>(*device, 1 << 20);
  const Submission work = Batch(*device).Fill(*a, 5).Copy(*a, *b, 1 << 20).Submit();
  a.reset();
  device.reset();
  uint32_t word = 0;
  b->Download(&word, 4);
  EXPECT_EQ(word, 5u);
  Buffer other(TestDevice(), 4);
  *b = std::move(other);
  work.Wait();
}

}  // namespace
}  // namespace vesper::compute
