#include "client/objects/object.h"

#include <vulkan/vk_icd.h>

#include <utility>

#include "client/base/thread_local.h"

namespace vesper::client {
namespace {

VESPER_THREAD_LOCAL uint64_t t_submitted_to = 0;  // the number of the device

}  // namespace

Dispatchable::Dispatchable(Session* owner, ObjectId id) : header{ICD_LOADER_MAGIC, id}, session(owner) {}

PhysicalDevice::PhysicalDevice(Instance* of, ObjectId id) : Dispatchable(of->session, id), instance(of) {}

Queue::Queue(Device* of, ObjectId id) : Dispatchable(of->session, id), device(of) {}

Device::Device(PhysicalDevice* of, ObjectId id, MemoryLink* link, std::unique_ptr<DeviceSubsystem> of_windows)
    : Dispatchable(of->session, id), physical_device(of), mapped_memory(link), windows(std::move(of_windows)) {}

uint64_t Device::NextNumber() noexcept {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

void NoteSubmit(Device* device) noexcept {
  t_submitted_to = device->number;
  if (!device->submitted.load(std::memory_order_relaxed)) device->submitted.store(true, std::memory_order_relaxed);
}

bool HasSubmitted(const Device& device) noexcept { return t_submitted_to == device.number; }

CommandBuffer::CommandBuffer(Device* of, CommandPoolState* from, VkCommandBufferLevel how, ObjectId id)
    : Dispatchable(of->session, id), device(of), pool(from), level(how) {}

}  // namespace vesper::client
