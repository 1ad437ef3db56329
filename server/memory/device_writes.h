// What the write ledger keeps of one device: objects as far as writes go through them, and recordings. The notes of
// write_notes.cpp, which the generated table of rules calls, fill it in.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "server/base/limits.h"
#include "server/memory/spirv_writes.h"
#include "server/memory/write_ledger.h"

namespace vesper::server {

// A part of a buffer, or an image. With neither it stands for anything.
struct WrittenPart {
  VkBuffer buffer = VK_NULL_HANDLE;
  VkImage image = VK_NULL_HANDLE;
  uint64_t offset = 0;
  uint64_t size = UINT64_MAX;
};

// Where a buffer or image lies. `memory` is null while it is not bound; `followed` is false when it was bound in a way that the
// ledger does not follow.
struct Placement {
  bool followed = true;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  uint64_t offset = 0;
  uint64_t size = UINT64_MAX;  // what an image takes is the driver's affair: all that follows
};

struct SetLayout {
  struct Binding {
    uint32_t first;  // index of its first descriptor: bindings follow each other as consecutive updates do
    uint32_t number;
  };
  uint32_t NumberOf(uint32_t index) const;
  std::vector<Binding> bindings;  // by number; those without descriptors, and inline blocks, are left out
};

struct DescriptorSet {
  std::shared_ptr<const SetLayout> layout;
  VkDescriptorPool pool = VK_NULL_HANDLE;
  std::map<uint32_t, WrittenPart> writable;  // by index, those of kinds that shaders may write through
  bool unknown = false;                      // something was written to it that was not understood
};

// What a command buffer has recorded since it was begun.
class Recording {
 public:
  void WritesAll() { everything = true; }
  void Writes(const WrittenPart& part) {
    if (parts.size() == limits::kMaxWrittenParts) return WritesAll();
    parts.push_back(part);
  }
  void Writes(VkBuffer buffer, uint64_t offset = 0, uint64_t size = UINT64_MAX) {
    if (buffer != VK_NULL_HANDLE) Writes({buffer, VK_NULL_HANDLE, offset, size});
  }
  void Writes(VkImage image) {
    if (image != VK_NULL_HANDLE) Writes({VK_NULL_HANDLE, image, 0, UINT64_MAX});
  }

  // What was bound at one point. Each pipeline counts as used with each set.
  struct Bound {
    std::unordered_set<VkPipeline> pipelines;
    std::set<std::pair<uint32_t, VkDescriptorSet>> sets;  // with the number at which it was bound
  };
  bool everything = false;
  std::vector<WrittenPart> parts;
  std::map<int, Bound> bound;  // by bind point
  std::vector<VkCommandBuffer> secondaries;
};

struct DeviceWrites {
  // What a recording may write if it is executed now, with what it executes in turn.
  void Collect(VkCommandBuffer buffer, WriteSet* set, int depth = 0) const;
  void Collect(const WrittenPart& part, WriteSet* set) const;
  void CollectBound(const Recording::Bound& bound, WriteSet* set) const;

  std::unordered_map<VkBuffer, Placement> buffers;
  std::unordered_set<VkBuffer> addressed;  // shaders may reach them by their addresses
  std::unordered_map<VkImage, Placement> images;
  std::unordered_map<VkBufferView, VkBuffer> buffer_views;
  std::unordered_map<VkImageView, VkImage> image_views;
  std::unordered_map<VkFramebuffer, std::vector<VkImageView>> framebuffers;
  std::unordered_map<VkDescriptorSetLayout, std::shared_ptr<const SetLayout>> layouts;
  std::unordered_map<VkDescriptorSet, DescriptorSet> sets;
  std::unordered_map<VkDescriptorPool, std::unordered_set<VkDescriptorSet>> pools;
  std::unordered_map<VkShaderModule, ShaderWrites> modules;
  std::unordered_map<VkPipeline, ShaderWrites> pipelines;
  std::unordered_map<VkCommandBuffer, Recording> recordings;
  std::unordered_map<VkCommandPool, std::unordered_set<VkCommandBuffer>> command_pools;
  std::vector<std::weak_ptr<const WriteSet>> live;
};

// What the generated table does with each command (generated/server/writes.cpp).
using WriteNote = void(DeviceWrites& device, const void* args);
extern WriteNote* const kWriteNotes[];

}  // namespace vesper::server
