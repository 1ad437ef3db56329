// The bytes of a message: that what we write by hand is Cap'n Proto, that what Cap'n Proto writes
// is understood, and that no bytes do harm.
#include "runtime/transport/frame.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>

#include "runtime/transport/frame_reader.h"
#include "runtime/transport/vesper.capnp.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/encoder.h"
#include "runtime/wire/limits.h"
#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

using transport::FrameReader;
using transport::FrameStatus;
using transport::OutgoingFrame;
namespace schema = transport::schema;

std::vector<uint8_t> Frame(MessageKind kind, uint64_t sequence, const std::vector<uint8_t>& payload) {
  const std::span<const uint8_t> part(payload);
  OutgoingFrame frame(kind, sequence, {&part, 1});
  std::vector<uint8_t> bytes;
  while (!frame.done()) {  // in small steps, as a full socket would take it
    std::array<iovec, 2> vectors;
    EXPECT_NE(frame.Gather(vectors), 0u);
    const size_t count = std::min<size_t>(vectors[0].iov_len, 5);
    const auto* from = static_cast<const uint8_t*>(vectors[0].iov_base);
    bytes.insert(bytes.end(), from, from + count);
    frame.Advance(count);
  }
  return bytes;
}

std::vector<uint8_t> Frame(capnp::MessageBuilder& builder) {
  const auto words = capnp::messageToFlatArray(builder);
  const auto bytes = words.asBytes();
  return {bytes.begin(), bytes.end()};
}

// Puts `bytes` into a reader, at most `step` at a time, and returns how it ends and what came.
FrameStatus Feed(FrameReader* reader, std::span<const uint8_t> bytes, size_t step, std::vector<Message>* messages) {
  for (;;) {
    Message message;
    const FrameStatus status = reader->Next(&message);
    if (status == FrameStatus::kMalformed) return status;
    if (status == FrameStatus::kMessage) {
      messages->push_back(std::move(message));
      continue;
    }
    if (bytes.empty()) return status;
    std::array<iovec, 2> vectors;
    size_t left = std::min(step, bytes.size());
    size_t put = 0;
    for (size_t i = 0, used = reader->Space(vectors); i < used && left != 0; ++i) {
      const size_t count = std::min(left, vectors[i].iov_len);
      std::memcpy(vectors[i].iov_base, bytes.data() + put, count);
      put += count;
      left -= count;
    }
    reader->Filled(put);
    bytes = bytes.subspan(put);
  }
}

std::vector<std::vector<uint8_t>> FramesOfEveryKind() {
  return {HandshakePayload(MessageKind::kHello),
          HandshakePayload(MessageKind::kWelcome),
          Frame(MessageKind::kRefused, 0, Bytes("the reason")),
          Frame(MessageKind::kBatch, 11, Pattern(11, 100)),
          Frame(MessageKind::kReply, 12, Pattern(12, 13)),
          Frame(MessageKind::kEvent, 13, Pattern(13, 8)),
          Frame(MessageKind::kGoodbye, 0, Bytes("bye"))};
}

TEST(FrameTest, CapnProtoReadsWhatIsWrittenByHand) {
  for (size_t size : {0, 1, 7, 8, 9, 4096, 100001}) {
    const auto frame = Frame(MessageKind::kReply, 0x1122334455667788, Pattern(1, size));
    ASSERT_EQ(frame.size() % 8, 0u);
    const kj::ArrayPtr<const capnp::word> words(reinterpret_cast<const capnp::word*>(frame.data()), frame.size() / 8);
    capnp::FlatArrayMessageReader reader(words);
    EXPECT_EQ(reader.getEnd(), words.end());
    const auto message = reader.getRoot<schema::Message>();
    ASSERT_TRUE(message.isReply());
    EXPECT_EQ(message.getReply().getSequence(), 0x1122334455667788u);
    const auto data = message.getReply().getData();
    EXPECT_EQ(std::vector<uint8_t>(data.begin(), data.end()), Pattern(1, size));
  }
}

TEST(FrameTest, WritesTheBytesThatCapnProtoWould) {
  capnp::MallocMessageBuilder builder;
  auto event = builder.initRoot<schema::Message>().initEvent();
  const auto data = Pattern(5, 61);
  event.setSequence(5);
  event.setData({data.data(), data.size()});
  const auto frame = Frame(MessageKind::kEvent, 5, data);
  const auto words = capnp::canonicalize(builder.getRoot<schema::Message>().asReader());
  const auto bytes = words.asBytes();
  ASSERT_EQ(frame.size(), bytes.size() + 8);  // the segment table: one segment
  EXPECT_EQ(std::vector<uint8_t>(frame.begin() + 8, frame.end()), std::vector<uint8_t>(bytes.begin(), bytes.end()));
}

