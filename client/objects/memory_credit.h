// What a device may allocate without asking: of each heap the server keeps some memory for it (wire::MemoryCredit). A program's
// first allocation of a heap waits, those behind it do not as long as what is under way fits into what is kept. The rest asks, and
// gets the driver's own code. Who uses it is client/overrides/memory_credit.h.
#pragma once

#include <vulkan/vulkan.h>

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/mutex.h"
#include "runtime/wire/control.h"

namespace vesper::client {

// Owned by the device. Any thread.
class MemoryCredit {
 public:
  // Held from Take() until what was taken is posted, and while credit is asked for: the server counts what comes. Not by whoever
  // reads.
  Mutex order;

  // Takes so much of the heap of that number; its own number, or 0 when there is not enough.
  uint64_t Take(uint32_t index, uint64_t bytes) noexcept;
  // Memory that was taken so was freed, and the server will see that next; or it was never sent.
  void GiveBack(uint32_t index, uint64_t number) noexcept;
  // What to ask for now, where that is so: none, or not enough, is kept of a heap for an allocation like this one.
  bool Wants(uint32_t index, uint64_t bytes, wire::MemoryCreditRequest* request) noexcept;
  // Gives up what is kept of that heap: true with what to tell the server, if there is anything. No more is asked for before memory
  // is freed.
  bool GiveUp(uint32_t index, wire::MemoryCreditRequest* request) noexcept;
  // By the reader.
  void Told(const wire::MemoryCredit& told) noexcept;

  // How many allocations live, of which the device allows so many: near that the server is asked.
  void Allocated() noexcept;
  void Freed() noexcept;
  uint64_t allocations() noexcept;

 private:
  struct Taken {
    uint64_t number;
    uint64_t bytes;
  };
  struct Heap {
    uint64_t asked = 0;
    uint64_t kept = 0;
    uint64_t under_way = 0;    // bytes of `taken`
    uint64_t last = 0;         // number
    std::vector<Taken> taken;  // that the server may not have come to yet, in their order
    uint32_t request = 0;
    bool tight = false;  // given up, and nothing was freed since
  };
  Mutex mutex_;  // the last to be taken, and never while sending
  std::array<Heap, VK_MAX_MEMORY_HEAPS> heaps_ VESPER_GUARDED_BY(mutex_);
  uint64_t allocations_ VESPER_GUARDED_BY(mutex_) = 0;
};

}  // namespace vesper::client
