// A ring of the Venus protocol: in memory that the peer made, it appends commands and moves the tail; whoever has carried them
// out moves the head, which says as well that their replies are written.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "generated/venus/mesa.h"
#include "server/venus/resources.h"

namespace vesper::venus {

inline constexpr uint32_t kRingIdle = 1;
inline constexpr uint32_t kRingFatal = 2;
inline constexpr uint32_t kRingAlive = 4;

// Threading: Take() by one thread; the rest by any.
class Ring {
 public:
  // Null with a reason where the layout is impossible.
  static std::unique_ptr<Ring> Make(const RingCreateInfoMESA& info, std::shared_ptr<Pages> pages, std::string* error);

  // Appends what the peer has put there since the last call, copied out, to `bytes`. False with a reason when the tail lies.
  bool Take(std::vector<uint8_t>* bytes, std::string* error);
  bool HasNews() const { return tail_->load(std::memory_order_acquire) != taken_; }
  uint32_t taken() const { return taken_; }

  // By who carries commands out: everything before that place is done.
  void SetHead(uint32_t head) {
    done_.store(head, std::memory_order_relaxed);
    head_->store(head, std::memory_order_release);
  }
  // What SetHead() said last, whatever the peer has written there.
  uint32_t head() const { return done_.load(std::memory_order_relaxed); }

  void SetStatus(uint32_t bits) { status_->fetch_or(bits); }
  void ClearStatus(uint32_t bits) { status_->fetch_and(~bits); }

  bool WriteExtra(uint64_t offset, uint32_t value);

 private:
  using Word = std::atomic<uint32_t>;
  static_assert(Word::is_always_lock_free && sizeof(Word) == sizeof(uint32_t));
  Ring(const RingCreateInfoMESA& info, std::shared_ptr<Pages> pages);

  const std::shared_ptr<Pages> pages_;
  const RingCreateInfoMESA info_;
  uint8_t* const base_;
  Word* const head_;
  Word* const tail_;
  Word* const status_;
  uint32_t taken_ = 0;
  std::atomic<uint32_t> done_ = 0;
};

}  // namespace vesper::venus
