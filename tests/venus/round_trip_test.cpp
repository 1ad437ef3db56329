// Every command of the Venus protocol: random arguments that the driver's side writes arrive as they were, random results come
// back, and bytes that are cut or changed end in an error at most.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/venus/walker.h"
#include "tests/venus/peer.h"
#include "tests/venus/same_objects.h"
#include "tests/wire/exchange.h"

namespace vesper::test {
namespace {

constexpr size_t kArena = size_t{16} << 20;
constexpr size_t kExchanges = 24;  // of the shapes that the session's own round trips have

class SameIds final : public wire::HandleMapper {
 public:
  ObjectId ToWire(HandleType, uint64_t handle) const override { return handle; }
  bool FromWire(HandleType, ObjectId id, wire::HandleUse, uint64_t* handle) override {
    *handle = id;
    return true;
  }
};

std::vector<uint8_t> Vector(const wire::ByteBuffer& bytes) { return {bytes.data(), bytes.data() + bytes.size()}; }

// Arguments in memory of their own.
struct Side {
  explicit Side(const wire::CommandCodec& its_codec)
      : codec(its_codec), args(static_cast<uint8_t*>(arena.Allocate(its_codec.args_size))) {}
  std::string Decode(std::span<const uint8_t> bytes) {
    wire::Decoder decoder(bytes, &arena, &ids);
    codec.decode_request(decoder, args);
    return decoder.ok() ? "" : decoder.error();
  }
  std::string DecodeReply(std::span<const uint8_t> bytes) {
    wire::Decoder decoder(bytes, nullptr, &ids);
    codec.decode_reply(decoder, args);
    return decoder.ok() ? "" : decoder.error();
  }
  std::vector<uint8_t> Request() {
    wire::ByteBuffer out;
    wire::Encoder encoder(&out, &ids);
    codec.encode_request(encoder, args);
    return Vector(out);
  }
  std::vector<uint8_t> Reply() {
    wire::ByteBuffer out;
    wire::Encoder encoder(&out, &ids);
    codec.encode_reply(encoder, args);
    return Vector(out);
  }

