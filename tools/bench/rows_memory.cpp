// Bytes that travel between the program and the GPU's memory. All are random, new in each batch, and checked: what went to the
// device by a sum that a shader makes of it, what came from there word by word.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <thread>

#include "shaders/words_comp.h"
#include "tools/bench/rows.h"
#include "tools/bench/touch.h"

namespace vesper::tools::bench {
namespace {

constexpr size_t kMega = size_t{1} << 20;

// Fills a buffer of the device with random words, or sums up what it holds.
class Words {
 public:
  Words(const Gpu& gpu, const Buffer& buffer)
      : gpu_(gpu),
        count_(static_cast<uint32_t>(buffer.size / sizeof(uint32_t))),
        sum_(MakeBuffer(gpu, 4096, Place::kDevice)),
        kernel_(gpu, words_comp, std::vector<const Buffer*>{&buffer, &sum_}, sizeof(Pushed)),
        commands_(gpu) {}

  void Fill(uint32_t seed) const { Execute({count_, seed, 0}); }
  uint32_t Sum() const {
    Execute({count_, 0, 1});
    uint32_t sum = 0;
    std::memcpy(&sum, Fetch(gpu_, sum_).data(), sizeof(sum));
    return sum;
  }

 private:
  struct Pushed {
    uint32_t count, seed, adds;
  };
  void Execute(const Pushed& pushed) const {
    commands_.Begin();
    vkCmdFillBuffer(commands_.get(), sum_.handle, 0, VK_WHOLE_SIZE, 0);
    FullBarrier(commands_.get());
    kernel_.Bind(commands_.get());
    kernel_.Push(commands_.get(), pushed);
    vkCmdDispatch(commands_.get(), std::clamp(count_ / 4096, 1u, 4096u), 1, 1);
    FullBarrier(commands_.get());
    commands_.End();
    gpu_.Finish(commands_.get());
  }

  const Gpu& gpu_;
  const uint32_t count_;
  Buffer sum_;
  Kernel kernel_;
  Commands commands_;
};

void RecordCopy(const Commands& commands, const Buffer& from, const Buffer& to) {
  commands.Begin();
  FullBarrier(commands.get());
  CopyAll(commands.get(), from, to);
  FullBarrier(commands.get());
  commands.End();
}

// Which of the mapped words each batch changes.
enum class Change : uint8_t { kAll, kHalfOfEachWord, kALineInEachMega, kTexture, kSmoothFloats };

// As of a picture: colours that change slowly over lines of 1024 pixels, with some noise in the lowest bits.
void FillTexture(Random* random, std::span<uint32_t> pixels) {
  const uint32_t seed = random->Word();
  for (size_t i = 0; i < pixels.size(); ++i) {
    const auto x = static_cast<uint32_t>(i % 1024), y = static_cast<uint32_t>(i / 1024);
    const uint32_t noise = i % 8 == 0 ? random->Word() & 0x00010101 : 0;
    pixels[i] =
        (0xff000000 | ((x + seed) / 16 & 0xff) << 16 | ((y + seed / 256) / 8 & 0xff) << 8 | ((x + y) / 32 & 0xff)) ^
        noise;
  }
}

// As of a simulation: values of which neighbours have the upper bits in common and the lower ones not.
void FillFloats(Random* random, std::span<uint32_t> words) {
  const double phase = random->Word() * 1e-6;
  for (size_t i = 0; i < words.size(); ++i) {
    const double noise = (random->Word() & 0xfff) * 1e-7;
    const auto value = static_cast<float>(2 + std::sin(phase + static_cast<double>(i) * 1e-4) + noise);
    std::memcpy(&words[i], &value, sizeof(value));
  }
}

class Upload final : public Work {
 public:
  Upload(const Gpu& gpu, size_t size, Change change, Place place)
      : gpu_(gpu),
        change_(change),
        mapped_(MakeBuffer(gpu, size, place)),
        device_(MakeBuffer(gpu, size, Place::kDevice)),
        words_(gpu, device_),
        copy_(gpu),
        source_(size / sizeof(uint32_t)) {
    random_.Fill(source_);
    std::memcpy(mapped_.mapped, source_.data(), size);
    RecordCopy(copy_, mapped_, device_);
  }
  void Prepare() override {
    switch (change_) {
      case Change::kAll:
        return random_.Fill(source_);
      case Change::kHalfOfEachWord:
        for (uint32_t& word : source_) word ^= random_.Word() & 0xffff;
        return;
      case Change::kTexture:
        return FillTexture(&random_, source_);
      case Change::kSmoothFloats:
        return FillFloats(&random_, source_);
      case Change::kALineInEachMega:
        line_ = random_.Word() % (kStep / kLine) * kLine;
        for (size_t at = line_; at < source_.size(); at += kStep) random_.Fill({&source_[at], kLine});
    }
  }
  void Batch(Stopwatch* watch) override {
    watch->Start();
    Write();
    gpu_.Finish(copy_.get());
    watch->Stop();
  }
  void Verify(bool /*last*/) override {
    if (words_.Sum() != SumOf(source_)) throw std::runtime_error("other bytes arrived than were written");
  }

