#include "client/connection/connection.h"

#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "client/base/limits.h"
#include "client/base/log.h"
#include "client/base/thread.h"
#include "runtime/wire/decoder.h"

namespace vesper::client {
namespace {

using std::chrono::milliseconds;

int64_t Now() { return Clock::now().time_since_epoch().count(); }
Clock::duration Since(int64_t then) { return Clock::duration(Now() - then); }

}  // namespace

Connection::Connection(std::unique_ptr<Channel> channel, EventHandler* handler, Statistics* statistics,
                       const Timing& timing)
    : channel_(std::move(channel)),
      handler_(handler),
      statistics_(statistics),
      timing_(timing),
      outgoing_(channel_.get(), statistics, this) {
  last_activity_ = Now();
  last_life_ = Clock::now();
  waiters_.reserve(limits::kUsualWaiters);
  background_ = StartWithoutSignals([this] { return std::thread([this] { Background(); }); });
}

Connection::~Connection() {
  if (abandoned_) {
    // The threads exist in the parent alone; std::thread would end the process for being joinable.
    new (&background_) std::thread;
    outgoing_.AbandonAfterFork();
    return;
  }
  {
    const std::lock_guard lane(lane_);
    ending_ = true;  // before Goodbye, which the server answers by closing
  }
  if (!lost()) outgoing_.Goodbye();
  channel_->Close();
  {
    const std::lock_guard lane(lane_);
    stopping_ = true;
    background_wake_.notify_all();
  }
  background_.join();
}

// --- sending -------------------------------------------------------------------------------------------------------------

// Ends every way of posting; `started`: the batch was empty before.
Connection::Posted Connection::Appended(bool done, bool started) noexcept {
  if (!done) return Posted::kExhausted;
  if (started) {
    last_activity_.store(Now(), std::memory_order_relaxed);
    if (deep_.load()) WakeBackground();
  }
  return lost() ? Posted::kLost : Posted::kOk;
}

Connection::Posted Connection::Post(uint16_t command, Encode encode, size_t* bytes) noexcept {
  if (lost()) return Posted::kLost;
  bool started = false;
  const bool done = outgoing_.Append(command, encode, bytes, &started);
  return Appended(done, started);
}

Connection::Posted Connection::PostRecords(std::span<const uint8_t> records) noexcept {
  if (lost()) return Posted::kLost;
  bool started = false;
  const bool done = outgoing_.AppendRecords(records, &started);
  return Appended(done, started);
}

Connection::Posted Connection::PostBatch(wire::ByteBuffer* records) noexcept {
  if (lost()) return Posted::kLost;
  bool started = false;
  const bool done = outgoing_.AppendBatch(records, &started);
  return Appended(done, started);
}

bool Connection::Flush() noexcept {
  if (!lost()) outgoing_.Flush();
  return !lost();
}

bool Connection::WaitForRoom(bool bulk) noexcept {
  if (lost()) return false;
  if (!outgoing_.lead().HasRoom()) Count(statistics_->held_back);
  const auto start = Clock::now();
  if (bulk) outgoing_.BeginBulkWait();
  std::unique_lock lane(lane_);
  const WaitOutcome outcome = Enter(
      lane, [this, bulk] { return bulk ? outgoing_.HasAmpleBulkRoom() : outgoing_.HasAmpleRoom(); },
      Clock::time_point::max());
  lane.unlock();
  if (bulk) outgoing_.EndBulkWait();
  Count(statistics_->stalled_ns, static_cast<uint64_t>((Clock::now() - start).count()));
  return outcome == WaitOutcome::kDone;
}

Connection::Posted Connection::Ask(uint16_t command, Encode encode, Reply* reply, size_t* bytes) noexcept {
  if (lost()) return Posted::kLost;
  Waiter self;
  bool started = false;
  const auto expect = [&](uint64_t sequence) {
    const std::lock_guard lane(lane_);
    self.sequence = sequence;
    waiters_.push_back(&self);
  };
  if (!outgoing_.AppendAsking(command, encode, expect, bytes, &started)) return Posted::kExhausted;
  outgoing_.Flush();
  Count(statistics_->round_trips);
  const auto start = Clock::now();
  std::unique_lock lane(lane_);
  Sleep(
      lane, [&] { return self.answered; }, Clock::time_point::max(), &self);
  lane.unlock();
  const int64_t trip = (Clock::now() - start).count();
  Count(statistics_->stalled_ns, static_cast<uint64_t>(trip));
  if (!self.answered) return Posted::kLost;
  outgoing_.lead().NoteTrip(trip);
  if (self.reply.payload.size() < sizeof(wire::ReplyHeader)) {
    MarkLost("a reply without its header");
    return Posted::kLost;
  }
  reply->header = wire::Load<wire::ReplyHeader>(self.reply.payload.data());
  reply->payload = std::move(self.reply.payload);
  reply->announced_descriptor = self.reply.announced_descriptors != 0;
  if (!self.reply.descriptors.empty()) {
    reply->memory = {std::move(self.reply.descriptors.front()), self.reply.place};
  }
  reply->sequence = self.sequence;
  reply->waited_ns = static_cast<uint64_t>(trip);
  return Posted::kOk;
}

std::shared_ptr<LaterReply> Connection::AskLater(uint16_t command, Encode encode, When when) noexcept {
  if (lost()) return nullptr;
  std::shared_ptr<LaterReply> later;
  bool started = false;
  const auto expect = [&](uint64_t sequence) {
    later = std::make_shared<LaterReply>();
    later->sequence = sequence;
    const std::lock_guard lane(lane_);
    later_.emplace(sequence, later);
  };
  if (!outgoing_.AppendAsking(command, encode, expect, nullptr, &started)) return nullptr;
  if (when == When::kNow) {
    outgoing_.Flush();
  } else {
    Appended(true, started);
  }
  return later;
}

void Connection::Join(const std::shared_ptr<LaterReply>& later, const std::shared_ptr<Trip>& trip) noexcept {
  const std::lock_guard lane(lane_);
  later->trip = trip;
  trip->last = later;
}

bool Connection::Await(const LaterReply& later, bool* counted) noexcept {
  std::unique_lock lane(lane_);
  TryPoll(lane);
  Trip* const trip = later.trip.get();
  *counted = trip == nullptr ? !later.answered : !std::exchange(trip->counted, true);
  if (*counted) Count(statistics_->round_trips);
  const std::shared_ptr<LaterReply> last = trip == nullptr ? nullptr : trip->last.lock();
  const auto done = [&] { return later.answered && (last == nullptr || last->answered); };
  if (done()) return true;
  const auto start = Clock::now();
  Enter(lane, done, Clock::time_point::max());
  Count(statistics_->stalled_ns, static_cast<uint64_t>((Clock::now() - start).count()));
  return later.answered;
}

// --- waiting and reading -------------------------------------------------------------------------------------------------

WaitOutcome Connection::WaitFor(std::unique_lock<std::mutex>& lane, FunctionRef<bool()> done,
                                Clock::time_point deadline) noexcept {
  if (done()) return WaitOutcome::kDone;
  Count(statistics_->waits);
  const auto start = Clock::now();
  const WaitOutcome outcome = Enter(lane, done, deadline);
  Count(statistics_->stalled_ns, static_cast<uint64_t>((Clock::now() - start).count()));
  return outcome;
}

// With the lane locked: joins those who wait for completions.
WaitOutcome Connection::Enter(std::unique_lock<std::mutex>& lane, FunctionRef<bool()> done,
                              Clock::time_point deadline) noexcept {
  if (lost()) return WaitOutcome::kLost;
  if (outgoing_.batch_since() != 0) {
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
  return Sleep(lane, done, deadline, &self);
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
      const auto left =
          std::chrono::ceil<milliseconds>(std::min<Clock::duration>(deadline - now, limits::kReaderLooksUp));
      ReadOnce(lane, left);
      last_leader_ = Clock::now();
    } else {
      self->asleep = true;
      if (deadline == Clock::time_point::max()) {
        self->wake.wait(lane);
      } else {
        self->wake.wait_until(lane, deadline);
      }
      self->asleep = false;
    }
  }
  std::erase(waiters_, self);
  HandOver();
  return outcome;
}

