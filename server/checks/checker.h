// Compares decoded arguments with what the server knows of the objects, before the driver sees them: a driver takes sizes and
// indices on trust. Generated code (policy `check`) and server/checks call it.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <string>

#include "server/checks/facts.h"
#include "server/device/device.h"
#include "server/handles/named_facts.h"

namespace vesper::server {

// Of one command, while its arguments are decoded and its facts stay. What is not known is not limited: objects
// that the command does not name, or null handles.
class Checker {
 public:
  // `context`: of the object that the command is called on, or nullptr.
  Checker(const NamedFacts& facts, const DispatchContext* context) : facts_(facts), context_(context) {}

  const Finding& finding() const { return finding_; }
  // What is wrong first counts. The texts are literals.
  bool failed() const { return finding_.members != nullptr; }
  void Fail(const char* members, const char* what = "outside of what there is") {
    if (failed()) return;
    finding_.members = members;
    finding_.what = what;
  }
  // The command is left out instead: a valid program may get here through an object that the driver refused.
  void LeaveOut(const char* why) {
    if (finding_.left_out == nullptr) finding_.left_out = why;
  }

  // `index` < limit.
  void Index(const char* members, uint64_t index, uint64_t limit) {
    if (index >= limit) Fail(members);
  }
  // [first, first + count) within [0, limit).
  void Span(const char* members, uint64_t first, uint64_t count, uint64_t limit) {
    if (first > limit || count > limit - first) Fail(members);
  }
  // The same in bytes, of which there may be as many as remain.
  void Bytes(const char* members, uint64_t offset, uint64_t size, uint64_t limit) {
    Span(members, offset, size == VK_WHOLE_SIZE ? 0 : size, limit);
  }
  // `count` elements of `size` bytes, so far from each other.
  void Strided(const char* members, uint64_t offset, uint64_t count, uint64_t stride, uint64_t size, uint64_t limit);

  template <typename T = Facts, typename H>
  T* Find(HandleType type, H handle) const {
    return static_cast<T*>(facts_.Of(type, handle));
  }
  template <typename H>
  const Facts& Of(HandleType type, H handle) const {
    static const Facts kUnknown;
    const Facts* facts = Find(type, handle);
    return facts == nullptr ? kUnknown : *facts;
  }

  struct DeviceLimits {
    uint64_t memory_types = 0;
    uint64_t queue_families = 0;
  };
  // Of the device that the command is for; without one nothing is within its limits.
  DeviceLimits device() const;
  const VkPhysicalDeviceLimits& limits() const;
  const Device* own_device() const { return context_ == nullptr ? nullptr : context_->device; }
  const vk::DispatchTable* driver() const { return context_ == nullptr ? nullptr : &context_->table; }

 private:
  const NamedFacts& facts_;
  const DispatchContext* const context_;
  Finding finding_;
};

}  // namespace vesper::server
