// How the two ends of a ring channel come to share memory: RingChannel::OfferRing() and TakeRing().
#include <chrono>
#include <cstring>
#include <utility>

#include "runtime/transport/ring_channel.h"
#include "runtime/wire/decoder.h"

namespace vesper::transport {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAgreementTime{5000};

// What the offer says: the layout, and in an area where it begins.
struct PlacedLayout {
  RingLayout layout;
  MemoryPlace place;
};

// One message within `time`; an Interrupt() meant for somebody else does not end the wait.
ChannelStatus ReceiveWithin(Channel& channel, milliseconds time, Message* message) {
  const Deadline deadline(time);
  for (;;) {
    const ChannelStatus status = channel.Receive(message, milliseconds(deadline.PollMilliseconds()));
    if (status != ChannelStatus::kTimeout || deadline.passed()) return status;
  }
}

std::span<const uint8_t> BytesOf(const auto& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof(value)};
}

}  // namespace

// An Event with the layout and the descriptor or the place, or an empty one where there is no memory; the client answers the
// former by a Batch of one byte: whether it could map it.
bool RingChannel::OfferRing() {
  Descriptor file;
  PlacedLayout placed;
  std::unique_ptr<RingMemory> memory =
      area_ == nullptr ? RingMemory::Make(&file) : RingMemory::MakeIn(area_, &placed.place);
  if (memory == nullptr) return socket_->Send(MessageKind::kEvent, 0, {}) == ChannelStatus::kOk;
  placed.layout = memory->layout();
  const std::span<const uint8_t> part = area_ == nullptr ? BytesOf(placed.layout) : BytesOf(placed);
  const int fd = file.get();
  const ChannelStatus offered = area_ == nullptr
                                    ? socket_->SendWithDescriptors(MessageKind::kEvent, 0, {&part, 1}, {&fd, 1})
                                    : socket_->Send(MessageKind::kEvent, 0, {&part, 1});
  if (offered != ChannelStatus::kOk) return false;
  Message answer;
  if (ReceiveWithin(*socket_, kAgreementTime, &answer) != ChannelStatus::kOk || answer.kind != MessageKind::kBatch ||
      answer.payload.size() != 1) {
    failure_.Set("the client does not say whether it takes the ring");
    return false;
  }
  if (answer.payload[0] == 1) Begin(std::move(memory), RingEnd::kServer);
  return true;
}

bool RingChannel::TakeRing() {
  Message offer;
  if (ReceiveWithin(*socket_, kAgreementTime, &offer) != ChannelStatus::kOk || offer.kind != MessageKind::kEvent) {
    failure_.Set("the server does not offer the ring that it announced");
    return false;
  }
  if (offer.payload.empty()) return true;
  std::unique_ptr<RingMemory> memory;
  if (area_ != nullptr && offer.payload.size() == sizeof(PlacedLayout)) {
    const auto placed = wire::Load<PlacedLayout>(offer.payload.data());
    memory = RingMemory::MapIn(area_, placed.place, placed.layout);
  } else if (area_ == nullptr && offer.payload.size() == sizeof(RingLayout) && offer.descriptors.size() == 1) {
    memory = RingMemory::Map(offer.descriptors.front(), wire::Load<RingLayout>(offer.payload.data()));
  }
  const uint8_t taken = memory != nullptr ? 1 : 0;
  const std::span<const uint8_t> part(&taken, 1);
  if (socket_->Send(MessageKind::kBatch, 0, {&part, 1}) != ChannelStatus::kOk) return false;
  if (memory != nullptr) Begin(std::move(memory), RingEnd::kClient);
  return true;
}

}  // namespace vesper::transport
