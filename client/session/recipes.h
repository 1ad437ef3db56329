// What objects are made of, so that answers which follow from it alone (memory requirements, subresource layouts) are asked
// for once and not once per object: equal creation requests have the same recipe, and remembered answers are kept by it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/mutex.h"
#include "runtime/object_id.h"
#include "runtime/wire/handle_mapper.h"

namespace vesper::client {

// Finds strings by views.
struct BytesHash {
  using is_transparent = void;
  size_t operator()(std::string_view bytes) const noexcept { return std::hash<std::string_view>{}(bytes); }
};
template <typename T>
using ByBytes = std::unordered_map<std::string, T, BytesHash, std::equal_to<>>;

// Holds a bounded number of recipes. An object beyond that has none: questions about it are remembered by its id. Owned by the
// session. Thread-safe; no other lock is taken under its own.
class Recipes {
 public:
  // Notes that the objects are made of what `request` says. Without effect where memory is exhausted.
  void Note(std::span<const uint64_t> ids, std::string_view request) noexcept;
  // What names the object in the question for a remembered answer: its recipe, which never equals an id, or else its id.
  ObjectId StandIn(HandleType type, ObjectId id) const noexcept;

 private:
  struct Entry {
    ObjectId id = kNullObject;
    uint32_t recipe = 0;
  };
  mutable Mutex mutex_;
  ByBytes<uint32_t> recipes_ VESPER_GUARDED_BY(mutex_);
  std::vector<Entry> objects_ VESPER_GUARDED_BY(mutex_);  // by slot
};

// Writes questions with recipes in place of ids.
class RecipeMapper final : public wire::HandleMapper {
 public:
  explicit RecipeMapper(const Recipes* recipes) : recipes_(recipes) {}
  ObjectId ToWire(HandleType type, uint64_t handle) const override;
  bool FromWire(HandleType, ObjectId, wire::HandleUse, uint64_t*) override { return false; }  // nothing is read

 private:
  const Recipes* const recipes_;
};

}  // namespace vesper::client
