#include "server/device/shaders.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "generated/wire/all.h"
#include "runtime/mutex.h"
#include "runtime/vk/chain.h"
#include "server/base/limits.h"

#ifdef VESPER_SPIRV_TOOLS
#include <spirv-tools/libspirv.h>
#endif

namespace vesper::server {
namespace {

constexpr uint32_t kMagic = 0x07230203;
constexpr size_t kHeaderWords = 5;

ShaderVerdict Refused(std::string why) {
  return {VK_ERROR_INVALID_SHADER_NV, "the shader is refused: " + std::move(why)};
}

// --- what no driver has to see -------------------------------------------------------------------------------------------

ShaderVerdict CheckHeader(std::span<const uint32_t> code) {
  if (code.size() < kHeaderWords || code[0] != kMagic) return Refused("it is no SPIR-V");
  if (code[3] == 0 || code[3] >= limits::kMaxShaderIds)
    return Refused(fmt::format("its header claims {} ids", code[3]));
  for (size_t at = kHeaderWords; at < code.size();) {
    const size_t words = code[at] >> 16;
    if (words == 0 || words > code.size() - at) {
      return Refused(fmt::format("the instruction at word {} has {} words of {}", at, words, code.size() - at));
    }
    at += words;
  }
  return {};
}

// --- the validator -------------------------------------------------------------------------------------------------------

using Clock = std::chrono::steady_clock;

// What is being validated, since when.
struct Looks {
  Mutex mutex;
  std::vector<Clock::time_point> begun VESPER_GUARDED_BY(mutex);
};

// Never destroyed: threads of the pool may end after main().
Looks& AllLooks() {
  static Looks* const looks = new Looks;
  return *looks;
}

class Look {
 public:
  Look() : begun_(Clock::now()) {
    Looks& looks = AllLooks();
    const MutexLock lock(looks.mutex);
    looks.begun.push_back(begun_);
  }
  ~Look() {
    Looks& looks = AllLooks();
    const MutexLock lock(looks.mutex);
    looks.begun.erase(std::find(looks.begun.begin(), looks.begun.end(), begun_));
  }
  Look(const Look&) = delete;
  Look& operator=(const Look&) = delete;

 private:
  const Clock::time_point begun_;
};

#ifdef VESPER_SPIRV_TOOLS

spv_target_env EnvironmentOf(uint32_t api_version) {
  switch (VK_API_VERSION_MINOR(api_version)) {
    case 0:
      return SPV_ENV_VULKAN_1_0;
    case 1:
      return SPV_ENV_VULKAN_1_1_SPIRV_1_4;  // what VK_KHR_spirv_1_4 brings is the driver's to refuse
    case 2:
      return SPV_ENV_VULKAN_1_2;
    default:
      return SPV_ENV_VULKAN_1_3;
  }
}

// Layouts of blocks are as loose as features can make them: a driver reads them as they are written.
void Loosen(spv_validator_options options) {
  spvValidatorOptionsSetRelaxBlockLayout(options, true);
  spvValidatorOptionsSetUniformBufferStandardLayout(options, true);
  spvValidatorOptionsSetScalarBlockLayout(options, true);
  spvValidatorOptionsSetWorkgroupScalarBlockLayout(options, true);
  spvValidatorOptionsSetAllowLocalSizeId(options, true);
  spvValidatorOptionsSetFriendlyNames(options, false);
}

ShaderVerdict Validate(std::span<const uint32_t> code, uint32_t api_version) {
  if (code.size_bytes() > limits::kMaxValidatedShader) {
    return Refused(
        fmt::format("it has {} bytes, of which {} can be validated", code.size_bytes(), limits::kMaxValidatedShader));
  }
  const Look look;
  const std::unique_ptr<spv_context_t, decltype(&spvContextDestroy)> context(
      spvContextCreate(EnvironmentOf(api_version)), spvContextDestroy);
  const std::unique_ptr<spv_validator_options_t, decltype(&spvValidatorOptionsDestroy)> options(
      spvValidatorOptionsCreate(), spvValidatorOptionsDestroy);
  if (context == nullptr || options == nullptr) return Refused("there is no validator for this device");
  Loosen(options.get());
  spv_const_binary_t binary{code.data(), code.size()};
  spv_diagnostic said = nullptr;
  const spv_result_t result = spvValidateWithOptions(context.get(), options.get(), &binary, &said);
  const std::unique_ptr<spv_diagnostic_t, decltype(&spvDiagnosticDestroy)> diagnostic(said, spvDiagnosticDestroy);
  if (result == SPV_SUCCESS) return {};
  if (diagnostic == nullptr || diagnostic->error == nullptr)
    return Refused(fmt::format("validation ended with {}", static_cast<int>(result)));
  const std::string text(diagnostic->error);
  return Refused(text.substr(0, limits::kMaxShaderWords));
}

#else

ShaderVerdict Validate(std::span<const uint32_t>, uint32_t) { return Refused("this server cannot validate shaders"); }

#endif

// --- where shaders are in arguments --------------------------------------------------------------------------------------

// Of one command; the first that is refused counts.
class Visitor {
 public:
  explicit Visitor(const ShaderRules& rules) : rules_(rules) {}

