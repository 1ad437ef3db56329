// A mutex that Clang's analysis of locks knows, and how to wait with it: members marked with VESPER_GUARDED_BY are only touched
// while it is held, or scripts/tidy fails (-Wthread-safety). Other compilers see a std::mutex and a std::condition_variable,
// and none of this costs more than they do.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define VESPER_ANALYSED(attribute) __attribute__((attribute))
#else
#define VESPER_ANALYSED(attribute)
#endif

// Of a member: `lock` is held whenever it is read or written. Of a function: its callers hold `lock`, or must not.
#define VESPER_GUARDED_BY(lock) VESPER_ANALYSED(guarded_by(lock))
#define VESPER_REQUIRES(lock) VESPER_ANALYSED(exclusive_locks_required(lock))
#define VESPER_EXCLUDES(lock) VESPER_ANALYSED(locks_excluded(lock))
// Of a function that the analysis cannot follow; a comment says why.
#define VESPER_NOT_ANALYSED VESPER_ANALYSED(no_thread_safety_analysis)

namespace vesper {

class VESPER_ANALYSED(capability("mutex")) Mutex {
 public:
  void lock() VESPER_ANALYSED(acquire_capability()) { mutex_.lock(); }
  bool try_lock() VESPER_ANALYSED(try_acquire_capability(true)) { return mutex_.try_lock(); }
  void unlock() VESPER_ANALYSED(release_capability()) { mutex_.unlock(); }

 private:
  friend class Condition;
  std::mutex mutex_;
};

// Holds a Mutex, or another lock with its functions, for as long as it lives, but for what lies between Unlock() and Lock().
template <typename Lockable>
class VESPER_ANALYSED(scoped_lockable) BasicMutexLock {
 public:
  explicit BasicMutexLock(Lockable& mutex) VESPER_ANALYSED(acquire_capability(mutex)) : mutex_(mutex) { mutex_.lock(); }
  ~BasicMutexLock() VESPER_ANALYSED(release_capability()) {
    if (held_) mutex_.unlock();
  }
  BasicMutexLock(const BasicMutexLock&) = delete;
  BasicMutexLock& operator=(const BasicMutexLock&) = delete;

  void Unlock() VESPER_ANALYSED(release_capability()) {
    held_ = false;
    mutex_.unlock();
  }
  void Lock() VESPER_ANALYSED(acquire_capability()) {
    mutex_.lock();
    held_ = true;
  }

 private:
  Lockable& mutex_;
  bool held_ = true;
};
using MutexLock = BasicMutexLock<Mutex>;

// What threads wait for that hold a Mutex: always the same one. Waits may end without a notification, so callers wait in a loop
// that looks at what they wait for; the analysis sees there that they hold the lock.
class Condition {
 public:
  void Wait(Mutex& mutex) VESPER_REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    changed_.wait(lock);
    lock.release();
  }
  // False when the time has come, which the greatest never does.
  bool WaitUntil(Mutex& mutex, std::chrono::steady_clock::time_point time) VESPER_REQUIRES(mutex) {
    if (time == std::chrono::steady_clock::time_point::max()) {
      Wait(mutex);
      return true;
    }
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    const bool in_time = changed_.wait_until(lock, time) == std::cv_status::no_timeout;
    lock.release();
    return in_time;
  }
  void NotifyOne() noexcept { changed_.notify_one(); }
  void NotifyAll() noexcept { changed_.notify_all(); }

 private:
  std::condition_variable changed_;
};

}  // namespace vesper
