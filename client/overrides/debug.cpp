// What is the application's own business: messengers and report callbacks, private data, tools.
#include <memory>
#include <mutex>
#include <unordered_map>
#include <variant>

#include "client/call.h"
#include "client/delivery.h"
#include "client/object.h"
#include "client/overrides/guard.h"
#include "client/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

namespace vesper::client {
namespace {

struct PrivateDataSlotState : ObjectState {
  using ObjectState::ObjectState;
  std::mutex mutex;
  std::unordered_map<uint64_t, uint64_t> data;  // by object id
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
