// Steps are kept as data and recorded by Submit, on the thread that submits: a batch may so be
// filled by one thread and submitted by another although command pools belong to threads.
#include <algorithm>
#include <utility>
#include <variant>

#include "compute/src/check.h"
#include "compute/src/device_state.h"
#include "compute/src/kernel_state.h"
#include "vesper/compute/kernel.h"

namespace vesper::compute {
namespace {

struct LaunchStep {
  std::shared_ptr<KernelState> kernel;
  std::vector<VkDescriptorBufferInfo> buffers;
  uint32_t groups[3];
  std::vector<std::byte> push;
};
struct CopyStep {
  VkBuffer from;
  VkBuffer to;
  VkBufferCopy region;
};
struct FillStep {
  VkBuffer buffer;
  uint64_t offset;
  uint64_t bytes;
  uint32_t word;
};
struct RecordStep {
  std::function<void(VkCommandBuffer)> record;
};

struct Step {
  std::variant<LaunchStep, CopyStep, FillStep, RecordStep> what;
  std::vector<BufferAccess> accesses;
};

// Which buffers were read and written since the last barrier.
class Hazards {
 public:
  // Whether a step with these accesses needs a barrier before it.
  bool NeedsBarrier(const std::vector<BufferAccess>& accesses) const {
    return std::any_of(accesses.begin(), accesses.end(), [&](const BufferAccess& access) {
      const auto same = [&](const BufferState* buffer) { return buffer == access.buffer.get(); };
      return std::any_of(written_.begin(), written_.end(), same) ||
             (access.write && std::any_of(read_.begin(), read_.end(), same));
    });
  }
  void Add(const std::vector<BufferAccess>& accesses) {
    for (const BufferAccess& access : accesses) {
      (access.write ? written_ : read_).push_back(access.buffer.get());
    }
  }
  void Clear() {
    read_.clear();
    written_.clear();
  }

 private:
  std::vector<const BufferState*> read_;
  std::vector<const BufferState*> written_;
};

// Descriptor sets of the launches being recorded: in use once submitted, else free again.
class TakenSets {
 public:
  ~TakenSets() {
    for (const auto& [kernel, set] : taken_) kernel->sets().Dropped(set);
  }
  VkDescriptorSet Take(KernelState* kernel) {
    taken_.reserve(taken_.size() + 1);
    taken_.emplace_back(kernel, kernel->sets().Take());
    return taken_.back().second;
  }
  void Submitted(uint64_t value) {
    for (const auto& [kernel, set] : taken_) kernel->sets().Submitted(set, value);
    taken_.clear();
  }

 private:
  std::vector<std::pair<KernelState*, VkDescriptorSet>> taken_;
};

std::string Count(const uint32_t (&groups)[3]) {
  return std::to_string(groups[0]) + "x" + std::to_string(groups[1]) + "x" + std::to_string(groups[2]) + " work-groups";
}

void CheckDevice(const DeviceState* device, const Buffer& buffer, const std::string& attempted) {
  if (buffer.state() == nullptr || buffer.state()->device() != device) {
    throw Error(ErrorCode::BufferError, attempted + " with a buffer of another device");
  }
}

// Where copies and fills may reach.
void CheckPart(const Buffer& buffer, uint64_t offset, uint64_t bytes, const char* attempted) {
  if (offset <= buffer.size() && bytes <= buffer.size() - offset) return;
  throw Error(ErrorCode::BufferTooSmall, std::string(attempted) + " " + std::to_string(bytes) + " bytes at offset " +
                                             std::to_string(offset) + " of a buffer of " +
                                             std::to_string(buffer.size()) + " bytes");
}

// A launch's arguments against what its shader declares.
VkDescriptorBufferInfo CheckBinding(const KernelState& kernel, const KernelBinding& binding, const BufferRange& range) {
  const std::string attempted = "launching " + kernel.name() + ", binding " + std::to_string(binding.binding);
  if (range.buffer == nullptr) throw Error(ErrorCode::BufferError, attempted + " with no buffer");
  CheckDevice(kernel.device(), *range.buffer, attempted);
  const VkPhysicalDeviceLimits& limits = kernel.device()->properties().limits;
  const bool storage = binding.type == VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  const VkBufferUsageFlags usage = storage ? VK_BUFFER_USAGE_STORAGE_BUFFER_BIT : VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT;
  if ((range.buffer->usage() & usage) == 0) {
    throw Error(ErrorCode::BufferError, attempted + (storage ? " with a buffer that is not for storage"
                                                             : " with a buffer that is not for uniforms"));
  }
  const uint64_t alignment = storage ? limits.minStorageBufferOffsetAlignment : limits.minUniformBufferOffsetAlignment;
  if (range.offset % alignment != 0) {
    throw Error(ErrorCode::BufferError, attempted + " at offset " + std::to_string(range.offset) +
                                            ", which is not a multiple of " + std::to_string(alignment));
  }
  const uint64_t size = range.buffer->size();
  const uint64_t rest = range.offset < size ? size - range.offset : 0;
  const uint64_t bytes = range.bytes == VK_WHOLE_SIZE ? rest : range.bytes;
  if (bytes > rest || bytes == 0 || bytes < binding.min_bytes) {
    throw Error(ErrorCode::BufferTooSmall, attempted + ", which needs " +
                                               std::to_string(std::max<uint64_t>(binding.min_bytes, 1)) +
                                               " bytes, with " + std::to_string(std::min(bytes, rest)) +
                                               " bytes of a buffer of " + std::to_string(size));
  }
  const uint64_t most = storage ? limits.maxStorageBufferRange : limits.maxUniformBufferRange;
  if (bytes > most) {
    throw Error(ErrorCode::BufferError,
                attempted + " with " + std::to_string(bytes) + " bytes, of at most " + std::to_string(most));
  }
  return {range.buffer->handle(), range.offset, bytes};
}

}  // namespace

struct Batch::Impl {
  // Records one step; barriers are the caller's.
  void Record(VkCommandBuffer commands, const LaunchStep& step, TakenSets* sets) const;
  static void Record(VkCommandBuffer commands, const CopyStep& step, TakenSets*) {
    vkCmdCopyBuffer(commands, step.from, step.to, 1, &step.region);
  }
  static void Record(VkCommandBuffer commands, const FillStep& step, TakenSets*) {
    vkCmdFillBuffer(commands, step.buffer, step.offset, step.bytes, step.word);
  }
  static void Record(VkCommandBuffer commands, const RecordStep& step, TakenSets*) { step.record(commands); }
  void RecordAll(VkCommandBuffer commands, TakenSets* sets) const;
  void AddName(const std::string& step) {
    if (what.size() > 200) return;
    what += (what.empty() ? "" : ", ") + step;
  }
  Work MakeWork() const;

