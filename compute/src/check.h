// From VkResult to Error.
#pragma once

#include <vulkan/vulkan.h>

#include <string>

#include "vesper/compute/error.h"

namespace vesper::compute {

// Throws unless `result` is VK_SUCCESS. A lost device is ExecutionFailed whatever was attempted.
inline void Check(VkResult result, ErrorCode code, const char* attempted) {
  if (result == VK_SUCCESS) return;
  throw Error(result == VK_ERROR_DEVICE_LOST ? ErrorCode::ExecutionFailed : code, attempted, result);
}

}  // namespace vesper::compute
