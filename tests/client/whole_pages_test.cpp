// Protects what is sent without a look at the twin: pages that nobody else writes, over a fast line. The server ends up with what
// the application wrote, and as soon as the device may write there exactly what changed travels.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "client/base/limits.h"
#include "client/tracking/tracker.h"
#include "tests/client/fixture.h"
#include "tests/support/changed_bytes.h"

namespace vesper::client {
namespace {

constexpr uint64_t kSize = 512 * 1024 + 100;
constexpr size_t kPage = limits::kBlockBytes;

class WholePagesTest : public testing::TestWithParam<TrackerKind> {
 protected:
  void SetUp() override {
    std::string why;
    if (!Affords(GetParam(), &why)) GTEST_SKIP() << NameOf(GetParam()) << ": " << why;
    tracker_ = MakeTracker(GetParam(), kSize);
    ASSERT_NE(tracker_, nullptr);
  }
  void Take(const wire::Changes& changes, size_t count, uint64_t* sent) {
    ForEachStretch(changes, [&](uint64_t offset, std::span<const uint8_t> bytes) {
      ASSERT_LE(offset + bytes.size(), kSize);
      std::memcpy(server_.data() + offset, bytes.data(), bytes.size());
    });
    *sent += count;
  }
  auto Sink(uint64_t* sent) {
    return [this, sent](const wire::Changes& changes, size_t count) { Take(changes, count, sent); };
  }
  uint64_t Collect(bool whole, uint64_t offset = 0, uint64_t size = kSize) {
    uint64_t sent = 0;
    tracker_->Collect(offset, size, Sink(&sent),
                      {.trigger = 0, .whole = whole ? Search::Whole::kAnything : Search::Whole::kNever});
    return sent;
  }
  uint64_t Settle(uint64_t offset, uint64_t size) {
    uint64_t sent = 0;
    tracker_->Settle(offset, size, Sink(&sent));
    return sent;
  }
  // Bytes that changed, in slices as MappedMemory searches.
  uint64_t CollectInSlices() {
    uint64_t sent = 0;
    const auto sink = [this, &sent](const wire::Changes& changes, size_t count) { Take(changes, count, &sent); };
    ++trigger_;
    for (uint64_t at = 0; at < kSize; at += limits::kDenseSliceBytes) {
      tracker_->Collect(at, limits::kDenseSliceBytes, sink, {.trigger = trigger_, .whole = Search::Whole::kDense});
    }
    return sent;
  }
  void Rewrite() {
    for (uint64_t at = 0; at < kSize; ++at) ++tracker_->shadow()[at];
  }
  void ExpectEqual() const { EXPECT_EQ(std::memcmp(server_.data(), tracker_->shadow(), kSize), 0); }

  std::unique_ptr<Tracker> tracker_;
  std::vector<uint8_t> server_ = std::vector<uint8_t>(kSize, 0);

