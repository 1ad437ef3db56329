// What the records of a recording mean here: commands by the names that its client gave them, decoded by this build's codecs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "generated/vk/commands.h"
#include "runtime/arena.h"
#include "runtime/wire/record.h"

namespace vesper::tools::recording {

class Dialect {
 public:
  // Names by the recording's number.
  explicit Dialect(std::vector<std::string> names);

  static constexpr uint16_t kUnknown = 0xffff;
  // This build's number for a command of the recording; kUnknown for one that it does not know or that does not travel.
  uint16_t Number(uint16_t recorded) const { return recorded < numbers_.size() ? numbers_[recorded] : kUnknown; }
  bool Is(uint16_t recorded, Command command) const { return Number(recorded) == static_cast<uint16_t>(command); }
  // For people: of commands and controls.
  std::string Name(uint16_t recorded) const;

 private:
  std::vector<std::string> names_;
  std::vector<uint16_t> numbers_;
};

// A request decoded: object ids stand where handles were. The arguments live until the next use of the arena.
void* DecodeRequest(uint16_t number, std::span<const uint8_t> body, Arena* arena, const char** error);

// Calls visit(header, body, whole, sequence) for each record of a batch; `sequence` is that of its reply, or 0. False when the
// bytes are no records.
template <typename Visit>
bool ForEachRecord(std::span<const uint8_t> batch, uint64_t first_sequence, Visit visit) {
  uint64_t next = first_sequence;
  while (!batch.empty()) {
    wire::RecordHeader header;
    std::span<const uint8_t> body;
    const std::span<const uint8_t> before = batch;
    if (!wire::NextRecord(&batch, &header, &body)) return false;
    const bool asks = (header.flags & wire::kWantsReply) != 0;
    visit(header, body, before.first(before.size() - batch.size()), asks ? next : uint64_t{0});
    if (asks) ++next;
  }
  return true;
}

// Whether it only names objects or labels commands, for people.
bool IsDebugNaming(const std::string& command);
// A batch without such commands. What waited for a reply to one is answered all the same.
std::vector<uint8_t> WithoutDebugNames(const Dialect& dialect, std::span<const uint8_t> batch);

}  // namespace vesper::tools::recording
