// Memory that is shared with clients: sealed, there from the start, bounded, and gone afterwards.
#include "server/memory/shared_pages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace vesper::server {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMiB = uint64_t{1} << 20;

size_t OpenDescriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

TEST(SharedPagesTest, AreSealedAllocatedZeros) {
  SharedBudget budget(kMiB);
  const auto pages = SharedPages::Make(5 * kPage, kPage, &budget);
  ASSERT_NE(pages, nullptr);
  EXPECT_EQ(std::count(pages->data(), pages->data() + 5 * kPage, 0), static_cast<ptrdiff_t>(5 * kPage));
  const Descriptor file = pages->TakeName().file;
  EXPECT_NE(fcntl(file.get(), F_GETFD) & FD_CLOEXEC, 0);
  struct stat status;
  ASSERT_EQ(fstat(file.get(), &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(5 * kPage));
  EXPECT_GE(status.st_blocks * 512, static_cast<off_t>(5 * kPage));  // whoever touches a page gets it
  EXPECT_NE(ftruncate(file.get(), static_cast<off_t>(kPage)), 0);
  EXPECT_NE(ftruncate(file.get(), static_cast<off_t>(9 * kPage)), 0);
  void* other = mmap(nullptr, 5 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  ASSERT_NE(other, MAP_FAILED);
  pages->data()[4 * kPage + 7] = 42;
  EXPECT_EQ(static_cast<uint8_t*>(other)[4 * kPage + 7], 42);
  munmap(other, 5 * kPage);
}

TEST(SharedPagesTest, LieWhereTheDriverWantsThem) {
  SharedBudget budget(kMiB);
  for (const uint64_t alignment : {kPage, 16 * kPage, 64 * kPage}) {
    std::vector<std::unique_ptr<SharedPages>> kept;
    for (int i = 0; i < 4; ++i) {
      kept.push_back(SharedPages::Make(kPage, alignment, &budget));
      ASSERT_NE(kept.back(), nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(kept.back()->data()) % alignment, 0u);
      kept.back()->data()[0] = 1;
    }
  }
}

TEST(SharedPagesTest, BudgetIsGivenBack) {
  SharedBudget budget(kMiB);
  for (int round = 0; round < 1000; ++round) {
    const auto most = SharedPages::Make(kMiB - kPage, kPage, &budget);
    ASSERT_NE(most, nullptr) << round;
    EXPECT_EQ(SharedPages::Make(2 * kPage, kPage, &budget), nullptr);
    EXPECT_NE(SharedPages::Make(kPage, kPage, &budget), nullptr);
  }
  EXPECT_EQ(budget.peak(), kMiB);
}

TEST(SharedPagesTest, WhatAClientKeepsHoldsNoMemory) {
  SharedBudget budget(kMiB);
  const auto blocks = [](const Descriptor& file) {
    struct stat status {};
    EXPECT_EQ(fstat(file.get(), &status), 0);
    return status.st_blocks;
  };
  std::vector<Descriptor> kept;
  for (int i = 0; i < 4; ++i) {
    auto pages = SharedPages::Make(kMiB, kPage, &budget);
    ASSERT_NE(pages, nullptr) << i;
    kept.push_back(pages->TakeName().file);
    EXPECT_GT(blocks(kept.back()), 0);
    pages.reset();
    EXPECT_EQ(blocks(kept.back()), 0);
  }
  auto busy = SharedPages::Make(kMiB, kPage, &budget);  // of a session that ends while its device is at work
  ASSERT_NE(busy, nullptr);
  kept.push_back(busy->TakeName().file);
  busy->data()[0] = 42;
  busy->GiveBack();
  EXPECT_EQ(blocks(kept.back()), 0);
  EXPECT_EQ(busy->data()[0], 0) << "still mapped";
  busy->GiveBack();
  EXPECT_NE(SharedPages::Make(kMiB, kPage, &budget), nullptr) << "once";
  EXPECT_EQ(budget.peak(), kMiB);
}

TEST(SharedPagesTest, ImpossibleSizesAreAnAnswer) {
  SharedBudget budget(UINT64_MAX);
  const size_t before = OpenDescriptors();
  for (const uint64_t size : {uint64_t{0}, uint64_t{1} << 50, uint64_t{1} << 62, UINT64_MAX - kPage + 1}) {
    EXPECT_EQ(SharedPages::Make(size, kPage, &budget), nullptr) << size;
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// Limits of the process are answers as well, not signals.
TEST(SharedPagesTest, LimitsAreAnAnswer) {
  SharedBudget budget(kMiB);
  for (const auto& [resource, limit] : {std::pair(RLIMIT_FSIZE, 2 * kPage), std::pair(RLIMIT_NOFILE, uint64_t{3})}) {
    rlimit before{};
    ASSERT_EQ(getrlimit(resource, &before), 0);
    const rlimit low = {limit, before.rlim_max};
    ASSERT_EQ(setrlimit(resource, &low), 0);
    const auto pages = SharedPages::Make(3 * kPage, kPage, &budget);
    ASSERT_EQ(setrlimit(resource, &before), 0);
    EXPECT_EQ(pages, nullptr);
  }
  EXPECT_NE(SharedPages::Make(kMiB, kPage, &budget), nullptr);
}

TEST(SharedPagesTest, NothingLeaks) {
  SharedBudget budget(kMiB);
  const size_t before = OpenDescriptors();
  for (int i = 0; i < 5000; ++i) {
    const auto pages = SharedPages::Make(kPage * (1 + static_cast<uint64_t>(i) % 16), kPage, &budget);
    ASSERT_NE(pages, nullptr);
    if (i % 2 == 0) pages->TakeName();
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// --- pages of a guest's area -------------------------------------------------------------------------------------------

// The file of a guest, as each session opens it.
class AreaPoolTest : public testing::Test {
 protected:
  static constexpr uint64_t kUnit = Area::kUnit;
  void SetUp() override { ASSERT_EQ(ftruncate(file_.get(), 5 * kUnit), 0); }
  std::shared_ptr<Area> Open() const {
    const std::string path = "/proc/self/fd/" + std::to_string(file_.get());
    return Area::OfHost(Descriptor(open(path.c_str(), O_RDWR | O_CLOEXEC)));
  }
  uint64_t Pages() const {
    struct stat status {};
    EXPECT_EQ(fstat(file_.get(), &status), 0);
    return static_cast<uint64_t>(status.st_blocks) * 512 / 4096;
  }

 private:
  const Descriptor file_{memfd_create("vesper-test", MFD_CLOEXEC)};
};

TEST_F(AreaPoolTest, SmallPiecesOfOneSessionShareAUnit) {
  AreaPool one(Open()), other(Open());
  EXPECT_EQ(one.Take(4096, 4096), kUnit);
  EXPECT_EQ(one.Take(8192, 4096), kUnit + 4096);
  EXPECT_EQ(one.Take(4096, 65536), kUnit + 65536);
  EXPECT_EQ(other.Take(4096, 4096), 2 * kUnit) << "a unit is one session's";
  EXPECT_EQ(Pages(), 5u) << "only what is in use";
  EXPECT_EQ(one.Take(kUnit + 4096, 4096), std::nullopt) << "one unit is left";
  one.Return({kUnit, 4096});
  one.Return({kUnit + 65536, 4096});
  EXPECT_EQ(other.Take(2 * kUnit, 4096), std::nullopt);
  one.Return({kUnit + 4096, 8192});
  EXPECT_EQ(Pages(), 1u);
  EXPECT_EQ(other.Take(kUnit, 4096), kUnit) << "a unit that is empty is anybody's";
}

TEST_F(AreaPoolTest, PagesAreZerosWhoeverHadThemAndGoneWhenGivenBack) {
  SharedBudget budget(64 << 20);
  budget.UseArea(Open());
  const uint64_t before = Pages();
  for (int round = 0; round < 3; ++round) {
    auto pages = SharedPages::Make(3 * 4096, 4096, &budget);
    ASSERT_NE(pages, nullptr);
    const MemoryName name = pages->TakeName();
    EXPECT_FALSE(name.file.valid());
    EXPECT_EQ(name.place.size, 3u * 4096);
    EXPECT_TRUE(std::all_of(pages->data(), pages->data() + 3 * 4096, [](uint8_t byte) { return byte == 0; }));
    std::memset(pages->data(), 7, 3 * 4096);
    EXPECT_EQ(Pages(), before + 3);
    pages.reset();
    EXPECT_EQ(Pages(), before);
  }
  EXPECT_EQ(SharedPages::Make(4 * kUnit, 4096, &budget), nullptr) << "more than there is";
}

}  // namespace
}  // namespace vesper::server
