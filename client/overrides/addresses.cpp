#include "client/overrides/addresses.h"

#include <mutex>
#include <new>
#include <utility>

#include "client/base/limits.h"
#include "client/session/session.h"
#include "generated/wire/buffer.h"
#include "generated/wire/ray_tracing.h"

namespace vesper::client {
namespace {

// Calls use(command, args) with the arguments of the question, of which `args` needs no more than `result` afterwards.
template <typename Use>
auto WithQuestion(Addressed kind, const Device* device, ObjectId object, Use use) {
  const auto handle = ToHandle<VkDevice>(const_cast<Device*>(device));
  if (kind == Addressed::kBuffer) {
    VkBufferDeviceAddressInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
    info.buffer = HandleOf<VkBuffer>(object);
    wire::GetBufferDeviceAddressArgs args{};
    args.device = handle;
    args.pInfo = &info;
    return use(Command::kGetBufferDeviceAddress, args);
  }
  VkAccelerationStructureDeviceAddressInfoKHR info{};
  info.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_DEVICE_ADDRESS_INFO_KHR;
  info.accelerationStructure = HandleOf<VkAccelerationStructureKHR>(object);
  wire::GetAccelerationStructureDeviceAddressKHRArgs args{};
  args.device = handle;
  args.pInfo = &info;
  return use(Command::kGetAccelerationStructureDeviceAddressKHR, args);
}

Addresses& Of(Addressed kind, Device* device) { return device->addresses[static_cast<size_t>(kind)]; }

void AskAhead(Addressed kind, Device* device, ObjectId object, RemoteValue* value) noexcept {
  Session& session = *device->session;
  std::shared_ptr<LaterReply> asked = WithQuestion(kind, device, object, [&](Command command, auto& args) {
    return session.AskLater(command, &args, When::kWithTheNext);
  });
  const std::lock_guard lane(session.connection().lane());
  value->asked = std::move(asked);
}

// What was asked about the object, and before it about all others that were not asked for.
std::shared_ptr<LaterReply> Asked(Addressed kind, Device* device, ObjectId object, RemoteValue* value) noexcept {
  Addresses& addresses = Of(kind, device);
  addresses.wanted.store(true, std::memory_order_relaxed);
  {
    const MutexLock lock(addresses.mutex);
    addresses.unasked.erase(value);
    for (size_t i = 0; i < limits::kAddressesAtOnce && !addresses.unasked.empty(); ++i) {
      const auto next = addresses.unasked.begin();
      AskAhead(kind, device, next->second, next->first);
      addresses.unasked.erase(next);
    }
  }
  Connection& connection = device->session->connection();
  std::unique_lock lane(connection.lane());
  connection.TryPoll(lane);
  if (value->asked != nullptr) return value->asked;
  lane.unlock();
  AskAhead(kind, device, object, value);
  lane.lock();
  return value->asked;
}

// False when there is none. Null again where it was not an answer, so that the next call asks.
bool AwaitAnswer(Session& session, RemoteValue* value, const LaterReply& asked) noexcept {
  std::unique_lock lane(session.connection().lane());
  if (!asked.answered) {
    Count(session.statistics().round_trips);
    session.connection().WaitFor(
        lane, [&] { return asked.answered; }, Clock::time_point::max());
  }
  value->asked = nullptr;
  return asked.answered;
}

}  // namespace

void ExpectAddress(Addressed kind, Device* device, ObjectId object, RemoteValue* value) noexcept {
  if (device->session->lost()) return;
  Addresses& addresses = Of(kind, device);
  if (addresses.wanted.load(std::memory_order_relaxed)) return AskAhead(kind, device, object, value);
  const MutexLock lock(addresses.mutex);
  try {
    addresses.unasked.emplace(value, object);
  } catch (const std::bad_alloc&) {  // it is asked for when it is wanted
  }
}

void ForgetAddress(Addressed kind, Device* device, RemoteValue* value) noexcept {
  if (value->IsKnown() || device->session->abandoned()) return;
  const MutexLock lock(Of(kind, device).mutex);
  Of(kind, device).unasked.erase(value);
}

VkDeviceAddress AddressOf(Addressed kind, Device* device, ObjectId object, RemoteValue* value) noexcept {
  if (value->IsKnown()) return value->Value();
  Session& session = *device->session;
  if (session.lost() || !session.AwaitRoom()) return 0;
  const std::shared_ptr<LaterReply> asked = Asked(kind, device, object, value);
  if (asked == nullptr || !AwaitAnswer(session, value, *asked)) return 0;
  return WithQuestion(kind, device, object, [&](Command command, auto& args) -> VkDeviceAddress {
    if (!session.Finish(command, *asked, &args)) return 0;
    // Of a lost device nothing is known: it may have been lost by a bind that failed.
    if (args.result != 0 && !device->lost.load()) value->Know(args.result);
    return args.result;
  });
}

}  // namespace vesper::client
