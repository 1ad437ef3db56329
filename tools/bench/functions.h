// Vulkan as an unmodified program sees it: what the loader exports, here opened at run time, so that `vesper` starts where there
// is none.
#pragma once

#include <vulkan/vulkan.h>

namespace vesper::tools::bench {

#define VESPER_BENCH_FUNCTIONS(X)              \
  X(vkAcquireNextImageKHR)                     \
  X(vkAllocateCommandBuffers)                  \
  X(vkAllocateDescriptorSets)                  \
  X(vkAllocateMemory)                          \
  X(vkBeginCommandBuffer)                      \
  X(vkBindBufferMemory)                        \
  X(vkBindImageMemory)                         \
  X(vkCmdBeginQuery)                           \
  X(vkCmdBeginRendering)                       \
  X(vkCmdBindDescriptorSets)                   \
  X(vkCmdBindPipeline)                         \
  X(vkCmdClearColorImage)                      \
  X(vkCmdCopyBuffer)                           \
  X(vkCmdCopyBufferToImage)                    \
  X(vkCmdCopyImageToBuffer)                    \
  X(vkCmdDispatch)                             \
  X(vkCmdDraw)                                 \
  X(vkCmdEndQuery)                             \
  X(vkCmdEndRendering)                         \
  X(vkCmdFillBuffer)                           \
  X(vkCmdPipelineBarrier)                      \
  X(vkCmdPushConstants)                        \
  X(vkCmdResetQueryPool)                       \
  X(vkCmdSetScissor)                           \
  X(vkCmdSetViewport)                          \
  X(vkCreateBuffer)                            \
  X(vkCreateCommandPool)                       \
  X(vkCreateComputePipelines)                  \
  X(vkCreateDescriptorPool)                    \
  X(vkCreateDescriptorSetLayout)               \
  X(vkCreateDevice)                            \
  X(vkCreateFence)                             \
  X(vkCreateGraphicsPipelines)                 \
  X(vkCreateImage)                             \
  X(vkCreateImageView)                         \
  X(vkCreateInstance)                          \
  X(vkCreatePipelineCache)                     \
  X(vkCreatePipelineLayout)                    \
  X(vkCreateQueryPool)                         \
  X(vkCreateSampler)                           \
  X(vkCreateSemaphore)                         \
  X(vkCreateShaderModule)                      \
  X(vkCreateSwapchainKHR)                      \
  X(vkDestroyBuffer)                           \
  X(vkDestroyCommandPool)                      \
  X(vkDestroyDescriptorPool)                   \
  X(vkDestroyDescriptorSetLayout)              \
  X(vkDestroyDevice)                           \
  X(vkDestroyFence)                            \
  X(vkDestroyImage)                            \
  X(vkDestroyImageView)                        \
  X(vkDestroyInstance)                         \
  X(vkDestroyPipeline)                         \
  X(vkDestroyPipelineCache)                    \
  X(vkDestroyPipelineLayout)                   \
  X(vkDestroyQueryPool)                        \
  X(vkDestroySampler)                          \
  X(vkDestroySemaphore)                        \
  X(vkDestroyShaderModule)                     \
  X(vkDestroySurfaceKHR)                       \
  X(vkDestroySwapchainKHR)                     \
  X(vkDeviceWaitIdle)                          \
  X(vkEndCommandBuffer)                        \
  X(vkEnumerateDeviceExtensionProperties)      \
  X(vkEnumeratePhysicalDevices)                \
  X(vkFreeCommandBuffers)                      \
  X(vkFreeDescriptorSets)                      \
  X(vkFreeMemory)                              \
  X(vkGetBufferDeviceAddress)                  \
  X(vkGetBufferMemoryRequirements)             \
  X(vkGetDeviceProcAddr)                       \
  X(vkGetDeviceQueue)                          \
  X(vkGetFenceStatus)                          \
  X(vkGetImageMemoryRequirements)              \
  X(vkGetImageSubresourceLayout)               \
  X(vkGetPhysicalDeviceFeatures2)              \
  X(vkGetPhysicalDeviceFormatProperties)       \
  X(vkGetPhysicalDeviceMemoryProperties)       \
  X(vkGetPhysicalDeviceProperties)             \
  X(vkGetPhysicalDeviceProperties2)            \
  X(vkGetPhysicalDeviceQueueFamilyProperties)  \
  X(vkGetPhysicalDeviceSurfaceCapabilitiesKHR) \
  X(vkGetPhysicalDeviceSurfaceFormatsKHR)      \
  X(vkGetPhysicalDeviceSurfacePresentModesKHR) \
  X(vkGetPhysicalDeviceSurfaceSupportKHR)      \
  X(vkGetQueryPoolResults)                     \
  X(vkGetSemaphoreCounterValue)                \
  X(vkGetSwapchainImagesKHR)                   \
  X(vkMapMemory)                               \
  X(vkQueuePresentKHR)                         \
  X(vkQueueSubmit)                             \
  X(vkResetFences)                             \
  X(vkSignalSemaphore)                         \
  X(vkUnmapMemory)                             \
  X(vkUpdateDescriptorSets)                    \
  X(vkWaitForFences)                           \
  X(vkWaitSemaphores)

#define VESPER_BENCH_DECLARE(name) extern PFN_##name name;
VESPER_BENCH_FUNCTIONS(VESPER_BENCH_DECLARE)
#undef VESPER_BENCH_DECLARE

// Called before any of them. Throws std::runtime_error where there is no loader of Vulkan 1.3.
void OpenLoader();

}  // namespace vesper::tools::bench