  const ShaderVerdict& verdict() const { return verdict_; }
  void Code(const void* code, size_t bytes) {
    if (verdict_.result != VK_SUCCESS) return;
    verdict_ = CheckShader({static_cast<const uint32_t*>(code), code == nullptr ? 0 : bytes / 4}, rules_);
  }
  void Module(const VkShaderModuleCreateInfo* info) {
    if (info != nullptr) Code(info->pCode, info->codeSize);
  }
  void Chained(const void* chain) {
    for (const VkBaseInStructure& member : ChainOf(chain)) {
      if (member.sType == VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO) Module(&As<VkShaderModuleCreateInfo>(member));
    }
  }
  // Compilers read constants where the map says they are.
  void Constants(const VkSpecializationInfo* info) {
    for (uint32_t i = 0; info != nullptr && info->pMapEntries != nullptr && i < info->mapEntryCount; ++i) {
      const VkSpecializationMapEntry& entry = info->pMapEntries[i];
      if (verdict_.result != VK_SUCCESS) return;
      if (entry.offset <= info->dataSize && entry.size <= info->dataSize - entry.offset) continue;
      verdict_ = Refused(fmt::format("constant {} is to be {} bytes from {} of {}", entry.constantID, entry.size,
                                     entry.offset, info->dataSize));
    }
  }
  void Stages(const VkPipelineShaderStageCreateInfo* stages, uint32_t count) {
    for (uint32_t i = 0; stages != nullptr && i < count; ++i) {
      Chained(stages[i].pNext);
      Constants(stages[i].pSpecializationInfo);
    }
  }

