#include "client/call.h"

#include <new>

#include "client/object.h"
#include "client/session.h"
#include "generated/client/entry_points.h"
#include "generated/wire/codecs.h"
#include "runtime/wire/record.h"

namespace vesper::client {
namespace {

// A command buffer that records for long sends what it has when it has grown to this.
constexpr size_t kChunkBytes = 64 * 1024;

}  // namespace

Session& SessionOf(const void* dispatchable) { return *static_cast<const Dispatchable*>(dispatchable)->session; }

bool Call::Aside() const noexcept {
  const Device* device = static_cast<const Device*>(dispatchable_);
  return device != nullptr && device->submitted.load(std::memory_order_relaxed) && !HasSubmitted(*device);
}

void Call::MintIds(HandleType type, uint64_t* handles, uint32_t count) noexcept {
  minted_ = handles;
  minted_count_ = count;
  if (session_.lost()) {
    failure_ = LostResult(command_);
  } else if (!session_.ids().Mint(type, {handles, count})) {
    failure_ = VK_ERROR_OUT_OF_HOST_MEMORY;
  } else {
    try {
      minted_ids_.assign(handles, handles + count);
      return;
    } catch (const std::bad_alloc&) {
      for (uint32_t i = 0; i < count; ++i) session_.ids().Forget(handles[i]);
      failure_ = VK_ERROR_OUT_OF_HOST_MEMORY;
    }
  }
  minted_count_ = 0;
  for (uint32_t i = 0; i < count; ++i) handles[i] = 0;
}

void Call::NoteRecipe(const void* args) noexcept {
  if (failure_ == VK_SUCCESS) session_.NoteRecipe(command_, args, {minted_, minted_count_});
}

VkResult Call::Post(const void* args) noexcept {
  if (failure_ != VK_SUCCESS) return failure_;
  failure_ = Listed(session_.Post(command_, args));
  if (failure_ != VK_SUCCESS) ReturnMinted();
  return failure_;
}

bool Call::Ask(void* args, Reply* reply) noexcept {
  if (failure_ != VK_SUCCESS) return false;
  if (session_.Ask(command_, args, &failure_, reply)) return true;
  failure_ = Listed(failure_);
  ReturnMinted();
  return false;
}

bool Call::AskCached(void* args) noexcept {
  if (failure_ == VK_SUCCESS && session_.AskCached(command_, args, &failure_)) return true;
  failure_ = Listed(failure_);
  return false;
}

// Loss by a code that the command lists.
VkResult Call::Listed(VkResult result) const noexcept {
  return result == VK_ERROR_DEVICE_LOST ? LostResult(command_) : result;
}

VkResult Call::Settle(VkResult result) noexcept {
  for (uint32_t i = 0; i < minted_count_; ++i) {
    if (minted_[i] == 0) session_.ids().Forget(minted_ids_[i]);
  }
  return result;
}

void Call::ReturnMinted() noexcept {
  if (session_.abandoned()) return;
  for (uint32_t i = 0; i < minted_count_; ++i) {
    session_.ids().Forget(minted_ids_[i]);
    minted_[i] = 0;
  }
}

void Call::ForgetId(HandleType, uint64_t id) noexcept {
  if (id != kNullObject && !session_.abandoned()) session_.ids().Forget(id);
}

void UploadMappedMemory(VkDevice handle, bool accesses) noexcept {
  MappedMemory& memory = FromHandle<Device>(handle)->mapped_memory;
  memory.SendWrites();  // a failure is the loss of the session, which the command itself notices
  if (!accesses) return;
  memory.NoteSubmitted();
  memory.NoteCompleted(1);
}

void NoteUnknownBinding(VkDevice handle) noexcept { FromHandle<Device>(handle)->mapped_memory.NoteAllWritable(); }

void Record(VkCommandBuffer command_buffer, Command command, const void* args) noexcept {
  CommandBuffer* buffer = FromHandle<CommandBuffer>(command_buffer);
  if (buffer->failure != VK_SUCCESS) return;
  const size_t mark = buffer->records.size();
  try {
    wire::BeginRecord(&buffer->records, static_cast<uint16_t>(command), 0);
    wire::Encoder encoder(&buffer->records);
    wire::kCodecs[static_cast<uint16_t>(command)].encode_request(encoder, args);
    if (!wire::EndRecord(&buffer->records, mark)) buffer->failure = VK_ERROR_OUT_OF_HOST_MEMORY;
  } catch (const std::bad_alloc&) {
    buffer->records.Truncate(mark);
    buffer->failure = VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  if (buffer->records.size() >= kChunkBytes) buffer->SendRecords();
}

}  // namespace vesper::client
