// Memory runs out inside the driver: in one process after the other, every allocation from the Nth on fails, for growing N.
// Whatever a call returns then, the process is not ended by a signal and does not hang.
//
//   exhaustion_program libvulkan_vesper.so [ALLOCATIONS]      with a number: only that one, in this process
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

std::atomic<bool> g_counting{false};
std::atomic<long> g_left{0};  // allocations that succeed

bool Fails() {
  if (!g_counting.load(std::memory_order_relaxed) || g_left.fetch_sub(1, std::memory_order_relaxed) > 0) return false;
  errno = ENOMEM;
  return true;
}

}  // namespace

// Instead of the C library's, for all libraries of the process.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* block, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) { return Fails() ? nullptr : __libc_malloc(size); }
void* calloc(size_t count, size_t size) { return Fails() ? nullptr : __libc_calloc(count, size); }
void* realloc(void* block, size_t size) { return Fails() ? nullptr : __libc_realloc(block, size); }
void* aligned_alloc(size_t alignment, size_t size) { return Fails() ? nullptr : __libc_memalign(alignment, size); }
}

namespace {

PFN_vkGetInstanceProcAddr g_get = nullptr;

template <typename Function>
Function Get(VkInstance instance, const char* name) {
  return reinterpret_cast<Function>(g_get(instance, name));
}
#define VK_FUNCTION(name) const auto name = Get<PFN_##name>(instance, #name)

// A buffer that is written, filled by the device and read. Ends with the first failure: what exists is left to the caller.
void UseDevice(VkInstance instance, VkPhysicalDevice physical_device, VkDevice device) {
  VK_FUNCTION(vkGetDeviceQueue);
  VK_FUNCTION(vkCreateBuffer);
  VK_FUNCTION(vkGetBufferMemoryRequirements);
  VK_FUNCTION(vkAllocateMemory);
  VK_FUNCTION(vkBindBufferMemory);
  VK_FUNCTION(vkMapMemory);
  VK_FUNCTION(vkCreateCommandPool);
  VK_FUNCTION(vkAllocateCommandBuffers);
  VK_FUNCTION(vkBeginCommandBuffer);
  VK_FUNCTION(vkCmdFillBuffer);
  VK_FUNCTION(vkEndCommandBuffer);
  VK_FUNCTION(vkCreateFence);
  VK_FUNCTION(vkQueueSubmit);
  VK_FUNCTION(vkWaitForFences);
  VK_FUNCTION(vkGetFenceStatus);
  VK_FUNCTION(vkGetPhysicalDeviceFormatProperties);
  VkFormatProperties format;
  vkGetPhysicalDeviceFormatProperties(physical_device, VK_FORMAT_R8G8B8A8_UNORM, &format);
  VkQueue queue = VK_NULL_HANDLE;
  vkGetDeviceQueue(device, 0, 0, &queue);
  VkBufferCreateInfo buffer_info{};
  buffer_info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  buffer_info.size = 1 << 20;
  buffer_info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  VkBuffer buffer = VK_NULL_HANDLE;
  if (queue == VK_NULL_HANDLE || vkCreateBuffer(device, &buffer_info, nullptr, &buffer) < 0) return;
  VkMemoryRequirements requirements{};
  vkGetBufferMemoryRequirements(device, buffer, &requirements);
  VkMemoryAllocateInfo memory_info{};
  memory_info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  memory_info.allocationSize = buffer_info.size;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  void* data = nullptr;
  if (vkAllocateMemory(device, &memory_info, nullptr, &memory) < 0) return;
  if (vkBindBufferMemory(device, buffer, memory, 0) < 0) return;
  if (vkMapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &data) < 0) return;
  std::memset(data, 1, buffer_info.size);
  VkCommandPoolCreateInfo pool_info{};
  pool_info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  VkCommandPool pool = VK_NULL_HANDLE;
  if (vkCreateCommandPool(device, &pool_info, nullptr, &pool) < 0) return;
  VkCommandBufferAllocateInfo commands_info{};
  commands_info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  commands_info.commandPool = pool;
  commands_info.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  if (vkAllocateCommandBuffers(device, &commands_info, &commands) < 0) return;
  VkCommandBufferBeginInfo begin_info{};
  begin_info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  if (vkBeginCommandBuffer(commands, &begin_info) < 0) return;
  for (VkDeviceSize i = 0; i < 100; ++i) vkCmdFillBuffer(commands, buffer, 4096 * i, 4096, 7);
  if (vkEndCommandBuffer(commands) < 0) return;
  VkFenceCreateInfo fence_info{};
  fence_info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
  VkFence fence = VK_NULL_HANDLE;
  if (vkCreateFence(device, &fence_info, nullptr, &fence) < 0) return;
  VkSubmitInfo submit{};
  submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &commands;
  if (vkQueueSubmit(queue, 1, &submit, fence) < 0) return;
  vkWaitForFences(device, 1, &fence, VK_TRUE, UINT64_MAX);
  vkGetFenceStatus(device, fence);
}

