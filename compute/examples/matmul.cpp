// vesper-matmul: multiplies random matrices and says how fast: upload, product, download.
#include "vesper/compute/matmul.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <random>

#include "vesper/compute/error.h"

namespace vesper::compute {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  MatmulShape shape{1024, 1024, 1024};
  ElementType type = ElementType::kFloat32;
  std::string device;
  std::string variant;
  bool cpu = false;
  bool all_variants = false;
  bool verify = false;
  uint32_t repeat = 5;
  uint32_t timeout = 60;
};

// Work that takes long says how far it is, to people.
class Progress {
 public:
  explicit Progress(std::string what) : what_(std::move(what)) {}
  ~Progress() {
    if (shown_) std::fputs("\r\033[K", stderr);
  }
  void Step(double done, double of) {
    if (!isatty(STDERR_FILENO) || Clock::now() - last_ < std::chrono::milliseconds(200)) return;
    last_ = Clock::now();
    shown_ = true;
    fmt::print(stderr, "\r\033[K{}: {:.0f} %", what_, 100 * done / of);
    std::fflush(stderr);
  }

 private:
  std::string what_;
  Clock::time_point last_ = Clock::now();
  bool shown_ = false;
};

std::vector<float> Random(size_t count, uint32_t seed, const char* what) {
  Progress progress(what);
  std::minstd_rand random(seed);
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>(static_cast<int32_t>(random() % 2001) - 1000) * 0x1p-10f;
    if (i % (1 << 20) == 0) progress.Step(static_cast<double>(i), static_cast<double>(count));
  }
  return values;
}

// The largest error of up to 16 rows against float64, in units of what float32 sums may lose: 1 or
// less is right.
double WorstError(const Options& options, std::span<const float> a, const Weights& weights,
                  std::span<const float> c) {
  Progress progress("verifying");
  const auto [m, n, k] = options.shape;
  const std::vector<float> b = DecodeWeights(weights);
  const uint32_t rows = std::min(m, 16u);
  double worst = 0;
  std::vector<double> sums(n), magnitudes(n);
  for (uint32_t sample = 0; sample < rows; ++sample) {
    const uint64_t row = uint64_t{sample} * (m - 1) / std::max(rows - 1, 1u);
    std::ranges::fill(sums, 0.0);
    std::ranges::fill(magnitudes, 0.0);
    for (uint64_t i = 0; i < k; ++i) {
      const float value = a[row * k + i];
      const double left =
          options.type == ElementType::kFloat16 ? FromFloat16(ToFloat16(value)) : value;
      for (uint64_t j = 0; j < n; ++j) {
        sums[j] += left * b[i * n + j];
        magnitudes[j] += std::abs(left * b[i * n + j]);
      }
      progress.Step(sample + static_cast<double>(i) / k, rows);
    }
    for (uint64_t j = 0; j < n; ++j) {
      const double error =
          std::abs(c[row * n + j] - sums[j]) / ((k + 2) * 0x1p-24 * magnitudes[j] + 1e-30);
      if (!(error <= worst)) worst = error;
    }
  }
  return worst;
}

struct Times {
  double upload = 0;
  double product = 0;  // median
  double fastest = 0;
  double download = 0;
};

