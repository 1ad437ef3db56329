// Frames as a game makes them: recorded anew each time, two in flight.
#include <array>
#include <cstdlib>
#include <cstring>

#include "tools/bench/canvas.h"
#include "tools/bench/random.h"
#include "tools/bench/rows.h"

namespace vesper::tools::bench {
namespace {

constexpr uint32_t kWidth = 1280, kHeight = 720, kColumns = 40, kLines = 25, kDraws = kColumns * kLines;
constexpr uint64_t kFrames = 30;  // a batch
constexpr size_t kInFlight = 2;

using Colour = std::array<uint8_t, 4>;

// One of the frames in flight: a triangle of a random colour in each field of a grid.
class Frame {
 public:
  Frame(const Gpu& gpu, bool reads_back)
      : gpu_(gpu),
        reads_back_(reads_back),
        canvas_(gpu, kWidth, kHeight),
        commands_(gpu),
        fence_(MakeFence(gpu)),
        colours_(kDraws),
        read_(canvas_.bytes()) {
    if (reads_back) picture_ = MakeBuffer(gpu, canvas_.bytes(), Place::kReadBack);
  }

  void Submit(Random* random) {
    commands_.Begin(VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
    canvas_.Begin(commands_.get());
    for (uint32_t i = 0; i < kDraws; ++i) {
      canvas_.Push(commands_.get(), Next(i, random));
      vkCmdDraw(commands_.get(), 3, 1, 0, 0);
    }
    canvas_.End(commands_.get());
    if (reads_back_) canvas_.CopyTo(commands_.get(), picture_.handle);
    commands_.End();
    const VkCommandBuffer buffer = commands_.get();
    VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &buffer;
    VESPER_BENCH_CHECK(vkQueueSubmit(gpu_.queue(), 1, &submit, fence_));
    is_in_flight_ = true;
  }
  // Does nothing when it is not in flight.
  void Wait() {
    if (!is_in_flight_) return;
    VESPER_BENCH_CHECK(vkWaitForFences(gpu_.device(), 1, fence_.address(), VK_TRUE, kWaitNanoseconds));
    VESPER_BENCH_CHECK(vkResetFences(gpu_.device(), 1, fence_.address()));
    is_in_flight_ = false;
    if (!reads_back_) return;
    std::memcpy(read_.data(), picture_.mapped, read_.size());
    Verify();  // a thousand pixels
  }
  // Of the last frame, also when it was not read back.
  void FetchAndVerify() {
    if (reads_back_) return;
    const Buffer picture = MakeBuffer(gpu_, canvas_.bytes(), Place::kReadBack);
    commands_.Begin();
    canvas_.CopyTo(commands_.get(), picture.handle);
    commands_.End();
    gpu_.Finish(commands_.get());
    std::memcpy(read_.data(), picture.mapped, read_.size());
    Verify();
  }

 private:
  Triangle Next(uint32_t i, Random* random) {
    const uint32_t word = random->Word();
    std::memcpy(colours_[i].data(), &word, sizeof(word));
    const Colour& colour = colours_[i];
    const uint32_t column = i % kColumns, line = i / kColumns;
    Triangle triangle = {};
    triangle.size[0] = 2.0f / kColumns;
    triangle.size[1] = 2.0f / kLines;
    triangle.corner[0] = -1 + triangle.size[0] * static_cast<float>(column);
    triangle.corner[1] = -1 + triangle.size[1] * static_cast<float>(line);
    for (size_t k = 0; k < colour.size(); ++k) triangle.colour[k] = static_cast<float>(colour[k]) / 255;
    return triangle;
  }
  // Looks at one pixel of each triangle.
  void Verify() const {
    for (uint32_t i = 0; i < kDraws; ++i) {
      const size_t x = i % kColumns * (kWidth / kColumns) + 8, y = (i / kColumns * kHeight) / kLines + 8;
      const uint8_t* found = &read_[(y * kWidth + x) * 4];
      for (size_t k = 0; k < 4; ++k) {
        if (std::abs(found[k] - colours_[i][k]) > 1) throw std::runtime_error("a triangle has another colour");
      }
    }
  }

  const Gpu& gpu_;
  const bool reads_back_;
  const Canvas canvas_;
  const Commands commands_;
  const Owned<VkFence> fence_;
  Buffer picture_;
  std::vector<Colour> colours_;
  std::vector<uint8_t> read_;
  bool is_in_flight_ = false;
};

class Frames final : public Work {
 public:
  Frames(const Gpu& gpu, bool reads_back) : frames_{{{gpu, reads_back}, {gpu, reads_back}}} {}
  void Batch(Stopwatch* watch) override {
    watch->Start();
    for (uint64_t i = 0; i < kFrames; ++i) {
      Frame& frame = frames_[i % kInFlight];
      frame.Wait();
      frame.Submit(&random_);
    }
    for (Frame& frame : frames_) frame.Wait();
    watch->Stop();
  }
  void Verify(bool last) override {
    for (Frame& frame : frames_) {
      if (last) frame.FetchAndVerify();
    }
  }

 private:
  std::array<Frame, kInFlight> frames_;
  Random random_;
};

}  // namespace

void AddFrameRows(std::vector<Row>& rows) {
  for (const bool reads_back : {false, true}) {
    rows.push_back({reads_back ? "frame.draw1000_readback" : "frame.draw1000", Unit::kFrames,
                    static_cast<double>(kFrames), kFrames,
                    [=](Gpu& gpu) { return std::make_unique<Frames>(gpu, reads_back); }});
  }
}

}  // namespace vesper::tools::bench
