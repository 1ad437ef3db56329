#include "tests/fuzz/null_driver.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "generated/wire/all.h"
#include "generated/wire/codecs.h"
#include "runtime/vk/chain.h"
#include "runtime/wire/encoder.h"
#include "tests/wire/compare.h"

namespace vesper::test {
namespace {

constexpr uint64_t kMaxAllocation = 1 << 20;
constexpr uintptr_t kPhysicalDevice = 0x70000;
constexpr const char* kExtension = "VK_KHR_maintenance1";

// Values of objects: each its own, so that nothing is mistaken for something else.
std::atomic<uint64_t> g_next_handle{0x100000};

std::mutex g_memory_mutex;
std::unordered_map<uint64_t, std::vector<uint8_t>> g_memory;

const CommandTable* TableOf(Command command) {
  static const std::vector<const CommandTable*> kTables = [] {
    std::vector<const CommandTable*> tables(kCommandCount, nullptr);
    for (size_t i = 0; i < kCommandTableCount; ++i)
      tables[static_cast<size_t>(kCommandTables[i]->id)] = kCommandTables[i];
    return tables;
  }();
  return kTables[static_cast<size_t>(command)];
}

// Any handle may be named.
class AnyHandle final : public wire::HandleMapper {
 public:
  ObjectId ToWire(HandleType, uint64_t handle) const override { return handle; }
  bool FromWire(HandleType, ObjectId id, wire::HandleUse, uint64_t* handle) override {
    *handle = id;
    return true;
  }
};

// Encoding walks everything that the arguments say is there.
void ReadInputs(Command command, const void* args) {
  static const AnyHandle kAnyHandle;
  thread_local wire::ByteBuffer bytes;
  bytes.clear();
  wire::Encoder encoder(&bytes, &kAnyHandle);
  wire::kCodecs[static_cast<size_t>(command)].encode_request(encoder, args);
}

void WriteOutputs(const CommandTable& table, uint8_t* args) {
  thread_local Handles handles(false);
  Random random(static_cast<uint64_t>(table.id));
  Answerer(&random, &handles, Shape{}).Answer(table.args, args, Role::kIn, false);
  for (const Member& m : table.args.members) {
    if (m.what != What::kHandle || !m.is_written || Pointer(args, m) == nullptr) continue;
    const uint64_t count = ElementCount(m, args);
    for (uint64_t i = 0; i < count; ++i)
      WriteNumber(Pointer(args, m) + i * m.size, m.size, g_next_handle.fetch_add(16));
  }
}

template <typename H>
H HandleOf(uintptr_t value) {
  return reinterpret_cast<H>(value);
}

void GiveProperties(VkPhysicalDeviceProperties* properties) {
  *properties = {};
  properties->apiVersion = VK_API_VERSION_1_3;
  properties->limits.nonCoherentAtomSize = 64;
}

void GiveMemoryProperties(VkPhysicalDeviceMemoryProperties* properties) {
  *properties = {};
  properties->memoryHeapCount = 1;
  properties->memoryTypeCount = 2;
  properties->memoryTypes[0].propertyFlags = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  properties->memoryTypes[1].propertyFlags = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
}

void GiveExtensions(const uint32_t* count, VkExtensionProperties* extensions) {
  for (uint32_t i = 0; extensions != nullptr && i < *count; ++i) {
    extensions[i] = {};
    std::strncpy(extensions[i].extensionName, kExtension, sizeof(extensions[i].extensionName) - 1);
  }
}

void GivePhysicalDevices(uint32_t* count, VkPhysicalDevice* devices) {
  *count = 1;  // the server asks how many there are and then for all of them
  if (devices != nullptr) devices[0] = HandleOf<VkPhysicalDevice>(kPhysicalDevice);
}

void GiveGroups(const uint32_t* count, VkPhysicalDeviceGroupProperties* groups) {
  for (uint32_t i = 0; groups != nullptr && i < *count; ++i) {
    groups[i].physicalDeviceCount = 1;
    groups[i].physicalDevices[0] = HandleOf<VkPhysicalDevice>(kPhysicalDevice);
  }
}

VkQueue QueueOf(VkDevice device, uint32_t family, uint32_t index) {
  return HandleOf<VkQueue>((reinterpret_cast<uintptr_t>(device) << 8) + 16 * (family % 4) + index % 4 + 1);
}

void EnableTimelines(void* chain) {
  if (auto* own = FindInChain<VkPhysicalDeviceTimelineSemaphoreFeatures>(
          chain, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES)) {
    own->timelineSemaphore = VK_TRUE;
  }
}

VkResult Allocate(const VkMemoryAllocateInfo& info, VkDeviceMemory* memory) {
  if (info.allocationSize > kMaxAllocation) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  const std::lock_guard lock(g_memory_mutex);
  g_memory[reinterpret_cast<uintptr_t>(*memory)].resize(static_cast<size_t>(info.allocationSize));
  return VK_SUCCESS;
}

// What the server itself relies on, where random answers are no answers.
VkResult Correct(Command command, void* args) {
  switch (command) {
    case Command::kEnumerateInstanceExtensionProperties: {
      auto& v = *static_cast<wire::EnumerateInstanceExtensionPropertiesArgs*>(args);
      GiveExtensions(v.pPropertyCount, v.pProperties);
      break;
    }
    case Command::kEnumerateDeviceExtensionProperties: {
      auto& v = *static_cast<wire::EnumerateDeviceExtensionPropertiesArgs*>(args);
      GiveExtensions(v.pPropertyCount, v.pProperties);
      break;
    }
    case Command::kEnumeratePhysicalDevices: {
      auto& v = *static_cast<wire::EnumeratePhysicalDevicesArgs*>(args);
      GivePhysicalDevices(v.pPhysicalDeviceCount, v.pPhysicalDevices);
      break;
    }
    case Command::kEnumeratePhysicalDeviceGroups: {
      auto& v = *static_cast<wire::EnumeratePhysicalDeviceGroupsArgs*>(args);
      GiveGroups(v.pPhysicalDeviceGroupCount, v.pPhysicalDeviceGroupProperties);
      break;
    }
    case Command::kGetPhysicalDeviceProperties:
      GiveProperties(static_cast<wire::GetPhysicalDevicePropertiesArgs*>(args)->pProperties);
      break;
    case Command::kGetPhysicalDeviceProperties2:
      GiveProperties(&static_cast<wire::GetPhysicalDeviceProperties2Args*>(args)->pProperties->properties);
      break;
    case Command::kGetPhysicalDeviceMemoryProperties:
      GiveMemoryProperties(static_cast<wire::GetPhysicalDeviceMemoryPropertiesArgs*>(args)->pMemoryProperties);
      break;
    case Command::kGetPhysicalDeviceMemoryProperties2:
      GiveMemoryProperties(
          &static_cast<wire::GetPhysicalDeviceMemoryProperties2Args*>(args)->pMemoryProperties->memoryProperties);
      break;
    case Command::kGetPhysicalDeviceFeatures2:
      EnableTimelines(static_cast<wire::GetPhysicalDeviceFeatures2Args*>(args)->pFeatures->pNext);
      break;
    case Command::kGetDeviceQueue: {
      auto& v = *static_cast<wire::GetDeviceQueueArgs*>(args);
      *v.pQueue = QueueOf(v.device, v.queueFamilyIndex, v.queueIndex);
      break;
    }
    case Command::kGetDeviceQueue2: {
      auto& v = *static_cast<wire::GetDeviceQueue2Args*>(args);
      *v.pQueue = QueueOf(v.device, v.pQueueInfo->queueFamilyIndex, v.pQueueInfo->queueIndex);
      break;
    }
    case Command::kAllocateMemory: {
      auto& v = *static_cast<wire::AllocateMemoryArgs*>(args);
      return Allocate(*v.pAllocateInfo, v.pMemory);
    }
    case Command::kFreeMemory: {
      const std::lock_guard lock(g_memory_mutex);
      g_memory.erase(reinterpret_cast<uintptr_t>(static_cast<wire::FreeMemoryArgs*>(args)->memory));
      break;
    }
    default:
      break;
  }
  return VK_SUCCESS;
}

// --- commands that do not travel -----------------------------------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL MapMemory(VkDevice, VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize,
                                         VkMemoryMapFlags, void** data) {
  const std::lock_guard lock(g_memory_mutex);
  const auto found = g_memory.find(reinterpret_cast<uintptr_t>(memory));
  if (found == g_memory.end() || offset > found->second.size()) return VK_ERROR_MEMORY_MAP_FAILED;
  *data = found->second.data() + offset;
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL UnmapMemory(VkDevice, VkDeviceMemory) {}

VKAPI_ATTR VkResult VKAPI_CALL MakeCoherent(VkDevice, uint32_t count, const VkMappedMemoryRange* ranges) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; ++i) sum += ranges[i].size;
  return sum == 1 ? VK_ERROR_OUT_OF_HOST_MEMORY : VK_SUCCESS;
}

