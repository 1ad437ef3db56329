// Physical devices and the extensions that they offer through Vesper.
#pragma once

#include <vulkan/vulkan.h>

#include <memory>
#include <vector>

#include "client/connection/connection.h"
#include "client/objects/object.h"

namespace vesper::client {

// The extensions that the device offers: the driver's without those that policy keeps back. The server is asked once.
VkResult DeviceExtensions(PhysicalDevice* device, const std::vector<VkExtensionProperties>** extensions);

// Asks ahead for them.
void AskForExtensions(PhysicalDevice* device, const std::shared_ptr<Trip>& trip);

// Removes extensions that policy keeps back or that the registry does not know, and adds the client's own of that level:
// those of the instance, or of devices.
void KeepOffered(std::vector<VkExtensionProperties>* extensions, bool device);
bool Contains(const std::vector<VkExtensionProperties>& extensions, const char* name);
bool Contains(const std::vector<std::string>& extensions, const char* name);

}  // namespace vesper::client
