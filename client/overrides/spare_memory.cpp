#include "client/overrides/spare_memory.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <utility>

#include "client/base/limits.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/wire/memory.h"

namespace vesper::client {
namespace {

// False for what cannot stand for another allocation, or is not small.
bool FindShape(const VkMemoryAllocateInfo& info, MemoryShape* shape) {
  if (info.allocationSize > limits::kMaxSpareMemory) return false;
  *shape = {.size = info.allocationSize, .type = info.memoryTypeIndex};
  const auto* next = static_cast<const VkBaseInStructure*>(info.pNext);
  if (next == nullptr) return true;
  if (next->sType != VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO || next->pNext != nullptr) return false;
  const auto* flags = reinterpret_cast<const VkMemoryAllocateFlagsInfo*>(next);
  shape->has_flags = true;
  shape->flags = flags->flags;
  shape->device_mask = flags->deviceMask;
  constexpr VkMemoryAllocateFlags kPlain = VK_MEMORY_ALLOCATE_DEVICE_MASK_BIT | VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  return (shape->flags & ~kPlain) == 0;
}

// Calls use(args) with those of an allocation of that shape, whose id is `*id`.
template <typename Use>
auto WithArgs(Device* device, const MemoryShape& shape, ObjectId* id, Use use) {
  VkMemoryAllocateFlagsInfo flags{};
  flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO;
  flags.flags = shape.flags;
  flags.deviceMask = shape.device_mask;
  VkMemoryAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  info.pNext = shape.has_flags ? &flags : nullptr;
  info.allocationSize = shape.size;
  info.memoryTypeIndex = shape.type;
  wire::AllocateMemoryArgs args{};
  args.device = ToHandle<VkDevice>(device);
  args.pAllocateInfo = &info;
  args.pMemory = reinterpret_cast<VkDeviceMemory*>(id);
  return use(args);
}

using Kind = SpareMemory::Kind;

Kind* FindKind(SpareMemory* memory, const MemoryShape& shape) VESPER_REQUIRES(memory->mutex) {
  auto& kinds = memory->kinds;
  const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& kind) { return kind.shape == shape; });
  if (found == kinds.end()) return nullptr;
  std::rotate(found, found + 1, kinds.end());
  return &kinds.back();
}

// Whether it was made, as the answer says that has come.
bool WasMade(Device* device, const MemoryShape& shape, const SpareMemory::Spare& spare) {
  ObjectId made = spare.id;
  return WithArgs(device, shape, &made, [&](wire::AllocateMemoryArgs& args) {
    return device->session->Finish(Command::kAllocateMemory, *spare.asked, &args) && args.result == VK_SUCCESS;
  });
}

void Free(Device* device, const MemoryShape& shape, const SpareMemory::Spare& spare) {
  bool answered = false;
  {
    const std::lock_guard lane(device->session->connection().lane());
    answered = spare.asked->answered;
  }
  if (answered && !WasMade(device, shape, spare)) {
    device->session->ids().Forget(spare.id);
  } else {
    entry::FreeMemory(ToHandle<VkDevice>(device), HandleOf<VkDeviceMemory>(spare.id), nullptr);
  }
}

void FreeOf(Device* device, SpareMemory* memory, Kind* kind) VESPER_REQUIRES(memory->mutex) {
  for (const SpareMemory::Spare& spare : kind->spares) Free(device, kind->shape, spare);
  memory->bytes -= kind->spares.size() * kind->shape.size;
  kind->spares.clear();
}

