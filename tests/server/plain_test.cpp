// Protects commands that take the short way: it gives the driver what the long way would, for every command that has one, and
// leaves to the long way all of which something is to be said.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "generated/server/commands.h"
#include "generated/wire/codecs.h"
#include "runtime/arena.h"
#include "runtime/wire/decoder.h"
#include "server/checks/facts.h"
#include "server/device/device.h"
#include "server/handles/command_handles.h"
#include "server/handles/plain_handles.h"
#include "tests/wire/fill.h"
#include "tests/wire/model.h"
#include "tests/wire/random.h"

namespace vesper::server {
namespace {

using test::CommandTable;
using test::Member;
using test::What;

constexpr size_t kArguments = limits::kPlainArgumentBytes;
using Bytes = std::vector<uint8_t>;

// What one of the two ways made of some bytes.
struct Taken {
  bool runs = false;
  std::string error;  // of the long way
  alignas(16) uint8_t args[kArguments]{};
  std::unique_ptr<Arena> arena = std::make_unique<Arena>(1 << 20);  // what they point at
};

class PlainTest : public testing::Test {
 protected:
  // An object of that type that lives; its command buffers are of a pool.
  ObjectId Make(HandleType type, ObjectId owner = kNullObject) {
    const ObjectId id = MakeObjectId(type, 1, next_slot_++);
    const HandleTable::Lock lock = table_.Acquire();
    Object* object = table_.Add(lock, type, id, owner, IsDispatchable(type) ? &context_ : nullptr);
    table_.SetLive(lock, object, 0x1000 + next_slot_, false);
    return id;
  }
  Taken TakeShort(Command command, std::span<const uint8_t> body) {
    Taken taken;
    std::memset(taken.args, 0xa5, sizeof(taken.args));  // nobody clears them
    const ServerCommand& how = kServerCommands[static_cast<size_t>(command)];
    ObjectId commands = kNullObject;
    if (body.size() < how.first_at + sizeof(commands)) return taken;
    std::memcpy(&commands, body.data() + how.first_at, sizeof(commands));
    if (!plain_.Begin(commands)) return taken;
    PlainDecoder decoder(&plain_);
    decoder.Restart(body, taken.arena.get());
    how.take(decoder, taken.args);
    taken.runs = decoder.ok();
    return taken;
  }
  Taken TakeLong(Command command, std::span<const uint8_t> body) {
    Taken taken;
    CommandHandles handles(&table_);
    handles.Begin({.whole = true, .checked = true});
    wire::Decoder decoder(body, taken.arena.get(), &handles);
    wire::kCodecs[static_cast<size_t>(command)].decode_request(decoder, taken.args);
    handles.EndDecoding();
    taken.runs = decoder.ok() && !handles.blocked() && !handles.inert();
    if (!decoder.ok()) taken.error = decoder.error();
    return taken;
  }
  bool IsPlain(HandleType type, ObjectId id) {
    if (type == HandleType::kCommandBuffer) return plain_.Begin(id);
    BeginAny();
    uint64_t handle = 0;
    return plain_.FromWire(type, id, wire::HandleUse::kRequired, &handle);
  }
  // A command into some command buffer.
  void BeginAny() {
    if (any_ == kNullObject) any_ = Make(HandleType::kCommandBuffer);
    EXPECT_TRUE(plain_.Begin(any_));
  }
  template <typename Change>
  void With(ObjectId id, Change change) {
    const HandleTable::Lock lock = table_.Acquire();
    change(lock, table_.Find(lock, id));
  }

