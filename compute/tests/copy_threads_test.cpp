// Protects that a copy by several threads is the copy that memcpy makes, at every size, and also
// when several threads ask for one at the same time.
#include "compute/src/copy_threads.h"

#include <gtest/gtest.h>

#include <random>

namespace vesper::compute {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

std::vector<uint64_t> Random(uint64_t bytes, uint32_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> words(bytes / 8 + 1);
  for (uint64_t& word : words) word = random();
  return words;
}

void ExpectCopies(CopyThreads* threads, uint64_t bytes, uint32_t seed) {
  const std::vector<uint64_t> from = Random(bytes, seed);
  std::vector<uint64_t> to(from.size(), 0x5555);
  threads->Copy(to.data(), from.data(), bytes);
  const auto* to_bytes = reinterpret_cast<const std::byte*>(to.data());
  const auto* from_bytes = reinterpret_cast<const std::byte*>(from.data());
  EXPECT_TRUE(std::equal(to_bytes, to_bytes + bytes, from_bytes)) << bytes << " bytes";
  std::vector<uint64_t> untouched(1, 0x5555);
  EXPECT_TRUE(std::equal(to_bytes + bytes, to_bytes + to.size() * 8,
                         reinterpret_cast<const std::byte*>(untouched.data()) + bytes % 8));
}

TEST(CopyThreadsTest, CopiesEverySize) {
  for (const uint32_t count : {1, 2, 3, 4}) {
    CopyThreads threads(count);
    uint32_t seed = 0;
    for (const uint64_t bytes :
         {uint64_t{0}, uint64_t{1}, 4 * kMiB - 1, 4 * kMiB, 4 * kMiB + 1, 7 * kMiB + 4095, 9 * kMiB + 13}) {
      ExpectCopies(&threads, bytes, ++seed);
    }
  }
}

TEST(CopyThreadsTest, SeveralAtATime) {
  CopyThreads threads(3);
  std::vector<std::thread> callers;
  for (uint32_t i = 0; i < 3; ++i) {
    callers.emplace_back([&threads, i] {
      for (uint32_t round = 0; round < 5; ++round) ExpectCopies(&threads, 5 * kMiB + i, i);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

}  // namespace
}  // namespace vesper::compute
