// Memory that the peer and this process share: what carries rings, replies and streams, and by the peer's number of a
// VkDeviceMemory the file that the peer maps when the application does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "runtime/descriptor.h"
#include "server/memory/shared_pages.h"

namespace vesper::venus {

// Sealed pages, mapped here for as long as somebody uses them. The peer writes them at any time.
class Pages {
 public:
  // Null when memory or descriptors are exhausted. `name` is for the peer. From `source` if there is one, which then lives longer.
  static std::shared_ptr<Pages> Make(uint64_t size, server::PageSource* source, MemoryName* name);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }
  bool Holds(uint64_t offset, uint64_t size) const { return size <= size_ && offset <= size_ - size; }

 private:
  Pages(uint8_t* data, uint64_t size, server::PageSource* source, uint64_t number)
      : data_(data), size_(size), source_(source), number_(number) {}
  uint8_t* const data_;
  const uint64_t size_;
  server::PageSource* const source_;  // null: they are of this machine
  const uint64_t number_;
};

// Not thread-safe: the front end's lock guards it.
class Resources {
 public:
  explicit Resources(server::PageSource* source) : source_(source) {}
  // A resource of its own memory, its number, and the file for the peer. False, with a reason, when there are too many.
  bool Create(uint64_t size, uint32_t* number, MemoryName* name, std::string* error);
  // A resource that is a VkDeviceMemory: its file. One that has none, because its allocation failed or could not be shared, gets
  // pages that nothing else uses.
  bool CreateOfMemory(uint64_t memory, uint64_t size, uint32_t* number, MemoryName* name, std::string* error);
  void Remove(uint32_t number);
  // Null for unknown ones and those of VkDeviceMemory.
  std::shared_ptr<Pages> Find(uint32_t number) const;

  void KeepMemory(uint64_t memory, MemoryName name) { memories_.insert_or_assign(memory, std::move(name)); }
  void DropMemory(uint64_t memory) { memories_.erase(memory); }

 private:
  server::PageSource* const source_;
  std::unordered_map<uint32_t, std::shared_ptr<Pages>> resources_;
  std::unordered_map<uint64_t, MemoryName> memories_;
  std::unordered_map<uint32_t, std::shared_ptr<Pages>> nothing_;  // what stands for memory that is not shared
  uint32_t numbers_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace vesper::venus
