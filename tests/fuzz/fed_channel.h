// A channel whose peer is the fuzzer: it receives what it was fed; what is sent is dropped.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>

#include "runtime/channel.h"

namespace vesper::test {

class FedChannel final : public Channel {
 public:
  // Called with every message sent, before Send() returns: for answers.
  std::function<void(MessageKind, uint64_t sequence)> on_send;
  // Called once when all has been received: it may feed more.
  std::function<void()> on_empty;

  void Feed(Message message) {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    changed_.notify_all();
  }
  // The peer closes when everything has been received.
  void End() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  ChannelStatus Send(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>>) override {
    if (on_send) on_send(kind, sequence);
    return closed_ ? ChannelStatus::kClosed : ChannelStatus::kOk;
  }
  bool SendsAtOnce(size_t) override { return true; }
  ChannelStatus Receive(Message* message, std::chrono::milliseconds timeout) override {
    std::unique_lock lock(mutex_);
    if (messages_.empty() && on_empty) {
      lock.unlock();
      std::exchange(on_empty, nullptr)();
      lock.lock();
    }
    const auto woken = [this] { return closed_ || ended_ || interrupted_ || !messages_.empty(); };
    if (timeout.count() < 0) {
      changed_.wait(lock, woken);
    } else {
      changed_.wait_for(lock, timeout, woken);
    }
    if (closed_) return ChannelStatus::kClosed;
    if (messages_.empty()) {
      interrupted_ = false;
      return ended_ ? ChannelStatus::kClosed : ChannelStatus::kTimeout;
    }
    *message = std::move(messages_.front());
    messages_.pop_front();
    return ChannelStatus::kOk;
  }
  void Interrupt() override {
    const std::lock_guard lock(mutex_);
    interrupted_ = true;
    changed_.notify_all();
  }
  void Close() override {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  void AbandonAfterFork() override {}
  std::string error() const override { return {}; }
  uint64_t bytes_sent() const override { return 0; }
  uint64_t bytes_received() const override { return 0; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Message> messages_;
  std::atomic<bool> closed_ = false;
  bool ended_ = false;
  bool interrupted_ = false;
};

}  // namespace vesper::test
