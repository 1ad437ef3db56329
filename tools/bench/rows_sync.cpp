// Questions about objects that exist, one call each.
#include "tools/bench/calls.h"

namespace vesper::tools::bench {
namespace {

constexpr uint64_t kCalls = 100;  // a batch: over a slow line each may be a round trip

void Expect(VkResult result, VkResult expected) {
  if (result != expected) throw std::runtime_error("vkGetFenceStatus = " + std::to_string(result));
}

// Submitted behind a timeline's value that only this one's end brings.
class PendingFence {
 public:
  explicit PendingFence(const Gpu& gpu) : gpu_(gpu), timeline_(MakeTimeline(gpu)), fence_(MakeFence(gpu)) {
    const uint64_t value = 1;
    VkTimelineSemaphoreSubmitInfo values = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    values.waitSemaphoreValueCount = 1;
    values.pWaitSemaphoreValues = &value;
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.pNext = &values;
    submit.waitSemaphoreCount = 1;
    submit.pWaitSemaphores = timeline_.address();
    submit.pWaitDstStageMask = &stage;
    VESPER_BENCH_CHECK(vkQueueSubmit(gpu.queue(), 1, &submit, fence_));
  }
  ~PendingFence() {
    VkSemaphoreSignalInfo signal = {VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
    signal.semaphore = timeline_;
    signal.value = 1;
    vkSignalSemaphore(gpu_.device(), &signal);
    vkWaitForFences(gpu_.device(), 1, fence_.address(), VK_TRUE, kWaitNanoseconds);
  }
  PendingFence(const PendingFence&) = delete;
  PendingFence& operator=(const PendingFence&) = delete;
  VkFence fence() const { return fence_; }

 private:
  const Gpu& gpu_;
  Owned<VkSemaphore> timeline_;
  Owned<VkFence> fence_;
};

auto FenceStatus(const Gpu& gpu, VkFenceCreateFlags flags) {
  const VkResult expected = flags == 0 ? VK_NOT_READY : VK_SUCCESS;
  return [device = gpu.device(), fence = MakeFence(gpu, flags), expected] {
    Expect(vkGetFenceStatus(device, fence), expected);
  };
}

auto PendingStatus(const Gpu& gpu) {
  return [device = gpu.device(), pending = std::make_unique<PendingFence>(gpu)] {
    Expect(vkGetFenceStatus(device, pending->fence()), VK_NOT_READY);
  };
}

auto SemaphoreValue(const Gpu& gpu) {
  return [device = gpu.device(), timeline = MakeTimeline(gpu)] {
    uint64_t value = 1;
    VESPER_BENCH_CHECK(vkGetSemaphoreCounterValue(device, timeline, &value));
    if (value != 0) throw std::runtime_error("a timeline semaphore that nobody signals has changed");
  };
}

auto QueryResults(const Gpu& gpu) {
  VkQueryPoolCreateInfo info = {VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.queryType = VK_QUERY_TYPE_OCCLUSION;
  info.queryCount = 1;
  auto queries = Make<VkQueryPool>(gpu.device(), vkCreateQueryPool, vkDestroyQueryPool, info);
  const Commands commands(gpu);
  commands.Begin();
  vkCmdResetQueryPool(commands.get(), queries, 0, 1);
  vkCmdBeginQuery(commands.get(), queries, 0, 0);
  vkCmdEndQuery(commands.get(), queries, 0);
  commands.End();
  gpu.Finish(commands.get());
  return [device = gpu.device(), queries = std::move(queries)] {
    uint64_t result = 1;
    VESPER_BENCH_CHECK(
        vkGetQueryPoolResults(device, queries, 0, 1, sizeof(result), &result, sizeof(result), VK_QUERY_RESULT_64_BIT));
    if (result != 0) throw std::runtime_error("nothing was drawn, and the query counted it");
  };
}

auto BufferRequirements(const Gpu& gpu) {
  return [device = gpu.device(),
          buffer = Make<VkBuffer>(gpu.device(), vkCreateBuffer, vkDestroyBuffer, BufferInfo(4096))] {
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(device, buffer, &needs);
  };
}

auto FormatProperties(const Gpu& gpu) {
  return [physical = gpu.physical()] {
    VkFormatProperties properties;
    vkGetPhysicalDeviceFormatProperties(physical, VK_FORMAT_R8G8B8A8_UNORM, &properties);
  };
}

auto SubresourceLayout(const Gpu& gpu) {
  VkImageCreateInfo info = {VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
  info.imageType = VK_IMAGE_TYPE_2D;
  info.format = VK_FORMAT_R8G8B8A8_UNORM;
  info.extent = {64, 64, 1};
  info.mipLevels = info.arrayLayers = 1;
  info.samples = VK_SAMPLE_COUNT_1_BIT;
  info.tiling = VK_IMAGE_TILING_LINEAR;
  info.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT;
  return [device = gpu.device(), image = Make<VkImage>(gpu.device(), vkCreateImage, vkDestroyImage, info)] {
    const VkImageSubresource whole = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
    VkSubresourceLayout layout;
    vkGetImageSubresourceLayout(device, image, &whole, &layout);
  };
}

auto BufferAddress(const Gpu& gpu) {
  return [device = gpu.device(),
          buffer = MakeBuffer(gpu, 4096, Place::kDevice, VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT)] {
    VkBufferDeviceAddressInfo info = {VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
    info.buffer = buffer.handle;
    if (vkGetBufferDeviceAddress(device, &info) == 0) throw std::runtime_error("a buffer without an address");
  };
}

}  // namespace

void AddSyncRows(std::vector<Row>& rows) {
  const auto add = [&rows](const char* name, auto begin) {
    rows.push_back(CallsRow(name, Unit::kMicroseconds, kCalls, begin));
  };
  add("sync.fence_signaled", [](Gpu& gpu) { return FenceStatus(gpu, VK_FENCE_CREATE_SIGNALED_BIT); });
  add("sync.fence_unsignaled", [](Gpu& gpu) { return FenceStatus(gpu, 0); });
  add("sync.fence_pending", PendingStatus);
  rows.back().holds_queue = true;
  add("sync.semaphore_value", SemaphoreValue);
  add("sync.query_results", QueryResults);
  add("sync.buffer_memreq", BufferRequirements);
  add("sync.format_props", FormatProperties);
  add("sync.subresource_layout", SubresourceLayout);
  add("sync.buffer_address", BufferAddress);
}

}  // namespace vesper::tools::bench
