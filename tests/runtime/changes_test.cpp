// Protects exactness: whichever kernel the processor affords, every byte that differs has its bit and no other; what is packed
// arrives where it was, and neighbours are neither read nor written.
#include "runtime/wire/changes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace vesper::wire {
namespace {

using Bytes = std::vector<uint8_t>;

struct Kernels {
  const char* name;
  const ChangeKernels* kernels;
};

class ChangesTest : public testing::TestWithParam<Kernels> {
 protected:
  const ChangeKernels& kernels() const { return *GetParam().kernels; }
};

// Pairs of buffers of one kind of difference each.
struct Pair {
  Bytes known;
  Bytes current;
};

Pair MakePair(std::mt19937* random, size_t size) {
  const auto below = [random](uint32_t bound) { return static_cast<uint32_t>((*random)() % bound); };
  Pair pair{Bytes(size), {}};
  for (uint8_t& byte : pair.known) byte = static_cast<uint8_t>(below(256));
  pair.current = pair.known;
  const uint32_t kind = below(5);
  const uint32_t period = 1 + below(9);
  for (size_t i = 0; i < size; ++i) {
    const bool changes = kind == 0   ? below(2 + period * period * 3) == 0
                         : kind == 1 ? i % period < period / 2 + 1
                         : kind == 2 ? i / 64 % period == 0
                         : kind == 3 ? below(200) != 0
                                     : (i / 333) % 2 == 0;
    if (changes) pair.current[i] = static_cast<uint8_t>(pair.known[i] + 1 + below(255));
  }
  return pair;
}

TEST_P(ChangesTest, FindWhatAPlainLoopFinds) {
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    const size_t size = round % 10 == 0 ? random() % 5000 : random() % 200;
    const size_t shift = random() % 33;  // no pointer is aligned
    Pair pair = MakePair(&random, size + shift);
    const uint8_t* current = pair.current.data() + shift;
    const Bytes known(pair.known.begin() + static_cast<ptrdiff_t>(shift), pair.known.end());
    Bytes seen(size, 0xee);
    std::vector<uint64_t> mask(LinesOf(size), 0x5555);
    const size_t count = kernels().find(current, pair.known.data() + shift, size, seen.data(), mask.data());
    size_t expected = 0;
    for (size_t i = 0; i < size; ++i) {
      const bool set = (mask[i / kLine] >> (i % kLine) & 1) != 0;
      ASSERT_EQ(set, current[i] != known[i]) << i << " of " << size;
      if (!set) continue;
      ASSERT_EQ(seen[i], current[i]);
      ++expected;
    }
    ASSERT_EQ(count, expected);
    if (size % kLine != 0) {
      ASSERT_EQ(mask.back() >> (size % kLine), 0u) << "bits beyond the bytes";
    }
    ASSERT_EQ(kernels().count(reinterpret_cast<const uint8_t*>(mask.data()), (size + 7) / 8), expected);
    ASSERT_TRUE(std::equal(current, current + size, pair.known.data() + shift)) << "what was found is known";
  }
}

// The buffers have exactly the sizes that are promised, so that AddressSanitizer sees a kernel that goes beyond.
TEST_P(ChangesTest, ArriveWhereTheyWere) {
  std::mt19937 random(12);
  for (int round = 0; round < 3000; ++round) {
    const size_t size = round % 10 == 0 ? 1 + random() % 5000 : 1 + random() % 200;
    const Pair pair = MakePair(&random, size);
    Bytes seen(size);
    std::vector<uint64_t> mask(LinesOf(size));
    Bytes known = pair.known;
    const size_t count = kernels().find(pair.current.data(), known.data(), size, seen.data(), mask.data());
    Bytes out(size);
    ASSERT_EQ(kernels().pack(seen.data(), mask.data(), size, out.data()), count);
    const Bytes packed(out.begin(), out.begin() + static_cast<ptrdiff_t>(count));
    Bytes expected;
    for (size_t i = 0; i < size; ++i) {
      if (pair.current[i] != pair.known[i]) expected.push_back(pair.current[i]);
    }
    ASSERT_EQ(packed, expected);
    const auto* bits = reinterpret_cast<const uint8_t*>(mask.data());
    const Bytes narrow(bits, bits + (size + 7) / 8);
    Bytes shared(size, 0x77);
    Bytes twin = pair.known;
    kernels().place(narrow.data(), size, packed.data(), packed.size(), shared.data(), twin.data());
    ASSERT_EQ(twin, pair.current);
    for (size_t i = 0; i < size; ++i) {
      ASSERT_EQ(shared[i], pair.current[i] != pair.known[i] ? pair.current[i] : 0x77) << i << " of " << size;
    }
    Bytes copied(size, 0x77);
    kernels().copy(mask.data(), size, pair.current.data(), copied.data());
    ASSERT_EQ(copied, shared) << "the same of bytes that are not packed";
  }
}

// Another thread counts in the bytes between those that are placed: none of its writes is undone.
TEST_P(ChangesTest, NeighboursSurvive) {
  constexpr size_t kSize = 512;
  Bytes shared(kSize, 0);
  Bytes twin(kSize, 0);
  const Bytes mask(kSize / 8, 0b01101110);
  const Bytes packed(kSize / 8 * 5, 1);
  std::atomic<bool> ends{false};
  std::thread neighbour([&] {
    for (uint8_t value = 0; !ends; ++value) {
      for (size_t i = 0; i < kSize; i += 8) {
        std::atomic_ref(shared[i]).store(value);
        if (std::atomic_ref(shared[i]).load() != value) ADD_FAILURE() << "undone at " << i;
      }
    }
  });
  const std::vector<uint64_t> words(kSize / 64, 0x6e6e6e6e6e6e6e6eu);
  for (int round = 0; round < 20'000; ++round) {
    kernels().place(mask.data(), kSize, packed.data(), packed.size(), shared.data(), twin.data());
    kernels().copy(words.data(), kSize, twin.data(), shared.data());
  }
  ends = true;
  neighbour.join();
}

std::vector<Kernels> Available() {
  std::vector<Kernels> all;
  for (const ChangeKernels* each : ChangeKernelsHere()) {
    all.push_back({each == &kPlainChanges ? "plain" : each == &BestChangeKernels() ? "best" : "second", each});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Kernels, ChangesTest, testing::ValuesIn(Available()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace vesper::wire