// With the lane locked: someone who waits reads next, or the background thread after a while.
void Connection::HandOver() noexcept {
  if (reading_) return;
  const auto sleeper = std::find_if(waiters_.begin(), waiters_.end(), [](const Waiter* each) { return each->asleep; });
  if (sleeper != waiters_.end()) {
    (*sleeper)->wake.notify_one();
  } else if (deep_.load(std::memory_order_relaxed)) {
    background_wake_.notify_one();
  }
}

// Receives and handles one message. With the lane locked and nobody reading; unlocks it meanwhile.
void Connection::ReadOnce(std::unique_lock<std::mutex>& lane, milliseconds timeout) noexcept {
  reading_ = true;
  lane.unlock();
  if (heartbeat_ != 0)
    timeout = std::min(timeout, limits::kReaderLooksUp / 2);  // the end of the grace period is not to be missed by much
  const auto start = Clock::now();
  try {
    const ChannelStatus status = channel_->Receive(&message_, timeout);
    statistics_->wakes_received.store(channel_->wakes_received(), std::memory_order_relaxed);
    if (status == ChannelStatus::kOk) {
      NoteLife(Clock::now());
      received_ = channel_->bytes_received();
      Handle(&message_);
      message_.descriptors.clear();  // those that nobody took
      statistics_->bytes_received.store(channel_->bytes_received(), std::memory_order_relaxed);
      statistics_->unpacked_received.store(channel_->unpacked_bytes_received(), std::memory_order_relaxed);
    } else if (status == ChannelStatus::kTimeout) {
      CheckSilence(std::chrono::duration_cast<milliseconds>(Clock::now() - start));
    } else {
      MarkLostByChannel();
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
      if (heartbeat_ != 0 && message->sequence == heartbeat_) {
        heartbeat_ = 0;
        return;
      }
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
    case MessageKind::kNumbers:
      HandleNumbers(message->payload);
      return;
    case MessageKind::kRefused:  // by a worker that crashed just after its Welcome
    case MessageKind::kGoodbye:
      MarkLost("the server ended the session: " + std::string(message->payload.begin(), message->payload.end()));
      return;
    default:
      MarkLost("the server sent a message that only a client sends");
  }
}

// With the lane locked: an answer that nobody waits for, or whose asker has given up.
void Connection::HandleLater(Message* message) {
  const auto found = later_.find(message->sequence);
  if (found == later_.end()) return;
  const std::shared_ptr<LaterReply> later = found->second.lock();
  later_.erase(found);
  if (later == nullptr || message->payload.size() < sizeof(wire::ReplyHeader)) return;
  later->reply.header = wire::Load<wire::ReplyHeader>(message->payload.data());
  later->reply.payload = std::move(message->payload);
  later->reply.announced_descriptor = message->announced_descriptors != 0;
  later->answered = true;
  WakeWaiters();
}

void Connection::HandleEvents(std::span<const uint8_t> records) {
  while (!records.empty()) {
    wire::RecordHeader header;
    std::span<const uint8_t> body;
    if (!wire::NextRecord(&records, &header, &body)) {
      MarkLost("an event is longer than its message");
      return;
    }
    const auto kind = static_cast<wire::EventKind>(header.command);
    if (kind != wire::EventKind::kProgress) {
      handler_->OnEvent(kind, body);
    } else if (body.size() >= sizeof(wire::Progress)) {
      outgoing_.lead().Learn(body.subspan(sizeof(wire::Progress)));
      outgoing_.lead().Reached(wire::Load<wire::Progress>(body.data()).marks);
    }
  }
  const std::lock_guard lane(lane_);
  WakeWaiters();
}

// With the lane locked.
void Connection::WakeWaiters() noexcept {
  for (Waiter* waiter : waiters_) {
    if (waiter->sequence == 0) waiter->wake.notify_one();
  }
}

// What the server raises is how far its queues have completed, as if it had sent an event of each, and how far it has come.
void Connection::HandleNumbers(std::span<const uint8_t> pairs) {
  for (; pairs.size() >= sizeof(wire::Completed); pairs = pairs.subspan(sizeof(wire::Completed))) {
    const auto number = wire::Load<wire::Completed>(pairs.data());
    if (number.queue == wire::kProgressKey) {
      outgoing_.lead().Reached(number.serial);
      continue;
    }
    handler_->OnEvent(wire::EventKind::kCompleted, pairs.first(sizeof(wire::Completed)));
  }
  const std::lock_guard lane(lane_);
  WakeWaiters();
}

void Connection::NotifyWaiters() noexcept {
  const std::lock_guard lane(lane_);
  WakeWaiters();
  if (reading_ && !background_reading_) channel_->Interrupt();  // the leader may be one of them
}

bool Connection::IsAwaited(uint64_t sequence) noexcept {
  const std::lock_guard lane(lane_);
  return sequence != 0 &&
         std::any_of(waiters_.begin(), waiters_.end(), [&](const Waiter* each) { return each->sequence == sequence; });
}

void Connection::TryPoll(std::unique_lock<std::mutex>& lane) noexcept {
  const auto now = Clock::now();
  if (reading_ || lost() || (now - last_poll_ < limits::kPollInterval && !channel_->PollsForNothing())) return;
  last_poll_ = now;
  ReadOnce(lane, milliseconds(0));
  HandOver();
}

void Connection::NoteLife(Clock::time_point now) noexcept {
  last_life_ = now;
  listened_in_vain_ = milliseconds(0);
  renewed_ = renewing_ = false;
}

// By the reader, after no message came for `waited`.
void Connection::CheckSilence(milliseconds waited) noexcept {
  const auto now = Clock::now();
  if (ShowsLife()) return NoteLife(now);
  if (channel_->broken()) {  // it is mended or lost in time by itself
    if (!renewed_) NoteLife(now);
    return;
  }
  if (std::exchange(renewing_, false)) {  // what the server has to say is on its way
    last_life_ = std::max(last_life_, now - timing_.grace + limits::kAfterRenewal);
  }
  const auto silence = now - last_life_;
  // Only time spent listening counts, in several looks: a program that was stopped itself, within one, has not heard
  // anything either.
  listened_in_vain_ += std::min(waited, limits::kReaderLooksUp);
  if (heartbeat_ == 0) {
    if (silence >= timing_.heartbeat_after) SendHeartbeat();
  } else if (silence > timing_.grace && listened_in_vain_ > timing_.grace / 2) {
    MarkLost("the server has been silent for longer than the grace period");
  } else if (!renewed_ && silence > timing_.grace / 2 && listened_in_vain_ > timing_.grace / 4) {
    // Perhaps it is the line, of which something in between has forgotten.
    renewed_ = renewing_ = channel_->Renew(std::chrono::duration_cast<milliseconds>(timing_.grace - silence));
  }
}

// Whether bytes have come since the last look, part of a long message perhaps, or left of what must be there before the
// heartbeat can be answered.
bool Connection::ShowsLife() noexcept {
  const uint64_t received = channel_->bytes_received();
  bool lives = std::exchange(received_, received) != received;
  const uint64_t delivered = channel_->bytes_delivered();
  if (heartbeat_ != 0 && heartbeat_end_ == 0 && outgoing_.sent_sequence() >= heartbeat_) {
    heartbeat_end_ = channel_->bytes_sent();
  }
  const bool under_way = heartbeat_ != 0 && (heartbeat_end_ == 0 || delivered_ < heartbeat_end_);
  lives = lives || (under_way && delivered > delivered_);
  delivered_ = std::max(delivered_, delivered);
  return lives;
}

void Connection::SendHeartbeat() noexcept {
  const auto expect = [this](uint64_t sequence) {
    heartbeat_ = sequence;
    heartbeat_end_ = 0;
  };
  bool started = false;
  const auto command = static_cast<uint16_t>(wire::Control::kHeartbeat);
  if (outgoing_.AppendAsking(
          command, [](wire::ByteBuffer*) {}, expect, nullptr, &started)) {
    outgoing_.FlushByWriter();
  }
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
    const int64_t since = outgoing_.batch_since();
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
  bool busy = outgoing_.batch_since() != 0 || leader_gone < timing_.linger ||
              Since(last_activity_.load(std::memory_order_relaxed)) < timing_.busy_for;
  if (!busy) {
    deep_.store(true);  // pairs with Appended() and StartPulse(): either they see deep_, or this sees theirs
    if (outgoing_.batch_since() != 0 || pulsing_.load()) {
      deep_.store(false);
      busy = true;
    }
  }
  milliseconds tick = busy ? timing_.linger : limits::kReaderLooksUp;
  if (pulsing_.load())
    tick = std::clamp(std::chrono::ceil<milliseconds>(pulse_at_ - Clock::now()), milliseconds(1), tick);
  const bool wanted = std::any_of(waiters_.begin(), waiters_.end(), [](const Waiter* each) { return each->asleep; });
  if (!reading_ && !wanted && leader_gone >= timing_.linger) {
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

// Memory may be what is missing: only what the channel says takes any.
void Connection::MarkLostByChannel() noexcept {
  try {
    MarkLost(channel_->error());
  } catch (const std::bad_alloc&) {
    MarkLost("the channel closed");
  }
}

void Connection::MarkLost(std::string_view why) noexcept {
  if (lost_.exchange(true)) return;
  channel_->Close();
  outgoing_.Fail();
  {
    const std::lock_guard lane(lane_);
    if (!ending_) {
      if (why.empty()) why = "the channel closed";
      Log(LogLevel::kError, "the session is lost: %.*s", static_cast<int>(why.size()), why.data());
    }
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
