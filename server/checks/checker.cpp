#include "server/checks/checker.h"

namespace vesper::server {

void Checker::Strided(const char* members, uint64_t offset, uint64_t count, uint64_t stride, uint64_t size,
                      uint64_t limit) {
  if (count == 0) return;
  uint64_t last = 0;
  if (__builtin_mul_overflow(count - 1, stride, &last) || __builtin_add_overflow(last, offset, &last)) {
    return Fail(members);
  }
  Span(members, last, size, limit);
}

const VkPhysicalDeviceLimits& Checker::limits() const {
  static const VkPhysicalDeviceLimits kNone{};
  const Device* device = own_device();
  return device == nullptr ? kNone : device->limits();
}

Checker::DeviceLimits Checker::device() const {
  const Device* device = own_device();
  if (device == nullptr) return {};
  return {device->memory_properties().memoryTypeCount, device->parts().queues.size()};
}

}  // namespace vesper::server
