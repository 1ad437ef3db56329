#include "tools/bench/gpu.h"

#include <cstring>

namespace vesper::tools::bench {
namespace {

int Score(VkPhysicalDevice device) {
  VkPhysicalDeviceProperties properties;
  vkGetPhysicalDeviceProperties(device, &properties);
  if (properties.apiVersion < VK_API_VERSION_1_3) return -1;
  switch (properties.deviceType) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return 3;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return 2;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
      return 1;
    default:
      return 0;
  }
}

uint32_t QueueFamily(VkPhysicalDevice device) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
  constexpr VkQueueFlags kWanted = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT;
  for (uint32_t i = 0; i < count; ++i) {
    if ((families[i].queueFlags & kWanted) == kWanted) return i;
  }
  throw std::runtime_error("the device has no queue for graphics and compute");
}

}  // namespace

void Check(VkResult result, const char* what) {
  if (result != VK_SUCCESS) throw std::runtime_error(std::string(what) + " = " + std::to_string(result));
}

VkInstance StartInstance(std::span<const char* const> extensions) {
  VkApplicationInfo application = {VK_STRUCTURE_TYPE_APPLICATION_INFO};
  application.pApplicationName = "vesper bench";
  application.apiVersion = VK_API_VERSION_1_3;
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  info.pApplicationInfo = &application;
  info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  VkInstance instance = VK_NULL_HANDLE;
  VESPER_BENCH_CHECK(vkCreateInstance(&info, nullptr, &instance));
  return instance;
}

VkPhysicalDevice ChooseDevice(VkInstance instance) {
  uint32_t count = 0;
  VESPER_BENCH_CHECK(vkEnumeratePhysicalDevices(instance, &count, nullptr));
  std::vector<VkPhysicalDevice> devices(count);
  VESPER_BENCH_CHECK(vkEnumeratePhysicalDevices(instance, &count, devices.data()));
  VkPhysicalDevice best = VK_NULL_HANDLE;
  int score = -1;
  for (VkPhysicalDevice device : devices) {
    if (Score(device) <= score) continue;
    score = Score(device);
    best = device;
  }
  if (best == VK_NULL_HANDLE) throw std::runtime_error("there is no device of Vulkan 1.3");
  return best;
}

VkDevice StartDevice(VkPhysicalDevice physical, uint32_t* family, const Wanted& wanted) {
  *family = QueueFamily(physical);
  VkPhysicalDeviceVulkan13Features v13 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES};
  v13.pNext = wanted.features;
  v13.dynamicRendering = VK_TRUE;
  VkPhysicalDeviceVulkan12Features v12 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
  v12.pNext = &v13;
  v12.timelineSemaphore = VK_TRUE;
  v12.bufferDeviceAddress = VK_TRUE;
  const float priority = 1;
  VkDeviceQueueCreateInfo queue = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue.queueFamilyIndex = *family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  VkDeviceCreateInfo info = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  info.pNext = &v12;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  info.enabledExtensionCount = static_cast<uint32_t>(wanted.device.size());
  info.ppEnabledExtensionNames = wanted.device.data();
  VkDevice device = VK_NULL_HANDLE;
  VESPER_BENCH_CHECK(vkCreateDevice(physical, &info, nullptr, &device));
  return device;
}

Gpu::Gpu(const Wanted& wanted) {
  instance_ = StartInstance(wanted.instance);
  try {
    physical_ = ChooseDevice(instance_);
    device_ = StartDevice(physical_, &family_, wanted);
  } catch (...) {
    vkDestroyInstance(instance_, nullptr);
    throw;
  }
  vkGetDeviceQueue(device_, family_, 0, &queue_);
  vkGetPhysicalDeviceMemoryProperties(physical_, &memory_);
  const VkFenceCreateInfo info = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  vkCreateFence(device_, &info, nullptr, &fence_);
}

Gpu::~Gpu() {
  vkDestroyFence(device_, fence_, nullptr);
  vkDestroyDevice(device_, nullptr);
  vkDestroyInstance(instance_, nullptr);
}

std::string Gpu::Name() const {
  VkPhysicalDeviceProperties properties;
  vkGetPhysicalDeviceProperties(physical_, &properties);
  return properties.deviceName;
}

uint32_t Gpu::MemoryType(uint32_t bits, VkMemoryPropertyFlags wanted) const {
  // Nobody maps what is not visible; being cached or device-local is only a wish.
  for (const VkMemoryPropertyFlags least : {wanted, wanted & ~VkMemoryPropertyFlags{VK_MEMORY_PROPERTY_HOST_CACHED_BIT},
                                            wanted & ~VkMemoryPropertyFlags{VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT}}) {
    for (uint32_t i = 0; i < memory_.memoryTypeCount; ++i) {
      if ((bits >> i & 1) != 0 && (memory_.memoryTypes[i].propertyFlags & least) == least) return i;
    }
  }
  throw std::runtime_error("the device has no memory of the kind that is wanted");
}

