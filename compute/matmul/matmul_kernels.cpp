// MatmulKernels: which shader, with which work-groups, on which buffers.
#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <mutex>

#include "compute/matmul/choices.h"
#include "compute/matmul/variants.h"
#include "vesper/compute/error.h"
#include "vesper/compute/kernel.h"
#include "vesper/compute/matmul.h"

namespace vesper::compute {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kTinyGroups = "multiplying matrices on a device with tiny work-groups";
constexpr uint32_t kCooperativeSize = 16;
constexpr std::chrono::minutes kTuningTimeout{2};
constexpr double kFirstFlops = 0x1p31;    // of the first measurement of a size, and
constexpr double kTrustedSeconds = 4e-3;  // what one must take at least to be trusted, unless it is the whole product
constexpr double kHopeless = 4;           // times slower than the best: not measured again

uint64_t BytesOfA(ElementType type, const MatmulShape& shape) {
  const uint64_t count = uint64_t{shape.m} * shape.k;
  return type == ElementType::kFloat16 ? (count + 1) / 2 * 4 : count * 4;
}

uint64_t BytesOfB(ElementType type, const MatmulShape& shape) {
  const uint64_t blocks = (uint64_t{shape.k} + 31) / 32 * shape.n;
  const uint64_t count = uint64_t{shape.k} * shape.n;
  switch (type) {
    case ElementType::kFloat32:
      return count * 4;
    case ElementType::kFloat16:
      return (count + 1) / 2 * 4;
    case ElementType::kQ8_0:
      return blocks * 32;
    case ElementType::kQ4_0:
      return blocks * 16;
  }
  return 0;
}

bool IsQuantized(ElementType type) { return type == ElementType::kQ8_0 || type == ElementType::kQ4_0; }

void CheckRange(const BufferRange& range, uint64_t bytes, const char* which) {
  const uint64_t size = range.buffer->size();
  const uint64_t room = range.offset > size ? 0 : std::min(range.bytes, size - range.offset);
  if (room >= bytes) return;
  throw Error(ErrorCode::BufferTooSmall, std::string("multiplying with ") + which + " of " + std::to_string(bytes) +
                                             " bytes in " + std::to_string(room));
}

void Check(ElementType type, const MatmulShape& shape, const MatmulBuffers& buffers) {
  constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();
  const auto count = [](uint32_t rows, uint32_t columns) { return uint64_t{rows} * columns; };
  if (std::max({count(shape.m, shape.k), count(shape.k, shape.n), count(shape.m, shape.n)}) > kMost) {
    throw Error(ErrorCode::BufferError, "multiplying matrices of 2^32 elements or more");
  }
  CheckRange(buffers.a, BytesOfA(type, shape), "A");
  CheckRange(buffers.b, BytesOfB(type, shape), "B");
  CheckRange(buffers.c, count(shape.m, shape.n) * 4, "C");
  if (!IsQuantized(type)) return;
  if (buffers.scales == nullptr) throw Error(ErrorCode::BufferError, "multiplying quantized weights without scales");
  CheckRange(*buffers.scales, ((uint64_t{shape.k} + 31) / 32 * shape.n + 1) / 2 * 4, "scales");
}

// float16 products with sums in float32, 16×16×16, by a subgroup.
bool HasCooperativeSize(const Device& device) {
  const auto query = reinterpret_cast<PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV>(
      vkGetInstanceProcAddr(device.instance()->handle(), "vkGetPhysicalDeviceCooperativeMatrixPropertiesNV"));
  uint32_t count = 0;
  if (query == nullptr || query(device.physical_device(), &count, nullptr) != VK_SUCCESS) return false;
  VkCooperativeMatrixPropertiesNV none{};
  none.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_NV;
  std::vector<VkCooperativeMatrixPropertiesNV> sizes(count, none);
  if (query(device.physical_device(), &count, sizes.data()) < 0) return false;
  return std::ranges::any_of(sizes, [](const VkCooperativeMatrixPropertiesNV& size) {
    return size.MSize == kCooperativeSize && size.NSize == kCooperativeSize && size.KSize == kCooperativeSize &&
           size.AType == VK_COMPONENT_TYPE_FLOAT16_NV && size.BType == VK_COMPONENT_TYPE_FLOAT16_NV &&
           size.CType == VK_COMPONENT_TYPE_FLOAT32_NV && size.DType == VK_COMPONENT_TYPE_FLOAT32_NV &&
           size.scope == VK_SCOPE_SUBGROUP_NV;
  });
}

// SPIRV-Cross does not know the type.
KernelReflection CooperativeReflection(const MatmulVariant& variant) {
  KernelReflection reflection;
  for (const auto& [binding, name] : {std::pair(0u, "MatrixA"), std::pair(1u, "MatrixB"), std::pair(2u, "MatrixC")}) {
    KernelBinding made;
    made.binding = binding;
    made.written = binding == 2;
    made.min_bytes = made.written ? sizeof(float) : 4 * sizeof(uint32_t);
    made.name = name;
    reflection.bindings.push_back(made);
  }
  reflection.push_constant_bytes = 3 * sizeof(uint32_t);
  reflection.local_size[0] = variant.invocations;
  return reflection;
}

bool CanCooperate(const Device& device) {
  const DeviceFeatures& features = device.features();
  const bool subgroups_of_32 = features.subgroup_size_control
                                   ? features.min_subgroup_size <= 32 && features.max_subgroup_size >= 32
                                   : features.subgroup_size == 32;
  return features.cooperative_matrix_nv && features.float16 && features.memory_model && subgroups_of_32 &&
         HasCooperativeSize(device);
}

}  // namespace

