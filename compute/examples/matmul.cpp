// vesper-matmul: multiplies random matrices and says how fast: upload, product, download.
#include "vesper/compute/matmul.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>

#include "vesper/compute/error.h"

namespace vesper::compute {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  MatmulShape shape{1024, 1024, 1024};
  ElementType type = ElementType::kFloat32;
  std::string device;
  std::string against;
  std::vector<std::string> share;
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
double WorstError(const Options& options, std::span<const float> a, const Weights& weights, std::span<const float> c) {
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
      const double left = options.type == ElementType::kFloat16 ? FromFloat16(ToFloat16(value)) : value;
      for (uint64_t j = 0; j < n; ++j) {
        sums[j] += left * b[i * n + j];
        magnitudes[j] += std::abs(left * b[i * n + j]);
      }
      progress.Step(sample + static_cast<double>(i) / k, rows);
    }
    for (uint64_t j = 0; j < n; ++j) {
      const double error = std::abs(c[row * n + j] - sums[j]) / ((k + 2) * 0x1p-24 * magnitudes[j] + 1e-30);
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

void PrintRow(const Options& options, const std::string& variant, const Times& times, double bytes_up,
              double bytes_down) {
  const double flops = options.shape.flops();
  const auto rate = [](double bytes, double seconds) { return seconds > 0 ? bytes / seconds * 1e-9 : 0; };
  fmt::print(
      "{:<22} {:>9.3f} ms {:>7.2f} GB/s {:>10.3f} ms {:>9.1f} GFLOP/s (best {:.1f}) {:>9.3f} ms "
      "{:>7.2f} GB/s\n",
      variant, times.upload * 1e3, rate(bytes_up, times.upload), times.product * 1e3, flops / times.product * 1e-9,
      flops / times.fastest * 1e-9, times.download * 1e3, rate(bytes_down, times.download));
}

bool Verified(const Options& options, std::span<const float> a, const Weights& weights, std::span<const float> c) {
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

// The matrices on a device.
class OnDevice {
 public:
  // A may be some of the options' rows. Throws what Device and Buffer throw.
  OnDevice(const Options& options, const std::string& selector, std::span<const float> a, const Weights& weights)
      : options_(options),
        shape_{static_cast<uint32_t>(a.size() / options.shape.k), options.shape.n, options.shape.k},
        timeout_(options.timeout),
        device_(Choose(selector, timeout_)),
        kernels_(device_),
        words_(EncodeActivations(options.type, a)),
        weights_(weights),
        in_a_(device_, words_.size() * 4),
        in_b_(device_, weights.words.size() * 4),
        in_scales_(device_, std::max<uint64_t>(weights.scales.size(), 1) * 4),
        out_(device_, uint64_t{shape_.m} * shape_.n * 4),
        scales_(in_scales_) {}
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  std::string name() const { return device_.description().name; }
  double bytes_up() const {
    return 4.0 * static_cast<double>(words_.size() + weights_.words.size() + weights_.scales.size());
  }
  // The variants that the user asked for, else the fastest.
  std::vector<std::string> Variants() {
    if (options_.all_variants) return kernels_.Variants(options_.type, shape_);
    if (!options_.variant.empty()) return {options_.variant};
    return {kernels_.Tune(options_.type, shape_, Buffers())};
  }

  void Upload() {
    in_a_.Upload(std::span<const uint32_t>(words_));
    in_b_.Upload(std::span<const uint32_t>(weights_.words));
    if (!weights_.scales.empty()) in_scales_.Upload(std::span(weights_.scales));
    device_.Sync(timeout_);
  }
  Submission Launch(const std::string& variant) { return kernels_.Launch(options_.type, shape_, Buffers(), variant); }
  void Multiply(const std::string& variant) { Launch(variant).Wait(timeout_); }
  void Download(std::span<float> c) { out_.Download(c); }

 private:
  static Device Choose(const std::string& selector, std::chrono::seconds timeout) {
    DeviceOptions options;
    options.selector = selector;
    options.timeout = timeout;
    return Device(options);
  }
  MatmulBuffers Buffers() const { return {in_a_, in_b_, out_, &scales_}; }

  const Options& options_;
  const MatmulShape shape_;
  const std::chrono::seconds timeout_;
  const Device device_;
  MatmulKernels kernels_;
  const std::vector<uint32_t> words_;
  const Weights& weights_;
  Buffer in_a_;
  Buffer in_b_;
  Buffer in_scales_;
  Buffer out_;
  const BufferRange scales_;
};

bool RunOnDevice(const Options& options, std::span<const float> a, const Weights& weights) {
  OnDevice work(options, options.device, a, weights);
  PrintHeading(work.name());
  std::vector<float> c(uint64_t{options.shape.m} * options.shape.n);
  Times times;
  Stopwatch watch;
  work.Upload();
  times.upload = watch.Lap();
  bool right = true;
  for (const std::string& variant : work.Variants()) {
    work.Multiply(variant);  // the first one pays for the pipeline
    Repeat(
        options, "multiplying", [&] { work.Multiply(variant); }, &times);
    watch.Lap();
    work.Download(std::span(c));
    times.download = watch.Lap();
    PrintRow(options, variant, times, work.bytes_up(), static_cast<double>(c.size()) * 4);
    right &= Verified(options, a, weights, c);
  }
  return right;
}

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Two devices in turn: what they share, such as the machine's changing speed, cancels in each pair.
bool RunAgainst(const Options& options, std::span<const float> a, const Weights& weights) {
  OnDevice work(options, options.device, a, weights);
  OnDevice other(options, options.against, a, weights);
  OnDevice* const both[] = {&work, &other};
  const std::string variant = other.Variants().front();
  std::vector<float> c(uint64_t{options.shape.m} * options.shape.n);
  std::vector<double> upload[2], product[2], download[2];
  bool right = true;
  Progress progress("multiplying");
  for (uint32_t i = 0; i <= options.repeat; ++i) {
    for (size_t turn = 0; turn < 2; ++turn) {
      const size_t which = (i + turn) % 2;
      Stopwatch watch;
      both[which]->Upload();
      const double uploaded = watch.Lap();
      both[which]->Multiply(variant);
      const double multiplied = watch.Lap();
      both[which]->Download(std::span(c));
      const double downloaded = watch.Lap();
      if (i == 0) {  // pays for pipelines and staging
        right &= Verified(options, a, weights, c);
        continue;
      }
      upload[which].push_back(uploaded);
      product[which].push_back(multiplied);
      download[which].push_back(downloaded);
    }
    progress.Step(i, options.repeat);
  }
  const auto print = [&](const char* what, const std::vector<double>* times) {
    std::vector<double> shares;
    for (size_t i = 0; i < times[0].size(); ++i) shares.push_back(times[1][i] / times[0][i]);
    fmt::print("{:<10} {:>10.3f} ms against {:>10.3f} ms: {:>5.1f} %\n", what, Median(times[0]) * 1e3,
               Median(times[1]) * 1e3, Median(shares) * 100);
  };
  fmt::print("{}, {} rounds of {} on each, medians; the share is the median of the pairs'\n", work.name(),
             options.repeat, variant);
  print("upload", upload);
  print("product", product);
  print("download", download);
  return right;
}

// Several devices work on one product at the same time, each on its part of the rows of A.
bool RunShared(const Options& options, std::span<const float> a, const Weights& weights) {
  std::vector<std::string> selectors = options.share;
  selectors.insert(selectors.begin(), options.device);
  const size_t count = std::min<size_t>(selectors.size(), options.shape.m);
  const auto row = [&](size_t part) { return uint64_t{options.shape.m} * part / count; };
  std::vector<std::unique_ptr<OnDevice>> parts;
  std::vector<std::string> variants;
  for (size_t i = 0; i < count; ++i) {
    const auto rows = a.subspan(row(i) * options.shape.k, (row(i + 1) - row(i)) * options.shape.k);
    parts.push_back(std::make_unique<OnDevice>(options, selectors[i], rows, weights));
    parts[i]->Upload();
    variants.push_back(parts[i]->Variants().front());
    fmt::print("rows {} to {}: {}, {}\n", row(i), row(i + 1) - 1, parts[i]->name(), variants[i]);
  }
  const std::chrono::seconds timeout(options.timeout);
  const auto multiply = [&] {
    std::vector<Submission> under_way;
    for (size_t i = 0; i < count; ++i) under_way.push_back(parts[i]->Launch(variants[i]));
    for (const Submission& each : under_way) each.Wait(timeout);
  };
  multiply();
  Times times;
  Repeat(options, "multiplying", multiply, &times);
  std::vector<float> c(uint64_t{options.shape.m} * options.shape.n);
  for (size_t i = 0; i < count; ++i)
    parts[i]->Download(std::span(c).subspan(row(i) * options.shape.n, (row(i + 1) - row(i)) * options.shape.n));
  const double flops = options.shape.flops();
  fmt::print("product by {} devices at the same time {:.3f} ms {:.1f} GFLOP/s (best {:.1f})\n", count,
             times.product * 1e3, flops / times.product * 1e-9, flops / times.fastest * 1e-9);
  return Verified(options, a, weights, c);
}

bool Run(const Options& options) {
  const auto [m, n, k] = options.shape;
  const std::vector<float> a = Random(uint64_t{m} * k, 1, "making A");
  const Weights weights = EncodeWeights(options.type, k, n, Random(uint64_t{k} * n, 2, "making B"));
  fmt::print("{}: {}x{} times {}x{}, {:.2f} GFLOP\n", ElementTypeName(options.type), m, k, k, n,
             options.shape.flops() * 1e-9);
  if (options.cpu) return RunOnCpu(options, a, weights);
  if (!options.share.empty()) return RunShared(options, a, weights);
  return options.against.empty() ? RunOnDevice(options, a, weights) : RunAgainst(options, a, weights);
}

}  // namespace
}  // namespace vesper::compute

// NOLINTNEXTLINE(bugprone-exception-escape): what is thrown ends the example
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
  app.add_option("--type", options.type, "f32, f16, q8_0 or q4_0 (f32)")->transform(CLI::CheckedTransformer(types));
  app.add_option("--device", options.device, "index or part of the name (the best)");
  app.add_option("--against", options.against, "this device in turn with --device: their ratio");
  app.add_option("--share", options.share, "these devices together with --device, each on a part of A's rows");
  app.add_option("--variant", options.variant, "a shader by its name (the fastest)");
  app.add_flag("--all", options.all_variants, "every shader, one after the other");
  app.add_flag("--cpu", options.cpu, "on the CPU instead");
  app.add_flag("--verify", options.verify, "rows of the product against float64");
  app.add_option("--repeat", options.repeat, "products timed (5)")->check(CLI::Range(1u, 1000000u));
  app.add_option("--timeout", options.timeout, "seconds for one product (60)")->check(CLI::PositiveNumber);
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
