// Protects: sets are allocated without waiting exactly where the pool's account proves success.
#include <gtest/gtest.h>

#include <vector>

#include "client/objects/descriptor_account.h"
#include "tests/client/fixture.h"

namespace vesper::client {
namespace {

class DescriptorTest : public ClientFixture {
 protected:
  VkDescriptorSetLayout NewLayout(std::vector<VkDescriptorSetLayoutBinding> bindings, const void* next = nullptr) {
    VkDescriptorSetLayoutCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
    info.pNext = next;
    info.bindingCount = static_cast<uint32_t>(bindings.size());
    info.pBindings = bindings.data();
    VkDescriptorSetLayout layout = VK_NULL_HANDLE;
    EXPECT_EQ(overrides::CreateDescriptorSetLayout(device(), &info, nullptr, &layout), VK_SUCCESS);
    return layout;
  }
  VkDescriptorPool NewPool(uint32_t max_sets, std::vector<VkDescriptorPoolSize> sizes,
                           VkDescriptorPoolCreateFlags flags = 0, const void* next = nullptr) {
    VkDescriptorPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
    info.pNext = next;
    info.flags = flags;
    info.maxSets = max_sets;
    info.poolSizeCount = static_cast<uint32_t>(sizes.size());
    info.pPoolSizes = sizes.data();
    VkDescriptorPool pool = VK_NULL_HANDLE;
    EXPECT_EQ(overrides::CreateDescriptorPool(device(), &info, nullptr, &pool), VK_SUCCESS);
    return pool;
  }
  // How many round trips allocating one set takes.
  uint64_t Allocate(VkDescriptorPool pool, VkDescriptorSetLayout layout, const void* next = nullptr) {
    VkDescriptorSetAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    info.pNext = next;
    info.descriptorPool = pool;
    info.descriptorSetCount = 1;
    info.pSetLayouts = &layout;
    const uint64_t before = round_trips();
    EXPECT_EQ(overrides::AllocateDescriptorSets(device(), &info, &set_), VK_SUCCESS);
    return round_trips() - before;
  }
  VkResult Free(VkDescriptorPool pool, std::vector<VkDescriptorSet> sets) {
    return overrides::FreeDescriptorSets(device(), pool, static_cast<uint32_t>(sets.size()), sets.data());
  }
  static VkDescriptorSetLayoutBinding Binding(uint32_t number, VkDescriptorType type, uint32_t count) {
    return {number, type, count, VK_SHADER_STAGE_ALL, nullptr};
  }
  VkDescriptorSet set_ = VK_NULL_HANDLE;
};

constexpr VkDescriptorType kBuffer = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
constexpr VkDescriptorType kImage = VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE;

TEST_F(DescriptorTest, ProvableAllocationsDoNotWait) {
  const auto layout = NewLayout({Binding(0, kBuffer, 2), Binding(1, kImage, 1), Binding(2, kBuffer, 1)});
  const auto pool = NewPool(100, {{kBuffer, 5}, {kImage, 50}, {kBuffer, 1}});
  EXPECT_EQ(Allocate(pool, layout), 0u);
  EXPECT_EQ(Allocate(pool, layout), 0u) << "two entries of one type add up";
  EXPECT_EQ(Allocate(pool, layout), 1u) << "the seventh buffer is not certain: the driver decides";
}

TEST_F(DescriptorTest, SetsAreCounted) {
  const auto empty = NewLayout({});
  const auto pool = NewPool(2, {{kBuffer, 5}});
  EXPECT_EQ(Allocate(pool, empty), 0u);
  EXPECT_EQ(Allocate(pool, empty), 0u);
  EXPECT_EQ(Allocate(pool, empty), 1u);
}

TEST_F(DescriptorTest, AResetPoolIsEmptyAndItsIdsReturn) {
  const auto layout = NewLayout({Binding(0, kBuffer, 1)});
  const auto pool = NewPool(4, {{kBuffer, 4}});
  std::vector<ObjectId> seen;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 4; ++i) {
      ASSERT_EQ(Allocate(pool, layout), 0u);
      const ObjectId id = IdOf(set_);
      EXPECT_EQ(std::count(seen.begin(), seen.end(), id), 0);
      seen.push_back(id);
    }
    ASSERT_EQ(overrides::ResetDescriptorPool(device(), pool, 0), VK_SUCCESS);
  }
  for (const ObjectId id : seen) EXPECT_LT(SlotOf(id), 20u) << "slots of sets that died with the pool are used again";
}

