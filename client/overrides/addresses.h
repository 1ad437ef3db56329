// Asking for device addresses; see client/objects/addresses.h. Any thread.
#pragma once

#include <vulkan/vulkan.h>

#include "client/objects/addresses.h"
#include "client/objects/object.h"

namespace vesper::client {

// The object has an address from now on.
void ExpectAddress(Addressed kind, Device* device, ObjectId object, RemoteValue* value) noexcept;
// It is about to be destroyed: nothing is asked about it any more.
void ForgetAddress(Addressed kind, Device* device, RemoteValue* value) noexcept;
// The address, or 0 when the session is lost.
VkDeviceAddress AddressOf(Addressed kind, Device* device, ObjectId object, RemoteValue* value) noexcept;

}  // namespace vesper::client
