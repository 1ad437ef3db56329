// Protects: what fits into a descriptor pool by the client's account is allocated although the driver's pool is fragmented,
// and is freed, reset and destroyed with the pool that the client knows.
#include "server/device/descriptor_pools.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

namespace vesper::server {
namespace {

// A driver whose pools refuse everything once a set was freed in them, until they are reset.
struct FragileDriver {
  struct Pool {
    VkDescriptorPoolCreateInfo info;
    uint32_t inline_blocks = 0;
    uint32_t mutable_types = 0;
    uint32_t sets = 0;
    bool fragmented = false;
  };
  std::map<VkDescriptorPool, Pool> pools;
  std::map<VkDescriptorSet, VkDescriptorPool> sets;
  uint64_t next = 1;
};
FragileDriver* g_driver = nullptr;

template <typename H>
H Made() {
  H handle;
  std::memcpy(&handle, &g_driver->next, sizeof(handle));
  ++g_driver->next;
  return handle;
}

VKAPI_ATTR VkResult VKAPI_CALL CreatePool(VkDevice, const VkDescriptorPoolCreateInfo* info,
                                          const VkAllocationCallbacks*, VkDescriptorPool* pool) {
  *pool = Made<VkDescriptorPool>();
  FragileDriver::Pool& made = g_driver->pools[*pool];
  made.info = *info;
  for (auto* member = static_cast<const VkBaseInStructure*>(info->pNext); member != nullptr; member = member->pNext) {
    if (member->sType == VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO) {
      made.inline_blocks =
          reinterpret_cast<const VkDescriptorPoolInlineUniformBlockCreateInfo*>(member)->maxInlineUniformBlockBindings;
    } else {
      const auto* lists = reinterpret_cast<const VkMutableDescriptorTypeCreateInfoEXT*>(member);
      made.mutable_types =
          lists->pMutableDescriptorTypeLists[lists->mutableDescriptorTypeListCount - 1].descriptorTypeCount;
    }
  }
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL DestroyPool(VkDevice, VkDescriptorPool pool, const VkAllocationCallbacks*) {
  EXPECT_EQ(g_driver->pools.erase(pool), 1u);
  std::erase_if(g_driver->sets, [pool](const auto& set) { return set.second == pool; });
}

VKAPI_ATTR VkResult VKAPI_CALL ResetPool(VkDevice, VkDescriptorPool pool, VkDescriptorPoolResetFlags) {
  g_driver->pools.at(pool).sets = 0;
  g_driver->pools.at(pool).fragmented = false;
  std::erase_if(g_driver->sets, [pool](const auto& set) { return set.second == pool; });
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL AllocateSets(VkDevice, const VkDescriptorSetAllocateInfo* info, VkDescriptorSet* sets) {
  FragileDriver::Pool& pool = g_driver->pools.at(info->descriptorPool);
  if (pool.fragmented) return VK_ERROR_FRAGMENTED_POOL;
  if (pool.sets + info->descriptorSetCount > pool.info.maxSets) return VK_ERROR_OUT_OF_POOL_MEMORY;
  pool.sets += info->descriptorSetCount;
  for (uint32_t i = 0; i < info->descriptorSetCount; ++i) {
    sets[i] = Made<VkDescriptorSet>();
    g_driver->sets[sets[i]] = info->descriptorPool;
  }
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL FreeSets(VkDevice, VkDescriptorPool pool, uint32_t count, const VkDescriptorSet* sets) {
  for (uint32_t i = 0; i < count; ++i) {
    EXPECT_EQ(g_driver->sets.at(sets[i]), pool);
    g_driver->sets.erase(sets[i]);
    --g_driver->pools.at(pool).sets;
    g_driver->pools.at(pool).fragmented = true;
  }
  return VK_SUCCESS;
}

class DescriptorPoolsTest : public testing::Test {
 protected:
  DescriptorPoolsTest() {
    g_driver = &driver_;
    table_.CreateDescriptorPool = CreatePool;
    table_.DestroyDescriptorPool = DestroyPool;
    table_.ResetDescriptorPool = ResetPool;
    table_.AllocateDescriptorSets = AllocateSets;
    table_.FreeDescriptorSets = FreeSets;
  }
  VkDescriptorPool Pool(uint32_t max_sets, const void* next = nullptr) {
    const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 7};
    const VkDescriptorPoolCreateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                             next,
                                             VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT,
                                             max_sets,
                                             1,
                                             &size};
    VkDescriptorPool pool;
    table_.CreateDescriptorPool(nullptr, &info, nullptr, &pool);
    pools_.Note(pool, info);
    return pool;
  }
  VkResult Allocate(VkDescriptorPool pool, bool fits, uint32_t count = 1) {
    VkDescriptorSetLayout layouts[8] = {};
    const VkDescriptorSetAllocateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, nullptr, pool, count,
                                              layouts};
    return pools_.Allocate(nullptr, info, fits, sets_);
  }
  // Leaves the driver's pool so that it refuses.
  void Fragment(VkDescriptorPool pool) {
    ASSERT_EQ(Allocate(pool, true), VK_SUCCESS);
    ASSERT_EQ(pools_.Free(nullptr, pool, 1, sets_), VK_SUCCESS);
  }

  FragileDriver driver_;
  vk::DispatchTable table_{};
  DescriptorPools pools_{&table_};
  VkDescriptorSet sets_[8] = {};
};

TEST_F(DescriptorPoolsTest, WhatFitsIsAllocatedAlthoughThePoolIsFragmented) {
  const auto pool = Pool(4);
  Fragment(pool);
  EXPECT_EQ(Allocate(pool, false), VK_ERROR_FRAGMENTED_POOL) << "who asks hears what the driver says";
  EXPECT_EQ(driver_.pools.size(), 1u);
  ASSERT_EQ(Allocate(pool, true, 3), VK_SUCCESS);
  EXPECT_EQ(driver_.pools.size(), 2u);
  EXPECT_EQ(Allocate(pool, true), VK_SUCCESS);
  EXPECT_EQ(driver_.pools.size(), 2u);
  EXPECT_EQ(Allocate(pool, true, 5), VK_ERROR_FRAGMENTED_POOL) << "more than the pool was made for";
  EXPECT_EQ(driver_.pools.size(), 2u);
}

TEST_F(DescriptorPoolsTest, SetsAreFreedWhereTheyAre) {
  const auto pool = Pool(4);
  ASSERT_EQ(Allocate(pool, true, 2), VK_SUCCESS);
  const VkDescriptorSet own = sets_[0];
  ASSERT_EQ(pools_.Free(nullptr, pool, 1, &sets_[1]), VK_SUCCESS);
  ASSERT_EQ(Allocate(pool, true, 2), VK_SUCCESS);
  const VkDescriptorSet mixed[] = {sets_[0], own};
  EXPECT_EQ(pools_.Free(nullptr, pool, 2, mixed), VK_SUCCESS);
  EXPECT_EQ(driver_.sets.size(), 1u);
  EXPECT_EQ(pools_.Free(nullptr, pool, 1, &sets_[1]), VK_SUCCESS);
  EXPECT_TRUE(driver_.sets.empty());
}

// An empty further pool is not fragmented any more: however long a program goes on, one is enough.
TEST_F(DescriptorPoolsTest, AnEmptyPoolIsUsedAgain) {
  const auto pool = Pool(4);
  Fragment(pool);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(Allocate(pool, true), VK_SUCCESS);
    ASSERT_EQ(pools_.Free(nullptr, pool, 1, sets_), VK_SUCCESS);
    EXPECT_EQ(driver_.pools.size(), 2u);
  }
  EXPECT_EQ(driver_.next, 1u + 1 + 1 + 1 + 100) << "pool, set, further pool, sets";
}

TEST_F(DescriptorPoolsTest, FurtherPoolsDoNotPileUp) {
  const auto pool = Pool(8);
  Fragment(pool);
  VkDescriptorSet kept[4];
  for (VkDescriptorSet& each : kept) {
    ASSERT_EQ(Allocate(pool, true, 2), VK_SUCCESS);
    each = sets_[0];
    ASSERT_EQ(pools_.Free(nullptr, pool, 1, &sets_[1]), VK_SUCCESS);  // each of them is fragmented in turn
  }
  EXPECT_EQ(driver_.pools.size(), 5u);
  EXPECT_EQ(pools_.Free(nullptr, pool, 4, kept), VK_SUCCESS);
  EXPECT_EQ(driver_.pools.size(), 2u) << "one empty pool is kept";
}

TEST_F(DescriptorPoolsTest, ResetAndDestroyReachAll) {
  const auto pool = Pool(4);
  Fragment(pool);
  ASSERT_EQ(Allocate(pool, true), VK_SUCCESS);
  EXPECT_EQ(pools_.Reset(nullptr, pool, 0), VK_SUCCESS);
  EXPECT_EQ(driver_.pools.size(), 1u);
  EXPECT_TRUE(driver_.sets.empty());
  Fragment(pool);
  ASSERT_EQ(Allocate(pool, true), VK_SUCCESS);
  pools_.Destroy(nullptr, pool);
  EXPECT_TRUE(driver_.pools.empty());
}

TEST_F(DescriptorPoolsTest, FurtherPoolsAreOfTheSameShape) {
  VkDescriptorPoolInlineUniformBlockCreateInfo blocks = {
      VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO, nullptr, 3};
  const VkDescriptorType types[] = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE};
  const VkMutableDescriptorTypeListEXT lists[] = {{0, nullptr}, {2, types}};
  const VkMutableDescriptorTypeCreateInfoEXT chain = {VK_STRUCTURE_TYPE_MUTABLE_DESCRIPTOR_TYPE_CREATE_INFO_EXT,
                                                      &blocks, 2, lists};
  const auto pool = Pool(4, &chain);
  Fragment(pool);
  ASSERT_EQ(Allocate(pool, true), VK_SUCCESS);
  const FragileDriver::Pool& further = driver_.pools.at(driver_.sets.at(sets_[0]));
  EXPECT_EQ(further.info.flags,
            static_cast<VkDescriptorPoolCreateFlags>(VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT));
  EXPECT_EQ(further.info.maxSets, 4u);
  EXPECT_EQ(further.info.poolSizeCount, 1u);
  EXPECT_EQ(further.inline_blocks, 3u);
  EXPECT_EQ(further.mutable_types, 2u);
}

}  // namespace
}  // namespace vesper::server
