// Matrix products with all that belongs to them: two matrices there, one back.
#include <cmath>
#include <cstring>

#include "shaders/product_comp.h"
#include "tools/bench/gpu.h"
#include "tools/bench/random.h"
#include "tools/bench/rows.h"

namespace vesper::tools::bench {
namespace {

class Product final : public Work {
 public:
  Product(const Gpu& gpu, uint32_t n)
      : gpu_(gpu),
        n_(n),
        a_(gpu, Bytes(), Place::kUpload),
        b_(gpu, Bytes(), Place::kUpload),
        c_(gpu, Bytes(), Place::kReadBack),
        kernel_(gpu, product_comp, std::vector<const Buffer*>{&a_.device, &b_.device, &c_.device}, sizeof(n)),
        commands_(gpu) {
    commands_.Begin();
    CopyAll(commands_.get(), a_.mapped, a_.device);
    CopyAll(commands_.get(), b_.mapped, b_.device);
    FullBarrier(commands_.get());
    kernel_.Bind(commands_.get());
    kernel_.Push(commands_.get(), n_);
    vkCmdDispatch(commands_.get(), n_ / 16, n_ / 16, 1);
    FullBarrier(commands_.get());
    CopyAll(commands_.get(), c_.device, c_.mapped);
    FullBarrier(commands_.get());
    commands_.End();
  }
  void Prepare() override {
    for (Matrix* matrix : {&a_, &b_}) {
      for (float& value : matrix->values) value = random_.Fraction() - 0.5f;
    }
  }
  void Batch(Stopwatch* watch) override {
    watch->Start();
    std::memcpy(a_.mapped.mapped, a_.values.data(), Bytes());
    std::memcpy(b_.mapped.mapped, b_.values.data(), Bytes());
    gpu_.Finish(commands_.get());
    std::memcpy(c_.values.data(), c_.mapped.mapped, Bytes());
    watch->Stop();
  }
  // Freivalds: C r = A (B r) for a random r.
  void Verify(bool /*last*/) override {
    std::vector<double> r(n_);
    for (double& value : r) value = (random_.Word() & 1) != 0 ? 1 : -1;
    const std::vector<double> expected = Times(a_, Times(b_, r)), found = Times(c_, r);
    for (size_t row = 0; row < n_; ++row) {
      if (!(std::abs(expected[row] - found[row]) < 1e-5 * n_)) throw std::runtime_error("the product is wrong");
    }
  }

 private:
  struct Matrix {
    Matrix(const Gpu& gpu, size_t size, Place place)
        : mapped(MakeBuffer(gpu, size, place)),
          device(MakeBuffer(gpu, size, Place::kDevice)),
          values(size / sizeof(float)) {}
    Buffer mapped, device;
    std::vector<float> values;
  };

  size_t Bytes() const { return size_t{n_} * n_ * sizeof(float); }
  std::vector<double> Times(const Matrix& matrix, const std::vector<double>& vector) const {
    std::vector<double> result(n_);
    for (size_t row = 0; row < n_; ++row) {
      for (size_t k = 0; k < n_; ++k) result[row] += static_cast<double>(matrix.values[row * n_ + k]) * vector[k];
    }
    return result;
  }

  const Gpu& gpu_;
  const uint32_t n_;
  Matrix a_, b_, c_;
  Kernel kernel_;
  Commands commands_;
  Random random_;
};

}  // namespace

void AddProductRows(std::vector<Row>& rows) {
  for (const uint32_t n : {256u, 512u}) {
    rows.push_back({"matmul." + std::to_string(n), Unit::kMilliseconds, 1, 1,
                    [n](Gpu& gpu) { return std::make_unique<Product>(gpu, n); }});
  }
}

}  // namespace vesper::tools::bench