// What a driver may refuse then, the server finds room for: server/device/descriptor_pools.h.
TEST_F(DescriptorTest, WhatWasFreedIsThereAgainWhateverItsSize) {
  const auto one = NewLayout({Binding(0, kBuffer, 1)});
  const auto three = NewLayout({Binding(0, kBuffer, 3), Binding(1, kImage, 1)});
  const auto pool = NewPool(4, {{kBuffer, 4}, {kImage, 1}}, VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT);
  for (int round = 0; round < 100; ++round) {
    ASSERT_EQ(Allocate(pool, one), 0u);
    const VkDescriptorSet small = set_;
    ASSERT_EQ(Allocate(pool, three), 0u);
    const VkDescriptorSet large = set_;
    ASSERT_EQ(Free(pool, {small, VK_NULL_HANDLE}), VK_SUCCESS);
    ASSERT_EQ(Allocate(pool, one), 0u);
    ASSERT_EQ(Free(pool, {large, set_}), VK_SUCCESS);
  }
  EXPECT_EQ(Allocate(pool, three), 0u);
  EXPECT_EQ(Allocate(pool, one), 0u);
  EXPECT_EQ(Allocate(pool, one), 1u) << "four buffers are taken";
}

TEST_F(DescriptorTest, ASetIsGivenBackAsWhatItTook) {
  const auto pool = NewPool(9, {{kBuffer, 4}}, VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT);
  const auto three = NewLayout({Binding(0, kBuffer, 3)});
  ASSERT_EQ(Allocate(pool, three), 0u);
  overrides::DestroyDescriptorSetLayout(device(), three, nullptr);
  ASSERT_EQ(Free(pool, {set_}), VK_SUCCESS);
  EXPECT_EQ(Allocate(pool, NewLayout({Binding(0, kBuffer, 4)})), 0u) << "its layout need not live";
}

// What the driver granted beyond the account is in it, and goes again.
TEST_F(DescriptorTest, MoreThanThePoolHolds) {
  const auto two = NewLayout({Binding(0, kBuffer, 2)});
  const auto pool = NewPool(9, {{kBuffer, 3}}, VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT);
  ASSERT_EQ(Allocate(pool, two), 0u);
  const VkDescriptorSet first = set_;
  ASSERT_EQ(Allocate(pool, two), 1u);
  ASSERT_EQ(Free(pool, {first}), VK_SUCCESS);
  EXPECT_EQ(Allocate(pool, NewLayout({Binding(0, kBuffer, 1)})), 0u) << "three less two";
  EXPECT_EQ(Allocate(pool, NewLayout({Binding(0, kBuffer, 1)})), 1u);
}

TEST_F(DescriptorTest, TypesThatTheClientDoesNotKnowAreTheDriversSecret) {
  const auto layout = NewLayout({Binding(0, VK_DESCRIPTOR_TYPE_SAMPLE_WEIGHT_IMAGE_QCOM, 1)});
  EXPECT_EQ(Allocate(NewPool(4, {{kBuffer, 4}, {VK_DESCRIPTOR_TYPE_SAMPLE_WEIGHT_IMAGE_QCOM, 4}}), layout), 1u);
  const VkBaseInStructure strange = {VK_STRUCTURE_TYPE_APPLICATION_INFO, nullptr};
  EXPECT_EQ(Allocate(NewPool(4, {{kBuffer, 4}}, 0, &strange), NewLayout({Binding(0, kBuffer, 1)})), 1u)
      << "nor what is in the chain of a pool";
}

