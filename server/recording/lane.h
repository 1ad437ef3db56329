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

// A command with the driver's handles and all that its arguments point at.
struct PreparedCall {
  void (*invoke)(Session&, const vk::DispatchTable&, void* args);
  const vk::DispatchTable* table;
  void* args;
};

// So many of them, with the memory of their arguments.
struct Row {
  explicit Row(size_t limit) : arena(limit) {}
  bool IsFull() const {
    return count == calls.size() || used + limits::kPlainArgumentBytes > bytes.size() ||
           arena.used() >= limits::kRowBytes;
  }
  // Room for the next call's arguments, of at most limits::kPlainArgumentBytes, where the row is not full. Taken by Add().
  void* Place(size_t size) {
    placed = (size + 15) / 16 * 16;
    return &bytes[used];
  }
  void Add(const PreparedCall& call) {
    calls[count++] = call;
    used += placed;
  }
  void Clear() {
    count = used = 0;
    if (arena.used() != 0) arena.Reset();
  }

  std::array<PreparedCall, limits::kRowCalls> calls{};
  size_t count = 0;
  size_t used = 0;
  size_t placed = 0;
  alignas(64) std::array<std::byte, limits::kRowBytes> bytes;  // arguments
  Arena arena;                                                 // what they point at
};

// Rows are made in the order in which they were posted, on the lane's thread. All members are the reader's.
class Lane {
 public:
  // No command has more than `bytes` of arguments. The session outlives the lane.
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
  // Hands the row over, if there is anything in it.
  void Post();
  // The same, and waits until everything has been made.
  void Settle();
  bool IsIdle() const {
    return filling_ == nullptr && done_.load(std::memory_order_acquire) == posted_.load(std::memory_order_relaxed);
  }

 private:
  Row& NextRow();
  void Run();

  Session* const session_;
  std::array<std::unique_ptr<Row>, limits::kRowsOfLane> rows_;  // row n is rows_[n % size]
  Row* filling_ = nullptr;
  alignas(64) std::atomic<uint32_t> posted_ =
      0;  // by the reader; on another line of the cache than what the thread writes
  alignas(64) std::atomic<uint32_t> done_ = 0;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace vesper::server
