#include "runtime/transport/ring_channel.h"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>
#include <vector>

#include "runtime/transport/frame.h"
#include "runtime/wire/decoder.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace vesper::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

// A peer that was killed says nothing: a sleeper looks at the socket so often.
constexpr milliseconds kLook{200};
// As long as waking a sleeper takes: then spinning costs at most twice of what is best.
constexpr std::chrono::microseconds kSpin{20};
constexpr unsigned kMaxVain = 8;  // then only every so-many-th wait spins, until one succeeds
constexpr milliseconds kAgreementTime{5000};

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

uint32_t Processor() { return static_cast<uint32_t>(::sched_getcpu() + 1); }

// One message within `time`; an Interrupt() meant for somebody else does not end the wait.
ChannelStatus ReceiveWithin(Channel& channel, milliseconds time, Message* message) {
  const Deadline deadline(time);
  for (;;) {
    const ChannelStatus status = channel.Receive(message, milliseconds(deadline.PollMilliseconds()));
    if (status != ChannelStatus::kTimeout || deadline.passed()) return status;
  }
}

}  // namespace

RingChannel::RingChannel(std::unique_ptr<Channel> socket) : socket_(std::move(socket)) {}

RingChannel::~RingChannel() {
  if (!has_ring_ || abandoned_) return;
  own_->closed.store(1);
  Wake(&peer_->reader);
  Wake(&peer_->writer);
}

// --- the memory ----------------------------------------------------------------------------------------------------------

void RingChannel::Begin(std::unique_ptr<RingMemory> memory, RingEnd end, Doorbell* doorbell) {
  memory_ = std::move(memory);
  doorbell_ = doorbell;
  end_ = end;
  page_ = memory_->page();
  const bool client = end == RingEnd::kClient;
  own_ = client ? &page_->client : &page_->server;
  peer_ = client ? &page_->server : &page_->client;
  writer_ = std::make_unique<RingWriter>(client ? &page_->commands : &page_->replies,
                                         client ? memory_->commands() : memory_->replies());
  reader_ = std::make_unique<RingReader>(client ? &page_->replies : &page_->commands,
                                         client ? memory_->replies() : memory_->commands());
  own_->processor.store(Processor());
  looked_ = steady_clock::now();
  has_ring_ = true;
}

// An Event with the layout and the descriptor, or an empty one where there is no memory; the client answers the former by a
// Batch of one byte: whether it could map it.
bool RingChannel::OfferRing() {
  Descriptor file;
  std::unique_ptr<RingMemory> memory = RingMemory::Make(&file);
  if (memory == nullptr) return socket_->Send(MessageKind::kEvent, 0, {}) == ChannelStatus::kOk;
  const RingLayout& layout = memory->layout();
  const std::span<const uint8_t> part(reinterpret_cast<const uint8_t*>(&layout), sizeof(layout));
  const int fd = file.get();
  if (socket_->SendWithDescriptors(MessageKind::kEvent, 0, {&part, 1}, {&fd, 1}) != ChannelStatus::kOk) return false;
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
  if (offer.payload.size() == sizeof(RingLayout) && offer.descriptors.size() == 1) {
    memory = RingMemory::Map(offer.descriptors.front(), wire::Load<RingLayout>(offer.payload.data()));
  }
  const uint8_t taken = memory != nullptr ? 1 : 0;
  const std::span<const uint8_t> part(&taken, 1);
  if (socket_->Send(MessageKind::kBatch, 0, {&part, 1}) != ChannelStatus::kOk) return false;
  if (memory != nullptr) Begin(std::move(memory), RingEnd::kClient);
  return true;
}

// --- sleeping and waking -------------------------------------------------------------------------------------------------

template <typename Ready>
void RingChannel::SleepAt(RingSleeper* place, nanoseconds time, Ready ready) {
  const uint32_t bell = place->bell.load();
  place->asleep.store(1);
  if (!ready()) {
    counts_.sleeps.fetch_add(1, std::memory_order_relaxed);
    doorbell_->Sleep(&place->bell, bell, time);
  }
  place->asleep.store(0, std::memory_order_relaxed);
}