// Asks for as many as are wanted. May throw std::bad_alloc.
void AskAhead(Device* device, SpareMemory* memory, Kind* kind) VESPER_REQUIRES(memory->mutex) {
  Session& session = *device->session;
  while (kind->spares.size() < kind->wanted && memory->bytes + kind->shape.size <= limits::kSpareMemory) {
    SpareMemory::Spare& spare = kind->spares.emplace_back();
    if (session.ids().Mint(HandleType::kDeviceMemory, {&spare.id, 1})) {
      spare.asked = WithArgs(device, kind->shape, &spare.id, [&](const wire::AllocateMemoryArgs& args) {
        return session.AskLater(Command::kAllocateMemory, &args, When::kWithTheNext);
      });
      if (spare.asked == nullptr) session.ids().Forget(spare.id);
    }
    if (spare.asked == nullptr) return kind->spares.pop_back();
    memory->bytes += kind->shape.size;
  }
}

// The one that was asked for first; more are wanted when it has to be waited for. Without one, `spare` has no id.
void TakeFirst(Device* device, const MemoryShape& shape, SpareMemory::Spare* spare) {
  SpareMemory& memory = device->spare_memory;
  const MutexLock lock(memory.mutex);
  Kind* kind = FindKind(&memory, shape);
  if (kind == nullptr || kind->spares.empty()) return;
  *spare = std::move(kind->spares.front());
  kind->spares.erase(kind->spares.begin());
  memory.bytes -= shape.size;
  Connection& connection = device->session->connection();
  std::unique_lock lane(connection.lane());
  connection.TryPoll(lane);
  if (!spare->asked->answered) kind->wanted = std::min(2 * kind->wanted, limits::kMostSpares);
}

}  // namespace

VkDeviceMemory TakeSpareMemory(Device* device, const VkMemoryAllocateInfo& info) noexcept {
  MemoryShape shape;
  Session& session = *device->session;
  if (session.lost() || !session.AwaitRoom() || !FindShape(info, &shape)) return VK_NULL_HANDLE;
  SpareMemory::Spare spare;
  TakeFirst(device, shape, &spare);
  if (spare.id == kNullObject) return VK_NULL_HANDLE;
  {
    std::unique_lock lane(session.connection().lane());
    const auto answered = [&] { return spare.asked->answered; };
    if (session.connection().WaitFor(lane, answered, Clock::time_point::max()) != WaitOutcome::kDone) {
      return VK_NULL_HANDLE;
    }
  }
  const bool shared = spare.asked->reply.announced_descriptor;
  if (!shared && WasMade(device, shape, spare)) return HandleOf<VkDeviceMemory>(spare.id);
  Free(device, shape, spare);
  const MutexLock lock(device->spare_memory.mutex);
  Kind* kind = FindKind(&device->spare_memory, shape);
  if (kind == nullptr) return VK_NULL_HANDLE;
  FreeOf(device, &device->spare_memory, kind);
  kind->allocated = kind->wanted = 0;
  return VK_NULL_HANDLE;
}

void NoteAllocation(Device* device, const VkMemoryAllocateInfo& info) noexcept {
  MemoryShape shape;
  if (device->session->lost() || !FindShape(info, &shape)) return;
  SpareMemory& memory = device->spare_memory;
  const MutexLock lock(memory.mutex);
  try {
    Kind* kind = FindKind(&memory, shape);
    if (kind == nullptr) {
      if (memory.kinds.size() >= limits::kSpareKinds) {
        FreeOf(device, &memory, &memory.kinds.front());
        memory.kinds.erase(memory.kinds.begin());
      }
      kind = &memory.kinds.emplace_back();
      kind->shape = shape;
    }
    if (++kind->allocated < limits::kAlikeAllocations) return;
    kind->wanted = std::max(kind->wanted, limits::kFewestSpares);
    AskAhead(device, &memory, kind);
  } catch (const std::bad_alloc&) {  // the next one asks
  }
}

bool FreeSpareMemory(Device* device) noexcept {
  if (device->session->abandoned()) return false;
  SpareMemory& memory = device->spare_memory;
  const MutexLock lock(memory.mutex);
  const bool any = memory.bytes != 0;
  for (Kind& kind : memory.kinds) FreeOf(device, &memory, &kind);
  memory.kinds.clear();
  return any;
}

}  // namespace vesper::client
