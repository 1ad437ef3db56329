// A thread that hands recorded commands to the driver while the session's reader decodes the next ones.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "generated/vk/dispatch_table.h"
#include "runtime/arena.h"
#include "server/base/limits.h"

namespace vesper::server {

class Session;

// A command with the driver's handles. Its arguments follow, and then what they point at: what the reader writes and the
// lane's thread reads a moment later goes from one processor's cache to the other's, so it lies close together, and what both know
// is not in it.
class PreparedCall {
 public:
  // A number of this server. Nothing follows it yet.
  void set_command(uint16_t command) { word_ = command; }
  uint16_t command() const { return static_cast<uint16_t>(word_); }
  void set_next(const PreparedCall* next) {
    word_ |= static_cast<uint64_t>(reinterpret_cast<intptr_t>(next) - reinterpret_cast<intptr_t>(this)) << kCommandBits;
  }
  // Of its row; nullptr: it is the last.
  PreparedCall* next() {
    const int64_t distance = static_cast<int64_t>(word_) >> kCommandBits;
    return distance == 0 ? nullptr : reinterpret_cast<PreparedCall*>(reinterpret_cast<intptr_t>(this) + distance);
  }

 private:
  static constexpr int kCommandBits = 16;  // addresses of programs have 47

  uint64_t word_;
};

// So many of them. Rows share no line of the cache: while one is filled, the one before is read.
class alignas(64) Row {
 public:
  explicit Row(size_t limit) : arena_(limit) {}
  Row(const Row&) = delete;
  Row& operator=(const Row&) = delete;

  bool IsFull() const { return count_ == limits::kRowCalls || arena_.used() >= limits::kRowBytes; }
  // Room for a call with arguments of that size; nullptr without memory. It counts when it has been added.
  PreparedCall* Place(size_t size) {
    auto* call = static_cast<PreparedCall*>(arena_.Reserve(kHead + (size + kWord - 1) / kWord * kWord));
    if (call != nullptr) __builtin_prefetch(reinterpret_cast<std::byte*>(call) + kAhead, 1);
    return call;
  }
  static void* ArgumentsOf(PreparedCall* call) { return reinterpret_cast<std::byte*>(call) + kHead; }
  Arena* arena() { return &arena_; }  // for what they point at
  void Add(PreparedCall* call, uint16_t command) {
    call->set_command(command);
    if (last_ == nullptr) {
      first_ = call;
    } else {
      last_->set_next(call);
    }
    last_ = call;
    ++count_;
  }
  PreparedCall* first() const { return first_; }
  // Whether calls of that table may be added: all calls of a row are made by one.
  bool Takes(const vk::DispatchTable* table) {
    if (first_ == nullptr) table_ = table;
    return table == table_;
  }
  const vk::DispatchTable& table() const { return *table_; }

  size_t count() const { return count_; }
  // Whether it has grown beyond what every row keeps.
  bool IsLarge() const { return arena_.used() > Arena::kFirstBlock; }
  void Clear() {
    first_ = last_ = nullptr;
    count_ = 0;
    arena_.Reset();
  }

 private:
  static constexpr size_t kHead = sizeof(uint64_t);  // arguments have 8-byte members
  static constexpr size_t kWord = 16;                // bytes that are cleared at once
  static_assert(sizeof(PreparedCall) <= kHead);
  // Lines of the cache that are about to be written are fetched so far ahead: the lane's processor had them last.
  static constexpr size_t kAhead = 512;

  PreparedCall* first_ = nullptr;
  PreparedCall* last_ = nullptr;
  const vk::DispatchTable* table_ = nullptr;
  size_t count_ = 0;
  Arena arena_;
};

// Rows are made in the order in which they were posted, on the lane's thread. All members are the reader's.
class Lane {
 public:
  // No command needs more than `bytes` for its arguments and what they point at. The session outlives the lane.
  Lane(Session* session, size_t bytes);
  // Ends the thread, which makes what was posted first.
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // The row to be filled: empty after Post(), otherwise with what was put in before. Waits while all rows are with the thread.
  Row& Filling() {
    if (filling_ == nullptr) filling_ = &NextRow();
    return *filling_;
  }
  // The same for calls of that table.
  Row& FillingFor(const vk::DispatchTable* table) {
    if (!Filling().Takes(table)) {
      Post();
      Filling().Takes(table);
    }
    return *filling_;
  }
  // Hands the row over, if there is anything in it.
  void Post();
  // The same when it is full. The first since the thread had nothing to do is shorter, so that it begins; for the others what passes
  // between the two processors at each row counts.
  void PostIfDue() {
    if (filling_->IsFull() || (!begun_ && filling_->count() >= limits::kShortRow)) Post();
  }
  // The same, and waits until everything has been made.
  void Settle();
  bool IsIdle() const { return filling_ == nullptr && HasMadeAll(); }
  // The thread looks for rows, or makes some: it need not be woken.
  bool IsAwake() const { return awake_.load(std::memory_order_relaxed); }

 private:
  bool HasMadeAll() const { return done_.load(std::memory_order_acquire) == posted_.load(std::memory_order_relaxed); }
  Row& NextRow();
  void Run();

  Session* const session_;
  std::array<std::unique_ptr<Row>, limits::kRowsOfLane> rows_;  // row n is rows_[n % size]
  alignas(64) Row* filling_ = nullptr;
  bool begun_ = false;  // a row was posted since Settle()
  alignas(64) std::atomic<uint32_t> posted_ =
      0;  // by the reader; on another line of the cache than what the thread writes
  alignas(64) std::atomic<uint32_t> done_ = 0;
  std::atomic<bool> awake_ = false;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace vesper::server
