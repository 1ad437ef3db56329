#include "server/handles/translation.h"

#include <algorithm>
#include <unordered_map>

#include "generated/server/commands.h"
#include "generated/vk/commands.h"
#include "generated/wire/codecs.h"

namespace vesper::server {

Translation::Translation(const std::vector<std::string>& commands, const std::vector<std::string>& handle_types)
    : by_name_(true) {
  std::unordered_map<std::string, uint16_t> known;
  for (uint16_t i = 0; i < kCommandCount; ++i) known.emplace(kCommandNames[i], i);
  commands_.reserve(std::min<size_t>(commands.size(), kUnknown));
  for (size_t i = 0; i < commands.size() && i < kUnknown; ++i) {
    const auto found = known.find(commands[i]);
    commands_.push_back(found == known.end() ? kUnknown : found->second);
  }
  for (size_t i = 1; i < handle_types.size() && i < handle_types_.size(); ++i) {
    for (uint8_t ours = 1; ours < kHandleTypeCount; ++ours) {
      if (handle_types[i] == kHandleTypeNames[ours]) handle_types_[i] = static_cast<HandleType>(ours);
    }
  }
}

std::vector<std::string> DecodedCommands() {
  std::vector<std::string> names;
  for (uint16_t i = 0; i < kCommandCount; ++i) {
    if (wire::kCodecs[i].decode_request != nullptr && kServerCommands[i].invoke != nullptr) {
      names.emplace_back(kCommandNames[i]);
    }
  }
  return names;
}

std::vector<std::string> DecodedHandleTypes() { return {kHandleTypeNames + 1, kHandleTypeNames + kHandleTypeCount}; }

}  // namespace vesper::server