// After a store that the sleeper looks for.
void RingChannel::Wake(RingSleeper* place) {
  if (place->asleep.load() == 0 || place->asleep.exchange(0) == 0) return;
  place->bell.fetch_add(1);
  counts_.wakes.fetch_add(1, std::memory_order_relaxed);
  doorbell_->Ring(&place->bell);
}

// Of this end, whatever the peer has done to the flag.
void RingChannel::WakeOwn(RingSleeper* place) {
  place->bell.fetch_add(1);
  doorbell_->Ring(&place->bell);
}

bool RingChannel::PeerGone() {
  if (peer_gone_.load()) return true;
  if (peer_->closed.load() == 0 && !socket_->PeerEnded()) return false;
  if (!closed_.load()) failure_.Set("the peer closed the connection");
  peer_gone_.store(true);
  return true;
}

// Only while the peer runs, on another processor, and does not sleep itself: then it is about to say something, or to sleep.
bool RingChannel::Spin() {
  const uint32_t processor = Processor();
  if (vain_ >= kMaxVain && vain_++ % kMaxVain != 0) return false;
  const uint32_t other = peer_->processor.load(std::memory_order_relaxed);
  if (other == processor || other == 0) return false;
  const auto end = steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (HasNews() || closed_.load(std::memory_order_relaxed) || interrupted_.load(std::memory_order_relaxed)) {
        vain_ = 0;
        return true;
      }
      if (peer_->reader.asleep.load(std::memory_order_relaxed) != 0) return false;
      Pause();
    }
  } while (steady_clock::now() < end);
  ++vain_;
  return false;
}

bool RingChannel::HasNews() const {
  return reader_->HasMore() || (end_ == RingEnd::kClient && page_->raised.load() != raised_) ||
         peer_->closed.load() != 0;
}

void RingChannel::AwaitNews(const Deadline& deadline) {
  if (Spin()) return;
  const auto left = deadline.never() ? nanoseconds(kLook) : nanoseconds(deadline.at() - steady_clock::now());
  SleepAt(&own_->reader, std::min<nanoseconds>(left, kLook),
          [this] { return HasNews() || closed_.load() || interrupted_.load(); });
  own_->processor.store(Processor(), std::memory_order_relaxed);
  if (!HasNews()) LookNowAndThen();
}

void RingChannel::LookNowAndThen() {
  const auto now = steady_clock::now();
  if (now - looked_ < kLook) return;
  looked_ = now;
  PeerGone();
}

// --- sending -------------------------------------------------------------------------------------------------------------

ChannelStatus RingChannel::Send(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts) {
  if (!has_ring_) return socket_->Send(kind, sequence, parts);
  return SendWithDescriptors(kind, sequence, parts, {});
}

ChannelStatus RingChannel::SendWithDescriptors(MessageKind kind, uint64_t sequence,
                                               std::span<const std::span<const uint8_t>> parts,
                                               std::span<const int> descriptors) {
  if (!has_ring_) return socket_->SendWithDescriptors(kind, sequence, parts, descriptors);
  if (closed_.load() || (PeerGoneOrClosed() && PeerGone())) return ChannelStatus::kClosed;
  if (std::string why = CheckMessage(kind, parts); !why.empty()) {
    failure_.Set(std::move(why));
    return ChannelStatus::kMalformed;
  }
  if (!descriptors.empty() && (!CarriesData(kind) || descriptors.size() > kMaxDescriptors)) {
    failure_.Set("file descriptors cannot travel with this message");
    return ChannelStatus::kMalformed;
  }
  const size_t bytes = TotalBytes(parts);
  const std::lock_guard lock(write_mutex_);
  if (reserved_ != 0) {
    failure_.Set("a message is being encoded: it is to be committed first");
    return ChannelStatus::kMalformed;
  }
  const bool in_ring = descriptors.empty() && bytes <= writer_->largest() && kind != MessageKind::kHello &&
                       kind != MessageKind::kWelcome;
  return in_ring ? SendInRing(kind, sequence, parts, bytes) : SendBeside(kind, sequence, parts, descriptors);
}

