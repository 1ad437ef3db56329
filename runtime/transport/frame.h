// How one message of a channel lies in a byte stream: Cap'n Proto's framing around the schema's
// Message. Channels over a stream send with OutgoingFrame and receive with FrameReader
// (frame_reader.h); neither does I/O.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/channel.h"

namespace vesper::transport {

// What precedes the data of a Batch, Reply or Event: segment table, root pointer, Message, and the
// inner struct, whose last word is the pointer to the data that follows at once. Other layouts of
// the same message are received as well.
inline constexpr size_t kDataPrefixBytes = 48;
inline constexpr uint32_t kMaxSegments = 64;

// Batch, Reply and Event carry bytes and a sequence number, and Received is laid out like them. The payload of Refused, Goodbye and Waiting is
// text for people; that of Hello and Welcome is the whole serialised Message
// (runtime/transport/handshake.cpp reads and writes it).
constexpr bool CarriesData(MessageKind kind) {
  return kind == MessageKind::kBatch || kind == MessageKind::kReply || kind == MessageKind::kEvent ||
         kind == MessageKind::kReceived;
}

constexpr bool CarriesText(MessageKind kind) {
  return kind == MessageKind::kRefused || kind == MessageKind::kGoodbye || kind == MessageKind::kWaiting;
}
inline constexpr MessageKind kLastMessageKind = MessageKind::kReceived;

// How the data of a message were packed (packing.h), and how many bytes they were before.
struct Packed {
  uint8_t packing = 0;  // 0: they are as they are
  uint32_t unpacked = 0;
};

struct DataPrefix {
  MessageKind kind = MessageKind::kGoodbye;
  uint64_t sequence = 0;
  size_t data_bytes = 0;
  Packed packed = {};
};
void WriteDataPrefix(const DataPrefix& prefix, std::span<uint8_t, kDataPrefixBytes> out);
// False when `bytes` are not as WriteDataPrefix would write them.
bool ReadDataPrefix(std::span<const uint8_t, kDataPrefixBytes> bytes, DataPrefix* prefix);

// Decodes one complete frame from an untrusted peer. An empty string when all is well, else a
// sentence. The bytes are aligned to 8 and become the payload where that is the whole Message.
std::string DecodeFrame(std::vector<uint8_t> bytes, Message* message);

size_t TotalBytes(std::span<const std::span<const uint8_t>> parts);

// Why this is no message to send (too large, no Hello where one is promised), or empty. Every
// channel asks this first.
std::string CheckMessage(MessageKind kind, std::span<const std::span<const uint8_t>> parts);

// One message on its way into a stream: gathers prefix, parts and padding without copying the
// parts, which must stay valid.
class OutgoingFrame {
 public:
  // The message must have passed CheckMessage(). `descriptors` is how many file descriptors the
  // stream will carry with its first byte: only for what CarriesData(), whose bytes are then copied. What is `packed` carries
  // data and no descriptors.
  OutgoingFrame(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                size_t descriptors = 0, const Packed& packed = {});

  bool done() const { return done_ == total_; }
  // What is to be written next; returns how many of `vectors` were used, 0 when done.
  size_t Gather(std::span<iovec> vectors) const;
  void Advance(size_t count);

 private:
  std::span<const uint8_t> Piece(size_t index) const;

  std::array<uint8_t, kDataPrefixBytes> prefix_;
  std::vector<uint8_t> whole_frame_;  // text, and what announces descriptors
  std::span<const uint8_t> head_;     // prefix_ or whole_frame_ or nothing
  std::span<const std::span<const uint8_t>> parts_;
  std::span<const uint8_t> padding_;
  size_t total_ = 0;
  size_t done_ = 0;
  size_t piece_ = 0;  // where writing stands: piece, and bytes of it already written
  size_t offset_ = 0;
};

}  // namespace vesper::transport
