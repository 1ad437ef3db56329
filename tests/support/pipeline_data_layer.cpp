// A Vulkan layer for the server's side of tests: the data of a pipeline cache are how many pipelines were made with it, here and in
// the sessions that its data came from, as a driver's data are what it compiled. With such data in hand it says that each
// pipeline was found in the cache.
#include <array>

#include "tests/support/layer.h"

namespace vesper::test::layer {
namespace {

struct Counted {
  VkPipelineCacheHeaderVersionOne head{};
  uint32_t pipelines = 0;
};

std::mutex g_counts_mutex;
std::unordered_map<VkPipelineCache, uint32_t> g_counts;

VKAPI_ATTR VkResult VKAPI_CALL CreatePipelineCache(VkDevice device, const VkPipelineCacheCreateInfo* info,
                                                   const VkAllocationCallbacks* allocator, VkPipelineCache* cache) {
  VkPipelineCacheCreateInfo empty = *info;
  empty.initialDataSize = 0;
  empty.pInitialData = nullptr;
  const auto create = NextOfDevice<PFN_vkCreatePipelineCache>(device, "vkCreatePipelineCache");
  const VkResult result = create(device, &empty, allocator, cache);
  if (result != VK_SUCCESS) return result;
  Counted counted;
  if (info->initialDataSize == sizeof(counted)) std::memcpy(&counted, info->pInitialData, sizeof(counted));
  const std::lock_guard lock(g_counts_mutex);
  g_counts[*cache] = counted.pipelines;
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL GetPipelineCacheData(VkDevice, VkPipelineCache cache, size_t* size, void* data) {
  Counted counted;
  {
    const std::lock_guard lock(g_counts_mutex);
    counted.pipelines = g_counts[cache];
  }
  if (data == nullptr) {
    *size = sizeof(counted);
    return VK_SUCCESS;
  }
  if (*size < sizeof(counted)) return VK_INCOMPLETE;
  *size = sizeof(counted);
  std::memcpy(data, &counted, sizeof(counted));
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL CreateComputePipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                                      const VkComputePipelineCreateInfo* infos,
                                                      const VkAllocationCallbacks* allocator, VkPipeline* pipelines) {
  const auto create = NextOfDevice<PFN_vkCreateComputePipelines>(device, "vkCreateComputePipelines");
  const VkResult result = create(device, cache, count, infos, allocator, pipelines);
  if (cache == VK_NULL_HANDLE || result != VK_SUCCESS) return result;
  const std::lock_guard lock(g_counts_mutex);
  for (uint32_t i = 0; i < count; ++i) {
    const bool hit = g_counts[cache]++ != 0;
    for (const auto* each = static_cast<const VkBaseInStructure*>(infos[i].pNext); each != nullptr;
         each = each->pNext) {
      if (each->sType != VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO) continue;
      const auto* feedback = reinterpret_cast<const VkPipelineCreationFeedbackCreateInfo*>(each);
      VkPipelineCreationFeedback* whole = feedback->pPipelineCreationFeedback;
      whole->flags = VK_PIPELINE_CREATION_FEEDBACK_VALID_BIT;
      if (hit) whole->flags |= VK_PIPELINE_CREATION_FEEDBACK_APPLICATION_PIPELINE_CACHE_HIT_BIT;
    }
  }
  return result;
}

}  // namespace

std::span<const Named> OwnFunctions() {
  static const std::array all = {Name("vkCreatePipelineCache", CreatePipelineCache),
                                 Name("vkGetPipelineCacheData", GetPipelineCacheData),
                                 Name("vkCreateComputePipelines", CreateComputePipelines)};
  return all;
}

}  // namespace vesper::test::layer

VESPER_TEST_LAYER
