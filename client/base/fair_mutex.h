// A mutex that is given to whoever asked first: for a lock that one thread takes again and again while another, the
// connection's reader say, needs it in between.
#pragma once

#include <cstdint>

#include "runtime/mutex.h"

namespace vesper::client {

class VESPER_ANALYSED(capability("mutex")) FairMutex {
 public:
  void lock() VESPER_ANALYSED(acquire_capability()) {
    const MutexLock lock(mutex_);
    const uint64_t mine = next_++;
    while (serving_ != mine) turn_.Wait(mutex_);
  }
  void unlock() VESPER_ANALYSED(release_capability()) {
    const MutexLock lock(mutex_);
    if (++serving_ != next_) turn_.NotifyAll();
  }

 private:
  Mutex mutex_;
  Condition turn_;
  uint64_t next_ VESPER_GUARDED_BY(mutex_) = 0;     // to be given out
  uint64_t serving_ VESPER_GUARDED_BY(mutex_) = 0;  // holds it, or may
};

using FairMutexLock = BasicMutexLock<FairMutex>;

}  // namespace vesper::client
