// The data path of a ring channel: frames of every size around the end of the ring, and a peer that stores anything.
#include "runtime/transport/ring.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <thread>

#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

using transport::RingDirection;
using transport::RingFlag;
using transport::RingFrame;
using transport::RingReader;
using transport::RingStatus;
using transport::RingWriter;

constexpr size_t kBytes = 64 << 10;

// One direction in memory of exactly its size, so that AddressSanitizer sees an access beyond it.
struct Direction {
  RingDirection words;
  std::unique_ptr<uint8_t[]> memory = std::make_unique<uint8_t[]>(kBytes);
  std::span<uint8_t> bytes() { return {memory.get(), kBytes}; }
};

bool Write(RingWriter* writer, uint64_t sequence, size_t size) {
  uint8_t* place = writer->Reserve(size);
  if (place == nullptr) return false;
  const std::vector<uint8_t> pattern = Pattern(sequence, size);
  std::copy(pattern.begin(), pattern.end(), place);
  writer->Commit(MessageKind::kBatch, RingFlag::kNone, sequence, size);
  return true;
}

// Reads one frame and checks it; false when there is none.
bool Read(RingReader* reader, uint64_t sequence, size_t size) {
  RingFrame frame;
  if (reader->Next(&frame) != RingStatus::kFrame) return false;
  EXPECT_EQ(frame.sequence, sequence);
  EXPECT_EQ(std::vector<uint8_t>(frame.payload.begin(), frame.payload.end()), Pattern(sequence, size));
  reader->Release();
  return true;
}

TEST(RingTest, FramesOfEverySizeGoAround) {
  Direction direction;
  RingWriter writer(&direction.words, direction.bytes());
  RingReader reader(&direction.words, direction.bytes());
  uint64_t sequence = 0;
  for (size_t size = 0; size <= writer.largest(); size += size < 200 ? 1 : 997) {
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(Write(&writer, ++sequence, size)) << size;
      writer.Publish();
      ASSERT_TRUE(Read(&reader, sequence, size)) << size;
    }
  }
  EXPECT_EQ(writer.Reserve(writer.largest() + 1), nullptr);
}

TEST(RingTest, TheReaderSeesWhatIsPublishedAndNoMore) {
  Direction direction;
  RingWriter writer(&direction.words, direction.bytes());
  RingReader reader(&direction.words, direction.bytes());
  ASSERT_TRUE(Write(&writer, 1, 10));
  ASSERT_TRUE(Write(&writer, 2, 20));
  RingFrame frame;
  EXPECT_EQ(reader.Next(&frame), RingStatus::kEmpty);
  EXPECT_FALSE(reader.HasMore());
  writer.Publish();
  EXPECT_TRUE(Read(&reader, 1, 10));
  EXPECT_TRUE(Read(&reader, 2, 20));
}

TEST(RingTest, AFullRingTakesNothingUntilItsReaderGivesRoom) {
  Direction direction;
  RingWriter writer(&direction.words, direction.bytes());
  RingReader reader(&direction.words, direction.bytes());
  for (uint64_t round = 0; round < 50; ++round) {
    uint64_t written = 0, read = 0;
    const size_t size = 100 + round * 331;
    while (Write(&writer, written, size)) ++written;
    EXPECT_GE(written, 2u) << "two of the largest fit";
    writer.Publish();
    EXPECT_FALSE(writer.broken());
    while (Read(&reader, read, size)) ++read;
    EXPECT_EQ(read, written);
  }
}

TEST(RingTest, AWriterAndAReaderAtOnce) {
  Direction direction;
  constexpr uint64_t kFrames = 20000;
  const auto size_of = [](uint64_t i) { return static_cast<size_t>(i * 131 % 3001); };
  std::thread writing([&] {
    RingWriter writer(&direction.words, direction.bytes());
    for (uint64_t i = 0; i < kFrames;) {
      if (Write(&writer, i, size_of(i))) {
        if (++i % 3 == 0 || i == kFrames) writer.Publish();
      } else {
        writer.Publish();
        std::this_thread::yield();
      }
    }
  });
  RingReader reader(&direction.words, direction.bytes());
  for (uint64_t i = 0; i < kFrames;) {
    if (Read(&reader, i, size_of(i))) {
      ++i;
    } else {
      std::this_thread::yield();
    }
  }
  writing.join();
}

// A reader whose writer has stored `tail`, and a first header of these two words.
RingStatus StatusOf(uint64_t tail, uint64_t header, size_t at = 0, uint64_t second = 0) {
  Direction direction;
  RingReader reader(&direction.words, direction.bytes());
  std::memcpy(&direction.memory[0], &header, sizeof(header));
  if (at != 0) std::memcpy(&direction.memory[at], &second, sizeof(second));
  direction.words.tail = tail;
  RingFrame frame;
  const RingStatus status = reader.Next(&frame);
  if (status == RingStatus::kMalformed) {
    direction.words.tail = 0;
    EXPECT_EQ(reader.Next(&frame), RingStatus::kMalformed) << "for good";
  }
  return status;
}

