// What can be exported and imported: nothing by handles of types that no extension of a client's hands out, whatever the
// driver could do with them.
#include "server/device/external.h"

#include "generated/server/overrides.h"
#include "server/base/chain.h"
#include "server/session/session.h"

namespace vesper::server::overrides {

void GetPhysicalDeviceExternalBufferProperties(Session&, const vk::DispatchTable& driver,
                                               wire::GetPhysicalDeviceExternalBufferPropertiesArgs& v) {
  driver.GetPhysicalDeviceExternalBufferProperties(v.physicalDevice, v.pExternalBufferInfo,
                                                   v.pExternalBufferProperties);
  KeepOffered(v.pExternalBufferInfo->handleType, &v.pExternalBufferProperties->externalMemoryProperties);
}

void GetPhysicalDeviceExternalSemaphoreProperties(Session&, const vk::DispatchTable& driver,
                                                  wire::GetPhysicalDeviceExternalSemaphorePropertiesArgs& v) {
  driver.GetPhysicalDeviceExternalSemaphoreProperties(v.physicalDevice, v.pExternalSemaphoreInfo,
                                                      v.pExternalSemaphoreProperties);
  KeepOffered(v.pExternalSemaphoreInfo->handleType, v.pExternalSemaphoreProperties);
}

void GetPhysicalDeviceExternalFenceProperties(Session&, const vk::DispatchTable& driver,
                                              wire::GetPhysicalDeviceExternalFencePropertiesArgs& v) {
  driver.GetPhysicalDeviceExternalFenceProperties(v.physicalDevice, v.pExternalFenceInfo, v.pExternalFenceProperties);
  KeepOffered(v.pExternalFenceInfo->handleType, v.pExternalFenceProperties);
}

void GetPhysicalDeviceImageFormatProperties2(Session&, const vk::DispatchTable& driver,
                                             wire::GetPhysicalDeviceImageFormatProperties2Args& v) {
  const auto* asked = FindInChain<VkPhysicalDeviceExternalImageFormatInfo>(
      v.pImageFormatInfo->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO);
  if (asked != nullptr && !IsOffered(asked->handleType)) {
    v.result = VK_ERROR_FORMAT_NOT_SUPPORTED;
    return;
  }
  v.result =
      driver.GetPhysicalDeviceImageFormatProperties2(v.physicalDevice, v.pImageFormatInfo, v.pImageFormatProperties);
  auto* told = FindInChain<VkExternalImageFormatProperties>(v.pImageFormatProperties->pNext,
                                                            VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES);
  if (v.result == VK_SUCCESS && asked != nullptr && told != nullptr) {
    KeepOffered(asked->handleType, &told->externalMemoryProperties);
  }
}

}  // namespace vesper::server::overrides
