// Command and handle-type numbers of a client that was generated from another registry, translated
// by name.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/object_id.h"

namespace vesper::server {

class Translation {
 public:
  static constexpr uint16_t kUnknown = 0xffff;

  // The client's numbers are this server's.
  Translation() = default;
  // `commands` and `handle_types` are the client's names by number.
  Translation(const std::vector<std::string>& commands, const std::vector<std::string>& handle_types);

  // This server's number of the client's command, or kUnknown.
  uint16_t Command(uint16_t command) const {
    if (!by_name_) return command;
    return command < commands_.size() ? commands_[command] : kUnknown;
  }
  bool by_name() const { return by_name_; }
  const std::array<HandleType, 256>& handle_types() const { return handle_types_; }

 private:
  bool by_name_ = false;
  std::vector<uint16_t> commands_;
  std::array<HandleType, 256> handle_types_{};
};

// What this server decodes, by its own numbers, for the Welcome.
std::vector<std::string> DecodedCommands();
std::vector<std::string> DecodedHandleTypes();

}  // namespace vesper::server
