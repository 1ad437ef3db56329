// Finds the messages in a byte stream from an untrusted peer. The socket channel and the fuzzer
// feed it.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/channel.h"
#include "runtime/transport/frame.h"

namespace vesper::transport {

enum class FrameStatus : uint8_t {
  kMessage,
  kNeedMore,
  kMalformed,
  kWake  // an empty frame: nobody's message
};
// As one end of a guest's port sends it, to wake the other.
inline constexpr std::array<uint8_t, 8> kWakeFrame{};

// Reads ahead into a buffer, so that one system call may bring many messages, and lets large
// payloads be read to where they will stay: the payload of a message that is given again makes way
// for the next, so that large ones are received without an allocation and without being zeroed.
// Memory grows as bytes arrive, whatever lengths the peer claims. Not thread-safe. Throws
// std::bad_alloc.
class FrameReader {
 public:
  static constexpr size_t kInboxBytes = size_t{64} << 10;

  // `wakes`: empty frames are no mistake.
  explicit FrameReader(bool wakes = false) : inbox_(new uint8_t[kInboxBytes]), wakes_(wakes) {}
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  // From now on messages may be packed.
  void AcceptPacked() { accepts_packed_ = true; }
  // How many bytes less the packed ones were than what they were unpacked to.
  uint64_t bytes_saved() const { return bytes_saved_; }

  // Takes the next whole message. Once malformed, always malformed.
  FrameStatus Next(Message* message);

  // After Next() returned kNeedMore: where the next bytes of the stream go, in order. Returns the
  // number of vectors.
  size_t Space(std::span<iovec, 2> vectors);
  // So many bytes were put there.
  void Filled(size_t count);

  // Bytes that are here beyond the messages that were taken, while none is under way.
  size_t ahead() const { return buffered(); }
  // The stream may not end here.
  bool in_message() const { return in_body_ || begin_ != end_; }
  const std::string& error() const { return error_; }

 private:
  FrameStatus Fail(std::string error);
  FrameStatus ReadHead(Message* message);
  FrameStatus BeginData(Message* message);
  FrameStatus EndData(Message* message);
  void TakeBack(Message* message);
  void BeginBody(size_t bytes, size_t padding);
  FrameStatus ReadBody(Message* message);
  size_t buffered() const { return end_ - begin_; }

  std::unique_ptr<uint8_t[]> inbox_;
  const bool wakes_;
  size_t begin_ = 0;
  size_t end_ = 0;

  // The message being received when it is not wholly in the inbox: the data of a Batch, Reply or
  // Event whose prefix is taken, or else a whole frame.
  bool in_body_ = false;
  bool whole_frame_ = false;
  DataPrefix prefix_;
  // Between bodies what an earlier one lay in; within one it may be longer than filled_, never than
  // wanted_.
  std::vector<uint8_t> body_;
  size_t filled_ = 0;
  size_t wanted_ = 0;
  size_t padding_ = 0;
  std::string error_;

  bool accepts_packed_ = false;
  std::vector<uint8_t> unpacked_;
  uint64_t bytes_saved_ = 0;
};

}  // namespace vesper::transport
