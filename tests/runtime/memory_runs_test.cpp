// Protects: runs of bytes arrive as they were sent, neighbours share one mask, and malformed ones are refused.
#include "runtime/wire/memory_runs.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "runtime/range_set.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/record.h"

namespace vesper::wire {
namespace {

using Bytes = std::map<uint64_t, uint8_t>;

// What a record says, byte by byte; its runs are counted.
Bytes Parse(std::span<const uint8_t> record, size_t* count) {
  RecordHeader header;
  std::span<const uint8_t> body;
  EXPECT_TRUE(NextRecord(&record, &header, &body));
  EXPECT_TRUE(record.empty());
  const auto runs = Load<MemoryRuns>(body.data());
  body = body.subspan(sizeof(runs));
  Bytes bytes;
  for (uint32_t i = 0; i < runs.count; ++i) {
    wire::Run run;
    EXPECT_TRUE(NextRun(&body, &run));
    ForEachPiece(run, [&](uint64_t offset, std::span<const uint8_t> piece) {
      for (const uint8_t byte : piece) EXPECT_TRUE(bytes.emplace(offset++, byte).second) << "twice";
    });
  }
  EXPECT_TRUE(body.empty());
  *count = runs.count;
  return bytes;
}

TEST(MemoryRuns, ArriveAsTheyWereSent) {
  std::mt19937 random(3);
  RunWriter writer(7);
  for (int round = 0; round < 100; ++round) {
    writer.Begin(1);
    Bytes expected;
    uint64_t at = 0;
    for (uint64_t runs = random() % 40; runs > 0; --runs) {
      at += 1 + random() % (random() % 4 == 0 ? 5000 : 12);
      std::vector<uint8_t> bytes(1 + random() % (random() % 100 == 0 ? 100'000 : 20));
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      for (size_t i = 0; i < bytes.size(); ++i) expected[at + i] = bytes[i];
      writer.Add(at, bytes);
      at += bytes.size();
    }
    size_t count = 0;
    ASSERT_EQ(Parse(writer.Finish(), &count), expected);
  }
}

// A piece of memory of which the bytes for which changed(i) holds did.
struct Piece {
  template <typename Changed>
  Piece(uint64_t offset, size_t size, Changed changed) : bytes(size), mask(LinesOf(size)), changes{offset, bytes, {}} {
    changes.mask = mask.data();
    for (size_t i = 0; i < size; ++i) {
      bytes[i] = static_cast<uint8_t>(i * 7 + i / 256);
      if (!changed(i)) continue;
      mask[i / kLine] |= uint64_t{1} << (i % kLine);
      expected[offset + i] = bytes[i];
    }
  }
  std::vector<uint8_t> bytes;
  std::vector<uint64_t> mask;
  Changes changes;
  Bytes expected;
};

TEST(MemoryRuns, ChangesArriveAsTheyWere) {
  std::mt19937 random(4);
  RunWriter writer(7);
  for (int round = 0; round < 2000; ++round) {
    writer.Begin(1);
    Bytes expected;
    uint64_t offset = random() % 100;
    for (int pieces = 1 + static_cast<int>(random() % 3); pieces > 0; --pieces) {
      // Stretches and gaps of all lengths.
      const uint32_t longest = 1u << (random() % 12);
      size_t left = 0;
      bool on = false;
      const Piece piece(offset, 1 + random() % 4096, [&](size_t) {
        if (left == 0) {
          on = !on;
          left = 1 + random() % longest;
        }
        --left;
        return on;
      });
      writer.Add(piece.changes);
      expected.insert(piece.expected.begin(), piece.expected.end());
      offset += piece.bytes.size() + (random() % 2 == 0 ? 0 : random() % 300);
    }
    size_t count = 0;
    ASSERT_EQ(Parse(writer.Finish(), &count), expected);
  }
}

// What a record costs, counted: half of each float, every fourth byte, a byte in a page, everything.
TEST(MemoryRuns, AreAsShortAsTheirPattern) {
  RunWriter writer(7);
  const auto size_of = [&writer](auto changed, size_t* count) {
    const Piece piece(0, 4096, changed);
    writer.Begin(1);
    writer.Add(piece.changes);
    const auto record = writer.Finish();
    EXPECT_EQ(Parse(record, count), piece.expected);
    return record.size() - sizeof(RecordHeader) - sizeof(MemoryRuns);
  };
  size_t count = 0;
  EXPECT_LE(size_of([](size_t i) { return i % 4 >= 2; }, &count), 16u + 512 + 2048 + 8);
  EXPECT_EQ(count, 1u);
  EXPECT_LE(size_of([](size_t i) { return i % 4 == 0; }, &count), 16u + 512 + 1024 + 8);
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(size_of([](size_t i) { return i == 1001; }, &count), 16u + 8);
  EXPECT_EQ(size_of([](size_t) { return true; }, &count), 16u + 4096);
  EXPECT_EQ(size_of([](size_t i) { return i >= 5 && i < 4090; }, &count), 16u + 4088) << "one run, whatever its ends";
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(size_of([](size_t i) { return i < 64 || i >= 4032; }, &count), 2 * (16u + 64));
  EXPECT_EQ(count, 2u);
}

// Random bytes over others leave one of 256 as it was.
TEST(MemoryRuns, AFewBytesThatDidNotChangeCostLittle) {
  std::mt19937 random(6);
  RunWriter writer(7);
  for (int round = 0; round < 30; ++round) {
    const auto rare = static_cast<uint32_t>(20 + random() % 400);
    size_t holes = 0;
    const auto changed = [&](size_t) {
      const bool is = random() % rare != 0;
      holes += is ? 0u : 1u;
      return is;
    };
    const uint64_t offset = random() % 300;
    const Piece first(offset, 4096, changed);
    const Piece second(offset + 4096, 1 + random() % 70'000, changed);
    writer.Begin(1);
    writer.Add(first.changes);
    writer.Add(second.changes);
    const auto record = writer.Finish();
    Bytes expected = first.expected;
    expected.insert(second.expected.begin(), second.expected.end());
    size_t count = 0;
    ASSERT_EQ(Parse(record, &count), expected);
    if (rare < 100) continue;
    EXPECT_LE(record.size(), 4096 + second.bytes.size() + 2 * holes + 64 * count + 64);
    EXPECT_LE(count, 10u);

    // Placed, they leave everything else as it was.
    std::span<const uint8_t> body = record.subspan(sizeof(RecordHeader) + sizeof(MemoryRuns));
    std::vector<uint8_t> shared(80'000, 0xa5);
    std::vector<uint8_t> twin(80'000, 0x5a);
    wire::Run run;
    while (NextRun(&body, &run)) PlaceRun(run, shared.data() + run.offset, twin.data() + run.offset);
    for (size_t at = 0; at < shared.size(); ++at) {
      const auto found = expected.find(at);
      ASSERT_EQ(shared[at], found == expected.end() ? 0xa5 : found->second) << at;
      ASSERT_EQ(twin[at], found == expected.end() ? 0x5a : found->second) << at;
    }
  }
}

TEST(MemoryRuns, PiecesWithoutAGapBecomeOneRun) {
  RunWriter writer(7);
  writer.Begin(1);
  for (uint64_t at = 0; at < 64 * 1024; at += 4096) {
    writer.Add(Piece(at, 4096, [](size_t) { return true; }).changes);
  }
  size_t count = 0;
  EXPECT_EQ(Parse(writer.Finish(), &count).size(), 64u * 1024);
  EXPECT_EQ(count, 1u);
}

TEST(MemoryRuns, MalformedOnesAreRefused) {
  const auto refused = [](MemoryRun head, std::vector<uint8_t> rest) {
    ByteBuffer bytes;
    bytes.Append(&head, sizeof(head));
    bytes.Append(rest.data(), rest.size());
    std::span<const uint8_t> span{bytes.data(), bytes.size()};
    wire::Run run;
    return !NextRun(&span, &run);
  };
  EXPECT_FALSE(refused({0, 3, 2}, {0b101, 1, 2, 0, 0, 0, 0, 0}));
  EXPECT_TRUE(refused({0, 3, 2}, {0b111, 1, 2, 3, 0, 0, 0, 0})) << "more bits than bytes";
  EXPECT_TRUE(refused({0, 3, 2}, {0b1001, 1, 2, 0, 0, 0, 0, 0})) << "a bit beyond the extent";
  EXPECT_TRUE(refused({0, 3, 4}, {1, 2, 3, 4, 0, 0, 0, 0}));
  EXPECT_TRUE(refused({0, 9, 9}, {1, 2, 3, 4, 0, 0, 0, 0}));
  EXPECT_TRUE(refused({0, UINT32_MAX, 1}, {1, 2, 3, 4, 0, 0, 0, 0}));
  EXPECT_TRUE(refused({0, UINT32_MAX, UINT32_MAX}, {1}));
  EXPECT_FALSE(refused({0, 4, kHoles | 2}, {1, 2, 3, 4, 0, 0, 3, 0}));
  EXPECT_TRUE(refused({0, 4, kHoles | 2}, {1, 2, 3, 4, 3, 0, 0, 0})) << "not ascending";
  EXPECT_TRUE(refused({0, 4, kHoles | 2}, {1, 2, 3, 4, 1, 0, 1, 0})) << "twice";
  EXPECT_TRUE(refused({0, 4, kHoles | 1}, {1, 2, 3, 4, 4, 0, 0, 0})) << "beyond the extent";
  EXPECT_TRUE(refused({0, 4, kHoles | 5}, {1, 2, 3, 4, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 0, 0}));
  EXPECT_TRUE(refused({0, 9, kHoles | 1}, {1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_TRUE(refused({0, 0, kHoles}, {1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_TRUE(refused({0, UINT32_MAX, UINT32_MAX - 1}, {1}));
}

TEST(RangeSet, IsTheUnionOfWhatWasAdded) {
  std::mt19937 random(5);
  RangeSet set;
  std::vector<bool> model(1000, false);
  for (int round = 0; round < 200; ++round) {
    const uint64_t begin = random() % 1000;
    const uint64_t end = begin + random() % std::min<uint64_t>(30, 1000 - begin);
    bool added = false;
    for (uint64_t i = begin; i < end; ++i) {
      added = added || !model[i];
      model[i] = true;
    }
    EXPECT_EQ(set.Add(begin, end), added);
    const uint64_t from = random() % 1000;
    const uint64_t to = from + random() % (1000 - from);
    std::vector<bool> seen(1000, false);
    set.ForEachIn(from, to, [&](uint64_t b, uint64_t e) {
      EXPECT_LT(b, e);
      for (uint64_t i = b; i < e; ++i) seen[i] = true;
    });
    bool all = true;
    for (uint64_t i = 0; i < 1000; ++i) {
      EXPECT_EQ(seen[i], model[i] && i >= from && i < to) << i;
      all = all && (model[i] || i < from || i >= to);
    }
    EXPECT_EQ(set.Covers(from, to), all);
  }
}

}  // namespace
}  // namespace vesper::wire
