// Objects that come and go.
#include "shaders/touch_comp.h"
#include "tools/bench/calls.h"
#include "tools/bench/canvas.h"

namespace vesper::tools::bench {
namespace {

constexpr uint64_t kPairs = 100;  // a batch: over a slow line each may be a round trip
constexpr size_t kSmall = size_t{64} << 10, kLarge = size_t{16} << 20;

template <typename Handle, typename Info>
auto CreateAndDestroy(const Gpu& gpu,
                      VkResult(VKAPI_PTR* create)(VkDevice, const Info*, const VkAllocationCallbacks*, Handle*),
                      void(VKAPI_PTR* destroy)(VkDevice, Handle, const VkAllocationCallbacks*), const Info& info) {
  return [=, device = gpu.device()] {
    Handle handle = VK_NULL_HANDLE;
    Check(create(device, &info, nullptr, &handle), "a vkCreate");
    destroy(device, handle, nullptr);
  };
}

VkSamplerCreateInfo SamplerInfo() {
  VkSamplerCreateInfo info = {VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
  info.magFilter = info.minFilter = VK_FILTER_LINEAR;
  return info;
}

VkShaderModuleCreateInfo ShaderInfo() {
  VkShaderModuleCreateInfo info = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  info.codeSize = sizeof(touch_comp);
  info.pCode = touch_comp;
  return info;
}

auto DescriptorSets(const Gpu& gpu) {
  return [device = gpu.device(), layout = MakeSetLayout(gpu, 1),
          pool = MakeDescriptorPool(gpu, 1, VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT), &gpu] {
    const VkDescriptorSet set = AllocateSet(gpu, pool, layout);
    VESPER_BENCH_CHECK(vkFreeDescriptorSets(device, pool, 1, &set));
  };
}

auto ImageViews(const Gpu& gpu) {
  return [device = gpu.device(), canvas = Canvas(gpu, 64, 64)] {
    const VkImageViewCreateInfo info = canvas.ViewInfo();
    VkImageView view = VK_NULL_HANDLE;
    VESPER_BENCH_CHECK(vkCreateImageView(device, &info, nullptr, &view));
    vkDestroyImageView(device, view, nullptr);
  };
}

auto CommandBuffers(const Gpu& gpu) {
  return [device = gpu.device(), commands = Commands(gpu)] {
    VkCommandBufferAllocateInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
    info.commandPool = commands.pool();
    info.commandBufferCount = 1;
    VkCommandBuffer buffer = VK_NULL_HANDLE;
    VESPER_BENCH_CHECK(vkAllocateCommandBuffers(device, &info, &buffer));
    vkFreeCommandBuffers(device, commands.pool(), 1, &buffer);
  };
}

auto Pipelines(const Gpu& gpu) {
  const VkPipelineCacheCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  auto set = MakeSetLayout(gpu, 1);
  auto layout = MakePipelineLayout(gpu, set.address(), VK_SHADER_STAGE_COMPUTE_BIT, 16);
  return [&gpu, set = std::move(set), layout = std::move(layout), shader = MakeShader(gpu, touch_comp),
          cache = Make<VkPipelineCache>(gpu.device(), vkCreatePipelineCache, vkDestroyPipelineCache, info)] {
    MakePipeline(gpu, layout, shader, cache);
  };
}

auto BoundBuffers(const Gpu& gpu) {
  const auto like = Make<VkBuffer>(gpu.device(), vkCreateBuffer, vkDestroyBuffer, BufferInfo(4096));
  VkMemoryRequirements needs;
  vkGetBufferMemoryRequirements(gpu.device(), like, &needs);
  const uint32_t type = gpu.MemoryType(needs.memoryTypeBits, FlagsOf(Place::kDevice));
  return [device = gpu.device(), memory = Allocate(gpu, needs.size, type)] {
    const auto buffer = Make<VkBuffer>(device, vkCreateBuffer, vkDestroyBuffer, BufferInfo(4096));
    VkMemoryRequirements wanted;
    vkGetBufferMemoryRequirements(device, buffer, &wanted);
    VESPER_BENCH_CHECK(vkBindBufferMemory(device, buffer, memory, 0));
  };
}

auto Allocations(const Gpu& gpu, size_t size) {
  return [&gpu, size, type = gpu.MemoryType(~0u, FlagsOf(Place::kDevice))] { Allocate(gpu, size, type); };
}

auto MappedAllocations(const Gpu& gpu, size_t size) {
  return [&gpu, size, type = gpu.MemoryType(~0u, FlagsOf(Place::kUpload))] {
    const auto memory = Allocate(gpu, size, type);
    void* mapped = nullptr;
    VESPER_BENCH_CHECK(vkMapMemory(gpu.device(), memory, 0, VK_WHOLE_SIZE, 0, &mapped));
    *static_cast<volatile char*>(mapped) = 1;
    vkUnmapMemory(gpu.device(), memory);
  };
}

}  // namespace

void AddChurnRows(std::vector<Row>& rows) {
  const auto add = [&rows](const char* name, auto begin, uint64_t pairs = kPairs) {
    AddBothWays(rows, std::string("churn.") + name, Unit::kMicroseconds, pairs, 1, begin);
  };
  add("buffer", [](Gpu& gpu) { return CreateAndDestroy(gpu, vkCreateBuffer, vkDestroyBuffer, BufferInfo(4096)); });
  add("fence", [](Gpu& gpu) {
    return CreateAndDestroy(gpu, vkCreateFence, vkDestroyFence, VkFenceCreateInfo{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO});
  });
  add("semaphore", [](Gpu& gpu) {
    return CreateAndDestroy(gpu, vkCreateSemaphore, vkDestroySemaphore,
                            VkSemaphoreCreateInfo{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO});
  });
  add("descriptor_set", DescriptorSets);
  add("image_view", ImageViews);
  add("sampler", [](Gpu& gpu) { return CreateAndDestroy(gpu, vkCreateSampler, vkDestroySampler, SamplerInfo()); });
  add("shader_module_1k",
      [](Gpu& gpu) { return CreateAndDestroy(gpu, vkCreateShaderModule, vkDestroyShaderModule, ShaderInfo()); });
  add("command_buffer", CommandBuffers);
  add("compute_pipeline", Pipelines);
  add("buffer_bound", BoundBuffers);
  add("alloc_64k", [](Gpu& gpu) { return Allocations(gpu, kSmall); });
  add(
      "alloc_16m", [](Gpu& gpu) { return Allocations(gpu, kLarge); }, kPairs / 10);
  add("alloc_map_64k", [](Gpu& gpu) { return MappedAllocations(gpu, kSmall); });
  add(
      "alloc_map_16m", [](Gpu& gpu) { return MappedAllocations(gpu, kLarge); }, kPairs / 10);
}

}  // namespace vesper::tools::bench