TEST_F(DescriptorTest, MutableDescriptorsAreCountedByWhatTheyMayBe) {
  const std::vector<VkDescriptorType> buffers = {kBuffer, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER};
  const std::vector<VkDescriptorType> images = {kImage, VK_DESCRIPTOR_TYPE_STORAGE_IMAGE};
  const VkMutableDescriptorTypeListEXT lists[] = {{0, nullptr}, {2, buffers.data()}, {2, images.data()}};
  const VkMutableDescriptorTypeCreateInfoEXT of_pool = {VK_STRUCTURE_TYPE_MUTABLE_DESCRIPTOR_TYPE_CREATE_INFO_EXT,
                                                        nullptr, 3, lists};
  const auto layout_of = [&](const VkMutableDescriptorTypeListEXT& list) {
    const VkMutableDescriptorTypeCreateInfoEXT chain = {VK_STRUCTURE_TYPE_MUTABLE_DESCRIPTOR_TYPE_CREATE_INFO_EXT,
                                                        nullptr, 1, &list};
    return NewLayout({Binding(0, VK_DESCRIPTOR_TYPE_MUTABLE_EXT, 2)}, &chain);
  };
  const auto pool =
      NewPool(9, {{kBuffer, 4}, {VK_DESCRIPTOR_TYPE_MUTABLE_EXT, 2}, {VK_DESCRIPTOR_TYPE_MUTABLE_EXT, 4}}, 0, &of_pool);
  EXPECT_EQ(Allocate(pool, layout_of(lists[1])), 0u);
  EXPECT_EQ(Allocate(pool, layout_of(lists[1])), 1u) << "buffers are taken";
  EXPECT_EQ(Allocate(pool, layout_of(lists[2])), 0u) << "images are not";
  EXPECT_EQ(Allocate(pool, layout_of({1, images.data()})), 0u) << "fewer types come from the same part";
  const VkDescriptorType mixed[] = {kBuffer, kImage};
  EXPECT_EQ(Allocate(pool, layout_of({2, mixed})), 1u) << "no part of the pool has both";
  const auto any = NewPool(9, {{VK_DESCRIPTOR_TYPE_MUTABLE_EXT, 4}});
  EXPECT_EQ(Allocate(any, layout_of({2, mixed})), 0u) << "without a list a pool holds any type";
  EXPECT_EQ(Allocate(any, layout_of(lists[1])), 0u);
  EXPECT_EQ(Allocate(any, layout_of(lists[1])), 1u) << "of which there were four";
}

TEST_F(DescriptorTest, VariableCountsAreWhatTheAllocationSays) {
  VkDescriptorBindingFlags flags = VK_DESCRIPTOR_BINDING_VARIABLE_DESCRIPTOR_COUNT_BIT;
  VkDescriptorSetLayoutBindingFlagsCreateInfo binding_flags{};
  binding_flags.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO;
  binding_flags.bindingCount = 1;
  binding_flags.pBindingFlags = &flags;
  const auto layout = NewLayout({Binding(0, kImage, 1000)}, &binding_flags);
  const auto pool = NewPool(10, {{kImage, 10}});
  uint32_t count = 10;
  VkDescriptorSetVariableDescriptorCountAllocateInfo variable{};
  variable.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_VARIABLE_DESCRIPTOR_COUNT_ALLOCATE_INFO;
  variable.descriptorSetCount = 1;
  variable.pDescriptorCounts = &count;
  EXPECT_EQ(Allocate(pool, layout, &variable), 0u);
  count = 1;
  EXPECT_EQ(Allocate(pool, layout, &variable), 1u);
  EXPECT_EQ(Allocate(pool, layout), 0u) << "without a count it is zero";
}

TEST_F(DescriptorTest, InlineUniformBlocksAreBytesAndBindings) {
  const auto layout = NewLayout({Binding(0, VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, 64)});
  VkDescriptorPoolInlineUniformBlockCreateInfo blocks{};
  blocks.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO;
  blocks.maxInlineUniformBlockBindings = 1;
  const auto pool = NewPool(10, {{VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, 1000}}, 0, &blocks);
  EXPECT_EQ(Allocate(pool, layout), 0u);
  EXPECT_EQ(Allocate(pool, layout), 1u) << "bytes are left, bindings are not";
}

TEST_F(DescriptorTest, AThousandBuffersAreNoRoundTrip) {
  VkBufferCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.size = 16;
  for (int i = 0; i < 1000; ++i) {
    VkBuffer buffer = VK_NULL_HANDLE;
    ASSERT_EQ(entry::CreateBuffer(device(), &info, nullptr, &buffer), VK_SUCCESS);
    ASSERT_NE(buffer, VK_NULL_HANDLE);
  }
  session_.connection().Flush();
  EXPECT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(Command::kCreateBuffer), 1000));
  EXPECT_EQ(round_trips(), 0u);
}

}  // namespace
}  // namespace vesper::client
