// Matrix multiplication, C = A B: on the GPU with tiled shaders, or on the CPU where there is none,
// with the same interface.
//
// A is M×K, B is K×N, C is M×N, all row by row and of any size. C and its sums are float32 for
// every element type. Products of the same operands differ from the exact ones by at most about K ·
// 2⁻²⁴ · Σ|aᵢₖ bₖⱼ|, in practice by far less; float16 operands and quantized weights are what the
// encoding made of them (see EncodeWeights).
// Public: see docs/compute.md.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vesper/compute/buffer.h"
#include "vesper/compute/device.h"
#include "vesper/compute/export.h"
#include "vesper/compute/submission.h"

namespace vesper::compute {

enum class ElementType {
  kFloat32,
  kFloat16,  // A and B
  kQ8_0,     // B: blocks of 32 along K, int8 times a float16 scale; A float32
  kQ4_0,     // B: the same with four bits, -8 … 7
};
inline constexpr uint32_t kElementTypes = 4;
// "f32", "f16", "q8_0", "q4_0".
VESPER_COMPUTE_API const char* ElementTypeName(ElementType type);

struct MatmulShape {
  uint32_t m = 0;
  uint32_t n = 0;
  uint32_t k = 0;
  double flops() const { return 2.0 * m * n * k; }
};

// --- operands ------------------------------------------------------------------------------------

// B as the shaders and the CPU read it. float16: two elements a word, the first in the low half,
// row by row. Quantized: column by column, each in ⌈K / 32⌉ blocks; `words` has eight (Q8_0) or
// four (Q4_0) words a block, `scales` two float16 a word. Q8_0: byte i of a block is element i.
// Q4_0: the low nibble of byte i is element i, the high one element i + 16, and the value is nibble
// - 8.
struct Weights {
  ElementType type = ElementType::kFloat32;
  uint32_t k = 0;
  uint32_t n = 0;
  std::vector<uint32_t> words;
  std::vector<uint32_t> scales;  // of quantized weights alone
};

// `values` is K×N, row by row. Rounds to nearest even. An element differs from what it was by at
// most: float16 2⁻¹¹ of it (and 2⁻²⁵ for very small ones), Q8_0 1/230 and Q4_0 1/7.5 of the largest
// magnitude in its block of 32. Throws BufferError when the size is not k · n, or a value is not
// finite where the type is quantized.
VESPER_COMPUTE_API Weights EncodeWeights(ElementType type, uint32_t k, uint32_t n, std::span<const float> values);
// What the encoding holds, K×N row by row.
VESPER_COMPUTE_API std::vector<float> DecodeWeights(const Weights& weights);
// A as a multiplication with weights of `type` reads it: float32 words, or float16, two a word.
VESPER_COMPUTE_API std::vector<uint32_t> EncodeActivations(ElementType type, std::span<const float> values);

VESPER_COMPUTE_API uint16_t ToFloat16(float value);
VESPER_COMPUTE_API float FromFloat16(uint16_t bits);

// --- on buffers ----------------------------------------------------------------------------------

// The operands' buffers, as EncodeActivations and EncodeWeights make them; C is float32. `scales`
// for quantized weights alone.
struct MatmulBuffers {
  BufferRange a;
  BufferRange b;
  BufferRange c;
  const BufferRange* scales = nullptr;
};

// The shaders of one device. Which of them is fastest for a type and size is measured when it is
// first asked for, and kept in a file beside the pipeline cache. Thread-safe.
class VESPER_COMPUTE_API MatmulKernels {
 public:
  // Shaders are compiled when first used. Throws as Kernel does.
  explicit MatmulKernels(const Device& device);
  ~MatmulKernels();
  MatmulKernels(MatmulKernels&&) noexcept;
  MatmulKernels& operator=(MatmulKernels&&) noexcept;

  // Compiles a shader for the type now. Throws PipelineCreationFailed where the device runs none.
  void Compile(ElementType type);

  // The names of the shaders that this device can run for the type and size, "tiled" first.
  std::vector<std::string> Variants(ElementType type, const MatmulShape& shape) const;

  // Measures on these buffers unless something is known for matrices of about that size; their C
  // holds part of the product afterwards. Returns the fastest variant.
  std::string Tune(ElementType type, const MatmulShape& shape, const MatmulBuffers& buffers);

  // Submits the multiplication, tuning first where needed, or with the variant named. Throws
  // BufferTooSmall, BufferError (a matrix of 2³² elements or more, unknown variant), and as
  // Kernel::Launch. A size of 0 in K makes C zeros, in M or N does nothing.
  Submission Launch(ElementType type, const MatmulShape& shape, const MatmulBuffers& buffers,
                    const std::string& variant = "");

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// --- on host memory ------------------------------------------------------------------------------

// Multiplies with weights that were prepared once. One object for one thread at a time.
class VESPER_COMPUTE_API Matmul {
 public:
  // On the best device; on the CPU where there is none.
  Matmul();
  explicit Matmul(const Device& device);
  // `threads` 0: as many as the machine has.
  static Matmul OnCpu(uint32_t threads = 0);
  ~Matmul();
  Matmul(Matmul&&) noexcept;
  Matmul& operator=(Matmul&&) noexcept;

  bool on_gpu() const;
  // "NVIDIA H200", "CPU, 2 threads".
  const std::string& where() const;

  // Takes the weights to where they are multiplied; replaces those before. A device that runs no
  // shader for them is given up for the CPU.
  void SetWeights(const Weights& weights);
  // c = a B: a is m×K float32, c m×N. Throws BufferTooSmall when a span is too short, SyncError
  // after `timeout`.
  void Multiply(uint32_t m, std::span<const float> a, std::span<float> c,
                std::chrono::nanoseconds timeout = std::chrono::minutes(1));

 private:
  struct Impl;
  explicit Matmul(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vesper::compute
