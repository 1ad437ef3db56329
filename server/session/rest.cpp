// The part of Session that lets go of the driver while nobody needs it. Many programs only ask what devices there are and live
// on for days: their sessions keep what the client knows by ids, and little else.
#include <malloc.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "server/base/log.h"
#include "server/session/session.h"

namespace vesper::server {
namespace {

// Objects that Driver::Resume() makes again.
constexpr std::array kMadeAgain = {HandleType::kInstance, HandleType::kPhysicalDevice};

template <typename Handle>
uint64_t Number(Handle handle) {
  return reinterpret_cast<uint64_t>(handle);
}

}  // namespace

void Session::KeepForRest(Instance* instance, const VkInstanceCreateInfo* wanted) {
  if (debug_messages_.Listens(instance->handle)) return;
  instance->creation = KeepRun();
  instance->wanted = wanted;
}

// Not when something is there that would have to be made again: a device, a surface, a messenger.
bool Session::MayRest() {
  const bool known = std::all_of(instances_.begin(), instances_.end(), [&](const auto& entry) {
    return entry.second->wanted != nullptr && !debug_messages_.Listens(entry.first);
  });
  return known && devices_.empty() && NothingWaits() && table_.HasOnly(table_.Acquire(), kMadeAgain);
}

// A client that is silent still says now and then that it lives: what counts is when it last wanted something.
std::chrono::milliseconds Session::UntilRest() {
  const uint64_t before = stats_.rests;
  if (rests_ || !devices_.empty() || before == limits::kMaxRests) return limits::kForever;
  const auto now = std::chrono::steady_clock::now();
  if (const uint64_t commands = stats_.commands;
      commands != commands_before_rest_ || rest_at_ == decltype(rest_at_)()) {
    commands_before_rest_ = commands;
    rest_at_ = now + limits_.rest_after * (uint64_t{1} << (limits::kRestGrowth * before));
  }
  return std::max(std::chrono::ceil<std::chrono::milliseconds>(rest_at_ - now), std::chrono::milliseconds(0));
}

void Session::Rest() {
  rest_at_ = std::chrono::steady_clock::now() + limits_.rest_after;  // to be asked again, where it may not
  if (!MayRest()) return;
  DrainJobs();
  for (const auto& [handle, instance] : instances_) driver_->Suspend(instance.get());
  driver_->LetGo();
  malloc_trim(0);
  rests_ = true;
  ++stats_.rests;
  Log(LogLevel::kDebug, "session {} has no device and is silent: the driver is given back", number_);
}

bool Session::EndRest() {
  rests_ = false;
  std::unordered_map<uint64_t, uint64_t> handles;
  std::unordered_map<VkInstance, std::unique_ptr<Instance>> instances;
  for (auto& [was, instance] : instances_) {
    const std::vector<VkPhysicalDevice> devices = instance->physical_devices;
    if (const VkResult result = driver_->Resume(instance.get()); result != VK_SUCCESS) {
      end_reason_ = fmt::format("the driver makes no instance any more ({})", static_cast<int>(result));
      Log(LogLevel::kError, "session {}: {}", number_, end_reason_);
      return false;
    }
    handles.emplace(Number(was), Number(instance->handle));
    for (size_t i = 0; i < devices.size(); ++i)
      handles.emplace(Number(devices[i]), Number(instance->physical_devices[i]));
    const VkInstance is = instance->handle;
    instances.emplace(is, std::move(instance));
  }
  instances_ = std::move(instances);
  table_.Rebind(table_.Acquire(), handles);
  return true;
}

}  // namespace vesper::server