void Gpu::Finish(VkCommandBuffer commands) const {
  VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &commands;
  VESPER_BENCH_CHECK(vkQueueSubmit(queue_, commands == VK_NULL_HANDLE ? 0 : 1, &submit, fence_));
  VESPER_BENCH_CHECK(vkWaitForFences(device_, 1, &fence_, VK_TRUE, kWaitNanoseconds));
  VESPER_BENCH_CHECK(vkResetFences(device_, 1, &fence_));
}

VkMemoryPropertyFlags FlagsOf(Place place) {
  constexpr VkMemoryPropertyFlags kMapped = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  switch (place) {
    case Place::kUpload:
    case Place::kStaging:
      return kMapped;
    case Place::kReadBack:
      return kMapped | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    case Place::kDevice:
      break;
  }
  return VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
}

VkBufferCreateInfo BufferInfo(size_t size, VkBufferUsageFlags more) {
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = size;
  info.usage =
      VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | more;
  return info;
}

Owned<VkDeviceMemory> Allocate(const Gpu& gpu, size_t size, uint32_t type, const void* next) {
  VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  info.pNext = next;
  info.allocationSize = size;
  info.memoryTypeIndex = type;
  return Make<VkDeviceMemory>(gpu.device(), vkAllocateMemory, vkFreeMemory, info);
}

Buffer MakeBuffer(const Gpu& gpu, size_t size, Place place, VkBufferUsageFlags more) {
  Buffer buffer;
  buffer.size = size;
  VkBufferCreateInfo info = BufferInfo(size, more);
  if (place == Place::kStaging) info.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
  buffer.handle = Make<VkBuffer>(gpu.device(), vkCreateBuffer, vkDestroyBuffer, info);
  VkMemoryRequirements needs;
  vkGetBufferMemoryRequirements(gpu.device(), buffer.handle, &needs);
  VkMemoryAllocateFlagsInfo flags = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO};
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  const bool has_address = (more & VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT) != 0;
  buffer.memory =
      Allocate(gpu, needs.size, gpu.MemoryType(needs.memoryTypeBits, FlagsOf(place)), has_address ? &flags : nullptr);
  VESPER_BENCH_CHECK(vkBindBufferMemory(gpu.device(), buffer.handle, buffer.memory, 0));
  if (place != Place::kDevice) {
    VESPER_BENCH_CHECK(vkMapMemory(gpu.device(), buffer.memory, 0, VK_WHOLE_SIZE, 0, &buffer.mapped));
  }
  return buffer;
}

Owned<VkFence> MakeFence(const Gpu& gpu, VkFenceCreateFlags flags) {
  VkFenceCreateInfo info = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  info.flags = flags;
  return Make<VkFence>(gpu.device(), vkCreateFence, vkDestroyFence, info);
}

Owned<VkSemaphore> MakeTimeline(const Gpu& gpu) {
  VkSemaphoreTypeCreateInfo type = {VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO};
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  VkSemaphoreCreateInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  info.pNext = &type;
  return Make<VkSemaphore>(gpu.device(), vkCreateSemaphore, vkDestroySemaphore, info);
}

Owned<VkShaderModule> MakeShader(const Gpu& gpu, std::span<const uint32_t> code) {
  VkShaderModuleCreateInfo info = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  info.codeSize = code.size_bytes();
  info.pCode = code.data();
  return Make<VkShaderModule>(gpu.device(), vkCreateShaderModule, vkDestroyShaderModule, info);
}

VkPipelineShaderStageCreateInfo Stage(VkShaderStageFlagBits stage, VkShaderModule shader) {
  VkPipelineShaderStageCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
  info.stage = stage;
  info.module = shader;
  info.pName = "main";
  return info;
}

Owned<VkPipelineLayout> MakePipelineLayout(const Gpu& gpu, const VkDescriptorSetLayout* set,
                                           VkShaderStageFlags pushed_to, uint32_t pushed_bytes) {
  const VkPushConstantRange range = {pushed_to, 0, pushed_bytes};
  VkPipelineLayoutCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  info.setLayoutCount = set == nullptr ? 0 : 1;
  info.pSetLayouts = set;
  info.pushConstantRangeCount = pushed_bytes == 0 ? 0 : 1;
  info.pPushConstantRanges = &range;
  return Make<VkPipelineLayout>(gpu.device(), vkCreatePipelineLayout, vkDestroyPipelineLayout, info);
}

Commands::Commands(const Gpu& gpu) {
  VkCommandPoolCreateInfo pool = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  pool.queueFamilyIndex = gpu.family();
  pool_ = Make<VkCommandPool>(gpu.device(), vkCreateCommandPool, vkDestroyCommandPool, pool);
  VkCommandBufferAllocateInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  info.commandPool = pool_;
  info.commandBufferCount = 1;
  VESPER_BENCH_CHECK(vkAllocateCommandBuffers(gpu.device(), &info, &buffer_));
}