ChannelStatus RingChannel::SendInRing(MessageKind kind, uint64_t sequence,
                                      std::span<const std::span<const uint8_t>> parts, size_t bytes) {
  uint8_t* place = AwaitRoom(bytes);
  if (place == nullptr) return ChannelStatus::kClosed;
  for (const auto& part : parts) {
    if (!part.empty()) std::memcpy(place, part.data(), part.size());
    place += part.size();
  }
  counts_.copies.fetch_add(1, std::memory_order_relaxed);
  writer_->Commit(kind, RingFlag::kNone, CarriesData(kind) ? sequence : 0, bytes);
  sent_.fetch_add(bytes, std::memory_order_relaxed);
  PublishAndWake();
  return ChannelStatus::kOk;
}

// The frame that announces it first: the peer takes it from the socket while it is being written.
ChannelStatus RingChannel::SendBeside(MessageKind kind, uint64_t sequence,
                                      std::span<const std::span<const uint8_t>> parts,
                                      std::span<const int> descriptors) {
  if (AwaitRoom(0) == nullptr) return ChannelStatus::kClosed;
  writer_->Commit(kind, RingFlag::kBeside, sequence, 0);
  PublishAndWake();
  counts_.beside.fetch_add(1, std::memory_order_relaxed);
  const ChannelStatus status = descriptors.empty() ? socket_->Send(kind, sequence, parts)
                                                   : socket_->SendWithDescriptors(kind, sequence, parts, descriptors);
  if (status == ChannelStatus::kOk) return status;
  if (!closed_.load()) failure_.Set(socket_->error());
  peer_gone_.store(true);  // the announcement cannot be taken back
  return ChannelStatus::kClosed;
}

std::span<uint8_t> RingChannel::Reserve(size_t bytes) {
  if (!has_ring_ || bytes == 0 || closed_.load() || PeerGoneOrClosed()) return {};
  const std::unique_lock lock(write_mutex_, std::try_to_lock);
  if (!lock.owns_lock() || reserved_ != 0) return {};
  uint8_t* const place = writer_->Reserve(bytes);
  if (place == nullptr) return {};
  reserved_ = bytes;
  return {place, bytes};
}

ChannelStatus RingChannel::Commit(MessageKind kind, uint64_t sequence, size_t bytes) {
  if (!has_ring_ || closed_.load()) return ChannelStatus::kClosed;
  const std::lock_guard lock(write_mutex_);
  if (!CarriesData(kind) || bytes > std::exchange(reserved_, 0)) {
    failure_.Set("more is committed than was reserved");
    return ChannelStatus::kMalformed;
  }
  if (bytes == 0) return ChannelStatus::kOk;
  writer_->Commit(kind, RingFlag::kNone, sequence, bytes);
  sent_.fetch_add(bytes, std::memory_order_relaxed);
  PublishAndWake();
  return ChannelStatus::kOk;
}

uint8_t* RingChannel::AwaitRoom(size_t payload) {
  for (;;) {
    if (closed_.load() || (PeerGoneOrClosed() && PeerGone())) return nullptr;
    if (uint8_t* place = writer_->Reserve(payload); place != nullptr) return place;
    if (writer_->broken()) {
      failure_.Set("the peer's place in the ring is impossible");
      peer_gone_.store(true);
      return nullptr;
    }
    SleepAt(&own_->writer, kLook, [this, payload] {
      return closed_.load() || peer_->closed.load() != 0 || writer_->Reserve(payload) != nullptr;
    });
    PeerGone();
  }
}

