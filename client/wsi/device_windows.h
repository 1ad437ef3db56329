// What swapchains and presenting keep for a device, which owns it. Any thread; swapchains_mutex guards the list, and no other
// lock is taken under it.
#pragma once

#include <vector>

#include "client/objects/object.h"
#include "client/wsi/acquired.h"
#include "runtime/mutex.h"

namespace vesper::client {

struct SwapchainState;

struct DeviceWindows : DeviceSubsystem {
  AcquiredSemaphores acquired;
  Mutex swapchains_mutex;
  std::vector<SwapchainState*> swapchains VESPER_GUARDED_BY(swapchains_mutex);  // not destroyed yet
};

inline DeviceWindows& WindowsOf(Device* device) { return static_cast<DeviceWindows&>(*device->windows); }

}  // namespace vesper::client