  SameIds ids;
  Arena arena{kArena};
  const wire::CommandCodec& codec;
  uint8_t* args;
};

const CommandTable* TableOf(Command command) {
  for (size_t i = 0; i < kCommandTableCount; ++i) {
    if (kCommandTables[i]->id == command) return kCommandTables[i];
  }
  return nullptr;
}

// Elements that were apart lie side by side afterwards.
void PackStrides(const venus::CommandTable& command, uint8_t* args) {
  for (const venus::Member& m : command.arguments.members) {
    if (m.stride >= 0) WriteAs(args + m.stride, static_cast<uint32_t>(m.unit));
  }
}

// Outputs that stand inside inputs come back in the session's replies, and not in the protocol's.
bool HasOutputsInInputs(Command command) {
  constexpr Command kThese[] = {
      Command::kCreateGraphicsPipelines, Command::kCreateComputePipelines, Command::kCreateDescriptorPool,
      Command::kCreateCommandPool,       Command::kCmdBeginRenderPass,     Command::kBindBufferMemory2,
      Command::kBindImageMemory2,        Command::kCreateRenderPass2,      Command::kCmdBeginRenderPass2,
      Command::kCmdBeginRendering,
  };
  return std::find(std::begin(kThese), std::end(kThese), command) != std::end(kThese);
}

// One way there and back; "" or what differed.
std::string Pass(const venus::CommandTable& command, Exchange* exchange) {
  exchange->Encode();
  if (const std::string wrong = exchange->Deliver(); !wrong.empty()) return wrong;
  if (const std::string wrong = exchange->Return(); !wrong.empty()) return wrong;
  Side driver(exchange->codec()), renderer(exchange->codec());
  const auto& request = exchange->request();
  if (const std::string wrong = driver.Decode({request.data(), request.size()}); !wrong.empty()) return wrong;
  wire::ByteBuffer stream;
  WriteRequest(command, driver.args, &stream);
  SameObjects objects;
  venus::Reader reader({stream.data(), stream.size()}, &renderer.arena, &objects);
  if (reader.U32() != command.number || reader.U32() != 1) return "another command";
  reader.Request(command, renderer.args);
  if (!reader.ok()) return reader.error();
  if (reader.remaining() != 0) return std::to_string(reader.remaining()) + " bytes are not read";
  PackStrides(command, driver.args);
  if (driver.Request() != renderer.Request()) return "other arguments arrived";
  const auto& reply = exchange->reply();
  if (const std::string wrong = renderer.DecodeReply({reply.data(), reply.size()}); !wrong.empty()) return wrong;
  wire::ByteBuffer answer;
  venus::WriteReply(command, renderer.args, reader.made(), objects, &answer);
  if (const std::string wrong = ReadReply(command, {answer.data(), answer.size()}, driver.args); !wrong.empty()) {
    return "reply: " + wrong;
  }
  wire::ByteBuffer again;
  venus::WriteReply(command, driver.args, reader.made(), objects, &again);
  if (Vector(again) != Vector(answer)) return "other results came back";
  if (HasOutputsInInputs(command.command)) return "";
  return driver.Reply() == renderer.Reply() ? "" : "other results came back";
}

class VenusCommand : public testing::TestWithParam<uint32_t> {
 protected:
  const venus::CommandTable& command() const { return *venus::kCommands[GetParam()]; }
};

TEST_P(VenusCommand, ArrivesAndIsAnswered) {
  const CommandTable* table = TableOf(command().command);
  ASSERT_NE(table, nullptr);
  const std::vector<Shape> shapes = Shapes(*table);
  const size_t step = std::max<size_t>(1, shapes.size() / kExchanges);
  for (size_t i = 0; i < shapes.size(); i += step) {
    Exchange exchange(*table, 900 + i, shapes[i], false);
    ASSERT_EQ(Pass(command(), &exchange), "") << table->args.name << ", shape " << i;
  }
}

// Nothing that a peer sends is read beyond its end; sanitizers see that.
TEST_P(VenusCommand, CutAndChangedBytesAreErrorsAtMost) {
  const CommandTable* table = TableOf(command().command);
  Exchange exchange(*table, 77, {true, Shape::kAnyChain}, false);
  exchange.Encode();
  Side driver(exchange.codec());
  ASSERT_EQ(driver.Decode({exchange.request().data(), exchange.request().size()}), "");
  wire::ByteBuffer stream;
  WriteRequest(command(), driver.args, &stream);
  const std::vector<uint8_t> whole = Vector(stream);
  SameObjects objects;
  Random random(GetParam());
  const auto read = [&](std::span<const uint8_t> bytes) {
    Side renderer(exchange.codec());
    const std::vector<uint8_t> exact(bytes.begin(), bytes.end());
    venus::Reader reader(exact, &renderer.arena, &objects);
    reader.U64();
    reader.Request(command(), renderer.args);
    if (reader.ok()) renderer.Request();  // what arrived can be handed on
    return reader.ok();
  };
  EXPECT_TRUE(read(whole));
  for (int i = 0; i < 40; ++i) {
    EXPECT_FALSE(read({whole.data(), 8 + random.Below(whole.size() - 8) / 4 * 4})) << "a shorter stream";
    std::vector<uint8_t> changed = whole;
    changed[8 + random.Below(changed.size() - 8)] = static_cast<uint8_t>(random.Next());
    read(changed);
  }
}

std::vector<uint32_t> Numbers() {
  std::vector<uint32_t> numbers;
  for (uint32_t i = 0; i < venus::kCommands.size(); ++i) {
    if (venus::kCommands[i] != nullptr) numbers.push_back(i);
  }
  return numbers;
}

INSTANTIATE_TEST_SUITE_P(All, VenusCommand, testing::ValuesIn(Numbers()),
                         [](const auto& info) { return std::string(venus::kNumberNames[info.param]); });

// The tables that are looked up by halves.
TEST(VenusTables, StructsAreInOrder) {
  for (size_t i = 1; i < venus::kChained.size(); ++i) {
    EXPECT_LT(venus::kChained[i - 1]->type, venus::kChained[i]->type) << venus::kChained[i]->name;
  }
}

}  // namespace
}  // namespace vesper::test
