// How the ends of a ring channel wake each other: a futex where they share a kernel. A guest and its host have another.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace vesper::transport {

// Thread-safe. The word is in memory that the peer shares; it may change without a wake, and a wake may come without a change.
class Doorbell {
 public:
  virtual ~Doorbell() = default;
  // Sleeps while the word is `seen`, no longer than `time`; may return early.
  virtual void Sleep(std::atomic<uint32_t>* word, uint32_t seen, std::chrono::nanoseconds time) = 0;
  // Wakes whoever sleeps there, in whichever process.
  virtual void Ring(std::atomic<uint32_t>* word) = 0;
};

Doorbell* FutexDoorbell();

}  // namespace vesper::transport
