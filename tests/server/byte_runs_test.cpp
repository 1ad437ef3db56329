// Protects exactness: every byte that differs is in a run, no equal byte is.
#include "server/byte_runs.h"

#include <gtest/gtest.h>

#include <random>

namespace vesper::server {
namespace {

std::vector<ByteRun> Runs(const std::vector<uint8_t>& current, const std::vector<uint8_t>& known, size_t base = 0) {
  std::vector<ByteRun> runs;
  FindRuns(current, known, base, &runs);
  return runs;
}

TEST(ByteRunsTest, EqualBytesGiveNoRun) {
  EXPECT_TRUE(Runs(std::vector<uint8_t>(1000, 3), std::vector<uint8_t>(1000, 3)).empty());
  EXPECT_TRUE(Runs({}, {}).empty());
}

TEST(ByteRunsTest, OneByteBetweenEqualOnesIsARunOfOne) {
  std::vector<uint8_t> current(600, 0);
  current[599] = 1;
  current[257] = 1;
  current[259] = 1;
  const std::vector<ByteRun> runs = Runs(current, std::vector<uint8_t>(600, 0), 1000);
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[0].offset, 1257u);
  EXPECT_EQ(runs[0].size, 1u);
  EXPECT_EQ(runs[1].offset, 1259u) << "the equal byte between two changed ones is in no run";
  EXPECT_EQ(runs[2].offset, 1599u);
}

TEST(ByteRunsTest, RandomChangesAreExact) {
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    const size_t size = random() % 700;
    std::vector<uint8_t> known(size);
    for (uint8_t& byte : known) byte = static_cast<uint8_t>(random() % 3);
    std::vector<uint8_t> current = known;
    const unsigned density = 1 + static_cast<unsigned>(random() % 40);
    for (uint8_t& byte : current) {
      if (random() % density == 0) byte = static_cast<uint8_t>(random() % 3);
    }
    std::vector<uint8_t> applied = known;
    size_t end = 0;
    for (const ByteRun& run : Runs(current, known)) {
      ASSERT_GT(run.size, 0u);
      ASSERT_TRUE(end == 0 || run.offset > end) << "runs are apart";
      end = run.offset + run.size;
      for (size_t i = run.offset; i < end; ++i) {
        ASSERT_NE(current[i], known[i]);
        applied[i] = current[i];
      }
    }
    ASSERT_EQ(applied, current);
  }
}

}  // namespace
}  // namespace vesper::server
