#include "server/channel/outbox.h"

#include <fmt/core.h>

#include "runtime/wire/control.h"
#include "runtime/wire/record.h"

namespace vesper::server {

Outbox::Outbox(Channel* channel, size_t limit) : channel_(channel), limit_(limit), writer_([this] { Write(); }) {}

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
                  Descriptor descriptor) {
  std::unique_lock lock(mutex_);
  return SendLocked(lock, kind, sequence, first, second, std::move(descriptor), false);
}

bool Outbox::SendIfRoom(std::span<const uint8_t> event, size_t limit) {
  std::unique_lock lock(mutex_);
  return optional_bytes_ + event.size() <= limit && SendLocked(lock, MessageKind::kEvent, 0, event, {}, {}, true);
}

bool Outbox::Raise(uint64_t key, uint64_t value) {
  {
    const std::lock_guard lock(mutex_);
    if (!entries_.empty() || sending_ || !error_.empty()) return false;
  }
  return channel_->Raise(key, value);  // false while somebody sends what comes later, too
}

bool Outbox::SendLocked(std::unique_lock<std::mutex>& lock, MessageKind kind, uint64_t sequence,
                        std::span<const uint8_t> first, std::span<const uint8_t> second, Descriptor descriptor,
                        bool optional) {
  const size_t size = first.size() + second.size();
  if (!error_.empty()) return false;
  if (entries_.empty() && !sending_ && size <= limits::kDirectBytes && channel_->SendsAtOnce(size)) {
    sending_ = true;
    lock.unlock();
    const std::span<const uint8_t> parts[] = {first, second};
    const ChannelStatus status = SendNow(kind, sequence, parts, descriptor);
    lock.lock();
    sending_ = false;
    if (status != ChannelStatus::kOk) FailLocked("the connection broke");
    changed_.notify_all();
    return error_.empty();
  }
  if (bytes_ + size > limit_) {
    FailLocked(fmt::format("the client left {} bytes unread", bytes_));
    return false;
  }
  Entry entry{kind, sequence, {}, std::move(descriptor), optional};
  entry.payload.reserve(size);
  entry.payload.insert(entry.payload.end(), first.begin(), first.end());
  entry.payload.insert(entry.payload.end(), second.begin(), second.end());
  entries_.push_back(std::move(entry));
  bytes_ += size;
  if (optional) optional_bytes_ += size;
  changed_.notify_all();
  return true;
}

ChannelStatus Outbox::SendNow(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                              const Descriptor& descriptor) {
  if (!descriptor.valid()) return channel_->Send(kind, sequence, parts);
  const int fd = descriptor.get();
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
  const auto ready = [this] { return stopping_ || (!entries_.empty() && !sending_); };
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
      entries_.push_back({MessageKind::kEvent, 0, {alive.data(), alive.data() + alive.size()}, {}});
      bytes_ += alive.size();
    }
  }
}

void Outbox::Write() {
  std::unique_lock lock(mutex_);
  while (true) {
    WaitForEntry(lock);
    if (stopping_) return;
    const Entry entry = std::move(entries_.front());
    entries_.pop_front();
    sending_ = true;
    lock.unlock();
    const std::span<const uint8_t> parts[] = {entry.payload};
    const ChannelStatus status = SendNow(entry.kind, entry.sequence, parts, entry.descriptor);
    lock.lock();
    sending_ = false;
    if (error_.empty()) bytes_ -= entry.payload.size();
    if (error_.empty() && entry.optional) optional_bytes_ -= entry.payload.size();
    if (status != ChannelStatus::kOk) FailLocked("the connection broke");
    changed_.notify_all();
  }
}

void Outbox::Flush(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [this] { return !error_.empty() || (entries_.empty() && !sending_); });
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
