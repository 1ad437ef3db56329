// Labels of queues go with their submits; messengers of the client hear the driver through events.
#include "generated/server/overrides.h"
#include "server/base/log.h"
#include "server/session/session.h"

namespace vesper::server::overrides {
namespace {

// A label takes its place among the submits of its queue.
template <typename Call>
void EnqueueLabel(Session& session, VkQueue queue, Call call) {
  const ObjectId id = session.handles().ToWire(HandleType::kQueue, reinterpret_cast<uintptr_t>(queue));
  QueueJob job;
  job.keeps = session.KeepRun();
  job.call = [call] {
    call();
    return VK_SUCCESS;
  };
  session.device().QueueOf(queue, id).Enqueue(std::move(job));
}

// Names and tags are for people: what a driver refuses is logged, and what it cannot know is not given to it.
template <typename Entry, typename Info>
VkResult Advise(Entry entry, VkDevice device, const Info* info, HandleType type, uint64_t handle) {
  if (entry == nullptr || type == HandleType::kNone || handle == 0) return VK_SUCCESS;
  const VkResult result = entry(device, info);
  if (result < 0) {
    Log(LogLevel::kDebug, "the driver refuses a name or tag of a {} ({})", kHandleTypeNames[static_cast<size_t>(type)],
        static_cast<int>(result));
  }
  return VK_SUCCESS;
}

}  // namespace

void SetDebugUtilsObjectNameEXT(Session&, const vk::DispatchTable& driver, wire::SetDebugUtilsObjectNameEXTArgs& v) {
  v.result = Advise(driver.SetDebugUtilsObjectNameEXT, v.device, v.pNameInfo, HandleTypeOf(v.pNameInfo->objectType),
                    v.pNameInfo->objectHandle);
}

void SetDebugUtilsObjectTagEXT(Session&, const vk::DispatchTable& driver, wire::SetDebugUtilsObjectTagEXTArgs& v) {
  v.result = Advise(driver.SetDebugUtilsObjectTagEXT, v.device, v.pTagInfo, HandleTypeOf(v.pTagInfo->objectType),
                    v.pTagInfo->objectHandle);
}

void DebugMarkerSetObjectNameEXT(Session&, const vk::DispatchTable& driver, wire::DebugMarkerSetObjectNameEXTArgs& v) {
  v.result = Advise(driver.DebugMarkerSetObjectNameEXT, v.device, v.pNameInfo, HandleTypeOf(v.pNameInfo->objectType),
                    v.pNameInfo->object);
}

void DebugMarkerSetObjectTagEXT(Session&, const vk::DispatchTable& driver, wire::DebugMarkerSetObjectTagEXTArgs& v) {
  v.result = Advise(driver.DebugMarkerSetObjectTagEXT, v.device, v.pTagInfo, HandleTypeOf(v.pTagInfo->objectType),
                    v.pTagInfo->object);
}

void QueueBeginDebugUtilsLabelEXT(Session& session, const vk::DispatchTable& driver,
                                  wire::QueueBeginDebugUtilsLabelEXTArgs& v) {
  if (driver.QueueBeginDebugUtilsLabelEXT == nullptr) return;
  EnqueueLabel(session, v.queue, [&driver, &v] { driver.QueueBeginDebugUtilsLabelEXT(v.queue, v.pLabelInfo); });
}

void QueueInsertDebugUtilsLabelEXT(Session& session, const vk::DispatchTable& driver,
                                   wire::QueueInsertDebugUtilsLabelEXTArgs& v) {
  if (driver.QueueInsertDebugUtilsLabelEXT == nullptr) return;
  EnqueueLabel(session, v.queue, [&driver, &v] { driver.QueueInsertDebugUtilsLabelEXT(v.queue, v.pLabelInfo); });
}

void QueueEndDebugUtilsLabelEXT(Session& session, const vk::DispatchTable& driver,
                                wire::QueueEndDebugUtilsLabelEXTArgs& v) {
  if (driver.QueueEndDebugUtilsLabelEXT == nullptr) return;
  EnqueueLabel(session, v.queue, [&driver, queue = v.queue] { driver.QueueEndDebugUtilsLabelEXT(queue); });
}

void CreateDebugUtilsMessengerEXT(Session& session, const vk::DispatchTable& driver,
                                  wire::CreateDebugUtilsMessengerEXTArgs& v) {
  v.result = session.debug_messages().Listen(driver, v.instance, *v.pCreateInfo, *v.pMessenger_ids, v.pMessenger);
}

void DestroyDebugUtilsMessengerEXT(Session& session, const vk::DispatchTable&,
                                   wire::DestroyDebugUtilsMessengerEXTArgs& v) {
  session.debug_messages().Deafen(v.messenger_id);
}

void CreateDebugReportCallbackEXT(Session& session, const vk::DispatchTable& driver,
                                  wire::CreateDebugReportCallbackEXTArgs& v) {
  v.result = session.debug_messages().Listen(driver, v.instance, *v.pCreateInfo, *v.pCallback_ids, v.pCallback);
}

void DestroyDebugReportCallbackEXT(Session& session, const vk::DispatchTable&,
                                   wire::DestroyDebugReportCallbackEXTArgs& v) {
  session.debug_messages().Deafen(v.callback_id);
}

}  // namespace vesper::server::overrides
