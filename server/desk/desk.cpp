#include "server/desk/desk.h"

#include <sys/eventfd.h>

namespace vesper::server {

Desk::Desk() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

bool Desk::Ask(const std::function<void()>& question) {
  const MutexLock lock(mutex_);
  if (closed_) return false;
  questions_.push_back(&question);
  const uint64_t number = ++asked_;
  eventfd_write(wake_.get(), 1);
  while (done_ < number && !closed_) answered_.Wait(mutex_);
  return done_ >= number;
}

void Desk::Serve() {
  eventfd_t ignored;
  eventfd_read(wake_.get(), &ignored);
  const MutexLock lock(mutex_);
  for (const auto* question : questions_) (*question)();
  questions_.clear();
  done_ = asked_;
  answered_.NotifyAll();
}

void Desk::Close() {
  const MutexLock lock(mutex_);
  questions_.clear();
  closed_ = true;
  answered_.NotifyAll();
}

}  // namespace vesper::server
