// fuzz_seeds FOLDER: one valid call of every command, in several shapes, as inputs of the server's and the client's fuzzer
// (FOLDER/server, FOLDER/client). Recorded sessions know fewer commands, and fewer structs in chains.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "runtime/wire/control.h"
#include "runtime/wire/memory_runs.h"
#include "runtime/wire/record.h"
#include "tests/fuzz/seeds.h"
#include "tests/wire/exchange.h"

namespace vesper::test {
namespace {

constexpr size_t kShapes = 6;
constexpr size_t kMaxBytes = 8 * 1024;

// The round trips' objects as those that the fuzzed server knows.
class SeedMapper final : public wire::HandleMapper {
 public:
  explicit SeedMapper(Handles* handles) : handles_(handles) {}
  ObjectId ToWire(HandleType type, uint64_t handle) const override {
    const uint32_t slot = SlotOf(handles_->ToId(type, handle));
    if (slot >= Handles::kSlots) return MakeObjectId(type, 1, kFirstNewSlot + slot % Handles::kSlots);
    return SeedId(type, IsDispatchable(type) ? 0 : slot);
  }
  bool FromWire(HandleType, ObjectId, wire::HandleUse, uint64_t*) override { return false; }

 private:
  Handles* const handles_;
};

void AppendRecord(wire::ByteBuffer* out, Command command, uint16_t flags, std::span<const uint8_t> body) {
  const size_t mark = wire::BeginRecord(out, static_cast<uint16_t>(command), flags);
  out->Append(body.data(), body.size());
  wire::EndRecord(out, mark);
}

void Write(const std::filesystem::path& path, const wire::ByteBuffer& bytes) {
  if (bytes.size() > kMaxBytes) return;
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

// Callback data is the request of the command that lets an application give it.
void WriteDebugMessage(const std::filesystem::path& path, Command command, const wire::ByteBuffer& request) {
  wire::DebugMessage head;
  if (command == Command::kSubmitDebugUtilsMessageEXT) {
    head.messenger = SeedId(HandleType::kDebugUtilsMessengerEXT, 0);
  } else if (command == Command::kDebugReportMessageEXT) {
    head.form = wire::DebugForm::kReport;
    head.messenger = SeedId(HandleType::kDebugReportCallbackEXT, 0);
  } else {
    return;
  }
  wire::ByteBuffer out;
  const size_t mark = wire::BeginRecord(
      &out, static_cast<uint16_t>(kFirstEvent + static_cast<uint16_t>(wire::EventKind::kDebugMessage)), 0);
  out.Append(&head, sizeof(head));
  out.Append(request.data(), request.size());
  wire::EndRecord(&out, mark);
  Write(path, out);
}

void WriteSeeds(const CommandTable& command, const std::filesystem::path& folder) {
  const size_t chains = LongestChain(command);
  for (size_t i = 0; i < kShapes + chains; ++i) {
    const Shape shape = i < kShapes ? Shape{i % 2 == 0, Shape::kAnyChain} : Shape{false, i - kShapes};
    Exchange exchange(command, 5000 + i, shape, false);
    const std::string name = std::string(command.args.name) + "." + std::to_string(i);

    SeedMapper mapper(&exchange.handles());
    wire::ByteBuffer request;
    wire::Encoder encoder(&request, &mapper);
    exchange.codec().encode_request(encoder, exchange.client_args());
    wire::ByteBuffer server;
    AppendRecord(&server, command.id, wire::kWantsReply, {request.data(), request.size()});
    Write(folder / "server" / name, server);
    WriteDebugMessage(folder / "client" / ("event." + name), command.id, request);

    exchange.Encode();
    if (!exchange.Deliver().empty() || !exchange.Return().empty()) continue;
    wire::ByteBuffer reply;
    const wire::ReplyHeader header{};
    reply.Append(&header, sizeof(header));
    reply.Append(exchange.reply().data(), exchange.reply().size());
    wire::ByteBuffer client;
    AppendRecord(&client, command.id, 0, {exchange.request().data(), exchange.request().size()});
    AppendRecord(&client, command.id, wire::kWantsReply, {reply.data(), reply.size()});
    Write(folder / "client" / name, client);
  }
}

// Changed bytes of mapped memory in each form that runs have: scattered, whole, at odd ends.
void WriteMemorySeeds(const std::filesystem::path& folder) {
  const std::vector<uint8_t> bytes(1000, 7);
  std::vector<uint64_t> mask(wire::LinesOf(bytes.size()), 0xcccccccccccccccc);
  std::fill_n(mask.begin() + 4, 6, ~uint64_t{0});
  mask.back() = 0x3;
  for (const auto& [target, record] :
       {std::pair{"server", static_cast<uint16_t>(wire::Control::kMemoryWrite)},
        std::pair{"client",
                  static_cast<uint16_t>(kFirstEvent + static_cast<uint16_t>(wire::EventKind::kMemoryChanged))}}) {
    wire::RunWriter writer(record);
    writer.Begin(SeedId(HandleType::kDeviceMemory, 0));
    writer.Add({1, bytes, mask.data()});
    writer.Add(2000, std::span(bytes).first(13));
    const auto made = writer.Finish();
    wire::ByteBuffer out;
    out.Append(made.data(), made.size());
    Write(folder / target / "memory_runs", out);
  }
}

}  // namespace
}  // namespace vesper::test

int main(int argc, char** argv) {
  using namespace vesper::test;
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds FOLDER\n");
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  for (const char* target : {"server", "client"}) std::filesystem::create_directories(folder / target);
  for (size_t i = 0; i < kCommandTableCount; ++i) WriteSeeds(*kCommandTables[i], folder);
  WriteMemorySeeds(folder);
  return 0;
}
