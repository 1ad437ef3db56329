// Protects that launches cost a remote driver nothing beside themselves: no round trip, and no look
// at memory that only copies need. Runs through Vesper only: the counts come from VESPER_STATS.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/support/statistics_file.h"
#include "vesper/compute.h"

namespace vesper::compute {
namespace {

struct Counts {
  uint64_t round_trips;
  uint64_t blocks_received;
  uint64_t dirty_bytes;
};

// What one instance costs that copies in both directions and then writes to the buffer `times`
// times.
Counts Measure(HostAccess access, uint32_t times) {
  static const test::StatisticsFile file;
  const auto now = [] {
    return Counts{file.Total("round_trips"), file.Total("blocks_received"), file.Total("dirty_bytes")};
  };
  Instance::Shared();  // so that the file exists
  Instance::ReleaseShared();
  const Counts before = now();
  {
    DeviceOptions device_options;
    device_options.keep_pipelines = false;
    const Device device(device_options);
    BufferOptions options;
    options.host_access = access;
    Buffer buffer(device, 64 << 10, options);
    std::vector<uint32_t> words(buffer.size() / 4, 0x12345678);
    buffer.Upload(std::span(words));
    buffer.Download(std::span(words));
    for (uint32_t i = 0; i < times; ++i) Batch(device).Fill(buffer, i + 1).Submit().Wait();
  }
  Instance::ReleaseShared();
  const Counts after = now();
  return {after.round_trips - before.round_trips, after.blocks_received - before.blocks_received,
          after.dirty_bytes - before.dirty_bytes};
}

TEST(RemoteCountsTest, LaunchesTouchNoHostMemory) {
  for (const HostAccess access : {HostAccess::kAuto, HostAccess::kStaged}) {
    const Counts few = Measure(access, 1);
    const Counts many = Measure(access, 200);
    EXPECT_EQ(many.round_trips, few.round_trips);
    // What one download receives may come in two or three parts.
    EXPECT_LE(many.blocks_received, few.blocks_received + 2);
    EXPECT_EQ(many.dirty_bytes, few.dirty_bytes);
  }
}

}  // namespace
}  // namespace vesper::compute