  std::shared_ptr<DeviceState> device;
  std::vector<Step> steps;
  std::vector<Submission> after;
  std::vector<std::shared_ptr<VkSemaphore>> gates;
  std::string what;
};

void Batch::Impl::Record(VkCommandBuffer commands, const LaunchStep& step, TakenSets* sets) const {
  vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, step.kernel->pipeline());
  const std::vector<KernelBinding>& bindings = step.kernel->reflection().bindings;
  if (!bindings.empty()) {
    const VkDescriptorSet set = sets->Take(step.kernel.get());
    std::vector<VkWriteDescriptorSet> writes;
    for (size_t i = 0; i < bindings.size(); ++i) {
      VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
      write.dstSet = set;
      write.dstBinding = bindings[i].binding;
      write.descriptorCount = 1;
      write.descriptorType = bindings[i].type;
      write.pBufferInfo = &step.buffers[i];
      writes.push_back(write);
    }
    vkUpdateDescriptorSets(device->handle(), static_cast<uint32_t>(writes.size()), writes.data(), 0, nullptr);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, step.kernel->layout(), 0, 1, &set, 0, nullptr);
  }
  if (!step.push.empty()) {
    vkCmdPushConstants(commands, step.kernel->layout(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                       static_cast<uint32_t>(step.push.size()), step.push.data());
  }
  vkCmdDispatch(commands, step.groups[0], step.groups[1], step.groups[2]);
}

void Batch::Impl::RecordAll(VkCommandBuffer commands, TakenSets* sets) const {
  FullBarrier(commands);  // behind what was submitted before
  Hazards hazards;
  bool after_anything = false;
  for (const Step& step : steps) {
    const bool anything = std::holds_alternative<RecordStep>(step.what);
    if (&step != &steps.front() && (anything || after_anything || hazards.NeedsBarrier(step.accesses))) {
      FullBarrier(commands);
      hazards.Clear();
    }
    std::visit([&](const auto& what) { Record(commands, what, sets); }, step.what);
    hazards.Add(step.accesses);
    after_anything = anything;
  }
}

Work Batch::Impl::MakeWork() const {
  Work work;
  work.after = after;
  work.gates = gates;
  for (const Step& step : steps) {
    work.accesses.insert(work.accesses.end(), step.accesses.begin(), step.accesses.end());
    if (std::holds_alternative<RecordStep>(step.what)) work.touches_everything = true;
    if (const auto* launch = std::get_if<LaunchStep>(&step.what)) {
      work.keep.push_back(launch->kernel);
    }
  }
  return work;
}

Batch::Batch(const Device& device) : impl_(std::make_unique<Impl>()) { impl_->device = device.state(); }
Batch::Batch(std::shared_ptr<DeviceState> device) : impl_(std::make_unique<Impl>()) {
  impl_->device = std::move(device);
}
Batch::~Batch() = default;
Batch::Batch(Batch&&) noexcept = default;
Batch& Batch::operator=(Batch&&) noexcept = default;