TEST(FrameTest, ReadsOtherLayoutsOfTheSameMessage) {
  // Small segments make far pointers and a frame of several segments.
  for (const unsigned first_segment : {1, 4, 16}) {
    capnp::MallocMessageBuilder builder(first_segment, capnp::AllocationStrategy::FIXED_SIZE);
    auto event = builder.initRoot<schema::Message>().initEvent();
    const auto data = Pattern(6, 1000);
    event.setData({data.data(), data.size()});
    event.setSequence(6);
    for (const size_t step : {1, 9, 100000}) {
      FrameReader reader;
      std::vector<Message> messages;
      const auto frame = Frame(builder);
      EXPECT_EQ(Feed(&reader, frame, step, &messages), FrameStatus::kNeedMore) << reader.error();
      ASSERT_EQ(messages.size(), 1u);
      EXPECT_EQ(messages[0].kind, MessageKind::kEvent);
      EXPECT_EQ(messages[0].sequence, 6u);
      EXPECT_EQ(messages[0].payload, data);
      EXPECT_FALSE(reader.in_message());
    }
  }
}

TEST(FrameTest, FindsMessagesHoweverTheStreamIsCut) {
  std::vector<uint8_t> stream;
  for (const auto& frame : FramesOfEveryKind()) stream.insert(stream.end(), frame.begin(), frame.end());
  for (const size_t step : {1, 2, 3, 7, 8, 40, 49, 100, 1000000}) {
    FrameReader reader;
    std::vector<Message> messages;
    ASSERT_EQ(Feed(&reader, stream, step, &messages), FrameStatus::kNeedMore) << reader.error();
    ASSERT_EQ(messages.size(), 7u) << step;
    for (size_t i = 0; i < 7; ++i) EXPECT_EQ(messages[i].kind, static_cast<MessageKind>(i));
    EXPECT_EQ(messages[0].payload, HandshakePayload(MessageKind::kHello));
    EXPECT_EQ(messages[2].payload, Bytes("the reason"));
    EXPECT_EQ(messages[3].payload, Pattern(11, 100));
    EXPECT_EQ(messages[6].payload, Bytes("bye"));
  }
}

TEST(FrameTest, EveryTruncationIsAnUnfinishedMessage) {
  for (const auto& frame : FramesOfEveryKind()) {
    for (size_t length = 0; length < frame.size(); ++length) {
      FrameReader reader;
      std::vector<Message> messages;
      EXPECT_EQ(Feed(&reader, std::span(frame).first(length), 1000, &messages), FrameStatus::kNeedMore);
      EXPECT_TRUE(messages.empty());
      EXPECT_EQ(reader.in_message(), length != 0);
    }
  }
}

TEST(FrameTest, FlippedBitsDoNoHarm) {
  std::mt19937 random(20240607);
  const auto frames = FramesOfEveryKind();
  size_t malformed = 0;
  for (int round = 0; round < 30000; ++round) {
    auto bytes = frames[static_cast<size_t>(round) % frames.size()];
    for (unsigned flips = 1 + random() % 4; flips != 0; --flips) {
      bytes[random() % bytes.size()] ^= static_cast<uint8_t>(1u << random() % 8);
    }
    FrameReader reader;
    std::vector<Message> messages;
    if (Feed(&reader, bytes, 1000, &messages) == FrameStatus::kMalformed) {
      ++malformed;
      EXPECT_FALSE(reader.error().empty());
    }
  }
  EXPECT_GT(malformed, 1000u);
}

// What a peer claims and what it makes us allocate.
struct Claim {
  const char* name;
  std::vector<uint32_t> words;
};

TEST(FrameTest, HostileLengthsAreRefusedAtOnce) {
  std::vector<uint32_t> many(70, 1);
  many[0] = 64;  // 65 segments
  const std::vector<Claim> claims = {{"all ones", {0xffffffff, 0xffffffff}},
                                     {"too many segments", many},
                                     {"two segments of 16 GiB", {1, 0x7fffffff, 0x7fffffff, 0}},
                                     {"one of 32 GiB", {0, 0xffffffff}},
                                     {"just too large", {0, (384u << 17) + 600}},
                                     {"nothing", {0, 0}}};
  for (const auto& [name, words] : claims) {
    std::vector<uint8_t> bytes(words.size() * 4);
    std::memcpy(bytes.data(), words.data(), bytes.size());
    FrameReader reader;
    std::vector<Message> messages;
    EXPECT_EQ(Feed(&reader, bytes, 1000, &messages), FrameStatus::kMalformed) << name;
    EXPECT_FALSE(reader.error().empty());
    Message message;
    EXPECT_EQ(reader.Next(&message), FrameStatus::kMalformed) << "stays malformed";
  }
}

