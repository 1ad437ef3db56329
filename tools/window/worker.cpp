#include "tools/window/worker.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

#include "runtime/address.h"
#include "runtime/environment.h"
#include "tools/bench/counted.h"
#include "tools/bench/gpu.h"
#include "tools/window/scene.h"
#include "tools/window/sdl.h"

namespace vesper::tools::window {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kTurn = 1.0;          // radians a second
constexpr double kTextSeconds = 0.5;   // so often it is written anew
constexpr uint64_t kLatencyEvery = 8;  // frames
constexpr uint64_t kWarmFrames = 10;

double Since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double CpuSeconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

const char* NameOf(VkPresentModeKHR mode) {
  if (mode == VK_PRESENT_MODE_IMMEDIATE_KHR) return "IMMEDIATE";
  return mode == VK_PRESENT_MODE_MAILBOX_KHR ? "MAILBOX" : "FIFO";
}

// What the client has counted of frames, between two looks.
struct FrameCounts {
  uint64_t frames = 0, received = 0;
  static FrameCounts Look() {
    bench::vkDestroyInstance(bench::StartInstance(), nullptr);  // it writes whenever an instance goes
    const bench::Counted counted = bench::Counted::Read();
    if (counted.empty()) return {};
    return {counted.Number("frames"), counted.Number("bytes_received")};
  }
};

class Show {
 public:
  Show(const Work& work, std::FILE* answers)
      : work_(work), answers_(answers), window_("vesper", work.width, work.height) {
    bench::Wanted wanted;
    wanted.instance = window_.InstanceExtensions();
    wanted.device = {VK_KHR_SWAPCHAIN_EXTENSION_NAME};
    VkPhysicalDevicePresentWaitFeaturesKHR waits = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_WAIT_FEATURES_KHR,
                                                    nullptr, VK_TRUE};
    VkPhysicalDevicePresentIdFeaturesKHR ids = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_ID_FEATURES_KHR, &waits,
                                                VK_TRUE};
    if (!work.measured) {  // the server's driver need not have them: they are the client's
      wanted.device.insert(wanted.device.end(), {VK_KHR_PRESENT_ID_EXTENSION_NAME, VK_KHR_PRESENT_WAIT_EXTENSION_NAME});
      wanted.features = &ids;
    }
    gpu_ = std::make_unique<bench::Gpu>(wanted);
    Say("device " + gpu_->Name());
    std::vector<VkPresentModeKHR> modes;
    if (work.measured) modes = {VK_PRESENT_MODE_IMMEDIATE_KHR, VK_PRESENT_MODE_MAILBOX_KHR};
    scene_ =
        std::make_unique<Scene>(*gpu_, window_.MakeSurface(gpu_->instance()), window_.Size(), modes, !work.measured);
    Say("window " + window_.system() + ' ' + NameOf(scene_->mode()) + ' ' + std::to_string(scene_->extent().width) +
        ' ' + std::to_string(scene_->extent().height));
  }

  void Once() {
    Step(Clock::now());
    scene_.reset();
    Say("done 1 0 0 -1");
  }

  void Measure() {
    for (uint64_t i = 0; i < kWarmFrames; ++i) Step(Clock::now());
    gpu_->Drain();
    Say("ready");
    std::string line;
    if (!std::getline(std::cin, line)) return;
    Frames();
  }

  void Frames() {
    const Clock::time_point start = Clock::now();
    const double cpu = CpuSeconds();
    uint64_t frames = 0;
    double late = 0, looks = 0;
    Clock::time_point text = start;
    if (!work_.measured) WriteText(0, 0, -1);
    while (Since(start) < work_.seconds && Step(start)) {
      ++frames;
      if (work_.measured) continue;
      if (frames % kLatencyEvery == 0) {
        const Clock::time_point drawn = Clock::now();
        if (scene_->AwaitShown()) {
          late += Since(drawn);
          ++looks;
        }
      }
      if (Since(text) < kTextSeconds) continue;
      WriteText(frames, Since(start), looks == 0 ? -1 : late / looks);
      text = Clock::now();
    }
    scene_.reset();  // when everything is shown
    char answer[128];
    std::snprintf(answer, sizeof(answer), "done %llu %.6f %.6f %.6f", static_cast<unsigned long long>(frames),
                  Since(start), CpuSeconds() - cpu, looks == 0 ? -1 : late / looks);
    Say(answer);
  }

 private:
  // False when the user has closed the window.
  bool Step(Clock::time_point start) {
    const bool open = window_.StaysOpen();
    scene_->Resize(window_.Size());
    scene_->Draw(static_cast<float>(kTurn * Since(start)));
    return open;
  }

  void WriteText(uint64_t frames, double seconds, double late) {
    const FrameCounts now = FrameCounts::Look();
    char rate[64] = "", bytes[64] = "";
    if (frames != 0) std::snprintf(rate, sizeof(rate), "%.1f frames/s", static_cast<double>(frames) / seconds);
    if (frames != 0 && late >= 0) {
      std::snprintf(rate + std::char_traits<char>::length(rate), 32, ", %.1f ms to the window", late * 1e3);
    }
    if (now.frames > seen_.frames) {
      const double each =
          static_cast<double>(now.received - seen_.received) / static_cast<double>(now.frames - seen_.frames);
      std::snprintf(bytes, sizeof(bytes), ", %.1f KB a frame", each / 1e3);
    }
    seen_ = now;
    const char* server = Setting("VESPER_SERVER");
    std::string error;
    const auto address = ParseAddress(server == nullptr ? "" : server, &error);
    const std::string path = address ? address->ToString() : "";  // without its secrets
    scene_->Say({gpu_->Name(), path, window_.system() + ", " + NameOf(scene_->mode()) + bytes, rate});
  }

  void Say(const std::string& line) const {
    std::fprintf(answers_, "%s\n", line.c_str());
    std::fflush(answers_);
  }

  const Work work_;
  std::FILE* const answers_;
  const Window window_;
  std::unique_ptr<bench::Gpu> gpu_;
  std::unique_ptr<Scene> scene_;
  FrameCounts seen_;
};

}  // namespace

int Serve(const Work& work) {
  // Drivers print: their words must not stand among ours.
  std::FILE* answers = fdopen(dup(STDOUT_FILENO), "w");
  if (answers == nullptr || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return 1;
  try {
    bench::OpenLoader();
    Show show(work, answers);
    if (work.seconds == 0) {
      show.Once();
    } else if (work.measured) {
      show.Measure();
    } else {
      show.Frames();
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(answers, "failed %s\n", error.what());
    std::fflush(answers);
    return 1;
  }
}

}  // namespace vesper::tools::window