 private:
  const ShaderRules rules_;
  ShaderVerdict verdict_;
};

void Visit(Visitor& visitor, const VkComputePipelineCreateInfo& info) { visitor.Stages(&info.stage, 1); }
void Visit(Visitor& visitor, const VkGraphicsPipelineCreateInfo& info) {
  visitor.Stages(info.pStages, info.stageCount);
  const auto* groups = FindInChain<VkGraphicsPipelineShaderGroupsCreateInfoNV>(
      info.pNext, VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_SHADER_GROUPS_CREATE_INFO_NV);
  for (uint32_t i = 0; groups != nullptr && groups->pGroups != nullptr && i < groups->groupCount; ++i) {
    visitor.Stages(groups->pGroups[i].pStages, groups->pGroups[i].stageCount);
  }
}
void Visit(Visitor& visitor, const VkRayTracingPipelineCreateInfoKHR& info) {
  visitor.Stages(info.pStages, info.stageCount);
}
void Visit(Visitor& visitor, const VkRayTracingPipelineCreateInfoNV& info) {
  visitor.Stages(info.pStages, info.stageCount);
}
#ifdef VK_EXT_shader_object
void Visit(Visitor& visitor, const VkShaderCreateInfoEXT& info) {
  if (info.codeType == VK_SHADER_CODE_TYPE_SPIRV_EXT) visitor.Code(info.pCode, info.codeSize);
  visitor.Constants(info.pSpecializationInfo);
}
#endif
#ifdef VK_ARM_data_graph
void Visit(Visitor& visitor, const VkDataGraphPipelineCreateInfoARM& info) {
  visitor.Chained(info.pNext);
  const auto* module = FindInChain<VkDataGraphPipelineShaderModuleCreateInfoARM>(
      info.pNext, VK_STRUCTURE_TYPE_DATA_GRAPH_PIPELINE_SHADER_MODULE_CREATE_INFO_ARM);
  if (module != nullptr) visitor.Constants(module->pSpecializationInfo);
}
#endif

// `code` is what that command may fail with.
template <typename Args>
ShaderVerdict OfEach(const void* args, const ShaderRules& rules, VkResult code) {
  const Args& v = *static_cast<const Args*>(args);
  Visitor visitor(rules);
  for (uint32_t i = 0; v.pCreateInfos != nullptr && i < v.createInfoCount; ++i) Visit(visitor, v.pCreateInfos[i]);
  ShaderVerdict verdict = visitor.verdict();
  if (verdict.result != VK_SUCCESS) verdict.result = code;
  return verdict;
}

}  // namespace

bool CanValidateShaders() {
#ifdef VESPER_SPIRV_TOOLS
  return true;
#else
  return false;
#endif
}

ShaderVerdict CheckShader(std::span<const uint32_t> code, const ShaderRules& rules) {
  ShaderVerdict verdict = CheckHeader(code);
  if (verdict.result != VK_SUCCESS || !rules.validate) return verdict;
  try {
    return Validate(code, rules.api_version);
  } catch (const std::bad_alloc&) {
    return {VK_ERROR_OUT_OF_HOST_MEMORY, "there is no memory to validate the shader"};
  }
}

ShaderVerdict CheckShaders(uint16_t command, const void* args, const ShaderRules& rules) {
  switch (static_cast<Command>(command)) {
    case Command::kCreateShaderModule: {
      Visitor visitor(rules);
      visitor.Module(static_cast<const wire::CreateShaderModuleArgs*>(args)->pCreateInfo);
      return visitor.verdict();
    }
    case Command::kCreateComputePipelines:
      return OfEach<wire::CreateComputePipelinesArgs>(args, rules, VK_ERROR_INVALID_SHADER_NV);
    case Command::kCreateGraphicsPipelines:
      return OfEach<wire::CreateGraphicsPipelinesArgs>(args, rules, VK_ERROR_INVALID_SHADER_NV);
    case Command::kCreateRayTracingPipelinesNV:
      return OfEach<wire::CreateRayTracingPipelinesNVArgs>(args, rules, VK_ERROR_INVALID_SHADER_NV);
    case Command::kCreateRayTracingPipelinesKHR:
      return OfEach<wire::CreateRayTracingPipelinesKHRArgs>(args, rules, VK_ERROR_UNKNOWN);
#ifdef VK_EXT_shader_object
    case Command::kCreateShadersEXT:
      return OfEach<wire::CreateShadersEXTArgs>(args, rules, VK_ERROR_INITIALIZATION_FAILED);
#endif
#ifdef VK_ARM_data_graph
    case Command::kCreateDataGraphPipelinesARM:
      return OfEach<wire::CreateDataGraphPipelinesARMArgs>(args, rules, VK_ERROR_UNKNOWN);
#endif
    default:
      return {};
  }
}

std::chrono::nanoseconds LongestShaderCheck() {
  Looks& looks = AllLooks();
  const MutexLock lock(looks.mutex);
  if (looks.begun.empty()) return std::chrono::nanoseconds(0);
  return Clock::now() - *std::min_element(looks.begun.begin(), looks.begun.end());
}

}  // namespace vesper::server
