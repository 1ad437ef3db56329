// The codec's runtime: bytes pinned by hand, and what a decoder does with messages that are short,
// long or hostile.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "runtime/arena.h"
#include "runtime/object_id.h"
#include "runtime/wire/chain.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/encoder.h"
#include "runtime/wire/limits.h"
#include "runtime/wire/record.h"

namespace vesper::wire {
namespace {

std::vector<uint8_t> BytesOf(const ByteBuffer& buffer) { return {buffer.data(), buffer.data() + buffer.size()}; }

// An id of `generation` 0 cannot be minted; slot 13 is stale; every other handle is its id plus
// 1000.
class FakeHandles final : public HandleMapper {
 public:
  ObjectId ToWire(HandleType, uint64_t handle) const override { return handle - 1000; }
  bool FromWire(HandleType type, ObjectId id, HandleUse use, uint64_t* handle) override {
    if (GenerationOf(id) == 0 || TypeOf(id) != type) return use == HandleUse::kIgnorable;
    *handle = SlotOf(id) == 13 ? 0 : id + 1000;
    return true;
  }
};

constexpr auto kType = static_cast<HandleType>(3);
using Pointer = struct Opaque*;  // as a Vulkan handle is

TEST(ObjectIdTest, PartsAreWhereTheWireHasThem) {
  const ObjectId id = MakeObjectId(kType, kMaxGeneration, 0xfffffffe);
  EXPECT_EQ(id, 0x03fffffffffffffeu);
  EXPECT_EQ(SlotOf(id), 0xfffffffeu);
  EXPECT_EQ(GenerationOf(id), kMaxGeneration);
  EXPECT_EQ(TypeOf(id), kType);
}

TEST(EncoderTest, WritesLittleEndianWithoutPadding) {
  ByteBuffer buffer;
  Encoder out(&buffer);
  Store(out.Take(2), uint16_t{0x0102});
  const size_t mark = out.Mark();
  Store(out.Take(4), uint32_t{0});
  out.String("abc");
  out.Patch32(mark, 0xa0b0c0d0);
  EXPECT_EQ(BytesOf(buffer), (std::vector<uint8_t>{2, 1, 0xd0, 0xc0, 0xb0, 0xa0, 3, 0, 0, 0, 'a', 'b', 'c'}));
}

TEST(EncoderTest, GrowsWhileKeepingWhatIsThere) {
  ByteBuffer buffer;
  Encoder out(&buffer);
  for (uint32_t i = 0; i < 100000; ++i) Store(out.Take(4), i);
  ASSERT_EQ(buffer.size(), 400000u);
  for (uint32_t i = 0; i < 100000; ++i) ASSERT_EQ(Load<uint32_t>(buffer.data() + 4 * i), i);
  ByteBuffer moved = std::move(buffer);
  EXPECT_EQ(moved.size(), 400000u);
  moved.Truncate(4);
  moved.Append(nullptr, 0);
  EXPECT_EQ(moved.size(), 4u);
}

TEST(EncoderTest, HandlesBecomeIds) {
  ByteBuffer buffer;
  const FakeHandles handles;
  Encoder client(&buffer), server(&buffer, &handles);
  EXPECT_EQ(client.Id(kType, uint64_t{77}), 77u);
  EXPECT_EQ(server.Id(kType, uint64_t{1077}), 77u);
  EXPECT_EQ(server.Id(kType, uint64_t{0}), kNullObject);
  DispatchableHeader object{0x01cdc0de, 0x0300000100000005};
  const auto pointer = reinterpret_cast<Pointer>(&object);
  EXPECT_EQ(client.DispatchableId(kType, pointer), object.id);
  EXPECT_EQ(client.DispatchableId(kType, Pointer{}), kNullObject);
  EXPECT_EQ(server.DispatchableId(kType, reinterpret_cast<Pointer>(uintptr_t{5000})), 4000u);
}

class DecoderTest : public testing::Test {
 protected:
  Decoder Over(std::vector<uint8_t> bytes, HandleMapper* handles = nullptr) {
    bytes_ = std::move(bytes);
    return Decoder(bytes_, &arena_, handles);
  }
  std::vector<uint8_t> bytes_;
  Arena arena_{kMaxArenaBytes};
};

TEST_F(DecoderTest, ReadsWhatTheEncoderWrote) {
  ByteBuffer buffer;
  Encoder out(&buffer);
  const char* const names[] = {"VK_KHR_swapchain", "", "x"};
  const uint16_t numbers[] = {1, 2, 3};
  Store(out.Take(8), uint64_t{5});
  out.Strings(names, 3);
  out.Bytes(numbers, sizeof(numbers));
  Decoder in = Over(BytesOf(buffer));
  EXPECT_EQ(Load<uint64_t>(in.Take(8)), 5u);
  const char* const* read = in.Strings(3);
  for (int i = 0; i < 3; ++i) EXPECT_STREQ(read[i], names[i]);
  const uint16_t* copied = in.Copy<uint16_t>(3);
  EXPECT_EQ(std::memcmp(copied, numbers, sizeof(numbers)), 0);
  EXPECT_EQ(in.remaining(), 0u);
  EXPECT_TRUE(in.ok());
}

struct Result {
  ChainHeader header;
  uint64_t value;
};

// As generated code encodes results: the values, then the chain below, which stays empty.
constexpr ChainCodec kResult = {
    7,
    sizeof(Result),
    0,
    nullptr,
    true,
    [](Encoder&, const void*) {},
    [](Decoder&, void*) {},
    [](Encoder& e, const void* result) {
      Store(e.Take(8), static_cast<const Result*>(result)->value);
      Store(e.Take(4), uint32_t{0});
    },
    [](Decoder& d, void* result) {
      static_cast<Result*>(result)->value = Load<uint64_t>(d.Take(8));
      d.Take(4);
    },
};

TEST_F(DecoderTest, ResultsThatTheCalleeDidNotWriteLeaveTheCallersValues) {
  const ChainCodec* const table[] = {&kResult};
  Result second = {{7, nullptr}, 22};
  Result first = {{7, &second.header}, 11};
  ByteBuffer request;
  Encoder out(&request);
  EncodeChain(out, &first, table);
  Decoder in = Over(BytesOf(request));
  auto* callees = static_cast<Result*>(DecodeChain(in, table));
  ASSERT_TRUE(in.ok());
  ByteBuffer reply;
  Encoder answer(&reply);
  EncodeChainReply(answer, callees, table);
  EXPECT_EQ(reply.size(), 4u);  // a count of zero and nothing else
  callees->value = 0;           // zero is an answer like any other
  reply.clear();
  EncodeChainReply(answer, callees, table);
  Decoder back = Over(BytesOf(reply));
  DecodeChainReply(back, &first, table);
  EXPECT_TRUE(back.ok());
  EXPECT_EQ(first.value, 0u);
  EXPECT_EQ(second.value, 22u);
}

TEST_F(DecoderTest, EveryTruncationIsAnErrorThatStays) {
  ByteBuffer buffer;
  Encoder out(&buffer);
  Store(out.Take(4), uint32_t{2});
  const char* const names[] = {"one", "another"};
  out.Strings(names, 2);
  const auto whole = BytesOf(buffer);
  for (size_t length = 0; length < whole.size(); ++length) {
    Decoder in = Over({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)});
    const uint32_t count = in.Count(Load<uint32_t>(in.Take(4)), 4);
    const char* const* read = in.Strings(count);
    EXPECT_FALSE(in.ok()) << length;
    EXPECT_NE(in.error(), nullptr);
    EXPECT_TRUE(count == 0 || read != nullptr || !in.ok());
    // What comes after an error is zeros, nulls and empty loops.
    const char* const first = in.error();
    EXPECT_EQ(Load<uint64_t>(in.Take(8)), 0u);
    EXPECT_EQ(in.Count(1, 1), 0u);
    EXPECT_EQ(in.OutputCount(1, 1), 0u);
    EXPECT_STREQ(in.String(), "");
    EXPECT_EQ(in.Copy<int>(1), nullptr);
    in.Fail("a later error");
    EXPECT_EQ(in.error(), first);
  }
}

TEST_F(DecoderTest, AfterAnErrorAnyFixedPartIsZeros) {
  Decoder in = Over({1, 2, 3});
  const uint8_t* zeros = in.Take(kMaxFixedPart);
  EXPECT_FALSE(in.ok());
  for (size_t i = 0; i < kMaxFixedPart; ++i) ASSERT_EQ(zeros[i], 0);
}

TEST_F(DecoderTest, CountsAreBoundedByTheBytesThatRemain) {
  for (const uint64_t hostile :
       {uint64_t{5}, uint64_t{1} << 31, uint64_t{0xffffffff}, uint64_t{1} << 32, ~uint64_t{0}, ~uint64_t{0} / 4 + 1}) {
    Decoder in = Over(std::vector<uint8_t>(16));
    EXPECT_EQ(in.Count(hostile, 4), 0u) << hostile;
    EXPECT_FALSE(in.ok());
  }
  Decoder in = Over(std::vector<uint8_t>(16));
  EXPECT_EQ(in.Count(4, 4), 4u);
  EXPECT_EQ(in.Count(16, 0), 16u) << "an element of no size still counts as a byte";
  EXPECT_TRUE(in.ok());
}

TEST_F(DecoderTest, CopiesOfHostileCountsFail) {
  for (const uint64_t hostile : {uint64_t{9}, uint64_t{1} << 40, ~uint64_t{0}, uint64_t{1} << 61}) {
    Decoder in = Over(std::vector<uint8_t>(64));
    in.Copy<uint64_t>(hostile);
    EXPECT_FALSE(in.ok()) << hostile;
  }
}

TEST_F(DecoderTest, NothingCanBeDecodedFromNothing) {
  Decoder in(std::span<const uint8_t>(), &arena_);
  EXPECT_NE(in.Copy<uint32_t>(0), nullptr);
  in.Skip(0);
  EXPECT_TRUE(in.ok());
  in.Skip(1);
  EXPECT_FALSE(in.ok());
}

TEST_F(DecoderTest, OutputArraysAreBoundedByLimits) {
  const auto count = [this](uint64_t wanted, size_t size) {
    Decoder in = Over({});
    const uint32_t result = in.OutputCount(wanted, size);
    EXPECT_EQ(in.ok(), result == wanted);
    return result;
  };
  EXPECT_EQ(count(kMaxOutputElements, 16), kMaxOutputElements);
  EXPECT_EQ(count(kMaxOutputElements + 1, 2), 0u);
  EXPECT_EQ(count(kMaxOutputBytes, 1), kMaxOutputBytes);
  EXPECT_EQ(count(kMaxOutputBytes + 1, 1), 0u);
  EXPECT_EQ(count(kMaxOutputBytes / 1000 + 1, 1000), 0u);
  EXPECT_EQ(count(~uint64_t{0}, 8), 0u);
}

TEST_F(DecoderTest, StringsEndWhereTheirLengthSays) {
  Decoder in = Over({3, 0, 0, 0, 'a', 0, 'b', 0xff});
  const char* text = in.String();
  EXPECT_EQ(std::memcmp(text, "a\0b\0", 4), 0) << "terminated, though the bytes hold a zero";
  EXPECT_TRUE(in.ok());
  Decoder hostile = Over({0xff, 0xff, 0xff, 0xff, 'a'});
  EXPECT_STREQ(hostile.String(), "");
  EXPECT_FALSE(hostile.ok());
}

TEST_F(DecoderTest, NestingIsBounded) {
  Decoder in = Over({});
  for (uint32_t i = 0; i < kMaxNesting; ++i) EXPECT_TRUE(in.Enter());
  for (uint32_t i = 0; i < kMaxNesting; ++i) in.Leave();
  for (uint32_t i = 0; i < kMaxNesting; ++i) EXPECT_TRUE(in.Enter());
  EXPECT_FALSE(in.Enter());
  EXPECT_FALSE(in.ok());
}

TEST_F(DecoderTest, TheArenasLimitEndsADecoding) {
  Arena small(1000);
  const std::vector<uint8_t> bytes(100);
  Decoder in(bytes, &small);
  EXPECT_NE(in.Array<uint8_t>(900), nullptr);
  EXPECT_EQ(in.Array<uint8_t>(200), nullptr);
  EXPECT_FALSE(in.ok());
  EXPECT_STREQ(in.error(), "a command needs more memory than the limit");
}

TEST_F(DecoderTest, IdsBecomeHandles) {
  FakeHandles handles;
  const ObjectId live = MakeObjectId(kType, 1, 5), stale = MakeObjectId(kType, 1, 13);
  const ObjectId never = MakeObjectId(kType, 0, 5), other = MakeObjectId(static_cast<HandleType>(4), 1, 5);
  Decoder in = Over({}, &handles);
  EXPECT_EQ(in.Handle<uint64_t>(kType, live, HandleUse::kRequired), live + 1000);
  EXPECT_EQ(in.Handle<uint64_t>(kType, kNullObject, HandleUse::kRequired), 0u);
  EXPECT_EQ(in.Handle<uint64_t>(kType, stale, HandleUse::kOptional), 0u);
  EXPECT_EQ(in.Handle<uint64_t>(kType, never, HandleUse::kIgnorable), 0u);
  EXPECT_EQ(in.Handle<uint64_t>(kType, other, HandleUse::kIgnorable), 0u);
  EXPECT_TRUE(in.ok());
  EXPECT_EQ(in.Handle<uint64_t>(kType, never, HandleUse::kRequired), 0u);
  EXPECT_STREQ(in.error(), "an id that was never minted");
  Decoder client = Over({});
  EXPECT_EQ(client.Handle<uint64_t>(kType, live, HandleUse::kRequired), live) << "in the client an id is the handle";
}

TEST(ArenaTest, MemoryIsZeroedAlignedAndDistinct) {
  Arena arena(size_t{64} << 20);
  for (int round = 0; round < 3; ++round) {
    std::map<uintptr_t, size_t> taken;
    for (size_t size : {0, 1, 15, 16, 17, 1000, 16384, 100000, 5 << 20, 1}) {
      auto* memory = static_cast<uint8_t*>(arena.Allocate(size));
      ASSERT_NE(memory, nullptr);
      const auto at = reinterpret_cast<uintptr_t>(memory);
      EXPECT_EQ(at % 16, 0u);
      for (size_t i = 0; i < size; ++i) ASSERT_EQ(memory[i], 0);
      std::memset(memory, 0xee, size);
      const auto after = taken.lower_bound(at);
      EXPECT_TRUE(after == taken.end() || at + size <= after->first);
      EXPECT_TRUE(after == taken.begin() || std::prev(after)->first + std::prev(after)->second <= at);
      taken[at] = size;
    }
    arena.Reset();
    EXPECT_EQ(arena.used(), 0u);
  }
}

TEST(ArenaTest, TheLimitHoldsBetweenResets) {
  Arena arena(1 << 20);
  size_t got = 0;
  while (arena.Allocate(1000) != nullptr) got += 1000;
  EXPECT_LE(got, size_t{1} << 20);
  EXPECT_GT(got, size_t{1} << 19);
  EXPECT_EQ(arena.Allocate(~size_t{0}), nullptr);
  arena.Reset();
  EXPECT_NE(arena.Allocate(1 << 20), nullptr);
  EXPECT_EQ(arena.Allocate(1), nullptr);
}

TEST(RecordTest, LiesAsDocumented) {
  ByteBuffer buffer;
  const size_t mark = BeginRecord(&buffer, 0x1234, kWantsReply);
  buffer.Append("abc", 3);
  ASSERT_TRUE(EndRecord(&buffer, mark));
  EXPECT_EQ(BytesOf(buffer), (std::vector<uint8_t>{0x34, 0x12, 1, 0, 3, 0, 0, 0, 'a', 'b', 'c', 0, 0, 0, 0, 0}));
}

TEST(RecordTest, ManyAreReadBackOneByOne) {
  ByteBuffer buffer;
  for (uint16_t i = 0; i < 40; ++i) {
    const size_t mark = BeginRecord(&buffer, i, 0);
    std::memset(buffer.Append(i), i, i);
    ASSERT_TRUE(EndRecord(&buffer, mark));
    ASSERT_EQ(buffer.size() % 8, 0u);
  }
  std::span<const uint8_t> bytes(buffer.data(), buffer.size());
  RecordHeader header;
  std::span<const uint8_t> body;
  for (uint16_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(NextRecord(&bytes, &header, &body));
    EXPECT_EQ(header.command, i);
    EXPECT_EQ(body.size(), i);
    for (const uint8_t byte : body) EXPECT_EQ(byte, i);
  }
  EXPECT_TRUE(bytes.empty());
  EXPECT_FALSE(NextRecord(&bytes, &header, &body));
}

TEST(RecordTest, EveryTruncationIsRefused) {
  ByteBuffer buffer;
  const size_t mark = BeginRecord(&buffer, 1, 0);
  buffer.Append("0123456789", 10);
  ASSERT_TRUE(EndRecord(&buffer, mark));
  for (size_t length = 0; length < buffer.size(); ++length) {
    std::span<const uint8_t> bytes(buffer.data(), length);
    RecordHeader header;
    std::span<const uint8_t> body;
    EXPECT_FALSE(NextRecord(&bytes, &header, &body)) << length;
    EXPECT_EQ(bytes.size(), length) << "left as it is";
  }
}

TEST(RecordTest, HostileLengthsAreRefused) {
  for (const uint32_t length : {9u, 0x10000001u, 0xfffffff8u, 0xffffffffu}) {
    std::vector<uint8_t> buffer(16);
    Store(buffer.data() + 4, length);
    std::span<const uint8_t> bytes(buffer);
    RecordHeader header;
    std::span<const uint8_t> body;
    EXPECT_FALSE(NextRecord(&bytes, &header, &body)) << length;
  }
}

TEST(RecordTest, ATooLongRecordIsTakenBack) {
  ByteBuffer buffer;
  const size_t first = BeginRecord(&buffer, 1, 0);
  ASSERT_TRUE(EndRecord(&buffer, first));
  const size_t second = BeginRecord(&buffer, 2, 0);
  buffer.Append(kMaxRecordBytes + 1);
  EXPECT_FALSE(EndRecord(&buffer, second));
  EXPECT_EQ(buffer.size(), sizeof(RecordHeader));
}

}  // namespace
}  // namespace vesper::wire
