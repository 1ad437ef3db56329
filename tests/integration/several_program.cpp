// several_program COUNT: uses COUNT physical devices of one instance at the same time. Rounds of work on each, a round for each line of its
// input; prints for each round what became of it on every device.
#include <vulkan/vulkan.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr VkDeviceSize kBytes = 64 << 10;

void Check(VkResult result, const char* what) {
  if (result >= 0) return;
  std::fprintf(stderr, "several_program: %s = %d\n", what, result);
  std::exit(1);
}

// A device with a buffer that the CPU sees, which the GPU fills.
struct Worker {
  VkDevice device = VK_NULL_HANDLE;
  VkQueue queue = VK_NULL_HANDLE;
  VkBuffer buffer = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  VkCommandPool pool = VK_NULL_HANDLE;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  VkFence fence = VK_NULL_HANDLE;
  const uint32_t* words = nullptr;

  explicit Worker(VkPhysicalDevice of) {
    const float priority = 1;
    VkDeviceQueueCreateInfo queues{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
    queues.queueCount = 1;
    queues.pQueuePriorities = &priority;
    VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queues;
    Check(vkCreateDevice(of, &info, nullptr, &device), "vkCreateDevice");
    vkGetDeviceQueue(device, 0, 0, &queue);
    MakeBuffer(of);
    VkCommandPoolCreateInfo pools{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    pools.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
    Check(vkCreateCommandPool(device, &pools, nullptr, &pool), "vkCreateCommandPool");
    VkCommandBufferAllocateInfo allocate{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr, pool,
                                         VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
    Check(vkAllocateCommandBuffers(device, &allocate, &commands), "vkAllocateCommandBuffers");
    const VkFenceCreateInfo fences{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    Check(vkCreateFence(device, &fences, nullptr, &fence), "vkCreateFence");
  }

  void MakeBuffer(VkPhysicalDevice of) {
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.size = kBytes;
    info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    Check(vkCreateBuffer(device, &info, nullptr, &buffer), "vkCreateBuffer");
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(device, buffer, &needs);
    VkPhysicalDeviceMemoryProperties types;
    vkGetPhysicalDeviceMemoryProperties(of, &types);
    constexpr VkMemoryPropertyFlags kWanted =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    uint32_t type = 0;
    while ((needs.memoryTypeBits >> type & 1) == 0 || (types.memoryTypes[type].propertyFlags & kWanted) != kWanted)
      ++type;
    const VkMemoryAllocateInfo allocate{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, needs.size, type};
    Check(vkAllocateMemory(device, &allocate, nullptr, &memory), "vkAllocateMemory");
    Check(vkBindBufferMemory(device, buffer, memory, 0), "vkBindBufferMemory");
    void* mapped = nullptr;
    Check(vkMapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &mapped), "vkMapMemory");
    words = static_cast<const uint32_t*>(mapped);
  }

  VkResult Begin(uint32_t value) {
    const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    vkBeginCommandBuffer(commands, &begin);
    vkCmdFillBuffer(commands, buffer, 0, VK_WHOLE_SIZE, value);
    vkEndCommandBuffer(commands);
    VkSubmitInfo batch{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    batch.commandBufferCount = 1;
    batch.pCommandBuffers = &commands;
    return vkQueueSubmit(queue, 1, &batch, fence);
  }
  const char* End(VkResult begun, uint32_t value) {
    if (begun == VK_SUCCESS) begun = vkWaitForFences(device, 1, &fence, VK_TRUE, UINT64_MAX);
    if (begun == VK_ERROR_DEVICE_LOST) return "lost";
    vkResetFences(device, 1, &fence);
    return begun == VK_SUCCESS && words[0] == value && words[kBytes / 4 - 1] == value ? "right" : "wrong";
  }
  void Destroy() {
    vkDestroyFence(device, fence, nullptr);
    vkDestroyCommandPool(device, pool, nullptr);
    vkDestroyBuffer(device, buffer, nullptr);
    vkFreeMemory(device, memory, nullptr);
    vkDestroyDevice(device, nullptr);
  }
};

}  // namespace

int main(int argc, char** argv) {
  const uint32_t wanted = argc == 2 ? static_cast<uint32_t>(std::atoi(argv[1])) : 2;
  const VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  VkInstance instance = VK_NULL_HANDLE;
  Check(vkCreateInstance(&info, nullptr, &instance), "vkCreateInstance");
  std::vector<VkPhysicalDevice> devices(16);
  uint32_t count = 16;
  Check(vkEnumeratePhysicalDevices(instance, &count, devices.data()), "vkEnumeratePhysicalDevices");
  devices.resize(count);
  std::printf("%u devices\n", count);
  std::fflush(stdout);
  if (count != wanted) return 1;
  std::vector<Worker> workers(devices.begin(), devices.end());
  char line[16];
  for (uint32_t round = 1; std::fgets(line, sizeof(line), stdin) != nullptr; ++round) {
    std::vector<VkResult> begun;
    for (uint32_t i = 0; i < count; ++i) begun.push_back(workers[i].Begin(100 * round + i));
    for (uint32_t i = 0; i < count; ++i)
      std::printf("%s%s", i == 0 ? "" : " ", workers[i].End(begun[i], 100 * round + i));
    std::printf("\n");
    std::fflush(stdout);
  }
  for (Worker& worker : workers) worker.Destroy();
  vkDestroyInstance(instance, nullptr);
  return 0;
}
