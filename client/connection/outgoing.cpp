#include "client/connection/outgoing.h"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "client/base/limits.h"
#include "client/base/log.h"
#include "client/base/thread.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/record.h"

namespace vesper::client {

Outgoing::Outgoing(Channel* channel, Statistics* statistics, Owner* owner)
    : channel_(channel), statistics_(statistics), owner_(owner) {
  spare_.reserve(limits::kSpareBatches);
  writer_ = StartWithoutSignals([this] { return std::thread([this] { Write(); }); });
}

Outgoing::~Outgoing() {
  if (!writer_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  writer_.join();
}

void Outgoing::AbandonAfterFork() noexcept {
  // The thread exists in the parent alone; std::thread would end the process for being joinable.
  new (&writer_) std::thread;
}

// --- filling -------------------------------------------------------------------------------------------------------------

template <typename Fill>
bool Outgoing::AppendWith(uint16_t command, Fill fill, bool* started) noexcept {
  const std::lock_guard lock(mutex_);
  const size_t mark = batch_.size();
  try {
    if (!fill()) {
      batch_.Truncate(mark);
      return false;
    }
    CountAhead(command, batch_.size() - mark);
  } catch (const std::bad_alloc&) {
    batch_.Truncate(mark);
    return false;
  }
  unsent_.fetch_add(batch_.size() - mark, std::memory_order_relaxed);
  *started = mark == 0;
  if (mark == 0) batch_since_.store(std::chrono::steady_clock::now().time_since_epoch().count());
  if (batch_.size() >= limits::kBatchBytes) Seal();
  return true;
}

// With the mutex held, after records of that size. Without memory for a mark none is set.
void Outgoing::CountAhead(uint16_t command, size_t bytes) noexcept {
  if (!lead_.Post(command, bytes)) return;
  const size_t end = batch_.size();
  try {
    wire::EndRecord(&batch_, wire::BeginRecord(&batch_, static_cast<uint16_t>(wire::Control::kMark), 0));
    lead_.AddMark();
  } catch (const std::bad_alloc&) {
    batch_.Truncate(end);
  }
}

bool Outgoing::Append(uint16_t command, Encode encode, size_t* bytes, bool* started) noexcept {
  const auto write = [&] {
    const size_t mark = wire::BeginRecord(&batch_, command, 0);
    encode(&batch_);
    if (!wire::EndRecord(&batch_, mark)) return false;
    if (bytes != nullptr) *bytes = batch_.size() - mark;
    return true;
  };
  return AppendWith(command, write, started);
}

bool Outgoing::AppendAsking(uint16_t command, Encode encode, Expect expect, size_t* bytes, bool* started) noexcept {
  const auto write = [&] {
    const size_t mark = wire::BeginRecord(&batch_, command, wire::kWantsReply);
    encode(&batch_);
    if (!wire::EndRecord(&batch_, mark)) return false;
    if (bytes != nullptr) *bytes = batch_.size() - mark;
    expect(last_sequence_ + 1);
    ++last_sequence_;
    if (batch_first_ == 0) batch_first_ = last_sequence_;
    return true;
  };
  return AppendWith(command, write, started);
}

// What a row of records counts as: all of a command buffer's are one kind, runs of memory another.
static uint16_t KindOf(std::span<const uint8_t> records) {
  if (records.size() < sizeof(wire::RecordHeader)) return wire::kRecordings;
  const auto first = wire::Load<wire::RecordHeader>(records.data());
  return first.command == static_cast<uint16_t>(wire::Control::kMemoryWrite) ? first.command : wire::kRecordings;
}

bool Outgoing::AppendRecords(std::span<const uint8_t> records, bool* started) noexcept {
  const auto write = [&] {
    batch_.Append(records.data(), records.size());
    return true;
  };
  return AppendWith(KindOf(records), write, started);
}

bool Outgoing::AppendBatch(wire::ByteBuffer* records, bool* started) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (!batch_.empty()) Seal();
    if (batch_.empty()) {
      const size_t size = records->size();
      std::swap(batch_, *records);
      CountAhead(KindOf({batch_.data(), size}), size);
      unsent_.fetch_add(batch_.size(), std::memory_order_relaxed);
      *started = true;
      Seal();
      return true;
    }
  }
  return AppendRecords({records->data(), records->size()}, started);
}

// With the mutex held: the next batch begins. Without memory for that the present one goes on growing.
void Outgoing::Seal() noexcept {
  try {
    sealed_.emplace_back();
  } catch (const std::bad_alloc&) {
    flush_ = true;
    changed_.notify_all();
    return;
  }
  TakeBatch(&sealed_.back());
  if (!sending_) changed_.notify_all();
}

