// The receiving half of ring_channel.h.
#include <fcntl.h>

#include <array>
#include <cstring>
#include <exception>
#include <utility>

#include "runtime/transport/ring_channel.h"

namespace vesper::transport {

using std::chrono::milliseconds;

ChannelStatus RingChannel::Receive(Message* message, milliseconds timeout) {
  if (!has_ring_) return socket_->Receive(message, timeout);
  try {
    return ReceiveNext(message, Deadline(timeout), timeout.count() != 0);
  } catch (const std::exception& exception) {  // std::bad_alloc: the message is lost
    failure_.Set(std::string("cannot receive: ") + exception.what());
    Close();
    return ChannelStatus::kClosed;
  }
}

ChannelStatus RingChannel::ReceiveNext(Message* message, const Deadline& deadline, bool may_wait) {
  for (;;) {
    if (closed_.load()) return ChannelStatus::kClosed;
    if (interrupted_.load(std::memory_order_relaxed) && interrupted_.exchange(false)) return ChannelStatus::kTimeout;
    const bool gone = PeerGoneOrClosed();  // what it sent before is still to be had
    if (end_ == RingEnd::kClient && TakeNumbers(message)) return ChannelStatus::kOk;
    if (!beside_) {
      const ChannelStatus status = TakeFrame(message);
      if (status != ChannelStatus::kTimeout) return status;
    }
    if (beside_) return ReceiveBeside(message, deadline, may_wait);
    if (malformed_) return Malformed();
    if (stashed_) return TakeUnannounced(message);
    if (gone) return ReceiveLastWords(message);
    if (!may_wait) LookNowAndThen();
    if (!may_wait || deadline.passed()) return ChannelStatus::kTimeout;
    AwaitNews(deadline);
  }
}

ChannelStatus RingChannel::Malformed() {
  failure_.Set(socket_->error());
  return ChannelStatus::kMalformed;
}

// The ring announces what comes through the port before it does, but for the last words of a peer that dies.
ChannelStatus RingChannel::TakeUnannounced(Message* message) {
  stashed_ = false;
  *message = std::move(stash_);
  if (message->kind == MessageKind::kGoodbye) return ChannelStatus::kOk;
  failure_.Set("a message that the ring does not announce");
  return ChannelStatus::kMalformed;
}

// A peer that dies has no use of the ring any more: why it ends may stand in the socket.
ChannelStatus RingChannel::ReceiveLastWords(Message* message) {
  PeerGone();
  if (stashed_) return TakeUnannounced(message);
  const bool said = socket_->Receive(message, milliseconds(0)) == ChannelStatus::kOk;
  return said && message->kind == MessageKind::kGoodbye ? ChannelStatus::kOk : ChannelStatus::kClosed;
}

// kTimeout when there is none, or one beside the ring.
ChannelStatus RingChannel::TakeFrame(Message* message) {
  RingFrame frame;
  switch (reader_->Next(&frame)) {
    case RingStatus::kEmpty:
      return ChannelStatus::kTimeout;
    case RingStatus::kMalformed:
      failure_.Set("what the peer stored into the ring is no message");
      return ChannelStatus::kMalformed;
    case RingStatus::kFrame:
      break;
  }
  // What was raised before this message was sent is not overtaken by it: the message is taken the next time.
  if (end_ == RingEnd::kClient && TakeNumbers(message)) return ChannelStatus::kOk;
  if (frame.flag == RingFlag::kBeside) {
    beside_ = true;
    return ChannelStatus::kTimeout;
  }
  message->kind = frame.kind;
  message->sequence = frame.sequence;
  message->announced_descriptors = 0;
  message->descriptors.clear();
  message->place = {};
  message->payload.assign(frame.payload.begin(), frame.payload.end());
  if (frame.flag == RingFlag::kPlaced && !TakePlace(message)) return Malformed();
  received_.fetch_add(frame.payload.size(), std::memory_order_relaxed);
  FinishFrame();
  return ChannelStatus::kOk;
}

// The area's file is for whoever takes the message, as a file that came along would be.
bool RingChannel::TakePlace(Message* message) {
  MemoryPlace place;
  if (area_ == nullptr || end_ != RingEnd::kClient || message->payload.size() < sizeof(place)) {
    failure_.Set("a place of memory where none can be named");
    return false;
  }
  const size_t rest = message->payload.size() - sizeof(place);
  std::memcpy(&place, &message->payload[rest], sizeof(place));
  message->payload.resize(rest);
  if (place.size == 0 || !area_->Holds(place)) {
    failure_.Set("the peer names memory beyond the area");
    return false;
  }
  message->announced_descriptors = 1;
  message->place = {area_->begin() + place.offset, place.size};
  Descriptor file(::fcntl(area_->file().get(), F_DUPFD_CLOEXEC, 0));
  if (file.valid()) message->descriptors.push_back(std::move(file));
  return true;
}

void RingChannel::FinishFrame() {
  reader_->Release();
  if (area_ != nullptr) return;  // whose writers look by themselves
  if (reader_->IsHalfEmpty()) Wake(&peer_->writer);
}

ChannelStatus RingChannel::ReceiveBeside(Message* message, const Deadline& deadline, bool may_wait) {
  if (stashed_) {
    stashed_ = beside_ = false;
    *message = std::move(stash_);
    FinishFrame();
    return ChannelStatus::kOk;
  }
  in_socket_.store(true);  // pairs with Interrupt(): either it interrupts the socket, or this sees that it was there
  ChannelStatus status;
  do {
    if (interrupted_.exchange(false)) {
      status = ChannelStatus::kTimeout;
      break;
    }
    status = socket_->Receive(message, milliseconds(may_wait ? deadline.PollMilliseconds() : 0));
  } while (status == ChannelStatus::kTimeout && may_wait && !deadline.passed());
  in_socket_.store(false);
  if (status == ChannelStatus::kOk) {
    beside_ = false;
    FinishFrame();
  }
  return status;
}

// Numbers that have grown.
bool RingChannel::TakeNumbers(Message* message) {
  const uint64_t raised = page_->raised.load();
  if (raised == raised_) return false;
  raised_ = raised;
  message->payload.clear();
  for (size_t i = 0; i < RingPage::kNumbers; ++i) {
    const RingNumber& number = page_->numbers[i];
    const uint64_t value = number.value.load(std::memory_order_acquire);
    if (value == 0) break;  // they are used in turn
    if (value <= known_[i]) continue;
    known_[i] = value;
    const std::array<uint64_t, 2> pair = {number.key.load(std::memory_order_relaxed), value};
    const auto* bytes = reinterpret_cast<const uint8_t*>(pair.data());
    message->payload.insert(message->payload.end(), bytes, bytes + sizeof(pair));
  }
  if (message->payload.empty()) return false;
  message->kind = MessageKind::kNumbers;
  message->sequence = 0;
  message->announced_descriptors = 0;
  message->descriptors.clear();
  return true;
}

void RingChannel::Interrupt() {
  if (!has_ring_) return socket_->Interrupt();
  if (closed_.load()) return;
  interrupted_.store(true);
  if (in_socket_.load()) socket_->Interrupt();
  WakeOwn(&own_->reader);
}

}  // namespace vesper::transport
