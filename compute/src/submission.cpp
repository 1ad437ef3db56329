#include "vesper/compute/submission.h"

#include "compute/src/check.h"
#include "compute/src/device_state.h"
#include "compute/src/log.h"
#include "compute/src/queue.h"

namespace vesper::compute {

Submission::Submission() = default;
Submission::Submission(std::shared_ptr<DeviceState> device, Queue* queue, uint64_t value, std::string what)
    : device_(std::move(device)), queue_(queue), value_(value), what_(std::move(what)) {}
Submission::~Submission() = default;
Submission::Submission(const Submission&) = default;
Submission& Submission::operator=(const Submission&) = default;
Submission::Submission(Submission&&) noexcept = default;
Submission& Submission::operator=(Submission&&) noexcept = default;

void Submission::Wait(std::chrono::nanoseconds timeout) const {
  if (queue_ != nullptr) device_->Wait(*queue_, value_, timeout, what_);
}

bool Submission::IsDone() const { return queue_ == nullptr || queue_->Reached(value_); }

Gate::Gate(const Device& device) : device_(device.state()) {
  // Work that waits for the gate shares the semaphore; it ends within the device's life.
  const VkDevice handle = device_->handle();
  auto semaphore = std::make_unique<VkSemaphore>(CreateTimeline(handle));
  semaphore_ = std::shared_ptr<VkSemaphore>(semaphore.release(), [handle](VkSemaphore* gate) {
    vkDestroySemaphore(handle, *gate, nullptr);
    delete gate;
  });
}

Gate::~Gate() {
  if (semaphore_ == nullptr) return;
  try {
    Open();
  } catch (const Error& error) {
    Log(LogLevel::kError, error.what());
  }
}

Gate::Gate(Gate&&) noexcept = default;

Gate& Gate::operator=(Gate&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(semaphore_, other.semaphore_);
  return *this;
}

void Gate::Open() {
  VkSemaphoreSignalInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
  info.semaphore = *semaphore_;
  info.value = 1;
  uint64_t now = 0;
  Check(vkGetSemaphoreCounterValue(device_->handle(), *semaphore_, &now), ErrorCode::SyncError,
        "asking whether a gate is open");
  if (now != 0) return;
  Check(vkSignalSemaphore(device_->handle(), &info), ErrorCode::SyncError, "opening a gate");
}

}  // namespace vesper::compute
