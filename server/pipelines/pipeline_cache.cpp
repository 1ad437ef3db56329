#include "server/pipelines/pipeline_cache.h"

#include <xxhash.h>

#include <new>
#include <optional>

#include "generated/wire/all.h"
#include "runtime/vk/chain.h"
#include "server/base/limits.h"

namespace vesper::server {
namespace {

// Whether a pipeline may be made with a cache: not when its program takes or gives what a cache would keep (VK_KHR_pipeline_binary).
bool MayHaveCache([[maybe_unused]] const void* chain) {
#ifdef VK_KHR_pipeline_binary
  if (FindInChain<VkPipelineBinaryInfoKHR>(chain, VK_STRUCTURE_TYPE_PIPELINE_BINARY_INFO_KHR) != nullptr) return false;
  const auto* flags = FindInChain<VkPipelineCreateFlags2CreateInfoKHR>(
      chain, VK_STRUCTURE_TYPE_PIPELINE_CREATE_FLAGS_2_CREATE_INFO_KHR);
  return flags == nullptr || (flags->flags & VK_PIPELINE_CREATE_2_CAPTURE_DATA_BIT_KHR) == 0;
#else
  return true;
#endif
}

constexpr VkPipelineCreationFeedbackFlags kHit = VK_PIPELINE_CREATION_FEEDBACK_APPLICATION_PIPELINE_CACHE_HIT_BIT;

void HideHit(VkPipelineCreationFeedback* feedback) {
  if (feedback != nullptr) feedback->flags &= ~kHit;
}

// The parts of a command that makes pipelines: its arguments are of type Args.
template <typename Args>
bool LendTo(void* args, auto cache) {
  Args& v = *static_cast<Args*>(args);
  if (v.pipelineCache != VK_NULL_HANDLE) return false;
  for (uint32_t i = 0; i < v.createInfoCount; ++i) {
    if (!MayHaveCache(v.pCreateInfos[i].pNext)) return false;
  }
  v.pipelineCache = cache();
  return v.pipelineCache != VK_NULL_HANDLE;
}

template <typename Args>
void HideHits(void* args) {
  const Args& v = *static_cast<const Args*>(args);
  for (uint32_t i = 0; i < v.createInfoCount; ++i) {
    const auto* feedback = FindInChain<VkPipelineCreationFeedbackCreateInfo>(
        v.pCreateInfos[i].pNext, VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO);
    if (feedback == nullptr) continue;
    HideHit(feedback->pPipelineCreationFeedback);
    for (uint32_t k = 0;
         feedback->pPipelineStageCreationFeedbacks != nullptr && k < feedback->pipelineStageCreationFeedbackCount;
         ++k) {
      HideHit(&feedback->pPipelineStageCreationFeedbacks[k]);
    }
  }
}

}  // namespace

bool PipelineCache::Lend(uint16_t command, void* args) {
  if (shelf_ == nullptr) return false;
  const auto cache = [this] { return Cache(); };
  switch (static_cast<Command>(command)) {
    case Command::kCreateComputePipelines:
      return LendTo<wire::CreateComputePipelinesArgs>(args, cache);
    case Command::kCreateGraphicsPipelines:
      return LendTo<wire::CreateGraphicsPipelinesArgs>(args, cache);
    case Command::kCreateRayTracingPipelinesKHR:
      return LendTo<wire::CreateRayTracingPipelinesKHRArgs>(args, cache);
    case Command::kCreateRayTracingPipelinesNV:
      return LendTo<wire::CreateRayTracingPipelinesNVArgs>(args, cache);
    default:
      return false;
  }
}

void PipelineCache::Return(uint16_t command, void* args) {
  switch (static_cast<Command>(command)) {
    case Command::kCreateComputePipelines:
      return HideHits<wire::CreateComputePipelinesArgs>(args);
    case Command::kCreateGraphicsPipelines:
      return HideHits<wire::CreateGraphicsPipelinesArgs>(args);
    case Command::kCreateRayTracingPipelinesKHR:
      return HideHits<wire::CreateRayTracingPipelinesKHRArgs>(args);
    case Command::kCreateRayTracingPipelinesNV:
      return HideHits<wire::CreateRayTracingPipelinesNVArgs>(args);
    default:
      return;
  }
}

VkPipelineCache PipelineCache::Cache() {
  const MutexLock lock(mutex_);
  if (!made_) Make();
  if (cache_ != VK_NULL_HANDLE) ++lent_;
  return cache_;
}

void PipelineCache::Make() {
  made_ = true;
  const std::optional<std::vector<uint8_t>> kept = ReadPipelineFile(shelf_->Fetch(key_), key_);
  VkPipelineCacheCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
  if (kept) {
    info.initialDataSize = kept->size();
    info.pInitialData = kept->data();
    if (table_->CreatePipelineCache(device_, &info, nullptr, &cache_) == VK_SUCCESS) {
      fetched_size_ = kept->size();
      fetched_hash_ = XXH3_64bits(kept->data(), kept->size());
      return;
    }
    info.initialDataSize = 0;
    info.pInitialData = nullptr;
  }
  if (table_->CreatePipelineCache(device_, &info, nullptr, &cache_) != VK_SUCCESS) cache_ = VK_NULL_HANDLE;
}

void PipelineCache::End() {
  const MutexLock lock(mutex_);
  made_ = true;
  if (cache_ == VK_NULL_HANDLE) return;
  size_t size = 0;
  if (lent_ != 0 && table_->GetPipelineCacheData(device_, cache_, &size, nullptr) == VK_SUCCESS) {
    if (size > limits::kMaxPipelineFile) {
      shelf_->Keep(key_, {});  // another beginning
    } else if (size != 0) {
      try {
        std::vector<uint8_t> data(size);
        if (table_->GetPipelineCacheData(device_, cache_, &size, data.data()) == VK_SUCCESS &&
            (size != fetched_size_ || XXH3_64bits(data.data(), size) != fetched_hash_)) {
          const Descriptor file = MakePipelineFile(key_, {data.data(), size});
          if (file.valid()) shelf_->Keep(key_, file);
        }
      } catch (const std::bad_alloc&) {  // the next session compiles again
      }
    }
  }
  table_->DestroyPipelineCache(device_, cache_, nullptr);
  cache_ = VK_NULL_HANDLE;
}

}  // namespace vesper::server
