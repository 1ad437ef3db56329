#include "compute/matmul/cpu_matmul.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <thread>
#include <vector>

namespace vesper::compute {
namespace {

// C is made in blocks of kRows × kColumns, each by one thread, from parts of A and B of depth
// kDepth that are laid out as the innermost loop reads them: kTall rows of A and kWide columns of B
// side by side for each k.
constexpr uint32_t kTall = 6;
constexpr uint32_t kWide = 16;
constexpr uint32_t kDepth = 256;
constexpr uint32_t kRows = 32 * kTall;
constexpr uint32_t kColumns = 16 * kWide;

using MultiplyPanels = void (*)(const float* a, const float* b, uint32_t depth, float* sums);

// sums (kTall × kWide) = the product over `depth`, in vectors of so many bytes. A macro, since GCC
// gives up a vector's width before it inlines a function for the processor that its caller was
// compiled for.
#define VESPER_MULTIPLY_PANELS(name, bytes)                                                                       \
  void name(const float* a, const float* b, uint32_t depth, float* sums) {                                        \
    using Vector = float __attribute__((vector_size(bytes)));                                                     \
    constexpr uint32_t kVectors = kWide * sizeof(float) / (bytes);                                                \
    Vector sum[kTall][kVectors] = {};                                                                             \
    for (uint32_t k = 0; k < depth; ++k) {                                                                        \
      Vector right[kVectors];                                                                                     \
      std::memcpy(right, b + k * kWide, sizeof(right));                                                           \
      _Pragma("GCC unroll 6") for (uint32_t i = 0; i < kTall; ++i) {                                              \
        _Pragma("GCC unroll 4") for (uint32_t j = 0; j < kVectors; ++j) sum[i][j] += a[k * kTall + i] * right[j]; \
      }                                                                                                           \
    }                                                                                                             \
    std::memcpy(sums, sum, sizeof(sum));                                                                          \
  }

VESPER_MULTIPLY_PANELS(MultiplyAnywhere, 16)
#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
VESPER_MULTIPLY_PANELS(MultiplyAvx2, 32)
#pragma GCC target("avx512f")
VESPER_MULTIPLY_PANELS(MultiplyAvx512, 64)
#pragma GCC pop_options
#endif

MultiplyPanels ForThisProcessor() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return MultiplyAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return MultiplyAvx2;
#endif
  return MultiplyAnywhere;
}

struct Task {
  uint32_t m;
  std::span<const float> a;
  const Weights& weights;
  std::span<float> c;
};

float ElementOfA(const Task& task, uint64_t row, uint64_t k) {
  const float value = task.a[row * task.weights.k + k];
  return task.weights.type == ElementType::kFloat16 ? FromFloat16(ToFloat16(value)) : value;
}

// Rows [row, row + rows) and depth [k, k + depth) in panels of kTall rows, zeros beyond.
void PackA(const Task& task, uint32_t row, uint32_t rows, uint32_t k, uint32_t depth, float* out) {
  for (uint32_t panel = 0; panel < rows; panel += kTall) {
    for (uint32_t i = 0; i < depth; ++i) {
      for (uint32_t j = 0; j < kTall; ++j) {
        *out++ = panel + j < rows ? ElementOfA(task, row + panel + j, k + i) : 0;
      }
    }
  }
}

// One column of B of a quantized type, from k on.
void DecodeColumn(const Weights& weights, uint32_t column, uint32_t k, uint32_t depth, float* out) {
  const uint64_t blocks = (uint64_t{weights.k} + 31) / 32;
  for (uint32_t i = 0; i < depth; ++i) {
    const uint64_t block = column * blocks + (k + i) / 32;
    const uint32_t within = (k + i) % 32;
    const auto scale = static_cast<uint16_t>(weights.scales[block / 2] >> (block % 2 * 16));
    int32_t quant;
    if (weights.type == ElementType::kQ8_0) {
      // NOLINTNEXTLINE(bugprone-signed-char-misuse): it is a number of eight bits
      quant = static_cast<int8_t>(weights.words[block * 8 + within / 4] >> (within % 4 * 8));
    } else {
      quant =
          static_cast<int32_t>(weights.words[block * 4 + within % 16 / 4] >> (within % 4 * 8 + within / 16 * 4) & 15u) -
          8;
    }
    out[i] = static_cast<float>(quant) * FromFloat16(scale);
  }
}

void PackB(const Weights& weights, uint32_t column, uint32_t columns, uint32_t k, uint32_t depth, float* out) {
  float decoded[kDepth];
  for (uint32_t panel = 0; panel < columns; panel += kWide, out += uint64_t{depth} * kWide) {
    for (uint32_t j = 0; j < kWide; ++j) {
      if (panel + j >= columns) {
        for (uint32_t i = 0; i < depth; ++i) out[i * kWide + j] = 0;
        continue;
      }
      const uint64_t at = column + panel + j;
      if (weights.type == ElementType::kFloat32) {
        for (uint32_t i = 0; i < depth; ++i)
          out[i * kWide + j] = std::bit_cast<float>(weights.words[(k + i) * uint64_t{weights.n} + at]);
      } else if (weights.type == ElementType::kFloat16) {
        for (uint32_t i = 0; i < depth; ++i) {
          const uint64_t element = (k + i) * uint64_t{weights.n} + at;
          out[i * kWide + j] = FromFloat16(static_cast<uint16_t>(weights.words[element / 2] >> (element % 2 * 16)));
        }
      } else {
        DecodeColumn(weights, static_cast<uint32_t>(at), k, depth, decoded);
        for (uint32_t i = 0; i < depth; ++i) out[i * kWide + j] = decoded[i];
      }
    }
  }
}

// The block of C that begins at (row, column).
void MultiplyBlock(const Task& task, uint32_t row, uint32_t column, float* packed_a, float* packed_b) {
  static const MultiplyPanels multiply = ForThisProcessor();
  const uint32_t n = task.weights.n;
  const uint32_t rows = std::min(kRows, task.m - row);
  const uint32_t columns = std::min(kColumns, n - column);
  for (uint32_t k = 0; k < task.weights.k; k += kDepth) {
    const uint32_t depth = std::min(kDepth, task.weights.k - k);
    PackA(task, row, rows, k, depth, packed_a);
    PackB(task.weights, column, columns, k, depth, packed_b);
    for (uint32_t right = 0; right < columns; right += kWide) {
      for (uint32_t top = 0; top < rows; top += kTall) {
        float sums[kTall * kWide];
        multiply(packed_a + uint64_t{top} * depth, packed_b + uint64_t{right} * depth, depth, sums);
        for (uint32_t i = 0; i < std::min(kTall, rows - top); ++i) {
          float* out = &task.c[(uint64_t{row} + top + i) * n + column + right];
          for (uint32_t j = 0; j < std::min(kWide, columns - right); ++j) {
            out[j] = k == 0 ? sums[i * kWide + j] : out[j] + sums[i * kWide + j];
          }
        }
      }
    }
  }
}

}  // namespace

