// Results of queries, memory behind buffers and images, queues, vertex buffers.
#include <algorithm>

#include "server/checks/checks.h"

namespace vesper::server::checks {
namespace {

constexpr const char* kMemory = "memoryOffset";

uint64_t BytesOf(const QueryPoolFacts& pool, VkQueryResultFlags flags) {
  uint64_t values = pool.values;
  if ((flags & VK_QUERY_RESULT_WITH_AVAILABILITY_BIT) != 0) ++values;
  if ((flags & VK_QUERY_RESULT_WITH_STATUS_BIT_KHR) != 0) ++values;
  return values * ((flags & VK_QUERY_RESULT_64_BIT) != 0 ? 8 : 4);
}

// What an object needs lies within memory of a type that it can have.
void CheckBinding(Checker& c, VkDeviceMemory memory, VkDeviceSize offset, const VkMemoryRequirements& needed) {
  const auto* facts = c.Find<MemoryFacts>(HandleType::kDeviceMemory, memory);
  if (facts == nullptr) return;
  c.Span(kMemory, offset, needed.size, facts->size);
  if ((needed.memoryTypeBits >> facts->type & 1) == 0) c.Fail("memory", "of a type that this cannot have");
}

void CheckBuffer(Checker& c, VkDevice device, VkBuffer buffer, VkDeviceMemory memory, VkDeviceSize offset) {
  if (buffer == VK_NULL_HANDLE || c.own_device() == nullptr) return c.Fail("buffer", "null");
  VkMemoryRequirements needed{};
  c.driver()->GetBufferMemoryRequirements(device, buffer, &needed);
  CheckBinding(c, memory, offset, needed);
}

void CheckImage(Checker& c, VkDevice device, VkImage image, VkDeviceMemory memory, VkDeviceSize offset) {
  if (image == VK_NULL_HANDLE || c.own_device() == nullptr) return c.Fail("image", "null");
  VkMemoryRequirements needed{};
  c.driver()->GetImageMemoryRequirements(device, image, &needed);
  CheckBinding(c, memory, offset, needed);
}

bool HasQueue(const Checker& c, uint32_t family, uint32_t index) {
  if (c.own_device() == nullptr) return false;
  const std::vector<uint32_t>& queues = c.own_device()->parts().queues;
  return family < queues.size() && index < queues[family];
}

// The arrays of these commands; `strides` and `sizes` may be null.
void CheckVertexBuffers(Checker& c, uint32_t first, uint32_t count, const VkBuffer* buffers,
                        const VkDeviceSize* offsets, const VkDeviceSize* sizes) {
  c.Span("firstBinding bindingCount", first, count, c.limits().maxVertexInputBindings);
  for (uint32_t i = 0; buffers != nullptr && offsets != nullptr && i < count; ++i) {
    if (buffers[i] == VK_NULL_HANDLE) continue;
    c.Bytes("pOffsets pSizes", offsets[i], sizes == nullptr ? VK_WHOLE_SIZE : sizes[i],
            c.Of(HandleType::kBuffer, buffers[i]).size);
  }
}

}  // namespace

void QueryResults(Checker& c, const wire::GetQueryPoolResultsArgs& v) {
  const auto* pool = c.Find<QueryPoolFacts>(HandleType::kQueryPool, v.queryPool);
  if (pool == nullptr) return;
  c.Strided("queryCount stride dataSize", 0, v.queryCount, v.stride, BytesOf(*pool, v.flags), v.dataSize);
}

void CopiedResults(Checker& c, const wire::CmdCopyQueryPoolResultsArgs& v) {
  const auto* pool = c.Find<QueryPoolFacts>(HandleType::kQueryPool, v.queryPool);
  if (pool == nullptr) return;
  c.Strided("dstOffset queryCount stride", v.dstOffset, v.queryCount, v.stride, BytesOf(*pool, v.flags),
            c.Of(HandleType::kBuffer, v.dstBuffer).size);
}

void BoundBuffer(Checker& c, const wire::BindBufferMemoryArgs& v) {
  CheckBuffer(c, v.device, v.buffer, v.memory, v.memoryOffset);
}

void BoundBuffers(Checker& c, const wire::BindBufferMemory2Args& v) {
  for (uint32_t i = 0; i < v.bindInfoCount; ++i) {
    const VkBindBufferMemoryInfo& info = v.pBindInfos[i];
    CheckBuffer(c, v.device, info.buffer, info.memory, info.memoryOffset);
  }
}

void BoundImage(Checker& c, const wire::BindImageMemoryArgs& v) {
  CheckImage(c, v.device, v.image, v.memory, v.memoryOffset);
}

// A chain may say that a plane is bound, which needs less.
void BoundImages(Checker& c, const wire::BindImageMemory2Args& v) {
  for (uint32_t i = 0; i < v.bindInfoCount; ++i) {
    const VkBindImageMemoryInfo& info = v.pBindInfos[i];
    if (info.pNext == nullptr) CheckImage(c, v.device, info.image, info.memory, info.memoryOffset);
  }
}

void NewDevice(Checker& c, const wire::CreateDeviceArgs& v) {
  if (v.physicalDevice == VK_NULL_HANDLE || c.driver() == nullptr) return;
  uint32_t count = 0;
  c.driver()->GetPhysicalDeviceQueueFamilyProperties(v.physicalDevice, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  c.driver()->GetPhysicalDeviceQueueFamilyProperties(v.physicalDevice, &count, families.data());
  for (uint32_t i = 0; i < v.pCreateInfo->queueCreateInfoCount; ++i) {
    const VkDeviceQueueCreateInfo& info = v.pCreateInfo->pQueueCreateInfos[i];
    if (info.queueFamilyIndex >= count) {
      c.Fail("queueFamilyIndex");
    } else if (info.queueCount > families[info.queueFamilyIndex].queueCount) {
      c.Fail("queueCount");
    }
  }
}

void QueueOf(Checker& c, const wire::GetDeviceQueueArgs& v) {
  if (!HasQueue(c, v.queueFamilyIndex, v.queueIndex)) c.LeaveOut("no such queue was made");
}

void QueueOf(Checker& c, const wire::GetDeviceQueue2Args& v) {
  if (!HasQueue(c, v.pQueueInfo->queueFamilyIndex, v.pQueueInfo->queueIndex)) c.LeaveOut("no such queue was made");
}

void VertexBuffers(Checker& c, const wire::CmdBindVertexBuffersArgs& v) {
  CheckVertexBuffers(c, v.firstBinding, v.bindingCount, v.pBuffers, v.pOffsets, nullptr);
}

void VertexBuffers(Checker& c, const wire::CmdBindVertexBuffers2Args& v) {
  CheckVertexBuffers(c, v.firstBinding, v.bindingCount, v.pBuffers, v.pOffsets, v.pSizes);
}

}  // namespace vesper::server::checks