struct MatmulKernels::Impl {
  explicit Impl(const Device& of)
      : device(of.state()), cooperates(CanCooperate(of)), choices(of.CacheFile("matmul", ".txt")) {}

  std::vector<const MatmulVariant*> Usable(ElementType type, const MatmulShape& shape) const;
  const MatmulVariant& Named(ElementType type, const MatmulShape& shape, const std::string& name) const;
  const Kernel& Compiled(const MatmulVariant& variant);
  Submission Launch(const MatmulVariant& variant, const MatmulShape& shape, const MatmulBuffers& buffers);
  double Measure(const MatmulVariant& variant, const MatmulShape& shape, const MatmulBuffers& buffers);
  const MatmulVariant& Fastest(std::vector<const MatmulVariant*> variants, const MatmulShape& shape,
                               const MatmulBuffers& buffers);

  const Device device;
  const bool cooperates;
  std::mutex mutex;  // of what follows
  std::map<const MatmulVariant*, Kernel> kernels;
  std::mutex tuning;  // one measurement at a time; of what follows
  MatmulChoices choices;
};

std::vector<const MatmulVariant*> MatmulKernels::Impl::Usable(ElementType type, const MatmulShape& shape) const {
  const VkPhysicalDeviceLimits& limits = device.properties().limits;
  std::vector<const MatmulVariant*> usable;
  for (const MatmulVariant& variant : MatmulVariants()) {
    if (variant.type != type) continue;
    if (variant.cooperative && (!cooperates || shape.k % 8 != 0 || shape.n % 8 != 0)) continue;
    if (variant.invocations > limits.maxComputeWorkGroupInvocations ||
        variant.invocations > limits.maxComputeWorkGroupSize[0] ||
        variant.shared_bytes > limits.maxComputeSharedMemorySize) {
      continue;
    }
    usable.push_back(&variant);
  }
  return usable;
}

const MatmulVariant& MatmulKernels::Impl::Named(ElementType type, const MatmulShape& shape,
                                                const std::string& name) const {
  for (const MatmulVariant* variant : Usable(type, shape)) {
    if (variant->name == name) return *variant;
  }
  throw Error(ErrorCode::BufferError,
              "multiplying with the shader \"" + name + "\", which this device or size does not have");
}

const Kernel& MatmulKernels::Impl::Compiled(const MatmulVariant& variant) {
  const std::lock_guard lock(mutex);
  const auto found = kernels.find(&variant);
  if (found != kernels.end()) return found->second;
  KernelOptions options;
  options.name = std::string("matmul ") + ElementTypeName(variant.type) + " " + variant.name;
  if (variant.cooperative) {
    if (device.features().subgroup_size_control) options.subgroup_size = 32;
    options.reflection = CooperativeReflection(variant);
  }
  return kernels.emplace(&variant, Kernel(device, variant.spirv, options)).first->second;
}

