// A channel that keeps what is sent, and can stop taking it, for tests of what a session sends.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "runtime/channel.h"

namespace vesper::server {

struct SentMessage {
  MessageKind kind;
  uint64_t sequence;
  std::vector<uint8_t> payload;
};

class RecordingChannel final : public Channel {
 public:
  ChannelStatus Send(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_ || closed_; });
    if (closed_) return ChannelStatus::kClosed;
    SentMessage message{kind, sequence, {}};
    for (const auto& part : parts) message.payload.insert(message.payload.end(), part.begin(), part.end());
    sent_.push_back(std::move(message));
    return ChannelStatus::kOk;
  }
  bool SendsAtOnce(size_t) override {
    const std::lock_guard lock(mutex_);
    return at_once_ && open_;
  }
  bool Raise(uint64_t, uint64_t) override { return true; }
  ChannelStatus Receive(Message*, std::chrono::milliseconds) override { return ChannelStatus::kClosed; }
  void Interrupt() override {}
  void Close() override {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
  }
  void AbandonAfterFork() override {}
  std::string error() const override { return {}; }
  uint64_t bytes_sent() const override { return 0; }
  uint64_t bytes_received() const override { return 0; }

  // Whether the peer reads.
  void set_open(bool open) {
    {
      const std::lock_guard lock(mutex_);
      open_ = open;
    }
    changed_.notify_all();
  }
  void set_at_once(bool at_once) {
    const std::lock_guard lock(mutex_);
    at_once_ = at_once;
  }
  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  std::vector<SentMessage> sent() const {
    const std::lock_guard lock(mutex_);
    return sent_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  bool at_once_ = false;
  bool closed_ = false;
  std::vector<SentMessage> sent_;
};

}  // namespace vesper::server
