// memcpy by several threads: one thread alone moves less than a fast GPU's bus does, and where the
// destination's pages are new it is mostly busy with page faults.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace vesper::compute {

class CopyThreads {
 public:
  // `threads` counts the caller's own; 0: half of the processors, up to four. They are started by
  // the first large copy.
  explicit CopyThreads(uint32_t threads = 0);
  ~CopyThreads();
  CopyThreads(const CopyThreads&) = delete;
  CopyThreads& operator=(const CopyThreads&) = delete;

  // Thread-safe. A copy that finds the threads busy with another one does without them.
  void Copy(void* to, const void* from, uint64_t bytes);

 private:
  struct Part {
    std::byte* to = nullptr;
    const std::byte* from = nullptr;
    uint64_t bytes = 0;
  };
  void Start();
  void Serve(size_t index);

  const uint32_t wanted_;
  std::mutex copying_;  // one copy at a time
  std::mutex mutex_;    // of what follows
  std::condition_variable work_, done_;
  std::vector<Part> parts_;  // one for each thread; bytes 0: nothing to do
  size_t left_ = 0;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace vesper::compute
