#include "server/venus/resources.h"

#include <sys/mman.h>

#include <utility>

#include "runtime/sealed_file.h"
#include "server/base/limits.h"
#include "server/base/log.h"

namespace vesper::venus {

namespace limits = server::limits;

namespace {

constexpr uint64_t kPage = 4096;

uint64_t InPages(uint64_t size) { return (size + kPage - 1) / kPage * kPage; }

}  // namespace

std::shared_ptr<Pages> Pages::Make(uint64_t size, server::PageSource* source, MemoryName* name) {
  if (source != nullptr) {
    const std::optional<server::NumberedPages> pages = source->Make(size);
    uint8_t* const data = pages ? server::MapPlaces(source->file(), pages->places, kPage) : nullptr;
    if (pages && data == nullptr) source->Drop(pages->number);
    if (data == nullptr) return nullptr;
    name->place = {pages->number, size};
    return std::shared_ptr<Pages>(new Pages(data, size, source, pages->number));
  }
  Descriptor made = MakeSealedFile("vesper venus", size);
  if (!made.valid()) return nullptr;
  void* data = mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, made.get(), 0);
  if (data == MAP_FAILED) return nullptr;
  name->file = std::move(made);
  return std::shared_ptr<Pages>(new Pages(static_cast<uint8_t*>(data), size, nullptr, 0));
}

Pages::~Pages() {
  munmap(data_, static_cast<size_t>(size_));
  if (source_ != nullptr) source_->Drop(number_);
}

bool Resources::Create(uint64_t size, uint32_t* number, MemoryName* name, std::string* error) {
  if (resources_.size() >= limits::kVenusResources || size == 0 || size > limits::kVenusResourceBytes - bytes_) {
    *error = "it wants more resources than one client may have";
    return false;
  }
  std::shared_ptr<Pages> pages = Pages::Make(InPages(size), source_, name);
  if (pages == nullptr) {
    *error = "no memory is left for a resource";
    return false;
  }
  bytes_ += pages->size();
  *number = ++numbers_;
  resources_.emplace(*number, std::move(pages));
  return true;
}

bool Resources::CreateOfMemory(uint64_t memory, uint64_t size, uint32_t* number, MemoryName* name, std::string* error) {
  if (resources_.size() >= limits::kVenusResources) {
    *error = "it wants more resources than one client may have";
    return false;
  }
  const auto found = memories_.find(memory);
  if (found != memories_.end()) {
    *name = std::move(found->second);
    memories_.erase(found);
  }
  std::shared_ptr<Pages> nothing;
  if (!name->valid()) {
    server::Log(server::LogLevel::kWarning,
                "memory that could not be shared is mapped: nobody sees what is written there");
    if (size == 0 || size > limits::kVenusResourceBytes) size = kPage;
    if (source_ != nullptr) {
      nothing = Pages::Make(InPages(size), source_, name);
    } else {
      name->file = MakeSealedFile("vesper nothing", InPages(size));
    }
  }
  if (!name->valid()) {
    *error = "no memory is left for a resource";
    return false;
  }
  *number = ++numbers_;
  resources_.emplace(*number, nullptr);
  if (nothing != nullptr) nothing_.emplace(*number, std::move(nothing));
  return true;
}

void Resources::Remove(uint32_t number) {
  nothing_.erase(number);
  const auto found = resources_.find(number);
  if (found == resources_.end()) return;
  if (found->second != nullptr) bytes_ -= std::min(bytes_, found->second->size());
  resources_.erase(found);
}

std::shared_ptr<Pages> Resources::Find(uint32_t number) const {
  const auto found = resources_.find(number);
  return found == resources_.end() ? nullptr : found->second;
}

}  // namespace vesper::venus