void RingChannel::PublishAndWake() {
  writer_->Publish();
  if (const uint32_t processor = Processor(); own_->processor.load(std::memory_order_relaxed) != processor) {
    own_->processor.store(processor, std::memory_order_relaxed);
  }
  Wake(&peer_->reader);
}

bool RingChannel::SendsAtOnce(size_t bytes) {
  if (!has_ring_) return socket_->SendsAtOnce(bytes);
  if (closed_.load() || bytes > writer_->largest()) return false;
  const std::unique_lock lock(write_mutex_, std::try_to_lock);
  return lock.owns_lock() && reserved_ == 0 && writer_->Reserve(bytes) != nullptr;
}

bool RingChannel::Raise(uint64_t key, uint64_t value) {
  if (!has_ring_ || end_ != RingEnd::kServer || closed_.load()) return false;
  const std::unique_lock lock(write_mutex_, std::try_to_lock);
  if (!lock.owns_lock() || !writer_->IsDrained()) return false;  // it would overtake what lies in the ring
  const auto end = keys_.begin() + static_cast<ptrdiff_t>(used_keys_);
  const auto index = static_cast<size_t>(std::find(keys_.begin(), end, key) - keys_.begin());
  if (index == RingPage::kNumbers) return false;
  RingNumber& number = page_->numbers[index];
  if (index == used_keys_) {
    keys_[used_keys_++] = key;
    number.key.store(key, std::memory_order_relaxed);
  }
  number.value.store(value, std::memory_order_release);
  page_->raised.store(++raises_);
  Wake(&peer_->reader);
  return true;
}

// --- receiving -----------------------------------------------------------------------------------------------------------

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
    if (gone) return ReceiveLastWords(message);
    if (!may_wait) LookNowAndThen();
    if (!may_wait || deadline.passed()) return ChannelStatus::kTimeout;
    AwaitNews(deadline);
  }
}

// A peer that dies has no use of the ring any more: why it ends may stand in the socket.
ChannelStatus RingChannel::ReceiveLastWords(Message* message) {
  PeerGone();
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
  message->payload.assign(frame.payload.begin(), frame.payload.end());
  received_.fetch_add(frame.payload.size(), std::memory_order_relaxed);
  FinishFrame();
  return ChannelStatus::kOk;
}

void RingChannel::FinishFrame() {
  reader_->Release();
  if (reader_->IsHalfEmpty()) Wake(&peer_->writer);
}

ChannelStatus RingChannel::ReceiveBeside(Message* message, const Deadline& deadline, bool may_wait) {
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

// --- the end -------------------------------------------------------------------------------------------------------------

bool RingChannel::PeerGoneOrClosed() const {
  return peer_gone_.load(std::memory_order_relaxed) || peer_->closed.load(std::memory_order_relaxed) != 0;
}

void RingChannel::Close() {
  if (closed_.exchange(true)) return;
  socket_->Close();
  if (!has_ring_) return;  // if it begins meanwhile, it begins closed
  own_->closed.store(1);
  Wake(&peer_->reader);
  Wake(&peer_->writer);
  WakeOwn(&own_->reader);
  WakeOwn(&own_->writer);
}

// The mapping is not in the child: nothing may touch it.
void RingChannel::AbandonAfterFork() {
  closed_.store(true);
  socket_->AbandonAfterFork();
  if (!has_ring_) return;
  memory_->AbandonAfterFork();
  abandoned_ = true;
}

// What the peer has not taken out of the ring is still here.
uint64_t RingChannel::bytes_delivered() const {
  const uint64_t beside = socket_->bytes_delivered();
  const uint64_t sent = sent_.load(std::memory_order_relaxed);
  if (!has_ring_ || closed_.load()) return beside + sent;
  const RingDirection& out = end_ == RingEnd::kClient ? page_->commands : page_->replies;
  return beside + sent - std::min(sent, out.tail.load() - out.head.load());
}

std::string RingChannel::error() const {
  const std::string own = failure_.Get();
  return own.empty() ? socket_->error() : own;
}

}  // namespace vesper::transport