 private:
  static constexpr size_t kLine = 64 / sizeof(uint32_t), kStep = kMega / sizeof(uint32_t);

  void Write() const {
    if (change_ != Change::kALineInEachMega) {
      std::memcpy(mapped_.mapped, source_.data(), mapped_.size);
      return;
    }
    for (size_t at = line_; at < source_.size(); at += kStep) {
      std::memcpy(static_cast<uint32_t*>(mapped_.mapped) + at, &source_[at], kLine * sizeof(uint32_t));
    }
  }

  const Gpu& gpu_;
  const Change change_;
  Buffer mapped_, device_;
  Words words_;
  Commands copy_;
  Random random_;
  std::vector<uint32_t> source_;
  size_t line_ = 0;
};

class Download final : public Work {
 public:
  Download(const Gpu& gpu, size_t size)
      : gpu_(gpu),
        mapped_(MakeBuffer(gpu, size, Place::kReadBack)),
        device_(MakeBuffer(gpu, size, Place::kDevice)),
        words_(gpu, device_),
        copy_(gpu),
        read_(size / sizeof(uint32_t)) {
    RecordCopy(copy_, device_, mapped_);
  }
  void Prepare() override {
    seed_ = random_.Word();
    words_.Fill(seed_);
  }
  void Batch(Stopwatch* watch) override {
    watch->Start();
    gpu_.Finish(copy_.get());
    std::memcpy(read_.data(), mapped_.mapped, mapped_.size);
    watch->Stop();
  }
  void Verify(bool /*last*/) override {
    for (size_t i = 0; i < read_.size(); ++i) {
      if (read_[i] != MixedWord(static_cast<uint32_t>(i), seed_)) throw std::runtime_error("wrong bytes arrived");
    }
  }

 private:
  const Gpu& gpu_;
  Buffer mapped_, device_;
  Words words_;
  Commands copy_;
  Random random_;
  uint32_t seed_ = 0;
  std::vector<uint32_t> read_;
};

// Questions that this thread asks while another one moves bytes all the time.
class Beside final : public Work {
 public:
  static constexpr uint64_t kQuestions = 10;

  Beside(const Gpu& gpu, std::unique_ptr<Work> moves) : gpu_(gpu), moves_(std::move(moves)) {}
  void Batch(Stopwatch* watch) override {
    std::atomic<bool> enough{false};
    std::exception_ptr failure;
    std::thread mover([&] {
      try {
        do {
          Stopwatch nobodys;
          moves_->Prepare();
          moves_->Batch(&nobodys);
          moves_->Verify(true);
        } while (!enough);
      } catch (...) {
        failure = std::current_exception();
      }
    });
    for (uint64_t i = 0; i < kQuestions; ++i) {
      std::this_thread::sleep_for(kBetween);
      Ask(watch);
    }
    enough = true;
    mover.join();
    if (failure != nullptr) std::rethrow_exception(failure);
  }

