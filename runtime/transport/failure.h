// The first thing that went wrong with a channel, kept as a sentence.
#pragma once

#include <atomic>
#include <string>
#include <utility>

namespace vesper::transport {

// Any thread may set and get it. Takes no lock, so that it works in a forked child.
class Failure {
 public:
  void Set(std::string sentence) {
    if (taken_.exchange(true)) return;
    sentence_ = std::move(sentence);
    ready_.store(true, std::memory_order_release);
  }
  std::string Get() const { return ready_.load(std::memory_order_acquire) ? sentence_ : std::string(); }

 private:
  std::atomic<bool> taken_ = false;
  std::atomic<bool> ready_ = false;
  std::string sentence_;
};

}  // namespace vesper::transport
