#include "server/outbox.h"

#include <fmt/format.h>

namespace vesper::server {

Outbox::Outbox(Channel* channel, size_t limit)
    : channel_(channel), limit_(limit), writer_([this] { Write(); }) {}

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

bool Outbox::Send(MessageKind kind, uint64_t sequence, std::span<const uint8_t> first,
                  std::span<const uint8_t> second, Descriptor descriptor) {
  std::unique_lock lock(mutex_);
  return SendLocked(lock, kind, sequence, first, second, std::move(descriptor), false);
}

bool Outbox::SendIfRoom(std::span<const uint8_t> event, size_t limit) {
  std::unique_lock lock(mutex_);
  return optional_bytes_ + event.size() <= limit &&
         SendLocked(lock, MessageKind::kEvent, 0, event, {}, {}, true);
}

bool Outbox::SendLocked(std::unique_lock<std::mutex>& lock, MessageKind kind, uint64_t sequence,
                        std::span<const uint8_t> first, std::span<const uint8_t> second,
                        Descriptor descriptor, bool optional) {
  const size_t size = first.size() + second.size();
  if (!error_.empty()) return false;
  if (entries_.empty() && !sending_ && size <= kDirectBytes && channel_->SendsAtOnce(size)) {
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

ChannelStatus Outbox::SendNow(MessageKind kind, uint64_t sequence,
                              std::span<const std::span<const uint8_t>> parts,
                              const Descriptor& descriptor) {
  if (!descriptor.valid()) return channel_->Send(kind, sequence, parts);
  const int fd = descriptor.get();
  return channel_->SendWithDescriptors(kind, sequence, parts, {&fd, 1});
}

void Outbox::Write() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || (!entries_.empty() && !sending_); });
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
  changed_.wait_for(lock, timeout,
                    [this] { return !error_.empty() || (entries_.empty() && !sending_); });
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
