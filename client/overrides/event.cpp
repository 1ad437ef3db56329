// Events, which host and device set and reset: polled without round trips, see client/connection/polled.h.
#include <memory>
#include <mutex>

#include "client/connection/polled.h"
#include "client/objects/object.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "generated/wire/sync.h"

namespace vesper::client {
namespace {

// Guarded by the lane.
struct EventState : ObjectState {
  using ObjectState::ObjectState;
  VkResult status = VK_EVENT_RESET;
  Polled polled;
};

// The host has changed it.
void SetStatus(Session& session, VkEvent event, VkResult status) {
  auto* state = session.states().Get<EventState>(event);
  if (state == nullptr || session.abandoned()) return;
  const std::lock_guard lane(session.connection().lane());
  state->status = status;
  state->polled.Known(session.completions());
}

// Takes over an answer that has come meanwhile.
void TakeNews(Session& session, std::unique_lock<std::mutex>& lane, EventState* state, wire::GetEventStatusArgs* args) {
  session.connection().TryPoll(lane);
  const std::shared_ptr<LaterReply> heard = state->polled.Heard();
  if (heard == nullptr) return;
  lane.unlock();
  const bool taken = session.Finish(Command::kGetEventStatus, *heard, args);
  lane.lock();
  if (taken && args->result >= 0) state->status = args->result;
}

VkResult AskStatus(Session& session, std::unique_lock<std::mutex>& lane, EventState* state,
                   const wire::GetEventStatusArgs& args) {
  const uint64_t completions = session.completions();
  lane.unlock();
  const VkResult result = entry::GetEventStatus(args.device, args.event);
  lane.lock();
  if (result < 0) return result;
  state->status = result;
  state->polled.Known(completions);
  return result;
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL CreateEvent(VkDevice device, const VkEventCreateInfo* pCreateInfo,
                                           const VkAllocationCallbacks* pAllocator, VkEvent* pEvent) {
  const VkResult result = entry::CreateEvent(device, pCreateInfo, pAllocator, pEvent);
  if (result < 0) return result;
  auto* state = new (std::nothrow) EventState(IdOf(*pEvent));
  if (state == nullptr || !SessionOf(device).states().Add(state)) return result;  // without it every poll asks
  SetStatus(SessionOf(device), *pEvent, VK_EVENT_RESET);
  return result;
}

VKAPI_ATTR void VKAPI_CALL DestroyEvent(VkDevice device, VkEvent event, const VkAllocationCallbacks* pAllocator) {
  Session& session = SessionOf(device);
  if (!session.abandoned()) delete session.states().Remove(IdOf(event));
  entry::DestroyEvent(device, event, pAllocator);
}

VKAPI_ATTR VkResult VKAPI_CALL GetEventStatus(VkDevice device, VkEvent event) {
  Device* object = FromHandle<Device>(device);
  Session& session = *object->session;
  if (object->lost.load() || session.lost()) return VK_ERROR_DEVICE_LOST;
  auto* state = session.states().Get<EventState>(event);
  if (state == nullptr) return entry::GetEventStatus(device, event);
  wire::GetEventStatusArgs args{};
  args.device = device;
  args.event = event;
  std::unique_lock lane(session.connection().lane());
  TakeNews(session, lane, state, &args);
  if (!state->polled.IsCurrent(session.completions())) return AskStatus(session, lane, state, args);
  const VkResult status = state->status;
  if (state->polled.WantsNews()) {
    lane.unlock();
    std::shared_ptr<LaterReply> later = session.AskLater(Command::kGetEventStatus, &args);
    lane.lock();
    state->polled.Expect(std::move(later));
  }
  return status;
}

VKAPI_ATTR VkResult VKAPI_CALL SetEvent(VkDevice device, VkEvent event) {
  const VkResult result = entry::SetEvent(device, event);
  Session& session = SessionOf(device);
  if (result >= 0) SetStatus(session, event, VK_EVENT_SET);
  session.connection().Flush();
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL ResetEvent(VkDevice device, VkEvent event) {
  const VkResult result = entry::ResetEvent(device, event);
  if (result >= 0) SetStatus(SessionOf(device), event, VK_EVENT_RESET);
  return result;
}

}  // namespace overrides
}  // namespace vesper::client