Submission MatmulKernels::Impl::Launch(const MatmulVariant& variant, const MatmulShape& shape,
                                       const MatmulBuffers& buffers) {
  std::vector<BufferRange> ranges = {buffers.a, buffers.b, buffers.c};
  if (IsQuantized(variant.type)) ranges.emplace_back(*buffers.scales);
  const Grid grid =
      Grid::Groups((shape.n + variant.tile_n - 1) / variant.tile_n, (shape.m + variant.tile_m - 1) / variant.tile_m);
  const uint32_t push[] = {shape.m, shape.n, shape.k};
  return Compiled(variant).Launch(ranges, grid, PushBytes(push));
}

double MatmulKernels::Impl::Measure(const MatmulVariant& variant, const MatmulShape& shape,
                                    const MatmulBuffers& buffers) {
  double best = std::numeric_limits<double>::infinity();
  Launch(variant, shape, buffers).Wait(kTuningTimeout);
  for (int i = 0; i < 3; ++i) {
    const auto start = Clock::now();
    Launch(variant, shape, buffers).Wait(kTuningTimeout);
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
    if (best > 0.1) break;  // slow, and so precise enough
  }
  return best;
}

// On some rows of A, more of them as long as that takes too little time to tell.
const MatmulVariant& MatmulKernels::Impl::Fastest(std::vector<const MatmulVariant*> variants, const MatmulShape& shape,
                                                  const MatmulBuffers& buffers) {
  const double row_flops = MatmulShape{1, shape.n, shape.k}.flops();
  for (double rows = std::max(kFirstFlops / row_flops, 128.0);; rows *= 16) {
    MatmulShape part = shape;
    part.m = static_cast<uint32_t>(std::min<double>(shape.m, rows));
    std::vector<std::pair<double, const MatmulVariant*>> times;
    for (const MatmulVariant* variant : variants) times.emplace_back(Measure(*variant, part, buffers), variant);
    const auto best = *std::ranges::min_element(times, {}, &std::pair<double, const MatmulVariant*>::first);
    if (part.m == shape.m || best.first >= kTrustedSeconds) return *best.second;
    variants.clear();
    for (const auto& [time, variant] : times) {
      if (time < kHopeless * best.first) variants.push_back(variant);
    }
  }
}

MatmulKernels::MatmulKernels(const Device& device) : impl_(std::make_unique<Impl>(device)) {}
MatmulKernels::~MatmulKernels() = default;
MatmulKernels::MatmulKernels(MatmulKernels&&) noexcept = default;
MatmulKernels& MatmulKernels::operator=(MatmulKernels&&) noexcept = default;

void MatmulKernels::Compile(ElementType type) {
  const std::vector<const MatmulVariant*> usable = impl_->Usable(type, {});
  if (usable.empty()) throw Error(ErrorCode::PipelineCreationFailed, kTinyGroups);
  impl_->Compiled(*usable.front());
}

std::vector<std::string> MatmulKernels::Variants(ElementType type, const MatmulShape& shape) const {
  std::vector<std::string> names;
  for (const MatmulVariant* variant : impl_->Usable(type, shape)) names.emplace_back(variant->name);
  return names;
}

std::string MatmulKernels::Tune(ElementType type, const MatmulShape& shape, const MatmulBuffers& buffers) {
  Check(type, shape, buffers);
  const std::vector<const MatmulVariant*> usable = impl_->Usable(type, shape);
  if (usable.empty()) throw Error(ErrorCode::PipelineCreationFailed, kTinyGroups);
  const std::lock_guard lock(impl_->tuning);
  const MatmulClass size = ClassOf(type, shape);
  std::string known = impl_->choices.Find(size);
  for (const MatmulVariant* variant : usable) {
    if (variant->name == known) return known;
  }
  if (shape.m == 0 || shape.n == 0 || shape.k == 0) return usable.front()->name;
  std::string fastest = impl_->Fastest(usable, shape, buffers).name;
  impl_->choices.Set(size, fastest);
  return fastest;
}

Submission MatmulKernels::Launch(ElementType type, const MatmulShape& shape, const MatmulBuffers& buffers,
                                 const std::string& variant) {
  Check(type, shape, buffers);
  if (shape.m == 0 || shape.n == 0) return {};
  if (shape.k == 0) {
    return Batch(impl_->device)
        .Fill(*buffers.c.buffer, 0, uint64_t{shape.m} * shape.n * 4, buffers.c.offset)
        .Submit("zeros");
  }
  const std::string name = variant.empty() ? Tune(type, shape, buffers) : variant;
  return impl_->Launch(impl_->Named(type, shape, name), shape, buffers);
}

}  // namespace vesper::compute