void UseInstance(VkInstance instance) {
  VK_FUNCTION(vkEnumeratePhysicalDevices);
  VK_FUNCTION(vkEnumerateDeviceExtensionProperties);
  VK_FUNCTION(vkCreateDevice);
  VK_FUNCTION(vkDestroyDevice);
  VK_FUNCTION(vkDestroyInstance);
  VkPhysicalDevice physical_device = VK_NULL_HANDLE;
  uint32_t count = 1;
  if (vkEnumeratePhysicalDevices(instance, &count, &physical_device) >= 0 && count == 1) {
    uint32_t extensions = 0;
    vkEnumerateDeviceExtensionProperties(physical_device, nullptr, &extensions, nullptr);
    const float priority = 1;
    VkDeviceQueueCreateInfo queue_info{};
    queue_info.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queue_info.queueCount = 1;
    queue_info.pQueuePriorities = &priority;
    VkDeviceCreateInfo device_info{};
    device_info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    device_info.queueCreateInfoCount = 1;
    device_info.pQueueCreateInfos = &queue_info;
    VkDevice device = VK_NULL_HANDLE;
    if (vkCreateDevice(physical_device, &device_info, nullptr, &device) >= 0) {
      UseDevice(instance, physical_device, device);
      vkDestroyDevice(device, nullptr);
    }
  }
  vkDestroyInstance(instance, nullptr);
}

// Whether the whole of it took fewer than `allocations`.
bool Run(const char* library, long allocations) {
  void* driver = dlopen(library, RTLD_NOW);
  if (driver == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    _exit(2);
  }
  g_get = reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(driver, "vk_icdGetInstanceProcAddr"));
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  VkInstance instance = VK_NULL_HANDLE;
  const auto create = Get<PFN_vkCreateInstance>(VK_NULL_HANDLE, "vkCreateInstance");
  alarm(60);
  g_left = allocations;
  g_counting = true;
  if (create(&info, nullptr, &instance) >= 0) UseInstance(instance);
  g_counting = false;
  return g_left.load() > 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 3) return Run(arguments[1], std::strtol(arguments[2], nullptr, 10)) ? 0 : 1;
  if (count != 2) return 2;
  constexpr int kEnough = 10;
  int bad = 0;
  int runs = 0;
  // Every one of the first, then a sixteenth further each time.
  for (long allocations = 0; allocations < 1'000'000; allocations += 1 + allocations / 16) {
    const pid_t child = fork();
    if (child == 0) _exit(Run(arguments[1], allocations) ? kEnough : 0);
    int status = -1;
    waitpid(child, &status, 0);
    ++runs;
    if (WIFSIGNALED(status)) {
      std::printf("with %ld allocations: ended by signal %d\n", allocations, WTERMSIG(status));
      ++bad;
    } else if (WEXITSTATUS(status) == kEnough) {
      std::printf("%d runs, %d ended by a signal; nothing needs more than %ld allocations\n", runs, bad, allocations);
      return bad == 0 ? 0 : 1;
    } else if (WEXITSTATUS(status) != 0) {
      return 1;
    }
  }
  return 1;
}
