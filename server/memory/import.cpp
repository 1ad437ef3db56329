#include "server/memory/import.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "runtime/vk/chain.h"
#include "server/base/chain.h"
#include "server/base/log.h"

namespace vesper::server {
namespace {

constexpr VkExternalMemoryHandleTypeFlagBits kHostPages = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
// VkBufferUsageFlags2CreateInfo, which the oldest registry that this builds with does not know.
constexpr auto kUsageFlags2 = static_cast<VkStructureType>(1000470006);

constexpr VkBufferCreateFlags kPlainBuffers =
    VK_BUFFER_CREATE_SPARSE_BINDING_BIT | VK_BUFFER_CREATE_SPARSE_RESIDENCY_BIT | VK_BUFFER_CREATE_SPARSE_ALIASED_BIT |
    VK_BUFFER_CREATE_PROTECTED_BIT | VK_BUFFER_CREATE_DEVICE_ADDRESS_CAPTURE_REPLAY_BIT |
    VK_BUFFER_CREATE_DESCRIPTOR_BUFFER_CAPTURE_REPLAY_BIT_EXT;
constexpr VkImageCreateFlags kPlainImages = VK_IMAGE_CREATE_SPARSE_BINDING_BIT | VK_IMAGE_CREATE_SPARSE_RESIDENCY_BIT |
                                            VK_IMAGE_CREATE_SPARSE_ALIASED_BIT | VK_IMAGE_CREATE_PROTECTED_BIT |
                                            VK_IMAGE_CREATE_DISJOINT_BIT |
                                            VK_IMAGE_CREATE_DESCRIPTOR_BUFFER_CAPTURE_REPLAY_BIT_EXT;

bool OnlyMembers(const void* chain, std::initializer_list<VkStructureType> allowed) {
  for (const VkBaseInStructure& member : ChainOf(chain)) {
    if (std::find(allowed.begin(), allowed.end(), member.sType) == allowed.end()) return false;
  }
  return true;
}

// Puts a copy of the member of `chain` of that type, if there is one, in front of `info`'s chain.
template <typename T>
void AddCopy(const void* chain, VkStructureType type, T* copy, VkMemoryAllocateInfo* info) {
  const T* found = FindInChain<T>(chain, type);
  if (found == nullptr) return;
  *copy = *found;
  copy->pNext = info->pNext;
  info->pNext = copy;
}

uint64_t RoundUp(uint64_t size, uint64_t unit) { return (size + unit - 1) / unit * unit; }

bool Allows(const VkExternalMemoryProperties& properties) {
  return (properties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT) != 0 &&
         (properties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT) == 0 &&
         (properties.compatibleHandleTypes & kHostPages) != 0;
}

}  // namespace

std::unique_ptr<Importer> Importer::Probe(const Parts& parts) {
  const vk::DispatchTable& instance = *parts.instance_table;
  if (parts.table->GetMemoryHostPointerPropertiesEXT == nullptr || instance.GetPhysicalDeviceProperties2 == nullptr ||
      instance.GetPhysicalDeviceExternalBufferProperties == nullptr ||
      instance.GetPhysicalDeviceImageFormatProperties2 == nullptr) {
    return nullptr;
  }
  // The client maps at whole pages.
  if (parts.map_alignment > static_cast<uint64_t>(sysconf(_SC_PAGESIZE))) return nullptr;
  std::unique_ptr<Importer> importer(new Importer(parts));
  return importer->FindTypes() ? std::move(importer) : nullptr;
}

// By asking about pages of the kind that will be imported. Only coherent types: others would have to be mapped by the
// driver to be flushed.
bool Importer::FindTypes() {
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT host{};
  host.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &host;
  parts_.instance_table->GetPhysicalDeviceProperties2(parts_.physical_device, &properties);
  alignment_ = std::max(
      {static_cast<uint64_t>(sysconf(_SC_PAGESIZE)), parts_.map_alignment, host.minImportedHostPointerAlignment});
  const auto pages = SharedPages::Make(alignment_, alignment_, parts_.budget);
  if (pages == nullptr) return false;
  VkMemoryHostPointerPropertiesEXT pointer{};
  pointer.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT;
  if (parts_.table->GetMemoryHostPointerPropertiesEXT(parts_.device, kHostPages, pages->data(), &pointer) !=
      VK_SUCCESS) {
    return false;
  }
  constexpr VkMemoryPropertyFlags kWanted = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  for (uint32_t i = 0; i < parts_.memory->memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags flags = parts_.memory->memoryTypes[i].propertyFlags;
    if ((flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0) visible_types_ |= 1u << i;
    if ((flags & kWanted) == kWanted && (pointer.memoryTypeBits & 1u << i) != 0) types_ |= 1u << i;
  }
  return types_ != 0;
}

// The chain may take types away, but only visible ones that cannot be imported: the rest is as without us.
bool Importer::Same(const VkMemoryRequirements& plain, const VkMemoryRequirements& chained) const {
  const uint32_t lost = plain.memoryTypeBits & ~chained.memoryTypeBits;
  return plain.size == chained.size && plain.alignment == chained.alignment &&
         (chained.memoryTypeBits & ~plain.memoryTypeBits) == 0 && (lost & (types_ | ~visible_types_)) == 0;
}

bool Importer::Measure(const VkBufferCreateInfo& info, VkMemoryRequirements* requirements, bool* dedicated) const {
  const vk::DispatchTable& driver = *parts_.table;
  VkMemoryDedicatedRequirements own{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS, nullptr, VK_FALSE, VK_FALSE};
  VkMemoryRequirements2 answer{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, &own, {}};
  if (driver.GetDeviceBufferMemoryRequirements != nullptr) {
    const VkDeviceBufferMemoryRequirements question{VK_STRUCTURE_TYPE_DEVICE_BUFFER_MEMORY_REQUIREMENTS, nullptr,
                                                    &info};
    driver.GetDeviceBufferMemoryRequirements(parts_.device, &question, &answer);
  } else {
    VkBuffer buffer = VK_NULL_HANDLE;
    if (driver.CreateBuffer(parts_.device, &info, nullptr, &buffer) != VK_SUCCESS) return false;
    const VkBufferMemoryRequirementsInfo2 question{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2, nullptr,
                                                   buffer};
    driver.GetBufferMemoryRequirements2(parts_.device, &question, &answer);
    driver.DestroyBuffer(parts_.device, buffer, nullptr);
  }
  *requirements = answer.memoryRequirements;
  *dedicated = own.requiresDedicatedAllocation != VK_FALSE;
  return true;
}

bool Importer::Measure(const VkImageCreateInfo& info, VkMemoryRequirements* requirements, bool* dedicated) const {
  const vk::DispatchTable& driver = *parts_.table;
  VkMemoryDedicatedRequirements own{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS, nullptr, VK_FALSE, VK_FALSE};
  VkMemoryRequirements2 answer{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, &own, {}};
  if (driver.GetDeviceImageMemoryRequirements != nullptr) {
    VkDeviceImageMemoryRequirements question{};
    question.sType = VK_STRUCTURE_TYPE_DEVICE_IMAGE_MEMORY_REQUIREMENTS;
    question.pCreateInfo = &info;
    driver.GetDeviceImageMemoryRequirements(parts_.device, &question, &answer);
  } else {
    VkImage image = VK_NULL_HANDLE;
    if (driver.CreateImage(parts_.device, &info, nullptr, &image) != VK_SUCCESS) return false;
    const VkImageMemoryRequirementsInfo2 question{VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2, nullptr, image};
    driver.GetImageMemoryRequirements2(parts_.device, &question, &answer);
    driver.DestroyImage(parts_.device, image, nullptr);
  }
  *requirements = answer.memoryRequirements;
  *dedicated = own.requiresDedicatedAllocation != VK_FALSE;
  return true;
}

bool Importer::IsImportable(const VkBufferCreateInfo& info) const {
  if ((info.flags & kPlainBuffers) != 0) return false;
  if (!OnlyMembers(info.pNext, {kUsageFlags2})) return false;
  VkPhysicalDeviceExternalBufferInfo question{};
  question.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO;
  question.pNext = info.pNext;
  question.flags = info.flags;
  question.usage = info.usage;
  question.handleType = kHostPages;
  VkExternalBufferProperties answer{};
  answer.sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES;
  parts_.instance_table->GetPhysicalDeviceExternalBufferProperties(parts_.physical_device, &question, &answer);
  return Allows(answer.externalMemoryProperties);
}

bool Importer::IsImportable(const VkImageCreateInfo& info) const {
  if ((info.flags & kPlainImages) != 0 || info.initialLayout != VK_IMAGE_LAYOUT_UNDEFINED) return false;
  if (info.tiling != VK_IMAGE_TILING_OPTIMAL && info.tiling != VK_IMAGE_TILING_LINEAR) return false;
  if (!OnlyMembers(info.pNext, {VK_STRUCTURE_TYPE_IMAGE_FORMAT_LIST_CREATE_INFO,
                                VK_STRUCTURE_TYPE_IMAGE_STENCIL_USAGE_CREATE_INFO})) {
    return false;
  }
  const VkPhysicalDeviceExternalImageFormatInfo external{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO,
                                                         info.pNext, kHostPages};
  VkPhysicalDeviceImageFormatInfo2 question{};
  question.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2;
  question.pNext = &external;
  question.format = info.format;
  question.type = info.imageType;
  question.tiling = info.tiling;
  question.usage = info.usage;
  question.flags = info.flags;
  VkExternalImageFormatProperties host{};
  host.sType = VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES;
  VkImageFormatProperties2 answer{VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2, &host, {}};
  if (parts_.instance_table->GetPhysicalDeviceImageFormatProperties2(parts_.physical_device, &question, &answer) !=
      VK_SUCCESS) {
    return false;
  }
  const VkImageFormatProperties& limits = answer.imageFormatProperties;
  return Allows(host.externalMemoryProperties) && info.extent.width <= limits.maxExtent.width &&
         info.extent.height <= limits.maxExtent.height && info.extent.depth <= limits.maxExtent.depth &&
         info.mipLevels <= limits.maxMipLevels && info.arrayLayers <= limits.maxArrayLayers &&
         (info.samples & limits.sampleCounts) != 0;
}

template <typename Info, typename ChainInfo>
Reach Importer::ChainTo(Info* info, ChainInfo* chain, VkStructureType type) const {
  // The application's own import: its resource already may be bound to either.
  const auto* own = FindInChain<ChainInfo>(info->pNext, type);
  if (own != nullptr && own->handleTypes == kHostPages) return {types_, true};
  if (own != nullptr && own->handleTypes == 0) {  // says nothing
    info->pNext = WithoutMember(info->pNext, type);
    own = nullptr;
  }
  VkMemoryRequirements plain, chained;
  bool dedicated = false;
  if (!Measure(*info, &plain, &dedicated)) return {types_, false};
  Reach reach{plain.memoryTypeBits & types_, false};
  if (reach.types == 0 || dedicated || own != nullptr || !IsImportable(*info)) return reach;
  *chain = {type, info->pNext, kHostPages};
  Info with = *info;
  with.pNext = chain;
  reach.importable = Measure(with, &chained, &dedicated) && !dedicated && Same(plain, chained);
  if (reach.importable) *info = with;
  return reach;
}

Reach Importer::Chain(VkBufferCreateInfo* info, VkExternalMemoryBufferCreateInfo* chain) const {
  return ChainTo(info, chain, VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO);
}

Reach Importer::Chain(VkImageCreateInfo* info, VkExternalMemoryImageCreateInfo* chain) const {
  return ChainTo(info, chain, VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO);
}

void Importer::NoteResource(uint64_t resource, Reach reach, const char* what) {
  const MutexLock lock(mutex_);
  if (reach.importable || reach.types == 0) {
    plain_.erase(resource);
    return;
  }
  plain_.insert(resource);
  if (always_ || (reach.types & ~tainted_) == 0) return;
  tainted_ |= reach.types;
  Log(LogLevel::kInfo,
      "memory types {:#x} are not shared from now on: the client made a {} that imported memory does not suit",
      tainted_, what);
}

bool Importer::Chooses(const VkMemoryAllocateInfo& asked) {
  const MutexLock lock(mutex_);
  const uint32_t type = asked.memoryTypeIndex;
  if (type >= 32 || (types_ & ~tainted_ & 1u << type) == 0) return false;
  if (!OnlyMembers(asked.pNext,
                   {VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO, VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                    VK_STRUCTURE_TYPE_MEMORY_PRIORITY_ALLOCATE_INFO_EXT})) {
    return false;
  }
  const auto* flags = FindInChain<VkMemoryAllocateFlagsInfo>(asked.pNext, VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO);
  if (flags != nullptr && (flags->flags & ~VkFlags{VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT}) != 0) return false;
  const auto* dedicated =
      FindInChain<VkMemoryDedicatedAllocateInfo>(asked.pNext, VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
  return dedicated == nullptr || (!plain_.contains(Raw(dedicated->buffer)) && !plain_.contains(Raw(dedicated->image)));
}

bool Importer::Allocate(const VkMemoryAllocateInfo& asked, VkDeviceMemory* memory, MemoryName* name) {
  if (!Chooses(asked) || asked.allocationSize == 0 || asked.allocationSize > UINT64_MAX - alignment_) return false;
  VkMemoryAllocateInfo info = asked;
  info.allocationSize = RoundUp(asked.allocationSize, alignment_);
  const uint32_t heap = parts_.memory->memoryTypes[asked.memoryTypeIndex].heapIndex;
  if (info.allocationSize > parts_.memory->memoryHeaps[heap].size) return false;
  auto pages = SharedPages::Make(info.allocationSize, alignment_, parts_.budget);
  if (pages == nullptr) return false;
  // Without the dedicated member: no resource that was chained must have memory of its own, and the size is rounded.
  VkMemoryAllocateFlagsInfo flags{};
  VkMemoryPriorityAllocateInfoEXT priority{};
  VkImportMemoryHostPointerInfoEXT import{};
  import.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT;
  import.handleType = kHostPages;
  import.pHostPointer = pages->data();
  info.pNext = &import;
  AddCopy(asked.pNext, VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, &flags, &info);
  AddCopy(asked.pNext, VK_STRUCTURE_TYPE_MEMORY_PRIORITY_ALLOCATE_INFO_EXT, &priority, &info);
  const VkResult result = parts_.table->AllocateMemory(parts_.device, &info, nullptr, memory);
  if (result != VK_SUCCESS) {
    Log(LogLevel::kDebug, "{} bytes of memory type {} were not imported: {}", info.allocationSize, info.memoryTypeIndex,
        static_cast<int>(result));
    return false;
  }
  *name = pages->TakeName();
  const MutexLock lock(mutex_);
  pages_.insert_or_assign(*memory, std::move(pages));
  return true;
}

Importer::~Importer() {
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): a worker that has no memory left ends
  static auto* const left = new std::vector<std::unique_ptr<SharedPages>>;  // for the process's end
  for (auto& [memory, pages] : pages_) {
    pages->GiveBack();
    left->push_back(std::move(pages));
  }
}

void Importer::DropAll() {
  const MutexLock lock(mutex_);
  pages_.clear();
}

std::unique_ptr<SharedPages> Importer::Take(VkDeviceMemory memory) {
  const MutexLock lock(mutex_);
  const auto found = pages_.find(memory);
  if (found == pages_.end()) return nullptr;
  std::unique_ptr<SharedPages> pages = std::move(found->second);
  pages_.erase(found);
  return pages;
}

}  // namespace vesper::server
