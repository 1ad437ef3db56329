#include "tools/recording/printer.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <utility>

namespace vesper::tools::recording {
namespace {

constexpr uint64_t kWritten =
    4096;  // numbers from here on are easier to read in hexadecimal where they are round or huge
constexpr size_t kMaxBytes = 64;

const char* NameOf(int64_t value, std::span<const NamedValue> values) {
  const auto found = std::lower_bound(values.begin(), values.end(), value,
                                      [](const NamedValue& each, int64_t wanted) { return each.value < wanted; });
  return found != values.end() && found->value == value ? found->name : nullptr;
}

}  // namespace

void Printer::Name(const char* name) {
  if (!first_) *out_ += ", ";
  first_ = false;
  if (name == nullptr) return;
  *out_ += name;
  *out_ += '=';
}

void Printer::Unsigned(uint64_t value) {
  char text[32];
  const bool round = value > UINT32_MAX && (value & (kWritten - 1)) == 0;
  const bool hexadecimal = round || value > (uint64_t{1} << 40);
  std::snprintf(text, sizeof(text), hexadecimal ? "%#" PRIx64 : "%" PRIu64, value);
  *out_ += text;
}

void Printer::Real(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  *out_ += text;
}

void Printer::Named(const char* name, int64_t value, std::span<const NamedValue> values, bool is_mask) {
  Name(name);
  if (const char* known = NameOf(value, values); known != nullptr) {
    *out_ += known;
    return;
  }
  auto left = static_cast<uint64_t>(value);
  bool any = false;
  for (uint64_t bit = 1; is_mask && left != 0 && bit != 0; bit <<= 1) {
    const char* known = (left & bit) != 0 ? NameOf(static_cast<int64_t>(bit), values) : nullptr;
    if (known == nullptr) continue;
    if (any) *out_ += '|';
    *out_ += known;
    left &= ~bit;
    any = true;
  }
  if (any && left == 0) return;
  if (any) *out_ += '|';
  *out_ += std::to_string(static_cast<int64_t>(left));
}

// Slots are used again, with the next generation.
void Printer::Object(const char* name, const char* type, uint64_t id) {
  Name(name);
  if (id == 0) {
    *out_ += "null";
    return;
  }
  *out_ += type;
  *out_ += ' ';
  *out_ += std::to_string(id & 0xffffffff);
  const uint64_t generation = id >> 32 & 0xffffff;
  if (generation > 1) *out_ += '.' + std::to_string(generation);
}

void Printer::NewHandles(const char* name, const char* type, const ObjectId* ids, uint64_t count) {
  if (ids == nullptr) return Null(name);
  if (count == 1) return Object(name, type, ids[0]);
  if (!Begin(name, true, count)) return;
  for (size_t i = 0; More(i); ++i) Object(nullptr, type, ids[i]);
  End();
}

void Printer::Text(const char* text, size_t size) {
  *out_ += '"';
  for (size_t i = 0; i < size && i < kMaxText && text[i] != '\0'; ++i) {
    const char c = text[i];
    if (c == '"' || c == '\\') *out_ += '\\';
    *out_ += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  *out_ += size > kMaxText ? "...\"" : "\"";
}

void Printer::String(const char* name, const char* text) {
  if (text == nullptr) return Null(name);
  Name(name);
  Text(text, std::strlen(text));
}

void Printer::Characters(const char* name, const char* text, size_t size) {
  Name(name);
  Text(text, size);
}

void Printer::Strings(const char* name, const char* const* texts, uint64_t count) {
  if (!Begin(name, texts != nullptr, count)) return;
  for (size_t i = 0; More(i); ++i) String(nullptr, texts[i]);
  End();
}

void Printer::Bytes(const char* name, const void* bytes, size_t count) {
  if (bytes == nullptr) return Null(name);
  Name(name);
  *out_ += std::to_string(count) + " bytes";
  if (count > kMaxBytes) return;
  *out_ += ':';
  char text[4];
  for (size_t i = 0; i < count; ++i) {
    std::snprintf(text, sizeof(text), "%s%02x", i % 4 == 0 ? " " : "", static_cast<const uint8_t*>(bytes)[i]);
    *out_ += text;
  }
}

void Printer::Null(const char* name) {
  Name(name);
  *out_ += "null";
}

void Printer::Rows(const char* name, const void* rows, uint64_t count) {
  if (rows == nullptr) return Null(name);
  Name(name);
  *out_ += '[' + std::to_string(count) + " arrays]";
}

void Printer::Open(const char* name) {
  Name(name);
  *out_ += '{';
  first_ = true;
}

void Printer::Close() {
  *out_ += '}';
  first_ = false;
}

bool Printer::Begin(const char* name, bool there, uint64_t count) {
  if (!there || count == 0) {
    Null(name);
    return false;
  }
  Name(name);
  *out_ += '[';
  first_ = true;
  counts_.push_back(count);
  return true;
}

void Printer::End() {
  if (counts_.back() > kMaxItems) *out_ += ", " + std::to_string(counts_.back() - kMaxItems) + " more";
  *out_ += ']';
  first_ = false;
  counts_.pop_back();
}

// A member of a chain shows its own pNext like every struct: that is the rest of this chain, which is shown here.
void Printer::Chain(const void* chain, bool (*print)(Printer&, const VkBaseInStructure*)) {
  if (chain == rest_of_chain_) return;
  for (auto* each = static_cast<const VkBaseInStructure*>(chain); each != nullptr; each = each->pNext) {
    const void* const outer = std::exchange(rest_of_chain_, each->pNext);
    if (!print(*this, each)) Number("sType", static_cast<uint32_t>(each->sType));
    rest_of_chain_ = outer;
  }
}

}  // namespace vesper::tools::recording
