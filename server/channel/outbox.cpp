#include "server/channel/outbox.h"

#include <fmt/core.h>

#include <algorithm>

#include "runtime/wire/control.h"
#include "runtime/wire/record.h"

namespace vesper::server {

Outbox::Outbox(Channel* channel, size_t limit) : channel_(channel), limit_(limit) {
  spare_.reserve(limits::kSpareBuffers);
  writer_ = std::thread([this] { Write(); });
}

Outbox::~Outbox() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (sending_ || !entries_.empty()) channel_->Close();
  }
  changed_.notify_all();
  writer_.join();
}

void Outbox::FailLocked(std::string error) {
  if (error_.empty()) error_ = std::move(error);
  entries_.clear();
  bytes_ = optional_bytes_ = 0;
  channel_->Close();
  changed_.notify_all();
}

bool Outbox::Send(MessageKind kind, uint64_t sequence, std::span<const uint8_t> first, std::span<const uint8_t> second,
                  MemoryName memory) {
  std::unique_lock lock(mutex_);
  return SendLocked(lock, kind, sequence, first, second, std::move(memory), false);
}

bool Outbox::SendIfRoom(std::span<const uint8_t> event, size_t limit) {
  std::unique_lock lock(mutex_);
  return optional_bytes_ + event.size() <= limit && SendLocked(lock, MessageKind::kEvent, 0, event, {}, {}, true);
}

bool Outbox::SendBuffer(wire::ByteBuffer* event) {
  const std::span<const uint8_t> bytes(event->data(), event->size());
  std::unique_lock lock(mutex_);
  if (bytes.size() <= limits::kDirectBytes) return SendLocked(lock, MessageKind::kEvent, 0, bytes, {}, {}, false);
  if (!error_.empty()) return false;
  if (bytes_ + bytes.size() > limit_) {
    FailLocked(fmt::format("the client left {} bytes unread", bytes_));
    return false;
  }
  Entry entry{MessageKind::kEvent, 0, {}, {}};
  if (!spare_.empty()) {
    entry.payload = std::move(spare_.back());
    spare_.pop_back();
  }
  std::swap(entry.payload, *event);
  Queue(std::move(entry));
  return true;
}

// With the mutex held.
void Outbox::Queue(Entry entry) {
  bytes_ += entry.payload.size();
  if (entry.optional) optional_bytes_ += entry.payload.size();
  entries_.push_back(std::move(entry));
  if (!sending_) changed_.notify_all();  // who sends looks again when it has
}

size_t Outbox::RoomBound() const {
  const uint64_t rate = channel_->line_rate();
  if (rate == 0) return limits::kMaxAhead;
  return std::clamp<uint64_t>(rate / limits::kAheadOfSecond, limits::kLeastAhead, limits::kMaxAhead);
}

size_t Outbox::Piece(size_t most) const {
  const uint64_t rate = channel_->line_rate();
  if (channel_->PollsForNothing()) most = std::min(most, limits::kRingPiece);
  return rate == 0 ? most : std::clamp<uint64_t>(rate / limits::kPieceOfSecond, limits::kLeastAhead, most);
}

void Outbox::AwaitRoom() {
  if (reader_ == std::this_thread::get_id()) return;
  std::unique_lock lock(mutex_);
  const auto has_room = [this] { return stopping_ || hurries_ != 0 || !error_.empty() || bytes_ <= RoomBound(); };
  if (has_room()) return;
  ++awaiting_room_;
  for (size_t before = SIZE_MAX; !has_room() && bytes_ < before;) {
    before = bytes_;
    changed_.wait_for(lock, limits::kRoomPatience, has_room);
  }
  --awaiting_room_;
}

void Outbox::BeginHurry() {
  const std::lock_guard lock(mutex_);
  if (++hurries_ == 1 && awaiting_room_ != 0) changed_.notify_all();
}

void Outbox::EndHurry() {
  const std::lock_guard lock(mutex_);
  --hurries_;
}

bool Outbox::Raise(uint64_t key, uint64_t value) {
  {
    const std::lock_guard lock(mutex_);
    if (!entries_.empty() || sending_ || !error_.empty()) return false;
  }
  return channel_->Raise(key, value);  // false while somebody sends what comes later, too
}

