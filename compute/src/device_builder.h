// Which features, extensions and queue families a device is created with.
#pragma once

#include <vulkan/vulkan.h>

#include <set>
#include <string>
#include <vector>

#include "vesper/compute/device.h"

namespace vesper::compute {

// A compute family (without graphics where there is such) and, after it, a family that only copies,
// if there is one. Throws NoComputeQueue.
std::vector<uint32_t> ChooseQueueFamilies(VkPhysicalDevice device);

// Everything useful to compute that `physical_device` offers is enabled and reported. Throws
// DeviceCreationFailed.
VkDevice CreateVulkanDevice(const DeviceDescription& physical_device, const std::vector<uint32_t>& families,
                            DeviceFeatures* features, std::set<std::string>* extensions);

}  // namespace vesper::compute
