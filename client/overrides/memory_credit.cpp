#include "client/overrides/memory_credit.h"

#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/wire/memory.h"

namespace vesper::client {
namespace {

// Imports and exports may fail for reasons of their own, a device mask takes memory of several devices, a dedicated allocation names a
// resource that may still be in the making, and an opaque address may be taken.
bool IsPlain(const VkMemoryAllocateInfo& info) {
  const auto* next = static_cast<const VkBaseInStructure*>(info.pNext);
  if (next == nullptr) return true;
  if (next->sType != VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO || next->pNext != nullptr) return false;
  const VkMemoryAllocateFlags flags = reinterpret_cast<const VkMemoryAllocateFlagsInfo*>(next)->flags;
  return (flags & ~VkMemoryAllocateFlags{VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT}) == 0;
}

// Memory that may be shared with the server comes with the answer; other kinds may be refused although there is room.
bool MayBePromised(const Device& device, uint32_t type) {
  constexpr VkMemoryPropertyFlags kVisible =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  if (type >= device.memory_properties.memoryTypeCount) return false;
  const VkMemoryPropertyFlags flags = device.memory_properties.memoryTypes[type].propertyFlags;
  if ((flags & ~(VkMemoryPropertyFlags{VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT} | kVisible)) != 0) return false;
  return (flags & kVisible) == 0 || !device.session->shares_memory();
}

// Each heap's reserve is one of the driver's allocations.
bool MayBeTooMany(Device* device) {
  return device->memory_credit.allocations() + VK_MAX_MEMORY_HEAPS >= device->most_allocations;
}

void Ask(Device* device, uint32_t type, wire::MemoryCreditRequest* request) {
  request->device = device->header.id;
  request->type = type;
  device->session->PostControl(wire::Control::kMemoryCredit, request, sizeof(*request));
}

}  // namespace

VkDeviceMemory AllocateOnCredit(Device* device, const VkMemoryAllocateInfo& info, uint64_t* number) noexcept {
  if (device->session->lost() || !IsPlain(info) || !MayBePromised(*device, info.memoryTypeIndex)) return VK_NULL_HANDLE;
  const uint32_t heap = device->memory_properties.memoryTypes[info.memoryTypeIndex].heapIndex;
  if (heap >= VK_MAX_MEMORY_HEAPS || MayBeTooMany(device)) return VK_NULL_HANDLE;
  {
    Connection& connection = device->session->connection();
    std::unique_lock lane(connection.lane());
    connection.TryPoll(lane);  // what the server has said
  }
  MemoryCredit& credit = device->memory_credit;
  const MutexLock order(credit.order);
  *number = credit.Take(heap, info.allocationSize);
  if (*number == 0) {
    wire::MemoryCreditRequest request;
    if (credit.Wants(heap, info.allocationSize, &request)) Ask(device, info.memoryTypeIndex, &request);
    return VK_NULL_HANDLE;
  }
  VkDeviceMemory memory = VK_NULL_HANDLE;
  wire::AllocateMemoryArgs args{};
  args.device = ToHandle<VkDevice>(device);
  args.pAllocateInfo = &info;
  args.pMemory = &memory;
  Call call(args.device, Command::kAllocateMemory);
  call.Mint(HandleType::kDeviceMemory, &memory, 1);
  if (call.Post(&args) == VK_SUCCESS) return memory;
  credit.GiveBack(heap, *number);
  *number = 0;
  return VK_NULL_HANDLE;
}

bool GiveUpCredit(Device* device) noexcept {
  if (device->session->abandoned()) return false;
  MemoryCredit& credit = device->memory_credit;
  const MutexLock order(credit.order);
  bool any = false;
  const VkPhysicalDeviceMemoryProperties& properties = device->memory_properties;
  for (uint32_t type = 0; type < properties.memoryTypeCount; ++type) {
    wire::MemoryCreditRequest request;
    const uint32_t heap = properties.memoryTypes[type].heapIndex;
    if (heap >= VK_MAX_MEMORY_HEAPS || !credit.GiveUp(heap, &request)) continue;
    Ask(device, type, &request);
    any = true;
  }
  return any;
}

}  // namespace vesper::client
