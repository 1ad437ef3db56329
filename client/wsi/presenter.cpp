#include "client/wsi/presenter.h"

#include <algorithm>
#include <new>

#include "client/base/limits.h"
#include "client/base/statistics.h"
#include "client/base/thread.h"
#include "client/connection/connection.h"
#include "client/session/session.h"

namespace vesper::client {

Presenter::Presenter(Device* device, SurfaceState* surface, VkPresentModeKHR mode, std::vector<Picture> pictures,
                     std::unique_ptr<Painter> painter)
    : device_(device), surface_(surface), mode_(mode), pictures_(std::move(pictures)), painter_(std::move(painter)),
      awaited_(painter_ != nullptr && painter_->awaited()) {
  free_.reserve(pictures_.size());
  queued_.reserve(pictures_.size());
  owners_.resize(pictures_.size(), Owner::kFree);
  for (uint32_t i = 0; i < pictures_.size(); ++i) free_.push_back(i);
  free_pictures_ = free_;
  if (painter_ != nullptr) painter_->Watch(this);
  try {
    {
      const MutexLock lock(surface_->presenters_mutex);
      surface_->presenters.reserve(surface_->presenters.size() + 1);
    }
    thread_ = StartWithoutSignals([this] { return std::thread([this] { Run(); }); });
  } catch (...) {
    painter_.reset();  // whose thread may tell of changes until then
    throw;
  }
  const MutexLock lock(surface_->presenters_mutex);
  surface_->presenters.push_back(this);
}

Presenter::~Presenter() {
  if (device_->session->abandoned()) {
    // The thread exists in the parent alone; std::thread would end the process for being joinable.
    new (&thread_) std::thread;
    static_cast<void>(painter_.release());  // the connection to the X server is the parent's
    return;
  }
  if (surface_ != nullptr) {
    const MutexLock lock(surface_->presenters_mutex);
    std::erase(surface_->presenters, this);
  }
  if (painter_ != nullptr && painter_->unsure()) Retire();
  EndThread();
}

void Presenter::EndThread() noexcept {
  if (!thread_.joinable()) return;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    queued_wake_.NotifyAll();
  }
  if (painter_ != nullptr) painter_->Rest();
  thread_.join();
  painter_.reset();
}

// --- the application's threads -------------------------------------------------------------------------------------------

VkResult Presenter::Acquire(uint64_t timeout, uint32_t* index) noexcept {
  if (device_->session->lost() || device_->lost.load()) return VK_ERROR_DEVICE_LOST;
  const Clock::time_point until = DeadlineAfter(timeout);
  const MutexLock lock(mutex_);
  while (!Acquires() && free_wake_.WaitUntil(mutex_, until)) {
  }
  if (!Acquires()) return timeout == 0 ? VK_NOT_READY : VK_TIMEOUT;
  if (status_ < 0) return status_;
  if (retired_) return VK_ERROR_OUT_OF_DATE_KHR;
  *index = free_.front();
  free_.erase(free_.begin());
  owners_[*index] = Owner::kApplication;
  return status_;
}

bool Presenter::IsAcquired(uint32_t index) noexcept {
  const MutexLock lock(mutex_);
  return index < owners_.size() && owners_[index] == Owner::kApplication;
}

VkResult Presenter::Present(const Request& request, const SubmitPoint& at) noexcept {
  const MutexLock lock(mutex_);
  owners_[request.index] = Owner::kPresenter;
  if (status_ < 0) {
    free_pictures_.push_back(request.picture);
    return status_;
  }
  if (request.mode) mode_.store(*request.mode, std::memory_order_relaxed);
  queued_.push_back({request.index, request.picture, request.id, at});
  const uint64_t own = ++presented_;
  queued_wake_.NotifyAll();
  while (awaited_ && finished_ < own && status_ >= 0 && !retired_) shown_wake_.Wait(mutex_);
  return status_;
}

// An image that is presented has one picture, and there are as many of both.
uint32_t Presenter::TakePicture() noexcept {
  const MutexLock lock(mutex_);
  const uint32_t picture = free_pictures_.back();
  free_pictures_.pop_back();
  return picture;
}

void Presenter::ReturnPicture(uint32_t picture) noexcept {
  const MutexLock lock(mutex_);
  free_pictures_.push_back(picture);
}

void Presenter::GiveBack(uint32_t index) noexcept {
  const MutexLock lock(mutex_);
  if (index >= owners_.size() || owners_[index] != Owner::kApplication) return;
  owners_[index] = Owner::kFree;
  free_.push_back(index);
  free_wake_.NotifyAll();
}

VkResult Presenter::AwaitShown(uint64_t id, uint64_t timeout) noexcept {
  const Clock::time_point until = DeadlineAfter(timeout);
  const MutexLock lock(mutex_);
  while (shown_id_ < id && status_ >= 0 && !retired_ && shown_wake_.WaitUntil(mutex_, until)) {
  }
  if (shown_id_ >= id) return VK_SUCCESS;
  if (status_ < 0) return status_;
  return retired_ ? VK_ERROR_OUT_OF_DATE_KHR : VK_TIMEOUT;
}

void Presenter::Retire() noexcept {
  const MutexLock lock(mutex_);
  retired_ = true;
  free_wake_.NotifyAll();
  shown_wake_.NotifyAll();
  queued_wake_.NotifyAll();
}

