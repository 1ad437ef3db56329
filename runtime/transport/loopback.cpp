// The channel within one process: two queues of messages, with the behaviour of a socket.
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "runtime/channel.h"
#include "runtime/transport/deadline.h"
#include "runtime/transport/failure.h"
#include "runtime/transport/frame.h"

namespace vesper {
namespace transport {
namespace {

// A sender waits while so many bytes are queued, as it would for a socket's buffer. One message of
// any size fits into an empty queue.
constexpr size_t kQueueBytes = size_t{1} << 20;

// One direction. Either end may outlive the other.
struct Queue {
  std::mutex mutex;
  std::condition_variable readable;
  std::condition_variable writable;
  std::deque<Message> messages;
  size_t bytes = 0;
  bool sender_closed = false;
  bool receiver_closed = false;
  bool interrupted = false;
};

class LoopbackChannel final : public Channel {
 public:
  LoopbackChannel(std::shared_ptr<Queue> out, std::shared_ptr<Queue> in) : out_(std::move(out)), in_(std::move(in)) {}
  ~LoopbackChannel() override { Close(); }

  ChannelStatus Send(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts) override;
  ChannelStatus Receive(Message* message, std::chrono::milliseconds timeout) override;
  void Interrupt() override;
  void Close() override;
  void AbandonAfterFork() override { closed_.store(true); }

  std::string error() const override { return failure_.Get(); }
  uint64_t bytes_sent() const override { return sent_.load(std::memory_order_relaxed); }
  uint64_t bytes_received() const override { return received_.load(std::memory_order_relaxed); }

 private:
  ChannelStatus Enqueue(Message message);

  const std::shared_ptr<Queue> out_;
  const std::shared_ptr<Queue> in_;
  std::mutex write_mutex_;  // senders take turns, as on a socket
  std::atomic<bool> closed_ = false;
  std::atomic<uint64_t> sent_ = 0;
  std::atomic<uint64_t> received_ = 0;
  Failure failure_;
};

ChannelStatus LoopbackChannel::Send(MessageKind kind, uint64_t sequence,
                                    std::span<const std::span<const uint8_t>> parts) {
  if (closed_.load()) return ChannelStatus::kClosed;
  try {
    if (std::string why = CheckMessage(kind, parts); !why.empty()) {
      failure_.Set(std::move(why));
      return ChannelStatus::kMalformed;
    }
    Message message;
    message.kind = kind;
    message.sequence = CarriesData(kind) ? sequence : 0;
    message.payload.reserve(TotalBytes(parts));
    for (const auto& part : parts) {
      message.payload.insert(message.payload.end(), part.begin(), part.end());
    }
    const std::lock_guard turn(write_mutex_);
    return Enqueue(std::move(message));
  } catch (const std::exception& exception) {
    failure_.Set(std::string("cannot send: ") + exception.what());
    return ChannelStatus::kClosed;
  }
}

ChannelStatus LoopbackChannel::Enqueue(Message message) {
  const size_t bytes = message.payload.size();
  std::unique_lock lock(out_->mutex);
  out_->writable.wait(lock,
                      [this] { return out_->sender_closed || out_->receiver_closed || out_->bytes < kQueueBytes; });
  if (out_->sender_closed) return ChannelStatus::kClosed;
  if (out_->receiver_closed) {
    failure_.Set("the peer closed the connection");
    return ChannelStatus::kClosed;
  }
  out_->messages.push_back(std::move(message));
  out_->bytes += bytes;
  sent_.fetch_add(bytes, std::memory_order_relaxed);
  out_->readable.notify_one();
  return ChannelStatus::kOk;
}

ChannelStatus LoopbackChannel::Receive(Message* message, std::chrono::milliseconds timeout) {
  if (closed_.load()) return ChannelStatus::kClosed;
  const Deadline deadline(timeout);
  std::unique_lock lock(in_->mutex);
  const auto woken = [this] {
    return in_->receiver_closed || in_->interrupted || !in_->messages.empty() || in_->sender_closed;
  };
  if (deadline.never()) {
    in_->readable.wait(lock, woken);
  } else {
    in_->readable.wait_until(lock, deadline.at(), woken);
  }
  if (in_->receiver_closed) return ChannelStatus::kClosed;
  if (std::exchange(in_->interrupted, false)) return ChannelStatus::kTimeout;
  if (in_->messages.empty()) {
    if (!in_->sender_closed) return ChannelStatus::kTimeout;
    failure_.Set("the peer closed the connection");
    return ChannelStatus::kClosed;
  }
  *message = std::move(in_->messages.front());
  in_->messages.pop_front();
  in_->bytes -= message->payload.size();
  received_.fetch_add(message->payload.size(), std::memory_order_relaxed);
  in_->writable.notify_all();
  return ChannelStatus::kOk;
}

void LoopbackChannel::Interrupt() {
  if (closed_.load()) return;
  const std::lock_guard lock(in_->mutex);
  in_->interrupted = true;
  in_->readable.notify_all();
}

void LoopbackChannel::Close() {
  if (closed_.exchange(true)) return;
  {
    const std::lock_guard lock(in_->mutex);
    in_->receiver_closed = true;
    in_->messages.clear();
    in_->readable.notify_all();
    in_->writable.notify_all();
  }
  const std::lock_guard lock(out_->mutex);
  out_->sender_closed = true;
  out_->readable.notify_all();
  out_->writable.notify_all();
}

}  // namespace
}  // namespace transport

ChannelPair MakeLoopback() {
  const auto to_server = std::make_shared<transport::Queue>();
  const auto to_client = std::make_shared<transport::Queue>();
  return {std::make_unique<transport::LoopbackChannel>(to_server, to_client),
          std::make_unique<transport::LoopbackChannel>(to_client, to_server)};
}

}  // namespace vesper