class Stopwatch {
 public:
  double Lap() {
    const auto now = Clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  Clock::time_point last_ = Clock::now();
};

template <typename Product>
void Repeat(const Options& options, const std::string& what, Product product, Times* times) {
  Progress progress(what);
  std::vector<double> each;
  for (uint32_t i = 0; i < std::max(options.repeat, 1u); ++i) {
    Stopwatch watch;
    product();
    each.push_back(watch.Lap());
    progress.Step(i + 1, options.repeat);
  }
  std::ranges::sort(each);
  times->product = each[each.size() / 2];
  times->fastest = each.front();
}

void PrintHeading(const std::string& where) {
  fmt::print("{:<22} {:>24} {:>47} {:>25}\n", where, "upload", "product", "download");
}

void PrintRow(const Options& options, const std::string& variant, const Times& times,
              double bytes_up, double bytes_down) {
  const double flops = options.shape.flops();
  const auto rate = [](double bytes, double seconds) {
    return seconds > 0 ? bytes / seconds * 1e-9 : 0;
  };
  fmt::print(
      "{:<22} {:>9.3f} ms {:>7.2f} GB/s {:>10.3f} ms {:>9.1f} GFLOP/s (best {:.1f}) {:>9.3f} ms "
      "{:>7.2f} GB/s\n",
      variant, times.upload * 1e3, rate(bytes_up, times.upload), times.product * 1e3,
      flops / times.product * 1e-9, flops / times.fastest * 1e-9, times.download * 1e3,
      rate(bytes_down, times.download));
}

bool Verified(const Options& options, std::span<const float> a, const Weights& weights,
              std::span<const float> c) {
  if (!options.verify) return true;
  const double worst = WorstError(options, a, weights, c);
  const bool right = worst <= 1;
  fmt::print("{}: largest error {:.3g} of what is allowed\n", right ? "verified" : "WRONG", worst);
  return right;
}

bool RunOnCpu(const Options& options, std::span<const float> a, const Weights& weights) {
  Matmul matmul = Matmul::OnCpu();
  matmul.SetWeights(weights);
  PrintHeading(matmul.where());
  std::vector<float> c(uint64_t{options.shape.m} * options.shape.n);
  Times times;
  Repeat(
      options, "multiplying", [&] { matmul.Multiply(options.shape.m, a, c); }, &times);
  PrintRow(options, "", times, 0, 0);
  return Verified(options, a, weights, c);
}

bool RunOnDevice(const Options& options, std::span<const float> a, const Weights& weights) {
  const std::chrono::seconds timeout(options.timeout);
  DeviceOptions device_options;
  device_options.selector = options.device;
  device_options.timeout = timeout;
  const Device device(device_options);
  PrintHeading(device.description().name);
  MatmulKernels kernels(device);
  const std::vector<uint32_t> words = EncodeActivations(options.type, a);
  std::vector<float> c(uint64_t{options.shape.m} * options.shape.n);
  Buffer in_a(device, words.size() * 4);
  Buffer in_b(device, weights.words.size() * 4);
  Buffer in_scales(device, std::max<uint64_t>(weights.scales.size(), 1) * 4);
  Buffer out(device, c.size() * 4);
  Times times;
  Stopwatch watch;
  in_a.Upload(std::span(words));
  in_b.Upload(std::span(weights.words));
  if (!weights.scales.empty()) in_scales.Upload(std::span(weights.scales));
  device.Sync(timeout);
  times.upload = watch.Lap();
  const double bytes_up =
      4.0 * static_cast<double>(words.size() + weights.words.size() + weights.scales.size());
  const BufferRange scales(in_scales);
  const MatmulBuffers buffers{in_a, in_b, out, &scales};
  std::vector<std::string> variants = {options.variant};
  if (options.all_variants) variants = kernels.Variants(options.type, options.shape);
  if (variants.front().empty()) variants = {kernels.Tune(options.type, options.shape, buffers)};
  bool right = true;
  for (const std::string& variant : variants) {
    kernels.Launch(options.type, options.shape, buffers, variant)
        .Wait(timeout);  // the first one pays for the pipeline
    const auto product = [&] {
      kernels.Launch(options.type, options.shape, buffers, variant).Wait(timeout);
    };
    Repeat(options, "multiplying", product, &times);
    watch.Lap();
    out.Download(std::span(c));
    times.download = watch.Lap();
    PrintRow(options, variant, times, bytes_up, static_cast<double>(c.size()) * 4);
    right &= Verified(options, a, weights, c);
  }
  return right;
}

bool Run(const Options& options) {
  const auto [m, n, k] = options.shape;
  const std::vector<float> a = Random(uint64_t{m} * k, 1, "making A");
  const Weights weights = EncodeWeights(options.type, k, n, Random(uint64_t{k} * n, 2, "making B"));
  fmt::print("{}: {}x{} times {}x{}, {:.2f} GFLOP\n", ElementTypeName(options.type), m, k, k, n,
             options.shape.flops() * 1e-9);
  return options.cpu ? RunOnCpu(options, a, weights) : RunOnDevice(options, a, weights);
}

}  // namespace
}  // namespace vesper::compute

int main(int argc, char** argv) {
  using namespace vesper::compute;
  Options options;
  uint32_t size = 0;
  CLI::App app("Multiplies random matrices, M×K times K×N, on a GPU and says how fast.");
  app.add_option("size", size, "M, N and K alike")->check(CLI::Range(1u, 65535u));
  app.add_option("-m", options.shape.m, "rows of A (1024)")->check(CLI::PositiveNumber);
  app.add_option("-n", options.shape.n, "columns of B (1024)")->check(CLI::PositiveNumber);
  app.add_option("-k", options.shape.k, "columns of A (1024)")->check(CLI::PositiveNumber);
  const std::map<std::string, ElementType> types = {{"f32", ElementType::kFloat32},
                                                    {"f16", ElementType::kFloat16},
                                                    {"q8_0", ElementType::kQ8_0},
                                                    {"q4_0", ElementType::kQ4_0}};
  app.add_option("--type", options.type, "f32, f16, q8_0 or q4_0 (f32)")
      ->transform(CLI::CheckedTransformer(types));
  app.add_option("--device", options.device, "index or part of the name (the best)");
  app.add_option("--variant", options.variant, "a shader by its name (the fastest)");
  app.add_flag("--all", options.all_variants, "every shader, one after the other");
  app.add_flag("--cpu", options.cpu, "on the CPU instead");
  app.add_flag("--verify", options.verify, "rows of the product against float64");
  app.add_option("--repeat", options.repeat, "products timed (5)")->check(CLI::Range(1u, 1000000u));
  app.add_option("--timeout", options.timeout, "seconds for one product (60)")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (size != 0) options.shape = {size, size, size};
  try {
    return Run(options) ? 0 : 1;
  } catch (const Error& error) {
    fmt::print(stderr, "vesper-matmul: {}\n", error.what());
    return 2;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "vesper-matmul: not enough memory for matrices of that size\n");
    return 2;
  }
}