void Presenter::Part() noexcept {
  Retire();
  Fail(VK_ERROR_SURFACE_LOST_KHR);
  EndThread();
  surface_ = nullptr;
}

// --- the presenter's thread ----------------------------------------------------------------------------------------------

void Presenter::Run() noexcept {
  while (Step()) {
  }
}

// Handles the next frame. False when the thread has nothing left to do.
bool Presenter::Step() noexcept {
  const bool replaces = mode_ == VK_PRESENT_MODE_MAILBOX_KHR && painter_ != nullptr;
  const Clock::time_point due = ready_ ? Due() : Clock::time_point::max();
  if (ready_ && (!replaces || Clock::now() >= due)) {
    {
      const MutexLock lock(mutex_);
      for (Clock::time_point next = due; Clock::now() < next; next = DueLocked()) queued_wake_.WaitUntil(mutex_, next);
    }
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

// Waits until an image is queued, and leaves it there. False at `until`, or when no image can come any more.
bool Presenter::AwaitFrame(Clock::time_point until, Frame* frame) {
  const MutexLock lock(mutex_);
  while (queued_.empty() && !stopping_ && queued_wake_.WaitUntil(mutex_, until)) {
    if (ready_ && Clock::now() >= DueLocked()) break;  // the window system wants it sooner
  }
  if (queued_.empty()) return false;
  *frame = queued_.front();
  return true;
}

WaitOutcome Presenter::AwaitCompletion(const Frame& frame, Clock::time_point until) noexcept {
  Connection& connection = device_->session->connection();
  if (connection.lost()) return WaitOutcome::kLost;
  std::unique_lock lane(connection.lane());
  bool reached = false, due = false;
  const bool paced = ready_ && painter_ != nullptr && painter_->paces();
  const WaitOutcome outcome = connection.WaitFor(
      lane,
      [&] {
        reached = frame.at.Reached();
        due = paced && (painter_->Due() || painter_->gone());
        return reached || due || device_->lost.load();
      },
      until);
  if (reached) return WaitOutcome::kDone;
  if (due && !device_->lost.load()) return WaitOutcome::kTimeout;
  return outcome == WaitOutcome::kTimeout ? outcome : WaitOutcome::kLost;
}

// The first image of the queue is ready. It replaces the one that was ready before, which is freed unshown.
void Presenter::TakeReady(const Frame& frame) noexcept {
  {
    const MutexLock lock(mutex_);
    queued_.erase(queued_.begin());
  }
  if (ready_) Release(*ready_);
  ready_ = frame;
}

void Presenter::ShowReady() noexcept {
  const uint8_t* pixels = pictures_[ready_->picture].pixels;
  Painter::Outcome outcome = Painter::Outcome::kShown;
  if (painter_ != nullptr && pixels != nullptr && !IsRetired()) outcome = painter_->Show(pixels);
  const Clock::time_point now = Clock::now();
  const bool in_step = (painter_ == nullptr || !painter_->paces()) && now - shown_at_ < 2 * limits::kFrameInterval;
  shown_at_ = in_step ? shown_at_ + limits::kFrameInterval : now;
  const Frame shown = *ready_;
  Count(device_->session->statistics().frames);
  Release(shown);
  ready_.reset();
  if (outcome == Painter::Outcome::kGone) return Fail(VK_ERROR_SURFACE_LOST_KHR);
  const MutexLock lock(mutex_);
  if (outcome == Painter::Outcome::kResized && status_ == VK_SUCCESS) status_ = VK_SUBOPTIMAL_KHR;
  if (retired_ || shown.id <= shown_id_) return;
  shown_id_ = shown.id;
  shown_wake_.NotifyAll();
}

bool Presenter::IsRetired() noexcept {
  const MutexLock lock(mutex_);
  return retired_;
}

void Presenter::Release(const Frame& frame) noexcept {
  const MutexLock lock(mutex_);
  owners_[frame.index] = Owner::kFree;
  free_.push_back(frame.index);
  free_pictures_.push_back(frame.picture);
  ++finished_;
  free_wake_.NotifyAll();
  shown_wake_.NotifyAll();
}

// Shows nothing more. A queued image becomes free once its submit has completed, or the device is lost.
void Presenter::Fail(VkResult result) noexcept {
  const MutexLock lock(mutex_);
  if (status_ >= 0) status_ = result;
  free_wake_.NotifyAll();
  shown_wake_.NotifyAll();
}

// When the next picture may be shown.
Clock::time_point Presenter::Due() noexcept {
  const MutexLock lock(mutex_);
  return DueLocked();
}

Clock::time_point Presenter::DueLocked() const noexcept {
  if (painter_ == nullptr || mode_ == VK_PRESENT_MODE_IMMEDIATE_KHR || stopping_ || retired_ || status_ < 0) return {};
  if (!painter_->paces()) return shown_at_ + limits::kFrameInterval;
  return painter_->Due() ? Clock::time_point() : shown_at_ + limits::kHiddenInterval;
}

// On a thread of the painter's. Whoever waits looks again.
void Presenter::PainterChanged() noexcept {
  if (painter_->gone()) Fail(VK_ERROR_SURFACE_LOST_KHR);
  {
    const MutexLock lock(mutex_);
    queued_wake_.NotifyAll();
  }
  if (mode_ == VK_PRESENT_MODE_MAILBOX_KHR) device_->session->connection().NotifyWaiters();
}

}  // namespace vesper::client
