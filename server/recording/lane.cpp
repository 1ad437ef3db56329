#include "server/recording/lane.h"

#include <sys/prctl.h>

#include <chrono>

namespace vesper::server {
namespace {

using Clock = std::chrono::steady_clock;

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Looks for a while before it sleeps: the other end usually comes within less time than waking this one takes.
template <typename Done>
void AwaitChange(const std::atomic<uint32_t>& number, Done done) {
  const auto end = Clock::now() + limits::kLaneSpin;
  while (Clock::now() < end) {
    for (int i = 0; i < limits::kLaneLooks; ++i) {
      if (done(number.load(std::memory_order_acquire))) return;
      Pause();
    }
  }
  for (uint32_t seen = number.load(std::memory_order_acquire); !done(seen);
       seen = number.load(std::memory_order_acquire)) {
    number.wait(seen, std::memory_order_acquire);
  }
}

}  // namespace

Lane::Lane(Session* session, size_t bytes) : session_(session) {
  for (auto& row : rows_) row = std::make_unique<Row>(bytes);
  thread_ = std::thread([this] { Run(); });
}

Lane::~Lane() {
  Post();
  stopping_.store(true);
  posted_.fetch_add(1);  // an empty row, for the thread to see it
  posted_.notify_one();
  thread_.join();
}

Row& Lane::NextRow() {
  const uint32_t posted = posted_.load(std::memory_order_relaxed);
  const auto has_room = [&](uint32_t done) { return posted - done < rows_.size(); };
  if (!has_room(done_.load(std::memory_order_acquire))) AwaitChange(done_, has_room);
  return *rows_[posted % rows_.size()];
}

void Lane::Post() {
  if (filling_ == nullptr) return;
  filling_ = nullptr;
  posted_.fetch_add(1, std::memory_order_release);
  posted_.notify_one();
}

void Lane::Settle() {
  Post();
  const uint32_t posted = posted_.load(std::memory_order_relaxed);
  AwaitChange(done_, [&](uint32_t done) { return done == posted; });
}

void Lane::Run() {
  prctl(PR_SET_NAME, "vesper-lane");
  uint32_t done = 0;
  while (true) {
    AwaitChange(posted_, [&](uint32_t posted) { return posted != done; });
    if (stopping_.load() && posted_.load(std::memory_order_acquire) == done + 1) return;
    Row& row = *rows_[done % rows_.size()];
    for (PreparedCall* call = row.first(); call != nullptr; call = call->next) {
      call->invoke(*session_, *call->table, Row::ArgumentsOf(call));
    }
    row.Clear();
    done_.store(++done, std::memory_order_release);
    done_.notify_one();
  }
}

}  // namespace vesper::server
