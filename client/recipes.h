// What objects are made of, so that answers which follow from it alone (memory requirements, subresource layouts) are asked
// for once and not once per object: equal creation requests have the same recipe, and remembered answers are kept by it.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

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

// A bounded number of recipes; objects beyond have none and answer for themselves. Thread-safe.
class Recipes {
 public:
  static constexpr uint32_t kMaxRecipes = 1u << 16;

  // Notes that the objects are made of what `request` says. Without effect where memory is exhausted.
  void Note(std::span<const uint64_t> ids, std::string_view request) noexcept;
  // What stands for the object in the question for a remembered answer: its recipe, which no id equals, or its id.
  ObjectId StandIn(HandleType type, ObjectId id) const noexcept;

 private:
  struct Entry {
    ObjectId id = kNullObject;
    uint32_t recipe = 0;
  };
  mutable std::mutex mutex_;
  ByBytes<uint32_t> recipes_;
  std::vector<Entry> objects_;  // by slot
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
