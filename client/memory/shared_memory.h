// Device memory that the server shares with this process: mapped once, when it is allocated, until it is freed. What is
// written is there; nothing is found, sent or fetched.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/descriptor.h"

namespace vesper::client {

// In the child of a fork the addresses stay readable and writable and are the child's alone, zeros at first: the session is
// lost there, and the parent's device must not see what the child writes. Not thread-safe.
class SharedMapping {
 public:
  SharedMapping() = default;
  ~SharedMapping();
  SharedMapping(const SharedMapping&) = delete;
  SharedMapping& operator=(const SharedMapping&) = delete;

  // False when the file, or the place in it, is smaller than `size`, could shrink under the mapping, or cannot be mapped; that a
  // place does not, the host sees to. The descriptor is not needed afterwards.
  bool Map(const Descriptor& file, uint64_t size, MemoryPlace place = {}) noexcept;
  bool valid() const { return data_ != nullptr; }
  uint8_t* data() const { return data_; }

 private:
  uint8_t* data_ = nullptr;
  // What is mapped: the whole file, or the units around the place, which are not those of another process.
  uint8_t* mapped_ = nullptr;
  size_t size_ = 0;
};

// Called in the child of a fork; takes no lock. Replaces every shared mapping that the child inherited by memory of its own.
void ReplaceSharedMappingsAfterFork() noexcept;

}  // namespace vesper::client
