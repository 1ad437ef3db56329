// The channel within one process: two queues of messages, with the behaviour of a socket.
#include <atomic>
#include <deque>
#include <memory>
#include <new>
#include <utility>

#include "runtime/channel.h"
#include "runtime/mutex.h"
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
  Mutex mutex;
  Condition readable;
  Condition writable;
  std::deque<Message> messages VESPER_GUARDED_BY(mutex);
  size_t bytes VESPER_GUARDED_BY(mutex) = 0;
  bool sender_closed VESPER_GUARDED_BY(mutex) = false;
  bool receiver_closed VESPER_GUARDED_BY(mutex) = false;
  bool interrupted VESPER_GUARDED_BY(mutex) = false;
};

class LoopbackChannel final : public Channel {
 public:
  LoopbackChannel(std::shared_ptr<Queue> out, std::shared_ptr<Queue> in) : out_(std::move(out)), in_(std::move(in)) {}
  ~LoopbackChannel() override { Close(); }

  ChannelStatus Send(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts) override;
  bool SendsAtOnce(size_t bytes) override;
  ChannelStatus Receive(Message* message, std::chrono::milliseconds timeout) override;
  void Interrupt() override;
  void Close() override;
  void AbandonAfterFork() override { closed_.store(true); }

  std::string error() const override { return failure_.Get(); }
  uint64_t bytes_sent() const override { return sent_.load(std::memory_order_relaxed); }
  uint64_t bytes_received() const override { return received_.load(std::memory_order_relaxed); }
  uint64_t bytes_delivered() const override;

 private:
  ChannelStatus Enqueue(Message message);

  const std::shared_ptr<Queue> out_;
  const std::shared_ptr<Queue> in_;
  Mutex write_mutex_;  // senders take turns, as on a socket
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
    const MutexLock turn(write_mutex_);
    return Enqueue(std::move(message));
  } catch (const std::exception& exception) {
    failure_.Set(std::string("cannot send: ") + exception.what());
    return ChannelStatus::kClosed;
  }
}

ChannelStatus LoopbackChannel::Enqueue(Message message) {
  const size_t bytes = message.payload.size();
  const MutexLock lock(out_->mutex);
  while (!out_->sender_closed && !out_->receiver_closed && out_->bytes >= kQueueBytes) out_->writable.Wait(out_->mutex);
  if (out_->sender_closed) return ChannelStatus::kClosed;
  if (out_->receiver_closed) {
    failure_.Set("the peer closed the connection");
    return ChannelStatus::kClosed;
  }
  out_->messages.push_back(std::move(message));
  out_->bytes += bytes;
  sent_.fetch_add(bytes, std::memory_order_relaxed);
  out_->readable.NotifyOne();
  return ChannelStatus::kOk;
}

bool LoopbackChannel::SendsAtOnce(size_t) {
  const MutexLock lock(out_->mutex);
  return out_->bytes < kQueueBytes;
}

uint64_t LoopbackChannel::bytes_delivered() const {
  const MutexLock lock(out_->mutex);
  return bytes_sent() - out_->bytes;
}

ChannelStatus LoopbackChannel::Receive(Message* message, std::chrono::milliseconds timeout) {
  if (closed_.load()) return ChannelStatus::kClosed;
  const Deadline deadline(timeout);
  const auto until = deadline.never() ? std::chrono::steady_clock::time_point::max() : deadline.at();
  const MutexLock lock(in_->mutex);
  while (!in_->receiver_closed && !in_->interrupted && in_->messages.empty() && !in_->sender_closed &&
         in_->readable.WaitUntil(in_->mutex, until)) {
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
  in_->writable.NotifyAll();
  return ChannelStatus::kOk;
}

void LoopbackChannel::Interrupt() {
  if (closed_.load()) return;
  const MutexLock lock(in_->mutex);
  in_->interrupted = true;
  in_->readable.NotifyAll();
}

void LoopbackChannel::Close() {
  if (closed_.exchange(true)) return;
  {
    const MutexLock lock(in_->mutex);
    in_->receiver_closed = true;
    in_->messages.clear();
    in_->readable.NotifyAll();
    in_->writable.NotifyAll();
  }
  const MutexLock lock(out_->mutex);
  out_->sender_closed = true;
  out_->readable.NotifyAll();
  out_->writable.NotifyAll();
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