 private:
  uint64_t trigger_ = 0;
};

TEST_P(WholePagesTest, WhatIsRewrittenArrivesAndWhatIsNotDoesNotTravel) {
  for (int row = 0; row < 3; ++row) {
    for (int round = 0; round < 6; ++round) {
      Rewrite();
      ASSERT_EQ(Collect(true), kSize);
      ExpectEqual();
    }
    ASSERT_EQ(Collect(true), 0u) << "nothing was written since";
    tracker_->shadow()[100'000] ^= 1;
    const uint64_t sent = Collect(true);
    EXPECT_GE(sent, 1u);
    EXPECT_LE(sent, kPage) << "one page at most";
    ExpectEqual();
    ASSERT_EQ(Collect(false), 0u);
  }
}

// As of a program that submits several times for each time that it fills a staging buffer: in between nothing travels, and what is
// written is found, whether or not the pages are recorded at the time.
TEST_P(WholePagesTest, LooksInVainBetweenRewritingsSendNothing) {
  std::mt19937 random(9);
  for (int round = 0; round < 60; ++round) {
    Rewrite();
    ASSERT_EQ(Collect(round % 3 != 0), kSize) << round;
    for (int looks = round / 6; looks > 0; --looks) ASSERT_EQ(Collect(looks % 3 != 0), 0u) << round;
    ExpectEqual();
    if (random() % 4 != 0) continue;
    tracker_->shadow()[random() % kSize] ^= 1;
    ASSERT_GE(Collect(true), 1u);
    ExpectEqual();
  }
}

// Nor does each rewriting cost a fault for each page, though not every look finds one.
TEST_P(WholePagesTest, RewritingsInterruptedByLooksInVainAreNotRecorded) {
  const auto faults = [] {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt;
  };
  for (int round = 0; round < 6; ++round) {
    Rewrite();
    ASSERT_EQ(Collect(false), kSize);
    ASSERT_EQ(Collect(false), 0u);
  }
  const auto before = faults();
  Rewrite();
  EXPECT_LT(faults() - before, static_cast<long>(kSize / kPage / 4));
  ASSERT_EQ(Collect(false), kSize);
  ExpectEqual();
}

TEST_P(WholePagesTest, ExactlyWhatChangedTravelsOnceTheDeviceMayWrite) {
  for (int round = 0; round < 6; ++round) {
    Rewrite();
    Collect(true);
  }
  tracker_->shadow()[5000] ^= 1;
  const uint64_t settled = Settle(0, kSize);
  const uint64_t later = Collect(false);
  EXPECT_GE(settled + later, 1u);
  EXPECT_LE(settled + later, kPage);
  ExpectEqual();
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    const uint64_t at = random() % (kSize - 10);
    const uint8_t device = static_cast<uint8_t>(random() | 1);
    ++tracker_->shadow()[at];
    const std::vector<uint8_t> bytes(3, device);  // beside what the application wrote
    ASSERT_TRUE(tracker_->Apply(RunOf(at + 1, bytes)));
    std::memcpy(server_.data() + at + 1, bytes.data(), bytes.size());
    ASSERT_EQ(Collect(false), 1u);
    ExpectEqual();
  }
}

// Where the line counts, only what is dense goes wholly.
TEST_P(WholePagesTest, WhatIsSparseTravelsExactly) {
  for (int round = 0; round < 8; ++round) {
    for (uint64_t at = 0; at < kSize; at += 2) ++tracker_->shadow()[at];
    uint64_t sent = 0;
    tracker_->Collect(0, kSize, Sink(&sent), {.trigger = 0, .whole = Search::Whole::kDense});
    ASSERT_EQ(sent, kSize / 2);
    ExpectEqual();
  }
}

// From one way to the other and back, in parts of pages too: nothing is missed.
TEST_P(WholePagesTest, BothWaysTakeTurns) {
  std::mt19937 random(5);
  for (int round = 0; round < 120; ++round) {
    if (random() % 3 != 0) Rewrite();
    for (uint64_t writes = random() % 5; writes > 0; --writes) tracker_->shadow()[random() % kSize] ^= 0x55;
    if (random() % 4 == 0) {
      const uint64_t at = random() % kSize;
      Collect(random() % 2 == 0, at, random() % (kSize - at) + 1);
    }
    if (random() % 8 == 0) Settle(random() % kSize, 1 + random() % 100'000);
    Collect(random() % 2 == 0);
    ExpectEqual();
  }
  Collect(false);
  ASSERT_EQ(Collect(false), 0u);
}

// Searches of one trigger in slices find everything, and look at what nobody is known to have written once and not in each slice.
TEST_P(WholePagesTest, SlicesOfATriggerFindEverything) {
  for (int round = 0; round < 6; ++round) {
    Rewrite();
    ASSERT_EQ(CollectInSlices(), kSize) << round;
    ExpectEqual();
  }
  ASSERT_EQ(CollectInSlices(), 0u);
}

INSTANTIATE_TEST_SUITE_P(All, WholePagesTest,
                         testing::Values(TrackerKind::kUffd, TrackerKind::kHash, TrackerKind::kMemcmp),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

}  // namespace
}  // namespace vesper::client
