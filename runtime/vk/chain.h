// pNext chains: going through them, finding a member, leaving members out. Both sides use it; the wire has its own
// (runtime/wire/chain.h), which knows sizes and nothing else.
#pragma once

#include <vulkan/vulkan.h>

#include <type_traits>

namespace vesper {

// The members of a chain, for a range-based for: `for (const VkBaseInStructure& member : Chain(info.pNext))`. Members may be
// changed where the chain may be; they must not be taken out meanwhile.
template <typename Member>
class Chain {
 public:
  explicit Chain(Member* first) : first_(first) {}

  class Iterator {
   public:
    explicit Iterator(Member* at) : at_(at) {}
    Member& operator*() const { return *at_; }
    Iterator& operator++() {
      at_ = at_->pNext;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return at_ != other.at_; }

   private:
    Member* at_;
  };
  Iterator begin() const { return Iterator(first_); }
  Iterator end() const { return Iterator(nullptr); }

 private:
  Member* const first_;
};
inline Chain<const VkBaseInStructure> ChainOf(const void* first) {
  return Chain<const VkBaseInStructure>(static_cast<const VkBaseInStructure*>(first));
}
inline Chain<VkBaseOutStructure> ChainOf(void* first) {
  return Chain<VkBaseOutStructure>(static_cast<VkBaseOutStructure*>(first));
}

// What a member's sType says it is; constness follows the member's.
template <typename T, typename Member>
auto& As(Member& member) {
  return *reinterpret_cast<std::conditional_t<std::is_const_v<Member>, const T, T>*>(&member);
}

// The first member of that type, or nullptr.
template <typename T>
const T* FindInChain(const void* first, VkStructureType type) {
  for (const VkBaseInStructure& member : ChainOf(first)) {
    if (member.sType == type) return &As<T>(member);
  }
  return nullptr;
}
template <typename T>
T* FindInChain(void* first, VkStructureType type) {
  return const_cast<T*>(FindInChain<T>(static_cast<const void*>(first), type));
}

// The chain without the members that `leave_out(member)` is true of: it is changed in place, and must be the caller's own.
template <typename LeaveOut>
const void* Without(const void* first, LeaveOut leave_out) {
  auto* head = const_cast<VkBaseOutStructure*>(static_cast<const VkBaseOutStructure*>(first));
  VkBaseOutStructure** link = &head;
  while (*link != nullptr) {
    if (leave_out(**link)) {
      *link = (*link)->pNext;
    } else {
      link = &(*link)->pNext;
    }
  }
  return head;
}

}  // namespace vesper
