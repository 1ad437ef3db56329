#include "tools/recording/dialect.h"

#include <string_view>
#include <unordered_map>
#include <utility>

#include "generated/wire/codecs.h"
#include "runtime/wire/control.h"
#include "runtime/wire/decoder.h"

namespace vesper::tools::recording {
namespace {

const char* NameOf(wire::Control control) {
  switch (control) {
    case wire::Control::kHeartbeat:
      return "heartbeat";
    case wire::Control::kMemoryMapped:
      return "memory mapped";
    case wire::Control::kMemoryUnmapped:
      return "memory unmapped";
    case wire::Control::kMemoryWrite:
      return "memory write";
    case wire::Control::kMemoryFetch:
      return "memory fetch";
    case wire::Control::kMemoryWritable:
      return "memory writable";
    case wire::Control::kMark:
      return "mark";
    case wire::Control::kPictures:
      return "pictures";
    case wire::Control::kFrame:
      return "frame";
    case wire::Control::kMemoryCredit:
      return "memory credit";
  }
  return nullptr;
}

}  // namespace

Dialect::Dialect(std::vector<std::string> names) : names_(std::move(names)) {
  std::unordered_map<std::string_view, uint16_t> known;
  for (uint16_t i = 0; i < kCommandCount; ++i) {
    if (wire::kCodecs[i].decode_request != nullptr) known.emplace(kCommandNames[i], i);
  }
  for (const std::string& name : names_) {
    const auto found = known.find(name);
    numbers_.push_back(found == known.end() ? kUnknown : found->second);
  }
}

std::string Dialect::Name(uint16_t recorded) const {
  if (recorded < names_.size()) return names_[recorded];
  const char* control = NameOf(static_cast<wire::Control>(recorded));
  return control != nullptr ? control : "record " + std::to_string(recorded);
}

void* DecodeRequest(uint16_t number, std::span<const uint8_t> body, Arena* arena, const char** error) {
  arena->Reset();
  const wire::CommandCodec& codec = wire::kCodecs[number];
  void* args = arena->Allocate(codec.args_size);
  if (args == nullptr) {
    *error = "memory is exhausted";
    return nullptr;
  }
  wire::Decoder decoder(body, arena);
  codec.decode_request(decoder, args);
  *error = decoder.error();
  return decoder.ok() ? args : nullptr;
}

bool IsDebugNaming(const std::string& command) {
  for (const char* part : {"SetDebugUtilsObject", "DebugUtilsLabel", "DebugMarker"}) {
    if (command.find(part) != std::string::npos) return true;
  }
  return false;
}

std::vector<uint8_t> WithoutDebugNames(const Dialect& dialect, std::span<const uint8_t> batch) {
  std::vector<uint8_t> kept;
  kept.reserve(batch.size());
  const bool whole = ForEachRecord(batch, 0, [&](const auto& header, auto, auto record, uint64_t) {
    if (!IsDebugNaming(dialect.Name(header.command))) {
      kept.insert(kept.end(), record.begin(), record.end());
      return;
    }
    if ((header.flags & wire::kWantsReply) == 0) return;
    const wire::RecordHeader instead{static_cast<uint16_t>(wire::Control::kHeartbeat), wire::kWantsReply, 0};
    const auto* bytes = reinterpret_cast<const uint8_t*>(&instead);
    kept.insert(kept.end(), bytes, bytes + sizeof(instead));
  });
  if (!whole) return {batch.begin(), batch.end()};
  return kept;
}

}  // namespace vesper::tools::recording
