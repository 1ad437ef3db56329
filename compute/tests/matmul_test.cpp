// Protects that products are right: every shader of the device and the CPU, every element type,
// sizes that do and do not fit the tiles, against float64.
#include "vesper/compute/matmul.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "vesper/compute/error.h"

namespace vesper::compute {
namespace {

constexpr ElementType kTypes[] = {ElementType::kFloat32, ElementType::kFloat16, ElementType::kQ8_0, ElementType::kQ4_0};
constexpr float kUntouched = 12345;

struct Problem {
  Problem(ElementType of, MatmulShape size, uint32_t seed) : type(of), shape(size) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> values(-1, 1);
    a.resize(size_t{shape.m} * shape.k);
    std::vector<float> b(size_t{shape.k} * shape.n);
    for (float& each : a) each = values(random);
    for (float& each : b) each = values(random);
    weights = EncodeWeights(type, shape.k, shape.n, b);
  }

  // Against the product in float64 of what was encoded.
  void Verify(std::span<const float> c) const {
    const std::vector<float> b = DecodeWeights(weights);
    const size_t n = shape.n;
    std::vector<double> sums(n), magnitudes(n);
    for (size_t row = 0; row < shape.m; ++row) {
      std::ranges::fill(sums, 0.0);
      std::ranges::fill(magnitudes, 0.0);
      for (size_t k = 0; k < shape.k; ++k) {
        const float value = a[row * shape.k + k];
        const double left = type == ElementType::kFloat16 ? FromFloat16(ToFloat16(value)) : value;
        for (size_t column = 0; column < n; ++column) {
          sums[column] += left * b[k * n + column];
          magnitudes[column] += std::abs(left * b[k * n + column]);
        }
      }
      for (size_t column = 0; column < n; ++column) {
        const double bound = (shape.k + 2) * 0x1p-24 * magnitudes[column] + 1e-30;
        ASSERT_NEAR(c[row * n + column], sums[column], bound)
            << ElementTypeName(type) << " " << shape.m << "x" << shape.n << "x" << shape.k << " at " << row << ", "
            << column;
      }
    }
  }

