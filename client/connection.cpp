#include "client/connection.h"

#include <algorithm>
#include <array>
#include <new>
#include <system_error>

#include "client/log.h"
#include "client/thread.h"
#include "runtime/wire/decoder.h"

namespace vesper::client {
namespace {

using std::chrono::milliseconds;

// A reader looks up from the channel this often, to notice silence.
constexpr milliseconds kLookUp{500};
constexpr auto kPollInterval = std::chrono::microseconds(20);

int64_t Now() { return Clock::now().time_since_epoch().count(); }
Clock::duration Since(int64_t then) { return Clock::duration(Now() - then); }

}  // namespace

Connection::Connection(std::unique_ptr<Channel> channel, EventHandler* handler, Statistics* statistics,
                       const Timing& timing)
    : channel_(std::move(channel)), handler_(handler), statistics_(statistics), timing_(timing) {
  last_received_ = last_activity_ = Now();
  waiters_.reserve(64);
  background_ = StartWithoutSignals([this] { return std::thread([this] { Background(); }); });
}

Connection::~Connection() {
  if (abandoned_) {
    // The thread exists in the parent alone; std::thread would end the process for being joinable.
    new (&background_) std::thread;
    return;
  }
  if (!lost()) {
    Flush();
    channel_->Send(MessageKind::kGoodbye, 0, {});
  }
  {
    const std::lock_guard lane(lane_);
    stopping_ = true;
    background_wake_.notify_all();
  }
  channel_->Close();
  background_.join();
}

// --- sending -------------------------------------------------------------------------------------------------------------

template <typename Write>
Connection::Posted Connection::Append(Write write) noexcept {
  if (lost()) return Posted::kLost;
  std::unique_lock batch(batch_mutex_);
  const size_t mark = batch_.size();
  try {
    if (!write()) {
      batch_.Truncate(mark);
      return Posted::kExhausted;
    }
  } catch (const std::bad_alloc&) {
    batch_.Truncate(mark);
    return Posted::kExhausted;
  }
  Appended(mark == 0);
  if (batch_.size() >= kBatchBytes && !SendBatch(batch)) return Posted::kLost;
  return lost() ? Posted::kLost : Posted::kOk;
}

// With the batch mutex held.
void Connection::Appended(bool was_empty) noexcept {
  if (!was_empty) return;
  const int64_t now = Now();
  last_activity_.store(now, std::memory_order_relaxed);
  batch_since_.store(now);
  if (deep_.load()) WakeBackground();
}

Connection::Posted Connection::Post(uint16_t command, Encode encode, size_t* bytes) noexcept {
  return Append([&] {
    const size_t mark = wire::BeginRecord(&batch_, command, 0);
    encode(&batch_);
    if (!wire::EndRecord(&batch_, mark)) return false;
    if (bytes != nullptr) *bytes = batch_.size() - mark;
    return true;
  });
}

Connection::Posted Connection::PostRecords(std::span<const uint8_t> records) noexcept {
  return Append([&] {
    batch_.Append(records.data(), records.size());
    return true;
  });
}

bool Connection::Flush() noexcept {
  if (lost()) return false;
  std::unique_lock batch(batch_mutex_);
  return SendBatch(batch);
}

// Sends what the batch holds; releases `batch` meanwhile, so that others can go on filling the next one.
bool Connection::SendBatch(std::unique_lock<std::mutex>& batch) noexcept {
  if (batch_.empty()) return !lost();
  const std::lock_guard send(send_mutex_);
  std::swap(batch_, sending_);
  const uint64_t sequence = std::exchange(batch_sequence_, 0);
  batch_since_.store(0);
  batch.unlock();
  const std::array<std::span<const uint8_t>, 1> parts{{{sending_.data(), sending_.size()}}};
  sending_since_.store(Now());
  ChannelStatus status = ChannelStatus::kClosed;
  try {
    status = channel_->Send(MessageKind::kBatch, sequence, parts);
  } catch (const std::bad_alloc&) {
    Log(LogLevel::kError, "memory is exhausted while sending");
  }
  sending_since_.store(0);
  sending_.clear();
  statistics_->bytes_sent.store(channel_->bytes_sent(), std::memory_order_relaxed);
  if (status == ChannelStatus::kOk) return true;
  MarkLost(channel_->error());
  return false;
}

Connection::Posted Connection::Ask(uint16_t command, Encode encode, Reply* reply, size_t* bytes) noexcept {
  if (lost()) return Posted::kLost;
  Waiter self;
  std::unique_lock batch(batch_mutex_);
  const size_t mark = batch_.size();
  try {
    wire::BeginRecord(&batch_, command, wire::kWantsReply);
    encode(&batch_);
    if (!wire::EndRecord(&batch_, mark)) return Posted::kExhausted;
    if (bytes != nullptr) *bytes = batch_.size() - mark;
    self.sequence = last_sequence_ + 1;
    const std::lock_guard lane(lane_);
    waiters_.push_back(&self);
  } catch (const std::bad_alloc&) {
    batch_.Truncate(mark);
    return Posted::kExhausted;
  }
  ++last_sequence_;
  if (batch_sequence_ == 0) batch_sequence_ = last_sequence_;
  SendBatch(batch);
  if (batch.owns_lock()) batch.unlock();
  Count(statistics_->round_trips);
  const auto start = Clock::now();
  std::unique_lock lane(lane_);
  Sleep(
      lane, [&] { return self.answered; }, Clock::time_point::max(), &self);
  lane.unlock();
  Count(statistics_->stalled_ns, static_cast<uint64_t>((Clock::now() - start).count()));
  if (!self.answered) return Posted::kLost;
  if (self.reply.payload.size() < sizeof(wire::ReplyHeader)) {
    MarkLost("a reply without its header");
    return Posted::kLost;
  }
  reply->header = wire::Load<wire::ReplyHeader>(self.reply.payload.data());
  reply->payload = std::move(self.reply.payload);
  reply->announced_descriptor = self.reply.announced_descriptors != 0;
  if (!self.reply.descriptors.empty()) reply->descriptor = std::move(self.reply.descriptors.front());
  reply->sequence = self.sequence;
  return Posted::kOk;
}

std::shared_ptr<LaterReply> Connection::AskLater(uint16_t command, Encode encode) noexcept {
  if (lost()) return nullptr;
  std::unique_lock batch(batch_mutex_);
  const size_t mark = batch_.size();
  std::shared_ptr<LaterReply> later;
  try {
    later = std::make_shared<LaterReply>();
    wire::BeginRecord(&batch_, command, wire::kWantsReply);
    encode(&batch_);
    if (!wire::EndRecord(&batch_, mark)) return nullptr;
    later->sequence = last_sequence_ + 1;
    const std::lock_guard lane(lane_);
    std::erase_if(later_, [](const auto& each) { return each.expired(); });
    later_.push_back(later);
  } catch (const std::bad_alloc&) {
    batch_.Truncate(mark);
    return nullptr;
  }
  ++last_sequence_;
  if (batch_sequence_ == 0) batch_sequence_ = last_sequence_;
  SendBatch(batch);
  return later;
}

// --- waiting and reading -------------------------------------------------------------------------------------------------

WaitOutcome Connection::WaitFor(std::unique_lock<std::mutex>& lane, FunctionRef<bool()> done,
                                Clock::time_point deadline) noexcept {
  if (done()) return WaitOutcome::kDone;
  if (lost()) return WaitOutcome::kLost;
  if (batch_since_.load() != 0) {
    lane.unlock();
    Flush();
    lane.lock();
  }
  Waiter self;
  try {
    waiters_.push_back(&self);
  } catch (const std::bad_alloc&) {
    return WaitOutcome::kLost;
  }
  Count(statistics_->waits);
  const auto start = Clock::now();
  const WaitOutcome outcome = Sleep(lane, done, deadline, &self);
  Count(statistics_->stalled_ns, static_cast<uint64_t>((Clock::now() - start).count()));
  return outcome;
}

// `self` is among the waiters already, and no longer when this returns.
WaitOutcome Connection::Sleep(std::unique_lock<std::mutex>& lane, FunctionRef<bool()> done, Clock::time_point deadline,
                              Waiter* self) noexcept {
  if (background_reading_) channel_->Interrupt();
  WaitOutcome outcome = WaitOutcome::kDone;
  while (!done()) {
    if (lost()) {
      outcome = WaitOutcome::kLost;
      break;
    }
    const auto now = Clock::now();
    if (now >= deadline) {
      outcome = WaitOutcome::kTimeout;
      break;
    }
    if (!reading_) {
      const auto left = std::chrono::ceil<milliseconds>(std::min<Clock::duration>(deadline - now, kLookUp));
      ReadOnce(lane, left);
      last_leader_ = Clock::now();
    } else if (deadline == Clock::time_point::max()) {
      self->wake.wait(lane);
    } else {
      self->wake.wait_until(lane, deadline);
    }
  }
  std::erase(waiters_, self);
  HandOver();
  return outcome;
}

// With the lane locked: someone who waits reads next, or the background thread after a while.
void Connection::HandOver() noexcept {
  if (reading_) return;
  if (!waiters_.empty()) {
    waiters_.front()->wake.notify_one();
  } else if (deep_.load(std::memory_order_relaxed)) {
    background_wake_.notify_one();
  }
}

// Receives and handles one message. With the lane locked and nobody reading; unlocks it meanwhile.
void Connection::ReadOnce(std::unique_lock<std::mutex>& lane, milliseconds timeout) noexcept {
  reading_ = true;
  lane.unlock();
  const auto start = Clock::now();
  try {
    Message message;
    const ChannelStatus status = channel_->Receive(&message, timeout);
    if (status == ChannelStatus::kOk) {
      last_received_.store(Now(), std::memory_order_relaxed);
      listened_in_vain_ = milliseconds(0);
      Handle(&message);
      statistics_->bytes_received.store(channel_->bytes_received(), std::memory_order_relaxed);
    } else if (status == ChannelStatus::kTimeout) {
      CheckSilence(std::chrono::duration_cast<milliseconds>(Clock::now() - start));
    } else {
      MarkLost(channel_->error());
    }
  } catch (const std::bad_alloc&) {
    MarkLost("memory is exhausted while receiving");
  }
  lane.lock();
  reading_ = false;
}

void Connection::Handle(Message* message) {
  switch (message->kind) {
    case MessageKind::kReply: {
      uint64_t expected = message->sequence;
      if (heartbeat_.compare_exchange_strong(expected, 0)) return;
      const std::lock_guard lane(lane_);
      const auto found = std::find_if(waiters_.begin(), waiters_.end(), [&](const Waiter* waiter) {
        return waiter->sequence == message->sequence && !waiter->answered;
      });
      if (found == waiters_.end() || message->sequence == 0) return HandleLater(message);
      (*found)->reply = std::move(*message);
      (*found)->answered = true;
      (*found)->wake.notify_one();
      return;
    }
    case MessageKind::kEvent:
      HandleEvents(message->payload);
      return;
    case MessageKind::kGoodbye:
      MarkLost("the server ended the session: " + std::string(message->payload.begin(), message->payload.end()));
      return;
    default:
      MarkLost("the server sent a message that only a client sends");
  }
}

// With the lane locked: an answer that nobody waits for, or whose asker has given up.
void Connection::HandleLater(Message* message) {
  for (auto it = later_.begin(); it != later_.end(); ++it) {
    const std::shared_ptr<LaterReply> later = it->lock();
    if (later == nullptr || later->sequence != message->sequence) continue;
    later_.erase(it);
    if (message->payload.size() < sizeof(wire::ReplyHeader)) return;
    later->reply.header = wire::Load<wire::ReplyHeader>(message->payload.data());
    later->reply.payload = std::move(message->payload);
    later->answered = true;
    return;
  }
}

void Connection::HandleEvents(std::span<const uint8_t> records) {
  while (!records.empty()) {
    wire::RecordHeader header;
    std::span<const uint8_t> body;
    if (!wire::NextRecord(&records, &header, &body)) {
      MarkLost("an event is longer than its message");
      return;
    }
    handler_->OnEvent(static_cast<wire::EventKind>(header.command), body);
  }
  NotifyWaiters();
}

void Connection::NotifyWaiters() noexcept {
  const std::lock_guard lane(lane_);
  for (Waiter* waiter : waiters_) {
    if (waiter->sequence == 0) waiter->wake.notify_one();
  }
}

void Connection::TryPoll(std::unique_lock<std::mutex>& lane) noexcept {
  const auto now = Clock::now();
  if (reading_ || lost() || now - last_poll_ < kPollInterval) return;
  last_poll_ = now;
  ReadOnce(lane, milliseconds(0));
  HandOver();
}

// By the reader, after nothing came for `waited`.
void Connection::CheckSilence(milliseconds waited) noexcept {
  const auto silence = Since(last_received_.load(std::memory_order_relaxed));
  const int64_t sending = sending_since_.load();
  // Only time spent listening counts, in several looks: a program that was stopped itself, within one, has not heard
  // anything either, and may have been stopped while it sent.
  listened_in_vain_ += std::min(waited, kLookUp);
  const bool answer_due = heartbeat_.load() != 0 || (sending != 0 && Since(sending) > timing_.grace);
  if (answer_due && silence > timing_.grace && listened_in_vain_ > timing_.grace / 2) {
    MarkLost("the server has been silent for longer than the grace period");
    return;
  }
  if (silence < timing_.heartbeat_after || heartbeat_.load() != 0) return;
  std::unique_lock batch(batch_mutex_, std::try_to_lock);
  if (!batch.owns_lock()) return;  // someone is sending: that tells as much
  try {
    const size_t mark = wire::BeginRecord(&batch_, static_cast<uint16_t>(wire::Control::kHeartbeat), wire::kWantsReply);
    wire::EndRecord(&batch_, mark);
  } catch (const std::bad_alloc&) {
    return;
  }
  heartbeat_.store(++last_sequence_);
  if (batch_sequence_ == 0) batch_sequence_ = last_sequence_;
  SendBatch(batch);
}

// --- the background thread -----------------------------------------------------------------------------------------------

void Connection::WakeBackground() noexcept {
  const std::lock_guard lane(lane_);
  if (!deep_.exchange(false)) return;
  if (background_reading_) {
    channel_->Interrupt();
  } else {
    background_wake_.notify_one();
  }
}

void Connection::Background() noexcept {
  std::unique_lock lane(lane_);
  while (!stopping_ && !lost()) {
    const int64_t since = batch_since_.load();
    if (since != 0 && Since(since) >= timing_.linger) {
      lane.unlock();
      Flush();
      lane.lock();
      continue;
    }
    if (pulsing_.load() && Clock::now() >= pulse_at_) {
      lane.unlock();
      const auto start = Clock::now();
      pulsing_.store(false);  // before: a start meanwhile must not be lost
      if (handler_->OnPulse()) pulsing_.store(true);
      Flush();
      const auto end = Clock::now();
      pulse_at_ = end + std::max<Clock::duration>(timing_.pulse, 9 * (end - start));
      lane.lock();
      continue;
    }
    BackgroundTurn(lane);
  }
}

void Connection::StartPulse() noexcept {
  if (!lost() && !pulsing_.exchange(true) && deep_.load()) WakeBackground();
}

// Reads, or sleeps, until the next tick. Ticks are short while a batch may have to be sent or read for, else long.
bool Connection::BackgroundTurn(std::unique_lock<std::mutex>& lane) noexcept {
  const auto leader_gone = Clock::now() - last_leader_;
  bool busy = batch_since_.load() != 0 || leader_gone < timing_.linger ||
              Since(last_activity_.load(std::memory_order_relaxed)) < timing_.busy_for;
  if (!busy) {
    deep_.store(true);  // pairs with Appended() and StartPulse(): either they see deep_, or this sees theirs
    if (batch_since_.load() != 0 || pulsing_.load()) {
      deep_.store(false);
      busy = true;
    }
  }
  milliseconds tick = busy ? timing_.linger : kLookUp;
  if (pulsing_.load())
    tick = std::clamp(std::chrono::ceil<milliseconds>(pulse_at_ - Clock::now()), milliseconds(1), tick);
  if (!reading_ && waiters_.empty() && leader_gone >= timing_.linger) {
    background_reading_ = true;
    ReadOnce(lane, tick);
    background_reading_ = false;
    HandOver();
  } else {
    background_wake_.wait_for(lane, tick);
  }
  deep_.store(false);
  return busy;
}

// --- the end -------------------------------------------------------------------------------------------------------------

void Connection::MarkLost(const std::string& why) noexcept {
  if (lost_.exchange(true)) return;
  channel_->Close();
  {
    const std::lock_guard lane(lane_);
    if (!stopping_) Log(LogLevel::kError, "the session is lost: %s", why.empty() ? "the channel closed" : why.c_str());
    for (Waiter* waiter : waiters_) waiter->wake.notify_one();
    background_wake_.notify_one();
  }
  handler_->OnLost(why);
}

void Connection::Abandon() noexcept {
  lost_.store(true);
  abandoned_ = true;
  channel_->AbandonAfterFork();
}

}  // namespace vesper::client
