// What the rows of `vesper bench` stand on: a device with one queue for graphics and compute, and its objects, each owned by the
// value that stands for it. Plain Vulkan; everything throws std::runtime_error on failure. A Gpu outlives what is made of it.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tools/bench/functions.h"

namespace vesper::tools::bench {

inline constexpr uint64_t kWaitNanoseconds = 60'000'000'000;

void Check(VkResult result, const char* what);
#define VESPER_BENCH_CHECK(expression) ::vesper::tools::bench::Check((expression), #expression)

template <typename Handle>
class Owned {
 public:
  using Destroy = void(VKAPI_PTR*)(VkDevice, Handle, const VkAllocationCallbacks*);

  Owned() = default;
  Owned(VkDevice device, Handle handle, Destroy destroy) : device_(device), handle_(handle), destroy_(destroy) {}
  Owned(Owned&& other) noexcept { *this = std::move(other); }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(handle_, other.handle_);
    std::swap(destroy_, other.destroy_);
    return *this;
  }
  ~Owned() {
    if (handle_ != VK_NULL_HANDLE) destroy_(device_, handle_, nullptr);
  }
  operator Handle() const { return handle_; }  // NOLINT: passes wherever Vulkan wants the handle
  const Handle* address() const { return &handle_; }

 private:
  VkDevice device_ = VK_NULL_HANDLE;
  Handle handle_ = VK_NULL_HANDLE;
  Destroy destroy_ = nullptr;
};

template <typename Handle, typename Info>
Owned<Handle> Make(VkDevice device,
                   VkResult(VKAPI_PTR* create)(VkDevice, const Info*, const VkAllocationCallbacks*, Handle*),
                   void(VKAPI_PTR* destroy)(VkDevice, Handle, const VkAllocationCallbacks*), const Info& info) {
  Handle handle = VK_NULL_HANDLE;
  Check(create(device, &info, nullptr, &handle), "a vkCreate");
  return Owned<Handle>(device, handle, destroy);
}

// The steps of a program's start, which a row measures one by one.
VkInstance StartInstance(std::span<const char* const> extensions = {});
VkPhysicalDevice ChooseDevice(VkInstance instance);  // a discrete GPU before an integrated one before others
// What a program wants that shows what it draws.
struct Wanted {
  std::vector<const char*> instance = {}, device = {};  // extensions
  void* features = nullptr;                             // a chain, of these
};
VkDevice StartDevice(VkPhysicalDevice physical, uint32_t* family, const Wanted& wanted = {});

class Gpu {
 public:
  explicit Gpu(const Wanted& wanted = {});
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  VkInstance instance() const { return instance_; }
  VkPhysicalDevice physical() const { return physical_; }
  VkDevice device() const { return device_; }
  VkQueue queue() const { return queue_; }
  uint32_t family() const { return family_; }
  std::string Name() const;
  // A type among `bits` with all of `wanted`, or with fewer of them when there is none.
  uint32_t MemoryType(uint32_t bits, VkMemoryPropertyFlags wanted) const;

  // Submits `commands` (nothing, when null) and waits.
  void Finish(VkCommandBuffer commands) const;
  // Waits for everything submitted, by an empty submit: everything recorded has then been recorded by the server, too.
  void Drain() const { Finish(VK_NULL_HANDLE); }

 private:
  VkInstance instance_ = VK_NULL_HANDLE;
  VkPhysicalDevice physical_ = VK_NULL_HANDLE;
  VkDevice device_ = VK_NULL_HANDLE;
  VkQueue queue_ = VK_NULL_HANDLE;
  uint32_t family_ = 0;
  VkPhysicalDeviceMemoryProperties memory_ = {};
  VkFence fence_ = VK_NULL_HANDLE;
};

// kStaging: mapped as kUpload, and only copied from.
enum class Place : uint8_t { kDevice, kUpload, kStaging, kReadBack };
VkMemoryPropertyFlags FlagsOf(Place place);

struct Buffer {
  Owned<VkDeviceMemory> memory;
  Owned<VkBuffer> handle;
  size_t size = 0;
  void* mapped = nullptr;  // unless of kDevice, for as long as the buffer lives
};
// For copies both ways and as a storage buffer.
Buffer MakeBuffer(const Gpu& gpu, size_t size, Place place, VkBufferUsageFlags more = 0);
VkBufferCreateInfo BufferInfo(size_t size, VkBufferUsageFlags more = 0);
Owned<VkDeviceMemory> Allocate(const Gpu& gpu, size_t size, uint32_t type, const void* next = nullptr);

Owned<VkFence> MakeFence(const Gpu& gpu, VkFenceCreateFlags flags = 0);
Owned<VkSemaphore> MakeTimeline(const Gpu& gpu);
Owned<VkShaderModule> MakeShader(const Gpu& gpu, std::span<const uint32_t> code);
VkPipelineShaderStageCreateInfo Stage(VkShaderStageFlagBits stage, VkShaderModule shader);
Owned<VkPipelineLayout> MakePipelineLayout(const Gpu& gpu, const VkDescriptorSetLayout* set,
                                           VkShaderStageFlags pushed_to, uint32_t pushed_bytes);

// A pool with one primary command buffer.
class Commands {
 public:
  explicit Commands(const Gpu& gpu);
  VkCommandBuffer get() const { return buffer_; }
  VkCommandPool pool() const { return pool_; }
  void Begin(VkCommandBufferUsageFlags flags = 0) const;
  void End() const;

 private:
  Owned<VkCommandPool> pool_;
  VkCommandBuffer buffer_ = VK_NULL_HANDLE;
};

// Everything before is seen by everything after, the host included.
void FullBarrier(VkCommandBuffer commands);
void CopyAll(VkCommandBuffer commands, const Buffer& from, const Buffer& to);
// What a buffer of the device holds.
std::vector<uint8_t> Fetch(const Gpu& gpu, const Buffer& buffer);

// A compute shader with storage buffers at bindings 0 and up, and push constants.
class Kernel {
 public:
  Kernel(const Gpu& gpu, std::span<const uint32_t> code, std::span<const Buffer* const> buffers, uint32_t pushed_bytes);
  void Bind(VkCommandBuffer commands) const;
  template <typename Pushed>
  void Push(VkCommandBuffer commands, const Pushed& pushed) const {
    vkCmdPushConstants(commands, layout_, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(pushed), &pushed);
  }
  const Owned<VkDescriptorSetLayout>& set_layout() const { return set_layout_; }
  VkPipelineLayout layout() const { return layout_; }
  VkDescriptorSet set() const { return set_; }

 private:
  Owned<VkDescriptorSetLayout> set_layout_;
  Owned<VkPipelineLayout> layout_;
  Owned<VkPipeline> pipeline_;
  Owned<VkDescriptorPool> pool_;
  VkDescriptorSet set_ = VK_NULL_HANDLE;
};
Owned<VkPipeline> MakePipeline(const Gpu& gpu, VkPipelineLayout layout, VkShaderModule shader, VkPipelineCache cache);
Owned<VkDescriptorSetLayout> MakeSetLayout(const Gpu& gpu, uint32_t buffers);
Owned<VkDescriptorPool> MakeDescriptorPool(const Gpu& gpu, uint32_t buffers, VkDescriptorPoolCreateFlags flags = 0);
VkDescriptorSet AllocateSet(const Gpu& gpu, VkDescriptorPool pool, VkDescriptorSetLayout layout);
void WriteSet(const Gpu& gpu, VkDescriptorSet set, uint32_t binding, const Buffer& buffer);

}  // namespace vesper::tools::bench