  DispatchContext context_;
  HandleTable table_;
  PlainHandles plain_{&table_};
  uint32_t next_slot_ = 1;
  ObjectId any_ = kNullObject;
};

// How many elements an array has, by what stands in the arguments.
uint64_t LengthOf(const Member& m, const uint8_t* args) { return m.length == nullptr ? 1 : m.length(args); }

// Random values, and objects of the right types, some of them null or left out where that is valid.
class Filled {
 public:
  template <typename Make>
  Filled(const CommandTable& command, test::Random* random, Make make) {
    const auto fill = [&](const Member& m, uint8_t* at, size_t count) {
      random->Bytes(at, m.size * count);
      for (size_t i = 0; m.what == What::kHandle && i < count; ++i) {
        const uint64_t id = m.is_optional && random->OneIn(4) ? kNullObject : make(m.handle);
        const auto handle = IsDispatchable(m.handle) ? reinterpret_cast<uintptr_t>(&header_) : id;
        if (IsDispatchable(m.handle)) header_.id = id;
        std::memcpy(at + m.size * i, &handle, sizeof(handle));
      }
      if (m.scale != 0) test::WriteNumber(at, m.size, m.scale * random->Below(4));
      if (m.values != nullptr) {
        const auto values = m.values();
        test::WriteNumber(at, m.size, static_cast<uint64_t>(values[random->Below(values.size())]));
      }
    };
    for (const Member& m : command.args.members) {
      if (m.pointers == 0) fill(m, args_ + m.offset, std::max<size_t>(m.extent, 1));
    }
    for (const Member& m : command.args.members) {
      if (m.pointers == 0) continue;
      const size_t count = LengthOf(m, args_);
      arrays_.emplace_back(m.size * std::max<size_t>(count, 1));
      fill(m, arrays_.back().data(), count);
      if (m.stride != 0) test::WriteNumber(args_ + m.stride, sizeof(uint32_t), m.size);
      const bool left_out = count == 0 || (m.is_optional && random->OneIn(4));
      const uint8_t* array = left_out ? nullptr : arrays_.back().data();
      std::memcpy(args_ + m.offset, &array, sizeof(array));
    }
    wire::ByteBuffer request;
    wire::Encoder encoder(&request);
    wire::kCodecs[static_cast<size_t>(command.id)].encode_request(encoder, args_);
    body_.assign(request.data(), request.data() + request.size());
  }
  Bytes& body() { return body_; }

