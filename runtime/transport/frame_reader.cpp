#include "runtime/transport/frame_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/transport/packing.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/limits.h"

namespace vesper::transport {
namespace {

// A body grows by so much at a time: what was just zeroed is still in the cache when bytes are
// received into it.
constexpr size_t kBodyStep = size_t{256} << 10;
constexpr size_t kMaxFrameBytes = wire::kMaxMessageBytes + 4096;
// Payloads that are used again: smaller ones cost nothing to make, larger ones too much to keep.
constexpr size_t kLeastReused = size_t{16} << 10;
constexpr size_t kMostReused = size_t{1} << 20;
// What is read ahead of the end of a body is copied once more: the next head, small messages.
constexpr size_t kBehindBody = size_t{4} << 10;

}  // namespace

FrameStatus FrameReader::Fail(std::string error) {
  error_ = std::move(error);
  return FrameStatus::kMalformed;
}

FrameStatus FrameReader::Next(Message* message) {
  if (!error_.empty()) return FrameStatus::kMalformed;
  TakeBack(message);
  return in_body_ ? ReadBody(message) : ReadHead(message);
}

void FrameReader::TakeBack(Message* message) {
  const size_t size = message->payload.size();
  if (in_body_ || size <= body_.size() || size < kLeastReused || size > kMostReused) return;
  body_.swap(message->payload);
}

FrameStatus FrameReader::ReadHead(Message* message) {
  const uint8_t* at = inbox_.get() + begin_;
  if (buffered() < 8) return FrameStatus::kNeedMore;
  const uint64_t all = uint64_t{wire::Load<uint32_t>(at)} + 1;
  if (all > kMaxSegments) {
    return Fail("a message of " + std::to_string(all) + " segments; these bytes are no Vesper message");
  }
  const auto segments = static_cast<size_t>(all);
  const size_t table = (4 + 4 * segments + 7) / 8 * 8;
  if (buffered() < table) return FrameStatus::kNeedMore;
  uint64_t frame = table;
  for (size_t i = 0; i < segments; ++i) frame += uint64_t{wire::Load<uint32_t>(at + 4 + 4 * i)} * 8;
  if (frame == table && wakes_ && segments == 1) {
    begin_ += kWakeFrame.size();
    return FrameStatus::kWake;
  }
  if (frame == table) return Fail("an empty message");
  if (frame > kMaxFrameBytes) {
    return Fail("a message of " + std::to_string(frame) + " bytes is larger than the limit");
  }
  if (frame >= kDataPrefixBytes && segments == 1) {
    if (buffered() < kDataPrefixBytes) return FrameStatus::kNeedMore;
    const std::span<const uint8_t, kDataPrefixBytes> prefix(at, kDataPrefixBytes);
    if (ReadDataPrefix(prefix, &prefix_)) return BeginData(message);
  }
  whole_frame_ = true;
  BeginBody(static_cast<size_t>(frame), 0);
  return ReadBody(message);
}

FrameStatus FrameReader::BeginData(Message* message) {
  const size_t bytes = prefix_.data_bytes;
  const size_t padding = (8 - bytes % 8) % 8;
  if (bytes > wire::kMaxMessageBytes) return Fail("a message's data is larger than the limit");
  const Packed& packed = prefix_.packed;
  if (packed.packing != 0 && !accepts_packed_) return Fail("a packed message that nobody agreed on");
  if (packed.packing > kLastPacking ||
      (packed.packing != 0 && std::max<size_t>(packed.unpacked, bytes) > kMostPackable)) {
    return Fail("a packed message of an unknown kind, or larger than the limit");
  }
  if (buffered() - kDataPrefixBytes < bytes + padding) {
    begin_ += kDataPrefixBytes;
    whole_frame_ = false;
    BeginBody(bytes, padding);
    return ReadBody(message);
  }
  const uint8_t* data = inbox_.get() + begin_ + kDataPrefixBytes;
  if (bytes >= kLeastReused && body_.size() >= bytes) message->payload.swap(body_);
  message->payload.assign(data, data + bytes);
  begin_ += kDataPrefixBytes + bytes + padding;
  return EndData(message);
}

// The payload is there.
FrameStatus FrameReader::EndData(Message* message) {
  message->kind = prefix_.kind;
  message->sequence = prefix_.sequence;
  message->announced_descriptors = 0;
  const Packed& packed = prefix_.packed;
  if (packed.packing == 0) return FrameStatus::kMessage;
  const size_t bytes = message->payload.size();
  if (!Unpack(static_cast<Packing>(packed.packing), message->payload, packed.unpacked, &unpacked_)) {
    return Fail("a packed message is not what it says");
  }
  message->payload.swap(unpacked_);
  if (packed.unpacked > bytes) bytes_saved_ += packed.unpacked - bytes;
  return FrameStatus::kMessage;
}

void FrameReader::BeginBody(size_t bytes, size_t padding) {
  if (body_.capacity() < bytes) {
    body_ = {};
    body_.reserve(std::max(bytes, kLeastReused));  // address space only: untouched pages cost nothing
  }
  if (body_.size() > bytes) body_.resize(bytes);
  filled_ = 0;
  wanted_ = bytes;
  padding_ = padding;
  in_body_ = true;
}

FrameStatus FrameReader::ReadBody(Message* message) {
  const size_t taken = std::min(buffered(), wanted_ - filled_);
  if (taken != 0) {
    if (body_.size() < filled_ + taken) body_.resize(filled_ + taken);
    std::memcpy(body_.data() + filled_, inbox_.get() + begin_, taken);
    filled_ += taken;
    begin_ += taken;
  }
  if (filled_ < wanted_ || buffered() < padding_) return FrameStatus::kNeedMore;
  begin_ += padding_;
  in_body_ = false;
  if (whole_frame_) {
    std::string error = DecodeFrame(std::move(body_), message);
    body_ = {};
    return error.empty() ? FrameStatus::kMessage : Fail(std::move(error));
  }
  message->payload = std::move(body_);
  body_ = {};
  return EndData(message);
}

size_t FrameReader::Space(std::span<iovec, 2> vectors) {
  if (begin_ != 0) {  // what remains is less than a head or a padding
    std::memmove(inbox_.get(), inbox_.get() + begin_, buffered());
    end_ -= begin_;
    begin_ = 0;
  }
  size_t used = 0;
  if (in_body_ && filled_ < wanted_) {
    if (filled_ == body_.size()) body_.resize(std::min(wanted_, filled_ + kBodyStep));
    vectors[used++] = {body_.data() + filled_, body_.size() - filled_};
    if (body_.size() < wanted_) return used;
  }
  const size_t behind = used == 0 ? kInboxBytes : kBehindBody;
  vectors[used++] = {inbox_.get() + end_, std::min(behind, kInboxBytes - end_)};
  return used;
}

void FrameReader::Filled(size_t count) {
  const size_t to_body = in_body_ ? std::min(count, body_.size() - filled_) : 0;
  filled_ += to_body;
  end_ += count - to_body;
}

}  // namespace vesper::transport
