// Command pools and command buffers: objects of the client that record into memory of their own.
#include "generated/wire/command.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "client/objects/object.h"
#include "client/overrides/copies_alone.h"
#include "client/overrides/guard.h"
#include "client/overrides/recording.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

namespace vesper::client {
namespace {

// Drops what was recorded and not sent; the server's part is reset by the command that follows.
void Discard(CommandBuffer* buffer) {
  buffer->records.clear();
  buffer->unproven.clear();
  buffer->query_pools.clear();
  buffer->copies.Reset();
  buffer->failure = VK_SUCCESS;
  EndRecording(buffer);
}

VkResult MakeBuffers(Device* device, CommandPoolState* pool, const VkCommandBufferAllocateInfo& info,
                     VkCommandBuffer* made) {
  Session& session = *device->session;
  const uint32_t count = info.commandBufferCount;
  std::vector<uint64_t> ids(count);
  std::vector<std::unique_ptr<CommandBuffer>> buffers;
  pool->command_buffers.reserve(pool->command_buffers.size() + count);
  if (session.lost() || !session.ids().Mint(HandleType::kCommandBuffer, ids)) return VK_ERROR_OUT_OF_HOST_MEMORY;
  for (uint32_t i = 0; i < count; ++i) {
    buffers.push_back(std::make_unique<CommandBuffer>(device, pool, info.level, ids[i]));
    made[i] = ToHandle<VkCommandBuffer>(buffers.back().get());
  }
  wire::AllocateCommandBuffersArgs args{};
  args.device = ToHandle<VkDevice>(device);
  args.pAllocateInfo = &info;
  args.pCommandBuffers = made;
  Call call(session, Command::kAllocateCommandBuffers);
  const VkResult result = call.Post(&args);
  if (result != VK_SUCCESS) return result;
  session.AddCommandBuffers(buffers);
  for (auto& buffer : buffers) pool->command_buffers.push_back(std::move(buffer));
  return VK_SUCCESS;
}

void Forget(CommandBuffer& buffer) {
  if (buffer.session->abandoned()) return;
  EndRecording(&buffer);
  buffer.session->RemoveCommandBuffer(buffer.header.id);
  buffer.session->ids().Forget(buffer.header.id);
}

// A command buffer that uses what could not be made says so at its end. What is being made is waited for a moment: a refusal
// comes soon, and a program that hears of it can do something else.
void CheckUnproven(CommandBuffer* buffer) {
  Session& session = *buffer->session;
  const Verdicts& verdicts = session.verdicts();
  if (buffer->unproven.empty() || verdicts.AllWell() || session.abandoned()) return;
  Connection& connection = session.connection();
  {
    std::unique_lock lane(connection.lane());
    const auto decided = [&] { return verdicts.AreDecided(buffer->unproven); };
    if (!decided()) connection.WaitFor(lane, decided, verdicts.Deadline(buffer->unproven));
  }
  if (buffer->failure == VK_SUCCESS) buffer->failure = verdicts.FailureOf(buffer->unproven);
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL CreateCommandPool(VkDevice device, const VkCommandPoolCreateInfo* pCreateInfo,
                                                 const VkAllocationCallbacks* pAllocator, VkCommandPool* pCommandPool) {
  const VkResult result = entry::CreateCommandPool(device, pCreateInfo, pAllocator, pCommandPool);
  if (result < 0) return result;
  auto* state = new (std::nothrow) CommandPoolState(IdOf(*pCommandPool));
  if (state != nullptr && SessionOf(device).states().Add(state)) return result;
  entry::DestroyCommandPool(device, *pCommandPool, pAllocator);
  *pCommandPool = VK_NULL_HANDLE;
  return VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR void VKAPI_CALL DestroyCommandPool(VkDevice device, VkCommandPool commandPool,
                                              const VkAllocationCallbacks* pAllocator) {
  if (commandPool == VK_NULL_HANDLE) return;
  Session& session = SessionOf(device);
  const std::unique_ptr<ObjectState> state(session.states().Remove(IdOf(commandPool)));
  entry::DestroyCommandPool(device, commandPool, pAllocator);
  if (state == nullptr) return;
  for (const auto& buffer : static_cast<CommandPoolState*>(state.get())->command_buffers) Forget(*buffer);
}

VKAPI_ATTR VkResult VKAPI_CALL ResetCommandPool(VkDevice device, VkCommandPool commandPool,
                                                VkCommandPoolResetFlags flags) {
  auto* pool = SessionOf(device).states().Get<CommandPoolState>(commandPool);
  if (pool != nullptr) {
    for (const auto& buffer : pool->command_buffers) Discard(buffer.get());
  }
  return entry::ResetCommandPool(device, commandPool, flags);
}

VKAPI_ATTR VkResult VKAPI_CALL AllocateCommandBuffers(VkDevice device, const VkCommandBufferAllocateInfo* pAllocateInfo,
                                                      VkCommandBuffer* pCommandBuffers) {
  Device* object = FromHandle<Device>(device);
  auto* pool = object->session->states().Get<CommandPoolState>(pAllocateInfo->commandPool);
  const VkResult result = pool == nullptr
                              ? VK_ERROR_OUT_OF_DEVICE_MEMORY
                              : Guarded([&] { return MakeBuffers(object, pool, *pAllocateInfo, pCommandBuffers); });
  if (result != VK_SUCCESS) std::fill_n(pCommandBuffers, pAllocateInfo->commandBufferCount, nullptr);
  return result;
}

VKAPI_ATTR void VKAPI_CALL FreeCommandBuffers(VkDevice device, VkCommandPool commandPool, uint32_t commandBufferCount,
                                              const VkCommandBuffer* pCommandBuffers) {
  Session& session = SessionOf(device);
  entry::FreeCommandBuffers(device, commandPool, commandBufferCount, pCommandBuffers);
  auto* pool = session.states().Get<CommandPoolState>(commandPool);
  if (pool == nullptr) return;
  for (uint32_t i = 0; i < commandBufferCount; ++i) {
    auto* freed = FromHandle<CommandBuffer>(pCommandBuffers[i]);
    if (freed == nullptr) continue;
    Forget(*freed);
    const auto found = std::find_if(pool->command_buffers.begin(), pool->command_buffers.end(),
                                    [freed](const auto& each) { return each.get() == freed; });
    if (found == pool->command_buffers.end()) continue;
    std::swap(*found, pool->command_buffers.back());
    pool->command_buffers.pop_back();
  }
}

VKAPI_ATTR VkResult VKAPI_CALL BeginCommandBuffer(VkCommandBuffer commandBuffer,
                                                  const VkCommandBufferBeginInfo* pBeginInfo) {
  CommandBuffer* buffer = FromHandle<CommandBuffer>(commandBuffer);
  Discard(buffer);
  VkCommandBufferBeginInfo info = *pBeginInfo;
  if (buffer->level == VK_COMMAND_BUFFER_LEVEL_PRIMARY) info.pInheritanceInfo = nullptr;  // ignored, may be garbage
  wire::BeginCommandBufferArgs args{};
  args.commandBuffer = commandBuffer;
  args.pBeginInfo = &info;
  const bool cheap = buffer->session->connection().channel().PollsForNothing();
  buffer->piece = cheap ? limits::kFirstRecordingBytes : limits::kRecordingBytes;
  if (!buffer->session->abandoned()) buffer->recording = buffer->device->recordings.Begin();
  Record(commandBuffer, Command::kBeginCommandBuffer, &args);
  buffer->copies.Begin(buffer->records.size(),
                       buffer->level == VK_COMMAND_BUFFER_LEVEL_PRIMARY && info.pNext == nullptr);
  return buffer->failure;
}

VKAPI_ATTR VkResult VKAPI_CALL EndCommandBuffer(VkCommandBuffer commandBuffer) {
  CommandBuffer* buffer = FromHandle<CommandBuffer>(commandBuffer);
  wire::EndCommandBufferArgs args{};
  args.commandBuffer = commandBuffer;
  buffer->copies.End(buffer->records.size());
  Record(commandBuffer, Command::kEndCommandBuffer, &args);
  if (!buffer->copies.ended_alone()) buffer->session->SendRecords(buffer);
  EndRecording(buffer);
  CheckUnproven(buffer);
  return buffer->failure;
}

VKAPI_ATTR VkResult VKAPI_CALL ResetCommandBuffer(VkCommandBuffer commandBuffer, VkCommandBufferResetFlags flags) {
  Discard(FromHandle<CommandBuffer>(commandBuffer));
  wire::ResetCommandBufferArgs args{};
  args.commandBuffer = commandBuffer;
  args.flags = flags;
  return Call(commandBuffer, Command::kResetCommandBuffer).Post(&args);
}

VKAPI_ATTR void VKAPI_CALL CmdExecuteCommands(VkCommandBuffer commandBuffer, uint32_t commandBufferCount,
                                              const VkCommandBuffer* pCommandBuffers) {
  CommandBuffer* buffer = FromHandle<CommandBuffer>(commandBuffer);
  const VkResult noted = Guarded([&] {
    for (uint32_t i = 0; i < commandBufferCount; ++i) {
      for (const ObjectId pool : FromHandle<CommandBuffer>(pCommandBuffers[i])->query_pools)
        buffer->NoteQueryPool(pool);
    }
    return VK_SUCCESS;
  });
  if (noted != VK_SUCCESS) buffer->failure = noted;
  entry::CmdExecuteCommands(commandBuffer, commandBufferCount, pCommandBuffers);
}

VKAPI_ATTR void VKAPI_CALL CmdCopyBuffer(VkCommandBuffer commandBuffer, VkBuffer srcBuffer, VkBuffer dstBuffer,
                                         uint32_t regionCount, const VkBufferCopy* pRegions) {
  RecordAlone(
      commandBuffer, [&] { entry::CmdCopyBuffer(commandBuffer, srcBuffer, dstBuffer, regionCount, pRegions); },
      [&](CopiesAlone* copies) { return NoteCopies(copies, srcBuffer, dstBuffer, regionCount, pRegions); });
}

VKAPI_ATTR void VKAPI_CALL CmdCopyBuffer2(VkCommandBuffer commandBuffer, const VkCopyBufferInfo2* pCopyBufferInfo) {
  const VkCopyBufferInfo2& info = *pCopyBufferInfo;
  RecordAlone(
      commandBuffer, [&] { entry::CmdCopyBuffer2(commandBuffer, pCopyBufferInfo); },
      [&](CopiesAlone* copies) {
        return info.pNext == nullptr &&
               NoteCopies(copies, info.srcBuffer, info.dstBuffer, info.regionCount, info.pRegions);
      });
}

}  // namespace overrides
}  // namespace vesper::client
