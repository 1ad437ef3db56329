// RunSandboxProbe() of probe.h.
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/process/probe.h"
#include "server/sandbox/sandbox.h"

namespace vesper::server {
namespace {

// `void main() {}` for compute, so that the driver's compiler runs.
constexpr std::array<uint32_t, 35> kShader = {
    0x07230203, 0x00010000, 0,  5,          0,     // header: five ids
    0x00020011, 1,                                 // OpCapability Shader
    0x0003000e, 0,          1,                     // OpMemoryModel Logical GLSL450
    0x0005000f, 5,          1,  0x6e69616d, 0,     // OpEntryPoint GLCompute %1 "main"
    0x00060010, 1,          17, 1,          1, 1,  // OpExecutionMode %1 LocalSize 1 1 1
    0x00020013, 2,                                 // %2 = OpTypeVoid
    0x00030021, 3,          2,                     // %3 = OpTypeFunction %2
    0x00050036, 2,          1,  0,          3,     // %1 = OpFunction %2 None %3
    0x000200f8, 4,                                 // %4 = OpLabel
    0x000100fd, 0x00010038};                       // OpReturn, OpFunctionEnd

const char* Dispatch(const vk::DispatchTable& driver, VkDevice device, uint32_t family, VkPipeline pipeline) {
  const VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr, 0, family};
  VkCommandPool pool = VK_NULL_HANDLE;
  if (driver.CreateCommandPool(device, &pool_info, nullptr, &pool) != VK_SUCCESS) return "vkCreateCommandPool";
  const VkCommandBufferAllocateInfo wanted{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr, pool,
                                           VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
  VkCommandBuffer commands = VK_NULL_HANDLE;
  if (driver.AllocateCommandBuffers(device, &wanted, &commands) != VK_SUCCESS) return "vkAllocateCommandBuffers";
  VkCommandBufferBeginInfo begin{};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  driver.BeginCommandBuffer(commands, &begin);
  driver.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
  driver.CmdDispatch(commands, 1, 1, 1);
  if (driver.EndCommandBuffer(commands) != VK_SUCCESS) return "vkEndCommandBuffer";
  const VkFenceCreateInfo fence_info{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO, nullptr, 0};
  VkFence fence = VK_NULL_HANDLE;
  if (driver.CreateFence(device, &fence_info, nullptr, &fence) != VK_SUCCESS) return "vkCreateFence";
  VkQueue queue = VK_NULL_HANDLE;
  driver.GetDeviceQueue(device, family, 0, &queue);
  VkSubmitInfo submit{};
  submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &commands;
  if (driver.QueueSubmit(queue, 1, &submit, fence) != VK_SUCCESS) return "vkQueueSubmit";
  constexpr uint64_t kPatienceNs = std::chrono::nanoseconds(limits::kProbeDispatch).count();
  return driver.WaitForFences(device, 1, &fence, VK_TRUE, kPatienceNs) == VK_SUCCESS ? nullptr : "vkWaitForFences";
}

const char* RunShader(const vk::DispatchTable& driver, VkDevice device, uint32_t family) {
  const VkShaderModuleCreateInfo module_info{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, nullptr, 0, sizeof(kShader),
                                             kShader.data()};
  VkShaderModule module = VK_NULL_HANDLE;
  if (driver.CreateShaderModule(device, &module_info, nullptr, &module) != VK_SUCCESS) return "vkCreateShaderModule";
  VkPipelineLayoutCreateInfo layout_info{};
  layout_info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  if (driver.CreatePipelineLayout(device, &layout_info, nullptr, &layout) != VK_SUCCESS) {
    return "vkCreatePipelineLayout";
  }
  VkComputePipelineCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module;
  info.stage.pName = "main";
  info.layout = layout;
  VkPipeline pipeline = VK_NULL_HANDLE;
  if (driver.CreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline) != VK_SUCCESS) {
    return "vkCreateComputePipelines";
  }
  return Dispatch(driver, device, family, pipeline);
}

// The end of the process frees what this makes. Returns what failed, or nullptr.
const char* Try(const Driver& driver, const Instance& instance, VkPhysicalDevice gpu) {
  const vk::DispatchTable& global = instance.context.table;
  uint32_t families = 0;
  global.GetPhysicalDeviceQueueFamilyProperties(gpu, &families, nullptr);
  std::vector<VkQueueFamilyProperties> properties(families);
  global.GetPhysicalDeviceQueueFamilyProperties(gpu, &families, properties.data());
  uint32_t family = 0;
  while (family < families && (properties[family].queueFlags & VK_QUEUE_COMPUTE_BIT) == 0) ++family;
  if (family == families) return nullptr;  // nothing to try
  const float priority = 1;
  const VkDeviceQueueCreateInfo queue_info{
      VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, family, 1, &priority};
  VkDeviceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue_info;
  VkDevice device = VK_NULL_HANDLE;
  if (global.CreateDevice(gpu, &info, nullptr, &device) != VK_SUCCESS) return "vkCreateDevice";
  vk::DispatchTable table = global;
  vk::LoadDevice(&table, device, driver.GetDeviceProcAddr(instance.handle));
  return RunShader(table, device, family);
}

int Fail(const std::string& why) {
  Log(LogLevel::kWarning, "in the sandbox: {}", why);
  return 1;
}

}  // namespace

int RunSandboxProbe(const ServerOptions& options) {
  const Sandbox sandbox = SandboxOf(options.sandbox).value_or(Sandbox::kOff);
  std::string error;
  if (!EnterSandbox(sandbox, options.worker_uid, -1, &error)) return Fail(error);
  if (!error.empty()) Log(LogLevel::kWarning, "workers share these with the server: {}", error);
  PrepareDriverEnvironment();
  const std::unique_ptr<Driver> driver = Driver::Load(options.driver(), &error);
  if (driver == nullptr) return Fail(error);
  driver->KeepLoaded();
  if (!SealSandbox(sandbox, &error)) return Fail(error);
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  std::unique_ptr<Instance> instance;
  if (driver->CreateInstance(info, &instance) != VK_SUCCESS) return Fail("vkCreateInstance");
  if (instance->physical_devices.empty()) return Fail("there is no GPU");
  for (const VkPhysicalDevice gpu : instance->physical_devices) {
    if (const char* failed = Try(*driver, *instance, gpu); failed != nullptr) return Fail(failed);
  }
  _exit(0);  // does not run the drivers' destructors, which may take long and change nothing
}

}  // namespace vesper::server
