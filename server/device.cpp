#include "server/device.h"

#include <algorithm>
#include <chrono>

#include "server/events.h"
#include "server/log.h"
#include "server/memory.h"

namespace vesper::server {
namespace {

constexpr std::chrono::milliseconds kDrainPatience{5000};
constexpr std::chrono::milliseconds kFencePatience{2000};

// While jobs run, mapped memory is looked at this often, and for at most a tenth of the time.
constexpr std::chrono::milliseconds kExchangeInterval{10};
constexpr int kExchangeShare = 9;

int64_t NowNs() { return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Device::Device(const Parts& parts, PFN_vkGetDeviceProcAddr get_proc_addr) : parts_(parts) {
  context_.table = parts.instance->context.table;
  vk::LoadDevice(&context_.table, parts.handle, get_proc_addr);
  context_.instance = parts.instance;
  context_.device = this;
  parts.instance->context.table.GetPhysicalDeviceMemoryProperties(parts.physical_device, &memory_properties_);
  VkPhysicalDeviceProperties properties;
  parts.instance->context.table.GetPhysicalDeviceProperties(parts.physical_device, &properties);
  limits_ = properties.limits;
  type_ = properties.deviceType;
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
  const std::lock_guard lock(queues_mutex_);
  std::unique_ptr<Queue>& entry = queues_[queue];
  if (entry == nullptr) entry = std::make_unique<Queue>(this, queue, id);
  return *entry;
}

void Device::Drain() {
  for (const auto& [handle, queue] : queues_) {
    if (!queue->Drain(kDrainPatience) && !lost_)
      Log(LogLevel::kWarning, "a device is destroyed with work that does not end");
  }
}

void Device::WhenIdle(std::function<void()> done) {
  // Runs when the last copy goes, which each queue holds until it is through.
  const std::shared_ptr<void> last(nullptr, [done = std::move(done)](void*) { done(); });
  for (const auto& [handle, queue] : queues_) {
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
  // In this order: a job that begins after the first line is found by the next scan, one that had
  // begun is in the second.
  const uint64_t begun = begun_;
  const bool running = running_ != 0;
  if (scanned_ == begun) return;
  const int64_t start = NowNs();
  parts_.memories->Scan(parts_.handle, running);
  if (!running) scanned_ = begun;
  const int64_t end = NowNs();
  exchange_at_ =
      end + std::max<int64_t>(std::chrono::nanoseconds(kExchangeInterval).count(), kExchangeShare * (end - start));
}

uint64_t Device::NsToExchange() const {
  if (scanned_ == begun_ || !parts_.memories->Watches(parts_.handle)) return UINT64_MAX;
  return static_cast<uint64_t>(std::max<int64_t>(exchange_at_ - NowNs(), 1'000'000));
}

void Device::ExchangeMemory() {
  if (exchange_at_ <= NowNs()) ScanMemory();
}

void Device::NoteTimeline(VkSemaphore semaphore) {
  const std::lock_guard lock(semaphores_mutex_);
  timelines_.insert(semaphore);
}

void Device::ForgetSemaphore(VkSemaphore semaphore) {
  const std::lock_guard lock(semaphores_mutex_);
  timelines_.erase(semaphore);
  tickets_.erase(semaphore);
}

std::shared_ptr<Ticket> Device::TakeTicket(VkSemaphore semaphore) {
  const std::lock_guard lock(semaphores_mutex_);
  const auto found = tickets_.find(semaphore);
  if (found == tickets_.end()) return nullptr;
  std::shared_ptr<Ticket> ticket = std::move(found->second);
  tickets_.erase(found);
  return ticket->handed_over ? nullptr : ticket;
}

void Device::LeaveTicket(VkSemaphore semaphore, const std::shared_ptr<Ticket>& ticket) {
  const std::lock_guard lock(semaphores_mutex_);
  if (!timelines_.contains(semaphore)) tickets_.insert_or_assign(semaphore, ticket);
}

void Device::HandOver(Ticket* ticket) {
  {
    const std::lock_guard lock(mutex_);
    ticket->handed_over = true;
  }
  changed_.notify_all();
}

void Device::AwaitHandOver(const Ticket& ticket, const std::atomic<bool>& give_up) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ticket.handed_over || give_up || lost_; });
}

void Device::WakeExecutors() {
  { const std::lock_guard lock(mutex_); }
  changed_.notify_all();
}

void Device::WatchFence(VkFence fence) {
  const std::lock_guard lock(mutex_);
  ++watched_fences_[fence];
}

void Device::UnwatchFence(VkFence fence) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = watched_fences_.find(fence);
    if (found != watched_fences_.end() && --found->second == 0) watched_fences_.erase(found);
  }
  changed_.notify_all();
}

void Device::AwaitUnwatched(VkFence fence) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kFencePatience, [&] { return lost_ || !watched_fences_.contains(fence); });
}

}  // namespace vesper::server
