// The client's dispatchable objects, which Vulkan's dispatchable handles point to. The loader writes its word into the
// first bytes of each; then come the id (runtime/object_id.h, DispatchableHeader) and the session.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <vector>

#include "client/ids.h"
#include "client/memory/mapped_memory.h"
#include "client/wsi/acquired.h"
#include "runtime/object_id.h"
#include "runtime/wire/encoder.h"

namespace vesper::client {

class Session;
struct PhysicalDevice;
struct Device;
struct CommandPoolState;
struct SwapchainState;

struct Dispatchable {
  Dispatchable(Session* owner, ObjectId id);
  Dispatchable(const Dispatchable&) = delete;
  Dispatchable& operator=(const Dispatchable&) = delete;

  DispatchableHeader header;
  Session* const session;
};
static_assert(std::is_standard_layout_v<Dispatchable>);
static_assert(offsetof(Dispatchable, header) == 0 && offsetof(DispatchableHeader, loader_data) == 0);

struct Instance : Dispatchable {
  using Dispatchable::Dispatchable;
  std::shared_ptr<Session> keeps_session;
  uint32_t api_version = VK_API_VERSION_1_0;                      // as the application asked
  uint32_t server_version = VK_API_VERSION_1_0;                   // of instance-level commands that the server has
  std::vector<std::string> extensions;                            // enabled
  std::vector<std::unique_ptr<PhysicalDevice>> physical_devices;  // fetched once, when the instance is made
};

struct PhysicalDevice : Dispatchable {
  PhysicalDevice(Instance* of, ObjectId id);
  Instance* const instance;
  uint32_t api_version = VK_API_VERSION_1_0;
  std::once_flag fetch_extensions;
  VkResult extensions_result = VK_SUCCESS;
  std::vector<VkExtensionProperties> extensions;  // offered to the application
};

// Counts are guarded by the session's lane.
struct Queue : Dispatchable {
  Queue(Device* of, ObjectId id);
  Device* const device;
  VkDeviceQueueInfo2 info{};
  uint64_t submitted = 0;  // serial of the last submit
  uint64_t completed = 0;  // serial up to which everything has completed
};

struct Device : Dispatchable {
  Device(PhysicalDevice* of, ObjectId id);
  PhysicalDevice* const physical_device;
  std::vector<std::string> extensions;  // enabled
  VkPhysicalDeviceMemoryProperties memory_properties{};
  std::mutex queues_mutex;  // taken before the lane
  std::vector<std::unique_ptr<Queue>> queues;
  MappedMemory mapped_memory;  // what of its memory is mapped now
  std::atomic<bool> lost{false};
  std::atomic<bool> submitted{false};  // by any thread, ever
  AcquiredSemaphores acquired;
  std::mutex swapchains_mutex;
  std::vector<SwapchainState*> swapchains;  // not destroyed yet
  const uint64_t number = NextNumber();     // unique in this process, unlike its address

 private:
  static uint64_t NextNumber() noexcept;
};

// Notes that the calling thread submits to the device / whether the device is the one that it submitted to last.
void NoteSubmit(Device* device) noexcept;
bool HasSubmitted(const Device& device) noexcept;

// Recording happens without a lock: Vulkan leaves the command buffer and its pool to one thread at a time.
struct CommandBuffer : Dispatchable {
  CommandBuffer(Device* of, CommandPoolState* from, VkCommandBufferLevel how, ObjectId id);
  // Sends what was recorded and empties the buffer.
  void SendRecords() noexcept;

  Device* const device;
  CommandPoolState* const pool;
  const VkCommandBufferLevel level;
  wire::ByteBuffer records;  // recorded and not sent
  VkResult failure = VK_SUCCESS;
};

struct CommandPoolState : ObjectState {
  using ObjectState::ObjectState;
  std::vector<std::unique_ptr<CommandBuffer>> command_buffers;
};

template <typename T, typename H>
T* FromHandle(H handle) {
  static_assert(std::is_pointer_v<H>);
  return reinterpret_cast<T*>(handle);
}
template <typename H, typename T>
H ToHandle(T* object) {
  return reinterpret_cast<H>(object);
}

// The id in a non-dispatchable handle and back.
template <typename H>
ObjectId IdOf(H handle) {
  static_assert(sizeof(H) == sizeof(ObjectId));
  ObjectId id;
  __builtin_memcpy(&id, &handle, sizeof(id));
  return id;
}

}  // namespace vesper::client
