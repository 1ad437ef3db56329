// Puts decoded commands into words: name(member=value, struct={...}). Generated code (generated/trace) calls it for each member.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "runtime/object_id.h"

namespace vesper::tools::recording {

// A value of an enumeration or a bit of a mask; sorted by value.
struct NamedValue {
  int64_t value;
  const char* name;
};

// The first element of an array, whatever its dimensions.
template <typename T, typename Array>
const T* First(const Array& array) {
  return reinterpret_cast<const T*>(&array);
}

class Printer {
 public:
  // Of arrays and strings no more than this is shown.
  static constexpr size_t kMaxItems = 16;
  static constexpr size_t kMaxText = 120;

  explicit Printer(std::string* out) : out_(out) {}

  // `name` is null for items of an array.
  template <typename T>
  void Number(const char* name, T value) {
    Name(name);
    if constexpr (std::is_floating_point_v<T>) {
      Real(static_cast<double>(value));
    } else if constexpr (std::is_signed_v<T>) {
      *out_ += std::to_string(static_cast<int64_t>(value));
    } else {
      Unsigned(static_cast<uint64_t>(value));
    }
  }
  void Named(const char* name, int64_t value, std::span<const NamedValue> values, bool is_mask);
  template <typename H>
  void Handle(const char* name, const char* type, H handle) {
    uint64_t raw = 0;
    std::memcpy(&raw, &handle, sizeof(handle));
    Object(name, type, raw);
  }
  void NewHandles(const char* name, const char* type, const ObjectId* ids, uint64_t count);
  void String(const char* name, const char* text);
  void Strings(const char* name, const char* const* texts, uint64_t count);
  void Characters(const char* name, const char* text, size_t size);
  void Bytes(const char* name, const void* bytes, size_t count);
  void Null(const char* name);
  // Arrays of arrays: only how many.
  void Rows(const char* name, const void* rows, uint64_t count);
  // A struct.
  void Open(const char* name);
  void Close();
  // An array: false, and then there is no End(), when it is not there. More() while another item is to be shown.
  bool Begin(const char* name, bool there, uint64_t count);
  bool More(size_t index) const { return index < counts_.back() && index < kMaxItems; }
  void End();
  // pNext; `print` shows one member of a chain, and says whether it knew it.
  void Chain(const void* chain, bool (*print)(Printer&, const VkBaseInStructure*));

 private:
  void Name(const char* name);
  void Object(const char* name, const char* type, uint64_t id);
  void Text(const char* text, size_t size);
  void Unsigned(uint64_t value);
  void Real(double value);

  std::string* const out_;
  const void* rest_of_chain_ = nullptr;
  bool first_ = true;             // of what stands in the same brackets
  std::vector<uint64_t> counts_;  // of the arrays that are being shown, the innermost last
};

}  // namespace vesper::tools::recording
