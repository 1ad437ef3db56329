#include "runtime/transport/ring_channel.h"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/relax.h"
#include "runtime/transport/frame.h"

namespace vesper::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

// A peer that was killed says nothing: a sleeper looks at the socket so often.
constexpr milliseconds kLook{200};
// As long as waking a sleeper takes: then spinning costs at most twice of what is best.
constexpr std::chrono::microseconds kSpin{20};
constexpr std::chrono::microseconds kGuestSpin{100};
// As long as it takes a peer that was woken to wake up and to say something.
constexpr std::chrono::microseconds kExpectedSpin{100};
// A guest's end waits for room with looks, whose wake-ups would come to the thread that receives.
constexpr std::chrono::microseconds kGuestLook{500};
constexpr unsigned kMaxVain = 8;  // then only every so-many-th wait spins, until one succeeds

uint32_t Processor() { return static_cast<uint32_t>(::sched_getcpu() + 1); }

// What a guest calls its processors says nothing of the host's.
constexpr uint32_t kGuestProcessors = 1u << 16;

}  // namespace

RingChannel::RingChannel(std::unique_ptr<Channel> socket, std::shared_ptr<Area> area)
    : socket_(std::move(socket)), area_(std::move(area)) {}

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
  own_->processor.store(ThisProcessor());
  looked_ = steady_clock::now();
  has_ring_ = true;
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
  CountWake(place);
}

// By the sleeper, when it is awake again. Who wakes takes the flag away.
void RingChannel::CountWake(RingSleeper* place) {
  if (place->asleep.exchange(0, std::memory_order_relaxed) == 0) {
    counts_.woken.fetch_add(1, std::memory_order_relaxed);
  }
}

uint32_t RingChannel::ThisProcessor() const {
  return Processor() + (area_ != nullptr && end_ == RingEnd::kClient ? kGuestProcessors : 0);
}

// The receiver of a guest channel sleeps in the port, where wake-ups come in, and what is large: it is kept until the ring says
// that it is its turn. Interrupt() finds it there, or is seen by it.
void RingChannel::SleepInPort(nanoseconds time) {
  own_->reader.asleep.store(1);
  in_socket_.store(true);
  if (!HasNews() && !closed_.load() && !interrupted_.load() && !stashed_) {
    counts_.sleeps.fetch_add(1, std::memory_order_relaxed);
    switch (socket_->Receive(&stash_, std::chrono::ceil<milliseconds>(time))) {
      case ChannelStatus::kOk:
        stashed_ = true;
        break;
      case ChannelStatus::kMalformed:
        malformed_ = true;
        break;
      case ChannelStatus::kClosed:
        if (!PeerGone()) peer_gone_.store(true);  // nothing comes that way any more
        break;
      case ChannelStatus::kTimeout:
        break;
    }
  }
  in_socket_.store(false);
  CountWake(&own_->reader);
}

// After a store that the sleeper looks for.
bool RingChannel::Wake(RingSleeper* place) {
  if (place->asleep.load() == 0 || place->asleep.exchange(0) == 0) return false;
  counts_.wakes.fetch_add(1, std::memory_order_relaxed);
  if (area_ != nullptr) {
    socket_->Nudge();
    return true;
  }
  place->bell.fetch_add(1);
  doorbell_->Ring(&place->bell);
  return true;
}

