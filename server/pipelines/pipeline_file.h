// What drivers made of a client's shaders, kept from one session to the next: natively a driver keeps that on disk, where the
// sandbox lets no worker write. A worker makes the file in memory, the supervisor stores it unread, and a later worker of the same
// client looks at it before its driver does.
#pragma once

#include <vulkan/vulkan.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/descriptor.h"

namespace vesper::server {

// What pipelines fit: a device with its driver. Passed as it lies in memory.
struct PipelineKey {
  uint32_t vendor = 0, device = 0, driver = 0;
  std::array<uint8_t, VK_UUID_SIZE> uuid{};

  friend bool operator==(const PipelineKey&, const PipelineKey&) = default;
};

// The data of a pipeline cache as a file in memory that nobody can change any more; invalid without memory, or when it is more
// than limits::kMaxPipelineFile.
Descriptor MakePipelineFile(const PipelineKey& key, std::span<const uint8_t> data);
// Whether the file is one that nobody can change, and no larger than one may be. Does not look into it.
bool IsPipelineFile(const Descriptor& file);
// The data, which are `key`'s and whole as they were written; else nullopt.
std::optional<std::vector<uint8_t>> ReadPipelineFile(const Descriptor& file, const PipelineKey& key);

// Where a session's worker gets such files and leaves them. Any thread.
class PipelineShelf {
 public:
  virtual ~PipelineShelf() = default;
  // Waits for an answer; invalid when there is none.
  virtual Descriptor Fetch(const PipelineKey& key) = 0;
  // Instead of what is there; an invalid one is none.
  virtual void Keep(const PipelineKey& key, const Descriptor& file) = 0;
};

}  // namespace vesper::server
