// What a server that was told to be strict keeps from its driver, and what the program hears of it.
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <mutex>

#include "shaders/increment_comp.h"
#include "tests/integration/failure.h"
#include "tests/support/vulkan_pipelines.h"

namespace vesper::test {
namespace {

using Code = std::vector<uint32_t>;

// Loads from what is nothing; header and lengths are right.
Code LooksRight() {
  Code code(std::begin(increment_comp), std::end(increment_comp));
  constexpr uint32_t kLoad = 61;
  for (size_t at = 5; at < code.size(); at += code[at] >> 16) {
    if ((code[at] & 0xffff) != kLoad) continue;
    code[at + 3] = code[3] - 1;
    break;
  }
  return code;
}

class RefusalTest : public FailureTest {
 protected:
  // A program that listens to debug messages.
  void Listen() {
    ContextOptions options;
    options.instance_extensions = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    context_ = std::make_unique<Context>(options);
    VkDebugUtilsMessengerCreateInfoEXT info = {VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
    info.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
    info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
    info.pfnUserCallback = [](VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                              const VkDebugUtilsMessengerCallbackDataEXT* data, void* user) {
      auto* self = static_cast<RefusalTest*>(user);
      const std::lock_guard lock(self->mutex_);
      self->heard_.emplace_back(data->pMessage);
      return VK_FALSE;
    };
    info.pUserData = this;
    const auto create =
        context_->InstanceFunction<PFN_vkCreateDebugUtilsMessengerEXT>("vkCreateDebugUtilsMessengerEXT");
    VK_CHECK(create(context_->instance(), &info, nullptr, &messenger_));
  }
  void TearDown() override {
    if (messenger_ != VK_NULL_HANDLE) {
      const auto destroy =
          context_->InstanceFunction<PFN_vkDestroyDebugUtilsMessengerEXT>("vkDestroyDebugUtilsMessengerEXT");
      destroy(context_->instance(), messenger_, nullptr);
    }
    context_.reset();
    FailureTest::TearDown();
  }
  bool Heard(const char* what) {
    const std::lock_guard lock(mutex_);
    return std::any_of(heard_.begin(), heard_.end(),
                       [&](const std::string& each) { return each.find(what) != std::string::npos; });
  }
  // What comes of a program that makes a pipeline of such a shader and records its use.
  VkResult Use(const Code& code, bool refused) {
    VkShaderModuleCreateInfo info = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
    info.codeSize = code.size() * 4;
    info.pCode = code.data();
    VkShaderModule module = VK_NULL_HANDLE;
    VkResult result = vkCreateShaderModule(context_->device(), &info, nullptr, &module);
    if (result != VK_SUCCESS) return result;
    const VkDescriptorSetLayoutBinding binding =
        Binding(0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT);
    const auto set_layout = MakeSetLayout(*context_, {&binding, 1});
    const VkDescriptorSetLayout sets[] = {set_layout};
    const auto layout = MakePipelineLayout(*context_, sets);
    VkComputePipelineCreateInfo pipeline_info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
    pipeline_info.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
    pipeline_info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    pipeline_info.stage.module = module;
    pipeline_info.stage.pName = "main";
    pipeline_info.layout = layout;
    VkPipeline pipeline = VK_NULL_HANDLE;
    result = vkCreateComputePipelines(context_->device(), VK_NULL_HANDLE, 1, &pipeline_info, nullptr, &pipeline);
    // The refusal may be under way for longer than the end of a command buffer waits for it.
    for (int tries = refused ? 400 : 1; result == VK_SUCCESS && tries > 0; --tries) {
      const Owned<VkCommandPool> pool = MakeCommandPool(*context_);
      const VkCommandBuffer commands = AllocateCommands(*context_, pool);
      BeginCommands(commands);
      vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
      result = vkEndCommandBuffer(commands);
    }
    vkDestroyPipeline(context_->device(), pipeline, nullptr);
    vkDestroyShaderModule(context_->device(), module, nullptr);
    return result;
  }

  std::unique_ptr<Context> context_;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  std::mutex mutex_;
  std::vector<std::string> heard_;
};

TEST_P(RefusalTest, WhatIsNoSpirvDoesNotReachTheDriver) {
  Start();
  Listen();
  EXPECT_EQ(Use({1, 2, 3, 4, 5, 6}, true), VK_ERROR_INVALID_SHADER_NV);
  EXPECT_TRUE(LogSays("vkCreateShaderModule not executed: the shader is refused: it is no SPIR-V"));
  VK_CHECK(vkDeviceWaitIdle(context_->device()));
  EXPECT_TRUE(Heard("it is no SPIR-V"));
  EXPECT_EQ(Use({std::begin(increment_comp), std::end(increment_comp)}, false), VK_SUCCESS)
      << "the device is as it was";
}

TEST_P(RefusalTest, ShadersAreValidatedWhereTheServerWasToldTo) {
  RemoteServer::Options options;
  options.arguments = {"--validate-shaders"};
  Start(options);
  Listen();
  EXPECT_EQ(Use(LooksRight(), true), VK_ERROR_INVALID_SHADER_NV);
  EXPECT_TRUE(LogSays("vkCreateShaderModule not executed: the shader is refused: "));
  VK_CHECK(vkDeviceWaitIdle(context_->device()));
  EXPECT_TRUE(Heard("vkCreateShaderModule: the shader is refused: "));
  EXPECT_EQ(Use({std::begin(increment_comp), std::end(increment_comp)}, false), VK_SUCCESS);
}

// Drivers fill buffers that were not made for it.
TEST_P(RefusalTest, WhatTheLayerCallsAnErrorDoesNotReachTheDriver) {
  for (const char* how : {"--validation", "--validation=strict"}) {
    RemoteServer::Options options;
    options.arguments = {how};
    Start(options);
    {
      Context context;
      const Buffer buffer = MakeBuffer(context, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
      const Buffer right = MakeBuffer(
          context, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
      for (const Buffer* each : {&buffer, &right}) std::ranges::fill(each->As<uint32_t>(), 1u);
      RunCommands(context, [&](VkCommandBuffer commands) {
        vkCmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 2);
        vkCmdFillBuffer(commands, right.handle, 0, VK_WHOLE_SIZE, 3);
        FullBarrier(commands);
      });
      const bool strict = std::string(how) == "--validation=strict";
      EXPECT_EQ(buffer.As<uint32_t>()[5], strict ? 1u : 2u) << how;
      EXPECT_EQ(right.As<uint32_t>()[5], 3u) << how;
      EXPECT_TRUE(LogSays("VUID-vkCmdFillBuffer-dstBuffer-00029")) << how;
    }
    server().Stop();
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, RefusalTest, testing::Values("unix", "tcp"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vesper::test
