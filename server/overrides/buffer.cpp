// Buffers that may be bound to memory shared with the client; see server/memory/import.h.
#include "generated/server/overrides.h"
#include "server/session/session.h"

namespace vesper::server::overrides {

void CreateBuffer(Session& session, const vk::DispatchTable& driver, wire::CreateBufferArgs& v) {
  Importer* importer = session.device().importer();
  VkBufferCreateInfo info = *v.pCreateInfo;
  VkExternalMemoryBufferCreateInfo chain;
  const Reach reach = importer == nullptr ? Reach() : importer->Chain(&info, &chain);
  v.result = driver.CreateBuffer(v.device, &info, nullptr, v.pBuffer);
  if (v.result == VK_SUCCESS && importer != nullptr) importer->Note(*v.pBuffer, reach);
}

void GetDeviceBufferMemoryRequirements(Session& session, const vk::DispatchTable& driver,
                                       wire::GetDeviceBufferMemoryRequirementsArgs& v) {
  if (driver.GetDeviceBufferMemoryRequirements == nullptr) return;
  VkDeviceBufferMemoryRequirements question = *v.pInfo;
  VkBufferCreateInfo info = *question.pCreateInfo;
  VkExternalMemoryBufferCreateInfo chain;
  if (const Importer* importer = session.device().importer()) importer->Chain(&info, &chain);
  question.pCreateInfo = &info;
  driver.GetDeviceBufferMemoryRequirements(v.device, &question, v.pMemoryRequirements);
}

}  // namespace vesper::server::overrides
