// Matmul: host memory in, host memory out, wherever it is done.
#include "vesper/compute/matmul.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "compute/matmul/cpu_matmul.h"
#include "vesper/compute/error.h"
#include "vesper/compute/instance.h"

namespace vesper::compute {
namespace {

// What a device keeps of it between multiplications. Grows and never shrinks.
class OnDevice {
 public:
  explicit OnDevice(const Device& device) : device_(device.state()), kernels_(device) {}

  void SetWeights(const Weights& weights) {
    kernels_.Compile(weights.type);
    words_ = Filled(weights.words);
    scales_ = Filled(weights.scales);
  }

  void Multiply(const Weights& weights, uint32_t m, std::span<const float> a, std::span<float> c,
                std::chrono::nanoseconds timeout) {
    const MatmulShape shape{m, weights.n, weights.k};
    if (weights.type == ElementType::kFloat16) {
      const std::vector<uint32_t> words = EncodeActivations(weights.type, a);
      Grown(&a_, words.size() * 4).Upload(std::span(words));
    } else {
      Grown(&a_, a.size_bytes()).Upload(a);
    }
    Grown(&c_, c.size_bytes());
    std::optional<BufferRange> scales;
    if (scales_) scales.emplace(*scales_);
    kernels_.Launch(weights.type, shape, {*a_, *words_, *c_, scales ? &*scales : nullptr}).Wait(timeout);
    c_->Download(c);
  }

 private:
  Buffer& Grown(std::optional<Buffer>* buffer, uint64_t bytes) {
    if (!*buffer || (*buffer)->size() < bytes) buffer->emplace(device_, std::max<uint64_t>(bytes, 4));
    return **buffer;
  }
  std::optional<Buffer> Filled(const std::vector<uint32_t>& words) {
    if (words.empty()) return std::nullopt;
    std::optional<Buffer> buffer(std::in_place, device_, words.size() * 4);
    buffer->Upload(std::span(words));
    return buffer;
  }

  const Device device_;
  MatmulKernels kernels_;
  std::optional<Buffer> words_, scales_, a_, c_;
};

bool MeansNoDevice(ErrorCode code) {
  return code == ErrorCode::NotAvailable || code == ErrorCode::NoDeviceFound || code == ErrorCode::NoComputeQueue;
}

bool MeansNoShader(ErrorCode code) {
  return code == ErrorCode::PipelineCreationFailed || code == ErrorCode::SpirvCompilationFailed;
}

}  // namespace

struct Matmul::Impl {
  void UseCpu(uint32_t wanted_threads) {
    device.reset();
    threads = wanted_threads != 0 ? wanted_threads : std::max(1u, std::thread::hardware_concurrency());
    where = "CPU, " + std::to_string(threads) + " threads";
  }

  std::string where;
  uint32_t threads = 0;  // on the CPU
  std::optional<OnDevice> device;
  Weights weights;  // on a device without what the device has
};

Matmul::Matmul(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Matmul::Matmul(const Device& device) : impl_(std::make_unique<Impl>()) {
  impl_->where = device.description().name;
  impl_->device.emplace(device);
}

Matmul Matmul::OnCpu(uint32_t threads) {
  auto impl = std::make_unique<Impl>();
  impl->UseCpu(threads);
  return Matmul(std::move(impl));
}

Matmul::Matmul() : Matmul(std::unique_ptr<Impl>()) {
  try {
    *this = Matmul(Device());
  } catch (const Error& error) {
    if (!MeansNoDevice(error.code())) throw;
    *this = OnCpu();
  }
}

Matmul::~Matmul() = default;
Matmul::Matmul(Matmul&&) noexcept = default;
Matmul& Matmul::operator=(Matmul&&) noexcept = default;

bool Matmul::on_gpu() const { return impl_->device.has_value(); }
const std::string& Matmul::where() const { return impl_->where; }

void Matmul::SetWeights(const Weights& weights) {
  if (impl_->device) {
    try {
      impl_->device->SetWeights(weights);
      impl_->weights = {weights.type, weights.k, weights.n, {}, {}};
      return;
    } catch (const Error& error) {
      if (!MeansNoShader(error.code())) throw;
      impl_->UseCpu(0);
    }
  }
  impl_->weights = weights;
}

void Matmul::Multiply(uint32_t m, std::span<const float> a, std::span<float> c, std::chrono::nanoseconds timeout) {
  const Weights& weights = impl_->weights;
  const uint64_t of_a = uint64_t{m} * weights.k;
  const uint64_t of_c = uint64_t{m} * weights.n;
  if (a.size() < of_a || c.size() < of_c) {
    throw Error(ErrorCode::BufferTooSmall, "multiplying " + std::to_string(a.size()) + " values of A into " +
                                               std::to_string(c.size()) + " of C, which take " + std::to_string(of_a) +
                                               " and " + std::to_string(of_c));
  }
  if (of_c == 0) return;
  if (weights.k == 0) {
    std::fill_n(c.begin(), of_c, 0.0f);
  } else if (impl_->device) {
    impl_->device->Multiply(weights, m, a.first(of_a), c.first(of_c), timeout);
  } else {
    MultiplyOnCpu(m, a.first(of_a), weights, c.first(of_c), impl_->threads);
  }
}

}  // namespace vesper::compute
