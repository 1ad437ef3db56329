// The client's side of shared memory: it maps only what cannot fail under it. And memory of the application's own, which is
// read and written whatever access it grants.
#include "client/memory/shared_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "client/tracking/foreign_tracker.h"
#include "tests/support/changed_bytes.h"

namespace vesper::client {
namespace {

constexpr size_t kPage = 4096;

Descriptor File(off_t size, int seals) {
  Descriptor file(memfd_create("vesper-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(ftruncate(file.get(), size), 0);
  EXPECT_EQ(fcntl(file.get(), F_ADD_SEALS, seals), 0);
  return file;
}

TEST(SharedMappingTest, SharesWhatIsSealed) {
  const Descriptor file = File(3 * kPage, F_SEAL_SHRINK);
  SharedMapping mapping;
  ASSERT_TRUE(mapping.Map(file, 2 * kPage + 100));  // sizes are rounded up on the server alone
  mapping.data()[2 * kPage + 99] = 9;
  uint8_t seen = 0;
  ASSERT_EQ(pread(file.get(), &seen, 1, 2 * kPage + 99), 1);
  EXPECT_EQ(seen, 9);
}

TEST(SharedMappingTest, RefusesWhatCouldFailUnderIt) {
  SharedMapping mapping;
  EXPECT_FALSE(mapping.Map(Descriptor(), kPage));
  EXPECT_FALSE(mapping.Map(File(kPage, F_SEAL_GROW), kPage)) << "it could shrink";
  EXPECT_FALSE(mapping.Map(File(kPage, F_SEAL_SHRINK), kPage + 1)) << "it is too small";
  EXPECT_FALSE(mapping.Map(File(kPage, F_SEAL_SHRINK), 0));
  EXPECT_FALSE(mapping.valid());
}

TEST(SharedMappingTest, AChildOfAForkHasItsOwn) {
  const Descriptor file = File(kPage, F_SEAL_SHRINK);
  std::vector<std::unique_ptr<SharedMapping>> mappings;  // more than one block of the registry
  for (int i = 0; i < 3000; ++i) {
    mappings.push_back(std::make_unique<SharedMapping>());
    ASSERT_TRUE(mappings.back()->Map(file, kPage));
  }
  mappings[5] = nullptr;
  mappings[0]->data()[0] = 1;
  const pid_t child = fork();
  if (child == 0) {
    ReplaceSharedMappingsAfterFork();
    for (const auto& mapping : mappings) {
      if (mapping == nullptr) continue;
      if (mapping->data()[0] != 0) _exit(1);
      mapping->data()[0] = 2;
    }
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(mappings[0]->data()[0], 1);
}

// --- memory of the application's own ----------------------------------------------------------------------------------

class ForeignTrackerTest : public testing::Test {
 protected:
  static constexpr size_t kSize = 200 * kPage;
  ForeignTrackerTest()
      : data_(static_cast<uint8_t*>(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))),
        tracker_(MakeForeignTracker(data_, kSize)) {}
  ~ForeignTrackerTest() override { munmap(data_, kSize); }

  // What was found, by offset.
  std::map<uint64_t, std::vector<uint8_t>> Collect(uint64_t offset = 0, uint64_t size = kSize) {
    std::map<uint64_t, std::vector<uint8_t>> runs;
    tracker_->Collect(offset, size, [&](const wire::Changes& changes, size_t) {
      ForEachStretch(changes,
                     [&](uint64_t at, std::span<const uint8_t> bytes) { runs[at].assign(bytes.begin(), bytes.end()); });
    });
    return runs;
  }
  void Protect(size_t page, size_t pages, int how) { ASSERT_EQ(mprotect(data_ + page * kPage, pages * kPage, how), 0); }
  using Runs = std::map<uint64_t, std::vector<uint8_t>>;

  uint8_t* const data_;
  const std::unique_ptr<Tracker> tracker_;
};

TEST_F(ForeignTrackerTest, FindsExactRuns) {
  EXPECT_EQ(tracker_->shadow(), data_);
  EXPECT_EQ(Collect(), Runs{});
  data_[10] = 1;
  data_[12] = 2;
  std::memset(data_ + 70 * kPage - 2, 3, 4);  // over blocks
  data_[kSize - 1] = 4;
  EXPECT_EQ(Collect(), (Runs{{10, {1}}, {12, {2}}, {70 * kPage - 2, {3, 3}}, {70 * kPage, {3, 3}}, {kSize - 1, {4}}}));
  EXPECT_EQ(Collect(), Runs{});
}

TEST_F(ForeignTrackerTest, WhatTheDeviceWroteIsNoChange) {
  const std::vector<uint8_t> bytes(3 * kPage, 7);
  EXPECT_TRUE(tracker_->Apply(RunOf(kPage + 5, bytes)));
  EXPECT_EQ(data_[kPage + 4], 0);
  EXPECT_EQ(data_[kPage + 5], 7);
  EXPECT_EQ(data_[4 * kPage + 4], 7);
  EXPECT_EQ(Collect(), Runs{});
  EXPECT_FALSE(tracker_->Apply(RunOf(kSize - 1, bytes)));
}

TEST_F(ForeignTrackerTest, PagesWithoutAccessAreLeftAlone) {
  std::memset(data_, 1, kSize);
  Collect();
  std::memset(data_, 2, kSize);
  Protect(3, 2, PROT_NONE);
  Protect(100, 1, PROT_READ);
  size_t found = 0;
  for (const auto& [at, bytes] : Collect()) found += bytes.size();
  EXPECT_EQ(found, kSize - 2 * kPage);
  const std::vector<uint8_t> bytes(kSize, 9);
  EXPECT_TRUE(tracker_->Apply(RunOf(0, bytes)));
  EXPECT_EQ(data_[2 * kPage], 9);
  EXPECT_EQ(data_[100 * kPage], 2) << "could not be written";
  EXPECT_EQ(data_[101 * kPage], 9);
  Protect(0, kSize / kPage, PROT_READ | PROT_WRITE);
  EXPECT_EQ(data_[3 * kPage], 2);
  EXPECT_EQ(data_[5 * kPage], 9);
}

}  // namespace
}  // namespace vesper::client