 private:
  DispatchableHeader header_{};
  alignas(16) uint8_t args_[kArguments]{};
  std::deque<Bytes> arrays_;
  Bytes body_;
};

std::vector<const CommandTable*> ShortCommands() {
  std::vector<const CommandTable*> found;
  for (size_t i = 0; i < test::kCommandTableCount; ++i) {
    const CommandTable* table = test::kCommandTables[i];
    if (kServerCommands[static_cast<size_t>(table->id)].take != nullptr) found.push_back(table);
  }
  return found;
}

// The first member that the two ways left different, or "".
std::string Difference(const CommandTable& command, const Taken& a, const Taken& b) {
  for (const Member& m : command.args.members) {
    if (m.pointers == 0) {
      if (std::memcmp(a.args + m.offset, b.args + m.offset, m.size * std::max<size_t>(m.extent, 1)) != 0) return m.name;
      continue;
    }
    const auto* one = test::ReadAs<const uint8_t*>(a.args + m.offset);
    const auto* other = test::ReadAs<const uint8_t*>(b.args + m.offset);
    if ((one == nullptr) != (other == nullptr)) return m.name;
    if (one != nullptr && std::memcmp(one, other, m.size * LengthOf(m, a.args)) != 0) return m.name;
  }
  return "";
}

TEST_F(PlainTest, BothWaysGiveTheDriverTheSame) {
  const std::vector<const CommandTable*> commands = ShortCommands();
  EXPECT_GT(commands.size(), 100u);
  test::Random random(1);
  for (const CommandTable* command : commands) {
    const wire::CommandCodec& codec = wire::kCodecs[static_cast<size_t>(command->id)];
    ASSERT_LE(codec.args_size, kArguments) << command->args.name;
    for (int round = 0; round < 8; ++round) {
      Filled filled(*command, &random, [this](HandleType type) { return Make(type); });
      const Taken quick = TakeShort(command->id, filled.body());
      const Taken slow = TakeLong(command->id, filled.body());
      ASSERT_TRUE(slow.runs) << command->args.name << ": " << slow.error;
      ASSERT_TRUE(quick.runs) << command->args.name;
      ASSERT_EQ(Difference(*command, quick, slow), "") << command->args.name;
    }
  }
}

TEST_F(PlainTest, CutAndDamagedBytesGoTheLongWayOrMeanTheSame) {
  test::Random random(2);
  for (const CommandTable* command : ShortCommands()) {
    Filled filled(*command, &random, [this](HandleType type) { return Make(type); });
    Bytes& body = filled.body();
    for (size_t length = 0; length < body.size(); ++length) {
      const std::span<const uint8_t> cut(body.data(), length);
      ASSERT_EQ(TakeShort(command->id, cut).runs, TakeLong(command->id, cut).runs)
          << command->args.name << " " << length;
    }
    for (size_t at = 0; at < body.size(); ++at) {
      for (const uint8_t flipped : {uint8_t{1}, uint8_t{0x80}}) {
        body[at] ^= flipped;
        const Taken quick = TakeShort(command->id, body);
        const Taken slow = TakeLong(command->id, body);
        ASSERT_TRUE(!quick.runs || slow.runs) << command->args.name << " " << at;
        if (quick.runs) {
          ASSERT_EQ(Difference(*command, quick, slow), "") << command->args.name << " " << at;
        }
        body[at] ^= flipped;
      }
    }
  }
}

TEST_F(PlainTest, OfWhichSomethingIsToBeSaidGoesTheLongWay) {
  const ObjectId pool = Make(HandleType::kCommandPool);
  const ObjectId commands = Make(HandleType::kCommandBuffer, pool);
  const ObjectId buffer = Make(HandleType::kBuffer);
  EXPECT_TRUE(IsPlain(HandleType::kCommandBuffer, commands));
  EXPECT_TRUE(IsPlain(HandleType::kBuffer, buffer));
  EXPECT_FALSE(IsPlain(HandleType::kImage, buffer)) << "of another type";
  EXPECT_FALSE(IsPlain(HandleType::kBuffer, buffer + 1)) << "unknown";

  With(pool, [&](const auto& lock, Object*) { table_.Hold(lock, pool); });
  EXPECT_FALSE(IsPlain(HandleType::kCommandBuffer, commands)) << "its pool is held";
  EXPECT_TRUE(IsPlain(HandleType::kBuffer, buffer));
  With(pool, [&](const auto& lock, Object*) { table_.Release(lock, pool); });
  EXPECT_TRUE(IsPlain(HandleType::kCommandBuffer, commands));

  table_.SetResult(table_.Acquire(), commands, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_FALSE(IsPlain(HandleType::kCommandBuffer, commands)) << "it lacks commands";
  table_.SetResult(table_.Acquire(), commands, 0);
  EXPECT_TRUE(IsPlain(HandleType::kCommandBuffer, commands));

  const ObjectId pending = MakeObjectId(HandleType::kBuffer, 1, next_slot_++);
  With(buffer,
       [&](const auto& lock, Object*) { table_.Add(lock, HandleType::kBuffer, pending, kNullObject, nullptr); });
  EXPECT_FALSE(IsPlain(HandleType::kBuffer, pending));
  With(pending, [&](const auto& lock, Object* object) { table_.SetFailed(lock, object, VK_ERROR_OUT_OF_HOST_MEMORY); });
  EXPECT_FALSE(IsPlain(HandleType::kBuffer, pending)) << "a tombstone";

  table_.Forget(table_.Acquire(), buffer);
  EXPECT_FALSE(IsPlain(HandleType::kBuffer, buffer)) << "forgotten";
  table_.Forget(table_.Acquire(), pool);
  EXPECT_FALSE(IsPlain(HandleType::kCommandBuffer, commands)) << "it went with its pool";
}

TEST_F(PlainTest, ASlotUsedAgainIsAnotherObject) {
  const ObjectId first = Make(HandleType::kBuffer);
  EXPECT_TRUE(IsPlain(HandleType::kBuffer, first));
  const ObjectId second = MakeObjectId(HandleType::kBuffer, 2, SlotOf(first));
  With(first, [&](const auto& lock, Object*) {
    table_.SetLive(lock, table_.Add(lock, HandleType::kBuffer, second, kNullObject, nullptr), 0xb2, false);
  });
  EXPECT_FALSE(IsPlain(HandleType::kBuffer, first));
  BeginAny();
  uint64_t handle = 0;
  EXPECT_TRUE(plain_.FromWire(HandleType::kBuffer, second, wire::HandleUse::kRequired, &handle));
  EXPECT_EQ(handle, 0xb2u);
}

// What pool threads destroy while the reader compares: AddressSanitizer sees it where facts go too early, or never.
TEST_F(PlainTest, FactsStayWhileTheyAreRead) {
  const ObjectId buffer = Make(HandleType::kBuffer);
  const auto know = [&](uint64_t size) {
    auto facts = std::make_unique<Facts>();
    facts->size = size;
    table_.SetFacts(table_.Acquire(), buffer, std::move(facts));
  };
  const auto known = [&] {
    EXPECT_TRUE(IsPlain(HandleType::kBuffer, buffer));
    return static_cast<const Facts*>(plain_.facts().Of(HandleType::kBuffer, uint64_t{0x1002}));
  };
  know(7);
  const Facts* before = known();
  ASSERT_NE(before, nullptr);
  know(8);
  EXPECT_EQ(before->size, 7u);
  const Facts* after = known();
  ASSERT_NE(after, nullptr);
  EXPECT_EQ(after->size, 8u);
  table_.Forget(table_.Acquire(), buffer);
  EXPECT_EQ(after->size, 8u);
  table_.DropRetired();
}

// The reader takes no lock while pool threads take objects away and make others of them. For ThreadSanitizer and AddressSanitizer.
TEST_F(PlainTest, PoolThreadsChangeTheTableMeanwhile) {
  constexpr uint32_t kGenerations = 2000;
  const ObjectId pool = Make(HandleType::kCommandPool);
  const ObjectId commands = Make(HandleType::kCommandBuffer, pool);
  const uint32_t slot = next_slot_++;
  std::atomic<uint32_t> generation = 0;
  std::thread other([&] {
    for (uint32_t i = 1; i <= kGenerations; ++i) {
      const ObjectId id = MakeObjectId(HandleType::kBuffer, i, slot);
      const HandleTable::Lock lock = table_.Acquire();
      table_.SetLive(lock, table_.Add(lock, HandleType::kBuffer, id, kNullObject, nullptr), i, false);
      auto facts = std::make_unique<Facts>();
      facts->size = i;
      table_.SetFacts(lock, id, std::move(facts));
      if (i % 8 == 0) table_.Hold(lock, pool);
      if (i % 8 == 4 && i > 8) table_.Release(lock, pool);
      generation = i;
    }
  });
  size_t taken = 0;
  while (generation != kGenerations || taken == 0) {
    table_.DropRetired();
    const uint32_t now = generation;
    const ObjectId id = MakeObjectId(HandleType::kBuffer, now, slot);
    static_cast<void>(plain_.Begin(commands));  // its pool is held at times
    uint64_t handle = 0;
    if (now == 0 || !plain_.FromWire(HandleType::kBuffer, id, wire::HandleUse::kRequired, &handle)) continue;
    ASSERT_EQ(handle, now);
    const auto* facts = static_cast<const Facts*>(plain_.facts().Of(HandleType::kBuffer, handle));
    ASSERT_NE(facts, nullptr);
    ASSERT_EQ(facts->size, now);
    ++taken;
  }
  other.join();
}

TEST_F(PlainTest, CreationsLeaveCopiesAlone) {
  const ObjectId buffer = Make(HandleType::kBuffer);
  EXPECT_TRUE(IsPlain(HandleType::kBuffer, buffer));
  const uint64_t version = table_.version();
  const ObjectId other = Make(HandleType::kBuffer);
  table_.SetFacts(table_.Acquire(), other, std::make_unique<Facts>());
  table_.Forget(table_.Acquire(), other);
  EXPECT_EQ(table_.version(), version) << "nothing recorded has used it";
}

}  // namespace
}  // namespace vesper::server
