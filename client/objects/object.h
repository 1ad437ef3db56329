// The client's dispatchable objects, which Vulkan's dispatchable handles point to. The loader writes its word into the
// first bytes of each; then come the id (runtime/object_id.h, DispatchableHeader) and the session.
#pragma once

#include <vulkan/vulkan.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "client/base/ids.h"
#include "client/base/limits.h"
#include "client/memory/mapped_memory.h"
#include "client/memory/memory_report.h"
#include "client/objects/addresses.h"
#include "client/objects/known_chain.h"
#include "client/objects/memory_credit.h"
#include "client/objects/recordings.h"
#include "client/objects/uploads.h"
#include "runtime/mutex.h"
#include "runtime/object_id.h"
#include "runtime/wire/encoder.h"

namespace vesper::client {

class Session;
struct PhysicalDevice;
struct Device;
struct CommandPoolState;

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
  // Where several servers are used, the application has the first one's instance, and this has those of the others, whose
  // physical devices it gets as well.
  std::vector<std::unique_ptr<Instance>> others;
  Instance* first = this;  // of which the application has the handle

  // Calls visit(instance) for this one and for the others.
  template <typename Visit>
  void ForEach(Visit visit) const {
    visit(*this);
    for (const auto& other : others) visit(*other);
  }
};

struct PhysicalDevice : Dispatchable {
  PhysicalDevice(Instance* of, ObjectId id);
  Instance* const instance;
  uint32_t api_version = VK_API_VERSION_1_0;
  std::once_flag fetch_extensions;
  VkResult extensions_result = VK_SUCCESS;
  std::vector<VkExtensionProperties> extensions;  // offered to the application
  KnownChain known_properties, known_features;
  std::atomic<bool> asked_formats{false}, asked_formats2{false},
      asked_formats3{false};  // all of them, by each question
};

// Owned by its device. Any thread; the counts are guarded by the session's lane.
struct Queue : Dispatchable {
  Queue(Device* of, ObjectId id);
  Device* const device;
  VkDeviceQueueInfo2 info{};
  uint64_t submitted = 0;  // serial of the last submit
  uint64_t completed = 0;  // serial up to which everything has completed
  uint64_t ordinary = 0;   // serial of the last submit that was no upload (client/objects/uploads.h),
  uint64_t uploaded = 0;   // and of the last that was
  Mutex submits_mutex;  // held while a submit is posted, since uploads come from other queues; taken before all others
  UploadCommands uploads VESPER_GUARDED_BY(submits_mutex);
};

// State that a room above this one keeps for a device; the device deletes it. Its own lock is its own business.
struct DeviceSubsystem {
  virtual ~DeviceSubsystem() = default;
};

struct Device : Dispatchable {
  Device(PhysicalDevice* of, ObjectId id, MemoryLink* link, std::unique_ptr<DeviceSubsystem> of_windows);
  PhysicalDevice* const physical_device;
  std::vector<std::string> extensions;  // enabled
  VkPhysicalDeviceMemoryProperties memory_properties{};
  uint64_t most_allocations = 4096;  // maxMemoryAllocationCount
  Mutex queues_mutex;                // taken before the lane
  std::vector<std::unique_ptr<Queue>> queues VESPER_GUARDED_BY(queues_mutex);
  MappedMemory mapped_memory;  // what of its memory is mapped now
  MemoryReport memory_report;
  Recordings recordings;
  AllAddresses addresses;
  MemoryCredit memory_credit;
  std::atomic<bool> lost{false};
  std::atomic<bool> submitted{false};              // by any thread, ever
  std::atomic<Queue*> working_queue{nullptr};      // that got other work than uploads last, and gets these
  std::atomic<Queue*> uploading_queue{nullptr};    // that has uploads which may not have ended, if any
  const std::unique_ptr<DeviceSubsystem> windows;  // client/wsi/device_windows.h
  const uint64_t number = NextNumber();            // unique in this process, unlike its address

 private:
  static uint64_t NextNumber() noexcept;
};

// The first notes that the calling thread submits to the device. The second says whether the calling thread's last submit was
// to this device.
void NoteSubmit(Device* device) noexcept;
bool HasSubmitted(const Device& device) noexcept;

// Owned by its pool. No lock: Vulkan gives a command buffer and its pool to one thread at a time.
struct CommandBuffer : Dispatchable {
  CommandBuffer(Device* of, CommandPoolState* from, VkCommandBufferLevel how, ObjectId id);

  Device* const device;
  CommandPoolState* const pool;
  const VkCommandBufferLevel level;
  wire::ByteBuffer records;                // recorded and not sent
  size_t piece = limits::kRecordingBytes;  // bytes of it that leave before the end
  uint64_t recording = 0;                  // its number in device->recordings while it is being recorded
  std::vector<ObjectId> query_pools;       // that its commands use
  std::vector<ObjectId> unproven;  // objects it uses whose creation was undecided then (client/session/verdicts.h)
  VkResult failure = VK_SUCCESS;
  CopiesAlone copies;

  // May throw std::bad_alloc.
  void NoteQueryPool(ObjectId id) {
    if (std::find(query_pools.begin(), query_pools.end(), id) == query_pools.end()) query_pools.push_back(id);
  }
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

// The id in a non-dispatchable handle, and back.
template <typename H>
ObjectId IdOf(H handle) {
  static_assert(sizeof(H) == sizeof(ObjectId));
  ObjectId id;
  __builtin_memcpy(&id, &handle, sizeof(id));
  return id;
}
template <typename H>
H HandleOf(ObjectId id) {
  static_assert(sizeof(H) == sizeof(ObjectId));
  H handle;
  __builtin_memcpy(&handle, &id, sizeof(id));
  return handle;
}

}  // namespace vesper::client
