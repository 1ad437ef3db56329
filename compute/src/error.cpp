#include "vesper/compute/error.h"

#include <utility>

namespace vesper::compute {
namespace {

std::string Sentence(ErrorCode code, const std::string& attempted, VkResult result) {
  std::string text = std::string(ErrorCodeName(code)) + ": " + attempted;
  if (result != VK_SUCCESS) text += std::string(" (") + ResultName(result) + ")";
  return text;
}

}  // namespace

const char* ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::NotAvailable:
      return "NotAvailable";
    case ErrorCode::NoDeviceFound:
      return "NoDeviceFound";
    case ErrorCode::NoComputeQueue:
      return "NoComputeQueue";
    case ErrorCode::InitializationFailed:
      return "InitializationFailed";
    case ErrorCode::DeviceCreationFailed:
      return "DeviceCreationFailed";
    case ErrorCode::AllocationFailed:
      return "AllocationFailed";
    case ErrorCode::BufferError:
      return "BufferError";
    case ErrorCode::BufferTooSmall:
      return "BufferTooSmall";
    case ErrorCode::NotMapped:
      return "NotMapped";
    case ErrorCode::PipelineCreationFailed:
      return "PipelineCreationFailed";
    case ErrorCode::SpirvCompilationFailed:
      return "SpirvCompilationFailed";
    case ErrorCode::ExecutionFailed:
      return "ExecutionFailed";
    case ErrorCode::CommandBufferError:
      return "CommandBufferError";
    case ErrorCode::SyncError:
      return "SyncError";
  }
  return "unknown ErrorCode";
}

const char* ResultName(VkResult result) {
  switch (result) {
    case VK_SUCCESS:
      return "VK_SUCCESS";
    case VK_NOT_READY:
      return "VK_NOT_READY";
    case VK_TIMEOUT:
      return "VK_TIMEOUT";
    case VK_INCOMPLETE:
      return "VK_INCOMPLETE";
    case VK_ERROR_OUT_OF_HOST_MEMORY:
      return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
      return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED:
      return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST:
      return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_MEMORY_MAP_FAILED:
      return "VK_ERROR_MEMORY_MAP_FAILED";
    case VK_ERROR_LAYER_NOT_PRESENT:
      return "VK_ERROR_LAYER_NOT_PRESENT";
    case VK_ERROR_EXTENSION_NOT_PRESENT:
      return "VK_ERROR_EXTENSION_NOT_PRESENT";
    case VK_ERROR_FEATURE_NOT_PRESENT:
      return "VK_ERROR_FEATURE_NOT_PRESENT";
    case VK_ERROR_INCOMPATIBLE_DRIVER:
      return "VK_ERROR_INCOMPATIBLE_DRIVER";
    case VK_ERROR_TOO_MANY_OBJECTS:
      return "VK_ERROR_TOO_MANY_OBJECTS";
    case VK_ERROR_FRAGMENTED_POOL:
      return "VK_ERROR_FRAGMENTED_POOL";
    case VK_ERROR_OUT_OF_POOL_MEMORY:
      return "VK_ERROR_OUT_OF_POOL_MEMORY";
    case VK_ERROR_UNKNOWN:
      return "VK_ERROR_UNKNOWN";
    default:
      return "another VkResult";
  }
}

Error::Error(ErrorCode code, std::string attempted, VkResult result)
    : std::runtime_error(Sentence(code, attempted, result)),
      code_(code),
      result_(result),
      attempted_(std::move(attempted)) {}

Error::~Error() = default;

}  // namespace vesper::compute
