// Memory of a guest's area (runtime/area.h) for one session: pieces of whole pages, where the area is given out in units that no
// two processes of the guest share.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "runtime/area.h"
#include "runtime/mutex.h"

namespace vesper::server {

// Thread-safe.
class AreaPool {
 public:
  explicit AreaPool(std::shared_ptr<Area> area) : area_(std::move(area)) {}

  // Pages of zeros. `size` and `alignment` in whole pages; alignment a power of two. nullopt when the area is full, or the host
  // has no memory for it.
  std::optional<uint64_t> Take(uint64_t size, uint64_t alignment);
  // What was taken, unmapped. Its pages go back to the host; whole units to the guest's other processes.
  void Return(MemoryPlace place);
  Area& area() { return *area_; }

 private:
  std::optional<uint64_t> FindFree(uint64_t size, uint64_t alignment) VESPER_REQUIRES(mutex_);
  void AddFree(MemoryPlace place) VESPER_REQUIRES(mutex_);

  const std::shared_ptr<Area> area_;
  Mutex mutex_;
  std::map<uint64_t, uint64_t> free_
      VESPER_GUARDED_BY(mutex_);  // of the units taken: where, how much; neighbours are one
};

}  // namespace vesper::server
