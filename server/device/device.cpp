#include "server/device/device.h"

#include <algorithm>
#include <chrono>

#include "generated/server/commands.h"
#include "runtime/wire/handle_mapper.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/channel/events.h"
#include "server/memory/memory.h"

namespace vesper::server {
namespace {

int64_t Ns(std::chrono::nanoseconds duration) { return duration.count(); }
int64_t NowNs() { return Ns(std::chrono::steady_clock::now().time_since_epoch()); }

}  // namespace

Device::Device(const Parts& parts, PFN_vkGetDeviceProcAddr get_proc_addr) : parts_(parts) {
  context_.table = parts.instance->context.table;
  vk::LoadDevice(&context_.table, parts.handle, get_proc_addr);
  context_.instance = parts.instance;
  context_.device = this;
  context_.enabled = parts.enabled;
  for (size_t i = 0; i < kCommandCount; ++i) {
    const ServerCommand& command = kServerCommands[i];
    context_.plain[i] = (command.plain || command.light) && HasEntry(context_.table, i) &&
                        (command.needs == wire::kNeedsNothing || parts.enabled[command.needs]);
  }
  parts.instance->context.table.GetPhysicalDeviceMemoryProperties(parts.physical_device, &memory_properties_);
  VkPhysicalDeviceProperties properties;
  parts.instance->context.table.GetPhysicalDeviceProperties(parts.physical_device, &properties);
  limits_ = properties.limits;
  api_version_ = properties.apiVersion;
  type_ = properties.deviceType;
  PipelineKey key{properties.vendorID, properties.deviceID, properties.driverVersion};
  std::copy_n(properties.pipelineCacheUUID, key.uuid.size(), key.uuid.begin());
  pipelines_ = std::make_unique<PipelineCache>(&context_.table, parts.handle, key, parts.shelf);
}

Device::~Device() = default;

void Device::ShareMemory(SharedBudget* budget) {
  importer_ = Importer::Probe({.instance_table = &parts_.instance->context.table,
                               .physical_device = parts_.physical_device,
                               .table = &context_.table,
                               .device = parts_.handle,
                               .memory = &memory_properties_,
                               .map_alignment = limits_.minMemoryMapAlignment,
                               .budget = budget});
}

Queue& Device::QueueOf(VkQueue queue, ObjectId id) {
  const MutexLock lock(queues_mutex_);
  std::unique_ptr<Queue>& entry = queues_[queue];
  if (entry == nullptr) entry = std::make_unique<Queue>(this, queue, id);
  return *entry;
}

std::vector<Queue*> Device::Queues() {
  const MutexLock lock(queues_mutex_);
  std::vector<Queue*> queues;
  for (const auto& [handle, queue] : queues_) queues.push_back(queue.get());
  return queues;
}

void Device::Drain() {
  for (Queue* queue : Queues()) {
    if (!queue->Drain(limits::kDrainPatience) && !lost_)
      Log(LogLevel::kWarning, "a device is destroyed with work that does not end");
  }
}

void Device::StopQueues() {
  std::unordered_map<VkQueue, std::unique_ptr<Queue>> ended;
  {
    const MutexLock lock(queues_mutex_);
    ended.swap(queues_);
  }
  ended.clear();
  readers_.Drain();
  tellers_.Drain();
}

bool Device::IsIdle() {
  const std::vector<Queue*> queues = Queues();
  return std::all_of(queues.begin(), queues.end(), [](Queue* queue) { return queue->IsIdle(); });
}

void Device::WhenIdle(std::function<void()> done) {
  // Runs when the last copy goes, which each queue holds until it is through.
  const std::shared_ptr<void> last(nullptr, [done = std::move(done)](void*) { done(); });
  for (Queue* queue : Queues()) {
    if (queue->last_serial() != 0) queue->WhenCompleted(queue->last_serial(), [last] {});
  }
}

void Device::Lose(const std::string& why) {
  if (lost_.exchange(true)) return;
  Log(LogLevel::kError, "device {:#x} is lost: {}", parts_.id, why);
  parts_.events->DeviceLost(parts_.id, why);
  WakeExecutors();
}

void Device::ScanMemory() {
  // In this order: a job that begins after the first line is found by the next scan, one that had begun is in the second.
  const uint64_t begun = begun_;
  const bool running = running_ != 0;
  if (scanned_ == begun) return;
  const int64_t start = NowNs();
  parts_.memories->Scan(parts_.handle, running);
  if (!running) scanned_ = begun;
  const int64_t end = NowNs();
  exchange_at_ = end + std::max(Ns(limits::kExchangeInterval), limits::kExchangeShare * (end - start));
}

bool Device::MayOweMemory() const { return scanned_ != begun_ && parts_.memories->Watches(parts_.handle); }

void Device::TellAfterMemory(std::function<void()> tell) {
  tellers_.Post([this, tell = std::move(tell)] {
    ScanMemory();
    tell();
  });
}

uint64_t Device::NsToExchange() const {
  if (!MayOweMemory()) return UINT64_MAX;
  return static_cast<uint64_t>(std::max(exchange_at_ - NowNs(), Ns(limits::kLeastExchangeWait)));
}

void Device::ExchangeMemory() {
  if (exchange_at_ <= NowNs()) ScanMemory();
}

void Device::NoteTimeline(VkSemaphore semaphore) {
  const MutexLock lock(semaphores_mutex_);
  timelines_.insert(semaphore);
}

bool Device::IsTimeline(VkSemaphore semaphore) {
  const MutexLock lock(semaphores_mutex_);
  return timelines_.contains(semaphore);
}

void Device::ForgetSemaphore(VkSemaphore semaphore) {
  const MutexLock lock(semaphores_mutex_);
  timelines_.erase(semaphore);
  tickets_.erase(semaphore);
}

std::shared_ptr<Ticket> Device::TakeTicket(VkSemaphore semaphore) {
  const MutexLock lock(semaphores_mutex_);
  const auto found = tickets_.find(semaphore);
  if (found == tickets_.end()) return nullptr;
  std::shared_ptr<Ticket> ticket = std::move(found->second);
  tickets_.erase(found);
  return ticket->handed_over ? nullptr : ticket;
}

void Device::LeaveTicket(VkSemaphore semaphore, const std::shared_ptr<Ticket>& ticket) {
  const MutexLock lock(semaphores_mutex_);
  if (!timelines_.contains(semaphore)) tickets_.insert_or_assign(semaphore, ticket);
}

void Device::HandOver(Ticket* ticket) {
  {
    const MutexLock lock(mutex_);
    ticket->handed_over = true;
  }
  changed_.NotifyAll();
}

void Device::AwaitHandOver(const Ticket& ticket, const std::atomic<bool>& give_up) {
  const MutexLock lock(mutex_);
  while (!ticket.handed_over && !give_up && !lost_) changed_.Wait(mutex_);
}

void Device::WakeExecutors() {
  { const MutexLock lock(mutex_); }  // who has just found that it must wait is asleep by now
  changed_.NotifyAll();
}

void Device::WatchFence(VkFence fence) {
  const MutexLock lock(mutex_);
  ++watched_fences_[fence];
}

void Device::UnwatchFence(VkFence fence) {
  {
    const MutexLock lock(mutex_);
    const auto found = watched_fences_.find(fence);
    if (found != watched_fences_.end() && --found->second == 0) watched_fences_.erase(found);
  }
  changed_.NotifyAll();
}

void Device::AwaitUnwatched(VkFence fence) {
  const auto until = std::chrono::steady_clock::now() + limits::kFencePatience;
  const MutexLock lock(mutex_);
  while (!lost_ && watched_fences_.contains(fence) && changed_.WaitUntil(mutex_, until)) {
  }
}

}  // namespace vesper::server
