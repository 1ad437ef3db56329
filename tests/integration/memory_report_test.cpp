// VK_EXT_device_memory_report, which is the client's own and needs nothing of the driver: each allocation, import, failure and
// release is said once, to every callback. Runs through Vesper only.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <vector>

#include "tests/support/vulkan_context.h"

namespace vesper::test {
namespace {

using Event = VkDeviceMemoryReportCallbackDataEXT;

void VKAPI_CALL Note(const Event* event, void* events) { static_cast<std::vector<Event>*>(events)->push_back(*event); }

class MemoryReportTest : public testing::Test {
 protected:
  void SetUp() override {
    context_ = std::make_unique<Context>();
    const float priority = 1;
    VkDeviceQueueCreateInfo queue = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
    queue.queueFamilyIndex = context_->queue_family();
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    VkPhysicalDeviceDeviceMemoryReportFeaturesEXT feature = {
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DEVICE_MEMORY_REPORT_FEATURES_EXT, nullptr, VK_FALSE};
    VkPhysicalDeviceFeatures2 features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &feature, {}};
    vkGetPhysicalDeviceFeatures2(context_->physical_device(), &features);
    ASSERT_EQ(feature.deviceMemoryReport, VK_TRUE);
    VkDeviceDeviceMemoryReportCreateInfoEXT first = {VK_STRUCTURE_TYPE_DEVICE_DEVICE_MEMORY_REPORT_CREATE_INFO_EXT};
    first.pNext = &feature;
    first.pfnUserCallback = Note;
    first.pUserData = &events_;
    VkDeviceDeviceMemoryReportCreateInfoEXT second = first;
    second.pNext = &first;
    second.pUserData = &same_events_;
    const char* extension = VK_EXT_DEVICE_MEMORY_REPORT_EXTENSION_NAME;
    VkDeviceCreateInfo info = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, &second};
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queue;
    info.enabledExtensionCount = 1;
    info.ppEnabledExtensionNames = &extension;
    ASSERT_EQ(vkCreateDevice(context_->physical_device(), &info, nullptr, &device_), VK_SUCCESS);
  }
  void TearDown() override { vkDestroyDevice(device_, nullptr); }

  VkMemoryAllocateInfo Info(VkDeviceSize size) const {
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
    info.allocationSize = size;
    info.memoryTypeIndex = context_->FindMemoryType(~0u, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT);
    return info;
  }

  std::unique_ptr<Context> context_;
  VkDevice device_ = VK_NULL_HANDLE;
  std::vector<Event> events_, same_events_;
};

TEST_F(MemoryReportTest, EveryAllocationAndRelease) {
  std::array<VkDeviceMemory, 3> memories = {};
  for (size_t i = 0; i < memories.size(); ++i) {
    const VkMemoryAllocateInfo info = Info(4096 * (i + 1));
    ASSERT_EQ(vkAllocateMemory(device_, &info, nullptr, &memories[i]), VK_SUCCESS);
  }
  for (const VkDeviceMemory memory : memories) vkFreeMemory(device_, memory, nullptr);
  vkFreeMemory(device_, VK_NULL_HANDLE, nullptr);
  ASSERT_EQ(events_.size(), 2 * memories.size());
  ASSERT_EQ(same_events_.size(), events_.size());
  const uint32_t heap = context_->memory_properties().memoryTypes[Info(1).memoryTypeIndex].heapIndex;
  for (size_t i = 0; i < memories.size(); ++i) {
    const Event& made = events_[i];
    const Event& freed = events_[memories.size() + i];
    EXPECT_EQ(made.sType, VK_STRUCTURE_TYPE_DEVICE_MEMORY_REPORT_CALLBACK_DATA_EXT);
    EXPECT_EQ(made.type, VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_ALLOCATE_EXT);
    EXPECT_EQ(made.size, 4096 * (i + 1));
    EXPECT_EQ(made.heapIndex, heap);
    EXPECT_EQ(made.objectType, VK_OBJECT_TYPE_DEVICE_MEMORY);
    EXPECT_EQ(made.objectHandle, (uint64_t)memories[i]);
    EXPECT_EQ(freed.type, VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_FREE_EXT);
    EXPECT_EQ(freed.memoryObjectId, made.memoryObjectId);
    EXPECT_NE(made.memoryObjectId, events_[(i + 1) % memories.size()].memoryObjectId);
  }
}

TEST_F(MemoryReportTest, FailureIsSaid) {
  const VkMemoryAllocateInfo info = Info(VkDeviceSize{1} << 60);
  VkDeviceMemory memory = VK_NULL_HANDLE;
  ASSERT_LT(vkAllocateMemory(device_, &info, nullptr, &memory), 0);
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].type, VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_ALLOCATION_FAILED_EXT);
  EXPECT_EQ(events_[0].size, VkDeviceSize{1} << 60);
}

}  // namespace
}  // namespace vesper::test
