// Memory that is shared with clients: sealed, there from the start, bounded, and gone afterwards.
#include "server/memory/shared_pages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
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
    if (i % 2 == 0) pages->TakeName().file;
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

}  // namespace
}  // namespace vesper::server
