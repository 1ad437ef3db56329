#include "server/device/descriptor_pools.h"

#include <algorithm>
#include <utility>

#include "runtime/vk/chain.h"

namespace vesper::server {

void DescriptorPools::Note(VkDescriptorPool handle, const VkDescriptorPoolCreateInfo& info) {
  Pool noted;
  noted.flags = info.flags;
  noted.max_sets = info.maxSets;
  if (info.poolSizeCount != 0) noted.sizes.assign(info.pPoolSizes, info.pPoolSizes + info.poolSizeCount);
  for (const VkBaseInStructure& member : ChainOf(info.pNext)) {
    if (member.sType == VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO) {
      noted.inline_blocks = As<VkDescriptorPoolInlineUniformBlockCreateInfo>(member).maxInlineUniformBlockBindings;
    } else if (member.sType == VK_STRUCTURE_TYPE_MUTABLE_DESCRIPTOR_TYPE_CREATE_INFO_EXT) {
      const auto& lists = As<VkMutableDescriptorTypeCreateInfoEXT>(member);
      for (uint32_t i = 0; i < lists.mutableDescriptorTypeListCount; ++i) {
        const VkMutableDescriptorTypeListEXT& list = lists.pMutableDescriptorTypeLists[i];
        std::vector<VkDescriptorType>& types = noted.mutable_types.emplace_back();
        if (list.descriptorTypeCount != 0) {
          types.assign(list.pDescriptorTypes, list.pDescriptorTypes + list.descriptorTypeCount);
        }
      }
    } else {
      noted.copied = false;
    }
  }
  const MutexLock lock(mutex_);
  pools_[handle] = std::move(noted);
}

DescriptorPools::Pool* DescriptorPools::Find(VkDescriptorPool pool) {
  const MutexLock lock(mutex_);
  const auto found = pools_.find(pool);
  return found == pools_.end() ? nullptr : &found->second;  // stays where it is while others come and go
}

VkResult DescriptorPools::Allocate(VkDevice device, const VkDescriptorSetAllocateInfo& info, bool fits,
                                   VkDescriptorSet* sets) {
  const VkResult result = table_->AllocateDescriptorSets(device, &info, sets);
  if (result >= 0 || !fits) return result;
  Pool* pool = Find(info.descriptorPool);
  if (pool == nullptr || !pool->copied) return result;
  return AllocateFurther(device, pool, info, sets) == VK_SUCCESS ? VK_SUCCESS : result;
}

VkResult DescriptorPools::AllocateFurther(VkDevice device, Pool* pool, const VkDescriptorSetAllocateInfo& info,
                                          VkDescriptorSet* sets) {
  VkDescriptorSetAllocateInfo there = info;
  VkResult result = VK_ERROR_OUT_OF_POOL_MEMORY;
  const auto allocate = [&](Further* further) {
    there.descriptorPool = further->handle;
    result = table_->AllocateDescriptorSets(device, &there, sets);
    if (result != VK_SUCCESS) return false;
    for (uint32_t i = 0; i < info.descriptorSetCount; ++i) pool->elsewhere[sets[i]] = further->handle;
    further->sets += info.descriptorSetCount;
    return true;
  };
  for (Further& further : pool->further) {
    if (allocate(&further)) return VK_SUCCESS;
  }
  const VkDescriptorPool made = MakeFurther(device, *pool);
  if (made == VK_NULL_HANDLE) return result;
  pool->further.push_back({made, 0});
  if (allocate(&pool->further.back())) return VK_SUCCESS;
  pool->further.pop_back();
  table_->DestroyDescriptorPool(device, made, nullptr);
  return result;
}

VkDescriptorPool DescriptorPools::MakeFurther(VkDevice device, const Pool& pool) {
  VkDescriptorPoolCreateInfo info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr,          pool.flags, pool.max_sets,
      static_cast<uint32_t>(pool.sizes.size()),      pool.sizes.data()};
  VkDescriptorPoolInlineUniformBlockCreateInfo blocks{
      VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO, nullptr, pool.inline_blocks};
  if (pool.inline_blocks != 0) info.pNext = &blocks;
  std::vector<VkMutableDescriptorTypeListEXT> lists;
  for (const auto& types : pool.mutable_types) lists.push_back({static_cast<uint32_t>(types.size()), types.data()});
  VkMutableDescriptorTypeCreateInfoEXT types{VK_STRUCTURE_TYPE_MUTABLE_DESCRIPTOR_TYPE_CREATE_INFO_EXT, info.pNext,
                                             static_cast<uint32_t>(lists.size()), lists.data()};
  if (!lists.empty()) info.pNext = &types;
  VkDescriptorPool made = VK_NULL_HANDLE;
  return table_->CreateDescriptorPool(device, &info, nullptr, &made) == VK_SUCCESS ? made : VK_NULL_HANDLE;
}

VkResult DescriptorPools::Free(VkDevice device, VkDescriptorPool handle, uint32_t count, const VkDescriptorSet* sets) {
  Pool* pool = Find(handle);
  const bool own_only = pool == nullptr || pool->elsewhere.empty() || sets == nullptr;
  if (own_only) return table_->FreeDescriptorSets(device, handle, count, sets);
  std::vector<VkDescriptorSet> own;
  for (uint32_t i = 0; i < count; ++i) {
    const auto found = pool->elsewhere.find(sets[i]);
    if (found == pool->elsewhere.end()) {
      own.push_back(sets[i]);
      continue;
    }
    const VkDescriptorPool from = found->second;
    pool->elsewhere.erase(found);
    table_->FreeDescriptorSets(device, from, 1, &sets[i]);
    LeaveFurther(device, pool, from);
  }
  return own.empty() ? VK_SUCCESS
                     : table_->FreeDescriptorSets(device, handle, static_cast<uint32_t>(own.size()), own.data());
}

// A further pool that is empty again is reset, so that nothing is fragmented in it; one such is kept.
void DescriptorPools::LeaveFurther(VkDevice device, Pool* pool, VkDescriptorPool from) {
  const auto found = std::find_if(pool->further.begin(), pool->further.end(),
                                  [from](const Further& further) { return further.handle == from; });
  if (--found->sets != 0) return;
  const auto empty = std::count_if(pool->further.begin(), pool->further.end(),
                                   [](const Further& further) { return further.sets == 0; });
  if (empty > 1) {
    table_->DestroyDescriptorPool(device, from, nullptr);
    pool->further.erase(found);
  } else {
    table_->ResetDescriptorPool(device, from, 0);
  }
}

void DescriptorPools::DestroyFurther(VkDevice device, Pool* pool) {
  for (const Further& further : pool->further) table_->DestroyDescriptorPool(device, further.handle, nullptr);
  pool->further.clear();
  pool->elsewhere.clear();
}

VkResult DescriptorPools::Reset(VkDevice device, VkDescriptorPool handle, VkDescriptorPoolResetFlags flags) {
  if (Pool* pool = Find(handle)) DestroyFurther(device, pool);
  return table_->ResetDescriptorPool(device, handle, flags);
}

void DescriptorPools::Destroy(VkDevice device, VkDescriptorPool handle) {
  if (Pool* pool = Find(handle)) {
    DestroyFurther(device, pool);
    const MutexLock lock(mutex_);
    pools_.erase(handle);
  }
  table_->DestroyDescriptorPool(device, handle, nullptr);
}

}  // namespace vesper::server