// Of this end, whatever the peer has done to the flag.
void RingChannel::WakeOwn(RingSleeper* place) {
  if (area_ != nullptr) return;  // it is in the port, or looks by itself
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

// Only while the peer runs, on another processor, and does not sleep itself: then it is about to say something, or to sleep. Or
// while it wakes up.
bool RingChannel::Spin() {
  const uint32_t processor = ThisProcessor();
  const bool expecting = expecting_.exchange(false, std::memory_order_relaxed);
  if (!expecting && vain_ >= kMaxVain && vain_++ % kMaxVain != 0) return false;
  const uint32_t other = peer_->processor.load(std::memory_order_relaxed);
  if (other == processor || other == 0) return false;
  const auto end = steady_clock::now() + (expecting ? kExpectedSpin : area_ == nullptr ? kSpin : kGuestSpin);
  do {
    for (int i = 0; i < 32; ++i) {
      if (HasNews() || closed_.load(std::memory_order_relaxed) || interrupted_.load(std::memory_order_relaxed)) {
        vain_ = 0;
        return true;
      }
      if (!expecting && peer_->reader.asleep.load(std::memory_order_relaxed) != 0) return false;
      Relax();
    }
  } while (steady_clock::now() < end);
  if (!expecting) ++vain_;
  return false;
}

bool RingChannel::HasNews() const {
  return reader_->HasMore() || (end_ == RingEnd::kClient && page_->raised.load() != raised_) ||
         peer_->closed.load() != 0;
}

void RingChannel::AwaitNews(const Deadline& deadline) {
  if (Spin()) return;
  const auto left = deadline.never() ? nanoseconds(kLook) : nanoseconds(deadline.at() - steady_clock::now());
  const auto time = std::min<nanoseconds>(left, kLook);
  if (area_ != nullptr) {
    SleepInPort(time);
  } else {
    SleepAt(&own_->reader, time, [this] { return HasNews() || closed_.load() || interrupted_.load(); });
  }
  own_->processor.store(ThisProcessor(), std::memory_order_relaxed);
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
  if (!descriptors.empty() &&
      (!CarriesData(kind) || descriptors.size() > kMaxDescriptors || !socket_->CarriesDescriptors())) {
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
  return in_ring ? SendInRing(kind, sequence, parts, bytes, RingFlag::kNone)
                 : SendBeside(kind, sequence, parts, descriptors);
}

ChannelStatus RingChannel::SendWithPlace(MessageKind kind, uint64_t sequence,
                                         std::span<const std::span<const uint8_t>> parts, MemoryPlace place) {
  constexpr size_t kMostParts = 8;
  const size_t bytes = TotalBytes(parts) + sizeof(place);
  if (!has_ring_ || area_ == nullptr || end_ != RingEnd::kServer || !CarriesData(kind) || bytes > writer_->largest() ||
      parts.size() >= kMostParts) {
    failure_.Set("no place can be named with this message");
    return ChannelStatus::kMalformed;
  }
  std::array<std::span<const uint8_t>, kMostParts> all;
  std::copy(parts.begin(), parts.end(), all.begin());
  all[parts.size()] = {reinterpret_cast<const uint8_t*>(&place), sizeof(place)};
  const std::lock_guard lock(write_mutex_);
  if (reserved_ != 0) return ChannelStatus::kMalformed;
  return SendInRing(kind, sequence, std::span(all).first(parts.size() + 1), bytes, RingFlag::kPlaced);
}

ChannelStatus RingChannel::SendInRing(MessageKind kind, uint64_t sequence,
                                      std::span<const std::span<const uint8_t>> parts, size_t bytes, RingFlag flag) {
  uint8_t* place = AwaitRoom(bytes);
  if (place == nullptr) return ChannelStatus::kClosed;
  for (const auto& part : parts) {
    if (!part.empty()) std::memcpy(place, part.data(), part.size());
    place += part.size();
  }
  counts_.copies.fetch_add(1, std::memory_order_relaxed);
  writer_->Commit(kind, flag, CarriesData(kind) ? sequence : 0, bytes);
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
    if (area_ != nullptr) {
      std::this_thread::sleep_for(kGuestLook);
      PeerGone();
      continue;
    }
    SleepAt(&own_->writer, kLook, [this, payload] {
      return closed_.load() || peer_->closed.load() != 0 || writer_->Reserve(payload) != nullptr;
    });
    PeerGone();
  }
}

void RingChannel::PublishAndWake() {
  writer_->Publish();
  if (const uint32_t processor = ThisProcessor(); own_->processor.load(std::memory_order_relaxed) != processor) {
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
  const bool woken = Wake(&peer_->reader);
  if (woken && expects_ && area_ == nullptr && own_->reader.asleep.load() != 0) {
    expecting_.store(true, std::memory_order_relaxed);
    WakeOwn(&own_->reader);
  }
  return true;
}

// --- the end -------------------------------------------------------------------------------------------------------------

bool RingChannel::PeerGoneOrClosed() const {
  return peer_gone_.load(std::memory_order_relaxed) || peer_->closed.load(std::memory_order_relaxed) != 0;
}

void RingChannel::Close() {
  if (closed_.exchange(true)) return;
  if (has_ring_) {  // if it begins meanwhile, it begins closed
    own_->closed.store(1);
    Wake(&peer_->reader);
    Wake(&peer_->writer);
  }
  socket_->Close();
  if (!has_ring_) return;
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
