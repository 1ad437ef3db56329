// What generated/venus says of the Venus protocol: for each struct and command where its members are and how they travel.
// server/venus/walker.h reads and writes streams by it.
#pragma once

#include <vulkan/vulkan.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "generated/vk/commands.h"

namespace vesper::venus {

enum class What : uint8_t {
  kPlain,    // numbers of `size` bytes; those of one byte lie side by side, padded to four
  kHandle,   // eight bytes, the peer's number of the object
  kStruct,   // or a union
  kString,   // with its terminating zero, padded to four bytes
  kStrings,  // `count` of these
  kChain,    // pNext
  kAbsent    // what stays with the peer: always null
};

struct Struct;

struct Member {
  uint32_t offset = 0;
  What what = What::kPlain;
  uint32_t size = 0;
  const Struct* type = nullptr;
  HandleType handle = HandleType::kNone;
  uint32_t extent = 0;  // of a fixed array; 0: it is none
  bool pointer = false;
  int32_t stride = -1;  // where the distance of the elements stands; they travel side by side
  uint32_t unit = 0;    // a struct's size in C
  bool array = false;   // the pointer's count travels; else whether it is null
  // How many there must be: a number of four bytes in the same struct, or what a function makes of that.
  int32_t count = -1;
  uint64_t (*length)(const void* owner) = nullptr;
  bool output = false;  // the callee writes what the pointer points to
  bool counts = false;  // it is the length of another member
};

struct Struct {
  const char* name;
  uint32_t size;
  int32_t type;  // sType
  bool chained;  // begins with sType and pNext
  bool is_union;
  bool own;      // the protocol's: means something to the renderer, nothing to a driver
  uint32_t tag;  // which member of a union travels to the peer
  std::span<const Member> members;
};

struct CommandTable {
  Command command;
  uint32_t number;
  Struct arguments;      // a wire::…Args
  uint32_t result;       // where what it returns stands
  uint32_t result_size;  // 0: it returns nothing
  bool has_code;         // it returns a VkResult
  int32_t destroyed;     // where the handle, or the array of them, stands that is gone afterwards; -1: none
};

// All structs that may stand in a chain, by sType.
extern const std::span<const Struct* const> kChained;
// By the protocol's number; null for what is not served.
extern const std::span<const CommandTable* const> kCommands;
extern const std::span<const char* const> kNumberNames;

// The walker treats pointers and lengths as these.
static_assert(sizeof(void*) == 8 && sizeof(size_t) == 8);

#define VESPER_VENUS(member) .offset = offsetof(S, member)

template <typename T, auto F>
uint64_t Length(const void* owner) {
  return static_cast<uint64_t>(F(*static_cast<const T*>(owner)));
}

}  // namespace vesper::venus