 private:
  static constexpr std::chrono::milliseconds kBetween{60};

  // Large memory, which no client can promise by itself.
  void Ask(Stopwatch* watch) const {
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
    info.allocationSize = 4 * kMega;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    watch->Start();
    const VkResult result = vkAllocateMemory(gpu_.device(), &info, nullptr, &memory);
    watch->Stop();
    VESPER_BENCH_CHECK(result);
    vkFreeMemory(gpu_.device(), memory, nullptr);
  }

  const Gpu& gpu_;
  const std::unique_ptr<Work> moves_;
};

// A dispatch changes four mapped bytes, which the program waits for and reads.
class FourBytes final : public Work {
 public:
  explicit FourBytes(const Gpu& gpu) : gpu_(gpu), touch_(gpu, Place::kReadBack) {}
  void Batch(Stopwatch* watch) override {
    watch->Start();
    gpu_.Finish(touch_.commands());
    found_ = *static_cast<const volatile uint32_t*>(touch_.word().mapped);
    watch->Stop();
  }
  void Verify(bool /*last*/) override {
    if (found_ != touch_.Expected(++done_)) throw std::runtime_error("the GPU's four bytes were not there");
  }

 private:
  const Gpu& gpu_;
  const Touch touch_;
  uint32_t found_ = 0;
  uint64_t done_ = 0;
};

}  // namespace

void AddMemoryRows(std::vector<Row>& rows) {
  const auto rate = [&rows](const char* name, size_t size, auto make) {
    rows.push_back({name, Unit::kMegabytes, static_cast<double>(size), 1, make});
  };
  const auto upload = [&](const char* name, size_t size, Change change = Change::kAll, Place place = Place::kUpload) {
    rate(name, size, [=](Gpu& gpu) { return std::make_unique<Upload>(gpu, size, change, place); });
  };
  const auto download = [&](const char* name, size_t size) {
    rate(name, size, [=](Gpu& gpu) { return std::make_unique<Download>(gpu, size); });
  };
  upload("mem.upload_4k", 4096);
  download("mem.download_4k", 4096);
  upload("mem.upload_1m", kMega);
  download("mem.download_1m", kMega);
  upload("mem.upload_64m", 64 * kMega);
  upload("mem.upload_staging_64m", 64 * kMega, Change::kAll, Place::kStaging);
  download("mem.download_64m", 64 * kMega);
  upload("mem.upload_floats_16m", 16 * kMega, Change::kHalfOfEachWord);
  upload("mem.upload_texture_16m", 16 * kMega, Change::kTexture);
  upload("mem.upload_smooth_16m", 16 * kMega, Change::kSmoothFloats);
  rows.push_back({"mem.sparse_64m", Unit::kMilliseconds, 1, 1, [](Gpu& gpu) {
                    return std::make_unique<Upload>(gpu, 64 * kMega, Change::kALineInEachMega, Place::kUpload);
                  }});
  rows.push_back(
      {"mem.readback_4b", Unit::kMicroseconds, 1, 1, [](Gpu& gpu) { return std::make_unique<FourBytes>(gpu); }});
  const auto beside = [&rows](const char* name, auto make) {
    rows.push_back({name, Unit::kMicroseconds, static_cast<double>(Beside::kQuestions), Beside::kQuestions,
                    [make](Gpu& gpu) { return std::make_unique<Beside>(gpu, make(gpu)); }});
  };
  beside("beside.upload", [](Gpu& gpu) -> std::unique_ptr<Work> {
    return std::make_unique<Upload>(gpu, 16 * kMega, Change::kAll, Place::kUpload);
  });
  beside("beside.download",
         [](Gpu& gpu) -> std::unique_ptr<Work> { return std::make_unique<Download>(gpu, 16 * kMega); });
}

}  // namespace vesper::tools::bench
