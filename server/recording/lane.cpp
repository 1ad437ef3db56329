#include "server/recording/lane.h"

#include <sys/prctl.h>

#include <chrono>

#include "generated/server/commands.h"
#include "runtime/relax.h"

namespace vesper::server {
namespace {

using Clock = std::chrono::steady_clock;

// Looks for a while before it sleeps: the other end usually comes within less time than waking this one takes.
template <typename Done>
bool LookFor(const std::atomic<uint32_t>& number, Done done) {
  const auto end = Clock::now() + limits::kLaneSpin;
  while (Clock::now() < end) {
    for (int i = 0; i < limits::kLaneLooks; ++i) {
      if (done(number.load(std::memory_order_acquire))) return true;
      Relax();
    }
  }
  return false;
}

template <typename Done>
void SleepUntil(const std::atomic<uint32_t>& number, Done done) {
  for (uint32_t seen = number.load(std::memory_order_acquire); !done(seen);
       seen = number.load(std::memory_order_acquire)) {
    number.wait(seen, std::memory_order_acquire);
  }
}

template <typename Done>
void AwaitChange(const std::atomic<uint32_t>& number, Done done) {
  if (!LookFor(number, done)) SleepUntil(number, done);
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
  Row& row = *rows_[posted % rows_.size()];
  row.Clear();
  return row;
}

void Lane::Post() {
  if (filling_ == nullptr) return;
  filling_ = nullptr;
  begun_ = true;
  posted_.fetch_add(1, std::memory_order_release);
  posted_.notify_one();
}

void Lane::Settle() {
  Post();
  const uint32_t posted = posted_.load(std::memory_order_relaxed);
  AwaitChange(done_, [&](uint32_t done) { return done == posted; });
  begun_ = false;
}

void Lane::Run() {
  prctl(PR_SET_NAME, "vesper-lane");
  uint32_t done = 0;
  while (true) {
    const auto has_row = [&](uint32_t posted) { return posted != done; };
    awake_.store(true, std::memory_order_relaxed);
    if (!LookFor(posted_, has_row)) {
      awake_.store(false, std::memory_order_relaxed);
      SleepUntil(posted_, has_row);
      awake_.store(true, std::memory_order_relaxed);
    }
    if (stopping_.load() && posted_.load(std::memory_order_acquire) == done + 1) return;
    Row& row = *rows_[done % rows_.size()];
    for (PreparedCall* call = row.first(); call != nullptr; call = call->next()) {
      kServerCommands[call->command()].invoke(*session_, row.table(), Row::ArgumentsOf(call));
    }
    if (row.IsLarge()) row.Clear();  // else by the reader, whose cache it is in by then
    done_.store(++done, std::memory_order_release);
    done_.notify_one();
  }
}

}  // namespace vesper::server
