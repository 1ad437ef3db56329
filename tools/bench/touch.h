// A tiny dispatch that can be counted: each adds a random number to a word.
#pragma once

#include <cstring>

#include "shaders/touch_comp.h"
#include "tools/bench/gpu.h"
#include "tools/bench/random.h"

namespace vesper::tools::bench {

class Touch {
 public:
  struct Pushed {
    uint32_t value, unused[3];
  };

  Touch(const Gpu& gpu, Place place)
      : gpu_(gpu), word_(MakeBuffer(gpu, 4096, place)), kernel_(gpu, touch_comp, Buffers(), sizeof(Pushed)), own_(gpu) {
    Random random;
    pushed_.value = random.Word() | 1;
    own_.Begin();
    vkCmdFillBuffer(own_.get(), word_.handle, 0, VK_WHOLE_SIZE, 0);
    own_.End();
    gpu.Finish(own_.get());
    own_.Begin(VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT);
    Bind(own_.get());
    vkCmdDispatch(own_.get(), 1, 1, 1);
    FullBarrier(own_.get());
    own_.End();
  }

  void Bind(VkCommandBuffer commands) const {
    kernel_.Bind(commands);
    kernel_.Push(commands, pushed_);
  }
  const Kernel& kernel() const { return kernel_; }
  const Buffer& word() const { return word_; }
  const Pushed& pushed() const { return pushed_; }
  VkCommandBuffer commands() const { return own_.get(); }  // one dispatch
  // What the word is after as many dispatches.
  uint32_t Expected(uint64_t dispatches) const { return pushed_.value * static_cast<uint32_t>(dispatches); }
  void Verify(uint64_t dispatches) const {
    uint32_t found = 0;
    std::memcpy(&found, Fetch(gpu_, word_).data(), sizeof(found));
    if (found != Expected(dispatches)) throw std::runtime_error("not every dispatch was executed once");
  }

 private:
  std::vector<const Buffer*> Buffers() const { return {&word_}; }

  const Gpu& gpu_;
  Buffer word_;
  Kernel kernel_;
  Commands own_;
  Pushed pushed_ = {};
};

}  // namespace vesper::tools::bench
