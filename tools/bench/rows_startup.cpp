// What a program does before its first work, in a process that did it before.
#include "tools/bench/gpu.h"
#include "tools/bench/rows.h"

namespace vesper::tools::bench {
namespace {

enum class Part : uint8_t { kAll, kDevice, kFirstSubmit };

class Startup final : public Work {
 public:
  explicit Startup(Part part) : part_(part) {}
  void Batch(Stopwatch* watch) override {
    if (part_ == Part::kAll) watch->Start();
    VkInstance instance = StartInstance();
    VkPhysicalDevice physical = ChooseDevice(instance);
    if (part_ == Part::kDevice) watch->Start();
    uint32_t family = 0;
    VkDevice device = StartDevice(physical, &family);
    if (part_ == Part::kDevice) watch->Stop();
    if (part_ == Part::kFirstSubmit) watch->Start();
    VkQueue queue = VK_NULL_HANDLE;
    vkGetDeviceQueue(device, family, 0, &queue);
    const VkFenceCreateInfo info = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkFence fence = VK_NULL_HANDLE;
    VESPER_BENCH_CHECK(vkCreateFence(device, &info, nullptr, &fence));
    VESPER_BENCH_CHECK(vkQueueSubmit(queue, 0, nullptr, fence));
    VESPER_BENCH_CHECK(vkWaitForFences(device, 1, &fence, VK_TRUE, kWaitNanoseconds));
    if (part_ != Part::kDevice) watch->Stop();
    vkDestroyFence(device, fence, nullptr);
    vkDestroyDevice(device, nullptr);
    vkDestroyInstance(instance, nullptr);
  }

 private:
  const Part part_;
};

// All devices, with what a program asks of each before it chooses one.
void AskAll(VkInstance instance) {
  uint32_t count = 0;
  VESPER_BENCH_CHECK(vkEnumeratePhysicalDevices(instance, &count, nullptr));
  std::vector<VkPhysicalDevice> devices(count);
  VESPER_BENCH_CHECK(vkEnumeratePhysicalDevices(instance, &count, devices.data()));
  for (VkPhysicalDevice device : devices) {
    VkPhysicalDeviceVulkan13Properties p13 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
    VkPhysicalDeviceVulkan12Properties p12 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES, &p13};
    VkPhysicalDeviceVulkan11Properties p11 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, &p12};
    VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &p11};
    vkGetPhysicalDeviceProperties2(device, &properties);
    VkPhysicalDeviceVulkan13Features f13 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES};
    VkPhysicalDeviceVulkan12Features f12 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, &f13};
    VkPhysicalDeviceVulkan11Features f11 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, &f12};
    VkPhysicalDeviceFeatures2 features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &f11};
    vkGetPhysicalDeviceFeatures2(device, &features);
  }
}

class FirstProperties final : public Work {
 public:
  void Batch(Stopwatch* watch) override {
    VkInstance instance = StartInstance();
    watch->Start();
    AskAll(instance);
    watch->Stop();
    vkDestroyInstance(instance, nullptr);
  }
};

class RepeatedProperties final : public Work {
 public:
  RepeatedProperties() : instance_(StartInstance()) { AskAll(instance_); }
  ~RepeatedProperties() override { vkDestroyInstance(instance_, nullptr); }
  void Batch(Stopwatch* watch) override {
    watch->Start();
    AskAll(instance_);
    watch->Stop();
  }

 private:
  VkInstance instance_;
};

template <typename Made, typename... Arguments>
Row Alone(const char* name, Unit unit, Arguments... arguments) {
  return {name, unit, 1, 1, nullptr, [=] { return std::make_unique<Made>(arguments...); }};
}

}  // namespace

void AddStartupRows(std::vector<Row>& rows) {
  rows.push_back(Alone<Startup>("startup.warm", Unit::kMilliseconds, Part::kAll));
  rows.push_back(Alone<Startup>("startup.device", Unit::kMilliseconds, Part::kDevice));
  rows.push_back(Alone<Startup>("startup.first_submit", Unit::kMilliseconds, Part::kFirstSubmit));
  rows.push_back(Alone<FirstProperties>("props.first", Unit::kMicroseconds));
  rows.push_back(Alone<RepeatedProperties>("props.repeat", Unit::kMicroseconds));
}

}  // namespace vesper::tools::bench
