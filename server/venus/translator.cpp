#include "server/venus/translator.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "generated/venus/structs.h"
#include "generated/wire/all.h"
#include "generated/wire/codecs.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/record.h"
#include "server/base/log.h"

namespace vesper::venus {
namespace {

using std::chrono::steady_clock;

// The driver gives its applications Vulkan 1.3 only where semaphores become sync files; it uses that with swapchains alone, and
// these it does not offer over vtest. So it is told so, and the device is made without.
constexpr char kSyncFiles[] = "VK_KHR_external_semaphore_fd";
// What would have it look for memory of other kinds, and files that only the kernel's GPU drivers make.
constexpr const char* kHidden[] = {
    kSyncFiles,
    "VK_KHR_external_memory_fd",
    "VK_KHR_external_fence_fd",
    "VK_EXT_external_memory_dma_buf",
    "VK_EXT_external_memory_host",
    "VK_EXT_image_drm_format_modifier",
    "VK_EXT_physical_device_drm",
};

bool IsHidden(const char* name) {
  return std::any_of(std::begin(kHidden), std::end(kHidden), [&](const char* h) { return std::strcmp(h, name) == 0; });
}

// In arguments that have not met a driver an id is the handle.
class SameHandles final : public wire::HandleMapper {
 public:
  ObjectId ToWire(HandleType, uint64_t handle) const override { return handle; }
  bool FromWire(HandleType, ObjectId id, wire::HandleUse, uint64_t* handle) override {
    *handle = id;
    return true;
  }
};

template <typename Args>
Args& As(const Pending& pending) {
  return *reinterpret_cast<Args*>(pending.args);
}

template <typename H>
uint64_t Raw(H handle) {
  static_assert(sizeof(H) == sizeof(uint64_t));
  uint64_t raw;
  std::memcpy(&raw, &handle, sizeof(raw));
  return raw;
}

VkResult ResultOf(const Pending& pending) {
  VkResult result = VK_SUCCESS;
  if (pending.command->has_code) std::memcpy(&result, pending.args + pending.command->result, sizeof(result));
  return result;
}

steady_clock::time_point After(uint64_t nanoseconds) {
  constexpr uint64_t kYear = uint64_t{365} * 24 * 3600 * 1000000000;
  return steady_clock::now() + std::chrono::nanoseconds(std::min(nanoseconds, kYear));
}

void WithoutSyncFiles(VkDeviceCreateInfo* info) {
  auto** names = const_cast<const char**>(info->ppEnabledExtensionNames);  // the arena's
  auto** end = names == nullptr ? names : names + info->enabledExtensionCount;
  end = std::remove_if(names, end, [](const char* name) { return std::strcmp(name, kSyncFiles) == 0; });
  info->enabledExtensionCount = static_cast<uint32_t>(end - names);
}

void ListSyncFiles(wire::EnumerateDeviceExtensionPropertiesArgs* v, uint32_t capacity) {
  if (v->result < 0 || v->pPropertyCount == nullptr) return;
  if (v->pProperties == nullptr) {
    ++*v->pPropertyCount;  // what is hidden leaves room
    return;
  }
  auto* const end = std::remove_if(v->pProperties, v->pProperties + *v->pPropertyCount,
                                   [](const VkExtensionProperties& p) { return IsHidden(p.extensionName); });
  auto count = static_cast<uint32_t>(end - v->pProperties);
  if (count < capacity) {
    VkExtensionProperties own{};
    std::memcpy(own.extensionName, kSyncFiles, sizeof(kSyncFiles));
    own.specVersion = 1;
    v->pProperties[count++] = own;
  }
  *v->pPropertyCount = count;
}

}  // namespace

// What is asked although the peer does not wait, and what is changed before the session sees it.
void Translator::Prepare(Pending* pending) {
  const Command command = pending->command->command;
  if (command == Command::kCreateDevice) {
    const auto* info = As<wire::CreateDeviceArgs>(*pending).pCreateInfo;
    if (info != nullptr) WithoutSyncFiles(const_cast<VkDeviceCreateInfo*>(info));
  } else if (command == Command::kEnumerateDeviceExtensionProperties) {
    const auto& v = As<wire::EnumerateDeviceExtensionPropertiesArgs>(*pending);
    pending->capacity = v.pPropertyCount == nullptr ? 0 : *v.pPropertyCount;
  } else if (command == Command::kWaitForFences) {
    pending->retries = true;
    pending->deadline = After(As<wire::WaitForFencesArgs>(*pending).timeout);
  } else if (command == Command::kWaitSemaphores) {
    pending->retries = true;
    pending->deadline = After(As<wire::WaitSemaphoresArgs>(*pending).timeout);
  } else if (command == Command::kGetQueryPoolResults) {
    pending->retries = (As<wire::GetQueryPoolResultsArgs>(*pending).flags & VK_QUERY_RESULT_WAIT_BIT) != 0;
    pending->deadline = After(UINT64_MAX);
  }
}

namespace {

// Commands that what follows in the stream builds upon: memory, whose file the peer asks for, and waits, after which it reuses.
bool IsAsked(const Pending& pending) {
  const Command command = pending.command->command;
  return pending.answers || pending.retries || command == Command::kAllocateMemory ||
         command == Command::kQueueWaitIdle || command == Command::kDeviceWaitIdle;
}

}  // namespace

bool Translator::Translate(Stream* stream, const CommandTable& command, bool wants_reply, Reader* reader,
                           wire::ByteBuffer* batch, std::string* error) {
  Pending& pending = stream->pending;
  pending.command = &command;
  pending.answers = wants_reply;
  pending.retries = false;
  const auto number = static_cast<uint16_t>(command.command);
  pending.args = static_cast<uint8_t*>(stream->arena.Allocate(wire::kCodecs[number].args_size));
  if (pending.args == nullptr) {
    *error = "no memory for arguments";
    return false;
  }
  reader->Request(command, pending.args);
  if (reader->ok() && reader->Held(kVkImportMemoryResourceInfoMESA)) reader->Fail("no resource can be imported");
  if (!reader->ok()) {
    *error = fmt::format("{}: {}", command.arguments.name, reader->error());
    return false;
  }
  pending.made = reader->made();
  Prepare(&pending);
  const bool asks = IsAsked(pending);
  SameHandles handles;
  const size_t mark = wire::BeginRecord(batch, number, asks ? wire::kWantsReply : uint16_t{0});
  wire::Encoder encoder(batch, &handles);
  encoder.LeaveOutWhatIsNotOffered();
  wire::kCodecs[number].encode_request(encoder, pending.args);
  if (!wire::EndRecord(batch, mark)) {
    *error = fmt::format("{}: it is too long", command.arguments.name);
    return false;
  }
  NoteObjects(pending);
  if (command.command == Command::kBeginCommandBuffer && on_cpu_) BeginWithSomething(pending, batch);
  if (asks) {
    stream->hold = Hold::kReply;
    pending.began = pending.asked = steady_clock::now();
    pending.record.clear();
    if (pending.retries) pending.record.Append(batch->data() + mark, batch->size() - mark);
  } else {
    stream->arena.Reset();
  }
  return true;
}

// lavapipe leaves a barrier out that is the first of a command buffer, although what earlier command buffers draw goes on in its
// threads. The driver tells programs that a submit has ended by what such a command buffer of its own writes to memory after a
// barrier: too early, unless something stands before that.
void Translator::BeginWithSomething(const Pending& pending, wire::ByteBuffer* batch) {
  wire::CmdSetLineWidthArgs something{};
  something.commandBuffer = As<wire::BeginCommandBufferArgs>(pending).commandBuffer;
  something.lineWidth = 1;
  constexpr auto kNumber = static_cast<uint16_t>(Command::kCmdSetLineWidth);
  SameHandles handles;
  const size_t mark = wire::BeginRecord(batch, kNumber, 0);
  wire::Encoder encoder(batch, &handles);
  wire::kCodecs[kNumber].encode_request(encoder, reinterpret_cast<const uint8_t*>(&something));
  wire::EndRecord(batch, mark);
}

// Which numbers mean nothing any more after the command, and what goes with what.
void Translator::NoteObjects(const Pending& pending) {
  const CommandTable& command = *pending.command;
  if (command.command == Command::kAllocateCommandBuffers || command.command == Command::kAllocateDescriptorSets) {
    const bool sets = command.command == Command::kAllocateDescriptorSets;
    const auto* buffers = sets ? nullptr : As<wire::AllocateCommandBuffersArgs>(pending).pAllocateInfo;
    const auto* descriptors = sets ? As<wire::AllocateDescriptorSetsArgs>(pending).pAllocateInfo : nullptr;
    const ObjectId pool = buffers != nullptr       ? Raw(buffers->commandPool)
                          : descriptors != nullptr ? Raw(descriptors->descriptorPool)
                                                   : kNullObject;
    for (const uint64_t number : pending.made) ids_.SetPool(number, pool);
  } else if (command.command == Command::kResetDescriptorPool) {
    ids_.ForgetOfPool(Raw(As<wire::ResetDescriptorPoolArgs>(pending).descriptorPool));
  } else if (command.command == Command::kFreeMemory) {
    resources_->DropMemory(ids_.NumberOf(Raw(As<wire::FreeMemoryArgs>(pending).memory)));
  }
  if (command.destroyed < 0) return;
  const auto members = command.arguments.members;
  const auto destroyed = std::find_if(members.begin(), members.end(), [&](const Member& m) {
    return m.offset == static_cast<uint32_t>(command.destroyed);
  });
  uint64_t value;
  std::memcpy(&value, pending.args + command.destroyed, sizeof(value));
  if (!destroyed->pointer) return ids_.Forget(value);
  const auto* handles = reinterpret_cast<const uint64_t*>(value);
  uint32_t count;
  std::memcpy(&count, pending.args + destroyed->count, sizeof(count));
  for (uint32_t i = 0; handles != nullptr && i < count; ++i) ids_.Forget(handles[i]);
}

// Into the arguments.
void Translator::TakeReply(const Pending& pending, std::span<const uint8_t> payload) {
  const auto decode = wire::kCodecs[static_cast<uint16_t>(pending.command->command)].decode_reply;
  SameHandles handles;
  wire::ReplyHeader header{wire::ReplyKind::kRefused, VK_SUCCESS};
  if (payload.size() >= sizeof(header)) std::memcpy(&header, payload.data(), sizeof(header));
  if (header.kind == wire::ReplyKind::kAnswer) {
    wire::Decoder decoder(payload.subspan(sizeof(header)), nullptr, &handles);
    decode(decoder, pending.args);
    if (decoder.ok()) return;
    server::Log(server::LogLevel::kError, "{}: a reply of the session cannot be read: {}",
                pending.command->arguments.name, decoder.error());
  }
  wire::Decoder nothing = wire::Decoder::Nothing(&handles);
  decode(nothing, pending.args);
  const VkResult result =
      header.kind == wire::ReplyKind::kInert ? static_cast<VkResult>(header.result) : VK_ERROR_FEATURE_NOT_PRESENT;
  if (pending.command->has_code) std::memcpy(pending.args + pending.command->result, &result, sizeof(result));
}

// What the peer is told that the driver did not say, and what is kept for it.
void Translator::Complete(const Pending& pending, MemoryName memory) {
  const Command command = pending.command->command;
  if (command == Command::kEnumerateDeviceExtensionProperties) {
    ListSyncFiles(&As<wire::EnumerateDeviceExtensionPropertiesArgs>(pending), pending.capacity);
  } else if (command == Command::kGetPhysicalDeviceExternalSemaphoreProperties) {
    const auto& v = As<wire::GetPhysicalDeviceExternalSemaphorePropertiesArgs>(pending);
    constexpr auto kFile = VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT;
    if (v.pExternalSemaphoreInfo != nullptr && v.pExternalSemaphoreInfo->handleType == kFile &&
        v.pExternalSemaphoreProperties != nullptr) {
      v.pExternalSemaphoreProperties->exportFromImportedHandleTypes = kFile;
      v.pExternalSemaphoreProperties->compatibleHandleTypes = kFile;
      v.pExternalSemaphoreProperties->externalSemaphoreFeatures =
          VK_EXTERNAL_SEMAPHORE_FEATURE_EXPORTABLE_BIT | VK_EXTERNAL_SEMAPHORE_FEATURE_IMPORTABLE_BIT;
    }
  } else if (command == Command::kGetPhysicalDeviceProperties2) {
    const auto* properties = As<wire::GetPhysicalDeviceProperties2Args>(pending).pProperties;
    if (properties != nullptr) on_cpu_ = on_cpu_ || properties->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
  } else if (command == Command::kAllocateMemory && memory.valid() && pending.made.size() == 1) {
    resources_->KeepMemory(pending.made.front(), std::move(memory));
  }
  if (ResultOf(pending) < 0) {
    if (!pending.answers) {
      server::Log(server::LogLevel::kWarning, "{} failed with {}, which the driver does not ask for",
                  pending.command->arguments.name, static_cast<int>(ResultOf(pending)));
      return;
    }
    for (const Member& m : pending.command->arguments.members) {
      if (m.what != What::kHandle || !m.output) continue;
      for (const uint64_t number : pending.made) ids_.Forget(ids_.Find(m.handle, number));
    }
  }
}

bool Translator::WriteOut(Stream* stream, const wire::ByteBuffer& reply, std::string* error) {
  if (stream->replies == nullptr || reply.size() > stream->reply_size - stream->reply_at) {
    *error = fmt::format("{}: there is no room for its reply", stream->pending.command->arguments.name);
    return false;
  }
  std::memcpy(stream->replies->data() + stream->reply_begin + stream->reply_at, reply.data(), reply.size());
  stream->reply_at += reply.size();
  return true;
}

bool Translator::Finish(Stream* stream, std::span<const uint8_t> payload, MemoryName memory, std::string* error) {
  Pending& pending = stream->pending;
  TakeReply(pending, payload);
  const VkResult result = ResultOf(pending);
  if (pending.retries && (result == VK_TIMEOUT || result == VK_NOT_READY) && steady_clock::now() < pending.deadline) {
    stream->hold = Hold::kRetry;
    return true;
  }
  Complete(pending, std::move(memory));
  bool fits = true;
  if (pending.answers) {
    reply_.clear();
    WriteReply(*pending.command, pending.args, pending.made, ids_, &reply_);
    fits = WriteOut(stream, reply_, error);
  }
  stream->hold = Hold::kNone;
  stream->arena.Reset();
  return fits;
}

}  // namespace vesper::venus
