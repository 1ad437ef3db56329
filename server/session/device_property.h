// What a property of the driver's device says about the length of an output; generated dispatch compares it with what the
// client, which is not trusted, made room for.
#pragma once

#include <vulkan/vulkan.h>

#include <cstddef>

#include "generated/vk/dispatch_table.h"
#include "server/session/session.h"

namespace vesper::server {

template <typename Properties, typename Value>
size_t DeviceProperty(Session& session, const vk::DispatchTable& driver, VkStructureType type,
                      Value Properties::*member) {
  Properties properties{};
  properties.sType = type;
  VkPhysicalDeviceProperties2 all{};
  all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  all.pNext = &properties;
  driver.GetPhysicalDeviceProperties2(session.device().parts().physical_device, &all);
  return static_cast<size_t>(properties.*member);
}

}  // namespace vesper::server