void Commands::Begin(VkCommandBufferUsageFlags flags) const {
  VkCommandBufferBeginInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  info.flags = flags;
  VESPER_BENCH_CHECK(vkBeginCommandBuffer(buffer_, &info));
}

void Commands::End() const { VESPER_BENCH_CHECK(vkEndCommandBuffer(buffer_)); }

void FullBarrier(VkCommandBuffer commands) {
  VkMemoryBarrier barrier = {VK_STRUCTURE_TYPE_MEMORY_BARRIER};
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT | VK_ACCESS_HOST_READ_BIT;
  vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                       VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0, nullptr, 0,
                       nullptr);
}

void CopyAll(VkCommandBuffer commands, const Buffer& from, const Buffer& to) {
  const VkBufferCopy all = {0, 0, from.size};
  vkCmdCopyBuffer(commands, from.handle, to.handle, 1, &all);
}

std::vector<uint8_t> Fetch(const Gpu& gpu, const Buffer& buffer) {
  const Buffer here = MakeBuffer(gpu, buffer.size, Place::kReadBack);
  const Commands commands(gpu);
  commands.Begin();
  FullBarrier(commands.get());
  CopyAll(commands.get(), buffer, here);
  FullBarrier(commands.get());
  commands.End();
  gpu.Finish(commands.get());
  std::vector<uint8_t> bytes(buffer.size);
  std::memcpy(bytes.data(), here.mapped, bytes.size());
  return bytes;
}

Owned<VkDescriptorSetLayout> MakeSetLayout(const Gpu& gpu, uint32_t buffers) {
  std::vector<VkDescriptorSetLayoutBinding> bindings(buffers);
  for (uint32_t i = 0; i < buffers; ++i) {
    bindings[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  }
  VkDescriptorSetLayoutCreateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  info.bindingCount = buffers;
  info.pBindings = bindings.data();
  return Make<VkDescriptorSetLayout>(gpu.device(), vkCreateDescriptorSetLayout, vkDestroyDescriptorSetLayout, info);
}

Owned<VkDescriptorPool> MakeDescriptorPool(const Gpu& gpu, uint32_t buffers, VkDescriptorPoolCreateFlags flags) {
  const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, buffers};
  VkDescriptorPoolCreateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  info.flags = flags;
  info.maxSets = 1;
  info.poolSizeCount = 1;
  info.pPoolSizes = &size;
  return Make<VkDescriptorPool>(gpu.device(), vkCreateDescriptorPool, vkDestroyDescriptorPool, info);
}

VkDescriptorSet AllocateSet(const Gpu& gpu, VkDescriptorPool pool, VkDescriptorSetLayout layout) {
  VkDescriptorSetAllocateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  info.descriptorPool = pool;
  info.descriptorSetCount = 1;
  info.pSetLayouts = &layout;
  VkDescriptorSet set = VK_NULL_HANDLE;
  VESPER_BENCH_CHECK(vkAllocateDescriptorSets(gpu.device(), &info, &set));
  return set;
}

void WriteSet(const Gpu& gpu, VkDescriptorSet set, uint32_t binding, const Buffer& buffer) {
  const VkDescriptorBufferInfo info = {buffer.handle, 0, VK_WHOLE_SIZE};
  VkWriteDescriptorSet write = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
  write.dstSet = set;
  write.dstBinding = binding;
  write.descriptorCount = 1;
  write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  write.pBufferInfo = &info;
  vkUpdateDescriptorSets(gpu.device(), 1, &write, 0, nullptr);
}

Owned<VkPipeline> MakePipeline(const Gpu& gpu, VkPipelineLayout layout, VkShaderModule shader, VkPipelineCache cache) {
  VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.stage = Stage(VK_SHADER_STAGE_COMPUTE_BIT, shader);
  info.layout = layout;
  VkPipeline pipeline = VK_NULL_HANDLE;
  VESPER_BENCH_CHECK(vkCreateComputePipelines(gpu.device(), cache, 1, &info, nullptr, &pipeline));
  return {gpu.device(), pipeline, vkDestroyPipeline};
}

Kernel::Kernel(const Gpu& gpu, std::span<const uint32_t> code, std::span<const Buffer* const> buffers,
               uint32_t pushed_bytes) {
  const auto count = static_cast<uint32_t>(buffers.size());
  set_layout_ = MakeSetLayout(gpu, count);
  layout_ = MakePipelineLayout(gpu, set_layout_.address(), VK_SHADER_STAGE_COMPUTE_BIT, pushed_bytes);
  pipeline_ = MakePipeline(gpu, layout_, MakeShader(gpu, code), VK_NULL_HANDLE);
  pool_ = MakeDescriptorPool(gpu, count);
  set_ = AllocateSet(gpu, pool_, set_layout_);
  for (uint32_t i = 0; i < count; ++i) WriteSet(gpu, set_, i, *buffers[i]);
}

void Kernel::Bind(VkCommandBuffer commands) const {
  vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
  vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &set_, 0, nullptr);
}

}  // namespace vesper::tools::bench
