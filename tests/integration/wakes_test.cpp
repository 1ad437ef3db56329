// How often the two ends of a ring wake each other, counted and not timed: whoever is awake is never woken. Runs through Vesper
// only, over a Unix socket or in a guest: the counts come from VESPER_STATS.
#include <algorithm>
#include <cstdio>

#include "tests/integration/gpu_test.h"
#include "tests/support/statistics_file.h"

namespace vesper::test {
namespace {

struct Wakes {
  uint64_t sent, received, waits;
};

Wakes CountedIn(const StatisticsFile& file) {
  return {file.Total("wakes_sent"), file.Total("wakes_received"),
          file.Total("round_trips") + file.Total("waits") + file.Total("held_back")};
}

TEST(WakesTest, AWaitIsAtMostOneWakeUpOfEachEnd) {
  constexpr uint32_t kTimes = 500;
  // What is asked when a device is made is awaited together and answered one by one, which may wake somebody each time.
  constexpr uint32_t kAnswers = 32;
  const StatisticsFile file;
  { Context first; }  // so that the file exists
  const Wakes before = CountedIn(file);
  {
    Context gpu;
    const Buffer buffer = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
    for (uint32_t i = 1; i <= kTimes; ++i) {
      RunCommands(gpu, [&](VkCommandBuffer commands) {
        vkCmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, i);
        FullBarrier(commands);
      });
      ASSERT_EQ(buffer.As<uint32_t>().back(), i);
    }
  }
  const Wakes after = CountedIn(file);
  const uint64_t waits = after.waits - before.waits;
  const uint64_t sent = after.sent - before.sent, received = after.received - before.received;
  std::printf("%u submits, %ju waits: the server was woken %ju times, the program %ju times\n", kTimes,
              uintmax_t{waits}, uintmax_t{sent}, uintmax_t{received});
  EXPECT_GE(sent, 1u) << "nothing is counted";
  EXPECT_GE(received, 1u) << "nothing is counted";
  EXPECT_LE(received, waits + kAnswers);
  EXPECT_LE(sent, std::max<uint64_t>(waits, kTimes) + kAnswers) << "a submit that is done at once is no wait";
}

}  // namespace
}  // namespace vesper::test
