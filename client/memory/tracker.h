// How the client learns which bytes of mapped memory the application wrote. One Tracker watches one mapping: anonymous shadow
// memory that the application writes, and a twin that holds what the server is known to have. Implementations differ in how
// they find candidates (memcmp here; userfaultfd and hashing are to come); that exact byte runs are sent never differs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "client/function_ref.h"

namespace vesper::client {

// Gets each changed run: where it lies in the memory object and the bytes, valid during the call. Bytes were read once:
// what the sink sees is what the twin then holds, whatever the application writes meanwhile.
using RunSink = FunctionRef<void(uint64_t offset, std::span<const uint8_t> bytes)>;

// Not thread-safe but for the application's own reads and writes of shadow(): MappedMemory's lock guards it.
class Tracker {
 public:
  virtual ~Tracker() = default;

  // What the application reads and writes: `size` bytes, page-aligned, zero at first.
  virtual uint8_t* shadow() = 0;
  virtual uint64_t size() const = 0;

  // Finds what the application changed in the range since the last time and takes it over into the twin.
  virtual void Collect(uint64_t offset, uint64_t size, RunSink sink) = 0;

  // Puts bytes that the device wrote into shadow and twin together. Out of range: ignored, false.
  virtual bool Apply(uint64_t offset, std::span<const uint8_t> bytes) = 0;
};

// The tracker that this machine affords, for memory of `size` bytes; nullptr when memory is exhausted.
std::unique_ptr<Tracker> MakeTracker(uint64_t size) noexcept;

}  // namespace vesper::client
