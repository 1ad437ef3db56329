#include "client/session/call.h"

#include <new>

#include "client/base/limits.h"
#include "client/objects/object.h"
#include "client/session/client_handles.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/wire/codecs.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/record.h"

namespace vesper::client {

Session& SessionOf(const void* dispatchable) { return *static_cast<const Dispatchable*>(dispatchable)->session; }

bool Call::Aside(const void* args) noexcept {
  const Device* device = static_cast<const Device*>(dispatchable_);
  if (device != nullptr && device->submitted.load(std::memory_order_relaxed) && !HasSubmitted(*device)) return true;
  if (failure_ != VK_SUCCESS) return false;
  request_ = session_.DigestOf(command_, args, minted_ids_);
  awaits_verdict_ = true;
  return session_.verdicts().AnyFailed() && session_.verdicts().HasFailed(request_);
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
  if (awaits_verdict_) session_.verdicts().Expect(minted_ids_, request_);
  failure_ = Listed(session_.Post(command_, args));
  if (failure_ != VK_SUCCESS) ReturnMinted();
  return failure_;
}

bool Call::Ask(void* args, Reply* reply) noexcept {
  if (failure_ == VK_SUCCESS && session_.Ask(command_, args, &failure_, reply)) return true;
  return Unanswered(args);
}

bool Call::AskCached(void* args) noexcept {
  if (failure_ == VK_SUCCESS && session_.AskCached(command_, args, &failure_)) return true;
  return Unanswered(args);
}

// Programs read outputs whatever is returned, and many commands can return nothing: zeros, and counts of 0.
bool Call::Unanswered(void* args) noexcept {
  wire::Decoder nothing = wire::Decoder::Nothing(nullptr);
  wire::kCodecs[static_cast<uint16_t>(command_)].decode_reply(nothing, args);
  failure_ = Listed(failure_);
  ReturnMinted();
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
  for (uint32_t i = 0; i < minted_count_; ++i) {
    if (!session_.abandoned()) {
      session_.verdicts().Forget(minted_ids_[i]);
      session_.ids().Forget(minted_ids_[i]);
    }
    minted_[i] = 0;
  }
}

void Call::ForgetId(HandleType, uint64_t id) noexcept {
  if (id == kNullObject || session_.abandoned()) return;
  session_.verdicts().Forget(id);
  session_.ids().Forget(id);
}

void UploadMappedMemory(VkDevice handle, bool accesses) noexcept {
  AwaitUploads(FromHandle<Device>(handle));
  MappedMemory& memory = FromHandle<Device>(handle)->mapped_memory;
  memory.SendWrites();  // a failure is the loss of the session, which the command itself notices
  if (!accesses) return;
  memory.NoteSubmitted();
  memory.NoteCompleted(1);
}

void NoteUnknownBinding(VkDevice handle) noexcept { FromHandle<Device>(handle)->mapped_memory.NoteAllWritable(); }

namespace {

void SendPiece(CommandBuffer* buffer) noexcept {
  buffer->session->SendRecords(buffer);
  buffer->session->connection().Flush();  // who reads already is not woken
  buffer->piece = limits::kRecordingBytes;
}

}  // namespace

void Record(VkCommandBuffer command_buffer, Command command, const void* args) noexcept {
  CommandBuffer* buffer = FromHandle<CommandBuffer>(command_buffer);
  if (buffer->failure != VK_SUCCESS) return;
  const size_t mark = buffer->records.size();
  try {
    wire::BeginRecord(&buffer->records, static_cast<uint16_t>(command), 0);
    RequestEncoder encoder(&buffer->records);
    wire::kCodecs[static_cast<uint16_t>(command)].encode_request(encoder, args);
    if (!wire::EndRecord(&buffer->records, mark)) buffer->failure = VK_ERROR_OUT_OF_HOST_MEMORY;
  } catch (const std::bad_alloc&) {
    buffer->records.Truncate(mark);
    buffer->failure = VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  if (buffer->records.size() >= buffer->piece) SendPiece(buffer);
}

// A full piece leaves before the next record: this one is not there yet when the function returns.
uint8_t* RecordFixed(VkCommandBuffer command_buffer, Command command, uint32_t size) noexcept {
  CommandBuffer* buffer = FromHandle<CommandBuffer>(command_buffer);
  if (buffer->records.size() >= buffer->piece) SendPiece(buffer);
  if (buffer->failure != VK_SUCCESS) return nullptr;
  const size_t padded = (size_t{size} + 7) / 8 * 8;
  try {
    uint8_t* record = buffer->records.Append(sizeof(wire::RecordHeader) + padded);
    wire::Store(record, wire::RecordHeader{static_cast<uint16_t>(command), 0, size});
    if (padded != size) wire::Store(record + padded, uint64_t{0});  // its last eight bytes
    return record + sizeof(wire::RecordHeader);
  } catch (const std::bad_alloc&) {
    buffer->failure = VK_ERROR_OUT_OF_HOST_MEMORY;
    return nullptr;
  }
}

void NoteQueryPool(VkCommandBuffer command_buffer, VkQueryPool pool) noexcept {
  CommandBuffer* buffer = FromHandle<CommandBuffer>(command_buffer);
  try {
    buffer->NoteQueryPool(IdOf(pool));
  } catch (const std::bad_alloc&) {
    buffer->failure = VK_ERROR_OUT_OF_HOST_MEMORY;
  }
}

}  // namespace vesper::client
