// Lengths that the registry leaves to a property of the device; generated entry points ask (policy: `length = "property …"`).
#pragma once

#include <vulkan/vulkan.h>

#include <cstddef>

#include "client/objects/object.h"
#include "generated/client/entry_points.h"

namespace vesper::client {

// `member` of the device's properties struct of `type`. Asked once: the session remembers the answer.
template <typename Properties, typename Value>
size_t DeviceProperty(VkDevice device, VkStructureType type, Value Properties::*member) {
  Properties properties{};
  properties.sType = type;
  VkPhysicalDeviceProperties2 all{};
  all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  all.pNext = &properties;
  entry::GetPhysicalDeviceProperties2(ToHandle<VkPhysicalDevice>(FromHandle<Device>(device)->physical_device), &all);
  return static_cast<size_t>(properties.*member);
}

}  // namespace vesper::client
