// What generated/tests/ tells about the registry: tables of members that the tests fill, compare and damage arguments by.
// They are made from the registry's model and the policy, not from the plan that the codecs are made from.
#pragma once

#include <vulkan/vulkan.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "generated/vk/commands.h"
#include "runtime/wire/encoder.h"

namespace vesper::test {

// What one value is.
enum class What : uint8_t {
  kNumber,  // `size` bytes that travel as they are: integers, enumerations, bytes of memory and of raw unions
  kReal,
  kBits,  // a bit-field, through `get` and `set`
  kHandle,
  kHidden,  // a handle in an integer, of the type that `object` says
  kText,
  kStruct,
  kUnion,  // the member that `selector` selects
  kChain,
  kType,    // sType
  kOpaque,  // a pointer that is a number
  kLocal    // stays on its side and arrives as null
};

// Who fills a struct: the application, or the driver.
enum class Role : uint8_t { kIn, kOut };

struct Struct;

struct Member {
  const char* name = nullptr;
  size_t offset = 0;
  size_t size = 0;  // of one element
  What what = What::kNumber;
  uint32_t (*get)(const void* owner) = nullptr;
  void (*set)(void* owner, uint32_t value) = nullptr;
  uint32_t bits = 0;
  uint32_t pointers = 0;
  uint32_t extent = 0;  // of a fixed array
  bool is_const = false;
  const Struct* type = nullptr;
  HandleType handle = HandleType::kNone;
  size_t ids = 0;  // where the decoder leaves the ids of new or destroyed objects; 0: nowhere
  HandleType (*object)(const void* owner) = nullptr;
  int64_t (*selector)(const void* owner) = nullptr;
  std::span<const int64_t> (*selection)() = nullptr;  // values of the selector that mean this member
  std::span<const int64_t> (*values)() = nullptr;     // of an enumeration
  size_t own_count = 0;  // where the count of an array of enumerators stands that nothing else has
  uint64_t (*length)(const void* owner) = nullptr;  // elements, 1 without
  uint64_t (*row_length)(const void* owner, size_t row) = nullptr;
  uint32_t (*outer_length)(const wire::Around& around) = nullptr;
  bool is_written = false;      // by the callee
  const char* bound = nullptr;  // the member that holds the room before the call and the count after it
  uint32_t scale = 0;           // a length: small, and a multiple of this
  bool is_bound = false;
  size_t stride = 0;  // where the distance of the elements stands, 0: they are dense
  bool is_stride = false;
  bool is_optional = false;
  bool is_ignorable = false;
  bool (*read_if)(const void* owner, const wire::Around& around) = nullptr;  // garbage where this is false
  bool is_output_chain = false;  // an argument: any of the extenders, written by the driver
};

// The role of a chain whose owner has `role`.
inline Role ChainRole(const Member& m, Role role) { return m.is_output_chain ? Role::kOut : role; }

struct Struct {
  const char* name;
  size_t size;
  int32_t s_type;  // 0: none
  bool is_union;
  std::span<const Member> members;
  std::span<const Struct* const> extenders;  // what its chain may hold
  int32_t surrounds = 0;                     // Around::type, where conditions or lengths of what it holds look at it
};

struct CommandTable {
  Command id;
  Struct args;
  void (*call)(void* args, PFN_vkVoidFunction entry);  // as the server calls the driver
  PFN_vkVoidFunction entry;                            // the recording driver's
  std::span<const int32_t> codes;
  size_t result;
  size_t result_size;
};

// The recording driver: generated functions hand it the arguments that they were called with. Whoever links the tables
// says what it does.
class Driver {
 public:
  // What the driver returns, in the low bytes.
  static uint64_t Called(Command command, const void* args);
};

extern const CommandTable* const kCommandTables[];
extern const size_t kCommandTableCount;
// The structs that the generator says travel.
extern const char* const kTravellingStructs[];
extern const size_t kTravellingStructCount;

// Rows of tables, where S is the owner: a member that has an address, whose elements are of `type`, and a bit-field.
#define VESPER_AT(member, type) .name = #member, .offset = offsetof(S, member), .size = sizeof(type)
#define VESPER_BITS(member, count)                                                          \
  .name = #member, .what = What::kBits, .get = Get<S, [](const S& v) { return v.member; }>, \
  .set = Set<S, [](S& v, uint32_t x) { v.member = x & (0xffffffffu >> (32 - count)); }>, .bits = count

// Members of tables; `F` is a lambda over the owner.
template <typename T, auto F>
uint32_t Get(const void* owner) {
  return static_cast<uint32_t>(F(*static_cast<const T*>(owner)));
}
template <typename T, auto F>
void Set(void* owner, uint32_t value) {
  F(*static_cast<T*>(owner), value);
}
template <typename T, auto F>
HandleType Object(const void* owner) {
  return F(*static_cast<const T*>(owner));
}
template <typename T, auto F>
int64_t Number(const void* owner) {
  return static_cast<int64_t>(F(*static_cast<const T*>(owner)));
}
template <typename T, auto F>
uint64_t Length(const void* owner) {
  return static_cast<uint64_t>(F(*static_cast<const T*>(owner)));
}
template <typename T, auto F>
uint64_t RowLength(const void* owner, size_t row) {
  return static_cast<uint64_t>(F(*static_cast<const T*>(owner), row));
}
template <typename T, auto F>
bool Condition(const void* owner, const wire::Around& around) {
  return F(*static_cast<const T*>(owner), around);
}
// The recording driver's function for a command: puts what it is called with into `members` of Args.
template <Command command, typename Args, auto... members>
struct Recording {
  template <typename Result, typename... Parameters>
  static Result VKAPI_CALL Call(Parameters... parameters) {
    Args v{};
    (Put(v.*members, parameters), ...);
    return static_cast<Result>(Driver::Called(command, &v));
  }

 private:
  template <typename T>
  static void Put(T& member, T parameter) {
    member = parameter;
  }
  template <typename T, size_t count>
  static void Put(T (&member)[count], const T* parameter) {
    std::memcpy(member, parameter, sizeof(member));
  }
};
template <int64_t... Values>
std::span<const int64_t> Selection() {
  static constexpr int64_t kValues[] = {Values...};
  return kValues;
}

}  // namespace vesper::test