TEST(RingTest, AReaderBelievesNoPosition) {
  EXPECT_EQ(StatusOf(0, 0), RingStatus::kEmpty);
  EXPECT_EQ(StatusOf(kBytes + 16, 0), RingStatus::kMalformed);
  EXPECT_EQ(StatusOf(8, 0), RingStatus::kMalformed);
  EXPECT_EQ(StatusOf(UINT64_MAX, 0), RingStatus::kMalformed);
  EXPECT_EQ(StatusOf(uint64_t{1} << 63, 0), RingStatus::kMalformed);
  EXPECT_EQ(StatusOf(0 - uint64_t{16}, 0), RingStatus::kMalformed) << "backwards";
}

TEST(RingTest, AReaderBelievesNoLengthKindOrFlag) {
  const auto header = [](uint64_t bytes, uint64_t kind, uint64_t flag) { return bytes | kind << 32 | flag << 48; };
  EXPECT_EQ(StatusOf(32, header(16, 3, 0)), RingStatus::kFrame);
  EXPECT_EQ(StatusOf(32, header(17, 3, 0)), RingStatus::kMalformed) << "beyond what is published";
  EXPECT_EQ(StatusOf(kBytes, header(UINT32_MAX, 3, 0)), RingStatus::kMalformed);
  EXPECT_EQ(StatusOf(kBytes, header(kBytes - 15, 3, 0)), RingStatus::kMalformed);
  EXPECT_EQ(StatusOf(32, header(16, 7, 0)), RingStatus::kMalformed);
  EXPECT_EQ(StatusOf(32, header(16, 3, 7)), RingStatus::kMalformed);
  EXPECT_EQ(StatusOf(32, header(16, 0, 1)), RingStatus::kMalformed) << "skips less than the rest of the ring";
  EXPECT_EQ(StatusOf(kBytes, header(kBytes - 16, 0, 1)), RingStatus::kEmpty) << "all of it";
}

TEST(RingTest, AWriterBelievesNoPosition) {
  for (const uint64_t head : {uint64_t{16}, UINT64_MAX, uint64_t{1} << 63, uint64_t{kBytes} * 2}) {
    Direction direction;
    RingWriter writer(&direction.words, direction.bytes());
    direction.words.head = head;  // of what was not even published
    while (Write(&writer, 1, 1000)) {
    }
    EXPECT_TRUE(writer.broken()) << head;
    direction.words.head = 0;
    EXPECT_EQ(writer.Reserve(16), nullptr) << "for good";
  }
}

// Whatever the peer stores, also between two looks: no access leaves the ring, and every call returns.
TEST(RingTest, AnythingMayLieInTheRing) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 3000; ++round) {
    Direction direction;
    RingReader reader(&direction.words, direction.bytes());
    RingWriter writer(&direction.words, direction.bytes());
    uint64_t tail = 0;
    for (int step = 0; step < 40; ++step) {
      const uint64_t offset = random() % (kBytes / 16) * 16;
      const uint64_t word = random() % (kBytes / 8) | (random() % 8) << 32 | (random() % 3) << 48;
      std::memcpy(&direction.memory[random() % 4 == 0 ? offset : tail % kBytes], &word, sizeof(word));
      tail += random() % 64 * 16;
      direction.words.tail = random() % 50 == 0 ? random() : tail;
      direction.words.head = random() % 50 == 0 ? random() : reader.position();
      RingFrame frame;
      if (reader.Next(&frame) == RingStatus::kFrame) {
        const std::vector<uint8_t> copy(frame.payload.begin(), frame.payload.end());
        reader.Release();
      }
      const size_t size = random() % writer.largest();
      if (uint8_t* place = writer.Reserve(size); place != nullptr) {
        std::memset(place, 1, size);
        writer.Commit(MessageKind::kBatch, RingFlag::kNone, 1, size);
      }
    }
  }
}

TEST(RingTest, LayoutsThatMakeNoSense) {
  const transport::RingLayout sound = transport::kRingLayout;
  EXPECT_TRUE(sound.IsSound(sound.end()));
  EXPECT_FALSE(sound.IsSound(sound.end() - 1));
  const auto changed = [&](uint64_t transport::RingLayout::*field, uint64_t value) {
    transport::RingLayout layout = sound;
    layout.*field = value;
    return layout.IsSound(UINT64_MAX);
  };
  using Layout = transport::RingLayout;
  EXPECT_FALSE(changed(&Layout::page, sound.commands)) << "over the commands";
  EXPECT_FALSE(changed(&Layout::page, 8)) << "in no page";
  EXPECT_FALSE(changed(&Layout::commands, 0)) << "over the page";
  EXPECT_FALSE(changed(&Layout::replies, sound.commands + sound.commands_bytes - 4096));
  EXPECT_FALSE(changed(&Layout::replies, UINT64_MAX - 4095)) << "its end wraps";
  EXPECT_FALSE(changed(&Layout::commands_bytes, 3 << 20)) << "no power of two";
  EXPECT_FALSE(changed(&Layout::commands_bytes, 0));
  EXPECT_FALSE(changed(&Layout::replies_bytes, uint64_t{1} << 63));
  EXPECT_TRUE(changed(&Layout::page, uint64_t{1} << 30)) << "anywhere else";
}

}  // namespace
}  // namespace vesper::test
