// Labels of queues go with their submits; messengers of the client belong to the client.
#include <spdlog/spdlog.h>

#include "generated/server/overrides.h"
#include "server/session.h"

namespace vesper::server::overrides {
namespace {

VKAPI_ATTR VkBool32 VKAPI_CALL LogMessage(VkDebugUtilsMessageSeverityFlagBitsEXT,
                                          VkDebugUtilsMessageTypeFlagsEXT,
                                          const VkDebugUtilsMessengerCallbackDataEXT* data, void*) {
  spdlog::debug("driver: {}", data->pMessage);
  return VK_FALSE;
}

VKAPI_ATTR VkBool32 VKAPI_CALL LogReport(VkDebugReportFlagsEXT, VkDebugReportObjectTypeEXT,
                                         uint64_t, size_t, int32_t, const char*,
                                         const char* message, void*) {
  spdlog::debug("driver: {}", message);
  return VK_FALSE;
}

// A label takes its place among the submits of its queue.
template <typename Call>
void EnqueueLabel(Session& session, VkQueue queue, Call call) {
  const ObjectId id =
      session.handles().ToWire(HandleType::kQueue, reinterpret_cast<uintptr_t>(queue));
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
  EnqueueLabel(session, v.queue,
               [&driver, &v] { driver.QueueBeginDebugUtilsLabelEXT(v.queue, v.pLabelInfo); });
}

void QueueInsertDebugUtilsLabelEXT(Session& session, const vk::DispatchTable& driver,
                                   wire::QueueInsertDebugUtilsLabelEXTArgs& v) {
  if (driver.QueueInsertDebugUtilsLabelEXT == nullptr) return;
  EnqueueLabel(session, v.queue,
               [&driver, &v] { driver.QueueInsertDebugUtilsLabelEXT(v.queue, v.pLabelInfo); });
}

void QueueEndDebugUtilsLabelEXT(Session& session, const vk::DispatchTable& driver,
                                wire::QueueEndDebugUtilsLabelEXTArgs& v) {
  if (driver.QueueEndDebugUtilsLabelEXT == nullptr) return;
  EnqueueLabel(session, v.queue,
               [&driver, queue = v.queue] { driver.QueueEndDebugUtilsLabelEXT(queue); });
}

void CreateDebugUtilsMessengerEXT(Session&, const vk::DispatchTable& driver,
                                  wire::CreateDebugUtilsMessengerEXTArgs& v) {
  if (driver.CreateDebugUtilsMessengerEXT == nullptr) {
    v.result = VK_ERROR_EXTENSION_NOT_PRESENT;
    return;
  }
  VkDebugUtilsMessengerCreateInfoEXT info = *v.pCreateInfo;
  info.pfnUserCallback = LogMessage;
  info.pUserData = nullptr;
  v.result = driver.CreateDebugUtilsMessengerEXT(v.instance, &info, nullptr, v.pMessenger);
}

void CreateDebugReportCallbackEXT(Session&, const vk::DispatchTable& driver,
                                  wire::CreateDebugReportCallbackEXTArgs& v) {
  if (driver.CreateDebugReportCallbackEXT == nullptr) {
    v.result = VK_ERROR_EXTENSION_NOT_PRESENT;
    return;
  }
  VkDebugReportCallbackCreateInfoEXT info = *v.pCreateInfo;
  info.pfnCallback = LogReport;
  info.pUserData = nullptr;
  v.result = driver.CreateDebugReportCallbackEXT(v.instance, &info, nullptr, v.pCallback);
}

}  // namespace vesper::server::overrides