TEST(FrameTest, DataLongerThanItsSegmentIsRefused) {
  for (const int64_t change : {-9, -8, 8, 1000, 1 << 28}) {
    auto bytes = Frame(MessageKind::kBatch, 1, Pattern(1, 64));
    auto list = wire::Load<uint64_t>(&bytes[40]);
    list += static_cast<uint64_t>(change) << 35;
    wire::Store(&bytes[40], list);
    FrameReader reader;
    std::vector<Message> messages;
    const FrameStatus status = Feed(&reader, bytes, 1000, &messages);
    if (change < 0) {  // shorter data with a gap behind it is valid Cap'n Proto
      EXPECT_EQ(status, FrameStatus::kNeedMore);
    } else {
      EXPECT_EQ(status, FrameStatus::kMalformed) << change;
      EXPECT_NE(reader.error().find("no valid Cap'n Proto"), std::string::npos) << reader.error();
    }
  }
}

TEST(FrameTest, UnknownKindsAreRefused) {
  auto bytes = Frame(MessageKind::kBatch, 1, Pattern(1, 64));
  wire::Store(&bytes[16], uint64_t{99});
  FrameReader reader;
  std::vector<Message> messages;
  EXPECT_EQ(Feed(&reader, bytes, 1000, &messages), FrameStatus::kMalformed);
  EXPECT_EQ(reader.error(), "a message is of an unknown kind");
}

TEST(FrameTest, AHandshakeMessageIsNeverLarge) {
  capnp::MallocMessageBuilder builder;
  builder.initRoot<schema::Message>().initRefused().initReason(static_cast<unsigned>(wire::kMaxHandshakeBytes));
  FrameReader reader;
  std::vector<Message> messages;
  EXPECT_EQ(Feed(&reader, Frame(builder), 1 << 20, &messages), FrameStatus::kMalformed);
}

// Large messages one after the other, small ones between: those that are handed back make way for others, and what is received
// is copied once, but for little behind the end of each.
TEST(FrameTest, LargePayloadsAreReceivedInBuffersThatWereUsedBefore) {
  constexpr size_t kSize = 66'000;
  FrameReader reader;
  Message message;
  std::set<const uint8_t*> places;
  for (uint64_t i = 0; i < 100; ++i) {
    const auto large = Pattern(i, kSize + i % 7);
    auto stream = Frame(MessageKind::kBatch, i, large);
    const auto small = Frame(MessageKind::kBatch, i, Pattern(i, 100));
    stream.insert(stream.end(), small.begin(), small.end());
    std::span<const uint8_t> rest(stream);
    int messages = 0;
    for (size_t reads = 0; messages < 2;) {
      if (reader.Next(&message) == FrameStatus::kMessage) {
        if (messages++ != 0) {
          EXPECT_EQ(message.payload, Pattern(i, 100));
          continue;
        }
        EXPECT_EQ(message.payload, large);
        places.insert(message.payload.data());
        continue;
      }
      ASSERT_LE(++reads, 4u) << "as much as there is at once";
      std::array<iovec, 2> vectors;
      size_t put = 0;
      for (size_t j = 0, used = reader.Space(vectors); j < used; ++j) {
        const size_t count = std::min(rest.size(), vectors[j].iov_len);
        std::memcpy(vectors[j].iov_base, rest.data(), count);
        rest = rest.subspan(count);
        put += count;
      }
      reader.Filled(put);
    }
  }
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "its allocator gives no place twice";
#endif
  EXPECT_LE(places.size(), 3u);
}

TEST(FrameTest, ManyMessagesComeFromOneRead) {
  std::vector<uint8_t> stream;
  for (uint64_t i = 0; i < 500; ++i) {
    const auto frame = Frame(MessageKind::kBatch, i, Pattern(i, 16));
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  FrameReader reader;
  Message message;
  ASSERT_EQ(reader.Next(&message), FrameStatus::kNeedMore);
  std::array<iovec, 2> vectors;
  ASSERT_EQ(reader.Space(vectors), 1u);
  ASSERT_GE(vectors[0].iov_len, stream.size());
  std::memcpy(vectors[0].iov_base, stream.data(), stream.size());
  reader.Filled(stream.size());
  for (uint64_t i = 0; i < 500; ++i) {
    ASSERT_EQ(reader.Next(&message), FrameStatus::kMessage);
    ASSERT_EQ(message.payload, Pattern(i, 16));
  }
  EXPECT_EQ(reader.Next(&message), FrameStatus::kNeedMore);
}

}  // namespace
}  // namespace vesper::test
