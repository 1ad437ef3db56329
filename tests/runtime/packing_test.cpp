// Packed messages: that they come back as they were, that a sender packs where the line is slower than packing and nowhere else,
// and that no bytes of a hostile peer do harm.
#include "runtime/transport/packing.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <random>

#include "runtime/transport/frame.h"
#include "runtime/transport/frame_reader.h"
#include "runtime/transport/line_meter.h"
#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

using transport::FrameReader;
using transport::FrameStatus;
using transport::LineMeter;
using transport::Packed;
using transport::Packer;
using transport::Packing;
using Bytes8 = std::vector<uint8_t>;

constexpr std::chrono::milliseconds kLong(20000);
constexpr uint64_t kSlow = 12'500'000;  // 100 Mbit/s
constexpr uint64_t kFast = 500'000'000;

Bytes8 Random(size_t size) {
  std::mt19937 random(7);
  Bytes8 bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

Bytes8 Texture(size_t size) {  // a gradient of four channels, as of an image
  Bytes8 bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i % 4 == 3 ? 255 : i / 64);
  return bytes;
}

Bytes8 Floats(size_t size) {  // of which the lower bytes are noise
  std::mt19937 random(7);
  std::vector<float> values(size / sizeof(float));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(static_cast<float>(i) / 1000) + static_cast<float>(random() % 1024) * 1e-6f;
  }
  Bytes8 bytes(size, 1);
  std::memcpy(bytes.data(), values.data(), values.size() * sizeof(float));
  return bytes;
}

Packing Pack(Packer* packer, const Bytes8& bytes, Bytes8* packed) {
  const std::span<const uint8_t> parts[] = {std::span(bytes).first(bytes.size() / 3),
                                            std::span(bytes).subspan(bytes.size() / 3)};
  std::span<const uint8_t> found;
  const Packing packing = packer->Pack(parts, &found);
  packed->assign(found.begin(), found.end());
  return packing;
}