bool Outbox::SendLocked(std::unique_lock<std::mutex>& lock, MessageKind kind, uint64_t sequence,
                        std::span<const uint8_t> first, std::span<const uint8_t> second, MemoryName memory,
                        bool optional) {
  const size_t size = first.size() + second.size();
  if (!error_.empty()) return false;
  if (entries_.empty() && !sending_ && size <= limits::kDirectBytes && channel_->SendsAtOnce(size)) {
    sending_ = true;
    lock.unlock();
    const std::span<const uint8_t> parts[] = {first, second};
    const ChannelStatus status = SendNow(kind, sequence, parts, memory);
    lock.lock();
    sending_ = false;
    if (status != ChannelStatus::kOk) FailLocked("the connection broke");
    if (!entries_.empty() || flushes_ != 0) changed_.notify_all();  // else the writer would be woken for nothing
    return error_.empty();
  }
  if (bytes_ + size > limit_) {
    FailLocked(fmt::format("the client left {} bytes unread", bytes_));
    return false;
  }
  Entry entry{kind, sequence, {}, std::move(memory), optional};
  entry.payload.Append(first.data(), first.size());
  entry.payload.Append(second.data(), second.size());
  Queue(std::move(entry));
  return true;
}

ChannelStatus Outbox::SendNow(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                              const MemoryName& memory) {
  if (memory.place.size != 0) return channel_->SendWithPlace(kind, sequence, parts, memory.place);
  if (!memory.valid()) return channel_->Send(kind, sequence, parts);
  const int fd = memory.file.get();
  return channel_->SendWithDescriptors(kind, sequence, parts, {&fd, 1});
}

void Outbox::BeginWork() noexcept {
  work_.fetch_add(1);
  if (watching_.load()) return;
  {
    const std::lock_guard lock(mutex_);
    watching_ = true;
  }
  changed_.notify_all();
}

// By the writer: until there is something for it to send, which may be that the server lives.
void Outbox::WaitForEntry(std::unique_lock<std::mutex>& lock) {
  const auto ready = [this] {
    looks_.fetch_add(1, std::memory_order_relaxed);
    return stopping_ || (!entries_.empty() && !sending_);
  };
  uint64_t seen = work_.load();
  while (!ready()) {
    if (!watching_) {
      changed_.wait(lock, [&] { return ready() || watching_; });
      seen = work_.load();
      continue;
    }
    if (changed_.wait_for(lock, limits::kAliveInterval, ready)) return;
    const uint64_t now = work_.load();
    if (now != std::exchange(seen, now)) continue;
    if (now % 2 == 0) {
      watching_ = false;
      if (work_.load() != now) watching_ = true;  // it began meanwhile, and may have seen that it is watched
    } else if (!sending_ && error_.empty()) {
      wire::ByteBuffer alive;
      wire::EndRecord(&alive, wire::BeginRecord(&alive, static_cast<uint16_t>(wire::EventKind::kAlive), 0));
      Queue({MessageKind::kEvent, 0, std::move(alive), {}});
    }
  }
}

void Outbox::Write() {
  std::unique_lock lock(mutex_);
  while (true) {
    WaitForEntry(lock);
    if (stopping_) return;
    Entry entry = std::move(entries_.front());
    entries_.pop_front();
    sending_ = true;
    lock.unlock();
    const std::span<const uint8_t> parts[] = {{entry.payload.data(), entry.payload.size()}};
    const ChannelStatus status = SendNow(entry.kind, entry.sequence, parts, entry.memory);
    lock.lock();
    sending_ = false;
    if (error_.empty()) bytes_ -= entry.payload.size();
    if (error_.empty() && entry.optional) optional_bytes_ -= entry.payload.size();
    if (entry.payload.size() > limits::kDirectBytes && spare_.size() < limits::kSpareBuffers) {
      entry.payload.clear();
      spare_.push_back(std::move(entry.payload));  // within what is reserved
    }
    if (status != ChannelStatus::kOk) FailLocked("the connection broke");
    // Who waits for room is woken once there is plenty.
    if (entries_.empty() || awaiting_room_ == 0 || bytes_ <= RoomBound() / 2) changed_.notify_all();
  }
}

void Outbox::Flush(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  ++flushes_;
  changed_.wait_for(lock, timeout, [this] { return !error_.empty() || (entries_.empty() && !sending_); });
  --flushes_;
}

std::string Outbox::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

size_t Outbox::queued_bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace vesper::server