PFN_vkVoidFunction EntryOf(std::string_view name);

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetDeviceProcAddr(VkDevice, const char* name) { return EntryOf(name); }
VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetInstanceProcAddr(VkInstance, const char* name) { return EntryOf(name); }

template <typename F>
PFN_vkVoidFunction Untyped(F function) {
  return reinterpret_cast<PFN_vkVoidFunction>(function);
}

PFN_vkVoidFunction EntryOf(std::string_view name) {
  static const std::unordered_map<std::string_view, PFN_vkVoidFunction> kEntries = [] {
    std::unordered_map<std::string_view, PFN_vkVoidFunction> entries{
        {"vkGetInstanceProcAddr", Untyped(GetInstanceProcAddr)},
        {"vkGetDeviceProcAddr", Untyped(GetDeviceProcAddr)},
        {"vkMapMemory", Untyped(MapMemory)},
        {"vkUnmapMemory", Untyped(UnmapMemory)},
        {"vkFlushMappedMemoryRanges", Untyped(MakeCoherent)},
        {"vkInvalidateMappedMemoryRanges", Untyped(MakeCoherent)}};
    for (size_t i = 0; i < kCommandTableCount; ++i)
      entries.emplace(kCommandTables[i]->args.name, kCommandTables[i]->entry);
    return entries;
  }();
  const auto found = kEntries.find(name);
  return found == kEntries.end() ? nullptr : found->second;
}

}  // namespace

uint64_t Driver::Called(Command command, const void* args) {
  const CommandTable& table = *TableOf(command);
  auto* writable = static_cast<uint8_t*>(const_cast<void*>(args));
  ReadInputs(command, args);
  WriteOutputs(table, writable);
  return static_cast<uint32_t>(Correct(command, writable));
}

std::unique_ptr<server::Driver> MakeNullDriver() { return server::Driver::Of(GetInstanceProcAddr, {}); }

void ResetNullDriver() {
  const std::lock_guard lock(g_memory_mutex);
  g_memory.clear();
}

}  // namespace vesper::test
