#include "client/wsi/presenter.h"

#include <algorithm>
#include <new>

#include "client/connection.h"
#include "client/session.h"
#include "client/thread.h"

namespace vesper::client {
namespace {

// There is no telling when a screen is refreshed that may be another machine's.
constexpr std::chrono::nanoseconds kInterval{1'000'000'000 / 60};

}  // namespace

Presenter::Presenter(Device* device, VkPresentModeKHR mode, std::vector<Picture> pictures,
                     std::unique_ptr<XPainter> painter)
    : device_(device), mode_(mode), pictures_(std::move(pictures)), painter_(std::move(painter)) {
  free_.reserve(pictures_.size());
  queued_.reserve(pictures_.size());
  owners_.resize(pictures_.size(), Owner::kFree);
  for (uint32_t i = 0; i < pictures_.size(); ++i) free_.push_back(i);
  thread_ = StartWithoutSignals([this] { return std::thread([this] { Run(); }); });
}

Presenter::~Presenter() {
  if (device_->session->abandoned()) {
    // The thread exists in the parent alone; std::thread would end the process for being joinable.
    new (&thread_) std::thread;
    painter_.release();  // the connection to the X server is the parent's
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    queued_wake_.notify_all();
  }
  thread_.join();
}

// --- the application's threads -------------------------------------------------------------------------------------------

VkResult Presenter::Acquire(uint64_t timeout, uint32_t* index) noexcept {
  if (device_->session->lost() || device_->lost.load()) return VK_ERROR_DEVICE_LOST;
  std::unique_lock lock(mutex_);
  const auto decided = [this] { return !free_.empty() || status_ < 0 || retired_; };
  if (timeout == UINT64_MAX) {
    free_wake_.wait(lock, decided);
  } else if (!free_wake_.wait_until(lock, DeadlineAfter(timeout), decided)) {
    return timeout == 0 ? VK_NOT_READY : VK_TIMEOUT;
  }
  if (status_ < 0) return status_;
  if (retired_) return VK_ERROR_OUT_OF_DATE_KHR;
  *index = free_.front();
  free_.erase(free_.begin());
  owners_[*index] = Owner::kApplication;
  return status_;
}

bool Presenter::IsAcquired(uint32_t index) noexcept {
  const std::lock_guard lock(mutex_);
  return index < owners_.size() && owners_[index] == Owner::kApplication;
}

VkResult Presenter::Present(uint32_t index, const SubmitPoint& at) noexcept {
  const std::lock_guard lock(mutex_);
  owners_[index] = Owner::kPresenter;
  if (status_ < 0) return status_;
  queued_.push_back({index, at});
  queued_wake_.notify_all();
  return status_;
}

void Presenter::Retire() noexcept {
  const std::lock_guard lock(mutex_);
  retired_ = true;
  free_wake_.notify_all();
  queued_wake_.notify_all();
}

// --- the presenter's thread ----------------------------------------------------------------------------------------------

void Presenter::Run() noexcept {
  while (Step()) {
  }
}

// One frame further; false when nothing is left to do.
bool Presenter::Step() noexcept {
  const bool replaces = mode_ == VK_PRESENT_MODE_MAILBOX_KHR && painter_ != nullptr;
  const Clock::time_point due = ready_ ? Due() : Clock::time_point::max();
  if (ready_ && (!replaces || Clock::now() >= due)) {
    std::unique_lock lock(mutex_);
    queued_wake_.wait_until(lock, due, [this] { return stopping_ || retired_ || status_ < 0; });
    lock.unlock();
    ShowReady();
    return true;
  }
  Frame frame;
  if (!AwaitFrame(due, &frame)) {
    if (!ready_) return false;
    ShowReady();
    return true;
  }
  switch (AwaitCompletion(frame, due)) {
    case WaitOutcome::kDone:
      TakeReady(frame);
      return true;
    case WaitOutcome::kTimeout:
      if (ready_) ShowReady();
      return true;
    case WaitOutcome::kLost:
      break;
  }
  Fail(VK_ERROR_DEVICE_LOST);
  return false;
}

// Waits until something is queued, without taking it; false at `until`, or when nothing will be.
bool Presenter::AwaitFrame(Clock::time_point until, Frame* frame) {
  std::unique_lock lock(mutex_);
  const auto decided = [this] { return !queued_.empty() || stopping_; };
  if (until == Clock::time_point::max()) {
    queued_wake_.wait(lock, decided);
  } else {
    queued_wake_.wait_until(lock, until, decided);
  }
  if (queued_.empty()) return false;
  *frame = queued_.front();
  return true;
}

WaitOutcome Presenter::AwaitCompletion(const Frame& frame, Clock::time_point until) noexcept {
  Connection& connection = device_->session->connection();
  if (connection.lost()) return WaitOutcome::kLost;
  std::unique_lock lane(connection.lane());
  bool reached = false;
  const WaitOutcome outcome = connection.WaitFor(
      lane,
      [&] {
        reached = frame.at.Reached();
        return reached || device_->lost.load();
      },
      until);
  if (reached) return WaitOutcome::kDone;
  return outcome == WaitOutcome::kTimeout ? outcome : WaitOutcome::kLost;
}

// The first of the queue is ready; what was ready before is not shown any more.
void Presenter::TakeReady(const Frame& frame) noexcept {
  {
    const std::lock_guard lock(mutex_);
    queued_.erase(queued_.begin());
  }
  if (ready_) Release(*ready_);
  ready_ = frame.index;
}

void Presenter::ShowReady() noexcept {
  const uint8_t* pixels = pictures_[*ready_].pixels;
  XPainter::Outcome outcome = XPainter::Outcome::kShown;
  if (painter_ != nullptr && pixels != nullptr && !IsRetired()) outcome = painter_->Show(pixels);
  const Clock::time_point now = Clock::now();
  shown_at_ = now - shown_at_ < 2 * kInterval ? shown_at_ + kInterval : now;
  Release(*ready_);
  ready_.reset();
  if (outcome == XPainter::Outcome::kGone) Fail(VK_ERROR_SURFACE_LOST_KHR);
  if (outcome != XPainter::Outcome::kResized) return;
  const std::lock_guard lock(mutex_);
  if (status_ == VK_SUCCESS) status_ = VK_SUBOPTIMAL_KHR;
}

bool Presenter::IsRetired() noexcept {
  const std::lock_guard lock(mutex_);
  return retired_;
}

void Presenter::Release(uint32_t index) noexcept {
  const std::lock_guard lock(mutex_);
  owners_[index] = Owner::kFree;
  free_.push_back(index);
  free_wake_.notify_all();
}

// Nothing more is shown. What is queued is taken back once its submit has completed, or nothing completes any more.
void Presenter::Fail(VkResult result) noexcept {
  const std::lock_guard lock(mutex_);
  if (status_ >= 0) status_ = result;
  free_wake_.notify_all();
}

// When the next picture may be shown.
Clock::time_point Presenter::Due() noexcept {
  if (painter_ == nullptr || mode_ == VK_PRESENT_MODE_IMMEDIATE_KHR) return {};
  const std::lock_guard lock(mutex_);
  return stopping_ || retired_ || status_ < 0 ? Clock::time_point() : shown_at_ + kInterval;
}

}  // namespace vesper::client