Batch& Batch::Launch(const Kernel& kernel, std::span<const BufferRange> buffers, const Grid& grid,
                     std::span<const std::byte> push) {
  const KernelState& state = *kernel.state();
  const KernelReflection& reflection = state.reflection();
  const std::string attempted = "launching " + state.name();
  if (state.device() != impl_->device.get()) {
    throw Error(ErrorCode::ExecutionFailed, attempted + " on another device");
  }
  if (buffers.size() != reflection.bindings.size()) {
    throw Error(ErrorCode::ExecutionFailed, attempted + " with " + std::to_string(buffers.size()) +
                                                " buffers instead of " + std::to_string(reflection.bindings.size()));
  }
  if (push.size() != reflection.push_constant_bytes) {
    throw Error(ErrorCode::ExecutionFailed, attempted + " with " + std::to_string(push.size()) +
                                                " bytes of push constants instead of " +
                                                std::to_string(reflection.push_constant_bytes));
  }
  LaunchStep launch{kernel.state(), {}, {}, {push.begin(), push.end()}};
  kernel.CountGroups(grid, launch.groups);
  Step step;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const KernelBinding& binding = reflection.bindings[i];
    launch.buffers.push_back(CheckBinding(state, binding, buffers[i]));
    step.accesses.push_back({buffers[i].buffer->state(), binding.written});
  }
  if (launch.groups[0] == 0 || launch.groups[1] == 0 || launch.groups[2] == 0) return *this;
  impl_->AddName("kernel " + state.name() + " in " + Count(launch.groups));
  step.what = std::move(launch);
  impl_->steps.push_back(std::move(step));
  return *this;
}

Batch& Batch::Copy(const Buffer& from, const Buffer& to, uint64_t bytes, uint64_t from_offset, uint64_t to_offset) {
  CheckDevice(impl_->device.get(), from, "copying");
  CheckDevice(impl_->device.get(), to, "copying");
  CheckPart(from, from_offset, bytes, "copying from");
  CheckPart(to, to_offset, bytes, "copying to");
  const uint64_t distance = from_offset < to_offset ? to_offset - from_offset : from_offset - to_offset;
  if (from.state() == to.state() && distance < bytes) {
    throw Error(ErrorCode::BufferError, "copying between overlapping parts of a buffer");
  }
  if (bytes == 0) return *this;
  Step step;
  step.what = CopyStep{from.handle(), to.handle(), {from_offset, to_offset, bytes}};
  step.accesses = {{from.state(), false}, {to.state(), true}};
  impl_->AddName("copy of " + std::to_string(bytes) + " bytes");
  impl_->steps.push_back(std::move(step));
  return *this;
}

Batch& Batch::Fill(const Buffer& buffer, uint32_t word, uint64_t bytes, uint64_t offset) {
  CheckDevice(impl_->device.get(), buffer, "filling");
  if (offset > buffer.size()) CheckPart(buffer, offset, 0, "filling");
  // Up to the end: the last word, if it is not whole, stays as it is.
  if (bytes == VK_WHOLE_SIZE) bytes = (buffer.size() - offset) / 4 * 4;
  CheckPart(buffer, offset, bytes, "filling");
  if (offset % 4 != 0 || bytes % 4 != 0) {
    throw Error(ErrorCode::BufferError, "filling " + std::to_string(bytes) + " bytes at offset " +
                                            std::to_string(offset) + ", which are not words");
  }
  if (bytes == 0) return *this;
  Step step;
  step.what = FillStep{buffer.handle(), offset, bytes, word};
  step.accesses = {{buffer.state(), true}};
  impl_->AddName("fill of " + std::to_string(bytes) + " bytes");
  impl_->steps.push_back(std::move(step));
  return *this;
}

Batch& Batch::Record(const std::function<void(VkCommandBuffer)>& record) {
  Step step;
  step.what = RecordStep{record};
  impl_->AddName("recorded commands");
  impl_->steps.push_back(std::move(step));
  return *this;
}

Batch& Batch::After(const Submission& submission) {
  impl_->after.push_back(submission);
  return *this;
}

Batch& Batch::After(const Gate& gate) {
  impl_->gates.push_back(gate.semaphore());
  return *this;
}

Submission Batch::Submit(std::string what) {
  Impl& impl = *impl_;
  if (impl.steps.empty() && impl.after.empty() && impl.gates.empty()) return {};
  if (what.empty()) what = impl.what.empty() ? "an empty batch" : impl.what;
  DeviceState* const device = impl.device.get();
  Recording recording(device, &device->compute());
  TakenSets sets;
  impl.RecordAll(recording.commands(), &sets);
  Work work = impl.MakeWork();
  work.what = what;
  const bool host_reads = work.touches_everything ||
                          std::any_of(work.accesses.begin(), work.accesses.end(), [](const BufferAccess& access) {
                            return access.write && access.buffer->is_visible();
                          });
  if (host_reads) HostBarrier(recording.commands());
  const uint64_t value = recording.Submit(std::move(work));
  sets.Submitted(value);
  impl.steps.clear();
  impl.after.clear();
  impl.gates.clear();
  impl.what.clear();
  return Submission(impl.device, &device->compute(), value, std::move(what));
}

Submission Kernel::Launch(std::span<const BufferRange> buffers, const Grid& grid,
                          std::span<const std::byte> push) const {
  // A batch of one; the device is held by the kernel.
  Batch batch(device_);
  batch.Launch(*this, buffers, grid, push);
  return batch.Submit();
}

}  // namespace vesper::compute
