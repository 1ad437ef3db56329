// vesper-roofline: what a device can do at most, measured: float32 multiply-adds,
// cooperative-matrix products, and bytes through its memory and to and from the host. What
// vesper-matmul reaches is to be seen against these.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <vector>

#include "shaders/cooperative_fma_comp.h"
#include "shaders/fma_comp.h"
#include "vesper/compute/buffer.h"
#include "vesper/compute/error.h"
#include "vesper/compute/kernel.h"

namespace vesper::compute {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::minutes kTimeout{1};
constexpr double kLongEnough = 20e-3;  // seconds of work for one measurement

struct Push {
  uint32_t rounds;
  float factor;
};

template <typename Work>
double BestSeconds(Work work) {
  work();
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

// Operations a second of a kernel that does `each` of them per round.
double Rate(const Kernel& kernel, const Buffer& out, uint32_t groups, double each) {
  for (uint32_t rounds = 64;; rounds *= 4) {
    const Push push{rounds, 0.5f};
    const double seconds =
        BestSeconds([&] { kernel.Launch({out}, Grid::Groups(groups), PushBytes(push)).Wait(kTimeout); });
    if (seconds >= kLongEnough || rounds > (1u << 24)) return each * rounds / seconds;
  }
}

KernelReflection CooperativeReflection() {
  KernelReflection reflection;
  reflection.bindings.emplace_back();
  reflection.push_constant_bytes = sizeof(Push);
  reflection.local_size[0] = 256;
  return reflection;
}

void Arithmetic(const Device& device) {
  const uint32_t groups = device.description().type == VK_PHYSICAL_DEVICE_TYPE_CPU ? 64 : 16384;
  const double threads = groups * 256.0;
  const Buffer out(device, uint64_t{groups} * 256 * 16);
  const Kernel fma(device, fma_comp);
  fmt::print("{:<34} {:10.2f} TFLOP/s\n", "float32 multiply-add", Rate(fma, out, groups, threads * 8 * 4 * 2) * 1e-12);
  if (!device.features().cooperative_matrix_nv) return;
  KernelOptions options;
  options.name = "cooperative";
  options.reflection = CooperativeReflection();
  if (device.features().subgroup_size_control) options.subgroup_size = 32;
  const Kernel cooperative(device, cooperative_fma_comp, options);
  const double products = threads / 32 * 8 * 2 * 16 * 16 * 16;
  fmt::print("{:<34} {:10.2f} TFLOP/s\n", "float16 cooperative 16x16x16",
             Rate(cooperative, out, groups, products) * 1e-12);
}

void Memory(const Device& device, uint64_t bytes) {
  Buffer from(device, bytes), to(device, bytes);
  const auto rate = [&](const char* what, double moved, const auto& work) {
    fmt::print("{:<34} {:10.2f} GB/s\n", what, moved / BestSeconds(work) * 1e-9);
  };
  rate("memory, read and written", 2.0 * static_cast<double>(bytes),
       [&] { Batch(device).Copy(from, to, bytes).Submit().Wait(kTimeout); });
  std::vector<char> host(bytes, 1);
  rate("upload", static_cast<double>(bytes), [&] { from.Upload(host.data(), bytes).Wait(kTimeout); });
  rate("download", static_cast<double>(bytes), [&] { from.Download(host.data(), bytes); });
}

}  // namespace
}  // namespace vesper::compute

// NOLINTNEXTLINE(bugprone-exception-escape): what is thrown ends the example
int main(int argc, char** argv) {
  using namespace vesper::compute;
  DeviceOptions options;
  options.timeout = kTimeout;
  uint64_t mebibytes = 1024;
  CLI::App app("Measures what a GPU can do at most.");
  app.add_option("--device", options.selector, "index or part of the name (the best)");
  app.add_option("--mib", mebibytes, "size of the copies in MiB (1024)")->check(CLI::Range(1u, 65536u));
  CLI11_PARSE(app, argc, argv);
  try {
    const Device device(options);
    fmt::print("{}\n", device.description().name);
    Arithmetic(device);
    Memory(device, mebibytes << 20);
  } catch (const Error& error) {
    fmt::print(stderr, "vesper-roofline: {}\n", error.what());
    return 2;
  }
}