// With the mutex held.
void Outgoing::TakeBatch(Batch* batch) noexcept {
  batch->first_sequence = std::exchange(batch_first_, 0);
  batch->last_sequence = last_sequence_;
  std::swap(batch->bytes, batch_);
  if (!spare_.empty()) {
    batch_ = std::move(spare_.back());
    spare_.pop_back();
  }
  flush_ = false;
  batch_since_.store(0);
}

// --- sending -------------------------------------------------------------------------------------------------------------

void Outgoing::Flush() noexcept {
  std::unique_lock lock(mutex_);
  flush_ = !batch_.empty();
  if (sending_) return;  // who sends looks again when it has
  for (int i = 0; i < limits::kBatchesAtOnce && pending(); ++i) {
    const size_t size = sealed_.empty() ? batch_.size() : sealed_.front().bytes.size();
    if (!channel_->SendsAtOnce(size)) break;
    SendNext(lock);
  }
  if (pending()) changed_.notify_all();
}

void Outgoing::FlushByWriter() noexcept {
  const std::lock_guard lock(mutex_);
  flush_ = !batch_.empty();
  if (!sending_ && pending()) changed_.notify_all();
}

// With the mutex held, which is released meanwhile; something is pending and nobody is sending.
void Outgoing::SendNext(std::unique_lock<std::mutex>& lock) noexcept {
  Batch batch;
  if (sealed_.empty()) {
    TakeBatch(&batch);
  } else {
    batch = std::move(sealed_.front());
    sealed_.pop_front();
  }
  sending_ = true;
  lock.unlock();
  const size_t size = batch.bytes.size();
  const ChannelStatus status = Send(batch);
  const size_t before = unsent_.fetch_sub(size);
  const bool room = before > limits::kMaxUnsentBytes / 2 && before - size <= limits::kMaxUnsentBytes / 2;
  if (status != ChannelStatus::kOk) {
    owner_->OnSendFailed();
  } else if (room || (bulk_waits_.load() != 0 && HasAmpleBulkRoom())) {
    owner_->OnRoom();
  }
  lock.lock();
  sending_ = false;
  sent_sequence_.store(batch.last_sequence);
  batch.bytes.clear();
  if (spare_.size() < limits::kSpareBatches) spare_.push_back(std::move(batch.bytes));  // within what is reserved
  if (status != ChannelStatus::kOk) failed_ = true;
  if (failed_ || !pending()) sent_.notify_all();  // not the writer, who sleeps while others send
}

size_t Outgoing::BulkBound() const noexcept {
  const uint64_t rate = channel_->line_rate();
  if (rate == 0) return limits::kMaxUnsentBytes;
  return static_cast<size_t>(
      std::clamp<uint64_t>(rate / limits::kBulkOfSecond, limits::kLeastSliceBytes, limits::kMaxUnsentBytes));
}

ChannelStatus Outgoing::Send(const Batch& batch) noexcept {
  const std::array<std::span<const uint8_t>, 1> parts{{{batch.bytes.data(), batch.bytes.size()}}};
  ChannelStatus status = ChannelStatus::kClosed;
  try {
    status = channel_->Send(batch.kind, batch.first_sequence, parts);
  } catch (const std::bad_alloc&) {
    Log(LogLevel::kError, "memory is exhausted while sending");
  }
  statistics_->bytes_sent.store(channel_->bytes_sent(), std::memory_order_relaxed);
  statistics_->unpacked_sent.store(channel_->unpacked_bytes_sent(), std::memory_order_relaxed);
  statistics_->wakes_sent.store(channel_->wakes_sent(), std::memory_order_relaxed);
  return status;
}

void Outgoing::Write() noexcept {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || (!sending_ && pending()); });
    if (stopping_) return;
    SendNext(lock);
  }
}

// --- the end -------------------------------------------------------------------------------------------------------------

void Outgoing::Goodbye() noexcept {
  std::unique_lock lock(mutex_);
  flush_ = !batch_.empty();
  changed_.notify_all();
  sent_.wait(lock, [this] { return failed_ || (!sending_ && !pending()); });
  if (failed_) return;
  try {
    sealed_.emplace_back().kind = MessageKind::kGoodbye;
  } catch (const std::bad_alloc&) {
    return;  // the server learns it from the end of the channel
  }
  changed_.notify_all();
  sent_.wait(lock, [this] { return failed_ || (!sending_ && !pending()); });
}

void Outgoing::Fail() noexcept {
  const std::lock_guard lock(mutex_);
  failed_ = true;
  sent_.notify_all();
}

}  // namespace vesper::client
