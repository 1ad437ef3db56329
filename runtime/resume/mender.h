// The client's part when a connection breaks: finds the server again, on a thread that lives as long as that takes.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "runtime/resume/carrier.h"
#include "runtime/resume/resumption.h"

namespace vesper::resume {

// Connects once. `session` is what the server is told ahead of the first message, where that is encrypted. `refused` says that
// nobody listens there.
using Dial = std::function<bool(uint64_t session, const transport::Deadline& deadline, Carrier* carrier, bool* refused,
                                std::string* error)>;
// Puts the carrier in the place of the broken connection, the server having received so much. False when it is of no use.
using Install = std::function<bool(Carrier carrier, uint64_t received)>;

// Start() is called by the thread that finds the connection broken, the destructor when no thread can do that any more.
class Mender {
 public:
  // It goes on for so long after a break.
  Mender(Dial dial, std::chrono::milliseconds patience) : dial_(std::move(dial)), patience_(patience) {}
  ~Mender() VESPER_NOT_ANALYSED;
  Mender(const Mender&) = delete;
  Mender& operator=(const Mender&) = delete;

  // Tries until `resumption` goes on or is over, and ends it where that is certain, or when it has tried for too long, no longer
  // than `most`; `ended` is called then.
  void Start(Resumption* resumption, Install install, std::function<void()> ended,
             std::chrono::milliseconds most = std::chrono::milliseconds::max());
  // Ends the attempts soon, from any thread.
  void Cancel() { cancelled_.store(true); }
  // In the child of a fork, which has no such thread.
  void AbandonAfterFork() VESPER_NOT_ANALYSED {
    new (&thread_) std::thread;
  }  // without the lock, which may be held for ever

 private:
  enum class Outcome : uint8_t { kMended, kAgain, kNobody, kRefused };
  // Why there is no more to be done; empty when it is mended, or was cancelled.
  std::string Run(Resumption* resumption, const Install& install, std::chrono::milliseconds patience);
  Outcome Try(Resumption* resumption, const Install& install, Resumption::Clock::time_point end, std::string* why);
  bool Pause(std::chrono::milliseconds time) const;

  const Dial dial_;
  const std::chrono::milliseconds patience_;
  std::atomic<bool> cancelled_{false};
  Mutex mutex_;  // a connection may break again before the thread that found it broken has come back from Start()
  std::thread thread_ VESPER_GUARDED_BY(mutex_);
};

}  // namespace vesper::resume
