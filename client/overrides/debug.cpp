// What is the application's own business: messengers and report callbacks, private data, tools.
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "client/call.h"
#include "client/object.h"
#include "client/overrides/guard.h"
#include "client/session.h"
#include "generated/client/overrides.h"

namespace vesper::client {
namespace {

struct PrivateDataSlotState : ObjectState {
  using ObjectState::ObjectState;
  std::mutex mutex;
  std::unordered_map<uint64_t, uint64_t> data;  // by object id
};

VkResult AddMessenger(Session& session, HandleType type, Messenger messenger, uint64_t* id) {
  if (session.abandoned() || !session.ids().Mint(type, {id, 1})) return VK_ERROR_OUT_OF_HOST_MEMORY;
  messenger.id = *id;
  return Guarded([&] {
    const std::lock_guard lock(session.messengers_mutex());
    session.messengers().push_back(messenger);
    return VK_SUCCESS;
  });
}

void RemoveMessenger(Session& session, ObjectId id) {
  if (id == kNullObject || session.abandoned()) return;
  const std::lock_guard lock(session.messengers_mutex());
  std::erase_if(session.messengers(), [id](const Messenger& each) { return each.id == id; });
  session.ids().Forget(id);
}

// A copy: callbacks may create and destroy messengers.
std::vector<Messenger> MessengersOf(Session& session) {
  const std::lock_guard lock(session.messengers_mutex());
  return session.messengers();
}

// What identifies an object that a handle in an integer names.
ObjectId ObjectOf(VkObjectType type, uint64_t handle) {
  if (handle == 0 || !IsDispatchable(HandleTypeOf(type))) return handle;
  return reinterpret_cast<const DispatchableHeader*>(static_cast<uintptr_t>(handle))->id;
}

template <typename H>
H HandleOf(uint64_t id) {
  H handle;
  static_assert(sizeof(handle) == sizeof(id));
  __builtin_memcpy(&handle, &id, sizeof(id));
  return handle;
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL CreateDebugUtilsMessengerEXT(VkInstance instance,
                                                            const VkDebugUtilsMessengerCreateInfoEXT* pCreateInfo,
                                                            const VkAllocationCallbacks*,
                                                            VkDebugUtilsMessengerEXT* pMessenger) {
  Messenger messenger;
  messenger.utils = *pCreateInfo;
  messenger.utils.pNext = nullptr;
  uint64_t id = kNullObject;
  const VkResult result =
      AddMessenger(SessionOf(instance), HandleType::kDebugUtilsMessengerEXT, messenger, &id);
  *pMessenger = HandleOf<VkDebugUtilsMessengerEXT>(result == VK_SUCCESS ? id : kNullObject);
  return result;
}

VKAPI_ATTR void VKAPI_CALL DestroyDebugUtilsMessengerEXT(VkInstance instance, VkDebugUtilsMessengerEXT messenger,
                                                         const VkAllocationCallbacks*) {
  RemoveMessenger(SessionOf(instance), IdOf(messenger));
}

VKAPI_ATTR void VKAPI_CALL SubmitDebugUtilsMessageEXT(VkInstance instance,
                                                      VkDebugUtilsMessageSeverityFlagBitsEXT messageSeverity,
                                                      VkDebugUtilsMessageTypeFlagsEXT messageTypes,
                                                      const VkDebugUtilsMessengerCallbackDataEXT* pCallbackData) {
  if (SessionOf(instance).abandoned()) return;
  Guarded([&] {
    for (const Messenger& each : MessengersOf(SessionOf(instance))) {
      const VkDebugUtilsMessengerCreateInfoEXT& wants = each.utils;
      if (wants.pfnUserCallback == nullptr || (wants.messageSeverity & messageSeverity) == 0 ||
          (wants.messageType & messageTypes) == 0) {
        continue;
      }
      wants.pfnUserCallback(messageSeverity, messageTypes, pCallbackData, wants.pUserData);
    }
    return VK_SUCCESS;
  });
}

VKAPI_ATTR VkResult VKAPI_CALL CreateDebugReportCallbackEXT(VkInstance instance,
                                                            const VkDebugReportCallbackCreateInfoEXT* pCreateInfo,
                                                            const VkAllocationCallbacks*,
                                                            VkDebugReportCallbackEXT* pCallback) {
  Messenger messenger;
  messenger.report = *pCreateInfo;
  messenger.report.pNext = nullptr;
  uint64_t id = kNullObject;
  const VkResult result =
      AddMessenger(SessionOf(instance), HandleType::kDebugReportCallbackEXT, messenger, &id);
  *pCallback = HandleOf<VkDebugReportCallbackEXT>(result == VK_SUCCESS ? id : kNullObject);
  return result;
}

VKAPI_ATTR void VKAPI_CALL DestroyDebugReportCallbackEXT(VkInstance instance, VkDebugReportCallbackEXT callback,
                                                         const VkAllocationCallbacks*) {
  RemoveMessenger(SessionOf(instance), IdOf(callback));
}

VKAPI_ATTR void VKAPI_CALL DebugReportMessageEXT(VkInstance instance, VkDebugReportFlagsEXT flags,
                                                 VkDebugReportObjectTypeEXT objectType, uint64_t object, size_t location,
                                                 int32_t messageCode, const char* pLayerPrefix, const char* pMessage) {
  if (SessionOf(instance).abandoned()) return;
  Guarded([&] {
    for (const Messenger& each : MessengersOf(SessionOf(instance))) {
      const VkDebugReportCallbackCreateInfoEXT& wants = each.report;
      if (wants.pfnCallback == nullptr || (wants.flags & flags) == 0) continue;
      wants.pfnCallback(flags, objectType, object, location, messageCode, pLayerPrefix, pMessage, wants.pUserData);
    }
    return VK_SUCCESS;
  });
}

VKAPI_ATTR VkResult VKAPI_CALL CreatePrivateDataSlot(VkDevice device, const VkPrivateDataSlotCreateInfo*,
                                                     const VkAllocationCallbacks*, VkPrivateDataSlot* pPrivateDataSlot) {
  *pPrivateDataSlot = VK_NULL_HANDLE;
  Session& session = SessionOf(device);
  uint64_t id = kNullObject;
  if (session.abandoned() || !session.ids().Mint(HandleType::kPrivateDataSlot, {&id, 1})) return VK_ERROR_OUT_OF_HOST_MEMORY;
  return Guarded([&] {
    if (!session.states().Add(new PrivateDataSlotState(id))) return VK_ERROR_OUT_OF_HOST_MEMORY;
    *pPrivateDataSlot = HandleOf<VkPrivateDataSlot>(id);
    return VK_SUCCESS;
  });
}

VKAPI_ATTR void VKAPI_CALL DestroyPrivateDataSlot(VkDevice device, VkPrivateDataSlot privateDataSlot,
                                                  const VkAllocationCallbacks*) {
  Session& session = SessionOf(device);
  if (session.abandoned()) return;
  delete session.states().Remove(IdOf(privateDataSlot));
  session.ids().Forget(IdOf(privateDataSlot));
}

VKAPI_ATTR VkResult VKAPI_CALL SetPrivateData(VkDevice device, VkObjectType objectType, uint64_t objectHandle,
                                              VkPrivateDataSlot privateDataSlot, uint64_t data) {
  auto* slot = SessionOf(device).states().Get<PrivateDataSlotState>(privateDataSlot);
  if (slot == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
  return Guarded([&] {
    const std::lock_guard lock(slot->mutex);
    slot->data[ObjectOf(objectType, objectHandle)] = data;
    return VK_SUCCESS;
  });
}

VKAPI_ATTR void VKAPI_CALL GetPrivateData(VkDevice device, VkObjectType objectType, uint64_t objectHandle,
                                          VkPrivateDataSlot privateDataSlot, uint64_t* pData) {
  *pData = 0;
  auto* slot = SessionOf(device).states().Get<PrivateDataSlotState>(privateDataSlot);
  if (slot == nullptr) return;
  const std::lock_guard lock(slot->mutex);
  const auto found = slot->data.find(ObjectOf(objectType, objectHandle));
  if (found != slot->data.end()) *pData = found->second;
}

// Layers add themselves; the driver brings no tool.
VKAPI_ATTR VkResult VKAPI_CALL GetPhysicalDeviceToolProperties(VkPhysicalDevice, uint32_t* pToolCount,
                                                               VkPhysicalDeviceToolProperties*) {
  *pToolCount = 0;
  return VK_SUCCESS;
}

}  // namespace overrides
}  // namespace vesper::client
