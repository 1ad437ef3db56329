// Labels of queues go with their submits; messengers of the client hear the driver through events.
#include "generated/server/overrides.h"
#include "server/session.h"

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

}  // namespace

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
