// Memory that this worker, its driver and the client share: a sealed memfd, or places in the memory of a guest, whose pages exist
// from the start, so that exhaustion is an error code and never SIGBUS. server/memory/import.h gives it to the driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/descriptor.h"
#include "runtime/mutex.h"
#include "server/memory/area_pool.h"

namespace vesper::server {

// Pages that several places of a file make up, one after the other.
struct NumberedPages {
  uint64_t number = 0;
  std::vector<MemoryPlace> places;
};

// Who gives shared pages where they are neither a file of their own nor in a guest's area: the agent of a guest, which names them
// by a number and says where in a file of the host's they are (server/agent/agent_port.h). Thread-safe.
class PageSource {
 public:
  virtual ~PageSource() = default;
  // `size` in whole pages, which hold zeros and are there. nullopt when there are none to be had.
  virtual std::optional<NumberedPages> Make(uint64_t size) = 0;
  // They are mapped here no more.
  virtual void Drop(uint64_t number) = 0;
  virtual int file() const = 0;
};

// Maps them one after the other, at an address that is a multiple of `alignment`, a power of two. nullptr when that cannot be.
uint8_t* MapPlaces(int file, const std::vector<MemoryPlace>& places, uint64_t alignment);

// How much of the machine's memory one session may have as shared pages. Thread-safe; outlives the pages.
class SharedBudget {
 public:
  // 0 stands for half of the machine's memory, or of what its control group may have.
  explicit SharedBudget(uint64_t limit);

  // False when the limit or what the machine has free now does not allow it.
  bool Take(uint64_t size);
  void Return(uint64_t size);
  uint64_t peak() const;

  // From now on shared pages are places in a guest's area. Before the first are made.
  void UseArea(std::shared_ptr<Area> area) { area_ = std::make_unique<AreaPool>(std::move(area)); }
  AreaPool* area() const { return area_.get(); }
  // Or they come from there, which outlives them all. Before the first are made.
  void UseSource(PageSource* source) { source_ = source; }
  PageSource* source() const { return source_; }

 private:
  const uint64_t limit_;
  std::unique_ptr<AreaPool> area_;
  PageSource* source_ = nullptr;
  mutable Mutex mutex_;
  uint64_t used_ VESPER_GUARDED_BY(mutex_) = 0;
  uint64_t peak_ VESPER_GUARDED_BY(mutex_) = 0;
};

// Pages that hold zeros at first. Owned by the Importer while they are imported. Not thread-safe.
class SharedPages {
 public:
  // `size` and `alignment` in whole pages; alignment a power of two. nullptr when memory, budget or descriptors are
  // exhausted.
  static std::unique_ptr<SharedPages> Make(uint64_t size, uint64_t alignment, SharedBudget* budget);
  ~SharedPages();
  SharedPages(const SharedPages&) = delete;
  SharedPages& operator=(const SharedPages&) = delete;

  uint8_t* data() const { return data_; }
  // Gives the memory back to the system and the budget, although the client may still hold the file, which then holds zeros
  // again and no memory. The mapping stays. So does the destructor.
  void GiveBack();
  // For the client; this process does not need it any more.
  MemoryName TakeName() { return {std::move(descriptor_), place_}; }

 private:
  SharedPages(uint64_t size, SharedBudget* budget) : size_(size), budget_(budget) {}
  bool Map(int file, const std::vector<MemoryPlace>& places, uint64_t alignment);

  const uint64_t size_;
  SharedBudget* const budget_;
  Descriptor descriptor_;
  MemoryPlace place_;  // in the area, or where there is a source their number; none: the pages are the descriptor's
  uint8_t* data_ = nullptr;
  bool returned_ = false;
};

}  // namespace vesper::server