TEST(PackingTest, WhatIsPackedComesBack) {
  for (const Bytes8& bytes :
       {Texture(512), Texture(65'536), Texture(1 << 20), Floats(16'384), Floats(65'533), Floats(515)}) {
    Packer packer;
    packer.Start(Compression::kOn);
    for (int i = 0; i < 20; ++i) {  // both ways are tried now and then
      Bytes8 packed, unpacked;
      const Packing packing = Pack(&packer, bytes, &packed);
      ASSERT_NE(packing, Packing::kNone) << bytes.size();
      ASSERT_LT(packed.size(), bytes.size());
      ASSERT_TRUE(Unpack(packing, packed, bytes.size(), &unpacked));
      ASSERT_EQ(unpacked, bytes);
    }
  }
}

TEST(PackingTest, FloatsArePackedByTheirPlanes) {
  Packer packer;
  packer.Start(Compression::kOn);
  Bytes8 packed;
  EXPECT_EQ(Pack(&packer, Floats(65'536), &packed), Packing::kLz4OfPlanes);
  EXPECT_LT(packed.size(), 65'536u * 3 / 4);
  EXPECT_EQ(Pack(&packer, Texture(65'536), &packed), Packing::kLz4OfPlanes) << "what was best lately";
}

TEST(PackingTest, WhatIsRandomStaysAsItIs) {
  Packer packer;
  packer.Start(Compression::kOn);
  Bytes8 packed;
  EXPECT_EQ(Pack(&packer, Random(65'536), &packed), Packing::kNone);
}

TEST(PackingTest, OnlyASlowLineIsWorthIt) {
  Packer packer;
  packer.Start(Compression::kAuto);
  EXPECT_FALSE(packer.Wants(65'536, 0)) << "nobody has had to wait";
  EXPECT_FALSE(packer.Wants(65'536, kFast));
  EXPECT_TRUE(packer.Wants(65'536, kSlow));
  EXPECT_FALSE(packer.Wants(100, kSlow)) << "nothing to be gained";
  EXPECT_FALSE(packer.Wants(2 << 20, kSlow)) << "no piece";
  Packer off;
  EXPECT_FALSE(off.Wants(65'536, kSlow));
  Packer on;
  on.Start(Compression::kOn);
  EXPECT_TRUE(on.Wants(65'536, 0));
}

TEST(PackingTest, WhatGainsNothingIsSoonLeftAlone) {
  Packer packer;
  packer.Start(Compression::kAuto);
  const Bytes8 random = Random(16'384);
  Bytes8 packed;
  int tried = 0;
  for (int i = 0; i < 1000; ++i) {
    if (!packer.Wants(random.size(), kSlow)) continue;
    ++tried;
    Pack(&packer, random, &packed);
  }
  EXPECT_GT(tried, 10);
  EXPECT_LT(tried, 60);
}

TEST(PackingTest, NothingButWhatWasPackedIsUnpacked) {
  Packer packer;
  packer.Start(Compression::kOn);
  const Bytes8 bytes = Floats(4096);
  Bytes8 packed, out;
  const Packing packing = Pack(&packer, bytes, &packed);
  for (const size_t wrong : {size_t{0}, size_t{1}, bytes.size() - 1, bytes.size() + 1, size_t{2} << 20}) {
    EXPECT_FALSE(Unpack(packing, packed, wrong, &out)) << wrong;
  }
  EXPECT_FALSE(Unpack(Packing::kNone, packed, bytes.size(), &out));
  EXPECT_FALSE(Unpack(packing, {}, bytes.size(), &out));
  for (size_t cut = 0; cut < packed.size(); ++cut) {
    EXPECT_FALSE(Unpack(packing, std::span(packed).first(cut), bytes.size(), &out)) << cut;
  }
  std::mt19937 random(11);
  for (int i = 0; i < 20'000; ++i) {  // anything may come of it, but no harm: ASan looks on
    Bytes8 damaged = packed;
    for (int flips = 0; flips < 3; ++flips)
      damaged[random() % damaged.size()] ^= static_cast<uint8_t>(1u << random() % 8);
    if (!Unpack(packing, damaged, bytes.size(), &out)) continue;
    EXPECT_EQ(out.size(), bytes.size());
  }
}

Bytes8 PackedFrame(const Packed& packed, const Bytes8& data) {
  const std::span<const uint8_t> part(data);
  transport::OutgoingFrame frame(MessageKind::kBatch, 3, {&part, 1}, 0, packed);
  Bytes8 bytes;
  std::array<iovec, 4> vectors;
  for (size_t i = 0, count = frame.Gather(vectors); i < count; ++i) {
    const auto* from = static_cast<const uint8_t*>(vectors[i].iov_base);
    bytes.insert(bytes.end(), from, from + vectors[i].iov_len);
  }
  return bytes;
}

FrameStatus Read(const Bytes8& bytes, bool accepts, Message* message, std::string* error) {
  FrameReader reader;
  if (accepts) reader.AcceptPacked();
  size_t at = 0;
  for (;;) {
    const FrameStatus status = reader.Next(message);
    *error = reader.error();
    if (status != FrameStatus::kNeedMore || at == bytes.size()) return status;
    std::array<iovec, 2> vectors;
    const size_t count = reader.Space(vectors);
    size_t filled = 0;
    for (size_t i = 0; i < count; ++i) {
      const size_t piece = std::min(vectors[i].iov_len, bytes.size() - at);
      std::memcpy(vectors[i].iov_base, bytes.data() + at, piece);
      at += piece;
      filled += piece;
    }
    reader.Filled(filled);
  }
}

TEST(PackingTest, FramesSayHowTheyWerePacked) {
  Packer packer;
  packer.Start(Compression::kOn);
  for (const size_t size : {size_t{600}, size_t{1} << 20}) {
    const Bytes8 bytes = Floats(size);
    Bytes8 data;
    const Packed packed{static_cast<uint8_t>(Pack(&packer, bytes, &data)), static_cast<uint32_t>(size)};
    Message message;
    std::string error;
    ASSERT_EQ(Read(PackedFrame(packed, data), true, &message, &error), FrameStatus::kMessage) << error;
    EXPECT_EQ(message.payload, bytes);
    EXPECT_EQ(message.sequence, 3u);
    EXPECT_EQ(Read(PackedFrame(packed, data), false, &message, &error), FrameStatus::kMalformed);
    EXPECT_EQ(error, "a packed message that nobody agreed on");
    for (const Packed& wrong :
         {Packed{3, packed.unpacked}, Packed{packed.packing, 0}, Packed{packed.packing, UINT32_MAX},
          Packed{packed.packing, packed.unpacked - 1}, Packed{packed.packing, (1u << 20) + 1}}) {
      EXPECT_EQ(Read(PackedFrame(wrong, data), true, &message, &error), FrameStatus::kMalformed);
      EXPECT_FALSE(error.empty());
    }
  }
}

// Through sockets, where both ends agreed on it.
TEST(PackingTest, ChannelsSendLess) {
  for (const Transport transport : {Transport::kTcp, Transport::kTls}) {
    ChannelPair pair = MakePair(transport);
    ASSERT_TRUE(pair.client->OffersCompression());
    pair.client->StartCompression(Compression::kOn);
    pair.server->StartCompression(Compression::kAuto);
    const Bytes8 bytes = Texture(65'536);
    const uint64_t before = pair.client->bytes_sent();
    ASSERT_EQ(SendBytes(*pair.client, MessageKind::kBatch, 1, bytes), ChannelStatus::kOk);
    Message message;
    ASSERT_EQ(pair.server->Receive(&message, kLong), ChannelStatus::kOk);
    EXPECT_EQ(message.payload, bytes);
    EXPECT_LT(pair.client->bytes_sent() - before, bytes.size() / 4);
    const uint64_t saved = pair.client->unpacked_bytes_sent() - pair.client->bytes_sent();
    EXPECT_GT(saved, bytes.size() * 3 / 4);
    EXPECT_EQ(pair.server->unpacked_bytes_received() - pair.server->bytes_received(), saved);
    // Nobody has had to wait for this line.
    ASSERT_EQ(SendBytes(*pair.server, MessageKind::kEvent, 1, bytes), ChannelStatus::kOk);
    ASSERT_EQ(pair.client->Receive(&message, kLong), ChannelStatus::kOk);
    EXPECT_EQ(pair.server->unpacked_bytes_sent(), pair.server->bytes_sent());
  }
  EXPECT_FALSE(MakePair(Transport::kUnix).client->OffersCompression());
}

// Time is only what the meter is told.
TEST(LineMeterTest, MeasuresWhatTheLineTakesWhileItIsFull) {
  using std::chrono::milliseconds;
  LineMeter meter;
  auto now = LineMeter::Clock::time_point{} + milliseconds(1000);
  meter.Sent(1 << 20);  // into an empty buffer, which says nothing
  EXPECT_EQ(meter.rate(), 0u);
  meter.Full(now);
  for (int i = 0; i < 5; ++i) {
    meter.Sent(100'000);
    now += milliseconds(10);
    meter.Full(now);
  }
  EXPECT_EQ(meter.rate(), 10'000'000u);
  // A peer that does not read for a second, twice.
  for (int i = 0; i < 2; ++i) {
    meter.Sent(50'000);
    now += milliseconds(1000);
    meter.Full(now);
  }
  EXPECT_EQ(meter.rate(), 10'000'000u);
  // What is taken without waiting, and much of it, says that the line has become faster.
  meter.RanDry();
  EXPECT_FALSE(meter.measures());
  for (int i = 0; i < 100; ++i) meter.Sent(20'000);
  EXPECT_GE(meter.rate(), 20'000'000u);
}

}  // namespace
}  // namespace vesper::test
