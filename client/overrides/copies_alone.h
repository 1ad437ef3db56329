// How commands that may stand in a small upload's command buffer are recorded (client/objects/uploads.h).
#pragma once

#include <vulkan/vulkan.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "client/base/limits.h"
#include "client/objects/object.h"
#include "client/overrides/guard.h"

namespace vesper::client {

// Records by record() such a command; note(copies) says what it copies, and whether it may stand there.
template <typename Record, typename Note>
void RecordAlone(VkCommandBuffer commands, Record record, Note note) noexcept {
  CommandBuffer* buffer = FromHandle<CommandBuffer>(commands);
  CopiesAlone& copies = buffer->copies;
  const bool alone = copies.IsAlone(buffer->records.size());
  record();
  if (!alone) return;
  if (note(&copies)) {
    copies.Note(buffer->records.size());
  } else {
    copies.Spoil();
  }
}

template <typename Region>
bool NoteCopies(CopiesAlone* copies, VkBuffer source, VkBuffer target, uint32_t count, const Region* regions) noexcept {
  if (count > limits::kUploadCopies - std::min(limits::kUploadCopies, copies->copies().size())) return false;
  return Guarded([&] {
           for (const Region& region : std::span(regions, count)) {
             copies->Add({IdOf(source), IdOf(target), region.srcOffset, region.dstOffset, region.size});
           }
           return VK_SUCCESS;
         }) == VK_SUCCESS;
}

template <typename Barriers>
bool KeepTheirFamily(uint32_t count, const Barriers* barriers) noexcept {
  return std::all_of(barriers, barriers + count,
                     [](const auto& each) { return each.srcQueueFamilyIndex == each.dstQueueFamilyIndex; });
}

}  // namespace vesper::client
