// Protects: no shader reaches the driver whose bytes are no SPIR-V, and with --validate-shaders none that the validator refuses,
// wherever in a command's arguments it stands.
#include "server/device/shaders.h"

#include <gtest/gtest.h>

#include <iterator>
#include <memory>
#include <vector>

#include "server/base/limits.h"
#include "shaders/increment_comp.h"
#include "shaders/written_images_comp.h"
#include "tests/server/test_client.h"

namespace vesper::server {
namespace {

using Code = std::vector<uint32_t>;

constexpr ShaderRules kHeaders{false, VK_API_VERSION_1_2};
constexpr ShaderRules kAll{true, VK_API_VERSION_1_2};
constexpr uint32_t kLoad = 61;

Code Valid() { return {std::begin(increment_comp), std::end(increment_comp)}; }

// Its header and its instructions' lengths are right, and it loads from what is nothing.
Code Invalid() {
  Code code = Valid();
  for (size_t at = 5; at < code.size(); at += code[at] >> 16) {
    if ((code[at] & 0xffff) != kLoad) continue;
    code[at + 3] = code[3] - 1 == code[at + 3] ? 1 : code[3] - 1;
    return code;
  }
  return {};
}

// A valid module that has at least so many words more, of names.
Code Large(size_t words) {
  constexpr uint32_t kEntryPoint = 15, kName = 5, kWords = 1000;
  const Code valid = Valid();
  uint32_t main = 0;
  size_t at = 5;
  for (; at < valid.size() && (valid[at] & 0xffff) != kName; at += valid[at] >> 16) {
    if ((valid[at] & 0xffff) == kEntryPoint) main = valid[at + 2];
  }
  Code code(valid.begin(), valid.begin() + static_cast<std::ptrdiff_t>(at));
  for (size_t added = 0; added < words; added += kWords) {
    code.insert(code.end(), {kWords << 16 | kName, main});
    code.insert(code.end(), kWords - 2, 0x61616161);
    code.back() = 0;
  }
  code.insert(code.end(), valid.begin() + static_cast<std::ptrdiff_t>(at), valid.end());
  return code;
}

TEST(Shaders, WhatIsNoSpirvIsRefusedInAnyCase) {
  EXPECT_EQ(CheckShader(Valid(), kHeaders).result, VK_SUCCESS);
  const auto refused = [](const Code& code, const char* why) {
    const ShaderVerdict verdict = CheckShader(code, kHeaders);
    EXPECT_EQ(verdict.result, VK_ERROR_INVALID_SHADER_NV);
    EXPECT_NE(verdict.why.find(why), std::string::npos) << verdict.why;
  };
  refused({}, "no SPIR-V");
  Code code = Valid();
  refused({code.begin(), code.begin() + 4}, "no SPIR-V");
  code[0] = __builtin_bswap32(code[0]);
  refused(code, "no SPIR-V");
  code = Valid();
  code[3] = limits::kMaxShaderIds;
  refused(code, "ids");
  code[3] = 0;
  refused(code, "ids");
  code = Valid();
  code[5] &= 0xffff;
  refused(code, "0 words");
  code = Valid();
  code.push_back(3u << 16 | kLoad);
  code.push_back(1);
  refused(code, "3 words of 2");
}

TEST(Shaders, TheValidatorRefusesWhatOnlyLooksRight) {
  if (!CanValidateShaders()) GTEST_SKIP() << "built without SPIRV-Tools";
  EXPECT_EQ(CheckShader(Valid(), kAll).result, VK_SUCCESS) << CheckShader(Valid(), kAll).why;
  EXPECT_EQ(CheckShader(written_images_comp, kAll).result, VK_SUCCESS);
  ASSERT_FALSE(Invalid().empty());
  EXPECT_EQ(CheckShader(Invalid(), kHeaders).result, VK_SUCCESS);
  const ShaderVerdict verdict = CheckShader(Invalid(), kAll);
  EXPECT_EQ(verdict.result, VK_ERROR_INVALID_SHADER_NV);
  EXPECT_GT(verdict.why.size(), 30u) << "the validator's words: " << verdict.why;
}

// The versions that a device takes, by its API's.
TEST(Shaders, AnOlderDeviceTakesOlderSpirv) {
  if (!CanValidateShaders()) GTEST_SKIP() << "built without SPIRV-Tools";
  ASSERT_EQ(Valid()[1], 0x00010500u) << "made for Vulkan 1.2";
  EXPECT_NE(CheckShader(Valid(), {true, VK_API_VERSION_1_0}).result, VK_SUCCESS);
  EXPECT_NE(CheckShader(Valid(), {true, VK_API_VERSION_1_1}).result, VK_SUCCESS);
  EXPECT_EQ(CheckShader(Valid(), {true, VK_API_VERSION_1_3}).result, VK_SUCCESS);
}

TEST(Shaders, WhatIsValidatedIsBounded) {
  if (!CanValidateShaders()) GTEST_SKIP() << "built without SPIRV-Tools";
  EXPECT_EQ(CheckShader(Large(100'000), kAll).result, VK_SUCCESS) << CheckShader(Large(100'000), kAll).why;
  const Code large = Large(limits::kMaxValidatedShader / 4);
  EXPECT_EQ(CheckShader(large, kHeaders).result, VK_SUCCESS) << "without the validator the message's size is the bound";
  const ShaderVerdict verdict = CheckShader(large, kAll);
  EXPECT_EQ(verdict.result, VK_ERROR_INVALID_SHADER_NV);
  EXPECT_NE(verdict.why.find("can be validated"), std::string::npos) << verdict.why;
  EXPECT_EQ(LongestShaderCheck().count(), 0) << "nothing is looked at";
}

// Where shaders stand: in modules, in the chains of stages, in groups of pipelines, and by themselves.
class ShadersOf : public testing::Test {
 protected:
  ShadersOf() {
    module_.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    module_.codeSize = code_.size() * 4;
    module_.pCode = code_.data();
    stages_[0].sType = stages_[1].sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    stages_[1].pNext = &module_;
  }
  template <typename Args>
  static VkResult Of(Command command, const Args& args) {
    return CheckShaders(static_cast<uint16_t>(command), &args, kHeaders).result;
  }
  template <typename Args, typename Info>
  static VkResult OfTwo(Command command, const Info& second) {
    Info infos[2] = {{}, second};
    Args args{};
    args.createInfoCount = 2;
    args.pCreateInfos = infos;
    return Of(command, args);
  }

  Code code_ = {1, 2, 3, 4, 5};
  VkShaderModuleCreateInfo module_{};
  VkPipelineShaderStageCreateInfo stages_[2] = {};
};

TEST_F(ShadersOf, EveryCommandThatBringsThem) {
  wire::CreateShaderModuleArgs module{};
  module.pCreateInfo = &module_;
  EXPECT_EQ(Of(Command::kCreateShaderModule, module), VK_ERROR_INVALID_SHADER_NV);
  VkComputePipelineCreateInfo compute{};
  compute.stage = stages_[0];
  EXPECT_EQ(OfTwo<wire::CreateComputePipelinesArgs>(Command::kCreateComputePipelines, compute), VK_SUCCESS);
  compute.stage = stages_[1];
  EXPECT_EQ(OfTwo<wire::CreateComputePipelinesArgs>(Command::kCreateComputePipelines, compute),
            VK_ERROR_INVALID_SHADER_NV);
  VkGraphicsPipelineCreateInfo graphics{};
  graphics.stageCount = 2;
  EXPECT_EQ(OfTwo<wire::CreateGraphicsPipelinesArgs>(Command::kCreateGraphicsPipelines, graphics), VK_SUCCESS)
      << "stages that are left out";
  graphics.pStages = stages_;
  EXPECT_EQ(OfTwo<wire::CreateGraphicsPipelinesArgs>(Command::kCreateGraphicsPipelines, graphics),
            VK_ERROR_INVALID_SHADER_NV);
  VkGraphicsShaderGroupCreateInfoNV group{};
  group.stageCount = 2;
  group.pStages = stages_;
  VkGraphicsPipelineShaderGroupsCreateInfoNV groups{};
  groups.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_SHADER_GROUPS_CREATE_INFO_NV;
  groups.groupCount = 1;
  groups.pGroups = &group;
  graphics.pStages = nullptr;
  graphics.pNext = &groups;
  EXPECT_EQ(OfTwo<wire::CreateGraphicsPipelinesArgs>(Command::kCreateGraphicsPipelines, graphics),
            VK_ERROR_INVALID_SHADER_NV);
  VkRayTracingPipelineCreateInfoKHR rays{};
  rays.stageCount = 2;
  rays.pStages = stages_;
  EXPECT_EQ(OfTwo<wire::CreateRayTracingPipelinesKHRArgs>(Command::kCreateRayTracingPipelinesKHR, rays),
            VK_ERROR_UNKNOWN);
  VkRayTracingPipelineCreateInfoNV old_rays{};
  old_rays.stageCount = 2;
  old_rays.pStages = stages_;
  EXPECT_EQ(OfTwo<wire::CreateRayTracingPipelinesNVArgs>(Command::kCreateRayTracingPipelinesNV, old_rays),
            VK_ERROR_INVALID_SHADER_NV);
}

TEST_F(ShadersOf, ConstantsLieWithinTheirData) {
  const uint32_t data[2] = {};
  VkSpecializationMapEntry entries[2] = {{1, 0, 8}, {2, 4, 4}};
  const VkSpecializationInfo constants{2, entries, sizeof(data), data};
  VkComputePipelineCreateInfo compute{};
  compute.stage = stages_[0];
  compute.stage.pSpecializationInfo = &constants;
  const auto result = [&] {
    return OfTwo<wire::CreateComputePipelinesArgs>(Command::kCreateComputePipelines, compute);
  };
  EXPECT_EQ(result(), VK_SUCCESS);
  for (const auto& [offset, size] :
       {std::pair<uint32_t, size_t>{5, 4}, {9, 0}, {UINT32_MAX, 1}, {4, SIZE_MAX}, {0, 9}}) {
    entries[1].offset = offset;
    entries[1].size = size;
    EXPECT_EQ(result(), VK_ERROR_INVALID_SHADER_NV) << offset << ", " << size;
  }
  entries[1] = {2, 8, 0};
  EXPECT_EQ(result(), VK_SUCCESS) << "nothing, at the end";
}

#ifdef VK_EXT_shader_object
TEST_F(ShadersOf, ObjectsOfSpirvButNotOfBinaries) {
  VkShaderCreateInfoEXT shader{};
  shader.codeType = VK_SHADER_CODE_TYPE_SPIRV_EXT;
  shader.codeSize = code_.size() * 4;
  shader.pCode = code_.data();
  EXPECT_EQ(OfTwo<wire::CreateShadersEXTArgs>(Command::kCreateShadersEXT, shader), VK_ERROR_INITIALIZATION_FAILED);
  shader.codeType = VK_SHADER_CODE_TYPE_BINARY_EXT;
  EXPECT_EQ(OfTwo<wire::CreateShadersEXTArgs>(Command::kCreateShadersEXT, shader), VK_SUCCESS);
}
#endif

class ShaderSessionTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !CanValidateShaders()) GTEST_SKIP() << "built without SPIRV-Tools";
    PrepareDriverEnvironment();
    std::string error;
    DriverOptions options;
    options.gpu = "llvmpipe";
    options.validate_shaders = GetParam();
    driver_ = Driver::Load(options, &error);
    ASSERT_NE(driver_, nullptr) << error;
  }
  // What an answer of a module's creation says.
  static VkResult Create(TestDevice& device, const Code& code, VkShaderModule* module) {
    VkShaderModuleCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    info.codeSize = code.size() * 4;
    info.pCode = code.data();
    *module = device.client->New<VkShaderModule>(HandleType::kShaderModule);
    wire::CreateShaderModuleArgs args{};
    args.device = device.device;
    args.pCreateInfo = &info;
    args.pShaderModule = module;
    const wire::ReplyKind kind = device.client->Ask(Command::kCreateShaderModule, &args);
    return kind == wire::ReplyKind::kInert ? static_cast<VkResult>(device.client->inert_result()) : args.result;
  }

  std::unique_ptr<Driver> driver_;
};

TEST_P(ShaderSessionTest, TheSessionGoesOnWithoutTheShader) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  VkShaderModule module;
  EXPECT_EQ(Create(device, Valid(), &module), VK_SUCCESS);
  EXPECT_EQ(Create(device, {1, 2, 3, 4, 5}, &module), VK_ERROR_INVALID_SHADER_NV);
  if (GetParam()) {
    EXPECT_EQ(Create(device, Invalid(), &module), VK_ERROR_INVALID_SHADER_NV);
  }
  EXPECT_EQ(Create(device, Valid(), &module), VK_SUCCESS);
  EXPECT_FALSE(client.joined());
}

INSTANTIATE_TEST_SUITE_P(Validated, ShaderSessionTest, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Yes" : "No"; });

}  // namespace
}  // namespace vesper::server
