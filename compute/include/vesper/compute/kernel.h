// Compute shaders: checked, reflected, specialized, launched alone or in batches.
// Public: see docs/compute.md.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vesper/compute/buffer.h"
#include "vesper/compute/device.h"
#include "vesper/compute/export.h"
#include "vesper/compute/submission.h"

namespace vesper::compute {

class KernelState;  // src/kernel_state.h

// A specialization constant; 8-byte ones are given as their bits.
struct SpecializationConstant {
  uint32_t id;
  uint64_t bits;
  uint32_t bytes = 4;
};
inline SpecializationConstant Constant(uint32_t id, uint32_t value) { return {id, value}; }
inline SpecializationConstant Constant(uint32_t id, int32_t value) { return {id, static_cast<uint32_t>(value)}; }
inline SpecializationConstant Constant(uint32_t id, bool value) { return {id, value ? 1u : 0u}; }
inline SpecializationConstant Constant(uint32_t id, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return {id, bits};
}

// One descriptor of the shader, in set 0.
struct KernelBinding {
  uint32_t binding = 0;
  VkDescriptorType type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;  // or uniform buffer
  bool written = true;                                        // false: the shader declares it readonly
  uint64_t min_bytes = 0;  // of the block: its fixed members and one element of a run-time array
  std::string name;
};

// What SPIRV-Cross says about the shader, with the kernel's constants applied.
struct KernelReflection {
  std::vector<KernelBinding> bindings;  // by binding number; buffers of a launch are in this order
  uint32_t push_constant_bytes = 0;
  uint32_t local_size[3] = {1, 1, 1};
};

struct KernelOptions {
  std::string name = "kernel";  // for messages, and the debugger's name of the pipeline
  std::string entry_point = "main";
  std::vector<SpecializationConstant> constants = {};
  // Needs DeviceFeatures::subgroup_size_control; 0: as the driver likes.
  uint32_t subgroup_size = 0;
  // spirv-val before the driver sees it, in release builds as well: drivers crash on SPIR-V that is
  // not valid, and it takes a fraction of what their compilers take. False: its structure alone.
  bool validate = true;
  // What the shader takes, for one that SPIRV-Cross cannot read (cooperative matrices).
  std::optional<KernelReflection> reflection = std::nullopt;
};

// How much a launch computes. Threads is the global size: the work-group count is that divided by
// the local size, rounded up, so that the shader must check its bounds where it does not divide.
struct Grid {
  static Grid Threads(uint32_t x, uint32_t y = 1, uint32_t z = 1) { return {true, {x, y, z}}; }
  static Grid Groups(uint32_t x, uint32_t y = 1, uint32_t z = 1) { return {false, {x, y, z}}; }

  bool threads;
  uint32_t size[3];
};

// Bytes of a trivially copyable value, for push constants.
template <typename T>
std::span<const std::byte> PushBytes(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::as_bytes(std::span(&value, 1));
}

// Move-only; may be destroyed while its launches still run.
class VESPER_COMPUTE_API Kernel {
 public:
  // Throws SpirvCompilationFailed (not SPIR-V, broken, or refused by spirv-val),
  // PipelineCreationFailed (no such entry point, unknown constant, bindings that are not buffers of
  // set 0, local size or push constants beyond the device's limits, refused by the driver).
  Kernel(const Device& device, std::span<const uint32_t> spirv, const KernelOptions& options = {});
  ~Kernel();
  Kernel(Kernel&&) noexcept;
  Kernel& operator=(Kernel&&) noexcept;

  const std::string& name() const;
  const KernelReflection& reflection() const;
  VkPipeline pipeline() const;
  // Work-group counts for `grid`. Throws ExecutionFailed beyond the device's limits.
  void CountGroups(const Grid& grid, uint32_t (&groups)[3]) const;

  // Submits and returns. `buffers` are given in the order of reflection().bindings; `push` must be
  // push_constant_bytes long. Throws ExecutionFailed (count, push size, grid), BufferError (usage,
  // alignment, another device), BufferTooSmall. A grid of 0 does nothing.
  Submission Launch(std::span<const BufferRange> buffers, const Grid& grid, std::span<const std::byte> push = {}) const;
  Submission Launch(std::initializer_list<BufferRange> buffers, const Grid& grid,
                    std::span<const std::byte> push = {}) const {
    return Launch(std::span(buffers.begin(), buffers.size()), grid, push);
  }

  const std::shared_ptr<KernelState>& state() const { return state_; }

 private:
  std::shared_ptr<DeviceState> device_;  // outlives state_
  std::shared_ptr<KernelState> state_;
};

// Several steps in one submission; barriers stand where a step touches what an earlier one wrote
// (or writes what one read). For one thread at a time; submitted once.
class VESPER_COMPUTE_API Batch {
 public:
  explicit Batch(const Device& device);
  ~Batch();  // what was not submitted is dropped
  Batch(Batch&&) noexcept;
  Batch& operator=(Batch&&) noexcept;

  // As Kernel::Launch; nothing is added when they throw.
  Batch& Launch(const Kernel& kernel, std::span<const BufferRange> buffers, const Grid& grid,
                std::span<const std::byte> push = {});
  Batch& Launch(const Kernel& kernel, std::initializer_list<BufferRange> buffers, const Grid& grid,
                std::span<const std::byte> push = {}) {
    return Launch(kernel, std::span(buffers.begin(), buffers.size()), grid, push);
  }
  Batch& Copy(const Buffer& from, const Buffer& to, uint64_t bytes, uint64_t from_offset = 0, uint64_t to_offset = 0);
  // A 32-bit word, repeated; offset and bytes are multiples of 4 (VK_WHOLE_SIZE: to the end).
  Batch& Fill(const Buffer& buffer, uint32_t word, uint64_t bytes = VK_WHOLE_SIZE, uint64_t offset = 0);
  // Anything else: runs after all steps before, and those after it run after it.
  Batch& Record(const std::function<void(VkCommandBuffer)>& record);
  // Start only when this is done, or open.
  Batch& After(const Submission& submission);
  Batch& After(const Gate& gate);

  // `what` names it in messages; without it the steps do.
  Submission Submit(std::string what = "");

 private:
  friend class Kernel;
  explicit Batch(std::shared_ptr<DeviceState> device);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vesper::compute
