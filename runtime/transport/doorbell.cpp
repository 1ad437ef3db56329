#include "runtime/transport/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

namespace vesper::transport {
namespace {

class Futex final : public Doorbell {
 public:
  void Sleep(std::atomic<uint32_t>* word, uint32_t seen, std::chrono::nanoseconds time) override {
    if (time.count() <= 0) return;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
    const timespec left{static_cast<time_t>(seconds.count()), static_cast<long>((time - seconds).count())};
    ::syscall(SYS_futex, word, FUTEX_WAIT, seen, &left, nullptr, 0);
  }
  void Ring(std::atomic<uint32_t>* word) override {
    ::syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
};

}  // namespace

Doorbell* FutexDoorbell() {
  static Doorbell* const futex = new Futex;  // never destroyed: a program may end while others still wait
  return futex;
}

}  // namespace vesper::transport
