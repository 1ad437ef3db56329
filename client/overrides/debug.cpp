// What is the application's own business: messengers and report callbacks, private data, tools.
#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <unordered_map>
#include <variant>

#include "client/base/limits.h"
#include "client/objects/object.h"
#include "client/overrides/guard.h"
#include "client/session/call.h"
#include "client/session/delivery.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "runtime/mutex.h"

namespace vesper::client {
namespace {

struct PrivateDataSlotState : ObjectState {
  using ObjectState::ObjectState;
  Mutex mutex;
  std::unordered_map<uint64_t, uint64_t> data VESPER_GUARDED_BY(mutex);  // by object id
};

// The server gets the masks and sends what they let through; the function and its data stay here.
template <typename Info, typename Handle, typename Create, typename Destroy>
VkResult AddMessenger(VkInstance instance, const Info& info, Handle* made, Create create, Destroy destroy) {
  const VkResult result = create(instance, &info, nullptr, made);
  if (result != VK_SUCCESS) return result;
  Messenger messenger{IdOf(*made), info};
  std::visit([](auto& each) { each.pNext = nullptr; }, messenger.info);
  const VkResult added = Guarded([&] {
    SessionOf(instance).messages().Add(messenger);
    return VK_SUCCESS;
  });
  if (added != VK_SUCCESS) {
    destroy(instance, *made, nullptr);
    *made = VK_NULL_HANDLE;
  }
  return added;
}

// It still hears of the calls before: of a device that leaked objects, say.
template <typename Handle, typename Destroy>
void RemoveMessenger(VkInstance instance, Handle messenger, Destroy destroy) {
  Session& session = SessionOf(instance);
  if (messenger == VK_NULL_HANDLE || session.abandoned()) return;
  session.AskControl(wire::Control::kHeartbeat, nullptr, 0);
  Deliver(session);
  session.messages().Remove(IdOf(messenger));
  destroy(instance, messenger, nullptr);
}

template <typename Message>
void Give(const Message& message) {
  Session& session = SessionOf(message.instance);
  if (session.abandoned()) return;
  Guarded([&] {
    session.messages().Give(message);
    return VK_SUCCESS;
  });
}

// Whether a driver can be told anything about an object that a handle in an integer names. Loaders hand over handles of
// their own for what belongs to instances; other objects exist in this library alone.
bool IsOfTheServer(HandleType type, uint64_t handle) {
  switch (type) {
    case HandleType::kNone:
    case HandleType::kInstance:
    case HandleType::kPhysicalDevice:
    case HandleType::kDebugUtilsMessengerEXT:
    case HandleType::kDebugReportCallbackEXT:
    case HandleType::kSurfaceKHR:
    case HandleType::kSwapchainKHR:
    case HandleType::kDescriptorUpdateTemplate:
    case HandleType::kPrivateDataSlot:
      return false;
    default:
      return handle != 0;
  }
}

// What identifies an object that a handle in an integer names.
ObjectId ObjectOf(VkObjectType type, uint64_t handle) {
  const HandleType of = HandleTypeOf(type);
  if (!IsDispatchable(of) || !IsOfTheServer(of, handle)) return handle;
  return reinterpret_cast<const DispatchableHeader*>(static_cast<uintptr_t>(handle))->id;
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL CreateDebugUtilsMessengerEXT(VkInstance instance,
                                                            const VkDebugUtilsMessengerCreateInfoEXT* pCreateInfo,
                                                            const VkAllocationCallbacks*,
                                                            VkDebugUtilsMessengerEXT* pMessenger) {
  return AddMessenger(instance, *pCreateInfo, pMessenger, entry::CreateDebugUtilsMessengerEXT,
                      entry::DestroyDebugUtilsMessengerEXT);
}

VKAPI_ATTR void VKAPI_CALL DestroyDebugUtilsMessengerEXT(VkInstance instance, VkDebugUtilsMessengerEXT messenger,
                                                         const VkAllocationCallbacks*) {
  RemoveMessenger(instance, messenger, entry::DestroyDebugUtilsMessengerEXT);
}

VKAPI_ATTR VkResult VKAPI_CALL CreateDebugReportCallbackEXT(VkInstance instance,
                                                            const VkDebugReportCallbackCreateInfoEXT* pCreateInfo,
                                                            const VkAllocationCallbacks*,
                                                            VkDebugReportCallbackEXT* pCallback) {
  return AddMessenger(instance, *pCreateInfo, pCallback, entry::CreateDebugReportCallbackEXT,
                      entry::DestroyDebugReportCallbackEXT);
}

VKAPI_ATTR void VKAPI_CALL DestroyDebugReportCallbackEXT(VkInstance instance, VkDebugReportCallbackEXT callback,
                                                         const VkAllocationCallbacks*) {
  RemoveMessenger(instance, callback, entry::DestroyDebugReportCallbackEXT);
}

VKAPI_ATTR void VKAPI_CALL SubmitDebugUtilsMessageEXT(VkInstance instance,
                                                      VkDebugUtilsMessageSeverityFlagBitsEXT messageSeverity,
                                                      VkDebugUtilsMessageTypeFlagsEXT messageTypes,
                                                      const VkDebugUtilsMessengerCallbackDataEXT* pCallbackData) {
  UtilsMessage message{};
  message.instance = instance;
  message.messageSeverity = messageSeverity;
  message.messageTypes = messageTypes;
  message.pCallbackData = pCallbackData;
  Give(message);
}

VKAPI_ATTR void VKAPI_CALL DebugReportMessageEXT(VkInstance instance, VkDebugReportFlagsEXT flags,
                                                 VkDebugReportObjectTypeEXT objectType, uint64_t object,
                                                 size_t location, int32_t messageCode, const char* pLayerPrefix,
                                                 const char* pMessage) {
  ReportMessage message{};
  message.instance = instance;
  message.flags = flags;
  message.objectType = objectType;
  message.object = object;
  message.location = location;
  message.messageCode = messageCode;
  message.pLayerPrefix = pLayerPrefix;
  message.pMessage = pMessage;
  Give(message);
}

VKAPI_ATTR VkResult VKAPI_CALL SetDebugUtilsObjectNameEXT(VkDevice device,
                                                          const VkDebugUtilsObjectNameInfoEXT* pNameInfo) {
  if (!IsOfTheServer(HandleTypeOf(pNameInfo->objectType), pNameInfo->objectHandle)) return VK_SUCCESS;
  return entry::SetDebugUtilsObjectNameEXT(device, pNameInfo);
}

VKAPI_ATTR VkResult VKAPI_CALL SetDebugUtilsObjectTagEXT(VkDevice device,
                                                         const VkDebugUtilsObjectTagInfoEXT* pTagInfo) {
  if (!IsOfTheServer(HandleTypeOf(pTagInfo->objectType), pTagInfo->objectHandle)) return VK_SUCCESS;
  return entry::SetDebugUtilsObjectTagEXT(device, pTagInfo);
}

VKAPI_ATTR VkResult VKAPI_CALL DebugMarkerSetObjectNameEXT(VkDevice device,
                                                           const VkDebugMarkerObjectNameInfoEXT* pNameInfo) {
  if (!IsOfTheServer(HandleTypeOf(pNameInfo->objectType), pNameInfo->object)) return VK_SUCCESS;
  return entry::DebugMarkerSetObjectNameEXT(device, pNameInfo);
}

VKAPI_ATTR VkResult VKAPI_CALL DebugMarkerSetObjectTagEXT(VkDevice device,
                                                          const VkDebugMarkerObjectTagInfoEXT* pTagInfo) {
  if (!IsOfTheServer(HandleTypeOf(pTagInfo->objectType), pTagInfo->object)) return VK_SUCCESS;
  return entry::DebugMarkerSetObjectTagEXT(device, pTagInfo);
}

VKAPI_ATTR VkResult VKAPI_CALL CreatePrivateDataSlot(VkDevice device, const VkPrivateDataSlotCreateInfo*,
                                                     const VkAllocationCallbacks*,
                                                     VkPrivateDataSlot* pPrivateDataSlot) {
  *pPrivateDataSlot = VK_NULL_HANDLE;
  Session& session = SessionOf(device);
  uint64_t id = kNullObject;
  if (session.abandoned() || !session.ids().Mint(HandleType::kPrivateDataSlot, {&id, 1}))
    return VK_ERROR_OUT_OF_HOST_MEMORY;
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
    const MutexLock lock(slot->mutex);
    slot->data[ObjectOf(objectType, objectHandle)] = data;
    return VK_SUCCESS;
  });
}

VKAPI_ATTR void VKAPI_CALL GetPrivateData(VkDevice device, VkObjectType objectType, uint64_t objectHandle,
                                          VkPrivateDataSlot privateDataSlot, uint64_t* pData) {
  *pData = 0;
  auto* slot = SessionOf(device).states().Get<PrivateDataSlotState>(privateDataSlot);
  if (slot == nullptr) return;
  const MutexLock lock(slot->mutex);
  const auto found = slot->data.find(ObjectOf(objectType, objectHandle));
  if (found != slot->data.end()) *pData = found->second;
}

// Layers add themselves; the driver brings no tool.
VKAPI_ATTR VkResult VKAPI_CALL GetPhysicalDeviceToolProperties(VkPhysicalDevice, uint32_t* pToolCount,
                                                               VkPhysicalDeviceToolProperties*) {
  *pToolCount = 0;
  return VK_SUCCESS;
}

#ifdef VK_KHR_device_fault
// A driver waits for reports until `timeout`. The server must not, so it is asked again while there are none.
VKAPI_ATTR VkResult VKAPI_CALL GetDeviceFaultReportsKHR(VkDevice device, uint64_t timeout, uint32_t* pFaultCounts,
                                                        VkDeviceFaultInfoKHR* pFaultInfo) {
  const uint32_t capacity = *pFaultCounts;
  for (uint64_t left = timeout;;) {
    *pFaultCounts = capacity;
    const VkResult result = entry::GetDeviceFaultReportsKHR(device, 0, pFaultCounts, pFaultInfo);
    if (result != VK_TIMEOUT || left == 0) return result;
    const uint64_t step = std::min<uint64_t>(left, std::chrono::nanoseconds(limits::kFaultReportInterval).count());
    std::this_thread::sleep_for(std::chrono::nanoseconds(step));
    if (left != UINT64_MAX) left -= step;
  }
}
#endif

}  // namespace overrides
}  // namespace vesper::client
