// Images that may be bound to memory shared with the client; see server/memory/import.h.
#include "generated/server/overrides.h"
#include "server/session/session.h"

namespace vesper::server::overrides {

void CreateImage(Session& session, const vk::DispatchTable& driver, wire::CreateImageArgs& v) {
  Importer* importer = session.device().importer();
  VkImageCreateInfo info = *v.pCreateInfo;
  VkExternalMemoryImageCreateInfo chain;
  const Reach reach = importer == nullptr ? Reach() : importer->Chain(&info, &chain);
  v.result = driver.CreateImage(v.device, &info, nullptr, v.pImage);
  if (v.result == VK_SUCCESS && importer != nullptr) importer->Note(*v.pImage, reach);
}

void GetDeviceImageMemoryRequirements(Session& session, const vk::DispatchTable& driver,
                                      wire::GetDeviceImageMemoryRequirementsArgs& v) {
  if (driver.GetDeviceImageMemoryRequirements == nullptr) return;
  VkDeviceImageMemoryRequirements question = *v.pInfo;
  VkImageCreateInfo info = *question.pCreateInfo;
  VkExternalMemoryImageCreateInfo chain;
  if (const Importer* importer = session.device().importer()) importer->Chain(&info, &chain);
  question.pCreateInfo = &info;
  driver.GetDeviceImageMemoryRequirements(v.device, &question, v.pMemoryRequirements);
}

}  // namespace vesper::server::overrides