  ElementType type;
  MatmulShape shape;
  std::vector<float> a;
  Weights weights;
};

class MatmulTest : public testing::Test {
 protected:
  MatmulTest() {
    folder_ = std::filesystem::temp_directory_path() / ("vesper-matmul-test-" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
  }
  ~MatmulTest() override { std::filesystem::remove_all(folder_); }

  DeviceOptions Options() const {
    DeviceOptions options;
    options.cache_folder = folder_;
    return options;
  }

  std::filesystem::path folder_;
};

struct Operands {
  Operands(const Device& device, const Problem& problem)
      : a(Filled(device, EncodeActivations(problem.type, problem.a))),
        b(Filled(device, problem.weights.words)),
        scales(Filled(device, problem.weights.scales)),
        c(device, (size_t{problem.shape.m} * problem.shape.n + 7) * 4),
        scales_range(scales) {
    std::vector<float> before(c.size() / 4, kUntouched);
    c.Upload(std::span(before));
  }
  static Buffer Filled(const Device& device, const std::vector<uint32_t>& words) {
    Buffer buffer(device, std::max<size_t>(words.size(), 1) * 4);
    if (!words.empty()) buffer.Upload(std::span(words));
    return buffer;
  }
  MatmulBuffers Buffers() { return {a, b, c, &scales_range}; }
  std::vector<float> Result() const {
    std::vector<float> values(c.size() / 4);
    c.Download(std::span(values));
    return values;
  }
  Buffer a, b, scales, c;
  BufferRange scales_range;
};

TEST_F(MatmulTest, EveryShaderIsRight) {
  const Device device(Options());
  MatmulKernels kernels(device);
  const MatmulShape shapes[] = {{1, 1, 1},    {16, 16, 16},   {128, 128, 32}, {130, 70, 33},
                                {7, 200, 64}, {257, 136, 40}, {64, 64, 8}};
  uint32_t seed = 0;
  for (const ElementType type : kTypes) {
    for (const MatmulShape& shape : shapes) {
      const Problem problem(type, shape, ++seed);
      const std::vector<std::string> variants = kernels.Variants(type, shape);
      ASSERT_GE(variants.size(), 1u);
      EXPECT_EQ(variants.front(), "tiled");
      for (const std::string& variant : variants) {
        SCOPED_TRACE(variant);
        Operands operands(device, problem);
        kernels.Launch(type, shape, operands.Buffers(), variant).Wait(std::chrono::minutes(1));
        const std::vector<float> c = operands.Result();
        problem.Verify(c);
        for (size_t i = size_t{shape.m} * shape.n; i < c.size(); ++i)
          ASSERT_EQ(c[i], kUntouched) << "beyond the matrix";
      }
    }
  }
}

TEST_F(MatmulTest, RandomSizesOnTheDevice) {
  Matmul matmul{Device(Options())};
  EXPECT_TRUE(matmul.on_gpu());
  std::mt19937 random(5);
  for (uint32_t round = 0; round < 16; ++round) {
    const auto size = [&] { return static_cast<uint32_t>(random() % 190 + 1); };
    const Problem problem(kTypes[round % 4], {size(), size(), size()}, round);
    matmul.SetWeights(problem.weights);
    std::vector<float> c(size_t{problem.shape.m} * problem.shape.n);
    matmul.Multiply(problem.shape.m, problem.a, c);
    problem.Verify(c);
  }
}

TEST_F(MatmulTest, RandomSizesOnTheCpu) {
  for (const uint32_t threads : {1u, 3u}) {
    Matmul matmul = Matmul::OnCpu(threads);
    EXPECT_FALSE(matmul.on_gpu());
    std::mt19937 random(6);
    for (uint32_t round = 0; round < 12; ++round) {
      const auto size = [&] { return static_cast<uint32_t>(random() % 600 + 1); };
      const Problem problem(kTypes[round % 4], {size(), size(), size()}, round);
      matmul.SetWeights(problem.weights);
      std::vector<float> c(size_t{problem.shape.m} * problem.shape.n, kUntouched);
      matmul.Multiply(problem.shape.m, problem.a, c);
      problem.Verify(c);
    }
  }
}

TEST_F(MatmulTest, EmptySums) {
  for (const bool gpu : {true, false}) {
    Matmul matmul = gpu ? Matmul(Device(Options())) : Matmul::OnCpu();
    matmul.SetWeights(EncodeWeights(ElementType::kFloat32, 0, 5, {}));
    std::vector<float> c(15, kUntouched);
    matmul.Multiply(3, {}, c);
    EXPECT_EQ(c, std::vector<float>(15, 0.0f));
    matmul.Multiply(0, {}, {});
  }
}

// What was measured is known to the next process, and garbage in its file is not.
TEST_F(MatmulTest, ChoicesAreKept) {
  const MatmulShape shape{200, 200, 200};
  const Problem problem(ElementType::kFloat32, shape, 1);
  std::filesystem::path file;
  const auto tuned = [&] {
    const Device device(Options());
    file = device.CacheFile("matmul", ".txt");
    MatmulKernels kernels(device);
    Operands operands(device, problem);
    const std::string found = kernels.Tune(problem.type, shape, operands.Buffers());
    kernels.Launch(problem.type, shape, operands.Buffers()).Wait();
    problem.Verify(operands.Result());
    return found;
  };
  const std::string chosen = tuned();
  std::string text;
  std::getline(std::ifstream(file), text, '\0');
  ASSERT_NE(text.find("0 8 8 8 " + chosen), std::string::npos) << text;
  const std::string other = chosen == "tiled" ? "registers-64" : "tiled";
  text.replace(text.find(chosen), chosen.size(), other);
  std::ofstream(file) << text;
  EXPECT_EQ(tuned(), other) << "measured again";
  text.replace(text.find(other), other.size(), "no-such-shader");
  std::ofstream(file) << text;
  EXPECT_NE(tuned(), "no-such-shader");
  std::ofstream(file) << std::string("\xff\0\n\n1 2", 6);
  EXPECT_NE(tuned(), "");
}

TEST_F(MatmulTest, RefusesWhatDoesNotFit) {
  const Device device(Options());
  MatmulKernels kernels(device);
  const Problem problem(ElementType::kQ8_0, {8, 8, 64}, 1);
  Operands operands(device, problem);
  const auto code = [&](ElementType type, const MatmulShape& shape, const MatmulBuffers& buffers,
                        const char* variant = "") {
    try {
      kernels.Launch(type, shape, buffers, variant);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::NotAvailable;
  };
  const MatmulShape shape = problem.shape;
  EXPECT_EQ(code(ElementType::kQ8_0, {9, 8, 64}, operands.Buffers()), ErrorCode::BufferTooSmall);
  EXPECT_EQ(code(ElementType::kQ8_0, {8, 8, 65}, operands.Buffers()), ErrorCode::BufferTooSmall);
  EXPECT_EQ(code(ElementType::kQ8_0, shape, {operands.a, operands.b, operands.c, nullptr}), ErrorCode::BufferError);
  EXPECT_EQ(code(ElementType::kQ8_0, shape,
                 {operands.a, operands.b, BufferRange(operands.c, 4, 252), &operands.scales_range}),
            ErrorCode::BufferTooSmall);
  EXPECT_EQ(code(ElementType::kQ8_0, shape, operands.Buffers(), "none"), ErrorCode::BufferError);
  EXPECT_EQ(code(ElementType::kFloat32, {1u << 31, 2, 1u << 31}, operands.Buffers()), ErrorCode::BufferError);
  std::vector<float> c(63);
  Matmul matmul = Matmul::OnCpu();
  matmul.SetWeights(problem.weights);
  EXPECT_THROW(matmul.Multiply(8, problem.a, c), Error);
}

}  // namespace
}  // namespace vesper::compute
