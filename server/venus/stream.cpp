// The part of VenusChannel that carries streams of commands forward, and the protocol's own commands.
#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "generated/venus/structs.h"
#include "server/base/limits.h"
#include "server/venus/venus_channel.h"

namespace vesper::venus {

namespace limits = server::limits;

// Makes records of what the stream has, as far as that goes now. False when it is malformed.
bool VenusChannel::Advance(Stream* stream, wire::ByteBuffer* batch) {
  while (error_.empty() && !IsHeld(stream, batch) && batch->size() < limits::kVenusBatchBytes) {
    if (stream->pieces.empty()) {
      if (stream->ring == nullptr || !stream->ring->HasNews()) return true;
      stream->pieces.push_back({});
      std::string error;
      if (!stream->ring->Take(&stream->pieces.back().bytes, &error)) return !Fail(std::move(error));
      taken_ += stream->pieces.back().bytes.size();
      busy_ = Clock::now();
    }
    const Stream::Piece& piece = stream->pieces.back();
    if (piece.at == piece.bytes.size()) {
      stream->pieces.pop_back();
      stream->NoteFinished();
      continue;
    }
    if (!Step(stream, batch)) return false;
  }
  return true;
}

// Whether what the stream waits for of the socket or another ring has not come to pass.
bool VenusChannel::IsAwaited(const Stream& stream) {
  if (stream.hold == Hold::kSubmit) return stream.submitted < stream.value;
  const Stream* ring = RingOf(stream.awaited_ring);
  return ring != nullptr && static_cast<int32_t>(ring->ring->head() - static_cast<uint32_t>(stream.value)) < 0;
}

// Whether the stream may not go on. What is to be asked again is, the less often the longer it takes.
bool VenusChannel::IsHeld(Stream* stream, wire::ByteBuffer* batch) {
  Pending& pending = stream->pending;
  const auto now = stream->hold == Hold::kRetry ? Clock::now() : Clock::time_point();
  switch (stream->hold) {
    case Hold::kNone:
      return false;
    case Hold::kReply:
      return true;
    case Hold::kRetry:
      if (now - pending.asked < std::min<Clock::duration>((now - pending.began) / 8, limits::kVenusRetry)) return true;
      pending.asked = now;
      batch->Append(pending.record.data(), pending.record.size());
      pending.sequence = ++sequence_;
      stream->hold = Hold::kReply;
      return true;
    default:
      if (IsAwaited(*stream)) return true;
      stream->hold = Hold::kNone;
      stream->NoteFinished();
      return false;
  }
}

bool VenusChannel::MayAdvance(const Stream& stream) {
  if (stream.hold == Hold::kNone) return !stream.pieces.empty() || (stream.ring != nullptr && stream.ring->HasNews());
  return (stream.hold == Hold::kSubmit || stream.hold == Hold::kHead) && !IsAwaited(stream);
}

// One command. False when it is malformed.
bool VenusChannel::Step(Stream* stream, wire::ByteBuffer* batch) {
  const size_t index = stream->pieces.size() - 1;
  Stream::Piece& piece = stream->pieces[index];
  const std::span<const uint8_t> rest(piece.bytes.data() + piece.at, piece.bytes.size() - piece.at);
  Reader reader(rest, &stream->arena, translator_.objects());
  const uint32_t number = reader.U32();
  const bool wants_reply = (reader.U32() & 1) != 0;
  const CommandTable* command = number < kNumbers ? kCommands[number] : nullptr;
  std::string error;
  if (!reader.ok()) {
    error = reader.error();
  } else if (command != nullptr) {
    if (!greeted_) {
      error = "a command before there is a renderer";
    } else if (translator_.Translate(stream, *command, wants_reply, &reader, batch, &error) &&
               stream->hold == Hold::kReply) {
      stream->pending.sequence = ++sequence_;
    }
  } else if (number >= kNumbers || kNumberNames[number][0] == '\0') {
    error = fmt::format("a command of number {}", number);
  } else if (!Own(stream, number, &reader)) {
    error = fmt::format("{}: {}", kNumberNames[number], reader.ok() ? "it is not served" : reader.error());
  }
  if (!error.empty()) return !Fail(std::move(error));
  if (options_.tap != nullptr) options_.tap(number, false, rest.first(reader.at()));
  // Execute() may have put streams on top, and moved this one.
  stream->pieces[index].at += reader.at();
  if (command == nullptr) stream->arena.Reset();
  if (stream->hold == Hold::kNone) stream->NoteFinished();
  return true;
}

Stream* VenusChannel::RingOf(uint64_t key) {
  const auto found = std::find_if(rings_.begin(), rings_.end(), [key](const auto& s) { return s->key == key; });
  return found == rings_.end() ? nullptr : found->get();
}

// The protocol's own commands. False when it is none, or malformed.
bool VenusChannel::Own(Stream* stream, uint32_t number, Reader* reader) {
  switch (number) {
    case kSetReplyCommandStreamMESA:
      return SetReplies(stream, reader);
    case kSeekReplyCommandStreamMESA:
      stream->reply_at = reader->U64();
      if (stream->reply_at > stream->reply_size) reader->Fail("beyond the end of where replies go");
      return reader->ok();
    case kExecuteCommandStreamsMESA:
      return Execute(stream, reader);
    case kWaitVirtqueueSeqnoMESA:
      stream->value = reader->U64();
      if (reader->ok()) stream->hold = Hold::kSubmit;
      return reader->ok() && stream->ring != nullptr;
    case kWaitRingSeqnoMESA:
      stream->awaited_ring = reader->U64();
      stream->value = reader->U64();
      if (reader->ok()) stream->hold = Hold::kHead;
      return reader->ok();
    default:
      return stream->ring == nullptr && OwnOfRings(number, reader);
  }
}

// What comes by the socket, about rings.
bool VenusChannel::OwnOfRings(uint32_t number, Reader* reader) {
  if (number == kCreateRingMESA) return CreateRing(reader);
  const uint64_t key = reader->U64();
  Stream* ring = RingOf(key);
  if (reader->ok() && ring == nullptr) reader->Fail("there is no such ring");
  switch (number) {
    case kDestroyRingMESA: {
      const std::lock_guard lock(alive_mutex_);
      std::erase_if(rings_, [key](const auto& s) { return s->key == key; });
      return reader->ok();
    }
    case kNotifyRingMESA:
      reader->U32();
      reader->U32();
      return reader->ok();
    case kWriteRingExtraMESA: {
      const uint64_t offset = reader->U64();
      const uint32_t value = reader->U32();
      if (reader->ok() && !ring->ring->WriteExtra(offset, value)) reader->Fail("beyond the ring's extra words");
      return reader->ok();
    }
    case kSubmitVirtqueueSeqnoMESA: {
      const uint64_t value = reader->U64();
      if (reader->ok()) ring->submitted = value;
      return reader->ok();
    }
    default:
      return false;
  }
}

bool VenusChannel::SetReplies(Stream* stream, Reader* reader) {
  if (reader->U64() == 0) {
    stream->replies = nullptr;
    return reader->ok();
  }
  const uint32_t resource = reader->U32();
  const uint64_t offset = reader->U64(), size = reader->U64();
  std::shared_ptr<Pages> pages = resources_.Find(resource);
  if (reader->ok() && (pages == nullptr || !pages->Holds(offset, size))) reader->Fail("replies go beyond a resource");
  if (!reader->ok()) return false;
  stream->replies = std::move(pages);
  stream->reply_begin = offset;
  stream->reply_size = size;
  stream->reply_at = 0;
  return true;
}

bool VenusChannel::CreateRing(Reader* reader) {
  const uint64_t key = reader->U64();
  RingCreateInfoMESA info{};
  if (reader->U64() != 1) reader->Fail("there is no create-info");
  if (reader->ok()) reader->Value(kVkRingCreateInfoMESA, reinterpret_cast<uint8_t*>(&info));
  if (reader->ok() && (RingOf(key) != nullptr || rings_.size() >= limits::kVenusRings)) {
    reader->Fail("a ring of that number is there, or there are too many");
  }
  if (!reader->ok()) return false;
  std::string error;
  std::unique_ptr<Ring> ring = Ring::Make(info, resources_.Find(info.resourceId), &error);
  if (ring == nullptr) {
    reader->Fail("a ring of an impossible layout");
    return false;
  }
  auto stream = std::make_unique<Stream>(options_.command_bytes);
  stream->key = key;
  stream->ring = std::move(ring);
  stream->ring->SetStatus(kRingAlive);
  const std::lock_guard lock(alive_mutex_);
  rings_.push_back(std::move(stream));
  return true;
}

// Streams that lie in resources are copied before they are looked at, as rings are.
bool VenusChannel::Execute(Stream* stream, Reader* reader) {
  struct Part {
    uint32_t resource;
    uint64_t offset, size;
  };
  std::vector<Part> parts;
  reader->U32();
  for (uint64_t left = reader->U64(); left != 0 && reader->ok(); --left) {
    const uint32_t resource = reader->U32();
    const uint64_t offset = reader->U64();
    parts.push_back({resource, offset, reader->U64()});
  }
  for (uint64_t left = reader->U64(); left != 0 && reader->ok(); --left) reader->U64();  // where replies begin
  reader->U32();
  for (uint64_t left = reader->U64(); left != 0 && reader->ok(); --left)
    reader->U64();  // dependencies: all is in order
  reader->U32();
  if (stream->pieces.size() + parts.size() > limits::kVenusStreamDepth) reader->Fail("streams within streams");
  uint64_t total = 0;
  for (auto part = parts.rbegin(); part != parts.rend() && reader->ok(); ++part) {
    const std::shared_ptr<Pages> pages = resources_.Find(part->resource);
    if (pages == nullptr || !pages->Holds(part->offset, part->size) ||
        (total += part->size) > limits::kVenusStreamBytes) {
      reader->Fail("a stream goes beyond its resource");
      break;
    }
    const uint8_t* begin = pages->data() + part->offset;
    stream->pieces.push_back({{begin, begin + part->size}, 0});
  }
  return reader->ok();
}

}  // namespace vesper::venus
