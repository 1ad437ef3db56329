#include "compute/src/copy_threads.h"

#include <algorithm>
#include <cstring>
#include <system_error>

namespace vesper::compute {
namespace {

constexpr uint64_t kWorthIt = uint64_t{4} << 20;
constexpr uint64_t kPage = 4096;

uint32_t DefaultThreads() { return std::clamp(std::thread::hardware_concurrency() / 2, 1u, 4u); }

}  // namespace

CopyThreads::CopyThreads(uint32_t threads) : wanted_(threads != 0 ? threads : DefaultThreads()) {}

CopyThreads::~CopyThreads() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

// Fewer threads than wanted, or none, are no error.
void CopyThreads::Start() {
  if (!parts_.empty()) return;
  parts_.resize(wanted_ - 1);
  try {
    for (size_t i = 0; i < parts_.size(); ++i) threads_.emplace_back([this, i] { Serve(i); });
  } catch (const std::system_error&) {
  }
}

void CopyThreads::Serve(size_t index) {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return stop_ || parts_[index].bytes != 0; });
    if (stop_) return;
    const Part part = parts_[index];
    lock.unlock();
    std::memcpy(part.to, part.from, part.bytes);
    lock.lock();
    parts_[index].bytes = 0;
    if (--left_ == 0) done_.notify_one();
  }
}

void CopyThreads::Copy(void* to, const void* from, uint64_t bytes) {
  if (wanted_ == 1 || bytes < kWorthIt) {
    std::memcpy(to, from, bytes);
    return;
  }
  const std::unique_lock copying(copying_, std::try_to_lock);
  if (!copying.owns_lock()) {
    std::memcpy(to, from, bytes);
    return;
  }
  auto* next_to = static_cast<std::byte*>(to);
  const auto* next_from = static_cast<const std::byte*>(from);
  {
    const std::lock_guard lock(mutex_);
    Start();
    const uint64_t each = bytes / (threads_.size() + 1) / kPage * kPage;
    for (size_t i = 0; i < threads_.size(); ++i) {
      parts_[i] = {next_to, next_from, each};
      next_to += each;
      next_from += each;
      bytes -= each;
    }
    left_ = threads_.size();
  }
  work_.notify_all();
  std::memcpy(next_to, next_from, bytes);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return left_ == 0; });
}

}  // namespace vesper::compute
