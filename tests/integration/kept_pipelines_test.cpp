// What drivers compile in one session and find again in the next. The server's driver counts in a cache's data how many pipelines
// were made with it (tests/support/pipeline_data_layer.cpp).
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "shaders/increment_comp.h"
#include "tests/integration/failure.h"
#include "tests/support/vulkan_pipelines.h"

namespace vesper::test {
namespace {

namespace fs = std::filesystem;

class KeptPipelinesTest : public FailureTest {
 protected:
  void StartCounting(std::vector<std::string> arguments = {}) {
    RemoteServer::Options options;
    options.arguments = std::move(arguments);
    options.environment = {{"VK_INSTANCE_LAYERS", "VK_LAYER_VESPER_test_pipeline_data"},
                           {"VK_LAYER_PATH", VESPER_TEST_LAYERS}};
    Start(options);
  }
  // The files of one cache each.
  std::vector<fs::path> Kept() {
    std::vector<fs::path> all;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(server().folder() + "/pipelines", none)) {
      if (entry.path().extension() == ".pipelines") all.push_back(entry.path());
    }
    return all;
  }
  // How many pipelines the one cache that is kept was made of; nullopt without one.
  std::optional<uint32_t> Count() {
    const std::vector<fs::path> all = Kept();
    if (all.size() != 1) return std::nullopt;
    std::ifstream in(all[0], std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    uint32_t count = 0;
    if (bytes.size() < sizeof(count)) return std::nullopt;
    std::memcpy(&count, bytes.data() + bytes.size() - sizeof(count), sizeof(count));
    return count;
  }
  bool CountBecomes(uint32_t count) {
    return Within(milliseconds(5000), [&] { return Count() == count; });
  }
};

struct Program {
  Context context;
  Owned<VkDescriptorSetLayout> set_layout =
      MakeSetLayout(context, std::array{Binding(0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT)});
  Owned<VkPipelineLayout> layout = MakePipelineLayout(context, {set_layout.address(), 1});

  void MakePipelines(uint32_t count, VkPipelineCache cache = VK_NULL_HANDLE) {
    for (uint32_t i = 0; i < count; ++i) {
      const auto pipeline = MakeComputePipeline(context, layout, increment_comp, nullptr, cache);
    }
    RunCommands(context, [](VkCommandBuffer) {});  // the server has made them then
  }
};

TEST_P(KeptPipelinesTest, TheNextSessionBeginsWithWhatTheLastOneCompiled) {
  StartCounting();
  for (uint32_t session = 1; session <= 3; ++session) {
    {
      Program program;
      program.MakePipelines(2);
    }
    EXPECT_TRUE(CountBecomes(2 * session)) << Count().value_or(0) << " after " << session << " sessions";
  }
}

// A program gave no cache: that its pipeline was found in one of its own would be a lie.
TEST_P(KeptPipelinesTest, TheProgramIsNotToldOfACacheThatItDidNotGive) {
  StartCounting();
  Program program;
  program.MakePipelines(1);
  const Owned<VkShaderModule> module = MakeShader(program.context, increment_comp);
  VkPipelineCreationFeedback whole{}, stage{};
  VkPipelineCreationFeedbackCreateInfo feedback = {VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO};
  feedback.pPipelineCreationFeedback = &whole;
  feedback.pipelineStageCreationFeedbackCount = 1;
  feedback.pPipelineStageCreationFeedbacks = &stage;
  VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO, &feedback};
  info.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module;
  info.stage.pName = "main";
  info.layout = program.layout;
  for (const bool own : {false, true}) {
    VkPipelineCacheCreateInfo cache_info = {VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    const auto cache =
        Create<VkPipelineCache>(program.context.device(), vkCreatePipelineCache, vkDestroyPipelineCache, cache_info);
    if (own) program.MakePipelines(1, cache);
    VkPipeline pipeline = VK_NULL_HANDLE;
    VK_CHECK(vkCreateComputePipelines(program.context.device(), own ? cache.get() : VK_NULL_HANDLE, 1, &info, nullptr,
                                      &pipeline));
    EXPECT_EQ((whole.flags & VK_PIPELINE_CREATION_FEEDBACK_APPLICATION_PIPELINE_CACHE_HIT_BIT) != 0, own);
    vkDestroyPipeline(program.context.device(), pipeline, nullptr);
  }
}

TEST_P(KeptPipelinesTest, ProgramsWithCachesOfTheirOwnKeepThemThemselves) {
  StartCounting();
  {
    Program program;
    VkPipelineCacheCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    const auto cache =
        Create<VkPipelineCache>(program.context.device(), vkCreatePipelineCache, vkDestroyPipelineCache, info);
    program.MakePipelines(2, cache);
  }
  {
    Program program;
    program.MakePipelines(1);
  }
  EXPECT_TRUE(CountBecomes(1));
}

TEST_P(KeptPipelinesTest, AProgramThatDiesLeavesWhatItCompiled) {
  StartCounting();
  EXPECT_EQ(InForkedChild([] {
              Program program;
              program.MakePipelines(3);
              _exit(0);
              return 0;
            }),
            0);
  EXPECT_TRUE(CountBecomes(3));
}

TEST_P(KeptPipelinesTest, WhatIsNotWholeIsNotUsed) {
  StartCounting();
  {
    Program program;
    program.MakePipelines(5);
  }
  ASSERT_TRUE(CountBecomes(5));
  const fs::path path = Kept().front();
  fs::resize_file(path, fs::file_size(path) - 1);
  {
    Program program;
    program.MakePipelines(1);
  }
  EXPECT_TRUE(CountBecomes(1)) << "it began anew";
}

TEST_P(KeptPipelinesTest, NothingIsKeptWhereTheServerWasToldNotTo) {
  StartCounting({"--pipelines", "off"});
  {
    Program program;
    program.MakePipelines(1);
  }
  ExpectServing();
  EXPECT_TRUE(Kept().empty());
}

INSTANTIATE_TEST_SUITE_P(Transports, KeptPipelinesTest, testing::Values("unix", "tcp"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace vesper::test
