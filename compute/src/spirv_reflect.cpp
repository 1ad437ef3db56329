#include <spirv_cross/spirv_cross_c.h>

#include <algorithm>
#include <memory>
#include <string>

#include "compute/src/check.h"
#include "compute/src/spirv.h"

namespace vesper::compute {
namespace {

// One shader in SPIRV-Cross, with the wanted entry point.
class Reflector {
 public:
  Reflector(std::span<const uint32_t> spirv, const KernelOptions& options);

  KernelReflection Run();

 private:
  struct EndContext {
    void operator()(spvc_context context) const { spvc_context_destroy(context); }
  };
  void Try(spvc_result result, const char* what) const;
  [[noreturn]] void Fail(const std::string& why) const;
  void CheckConstants() const;
  uint32_t ConstantOr(uint32_t id, uint32_t otherwise) const;
  std::span<const spvc_reflected_resource> Resources(spvc_resource_type type) const;
  void AddBuffers(spvc_resource_type type, VkDescriptorType descriptor, KernelReflection* reflection) const;
  bool IsReadOnly(spvc_variable_id id) const;
  uint64_t BlockBytes(spvc_type_id id, size_t elements) const;
  void FindLocalSize(KernelReflection* reflection) const;

  const KernelOptions& options_;
  std::unique_ptr<spvc_context_s, EndContext> context_;
  spvc_compiler compiler_ = nullptr;
  spvc_resources resources_ = nullptr;
};

Reflector::Reflector(std::span<const uint32_t> spirv, const KernelOptions& options) : options_(options) {
  spvc_context context = nullptr;
  if (spvc_context_create(&context) != SPVC_SUCCESS) Fail("SPIRV-Cross does not start");
  context_.reset(context);
  spvc_parsed_ir parsed = nullptr;
  const spvc_result result = spvc_context_parse_spirv(context, spirv.data(), spirv.size(), &parsed);
  if (result != SPVC_SUCCESS) {
    throw Error(ErrorCode::SpirvCompilationFailed,
                "reading the SPIR-V of " + options.name + ": " + spvc_context_get_last_error_string(context));
  }
  Try(spvc_context_create_compiler(context, SPVC_BACKEND_NONE, parsed, SPVC_CAPTURE_MODE_TAKE_OWNERSHIP, &compiler_),
      "the shader");
  const spvc_entry_point* points = nullptr;
  size_t count = 0;
  Try(spvc_compiler_get_entry_points(compiler_, &points, &count), "its entry points");
  const bool found = std::any_of(points, points + count, [&](const spvc_entry_point& point) {
    return point.execution_model == SpvExecutionModelGLCompute && options.entry_point == point.name;
  });
  if (!found) Fail("there is no compute entry point \"" + options.entry_point + "\"");
  Try(spvc_compiler_set_entry_point(compiler_, options.entry_point.c_str(), SpvExecutionModelGLCompute),
      "its entry point");
  Try(spvc_compiler_create_shader_resources(compiler_, &resources_), "its resources");
}

void Reflector::Fail(const std::string& why) const {
  throw Error(ErrorCode::PipelineCreationFailed, "reflecting " + options_.name + ": " + why);
}

void Reflector::Try(spvc_result result, const char* what) const {
  if (result == SPVC_SUCCESS) return;
  Fail(std::string(what) + ": " + spvc_context_get_last_error_string(context_.get()));
}

KernelReflection Reflector::Run() {
  CheckConstants();
  for (const spvc_resource_type type :
       {SPVC_RESOURCE_TYPE_STORAGE_IMAGE, SPVC_RESOURCE_TYPE_SAMPLED_IMAGE, SPVC_RESOURCE_TYPE_SEPARATE_IMAGE,
        SPVC_RESOURCE_TYPE_SEPARATE_SAMPLERS, SPVC_RESOURCE_TYPE_ACCELERATION_STRUCTURE,
        SPVC_RESOURCE_TYPE_ATOMIC_COUNTER, SPVC_RESOURCE_TYPE_SUBPASS_INPUT}) {
    for (const spvc_reflected_resource& resource : Resources(type)) {
      Fail(std::string(resource.name) + " is no buffer");
    }
  }
  KernelReflection reflection;
  AddBuffers(SPVC_RESOURCE_TYPE_STORAGE_BUFFER, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, &reflection);
  AddBuffers(SPVC_RESOURCE_TYPE_UNIFORM_BUFFER, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, &reflection);
  std::sort(reflection.bindings.begin(), reflection.bindings.end(),
            [](const auto& a, const auto& b) { return a.binding < b.binding; });
  const auto same = std::adjacent_find(reflection.bindings.begin(), reflection.bindings.end(),
                                       [](const auto& a, const auto& b) { return a.binding == b.binding; });
  if (same != reflection.bindings.end()) {
    Fail("binding " + std::to_string(same->binding) + " is declared twice");
  }
  for (const auto& resource : Resources(SPVC_RESOURCE_TYPE_PUSH_CONSTANT)) {
    const uint64_t bytes = (BlockBytes(resource.base_type_id, 0) + 3) / 4 * 4;
    reflection.push_constant_bytes = std::max(reflection.push_constant_bytes, static_cast<uint32_t>(bytes));
  }
  FindLocalSize(&reflection);
  return reflection;
}

void Reflector::CheckConstants() const {
  const spvc_specialization_constant* known = nullptr;
  size_t count = 0;
  Try(spvc_compiler_get_specialization_constants(compiler_, &known, &count), "its constants");
  for (const SpecializationConstant& constant : options_.constants) {
    const bool found =
        std::any_of(known, known + count, [&](const auto& declared) { return declared.constant_id == constant.id; });
    if (!found) Fail("there is no specialization constant " + std::to_string(constant.id));
  }
}

uint32_t Reflector::ConstantOr(uint32_t id, uint32_t otherwise) const {
  for (const SpecializationConstant& constant : options_.constants) {
    if (constant.id == id) return static_cast<uint32_t>(constant.bits);
  }
  return otherwise;
}

std::span<const spvc_reflected_resource> Reflector::Resources(spvc_resource_type type) const {
  const spvc_reflected_resource* list = nullptr;
  size_t count = 0;
  Try(spvc_resources_get_resource_list_for_type(resources_, type, &list, &count), "its resources");
  return {list, count};
}

void Reflector::AddBuffers(spvc_resource_type type, VkDescriptorType descriptor, KernelReflection* reflection) const {
  for (const spvc_reflected_resource& resource : Resources(type)) {
    if (spvc_compiler_get_decoration(compiler_, resource.id, SpvDecorationDescriptorSet) != 0) {
      Fail(std::string(resource.name) + " is not in set 0");
    }
    const spvc_type variable = spvc_compiler_get_type_handle(compiler_, resource.type_id);
    if (spvc_type_get_num_array_dimensions(variable) != 0) {
      Fail(std::string(resource.name) + " is an array of buffers");
    }
    KernelBinding binding;
    binding.binding = spvc_compiler_get_decoration(compiler_, resource.id, SpvDecorationBinding);
    binding.type = descriptor;
    binding.written = descriptor == VK_DESCRIPTOR_TYPE_STORAGE_BUFFER && !IsReadOnly(resource.id);
    binding.min_bytes = BlockBytes(resource.base_type_id, 1);
    binding.name = resource.name;
    reflection->bindings.push_back(std::move(binding));
  }
}

bool Reflector::IsReadOnly(spvc_variable_id id) const {
  const SpvDecoration* decorations = nullptr;
  size_t count = 0;
  Try(spvc_compiler_get_buffer_block_decorations(compiler_, id, &decorations, &count), "a buffer's decorations");
  return std::find(decorations, decorations + count, SpvDecorationNonWritable) != decorations + count;
}

// With so many elements in an array without length at its end.
uint64_t Reflector::BlockBytes(spvc_type_id id, size_t elements) const {
  size_t bytes = 0;
  Try(spvc_compiler_get_declared_struct_size_runtime_array(compiler_, spvc_compiler_get_type_handle(compiler_, id),
                                                           elements, &bytes),
      "a block's size");
  return bytes;
}

void Reflector::FindLocalSize(KernelReflection* reflection) const {
  uint32_t(&size)[3] = reflection->local_size;
  for (unsigned i = 0; i < 3; ++i) {
    size[i] = spvc_compiler_get_execution_mode_argument_by_index(compiler_, SpvExecutionModeLocalSize, i);
  }
  // A constant of the shader takes precedence, whose parts may be specialized.
  spvc_specialization_constant parts[3] = {};
  const spvc_constant_id whole =
      spvc_compiler_get_work_group_size_specialization_constants(compiler_, &parts[0], &parts[1], &parts[2]);
  if (whole == 0) return;
  const spvc_constant constant = spvc_compiler_get_constant_handle(compiler_, whole);
  for (unsigned i = 0; i < 3; ++i) {
    if (parts[i].id == 0) {
      size[i] = spvc_constant_get_scalar_u32(constant, 0, i);
      continue;
    }
    const spvc_constant part = spvc_compiler_get_constant_handle(compiler_, parts[i].id);
    size[i] = ConstantOr(parts[i].constant_id, spvc_constant_get_scalar_u32(part, 0, 0));
  }
}

}  // namespace

KernelReflection Reflect(std::span<const uint32_t> spirv, const KernelOptions& options) {
  return Reflector(spirv, options).Run();
}

}  // namespace vesper::compute
