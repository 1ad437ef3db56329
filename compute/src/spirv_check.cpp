#include <spirv-tools/libspirv.h>

#include <cstring>
#include <memory>
#include <string>

#include "compute/src/check.h"
#include "compute/src/log.h"
#include "compute/src/spirv.h"

namespace vesper::compute {
namespace {

constexpr uint32_t kMagic = 0x07230203;
constexpr uint32_t kMagicOfOtherOrder = 0x03022307;
constexpr size_t kHeaderWords = 5;

struct EndContext {
  void operator()(spv_context context) const { spvContextDestroy(context); }
};
struct EndDiagnostic {
  void operator()(spv_diagnostic diagnostic) const { spvDiagnosticDestroy(diagnostic); }
};
struct EndOptions {
  void operator()(spv_validator_options options) const { spvValidatorOptionsDestroy(options); }
};

std::string TextOf(spv_diagnostic diagnostic) {
  if (diagnostic == nullptr || diagnostic->error == nullptr) return "no details";
  return std::string(diagnostic->error) + " (word " + std::to_string(diagnostic->position.index) + ")";
}

[[noreturn]] void Fail(const std::string& name, const std::string& why) {
  throw Error(ErrorCode::SpirvCompilationFailed, "checking the SPIR-V of " + name + ": " + why);
}

}  // namespace

void CheckSpirv(std::span<const uint32_t> spirv, const std::string& name, bool validate) {
  if (spirv.data() == nullptr || spirv.empty()) Fail(name, "there is none");
  if (spirv[0] == kMagicOfOtherOrder) Fail(name, "it has the other byte order");
  if (spirv[0] != kMagic) Fail(name, "the magic number is missing");
  if (spirv.size() <= kHeaderWords) Fail(name, "it ends in its header");

  const std::unique_ptr<spv_context_t, EndContext> context(spvContextCreate(SPV_ENV_VULKAN_1_3));
  spv_diagnostic told = nullptr;
  spv_result_t result = spvBinaryParse(context.get(), nullptr, spirv.data(), spirv.size(), nullptr, nullptr, &told);
  std::unique_ptr<spv_diagnostic_t, EndDiagnostic> diagnostic(told);
  if (result != SPV_SUCCESS) {
    // The driver may know instructions that these tools do not.
    const std::string text = TextOf(told);
    const bool unknown = text.starts_with("Invalid opcode") || text.starts_with("Invalid capability operand");
    if (!unknown) Fail(name, text);
    Log(LogLevel::kInfo, "SPIR-V of " + name + " is not checked: " + text);
    return;
  }
  if (!validate) return;

  const std::unique_ptr<spv_validator_options_t, EndOptions> options(spvValidatorOptionsCreate());
  spvValidatorOptionsSetScalarBlockLayout(options.get(), true);
  spv_const_binary_t binary{spirv.data(), spirv.size()};
  told = nullptr;
  result = spvValidateWithOptions(context.get(), options.get(), &binary, &told);
  diagnostic.reset(told);
  if (result != SPV_SUCCESS) Fail(name, TextOf(told));
}

}  // namespace vesper::compute