void MultiplyOnCpu(uint32_t m, std::span<const float> a, const Weights& weights, std::span<float> c, uint32_t threads) {
  const Task task{m, a, weights, c};
  if (weights.k == 0) {
    std::fill_n(c.begin(), uint64_t{m} * weights.n, 0.0f);
    return;
  }
  const uint64_t across = (weights.n + uint64_t{kColumns} - 1) / kColumns;
  const uint64_t blocks = across * ((m + uint64_t{kRows} - 1) / kRows);
  std::atomic<uint64_t> next{0};
  const auto work = [&](std::vector<float>* packed) {
    for (uint64_t block = next++; block < blocks; block = next++) {
      MultiplyBlock(task, static_cast<uint32_t>(block / across) * kRows,
                    static_cast<uint32_t>(block % across) * kColumns, packed->data(), packed->data() + kRows * kDepth);
    }
  };
  std::vector<std::vector<float>> packed(std::max<uint64_t>(1, std::min<uint64_t>(threads, blocks)));
  for (std::vector<float>& each : packed) each.resize((kRows + kColumns) * kDepth);
  std::vector<std::jthread> others;
  for (size_t i = 1; i < packed.size(); ++i) others.emplace_back(work, &packed[i]);
  work(&packed[0]);
}

}  // namespace vesper::compute
