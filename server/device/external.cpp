#include "server/device/external.h"

#include "generated/vk/extensions.h"

namespace vesper::server {
namespace {

struct Type {
  VkFlags bit;
  const char* extension;  // that hands out such handles
};

constexpr Type kMemoryTypes[] = {
    {VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT, "VK_KHR_external_memory_fd"},
    {VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT, "VK_EXT_external_memory_dma_buf"},
    {VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT, "VK_EXT_external_memory_host"},
    {VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_MAPPED_FOREIGN_MEMORY_BIT_EXT, "VK_EXT_external_memory_host"},
    {VK_EXTERNAL_MEMORY_HANDLE_TYPE_RDMA_ADDRESS_BIT_NV, "VK_NV_external_memory_rdma"},
};
constexpr Type kSemaphoreTypes[] = {
    {VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_OPAQUE_FD_BIT, "VK_KHR_external_semaphore_fd"},
    {VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT, "VK_KHR_external_semaphore_fd"},
};
constexpr Type kFenceTypes[] = {
    {VK_EXTERNAL_FENCE_HANDLE_TYPE_OPAQUE_FD_BIT, "VK_KHR_external_fence_fd"},
    {VK_EXTERNAL_FENCE_HANDLE_TYPE_SYNC_FD_BIT, "VK_KHR_external_fence_fd"},
};

// The bits of types whose extension is offered; all others, those of other systems, are not.
template <size_t n>
VkFlags OfferedBits(const Type (&types)[n]) {
  VkFlags bits = 0;
  for (const Type& type : types) {
    if (SideOf(type.extension) == ExtensionSide::kRemote) bits |= type.bit;
  }
  return bits;
}

// `features` and the lists beside them, of every kind of object.
template <typename Features>
void Keep(VkFlags offered, VkFlags asked, Features* features, VkFlags* from_imported, VkFlags* compatible) {
  const bool can = (asked & ~offered) == 0;
  if (!can) *features = 0;
  *from_imported = can ? *from_imported & offered : 0;
  *compatible = can ? *compatible & offered : 0;
}

}  // namespace

bool IsOffered(VkExternalMemoryHandleTypeFlagBits type) { return (type & ~OfferedBits(kMemoryTypes)) == 0; }

void KeepOffered(VkExternalMemoryHandleTypeFlagBits asked, VkExternalMemoryProperties* properties) {
  Keep(OfferedBits(kMemoryTypes), asked, &properties->externalMemoryFeatures,
       &properties->exportFromImportedHandleTypes, &properties->compatibleHandleTypes);
}

void KeepOffered(VkExternalSemaphoreHandleTypeFlagBits asked, VkExternalSemaphoreProperties* properties) {
  Keep(OfferedBits(kSemaphoreTypes), asked, &properties->externalSemaphoreFeatures,
       &properties->exportFromImportedHandleTypes, &properties->compatibleHandleTypes);
}

void KeepOffered(VkExternalFenceHandleTypeFlagBits asked, VkExternalFenceProperties* properties) {
  Keep(OfferedBits(kFenceTypes), asked, &properties->externalFenceFeatures, &properties->exportFromImportedHandleTypes,
       &properties->compatibleHandleTypes);
}

}  // namespace vesper::server
