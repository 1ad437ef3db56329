// Host-visible memory without copies: pages shared with the client are given to the driver (VK_EXT_external_memory_host).
// Which memory and which resources take part is decided here, as docs/memory.md ("Local") says: what the driver reports
// must stay as it is without us, and nothing may be bound to imported memory that the specification does not let be.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "generated/vk/dispatch_table.h"
#include "runtime/mutex.h"
#include "server/memory/shared_pages.h"

namespace vesper::server {

// What a resource is to imported memory.
struct Reach {
  uint32_t types = 0;       // importable memory types that it could be bound to
  bool importable = false;  // it takes the chain, and may then be bound to imported memory and to other memory alike
};

// Owned by the server's Device; outlives the driver's device. Thread-safe.
class Importer {
 public:
  struct Parts {
    const vk::DispatchTable* instance_table = nullptr;
    VkPhysicalDevice physical_device = VK_NULL_HANDLE;
    const vk::DispatchTable* table = nullptr;  // the device's
    VkDevice device = VK_NULL_HANDLE;
    const VkPhysicalDeviceMemoryProperties* memory = nullptr;
    uint64_t map_alignment = 1;  // minMemoryMapAlignment
    SharedBudget* budget = nullptr;
  };
  // Asks the driver which memory types take shared pages; nullptr when none does. VK_EXT_external_memory_host must be
  // enabled.
  static std::unique_ptr<Importer> Probe(const Parts& parts);

  // Memory types whose allocations are shared pages, unless a plain resource may be bound to them.
  uint32_t types() const { return types_; }

  // Adds `chain` to a create-info that takes it, and says what the resource then is. Pure: equal create-infos get equal
  // answers, so that requirements asked for by create-info are those of the object.
  Reach Chain(VkBufferCreateInfo* info, VkExternalMemoryBufferCreateInfo* chain) const;
  Reach Chain(VkImageCreateInfo* info, VkExternalMemoryImageCreateInfo* chain) const;
  // Memory is shared whatever resources there are, since the client could not map it otherwise. Before any resource is made.
  void ShareWhateverIsMade() { always_ = true; }

  // A resource was made. Once a resource exists that cannot be bound to imported memory, memory of the types that it may be
  // bound to is no longer imported.
  void Note(VkBuffer buffer, Reach reach) { NoteResource(Raw(buffer), reach, "buffer"); }
  void Note(VkImage image, Reach reach) { NoteResource(Raw(image), reach, "image"); }

  // Allocates shared pages and imports them. False when this allocation is not for that or something is exhausted:
  // the driver is then asked for memory of its own. `name` is for the client.
  bool Allocate(const VkMemoryAllocateInfo& asked, VkDeviceMemory* memory, MemoryName* name);
  // Pages that nobody freed stay mapped, unless the driver's device is gone: it may still be at work on them. Their memory is
  // given back, for clients may outlive their sessions.
  ~Importer();
  Importer(const Importer&) = delete;
  Importer& operator=(const Importer&) = delete;
  // After the driver's device was destroyed.
  void DropAll();
  // Before the driver's memory is freed; the pages, if it has any, stay for as long as the result.
  std::unique_ptr<SharedPages> Take(VkDeviceMemory memory);

 private:
  explicit Importer(const Parts& parts) : parts_(parts) {}
  bool FindTypes();
  bool Same(const VkMemoryRequirements& plain, const VkMemoryRequirements& chained) const;
  bool IsImportable(const VkBufferCreateInfo& info) const;
  bool IsImportable(const VkImageCreateInfo& info) const;
  // False where the driver cannot say; `dedicated` whether the resource must have memory of its own.
  bool Measure(const VkBufferCreateInfo& info, VkMemoryRequirements* requirements, bool* dedicated) const;
  bool Measure(const VkImageCreateInfo& info, VkMemoryRequirements* requirements, bool* dedicated) const;
  template <typename H>
  static uint64_t Raw(H handle) {
    uint64_t raw = 0;
    std::memcpy(&raw, &handle, sizeof(handle));
    return raw;
  }
  void NoteResource(uint64_t resource, Reach reach, const char* what);
  template <typename Info, typename ChainInfo>
  Reach ChainTo(Info* info, ChainInfo* chain, VkStructureType type) const;
  bool Chooses(const VkMemoryAllocateInfo& asked);

  const Parts parts_;
  uint64_t alignment_ = 1;  // of addresses and sizes
  uint32_t types_ = 0;
  uint32_t visible_types_ = 0;
  bool always_ = false;
  Mutex mutex_;
  uint32_t tainted_ VESPER_GUARDED_BY(mutex_) = 0;
  std::unordered_set<uint64_t> plain_
      VESPER_GUARDED_BY(mutex_);  // resources; one that takes the place of another is entered anew
  std::unordered_map<VkDeviceMemory, std::unique_ptr<SharedPages>> pages_ VESPER_GUARDED_BY(mutex_);
};

}  // namespace vesper::server
