// What one end of a connection has said and the other has not confirmed: said again over another connection, should this one
// break. Bytes, whatever they mean, by their place in the stream.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>

namespace vesper::resume {

// Not thread-safe. Memory is taken in blocks as bytes come and given back as they are confirmed; one block is kept.
//
//     begin() … sent() … offered() … end()
//       kept and sent, may be in a system call, not sent yet
class SentLog {
 public:
  static constexpr size_t kBlockBytes = size_t{64} << 10;

  uint64_t begin() const { return begin_; }
  uint64_t sent() const { return sent_; }
  uint64_t end() const { return end_; }
  size_t size() const { return static_cast<size_t>(end_ - begin_); }
  bool pending() const { return sent_ != end_; }

  // Adds bytes at the end. Throws std::bad_alloc, having added none.
  void Append(std::span<const iovec> pieces);
  // What is to be sent next; how many of `vectors` were used. Their memory stays until Sent().
  size_t Offer(std::span<iovec> vectors);
  // So many bytes of what was offered have been taken. Returns how many of them were taken for the first time.
  uint64_t Sent(size_t count);
  // The peer has everything before `place`. False, with nothing changed, for what was not offered yet.
  bool Confirm(uint64_t place);
  // The peer has everything before `place`, and nothing after: that is to be sent next. False, with nothing changed, for a place
  // that is not here, or was never offered. Not between Offer() and Sent().
  bool GoBackTo(uint64_t place);

 private:
  using Block = std::unique_ptr<uint8_t[]>;
  void Drop();

  std::deque<Block> blocks_;  // the first holds the byte at begin_, blocks being cut at multiples of their size
  Block spare_;
  uint64_t begin_ = 0, sent_ = 0, end_ = 0;
  uint64_t confirmed_ = 0;
  uint64_t offered_ = 0;       // at most, since the last GoBackTo()
  uint64_t ever_offered_ = 0;  // at most
  uint64_t ever_sent_ = 0;     // at most
};

}  // namespace vesper::resume
