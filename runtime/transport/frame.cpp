#include "runtime/transport/frame.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "runtime/transport/vesper.capnp.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/encoder.h"
#include "runtime/wire/limits.h"

namespace vesper::transport {
namespace {

using wire::Load;
using wire::Store;

constexpr uint64_t KindOf(schema::Message::Which which) { return static_cast<uint64_t>(which); }
static_assert(KindOf(schema::Message::HELLO) == static_cast<uint64_t>(MessageKind::kHello));
static_assert(KindOf(schema::Message::BATCH) == static_cast<uint64_t>(MessageKind::kBatch));
static_assert(KindOf(schema::Message::REPLY) == static_cast<uint64_t>(MessageKind::kReply));
static_assert(KindOf(schema::Message::EVENT) == static_cast<uint64_t>(MessageKind::kEvent));
static_assert(KindOf(schema::Message::GOODBYE) == static_cast<uint64_t>(MessageKind::kGoodbye));
static_assert(KindOf(schema::Message::WAITING) == static_cast<uint64_t>(MessageKind::kWaiting));
static_assert(KindOf(schema::Message::RECEIVED) == static_cast<uint64_t>(MessageKind::kReceived));

// Cap'n Proto's pointers (capnproto.org/encoding.html): a struct of one data word and one pointer
// that follows at once, and a list of bytes that follows at once.
constexpr uint64_t kStructPointer = uint64_t{1} << 32 | uint64_t{1} << 48;
constexpr uint64_t BytesPointer(uint64_t count) { return count << 35 | uint64_t{2} << 32 | 1; }
constexpr uint32_t kPrefixWords = kDataPrefixBytes / 8 - 1;  // without the segment table
static_assert(wire::kMaxMessageBytes < (size_t{1} << 29), "the length of a Cap'n Proto list has 29 bits");

constexpr uint8_t kPadding[8] = {};
constexpr size_t PaddingOf(size_t bytes) { return (8 - bytes % 8) % 8; }

std::vector<uint8_t> Flatten(std::span<const std::span<const uint8_t>> parts) {
  std::vector<uint8_t> bytes;
  bytes.reserve(TotalBytes(parts));
  for (const auto& part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

std::vector<uint8_t> EncodeText(MessageKind kind, std::span<const std::span<const uint8_t>> parts) {
  const std::vector<uint8_t> bytes = Flatten(parts);
  const auto size = static_cast<unsigned>(bytes.size());
  capnp::MallocMessageBuilder builder;
  auto message = builder.initRoot<schema::Message>();
  // setReason() would want a terminating zero, which `bytes` lacks.
  auto reason = kind == MessageKind::kRefused   ? message.initRefused().initReason(size)
                : kind == MessageKind::kWaiting ? message.initWaiting().initReason(size)
                                                : message.initGoodbye().initReason(size);
  if (!bytes.empty()) std::memcpy(reason.begin(), bytes.data(), bytes.size());
  const auto words = capnp::messageToFlatArray(builder);
  const auto frame = words.asBytes();
  return {frame.begin(), frame.end()};
}

template <typename Builder>
void FillData(Builder builder, uint64_t sequence, std::span<const std::span<const uint8_t>> parts, size_t descriptors) {
  builder.setSequence(sequence);
  builder.setDescriptors(static_cast<uint8_t>(descriptors));
  auto data = builder.initData(static_cast<unsigned>(TotalBytes(parts)));
  auto* at = data.begin();
  for (const auto& part : parts) at = std::copy(part.begin(), part.end(), at);
}

std::vector<uint8_t> EncodeData(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                                size_t descriptors) {
  capnp::MallocMessageBuilder builder(static_cast<unsigned>(TotalBytes(parts) / 8 + 16));
  auto message = builder.initRoot<schema::Message>();
  if (kind == MessageKind::kBatch) {
    FillData(message.initBatch(), sequence, parts, descriptors);
  } else if (kind == MessageKind::kReply) {
    FillData(message.initReply(), sequence, parts, descriptors);
  } else {
    FillData(message.initEvent(), sequence, parts, descriptors);
  }
  const auto words = capnp::messageToFlatArray(builder);
  const auto frame = words.asBytes();
  return {frame.begin(), frame.end()};
}

template <typename Reader>
std::string SetData(MessageKind kind, Reader reader, Message* message) {
  const auto data = reader.getData();
  message->kind = kind;
  message->sequence = reader.getSequence();
  message->payload.assign(data.begin(), data.end());
  message->announced_descriptors = reader.getDescriptors();
  if (message->announced_descriptors <= kMaxDescriptors) return {};
  return "a message announces more file descriptors than the limit";
}

void SetText(MessageKind kind, capnp::Text::Reader text, Message* message) {
  message->kind = kind;
  message->sequence = 0;
  message->payload.assign(text.begin(), text.end());
}

// Throws kj::Exception for what is no valid message.
std::string Decode(std::vector<uint8_t>& bytes, Message* message) {
  const kj::ArrayPtr<const capnp::word> words(reinterpret_cast<const capnp::word*>(bytes.data()),
                                              bytes.size() / sizeof(capnp::word));
  capnp::ReaderOptions options;
  options.traversalLimitInWords = words.size() + 64;  // nothing is read twice
  options.nestingLimit = 8;
  capnp::FlatArrayMessageReader reader(words, options);
  if (reader.getEnd() != words.end()) return "a message is shorter than its frame";
  const auto root = reader.getRoot<schema::Message>();
  if (static_cast<size_t>(root.which()) > static_cast<size_t>(kLastMessageKind)) {
    return "a message is of an unknown kind";
  }
  const auto kind = static_cast<MessageKind>(root.which());
  message->announced_descriptors = 0;
  if (!CarriesData(kind) && bytes.size() > wire::kMaxHandshakeBytes) {
    return "a message of the handshake is larger than the limit";
  }
  if (CarriesData(kind) && root.getPacking() != 0) return "a packed message in another layout than ours";
  switch (kind) {
    case MessageKind::kHello:
    case MessageKind::kWelcome:
      message->kind = kind;
      message->sequence = 0;
      message->payload = std::move(bytes);
      break;
    case MessageKind::kRefused:
      SetText(kind, root.getRefused().getReason(), message);
      break;
    case MessageKind::kGoodbye:
      SetText(kind, root.getGoodbye().getReason(), message);
      break;
    case MessageKind::kWaiting:
      SetText(kind, root.getWaiting().getReason(), message);
      break;
    case MessageKind::kBatch:
      return SetData(kind, root.getBatch(), message);
    case MessageKind::kReply:
      return SetData(kind, root.getReply(), message);
    case MessageKind::kEvent:
      return SetData(kind, root.getEvent(), message);
    case MessageKind::kReceived:
      return SetData(kind, root.getReceived(), message);
    case MessageKind::kNumbers:
      break;  // not in the schema
  }
  return {};
}

}  // namespace

// The discriminant, how the data were packed, and how many bytes they were, in the one data word of Message.
constexpr int kPackingShift = 16;
constexpr int kUnpackedShift = 32;

void WriteDataPrefix(const DataPrefix& prefix, std::span<uint8_t, kDataPrefixBytes> out) {
  const auto words = static_cast<uint32_t>(kPrefixWords + (prefix.data_bytes + 7) / 8);
  Store(&out[0], uint64_t{words} << 32);  // one segment of so many words
  Store(&out[8], kStructPointer);
  Store(&out[16], static_cast<uint64_t>(prefix.kind) | uint64_t{prefix.packed.packing} << kPackingShift |
                      uint64_t{prefix.packed.unpacked} << kUnpackedShift);
  Store(&out[24], kStructPointer);
  Store(&out[32], prefix.sequence);
  Store(&out[40], BytesPointer(prefix.data_bytes));
}

bool ReadDataPrefix(std::span<const uint8_t, kDataPrefixBytes> bytes, DataPrefix* prefix) {
  const auto table = Load<uint64_t>(&bytes[0]);
  const auto message = Load<uint64_t>(&bytes[16]);
  const auto data = Load<uint64_t>(&bytes[40]);
  const uint64_t count = data >> 35;
  const auto discriminant = static_cast<uint16_t>(message);
  const uint64_t packing = (message & 0xffffffffu) >> kPackingShift;
  if (static_cast<uint32_t>(table) != 0 || table >> 32 != kPrefixWords + (count + 7) / 8 ||
      Load<uint64_t>(&bytes[8]) != kStructPointer || Load<uint64_t>(&bytes[24]) != kStructPointer ||
      discriminant > static_cast<uint16_t>(kLastMessageKind) || packing > UINT8_MAX || data != BytesPointer(count)) {
    return false;
  }
  prefix->kind = static_cast<MessageKind>(discriminant);
  prefix->sequence = Load<uint64_t>(&bytes[32]);
  prefix->data_bytes = static_cast<size_t>(count);
  prefix->packed = {static_cast<uint8_t>(packing), static_cast<uint32_t>(message >> kUnpackedShift)};
  return CarriesData(prefix->kind);
}

std::string DecodeFrame(std::vector<uint8_t> bytes, Message* message) {
  try {
    return Decode(bytes, message);
  } catch (const kj::Exception& exception) {
    // Not what(): that would look up symbols of a stack trace.
    return std::string("a message is no valid Cap'n Proto: ") + exception.getDescription().cStr();
  }
}

size_t TotalBytes(std::span<const std::span<const uint8_t>> parts) {
  size_t total = 0;
  for (const auto& part : parts) total += part.size();
  return total;
}

std::string CheckMessage(MessageKind kind, std::span<const std::span<const uint8_t>> parts) {
  if (kind == MessageKind::kNumbers) return "numbers are raised, not sent";
  const size_t bytes = TotalBytes(parts);
  const size_t limit = CarriesData(kind) ? wire::kMaxMessageBytes : wire::kMaxHandshakeBytes / 2;
  if (bytes > limit) {
    return "a message of " + std::to_string(bytes) + " bytes is larger than the limit of " + std::to_string(limit);
  }
  if (kind != MessageKind::kHello && kind != MessageKind::kWelcome) return {};
  if (bytes % sizeof(capnp::word) != 0) return "a Hello or Welcome is no whole Cap'n Proto message";
  Message message;
  std::string error = DecodeFrame(Flatten(parts), &message);
  if (error.empty() && message.kind != kind) error = "a Hello or Welcome is of another kind";
  return error;
}

OutgoingFrame::OutgoingFrame(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                             size_t descriptors, const Packed& packed) {
  if (CarriesData(kind) && descriptors != 0) {
    whole_frame_ = EncodeData(kind, sequence, parts, descriptors);
    head_ = whole_frame_;
  } else if (CarriesData(kind)) {
    const size_t bytes = TotalBytes(parts);
    WriteDataPrefix({kind, sequence, bytes, packed}, prefix_);
    head_ = prefix_;
    parts_ = parts;
    padding_ = std::span(kPadding).first(PaddingOf(bytes));
  } else if (CarriesText(kind)) {
    whole_frame_ = EncodeText(kind, parts);
    head_ = whole_frame_;
  } else {
    parts_ = parts;
  }
  total_ = head_.size() + TotalBytes(parts_) + padding_.size();
}

std::span<const uint8_t> OutgoingFrame::Piece(size_t index) const {
  if (index == 0) return head_;
  return index <= parts_.size() ? parts_[index - 1] : padding_;
}

size_t OutgoingFrame::Gather(std::span<iovec> vectors) const {
  size_t used = 0;
  size_t offset = offset_;
  for (size_t piece = piece_; piece < parts_.size() + 2 && used < vectors.size(); ++piece) {
    const auto rest = Piece(piece).subspan(offset);
    offset = 0;
    if (rest.empty()) continue;
    vectors[used++] = {const_cast<uint8_t*>(rest.data()), rest.size()};
  }
  return used;
}

void OutgoingFrame::Advance(size_t count) {
  done_ += count;
  while (piece_ < parts_.size() + 2) {
    const size_t rest = Piece(piece_).size() - offset_;
    if (count < rest) {
      offset_ += count;
      return;
    }
    count -= rest;
    offset_ = 0;
    ++piece_;
  }
}

}  // namespace vesper::transport
