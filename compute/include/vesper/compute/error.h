// The one way in which vesper-compute fails.
//
// Errors are thrown, everywhere in the C++ API. The reason: its objects are RAII, so what most
// often fails is a constructor, which has no other way to say so; and a failure in the middle of a
// batch or a stream of copies must release what was taken so far. The C ABI (rt_vk.h) catches at
// its boundary and returns codes.
// Public: see docs/compute.md.
#pragma once

#include <vulkan/vulkan.h>

#include <stdexcept>
#include <string>

#include "vesper/compute/export.h"

namespace vesper::compute {

// The names are part of the API and the values part of the ABI: int functions of rt_vk.h return
// -1 - code.
enum class ErrorCode {
  NotAvailable = 0,             // no Vulkan loader, driver or instance
  NoDeviceFound = 1,            // no device, or none that the selector names
  NoComputeQueue = 2,           // a device without compute queue (or without Vulkan 1.2 timelines)
  InitializationFailed = 3,     // the instance, or something of the device other than the VkDevice
  DeviceCreationFailed = 4,     // vkCreateDevice
  AllocationFailed = 5,         // memory
  BufferError = 6,              // an offset, size, index or usage that makes no sense
  BufferTooSmall = 7,           // a copy or a shader's block goes beyond the end of a buffer
  NotMapped = 8,                // the host's address of a buffer that has none
  PipelineCreationFailed = 9,   // reflection, layouts, pipeline, specialization
  SpirvCompilationFailed = 10,  // not SPIR-V, or SPIR-V that does not validate
  ExecutionFailed = 11,         // a launch that does not fit its kernel; a lost device; a submit
  CommandBufferError = 12,      // pools, recording
  SyncError = 13,               // a wait that failed or timed out (result() is then VK_TIMEOUT)
};

// "BufferTooSmall"; "VK_ERROR_DEVICE_LOST". Static storage.
VESPER_COMPUTE_API const char* ErrorCodeName(ErrorCode code);
VESPER_COMPUTE_API const char* ResultName(VkResult result);

// what() is "BufferTooSmall: uploading 8 bytes at offset 4 to a buffer of 8 bytes", followed by
// " (VK_...)" where a Vulkan command failed.
class VESPER_COMPUTE_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string attempted, VkResult result = VK_SUCCESS);
  ~Error() override;

  ErrorCode code() const { return code_; }
  // VK_SUCCESS where no Vulkan command was involved.
  VkResult result() const { return result_; }
  const std::string& attempted() const { return attempted_; }

 private:
  ErrorCode code_;
  VkResult result_;
  std::string attempted_;
};

}  // namespace vesper::compute
