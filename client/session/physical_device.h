// Physical devices and the extensions that they offer through Vesper; what programs ask about them and about instances when they
// start, asked ahead so that all of it takes few round trips.
#pragma once

#include <vulkan/vulkan.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "client/base/limits.h"
#include "client/connection/connection.h"
#include "client/objects/known_chain.h"
#include "client/objects/object.h"

namespace vesper::client {

class Session;

// The extensions that the device offers: the driver's without those that policy keeps back. The server is asked once.
VkResult DeviceExtensions(PhysicalDevice* device, const std::vector<VkExtensionProperties>** extensions);

// Removes extensions that policy keeps back or that the registry does not know, and adds the client's own of that level:
// those of the instance, or of devices.
void KeepOffered(std::vector<VkExtensionProperties>* extensions, bool device);
bool Contains(const std::vector<VkExtensionProperties>& extensions, const char* name);
bool Contains(const std::vector<std::string>& extensions, const char* name);

// With a new session: what its instances offer.
void AskAboutInstances(Session& session);
// What the server's instance offers, filtered by policy.
VkResult InstanceExtensions(Session& session, std::vector<VkExtensionProperties>* extensions);
// 0 when there is no answer.
uint32_t InstanceVersion(Session& session);

// Asks for the physical devices of an instance that may still be in the making, and about the first of them, without waiting.
class PhysicalDevicesAhead {
 public:
  // May throw std::bad_alloc.
  VkResult Ask(Instance* instance, const std::shared_ptr<Trip>& trip);
  // Once the instance is made: its devices, whose handles are the same in every call from then on.
  VkResult Fetch(Instance* instance);

 private:
  std::vector<std::unique_ptr<PhysicalDevice>> devices_;
  std::shared_ptr<LaterReply> listed_;
};

// Fills `root` and its chain from what was asked ahead; false when something of it was not.
bool AnswerFromMemory(PhysicalDevice* device, KnownChain* chain, void* root) noexcept;

// The families of the device's queues.
struct QueueFamilies {
  uint32_t count = limits::kMaxQueueFamilies;
  std::array<VkQueueFamilyProperties, limits::kMaxQueueFamilies> all;
};
void GetQueueFamilies(PhysicalDevice* device, QueueFamilies* families) noexcept;

}  // namespace vesper::client
